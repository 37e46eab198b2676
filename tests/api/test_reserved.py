"""Reserved instances over the API: policies, their lists, and every way to ask for what cannot be."""

import pytest

from funclet.model.reserved import InstanceInfo
from funclet.services.reserved import ReservedLimits
from tests.support.api import OTHER_PROJECT, PROJECT, REGION

URN = f"urn:fss:{REGION}:{PROJECT.project_id}:function:default:hello"
INSTANCES = f"http://host:8000/v2/{PROJECT.project_id}/funclet/functions"
NOTHING = {"count": 0, "idle_mode": False, "tactics_config": {}}
CRON = {"name": "up", "cron": "0 0 8 * * ?", "count": 10, "start_time": 1_700_000_000, "expired_time": 1_900_000_000}
METRIC = {"name": "busy", "type": "Concurrency", "threshold": 60, "min": 3}
FULL = {"count": 2, "idle_mode": True, "tactics_config": {"cron_configs": [CRON], "metric_configs": [METRIC]}}


@pytest.fixture
def hello(api):
    """An API with one function, its version v1 and an alias for that."""
    api.create()
    api.publish("v1")
    api.send("POST", "/functions/hello/aliases", {"name": "live", "version": "v1"})
    return api


def put(api, body, urn="hello"):
    return api.send("PUT", f"/functions/{urn}/reservedinstances", body)


def configs(api, query=""):
    answer = api.send("GET", f"/functions/reservedinstanceconfigs{query}")
    assert answer.status == 200, answer.json
    return answer.json


@pytest.mark.proves("operation:UpdateFunctionReservedInstancesCount", "operation:ListReservedInstanceConfigs")
def test_what_is_set_is_read_back(hello):
    assert put(hello, FULL).json == FULL

    assert configs(hello) == {
        "reserved_instances": [
            {
                "function_urn": URN,
                "qualifier_type": "version",
                "qualifier_name": "latest",
                "min_count": 2,
                "idle_mode": True,
                "tactics_config": FULL["tactics_config"],
            }
        ],
        "count": 1,
        "page_info": {"next_marker": 1, "previous_marker": 0, "current_count": 1},
    }
    found = hello.config()
    assert (found["reserved_instance_count"], found["reserved_instance_idle_mode"]) == (2, True)
    assert hello.config(f"{URN}:v1")["reserved_instance_count"] == 0


def test_the_data_plane_is_told_of_each_change(hello):
    hello.changes.clear()
    put(hello, {"count": 1})

    assert hello.changes == [(PROJECT.project_id, "default", "hello")]


@pytest.mark.proves("operation:ListFunctionReservedInstances")
def test_the_counts_are_those_that_hold_now(hello):
    every = {"name": "up", "cron": "@every 1h", "count": 7, "start_time": int(hello.clock.at)}
    put(hello, {"count": 1, "tactics_config": {"cron_configs": [every]}}, f"{URN}:v1")

    def counts(query=""):
        return hello.send("GET", f"/functions/reservedinstances{query}").json["reservedinstances"]

    assert counts() == [{"func_urn": f"{URN}:v1", "count": 1}]
    hello.clock.at += 3600
    assert counts(f"?urn={URN}") == [{"func_urn": f"{URN}:v1", "count": 7}]


@pytest.mark.parametrize("nothing", [NOTHING, {"count": 0}, {"count": 0, "idle_mode": False, "tactics_config": None}])
def test_nothing_at_all_takes_a_policy_away(hello, nothing):
    put(hello, FULL)

    assert put(hello, nothing).json == NOTHING
    assert configs(hello)["count"] == 0


def test_a_schedule_without_times_begins_now_and_has_no_end(hello):
    cron = {"name": "up", "cron": "@every 1h", "count": 1}
    answer = put(hello, {"count": 0, "tactics_config": {"cron_configs": [cron]}})

    assert answer.json["tactics_config"] == {"cron_configs": [{**cron, "start_time": int(hello.clock.at)}]}


def test_each_version_and_alias_has_a_policy_of_its_own_and_any_qualifier_finds_them(hello):
    hello.create("other")
    put(hello, {"count": 1})
    put(hello, {"count": 2}, f"{URN}:!live")
    put(hello, {"count": 3}, "other")

    for asked in (URN, f"{URN}:latest", f"{URN}:!live"):
        found = configs(hello, f"?function_urn={asked}")
        names = [(one["qualifier_type"], one["qualifier_name"]) for one in found["reserved_instances"]]
        assert names == [("alias", "live"), ("version", "latest")]
    assert configs(hello)["count"] == 3


