"""The gateway on a real database, with functions that are not run."""

import asyncio
import json
import time

import pytest

from funclet.gateway import MAX_BODY_BYTES, MAX_ROUTES_AGE_S
from funclet.model.function import Alias
from funclet.model.identity import ProjectState
from funclet.model.invocation import FailureKind, FunctionFailed, PlatformFailed, Refused, Report
from tests.support.gateway import OTHER_PROJECT, PROJECT_ID, Stack, completed


@pytest.fixture
def stack(tmp_path):
    whole = Stack(tmp_path)
    yield whole
    whole.close()


def open_api(stack, urn=None, **data):
    data = {"name": "orders", "auth": "NONE", **data}
    return stack.create(urn or stack.add_function(), "APIG", **data)


def error(response):
    return response.status, json.loads(response.body)["error_code"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/_apig/{PROJECT_ID}/orders/42?x=1", {}),
        ("/orders/42?x=1", {}),
        ("/orders/42?x=1", {"host": f"{PROJECT_ID}.gateway.example.test"}),
    ],
)
def test_three_addresses_lead_to_a_function(stack, path, headers):
    open_api(stack)

    response = stack.get(path, **headers)

    assert (response.status, response.body) == (200, b"ok")
    assert stack.event["path"] == "/orders/42"
    assert stack.event["pathParameters"] == {"": "42"}
    assert stack.event["queryStringParameters"] == {"x": "1"}


def test_the_shown_address_works(stack):
    url = open_api(stack, group_id="shop", path="/orders")["event_data"]["invoke_url"]

    assert stack.get(url).status == 200


def test_ids_are_in_headers_and_event(stack):
    open_api(stack)

    response = stack.get("/orders", x_request_id="mine")

    request_id = stack.invoker.invocations[0].request_id
    assert response.headers["X-Cff-Request-Id"] == request_id
    assert response.headers["X-Request-Id"] == request_id.replace("-", "")
    assert stack.event["requestContext"]["requestId"] == response.headers["X-Request-Id"]
    assert stack.event["headers"]["x-request-id"] == response.headers["X-Request-Id"]


def test_a_function_cannot_fake_the_ids(stack):
    open_api(stack)
    headers = {"x-request-id": "fake", "X-CFF-Request-Id": ["a", "b"], "Set-Cookie": ["a=1", "b=2"]}
    stack.invoker.answer = completed({"statusCode": 200, "headers": headers})

    response = stack.get("/orders")

    assert set(response.headers) == {"X-Request-Id", "X-Cff-Request-Id"}
    assert response.repeated_headers == (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))


@pytest.mark.proves("error:APIG.0101")
def test_no_route_is_an_error_of_the_gateway(stack):
    response = stack.get("/nothing")

    assert error(response) == (404, "APIG.0101")
    assert json.loads(response.body)["request_id"] == response.headers["X-Request-Id"]


def test_changes_of_triggers_are_seen_by_the_next_request(stack):
    before = stack.get("/orders").status
    trigger = open_api(stack)
    during = stack.get("/orders").status
    stack.send("DELETE", f"/triggers/orders/APIG/{trigger['trigger_id']}")

    assert (before, during, stack.get("/orders").status) == (404, 200, 404)


def test_changes_without_a_hint_are_seen_after_a_while(stack):
    trigger = open_api(stack)
    stack.get("/orders")
    stack.write(lambda tx: tx.triggers.delete(trigger["trigger_id"]))

    soon = stack.get("/orders").status
    stack.clock.advance(MAX_ROUTES_AGE_S)

    assert (soon, stack.get("/orders").status) == (200, 404)


def test_the_stage_header_selects(stack):
    urn = stack.add_function()
    open_api(stack, urn)
    open_api(stack, urn, name="orders_test", path="/orders", env_name="test")

    stack.get("/orders", x_stage="test")

    assert stack.event["requestContext"]["stage"] == "test"
    assert stack.get("/orders", x_stage="none").status == 404


@pytest.mark.proves("faq:FAQ-413")
def test_the_version_of_the_trigger_runs(stack):
    urn = stack.add_function(versions=["v1"], alias="prod")
    open_api(stack, urn.replace(":latest", ":!prod"))

    stack.get("/orders")

    invocation = stack.invoker.invocations[0]
    assert (invocation.version.version, invocation.alias) == ("v1", "prod")


