"""What pauses teach: a table, and what holds for all histories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.dataplane import idle
from funclet.dataplane.idle import BIN_S, BINS, MIN_PAUSES, Pauses, Windows, fixed
from tests.unit.dataplane.test_scaler import PATIENT

FIXED_S = 60.0
EVERY_HOUR = BINS * BIN_S


def pauses_of(*lengths):
    pauses = Pauses()
    for length in lengths:
        pauses.add(length)
    return pauses


@pytest.mark.parametrize(
    ("lengths", "release_s", "expect_s", "until_s"),
    [
        # Too few say nothing.
        ([], FIXED_S, 0.0, 0.0),
        ([600.0] * (MIN_PAUSES - 1), FIXED_S, 0.0, 0.0),
        # Always ten minutes: released soon, there again before the next request, gone after it did not come.
        ([605.0] * MIN_PAUSES, BIN_S, 540.0, 671.0),
        # Two minutes, once in a while twelve: the 99th percentile is the longest here.
        ([125.0] * 20 + [725.0], BIN_S, 108.0, 803.0),
        # Shorter than the fixed time: kept, but not longer than is any use.
        ([15.0] * MIN_PAUSES, 22.0, 0.0, 22.0),
        # Short ones and some of ten minutes: kept all the time.
        ([15.0] * 10 + [605.0] * 10, FIXED_S, 0.0, 671.0),
        # A single short one in many is no rule.
        ([15.0] + [605.0] * 99, BIN_S, 540.0, 671.0),
        # Spread over everything.
        ([number * BIN_S for number in range(BINS)], FIXED_S, 0.0, 0.0),
        # Most are longer than can be told.
        ([605.0] * 10 + [2 * EVERY_HOUR] * 11, FIXED_S, 0.0, 0.0),
        ([605.0] * 11 + [2 * EVERY_HOUR] * 10, BIN_S, 540.0, 671.0),
        # Nearly an hour: never kept for longer than one.
        ([EVERY_HOUR - 1] * MIN_PAUSES, BIN_S, 3231.0, EVERY_HOUR),
    ],
)
def test_the_table(lengths, release_s, expect_s, until_s):
    windows = pauses_of(*lengths).windows(FIXED_S)

    assert (windows.release_s, windows.expect_s, windows.until_s) == pytest.approx((release_s, expect_s, until_s))


HISTORIES = st.lists(st.floats(0, 10_000), max_size=200)


@PATIENT
@given(HISTORIES, st.floats(1, 3600))
def test_windows_are_in_order_and_never_longer_than_an_hour(lengths, fixed_s):
    windows = pauses_of(*lengths).windows(fixed_s)

    assert 0 < windows.release_s <= fixed_s
    assert windows == fixed(fixed_s) or 0 <= windows.expect_s < windows.until_s <= EVERY_HOUR


@PATIENT
@given(st.floats(0, EVERY_HOUR - BIN_S), st.integers(MIN_PAUSES, 50), st.floats(1, 3600))
def test_a_function_of_one_habit_is_always_met_warm(length, count, fixed_s):
    windows = pauses_of(*[length] * count).windows(fixed_s)

    # Until the next request comes the instance was not released yet, or another one is expected by then.
    assert windows.expects(length) or length < windows.release_s


@PATIENT
@given(HISTORIES, st.floats(0, 4000), st.floats(0, 4000))
def test_shares_are_shares(lengths, from_s, more_s):
    share = pauses_of(*lengths).share_between(from_s, from_s + more_s)

    assert 0 <= share <= 1


def test_shares_are_of_the_pauses_that_last_so_long():
    pauses = pauses_of(*[15.0] * 6, *[605.0] * 3, 2 * EVERY_HOUR)

    assert pauses.share_between(0, 60) == 0.6
    assert pauses.share_between(60, 120) == 0
    assert pauses.share_between(590, 650) == 0.75
    assert pauses.share_between(700, 760) == 0


def test_what_is_old_counts_less_when_a_count_is_full(monkeypatch):
    monkeypatch.setattr(idle, "_FULL", 100)
    pauses = pauses_of(*[605.0] * 1000, *[305.0] * 90)

    assert max(pauses._bins) < 100
    assert pauses.windows(FIXED_S) == pauses_of(*[305.0] * 90, *[605.0] * 50).windows(FIXED_S)


def test_pauses_beyond_the_histogram_do_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(idle, "_FULL", 100)

    assert pauses_of(*[2 * EVERY_HOUR] * 1000)._beyond < 100


def test_windows_tell_whether_an_instance_is_started_ahead():
    assert Windows(release_s=10, expect_s=540, until_s=671).starts_ahead
    assert not fixed(60).starts_ahead
    assert not fixed(60).expects(0)
