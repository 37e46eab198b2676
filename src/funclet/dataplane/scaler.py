"""How many instances a function should have. Pure: numbers in, a number out."""

import math


def starts_wanted(*, waiting: int, busy: int, starting: int, run_s: float, start_s: float, most_at_once: int) -> int:
    """Return how many more starts to begin now for requests that wait.

    A start is worth it only for those who would otherwise wait longer for a busy instance than for a new one.

    Args:
        waiting: requests without an instance.
        busy: instances that will be free some time.
        starting: starts on their way.
        run_s: how long a request is expected to run, in seconds; infinite if nobody knows.
        start_s: how long a start is expected to take, in seconds.
        most_at_once: starts that may be on their way together: more only slow each other down.
    """
    served_in_time = 0
    if busy and run_s < math.inf:
        served_in_time = waiting if run_s <= 0 else math.floor(min(waiting, busy * start_s / run_s))
    return max(0, min(waiting - served_in_time - starting, most_at_once - starting))


def expected_wait_s(*, waiting: int, instances: int, run_s: float) -> float:
    """Return how long one more request would wait, in seconds, behind those who wait for busy instances.

    Args:
        waiting: requests that wait already.
        instances: how many serve them.
        run_s: how long a request runs.
    """
    return (waiting + 1) / max(1, instances) * run_s


TYPICAL_START_S = 0.01
"""What a start is expected to take until one has been seen."""
LONGEST_WAIT_S, LONGEST_WAIT_RUNS = 0.02, 3


def is_short_wait(*, waiting: int, instances: int, run_s: float) -> bool:
    """Tell whether one more request may wait at the instance maximum. The arguments are those of `expected_wait_s`.

    Nobody waits who would have to wait longer than this, or than so many requests take: those who are refused at once
    can go elsewhere, and those who wait have their answer soon.
    """
    expected_s = expected_wait_s(waiting=waiting, instances=instances, run_s=run_s)
    return expected_s <= max(LONGEST_WAIT_S, LONGEST_WAIT_RUNS * run_s)


SHORT_RUN_S = 0.001
"""Functions that run no longer on average may have a second request waiting inside a busy instance."""
LONG_RUN_S = 0.02
"""One run of this length, and a function is not taken for a short one before it has had many short ones again."""
SHORT_RUNS = 64


class Average:
    """An average in which what is old counts less and less."""

    __slots__ = ("_weight", "value")

    def __init__(self, value: float, *, weight: float = 0.1) -> None:
        self.value = value
        """The average, or what it was begun with; infinite until the first value if it was begun so."""
        self._weight = weight

    def add(self, value: float) -> None:
        """Take one more value."""
        if self.value == math.inf:
            self.value = value
        else:
            self.value += self._weight * (value - self.value)


class Runs(Average):
    """How long the runs of a function take, in seconds."""

    __slots__ = ("_short_in_a_row",)

    def __init__(self) -> None:
        super().__init__(math.inf)
        self._short_in_a_row = 0

    def add(self, value: float) -> None:
        """Take one more run."""
        super().add(value)
        self._short_in_a_row = self._short_in_a_row + 1 if value < LONG_RUN_S else 0

    @property
    def are_short(self) -> bool:
        """Whether the next one will most likely be short: there have been many, and nothing else."""
        return self._short_in_a_row >= SHORT_RUNS and self.value < SHORT_RUN_S
