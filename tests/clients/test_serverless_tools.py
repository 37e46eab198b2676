"""What `s` with its component `fgs`, and the Serverless Framework's plugin, ask of the server.

Neither can be had here: the component comes from a registry of its own, the plugin
from none. Both are made of the Node.js SDK and name fixed hosts over TLS, so the SDK
sends their requests under those names, through a proxy that ends TLS.
"""

import json
import subprocess
import uuid

import pytest

from tests.support.node_sdk import NodeSdk, Refused
from tests.support.packages import zip_base64
from tests.support.server import PROJECT_ID, REGION
from tests.support.tls import TlsFront

FUNCTIONS, IAM = f"functiongraph.{REGION}.myhuaweicloud.com", "iam.myhuaweicloud.com"
HANDLER = "exports.handler = async (event, context) => ({ body: 'v%s', event });\n"
TIMER = {"name": "tick", "schedule_type": "Rate", "schedule": "3d"}


@pytest.fixture(scope="module")
def front(server, tmp_path_factory):
    """A proxy with a certificate for the cloud's names."""
    folder = tmp_path_factory.mktemp("tls")
    names = ",".join(f"DNS:{name}" for name in (FUNCTIONS, IAM))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", f"subjectAltName={names}", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    opened = TlsFront(server, folder)
    opened.certificate = folder / "certificate.pem"
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def sdk(server, front):
    """The SDK as the component makes it: a region's host, no project id, the identity service's host."""
    client = NodeSdk(
        server,
        endpoint=f"https://{FUNCTIONS}:{front.port}",
        iam=f"https://{IAM}:{front.port}",
        region=REGION,
        projectId="",
        certificate=front.certificate,
    )
    yield client
    client.close()


class Tool:
    """The commands of `s` for one function."""

    def __init__(self, sdk):
        self.name = f"s_{uuid.uuid4().hex[:10]}"
        self.urn = f"urn:fss:{REGION}:{PROJECT_ID}:function:default:{self.name}"
        self.latest = f"{self.urn}:latest"
        self.call = sdk.call

    def deploy(self, number, **settings):
        """Create the function, or change code and configuration of the one that is there; return which it was."""
        code = {"code_type": "zip", "func_code": {"file": zip_base64({"index.js": HANDLER % number})}}
        config = {"func_name": self.name, "handler": "index.handler", "runtime": "Node.js18.15"}
        config |= {"memory_size": 256, "timeout": 30} | settings
        if not self.exists():
            body = {"type": "v2", "package": "default", "enterprise_project_id": "0"} | config | code
            self.call("createFunction", body=body)
            return "created"
        self.call("updateFunctionCode", functionUrn=self.latest, body=code)
        self.call("updateFunctionConfig", functionUrn=self.latest, body=config)
        return "updated"

    def exists(self):
        """Tell whether the function is there; any other refusal than "not found" ends the tool."""
        try:
            self.call("showFunctionConfig", functionUrn=self.latest)
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return False
        return True

    def deploy_timer(self, event_data, status="ACTIVE"):
        """Create the trigger, or change the status of the one that has the same data; return which it was."""
        for one in self.call("listFunctionTriggers", functionUrn=self.latest)["body"]:
            if one["event_data"] == event_data:
                names = {"functionUrn": self.latest, "triggerTypeCode": "TIMER", "triggerId": one["trigger_id"]}
                self.call("updateTrigger", **names, body={"trigger_status": status})
                return "updated"
        body = {"trigger_type_code": "TIMER", "trigger_status": status, "event_data": event_data}
        self.call("createFunctionTrigger", functionUrn=self.latest, body=body)
        return "created"

    def invoke(self, event, qualifier="latest"):
        """Invoke; return the result and the log."""
        headers = {"xCffLogType": "tail", "xCFFRequestVersion": "v1"}
        answer = self.call("invokeFunction", functionUrn=f"{self.urn}:{qualifier}", body=event, **headers)
        assert answer["status"] == 200
        return json.loads(answer["result"]), answer["log"]


@pytest.fixture
def tool(sdk):
    return Tool(sdk)


def test_deploying_creates_and_deploying_again_updates(tool):
    assert tool.deploy(1) == "created"
    assert tool.deploy(2, timeout=40) == "updated"

    assert tool.invoke({"a": 1})[0] == {"body": "v2", "event": {"a": 1}}
    shown = tool.call("showFunctionConfig", functionUrn=tool.latest)
    assert (shown["timeout"], shown["package"], shown["enterprise_project_id"]) == (40, "default", "0")


def test_the_same_code_again_is_no_error(tool):
    """The tool takes success, or FSS.0409."""
    tool.deploy(1)

    assert tool.deploy(1) == "updated"


def test_a_trigger_is_found_by_its_data(tool):
    """What is listed must be what was sent, or each deployment would make another trigger."""
    tool.deploy(1)

    assert tool.deploy_timer(TIMER) == "created"
    assert tool.deploy_timer(TIMER, "DISABLED") == "updated"

    (listed,) = tool.call("listFunctionTriggers", functionUrn=tool.latest)["body"]
    assert listed["trigger_status"] == "DISABLED"


