"""A canary release from beginning to end through the vendor's own SDK, with people at the gateway all the while."""

import http.client
import threading
import uuid
from collections import Counter
from urllib.parse import urlsplit

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2

from tests.support.packages import zip_base64
from tests.support.sdk import refused
from tests.support.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")

# The version of a function is part of what it tells, so nothing else need differ.
SOURCE = """
def handler(event, context):
    return {"statusCode": 200, "headers": {}, "isBase64Encoded": False, "body": "NAME " + context.getVersion()}
"""
REQUESTS = 200


class Visitor:
    """Somebody who asks for one URL and notes which version has answered."""

    def __init__(self, url):
        self.url = urlsplit(url)
        self.connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=30)

    def ask(self, **headers):
        self.connection.request("GET", self.url.path, headers=headers)
        response = self.connection.getresponse()
        body = response.read().decode()
        return body if response.status == 200 else f"{response.status} {body}"

    def ask_often(self, count=REQUESTS, **headers):
        return Counter(self.ask(**headers) for _ in range(count))


@pytest.fixture
def visitors():
    """Open connections to URLs; they are closed at the end."""
    opened = []

    def visit(url):
        opened.append(Visitor(url))
        return opened[-1]

    yield visit
    for one in opened:
        one.connection.close()


@pytest.fixture
def crowd(visitors):
    """Ask for a URL without a pause while the test goes on; its answers are checked at the end."""
    stop, answers, threads = threading.Event(), Counter(), []

    def run(visitor):
        while not stop.is_set():
            answers[visitor.ask()] += 1

    def start(url):
        threads.append(threading.Thread(target=run, args=(visitors(url),)))
        threads[0].start()
        eventually(lambda: sum(answers.values()) > 10, within_s=20)
        return answers

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def publish_next(sdk, urn, version):
    """Upload code that differs and publish it."""
    code = v2.FuncCode(file=zip_base64({"index.py": SOURCE.replace("NAME", version)}))
    body = v2.UpdateFunctionCodeRequestBody(code_type="zip", code_filename="index.zip", func_code=code)
    sdk.call("update_function_code", function_urn=urn, body=body)
    sdk.publish(urn, version)


def edit_alias(sdk, urn, version, **fields):
    body = v2.UpdateVersionAliasRequestBody(version=version, **fields)
    sdk.call("update_version_alias", function_urn=urn, alias_name="live", body=body)


def add_route(sdk, urn):
    """Create a trigger on the alias; return its URL."""
    data = v2.TriggerEventDataRequestBody(
        name=f"canary_{uuid.uuid4().hex[:8]}",
        auth="NONE",
        protocol="HTTP",
        path=f"/canary-{uuid.uuid4().hex}",
        req_method="ANY",
        env_name="RELEASE",
        func_info=v2.ApigTriggerFuncInfo(timeout=5000),
    )
    body = v2.CreateFunctionTriggerRequestBody(trigger_type_code="APIG", event_data=data)
    return sdk.call("create_function_trigger", function_urn=urn, body=body).event_data.invoke_url


@pytest.fixture
def released(sdk):
    """A function with the versions V1 and V2, and the alias `live` for V1; its urn without version."""
    urn = sdk.create(SOURCE.replace("NAME", "V0")).func_urn
    for version in ("V1", "V2"):
        publish_next(sdk, urn, version)
    sdk.add_alias(urn, "live", "V1")
    return urn.removesuffix(":latest")


@pytest.mark.proves("faq:FAQ-207", "faq:FAQ-432", "operation:UpdateVersionAlias")
def test_a_release_by_percentage(sdk, released, visitors, crowd):
    urn = released
    url = add_route(sdk, f"{urn}:!live")
    visitor, all_answers = visitors(url), crowd(url)
    assert visitor.ask_often() == {"V1 V1": REQUESTS}

    edit_alias(sdk, urn, "V1", additional_version_weights={"V2": 0})
    assert visitor.ask_often() == {"V1 V1": REQUESTS}
    for weight in (10, 50, 90):
        edit_alias(sdk, urn, "V1", additional_version_weights={"V2": weight})
        seen = visitor.ask_often()
        # Five standard deviations, so that chance alone fails once in a million runs.
        assert abs(seen["V2 V2"] - REQUESTS * weight / 100) < 5 * (REQUESTS * weight * (100 - weight) / 10_000) ** 0.5
        assert seen["V1 V1"] + seen["V2 V2"] == REQUESTS
    edit_alias(sdk, urn, "V1", additional_version_weights={"V2": 100})
    assert visitor.ask_often() == {"V2 V2": REQUESTS}

    edit_alias(sdk, urn, "V2")
    assert visitor.ask_often() == {"V2 V2": REQUESTS}
    publish_next(sdk, f"{urn}:latest", "V3")
    edit_alias(sdk, urn, "V2", additional_version_weights={"V3": 50})
    assert visitor.ask_often().keys() == {"V2 V2", "V3 V3"}
    edit_alias(sdk, urn, "V3")
    assert visitor.ask_often() == {"V3 V3": REQUESTS}

    assert all_answers.keys() <= {"V1 V1", "V2 V2", "V3 V3"}


def test_a_release_by_rules(sdk, released, visitors, crowd):
    urn = released
    url = add_route(sdk, f"{urn}:!live")
    visitor, all_answers = visitors(url), crowd(url)

    def by(combine_type, *rules):
        strategy = v2.VersionStrategy(
            combine_type=combine_type, rules=[v2.VersionStrategyRules(**one) for one in rules]
        )
        edit_alias(sdk, urn, "V1", additional_version_strategy={"V2": strategy})

    tester = {"rule_type": "Header", "param": "X-User", "op": "in", "value": "ann,bob"}
    beta = {"rule_type": "Header", "param": "X-Beta", "op": "=", "value": "yes"}
    by("and", tester, beta)
    assert visitor.ask() == "V1 V1"
    assert visitor.ask(**{"x-user": "bob"}) == "V1 V1"
    assert visitor.ask(**{"x-user": "bob", "X-BETA": "yes"}) == "V2 V2"
    assert visitor.ask(**{"x-user": "eve", "x-beta": "yes"}) == "V1 V1"
    by("or", tester, beta)
    assert visitor.ask(**{"x-user": "eve", "x-beta": "yes"}) == "V2 V2"
    assert visitor.ask(**{"x-user": "bob"}) == "V2 V2"
    assert visitor.ask(**{"x-user": "bo"}) == "V1 V1"

    assert all_answers.keys() == {"V1 V1"}


def test_the_version_that_ran_is_recorded(sdk, released):
    urn = released
    edit_alias(sdk, urn, "V1", additional_version_weights={"V2": 100})

    sdk.invoke(f"{urn}:!live")

    logs = f"/v2/{sdk.server.project_id}/funclet/functions/{urn}/logs"
    found = eventually(lambda: sdk.server.client.call("GET", logs).json()["records"], within_s=10)
    assert found[-1]["version"] == "V2"


def test_a_version_of_a_release_under_way_cannot_be_deleted(sdk, released):
    urn = released
    edit_alias(sdk, urn, "V1", additional_version_weights={"V2": 10})

    assert refused(ClientRequestException, sdk.call, "delete_function", function_urn=f"{urn}:V2") == (403, "FSS.1094")
