"""The decision about an asynchronous request after an attempt: tables and a property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.asyncq.retry import Again, AsyncPolicy, Cause, Condition, Done, Drop, cancelled, decide, too_old
from funclet.model.invocation import Completed, FailureKind, FunctionFailed, PlatformFailed, Refused, Report

NOW = 1_000_000.0
COMPLETED = Completed(body=b"", is_json=False, report=Report())
FAILED = FunctionFailed(kind=FailureKind.HANDLER, code=4002, body=b"boom", is_json=False, report=Report())
TIMED_OUT = FunctionFailed(kind=FailureKind.TIMEOUT, code=4010, body=b"", is_json=False, report=Report())
REFUSED = Refused(reason="busy")
BROKEN = PlatformFailed(reason="disk")


def decision(outcome, *, attempt=1, refusals=1, age_s=0.0, chance=0.5, **policy):
    return decide(
        outcome,
        attempt=attempt,
        refusals=refusals,
        accepted_at=NOW - age_s,
        now=NOW,
        policy=AsyncPolicy(**policy),
        chance=chance,
    )


def test_a_function_that_returns_is_done():
    assert decision(COMPLETED) == Done(b"")


def test_without_settings_an_error_of_the_function_is_final():
    assert decision(FAILED) == Drop(
        status="FAIL", code=4002, message="boom", condition=Condition.UNHANDLED, http_status=500, body=b"boom"
    )


@pytest.mark.parametrize(("attempt", "delay_s"), [(1, 1.0), (2, 2.0), (3, 4.0)])
def test_errors_of_the_function_are_retried_with_doubling_delays(attempt, delay_s):
    assert decision(FAILED, attempt=attempt, max_retries=3) == Again(
        at=NOW + delay_s, cause=Cause.FUNCTION, code=4002, message="boom"
    )


def test_retries_are_used_up():
    assert isinstance(decision(FAILED, attempt=4, max_retries=3), Drop)


@pytest.mark.parametrize("outcome", [REFUSED, BROKEN])
@pytest.mark.parametrize(("refusals", "delay_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (8, 60.0), (500, 60.0)])
def test_what_is_not_the_functions_fault_uses_up_nothing(outcome, refusals, delay_s):
    again = decision(outcome, refusals=refusals)
    assert (again.at, again.counts) == (NOW + delay_s, False)


def test_an_event_that_never_ran_and_is_too_old_is_discarded():
    assert decision(REFUSED, age_s=3600).status == "DISCARD"


def test_an_event_that_ran_and_is_too_old_has_failed():
    assert decision(FAILED, attempt=1, max_retries=3, age_s=3600).status == "FAIL"
    assert decision(REFUSED, attempt=2, age_s=3600).status == "FAIL"


@pytest.mark.parametrize(
    ("outcome", "attempt", "condition", "http_status"),
    [
        (REFUSED, 1, Condition.TOO_OLD, 429),
        (REFUSED, 2, Condition.THROTTLED, 429),
        (Refused(reason="full", is_overload=True), 2, Condition.THROTTLED, 503),
        (BROKEN, 2, Condition.SYSTEM, 500),
        (FAILED, 2, Condition.UNHANDLED, 500),
        (TIMED_OUT, 2, Condition.UNHANDLED, 504),
    ],
)
def test_the_end_by_age_says_what_kept_it_from_succeeding(outcome, attempt, condition, http_status):
    end = decision(outcome, attempt=attempt, age_s=3600)

    assert (end.condition, end.http_status) == (condition, http_status)


def test_what_is_cancelled_is_not_tried_again():
    outcome = FunctionFailed(kind=FailureKind.CANCELLED, code=4208, body=b"", is_json=False, report=Report())

    assert decision(outcome, max_retries=3) == cancelled(has_run=True)
    assert (cancelled(has_run=True).status, cancelled(has_run=False).status) == ("FAIL", "DISCARD")


def test_an_event_that_is_too_old_at_its_turn_keeps_its_last_error():
    assert (too_old(attempts=0).status, too_old(attempts=0).condition) == ("DISCARD", Condition.TOO_OLD)
    assert too_old(attempts=1, code=4002, message="boom").message == "boom"


@given(
    outcome=st.sampled_from([FAILED, REFUSED, BROKEN]),
    attempt=st.integers(1, 5),
    refusals=st.integers(1, 100),
    age_s=st.floats(0, 4000),
    chance=st.floats(0, 1),
    max_retries=st.integers(0, 3),
    max_age_s=st.floats(1, 86_400),
)
def test_a_retry_lies_in_the_future_and_within_the_age(
    outcome, attempt, refusals, age_s, chance, max_retries, max_age_s
):
    result = decision(
        outcome,
        attempt=attempt,
        refusals=refusals,
        age_s=age_s,
        chance=chance,
        max_retries=max_retries,
        max_age_s=max_age_s,
    )

    if isinstance(result, Again):
        assert NOW < result.at <= NOW - age_s + max_age_s
