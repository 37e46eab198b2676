"""Accepts submissions durably, and writes what becomes of them. Start with `AsyncQueue.submit`.

What arrives while the disk works goes into the next transaction, all of it: the
more is asked for, the more one flush is shared by.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from funclet.asyncq.counters import AsyncCounters
from funclet.base.clock import Clock, SteadyClock
from funclet.base.prompt_future import PromptFuture
from funclet.base.tasks import TaskOwner
from funclet.model.errors import ModelError
from funclet.model.invocation import Submission
from funclet.store.protocol import Store, StoreUnavailable
from funclet.store.queue_protocol import Accepted, QueuedRequest, Settlement, Stored

log = logging.getLogger(__name__)

MAX_ARRIVING = 16_384
"""Submissions that may wait for the disk."""
MAX_BATCH = 1024
MAX_WRITES = 2
"""Transactions on their way: the next is gathered while one is being flushed."""
STORE_RETRY_S = 0.5
RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait."""

    per_function: int = 100_000
    """Requests."""
    project_bytes: int = 10 * 1024**3
    """Bytes of events."""


@dataclass(slots=True, eq=False)
class _Arrival:
    submission: Submission
    future: PromptFuture[str]


@dataclass(slots=True, eq=False)
class _Ending:
    settlement: Settlement
    future: "asyncio.Future[None]"


@dataclass(slots=True)
class _Sizes:
    """How much waits, runs included."""

    by_function: dict[str, int] = field(default_factory=dict)
    bytes_by_project: dict[str, int] = field(default_factory=dict)

    def add(self, submission: Submission) -> None:
        """Count one more."""
        functions, projects = self.by_function, self.bytes_by_project
        functions[submission.function_id] = functions.get(submission.function_id, 0) + 1
        projects[submission.project_id] = projects.get(submission.project_id, 0) + len(submission.payload)

    def take(self, function_id: str, project_id: str, *, count: int, payload_bytes: int) -> None:
        """Count some less."""
        left = self.by_function.get(function_id, 0) - count
        if left > 0:
            self.by_function[function_id] = left
        else:
            self.by_function.pop(function_id, None)
        self.bytes_by_project[project_id] = self.bytes_by_project.get(project_id, 0) - payload_bytes


