"""Requests to run a function, and what comes of them.

A fault of the function is an `Outcome`; a fault of ours is an exception that
the dispatcher turns into `PlatformFailed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

from funclet.model.function import FunctionVersion

MAX_SYNC_BODY_BYTES = 6 * 1024 * 1024
MAX_ASYNC_BODY_BYTES = 256 * 1024
MAX_LOG_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One request, resolved: all that the data plane needs to run it."""

    request_id: str
    version: FunctionVersion
    payload: bytes
    """The event, a JSON text, byte for byte as it was sent."""
    alias: str = ""
    """The alias that the request addressed, if any."""
    memory_mib: int = 0
    """Size asked for with dynamic memory; 0: as configured."""
    asynchronous: bool = False


class FailureKind(StrEnum):
    """What went wrong in the function."""

    HANDLER = "handler"
    LOAD = "load"
    INIT = "init"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    EXITED = "exited"
    BAD_RESPONSE = "bad_response"
    DISK_FULL = "disk_full"


class InnerCode(IntEnum):
    """Inner codes of failures, as the cloud numbers them (runtimes.md 6.2)."""

    LOAD = 4001
    HANDLER = 4002
    RESPONSE_TOO_LARGE = 4004
    NOT_SERIALISABLE = 4007
    INITIALIZER = 4009
    TIMEOUT = 4010
    INSTANCE_INIT = 4201
    EXITED = 4204
    OUT_OF_MEMORY = 4205
    DISK_FULL = 4207
    CANCELLED = 4208
    INIT_TIMEOUT = 4211


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one invocation took. Times in milliseconds."""

    duration_ms: float = 0.0
    """From the event leaving for the runtime to its answer."""
    wait_ms: float = 0.0
    """Before that: waiting for an instance, its start included."""
    start_ms: float = 0.0
    """Start of the instance (sandbox, load, initializer); 0 when it was warm."""
    memory_peak_bytes: int = 0
    cpu_ms: float = 0.0
    is_cold: bool = False
    log_tail: bytes = b""
    """Last lines of the log of this invocation, at most `MAX_LOG_TAIL_BYTES`."""
    memory_mib: int = 0
    """Size of the instance that it ran on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The function returned."""

    body: bytes
    is_json: bool
    """Whether the runtime serialised a value; otherwise the function returned text."""
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFailed:
    """The function is at fault."""

    kind: FailureKind
    code: int
    """Inner code, such as 4010."""
    body: bytes
    """The error JSON of the runtime, or a plain text."""
    is_json: bool
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing ran: limits, load, or the function is disabled."""

    reason: str
    retry_after_s: float | None = 1.0
    """When it is worth trying again; None: not before somebody changes something."""
    is_overload: bool = False
    """True when the host, not the limits of the function, is the reason (503 instead of 429)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFailed:
    """We are at fault. `reason` is safe to show."""

    reason: str


Outcome = Completed | FunctionFailed | Refused | PlatformFailed


class Invoker(Protocol):
    """Runs invocations now."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run one invocation; return an Outcome for anything that the function or the load can cause."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request as accepted for later: its urn is resolved when an attempt runs."""

    request_id: str
    project_id: str
    function_id: str
    urn: str
    """Full urn with qualifier."""
    payload: bytes
    memory_mib: int = 0
    accepted_at: float
    """Seconds since the epoch."""


class Submitter(Protocol):
    """Accepts submissions."""

    async def submit(self, submission: Submission) -> None:
        """Store a submission; it is durable when this returns.

        Raises:
            ModelError: FSS.0503, nothing is stored.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationRecord:
    """One asynchronous request as a client sees it."""

    request_id: str
    status: str
    """`WAIT`, `RUNNING`, `SUCCESS`, `FAIL` or `DISCARD`."""
    attempts: int
    accepted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    error_code: int = 0
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """Log of one invocation, start or stop of an instance, in the order it was written."""

    function_id: str
    version: str
    request_id: str
    at: float
    """Seconds since the epoch of the first line."""
    text: str
    """Lines with newlines."""
    outcome: str
    """`success` or the cause of the failure."""
    duration_ms: float
    is_cold: bool
    labels: Mapping[str, str] = field(default_factory=dict)
