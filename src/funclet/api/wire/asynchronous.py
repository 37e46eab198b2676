"""Operations around asynchronous requests: settings, cancelling, status log, dead letters. Start with `put_config`."""

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.api.wire.invocations import records_answer
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.async_config import (
    DEFAULT_AGE_S,
    DEFAULT_RETRIES,
    MAX_AGE_S,
    MAX_LOG_NAME_LENGTH,
    MAX_RETRIES,
    AsyncConfig,
    DestinationConfig,
    check_range,
    parse_destination,
)
from funclet.model.errors import ModelError
from funclet.services.asynchronous import NewAsyncConfig
from funclet.store.queue_protocol import DeadLetter, RecordQuery

if TYPE_CHECKING:
    from funclet.services.asynchronous import AsyncService

log = logging.getLogger(__name__)

MAX_CONFIGS, DEFAULT_CONFIGS = 100, 10
MAX_RECORDS, DEFAULT_RECORDS = 500, 100
MAX_REQUEST_ID_LENGTH = 64
MAX_PURGED = 1000


class DestinationFields(msgspec.Struct):
    """A destination."""

    destination: str | None = None
    param: str | None = None


class DestinationConfigFields(msgspec.Struct):
    """Both destinations."""

    on_success: DestinationFields | None = None
    on_failure: DestinationFields | None = None


class AsyncConfigFields(msgspec.Struct):
    """Body of `UpdateFunctionAsyncInvokeConfig`."""

    max_async_event_age_in_seconds: int | None = None
    max_async_retry_attempts: int | None = None
    destination_config: DestinationConfigFields | None = None
    enable_async_status_log: bool | None = None
    log_group_id: str | None = None
    log_group_name: str | None = None
    log_stream_id: str | None = None
    log_stream_name: str | None = None


class CancelFields(msgspec.Struct):
    """Body of `CancelAsyncInvocation`; the two switches are from the prose of the manual."""

    request_id: str
    type: str | None = None
    force: bool | None = None
    recursive: bool | None = None


class PurgeFields(msgspec.Struct):
    """Body of `PurgeDeadLetters`."""

    ids: list[int] | None = None


async def put_config(call: Call) -> Response:
    """Serve UpdateFunctionAsyncInvokeConfig."""
    fields = codec.decode(AsyncConfigFields, call)
    wanted = fields.destination_config or DestinationConfigFields()
    names = (fields.log_group_id, fields.log_group_name, fields.log_stream_id, fields.log_stream_name)
    new = NewAsyncConfig(
        max_retries=_number(
            "max_async_retry_attempts", fields.max_async_retry_attempts, DEFAULT_RETRIES, 0, MAX_RETRIES
        ),
        max_age_s=_number(
            "max_async_event_age_in_seconds", fields.max_async_event_age_in_seconds, DEFAULT_AGE_S, 1, MAX_AGE_S
        ),
        on_success=_destination("on_success", wanted.on_success),
        on_failure=_destination("on_failure", wanted.on_failure),
        has_status_log=bool(fields.enable_async_status_log),
        status_log=(_name(names[0]), _name(names[1]), _name(names[2]), _name(names[3])),
    )
    config, has_cycle = await _service(call).configure(
        call.principal,
        call.parameters["function_urn"],
        new,
        lambda who, action, name: call.gate.may(call.request, who, action, name),
    )
    headers = {}
    if has_cycle:
        log.warning("destination_cycle urn=%s", config.func_urn)
        headers["X-Cff-Warning"] = "destination-cycle"
    return codec.json_response(200, _config(config), headers=headers)


async def show_config(call: Call) -> Response:
    """Serve ShowFunctionAsyncInvokeConfig."""
    return codec.json_response(
        200, _config(await _service(call).config(call.principal, call.parameters["function_urn"]))
    )


async def delete_config(call: Call) -> Response:
    """Serve DeleteFunctionAsyncInvokeConfig."""
    await _service(call).delete_config(call.principal, call.parameters["function_urn"])
    return codec.no_content()


async def list_configs(call: Call) -> Response:
    """Serve ListFunctionAsyncInvokeConfig."""
    marker = codec.query_number(call, "marker", default=0)
    limit = codec.query_number(call, "limit", default=DEFAULT_CONFIGS)
    if marker < 0 or limit < 0:
        raise ModelError("FSS.1001", "marker and limit must be 0 or more.")
    limit = min(limit or DEFAULT_CONFIGS, MAX_CONFIGS)
    found = await _service(call).configs(call.principal, call.parameters["function_urn"])
    shown = found[marker : marker + limit]
    return codec.json_response(
        200,
        {
            "async_invoke_configs": [_config(config) for config in shown],
            "count": len(found),
            "page_info": {
                "next_marker": marker + len(shown),
                "previous_marker": max(0, marker - limit),
                "current_count": len(shown),
            },
        },
    )


async def cancel_async_invocation(call: Call) -> Response:
    """Serve CancelAsyncInvocation."""
    fields = codec.decode(CancelFields, call)
    if fields.type not in (None, "", "force", "recursive"):
        raise ModelError("FSS.0400", f"type '{fields.type[:40] if fields.type else ''}' is none of force, recursive.")
    if not 0 < len(fields.request_id) <= MAX_REQUEST_ID_LENGTH:
        raise ModelError("FSS.0400", "Invalid RequestId")
    await _service(call).cancel(
        call.principal,
        call.parameters["function_urn"],
        fields.request_id,
        force=fields.type == "force" or bool(fields.force),
        recursive=fields.type == "recursive" or bool(fields.recursive),
    )
    return codec.json_response(200, None)


