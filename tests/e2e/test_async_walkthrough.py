"""The walk-through of the cloud's manual, with its own SDK: test1's success goes to test2, its failure to test3."""

import json

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkfunctiongraph import v2

from tests.support.sdk import Sdk
from tests.support.server import AK, PROJECT_ID, SK
from tests.support.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")

TEST1 = """
def handler(event, context):
    if event.get("fails"):
        raise ValueError("as you wish")
    return {"answer": 42}
"""
SHOW = "import json\ndef handler(event, context):\n    print('GOT ' + json.dumps(event, ensure_ascii=False))\n"


@pytest.fixture
def sdk(server):
    credentials = BasicCredentials(AK, SK, PROJECT_ID)
    client = v2.FunctionGraphClient.new_builder().with_credentials(credentials).with_endpoint(server.api_url).build()
    yield Sdk(server, client)
    client.get_http_client().close()


def to_function(urn):
    return v2.FuncDestinationConfig(destination="FunctionGraph", param=json.dumps({"func_urn": urn}))


def shown(server, urn, request_id):
    """Return the documents of a request that a function has printed."""
    lines = [line for record in server.client.logs(urn) for line in record["text"].splitlines()]
    documents = [json.loads(line.partition("GOT ")[2]) for line in lines if "GOT " in line]
    return [one for one in documents if one["request_context"]["request_id"] == request_id]


def test_success_goes_to_test2_and_failure_to_test3(server, sdk):
    test1, test2, test3 = (
        sdk.create(source, func_name=name).func_urn
        for name, source in (("test1", TEST1), ("test2", SHOW), ("test3", SHOW))
    )
    destinations = v2.FuncAsyncDestinationConfig(on_success=to_function(test2), on_failure=to_function(test3))
    settings = v2.UpdateFunctionAsyncInvokeConfigRequestBody(
        max_async_event_age_in_seconds=3600, max_async_retry_attempts=0, destination_config=destinations
    )
    sdk.call("update_function_async_invoke_config", function_urn=test1, body=settings)
    stored = sdk.call("show_function_async_invoke_config", function_urn=test1).destination_config
    assert json.loads(stored.on_success.param) == {"func_urn": test2}

    good = sdk.call("async_invoke_function", function_urn=test1, body={"größe": 1}).request_id
    bad = sdk.call("async_invoke_function", function_urn=test1, body={"fails": True}).request_id

    (success,) = eventually(lambda: shown(server, test2, good), within_s=30)
    (failure,) = eventually(lambda: shown(server, test3, bad), within_s=30)
    for document, request_id, condition, code in (
        (success, good, "", 200),
        (failure, bad, "UnhandledInvocationError", 500),
    ):
        assert list(document) == [
            "timestamp",
            "request_context",
            "request_payload",
            "response_context",
            "response_payload",
        ]
        assert document["request_context"] == {
            "request_id": request_id,
            "function_urn": test1,
            "condition": condition,
            "approximate_invoke_count": 0,
        }
        assert document["response_context"] == {"status_code": code, "function_error": ""}
    assert json.loads(success["request_payload"]) == {"größe": 1}
    assert json.loads(success["response_payload"]) == {"answer": 42}
    assert json.loads(failure["response_payload"])["errorMessage"].endswith("as you wish")
    assert shown(server, test3, good) == []
    assert shown(server, test2, bad) == []