def test_lists_have_pages_and_an_empty_one_behind_the_last(hello):
    put(hello, {"count": 1})
    put(hello, {"count": 1}, f"{URN}:v1")

    first, second, third = (configs(hello, f"?limit=1&marker={marker}") for marker in (0, 1, 2))

    assert [len(page["reserved_instances"]) for page in (first, second, third)] == [1, 1, 0]
    assert [page["page_info"]["next_marker"] for page in (first, second, third)] == [1, 2, 2]
    assert second["page_info"]["previous_marker"] == 0
    assert hello.send("GET", "/functions/reservedinstances?marker=9").json["reservedinstances"] == []


@pytest.mark.proves("error:FSS.1001")
@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "marker=1.5", "marker=-1"])
@pytest.mark.parametrize("path", ["reservedinstances", "reservedinstanceconfigs"])
def test_pages_are_numbers(hello, path, query):
    assert hello.send("GET", f"/functions/{path}?{query}").error == (400, "FSS.1001")


def cron(**changes):
    return {"count": 1, "tactics_config": {"cron_configs": [{**CRON, **changes}]}}


def metric(**changes):
    return {"count": 1, "tactics_config": {"metric_configs": [{**METRIC, **changes}]}}


@pytest.mark.proves("error:FSS.0400", "quota:reserved-instances")
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"count": None},
        {"count": "1"},
        {"count": 1.5},
        {"count": True},
        {"count": -1},
        {"count": 1001},
        {"count": 10**30},
        {"count": 1, "idle_mode": "yes"},
        {"count": 1, "tactics_config": []},
        {"count": 1, "tactics_config": {"cron_configs": {}}},
        {"count": 1, "tactics_config": {"cron_configs": [None]}},
        {"count": 1, "tactics_config": {"cron_configs": [{}]}},
        {"count": 1, "tactics_config": {"cron_configs": [{**CRON, "name": f"n{one}"} for one in range(21)]}},
        {"count": 1, "tactics_config": {"cron_configs": [CRON, CRON]}},
        {"count": 1, "tactics_config": {"metric_configs": [METRIC, METRIC]}},
        cron(name=""),
        cron(name="x" * 61),
        cron(name=None),
        cron(cron=""),
        cron(cron="* * * *"),
        cron(cron="0 0 0 * * ? 2027"),
        cron(cron="@every -5m"),
        cron(cron="CRON_TZ=Nowhere/Here 0 0 8 * * ?"),
        cron(cron="0 0 0 30 2 ?"),
        cron(cron="x" * 1000),
        cron(cron=8),
        cron(count=0),
        cron(count=1001),
        cron(count="2"),
        cron(start_time="now"),
        cron(start_time=-1),
        cron(start_time=10**15),
        cron(expired_time=1_700_000_000),
        cron(expired_time=-5),
        metric(name=""),
        metric(type="Memory"),
        metric(threshold=0),
        metric(threshold=100),
        metric(threshold=None),
        metric(min=0),
        metric(min=1001),
        metric(min="3"),
    ],
)
def test_bad_bodies_are_refused_and_change_nothing(hello, body):
    put(hello, {"count": 4})

    assert put(hello, body).error == (400, "FSS.0400")
    assert configs(hello)["reserved_instances"][0]["min_count"] == 4


@pytest.mark.proves("error:FSS.0406")
@pytest.mark.parametrize("body", [b"{", b"count=1", b"\xff"])
def test_what_is_no_json_is_refused(hello, body):
    assert put(hello, body).error == (406, "FSS.0406")


def test_unknown_members_are_ignored(hello):
    assert put(hello, {"count": 1, "colour": "red"}).status == 200


@pytest.mark.proves("error:FSS.1051", "error:FSS.1052", "error:FSS.1053", "error:FSS.1309", "error:FSS.0403")
@pytest.mark.parametrize(
    ("urn", "error"),
    [
        ("none", (404, "FSS.1051")),
        (f"{URN}:v9", (404, "FSS.1052")),
        (f"{URN}:!none", (404, "FSS.1053")),
        ("a:b:c:d:e", (400, "FSS.1309")),
        (URN.replace(PROJECT.project_id, OTHER_PROJECT.project_id), (403, "FSS.0403")),
    ],
)
def test_what_does_not_exist_has_no_policy(hello, urn, error):
    assert put(hello, {"count": 1}, urn).error == error


