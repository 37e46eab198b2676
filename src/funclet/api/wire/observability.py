"""Logs (an addition of ours: the cloud has a service of its own for them), quotas and features."""

from collections.abc import Mapping
from typing import Any

from funclet import telemetry
from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.invocation import Report
from funclet.services.observability import LogFilter, Quota

MAX_RECORDS, DEFAULT_RECORDS = 1000, 100
MAX_TAGS = 10


async def list_logs(call: Call) -> Response:
    """Serve the log records of a function, oldest first.

    Query: `since` and `until` (seconds since the epoch, or a time with its zone), `request_id`,
    `after` (an id: only what came later, for following), `limit`, `tag` (`KEY=VALUE`, several with commas).
    """
    _, limit = codec.page(call, "limit", default=DEFAULT_RECORDS, maximum=MAX_RECORDS)
    records, is_kept = await call.services.observability.logs(
        call.principal,
        call.parameters["function_urn"],
        LogFilter(
            since=codec.query_time(call, "since") or 0.0,
            until=codec.query_time(call, "until"),
            request_id=call.query.get("request_id", ""),
            tags=_tags(call.query.get("tag", "")),
            after_id=codec.query_number(call, "after", default=0),
            limit=limit,
        ),
    )
    found = [_record(number, record) for number, record in records]
    return codec.json_response(200, {"records": found, "enabled": is_kept})


async def list_quotas(call: Call) -> Response:
    """Serve ListQuotas."""
    quotas = await call.services.observability.quotas(call.principal)
    return codec.json_response(200, {"quotas": {"resources": [_quota(quota) for quota in quotas]}})


async def show_feature(_: Call) -> Response:
    """Serve ShowFeature. The vendor's switches are not published, and we have none of our own."""
    return codec.json_response(200, {})


def _record(number: int, record: Report) -> dict[str, Any]:
    return {
        "id": number,
        "time": utc_text(record.at, milliseconds=True),
        "version": record.version,
        "request_id": record.request_id,
        "outcome": telemetry.category(record.code),
        "duration_ms": record.duration_ms,
        "cold": record.is_cold,
        "tags": record.log_tags,
        "text": telemetry.text_of(record).decode(errors="replace"),
    }


def _tags(text: str) -> Mapping[str, str]:
    tags = dict(part.partition("=")[::2] for part in text.split(",") if part)
    if len(tags) > MAX_TAGS:
        raise ModelError("FSS.0400", f"tag has more than {MAX_TAGS} tags, which no record has.")
    return tags


def _quota(quota: Quota) -> dict[str, Any]:
    unit = {"unit": quota.unit} if quota.unit else {}
    return {"type": quota.kind, "quota": quota.limit, "used": quota.used, **unit}
