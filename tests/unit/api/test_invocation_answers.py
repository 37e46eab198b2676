"""Outcomes as answers: bodies, headers and statuses of both formats."""

import base64
import json

import pytest

from funclet.api.wire.invocations import Wanted, render
from funclet.base.http import JSON, TEXT
from funclet.model.invocation import Completed, FailureKind, FunctionFailed, PlatformFailed, Refused, Report

ERROR = b'{"errorMessage":"no","errorType":"ValueError","stackTrace":[]}'
REPORT = Report(
    duration_ms=1.9131,
    memory_peak_bytes=43_526_389,
    memory_mib=128,
    before=b"a" * 3000 + b"the end\n",
)
LOG = REPORT.before
V0 = Wanted(request_id="r-1")
V1 = Wanted(request_id="r-1", is_v1=True)
V0_TAIL = Wanted(request_id="r-1", with_log=True)
V1_TAIL = Wanted(request_id="r-1", is_v1=True, with_log=True)


def completed(body=b'{"a":1}', *, is_json=True):
    return Completed(body=body, is_json=is_json, report=REPORT)


def failed(code, body=ERROR, *, kind=FailureKind.HANDLER):
    return FunctionFailed(kind=kind, code=code, body=body, is_json=body.startswith(b"{"), report=REPORT)


def test_v0_is_the_bare_result():
    response = render(completed(), V0)

    assert (response.status, response.body, response.content_type) == (200, b'{"a":1}', JSON)


def test_all_headers_of_an_answer():
    assert render(completed(), V0).headers == {
        "X-Cff-Request-Id": "r-1",
        "X-Cff-Invoke-Summary": '{"duration":1.913,"billingDuration":2,"memorySize":128,"memoryUsed":41.510}',
        "X-CFF-Billing-Duration": "2",
        "X-Cff-Response-Version": "v0",
        "X-Func-Err-Code": "0",
        "X-Is-Func-Err": "false",
        "X-Funclet-Start": "warm",
    }


def test_the_summary_is_json():
    summary = json.loads(render(completed(), V0).headers["X-Cff-Invoke-Summary"])

    assert summary == {"duration": 1.913, "billingDuration": 2, "memorySize": 128, "memoryUsed": 41.51}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"hello", TEXT),
        (b"", TEXT),
        (b'{"a":1}', JSON),
        (b"12", JSON),
        (b"\xff", TEXT),
        (b"<p>", TEXT),
        (b'"\xff"', TEXT),
    ],
)
def test_a_text_result_is_json_only_if_it_reads_as_json(body, content_type):
    response = render(completed(body, is_json=False), V0)

    assert (response.body, response.content_type) == (body, content_type)


def test_the_log_header_holds_the_last_2000_bytes_and_only_if_asked():
    header = render(completed(), V0_TAIL).headers["X-Cff-Function-Log"]

    assert base64.b64decode(header) == LOG[-2000:]
    assert "X-Cff-Function-Log" not in render(completed(), V0).headers


def test_v1_is_an_envelope_with_the_result_as_text():
    response = render(completed('"é"'.encode()), V1)

    assert json.loads(response.body) == {"request_id": "r-1", "result": '"é"', "log": "", "status": 200}
    assert response.headers["X-Cff-Response-Version"] == "v1"


def test_the_v1_log_holds_up_to_4_kb():
    assert json.loads(render(completed(), V1_TAIL).body)["log"] == LOG.decode()


def test_a_result_that_is_not_text_does_not_break_the_envelope():
    assert json.loads(render(completed(b"a\xff", is_json=False), V1).body)["result"] == "a\ufffd"


def test_a_failed_handler_is_200_with_its_error():
    response = render(failed(4002), V0)

    assert (response.status, response.body, response.content_type) == (200, ERROR, JSON)
    assert (response.headers["X-Func-Err-Code"], response.headers["X-Is-Func-Err"]) == ("4002", "true")


def test_a_failed_handler_in_v1():
    response = render(failed(4002), V1)

    assert response.status == 200
    assert json.loads(response.body) == {
        "request_id": "r-1",
        "result": ERROR.decode(),
        "log": "",
        "status": 500,
        "error_code": "FSS.4002",
    }


@pytest.mark.parametrize("is_v1", [False, True])
def test_a_server_may_answer_a_failed_handler_with_500(is_v1):
    assert render(failed(4002), Wanted(request_id="r", is_v1=is_v1, handler_error_status=500)).status == 500


@pytest.mark.parametrize("code", [4001, 4007, 4009])
def test_failures_with_an_error_of_the_runtime_carry_it_as_text(code):
    response = render(failed(code, kind=FailureKind.LOAD), V0)

    assert response.status == 500
    assert json.loads(response.body) == {
        "error_code": f"FSS.{code}",
        "error_msg": ERROR.decode(),
        "request_id": "r-1",
    }
    assert (response.headers["X-Func-Err-Code"], response.headers["X-Is-Func-Err"]) == (str(code), "true")


def test_a_timeout():
    response = render(failed(4010, b"Execution timed out after 3 seconds", kind=FailureKind.TIMEOUT), V1_TAIL)

    assert response.status == 500
    assert json.loads(response.body) == {
        "error_code": "FSS.4010",
        "error_msg": "Execution timed out after 3 seconds",
        "request_id": "r-1",
        "status": 500,
        "log": LOG.decode(),
    }


@pytest.mark.parametrize(("code", "message"), [(4205, "The memory limit was exceeded"), (4003, "The function failed")])
def test_a_failure_without_words_gets_those_of_its_code(code, message):
    response = render(failed(code, b"", kind=FailureKind.OUT_OF_MEMORY), V0)

    assert (response.status, json.loads(response.body)["error_msg"]) == (500, message)


@pytest.mark.parametrize(
    ("is_overload", "status", "code", "inner"),
    [(False, 429, "FSS.0429", "150429"), (True, 503, "FSS.0503", "200429")],
)
def test_refusals(is_overload, status, code, inner):
    response = render(Refused(reason="full", retry_after_s=0.2, is_overload=is_overload), V0)

    assert response.status == status
    assert json.loads(response.body) == {"error_code": code, "error_msg": "full", "request_id": "r-1"}
    assert (response.headers["Retry-After"], response.headers["X-Func-Err-Code"]) == ("1", inner)
    assert (response.headers["X-Is-Func-Err"], response.headers["X-Cff-Request-Id"]) == ("false", "r-1")


@pytest.mark.proves("error:FSS.0500")
def test_a_fault_of_ours():
    response = render(PlatformFailed(reason="the node is gone"), V0)

    assert response.status == 500
    assert json.loads(response.body)["error_code"] == "FSS.0500"
    assert (response.headers["X-Func-Err-Code"], response.headers["X-Is-Func-Err"]) == ("200500", "false")