async def list_active_async_invocations(call: Call) -> Response:
    """Serve ListActiveAsyncInvocations."""
    marker, limit = codec.page(call, "limit", default=DEFAULT_RECORDS, maximum=MAX_RECORDS)
    asked = tuple(part.strip() for part in call.query.get("requests", "").split(",") if part.strip())
    begin, end = codec.query_time(call, "query_begin_time"), codec.query_time(call, "query_end_time")
    query = RecordQuery(
        function_id="",
        request_ids=asked,
        status=call.query.get("status", ""),
        begin=0.0 if begin is None else begin,
        end=1e12 if end is None else end,
        offset=marker,
        limit=limit,
    )
    records, count = await _service(call).active(call.principal, call.parameters["function_urn"], query)
    return codec.json_response(200, records_answer(records, count, marker, numeric=call.services.invocations.numeric))


async def enable_async_status_log(call: Call) -> Response:
    """Serve EnableAsyncStatusLog."""
    await _service(call).enable_status_log(call.principal)
    return Response(status=200)


async def show_async_status_log(call: Call) -> Response:
    """Serve ShowProjectAsyncStatusLogInfo."""
    place = await _service(call).status_log(call.principal)
    names = ("group_id", "group_name", "stream_id", "stream_name")
    return codec.json_response(200, {name: getattr(place, name) if place else "" for name in names})


async def list_async_status_lines(call: Call) -> Response:
    """Serve ListAsyncStatusLines."""
    after, limit = codec.page(call, "limit", default=DEFAULT_RECORDS, maximum=MAX_RECORDS)
    found = await _service(call).status_lines(
        call.principal, request_id=call.query.get("request_id", ""), after=after, limit=limit
    )
    return codec.json_response(
        200,
        {
            "lines": [msgspec.Raw(line.encode()) for _, line in found],
            "next_marker": found[-1][0] if found else after,
        },
    )


async def list_async_deliveries(call: Call) -> Response:
    """Serve ListAsyncDeliveries."""
    found = await _service(call).deliveries(call.principal, call.parameters["request_id"])
    return codec.json_response(
        200,
        {
            "deliveries": [
                {"destination": one.kind, "status": one.status, "tries": one.tries, "error_message": one.error_message}
                for one in found
            ]
        },
    )


async def list_dead_letters(call: Call) -> Response:
    """Serve ListDeadLetters."""
    marker, limit = codec.page(call, "limit", default=DEFAULT_RECORDS, maximum=MAX_RECORDS)
    letters, count = await _service(call).dead_letters(call.principal, offset=marker, limit=limit)
    return codec.json_response(200, {"dead_letters": [_letter(letter) for letter in letters], "count": count})


async def replay_dead_letter(call: Call) -> Response:
    """Serve ReplayDeadLetter."""
    request_id = await _service(call).replay(call.principal, _letter_id(call))
    return codec.json_response(202, {"request_id": request_id})


async def purge_dead_letters(call: Call) -> Response:
    """Serve PurgeDeadLetters."""
    ids = codec.decode(PurgeFields, call).ids or []
    if len(ids) > MAX_PURGED:
        raise ModelError("FSS.0400", f"ids names more than {MAX_PURGED} letters.")
    return codec.json_response(200, {"count": await _service(call).purge(call.principal, ids)})


def _service(call: Call) -> "AsyncService":
    service = call.services.asynchronous
    # Only process 0 is asked for these operations.
    assert service is not None
    return service


def _number(name: str, value: int | None, default: int, low: int, high: int) -> int:
    return default if value is None else check_range(name, value, low, high)


def _name(text: str | None) -> str:
    if text is not None and len(text) > MAX_LOG_NAME_LENGTH:
        raise ModelError("FSS.0400", f"Ids and names of logs have at most {MAX_LOG_NAME_LENGTH} characters.")
    return text or ""


def _destination(field: str, fields: DestinationFields | None) -> DestinationConfig | None:
    if fields is None:
        return None
    return parse_destination(f"destination_config.{field}", fields.destination or "", fields.param or "")


def _letter_id(call: Call) -> int:
    text = call.parameters["letter_id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - what a database number has
        raise ModelError("FSS.0404", f"There is no dead letter '{text[:40]}'.")
    return int(text)


def _config(config: AsyncConfig) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "func_urn": config.func_urn,
        "max_async_event_age_in_seconds": config.max_age_s,
        "max_async_retry_attempts": config.max_retries,
        "destination_config": {
            name: {"destination": one.kind, "param": one.param}
            for name, one in (("on_success", config.on_success), ("on_failure", config.on_failure))
            if one is not None
        },
        "created_time": _time(config.created_at),
        "last_modified": _time(config.modified_at),
        "enable_async_status_log": config.has_status_log,
    }
    target = config.status_log
    named = {
        "log_group_id": target.group_id,
        "log_group_name": target.group_name,
        "log_stream_id": target.stream_id,
        "log_stream_name": target.stream_name,
    }
    return answer | {name: text for name, text in named.items() if text}


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.letter_id,
        "request_id": letter.request_id,
        "function_urn": letter.function_urn,
        "destination": letter.kind,
        "reason": letter.reason,
        "first_seen": utc_text(letter.first_seen),
        "document": msgspec.Raw(letter.document),
    }


def _time(at: float) -> str:
    """Return the form with an offset: one client takes no other (async.md 3.1)."""
    return utc_text(at).replace("Z", "+00:00")
