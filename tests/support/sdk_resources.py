"""What the vendor's Python SDK makes of the smaller groups: one check per operation, as `tests/api/test_sdk.py` has."""

import base64
import contextlib
import json
import uuid

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2

from tests.support.sdk import refused

CHECKS = {}
REPORT, RELAY = "7c1d4a2be5f35d1fa3b7f2d81e2f9b02", "7c1d4a2be5f35d1fa3b7f2d81e2f9b03"


def check(function):
    """Register the check of the operation that the function is named after."""
    CHECKS[function.__name__] = function
    return function


def add_event(sdk, urn, name="first"):
    """Create a test event; return its id."""
    body = v2.CreateEventRequestBody(name=name, content=base64.b64encode(b'{"a": 1}').decode())
    return sdk.call("create_event", function_urn=urn, body=body).id


def add_tags(sdk, urn, **tags):
    """Give a function tags."""
    pairs = [v2.KvItem(key=key, value=value) for key, value in tags.items()]
    body = v2.UpdateFunctionTagsRequestBody(action="create", tags=pairs)
    return sdk.call("create_tags", resource_type="functions", resource_id=urn, body=body)


def tags_of(sdk, urn):
    """Return the tags of a function."""
    tags = sdk.call("list_function_tags", resource_type="functions", resource_id=urn).tags
    return {one.key: one.value for one in tags}


def search(sdk, action, name):
    """Look for functions by name; the SDK knows no search by tags of the user."""
    body = v2.ListEnterpriseResourceRequestBody(
        action=action, limit="10", offset="0", matches=[v2.KvItem(key="resource_name", value=name)]
    )
    return sdk.call("show_res_instance_info", resource_type="functions", action=action, body=body)


def make_application(sdk, template_id=REPORT, **params):
    """Make an application of a name of its own; return name and id."""
    name = f"sdk-{uuid.uuid4().hex[:12]}x"
    body = v2.CreateFunctionAppRequestBody(name=name, template_id=template_id, description="made", params=params)
    return name, sdk.call("create_function_app", body=body).application_id


@check
@pytest.mark.proves("operation:CreateEvent")
def create_event(sdk):
    """It is there under the id that was answered."""
    urn = sdk.create().func_urn

    event_id = add_event(sdk, urn)

    assert sdk.call("show_event", function_urn=urn, event_id=event_id).name == "first"


@check
@pytest.mark.proves("operation:ListEvents")
def list_events(sdk):
    """All are listed, without their contents."""
    urn = sdk.create().func_urn
    ids = [add_event(sdk, urn, name) for name in ("b", "a")]

    listed = sdk.call("list_events", function_urn=urn)

    assert ([one.id for one in listed.events], listed.count, listed.next_marker) == (ids, 2, 2)
    assert all(one.last_modified > 1_700_000_000 for one in listed.events)


@check
@pytest.mark.proves("operation:ShowEvent")
def show_event(sdk):
    """Its content is the one that was sent."""
    urn = sdk.create().func_urn
    event_id = add_event(sdk, urn)

    shown = sdk.call("show_event", function_urn=urn, event_id=event_id)

    assert (shown.id, json.loads(base64.b64decode(shown.content))) == (event_id, {"a": 1})


@check
@pytest.mark.proves("operation:UpdateEvent")
def update_event(sdk):
    """The new content stays."""
    urn = sdk.create().func_urn
    event_id = add_event(sdk, urn)
    body = v2.UpdateEventRequestBody(content=base64.b64encode(b"[2]").decode())

    changed = sdk.call("update_event", function_urn=urn, event_id=event_id, body=body)

    assert (changed.id, changed.name) == (event_id, "first")
    assert base64.b64decode(sdk.call("show_event", function_urn=urn, event_id=event_id).content) == b"[2]"


@check
@pytest.mark.proves("operation:DeleteEvent")
def delete_event(sdk):
    """It is gone."""
    urn = sdk.create().func_urn
    event_id = add_event(sdk, urn)

    sdk.call("delete_event", function_urn=urn, event_id=event_id)

    gone = refused(ClientRequestException, sdk.call, "show_event", function_urn=urn, event_id=event_id)
    assert gone == (404, "FSS.1070")


@check
@pytest.mark.proves("operation:CreateTags")
def create_tags(sdk):
    """They are answered with 204 and are there."""
    urn = sdk.create().func_urn

    assert add_tags(sdk, urn, team="a").status_code == 204
    assert tags_of(sdk, urn) == {"team": "a"}


@check
@pytest.mark.proves("operation:DeleteTags")
def delete_tags(sdk):
    """Only what is named goes."""
    urn = sdk.create().func_urn
    add_tags(sdk, urn, a="1", b="2")
    body = v2.UpdateFunctionTagsRequestBody(action="delete", tags=[v2.KvItem(key="a", value="1")])

    answer = sdk.call("delete_tags", resource_type="functions", resource_id=urn, body=body)

    assert (answer.status_code, tags_of(sdk, urn)) == (204, {"b": "2"})


