"""What becomes of an asynchronous request after an attempt. Pure: the time and the chance are given.

The limits and delays are those of the cloud's contract: errors of the function
use up retries, throttling and faults of ours do not, and the age of the event
ends both.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from funclet.model.async_config import DEFAULT_AGE_S
from funclet.model.invocation import (
    CANCELLED_TEXT,
    Completed,
    FailureKind,
    FunctionFailed,
    InnerCode,
    Outcome,
    PlatformFailed,
    Refused,
)

MAX_BACK_OFF_S = 60.0
_PLATFORM_BASE_S = 0.5
_JITTER = 0.2
_MAX_DOUBLINGS = 10
CODE_OVERLOAD = 150_429
CODE_PLATFORM = 200_500
CODE_GONE = 150_424
AGE_TEXT = "the event is older than its age limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncPolicy:
    """How often and how long to try. The defaults are those of a function without settings of its own."""

    max_retries: int = 0
    max_age_s: float = float(DEFAULT_AGE_S)
    retry_base_s: float = 1.0
    """Before the first retry of an error of the function."""
    retry_factor: float = 2.0
    """By which each further delay is longer."""


class Cause(StrEnum):
    """Why an attempt is repeated; a label of metrics."""

    FUNCTION = "function"
    THROTTLING = "throttling"
    SYSTEM = "system"


class Condition(StrEnum):
    """What a notification says of the end."""

    SUCCESS = ""
    UNHANDLED = "UnhandledInvocationError"
    HANDLED = "HandledInvocationError"
    THROTTLED = "ThrottlingError"
    SYSTEM = "SystemError"
    TOO_OLD = "EventAgeExceeded"
    CANCELLED = "InvocationCanceled"
    LOOP = "LoopDetected"


# What a notification says of a request that has run and is too old to run again, by the code of its last error.
_LAST_ERRORS = {
    CODE_OVERLOAD: (Condition.THROTTLED, 429),
    CODE_PLATFORM: (Condition.SYSTEM, 500),
    InnerCode.TIMEOUT: (Condition.UNHANDLED, 504),
}


@dataclass(frozen=True, slots=True)
class Done:
    """The function returned."""

    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Try once more at `at` (seconds since the epoch)."""

    at: float
    cause: Cause
    code: int
    message: str

    @property
    def counts(self) -> bool:
        """Whether the attempt used up a retry."""
        return self.cause is Cause.FUNCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Give up."""

    status: str
    """`FAIL`, or `DISCARD` if the function never ran."""
    code: int
    message: str
    condition: Condition
    http_status: int
    """As the notification has it."""
    function_error: str = ""
    """For what is not in the answer of the function: why it did not run."""
    body: bytes = b""
    """What the function answered."""


Decision = Done | Again | Drop


def decide(
    outcome: Outcome, *, attempt: int, refusals: int, accepted_at: float, now: float, policy: AsyncPolicy, chance: float
) -> Decision:
    """Return what to do after an attempt.

    Args:
        outcome: of this attempt.
        attempt: 1 for the first run; refused attempts are not counted.
        refusals: how many times the platform could not run it, this time included.
        accepted_at: when the request was accepted, seconds since the epoch.
        now: seconds since the epoch.
        policy: of the function.
        chance: a random number from 0 to 1; spreads retries by 20 %.
    """
    ends_at = accepted_at + policy.max_age_s
    match outcome:
        case Completed(body=body):
            return Done(body)
        case FunctionFailed(kind=FailureKind.CANCELLED):
            return cancelled(has_run=True)
        case FunctionFailed():
            failed = _failed(outcome)
            if attempt > policy.max_retries:
                return failed
            delay_s = policy.retry_base_s * policy.retry_factor ** (attempt - 1)
            again = Again(
                at=now + _spread(delay_s, chance), cause=Cause.FUNCTION, code=failed.code, message=failed.message
            )
            return failed if again.at > ends_at else again
        case Refused(reason=reason, is_overload=is_overload):
            http_status = 503 if is_overload else 429
            again = Again(
                at=now + _spread(_doubling(refusals), chance),
                cause=Cause.THROTTLING,
                code=CODE_OVERLOAD,
                message=reason,
            )
            return _unless_too_old(again, ends_at, attempt, http_status, Condition.THROTTLED)
        case PlatformFailed(reason=reason):
            again = Again(
                at=now + _spread(_doubling(refusals), chance), cause=Cause.SYSTEM, code=CODE_PLATFORM, message=reason
            )
            return _unless_too_old(again, ends_at, attempt, 500, Condition.SYSTEM)
    assert_never(outcome)


def cancelled(*, has_run: bool) -> Drop:
    """Return the end of a request that was cancelled while it ran, or while it waited."""
    return Drop(
        status="FAIL" if has_run else "DISCARD",
        code=InnerCode.CANCELLED,
        message=CANCELLED_TEXT,
        condition=Condition.CANCELLED,
        http_status=499,
        function_error=CANCELLED_TEXT,
    )


def too_old(*, attempts: int, code: int = 0, message: str = "") -> Drop:
    """Return the end of a request whose age limit has passed before an attempt could begin.

    Args:
        attempts: runs that have ended.
        code: of the last error, 0 if there was none.
        message: of the last error.
    """
    if attempts:
        condition, http_status = _LAST_ERRORS.get(code, (Condition.UNHANDLED, 500))
        return Drop(
            status="FAIL",
            code=code or CODE_GONE,
            message=message or AGE_TEXT,
            condition=condition,
            http_status=http_status,
            function_error=AGE_TEXT,
        )
    return Drop(
        status="DISCARD",
        code=code or CODE_GONE,
        message=f"{AGE_TEXT}: {message}" if message else AGE_TEXT,
        condition=Condition.TOO_OLD,
        http_status=429 if code == CODE_OVERLOAD else 503,
        function_error=AGE_TEXT,
    )


def gone(message: str) -> Drop:
    """Return the end of a request whose function or version does not exist any more."""
    return Drop(
        status="DISCARD",
        code=CODE_GONE,
        message=message,
        condition=Condition.SYSTEM,
        http_status=404,
        function_error=message,
    )


def looped(max_depth: int) -> Drop:
    """Return the end of a request that stands too far down a chain of destinations."""
    message = f"the chain of asynchronous requests is longer than {max_depth}"
    return Drop(
        status="DISCARD",
        code=CODE_GONE,
        message=message,
        condition=Condition.LOOP,
        http_status=508,
        function_error=message,
    )


def _failed(outcome: FunctionFailed) -> Drop:
    return Drop(
        status="FAIL",
        code=outcome.code,
        message=outcome.body[:2048].decode(errors="replace"),
        condition=Condition.HANDLED if outcome.is_handled else Condition.UNHANDLED,
        http_status=504 if outcome.kind is FailureKind.TIMEOUT else 500,
        body=outcome.body,
    )


def _unless_too_old(again: Again, ends_at: float, attempt: int, http_status: int, condition: Condition) -> Decision:
    if again.at <= ends_at:
        return again
    has_run = attempt > 1
    return Drop(
        status="FAIL" if has_run else "DISCARD",
        code=again.code,
        message=again.message,
        condition=condition if has_run else Condition.TOO_OLD,
        http_status=http_status,
        function_error=again.message,
    )


def _doubling(refusals: int) -> float:
    return min(MAX_BACK_OFF_S, _PLATFORM_BASE_S * 2.0 ** min(refusals - 1, _MAX_DOUBLINGS))


def _spread(delay_s: float, chance: float) -> float:
    return delay_s * (1 - _JITTER + 2 * _JITTER * chance)
