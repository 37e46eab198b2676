"""What can go wrong in an instance, as values: what the runtime answers, and how it ends. Start with `fault_of`."""

from dataclasses import dataclass

from funclet.model.function import FunctionVersion
from funclet.model.invocation import (
    CANCELLED_TEXT,
    MAX_SYNC_BODY_BYTES,
    FailureKind,
    FunctionFailed,
    InnerCode,
    Report,
)
from funclet.runtimes.frames import Answer
from funclet.sandbox.protocol import MountFailed

_KINDS: dict[int, FailureKind] = {
    InnerCode.LOAD: FailureKind.LOAD,
    InnerCode.RESPONSE_TOO_LARGE: FailureKind.BAD_RESPONSE,
    InnerCode.NOT_SERIALISABLE: FailureKind.BAD_RESPONSE,
    InnerCode.INITIALIZER: FailureKind.INIT,
}

ENDING = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.EXITED,
        FailureKind.DISK_FULL,
        FailureKind.CANCELLED,
    }
)
"""Failures after which the instance serves nobody else (runtimes.md 6.3)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure as the runtime or its end tells it, before there is a report."""

    kind: FailureKind
    code: int
    body: bytes
    is_json: bool = False
    is_handled: bool = False
    """Whether the function failed on purpose, see `FunctionFailed`."""


def mount_fault(error: MountFailed) -> Fault:
    """Return the failure of a start whose folders could not be mounted."""
    text = f"failed to mount volumes for function: {error}"
    return Fault(FailureKind.LOAD, InnerCode.MOUNT, text.encode())


def start_timeout(phase: str, deadline_s: float) -> Fault:
    """Return the failure of a start whose phase `load` or `initialize` has taken longer than `deadline_s` seconds."""
    what = "runtime" if phase == "load" else "function"
    text = f"{what} initialization timed out after {deadline_s:g}s"
    return Fault(FailureKind.INIT, InnerCode.INIT_TIMEOUT, text.encode())


def cancelled_wait(version: FunctionVersion) -> FunctionFailed:
    """Return the end of a request that was cancelled before there was an instance for it."""
    report = Report(function_id=version.function_id, version=version.version, code=InnerCode.CANCELLED)
    return FunctionFailed(
        kind=FailureKind.CANCELLED,
        code=InnerCode.CANCELLED,
        body=CANCELLED_TEXT.encode(),
        is_json=False,
        report=report,
    )


def fault_of(answer: Answer) -> Fault | None:
    """Return what an answer of the runtime says went wrong; None if nothing."""
    if len(answer.body) > MAX_SYNC_BODY_BYTES:
        text = f"response body size {len(answer.body)} exceeds the limit of {MAX_SYNC_BODY_BYTES}"
        return Fault(FailureKind.BAD_RESPONSE, InnerCode.RESPONSE_TOO_LARGE, text.encode())
    if answer.code == 0:
        return None
    kind = _KINDS.get(answer.code, FailureKind.HANDLER)
    return Fault(kind, answer.code, answer.body, answer.is_json, answer.is_handled)
