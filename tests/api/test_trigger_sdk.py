"""Triggers of all kinds through the vendor's SDK, and with the requests of its Terraform provider, on a real server."""

import json
import uuid

import pytest
from huaweicloudsdkfunctiongraph import v2

from tests.support.trigger_data import GOOD, KINDS, SECRETS

pytestmark = [
    pytest.mark.root,
    pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning"),
]
# The SDK's objects lack the members of these.
CODES = [code for code in GOOD if code not in ("DYNAMODB", "IOTDA")]


@pytest.fixture(scope="module")
def prepared(server):
    """The shared server, with the stream and the topic that data of triggers name."""
    for path, body in (
        ("streams", {"stream_name": "clicks", "partition_count": 1}),
        ("notifications/topics", {"name": "orders-topic", "display_name": ""}),
    ):
        server.client.call("POST", f"/v2/{server.project_id}/{path}", body=body_of(body))
    return server


def body_of(document):
    return json.dumps(document).encode()


@pytest.mark.parametrize("code", CODES)
def test_sdk_objects_hold_every_kind(prepared, sdk, code):
    urn = sdk.create().func_urn
    known = v2.TriggerEventDataRequestBody.openapi_types
    data = {name.lower() if name == "Key_encode" else name: value for name, value in GOOD[code].items()}
    request = v2.TriggerEventDataRequestBody(**{name: value for name, value in data.items() if name in known})
    body = v2.CreateFunctionTriggerRequestBody(trigger_type_code=code, event_data=request)

    created = sdk.call("create_function_trigger", function_urn=urn, body=body)
    names = {"function_urn": urn, "trigger_type_code": code, "trigger_id": created.trigger_id}
    change = v2.UpdateTriggerRequestBody(trigger_status="ACTIVE", event_data=[v2.UpdateriggerEventData()])
    updated = sdk.call("update_trigger", **names, body=change)
    shown = sdk.call("show_function_trigger", **names)
    listed = sdk.call("list_function_triggers", function_urn=urn).body
    sdk.call("delete_function_trigger", **names)

    assert (created.trigger_type_code, created.trigger_status) == (code, "DISABLED")
    assert (updated.trigger_status, shown.trigger_status) == ("DISABLED", "DISABLED")
    assert [one.trigger_id for one in listed] == [created.trigger_id]
    answered = shown.event_data.to_dict()
    for name, value in data.items():
        if name in known and name not in SECRETS.get(code, ()):
            assert (name, answered[name]) == (name, value)


@pytest.mark.parametrize("code", [*KINDS, "TIMER"])
def test_the_requests_of_terraform(prepared, sdk, code):
    """Create without a status, read, update with both members, poll, delete, poll until 404."""
    urn = sdk.create().func_urn
    timer = {"name": "tick", "schedule_type": "Rate", "schedule": "30d", "sync_execution": False}
    data = {**GOOD, "TIMER": timer}[code]
    send = prepared.client.call
    base = f"/v2/{prepared.project_id}/fgs/triggers/{urn}"

    created = send("POST", base, body=body_of({"trigger_type_code": code, "event_data": data})).json()
    one = f"{base}/{code}/{created['trigger_id']}"
    read = send("GET", one).json()
    update = send("PUT", one, body=body_of({"trigger_status": "ACTIVE", "event_data": data}))
    polled = send("GET", one).json()
    deleted = send("DELETE", one)
    gone = send("GET", one, raises=False)

    expected = {name: value for name, value in data.items() if name not in SECRETS.get(code, ())}
    assert read["event_data"] == expected, "what terraform compares"
    assert (update.status, deleted.status, gone.status) == (200, 204, 404)
    assert polled["trigger_status"] in ("ACTIVE", "DISABLED"), "what it polls for"
    assert polled["event_data"] == expected
    assert uuid.UUID(created["trigger_id"])
