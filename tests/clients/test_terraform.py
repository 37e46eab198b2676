"""What the Terraform provider asks: each resource's requests in their order, signed as its library does it.

The provider takes few statuses for good, compares what it reads with what it
sent, and pages until a page is empty. Where a difference would make it plan a
change for ever, a test says so.
"""

import json
import uuid

import pytest

from funclet.api.openapi.document import Facts
from funclet.api.operations import OPERATIONS
from tests.support.golang_sdk import Provider, Unexpected
from tests.support.packages import zip_base64
from tests.support.server import PROJECT_ID, REGION
from tests.support.terraform import FUNCTIONS, Function, Trigger
from tests.support.tokens import password_of, token_of

SOURCE = {"index.py": "def handler(event, context):\n    return context.getUserData('A') + ' & <ok>'\n"}
BASIC = {
    "runtime": "Python3.10",
    "timeout": 15,
    "memory_size": 256,
    "package": "default",
    "handler": "index.handler",
    "code_type": "zip",
    "type": "v2",
    "func_code": {"file": zip_base64(SOURCE)},
}
FACTS = Facts().operations


@pytest.fixture
def provider(server):
    client = Provider(server)
    yield client
    client.close()


@pytest.fixture
def new_function(provider):
    """Apply function resources."""

    def apply(**settings):
        function = Function(provider, **({"func_name": f"tf_{uuid.uuid4().hex[:12]}"} | BASIC | settings))
        function.create()
        return function

    return apply


def differences(function, *names):
    """Return what a plan would change: set members that are read as something else."""
    state = function.read()
    wanted = {name: function.settings[name] for name in names or function.settings if name != "func_code"}
    return {name: (one, state.get(name)) for name, one in wanted.items() if state.get(name) != one}


def test_it_learns_project_and_account_with_an_access_key(provider):
    projects = provider.send("GET", f"/v3/projects?name={REGION}", after_signing=[("X-Domain-Id", "d" * 32)])
    domains = provider.send("GET", "/v3/auth/domains")

    assert [one["id"] for one in projects["projects"]] == [PROJECT_ID]
    assert len(domains["domains"]) == 1


def test_it_logs_in_for_the_project_and_for_the_account(server, provider):
    user = {"name": "admin", "password": password_of(server), "domain": {"name": "admin"}}
    identity = {"methods": ["password"], "password": {"user": user}}
    for scope in ({"project": {"name": REGION}}, {"domain": {"name": "admin"}}):
        answer = provider.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, good={201})
        assert (answer["token"].keys() & {"project", "domain"}) == scope.keys()
        assert isinstance(answer["token"]["catalog"], list)

    assert [one["name"] for one in provider.send("GET", "/v3/users?name=admin")["users"]] == ["admin"]


def test_a_function_is_read_as_it_was_written(new_function):
    function = new_function(description="größer & <kleiner>", user_data='{"B": "2",  "A": "1"}', xrole="role")

    assert differences(function) == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"initializer_handler": "index.start", "initializer_timeout": 9},
        {"func_vpc": {"vpc_id": "v", "subnet_id": "s"}, "xrole": "agency"},
        {"app_xrole": "agency"},
        {"ephemeral_storage": 512},
        {"peering_cidr": "192.168.0.0/16"},
        {"enable_dynamic_memory": True},
        {"domain_names": json.dumps([{"id": "z", "domain_name": "a.example.com"}])},
        {"network_controller": {"disable_public_network": True}},
        {"log_config": {"group_id": "g", "group_name": "gn", "stream_id": "s", "stream_name": "sn"}},
        {"lts_custom_tag": {"team": "a"}},
        {"enable_lts_log": True},
        {"pre_stop_handler": "index.stop", "pre_stop_timeout": 5},
        {"encrypted_user_data": '{"S":"x"}'},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_is_sent_in_a_second_request_is_read_too(new_function, settings):
    function = new_function(**settings)

    compared = [name for name in settings if name != "encrypted_user_data"]
    assert not compared or differences(function, *compared) == {}


