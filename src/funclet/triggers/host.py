"""Fires timers. Start with `TimerHost.run`.

A firing is one transaction: the position of the trigger moves to the due time
and the submission is queued, so a crash or a restart neither loses nor doubles
one. While the host watches, everything that becomes due fires, however late the
loop is. Of the due times that passed while nobody watched, only the first fires,
and only if it is not older than the grace; the others are dropped and counted.
A timer that is new, enabled again or has a new schedule starts from that moment.
Timers of a suspended project are not watched.
"""

import asyncio
import heapq
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from funclet.base.clock import Clock
from funclet.model import schedule
from funclet.model.errors import ModelError
from funclet.model.invocation import Submission
from funclet.model.project_state import suspended_of
from funclet.model.schedule import Schedule
from funclet.model.trigger import Trigger, TriggerStatus
from funclet.store.protocol import Store, StoreUnavailable, Tx
from funclet.triggers import timer

# Hints tell of changes at once; this bounds what a lost one costs.
MAX_AGE_S = 60.0
# Bounds how late a step of the wall clock is noticed: sleeping follows the other clock.
MAX_SLEEP_S = 5.0
RETRY_S = 1.0
MAX_BATCH = 500
MAX_LAG_S = 10.0
"""A host whose looks are not further apart than this has watched without a break."""
DEFAULT_GRACE_S = 60.0
MAX_COUNTED = 10
"""Dropped due times of a cron expression that are counted in one go: each has to be looked for."""
ANNOUNCE_AHEAD_S = 60.0
"""How long before it is due a firing is announced: longer than most functions take to start."""
MAX_ANNOUNCED = 100
"""Firings that are announced in one go; others may be due meanwhile."""
_PENDING_SLEEP_S = 0.1

