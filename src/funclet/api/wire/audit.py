"""The audit log, in the shape of the cloud's trace service."""

from typing import Any

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.api.wire.identity import require
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.audit import Trace, TraceOutcome
from funclet.services.audit import MAX_PAGE

_RATINGS = {TraceOutcome.DONE: "normal", TraceOutcome.DENIED: "warning", TraceOutcome.FAILED: "warning"}


async def list_traces(call: Call) -> Response:
    """Serve ListTraces: newest first; `next_marker` leads to older ones."""
    limit = codec.query_number(call, "limit", default=MAX_PAGE)
    marker = codec.query_number(call, "marker", default=0)
    found = await require(call.services.audit).find(
        call.principal,
        since=codec.query_time(call, "from"),
        until=codec.query_time(call, "to"),
        before=max(marker, 0),
        user_name=call.query.get("user", ""),
        operation=call.query.get("operation", ""),
        outcome=call.query.get("outcome", ""),
        limit=limit if 0 < limit <= MAX_PAGE else MAX_PAGE,
    )
    traces = [_trace(number, trace) for number, trace in found]
    older = found[-1][0] if found else None
    return codec.json_response(200, {"traces": traces, "count": len(traces), "next_marker": older})


def _trace(number: int, trace: Trace) -> dict[str, Any]:
    return {
        "trace_id": number,
        "trace_name": trace.operation[:1].lower() + trace.operation[1:],
        "trace_type": "ApiCall",
        "trace_rating": _RATINGS[trace.outcome],
        "operation": trace.operation,
        "action": trace.action,
        "outcome": trace.outcome.value,
        "resource_name": trace.resource,
        "source_ip": trace.source,
        "user": {"name": trace.user_name, "id": trace.user_id},
        "project_id": trace.project_id,
        "code": str(trace.status),
        "error_code": trace.code,
        "request_id": trace.request_id,
        "count": trace.count,
        "time": utc_text(trace.at, milliseconds=True),
    }
