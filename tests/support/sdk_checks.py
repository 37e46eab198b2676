"""Checks of single operations of the Python SDK: what was set is what its result objects say. Start with `CHECKS`.

tests/api/test_sdk.py runs the check of every operation that the server has built.
"""

import base64
import json
import uuid

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2

from tests.support.sdk import refused
from tests.support.waiting import eventually

CHECKS = {}


def check(function):
    """Register the check of the operation that the function is named after."""
    CHECKS[function.__name__] = function
    return function


def event_text(value):
    """Return a test event as it is sent."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def add_event(sdk, urn, name="e1", value=1):
    """Create a test event."""
    body = v2.CreateEventRequestBody(name=name, content=event_text({"a": value}))
    return sdk.call("create_event", function_urn=urn, body=body)


@check
@pytest.mark.proves("operation:CreateEvent")
def create_event(sdk):
    """It is answered with its id; a second one of its name is refused."""
    urn = sdk.create().func_urn

    made = add_event(sdk, urn)

    assert made.name == "e1"
    assert made.id
    assert refused(ClientRequestException, add_event, sdk, urn) == (403, "FSS.1073")


@check
@pytest.mark.proves("operation:ShowEvent")
def show_event(sdk):
    """Its content comes back as it was sent; the event is one of the function, whichever version is named."""
    urn = sdk.create().func_urn
    made = add_event(sdk, urn)

    shown = sdk.call("show_event", function_urn=urn.removesuffix(":latest"), event_id=made.id)

    assert (shown.id, shown.name, shown.content) == (made.id, "e1", event_text({"a": 1}))
    assert shown.last_modified > 1_700_000_000


@check
@pytest.mark.proves("operation:ListEvents")
def list_events(sdk):
    """All are listed, without their contents."""
    urn = sdk.create().func_urn
    made = {add_event(sdk, urn, name).id: name for name in ("one", "two")}

    listed = sdk.call("list_events", function_urn=urn)

    assert {one.id: one.name for one in listed.events} == made
    assert listed.count == 2


@check
@pytest.mark.proves("operation:UpdateEvent")
def update_event(sdk):
    """The content is replaced, the name stays."""
    urn = sdk.create().func_urn
    made = add_event(sdk, urn)
    body = v2.UpdateEventRequestBody(content=event_text({"b": 2}))

    answer = sdk.call("update_event", function_urn=urn, event_id=made.id, body=body)

    shown = sdk.call("show_event", function_urn=urn, event_id=made.id)
    assert (answer.id, answer.name, shown.content) == (made.id, "e1", event_text({"b": 2}))


@check
@pytest.mark.proves("operation:DeleteEvent")
def delete_event(sdk):
    """It is gone afterwards."""
    urn = sdk.create().func_urn
    made = add_event(sdk, urn)

    assert sdk.call("delete_event", function_urn=urn, event_id=made.id).status_code == 204

    gone = refused(ClientRequestException, sdk.call, "show_event", function_urn=urn, event_id=made.id)
    assert gone == (404, "FSS.1070")


def tag(sdk, operation, urn, **tags):
    """Create or delete tags."""
    body = v2.UpdateFunctionTagsRequestBody(
        action=operation.partition("_")[0], tags=[v2.KvItem(key=key, value=value) for key, value in tags.items()]
    )
    return sdk.call(operation, resource_type="functions", resource_id=urn, body=body)


def tags_of(sdk, urn):
    """Return the tags of a function."""
    listed = sdk.call("list_function_tags", resource_type="functions", resource_id=urn)
    return {one.key: one.value for one in listed.tags}


@check
@pytest.mark.proves("operation:CreateTags")
def create_tags(sdk):
    """New tags are added, those of a known key are replaced."""
    urn = sdk.create().func_urn

    assert tag(sdk, "create_tags", urn, team="a", stage="x").status_code == 204
    tag(sdk, "create_tags", urn, stage="y")

    assert tags_of(sdk, urn) == {"team": "a", "stage": "y"}


@check
@pytest.mark.proves("operation:DeleteTags")
def delete_tags(sdk):
    """The named ones go; what is unknown is ignored."""
    urn = sdk.create().func_urn
    tag(sdk, "create_tags", urn, team="a", stage="x")

    assert tag(sdk, "delete_tags", urn, stage="x", nothing="").status_code == 204

    assert tags_of(sdk, urn) == {"team": "a"}


@check
@pytest.mark.proves("operation:ListFunctionTags")
def list_function_tags(sdk):
    """A function has the tag of its enterprise project, by either form of its urn."""
    urn = sdk.create().func_urn
    tag(sdk, "create_tags", urn, team="a")

    listed = sdk.call("list_function_tags", resource_type="functions", resource_id=urn.removesuffix(":latest"))

    assert {one.key: one.value for one in listed.tags} == {"team": "a"}
    assert {one.key: one.value for one in listed.sys_tags} == {"_sys_enterprise_project_id": "0"}


@check
@pytest.mark.proves("operation:ShowProjectTagsList")
def show_project_tags_list(sdk):
    """All values of a key are listed once."""
    key = f"k{uuid.uuid4().hex[:8]}"
    for value in ("a", "b", "a"):
        tag(sdk, "create_tags", sdk.create().func_urn, **{key: value})

    listed = sdk.call("show_project_tags_list", resource_type="functions")

    assert {one.key: sorted(one.values) for one in listed.tags}[key] == ["a", "b"]


@check
@pytest.mark.proves("operation:ShowResInstanceInfo")
def show_res_instance_info(sdk):
    """Functions are found by their names, and counted."""
    made = sdk.create()
    tag(sdk, "create_tags", made.func_urn, team="a")
    found = {}
    for action in ("filter", "count"):
        body = v2.ListEnterpriseResourceRequestBody(
            action=action,
            limit="10",
            offset="0",
            matches=[v2.KvItem(key="resource_name", value=made.func_name)],
        )
        found[action] = sdk.call("show_res_instance_info", resource_type="functions", action=action, body=body)

    assert found["count"].total_count == found["filter"].total_count == 1
    (resource,) = found["filter"].resources
    assert (resource.resource_name, resource.resource_detail.detail_id) == (made.func_name, made.func_urn)
    assert [(one.key, one.value) for one in resource.tags] == [("team", "a")]


@check
@pytest.mark.proves("operation:UpdateTracing")
def update_tracing(sdk):
    """It is switched on, and off by an empty body."""
    urn = sdk.create().func_urn
    body = v2.UpdateTracingRequestBody(tracing_ak="ak1", tracing_sk="sk1")

    assert sdk.call("update_tracing", function_urn=urn, body=body).status_code == 200
    assert sdk.call("show_tracing", function_urn=urn).tracing_ak == "ak1"

    sdk.call("update_tracing", function_urn=urn, body=v2.UpdateTracingRequestBody())
    assert not sdk.call("show_tracing", function_urn=urn).tracing_ak


@check
@pytest.mark.proves("operation:ShowTracing")
def show_tracing(sdk):
    """The key is shown, its secret is not."""
    urn = sdk.create().func_urn
    body = v2.UpdateTracingRequestBody(tracing_ak="ak1", tracing_sk="a secret")
    sdk.call("update_tracing", function_urn=urn, body=body)

    shown = sdk.call("show_tracing", function_urn=urn)

    assert (shown.tracing_ak, shown.tracing_sk) == ("ak1", "")


@check
@pytest.mark.proves("operation:EnableLtsLogs", "error:FSS.1221")
def enable_lts_logs(sdk):
    """Once is enough: again is refused in words that clients know."""
    try:
        sdk.call("enable_lts_logs")
    except ClientRequestException as error:
        assert error.error_code == "FSS.1221"  # noqa: PT017 - another test may have enabled it
        sdk.succeeded.append("enable_lts_logs")

    with pytest.raises(ClientRequestException, match=r"(?i)lts log has been enabled") as caught:
        sdk.call("enable_lts_logs")
    assert (caught.value.status_code, caught.value.error_code) == (400, "FSS.1221")


@check
@pytest.mark.proves("operation:ShowLtsLogDetails")
def show_lts_log_details(sdk):
    """Where the log of a function is, is known once it is enabled."""
    enable_lts_logs(sdk)
    made = sdk.create()

    place = sdk.call("show_lts_log_details", function_urn=made.func_urn)

    assert place.group_name.startswith("functiongraph.log.group.")
    assert place.stream_name.startswith(made.func_name)
    assert place.group_id
    assert place.stream_id


@check
@pytest.mark.proves("operation:UpdateFuncSnapshot")
def update_func_snapshot(sdk):
    """Only functions in Java can be started from snapshots."""
    made = sdk.create()
    java = publish_java(sdk)

    refusal = refused(
        ClientRequestException, sdk.call, "update_func_snapshot", function_urn=made.func_urn, action="enable"
    )

    assert refusal[0] == 400
    assert sdk.call("update_func_snapshot", function_urn=java, action="enable").status_code == 200


@check
@pytest.mark.proves("operation:ShowFuncSnapshotState")
def show_func_snapshot_state(sdk):
    """The switch stands as it was put."""
    java = publish_java(sdk)
    before = sdk.call("show_func_snapshot_state", function_urn=java, action="enableSnapshot").state

    sdk.call("update_func_snapshot", function_urn=java, action="enable")

    assert sdk.call("show_func_snapshot_state", function_urn=java, action="enableSnapshot").state != before


def publish_java(sdk):
    """Return the urn of a version of a function in Java."""
    made = sdk.create(runtime="Java11", handler="com.example.Demo.handler", code_type="zip", code_filename="a.zip")
    return sdk.publish(made.func_urn, "v1").func_urn


@check
@pytest.mark.proves("operation:CreateVpcEndpoint")
def create_vpc_endpoint(sdk):
    """The same network has the same endpoint."""
    network = {"vpc_id": uuid.uuid4().hex, "subnet_id": uuid.uuid4().hex}
    body = v2.CreateVpcEndpointRequestBody(**network)

    first, again = (sdk.call("create_vpc_endpoint", body=body) for _ in range(2))

    assert first.endpoints
    assert (again.endpoints, again.address) == (first.endpoints, first.address)


@check
@pytest.mark.proves("operation:DeleteVpcEndpoint")
def delete_vpc_endpoint(sdk):
    """It is gone afterwards."""
    network = {"vpc_id": uuid.uuid4().hex, "subnet_id": uuid.uuid4().hex}
    sdk.call("create_vpc_endpoint", body=v2.CreateVpcEndpointRequestBody(**network))

    assert sdk.call("delete_vpc_endpoint", **network).status_code == 204

    assert refused(ClientRequestException, sdk.call, "delete_vpc_endpoint", **network)[0] == 404


@check
@pytest.mark.proves("operation:ListBridgeVersions")
def list_bridge_versions(sdk):
    """The bare array lands in `body`."""
    assert sdk.call("list_bridge_versions", type="rds").body == []


@check
@pytest.mark.proves("operation:ListBridgeFunctions")
def list_bridge_functions(sdk):
    """The bare array lands in `body`."""
    assert sdk.call("list_bridge_functions", function_urn=sdk.create().func_urn, type="rds").body == []


@check
@pytest.mark.proves("operation:ListFunctionTemplate")
def list_function_template(sdk):
    """Templates are found by their runtime, page by page."""
    whole = sdk.call("list_function_template")
    assert whole.func_templates
    runtime = whole.func_templates[0].runtime

    found = sdk.call("list_function_template", runtime=runtime, maxitems="1", marker="0")

    assert [one.runtime for one in found.func_templates] == [runtime]
    assert found.next_marker == 1


@check
@pytest.mark.proves("operation:ShowFunctionTemplate")
def show_function_template(sdk):
    """A template is shown as it is listed; a function can be made of it."""
    listed = sdk.call("list_function_template").func_templates[0]

    shown = sdk.call("show_function_template", template_id=listed.id)

    assert str(shown.to_json_object()) == str(listed.to_json_object())
    code = {"code_type": shown.code_type, "func_code": v2.FuncCode(file=shown.code)}
    made = sdk.create(runtime=shown.runtime, handler=shown.handler, timeout=shown.timeout, **code)
    assert made.runtime == shown.runtime


@check
@pytest.mark.proves("operation:ListAppTemplates")
def list_app_templates(sdk):
    """Templates of applications are found by their runtime."""
    whole = sdk.call("list_app_templates", x_language="en-us")
    assert whole.count == len(whole.templates) > 0
    wanted = whole.templates[0]

    found = sdk.call("list_app_templates", runtime=wanted.runtime, category=wanted.category)

    assert wanted.id in [one.id for one in found.templates]


@check
@pytest.mark.proves("operation:ShowAppTemplate")
def show_app_template(sdk):
    """A template is shown by its id."""
    listed = sdk.call("list_app_templates").templates[0]

    shown = sdk.call("show_app_template", id=listed.id)

    assert (shown.name, shown.runtime, shown.description) == (listed.name, listed.runtime, listed.description)
    assert isinstance(json.loads(shown.params), list)
    assert shown.resources


def add_application(sdk, **fields):
    """Create an application of the first template and wait until it is there; return name and id."""
    template = sdk.call("list_app_templates").templates[0]
    name = f"sdk-app-{uuid.uuid4().hex[:8]}"
    body = v2.CreateFunctionAppRequestBody(name=name, template_id=template.id, agency_name="an_agency", **fields)
    application_id = sdk.call("create_function_app", body=body).application_id
    eventually(lambda: sdk.call("show_function_app", id=application_id).status == "success", because="it is deployed")
    return name, application_id


@check
@pytest.mark.proves("operation:CreateFunctionApp")
def create_function_app(sdk):
    """Its functions exist afterwards; a second one of its name is refused."""
    name, application_id = add_application(sdk, description="d")

    shown = sdk.call("show_function_app", id=application_id)

    assert (shown.name, shown.description, shown.status) == (name, "d", "success")
    assert json.loads(shown.raw_content)["stack_resources"]


@check
@pytest.mark.proves("operation:ShowFunctionApp")
def show_function_app(sdk):
    """An unknown one is missed."""
    _, application_id = add_application(sdk)

    shown = sdk.call("show_function_app", id=application_id)

    assert shown.last_modified_time > 1_700_000_000_000
    assert refused(ClientRequestException, sdk.call, "show_function_app", id="none")[0] == 404


@check
@pytest.mark.proves("operation:ListFunctionApplications")
def list_function_applications(sdk):
    """It is in the list, page by page."""
    name, application_id = add_application(sdk)

    listed = sdk.call("list_function_applications", limit="500", marker="0")

    assert {one.id: (one.name, one.status) for one in listed.applications}[application_id] == (name, "success")
    assert listed.count == len(listed.applications)


@check
@pytest.mark.proves("operation:DeleteFunctionApp")
def delete_function_app(sdk):
    """It is gone afterwards."""
    _, application_id = add_application(sdk)

    assert sdk.call("delete_function_app", id=application_id).status_code == 204

    def is_gone():
        try:
            sdk.call("show_function_app", id=application_id)
        except ClientRequestException as error:
            return error.status_code == 404
        return False

    eventually(is_gone, because="the application is removed")
