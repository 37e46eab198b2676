"""The list of what must work with clients as they are: one function's whole life through each SDK, each way to start.

What is special about a client stands in its own file: test_node_sdk.py (aliases with
`!`, queries that are not sorted), test_terraform.py (signatures without the host, plans
that become empty), test_serverless_tools.py, test_howto.py, tests/api/test_sdk.py.
"""

import json
import uuid

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkfunctiongraph import v2

from tests.support.node_sdk import NodeSdk, Refused
from tests.support.packages import zip_base64
from tests.support.sdk import Sdk
from tests.support.server import AK, PROJECT_ID, REGION, SK
from tests.support.waiting import eventually

# Without python-dateutil, which the SDK does not install, its times stay text.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")
ECHO = "def handler(event, context):\n    print('seen')\n    return {'got': event}\n"


class PythonLife:
    """The steps through the Python SDK."""

    def __init__(self, server, *, by_region):
        credentials = BasicCredentials(AK, SK, None if by_region else PROJECT_ID)
        builder = v2.FunctionGraphClient.new_builder()
        if by_region:
            credentials = credentials.with_iam_endpoint(server.api_url)
            builder = builder.with_region(Region(REGION, server.api_url))
        else:
            builder = builder.with_endpoint(server.api_url)
        self._client = builder.with_credentials(credentials).build()
        self._sdk = Sdk(server, self._client)

    def create(self):
        return self._sdk.create(ECHO).func_urn

    def timeout_of(self, urn):
        return self._sdk.call("show_function_config", function_urn=urn).timeout

    def invoke(self, urn, event):
        answer = self._sdk.invoke(urn, event, x_cff_log_type="tail")
        return json.loads(answer.result), answer.log

    def begin(self, urn):
        return self._sdk.call("async_invoke_function", function_urn=urn, body={}).request_id

    def status_of(self, urn, request_id):
        listed = self._sdk.call("list_async_invocations", function_urn=urn, request_id=request_id)
        return [one.status for one in listed.invocations]

    def delete(self, urn):
        self._sdk.call("delete_function", function_urn=urn.removesuffix(":latest"))
        with pytest.raises(ClientRequestException) as gone:
            self.timeout_of(urn)
        return gone.value.status_code

    def close(self):
        self._client.get_http_client().close()


class NodeLife:
    """The steps through the Node.js SDK."""

    def __init__(self, server, *, by_region):
        self._sdk = NodeSdk.with_region(server) if by_region else NodeSdk(server)
        self.close = self._sdk.close

    def create(self):
        body = {"func_name": f"life_{uuid.uuid4().hex[:12]}", "package": "default", "runtime": "Python3.10"}
        body |= {"handler": "index.handler", "timeout": 7, "memory_size": 128, "code_type": "zip"}
        code = {"func_code": {"file": zip_base64({"index.py": ECHO})}}
        return self._sdk.call("createFunction", body=body | code)["func_urn"]

    def timeout_of(self, urn):
        return self._sdk.call("showFunctionConfig", functionUrn=urn)["timeout"]

    def invoke(self, urn, event):
        headers = {"xCffLogType": "tail", "xCFFRequestVersion": "v1"}
        answer = self._sdk.call("invokeFunction", functionUrn=urn, body=event, **headers)
        return json.loads(answer["result"]), answer["log"]

    def begin(self, urn):
        return self._sdk.call("asyncInvokeFunction", functionUrn=urn, body={})["request_id"]

    def status_of(self, urn, request_id):
        listed = self._sdk.call("listAsyncInvocations", functionUrn=urn, requestId=request_id)
        return [one["status"] for one in listed["invocations"]]

    def delete(self, urn):
        self._sdk.call("deleteFunction", functionUrn=urn.removesuffix(":latest"))
        with pytest.raises(Refused) as gone:
            self.timeout_of(urn)
        return gone.value.status


@pytest.mark.parametrize("by_region", [False, True], ids=["endpoint", "region and identity service"])
@pytest.mark.parametrize("kind", [PythonLife, NodeLife], ids=["Python", "Node.js"])
def test_the_life_of_a_function(server, kind, by_region):
    life = kind(server, by_region=by_region)
    try:
        urn = life.create()
        assert life.timeout_of(urn) == 7
        result, log = life.invoke(urn, {"k": "ä"})
        assert result == {"got": {"k": "ä"}}
        assert "seen" in log
        request_id = life.begin(urn)
        eventually(lambda: life.status_of(urn, request_id) == ["SUCCESS"], because="it ran")
        assert life.delete(urn) == 404
    finally:
        life.close()