def test_headers_choose_the_version_of_an_alias(stack):
    urn = stack.add_function(versions=["v1", "v2"], alias="prod")
    rules = [{"rule_type": "Header", "param": "X-User", "op": "in", "value": "ann,bob"}]
    strategy = {"v2": {"combine_type": "and", "rules": rules}}
    alias = Alias(name="prod", version="v1", additional_strategy=strategy, modified_at=0.0)
    stack.write(lambda tx: tx.aliases.put("id-of-test-1-orders", alias))
    open_api(stack, urn.replace(":latest", ":!prod"))

    stack.get("/orders", x_user="bob")
    stack.get("/orders", x_user="eve")

    assert [one.version.version for one in stack.invoker.invocations] == ["v2", "v1"]


def test_the_root_belongs_to_the_first_project(stack):
    theirs = stack.add_function(project=OTHER_PROJECT)
    stack.create(theirs, "APIG", token="other", name="orders", auth="NONE")

    assert stack.get("/orders").status == 404
    assert stack.get(f"/_apig/{OTHER_PROJECT.project_id}/orders").status == 200


@pytest.mark.proves("error:APIG.0302")
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, "APIG.0301")),
        ({"x_auth_token": "wrong"}, (401, "APIG.0301")),
        ({"x_auth_token": "other"}, (403, "APIG.0302")),
    ],
)
@pytest.mark.proves("error:APIG.0301", "error:APIG.0302")
def test_iam_refuses(stack, headers, expected):
    open_api(stack, auth="IAM")

    assert error(stack.get("/orders", **headers)) == expected
    assert stack.invoker.invocations == []


def test_iam_accepts_the_project_of_the_function(stack):
    open_api(stack, auth="IAM")

    assert stack.get("/orders", x_auth_token="home").status == 200


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)])
@pytest.mark.proves("error:APIG.0201")
def test_the_body_has_a_limit(stack, size, status):
    open_api(stack)

    response = stack.get("/orders", method="POST", body=b"x" * size)

    assert response.status == status
    assert status == 200 or error(response) == (413, "APIG.0201")


@pytest.mark.proves("error:FSS.1202", "faq:FAQ-101")
def test_a_plain_text_is_no_answer(stack):
    open_api(stack)
    stack.invoker.answer = completed(b"hello")

    assert error(stack.get("/orders")) == (500, "FSS.1202")


def test_a_failed_function_shows_its_error(stack):
    open_api(stack)
    body = b'{"errorMessage": "boom", "errorType": "ValueError", "stackTrace": []}'
    stack.invoker.answer = FunctionFailed(kind=FailureKind.HANDLER, code=4002, body=body, is_json=True, report=Report())

    response = stack.get("/orders")

    assert (response.status, response.body) == (500, body)
    assert response.headers["X-Is-Func-Err"] == "true"
    assert response.headers["X-Func-Err-Code"] == "4002"


def test_a_failure_without_error_object_gets_one(stack):
    open_api(stack)
    stack.invoker.answer = FunctionFailed(
        kind=FailureKind.TIMEOUT, code=4010, body=b"timed out after 3 s", is_json=False, report=Report()
    )

    response = stack.get("/orders")

    assert error(response) == (500, "FSS.4010")
    assert response.headers["X-Is-Func-Err"] == "true"
    assert "timed out" in json.loads(response.body)["error_msg"]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Refused(reason="busy", retry_after_s=2.5), (429, "FSS.0429")),
        (Refused(reason="host is full", is_overload=True), (503, "FSS.0503")),
        (PlatformFailed(reason="sandbox broke"), (500, "FSS.0500")),
    ],
)
def test_what_did_not_run(stack, outcome, expected):
    open_api(stack)
    stack.invoker.answer = outcome

    response = stack.get("/orders")

    assert error(response) == expected
    assert expected[0] == 500 or int(response.headers["Retry-After"]) >= 1
    assert "X-Is-Func-Err" not in response.headers


@pytest.mark.proves("error:APIG.0201", "faq:FAQ-228")
def test_the_gateway_stops_waiting_but_the_invocation_goes_on(stack):
    open_api(stack, func_info={"timeout": 20})
    ended = []

    async def slow(invocation):
        await asyncio.sleep(0.2)
        ended.append(invocation.request_id)
        return completed({"statusCode": 200})

    async def scenario():
        started = time.monotonic()
        response = await stack.handle("/orders")
        took_s = time.monotonic() - started
        assert ended == []
        await stack.handling
        return response, took_s

    stack.invoker.answer = slow
    response, took_s = stack.run(scenario())

    assert error(response) == (504, "APIG.0201")
    assert took_s < 0.15
    assert ended == [response.headers["X-Cff-Request-Id"]]


