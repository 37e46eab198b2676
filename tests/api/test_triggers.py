"""Triggers as a resource, through the operations."""

import re

import pytest

from tests.support.gateway import OTHER_PROJECT, PROJECT_ID, Stack

TIMER = {"name": "tick", "schedule_type": "Rate", "schedule": "3m"}
GATEWAY = {
    "name": "API_orders",
    "group_id": "7b1e4c9dfa2044e58f7d60a3c2915be8",
    "group_name": "APIGroup_shop",
    "env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID",
    "env_name": "RELEASE",
    "auth": "NONE",
    "protocol": "HTTPS",
    "path": "/orders",
    "match_mode": "SWA",
    "req_method": "ANY",
    "backend_type": "FUNCTION",
    "type": 1,
    "sl_domain": "shop.example.test",
    "func_info": {"timeout": 5000},
}


@pytest.fixture
def stack(tmp_path):
    whole = Stack(tmp_path)
    yield whole
    whole.close()


def one_path(trigger, urn="orders"):
    return f"/triggers/{urn}/{trigger['trigger_type_code']}/{trigger['trigger_id']}"


def test_a_timer_is_echoed_as_it_was_sent(stack):
    urn = stack.add_function()
    data = {**TIMER, "user_event": "x", "sync_execution": False, "x_note": {"a": [1]}}

    created = stack.create(urn, "TIMER", **data)

    assert created == {
        "trigger_id": created["trigger_id"],
        "trigger_type_code": "TIMER",
        "trigger_status": "ACTIVE",
        "event_data": data,
        "created_time": "2026-03-10T10:00:00+00:00",
        "last_updated_time": "2026-03-10T10:00:00+00:00",
    }
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", created["trigger_id"])
    assert stack.send("GET", one_path(created)) == (200, created)
    assert stack.changes == 1


def test_a_gateway_trigger_has_the_members_of_the_server(stack):
    urn = stack.add_function()

    created = stack.create(urn, "DEDICATEDGATEWAY", **GATEWAY)

    assert re.fullmatch(r"[0-9a-f]{32}", created["trigger_id"])
    assert re.fullmatch(r"[0-9a-f]{32}", created["event_data"]["api_id"])
    assert created["event_data"] == {
        **GATEWAY,
        "triggerid": created["trigger_id"],
        "api_id": created["event_data"]["api_id"],
        "api_name": "API_orders",
        "invoke_url": "http://127.0.0.1:7181/_apig/7b1e4c9dfa2044e58f7d60a3c2915be8/orders",
        "func_info": {"function_urn": urn, "invocation_type": "sync", "timeout": 5000, "version": "latest"},
    }


def test_a_name_is_enough_for_a_gateway_trigger(stack):
    data = stack.create(stack.add_function(), "APIG", name="orders")["event_data"]

    assert (data["auth"], data["path"], data["match_mode"], data["req_method"]) == ("IAM", "/orders", "SWA", "ANY")
    assert data["invoke_url"] == f"http://127.0.0.1:7181/_apig/{PROJECT_ID}/orders"
    assert data["env_name"] == "RELEASE"


def test_the_type_is_taken_in_any_case_and_shown_in_capitals(stack):
    created = stack.create(stack.add_function(), "timer", **TIMER)

    assert created["trigger_type_code"] == "TIMER"
    assert stack.send("GET", f"/triggers/orders/Timer/{created['trigger_id']}")[0] == 200


def test_a_trigger_may_be_created_disabled(stack):
    created = stack.create(stack.add_function(), "TIMER", status="DISABLED", **TIMER)

    assert created["trigger_status"] == "DISABLED"


