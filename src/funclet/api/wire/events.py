"""Operations on test events, and their bodies. Start with `create_event`."""

import base64
import binascii
from typing import Any

import msgspec

from funclet.api.call import Call, resources_of
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.resources import MAX_EVENT_BYTES, StoredEvent

# Base64 of the largest content is shorter; line breaks are let through.
_MAX_TEXT_LENGTH = 2 * MAX_EVENT_BYTES


class EventFields(msgspec.Struct):
    """Body of `CreateEvent` and `UpdateEvent`."""

    name: str | None = None
    content: str | None = None


async def create_event(call: Call) -> Response:
    """Serve CreateEvent."""
    fields = codec.decode(EventFields, call)
    if not fields.name:
        raise ModelError("FSS.1074", "name is missing.")
    event = await resources_of(call).events.create(
        call.principal, call.parameters["function_urn"], name=fields.name, content=_content(fields)
    )
    return codec.json_response(200, {"id": event.event_id, "name": event.name})


async def update_event(call: Call) -> Response:
    """Serve UpdateEvent; one client sends the name too."""
    fields = codec.decode(EventFields, call)
    event = await resources_of(call).events.update(
        call.principal,
        call.parameters["function_urn"],
        call.parameters["event_id"],
        name=fields.name or "",
        content=_content(fields),
    )
    return codec.json_response(200, {"id": event.event_id, "name": event.name})


async def show_event(call: Call) -> Response:
    """Serve ShowEvent."""
    event = await resources_of(call).events.get(
        call.principal, call.parameters["function_urn"], call.parameters["event_id"]
    )
    return codec.json_response(200, {**_row(event), "content": base64.b64encode(event.content).decode()})


async def list_events(call: Call) -> Response:
    """Serve ListEvents: all of them, without their contents."""
    events = await resources_of(call).events.find(call.principal, call.parameters["function_urn"])
    body = {"events": [_row(event) for event in events], "count": len(events), "next_marker": len(events)}
    return codec.json_response(200, body)


async def delete_event(call: Call) -> Response:
    """Serve DeleteEvent."""
    await resources_of(call).events.delete(call.principal, call.parameters["function_urn"], call.parameters["event_id"])
    return codec.no_content()


def _content(fields: EventFields) -> bytes:
    text = "".join((fields.content or "").split())
    if not text:
        raise ModelError("FSS.1074", "content is missing: the event as JSON, in base64.")
    if len(text) > _MAX_TEXT_LENGTH:
        raise ModelError("FSS.1069", f"content is larger than {MAX_EVENT_BYTES} bytes.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError("FSS.1074", f"content is not base64: {error}.") from error


def _row(event: StoredEvent) -> dict[str, Any]:
    return {"id": event.event_id, "name": event.name, "last_modified": int(event.modified_at)}
