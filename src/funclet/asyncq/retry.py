"""What becomes of an asynchronous request after an attempt. Pure: the time and the chance are given.

The limits and delays are those of the cloud's contract: errors of the function
use up retries, throttling and faults of ours do not, and the age of the event
ends both.
"""

from dataclasses import dataclass
from typing import assert_never

from funclet.model.invocation import Completed, FunctionFailed, Outcome, PlatformFailed, Refused

MAX_BACK_OFF_S = 60.0
_FUNCTION_BASE_S = 1.0
_PLATFORM_BASE_S = 0.5
_JITTER = 0.2
_MAX_DOUBLINGS = 10
CODE_OVERLOAD = 150_429
CODE_PLATFORM = 200_500


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncPolicy:
    """How often and how long to try. The defaults are those of a function without settings of its own."""

    max_retries: int = 0
    max_age_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Done:
    """The function returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Try once more at `at` (seconds since the epoch)."""

    at: float
    counts: bool
    """Whether the attempt used up a retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Give up."""

    status: str
    """`FAIL`, or `DISCARD` if the function never ran."""
    code: int
    message: str


Decision = Done | Again | Drop


def decide(
    outcome: Outcome, *, attempt: int, refusals: int, accepted_at: float, now: float, policy: AsyncPolicy, chance: float
) -> Decision:
    """Return what to do after an attempt.

    Args:
        outcome: of this attempt.
        attempt: 1 for the first run; refused attempts are not counted.
        refusals: how many times in a row the platform could not run it, this time included.
        accepted_at: when the request was accepted, seconds since the epoch.
        now: seconds since the epoch.
        policy: of the function.
        chance: a random number from 0 to 1; spreads retries by 20 %.
    """
    match outcome:
        case Completed():
            return Done()
        case FunctionFailed():
            failed = Drop(status="FAIL", code=outcome.code, message=_text(outcome.body))
            if attempt > policy.max_retries:
                return failed
            delay = _FUNCTION_BASE_S * 2.0 ** (attempt - 1)
            return _within_age(delay, failed, accepted_at, now, policy, chance, counts=True)
        case Refused():
            dropped = Drop(status="DISCARD" if attempt <= 1 else "FAIL", code=CODE_OVERLOAD, message=outcome.reason)
            return _within_age(_doubling(refusals), dropped, accepted_at, now, policy, chance, counts=False)
        case PlatformFailed():
            dropped = Drop(status="DISCARD" if attempt <= 1 else "FAIL", code=CODE_PLATFORM, message=outcome.reason)
            return _within_age(_doubling(refusals), dropped, accepted_at, now, policy, chance, counts=False)
    assert_never(outcome)


def _doubling(refusals: int) -> float:
    return min(MAX_BACK_OFF_S, _PLATFORM_BASE_S * 2.0 ** min(refusals - 1, _MAX_DOUBLINGS))


def _within_age(
    delay_s: float, otherwise: Drop, accepted_at: float, now: float, policy: AsyncPolicy, chance: float, *, counts: bool
) -> Decision:
    at = now + delay_s * (1 - _JITTER + 2 * _JITTER * chance)
    return otherwise if at > accepted_at + policy.max_age_s else Again(at=at, counts=counts)


def _text(body: bytes) -> str:
    return body[:2048].decode(errors="replace")
