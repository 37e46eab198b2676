"""The document of a destination: keys, types and forms of the captured ones."""

import json
import re

import pytest

from funclet.asyncq import notification
from funclet.asyncq.retry import Condition, Done, Drop
from tests.support.store import a_submission

FAILURE = Drop(
    status="FAIL",
    code=4002,
    message="boom",
    condition=Condition.UNHANDLED,
    http_status=500,
    body=b'{"errorMessage": "\xc3\xa9"}',
)
KEYS = {
    "timestamp": str,
    "request_context": {"request_id": str, "function_urn": str, "condition": str, "approximate_invoke_count": int},
    "request_payload": str,
    "response_context": {"status_code": int, "function_error": str},
    "response_payload": str,
}


def shape(value):
    return {key: shape(one) for key, one in value.items()} if isinstance(value, dict) else type(value)


def document(end, *, executions=1, **changes):
    return json.loads(notification.build(a_submission(**changes), end, executions=executions))


@pytest.mark.parametrize("end", [Done(b"{}"), FAILURE])
def test_every_document_has_the_same_members(end):
    found = document(end)

    assert shape(found) == KEYS
    assert list(found) == list(KEYS)


def test_a_success_and_a_failure_say_what_happened():
    success, failure = document(Done(b'{"charged":true}')), document(FAILURE, executions=4)

    assert success["response_payload"] == '{"charged":true}'
    assert success["response_context"] == {"status_code": 200, "function_error": ""}
    assert success["request_context"]["condition"] == ""
    assert success["request_context"]["approximate_invoke_count"] == 0
    assert failure["response_payload"] == '{"errorMessage": "é"}'
    assert failure["response_context"] == {"status_code": 500, "function_error": ""}
    assert failure["request_context"]["condition"] == "UnhandledInvocationError"
    assert failure["request_context"]["approximate_invoke_count"] == 3


def test_the_event_is_quoted_as_it_was_sent():
    assert document(Done(b""), payload='{"a": "é"}'.encode())["request_payload"] == '{"a": "é"}'
    assert document(Done(b""), payload=b"")["request_payload"] == ""


def test_a_result_that_is_too_long_is_left_out():
    longest = "é" * (notification.MAX_RESPONSE_BYTES // 2)

    assert document(Done(longest.encode()))["response_payload"] == longest
    assert document(Done(longest.encode() + b"x"))["response_payload"] == ""


def test_the_time_has_nanoseconds_and_an_offset():
    found = notification.timestamp(1_770_000_000.123456)

    assert re.fullmatch(r"2026-02-02T02:40:00\.\d{9}\+00:00", found)
    assert found.startswith("2026-02-02T02:40:00.123456")