@pytest.mark.parametrize(
    ("urn", "expected"),
    [
        ("nowhere", (404, "FSS.1051")),
        ("urn:fss:test-1:" + PROJECT_ID + ":function:default:orders:v9", (404, "FSS.1052")),
        ("urn:fss:test-1:" + PROJECT_ID + ":function:default:orders:!beta", (404, "FSS.1053")),
        ("urn:fss:elsewhere:" + PROJECT_ID + ":function:default:orders", (400, "FSS.1309")),
        ("urn:fss:test-1:" + "f" * 32 + ":function:default:orders", (403, "FSS.0403")),
    ],
)
@pytest.mark.proves("error:FSS.1051", "error:FSS.1052", "error:FSS.1053", "error:FSS.1309", "error:FSS.0403")
def test_the_function_must_exist(stack, urn, expected):
    stack.add_function()

    assert stack.refused(urn, "TIMER", **TIMER) == expected


@pytest.mark.parametrize(
    ("type_code", "expected"),
    [("FAX", (400, "FSS.1101")), ("", (400, "FSS.1101")), ("x" * 500, (400, "FSS.1101")), (5, (400, "FSS.0400"))],
)
@pytest.mark.proves("error:FSS.1101")
def test_types_that_do_not_exist(stack, type_code, expected):
    assert stack.refused(stack.add_function(), type_code, name="x") == expected


@pytest.mark.proves("error:FSS.1153")
def test_an_http_function_takes_gateway_triggers_only(stack):
    urn = stack.add_function(runtime="http")

    assert stack.refused(urn, "TIMER", **TIMER) == (412, "FSS.1153")
    asynchronous = {**GATEWAY, "func_info": {"invocation_type": "async"}}
    assert stack.refused(urn, "APIG", **asynchronous) == (400, "FSS.1107")
    assert stack.create(urn, "APIG", **GATEWAY)["trigger_status"] == "ACTIVE"


@pytest.mark.proves("error:FSS.1109")
@pytest.mark.parametrize("data", [None, [], "x", 3, "[" * 10_000, [TIMER] * 101, ["x"], "null"])
def test_event_data_must_be_an_object(stack, data):
    body = {"trigger_type_code": "TIMER", "event_data": data}

    status, answer = stack.send("POST", f"/triggers/{stack.add_function()}", body)

    assert (status, answer["error_code"]) == (400, "FSS.1109")


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": ""},
        {"name": "1st"},
        {"name": "a" * 65},
        {"name": 5},
        {"schedule_type": "rate"},
        {"schedule_type": None},
        {"schedule": "90m"},
        {"schedule": None},
        {"schedule_type": "Cron", "schedule": "0 0 0 30 2 ?"},
        {"user_event": "x" * 4097},
        {"user_event": "ä" * 2049},
        {"user_event": {"a": 1}},
        {"x_junk": "y" * 70_000},
    ],
)
@pytest.mark.proves("error:FSS.1109")
def test_timer_data_that_is_refused(stack, change):
    data = {key: value for key, value in {**TIMER, **change}.items() if value is not None}

    assert stack.refused(stack.add_function(), "TIMER", **data) == (400, "FSS.1109")


@pytest.mark.proves("error:FSS.1417")
@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": "ab"},
        {"name": "a-b-c"},
        {"name": "a" * 65},
        {"auth": "none"},
        {"auth": "AUTHORIZER"},
        {"auth": "AUTHORIZER", "x_authorizer_id": "gone"},
        {"x_authorizer_id": 5},
        {"x_backend_authorizer_id": "gone"},
        {"x_authorizer_forward": "yes"},
        {"x_cors": "yes"},
        {"x_cors": []},
        {"x_cors": {"allow_origins": "*"}},
        {"x_cors": {"allow_origins": []}},
        {"x_cors": {"allow_origins": ["a, b"]}},
        {"x_cors": {"allow_methods": ["TRACE"]}},
        {"x_cors": {"allow_headers": ["x\r\ny"]}},
        {"x_cors": {"max_age": -1}},
        {"x_cors": {"max_age": 86_401}},
        {"x_cors": {"allow_credentials": 1}},
        {"protocol": "FTP"},
        {"path": "orders"},
        {"path": ""},
        {"path": "/a b"},
        {"path": "/a?b"},
        {"path": "/{}"},
        {"path": "/x{a}"},
        {"path": "/{a}/{a}"},
        {"path": "/" + "x" * 600},
        {"match_mode": "EXACT"},
        {"req_method": "get"},
        {"backend_type": "HTTP"},
        {"type": 3},
        {"type": True},
        {"type": "1"},
        {"group_id": "a/b"},
        {"group_id": ""},
        {"func_info": []},
        {"func_info": {"timeout": 0}},
        {"func_info": {"timeout": 60_001}},
        {"func_info": {"timeout": "5000"}},
        {"func_info": {"timeout": True}},
        {"func_info": {"invocation_type": "later"}},
        {"sl_domain": "x" * 256},
        {"x_body_base64": "no"},
    ],
)
@pytest.mark.parametrize(("type_code", "code"), [("APIG", "FSS.1107"), ("DEDICATEDGATEWAY", "FSS.1417")])
@pytest.mark.proves("error:FSS.1107", "error:FSS.1417")
def test_gateway_data_that_is_refused(stack, change, type_code, code):
    data = {key: value for key, value in {**GATEWAY, **change}.items() if value is not None}

    assert stack.refused(stack.add_function(), type_code, **data) == (400, code)