def test_objects_that_are_not_set_are_no_arrays(new_function):
    """They are read as objects."""
    state = new_function().read()

    for name in ("mount_config", "func_vpc", "custom_image", "log_config", "network_controller"):
        assert state.get(name) is None or isinstance(state[name], dict)
    for name in ("depend_version_list",):
        assert state[name] == []


def test_an_update_of_the_configuration_keeps_what_it_does_not_name(new_function):
    function = new_function(user_data='{"A":"1"}', max_instance_num=7)
    function.settings |= {"timeout": 33, "description": "changed"}

    function.put_config()

    assert differences(function) == {}


def test_dependencies_alone_are_changed_without_sending_the_code_again(new_function):
    function = new_function()
    digest = function.read()["digest"]

    function.put_code()

    assert function.read()["digest"] == digest


def test_a_package_of_another_name_in_an_update_changes_nothing(new_function, provider):
    """The provider has a fault: it may write the agency's name there."""
    function = new_function()

    provider.send("PUT", f"{FUNCTIONS}/{function.urn}/config", {"package": "an_agency", "timeout": 5})

    assert (function.read()["package"], function.read()["timeout"]) == ("default", 5)


def test_versions_and_aliases_are_read_as_they_were_written(new_function):
    """Published twice without a change between: the provider creates all versions of its list one after the other."""
    versions = [
        {"name": "v1", "description": "first", "alias": {"name": "stable", "description": "s"}},
    ]
    function = new_function(versions=versions)

    assert differences(function, "versions") == {}


def test_an_alias_with_weights_is_removed_and_made_again(new_function, provider):
    function = new_function()
    function.add_version(name="v1")
    function.settings |= {"timeout": 16}
    function.put_config()
    alias = {"name": "canary", "description": "", "additional_version_weights": {"v1": 20}}

    function.add_version(name="v2", description="two", alias=alias)

    expected = [{"name": "v2", "description": "two", "alias": alias}, {"name": "v1", "description": ""}]
    assert sorted(function.read()["versions"], key=str) == sorted(expected, key=str)
    function.remove_version(name="v2", alias=alias)
    assert [one["name"] for one in function.read()["versions"]] == ["v1"]


@pytest.mark.parametrize("count", [1, 400, 0, -1])
def test_the_most_instances_are_read_back(new_function, count):
    assert differences(new_function(max_instance_num=count), "max_instance_num") == {}


@pytest.mark.needs("CreateTags", "DeleteTags", "ListFunctionTags")
def test_tags_are_replaced(new_function):
    """Their answer must be exactly 204; both forms of the urn are used."""
    function = new_function(tags={"a": "1", "b": "2"})
    assert function.read_tags() == {"a": "1", "b": "2"}

    function.change_tags({"a": "1"}, {"b": "3", "c": ""})

    assert function.read_tags() == {"b": "3", "c": ""}


@pytest.mark.needs("UpdateFunctionReservedInstancesCount", "ListReservedInstanceConfigs")
def test_reserved_instances_are_listed_until_a_page_is_empty(new_function, provider):
    function = new_function(versions=[{"name": "v1", "alias": {"name": "dev", "description": ""}}])
    path = f"{FUNCTIONS}/{function.urn}:v1/reservedinstances"

    provider.send("PUT", path, {"count": 1, "idle_mode": False})
    assert function.read_reserved() == ({"v1": 1}, 2)

    provider.send("PUT", path, {"count": 0, "idle_mode": False})
    assert function.read_reserved() == ({}, 1)


def test_a_deleted_function_is_gone(new_function):
    assert new_function().delete()


def test_a_timer_is_an_object_and_is_read_as_it_was_written(new_function, provider):
    data = {"name": "tick", "schedule_type": "Cron", "schedule": "0 15 2 * * ?", "user_event": "a & <b>"}
    trigger = Trigger(provider, new_function(), "TIMER", data)

    trigger.create()

    shown = trigger.read()
    assert (shown["event_data"], shown["trigger_status"]) == (data, "ACTIVE")
    # The provider parses no other form.
    assert shown["created_time"].endswith("+00:00")


