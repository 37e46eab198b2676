"""The book of what is used: gathers reports and samples in memory, and writes their sums once a second.

Whoever serves requests has no work with it: reports come from the thread that writes the log. What was gathered and
not yet written is lost in a crash, as the last log records are: a second's worth.
The sums of a project have rows of their own, so that they are read as quickly however many functions it has.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from funclet.base.clock import Clock
from funclet.model.billing import billed_ms
from funclet.model.invocation import Report
from funclet.model.usage import LEVELS, MINUTE_S, MONTH, MONTHS_KEPT_S, Sample, Tally, tally_of
from funclet.store.protocol import Store, StoreUnavailable, Tx, UsageRow

log = logging.getLogger(__name__)

MAX_ROWS = 1_000_000
"""About 200 MB. Where there are more, the oldest minutes go before their time."""
MAX_GATHERED = 100_000
"""Sums that wait for a database that cannot be written; more are lost, and counted."""
FLUSH_S = 1.0
_PRUNE_EVERY_S = 60.0
_PRUNED_AT_ONCE = 500

_Slot = tuple[str, str, int]
"""Function id, version, and beginning of the minute."""
_Most = tuple[int, int, int]
"""Requests at once, instances, reserved instances."""


class UsageBook:
    """Gathers in memory (`observe` in any thread, `add`), and writes (`flush`)."""

    def __init__(self, store: Store, clock: Clock, *, max_rows: int = MAX_ROWS) -> None:
        self._store = store
        self._clock = clock
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._gathered: dict[_Slot, Tally] = {}
        self._peaks = _Peaks()
        self._prune_at = 0.0
        self.lost = 0
        """Sums that were lost."""

    def observe(self, reports: Iterable[Report]) -> None:
        """Count requests, each at its end."""
        with self._lock:
            for report in reports:
                ended_at = report.at + report.duration_ms / 1000 if report.has_run else report.at
                tally = self._slot(report.function_id, report.version, ended_at)
                if tally is not None:
                    _count(tally, report)

    def add(self, samples: Sequence[Sample]) -> None:
        """Count what a data plane tells."""
        with self._lock:
            for sample in samples:
                tally = self._slot(sample.function_id, sample.version, sample.at)
                if tally is not None:
                    tally.merge(tally_of(sample))

    async def flush(self) -> None:
        """Write what was gathered; when this returns, it survives a crash.

        Raises:
            StoreUnavailable: it could not be written and is kept for the next time.
        """
        with self._lock:
            gathered, self._gathered = self._gathered, {}
        if not gathered:
            return
        try:
            await self._store.write(lambda tx: tx.usage.add(self._rows(tx, gathered)))
        except BaseException:
            self._take_back(gathered)
            raise

    async def run(self) -> None:
        """Write once a second, and delete what is old, until cancelled."""
        while True:
            await self._clock.sleep(FLUSH_S)
            try:
                await self.flush()
                await self._prune()
            except StoreUnavailable as error:
                log.warning("usage cannot be written now: %s", error)

    async def close(self) -> None:
        """Write what was gathered, if that is possible."""
        try:
            await self.flush()
        except StoreUnavailable:
            log.exception("usage was lost")

    def _slot(self, function_id: str, version: str, at: float) -> Tally | None:
        slot = (function_id, version, int(at // MINUTE_S) * MINUTE_S)
        tally = self._gathered.get(slot)
        if tally is None:
            if len(self._gathered) >= MAX_GATHERED:
                self.lost += 1
                return None
            tally = self._gathered[slot] = Tally()
        return tally

    def _rows(self, tx: Tx, gathered: dict[_Slot, Tally]) -> Sequence[UsageRow]:
        """Return the rows of all lengths of slots: what is read later is then there already, also after a crash."""
        projects = tx.usage.projects(sorted({function_id for function_id, _, _ in gathered}))
        rows: dict[tuple[str, str, str, int, int], Tally] = {}
        wholes: dict[tuple[str, int], Tally] = {}
        for (function_id, version, minute), tally in gathered.items():
            project_id = projects.get(function_id, "")
            for span_s, begins_at in _slots_of(minute):
                rows.setdefault((project_id, function_id, version, span_s, begins_at), Tally()).merge(tally)
                self._peaks.note(project_id, span_s, begins_at, (function_id, version), tally)
            if project_id:
                wholes.setdefault((project_id, minute), Tally()).merge(tally)
        for (project_id, minute), tally in wholes.items():
            for span_s, begins_at in _slots_of(minute):
                rows.setdefault((project_id, project_id, "", span_s, begins_at), Tally()).merge(tally)
        for (project_id, name, _, span_s, begins_at), tally in rows.items():
            if name == project_id:
                self._peaks.put_into(tally, project_id, span_s, begins_at)
        self._peaks.forget(before=self._clock.now())
        return [UsageRow(*slot, tally) for slot, tally in rows.items()]

    def _take_back(self, gathered: dict[_Slot, Tally]) -> None:
        with self._lock:
            for (function_id, version, begins_at), tally in gathered.items():
                present = self._slot(function_id, version, begins_at)
                if present is not None:
                    present.merge(tally)

    async def _prune(self) -> None:
        """Delete in small steps what is too old, and the oldest minutes while there are too many rows."""
        if self._clock.monotonic() < self._prune_at:
            return
        now, excess = int(self._clock.now()), await self._store.read(lambda tx: tx.usage.count()) - self._max_rows
        kept_s = {**LEVELS, MONTH: MONTHS_KEPT_S}

        def work(tx: Tx) -> int:
            deleted = [
                tx.usage.prune(span_s=span_s, before=now - age_s, limit=_PRUNED_AT_ONCE)
                for span_s, age_s in kept_s.items()
            ]
            for span_s in LEVELS:
                if excess > sum(deleted):
                    deleted.append(tx.usage.prune(span_s=span_s, before=now, limit=_PRUNED_AT_ONCE))
            return max(deleted)

        if await self._store.write(work) < _PRUNED_AT_ONCE:
            self._prune_at = self._clock.monotonic() + _PRUNE_EVERY_S


def month_of(at: float) -> int:
    """Return when the calendar month of a time began, in UTC."""
    moment = datetime.fromtimestamp(at, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())


def _count(tally: Tally, report: Report) -> None:
    tally.reports += 1
    tally.function_errors += report.code != 0
    tally.cold_starts += report.is_cold
    if not report.has_run:
        return
    duration_ms = report.duration_ms
    tally.least_ms = min(tally.least_ms, duration_ms) if tally.runs else duration_ms
    tally.runs += 1
    tally.duration_ms += duration_ms
    tally.most_ms = max(tally.most_ms, duration_ms)
    tally.memory_bytes += report.memory_peak_bytes
    tally.most_memory_bytes = max(tally.most_memory_bytes, report.memory_peak_bytes)
    if report.is_reserved:
        # Paid for by the life of the instance.
        return
    init_ms = billed_ms(report.init_ms) if report.init_ms else 0
    tally.init_ms += init_ms
    tally.mb_ms += report.memory_mib * (billed_ms(duration_ms) + init_ms)


def _slots_of(minute: int) -> Sequence[tuple[int, int]]:
    """Return the slots that a minute is part of: length, and when it begins."""
    return [*((span_s, minute // span_s * span_s) for span_s in LEVELS), (MONTH, month_of(minute))]


class _Peaks:
    """The most of everything in the present slots: for a project that is the sum of those of its versions.

    What a slot had before a restart is not known here; the database keeps the larger one.
    """

    def __init__(self) -> None:
        self._slots: dict[tuple[str, int, int], tuple[dict[tuple[str, str], _Most], list[int]]] = {}
        """By project, length and beginning: those of the versions, and their sums."""

    def note(self, project_id: str, span_s: int, begins_at: int, version: tuple[str, str], tally: Tally) -> None:
        """Take what a version had; the same again changes nothing."""
        if span_s == MONTH or not (tally.in_flight or tally.instances or tally.reserved):
            return
        versions, sums = self._slots.setdefault((project_id, span_s, begins_at), ({}, [0, 0, 0]))
        before = versions.get(version, (0, 0, 0))
        now = (
            max(before[0], tally.in_flight),
            max(before[1], tally.instances),
            max(before[2], tally.reserved),
        )
        versions[version] = now
        for place, (old, new) in enumerate(zip(before, now, strict=True)):
            sums[place] += new - old

    def put_into(self, tally: Tally, project_id: str, span_s: int, begins_at: int) -> None:
        """Set the sums in the tally of a project."""
        _, sums = self._slots.get((project_id, span_s, begins_at), ({}, [0, 0, 0]))
        tally.in_flight, tally.instances, tally.reserved = sums

    def forget(self, *, before: float) -> None:
        """Drop the slots that have ended a while ago."""
        for slot in [slot for slot in self._slots if slot[2] + slot[1] + 2 * MINUTE_S < before]:
            del self._slots[slot]
