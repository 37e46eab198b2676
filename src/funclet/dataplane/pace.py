"""Whether requests come one at a time, so that looking out for an answer is cheaper than being woken for it."""

import os

# Longer than a short function takes from the hand-over to its answer, and too short for anybody else to notice.
WATCH_S = 100e-6
_LONELY = 16
_PATIENCE = 64


class Pace:
    """Counts the requests that run; says how long to look out for the answer of the next one.

    A processor that has nothing to do takes longer to wake up than a short function runs. So while requests come one
    at a time, and are answered soon, the one that hands them over looks out for the answer instead of sleeping.
    """

    def __init__(self, processors: int | None = None) -> None:
        """`processors`: how many this process may use, by default what the host says. With one, nobody looks out."""
        count = len(os.sched_getaffinity(0)) if processors is None else processors
        self._may_watch = count > 1
        self._running = 0
        self._lonely = 0
        """Requests in a row that had nobody beside them; below zero after an answer that took long."""

    def enter(self) -> float:
        """Count one more request; return how many seconds to look out for its answer, mostly 0."""
        self._running += 1
        if self._running > 1:
            self._lonely = min(self._lonely, 0)
            return 0.0
        self._lonely += 1
        return WATCH_S if self._may_watch and self._lonely > _LONELY else 0.0

    def miss(self) -> None:
        """Learn that an answer did not come while somebody looked out for it."""
        self._lonely = -_PATIENCE

    def leave(self) -> None:
        """Count one request less."""
        self._running -= 1
