"""Statistics of repeated measurements. Pure; `summarise` is what every figure of the tables goes through."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The median of repeated measurements, and how far they lie apart."""

    median: float
    low: float
    high: float
    count: int

    @property
    def spread(self) -> float:
        """The distance of the extremes as a share of the median; 0 when the median is 0."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


class Grade(StrEnum):
    """How far a figure has come."""

    GOAL = "goal"
    MUST = "must"
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure must reach, and what it is to reach."""

    must: float
    goal: float
    is_floor: bool = False
    """Whether more is better; else less is."""

    def grade(self, value: float) -> Grade:
        """Tell what a figure reaches."""
        for bound, grade in ((self.goal, Grade.GOAL), (self.must, Grade.MUST)):
            if value >= bound if self.is_floor else value <= bound:
                return grade
        return Grade.MISSED


def summarise(values: Sequence[float]) -> Summary:
    """Return the summary of at least one value.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("nothing was measured")
    return Summary(median=statistics.median(values), low=min(values), high=max(values), count=len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of all values do not exceed.

    Of fewer than 100 values, the 99th percentile is the largest one.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours by theirs, round by round: what slows a whole round down cancels out.

    Rounds in which they gave nothing are left out.
    """
    return [one / other for one, other in zip(ours, theirs, strict=True) if other]


def paired_differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours less theirs, round by round."""
    return [one - other for one, other in zip(ours, theirs, strict=True)]


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """Return the items beginning with another one, so that no target always comes after the same neighbour."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]
