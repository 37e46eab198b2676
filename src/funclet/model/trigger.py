"""Triggers: the binding of a source to a function version or alias."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class TriggerStatus(StrEnum):
    """Whether the source may fire; wire values."""

    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One trigger of one function version or alias."""

    trigger_id: str
    project_id: str
    function_id: str
    function_urn: str
    """Full urn with the qualifier that fires (`latest`, a version, or `!alias`)."""
    type_code: str
    """Upper case, for example `APIG`."""
    status: TriggerStatus
    event_data: Mapping[str, Any]
    """As the client sent it, with the members that the server adds and without secrets."""
    sealed: Mapping[str, bytes] = field(default_factory=dict)
    """Secret members of the data by name, each sealed for `secret_context`."""
    created_at: float
    updated_at: float
    """Seconds since the epoch."""


def secret_context(trigger_id: str, member: str) -> str:
    """Return what a secret of a trigger is sealed for."""
    return f"trigger:{trigger_id}:{member}"
