"""Runs what the queue holds. Start with `Worker.run_one`; who is next is decided in `lanes`.

A lease is an entry in `_running` and in the `held` of a lane: it lasts as long
as this process, so a restart frees all. Nothing polls: a row that is stored, a
run that ends and a time that comes each call `_pump`.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from funclet.asyncq import retry
from funclet.asyncq.attempt import Attempts, FunctionGone, Result, Target, status_lines
from funclet.asyncq.counters import LaneGauges
from funclet.asyncq.gone import end_with_letters
from funclet.asyncq.lanes import MAX_PER_LANE, MAX_READY_BYTES, Lane, Rounds, Run
from funclet.asyncq.queue import STORE_RETRY_S, AsyncQueue
from funclet.asyncq.retry import Again, Done
from funclet.base.clock import Clock
from funclet.base.tasks import TaskOwner
from funclet.model.errors import ModelError
from funclet.model.invocation import Invoker, Submission
from funclet.model.project_state import suspended_of
from funclet.model.urn import LATEST
from funclet.store.protocol import Store, StoreUnavailable
from funclet.store.queue_protocol import QueuedRequest

log = logging.getLogger(__name__)

MAX_RUNNING = 64
"""Requests that run at once. A function of which nothing runs may still begin with one."""
MAX_LANES_RUNNING = 1024
MAX_UNSETTLED = 4096
"""Runs whose end is not written yet; with more nothing new begins."""
READ_AHEAD, FEW_AHEAD = 32, 2
MAX_READY = 4096
"""Rows that are read ahead for all functions together; beyond, only few for each."""
DISCARD_STEP = 2000
"""Requests of a deleted function that are ended in one transaction."""
COOPERATIVE_S = 5.0
_KEEP_RECORDS_S = 7 * 86_400
_KEEP_DEDUP_S = 3600
_CLEAN_PERIOD_S = 600.0


class Worker:
    """Takes due rows in turn and sees each to its end."""

    def __init__(self, store: Store, queue: AsyncQueue, attempts: Attempts, invoker: Invoker, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._attempts = attempts
        self._invoker = invoker
        self._clock = clock
        self._lanes: dict[str, Lane] = {}
        self._idle = Rounds()
        """Lanes of which nothing runs."""
        self._busy = Rounds()
        self._running: dict[str, Run] = {}
        self._unsettled = 0
        self._ready = 0
        self._refused_ids: set[int] = set()
        """Rows that were cancelled while they waited, as long as somebody may still find them."""
        self._cancelling: set[int] = set()
        """Those of which that is not written yet."""
        self._alarms: list[tuple[float, int, Lane]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = False
        self._loops = TaskOwner()
        self._runs = TaskOwner()
        self._purging: set[str] = set()
        self._suspended: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Begin with what a former server has left."""
        self._queue.on_stored = self._stored
        self._queue.on_accepted = self._log_accepted
        self._queue.on_noticed = self._noticed
        self._is_open = True
        self._suspended = await self._store.read(lambda tx: suspended_of(tx.identities.projects()))
        await self._queue.open()
        self._loops.start(self._clean(), name="forget asynchronous requests")

    async def close(self, *, deadline_s: float) -> None:
        """Begin nothing more; let what runs end for `deadline_s` seconds. What is cut off runs again after a start."""
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
        await self._loops.close()
        await self._runs.drain(deadline_s=deadline_s)
        await self._runs.close()
        await self._queue.close()

    def running_of(self, function_id: str) -> Sequence[str]:
        """Return the ids of requests of a function that run now."""
        lane = self._lanes.get(function_id)
        if lane is None or not lane.running:
            return ()
        return [request_id for request_id, run in self._running.items() if run.lane is lane and run.is_invoked]

    async def gauges(self) -> Mapping[str, LaneGauges]:
        """Return what waits and runs now, by function id.

        Raises:
            StoreUnavailable: the ages cannot be read.
        """
        lengths, now = self._queue.lengths, self._queue.steady.now()
        oldest = await self._store.read(lambda tx: {key: tx.queue.oldest_queued_at(key) for key in lengths})
        return {
            key: LaneGauges(
                length=max(0, length - self._in_flight(key)),
                oldest_s=max(0.0, now - (oldest[key] or now)),
                in_flight=self._in_flight(key),
            )
            for key, length in lengths.items()
        }

    async def cancel(self, function_id: str, request_id: str, *, force: bool) -> bool:
        """End a request that waits or runs; False if there is none. It is not tried again.

        With `force` the instance is ended at once, and every other request that has begun in it ends with it.
        Otherwise it has a few seconds. This returns when the request has ended, or after those seconds.
        """
        run = self._running.get(request_id)
        if run is not None and run.lane.function_id == function_id:
            await self._cancel_run(run, force=force)
            return True
        return await self._cancel_waiting(function_id, request_id, force=force)

    async def heed(self, project_id: str, package: str, name: str) -> None:
        """Look at a function again that has changed: it is enabled, has another maximum, or is gone."""
        for function_id in self._queue.functions_named(project_id, f"{package}:{name}"):
            with contextlib.suppress(StoreUnavailable):  # whatever runs next finds out
                found = await self._store.read(lambda tx: tx.functions.get(project_id, package, name, LATEST))
                if found is None or found.function_id != function_id:
                    self.discard_all(function_id, project_id, f"The function '{name}' was deleted.")
            lane = self._lanes.get(function_id)
            if lane is not None:
                lane.paused_until = 0.0
                lane.limit = lane.window = MAX_PER_LANE
                self._offer(lane)
                self._pump()

    def suspend(self, project_ids: frozenset[str]) -> None:
        """Begin no requests of these projects any more, and those of projects that were among them again."""
        self._suspended = project_ids
        for lane in tuple(self._lanes.values()):
            self._offer(lane)
        self._pump()

    def discard_all(self, function_id: str, project_id: str, message: str) -> None:
        """End all waiting requests of a function that is gone, step by step."""
        if function_id not in self._purging and self._is_open:
            self._purging.add(function_id)
            self._loops.start(self._discard_all(function_id, project_id, message), name="discard requests")

    async def run_one(self, run: Run) -> None:
        """See one attempt through: resolve, invoke, decide, settle."""
        lane, request = run.lane, run.request
        started_at = request.started_at
        try:
            target, result = await self._attempt(run)
            if result.has_run and started_at is None:
                started_at = self._clock.now()
        except asyncio.CancelledError:
            if not run.is_cancelled:
                raise
            target, result = run.target, Result(decision=retry.cancelled(has_run=True), has_run=run.is_invoked)
        else:
            if run.is_cancelled and not isinstance(result.decision, Done):
                # However it came to its end: it is not tried again.
                result = Result(decision=retry.cancelled(has_run=True), has_run=run.is_invoked)
        finally:
            self._running.pop(request.submission.request_id, None)
            lane.running -= 1
        if result.is_refused:
            lane.refused(self._queue.steady.now())
            self._alarm(lane, lane.paused_until)
        elif result.has_run:
            lane.accepted()
        config = target.config if target else None
        settlement = self._attempts.settlement(request, result, config, started_at=started_at)
        if isinstance(result.decision, Again):
            counters = self._queue.counters.of(lane.function_id, request.submission.urn)
            counters.retries[result.decision.cause.value] += 1
        self._unsettled += 1
        self._offer(lane)
        self._pump()
        try:
            await self._queue.settle(settlement)
        finally:
            self._unsettled -= 1
            self._settled(lane, request, settlement.due_at if settlement.status == "WAIT" else None)

    async def _attempt(self, run: Run) -> tuple[Target | None, Result]:
        request = run.request
        try:
            target = run.target = await self._target(request)
        except FunctionGone as error:
            submission = request.submission
            self.discard_all(submission.function_id, submission.project_id, error.message)
            return None, Result(decision=retry.gone(error.message), has_run=False)
        except ModelError as error:
            return None, Result(decision=retry.gone(error.message), has_run=False)
        drop = self._attempts.verdict(request, target)
        if drop is not None:
            return target, Result(decision=drop, has_run=False)
        settings = target.version.settings
        maximum = settings.max_instances * settings.concurrent_num
        run.lane.limit = min(maximum, MAX_PER_LANE) if maximum > 0 else MAX_PER_LANE
        run.is_invoked = True
        lines = status_lines(
            request, "RUNNING", target.config, at=self._clock.now(), tries=request.attempts + request.refusals
        )
        if lines:
            self._log_status(request, lines)
        return target, await self._attempts.run(request, target)

    async def _target(self, request: QueuedRequest) -> Target:
        while True:
            try:
                return await self._attempts.target(request)
            except StoreUnavailable:
                await self._clock.sleep(STORE_RETRY_S)

    def _log_status(self, request: QueuedRequest, lines: Sequence[str]) -> None:
        """Write lines of the status log; best effort, beside the run."""
        submission, now = request.submission, self._clock.now()

        async def write() -> None:
            try:
                await self._store.write(
                    lambda tx: tx.queue.add_status_lines(submission.project_id, submission.request_id, lines, at=now)
                )
            except StoreUnavailable:
                log.warning("status lines are lost: request_id=%s", submission.request_id)

        self._loops.start(write(), name="status log")

    def _log_accepted(self, submission: Submission) -> None:
        """Write that a request waits, if its version has a status log."""
        if self._attempts.may_log(submission.function_id):
            self._loops.start(self._log_waiting(submission), name="status log")

    async def _log_waiting(self, submission: Submission) -> None:
        request = QueuedRequest(submission_id=0, submission=submission, queued_at=submission.accepted_at)
        target = await self._target_if_any(request)
        if target is not None:
            lines = status_lines(request, "WAIT", target.config, at=submission.accepted_at, tries=0)
            if lines:
                self._log_status(request, lines)

    def _stored(self, request: QueuedRequest) -> None:
        """Take a row that was stored just now, without reading it again if there is room for it."""
        submission = request.submission
        lane = self._lane(submission.function_id, submission.project_id)
        if lane.has_more or lane.is_fetching or lane.project_id in self._suspended:
            # Rows before it are not read yet; whoever reads them finds this one as well.
            lane.has_more = lane.missed = True
            return
        if len(lane.ready) < READ_AHEAD and lane.ready_bytes < MAX_READY_BYTES and self._ready < MAX_READY:
            lane.put(request)
            self._ready += 1
        else:
            lane.has_more = True
        self._offer(lane)
        self._pump()

    def _noticed(self, function_id: str, project_id: str) -> None:
        """Learn that the database has rows of a function that nobody here has seen."""
        lane = self._lane(function_id, project_id)
        lane.has_more = lane.missed = True
        self._offer(lane)
        self._pump()

    def _lane(self, function_id: str, project_id: str) -> Lane:
        lane = self._lanes.get(function_id)
        if lane is None:
            lane = self._lanes[function_id] = Lane(function_id, project_id)
        return lane

    def _offer(self, lane: Lane) -> None:
        """Put a lane where it belongs: among those that may run something, read ahead, or forgotten."""
        self._busy.discard(lane)
        self._idle.discard(lane)
        if not self._is_open or lane.project_id in self._suspended:
            return
        wanted = READ_AHEAD // 2 if self._ready < MAX_READY else 1
        if lane.may_fetch(wanted) and (lane.ready or self._queue.steady.now() >= lane.paused_until):
            lane.is_fetching = True
            self._loops.start(self._fetch(lane), name="read the queue")
        if lane.may_run(self._queue.steady.now()):
            (self._busy if lane.running else self._idle).add(lane)
        elif lane.is_over() and not lane.running:
            self._lanes.pop(lane.function_id, None)

    def _pump(self) -> None:
        """Begin with as much as may run."""
        while self._is_open and self._unsettled < MAX_UNSETTLED:
            lane = None
            if len(self._running) < MAX_RUNNING + MAX_LANES_RUNNING:
                lane = self._idle.take()
            if lane is None and len(self._running) < MAX_RUNNING:
                lane = self._busy.take()
            if lane is None:
                return
            self._begin(lane)
            self._offer(lane)

    def _begin(self, lane: Lane) -> None:
        request = lane.take()
        self._ready -= 1
        if request.submission_id in self._refused_ids:
            lane.running -= 1
            if request.submission_id not in self._cancelling:
                self._let_go(lane, request.submission_id)
            return
        run = Run(request, lane)
        self._running[request.submission.request_id] = run
        run.task = self._runs.start(self.run_one(run), name=f"run {request.submission.request_id}")

    def _settled(self, lane: Lane, request: QueuedRequest, due_at: float | None) -> None:
        if request.submission_id not in self._refused_ids:
            lane.held.discard(request.submission_id)
        if due_at is not None:
            lane.next_due = min(lane.next_due, due_at)
            self._alarm(lane, due_at)
        self._offer(lane)
        self._pump()

    async def _fetch(self, lane: Lane) -> None:
        """Read rows of a lane ahead, and when it must be looked at again."""
        limit = READ_AHEAD if self._ready < MAX_READY else FEW_AHEAD
        lane.missed = False
        now, held = self._queue.steady.now(), frozenset(lane.held)
        try:
            found, later = await self._store.read(
                lambda tx: (
                    tx.queue.due(lane.function_id, now=now, limit=limit, max_bytes=MAX_READY_BYTES, held=held),
                    tx.queue.next_due(lane.function_id, after=now),
                )
            )
        except StoreUnavailable:
            await self._clock.sleep(STORE_RETRY_S)
            found, later, lane.missed = (), None, True
        # Bytes or the limit may have cut it short: only nothing at all means that there is nothing.
        lane.has_more = bool(found) or lane.missed
        lane.next_due = math.inf if later is None else later
        if later is not None:
            self._alarm(lane, later)
        for request in found:
            if request.submission_id not in lane.held:
                lane.put(request)
                self._ready += 1
        lane.is_fetching = False
        self._offer(lane)
        self._pump()

    def _alarm(self, lane: Lane, at: float) -> None:
        """Look at a lane again at a time on the clock of the queue."""
        heapq.heappush(self._alarms, (at, next(self._numbers), lane))
        if self._alarms[0][0] == at:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alarms and self._is_open:
            delay_s = max(0.0, self._alarms[0][0] - self._queue.steady.now())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._queue.steady.now()
        lanes: dict[Lane, None] = {}
        while self._alarms and self._alarms[0][0] <= now:
            lanes[heapq.heappop(self._alarms)[2]] = None
        for lane in lanes:
            if lane.next_due <= now:
                lane.has_more, lane.next_due = True, math.inf
            self._lanes.setdefault(lane.function_id, lane)
            self._offer(lane)
        self._set_timer()
        self._pump()

    async def _cancel_run(self, run: Run, *, force: bool) -> None:
        run.is_cancelled = True
        task = run.task
        assert task is not None
        request_id, function_id = run.request.submission.request_id, run.lane.function_id
        is_found = run.is_invoked and await self._invoker.cancel(function_id, request_id, force=force)
        if not is_found:
            # It has no instance yet.
            task.cancel()
        await asyncio.wait((task,), timeout=COOPERATIVE_S + 1)

    async def _cancel_waiting(self, function_id: str, request_id: str, *, force: bool) -> bool:
        request = await self._store.read(lambda tx: tx.queue.find_waiting(function_id, request_id))
        if request is None:
            return False
        run = self._running.get(request_id)
        if run is not None:
            # It began while the database was asked.
            await self._cancel_run(run, force=force)
            return True
        lane, number = self._lane(function_id, request.submission.project_id), request.submission_id
        # Held: whoever reads the database now leaves it out.
        for numbers in (self._refused_ids, self._cancelling, lane.held):
            numbers.add(number)
        target = await self._target_if_any(request)
        result = Result(decision=retry.cancelled(has_run=False), has_run=False)
        settlement = self._attempts.settlement(
            request, result, target.config if target else None, started_at=request.started_at
        )
        try:
            await self._queue.settle(settlement)
        finally:
            self._cancelling.discard(number)
            if not any(one.submission_id == number for one in lane.ready):
                self._let_go(lane, number)
            self._offer(lane)
        return True

    def _let_go(self, lane: Lane, number: int) -> None:
        self._refused_ids.discard(number)
        lane.held.discard(number)

    async def _target_if_any(self, request: QueuedRequest) -> Target | None:
        try:
            return await self._target(request)
        except (FunctionGone, ModelError):
            return None

    async def _discard_all(self, function_id: str, project_id: str, message: str) -> None:
        held = self._running_rows(function_id)
        try:
            with contextlib.suppress(StoreUnavailable):  # then they end without
                await end_with_letters(self._store, self._queue, self._attempts, function_id, message, held)
            while True:
                step = partial(self._discard_step, function_id, message)
                count, size = await self._repeated(step)
                if not count:
                    return
                self._queue.discarded(function_id, project_id, count=count, payload_bytes=size)
                await self._clock.sleep(0)
        finally:
            self._purging.discard(function_id)

    async def _discard_step(self, function_id: str, message: str) -> tuple[int, int]:
        now, held, code = self._clock.now(), self._running_rows(function_id), retry.CODE_GONE
        return await self._store.write(
            lambda tx: tx.queue.discard(
                function_id, limit=DISCARD_STEP, held=held, at=now, error_code=code, error_message=message
            )
        )

    def _running_rows(self, function_id: str) -> frozenset[int]:
        """Return the rows of a function that come to an end of their own."""
        runs = [run for run in self._running.values() if run.lane.function_id == function_id]
        return frozenset(run.request.submission_id for run in runs)

    async def _repeated(self, step: Callable[[], Awaitable[tuple[int, int]]]) -> tuple[int, int]:
        while True:
            try:
                return await step()
            except StoreUnavailable:
                await self._clock.sleep(STORE_RETRY_S)

    async def _clean(self) -> None:
        """Forget what is old, from time to time."""
        while True:
            try:
                # Repeated, because one call deletes some thousands at most: other writes come in between.
                while await self._forget():
                    pass
            except StoreUnavailable:
                log.warning("old asynchronous requests are not forgotten: the database cannot be written")
            await self._clock.sleep(_CLEAN_PERIOD_S)

    async def _forget(self) -> int:
        ended_before = self._clock.now() - _KEEP_RECORDS_S
        queued_before = self._queue.steady.now() - _KEEP_DEDUP_S
        return await self._store.write(
            lambda tx: tx.queue.forget(ended_before=ended_before, queued_before=queued_before)
        )

    def _in_flight(self, function_id: str) -> int:
        lane = self._lanes.get(function_id)
        return lane.running if lane is not None else 0
