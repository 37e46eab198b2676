"""Publish and list versions, delete them."""

import pytest

from funclet.services.limits import Limits
from tests.support.packages import zip_base64


def urn_of(api, version):
    return api.config()["func_urn"].replace(":latest", f":{version}")


def aliases(api, *bodies):
    for body in bodies:
        assert api.send("POST", "/functions/hello/aliases", body).status == 200


@pytest.mark.proves("faq:FAQ-207")
def test_a_version_is_a_frozen_copy(api):
    created = api.create(user_data='{"a":"1"}').json

    published = api.publish("v1", description="first").json
    api.update(timeout=9)

    assert published["func_urn"] == created["func_urn"].replace(":latest", ":v1")
    assert (published["version"], published["version_description"]) == ("v1", "first")
    assert (published["digest"], published["user_data"]) == (created["digest"], '{"a":"1"}')
    assert published["func_id"] == created["func_id"]
    assert published["image_name"].startswith("v1-")
    assert api.config(published["func_urn"])["timeout"] == 3
    assert len(api.changes) == 3


def test_a_version_without_a_name_is_named_by_the_time(api):
    api.create()

    answer = api.send("POST", "/functions/hello/versions")

    assert answer.json["version"] == "v20260921-141320"


def test_two_versions_of_the_same_second_get_two_names(api):
    api.create()
    api.send("POST", "/functions/hello/versions", {})
    api.update(timeout=9)

    assert api.send("POST", "/functions/hello/versions", {}).json["version"] == "v20260921-141321"


@pytest.mark.parametrize("name", ["1", "v1", "1.0.0", "a" * 42, "v_1-2.3"])
def test_names_that_a_version_may_have(api, name):
    api.create()

    assert api.publish(name).status == 200


@pytest.mark.parametrize("name", ["latest", "a" * 43, "-a", "a-", "a b", "a:b", "!a", "é"])
def test_names_that_a_version_may_not_have(api, name):
    api.create()

    assert api.publish(name).error == (400, "FSS.1015")


@pytest.mark.proves("error:FSS.1062")
def test_a_name_can_be_used_once(api):
    api.create()
    api.publish("v1")
    api.update(timeout=9)

    assert api.publish("v1").error == (409, "FSS.1062")


@pytest.mark.proves("error:FSS.1016")
def test_nothing_is_published_twice(api):
    api.create()
    api.publish("v1")

    assert api.publish("v2").error == (400, "FSS.1016")


@pytest.mark.parametrize("fields", [{"timeout": 9}, {"description": "d"}, {"tags": "a:b"}])
def test_a_change_of_the_configuration_can_be_published(api, fields):
    api.create()
    api.publish("v1")
    api.update(**fields)

    assert api.publish("v2").status == 200


def test_a_change_of_the_code_can_be_published(api):
    api.create()
    api.publish("v1")
    api.send("PUT", "/functions/hello/code", {"code_type": "zip", "func_code": {"file": zip_base64({"a": ""})}})

    assert api.publish("v2").status == 200


def test_a_pin_is_no_change_and_is_not_published(api):
    api.create()
    api.publish("v1")
    api.send("PUT", "/functions/hello/collect/true")

    assert api.publish("v2").error == (400, "FSS.1016")


def test_the_digest_must_be_the_one_of_the_code(api):
    digest = api.create().json["digest"]

    assert api.publish("v1", digest="0" * 128).error == (400, "FSS.1016")
    assert api.publish("v1", digest=digest).status == 200


@pytest.mark.proves("error:FSS.1019")
def test_a_description_has_512_characters_at_most(api):
    api.create()

    assert api.publish("v1", description="d" * 513).error == (400, "FSS.1019")
    assert api.publish("v1", description="d" * 512).status == 200