def test_another_project_sees_and_counts_nothing(hello):
    put(hello, {"count": 90})
    hello.act_as(OTHER_PROJECT)

    assert configs(hello)["count"] == 0
    assert hello.send("GET", "/functions/reservedinstances").json["count"] == 0
    hello.create()
    assert put(hello, {"count": 90}).status == 200


@pytest.mark.proves("error:FSS.1076", "quota:fgs_func_occurs")
def test_the_project_has_ninety_together_and_not_one_more(hello):
    assert put(hello, {"count": 60}).status == 200
    assert put(hello, {"count": 30}, f"{URN}:v1").status == 200

    assert put(hello, {"count": 31}, f"{URN}:v1").error == (400, "FSS.1076")
    assert put(hello, {"count": 61}).error == (400, "FSS.1076")
    # What a schedule wants at its time is counted all the time.
    assert put(
        hello, {"count": 30, "tactics_config": {"cron_configs": [{**CRON, "count": 31}]}}, f"{URN}:v1"
    ).error == (
        400,
        "FSS.1076",
    )
    assert put(hello, {"count": 59}).status == 200
    assert put(hello, {"count": 31}, f"{URN}:v1").status == 200


@pytest.mark.proves("error:FSS.1076")
def test_no_more_are_reserved_than_the_function_may_have(hello):
    hello.send("PUT", "/functions/hello/config-max-instance", {"max_instance_num": 5})

    assert put(hello, {"count": 5}).status == 200
    assert put(hello, {"count": 6}).error == (400, "FSS.1076")
    hello.send("PUT", "/functions/hello/config-max-instance", {"max_instance_num": 0})
    assert put(hello, {"count": 1}).error == (400, "FSS.1076")
    assert put(hello, {"count": 0}).status == 200
    hello.send("PUT", "/functions/hello/config-max-instance", {"max_instance_num": -1})
    assert put(hello, {"count": 90}).status == 200


@pytest.mark.proves("error:FSS.1076")
def test_what_the_memory_of_the_node_does_not_hold_is_refused(new_api):
    api = new_api(reserved_limits=ReservedLimits(memory_mib=1140))
    api.create()
    api.create("large", memory_size=512)

    assert put(api, {"count": 4}).status == 200
    assert put(api, {"count": 2}, "large").error == (400, "FSS.1076")
    assert put(api, {"count": 1}, "large").status == 200


@pytest.mark.proves("error:FSS.1076")
def test_each_process_holds_the_functions_that_it_owns(new_api):
    owners = {}
    limits = ReservedLimits(memory_mib=143, owner_of=lambda function_id: owners.setdefault(function_id, len(owners)))
    api = new_api(reserved_limits=limits)
    for name in ("one", "two"):
        api.create(name)
        assert put(api, {"count": 1}, name).status == 200
        assert put(api, {"count": 2}, name).error == (400, "FSS.1076")


@pytest.mark.proves("error:FSS.1076")
def test_an_alias_and_its_version_do_not_both_keep_instances(hello):
    put(hello, {"count": 1}, f"{URN}:!live")

    assert put(hello, {"count": 1}, f"{URN}:v1").error == (400, "FSS.1076")
    assert put(hello, {"count": 1}).status == 200, "latest is another version"
    put(hello, {"count": 0}, f"{URN}:!live")
    assert put(hello, {"count": 1}, f"{URN}:v1").status == 200
    assert put(hello, {"count": 1}, f"{URN}:!live").error == (400, "FSS.1076")


@pytest.mark.proves("error:FSS.1076")
def test_an_alias_that_keeps_instances_is_not_pointed_at_a_version_that_does(hello):
    put(hello, {"count": 1})
    put(hello, {"count": 1}, f"{URN}:!live")

    answer = hello.send("PUT", "/functions/hello/aliases/live", {"version": "latest"})

    assert answer.error == (400, "FSS.1076")
    assert hello.send("GET", "/functions/hello/aliases/live").json["version"] == "v1"


