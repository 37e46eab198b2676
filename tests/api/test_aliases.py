"""Aliases through the API."""

import pytest

from funclet.model.trigger import Trigger, TriggerStatus
from funclet.services.limits import Limits
from tests.support.api import PROJECT

RULE = {"rule_type": "Header", "param": "x-user", "op": "in", "value": "a,b"}
URN = f"urn:fss:test-1:{PROJECT.project_id}:function:default:hello"


@pytest.fixture
def api(new_api):
    """Return an API with a function that has the versions v1 to v3."""
    opened = new_api()
    opened.create()
    for number in (1, 2, 3):
        opened.update(timeout=10 + number)
        opened.publish(f"v{number}")
    return opened


def create(api, name="prod", version="v1", **fields):
    return api.send("POST", "/functions/hello/aliases", {"name": name, "version": version, **fields})


def update(api, name="prod", **fields):
    return api.send("PUT", f"/functions/hello/aliases/{name}", fields)


def strategy(*rules, combine_type="and"):
    return {"v2": {"combine_type": combine_type, "rules": list(rules)}}


def test_an_alias_comes_back_as_it_was_sent(api):
    weights, rules = {"v2": 30}, strategy(RULE, RULE | {"rule_type": "cookie", "op": "="}, combine_type="or")
    fields = {"additional_version_weights": weights, "additional_version_strategy": rules}

    answer = create(api, description="live", **fields)

    assert answer.status == 200
    assert answer.json == {
        "name": "prod",
        "version": "v1",
        "description": "live",
        "last_modified": "2026-09-21T14:13:20Z",
        "alias_urn": f"{URN}:!prod",
        **fields,
    }
    assert api.send("GET", "/functions/hello/aliases/prod").json == answer.json
    assert api.send("GET", "/functions/hello/aliases").json == [answer.json]
    assert api.changes[-1] == (PROJECT.project_id, "default", "hello")


def test_the_configuration_of_an_alias_is_the_one_of_its_main_version(api):
    create(api, version="v2", additional_version_weights={"v1": 100})

    assert api.config(f"{URN}:!prod")["version"] == "v2"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"name": ""}, 400, "FSS.1014"),
        ({"name": "1a"}, 400, "FSS.1014"),
        ({"name": "a_"}, 400, "FSS.1014"),
        ({"name": "a" * 65}, 400, "FSS.1014"),
        ({"version": ""}, 400, "FSS.1015"),
        ({"version": "v9"}, 404, "FSS.1052"),
        ({"description": "d" * 513}, 400, "FSS.1019"),
        ({"additional_version_weights": {"v9": 1}}, 400, "FSS.1091"),
        ({"additional_version_weights": {"latest": 1}}, 400, "FSS.1091"),
        ({"additional_version_weights": {"v2": 101}}, 400, "FSS.1092"),
        ({"additional_version_weights": {"v2": -1}}, 400, "FSS.1092"),
        ({"additional_version_weights": {"v2": 1, "v3": 1}}, 400, "FSS.1092"),
        (
            {"additional_version_weights": {"v2": 1}, "additional_version_strategy": {"v3": {"rules": [RULE]}}},
            400,
            "FSS.1092",
        ),
        ({"additional_version_weights": {"v1": 1}}, 400, "FSS.1093"),
        ({"additional_version_weights": {"v2": "1"}}, 400, "FSS.0400"),
        ({"additional_version_strategy": {"v9": {"rules": [RULE]}}}, 400, "FSS.1091"),
        ({"additional_version_strategy": {"v1": {"rules": [RULE]}}}, 400, "FSS.1093"),
        ({"additional_version_strategy": strategy()}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(*[RULE] * 11)}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(RULE, combine_type="xor")}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(RULE | {"rule_type": "body"})}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(RULE | {"op": "<"})}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(RULE | {"param": ""})}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(RULE | {"param": "x user"})}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(RULE | {"param": "x:y"})}, 400, "FSS.0400"),
        ({"additional_version_strategy": strategy(RULE | {"value": "v" * 1025})}, 400, "FSS.0400"),
    ],
)
def test_create_refuses(api, fields, status, code):
    assert create(api, **fields).error == (status, code)
    assert api.send("GET", "/functions/hello/aliases").json == []


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a"},
        {"name": "a" * 64},
        {"version": "latest"},
        {"additional_version_weights": {"v2": 0}},
        {"additional_version_weights": {"v2": 100}},
        {"additional_version_weights": {}},
        {"additional_version_strategy": strategy(*[RULE] * 10)},
    ],
)
def test_create_accepts_at_the_limits(api, fields):
    assert create(api, **fields).status == 200


