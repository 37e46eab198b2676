"""How many instances to start: a table, and what holds for all numbers."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funclet.dataplane.scaler import Average, starts_wanted

MS = 0.001
PATIENT = settings(deadline=None)


@pytest.mark.parametrize(
    ("waiting", "busy", "starting", "run_s", "start_s", "wanted"),
    [
        # Nobody waits.
        (0, 0, 0, math.inf, 10 * MS, 0),
        # Nothing runs, or nobody knows how long: one start for each.
        (1, 0, 0, math.inf, 10 * MS, 1),
        (3, 0, 0, 1 * MS, 10 * MS, 3),
        (3, 2, 0, math.inf, 10 * MS, 3),
        # Starts on their way are for those who wait.
        (3, 0, 2, math.inf, 10 * MS, 1),
        (3, 0, 3, math.inf, 10 * MS, 0),
        (2, 0, 3, math.inf, 10 * MS, 0),
        # Busy instances serve ten each before one more is there.
        (10, 1, 0, 1 * MS, 10 * MS, 0),
        (12, 1, 0, 1 * MS, 10 * MS, 2),
        (20, 2, 0, 1 * MS, 10 * MS, 0),
        # Requests that run longer than a start.
        (2, 5, 0, 60 * MS, 10 * MS, 2),
        # As long as a start: each busy one serves one.
        (5, 2, 0, 10 * MS, 10 * MS, 3),
        # Requests that take no time at all.
        (1000, 1, 0, 0.0, 10 * MS, 0),
        # Only a few at once.
        (100, 0, 0, math.inf, 10 * MS, 4),
        (100, 0, 3, math.inf, 10 * MS, 1),
        (100, 0, 4, math.inf, 10 * MS, 0),
    ],
)
def test_the_table(waiting, busy, starting, run_s, start_s, wanted):
    numbers = {"waiting": waiting, "busy": busy, "starting": starting, "run_s": run_s, "start_s": start_s}

    assert starts_wanted(**numbers, most_at_once=4) == wanted


COUNTS = st.integers(0, 2000)
LENGTHS = st.floats(0, 900) | st.just(math.inf)
NUMBERS = {
    "waiting": COUNTS,
    "busy": COUNTS,
    "starting": COUNTS,
    "run_s": LENGTHS,
    "start_s": st.floats(1e-4, 90),
    "most_at_once": st.integers(1, 64),
}


@PATIENT
@given(**NUMBERS)
def test_never_more_than_wait_nor_than_may_be_on_their_way(**numbers):
    wanted = starts_wanted(**numbers)

    assert 0 <= wanted <= max(0, numbers["waiting"] - numbers["starting"])
    assert wanted == 0 or wanted + numbers["starting"] <= numbers["most_at_once"]


@PATIENT
@given(**NUMBERS, more=st.integers(1, 50))
def test_more_waiting_want_more_and_more_busy_want_less(more, **numbers):
    wanted = starts_wanted(**numbers)

    assert starts_wanted(**numbers | {"waiting": numbers["waiting"] + more}) >= wanted
    assert starts_wanted(**numbers | {"busy": numbers["busy"] + more}) <= wanted
    assert starts_wanted(**numbers | {"run_s": numbers["run_s"] * 2}) >= wanted


@PATIENT
@given(**NUMBERS)
def test_without_busy_instances_somebody_who_waits_gets_a_start(**numbers):
    alone = numbers | {"waiting": numbers["waiting"] + 1, "busy": 0, "starting": 0}

    assert starts_wanted(**alone) >= 1


def test_an_average_begins_with_the_first_value():
    average = Average(math.inf)
    assert average.value == math.inf

    average.add(4.0)

    assert average.value == 4.0


@PATIENT
@given(st.floats(0, 1000), st.lists(st.floats(0, 1000), min_size=1, max_size=50))
def test_an_average_lies_between_its_values(first, values):
    average = Average(first)
    for value in values:
        average.add(value)

    assert min(first, *values) - 1e-9 <= average.value <= max(first, *values) + 1e-9


def test_what_is_old_counts_less_and_less():
    average = Average(0.0, weight=0.5)
    for _ in range(3):
        average.add(8.0)

    assert average.value == 7.0