@check
@pytest.mark.proves("operation:ListFunctionTags")
def list_function_tags(sdk):
    """Tags of the system stand beside those of the user."""
    urn = sdk.create(enterprise_project_id="ep").func_urn
    add_tags(sdk, urn, team="a")

    listed = sdk.call("list_function_tags", resource_type="functions", resource_id=urn)

    assert [(one.key, one.value) for one in listed.tags] == [("team", "a")]
    assert [(one.key, one.value) for one in listed.sys_tags] == [("_sys_enterprise_project_id", "ep")]


@check
@pytest.mark.proves("operation:ShowProjectTagsList")
def show_project_tags_list(sdk):
    """Values of all functions are gathered."""
    key = f"k{uuid.uuid4().hex[:8]}"
    for value in ("b", "a"):
        add_tags(sdk, sdk.create().func_urn, **{key: value})

    tags = sdk.call("show_project_tags_list", resource_type="functions").tags

    assert {one.key: one.values for one in tags}[key] == ["a", "b"]


@check
@pytest.mark.proves("operation:ShowResInstanceInfo")
def show_res_instance_info(sdk):
    """Functions are found, and counted."""
    made = sdk.create()
    add_tags(sdk, made.func_urn, team="a")

    found, counted = search(sdk, "filter", made.func_name), search(sdk, "count", made.func_name)

    (row,) = found.resources
    assert (row.resource_name, row.resource_id) == (made.func_name, made.func_urn.removesuffix(":latest"))
    assert [(one.key, one.value) for one in row.tags] == [("team", "a")]
    assert (found.total_count, counted.total_count) == (1, 1)


@check
@pytest.mark.proves("operation:ListFunctionTemplate")
def list_function_template(sdk):
    """They are filtered by runtime."""
    listed = sdk.call("list_function_template", runtime="Node.js18.15").func_templates

    assert {one.runtime for one in listed} == {"Node.js18.15"}
    assert {"hello-world-nodejs", "page-nodejs"} <= {one.template_name for one in listed}


@check
@pytest.mark.proves("operation:ShowFunctionTemplate")
def show_function_template(sdk):
    """All that a function needs is there."""
    listed = {one.template_name: one for one in sdk.call("list_function_template").func_templates}

    shown = sdk.call("show_function_template", template_id=listed["heartbeat-python"].id)

    assert (shown.runtime, shown.handler, shown.code_type, shown.timeout) == (
        "Python3.10",
        "index.handler",
        "inline",
        3,
    )
    assert "def handler" in shown.code
    assert [one.trigger_type for one in shown.trigger_metadata_list] == ["TIMER"]
    assert json.loads(shown.temp_detail.input)["trigger_type"] == "TIMER"


@check
@pytest.mark.proves("operation:ListAppTemplates")
def list_app_templates(sdk):
    """They are filtered by category."""
    listed = sdk.call("list_app_templates", category="data")

    assert ([one.name for one in listed.templates], listed.count) == (["report"], 1)
    assert len(sdk.call("list_app_templates").templates) == 4


@check
@pytest.mark.proves("operation:ShowAppTemplate")
def show_app_template(sdk):
    """It says what can be chosen."""
    shown = sdk.call("show_app_template", id=RELAY)

    required = [one["name"] for one in json.loads(shown.params) if one["required"]]
    assert (shown.name, required) == ("webhook-relay", ["secret"])
    assert [one.resource_name for one in shown.resources] == ["signature", "receive", "forward", "hook"]


@check
@pytest.mark.proves("operation:CreateFunctionApp")
def create_function_app(sdk):
    """Its functions run."""
    name, _ = make_application(sdk)
    urn = f"urn:fss:{sdk.server.region}:{sdk.server.project_id}:function:default:{name}-summarise"

    result = sdk.invoke(urn, {"numbers": {"a": 2}}).result

    assert json.loads(result)["largest"] == "a"


@check
@pytest.mark.proves("operation:ShowFunctionApp")
def show_function_app(sdk):
    """It names its functions and says that all went well."""
    name, application_id = make_application(sdk, RELAY, secret="s")

    shown = sdk.call("show_function_app", id=application_id)

    assert (shown.name, shown.status, shown.description) == (name, "success", "made")
    # Terraform reads an array, this SDK one object: it takes the array for an object without members.
    assert shown.stack_resources.physical_resource_id is None
    assert shown.repo.https_url == ""


@check
@pytest.mark.proves("operation:ListFunctionApplications")
def list_function_applications(sdk):
    """Each is listed with its state."""
    name, application_id = make_application(sdk)

    listed = sdk.call("list_function_applications", limit="500")

    (row,) = [one for one in listed.applications if one.id == application_id]
    assert (row.name, row.status, row.description) == (name, "success", "made")
    assert listed.count == len(listed.applications)


@check
@pytest.mark.proves("operation:DeleteFunctionApp")
def delete_function_app(sdk):
    """It is gone with its functions."""
    name, application_id = make_application(sdk)

    sdk.call("delete_function_app", id=application_id)

    assert refused(ClientRequestException, sdk.call, "show_function_app", id=application_id) == (404, "FSS.0404")
    assert sdk.call("list_functions", func_name=name).functions == []


