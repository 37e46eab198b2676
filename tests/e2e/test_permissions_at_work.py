"""Permissions on a real server: by the command line, in all processes, and for functions that call the API."""

import json
from urllib.parse import urlsplit

import pytest

from funclet.cli.main import run
from funclet.client import ApiError, Client, Credentials, Link
from tests.support.server import PROJECT_ID, REGION, ServerProcess
from tests.support.waiting import eventually

CALL_BACK = """
import hashlib, hmac, json, os, urllib.request
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

def handler(event, context):
    url = urlsplit(event["url"])
    body = json.dumps(event["body"]).encode() if "body" in event else b""
    headers = {"host": url.netloc, "x-sdk-date": datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ"),
               "x-security-token": context.getSecurityToken()}
    names = ";".join(sorted(headers))
    lines = [event["method"], quote(url.path, "~/") + "/", ""]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers)] + ["", names]
    lines.append(hashlib.sha256(body).hexdigest())
    digest = hashlib.sha256("\\n".join(lines).encode()).hexdigest()
    to_sign = f"SDK-HMAC-SHA256\\n{headers['x-sdk-date']}\\n{digest}"
    proof = hmac.new(context.getSecuritySecretKey().encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"SDK-HMAC-SHA256 Access={context.getSecurityAccessKey()}, SignedHeaders={names}, Signature={proof}")
    if event.get("with_token"):
        headers = {"X-Auth-Token": context.getToken()}
    request = urllib.request.Request(event["url"], data=body or None, method=event["method"], headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return {"status": answer.status, "body": answer.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}
"""
PLAIN = "def handler(e, c):\n    return 1\n"
SHOW_KEYS = {
    "Python3.10": "def handler(e, c):\n    return [c.getSecurityAccessKey(), c.getToken()]\n",
    "Node.js20.15": "exports.handler = async (e, c) => [c.getSecurityAccessKey(), c.getToken()];\n",
}
KEYS_OF_INITIALIZER = """
seen = []
def init(context):
    seen.append(context.getSecurityAccessKey())
def handler(event, context):
    return seen + [context.getSecurityAccessKey()]
"""


@pytest.fixture(scope="module")
def home_server(tmp_path_factory):
    """A server whose functions reach this host: they are plain processes."""
    running = ServerProcess(tmp_path_factory.mktemp("iam"), "--isolation", "process").start()
    yield running
    running.stop()


@pytest.fixture
def fgs(home_server, tmp_path, monkeypatch, capfd):
    """Run a command line as the owner, or with an access key."""
    for name, value in {
        "HOME": str(tmp_path),
        "FGS_ENDPOINT": home_server.api_url,
        "FGS_PROJECT_ID": PROJECT_ID,
    }.items():
        monkeypatch.setenv(name, value)

    def command(*words, ak=home_server.ak, sk=home_server.sk, stdin=""):
        monkeypatch.setenv("HW_ACCESS_KEY", ak)
        monkeypatch.setenv("HW_SECRET_KEY", sk)
        given = tmp_path / "stdin"
        given.write_text(stdin)
        with given.open() as file:
            monkeypatch.setattr("sys.stdin", file)
            code = int(run(list(words)))
        out, err = capfd.readouterr()
        return code, out, err

    def must(*words, **how):
        code, out, err = command(*words, **how)
        assert code == 0, err
        return out

    command.must = must
    return command


def call_back(server, urn, method, path, **more):
    event = {"url": server.api_url + path, "method": method} | more
    answer = server.invoke(urn, event)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


@pytest.mark.parametrize("with_token", [False, True])
def test_a_function_calls_the_api_as_its_agency(home_server, with_token):
    name = f"caller-{int(with_token)}"
    urn = home_server.deploy(name, CALL_BACK, xrole="serverless-readonly")

    listed = call_back(home_server, urn, "GET", home_server.path("/functions"), with_token=with_token)
    denied = call_back(home_server, urn, "DELETE", home_server.path(f"/functions/{name}"), with_token=with_token)

    assert listed["status"] == 200
    assert name in listed["body"]
    assert denied["status"] == 403
    assert "functiongraph:function:delete" in denied["body"]


