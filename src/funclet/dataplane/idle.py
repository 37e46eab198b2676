"""How long an idle instance is worth keeping, learned from the pauses of its function. Pure: the caller knows the time.

As "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020) has it: a histogram of the pauses of each function;
after the shortest likely pause an instance should be there again, and after the longest nobody needs it any more.
Where the histogram says nothing of use, the fixed time holds.
"""

import math
from array import array
from dataclasses import dataclass

BIN_S = 10.0
BINS = 360
"""An hour, the longest time that an instance may be kept."""
MIN_PAUSES = 10
"""Fewer say nothing."""
MIN_CONCENTRATION = 2.0
"""Coefficient of variation of the counts of all bins. Below it the pauses are spread over everything."""
MAX_BEYOND = 0.5
"""Share of pauses longer than the histogram beyond which the others say nothing."""
HEAD, TAIL = 0.05, 0.99
MARGIN = 0.1
"""Starts are so much earlier than the shortest pause, releases so much later than the longest."""
_FULL = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """What to do with the instances of a function, in seconds since its last request ended."""

    release_s: float
    """An instance that is idle so long is released, unless the next request is expected."""
    expect_s: float
    """From here on one instance should be ready for the next request."""
    until_s: float
    """Up to here the next request is expected."""

    @property
    def starts_ahead(self) -> bool:
        """Whether the instance is released first and another one started before the next request."""
        return self.expect_s > self.release_s

    def expects(self, pause_s: float) -> bool:
        """Tell whether one instance should be ready when the pause has lasted `pause_s` seconds."""
        return self.expect_s <= pause_s < self.until_s


def fixed(release_s: float) -> Windows:
    """Return the windows of a function of which nothing is known."""
    return Windows(release_s=release_s, expect_s=0.0, until_s=0.0)


class Pauses:
    """The pauses between requests of one function: a histogram of less than a kilobyte."""

    __slots__ = ("_beyond", "_bins", "_count", "_squares")

    def __init__(self) -> None:
        self._bins = array("H", bytes(2 * BINS))
        self._count = 0
        """Pauses in the bins."""
        self._squares = 0
        """Sum of the squares of all bins."""
        self._beyond = 0

    def add(self, pause_s: float) -> None:
        """Count one pause. When a count is full all are halved, so that what is old counts less."""
        number = int(pause_s / BIN_S)
        if number >= BINS:
            self._beyond += 1
        else:
            self._squares += 2 * self._bins[number] + 1
            self._bins[number] += 1
            self._count += 1
        if self._beyond >= _FULL or (number < BINS and self._bins[number] >= _FULL):
            self._halve()

    @property
    def is_telling(self) -> bool:
        """Whether the histogram says when to expect the next request."""
        every = self._count + self._beyond
        return every >= MIN_PAUSES and self._beyond <= MAX_BEYOND * every and self._concentration() >= MIN_CONCENTRATION

    def windows(self, fixed_s: float) -> Windows:
        """Return what to do with instances.

        Args:
            fixed_s: after which time they are released if nothing can be learned.
        """
        if not self.is_telling:
            return fixed(fixed_s)
        head_s = self._bin_at(HEAD) * BIN_S * (1 - MARGIN)
        tail_s = min(BINS * BIN_S, (self._bin_at(TAIL) + 1) * BIN_S * (1 + MARGIN))
        if head_s <= fixed_s:
            # To release it for so short a time is not worth a start.
            return Windows(release_s=min(fixed_s, tail_s), expect_s=0.0, until_s=tail_s)
        return Windows(release_s=min(fixed_s, BIN_S), expect_s=head_s, until_s=tail_s)

    def share_between(self, from_s: float, to_s: float) -> float:
        """Return which share of the pauses that last at least `from_s` seconds end before `to_s`; 0 if none lasts."""
        first, last = (min(BINS, int(at / BIN_S)) for at in (from_s, to_s))
        longer = sum(self._bins[first:]) + self._beyond
        return sum(self._bins[first : last + 1]) / longer if longer else 0.0

    def _concentration(self) -> float:
        mean = self._count / BINS
        return math.sqrt(max(0.0, self._squares / BINS - mean * mean)) / mean if mean else 0.0

    def _bin_at(self, share: float) -> int:
        """Return the bin in which a share of the pauses is reached."""
        wanted, seen = share * self._count, 0
        for number, count in enumerate(self._bins):
            seen += count
            if count and seen >= wanted:
                return number
        return BINS - 1

    def _halve(self) -> None:
        self._bins = array("H", (count // 2 for count in self._bins))
        self._count = sum(self._bins)
        self._squares = sum(count * count for count in self._bins)
        self._beyond //= 2
