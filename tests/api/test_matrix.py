"""Every operation, with each role, and with the identifiers of another project. Made from the table of operations.

What is expected follows from the tables of actions and roles, by another reading of their wildcards than the server's.
"""

import asyncio
import json
import re
import secrets
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import pytest

from funclet.api.actions import ACTIONS, FREE, names_of
from funclet.api.operations import OPERATIONS
from funclet.model.identity import AccessKey, Project, User
from funclet.model.roles import SYSTEM_ROLES, TENANT
from funclet.store.sqlite import SqliteStore
from tests.support.server import PROJECT_ID, ServerProcess

SECOND = Project(project_id="f" * 32, name="second", domain_id="e" * 32, domain_name="elsewhere")
MARK = "walled"
# Whoever logs in has no credentials yet; `test_only_logging_in_and_signed_links_are_public` has the others.
ROWS = [pytest.param(row, id=row.name) for row in OPERATIONS if not row.is_public]
NOT_AUTHORIZED = "is not authorized to perform"
# Nothing of these stands in a path: they concern whoever calls, or are refused to everybody.
_BODIES = {"CreateToken": {"auth": {"identity": {"methods": []}}}}


@dataclass
class Wall:
    """A server with three projects of two domains, callers of each role in the first, and things to be hidden there.

    The `second` project is of another domain, that of the `neighbour` of the same.
    """

    server: ServerProcess
    projects: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    clients: dict[str, object] = field(default_factory=dict)

    def call(self, client, row, values):
        """Send an operation with these values in its path."""
        path = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], row.path)
        body = b"" if row.method in ("GET", "HEAD", "DELETE") else json.dumps(_BODIES.get(row.name, {})).encode()
        headers = {"X-Project-Id": values["project_id"]}
        return client.call(row.method, path, body=body, headers=headers, raises=False)

    def values(self, project_id, **changes):
        """Return a value for each parameter of every path: things that are not there, unless told otherwise."""
        names = {name for row in OPERATIONS for name in re.findall(r"\{(\w+)\}", row.path)}
        defaults = dict.fromkeys(names, "0" * 32) | {
            "project_id": project_id,
            "function_urn": "missing",
            "func_urn": "missing",
            "trigger_type_code": "TIMER",
            "alias_name": "missing",
            "version": "1",
            "state": "true",
            "period": "5",
            "action": "state",
            "resource_type": "functions",
            "topic_urn": f"urn:smn:test-1:{project_id}:missing",
            "resource_id": "missing",
        }
        return defaults | changes


def send(client, method, path, document=None):
    body = b"" if document is None else json.dumps(document).encode()
    return client.call(method, path, body=body).json()


@pytest.fixture(scope="module")
def wall(tmp_path_factory):
    server = ServerProcess(tmp_path_factory.mktemp("wall"), "--isolation", "process").start()
    second = AccessKey(access="SECONDKEY", secret=secrets.token_urlsafe(30), user_id="2" * 32, project_id="f" * 32)
    server.stop()
    asyncio.run(add_project(server.data_dir / "funclet.db", second))
    server.start()
    made = Wall(server)
    made.clients["second"] = server.new_client(ak=second.access, sk=second.secret, project_id=SECOND.project_id)
    made.projects = {"second": SECOND.project_id, "neighbour": add_neighbour(server)}
    made.clients["neighbour"] = client_with(server, TENANT, project_id=made.projects["neighbour"], name="neighbour")
    for state in STATES:
        made.projects[state], made.clients[state] = restrict(server, state)
    for role in SYSTEM_ROLES:
        made.clients[role.name] = client_with(server, role)
    made.clients["nobody"] = client_with(server, None)
    made.ids = hide(server)
    yield made
    for client in made.clients.values():
        client.close()
    server.stop()


async def add_project(path, key):
    store = SqliteStore.open(path)
    user = User(user_id=key.user_id, name="stranger", domain_id=SECOND.domain_id, password_hash="", is_owner=True)

    def add(tx):
        tx.identities.add_project(SECOND)
        tx.identities.add_user(user)
        tx.identities.add_access_key(key)

    await store.write(add)
    await store.close()


def add_neighbour(server):
    """Make another project of the same domain, as an operator does; return its id."""
    return send(server.client, "POST", "/v3/projects", {"project": {"name": "test-1_neighbour"}})["project"]["id"]


def client_with(server, role, *, project_id=PROJECT_ID, name=""):
    """Return a client of a user with one role in one project, by an access key."""
    name = name or (re.sub(r"\W", "", role.name) if role else "nobody")
    user = send(server.client, "POST", "/v3/users", {"user": {"name": name}})["user"]
    if role is not None:
        group = send(server.client, "POST", "/v3/groups", {"group": {"name": f"only-{name}"}})["group"]
        send(server.client, "PUT", f"/v3/groups/{group['id']}/users/{user['id']}")
        send(server.client, "PUT", f"/v3/projects/{project_id}/groups/{group['id']}/roles/{role.role_id}")
    body = {"credential": {"user_id": user["id"]}}
    key = send(server.client, "POST", "/v3.0/OS-CREDENTIAL/credentials", body)["credential"]
    return server.new_client(ak=key["access"], sk=key["secret"], project_id=project_id)