class AsyncQueue:
    """Implements `model.invocation.Submitter` over the store. There must be one per store."""

    def __init__(
        self, store: Store, clock: Clock, *, limits: QueueLimits | None = None, counters: AsyncCounters | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self.steady = SteadyClock(clock)
        """The clock of ages and due times."""
        self.counters = counters or AsyncCounters()
        self._limits = limits or QueueLimits()
        self._sizes = _Sizes()
        self._arriving: list[_Arrival] = []
        self._ending: list[_Ending] = []
        self._writes = 0
        self._is_settling = False
        self._is_scheduled = False
        self._tasks = TaskOwner()
        self.on_stored: Callable[[QueuedRequest], None] = lambda _: None
        """Called for each submission once it is durable."""
        self.on_accepted: Callable[[Submission], None] = lambda _: None
        """Called for each submission once it is durable, whoever has stored it."""
        self.on_noticed: Callable[[str, str], None] = lambda *_: None
        """Called with function and project id when somebody else has stored submissions."""
        self.on_deliveries: Callable[[], None] = lambda: None
        """Called when a settlement has left notifications to send."""

    async def open(self) -> None:
        """Find what a former server has left.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        now = self.steady.now()
        await self._store.write(lambda tx: tx.queue.open(now=now))
        for lane in await self._store.read(lambda tx: tx.queue.lanes()):
            self._sizes.by_function[lane.function_id] = lane.count
            projects = self._sizes.bytes_by_project
            projects[lane.project_id] = projects.get(lane.project_id, 0) + lane.payload_bytes
            self.counters.of(lane.function_id, lane.urn)
            self.on_noticed(lane.function_id, lane.project_id)

    async def close(self) -> None:
        """Write nothing more. Whoever still waits is told that nothing was accepted."""
        await self._tasks.close()
        for arrival in self._arriving:
            _fail(arrival, _unavailable("The server is stopping; nothing was accepted."))
        self._arriving.clear()

    @property
    def lengths(self) -> dict[str, int]:
        """Requests that wait or run, by function id."""
        return dict(self._sizes.by_function)

    def functions_named(self, project_id: str, name: str) -> Sequence[str]:
        """Return the ids of functions of this name (`package:name`) for which something waits."""
        found = [(key, self.counters.find(key)) for key in self._sizes.by_function]
        return [key for key, one in found if one and (one.project_id, one.function) == (project_id, name)]

    async def submit(self, submission: Submission) -> str:
        """Store a submission; it is durable when this returns its request id.

        Raises:
            ModelError: FSS.0503, nothing is stored.
        """
        self._check_room(submission)
        self._sizes.add(submission)
        arrival = _Arrival(submission, PromptFuture[str]())
        self._arriving.append(arrival)
        if not self._is_scheduled:
            # At the end of this pass of the loop, for all that it brings.
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)
        return await arrival.future

    def noticed(self, submissions: Sequence[Submission]) -> None:
        """Learn of submissions that were stored by a transaction of somebody else."""
        for submission in submissions:
            self._sizes.add(submission)
            self.counters.of(submission.function_id, submission.urn).accepted += 1
            self.on_accepted(submission)
            self.on_noticed(submission.function_id, submission.project_id)

    async def settle(self, settlement: Settlement) -> None:
        """Write what becomes of a request, with all that follows, and return when it is durable.

        A store that is away is waited for: meanwhile the request belongs to whoever ran it.
        """
        ending = _Ending(settlement, asyncio.get_running_loop().create_future())
        self._ending.append(ending)
        if not self._is_settling:
            self._is_settling = True
            self._tasks.start(self._settle(), name="settle asynchronous requests")
        await ending.future

    def discarded(self, function_id: str, project_id: str, *, count: int, payload_bytes: int) -> None:
        """Learn that waiting requests of a function were discarded."""
        self._sizes.take(function_id, project_id, count=count, payload_bytes=payload_bytes)

    def _drop_size(self, submission: Submission) -> None:
        size = len(submission.payload)
        self._sizes.take(submission.function_id, submission.project_id, count=1, payload_bytes=size)

    def _check_room(self, submission: Submission) -> None:
        limits, sizes = self._limits, self._sizes
        if sizes.by_function.get(submission.function_id, 0) >= limits.per_function:
            raise _unavailable(f"{limits.per_function} requests wait for this function already.")
        stored = sizes.bytes_by_project.get(submission.project_id, 0)
        if stored + len(submission.payload) > limits.project_bytes:
            raise _unavailable(f"The events that wait in this project have {limits.project_bytes} bytes already.")
        if len(self._arriving) >= MAX_ARRIVING:
            raise _unavailable("Too many requests wait for the disk.")

    def _flush(self) -> None:
        self._is_scheduled = False
        while self._arriving and self._writes < MAX_WRITES:
            batch, self._arriving = self._arriving[:MAX_BATCH], self._arriving[MAX_BATCH:]
            self._writes += 1
            self._tasks.start(self._store_all(batch), name="store submissions")

    async def _store_all(self, batch: Sequence[_Arrival]) -> None:
        now = self.steady.now()
        accepted = [Accepted(submission=arrival.submission, queued_at=now) for arrival in batch]
        try:
            stored = await self._store.write(lambda tx: tx.queue.add_all(accepted))
        except StoreUnavailable as error:
            refusal = _unavailable("The request could not be stored; nothing was accepted.")
            refusal.__cause__ = error
            self._refuse(batch, refusal)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be told
            self._refuse(batch, error)
        else:
            for arrival, one in zip(batch, stored, strict=True):
                self._accepted(arrival, one, now)
        finally:
            self._writes -= 1
            self._flush()

    def _accepted(self, arrival: _Arrival, stored: Stored, now: float) -> None:
        submission = arrival.submission
        if not arrival.future.done():
            arrival.future.set_result(stored.request_id)
        if stored.submission_id == 0:
            self._drop_size(submission)
            return
        self.counters.of(submission.function_id, submission.urn).accepted += 1
        self.on_accepted(submission)
        self.on_stored(QueuedRequest(submission_id=stored.submission_id, submission=submission, queued_at=now))

    def _refuse(self, batch: Sequence[_Arrival], error: Exception) -> None:
        for arrival in batch:
            self._drop_size(arrival.submission)
            _fail(arrival, error)

    async def _settle(self) -> None:
        """Write endings, batch after batch, until there are none."""
        while self._ending:
            batch, self._ending = self._ending[:MAX_BATCH], self._ending[MAX_BATCH:]
            settlements = [ending.settlement for ending in batch]
            deliveries = await self._settle_all(settlements)
            for ending in batch:
                self._ended(ending)
            if deliveries:
                self.on_deliveries()
        self._is_settling = False

    async def _settle_all(self, settlements: Sequence[Settlement]) -> Sequence[int]:
        while True:
            try:
                return await self._store.write(lambda tx: tx.queue.settle_all(settlements))
            except StoreUnavailable:
                await self._clock.sleep(STORE_RETRY_S)

    def _ended(self, ending: _Ending) -> None:
        settlement, request = ending.settlement, ending.settlement.request
        if settlement.status != "WAIT":
            submission = request.submission
            self._drop_size(submission)
            self.counters.of(submission.function_id, submission.urn).ended[settlement.status] += 1
        if not ending.future.done():
            ending.future.set_result(None)


def _fail(arrival: _Arrival, error: Exception) -> None:
    if not arrival.future.done():
        arrival.future.set_exception(error)


def _unavailable(message: str) -> ModelError:
    return ModelError("FSS.0503", f"{message} Try again later.", retry_after_s=RETRY_AFTER_S)