@pytest.mark.proves("error:FSS.1063")
def test_a_name_is_used_once(api):
    create(api)

    assert create(api, version="v2").error == (409, "FSS.1063")


@pytest.mark.proves("error:FSS.1066", "quota:aliases-of-a-version")
def test_a_version_has_one_alias(api):
    create(api)

    assert create(api, "second").error == (409, "FSS.1066")
    create(api, "second", "v2")
    assert update(api, "second", version="v1").error == (409, "FSS.1066")
    assert update(api, "second", version="v2").status == 200


@pytest.mark.proves("error:FSS.1043", "quota:function-aliases")
def test_a_function_has_as_many_aliases_as_the_limit_says(new_api):
    api = new_api(limits=Limits(aliases=1))
    api.create()
    api.publish("v1")
    create(api, "first", "latest")

    assert create(api, "second", "v1").error == (403, "FSS.1043")


def test_an_update_replaces_weights_and_strategy_and_keeps_the_description(api):
    create(api, description="live", additional_version_weights={"v2": 30}, additional_version_strategy=strategy(RULE))

    changed = update(api, version="v3").json

    assert (changed["version"], changed["description"]) == ("v3", "live")
    assert (changed["additional_version_weights"], changed["additional_version_strategy"]) == ({}, {})
    assert api.send("GET", "/functions/hello/aliases/prod").json == changed
    assert update(api, version="v3", description="").json["description"] == ""


@pytest.mark.proves("error:FSS.1091", "error:FSS.1093")
@pytest.mark.parametrize(
    ("name", "fields", "status", "code"),
    [
        ("other", {"version": "v1"}, 404, "FSS.1053"),
        ("1", {"version": "v1"}, 400, "FSS.1014"),
        ("prod", {}, 400, "FSS.1015"),
        ("prod", {"version": "v9"}, 404, "FSS.1052"),
        ("prod", {"version": "v1", "additional_version_weights": {"v9": 1}}, 400, "FSS.1091"),
        ("prod", {"version": "v1", "additional_version_weights": {"v1": 1}}, 400, "FSS.1093"),
    ],
)
def test_update_refuses(api, name, fields, status, code):
    before = create(api).json

    assert update(api, name, **fields).error == (status, code)
    assert api.send("GET", "/functions/hello/aliases").json == [before]


@pytest.mark.proves("error:FSS.1053")
def test_an_alias_is_deleted(api):
    create(api)

    assert api.send("DELETE", "/functions/hello/aliases/prod").status == 204
    assert api.send("GET", "/functions/hello/aliases/prod").error == (404, "FSS.1053")
    assert api.send("DELETE", "/functions/hello/aliases/prod").error == (404, "FSS.1053")


@pytest.mark.proves("error:FSS.1154")
def test_an_alias_with_triggers_cannot_be_deleted(api):
    create(api)
    trigger = Trigger(
        trigger_id="t1",
        project_id=PROJECT.project_id,
        function_id=api.config()["func_id"],
        function_urn=f"{URN}:!prod",
        type_code="TIMER",
        status=TriggerStatus.ACTIVE,
        event_data={},
        created_at=1.0,
        updated_at=1.0,
    )
    api.run(api.store.write(lambda tx: tx.triggers.put(trigger)))

    assert api.send("DELETE", "/functions/hello/aliases/prod").error == (403, "FSS.1154")
    api.run(api.store.write(lambda tx: tx.triggers.delete("t1")))
    assert api.send("DELETE", "/functions/hello/aliases/prod").status == 204


@pytest.mark.proves("error:FSS.1014")
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_alias_name_in_the_path_is_checked(api, method):
    assert api.send(method, "/functions/hello/aliases/1").error == (400, "FSS.1014")


@pytest.mark.proves("error:FSS.1051")
def test_aliases_need_a_function(new_api):
    api = new_api()

    assert create(api).error == (404, "FSS.1051")
    assert api.send("GET", "/functions/hello/aliases").error == (404, "FSS.1051")
