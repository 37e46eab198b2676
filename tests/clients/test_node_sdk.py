"""The vendor's Node.js SDK drives a real server: its paths keep their colons, its queries are not sorted."""

import base64
import json
import uuid

import pytest

from tests.support.node_sdk import NodeSdk, Refused
from tests.support.packages import new_function
from tests.support.server import PROJECT_ID, REGION
from tests.support.waiting import eventually

TELLER = "exports.handler = async (event, context) => ({ got: event, version: context.getVersion() });\n"


@pytest.fixture(scope="module")
def sdk(server):
    client = NodeSdk(server)
    yield client
    client.close()


@pytest.fixture
def new_client(server):
    """Start clients of one's own; they are ended in the end."""
    started = []

    def start(make=NodeSdk, **options):
        started.append(make(server, **options))
        return started[-1]

    yield start
    for client in started:
        client.close()


def create(sdk, **settings):
    """Create a function; return what the SDK answered."""
    name = f"node_{uuid.uuid4().hex[:12]}"
    body = new_function(name, {"index.js": TELLER}, **({"runtime": "Node.js18.15"} | settings))
    return sdk.call("createFunction", body=body)


def publish(sdk, urn, name):
    return sdk.call("createFunctionVersion", functionUrn=urn, body={"version": name, "description": f"as {name}"})


def invoke(sdk, urn, event=None, **headers):
    return sdk.call("invokeFunction", functionUrn=urn, xCFFRequestVersion="v1", body=event or {}, **headers)


def refusal(sdk, operation, **request):
    with pytest.raises(Refused) as caught:
        sdk.call(operation, **request)
    return caught.value.status, caught.value.code


def test_a_function_is_created_as_it_was_asked_for(sdk):
    answer = create(sdk, package="shop", timeout=42, memory_size=512, description="größer ✓", user_data='{"A":"1"}')

    assert answer["httpStatusCode"] == 200
    assert answer["func_urn"] == f"urn:fss:{REGION}:{PROJECT_ID}:function:shop:{answer['func_name']}:latest"
    assert (answer["timeout"], answer["memory_size"], answer["description"]) == (42, 512, "größer ✓")
    assert answer["user_data"] == '{"A":"1"}'


def test_the_configuration_is_read_and_changed(sdk):
    made = create(sdk)
    names = {"func_name": made["func_name"], "runtime": made["runtime"], "handler": made["handler"]}

    sdk.call("updateFunctionConfig", functionUrn=made["func_urn"], body=names | {"timeout": 9, "memory_size": 256})

    shown = sdk.call("showFunctionConfig", functionUrn=made["func_urn"])
    assert (shown["timeout"], shown["memory_size"], shown["digest"]) == (9, 256, made["digest"])


def test_an_invocation_carries_result_status_and_log(sdk):
    urn = create(sdk)["func_urn"]

    answer = invoke(sdk, urn, {"k": "ä"}, xCffLogType="tail")

    assert json.loads(answer["result"]) == {"got": {"k": "ä"}, "version": "latest"}
    assert answer["status"] == 200
    assert answer["request_id"] in answer["log"]


def test_an_asynchronous_request_is_found_in_the_list(sdk):
    urn = create(sdk)["func_urn"]

    accepted = sdk.call("asyncInvokeFunction", functionUrn=urn, body={"k": 1})

    def ended():
        found = sdk.call("listAsyncInvocations", functionUrn=urn, requestId=accepted["request_id"])
        return [one["status"] for one in found["invocations"]] == ["SUCCESS"]

    eventually(ended, because="it ran")


def test_an_alias_with_its_exclamation_mark_leads_to_its_version(sdk):
    urn = create(sdk)["func_urn"].removesuffix(":latest")
    publish(sdk, urn, "v1")
    body = {"name": "dev", "version": "v1", "description": "d"}

    alias = sdk.call("createVersionAlias", functionUrn=urn, body=body)

    assert (alias["alias_urn"], alias["version"]) == (f"{urn}:!dev", "v1")
    assert json.loads(invoke(sdk, alias["alias_urn"])["result"])["version"] == "v1"
    assert [one["name"] for one in sdk.call("listVersionAliases", functionUrn=urn)["body"]] == ["dev"]


def test_triggers_are_a_bare_array(sdk):
    urn = create(sdk)["func_urn"]
    timer = {"name": "tick", "schedule_type": "Rate", "schedule": "30d"}
    body = {"trigger_type_code": "TIMER", "trigger_status": "ACTIVE", "event_data": timer}

    made = sdk.call("createFunctionTrigger", functionUrn=urn, body=body)

    listed = sdk.call("listFunctionTriggers", functionUrn=urn)
    assert listed["httpStatusCode"] == 200
    assert [one["trigger_id"] for one in listed["body"]] == [made["trigger_id"]]
    assert listed["body"][0]["event_data"]["schedule"] == "30d"


def test_a_query_that_is_not_sorted_is_understood_and_its_signature_holds(sdk):
    made = create(sdk)

    listed = sdk.call("listFunctions", marker="0", maxitems="10", funcName=made["func_name"])

    assert [one["func_urn"] for one in listed["functions"]] == [made["func_urn"]]
    assert sdk.call("listFunctions", marker="0", funcName="a b")["functions"] == []


def test_a_deleted_function_is_gone(sdk):
    urn = create(sdk)["func_urn"]

    assert sdk.call("deleteFunction", functionUrn=urn.removesuffix(":latest"))["httpStatusCode"] == 204

    assert refusal(sdk, "showFunctionConfig", functionUrn=urn) == (404, "FSS.1051")


def test_code_is_sent_as_text_too(sdk):
    source = base64.b64encode(b"exports.handler = async (event, context) => 'inline';").decode()

    made = create(sdk, code_type="inline", code_filename="index.js", func_code={"file": source})

    assert invoke(sdk, made["func_urn"])["result"] == "inline"
    assert sdk.call("showFunctionCode", functionUrn=made["func_urn"])["digest"] == made["digest"]


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [({"func_name": "1st"}, 400, "FSS.1002"), ({"timeout": 1}, 400, "FSS.1008"), ({"runtime": "x"}, 400, "FSS.1005")],
)
def test_an_error_carries_status_and_code(sdk, settings, status, code):
    with pytest.raises(Refused) as caught:
        create(sdk, **settings)

    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.message


def test_wrong_credentials_are_refused(new_client):
    assert refusal(new_client(sk="wrong"), "listFunctions") == (401, "APIG.0301")


def test_a_project_is_found_by_its_region(new_client):
    client = new_client(NodeSdk.with_region)

    assert create(client)["namespace"] == PROJECT_ID


def test_a_region_that_is_none_is_refused(server, new_client):
    """It then asks for regions and domains, and tries to create the project: that must not succeed."""
    client = new_client(region="nowhere-1", iam=server.api_url, projectId="")

    with pytest.raises(Refused):
        client.call("listFunctions")


def test_a_client_without_project_is_refused(new_client):
    """It leaves the name in braces in the path, and signs their percent signs twice: no server can verify that."""
    assert refusal(new_client(projectId=""), "listFunctions") == (401, "APIG.0301")
