"""Destinations are set by those who may send there, or whose function may; and never where they start it again."""

import contextlib
import json

import pytest

from tests.support.server import ServerProcess

ECHO = "def handler(event, context):\n    return event\n"
OWN = "FUNCTIONGRAPH:*:*:function:default/mine"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    running = ServerProcess(tmp_path_factory.mktemp("rights"), "--isolation", "process").start()
    running.mine = running.deploy("mine", ECHO)
    running.target = running.deploy("target", ECHO)
    topic = send(running, "POST", f"/v2/{running.project_id}/notifications/topics", {"name": "orders"})
    running.topic = topic.json()["topic_urn"]
    yield running
    running.stop()


def send(server, method, path, body=None, *, client=None):
    data = b"" if body is None else json.dumps(body).encode()
    return (client or server.client).call(method, path, body=data, raises=False)


def granted(server, name, *statements):
    """Give statements to a new policy; return its id."""
    policy = {"Version": "1.1", "Statement": [{"Effect": "Allow", **one} for one in statements]}
    answer = send(server, "POST", "/v3.0/OS-ROLE/roles", {"role": {"display_name": name, "policy": policy}})
    return answer.json()["role"]["id"]


@pytest.fixture
def user(shared):
    """Create users who may do so much: `user(name, *statements)` returns a client of theirs."""
    with contextlib.ExitStack() as stack:

        def new(name, *statements):
            client = new_user(shared, name, statements)
            stack.callback(client.close)
            return client

        yield new


def new_user(server, name, statements):
    made = send(server, "POST", "/v3/users", {"user": {"name": name, "password": "Right-horse-1"}}).json()["user"]
    group = send(server, "POST", "/v3/groups", {"group": {"name": f"of-{name}"}}).json()["group"]
    send(server, "PUT", f"/v3/groups/{group['id']}/users/{made['id']}")
    role = granted(server, f"of-{name}", *statements)
    send(server, "PUT", f"/v3/projects/{server.project_id}/groups/{group['id']}/roles/{role}")
    body = {"credential": {"user_id": made["id"]}}
    key = send(server, "POST", "/v3.0/OS-CREDENTIAL/credentials", body).json()["credential"]
    return server.new_client(ak=key["access"], sk=key["secret"])


def destinations(server):
    """Return one destination of each kind by kind, with what sending there needs."""
    return {
        "FunctionGraph": ({"func_urn": server.target}, "functiongraph:function:invokeAsync"),
        "OBS": ({"bucket": "outcomes", "prefix": ""}, "obs:object:PutObject"),
        "SMN": ({"topic_urn": server.topic}, "smn:topic:publish"),
        "DIS": ({"stream_name": "orders"}, "dis:streams:send"),
    }


def put(server, urn, kind, *, client=None, **fields):
    param, _ = destinations(server)[kind]
    config = {"on_failure": {"destination": kind, "param": json.dumps(param)}}
    path = server.path(f"/functions/{urn}/async-invoke-config")
    return send(server, "PUT", path, {"destination_config": config, **fields}, client=client)


@pytest.mark.proves("operation:UpdateFunctionAsyncInvokeConfig", "error:FSS.0403")
@pytest.mark.parametrize("kind", ["FunctionGraph", "OBS", "SMN", "DIS"])
def test_who_may_not_send_to_a_destination_cannot_set_it(shared, user, kind):
    _, action = destinations(shared)[kind]
    setting = {"Action": ["functiongraph:function:*AsyncConfig"], "Resource": [OWN]}
    invoking = {"Action": ["functiongraph:function:invoke*"], "Resource": [OWN]}
    without = user(f"without-{kind.lower()}", setting, invoking)
    may_send = user(f"with-{kind.lower()}", setting, {"Action": [action]})
    urn = shared.deploy(f"of-{kind.lower()}", ECHO)

    refused = put(shared, shared.mine, kind, client=without)

    assert (refused.status, refused.json()["error_code"]) == (403, "FSS.0403")
    assert f"not authorized to perform {action} on " in refused.json()["error_msg"]
    path = shared.path(f"/functions/{shared.mine}/async-invoke-config")
    assert send(shared, "GET", path).status == 404, "nothing has changed"
    assert put(shared, shared.mine, kind, client=may_send).status == 200
    # What is there already may stay.
    assert put(shared, shared.mine, kind, client=without, max_async_retry_attempts=3).status == 200
    assert send(shared, "DELETE", path).status == 204
    assert put(shared, urn, kind).status == 200, "the owner may do everything"


def test_the_agency_of_the_function_is_enough(shared, user):
    body = {"agency": {"name": "courier", "trust_domain_name": "op_svc_cff"}}
    agency = send(shared, "POST", "/v3.0/OS-AGENCY/agencies", body).json()["agency"]
    urn = shared.deploy("with-agency", ECHO, xrole="courier")
    setting = {"Action": ["functiongraph:function:updateAsyncConfig"]}
    client = user("ann", setting)
    assert put(shared, urn, "OBS", client=client).status == 403

    role = granted(shared, "courier-role", {"Action": ["obs:object:PutObject"]})
    send(shared, "PUT", f"/v3.0/OS-AGENCY/projects/{shared.project_id}/agencies/{agency['id']}/roles/{role}")

    assert put(shared, urn, "OBS", client=client).status == 200
    assert put(shared, urn, "DIS", client=client).status == 403
    assert put(shared, shared.target, "OBS", client=client).status == 403, "of another function without an agency"


@pytest.mark.parametrize(
    ("trigger", "prefix", "is_refused"),
    [
        ({"events": ["ObjectCreated"]}, "", True),
        ({"events": ["Put"], "prefix": "out/"}, "out", True),
        ({"events": ["Put"], "prefix": "out/loop"}, "/out", True),
        ({"events": ["s3:ObjectCreated:*"], "suffix": ".json"}, "out", True),
        ({"events": ["ObjectRemoved"]}, "", False),
        ({"events": ["Put"], "prefix": "in/"}, "out", False),
        ({"events": ["Put"], "suffix": ".jpg"}, "out", False),
        ({"events": ["Put"], "bucket": "another"}, "out", False),
    ],
)
def test_a_bucket_whose_objects_start_the_function_again_is_refused(shared, trigger, prefix, is_refused):
    urn = shared.deploy("loop", ECHO)
    data = {"bucket": "outcomes", "name": "t"} | trigger
    body = {"trigger_type_code": "OBS", "trigger_status": "ACTIVE", "event_data": data}
    created = send(shared, "POST", f"/v2/{shared.project_id}/fgs/triggers/{urn}", body)
    assert created.status == 201, created.body
    param = json.dumps({"bucket": "outcomes", "prefix": prefix, "expires": 0})
    config = {"destination_config": {"on_success": {"destination": "OBS", "param": param}}}

    answer = send(shared, "PUT", shared.path(f"/functions/{urn}/async-invoke-config"), config)

    shared.client.delete_triggers(urn)
    shared.client.delete_function(urn.rsplit(":", 1)[0])
    assert answer.status == (400 if is_refused else 200), answer.body
    if is_refused:
        assert answer.json()["error_code"] == "FSS.0400"
        assert created.json()["trigger_id"] in answer.json()["error_msg"]
