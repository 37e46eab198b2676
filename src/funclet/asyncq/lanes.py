"""Who is next: one lane per function, taken in turn. Pure but for its own state; the time is given.

A lane is what is known in memory of one function's queue: a few rows that were
read ahead, which rows run, and when to look at the others again.
"""

import math
from asyncio import Task
from collections import deque
from dataclasses import dataclass

from funclet.asyncq.attempt import Target
from funclet.store.queue_protocol import QueuedRequest

MAX_PER_LANE = 64
"""Requests of one function without an instance maximum that run at once."""
MAX_PAUSE_S = 5.0
_PAUSE_S = 0.5
_MAX_DOUBLINGS = 10
MAX_READY_BYTES = 1024 * 1024


class Lane:
    """The queue of one function as far as it is in memory."""

    __slots__ = (
        "function_id", "has_more", "held", "is_fetching", "limit", "missed", "next_due", "paused_until", "project_id",
        "ready", "ready_bytes", "refusals", "running", "window",
    )  # fmt: skip

    def __init__(self, function_id: str, project_id: str) -> None:
        self.function_id = function_id
        self.project_id = project_id
        self.ready: deque[QueuedRequest] = deque()
        """Due, and read already; the first is next."""
        self.ready_bytes = 0
        self.held: set[int] = set()
        """Rows that are ready, run, or whose end is being written: whoever reads the database leaves them out."""
        self.running = 0
        self.limit = MAX_PER_LANE
        """As many run at once at most."""
        self.window = MAX_PER_LANE
        """And as many as it seems to bear: halved by a refusal, one more with every run."""
        self.refusals = 0
        """In a row."""
        self.paused_until = 0.0
        self.has_more = False
        """Whether the database has rows that are due, or may have."""
        self.missed = False
        """Whether a row came while the database was being read."""
        self.is_fetching = False
        self.next_due = math.inf
        """When rows that are not due yet must be looked for."""

    def may_run(self, now: float) -> bool:
        """Tell whether the next of the ready rows may run now."""
        return bool(self.ready) and self.running < min(self.limit, self.window) and now >= self.paused_until

    def may_fetch(self, wanted: int) -> bool:
        """Tell whether more rows should be read."""
        return self.has_more and not self.is_fetching and len(self.ready) < wanted

    def is_over(self) -> bool:
        """Tell whether nothing is known of it that must be remembered."""
        return not (self.held or self.has_more or self.is_fetching) and self.next_due == math.inf

    def put(self, request: QueuedRequest) -> None:
        """Add a row that is due."""
        self.held.add(request.submission_id)
        self.ready.append(request)
        self.ready_bytes += len(request.submission.payload)

    def take(self) -> QueuedRequest:
        """Take the next row to run it."""
        request = self.ready.popleft()
        self.ready_bytes -= len(request.submission.payload)
        self.running += 1
        return request

    def accepted(self) -> None:
        """Note that a run began."""
        self.refusals = 0
        self.window = min(self.limit, self.window + 1)

    def refused(self, now: float) -> None:
        """Note that a run could not begin: there is no sense in trying the next one at once."""
        self.refusals += 1
        self.window = max(1, min(self.window, self.running) // 2)
        self.paused_until = now + min(MAX_PAUSE_S, _PAUSE_S * 2.0 ** min(self.refusals - 1, _MAX_DOUBLINGS))


@dataclass(slots=True, eq=False)
class Run:
    """A request of a lane that runs."""

    request: QueuedRequest
    lane: Lane
    task: Task[None] | None = None
    is_cancelled: bool = False
    is_invoked: bool = False
    target: Target | None = None


class Rounds:
    """Lanes in turn: every project once per round, and in it every function."""

    def __init__(self) -> None:
        # A dict keeps the order and finds what leaves early.
        self._projects: dict[str, dict[Lane, None]] = {}

    def add(self, lane: Lane) -> None:
        """Put a lane at the end; one that is in already stays where it is."""
        self._projects.setdefault(lane.project_id, {}).setdefault(lane)

    def discard(self, lane: Lane) -> None:
        """Take a lane out, if it is in."""
        lanes = self._projects.get(lane.project_id)
        if lanes is not None and lane in lanes:
            del lanes[lane]
            if not lanes:
                del self._projects[lane.project_id]

    def take(self) -> Lane | None:
        """Take the lane out whose turn it is; its project goes to the end."""
        project_id = next(iter(self._projects), None)
        if project_id is None:
            return None
        lanes = self._projects.pop(project_id)
        lane = next(iter(lanes))
        del lanes[lane]
        if lanes:
            self._projects[project_id] = lanes
        return lane