@pytest.mark.proves("quota:function-versions")
def test_a_function_has_20_versions_with_latest(api):
    api.create()
    for number in range(19):
        api.update(timeout=10 + number)
        assert api.publish(f"v{number}").status == 200
    api.update(timeout=9)

    assert api.publish("v19").error == (403, "FSS.0403")
    assert api.send("DELETE", f"/functions/{urn_of(api, 'v0')}").status == 204
    assert api.publish("v19").status == 200


def test_versions_count_toward_the_quota_of_code(new_api):
    api = new_api(limits=Limits(code_bytes=200))
    api.create()

    assert api.publish("v1").error == (403, "FSS.1042")
    assert api.send("GET", "/functions/hello/versions").json["count"] == 1


def test_publishing_needs_a_function(api):
    assert api.publish("v1").error == (404, "FSS.1051")


def test_a_version_of_a_disabled_function_stays_disabled(api):
    api.create()
    api.send("PUT", "/functions/hello/config-max-instance", {"max_instance_num": 0})

    assert api.publish("v1").json["strategy_config"]["concurrency"] == 0


def test_list_has_latest_first_and_then_the_newest(api):
    api.create()
    for name in ("v1", "v2"):
        api.clock.at += 1
        api.update(description=name)
        api.publish(name, description=f"about {name}")

    listed = api.send("GET", "/functions/hello/versions").json

    assert [row["version"] for row in listed["versions"]] == ["latest", "v2", "v1"]
    assert [row["version_description"] for row in listed["versions"]] == ["", "about v2", "about v1"]
    assert all(row["func_urn"].count(":") == 7 for row in listed["versions"])
    assert (listed["next_marker"], listed["count"]) == (3, 3)


def test_list_pages_if_asked(api):
    api.create()
    api.publish("v1")

    page = api.send("GET", "/functions/hello/versions?marker=1&maxitems=1").json
    beyond = api.send("GET", "/functions/hello/versions?marker=2").json

    assert ([row["version"] for row in page["versions"]], page["next_marker"], page["count"]) == (["v1"], 2, 2)
    assert (beyond["versions"], beyond["next_marker"]) == ([], 2)
    assert api.send("GET", "/functions/hello/versions?marker=x").error == (400, "FSS.1001")
    assert api.send("GET", "/functions/other/versions").error == (404, "FSS.1051")


@pytest.mark.proves("error:FSS.1052")
def test_deleting_a_version_takes_its_alias_along(api):
    api.create()
    api.publish("v1")
    aliases(api, {"name": "prod", "version": "v1"})

    assert api.send("DELETE", f"/functions/{urn_of(api, 'v1')}").status == 204
    assert api.send("GET", "/functions/hello/aliases").json == []
    assert api.send("DELETE", f"/functions/{urn_of(api, 'v1')}").error == (404, "FSS.1052")
    assert api.config()


def test_deleting_by_alias_deletes_the_version_that_it_names(api):
    api.create()
    api.publish("v1")
    aliases(api, {"name": "prod", "version": "v1"}, {"name": "dev", "version": "latest"})

    assert api.send("DELETE", f"/functions/{urn_of(api, '!dev')}").error == (400, "FSS.1015")
    assert api.send("DELETE", f"/functions/{urn_of(api, '!none')}").error == (404, "FSS.1053")
    assert api.send("DELETE", f"/functions/{urn_of(api, '%21prod')}").status == 204
    assert api.send("GET", f"/functions/{urn_of(api, 'v1')}/config").error == (404, "FSS.1052")


@pytest.mark.proves("error:FSS.1094")
@pytest.mark.parametrize(
    "additional",
    [
        {"additional_version_weights": {"v1": 10}},
        {
            "additional_version_strategy": {
                "v1": {"rules": [{"rule_type": "Header", "param": "a", "op": "=", "value": ""}]}
            }
        },
    ],
)
def test_an_additional_version_cannot_be_deleted(api, additional):
    api.create()
    api.publish("v1")
    aliases(api, {"name": "prod", "version": "latest", **additional})

    assert api.send("DELETE", f"/functions/{urn_of(api, 'v1')}").error == (403, "FSS.1094")