@pytest.mark.proves("error:FSS.1148")
def test_a_timer_name_is_unique_on_its_version(stack):
    urn = stack.add_function(versions=["v1"])
    stack.create(urn, "TIMER", **TIMER)

    assert stack.refused(urn, "TIMER", **TIMER) == (409, "FSS.1148")
    assert stack.create(urn.replace(":latest", ":v1"), "TIMER", **TIMER)["trigger_status"] == "ACTIVE"


@pytest.mark.proves("error:FSS.1123", "quota:pull triggers of a version")
def test_a_version_has_at_most_ten_timers(stack):
    urn = stack.add_function(versions=["v1"])
    for number in range(10):
        stack.create(urn, "TIMER", **{**TIMER, "name": f"t{number}"})

    assert stack.refused(urn, "TIMER", **{**TIMER, "name": "eleventh"}) == (403, "FSS.1123")
    assert stack.create(urn, "APIG", name="orders")["trigger_status"] == "ACTIVE"
    assert stack.create(urn.replace(":latest", ":v1"), "TIMER", **TIMER)["trigger_status"] == "ACTIVE"


@pytest.mark.proves("error:FSS.1146", "error:FSS.1147")
def test_two_triggers_cannot_share_a_route(stack):
    urn = stack.add_function()
    stack.create(urn, "APIG", **{**GATEWAY, "path": "/orders/{id}"})
    other = {**GATEWAY, "name": "another", "path": "/orders/{number}"}

    assert stack.refused(urn, "DEDICATEDGATEWAY", **other) == (409, "FSS.1147")
    assert stack.refused(urn, "APIG", **{**GATEWAY, "path": "/elsewhere"}) == (409, "FSS.1146")


@pytest.mark.parametrize("change", [{"req_method": "GET"}, {"env_name": "test"}, {"group_id": "g2"}])
def test_method_stage_or_group_make_another_route(stack, change):
    urn = stack.add_function()
    stack.create(urn, "APIG", **GATEWAY)

    created = stack.create(urn, "APIG", **{**GATEWAY, "name": "another", **change})

    assert created["trigger_status"] == "ACTIVE"


@pytest.mark.proves("error:FSS.1107")
def test_a_group_belongs_to_the_project_that_had_it_first(stack):
    stack.create(stack.add_function(), "APIG", **GATEWAY)
    theirs = stack.add_function(project=OTHER_PROJECT)

    assert stack.refused(theirs, "APIG", token="other", **{**GATEWAY, "path": "/x"}) == (400, "FSS.1107")