def test_a_trigger_is_changed_and_asked_for_until_its_status_is_settled(new_function, provider):
    trigger = Trigger(provider, new_function(), "TIMER", {"name": "t", "schedule_type": "Rate", "schedule": "3d"})
    trigger.create()

    trigger.update("DISABLED")
    assert trigger.read()["trigger_status"] == "DISABLED"

    changed = trigger.event_data | {"schedule": "5d"}
    trigger.update("ACTIVE", changed)
    shown = trigger.read()
    assert (shown["trigger_status"], shown["event_data"]) == ("ACTIVE", changed)
    assert trigger.delete()


def test_the_trigger_of_a_deleted_function_is_gone(new_function, provider):
    function = new_function()
    trigger = Trigger(provider, function, "TIMER", {"name": "t", "schedule_type": "Rate", "schedule": "3d"})
    trigger.create()

    function.delete()

    assert provider.is_gone(trigger.path)


def test_asynchronous_settings_come_and_go(new_function, provider):
    function = new_function()
    path = f"{FUNCTIONS}/{function.latest}/async-invoke-config"
    body = {"max_async_event_age_in_seconds": 3500, "max_async_retry_attempts": 2, "destination_config": {}}

    provider.send("PUT", path, body | {"enable_async_status_log": False})

    shown = provider.send("GET", path)
    assert {name: shown[name] for name in body} == body
    assert shown["created_time"].endswith("+00:00")
    provider.send("DELETE", path)
    assert provider.is_gone(path)


def test_the_status_log_of_asynchronous_requests_is_enabled(provider):
    provider.send("POST", f"{FUNCTIONS}/enable-async-status-logs")

    place = provider.send("GET", f"{FUNCTIONS}/async-status-log-detail")
    assert place["group_id"]
    assert place["stream_id"]


@pytest.mark.needs("EnableLtsLogs")
def test_enabling_logs_again_is_refused_in_the_words_that_the_provider_knows(provider):
    for _ in range(2):
        try:
            provider.send("POST", f"{FUNCTIONS}/enable-lts-logs")
        except Unexpected as error:
            refusal = error

    assert (refusal.status, refusal.code) == (400, "FSS.1221")
    assert "lts log has been enabled" in refusal.body.lower()


@pytest.mark.needs("ShowLtsLogDetails")
def test_the_place_of_logs_is_asked_for_at_every_read(new_function, provider):
    place = provider.send("GET", f"{FUNCTIONS}/{new_function().latest}/lts-log-detail")

    assert place.keys() >= {"group_name", "group_id", "stream_id", "stream_name"}


def test_a_function_is_pinned_and_released(new_function, provider):
    urn = new_function().latest

    for state in ("true", "false"):
        provider.send("PUT", f"{FUNCTIONS}/{urn}/collect/{state}")


@pytest.mark.needs("UpdateTracing", "ShowTracing")
def test_tracing_is_removed_by_an_empty_update(new_function, provider):
    path = f"{FUNCTIONS}/{new_function().latest}/tracing"

    provider.send("PUT", path, {"tracing_ak": "ak", "tracing_sk": "sk"})
    assert provider.send("GET", path)["tracing_ak"] == "ak"

    provider.send("PUT", path, {})
    assert not provider.send("GET", path).get("tracing_ak")


@pytest.mark.needs("CreateEvent", "ShowEvent", "UpdateEvent", "DeleteEvent", "ListEvents")
def test_a_test_event_comes_and_goes(new_function, provider):
    path = f"{FUNCTIONS}/{new_function().latest}/events"

    made = provider.send("POST", path, {"name": "e1", "content": "eyJhIjoxfQ=="})
    provider.send("PUT", f"{path}/{made['id']}", {"name": "e1", "content": "eyJhIjoyfQ=="})

    assert provider.send("GET", f"{path}/{made['id']}")["content"] == "eyJhIjoyfQ=="
    assert [one["name"] for one in provider.send("GET", path)["events"]] == ["e1"]
    provider.send("DELETE", f"{path}/{made['id']}", good={204})
    assert provider.is_gone(f"{path}/{made['id']}")


