"""The vendor's own Python SDK drives a real server: all its operations, and what they answer.

`CHECKS` has one check per operation that the server has built; what is not
built must be refused as such. So every one of the SDK's operations is called.
"""

import base64
import io
import json
import re
import uuid
import zipfile

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, ServerResponseException
from huaweicloudsdkfunctiongraph import v2

from funclet.api.operations import OPERATIONS
from tests.support import sdk_resources, sdk_usage_checks
from tests.support.packages import zip_base64
from tests.support.sdk import UUID, refused, request_type
from tests.support.server import PROJECT_ID, REGION
from tests.support.waiting import eventually

# Without python-dateutil, which the SDK does not install, its times stay text.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")

SDK_OPERATIONS = sorted(
    name.removeprefix("_").removesuffix("_http_info")
    for name in dir(v2.FunctionGraphClient)
    if name.startswith("_") and name.endswith("_http_info")
)
SDK_OPERATION_COUNT = 92
VERSION_TELLER = "def handler(event, context):\n    return context.getVersion()\n"
CHECKS = dict(sdk_resources.CHECKS)


def snake_case(name):
    """Return the SDK's method for the name of an operation."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


BUILT = {snake_case(operation.name) for operation in OPERATIONS if operation.in_sdk and operation.serve}
CHECKS |= {name: one for name, one in sdk_usage_checks.CHECKS.items() if name in BUILT}


def check(function):
    """Register the check of the operation that the function is named after."""
    CHECKS[function.__name__] = function
    return function


CANCELLABLE = "import time\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n"


@check
@pytest.mark.proves("operation:CreateFunction")
def create_function(sdk):
    """What was set is what is answered."""
    settings = {
        "func_name": f"sdk_{uuid.uuid4().hex[:12]}",
        "package": "shop",
        "runtime": "Node.js18.15",
        "timeout": 42,
        "handler": "index.handler",
        "memory_size": 512,
        "code_type": "inline",
        "description": "größer ✓",
        "user_data": '{"B": "2", "A": "1"}',
        "xrole": "an_agency",
        "enterprise_project_id": "0",
        "initializer_handler": "index.initializer",
        "initializer_timeout": 9,
        "func_vpc": v2.FuncVpc(vpc_id="v", subnet_id="s"),
    }
    source = base64.b64encode(b"exports.handler = async () => 1;").decode()

    answer = sdk.create(**settings, code_filename="index.js", func_code=v2.FuncCode(file=source))

    assert {name: getattr(answer, name) for name in settings if name != "func_vpc"} == {
        name: value for name, value in settings.items() if name != "func_vpc"
    }
    assert (answer.func_vpc.vpc_id, answer.func_vpc.subnet_id) == ("v", "s")
    assert answer.func_urn == f"urn:fss:{REGION}:{PROJECT_ID}:function:shop:{settings['func_name']}:latest"
    assert (answer.version, answer.namespace, answer.project_name) == ("latest", PROJECT_ID, REGION)
    assert (answer.cpu, len(answer.digest), answer.strategy_config.concurrency) == (600, 128, 400)
    assert answer.code_size > 0
    assert str(answer.last_modified) > "2024"


@check
@pytest.mark.proves("operation:ListFunctions")
def list_functions(sdk):
    """Filters and pages are those that were asked for."""
    first, second = sdk.create(package="listed"), sdk.create(package="listed")

    whole = sdk.call("list_functions", package_name="listed")
    page = sdk.call("list_functions", package_name="listed", marker="1", maxitems="1")
    filtered = sdk.call("list_functions", func_name=first.func_name)
    beyond = sdk.call("list_functions", marker="100000", maxitems="400")

    assert {one.func_urn for one in whole.functions} >= {first.func_urn, second.func_urn}
    assert (len(page.functions), page.next_marker) == (1, 2)
    assert page.count == whole.count == len(whole.functions)
    assert [one.func_name for one in filtered.functions] == [first.func_name]
    assert filtered.functions[0].memory_size == 256
    assert beyond.functions == []


@check
@pytest.mark.proves("operation:ShowFunctionConfig")
def show_function_config(sdk):
    """The configuration is the one that was set."""
    made = sdk.create(description="shown")

    shown = sdk.call("show_function_config", function_urn=made.func_urn)

    names = ("func_id", "func_urn", "timeout", "memory_size", "handler", "runtime", "digest", "description")
    assert [getattr(shown, name) for name in names] == [getattr(made, name) for name in names]
    assert (shown.description, shown.timeout, shown.memory_size) == ("shown", 7, 256)


@check
@pytest.mark.proves("operation:UpdateFunctionConfig", "faq:FAQ-123")
def update_function_config(sdk):
    """Changes are answered, stay, and act."""
    made = sdk.create("def handler(event, context):\n    return context.getUserData('COLOUR')\n")
    change = v2.UpdateFunctionConfigRequestBody(
        func_name=made.func_name,
        runtime="Python3.10",
        timeout=11,
        handler="index.handler",
        memory_size=128,
        user_data='{"COLOUR":"blue"}',
        description="changed",
    )

    answer = sdk.call("update_function_config", function_urn=made.func_urn, body=change)

    shown = sdk.call("show_function_config", function_urn=made.func_urn)
    for one in (answer, shown):  # both, so that neither is only an echo
        assert (one.timeout, one.memory_size, one.description) == (11, 128, "changed")
        assert one.user_data == '{"COLOUR":"blue"}'
    assert sdk.invoke(made.func_urn).result == "blue"


@check
@pytest.mark.proves("operation:ShowFunctionCode")
def show_function_code(sdk):
    """The code is the one that was uploaded, and can be fetched."""
    made = sdk.create()

    shown = sdk.call("show_function_code", function_urn=made.func_urn)

    assert (shown.func_name, shown.code_type, shown.code_filename) == (made.func_name, "zip", "index.zip")
    assert (shown.digest, shown.code_size) == (made.digest, made.code_size)
    assert shown.func_code.link.startswith("http")


@check
@pytest.mark.proves("operation:UpdateFunctionCode")
def update_function_code(sdk):
    """New code acts."""
    made = sdk.create()
    file = zip_base64({"index.py": "def handler(event, context):\n    return {'new': True}\n"})
    body = v2.UpdateFunctionCodeRequestBody(
        code_type="zip", code_filename="index.zip", func_code=v2.FuncCode(file=file)
    )

    answer = sdk.call("update_function_code", function_urn=made.func_urn, body=body)

    assert answer.digest != made.digest
    assert answer.digest == sdk.call("show_function_config", function_urn=made.func_urn).digest
    assert json.loads(sdk.invoke(made.func_urn).result) == {"new": True}


@check
@pytest.mark.proves("operation:UpdateFunctionMaxInstanceConfig")
def update_function_max_instance_config(sdk):
    """0 disables, -1 frees."""
    made = sdk.create()

    def limit(count):
        body = v2.UpdateFunctionMaxInstanceConfigRequestBody(max_instance_num=count)
        return sdk.call("update_function_max_instance_config", function_urn=made.func_urn, body=body)

    assert limit(0).strategy_config.concurrency == 0
    assert refused(ClientRequestException, sdk.invoke, made.func_urn) == (429, "FSS.0429")
    assert limit(-1).strategy_config.concurrency == -1
    assert sdk.invoke(made.func_urn).status == 200


@check
@pytest.mark.proves("operation:UpdateFunctionCollectState")
def update_function_collect_state(sdk):
    """It is accepted both ways."""
    made = sdk.create()

    for state in ("true", "false"):
        answer = sdk.call("update_function_collect_state", func_urn=made.func_urn, state=state)
        assert answer.status_code == 200


@check
@pytest.mark.proves("operation:DeleteFunction")
def delete_function(sdk):
    """It is gone afterwards; `latest` alone cannot go."""
    made = sdk.create()
    bare = made.func_urn.removesuffix(":latest")

    assert refused(ClientRequestException, sdk.call, "delete_function", function_urn=made.func_urn) == (400, "FSS.1015")
    assert sdk.call("delete_function", function_urn=bare).status_code == 204

    gone = refused(ClientRequestException, sdk.call, "show_function_config", function_urn=made.func_urn)
    assert gone == (404, "FSS.1051")


@check
@pytest.mark.proves("operation:CreateFunctionVersion")
def create_function_version(sdk):
    """A version is a frozen copy."""
    made = sdk.create(VERSION_TELLER)
    bare = made.func_urn.removesuffix(":latest")

    version = sdk.publish(made.func_urn, "v1.0")

    assert (version.version, version.version_description) == ("v1.0", "as v1.0")
    assert (version.func_urn, version.digest) == (f"{bare}:v1.0", made.digest)
    assert "v1.0" in sdk.invoke(version.func_urn).result
    assert "latest" in sdk.invoke(bare).result


@check
@pytest.mark.proves("operation:ListFunctionVersions")
def list_function_versions(sdk):
    """`latest` is one of them."""
    made = sdk.create()
    sdk.publish(made.func_urn, "one")

    listed = sdk.call("list_function_versions", function_urn=made.func_urn)

    assert {one.version for one in listed.versions} == {"latest", "one"}
    assert (listed.count, listed.next_marker) == (2, 2)


def two_versions(sdk):
    """Return a function with versions `one` and `two`."""
    urn = sdk.create(VERSION_TELLER).func_urn
    sdk.publish(urn, "one")
    body = v2.UpdateFunctionConfigRequestBody(
        func_name="x", runtime="Python3.10", timeout=8, handler="index.handler", memory_size=256
    )
    sdk.call("update_function_config", function_urn=urn, body=body)
    sdk.publish(urn, "two")
    return urn.removesuffix(":latest")


@check
@pytest.mark.proves("operation:CreateVersionAlias")
def create_version_alias(sdk):
    """An alias with weights sends requests to both versions; its `!` travels percent-encoded."""
    urn = two_versions(sdk)

    alias = sdk.add_alias(urn, "prod", "one", description="d", additional_version_weights={"two": 50})

    assert (alias.name, alias.version, alias.description) == ("prod", "one", "d")
    assert (alias.alias_urn, alias.additional_version_weights) == (f"{urn}:!prod", {"two": 50})
    seen = set()
    eventually(lambda: seen.add(sdk.invoke(alias.alias_urn).result) or seen == {"one", "two"})


@check
@pytest.mark.proves("operation:UpdateVersionAlias")
def update_version_alias(sdk):
    """The alias names another version, by rules."""
    urn = two_versions(sdk)
    sdk.add_alias(urn, "prod", "one")
    rule = v2.VersionStrategyRules(rule_type="Header", param="x-who", op="=", value="me")
    strategy = v2.VersionStrategy(combine_type="and", rules=[rule])
    body = v2.UpdateVersionAliasRequestBody(
        version="two", description="e", additional_version_strategy={"one": strategy}
    )

    answer = sdk.call("update_version_alias", function_urn=urn, alias_name="prod", body=body)

    assert (answer.version, answer.description) == ("two", "e")
    shown = sdk.call("show_version_alias", function_urn=urn, alias_name="prod")
    assert str(shown.additional_version_strategy["one"]) == str(strategy)
    assert sdk.invoke(f"{urn}:!prod").result == "two"


@check
@pytest.mark.proves("operation:ShowVersionAlias")
def show_version_alias(sdk):
    """The alias is shown as it was made, by the name of the alias."""
    urn = two_versions(sdk)
    sdk.add_alias(urn, "prod", "one", additional_version_weights={"two": 5})

    shown = sdk.call("show_version_alias", function_urn=urn, alias_name="prod")
    config = sdk.call("show_function_config", function_urn=f"{urn}:!prod")

    assert (shown.name, shown.version, shown.additional_version_weights) == ("prod", "one", {"two": 5})
    assert config.version == "one"


@check
@pytest.mark.proves("operation:ListVersionAliases")
def list_version_aliases(sdk):
    """The bare array lands in `body`."""
    urn = two_versions(sdk)
    sdk.add_alias(urn, "a1", "one")
    sdk.add_alias(urn, "a2", "two")

    listed = sdk.call("list_version_aliases", function_urn=urn)

    assert {one.name: one.version for one in listed.body} == {"a1": "one", "a2": "two"}


@check
@pytest.mark.proves("operation:DeleteVersionAlias")
def delete_version_alias(sdk):
    """It is gone afterwards, the version is not."""
    urn = two_versions(sdk)
    sdk.add_alias(urn, "prod", "one")

    assert sdk.call("delete_version_alias", function_urn=urn, alias_name="prod").status_code == 204

    gone = refused(ClientRequestException, sdk.call, "show_version_alias", function_urn=urn, alias_name="prod")
    assert gone == (404, "FSS.1053")
    assert sdk.invoke(f"{urn}:one").status == 200


@check
@pytest.mark.proves("operation:InvokeFunction")
def invoke_function(sdk):
    """v1 carries result, status and log; v0 the result itself."""
    urn = sdk.create().func_urn

    v1 = sdk.invoke(urn, {"k": "ä"}, x_cff_log_type="tail")
    v0 = sdk.call("invoke_function", function_urn=urn, x_cff_request_version="v0", body={"k": 1})

    assert (json.loads(v1.result), v1.status) == ({"got": {"k": "ä"}}, 200)
    assert f"Start invoke request '{v1.request_id}'" in v1.log
    assert "seen {'k': 'ä'}" in v1.log
    assert v1.x_cff_request_id == v1.request_id
    assert json.loads(v0.raw_content) == {"got": {"k": 1}}
    assert UUID.fullmatch(v0.x_cff_request_id)


@check
@pytest.mark.proves("operation:AsyncInvokeFunction")
def async_invoke_function(sdk):
    """The request is accepted and runs; `list_async_invocations` tells how it ended."""
    urn = sdk.create().func_urn

    accepted = sdk.call("async_invoke_function", function_urn=urn, body={"k": 1})

    record = eventually(lambda: ended(sdk, urn, accepted.request_id))
    assert record.status == "SUCCESS"


def ended(sdk, urn, request_id):
    """Return the record of an asynchronous request once it has ended."""
    records = sdk.call("list_async_invocations", function_urn=urn, request_id=request_id).invocations
    return next((one for one in records if one.end_time), None)


@check
@pytest.mark.proves("operation:ListAsyncInvocations")
def list_async_invocations(sdk):
    """Records are found by request and by status, and name the error."""
    urn = sdk.create("def handler(event, context):\n    return 1 / event['by']\n").func_urn
    good, bad = (sdk.call("async_invoke_function", function_urn=urn, body={"by": by}).request_id for by in (1, 0))
    eventually(lambda: ended(sdk, urn, good))

    listed = sdk.call("list_async_invocations", function_urn=urn, limit="10", marker="0")
    succeeded = sdk.call("list_async_invocations", function_urn=urn, status="SUCCESS")

    assert {one.request_id for one in listed.invocations} == {good, bad}
    assert listed.count == 2
    assert good in [one.request_id for one in succeeded.invocations]
    assert all(str(one.start_time) > "2024" for one in listed.invocations)


@check
@pytest.mark.proves("operation:CreateFunctionTrigger")
def create_function_trigger(sdk):
    """A timer and a gateway trigger are answered as they were made."""
    urn = sdk.create().func_urn
    gateway = v2.TriggerEventDataRequestBody(
        name="API_sdk",
        group_id="7b1e4c9dfa2044e58f7d60a3c2915be8",
        group_name="APIGroup_sdk",
        env_id="DEFAULT_ENVIRONMENT_RELEASE_ID",
        env_name="RELEASE",
        auth="NONE",
        protocol="HTTPS",
        path=f"/{uuid.uuid4().hex}",
        match_mode="SWA",
        req_method="ANY",
        backend_type="FUNCTION",
        type=1,
        sl_domain="sdk.example.test",
        func_info=v2.ApigTriggerFuncInfo(timeout=5000),
    )

    timer = sdk.add_timer(urn, user_event="wake")
    body = v2.CreateFunctionTriggerRequestBody(trigger_type_code="APIG", event_data=gateway)
    apig = sdk.call("create_function_trigger", function_urn=urn, body=body)

    assert (timer.trigger_type_code, timer.trigger_status) == ("TIMER", "ACTIVE")
    assert (timer.event_data.name, timer.event_data.schedule, timer.event_data.user_event) == ("tick", "30d", "wake")
    assert (apig.trigger_type_code, apig.event_data.path) == ("APIG", gateway.path)
    assert apig.event_data.func_info.timeout == 5000
    assert apig.event_data.invoke_url.startswith("http")


@check
@pytest.mark.proves("operation:ListFunctionTriggers")
def list_function_triggers(sdk):
    """The bare array lands in `body`."""
    urn = sdk.create().func_urn
    made = [sdk.add_timer(urn, name=name).trigger_id for name in ("t1", "t2")]

    listed = sdk.call("list_function_triggers", function_urn=urn)

    assert [one.trigger_id for one in listed.body] == made
    assert [one.event_data.name for one in listed.body] == ["t1", "t2"]


def names_of(urn, trigger):
    """Return what names a trigger in a request."""
    return {"function_urn": urn, "trigger_type_code": trigger.trigger_type_code, "trigger_id": trigger.trigger_id}


@check
@pytest.mark.proves("operation:ShowFunctionTrigger")
def show_function_trigger(sdk):
    """The trigger is shown as it was made."""
    urn = sdk.create().func_urn
    made = sdk.add_timer(urn)

    shown = sdk.call("show_function_trigger", **names_of(urn, made))

    assert str(shown) == str(made)


@check
@pytest.mark.proves("operation:UpdateTrigger")
def update_trigger(sdk):
    """The status changes; the SDK sends data as an array."""
    urn = sdk.create().func_urn
    made = sdk.add_timer(urn)
    body = v2.UpdateTriggerRequestBody(trigger_status="DISABLED", event_data=[v2.UpdateriggerEventData()])

    answer = sdk.call("update_trigger", **names_of(urn, made), body=body)

    assert (answer.trigger_id, answer.trigger_status) == (made.trigger_id, "DISABLED")
    assert sdk.call("show_function_trigger", **names_of(urn, made)).trigger_status == "DISABLED"


@check
@pytest.mark.proves("operation:DeleteFunctionTrigger")
def delete_function_trigger(sdk):
    """It is gone afterwards."""
    urn = sdk.create().func_urn
    made = sdk.add_timer(urn)

    assert sdk.call("delete_function_trigger", **names_of(urn, made)).status_code == 204

    gone = refused(ClientRequestException, sdk.call, "show_function_trigger", **names_of(urn, made))
    assert gone == (404, "FSS.1140")


@check
@pytest.mark.proves("operation:BatchDeleteFunctionTriggers")
def batch_delete_function_triggers(sdk):
    """All are gone afterwards."""
    urn = sdk.create().func_urn
    for name in ("t1", "t2"):
        sdk.add_timer(urn, name=name)

    assert sdk.call("batch_delete_function_triggers", function_urn=urn).status_code == 204

    assert not sdk.call("list_function_triggers", function_urn=urn).body


@check
@pytest.mark.proves("operation:ListQuotas")
def list_quotas(sdk):
    """What is used is counted."""
    sdk.create()

    resources = {one.type: one for one in sdk.call("list_quotas").quotas.resources}

    assert resources["fgs_func_num"].quota == 400
    assert resources["fgs_func_num"].used >= 1
    assert resources["fgs_func_code_size"].unit == "MB"


def with_async_config(sdk, **fields):
    """Create a function with asynchronous settings; return its urn and what was answered."""
    urn = sdk.create(CANCELLABLE, timeout=60).func_urn
    target = v2.FuncDestinationConfig(destination="FunctionGraph", param=json.dumps({"func_urn": urn}))
    body = v2.UpdateFunctionAsyncInvokeConfigRequestBody(
        max_async_retry_attempts=2,
        max_async_event_age_in_seconds=60,
        destination_config=v2.FuncAsyncDestinationConfig(on_failure=target),
        **fields,
    )
    return urn, sdk.call("update_function_async_invoke_config", function_urn=urn, body=body)


@check
@pytest.mark.proves("operation:UpdateFunctionAsyncInvokeConfig")
def update_function_async_invoke_config(sdk):
    """The settings are answered as they were sent, and those that were left out have defaults."""
    urn, answer = with_async_config(sdk, enable_async_status_log=True)

    assert (answer.func_urn, answer.max_async_retry_attempts, answer.max_async_event_age_in_seconds) == (urn, 2, 60)
    assert answer.destination_config.on_failure.destination == "FunctionGraph"
    assert answer.enable_async_status_log is True
    wrong = v2.UpdateFunctionAsyncInvokeConfigRequestBody(max_async_retry_attempts=4)
    refusal = refused(
        ClientRequestException, sdk.call, "update_function_async_invoke_config", function_urn=urn, body=wrong
    )
    assert refusal == (400, "FSS.0400")
    bare = sdk.call(
        "update_function_async_invoke_config",
        function_urn=urn,
        body=v2.UpdateFunctionAsyncInvokeConfigRequestBody(),
    )
    assert (bare.max_async_retry_attempts, bare.max_async_event_age_in_seconds) == (1, 3600)


@check
@pytest.mark.proves("operation:ShowFunctionAsyncInvokeConfig")
def show_function_async_invoke_config(sdk):
    """What was stored is shown."""
    urn, answer = with_async_config(sdk)

    assert sdk.call("show_function_async_invoke_config", function_urn=urn).to_json_object() == answer.to_json_object()


@check
@pytest.mark.proves("operation:ListFunctionAsyncInvokeConfig")
def list_function_async_invoke_config(sdk):
    """The settings of all versions are listed, page by page."""
    urn, _ = with_async_config(sdk)
    sdk.publish(urn, "v1")
    published = urn.removesuffix("latest") + "v1"
    sdk.call(
        "update_function_async_invoke_config",
        function_urn=published,
        body=v2.UpdateFunctionAsyncInvokeConfigRequestBody(max_async_retry_attempts=0),
    )

    listed = sdk.call("list_function_async_invoke_config", function_urn=urn, limit="1", marker="1")

    assert [one.func_urn for one in listed.async_invoke_configs] == [published]
    assert (listed.count, listed.page_info.next_marker, listed.page_info.current_count) == (2, 2, 1)


@check
@pytest.mark.proves("operation:DeleteFunctionAsyncInvokeConfig")
def delete_function_async_invoke_config(sdk):
    """The settings are gone afterwards."""
    urn, _ = with_async_config(sdk)

    assert sdk.call("delete_function_async_invoke_config", function_urn=urn).status_code == 204

    gone = refused(ClientRequestException, sdk.call, "show_function_async_invoke_config", function_urn=urn)
    assert gone == (404, "FSS.0404")


@check
@pytest.mark.proves("operation:CancelAsyncInvocation", "error:FSS.4208")
def cancel_async_invocation(sdk):
    """What runs is ended, and is not tried again."""
    urn, _ = with_async_config(sdk)
    request_id = sdk.call("async_invoke_function", function_urn=urn, body={"s": 50}).request_id
    eventually(lambda: status_of(sdk, urn, request_id) == "RUNNING", because="it runs")

    body = v2.CancelAsyncInvocationRequestBody(request_id=request_id, type="force")
    assert sdk.call("cancel_async_invocation", function_urn=urn, body=body).status_code == 200

    record = sdk.call("list_async_invocations", function_urn=urn, request_id=request_id).invocations[0]
    assert (record.status, int(record.error_code)) == ("FAIL", 4208)


@check
@pytest.mark.proves("operation:ListActiveAsyncInvocations")
def list_active_async_invocations(sdk):
    """The requests that were asked for are listed."""
    urn = sdk.create().func_urn
    wanted = sdk.call("async_invoke_function", function_urn=urn, body={}).request_id
    sdk.call("async_invoke_function", function_urn=urn, body={})

    listed = sdk.call("list_active_async_invocations", function_urn=urn, requests=wanted)

    assert [one.request_id for one in listed.invocations] == [wanted]
    assert listed.count == 1


@check
@pytest.mark.proves("operation:EnableAsyncStatusLog")
def enable_async_status_log(sdk):
    """It can be enabled again and again."""
    for _ in range(2):
        assert sdk.call("enable_async_status_log").status_code == 200


@check
@pytest.mark.proves("operation:ShowProjectAsyncStatusLogInfo")
def show_project_async_status_log_info(sdk):
    """Where the log is, is known once it is enabled."""
    sdk.call("enable_async_status_log")

    place = sdk.call("show_project_async_status_log_info")

    assert place.group_name == f"function-async-log-group-{sdk.server.project_id}"
    assert place.group_id
    assert place.stream_id


def add_dependency(sdk, name="", **fields):
    """Store a version of a dependency."""
    members = {
        "name": name or f"sdk_{uuid.uuid4().hex[:12]}",
        "runtime": "Python3.10",
        "depend_type": "zip",
        "depend_file": zip_base64({"library.py": f"ID = '{uuid.uuid4().hex}'"}),
    } | fields
    return sdk.call("create_dependency_version", body=v2.CreateDependencyRequestBody(**members))


@check
def create_dependency_version(sdk):
    """What was set is what is answered; the same name makes the next version."""
    first = add_dependency(sdk, description="größer ✓")
    second = add_dependency(sdk, first.name)

    assert (first.runtime, first.description, first.version) == ("Python3.10", "größer ✓", 1)
    assert (second.dep_id, second.version) == (first.dep_id, 2)
    assert first.size > 0
    assert re.fullmatch("[0-9a-f]{32}", first.etag)


@check
def list_dependencies(sdk):
    """A dependency is found by its name, with its newest version."""
    created = add_dependency(sdk)

    listed = sdk.call("list_dependencies", dependency_type="private", runtime="Python3.10", name=created.name)

    assert [(row.id, row.name, row.etag) for row in listed.dependencies] == [
        (created.dep_id, created.name, created.etag)
    ]
    assert listed.count == 1


@check
def list_dependency_version(sdk):
    """All versions are listed, the newest first."""
    created = add_dependency(sdk)
    add_dependency(sdk, created.name)

    listed = sdk.call("list_dependency_version", depend_id=created.dep_id)

    assert [row.version for row in listed.dependencies] == [2, 1]


@check
def show_dependency_version(sdk):
    """A version is shown with a link to its archive."""
    created = add_dependency(sdk)

    shown = sdk.call("show_dependency_version", depend_id=created.dep_id, version="1")

    assert (shown.id, shown.etag, shown.size) == (created.id, created.etag, created.size)
    assert shown.download_link.startswith("http")


@check
def delete_dependency_version(sdk):
    """A version that a function uses stays; one that is free goes."""
    created = add_dependency(sdk)
    urn = sdk.create(depend_version_list=[created.id]).func_urn
    kept = refused(ClientRequestException, sdk.call, "delete_dependency_version", depend_id=created.dep_id, version="1")
    assert kept == (412, "FSS.1033")

    sdk.call("delete_function", function_urn=urn.removesuffix(":latest"))
    sdk.call("delete_dependency_version", depend_id=created.dep_id, version="1")

    gone = refused(ClientRequestException, sdk.call, "show_dependency_version", depend_id=created.dep_id, version="1")
    assert gone == (404, "FSS.1056")


@check
def export_function(sdk):
    """The answer is the archive itself."""
    created = sdk.create()

    exported = sdk.call("export_function", function_urn=created.func_urn, config=True, code=True)

    with zipfile.ZipFile(io.BytesIO(exported.raw_content)) as archive:
        assert archive.namelist() == [f"{created.func_name}.yaml", f"{created.func_name}.zip"]


@check
def import_function(sdk):
    """An exported function is created again under another name, and runs."""
    created = sdk.create(description="there and back")
    exported = sdk.call("export_function", function_urn=created.func_urn, config=True, code=True).raw_content
    name = f"sdk_{uuid.uuid4().hex[:12]}"
    body = v2.ImportFunctionRequestBody(
        func_name=name, file_name="a.zip", file_type="zip", file_code=base64.b64encode(exported).decode()
    )

    imported = sdk.call("import_function", body=body)

    assert (imported.func_name, imported.description, imported.digest) == (name, "there and back", created.digest)
    assert json.loads(sdk.invoke(imported.func_urn, {"a": 1}).result) == {"got": {"a": 1}}


def status_of(sdk, urn, request_id):
    """Return the state of an asynchronous request."""
    records = sdk.call("list_async_invocations", function_urn=urn, request_id=request_id).invocations
    return records[0].status if records else None


def minimal_members(operation):
    """Return members for the request of an operation: something of the right type for each, an empty body."""
    samples = {"str": "x", "int": 1, "bool": True}
    types = request_type(operation).openapi_types
    members = {name: samples[kind] for name, kind in types.items() if kind in samples}
    return members | ({"body": {}} if "body" in types else {})


def marked(operation):
    """Return an operation with the marks of its check."""
    return pytest.param(operation, marks=getattr(CHECKS.get(operation), "pytestmark", ()))


@pytest.mark.parametrize("operation", [marked(operation) for operation in SDK_OPERATIONS])
def test_each_operation_of_the_sdk_is_served_or_known_to_be_missing(operation, sdk):
    if operation in CHECKS:
        CHECKS[operation](sdk)

        assert operation in sdk.succeeded
    else:
        unbuilt = refused(ServerResponseException, sdk.call, operation, **minimal_members(operation))
        assert unbuilt == (501, "FSS.0501")


def test_what_is_built_has_a_check(record_property):
    record_property("sdk_operations", len(SDK_OPERATIONS))
    record_property("sdk_operations_built", len(CHECKS))

    assert CHECKS.keys() == BUILT
    assert len(SDK_OPERATIONS) == SDK_OPERATION_COUNT
    assert len(CHECKS) >= 26