def test_the_list_of_a_urn_is_a_bare_array_of_exactly_its_triggers(stack):
    urn = stack.add_function(versions=["v1"], alias="prod")
    stack.create(urn, "TIMER", **TIMER)
    on_version = stack.create(urn.replace(":latest", ":v1"), "TIMER", **TIMER)
    on_alias = stack.create(urn.replace(":latest", ":!prod"), "TIMER", **TIMER)

    assert stack.send("GET", f"/triggers/{urn.replace(':latest', ':v1')}") == (200, [on_version])
    assert stack.send("GET", f"/triggers/{urn.replace(':latest', ':!prod')}") == (200, [on_alias])
    assert len(stack.send("GET", "/triggers/orders")[1]) == 1
    assert stack.send("GET", "/triggers/nowhere")[0] == 404


@pytest.mark.proves("operation:ListTriggers")
def test_the_list_of_the_project_is_paged_and_names_functions(stack):
    urn = stack.add_function()
    for number in range(3):
        stack.create(urn, "TIMER", **{**TIMER, "name": f"t{number}"})
    stack.create(stack.add_function(project=OTHER_PROJECT), "TIMER", token="other", **TIMER)

    status, first = stack.send("GET", "/triggers?maxitems=2")
    _, second = stack.send("GET", f"/triggers?maxitems=2&marker={first['next_marker']}")
    _, beyond = stack.send("GET", "/triggers?marker=9")

    assert (status, first["next_marker"], first["count"]) == (200, 2, 3)
    assert [one["event_data"]["name"] for one in first["triggers"] + second["triggers"]] == ["t0", "t1", "t2"]
    assert first["triggers"][0]["func_urn"] == urn
    assert beyond["triggers"] == []


@pytest.mark.proves("operation:ListTriggerTypes")
def test_the_types_are_a_bare_array(stack):
    assert stack.send("GET", "/triggertypes") == (200, ["TIMER", "APIG", "DEDICATEDGATEWAY", "APIC"])


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.proves("operation:UpdateTrigger")
def test_an_update_merges_an_object_or_an_array(stack, as_array):
    created = stack.create(stack.add_function(), "TIMER", **TIMER, user_event="keep")
    stack.clock.advance(60)
    change = [{"schedule": "4m"}, {"schedule": "5m"}] if as_array else {"schedule": "5m"}

    status, changed = stack.send("PUT", one_path(created), {"event_data": change})

    assert status == 200
    assert changed["event_data"] == {**TIMER, "schedule": "5m", "user_event": "keep"}
    assert changed["last_updated_time"] == "2026-03-10T10:01:00+00:00"
    assert stack.send("GET", one_path(created)) == (200, changed)


def test_a_timer_can_be_disabled_and_enabled(stack):
    created = stack.create(stack.add_function(), "TIMER", **TIMER)

    disabled = stack.send("PUT", one_path(created), {"trigger_status": "DISABLED"})[1]
    again = stack.send("PUT", one_path(created), {"trigger_status": "DISABLED", "event_data": TIMER})
    enabled = stack.send("PUT", one_path(created), {"trigger_status": "ACTIVE"})[1]

    assert (disabled["trigger_status"], again[0], enabled["trigger_status"]) == ("DISABLED", 200, "ACTIVE")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"event_data": {"schedule": "99m"}}, (400, "FSS.1109")),
        ({"event_data": "x"}, (400, "FSS.1109")),
        ({"event_data": ["x"]}, (400, "FSS.1109")),
        ({"event_data": {"name": "other"}}, (409, "FSS.1148")),
        ({"trigger_status": "PENDING"}, (400, "FSS.0400")),
    ],
)
def test_updates_of_a_timer_that_are_refused(stack, body, expected):
    urn = stack.add_function()
    stack.create(urn, "TIMER", **{**TIMER, "name": "other"})
    created = stack.create(urn, "TIMER", **TIMER)

    status, answer = stack.send("PUT", one_path(created), body)

    assert (status, answer["error_code"]) == expected
    assert stack.send("GET", one_path(created)) == (200, created)