def hide(server):
    """Make something of every kind in the first project; return the identifiers by the names of parameters."""
    client = server.client
    urn = server.deploy(f"{MARK}-fn", f"def handler(e, c):\n    print('{MARK}-line')\n    return '{MARK}'\n")
    server.invoke(urn)
    send(client, "POST", server.path(f"/functions/{urn}/versions"), {"version": "v1"})
    send(client, "POST", server.path(f"/functions/{urn}/aliases"), {"name": f"{MARK}-alias", "version": "v1"})
    event = {"name": f"{MARK}-timer", "schedule_type": "Rate", "schedule": "3d"}
    trigger = send(client, "POST", server.path(f"/triggers/{urn}"),
                   {"trigger_type_code": "TIMER", "trigger_status": "DISABLED", "event_data": event})  # fmt: skip
    request = send(client, "POST", server.path(f"/functions/{urn}/invocations-async"), {})
    project = f"/v2/{PROJECT_ID}"
    topic = send(client, "POST", f"{project}/notifications/topics", {"name": f"{MARK}-topic"})
    send(client, "POST", f"{project}/streams", {"stream_name": f"{MARK}-stream", "partition_count": 1})
    user = send(client, "POST", "/v3/users", {"user": {"name": f"{MARK}-user"}})["user"]
    group = send(client, "POST", "/v3/groups", {"group": {"name": f"{MARK}-group"}})["group"]
    send(client, "PUT", f"/v3/groups/{group['id']}/users/{user['id']}")
    document = {"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": ["*"]}]}
    role = send(client, "POST", "/v3.0/OS-ROLE/roles", {"role": {"display_name": f"{MARK}-p", "policy": document}})
    agency = send(client, "POST", "/v3.0/OS-AGENCY/agencies", {"agency": {"name": f"{MARK}-agency"}})["agency"]
    key = send(client, "POST", "/v3.0/OS-CREDENTIAL/credentials", {"credential": {"user_id": user["id"]}})
    return {
        "function_urn": urn,
        "func_urn": urn,
        "resource_id": urn,
        "alias_name": f"{MARK}-alias",
        "trigger_id": trigger["trigger_id"],
        "request_id": request["request_id"],
        "topic_urn": topic["topic_urn"],
        "stream_name": f"{MARK}-stream",
        "user_id": user["id"],
        "group_id": group["id"],
        "role_id": role["role"]["id"],
        "agency_id": agency["id"],
        "access_key": key["credential"]["access"],
        "scope_project_id": PROJECT_ID,
        "scope_domain_id": user["domain_id"],
    }


STATES = {"readonly": "read-only", "suspended": "suspended"}
RESTRICTED = "restricted, operation not allowed: project"
# Of operations that neither GET nor HEAD: what a suspended project allows, and what a read-only one allows beside it.
_IN_ANY_STATE = frozenset(
    {"ShowResInstanceInfo", "SimulatePolicy", "CreateTemporaryAccessKey", "ChangeOwnPassword", "UpdateProjectStatus"}
)
_WHILE_READONLY = frozenset(
    {
        "InvokeFunction",
        "AsyncInvokeFunction",
        "AsyncInvokeReservedFunction",
        "PublishMessage",
        "SendRecords",
        "TestConnection",
    }
)


def restrict(server, state):
    """Make a project in a state; return its id and its owner's client."""
    made = send(server.client, "POST", "/v3/projects", {"project": {"name": f"test-1_{state}"}})["project"]["id"]
    server.client.call("PUT", f"/v3-ext/projects/{made}", body=json.dumps({"project": {"status": state}}).encode())
    return made, server.new_client(project_id=made)


def may(role, row):
    """Tell from the tables whether a role allows an operation."""
    if row.name in FREE:
        return True
    patterns = [pattern.lower() for statement in role.policy.statements for pattern in statement.actions]
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns for name in names_of(ACTIONS[row.name]))


@pytest.mark.parametrize("row", ROWS)
def test_each_role_may_call_exactly_what_its_table_says(wall, row):
    values = wall.values(PROJECT_ID)

    found = {}
    for role in SYSTEM_ROLES:
        answer = wall.call(wall.clients[role.name], row, values)
        # HEAD has no body; there only the status can tell.
        is_refused = answer.status == 403 if row.method == "HEAD" else NOT_AUTHORIZED in answer.body.decode()
        found[role.name] = not is_refused
        assert answer.status < 500 or row.serve is None, answer.body

    assert found == {role.name: may(role, row) for role in SYSTEM_ROLES}


@pytest.mark.parametrize("row", ROWS)
def test_whoever_has_no_role_may_call_only_what_needs_none(wall, row):
    answer = wall.call(wall.clients["nobody"], row, wall.values(PROJECT_ID))

    is_refused = answer.status == 403 if row.method == "HEAD" else NOT_AUTHORIZED in answer.body.decode()
    assert is_refused is (row.name not in FREE)
    if is_refused and row.method != "HEAD":
        assert ACTIONS[row.name] in answer.body.decode()


