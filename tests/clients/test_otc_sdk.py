"""OTC's Python SDK drives a real server: an extension of OpenStack's that logs in with a password and sends tokens.

It names functions without `:latest`. Not here are `update_trigger`, `update_instances_number` and
`delete_async_notification`, which raise TypeError before they send anything, and `metrics`, which looks for a member
that the documented answer does not have.
"""

import base64
import json
import uuid

import openstack
import pytest
from openstack.exceptions import BadRequestException, HttpException, NotFoundException, SDKException
from otcextensions import sdk

from tests.support.packages import new_function, zip_base64
from tests.support.server import PROJECT_ID, REGION
from tests.support.tokens import password_of
from tests.support.waiting import eventually

# It speaks of its own insides.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:openstack.*")
# The SDK shows of an answer only what it knows; it takes this member for the id of an asynchronous request.
TELLER = """
import json

def handler(event, context):
    return {"request-id": json.dumps([event, context.getVersion()])}
"""


def connected(server, password):
    connection = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=f"{server.api_url}/v3",
        username="admin",
        password=password,
        user_domain_name="admin",
        project_name=REGION,
        region_name=REGION,
    )
    try:
        sdk.load(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@pytest.fixture(scope="module")
def connection(server):
    made = connected(server, password_of(server))
    yield made
    made.close()


@pytest.fixture
def fg(connection):
    return connection.function_graph


def settings_of(name, **settings):
    return new_function(name, {"index.py": TELLER}, **settings)


@pytest.fixture
def function(fg):
    made = fg.create_function(**settings_of(f"otc_{uuid.uuid4().hex[:12]}"))
    yield made
    fg.delete_function(made)


def answered(invocation):
    return json.loads(invocation.request_id)


def test_the_log_in_finds_project_and_address_by_itself(connection, server, caplog):
    again = connected(server, password_of(server))

    assert again.current_project_id == PROJECT_ID
    assert again.function_graph.get_endpoint() == f"{server.api_url}/v2/{PROJECT_ID}"
    assert "Failed to discover" not in caplog.text
    again.close()


def test_a_wrong_password_is_refused(server):
    with pytest.raises(SDKException, match=r"The username or password is wrong. \(HTTP 401\)"):
        connected(server, "wrong")


def test_users_groups_and_projects_are_found_and_changed_as_with_openstack(connection):
    identity = connection.identity
    user = identity.create_user(name="otto", password="Right-horse-1")
    group = identity.create_group(name="otto-team", description="of OTC")

    identity.add_user_to_group(user, group)

    assert identity.find_user("otto").id == user.id
    assert [one.name for one in identity.group_users(group)] == ["otto"]
    assert identity.find_project(REGION).id == PROJECT_ID
    assert "FunctionGraph FullAccess" in [one.name for one in identity.roles()]
    identity.delete_group(group)
    identity.delete_user(user)
    assert identity.find_user("otto") is None
    assert identity.find_group("otto-team") is None


def test_a_function_is_made_read_changed_and_deleted(fg):
    made = fg.create_function(**settings_of("otc_whole", description="größer ✓", user_data='{"A": "1"}'))

    assert made.func_urn == f"urn:fss:{REGION}:{PROJECT_ID}:function:default:otc_whole:latest"
    assert "otc_whole" in [one.func_name for one in fg.functions()]
    read = fg.get_function_metadata(made)
    assert (read.description, read.user_data, read.timeout) == ("größer ✓", '{"A": "1"}', 10)
    digest = fg.get_function_code(made).digest
    changed = fg.update_function_code(
        made, code_type="inline", func_code={"file": base64.b64encode(TELLER.encode() + b"\n").decode()}
    )
    assert changed.digest != digest
    names = {"func_name": "otc_whole", "runtime": "Python3.10", "handler": "index.handler"}
    assert fg.update_function_metadata(made, **names, timeout=20, memory_size=256).memory_size == 256
    assert fg.update_max_instances(made, 7).strategy_config["concurrency"] == 7
    fg.update_pin_status(made)
    fg.delete_function(made)
    with pytest.raises(NotFoundException, match=r"FSS\.1051"):
        fg.get_function_metadata(made)


def test_what_is_wrong_has_the_code_of_the_cloud(fg, function):
    with pytest.raises(BadRequestException, match=r"FSS\.1007"):
        fg.create_function(**settings_of("otc_odd", memory_size=129))
    with pytest.raises(HttpException, match=r"FSS\.1061"):
        fg.create_function(**settings_of(function.func_name))


def test_functions_run_and_what_they_took_is_told(fg, function):
    done = fg.executing_function_synchronously(function.func_urn, attrs={"k": "v"})

    # It wraps the event in a text, which the function gets as it is.
    assert answered(done) == ['{"k": "v"}', "latest"]
    assert (done.err, done.err_code) == ("false", "0")
    assert int(done.billing_duration) >= 1
    assert json.loads(done.invoke_summary)["memorySize"] == 128


def test_asynchronous_requests_are_followed_and_stopped(fg, function):
    config = fg.configure_async_notification(
        function, max_async_event_age_in_seconds=1000, max_async_retry_attempts=2, enable_async_status_log=True
    )
    assert (config.max_async_event_age_in_seconds, config.max_async_retry_attempts) == (1000, 2)
    assert [one.max_async_retry_attempts for one in fg.async_notifications(function)] == [2]
    assert [one.max_async_retry_attempts for one in fg.all_versions_async_notifications(function)] == [2]

    made = fg.executing_function_asynchronously(function.func_urn, attrs={"k": "v"}).request_id

    def state():
        return {one.request_id: one.status for one in fg.async_invocation_requests(function)}.get(made)

    eventually(lambda: state() == "SUCCESS", because="the request has run")
    fg.stop_async_invocation_request(function, request_id=made, type="force")
    assert state() == "SUCCESS"


def test_versions_and_aliases(fg, function):
    published = fg.publish_version(function, version="v1", description="first")

    assert published.version == "v1"
    assert [one.version for one in fg.versions(function.func_urn)] == ["latest", "v1"]
    alias = fg.create_alias(function.func_urn, name="live", version="v1")
    assert alias.alias_urn.endswith(":!live")
    assert fg.update_alias(function, alias, version="v1", description="now").description == "now"
    assert fg.get_alias(function, alias).version == "v1"
    assert [one.name for one in fg.aliases(function.func_urn)] == ["live"]
    fg.delete_alias(function, alias)
    assert list(fg.aliases(function.func_urn)) == []


def test_tags(fg, function):
    fg.create_resource_tags(function, [{"key": "team", "value": "blue"}])

    assert [(one.key, one.values) for one in fg.get_resource_tags(function).tags] == [("team", ["blue"])]
    fg.delete_resource_tags(function, [{"key": "team", "value": "blue"}])
    assert fg.get_resource_tags(function).tags == []


def test_test_events(fg, function):
    event = fg.create_event(function, name="sample", content=base64.b64encode(b'{"a": 1}').decode())

    assert [one.name for one in fg.events(function.func_urn)] == ["sample"]
    fg.update_event(function, event, content=base64.b64encode(b'{"a": 2}').decode())
    assert base64.b64decode(fg.get_event(function, event).content) == b'{"a": 2}'
    fg.delete_event(function, event)
    assert list(fg.events(function.func_urn)) == []


def test_triggers(fg, function):
    data = {"name": "nightly", "schedule_type": "Rate", "schedule": "3d"}
    trigger = fg.create_trigger(function, trigger_type_code="TIMER", trigger_status="DISABLED", event_data=data)

    assert [one.trigger_id for one in fg.triggers(function.func_urn)] == [trigger.trigger_id]
    read = fg.get_trigger(function.func_urn, "TIMER", trigger.trigger_id)
    assert (read.trigger_status, read.event_data.schedule) == ("DISABLED", "3d")
    fg.delete_trigger(function.func_urn, "TIMER", trigger.trigger_id)
    assert list(fg.triggers(function.func_urn)) == []
    fg.create_trigger(function, trigger_type_code="TIMER", trigger_status="DISABLED", event_data=data)
    fg.delete_all_triggers(function.func_urn)
    assert list(fg.triggers(function.func_urn)) == []


def test_dependencies(fg):
    made = fg.create_dependency_version(
        depend_type="zip",
        depend_file=zip_base64({"shared_otc.py": "VALUE = 1\n"}),
        runtime="Python3.10",
        name="otc-shared",
        description="of OTC",
    )

    (page,) = fg.dependencies(dependency_type="private", name="otc-shared")
    assert [(one.name, one.version) for one in page.dependencies] == [("otc-shared", 1)]
    assert fg.get_dependency_version(made).description == "of OTC"
    (versions,) = fg.dependency_versions(made)
    assert [one.version for one in versions.dependencies] == [1]
    fg.delete_dependency_version(made)
    with pytest.raises(NotFoundException):
        fg.get_dependency_version(made)


def test_what_is_looked_up(fg, function):
    (quotas,) = fg.quotas()
    kinds = {one["type"]: one["quota"] for one in quotas.quotas["resources"]}
    assert kinds["fgs_func_num"] == 400
    (metrics,) = fg.function_metrics(function, "5")
    assert len(metrics.count) == 5
    assert fg.get_lts_log_settings(function).group_name.startswith("functiongraph.log.group.")
    assert list(fg.reserved_instances()) == []
    assert list(fg.reserved_instances_config()) == []