@pytest.mark.needs("CreateDependencyVersion", "ShowDependencyVersion", "DeleteDependencyVersion")
def test_a_version_of_a_dependency_comes_and_goes(provider):
    body = {"name": f"tf_{uuid.uuid4().hex[:8]}", "runtime": "Python3.10", "depend_type": "zip"}
    body |= {"depend_file": zip_base64({"lib.py": "x = 1\n"}), "description": "d"}

    made = provider.send("POST", "/fgs/dependencies/version", body)

    assert made["version"] > 0  # it takes 0 for missing
    path = f"/fgs/dependencies/{made['dep_id']}/version/{made['version']}"
    shown = provider.send("GET", path)
    assert (shown["name"], shown["runtime"], shown["description"]) == (body["name"], body["runtime"], "d")
    provider.send("DELETE", path)
    assert provider.is_gone(path)


@pytest.mark.needs("CreateDependency", "ShowDependency", "UpdateDependency", "DeleteDependency")
def test_a_dependency_of_the_old_kind_is_found_by_the_id_of_its_creation(provider):
    body = {"name": f"tf_{uuid.uuid4().hex[:8]}", "runtime": "Python3.10", "depend_type": "zip"}
    body |= {"depend_file": zip_base64({"lib.py": "x = 1\n"}), "description": "d"}

    made = provider.send("POST", "/fgs/dependencies", body)

    path = f"/fgs/dependencies/{made['id']}"
    assert provider.send("GET", path)["name"] == body["name"]
    provider.send("PUT", path, body | {"description": "e", "depend_file": zip_base64({"lib.py": "x = 2\n"})})
    assert provider.send("GET", path)["description"] == "e"
    provider.send("DELETE", path)
    assert provider.is_gone(path)


@pytest.mark.needs("CreateVpcEndpoint", "DeleteVpcEndpoint")
def test_an_endpoint_in_a_network_comes_and_goes(provider):
    made = provider.send("POST", "/fgs/vpc-endpoint", {"vpc_id": "vpc-1", "subnet_id": "net-1"})

    assert isinstance(made["endpoints"], list)
    provider.send("DELETE", "/fgs/vpc-endpoint/vpc-1/net-1")


@pytest.mark.needs("CreateFunctionApp", "ShowFunctionApp", "DeleteFunctionApp", "ListAppTemplates")
def test_an_application_is_asked_for_until_it_is_there_and_until_it_is_gone(provider):
    rows = provider.send("GET", "/fgs/application/templates?maxitems=100&marker=0")["templates"]
    template_id = next(row["id"] for row in rows if row["name"] == "notes")
    body = {"name": f"tf-{uuid.uuid4().hex[:8]}x", "template_id": template_id, "params": {"title": "T"}}

    path = f"/fgs/applications/{provider.send('POST', '/fgs/applications', body)['application_id']}"
    shown = provider.send("GET", path)

    assert shown["status"] == "success"
    assert {type(row[member]) for row in shown["stack_resources"] for member in row} == {str}
    assert all(isinstance(shown[name], str) for name in ("stack_id", "stack_name", "apig_url", "pipeline_id"))
    provider.send("DELETE", path)
    assert provider.is_gone(path)


# How every list of the provider is asked for: path, and the member with the rows; empty for a bare array.
LISTS = {
    "ListFunctions": (f"{FUNCTIONS}?maxitems=400&marker=0", "functions"),
    "ListDependencies": ("/fgs/dependencies?maxitems=400&marker=0", "dependencies"),
    "ListTriggers": ("/fgs/triggers?maxitems=500&marker=0", "triggers"),
    "ListQuotas": ("/fgs/quotas", "quotas"),
    "ShowProjectTagsList": ("/functions/tags", "tags"),
    "ListFunctionTemplate": ("/fgs/templates?maxitems=100&marker=0", "func_templates"),
    "ListAppTemplates": ("/fgs/application/templates?maxitems=100&marker=0", "templates"),
    "ListFunctionApplications": ("/fgs/applications?limit=100&marker=0", "applications"),
    "ListRuntimeTypes": ("/fgs/runtimetypes", ""),
    "ListTriggerTypes": ("/fgs/triggertypes", ""),
    "ShowFeature": ("/fgs/feature", ""),
    "ListServiceTrustedAgencies": ("/fgs/service-trusted-agencies", ""),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.needs(name), id=name) for name in LISTS])