def test_without_an_agency_a_function_has_no_keys(home_server):
    urn = home_server.deploy("keyless", SHOW_KEYS["Python3.10"])

    assert json.loads(home_server.invoke(urn).body) == ["", ""]


@pytest.mark.parametrize("runtime", SHOW_KEYS)
def test_each_runtime_hands_the_keys_to_the_function(server, runtime):
    """At the best isolation that this machine has."""
    urn = server.deploy(f"keys-{runtime[:4].lower()}", SHOW_KEYS[runtime], runtime=runtime, xrole="serverless-trust")

    access, token = json.loads(server.invoke(urn).body)

    assert len(access) == 20
    assert token.startswith("fgt-")


def test_the_initializer_has_the_keys_too(server):
    urn = server.deploy("keys-init", KEYS_OF_INITIALIZER, initializer_handler="index.init", initializer_timeout=3,
                        app_xrole="serverless-trust")  # fmt: skip

    first, second = json.loads(server.invoke(urn).body)

    assert len(first) == 20
    assert first == second


def test_another_agency_holds_for_the_next_request(server):
    urn = server.deploy("keys-change", SHOW_KEYS["Python3.10"], xrole="serverless-trust")
    before = json.loads(server.invoke(urn).body)

    server.client.update_config("keys-change", {"func_name": "keys-change", "xrole": "serverless-readonly"})
    after = json.loads(server.invoke(urn).body)

    assert before[0] != after[0]


def test_people_are_managed_by_the_command_line(fgs, home_server):
    home_server.deploy("open", "def handler(e, c):\n    return 1\n")
    home_server.deploy("closed", "def handler(e, c):\n    return 1\n")
    document = json.dumps({"Version": "1.1", "Statement": [
        {"Effect": "Allow", "Action": ["functiongraph:function:invoke", "funcitongraph:*:*"],
         "Resource": ["FUNCTIONGRAPH:*:*:function:default/open"]}]})  # fmt: skip

    fgs.must("iam", "user", "create", "ann", "--password-file", "-", "--group", "viewers", stdin="Right-horse-1\n")
    key = json.loads(fgs.must("iam", "key", "create", "--user", "ann", "-o", "json"))
    ann = {"ak": key["access"], "sk": key["secret"]}
    assert fgs("invoke", "open", "--log", "none", **ann)[0] == 4
    fgs.must("iam", "group", "create", "testers")
    code, _, err = fgs("iam", "policy", "put", "invoke-open", "--file", "-", stdin=document)
    assert (code, "funcitongraph" in err) == (0, True)
    fgs.must("iam", "policy", "grant", "invoke-open", "--group", "testers")
    fgs.must("iam", "group", "add", "testers", "ann")

    assert fgs("invoke", "open", "--log", "none", **ann)[0] == 0
    assert fgs("invoke", "closed", "--log", "none", **ann)[0] == 4
    resource = "FUNCTIONGRAPH:*:*:function:default/{}"
    question = ("iam", "simulate", "--user", "ann", "--action", "functiongraph:function:invoke", "--resource")
    assert fgs(*question, resource.format("open"))[0] == 0
    assert fgs(*question, resource.format("closed"))[0] == 4
    assert "invoke-open" in fgs.must("iam", "policy", "granted", "--group", "testers")
    assert "ann" in fgs.must("iam", "group", "members", "testers")
    assert json.loads(fgs.must("iam", "policy", "get", "invoke-open")) == json.loads(document)
    assert fgs.must("iam", "user", "list", "-o", "name", **ann) == "ann\n"
    assert fgs("iam", "group", "create", "more", **ann)[0] == 4

    fgs.must("iam", "key", "disable", key["access"])
    assert fgs("invoke", "open", "--log", "none", **ann)[0] == 3
    fgs.must("iam", "key", "enable", key["access"])
    fgs.must("iam", "user", "disable", "ann")
    assert fgs("invoke", "open", "--log", "none", **ann)[0] == 3
    fgs.must("iam", "policy", "revoke", "invoke-open", "--group", "testers")
    fgs.must("iam", "policy", "delete", "invoke-open", "-y")
    fgs.must("iam", "group", "delete", "testers", "-y")
    fgs.must("iam", "user", "delete", "ann", "-y")
    assert fgs("iam", "user", "delete", "ann", "-y")[0] == 5


