"""What the data plane tells once a second of its versions: refusals, requests at once, instances. Start with `take`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from funclet.dataplane.instance import Instance
from funclet.dataplane.pool import Pool
from funclet.metrics import PLATFORM_FAILED, FunctionCounters
from funclet.model.billing import billed_reserved_s
from funclet.model.function import FunctionVersion
from funclet.model.usage import MINUTE_S, Sample

_MS = 1000


@dataclass(slots=True)
class _Meter:
    """What was billed of a reserved instance."""

    since: float
    """Monotonic time from which it is reserved."""
    ran_ms: float
    """What its requests had taken when it was looked at last."""
    billed_s: int = 0


@dataclass(slots=True, kw_only=True)
class _Standing:
    """One version at a moment."""

    project_id: str
    in_flight: int = 0
    instances: int = 0
    reserved: int = 0
    rejects: int = 0
    system_errors: int = 0
    reserved_mb_ms: int = 0
    idle_mb_ms: int = 0

    @property
    def gauges(self) -> tuple[int, int, int]:
        return self.in_flight, self.instances, self.reserved

    @property
    def has_counted(self) -> bool:
        return bool(self.rejects or self.system_errors or self.reserved_mb_ms or self.idle_mb_ms)


_Name = tuple[str, str]
"""Function id and version."""


@dataclass(slots=True)
class Sampler:
    """Remembers what it has told, so that each thing is counted once."""

    _counted: dict[FunctionCounters, tuple[int, int]] = field(default_factory=dict)
    _meters: dict[Instance, _Meter] = field(default_factory=dict)
    _told: dict[_Name, tuple[int, tuple[int, int, int]]] = field(default_factory=dict)
    """The last minute of which something was said, and the most of each that was said of it."""

    def take(
        self,
        pools: Iterable[tuple[FunctionVersion, Pool]],
        counters: Iterable[FunctionCounters],
        *,
        now: float,
        monotonic: float,
    ) -> Sequence[Sample]:
        """Return what is new since the last call, and what of this minute was never so high before.

        Args:
            pools: all that there are, with the version of each.
            counters: of all versions.
            now: seconds since the epoch.
            monotonic: the other clock.
        """
        found: dict[_Name, _Standing] = {}
        self._look_at_pools(found, pools, monotonic)
        self._look_at_counters(found, counters)
        minute = int(now // MINUTE_S)
        self._told = {name: told for name, told in self._told.items() if told[0] == minute}
        samples = []
        for name, one in found.items():
            _, told = self._told.get(name, (minute, (0, 0, 0)))
            most = tuple(map(max, told, one.gauges))
            if one.has_counted or most != told:
                self._told[name] = minute, (most[0], most[1], most[2])
                samples.append(_sample(name, one, now))
        return samples

    def _look_at_pools(
        self, found: dict[_Name, _Standing], pools: Iterable[tuple[FunctionVersion, Pool]], monotonic: float
    ) -> None:
        meters: dict[Instance, _Meter] = {}
        for version, pool in pools:
            one = found.setdefault((version.function_id, version.version), _Standing(project_id=version.project_id))
            reserved = pool.reserved_instances
            one.in_flight += pool.take_most_in_flight()
            one.reserved += len(reserved)
            one.instances += pool.alive - len(reserved)
            for instance in reserved:
                meter = self._meters.get(instance) or _Meter(monotonic, instance.ran_ms)
                meters[instance] = meter
                _meter(one, instance, meter, monotonic, is_idle_mode=pool.is_idle_mode)
        self._meters = meters

    def _look_at_counters(self, found: dict[_Name, _Standing], counters: Iterable[FunctionCounters]) -> None:
        counted: dict[FunctionCounters, tuple[int, int]] = {}
        for each in counters:
            counted[each] = throttles, failures = each.throttles, each.results.get(PLATFORM_FAILED, 0)
            before = self._counted.get(each, (0, 0))
            if each.function_id and counted[each] != before:
                name = (each.function_id, each.key[-1])
                one = found.setdefault(name, _Standing(project_id=each.key[0]))
                one.rejects += throttles - before[0]
                one.system_errors += failures - before[1]
        self._counted = counted


def _meter(one: _Standing, instance: Instance, meter: _Meter, now: float, *, is_idle_mode: bool) -> None:
    """Count what the life of a reserved instance has cost since it was looked at last."""
    billed_s = billed_reserved_s(now - meter.since)
    alive = (billed_s - meter.billed_s) * _MS * instance.memory_mib
    active = int((instance.ran_ms - meter.ran_ms) * instance.memory_mib) if is_idle_mode else alive
    one.reserved_mb_ms += active
    one.idle_mb_ms += alive - active
    meter.billed_s, meter.ran_ms = billed_s, instance.ran_ms


def _sample(name: _Name, one: _Standing, now: float) -> Sample:
    return Sample(
        project_id=one.project_id,
        function_id=name[0],
        version=name[1],
        at=now,
        rejects=one.rejects,
        system_errors=one.system_errors,
        in_flight=one.in_flight,
        instances=one.instances,
        reserved=one.reserved,
        reserved_mb_ms=one.reserved_mb_ms,
        idle_mb_ms=one.idle_mb_ms,
    )