def test_data_sources_are_read(provider, name):
    path, member = LISTS[name]

    answer = provider.send("GET", path)

    assert isinstance(answer, dict) if member or name == "ShowFeature" else isinstance(answer, list)
    assert not member or member in answer


@pytest.mark.needs("ShowResInstanceInfo")
@pytest.mark.parametrize(
    "paging", [{"limit": 10, "offset": 0}, {"limit": "10", "offset": "0"}], ids=["numbers", "texts"]
)
def test_functions_are_found_by_tag(provider, paging):
    answer = provider.send("POST", "/functions/resource-instances/filter", {"action": "filter", "tags": []} | paging)

    assert isinstance(answer["resources"], list)
    assert isinstance(answer["total_count"], int)


def is_paged(row):
    """Tell whether a list says where its next page begins."""
    facts = FACTS[row.name]
    shape = Facts().shapes.get(facts.get("answer", {}).get("$ref", "").rpartition("/")[2], {})
    return "marker" in facts.get("query", {}) and bool(
        {"next_marker", "page_info"} & shape.get("properties", {}).keys()
    )


PAGED = [row for row in OPERATIONS if not row.is_ours and is_paged(row)]


@pytest.fixture
def fill(provider, new_function):
    """Put names of things that exist into the path of a row."""

    def filled(row):
        path = row.path.removeprefix("/v2/{project_id}")
        for name in ("{function_urn}", "{func_urn}"):
            if name in path:
                path = path.replace(name, new_function().latest)
        if "{depend_id}" in path:
            body = {"name": f"tf_{uuid.uuid4().hex[:8]}", "runtime": "Python3.10", "depend_type": "zip"}
            body |= {"depend_file": zip_base64({"lib.py": "x = 1\n"})}
            path = path.replace("{depend_id}", provider.send("POST", "/fgs/dependencies/version", body)["dep_id"])
        return path

    return filled


@pytest.mark.parametrize("row", [pytest.param(row, marks=pytest.mark.needs(row.name), id=row.name) for row in PAGED])
def test_a_page_beyond_the_end_is_empty(provider, fill, row):
    """The provider asks on until then, and would never end."""
    answer = provider.send("GET", f"{fill(row)}?marker=100000")

    assert [value for value in answer.values() if isinstance(value, list)] == [[]]


def test_no_update_answers_204():
    """Its library takes that for an error."""
    updates = {row.name: FACTS[row.name]["status"] for row in OPERATIONS if row.method == "PUT" and not row.is_ours}

    assert updates
    assert set(updates.values()) <= {200, 201, 202}


@pytest.fixture
def new_provider(server):
    """Open providers with other credentials."""
    opened = []

    def open_one(**options):
        opened.append(Provider(server, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_the_host_is_not_signed_and_what_is_added_later_does_not_count(provider):
    provider.send("GET", "/fgs/quotas", after_signing=[("X-Domain-Id", "d" * 32)])

    assert "SignedHeaders=accept;content-type;user-agent;x-sdk-date," in provider.sent[-1].authorization


def test_a_call_with_a_token_is_not_signed(server, new_provider):
    provider = new_provider(token=token_of(server))

    assert provider.send("GET", "/fgs/quotas")
    assert provider.sent[-1].authorization == ""


def test_a_wrong_secret_is_refused(new_provider):
    with pytest.raises(Unexpected) as caught:
        new_provider(sk="wrong").send("GET", "/fgs/quotas")

    assert (caught.value.status, caught.value.code) == (401, "APIG.0301")