def test_a_gateway_trigger_can_change_but_not_move(stack):
    created = stack.create(stack.add_function(), "APIG", **GATEWAY)
    path = one_path(created)

    whole = stack.send("PUT", path, {"trigger_status": "ACTIVE", "event_data": created["event_data"]})
    moved = stack.send("PUT", path, {"event_data": {"path": "/other"}})
    other_group = stack.send("PUT", path, {"event_data": {"group_id": "other"}})
    _, changed = stack.send("PUT", path, {"event_data": {"auth": "IAM", "func_info": {"timeout": 100}}})

    assert whole == (200, created)
    assert (moved[0], moved[1]["error_code"]) == (400, "FSS.1107")
    assert (other_group[0], other_group[1]["error_code"]) == (400, "FSS.1107")
    assert (changed["event_data"]["auth"], changed["event_data"]["func_info"]["timeout"]) == ("IAM", 100)


@pytest.mark.proves("error:FSS.1318")
def test_a_gateway_trigger_cannot_be_disabled(stack):
    created = stack.create(stack.add_function(), "APIG", **GATEWAY)

    status, answer = stack.send("PUT", one_path(created), {"trigger_status": "DISABLED"})

    assert (status, answer["error_code"]) == (400, "FSS.1318")
    body = {"trigger_type_code": "APIG", "event_data": {**GATEWAY, "path": "/y"}, "trigger_status": "DISABLED"}
    assert stack.send("POST", "/triggers/orders", body)[1]["error_code"] == "FSS.1318"


@pytest.mark.proves("error:FSS.1140")
def test_a_trigger_can_be_deleted_once(stack):
    created = stack.create(stack.add_function(), "TIMER", **TIMER)

    assert stack.send("DELETE", one_path(created)) == (204, None)
    assert stack.send("GET", one_path(created))[1]["error_code"] == "FSS.1140"
    assert stack.send("DELETE", one_path(created))[0] == 404


@pytest.mark.proves("error:FSS.1131", "error:FSS.1138")
@pytest.mark.parametrize(
    ("type_code", "code"), [("TIMER", "FSS.1140"), ("APIG", "FSS.1138"), ("RABBITMQ", "FSS.1131"), ("FAX", "FSS.1137")]
)
@pytest.mark.proves("error:FSS.1140", "error:FSS.1138", "error:FSS.1131", "error:FSS.1137")
def test_a_missing_trigger_has_the_code_of_its_type(stack, type_code, code):
    stack.add_function()

    status, answer = stack.send("GET", f"/triggers/orders/{type_code}/no-such-id")

    assert (status, answer["error_code"]) == (404, code)


def test_a_trigger_is_found_only_under_its_function_type_and_project(stack):
    created = stack.create(stack.add_function(), "TIMER", **TIMER)
    stack.add_function("bills")
    stack.add_function(project=OTHER_PROJECT)

    assert stack.send("GET", one_path(created, "bills"))[0] == 404
    assert stack.send("GET", f"/triggers/orders/APIG/{created['trigger_id']}")[0] == 404
    assert stack.send("DELETE", one_path(created), token="other")[0] == 404
    assert stack.send("GET", one_path(created))[0] == 200


def test_deleting_all_of_a_version_leaves_the_others(stack):
    urn = stack.add_function(versions=["v1"], alias="prod")
    for qualifier in ("latest", "v1", "!prod"):
        stack.create(urn.replace(":latest", f":{qualifier}"), "TIMER", **TIMER)

    assert stack.send("DELETE", f"/triggers/{urn.replace(':latest', ':v1')}") == (204, None)
    assert stack.send("GET", "/triggers")[1]["count"] == 2


@pytest.mark.parametrize("with_qualifier", [True, False])
@pytest.mark.proves("operation:BatchDeleteFunctionTriggers")
def test_deleting_all_of_latest_deletes_those_of_every_version(stack, with_qualifier):
    urn = stack.add_function(versions=["v1"], alias="prod")
    for qualifier in ("latest", "v1", "!prod"):
        stack.create(urn.replace(":latest", f":{qualifier}"), "TIMER", **TIMER)

    assert stack.send("DELETE", f"/triggers/{urn if with_qualifier else urn.removesuffix(':latest')}") == (204, None)
    assert stack.send("GET", "/triggers")[1]["count"] == 0
