"""What the audit log keeps of a call: who, what, on which resource, from where, and how it ended. No bodies."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class TraceOutcome(StrEnum):
    """How a call ended."""

    DONE = "done"
    DENIED = "denied"
    """The caller was not known, or not allowed."""
    FAILED = "failed"
    """Refused for another reason, or a fault of ours; nothing was changed unless the message says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One call."""

    at: float
    """Seconds since the epoch."""
    project_id: str
    """Empty where it is not known: logins, and callers that nobody knows."""
    user_name: str
    """For a login the name that was given, known or not; else empty if the caller is unknown."""
    user_id: str
    operation: str
    action: str
    resource: str
    """Empty if the path names none."""
    outcome: TraceOutcome
    status: int
    code: str
    """Error code; empty for success."""
    source: str
    """Address of the client."""
    request_id: str
    count: int = 1
    """How often it happened within a second; the rest is that of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    """Which traces a list call wants."""

    project_id: str
    with_unattributed: bool = False
    """Whether those of no project are wanted as well."""
    since: float
    until: float
    before: int
    """Only those behind the one with this number; 0 for all."""
    user_name: str = ""
    operation: str = ""
    outcome: str = ""
    limit: int


class Journal(Protocol):
    """Takes traces."""

    def note(self, trace: Trace) -> None:
        """Keep a trace soon; never waits. Those that repeat within a second are one with their count."""
        ...

    async def keep(self, trace: Trace) -> None:
        """Keep a trace; it is durable when this returns."""
        ...
