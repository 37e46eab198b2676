"""Requests to run a function, and what comes of them.

A fault of the function is an `Outcome`; a fault of ours is an exception that
the dispatcher turns into `PlatformFailed`. What is made for every request is a
`Struct`: as frozen as a dataclass, and made in a tenth of the time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

from msgspec import Struct

from funclet.model.function import FunctionVersion

MAX_SYNC_BODY_BYTES = 6 * 1024 * 1024
MAX_ASYNC_BODY_BYTES = 256 * 1024
MAX_LOG_TAIL_BYTES = 4096


class Invocation(Struct, frozen=True, kw_only=True):
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
    on_answer: Callable[[bytes], None] | None = None
    """Called with what the function returned as soon as it has; what that cost is known only afterwards.
    Only where the function runs in the same process, and only if it succeeded: see the outcome for the rest."""


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
    CANCELLED = "cancelled"


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
    MOUNT = 4206
    DISK_FULL = 4207
    CANCELLED = 4208
    INIT_TIMEOUT = 4211


class Report(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What one invocation took and printed, or the start of an instance that failed. Times in milliseconds.

    It is what the caller is told and what the log keeps. The lines that the platform writes around those of
    the function are not in it: `telemetry.text_of` writes them when somebody reads.
    """

    function_id: str = ""
    version: str = ""
    request_id: str = ""
    at: float = 0.0
    """Seconds since the epoch when the event left for the runtime, or when the start had failed."""
    before: bytes = b""
    """Finished lines that come first: those of the start of the instance, in the report of its first request."""
    printed: bytes = b""
    """What the function printed."""
    has_run: bool = False
    """Whether the runtime was given the event; otherwise there is nothing but `before`."""
    code: int = 0
    """Inner code of the failure; 0 for success."""
    duration_ms: float = 0.0
    """From the event leaving for the runtime to its answer."""
    wait_ms: float = 0.0
    """Before that: waiting for an instance, its start included."""
    start_ms: float = 0.0
    """Start of the instance (sandbox, load, initializer); 0 when it was warm."""
    cpu_ms: float = 0.0
    memory_peak_bytes: int = 0
    memory_mib: int = 0
    """Size of the instance that it ran on."""
    storage_bytes: int = 0
    """In `/tmp`."""
    is_cold: bool = False
    init_ms: float = 0.0
    """What the initializer took, in the report of the first request of its instance."""
    is_reserved: bool = False
    """Whether it ran on a reserved instance, which is paid for by its life."""
    log_tags: Mapping[str, str] | None = {}
    """What it is marked with in the log of the function; None: it counts, but is not kept there."""


class Completed(Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """The function returned."""

    body: bytes
    is_json: bool
    """Whether the runtime serialised a value; otherwise the function returned text."""
    report: Report


class FunctionFailed(Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """The function is at fault."""

    kind: FailureKind
    code: int
    """Inner code, such as 4010."""
    body: bytes
    """The error JSON of the runtime, or a plain text."""
    is_json: bool
    report: Report
    is_handled: bool = False
    """Whether it said so itself, by returning an error."""


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """Nothing ran: limits, load, or the function is disabled."""

    reason: str
    retry_after_s: float | None = 1.0
    """When it is worth trying again; None: not before somebody changes something."""
    is_overload: bool = False
    """True when the host, not the limits of the function, is the reason (503 instead of 429)."""


class PlatformFailed(Struct, frozen=True, kw_only=True, tag=True):
    """We are at fault. `reason` is safe to show."""

    reason: str


Outcome = Completed | FunctionFailed | Refused | PlatformFailed


class Invoker(Protocol):
    """Runs invocations now."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run one invocation; return an Outcome for anything that the function or the load can cause.

        A function that is disabled is refused here and nowhere before, so that the refusal is counted.
        """
        ...

    async def cancel(self, function_id: str, request_id: str, *, force: bool) -> bool:
        """End the instance that runs a request, or its wait for one, and tell whether there was any: it is `CANCELLED`.

        With `force` all requests that have begun in that instance end so, at once. Without, the runtime is asked first
        and has a few seconds. What waits inside and has not begun is run in another instance.
        """
        ...


CANCELLED_TEXT = "function invocation canceled"


class Prewarmer(Protocol):
    """Is told what will be wanted."""

    def prepare(self, version: FunctionVersion, *, due_in_s: float) -> None:
        """Have an instance of a version ready in `due_in_s` seconds.

        A hint: nothing follows where there is no memory or no place for another instance. Safe to call twice.
        """
        ...


class Node(Invoker, Prewarmer, Protocol):
    """What runs functions: this process, or all of a server."""


class Submission(Struct, frozen=True, kw_only=True, gc=False):
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
    source: str = "api"
    """Who submitted it: `api`, a trigger id, or `destination`."""
    root_request_id: str = ""
    """Of the request at the head of the chain; empty: this one."""
    parent_request_id: str = ""
    """Of the request whose run or end has caused this one, as far as it is known."""
    depth: int = 0
    """How many requests of the chain stand before this one."""
    dedup_id: str = ""
    """Chosen by the client: a second submission with it within ten minutes is the first one."""


class Submitter(Protocol):
    """Accepts submissions."""

    async def submit(self, submission: Submission) -> str:
        """Store a submission; it is durable when this returns.

        Returns:
            Its request id, or that of the earlier submission with the same `dedup_id`.

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
    """Runs that have ended."""
    accepted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    error_code: int = 0
    error_message: str = ""
