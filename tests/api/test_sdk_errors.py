"""The vendor's own Python SDK: how it finds its project, and what it makes of refusals and failures."""

import json

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, ServerResponseException
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkfunctiongraph import v2

from tests.support.sdk import Sdk, refused
from tests.support.server import AK, PROJECT_ID, REGION, SK

# Without python-dateutil, which the SDK does not install, its times stay text.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")


def test_a_project_is_found_by_its_region(server, new_client):
    credentials = BasicCredentials(AK, SK).with_iam_endpoint(server.api_url)
    sdk = Sdk(server, new_client(credentials, Region(REGION, server.api_url)))

    made = sdk.create()

    assert made.namespace == PROJECT_ID


def test_a_client_without_project_is_told_so(server, new_client):
    sdk = Sdk(server, new_client(BasicCredentials(AK, SK)))

    assert refused(ClientRequestException, sdk.call, "list_functions") == (400, "FSS.0400")


@pytest.mark.proves("error:APIG.0301")
@pytest.mark.parametrize(
    ("credentials", "status", "code"),
    [
        (BasicCredentials(AK, "wrong", PROJECT_ID), 401, "APIG.0301"),
        (BasicCredentials("NOSUCHKEY", SK, PROJECT_ID), 401, "APIG.0301"),
        (BasicCredentials(AK, SK, "f" * 32), 403, "FSS.0403"),
    ],
    ids=["secret", "access key", "project"],
)
def test_wrong_credentials_are_refused(server, new_client, credentials, status, code):
    sdk = Sdk(server, new_client(credentials))

    assert refused(ClientRequestException, sdk.call, "list_functions") == (status, code)


def test_a_stale_clock_is_refused(server, new_client):
    sdk = Sdk(server, new_client(**{"X-Sdk-Date": "20200101T000000Z"}))

    assert refused(ClientRequestException, sdk.call, "list_functions") == (401, "APIG.0301")


@pytest.mark.proves("error:FSS.1002", "error:FSS.1007", "error:FSS.1008")
@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"func_name": "1st"}, 400, "FSS.1002"),
        ({"timeout": 1}, 400, "FSS.1008"),
        ({"memory_size": 129}, 400, "FSS.1007"),
        ({"func_code": v2.FuncCode(file="%%%")}, 400, "FSS.1011"),
    ],
    ids=["name", "timeout", "memory", "code"],
)
def test_an_error_is_an_exception_with_its_code(sdk, fields, status, code):
    assert refused(ClientRequestException, sdk.create, **fields) == (status, code)


def test_a_second_function_of_a_name_is_a_conflict(sdk):
    name = sdk.create().func_name

    assert refused(ClientRequestException, sdk.create, func_name=name) == (409, "FSS.1061")


def test_a_failing_handler_is_a_result_and_not_an_exception(sdk):
    urn = sdk.create("def handler(event, context):\n    raise ValueError('boom')\n").func_urn

    answer = sdk.invoke(urn)

    assert answer.status == 500
    assert json.loads(answer.result)["errorType"] == "ValueError"


@pytest.mark.proves("error:FSS.4001")
def test_a_missing_handler_is_a_server_side_exception(sdk):
    urn = sdk.create(handler="index.nothing").func_urn

    assert refused(ServerResponseException, sdk.invoke, urn) == (500, "FSS.4001")
