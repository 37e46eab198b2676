"""Use cases of statistics: what was recorded, as series of slots, ranks and months. Start with `StatisticsService`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from funclet.base.clock import Clock
from funclet.model import urn as urns
from funclet.model.billing import gb_s
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.model.usage import DAY_S, LEVELS, MINUTE_S, MONTH, Tally, slot_width_s
from funclet.services.functions import require_version
from funclet.store.protocol import FunctionUsage, LogStore, Slots, Store, Tx
from funclet.store.usage import UsageBook, month_of

MAX_PERIOD_MIN = max(LEVELS.values()) // MINUTE_S
"""The longest window that can be asked for, in minutes: older data is not kept."""
# Width of the slots that are shown -> length of the stored ones that they are made of.
_STORED = {MINUTE_S: MINUTE_S, 30 * MINUTE_S: 5 * MINUTE_S, 180 * MINUTE_S: 60 * MINUTE_S}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One point of all series."""

    begins_at: int
    """Seconds since the epoch."""
    tally: Tally | None
    """None: nothing is known of this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a project has used in a calendar month of UTC."""

    name: str
    """Such as `2026-03`."""
    count: int
    gb_s: float
    """Of everything."""
    idle_gb_s: float
    """Of reserved instances in idle mode while they had no request."""


class StatisticsService:
    """Reads what the usage book has written."""

    def __init__(self, store: Store, logs: LogStore, book: UsageBook, clock: Clock, *, region: str) -> None:
        self._store = store
        self._logs = logs
        self._book = book
        self._clock = clock
        self._region = region

    async def of_function(self, principal: Principal, urn: str, period_min: int) -> Sequence[Slot]:
        """Return the last minutes of a function by slot, oldest first; none is left out.

        A urn without qualifier stands for all versions, an alias for its main version.

        Raises:
            ModelError: FSS.0400 if the period is out of range; FSS.1309, FSS.1051, FSS.1052 or FSS.1053 for the urn.
        """
        parsed = urns.parse(urn, region=self._region, project_id=principal.project.project_id)

        def read(tx: Tx, span_s: int, since: int, until: int) -> Slots:
            version = require_version(tx, parsed)
            named = version.version if parsed.qualifier else ""
            return tx.usage.of_function(version.function_id, named, span_s=span_s, since=since, until=until)

        return await self._slots(period_min, read)

    async def of_project(self, principal: Principal, period_min: int) -> Sequence[Slot]:
        """Return the last minutes of the project by slot, oldest first; none is left out.

        Raises:
            ModelError: FSS.0400 if the period is out of range.
        """
        project_id = principal.project.project_id

        def read(tx: Tx, span_s: int, since: int, until: int) -> Slots:
            return tx.usage.of_function(project_id, "", span_s=span_s, since=since, until=until)

        return await self._slots(period_min, read)

    async def by_function(
        self, principal: Principal, *, since: float | None, until: float | None
    ) -> Sequence[FunctionUsage]:
        """Return what each function of the project has used between two times, in seconds since the epoch.

        Without times: in the last day.

        Raises:
            ModelError: FSS.0400 if the times are in the wrong order.
        """
        end = self._clock.now() if until is None else until
        begin = end - DAY_S if since is None else since
        if begin >= end:
            raise ModelError("FSS.0400", "start_time must be earlier than end_time.")
        span_s = _STORED[slot_width_s(int(end - begin))]
        project_id, first = principal.project.project_id, int(begin // span_s) * span_s
        await self._settle()
        return await self._store.read(
            lambda tx: tx.usage.by_function(project_id, span_s=span_s, since=first, until=int(end) + 1)
        )

    async def months(self, principal: Principal, count: int) -> Sequence[Month]:
        """Return the last months of the project, oldest first, the present one last."""
        begins = [month_of(self._clock.now())]
        while len(begins) < count:
            begins.append(month_of(begins[-1] - 1))
        project_id = principal.project.project_id
        await self._settle()
        found = await self._store.read(
            lambda tx: tx.usage.of_function(project_id, "", span_s=MONTH, since=begins[-1], until=begins[0] + 1)
        )
        tallies = dict(found)
        return [_month(begins_at, tallies.get(begins_at, Tally())) for begins_at in reversed(begins)]

    def urn_of(self, principal: Principal, package: str, name: str) -> urns.Urn:
        """Return the urn of a function of the project."""
        return urns.Urn(region=self._region, project_id=principal.project.project_id, package=package, name=name)

    async def _settle(self) -> None:
        """Have all that was gathered so far written."""
        await self._logs.flush()
        await self._book.flush()

    async def _slots(self, period_min: int, read: Callable[[Tx, int, int, int], Slots]) -> Sequence[Slot]:
        if not 1 <= period_min <= MAX_PERIOD_MIN:
            raise ModelError("FSS.0400", f"period {period_min} is out of range: 1 to {MAX_PERIOD_MIN} minutes.")
        window_s = period_min * MINUTE_S
        width_s = slot_width_s(window_s)
        last = int(self._clock.now() // width_s) * width_s
        begins = range(last - (-(-window_s // width_s) - 1) * width_s, last + width_s, width_s)
        await self._settle()
        found = await self._store.read(lambda tx: read(tx, _STORED[width_s], begins.start, begins.stop))
        wider: dict[int, Tally] = {}
        for begins_at, tally in found:
            wider.setdefault(begins_at // width_s * width_s, Tally()).merge(tally)
        return [Slot(begins_at=begins_at, tally=wider.get(begins_at)) for begins_at in begins]


def _month(begins_at: int, tally: Tally) -> Month:
    return Month(
        name=datetime.fromtimestamp(begins_at, UTC).strftime("%Y-%m"),
        count=tally.count,
        gb_s=gb_s(tally.mb_ms + tally.reserved_mb_ms + tally.idle_mb_ms),
        idle_gb_s=gb_s(tally.idle_mb_ms),
    )