def test_agencies_are_managed_by_the_command_line(fgs):
    fgs.must("iam", "agency", "create", "job", "--policy", "FunctionGraph Invoker", "--duration", "7")
    assert "job" in fgs.must("iam", "agency", "list")
    assert "FunctionGraph Invoker" in fgs.must("iam", "policy", "granted", "--agency", "job")
    action = ("--action", "functiongraph:function:invoke")
    assert fgs("iam", "simulate", "--agency", "job", *action)[0] == 0
    fgs.must("iam", "policy", "revoke", "FunctionGraph Invoker", "--agency", "job")
    assert fgs("iam", "simulate", "--agency", "job", *action)[0] == 4
    fgs.must("iam", "agency", "delete", "job", "-y")
    assert fgs("iam", "agency", "delete", "job", "-y")[0] == 5
    assert fgs("iam", "policy", "grant", "FunctionGraph Invoker")[0] == 2


def test_who_did_what_is_shown(fgs, home_server):
    home_server.deploy("watched", "def handler(e, c):\n    return 1\n")
    fgs("function", "list", ak="UNKNOWN", sk="x")

    lines = fgs.must("audit", "--operation", "CreateFunction", "--limit", "1", "--lines", "--since", "1h")
    denied = fgs.must("audit", "--outcome", "denied", "-o", "json")

    assert json.loads(lines)["resource_name"].endswith(":function:default/watched")
    assert json.loads(denied)[0]["error_code"] == "APIG.0301"


@pytest.mark.proves("error:APIG.0302")
def test_a_trigger_with_iam_is_for_those_who_may_invoke_its_function(fgs, home_server):
    home_server.deploy("behind", "def handler(e, c):\n    return {'statusCode': 200, 'body': 'in'}\n")
    url = fgs.must("trigger", "create", "behind", "--type", "APIG", "--path", "/behind", "--auth", "IAM", "-o", "json")
    path = urlsplit(json.loads(url)["event_data"]["invoke_url"]).path
    answers = []
    for name, group in (("outer", "viewers"), ("inner", "operators")):
        fgs.must("iam", "user", "create", name, "--group", group)
        key = json.loads(fgs.must("iam", "key", "create", "--user", name, "-o", "json"))
        caller = Credentials(project_id=PROJECT_ID, ak=key["access"], sk=key["secret"])
        client = Client(home_server.gateway_url, caller, Link(retries=0))
        answers.append(client.call("GET", path, raises=False))
        client.close()

    assert [answer.status for answer in answers] == [403, 200]
    assert json.loads(answers[0].body)["error_code"] == "APIG.0302"
    denied = json.loads(fgs.must("audit", "--outcome", "denied", "--operation", "CallApi", "-o", "json"))
    assert [(one["user"]["name"], one["error_code"]) for one in denied] == [("outer", "APIG.0302")]