def test_a_client_has_its_answer_before_the_invocation_is_recorded(stack):
    open_api(stack)
    recorded = []
    may_end = asyncio.Event()

    async def recording(invocation):
        invocation.on_answer(b'{"statusCode": 201, "body": "made"}')
        await may_end.wait()
        recorded.append(invocation.request_id)
        return completed({"statusCode": 201, "body": "made"})

    async def scenario():
        response = await stack.handle("/orders")
        before = list(recorded)
        may_end.set()
        await stack.handling
        return response, before

    stack.invoker.answer = recording
    response, before = stack.run(scenario())

    assert (response.status, response.body) == (201, b"made")
    assert before == []
    assert recorded == [response.headers["X-Cff-Request-Id"]]


def test_a_result_that_is_no_answer_is_told_after_all(stack):
    open_api(stack)

    async def wrong(invocation):
        invocation.on_answer(b'"text"')
        return completed("text")

    stack.invoker.answer = wrong

    assert error(stack.get("/orders")) == (500, "FSS.1202")


def test_an_asynchronous_trigger_answers_at_once(stack):
    urn = stack.add_function()
    open_api(stack, urn, func_info={"invocation_type": "async"})

    response = stack.get("/orders", method="POST", body=b"{}")

    [submission] = stack.queue.submissions
    assert response.status == 202
    assert json.loads(response.body) == {"request_id": submission.request_id}
    assert (submission.urn, submission.project_id) == (urn, PROJECT_ID)
    assert json.loads(submission.payload)["httpMethod"] == "POST"


@pytest.mark.proves("error:FSS.1201")
def test_an_asynchronous_event_has_a_limit(stack):
    open_api(stack, func_info={"invocation_type": "async"})

    assert error(stack.get("/orders", method="POST", body=b"x" * 200_000)) == (413, "FSS.1201")


def test_a_full_queue_is_told(stack):
    open_api(stack, func_info={"invocation_type": "async"})
    stack.queue.is_full = True

    response = stack.get("/orders")

    assert error(response) == (503, "FSS.0503")
    assert response.headers["Retry-After"] == "1"


def test_head_reaches_the_function(stack):
    open_api(stack)

    assert stack.get("/orders", method="HEAD").status == 200
    assert stack.event["httpMethod"] == "HEAD"


def test_options_is_an_ordinary_method(stack):
    urn = stack.add_function()
    open_api(stack, urn)
    open_api(stack, urn, name="only_get", req_method="GET")

    assert stack.get("/orders", method="OPTIONS").status == 200
    assert stack.get("/only_get", method="OPTIONS").status == 404


def test_a_function_that_is_gone_is_not_found(stack):
    urn = stack.add_function()
    open_api(stack, urn)
    stack.get("/orders")
    stack.write(lambda tx: tx.functions.delete("id-of-test-1-orders"))
    stack.catalog.forget(PROJECT_ID, "default", "orders")

    assert error(stack.get("/orders")) == (404, "FSS.1051")


def test_a_closed_store_leaves_the_known_routes(stack):
    open_api(stack)
    stack.get("/orders")
    stack.run(stack.store.close())
    stack.clock.advance(MAX_ROUTES_AGE_S / 2)

    assert stack.get("/orders").status == 200
    stack.routes.changed()
    assert error(stack.get("/orders")) == (503, "FSS.0503")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_nothing_of_a_suspended_project_is_reached_and_the_reason_is_told(stack, mode):
    open_api(stack, path="/orders", func_info={"invocation_type": mode})
    urn = stack.add_function(project=OTHER_PROJECT)
    other = stack.create(urn, token="other", name="orders", auth="NONE", path="/orders")["event_data"]["invoke_url"]

    found = {}
    for state in ProjectState:
        stack.write(lambda tx, state=state: tx.identities.set_state(PROJECT_ID, state, "unpaid"))
        stack.routes.changed()
        found[state] = stack.get("/orders")
        assert stack.get(other).status == 200

    passed = 202 if mode == "async" else 200
    assert [answer.status for answer in found.values()] == [passed, passed, 403]
    assert json.loads(found[ProjectState.SUSPENDED].body)["error_code"] == "APIG.0302"
    assert b"restricted, operation not allowed: project 'test-1' is suspended: unpaid" in found["suspended"].body
    assert found[ProjectState.SUSPENDED].headers["X-Cff-Request-Id"]
    # Two of its own at most, and three of the other.
    assert len(stack.invoker.invocations) + len(stack.queue.submissions) == 5
