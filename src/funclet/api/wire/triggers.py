"""Trigger operations: bodies to the service, triggers to JSON."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.services.triggers import NewTrigger, ShownTrigger, TriggerChange

MAX_PAGE = 500


class CreateBody(msgspec.Struct):
    """Body of the create operation. `event_type_code`, which old clients send, says nothing."""

    trigger_type_code: str
    event_data: Any = None
    trigger_status: str | None = None
    status: str | None = None
    """What some clients call the status."""


class UpdateBody(msgspec.Struct):
    """Body of the update operation."""

    event_data: Any = None
    trigger_status: str | None = None
    status: str | None = None
    """What some clients call the status."""


async def create_function_trigger(call: Call) -> Response:
    """Serve CreateFunctionTrigger."""
    body = codec.decode(CreateBody, call)
    new = NewTrigger(type_code=body.trigger_type_code, event_data=body.event_data, status=_status(body))
    trigger = await call.services.triggers.create(call.principal, call.parameters["function_urn"], new)
    return codec.json_response(201, _render(trigger))


async def list_function_triggers(call: Call) -> Response:
    """Serve ListFunctionTriggers: a bare array."""
    triggers = await call.services.triggers.of_urn(call.principal, call.parameters["function_urn"])
    return codec.json_response(200, [_render(trigger) for trigger in triggers])


async def show_function_trigger(call: Call) -> Response:
    """Serve ShowFunctionTrigger."""
    trigger = await call.services.triggers.get(call.principal, *_names(call))
    return codec.json_response(200, _render(trigger))


async def update_trigger(call: Call) -> Response:
    """Serve UpdateTrigger."""
    body = codec.decode(UpdateBody, call)
    change = TriggerChange(event_data=body.event_data, status=_status(body))
    trigger = await call.services.triggers.update(call.principal, *_names(call), change)
    return codec.json_response(200, _render(trigger))


async def delete_function_trigger(call: Call) -> Response:
    """Serve DeleteFunctionTrigger."""
    await call.services.triggers.delete(call.principal, *_names(call))
    return codec.no_content()


async def batch_delete_function_triggers(call: Call) -> Response:
    """Serve BatchDeleteFunctionTriggers."""
    await call.services.triggers.delete_all(call.principal, call.parameters["function_urn"])
    return codec.no_content()


async def list_triggers(call: Call) -> Response:
    """Serve the list of all triggers of the project, which names the function of each."""
    offset, limit = codec.page(call, "maxitems", default=MAX_PAGE, maximum=MAX_PAGE)
    triggers, count = await call.services.triggers.of_project(call.principal, offset=offset, limit=limit)
    body = {
        "triggers": [{**_render(shown), "func_urn": shown.trigger.function_urn} for shown in triggers],
        "count": count,
        "next_marker": offset + len(triggers),
    }
    return codec.json_response(200, body)


async def list_trigger_types(call: Call) -> Response:
    """Serve the list of the types that fire here: a bare array."""
    return codec.json_response(200, call.services.triggers.type_codes)


def _names(call: Call) -> tuple[str, str, str]:
    parameters = call.parameters
    return parameters["function_urn"], parameters["trigger_type_code"], parameters["trigger_id"]


def _status(body: CreateBody | UpdateBody) -> str:
    return body.trigger_status or body.status or ""


def _render(shown: ShownTrigger) -> dict[str, Any]:
    trigger = shown.trigger
    answer = {
        "trigger_id": trigger.trigger_id,
        "trigger_type_code": trigger.type_code,
        "trigger_status": shown.status,
        "event_data": trigger.event_data,
        "last_updated_time": _time_text(trigger.updated_at),
        "created_time": _time_text(trigger.created_at),
    }
    # Beside the data, which clients compare with what they sent; SDK objects pass over members that they do not know.
    return answer | ({"x_status_reason": shown.status_reason} if shown.status_reason else {})


def _time_text(at: float) -> str:
    """Return a time with numeric offset: the vendor's provider parses no `Z` here."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
