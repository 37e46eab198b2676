"""The vendor's Go SDK drives a real server: its types take only answers of exactly their shapes."""

import base64
import json
import uuid

import pytest

from tests.support.go_driver import GoSdk, Refused
from tests.support.packages import new_function, zip_base64
from tests.support.server import PROJECT_ID, REGION
from tests.support.waiting import eventually

TELLER = "def handler(event, context):\n    return {'got': event, 'version': context.getVersion()}\n"


@pytest.fixture(scope="module")
def sdk(server):
    client = GoSdk(server)
    yield client
    client.close()


@pytest.fixture
def new_client(server):
    """Start clients of one's own; they are ended in the end."""
    started = []

    def start(**options):
        started.append(GoSdk(server, **options))
        return started[-1]

    yield start
    for client in started:
        client.close()


def create(sdk, **settings):
    """Create a function; return the answer."""
    body = new_function(f"go_{uuid.uuid4().hex[:12]}", {"index.py": TELLER}, **settings)
    return sdk.call("CreateFunction", body=body)[1]


def invoke(sdk, urn, event=None, **headers):
    request = {"function_urn": urn, "X-CFF-Request-Version": "v1", "body": event or {}}
    return sdk.call("InvokeFunction", **request, **headers)[1]


def refusal(sdk, operation, **request):
    with pytest.raises(Refused) as caught:
        sdk.call(operation, **request)
    return caught.value.status, caught.value.code


def test_a_function_is_made_read_and_changed(sdk):
    made = create(sdk, package="shop", timeout=42, description="größer ✓", user_data='{"A":"1"}')
    urn, names = made["func_urn"], {name: made[name] for name in ("func_name", "runtime", "handler")}

    assert urn == f"urn:fss:{REGION}:{PROJECT_ID}:function:shop:{made['func_name']}:latest"
    assert (made["timeout"], made["description"], made["user_data"]) == (42, "größer ✓", '{"A":"1"}')
    status, _ = sdk.call("UpdateFunctionConfig", function_urn=urn, body=names | {"timeout": 9, "memory_size": 256})
    assert status == 200
    shown = sdk.call("ShowFunctionConfig", function_urn=urn)[1]
    assert (shown["timeout"], shown["memory_size"], shown["digest"]) == (9, 256, made["digest"])


def test_code_is_replaced(sdk):
    made = create(sdk)
    source = base64.b64encode(b"def handler(event, context):\n    return 'inline'\n").decode()
    body = {"code_type": "inline", "code_filename": "index.py", "func_code": {"file": source}}

    changed = sdk.call("UpdateFunctionCode", function_urn=made["func_urn"], body=body)[1]

    assert changed["digest"] != made["digest"]
    assert invoke(sdk, made["func_urn"])["result"] == "inline"
    assert sdk.call("ShowFunctionCode", function_urn=made["func_urn"])[1]["digest"] == changed["digest"]


def test_an_invocation_carries_result_status_and_log(sdk):
    urn = create(sdk)["func_urn"]

    answer = invoke(sdk, urn, {"k": "ä"}, **{"X-Cff-Log-Type": "tail"})

    assert json.loads(answer["result"]) == {"got": {"k": "ä"}, "version": "latest"}
    assert answer["status"] == 200
    assert answer["request_id"] in answer["log"]


def test_an_asynchronous_request_is_found_in_the_list(sdk):
    urn = create(sdk)["func_urn"]

    status, accepted = sdk.call("AsyncInvokeFunction", function_urn=urn, body={"k": 1})

    assert status == 202

    def ended():
        _, found = sdk.call("ListAsyncInvocations", function_urn=urn, request_id=accepted["request_id"])
        return [one["status"] for one in found["invocations"]] == ["SUCCESS"]

    eventually(ended, because="it ran")


def test_asynchronous_settings(sdk):
    urn = create(sdk)["func_urn"]
    body = {"max_async_event_age_in_seconds": 600, "max_async_retry_attempts": 1}

    sdk.call("UpdateFunctionAsyncInvokeConfig", function_urn=urn, body=body)

    shown = sdk.call("ShowFunctionAsyncInvokeConfig", function_urn=urn)[1]
    assert {name: shown[name] for name in body} == body
    assert sdk.call("DeleteFunctionAsyncInvokeConfig", function_urn=urn)[0] == 204
    assert refusal(sdk, "ShowFunctionAsyncInvokeConfig", function_urn=urn)[0] == 404


