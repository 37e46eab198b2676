"""Invocation operations: headers and bodies of requests, and outcomes as answers. Start with `invoke_function`."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never

from funclet import telemetry
from funclet.api import errors
from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.http import JSON, TEXT, Response
from funclet.base.ids import new_ordered_uuid, new_uuid
from funclet.model.errors import TABLE
from funclet.model.invocation import (
    MAX_LOG_TAIL_BYTES,
    Completed,
    FunctionFailed,
    InvocationRecord,
    Outcome,
    PlatformFailed,
    Refused,
    Report,
)
from funclet.services.invocations import Options, RecordFilter, is_json

MAX_LOG_HEADER_BYTES = 2000
MAX_PAGE, DEFAULT_PAGE = 500, 100

_HANDLER_FAILED = 4002
_BYTES_PER_MIB = 1024 * 1024
# Inner codes of what is not the function's fault (api.md 9.5).
_INSTANCE_MAXIMUM, _FRONT_THROTTLED, _FRONT_INTERNAL = 150429, 200429, 200500
_NO_REPORT = Report()


# Not frozen, as `Call`.
@dataclass(slots=True, kw_only=True)
class Wanted:
    """How the client wants its answer."""

    request_id: str
    is_v1: bool = False
    """The envelope with `result`, `log` and `status`, instead of the bare result."""
    with_log: bool = False
    handler_error_status: int = 200
    """HTTP status when the handler failed: 200 as the cloud does, or 500."""


async def invoke_function(call: Call) -> Response:
    """Serve InvokeFunction."""
    headers = call.request.headers
    wanted = Wanted(
        request_id=call.request_id,
        is_v1=headers.get("x-cff-request-version", "").strip().lower() == "v1",
        with_log=headers.get("x-cff-log-type", "").strip().lower() == "tail",
        handler_error_status=call.services.invocations.handler_error_status,
    )
    outcome = await call.services.invocations.invoke(
        call.principal, call.parameters["function_urn"], call.request.body, _options(call)
    )
    return render(outcome, wanted)


async def async_invoke_function(call: Call) -> Response:
    """Serve AsyncInvokeFunction."""
    request_id = await _submit(call)
    return codec.json_response(202, {"request_id": request_id}, headers={"X-Cff-Request-Id": request_id})


async def async_invoke_reserved_function(call: Call) -> Response:
    """Serve AsyncInvokeReservedFunction, which older clients know: there is no choice of an instance here."""
    request_id = await _submit(call)
    body = {"request_id": request_id, "instance_id": new_uuid()}
    return codec.json_response(202, body, headers={"X-Cff-Request-Id": request_id})


async def _submit(call: Call) -> str:
    headers = call.request.headers
    options = Options(
        request_id=new_ordered_uuid(),
        memory=headers.get("x-cff-instance-memory", ""),
        dedup_id=headers.get("x-cff-dedup-id"),
        hop=headers.get("x-cff-async-hop", ""),
    )
    return await call.services.invocations.submit(
        call.principal, call.parameters["function_urn"], call.request.body, options
    )


async def list_async_invocations(call: Call) -> Response:
    """Serve ListAsyncInvocations."""
    marker, limit = codec.page(call, "limit", default=DEFAULT_PAGE, maximum=MAX_PAGE)
    records, count = await call.services.invocations.records(
        call.principal,
        call.parameters["function_urn"],
        RecordFilter(
            request_id=call.query.get("request_id", ""),
            status=call.query.get("status", ""),
            begin=codec.query_time(call, "query_begin_time"),
            end=codec.query_time(call, "query_end_time"),
            offset=marker,
            limit=limit,
        ),
    )
    numeric = call.services.invocations.numeric
    return codec.json_response(200, records_answer(records, count, marker, numeric=numeric))


def records_answer(records: Sequence[InvocationRecord], count: int, marker: int, *, numeric: bool) -> dict[str, Any]:
    """Return a page of records.

    Numbers are digits in strings: one client cannot store a number there, the others convert (async.md 5). `numeric`
    is for clients that are strict about types.
    """
    body: dict[str, Any] = {"invocations": [_record(record, numeric=numeric) for record in records], "count": count}
    following = marker + len(records)
    if records and following < count:
        body["next_marker"] = following if numeric else str(following)
    return body


def render(outcome: Outcome, wanted: Wanted) -> Response:
    """Return the answer for the outcome of a synchronous invocation."""
    match outcome:
        case Completed():
            return _completed(outcome, wanted)
        case FunctionFailed(code=code) if code == _HANDLER_FAILED:
            return _handler_failed(outcome, wanted)
        case FunctionFailed():
            return _failed(outcome, wanted)
        case Refused():
            return _refused(outcome, wanted)
        case PlatformFailed(reason=reason):
            headers = _headers(_NO_REPORT, wanted, code=_FRONT_INTERNAL)
            return errors.error_response("FSS.0500", reason, request_id=wanted.request_id, headers=headers)
        case _:
            assert_never(outcome)


def _completed(outcome: Completed, wanted: Wanted) -> Response:
    headers = _headers(outcome.report, wanted)
    if wanted.is_v1:
        return codec.json_response(200, _envelope(outcome, wanted, status=200), headers=headers)
    return Response(status=200, body=outcome.body, content_type=_content_type(outcome), headers=headers)


def _handler_failed(outcome: FunctionFailed, wanted: Wanted) -> Response:
    headers = _headers(outcome.report, wanted, code=outcome.code, is_function_fault=True)
    status = wanted.handler_error_status
    if wanted.is_v1:
        envelope = _envelope(outcome, wanted, status=500) | {"error_code": f"FSS.{outcome.code}"}
        return codec.json_response(status, envelope, headers=headers)
    return Response(status=status, body=outcome.body, content_type=_content_type(outcome), headers=headers)


def _failed(outcome: FunctionFailed, wanted: Wanted) -> Response:
    code = f"FSS.{outcome.code}"
    row = TABLE.get(code)
    body: dict[str, Any] = {
        "error_code": code,
        # The error JSON of the runtime, where there is one, goes in as text.
        "error_msg": _text(outcome.body) or (row.meaning if row else "The function failed"),
        "request_id": wanted.request_id,
    }
    if wanted.is_v1:
        body |= {"status": 500, "log": _log(outcome.report) if wanted.with_log else ""}
    headers = _headers(outcome.report, wanted, code=outcome.code, is_function_fault=True)
    return codec.json_response(row.status if row else 500, body, headers=headers)


def _refused(outcome: Refused, wanted: Wanted) -> Response:
    code = _FRONT_THROTTLED if outcome.is_overload else _INSTANCE_MAXIMUM
    headers = _headers(_NO_REPORT, wanted, code=code)
    if outcome.retry_after_s is not None:
        headers["Retry-After"] = errors.retry_after(outcome.retry_after_s)
    return errors.error_response(
        "FSS.0503" if outcome.is_overload else "FSS.0429",
        outcome.reason,
        request_id=wanted.request_id,
        headers=headers,
    )


def _headers(report: Report, wanted: Wanted, *, code: int = 0, is_function_fault: bool = False) -> dict[str, str]:
    """Return the headers that every outcome is answered with (api.md 9.3)."""
    billed_ms = math.ceil(report.duration_ms)
    used_mib = report.memory_peak_bytes / _BYTES_PER_MIB
    headers = {
        "X-Cff-Request-Id": wanted.request_id,
        "X-Cff-Invoke-Summary": (
            f'{{"duration":{report.duration_ms:.3f},"billingDuration":{billed_ms},'
            f'"memorySize":{report.memory_mib},"memoryUsed":{used_mib:.3f}}}'
        ),
        "X-CFF-Billing-Duration": str(billed_ms),
        "X-Cff-Response-Version": "v1" if wanted.is_v1 else "v0",
        "X-Func-Err-Code": str(code),
        "X-Is-Func-Err": "true" if is_function_fault else "false",
    }
    if report is not _NO_REPORT:
        # Not of the cloud: what the caller paid for a start, seen without reading the log.
        headers["X-Funclet-Start"] = "cold" if report.is_cold else "warm"
    if wanted.with_log:
        headers["X-Cff-Function-Log"] = base64.b64encode(_log_tail(report, MAX_LOG_HEADER_BYTES)).decode()
    return headers


def _envelope(outcome: Completed | FunctionFailed, wanted: Wanted, *, status: int) -> dict[str, Any]:
    return {
        "request_id": wanted.request_id,
        "result": _text(outcome.body),
        "log": _log(outcome.report) if wanted.with_log else "",
        "status": status,
    }


def _content_type(outcome: Completed | FunctionFailed) -> str:
    return JSON if outcome.is_json or is_json(outcome.body) else TEXT


def _text(body: bytes) -> str:
    return body.decode(errors="replace")


def _log(report: Report) -> str:
    return _text(_log_tail(report, MAX_LOG_TAIL_BYTES))


def _log_tail(report: Report, limit: int) -> bytes:
    return telemetry.tail(telemetry.text_of(report), limit)


def _options(call: Call) -> Options:
    return Options(request_id=call.request_id, memory=call.request.headers.get("x-cff-instance-memory", ""))


def _record(record: InvocationRecord, *, numeric: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "request_id": record.request_id,
        "status": record.status,
        "error_message": record.error_message,
        "start_time": _time(record.accepted_at),
    }
    # What is not known is left out: clients parse what is there.
    if numeric:
        item["error_code"] = record.error_code
    elif record.error_code:
        item["error_code"] = str(record.error_code)
    if record.ended_at is not None:
        item["end_time"] = _time(record.ended_at)
    return item


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