def test_invoking_prints_log_status_and_result(tool):
    tool.deploy(1)

    result, log = tool.invoke({"who": "me"})

    assert result["event"] == {"who": "me"}
    assert "Start invoke request" in log


@pytest.mark.needs("CreateTags", "ListFunctionTags", "DeleteTags")
def test_tags_are_compared_added_and_removed(tool):
    tool.deploy(1)
    names = {"resourceType": "functions", "resourceId": tool.latest}
    assert tool.call("listFunctionTags", **names)["tags"] == []

    tool.call("createTags", **names, body={"action": "create", "tags": [{"key": "a", "value": "1"}]})
    assert tool.call("listFunctionTags", **names)["tags"] == [{"key": "a", "value": "1"}]

    tool.call("deleteTags", **names, body={"action": "delete", "tags": [{"key": "a", "value": "1"}]})
    assert tool.call("listFunctionTags", **names)["tags"] == []


def test_versions_and_aliases(tool):
    """`s version publish`, `s alias publish` twice, `s alias list`."""
    tool.deploy(1)
    tool.call("createFunctionVersion", functionUrn=tool.latest, body={"version": "v1", "description": "one"})
    tool.deploy(2)
    tool.call("createVersionAlias", functionUrn=tool.urn, body={"name": "prod", "version": "v1"})

    assert tool.invoke({}, "!prod")[0]["body"] == "v1"

    tool.call("createFunctionVersion", functionUrn=tool.latest, body={"version": "v2"})
    tool.call("updateVersionAlias", functionUrn=tool.urn, aliasName="prod", body={"version": "v2"})
    assert tool.invoke({}, "!prod")[0]["body"] == "v2"
    versions = tool.call("listFunctionVersions", functionUrn=tool.urn)["versions"]
    assert {one["version"] for one in versions} == {"latest", "v1", "v2"}
    assert [one["version"] for one in tool.call("listVersionAliases", functionUrn=tool.urn)["body"]] == ["v2"]


@pytest.mark.needs("UpdateFunctionReservedInstancesCount", "ListReservedInstanceConfigs")
def test_reserved_instances_come_and_go(tool):
    """`s reserved put`, `list`, `remove`."""
    tool.deploy(1)
    tool.call("createFunctionVersion", functionUrn=tool.latest, body={"version": "v1"})

    def put(count):
        body = {"count": count, "idle_mode": False}
        tool.call("updateFunctionReservedInstancesCount", functionUrn=f"{tool.urn}:v1", body=body)
        listed = tool.call("listReservedInstanceConfigs", functionUrn=tool.latest)["reserved_instances"]
        return [(one["qualifier_name"], one["min_count"]) for one in listed]

    assert put(1) == [("v1", 1)]
    assert put(0) == []


def test_removing_takes_triggers_versions_and_the_function(tool):
    """All by the urn without a version."""
    tool.deploy(1)
    tool.deploy_timer(TIMER)
    tool.call("createFunctionVersion", functionUrn=tool.latest, body={"version": "v1"})
    tool.call("createVersionAlias", functionUrn=tool.urn, body={"name": "prod", "version": "v1"})

    for one in tool.call("listFunctionTriggers", functionUrn=tool.urn)["body"]:
        names = {"functionUrn": tool.urn, "triggerTypeCode": "TIMER", "triggerId": one["trigger_id"]}
        tool.call("deleteFunctionTrigger", **names)
    tool.call("deleteVersionAlias", functionUrn=tool.urn, aliasName="prod")
    tool.call("deleteFunction", functionUrn=f"{tool.urn}:v1")
    tool.call("deleteFunction", functionUrn=tool.urn)

    with pytest.raises(Refused) as gone:
        tool.call("showFunctionConfig", functionUrn=tool.latest)
    assert (gone.value.status, gone.value.code) == (404, "FSS.1051")


def test_the_framework_s_plugin_reads_urls_of_active_triggers(tool):
    """`sls info`: name, method and address of each gateway trigger; `sls invoke` reads the result as JSON."""
    tool.deploy(1)
    gateway = {"name": f"API_{tool.name}", "group_id": "7b1e4c9dfa2044e58f7d60a3c2915be8", "auth": "NONE"}
    gateway |= {"env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID", "env_name": "RELEASE", "protocol": "HTTPS"}
    gateway |= {"path": f"/{tool.name}", "match_mode": "SWA", "req_method": "ANY", "backend_type": "FUNCTION"}
    gateway |= {"type": 1, "sl_domain": "x.example.test", "func_info": {"timeout": 5000}}
    body = {"trigger_type_code": "APIG", "trigger_status": "ACTIVE", "event_data": gateway}
    tool.call("createFunctionTrigger", functionUrn=tool.latest, body=body)

    active = [
        one
        for one in tool.call("listFunctionTriggers", functionUrn=tool.latest)["body"]
        if one["trigger_type_code"] in ("APIG", "DEDICATEDGATEWAY") and one["trigger_status"] == "ACTIVE"
    ]

    (data,) = [one["event_data"] for one in active]
    assert data["api_name"] == gateway["name"]
    assert data["req_method"] == "ANY"
    assert data["invoke_url"].endswith(gateway["path"])
    assert isinstance(tool.invoke({})[0], dict)
