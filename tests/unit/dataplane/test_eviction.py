"""What idle instances are worth: who goes first, and what holds for all numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.dataplane.eviction import keep_value, reuse_chance
from tests.unit.dataplane.test_scaler import PATIENT


def value(*, start_s=0.01, idle_s=10.0, memory_mib=128, **known):
    return keep_value(start_s=start_s, reuse=reuse_chance(idle_s, **known), memory_mib=memory_mib)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        # All else equal: the one idle longest, the larger one, the one that starts sooner.
        ({"idle_s": 50.0}, {"idle_s": 10.0}),
        ({"memory_mib": 512}, {"memory_mib": 128}),
        ({"start_s": 0.01}, {"start_s": 2.0}),
        # One that takes long to start is worth more than one that was used later.
        ({"start_s": 0.01, "idle_s": 1.0}, {"start_s": 2.0, "idle_s": 55.0}),
        # ... unless it holds so much more.
        ({"start_s": 0.02, "memory_mib": 1024}, {"start_s": 0.01, "memory_mib": 128}),
        # What is learned counts instead of the time that has passed.
        ({"idle_s": 1.0, "learned": 0.0}, {"idle_s": 500.0}),
        ({"idle_s": 1.0}, {"idle_s": 500.0, "learned": 1.0}),
        # A timer that is due counts most.
        ({"idle_s": 1.0}, {"idle_s": 500.0, "learned": 0.0, "is_due": True}),
    ],
)
def test_who_goes_first(first, then):
    assert value(**first) < value(**then)


NUMBERS = {
    "start_s": st.floats(1e-4, 90),
    "idle_s": st.floats(0, 3600),
    "memory_mib": st.integers(128, 10_240),
}


@PATIENT
@given(**NUMBERS, more=st.floats(1.01, 10))
def test_each_number_counts_in_its_direction(more, **numbers):
    worth = value(**numbers)

    assert worth > 0
    assert value(**numbers | {"start_s": numbers["start_s"] * more}) > worth
    assert value(**numbers | {"idle_s": (numbers["idle_s"] + 1) * more}) < worth
    assert value(**numbers | {"memory_mib": numbers["memory_mib"] + 1}) < worth


@PATIENT
@given(st.floats(-1, 1e6), st.none() | st.floats(0, 1), st.booleans())
def test_a_chance_is_a_chance(idle_s, learned, is_due):
    assert 0 <= reuse_chance(idle_s, learned=learned, is_due=is_due) <= 1