Announce = Callable[[Trigger, float], Awaitable[None]]
"""Is told a trigger that will fire, and in how many seconds; must not fail."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Timer:
    """An active timer and up to when it has fired."""

    trigger: Trigger
    schedule: Schedule
    position: float
    due: float | None
    """First due time after the position; None if there is none."""

    @property
    def is_sequential(self) -> bool:
        """Whether a firing waits for the end of the run before it: what falls due during a run does not fire."""
        return self.trigger.event_data.get("sync_execution") is True

    def advance(self, position: float) -> None:
        """Move on behind a due time."""
        self.position = position
        self.due = schedule.next_after(self.schedule, position)


@dataclass(frozen=True, slots=True)
class _Turn:
    """What becomes of a timer that is due."""

    timer: _Timer
    fires: float | None
    """The due time that fires; None: none does, all were missed too long ago."""
    position: float
    """The last due time that is over with this."""
    dropped: int
    """Due times that never fire."""
    is_busy: bool = False
    """Its last run has not ended, so nothing is done but wait for the next due time."""


@dataclass(slots=True)
class TimerCounts:
    """What the timers have done since the start."""

    fired: int = 0
    dropped: int = 0
    """Due times that passed while nobody watched; of a cron expression at most `MAX_COUNTED` in one go."""


class TimerHost:
    """Owns all active timers of the store. Two hosts on one store fire everything once, but each reads all."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        on_queued: Callable[[Sequence[Submission]], None],
        queue_time: Callable[[], float],
        default_zone: str,
        grace_s: float = DEFAULT_GRACE_S,
        event_version: str = timer.EVENT_VERSIONS[0],
        announce: Announce | None = None,
    ) -> None:
        """Wire the host.

        Args:
            store: triggers, their positions, and the queue.
            clock: wall clock for due times, the other one for sleeping.
            on_queued: called with submissions once they are queued.
            queue_time: tells the time on the clock of the queue.
            default_zone: IANA name of the zone of schedules that name none.
            grace_s: how late a firing may be that was missed, in seconds.
            event_version: what events say in `version`.
            announce: told of every firing ahead, most of them `ANNOUNCE_AHEAD_S` seconds, some more than once.
        """
        self._store = store
        self._clock = clock
        self._on_queued = on_queued
        self._queue_time = queue_time
        self._default_zone = default_zone
        self._grace_s = grace_s
        self._event_version = event_version
        self._announce = announce
        self.counts = TimerCounts()
        self._looked_at = -math.inf
        self._timers: dict[str, _Timer] = {}
        self._heap: list[tuple[float, str]] = []
        self._unannounced: list[tuple[float, str]] = []
        """A heap as the one of firings."""
        self._read_at = -math.inf
        self._woken = asyncio.Event()
        self._has_changed = True

    def changed(self) -> None:
        """Note that triggers have changed: read them again now."""
        self._has_changed = True
        self._woken.set()

    async def run(self) -> None:
        """Fire timers until cancelled. While the database is away, nothing fires; afterwards as after a pause."""
        while True:
            try:
                await self._refresh()
                await self.fire_due()
                await self.announce_due()
            except StoreUnavailable:
                log.warning("timers_wait_for_store", exc_info=True)
                self._has_changed = True
                await self._clock.sleep(RETRY_S)
            else:
                await self._sleep()

    async def fire_due(self) -> int:
        """Fire what is due; return how many.

        Raises:
            StoreUnavailable: some have not fired and stay due once the triggers are read again.
        """
        now = self._clock.now()
        count, dropped = 0, self.counts.dropped
        while batch := self._take_due(now):
            work = partial(self._write, turns=batch, now=now, queued_at=self._queue_time())
            turns, fired = await self._store.write(work)
            count += len(fired)
            for turn in turns:
                self._finish(turn, now)
            if fired:
                self.counts.fired += len(fired)
                self._on_queued(fired)
        self._looked_at = now
        if self.counts.dropped > dropped:
            # One line for all: after a pause there may be one for each timer.
            log.warning("timer_firings_dropped count=%d", self.counts.dropped - dropped)
        return count

    def metrics_text(self) -> bytes:
        """Return what has been counted, in the text format of Prometheus."""
        lines = (
            "# TYPE fgs_timer_firings_total counter",
            f"fgs_timer_firings_total {self.counts.fired}",
            "# TYPE fgs_timer_dropped_firings_total counter",
            f"fgs_timer_dropped_firings_total {self.counts.dropped}",
            "",
        )
        return "\n".join(lines).encode()

    async def announce_due(self) -> int:
        """Announce the firings of the next time, not too many in one go; return how many."""
        now, count = self._clock.now(), 0
        while self._announce is not None and count < MAX_ANNOUNCED and self._may_announce(now):
            due, trigger_id = heapq.heappop(self._unannounced)
            one = self._timers[trigger_id]
            if one.due == due:
                await self._announce(one.trigger, due - now)
                count += 1
        return count

    def _may_announce(self, now: float) -> bool:
        return bool(self._unannounced) and self._unannounced[0][0] <= now + ANNOUNCE_AHEAD_S

    async def _refresh(self) -> None:
        if not self._has_changed and self._clock.monotonic() - self._read_at < MAX_AGE_S:
            return
        # Before the read, so that a change during it is seen by the next one.
        self._has_changed = False
        self._woken.clear()
        self._read_at = self._clock.monotonic()
        rows = await self._store.read(_read_timers)
        known, self._timers, self._heap, self._unannounced = self._timers, {}, [], []
        for trigger, stored in rows:
            position = trigger.created_at if stored is None else stored
            one = known.get(trigger.trigger_id)
            if one is None or one.trigger != trigger or one.position != position:
                one = self._prepare(trigger, position)
            if one is not None:
                self._timers[trigger.trigger_id] = one
                self._push(one)

    def _prepare(self, trigger: Trigger, position: float) -> _Timer | None:
        try:
            timetable = timer.parse_schedule(trigger.event_data, default_zone=self._default_zone)
        except ModelError as error:
            # It was accepted once: the zone files of the machine have changed.
            log.warning("timer_left_out trigger_id=%s reason=%s", trigger.trigger_id, error.message)
            return None
        return _Timer(trigger, timetable, position, schedule.next_after(timetable, position))

    def _push(self, one: _Timer) -> None:
        if one.due is not None:
            heapq.heappush(self._heap, (one.due, one.trigger.trigger_id))
            if self._announce is not None:
                heapq.heappush(self._unannounced, (one.due, one.trigger.trigger_id))

    def _take_due(self, now: float) -> list[_Turn]:
        batch: list[_Turn] = []
        while self._heap and self._heap[0][0] <= now and len(batch) < MAX_BATCH:
            due, trigger_id = heapq.heappop(self._heap)
            batch.append(self._turn(self._timers[trigger_id], due, now))
        return batch

    def _turn(self, one: _Timer, due: float, now: float) -> _Turn:
        """Decide what becomes of a timer whose first due time has come."""
        has_watched = 0 <= now - self._looked_at <= MAX_LAG_S
        if has_watched and due > self._looked_at:
            return _Turn(one, fires=due, position=due, dropped=0)
        # From behind the first due time, which keeps the phase of an interval.
        latest = schedule.latest_between(one.schedule, due, now)
        fires = due if now - due <= self._grace_s else None
        dropped = schedule.count_between(one.schedule, due, now, most=MAX_COUNTED) + (fires is None)
        return _Turn(one, fires=fires, position=due if latest is None else latest, dropped=dropped)

    def _write(
        self, tx: Tx, turns: Sequence[_Turn], now: float, queued_at: float
    ) -> tuple[Sequence[_Turn], Sequence[Submission]]:
        """Queue what fires and move the positions; return the turns as they are now, and what was queued."""
        done, fired = [], []
        for turn in turns:
            one = turn.timer
            trigger_id = one.trigger.trigger_id
            if one.is_sequential and tx.triggers.is_running(timer.request_id(one.trigger, one.position)):
                done.append(replace(turn, is_busy=True))
                continue
            done.append(turn)
            if turn.fires is not None:
                submission = timer.build_submission(
                    one.trigger, one.schedule, turn.fires, now=now, version=self._event_version
                )
                if not tx.triggers.fire(trigger_id, turn.fires, submission, queued_at=queued_at):
                    continue
                fired.append(submission)
            if turn.position != turn.fires:
                tx.triggers.skip(trigger_id, turn.position)
        return done, fired

    def _finish(self, turn: _Turn, now: float) -> None:
        one = turn.timer
        if turn.is_busy:
            one.due = schedule.next_after(one.schedule, now, anchor=one.due)
        else:
            one.advance(turn.position)
            self.counts.dropped += turn.dropped
        self._push(one)

    async def _sleep(self) -> None:
        delay_s = min(MAX_SLEEP_S, self._heap[0][0] - self._clock.now() if self._heap else MAX_SLEEP_S)
        if delay_s <= 0:
            return
        if self._may_announce(self._clock.now()):
            delay_s = min(delay_s, _PENDING_SLEEP_S)
        waits = [asyncio.ensure_future(self._clock.sleep(delay_s)), asyncio.ensure_future(self._woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


def _read_timers(tx: Tx) -> Sequence[tuple[Trigger, float | None]]:
    suspended = suspended_of(tx.identities.projects())
    return [
        (trigger, tx.triggers.position(trigger.trigger_id))
        for trigger in tx.triggers.of_type(timer.CODE)
        if trigger.status is TriggerStatus.ACTIVE and trigger.project_id not in suspended
    ]