@check
@pytest.mark.proves("operation:EnableLtsLogs")
def enable_lts_logs(sdk):
    """Once it is enabled, it is enabled."""
    # The clients share a project: another one may have been first.
    with contextlib.suppress(ClientRequestException):
        assert sdk.call("enable_lts_logs").status_code == 200
    sdk.succeeded.append("enable_lts_logs")

    assert refused(ClientRequestException, sdk.call, "enable_lts_logs") == (400, "FSS.1221")


@check
@pytest.mark.proves("operation:ShowLtsLogDetails")
def show_lts_log_details(sdk):
    """A function with a place of its own shows that."""
    urn = sdk.create().func_urn
    body = v2.UpdateFunctionConfigRequestBody(
        func_name="x",
        runtime="Python3.10",
        timeout=8,
        handler="index.handler",
        memory_size=256,
        log_config=v2.FuncLogConfig(group_id="g", group_name="gn", stream_id="s", stream_name="sn"),
    )
    sdk.call("update_function_config", function_urn=urn, body=body)

    place = sdk.call("show_lts_log_details", function_urn=urn)

    assert (place.group_id, place.group_name, place.stream_id, place.stream_name) == ("g", "gn", "s", "sn")


@check
@pytest.mark.proves("operation:UpdateTracing")
def update_tracing(sdk):
    """Nothing ends it."""
    urn = sdk.create().func_urn
    for keys in ({"tracing_ak": "ak", "tracing_sk": "sk"}, {}):
        body = v2.UpdateTracingRequestBody(**keys)
        assert sdk.call("update_tracing", function_urn=urn, body=body).status_code == 200

        assert sdk.call("show_tracing", function_urn=urn).tracing_ak == keys.get("tracing_ak", "")


@check
@pytest.mark.proves("operation:ShowTracing")
def show_tracing(sdk):
    """The secret is not shown."""
    urn = sdk.create().func_urn
    sdk.call("update_tracing", function_urn=urn, body=v2.UpdateTracingRequestBody(tracing_ak="ak", tracing_sk="sk"))

    shown = sdk.call("show_tracing", function_urn=urn)

    assert (shown.tracing_ak, shown.tracing_sk) == ("ak", "")


def published_java(sdk):
    """Return the urn of a published version of a function in Java."""
    urn = sdk.create(runtime="Java11", handler="a.B.c").func_urn
    return sdk.publish(urn, "v1").func_urn


@check
@pytest.mark.proves("operation:UpdateFuncSnapshot")
def update_func_snapshot(sdk):
    """The switch stays as it was put."""
    urn = published_java(sdk)
    for action, state in (("enable", "success"), ("disable", "disable")):
        assert sdk.call("update_func_snapshot", function_urn=urn, action=action).status_code == 200

        assert sdk.call("show_func_snapshot_state", function_urn=urn, action="enableSnapshot").state == state


@check
@pytest.mark.proves("operation:ShowFuncSnapshotState")
def show_func_snapshot_state(sdk):
    """Nothing is made, and nothing is said to be."""
    urn = published_java(sdk)
    assert sdk.call("show_func_snapshot_state", function_urn=urn, action="state").state == "disable"

    sdk.call("update_func_snapshot", function_urn=urn, action="enable")

    shown = sdk.call("show_func_snapshot_state", function_urn=urn, action="state")
    assert (shown.state, shown.code) == ("fail", "not_supported")


def add_endpoint(sdk, subnet_id):
    """Create a VPC endpoint."""
    body = v2.CreateVpcEndpointRequestBody(vpc_id="vpc-1", subnet_id=subnet_id, flavor="small", xrole="agency")
    return sdk.call("create_vpc_endpoint", body=body)


@check
@pytest.mark.proves("operation:CreateVpcEndpoint")
def create_vpc_endpoint(sdk):
    """The entry is the address of the API."""
    made = add_endpoint(sdk, "created")

    assert made.address == sdk.server.api_url.removeprefix("http://")
    assert made.endpoints == [made.address.rpartition(":")[0]]
    sdk.call("delete_vpc_endpoint", vpc_id="vpc-1", subnet_id="created")


@check
@pytest.mark.proves("operation:DeleteVpcEndpoint")
def delete_vpc_endpoint(sdk):
    """It can be deleted once."""
    add_endpoint(sdk, "deleted")
    members = {"vpc_id": "vpc-1", "subnet_id": "deleted"}

    assert sdk.call("delete_vpc_endpoint", **members).status_code == 204
    assert refused(ClientRequestException, sdk.call, "delete_vpc_endpoint", **members) == (404, "FSS.0404")


@check
@pytest.mark.proves("operation:ListBridgeFunctions")
def list_bridge_functions(sdk):
    """There are none."""
    assert not sdk.call("list_bridge_functions", function_urn=sdk.create().func_urn, type="rds").body


@check
@pytest.mark.proves("operation:ListBridgeVersions")
def list_bridge_versions(sdk):
    """There are none."""
    assert not sdk.call("list_bridge_versions", type="cache").body