@pytest.mark.parametrize("row", [row for row in ROWS if "{project_id}" in row.values[0].path])
def test_the_owner_of_another_project_is_refused_in_this_one(wall, row):
    answer = wall.call(wall.clients["second"], row, wall.values(PROJECT_ID, **wall.ids))

    assert answer.status == 403
    assert "not the one of your credentials" in answer.body.decode()


@pytest.mark.parametrize("row", [row for row in ROWS if "{project_id}" in row.values[0].path])
def test_who_may_do_everything_in_a_neighbouring_project_may_do_nothing_in_this_one(wall, row):
    answer = wall.call(wall.clients["neighbour"], row, wall.values(PROJECT_ID, **wall.ids))

    assert (answer.status == 403) is (row.name not in FREE)
    assert row.name in FREE or row.method == "HEAD" or NOT_AUTHORIZED in answer.body.decode()


@pytest.mark.proves("error:FSS.1125", "faq:FAQ-405")
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("row", ROWS)
def test_the_state_of_a_project_allows_exactly_what_the_table_says(wall, row, state):
    """Even its owner, who may do everything."""
    answer = wall.call(wall.clients[state], row, wall.values(wall.projects[state]))

    is_allowed = row.method in ("GET", "HEAD") or row.name in _IN_ANY_STATE
    is_allowed |= state == "readonly" and row.name in _WHILE_READONLY
    assert (RESTRICTED in answer.body.decode()) is not is_allowed, answer.body
    if not is_allowed:
        assert (answer.status, f"is {STATES[state]}" in answer.body.decode()) == (403, True)


# Parameters whose value names something of one project or domain, wherever it stands.
_NAMES = frozenset(
    {
        "function_urn",
        "func_urn",
        "trigger_id",
        "request_id",
        "topic_urn",
        "stream_name",
        "user_id",
        "group_id",
        "role_id",
        "agency_id",
        "access_key",
        "scope_project_id",
        "scope_domain_id",
    }
)


@pytest.mark.parametrize("who", ["second", "neighbour"])
@pytest.mark.parametrize("row", ROWS)
def test_nothing_of_the_first_project_can_be_named_or_seen_from_another(wall, row, who):
    """With its own project in the path and the identifiers of the other."""
    names = set(re.findall(r"\{(\w+)\}", row.path))

    answer = wall.call(wall.clients[who], row, wall.values(wall.projects[who], **wall.ids))

    if names & _NAMES:
        is_list_by_id = row.name == "ListAsyncDeliveries"
        assert is_list_by_id or answer.status >= 400, (answer.status, answer.body)
    shown = answer.body.decode()
    if row.name == "ListTraces":
        # What the stranger has tried stands there in the stranger's own words, and nobody else's.
        names = {"second": "stranger", "neighbour": "neighbour"}
        assert {trace["user"]["name"] for trace in json.loads(shown)["traces"]} == {names[who]}
    elif row.name == "ListServiceTrustedAgencies" and who == "neighbour":
        # Agencies are those of the domain.
        assert PROJECT_ID not in shown
    elif answer.status < 400:
        assert MARK not in shown
        assert PROJECT_ID not in shown


def test_everything_is_still_there_and_as_it_was(wall):
    """The last test of this module: whatever was tried from outside has changed nothing."""
    client, server = wall.server.client, wall.server
    urn = wall.ids["function_urn"]

    assert server.invoke(urn).body == f'"{MARK}"'.encode() or server.invoke(urn).body == MARK.encode()
    aliases = send(client, "GET", server.path(f"/functions/{urn}/aliases"))
    assert [alias["name"] for alias in aliases] == [f"{MARK}-alias"]
    triggers = send(client, "GET", server.path(f"/triggers/{urn}"))
    assert [trigger["trigger_id"] for trigger in triggers] == [wall.ids["trigger_id"]]
    for kind, path in (("user", "/v3/users/{user_id}"), ("group", "/v3/groups/{group_id}"),
                       ("agency", "/v3.0/OS-AGENCY/agencies/{agency_id}"), ("role", "/v3/roles/{role_id}"),
                       ("credential", "/v3.0/OS-CREDENTIAL/credentials/{access_key}")):  # fmt: skip
        assert send(client, "GET", path.format(**wall.ids))[kind]
    members = send(client, "GET", "/v3/groups/{group_id}/users".format(**wall.ids))["users"]
    assert [member["id"] for member in members] == [wall.ids["user_id"]]
    streams = send(client, "GET", f"/v2/{PROJECT_ID}/streams")
    assert MARK in json.dumps(streams)


def test_the_second_project_has_things_of_its_own_under_the_same_names(wall):
    body = json.dumps({"stream_name": f"{MARK}-stream", "partition_count": 1}).encode()

    assert wall.clients["second"].call("POST", f"/v2/{SECOND.project_id}/streams", body=body).status == 201
