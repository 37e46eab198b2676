"""IOTDA triggers: what devices and products report."""

from funclet.model.errors import ModelError
from funclet.triggers.fields import Text
from funclet.triggers.protocol import EXISTS, INVALID, MISSING, EventData, Traits
from funclet.triggers.source import SourceType, not_connected

_EVENTS = {
    "device": ("create", "delete", "update"),
    "device.property": ("report",),
    "device.message": ("report",),
    "device.message.status": ("update",),
    "device.status": ("update",),
    "product": ("create", "delete", "update"),
    "batchtask": ("update",),
    "device.command.status": ("update",),
}


def _check_event(data: EventData) -> None:
    events = _EVENTS[data["resource"]]
    if data["event"] not in events:
        raise ModelError(INVALID, f"event_data.event of '{data['resource']}' must be one of {', '.join(events)}.")
    if data.get("app_type") == "APP" and not data.get("app_id"):
        raise ModelError(INVALID, "event_data.app_id is missing: app_type is 'APP'.")


IOTDA = SourceType(
    traits=Traits(
        code="IOTDA",
        invalid_code=INVALID,
        missing_code=MISSING,
        can_be_disabled=True,
        unconnected=not_connected("devices"),
    ),
    fields=(
        Text("instance_id", required=True, most=128),
        Text("resource", required=True, choices=tuple(_EVENTS)),
        Text("event", required=True, most=16),
        Text("app_type", choices=("GLOBAL", "APP")),
        Text("app_id", least=0, most=128),
        Text("name", least=0, most=128),
    ),
    identity=("instance_id", "resource", "event", "app_id"),
    unique_by=("instance_id", "resource", "event", "app_id"),
    exists_code=EXISTS,
    check_more=_check_event,
)