def test_settings_can_be_changed_while_instances_are_reserved(hello):
    put(hello, {"count": 3})

    assert hello.update(memory_size=256).status == 200
    assert configs(hello)["reserved_instances"][0]["min_count"] == 3


def test_a_policy_goes_with_its_function(hello):
    put(hello, {"count": 3})
    hello.send("DELETE", "/functions/hello")
    hello.create()

    assert configs(hello)["count"] == 0


def instance(name, version="latest", *, is_reserved=True):
    return InstanceInfo(
        instance_id=name, version=version, state="idle", is_reserved=is_reserved, memory_mib=128,
        started_at=1_790_000_000.0, served=3,
    )  # fmt: skip


@pytest.mark.proves("operation:ListInstances")
def test_instances_are_listed(hello):
    hello.instances.found[hello.config()["func_id"]] = [instance("i-1")]

    answer = hello.send("GET", f"http://host:8000/v2/{PROJECT.project_id}/funclet/functions/hello/instances")

    assert answer.json == {
        "instances": [
            {
                "instance_id": "i-1",
                "version": "latest",
                "state": "idle",
                "reserved": True,
                "memory_size": 128,
                "started_at": "2026-09-21T14:13:20Z",
                "served": 3,
            }
        ],
        "count": 1,
    }


@pytest.mark.parametrize(
    ("urn", "names"),
    [
        ("hello", ["i-1", "i-2"]),
        (f"{URN}:latest", ["i-1", "i-2"]),
        (f"{URN}:v1", ["i-2"]),
        (f"{URN}:!live", ["i-2"]),
        (f"{URN}:v2", []),
    ],
)
@pytest.mark.proves("operation:ListInstances")
def test_instances_of_a_version_are_listed_alone(hello, urn, names):
    hello.update(memory_size=256)
    hello.publish("v2")
    hello.instances.found[hello.config()["func_id"]] = [instance("i-1"), instance("i-2", "v1")]

    answer = hello.send("GET", f"{INSTANCES}/{urn}/instances")

    assert [one["instance_id"] for one in answer.json["instances"]] == names


@pytest.mark.parametrize(
    ("urn", "code"), [(f"{URN}:v9", "FSS.1052"), (f"{URN}:!none", "FSS.1053"), ("nothing", "FSS.1051")]
)
@pytest.mark.proves("operation:ListInstances")
def test_instances_of_what_does_not_exist_are_not_an_empty_list(hello, urn, code):
    assert hello.send("GET", f"{INSTANCES}/{urn}/instances").error == (404, code)


@pytest.mark.proves("operation:DeleteReservedInstanceById")
def test_an_instance_that_is_released_is_not_kept_any_more(hello):
    put(hello, {"count": 2})
    hello.instances.found[hello.config()["func_id"]] = [instance("i-1"), instance("i-2")]

    assert hello.send("DELETE", "/functions/hello/reservedinstances/i-1").status == 204
    assert configs(hello)["reserved_instances"][0]["min_count"] == 1
    assert hello.send("DELETE", "/functions/hello/reservedinstances/i-2").status == 204
    assert configs(hello)["count"] == 0


@pytest.mark.proves("error:FSS.0404", "error:FSS.1051")
def test_only_a_reserved_instance_that_is_there_is_released(hello):
    put(hello, {"count": 2})
    hello.instances.found[hello.config()["func_id"]] = [instance("on-demand", is_reserved=False)]

    for name in ("on-demand", "none", "%00"):
        assert hello.send("DELETE", f"/functions/hello/reservedinstances/{name}").error == (404, "FSS.0404")
    assert hello.send("DELETE", "/functions/none/reservedinstances/i-1").error == (404, "FSS.1051")
    assert configs(hello)["reserved_instances"][0]["min_count"] == 2


@pytest.mark.proves("quota:fgs_func_occurs")
def test_the_quota_says_how_many_are_reserved(hello):
    put(hello, {"count": 2, "tactics_config": {"cron_configs": [{**CRON, "count": 7}]}})
    put(hello, {"count": 3}, f"{URN}:v1")

    rows = {row["type"]: row for row in hello.send("GET", "/quotas").json["quotas"]["resources"]}

    assert rows["fgs_func_occurs"] == {"type": "fgs_func_occurs", "quota": 100, "used": 10}