def test_a_change_holds_in_all_processes_when_it_is_answered(new_server):
    """Each connection is of one of the processes; all of them have let the user in before."""
    server = new_server("--processes", "2")
    urn = server.deploy("shared", "def handler(e, c):\n    return 1\n")
    made = json.loads(server.client.call("POST", "/v3/users", body=b'{"user": {"name": "ann"}}').body)["user"]
    groups = json.loads(server.client.call("GET", "/v3/groups").body)["groups"]
    group_id = next(group["id"] for group in groups if group["name"] == "operators")
    member = f"/v3/groups/{group_id}/users/{made['id']}"
    server.client.call("PUT", member)
    body = json.dumps({"credential": {"user_id": made["id"]}}).encode()
    key = json.loads(server.client.call("POST", "/v3.0/OS-CREDENTIAL/credentials", body=body).body)["credential"]
    clients = [server.new_client(ak=key["access"], sk=key["secret"]) for _ in range(16)]

    before = {server.invoke(urn, client=client).status for client in clients}
    server.client.call("DELETE", member)
    after = {server.invoke(urn, client=client).status for client in clients}

    assert before == {200}
    assert after == {403}

    def denied():
        query = {"outcome": "denied", "operation": "InvokeFunction"}
        found = json.loads(server.client.call("GET", f"/v2/{PROJECT_ID}/funclet/traces", query=query).body)
        return sum(trace["count"] for trace in found["traces"]) == len(clients)

    eventually(denied, within_s=10, because="denials in every process are in the audit log")
    for client in clients:
        client.close()


def test_every_process_tells_the_audit_log_whom_the_gateway_refuses(new_server):
    """Each connection is of one of the processes, and only the first one writes."""
    server = new_server("--processes", "2")
    urn = server.deploy("guarded", "def handler(e, c):\n    return 1\n")
    data = {"name": "guarded", "path": "/guarded", "auth": "IAM"}
    body = json.dumps({"trigger_type_code": "APIG", "event_data": data}).encode()
    made = json.loads(server.client.call("POST", server.path(f"/triggers/{urn}"), body=body).body)
    path = urlsplit(made["event_data"]["invoke_url"]).path
    for _ in range(16):
        client = Client(server.gateway_url, Credentials(project_id=PROJECT_ID, ak="UNKNOWN", sk="x"), Link(retries=0))
        assert client.call("GET", path, raises=False).status == 401
        client.close()

    def refused():
        found = json.loads(
            server.client.call("GET", f"/v2/{PROJECT_ID}/funclet/traces", query={"operation": "CallApi"}).body
        )
        return sum(trace["count"] for trace in found["traces"])

    assert eventually(lambda: refused() == 16)


def test_a_project_is_made_used_and_deleted_by_the_command_line(fgs, home_server):
    """With the profile of the owner, whose access key was made in the first project."""
    made = json.loads(fgs.must("iam", "project", "create", f"{REGION}_shop", "-o", "json"))
    inside = ("--project", made["id"])
    home_server.deploy("outside", "def handler(e, c):\n    return 1\n")

    listed = json.loads(fgs.must("function", "list", *inside, "-o", "json"))
    names = [row["name"] for row in json.loads(fgs.must("iam", "project", "list", "-o", "json"))]
    fgs.must("iam", "project", "delete", f"{REGION}_shop", "-y")

    assert (listed, names) == ([], [REGION, f"{REGION}_shop"])
    assert [row["name"] for row in json.loads(fgs.must("iam", "project", "list", "-o", "json"))] == [REGION]


@pytest.mark.proves("faq:FAQ-232", "error:FSS.1122")
def test_a_network_needs_an_agency_that_allows_it_where_agencies_must_exist(new_server):
    server = new_server("--agencies", "existing", "--isolation", "process")
    vpc = {"vpc_id": "vpc-1", "subnet_id": "subnet-1"}

    with pytest.raises(ApiError, match="not authorized to perform vpc:ports:get") as refused:
        server.deploy("in-vpc", PLAIN, func_vpc=vpc, xrole="serverless-readonly")
    urn = server.deploy("in-vpc", PLAIN, func_vpc=vpc, xrole="serverless-trust")

    assert (refused.value.status, refused.value.code) == (403, "FSS.1122")
    assert server.client.function_config(urn)["func_vpc"]["vpc_id"] == "vpc-1"