def test_an_alias_with_its_exclamation_mark_leads_to_its_version(sdk):
    urn = create(sdk)["func_urn"].removesuffix(":latest")
    sdk.call("CreateFunctionVersion", function_urn=urn, body={"version": "v1", "description": "first"})

    alias = sdk.call("CreateVersionAlias", function_urn=urn, body={"name": "dev", "version": "v1"})[1]

    assert (alias["alias_urn"], alias["version"]) == (f"{urn}:!dev", "v1")
    assert json.loads(invoke(sdk, alias["alias_urn"])["result"])["version"] == "v1"
    assert [one["name"] for one in sdk.call("ListVersionAliases", function_urn=urn)[1]["body"]] == ["dev"]
    listed = sdk.call("ListFunctionVersions", function_urn=urn)[1]
    assert [one["version"] for one in listed["versions"]] == ["latest", "v1"]


def test_triggers_are_made_listed_and_deleted(sdk):
    urn = create(sdk)["func_urn"]
    timer = {"name": "tick", "schedule_type": "Rate", "schedule": "30d"}
    body = {"trigger_type_code": "TIMER", "trigger_status": "DISABLED", "event_data": timer}

    status, made = sdk.call("CreateFunctionTrigger", function_urn=urn, body=body)

    assert status == 201
    listed = sdk.call("ListFunctionTriggers", function_urn=urn)[1]["body"]
    assert [(one["trigger_id"], one["event_data"]["schedule"]) for one in listed] == [(made["trigger_id"], "30d")]
    place = {"function_urn": urn, "trigger_type_code": "TIMER", "trigger_id": made["trigger_id"]}
    sdk.call("UpdateTrigger", **place, body={"trigger_status": "ACTIVE"})
    assert sdk.call("ShowFunctionTrigger", **place)[1]["trigger_status"] == "ACTIVE"
    assert sdk.call("DeleteFunctionTrigger", **place)[0] == 204
    assert not sdk.call("ListFunctionTriggers", function_urn=urn)[1].get("body")


def test_dependencies_and_their_versions(sdk):
    body = {
        "name": f"go-{uuid.uuid4().hex[:8]}",
        "depend_type": "zip",
        "depend_file": zip_base64({"shared.py": "VALUE = 1\n"}),
        "runtime": "Python3.10",
    }

    made = sdk.call("CreateDependencyVersion", body=body)[1]

    versions = sdk.call("ListDependencyVersion", depend_id=made["dep_id"])[1]["dependencies"]
    assert [one["version"] for one in versions] == [1]
    assert sdk.call("DeleteDependencyVersion", depend_id=made["dep_id"], version="1")[0] == 204


def test_quotas_and_functions_are_listed(sdk):
    made = create(sdk)

    listed = sdk.call("ListFunctions", marker="0", maxitems="10", func_name=made["func_name"])[1]
    quotas = sdk.call("ListQuotas")[1]["quotas"]["resources"]

    assert [one["func_urn"] for one in listed["functions"]] == [made["func_urn"]]
    assert {one["type"]: one["quota"] for one in quotas}["fgs_func_num"] == 400


def test_a_deleted_function_is_gone(sdk):
    urn = create(sdk)["func_urn"]

    assert sdk.call("DeleteFunction", function_urn=urn.removesuffix(":latest"))[0] == 204

    assert refusal(sdk, "ShowFunctionConfig", function_urn=urn) == (404, "FSS.1051")


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        ({"func_name": "1st"}, 400, "FSS.1002"),
        ({"timeout": 1}, 400, "FSS.1008"),
        ({"memory_size": 129}, 400, "FSS.1007"),
    ],
)
def test_an_error_carries_status_code_and_words(sdk, settings, status, code):
    with pytest.raises(Refused) as caught:
        create(sdk, **settings)

    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.message


def test_wrong_credentials_are_refused(new_client):
    assert refusal(new_client(sk="wrong"), "ListFunctions") == (401, "APIG.0301")


def test_a_project_is_found_by_its_region(new_client):
    assert create(new_client(region=REGION, project_id=""))["namespace"] == PROJECT_ID
