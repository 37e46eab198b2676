"""The statistics behind the tables of the benchmarks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Goal, Grade, paired_differences, paired_ratios, percentile, rotated, summarise

numbers = st.lists(st.floats(min_value=0, max_value=1e9), min_size=1)


def test_a_summary_has_median_and_extremes():
    summary = summarise([3.0, 1.0, 10.0])

    assert (summary.median, summary.low, summary.high, summary.count) == (3.0, 1.0, 10.0, 3)
    assert summary.spread == 3.0


def test_the_spread_of_nothing_is_nothing():
    assert summarise([0.0, 0.0]).spread == 0.0


@pytest.mark.parametrize("statistic", [summarise, lambda values: percentile(values, 0.5)])
def test_no_figure_is_made_of_no_value(statistic):
    with pytest.raises(ValueError, match="nothing was measured"):
        statistic([])


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.999, 100), (1.0, 100)]
)
def test_a_percentile_is_a_value_that_was_measured(share, value):
    assert percentile(range(100, 0, -1), share) == value


def test_of_few_values_the_99th_percentile_is_the_largest():
    assert percentile([5.0, 1.0, 2.0], 0.99) == 5.0


@given(numbers, st.floats(min_value=0, max_value=1))
def test_at_least_the_share_does_not_exceed_the_percentile(values, share):
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_ratios_are_taken_round_by_round():
    # The machine was half as fast in the second round, for both.
    assert paired_ratios([30.0, 15.0], [60.0, 30.0]) == [0.5, 0.5]


def test_rounds_without_an_answer_give_no_ratio():
    assert paired_ratios([30.0, 15.0], [0.0, 30.0]) == [0.5]


def test_differences_are_taken_round_by_round():
    assert paired_differences([30.0, 15.0], [20.0, 10.0]) == [10.0, 5.0]


def test_rounds_of_unequal_number_are_not_compared():
    with pytest.raises(ValueError, match="shorter"):
        paired_ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("by", "first"), [(0, "a"), (1, "b"), (3, "a"), (5, "c")])
def test_each_round_begins_with_another_target(by, first):
    order = rotated(["a", "b", "c"], by)

    assert order[0] == first
    assert sorted(order) == ["a", "b", "c"]


def test_nothing_can_be_rotated():
    assert rotated([], 3) == []


@pytest.mark.parametrize(
    ("goal", "value", "grade"),
    [
        (Goal(must=2, goal=3, is_floor=True), 3.0, Grade.GOAL),
        (Goal(must=2, goal=3, is_floor=True), 2.0, Grade.MUST),
        (Goal(must=2, goal=3, is_floor=True), 1.9, Grade.MISSED),
        (Goal(must=3, goal=2), 2.0, Grade.GOAL),
        (Goal(must=3, goal=2), 3.0, Grade.MUST),
        (Goal(must=3, goal=2), 3.1, Grade.MISSED),
    ],
)
def test_a_goal_is_a_floor_or_a_ceiling(goal, value, grade):
    assert goal.grade(value) is grade
