"""How many instances of a function are kept ready: what its owner may ask for, and what follows at a given time.

A policy has a fixed count, schedules and policies by load. `scheduled` says what fixed count and schedules want at
a moment, `follow` what the load wants; the greater one holds. Pure: times come from the caller.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from funclet.model import schedule
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion

MAX_COUNT = 1000
MAX_PER_PROJECT = 90
"""Instances that a project may have reserved together (platform.md 11.2)."""
MAX_POLICIES = 20
"""Schedules, and policies by load, that one policy may have of each."""
MAX_POLICY_NAME_LENGTH = 60
MAX_THRESHOLD = 99
BY_CONCURRENCY = "Concurrency"
MAX_TIME_S = 253_402_300_799
"""The end of the year 9999: what can be shown."""
LOOK_S = 10.0
"""How often the load is looked at (platform.md 3.5.3)."""
COOL_DOWN_S = 300.0
"""How long the load must have been lower before instances are let go."""
# A schedule that has not fired for longer never will: `schedule.next_after` looks no further ahead either.
_LONGEST_PAUSE_S = schedule.MAX_YEARS_AHEAD * 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPolicy:
    """Sets the count each time its schedule fires, until another one fires or it expires."""

    name: str
    cron: str
    count: int
    starts_at: float
    """Seconds since the epoch; firings before are none."""
    expires_at: float | None = None
    """After this it does not hold any more; None for no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPolicy:
    """Keeps as many instances as the load needs for a share of them to be at work."""

    name: str
    threshold: int
    """Percent of the instances that may be at work."""
    minimum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedPolicy:
    """What is kept ready of one version, or of the main version of an alias."""

    project_id: str
    package: str
    function_name: str
    function_id: str
    qualifier: str
    """A version, or an alias with `!` before it."""
    count: int
    is_idle_mode: bool = False
    """Whether instances get no CPU while they have no request."""
    crons: tuple[CronPolicy, ...] = ()
    metrics: tuple[MetricPolicy, ...] = ()
    modified_at: float = 0.0

    @property
    def alias(self) -> str:
        """The alias; empty for a version."""
        return self.qualifier[1:] if self.qualifier.startswith("!") else ""

    @property
    def most(self) -> int:
        """The greatest count that is certain to be wanted at some time."""
        return max(self.count, *(cron.count for cron in self.crons), *(one.minimum for one in self.metrics), 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ever kept because of it, so that there need be none."""
        return not (self.count or self.crons or self.metrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What is to be kept ready now."""

    version: FunctionVersion
    count: int
    is_idle_mode: bool = False


class Keeper(Protocol):
    """Keeps instances ready: the data plane, as far as this process owns the functions."""

    def reserve(self, wanted: Sequence[Reservation]) -> None:
        """Keep these ready from now on, and no others; what dies is replaced.

        Where there is no memory or no place for another instance, there are fewer until there is.
        """
        ...

    def in_flight(self, function_id: str, version: str) -> int:
        """Return how many requests of a version have an instance now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceInfo:
    """One instance, as whoever looks after functions sees it."""

    instance_id: str
    version: str
    state: str
    """`idle` or `busy`."""
    is_reserved: bool
    memory_mib: int
    started_at: float
    """Seconds since the epoch."""
    served: int
    """Requests that it was given."""


class Instances(Protocol):
    """The instances of all functions, wherever they are."""

    async def instances(self, function_id: str) -> Sequence[InstanceInfo]:
        """Return those of a function that are ready or at work, oldest first; none of a process that is away."""
        ...

    async def end_instance(self, function_id: str, instance_id: str) -> bool:
        """End a reserved instance, after its request if it has one; False if there is no such instance.

        Where so many are still to be kept ready, another takes its place.
        """
        ...


def check_policy(policy: ReservedPolicy) -> None:
    """Refuse a policy with members that cannot be.

    Raises:
        ModelError: FSS.0400.
    """
    _check_count("count", policy.count, 0)
    for name, found in (("cron_configs", policy.crons), ("metric_configs", policy.metrics)):
        if len(found) > MAX_POLICIES:
            raise ModelError("FSS.0400", f"tactics_config.{name} has more than {MAX_POLICIES} entries.")
        names = [one.name for one in found]
        for one in names:
            if not 1 <= len(one) <= MAX_POLICY_NAME_LENGTH:
                raise ModelError("FSS.0400", f"{name}.name has 1 to {MAX_POLICY_NAME_LENGTH} characters.")
            if names.count(one) > 1:
                raise ModelError("FSS.0400", f"{name} has two entries with the name '{one}'.")
    for cron in policy.crons:
        _check_cron(cron, policy.count)
    for metric in policy.metrics:
        if not 1 <= metric.threshold <= MAX_THRESHOLD:
            raise ModelError(
                "FSS.0400", f"metric_configs.threshold {metric.threshold} is not 1 to {MAX_THRESHOLD} (%)."
            )
        _check_count("metric_configs.min", metric.minimum, policy.count)


def _check_cron(cron: CronPolicy, base: int) -> None:
    _check_count("cron_configs.count", cron.count, base)
    for name, at in (("start_time", cron.starts_at), ("expired_time", cron.expires_at)):
        if at is not None and not 0 <= at <= MAX_TIME_S:
            raise ModelError("FSS.0400", f"cron_configs.{name} {at:.0f} is no time in seconds since 1970.")
    if cron.expires_at is not None and cron.expires_at <= cron.starts_at:
        raise ModelError("FSS.0400", "cron_configs.expired_time must be later than start_time.")
    try:
        parsed = _parsed(cron.cron)
    except ModelError as error:
        raise ModelError("FSS.0400", f"cron_configs.cron: {error.message}") from error
    if schedule.next_after(parsed, cron.starts_at) is None:
        raise ModelError("FSS.0400", f"cron_configs.cron '{cron.cron}' never fires.")


def _check_count(name: str, count: int, base: int) -> None:
    if not 0 <= count <= MAX_COUNT:
        raise ModelError("FSS.0400", f"{name} {count} is out of range: 0 to {MAX_COUNT}.")
    if count < base:
        raise ModelError("FSS.0400", f"{name} {count} is less than the count {base}, which always holds.")


def scheduled(policy: ReservedPolicy, now: float) -> int:
    """Return what the fixed count and the schedules want at `now`, in seconds since the epoch.

    Of all schedules the one holds that fired last; of two that fired at once the one with more instances.
    Once it has expired the fixed count holds, even if another one fired before it.
    """
    last: tuple[float, int, float] | None = None
    for cron in policy.crons:
        fired_at = _fired_at(cron, now)
        if fired_at is not None:
            end = math.inf if cron.expires_at is None else cron.expires_at
            last = max(last or (-math.inf, 0, 0.0), (fired_at, cron.count, end))
    return policy.count if last is None or now > last[2] else max(policy.count, last[1])


def _fired_at(cron: CronPolicy, now: float) -> float | None:
    """Return when a schedule has last fired within its validity; None if it never has."""
    until = now if cron.expires_at is None else min(now, cron.expires_at)
    if until < cron.starts_at:
        return None
    parsed = _parsed(cron.cron)
    if isinstance(parsed, schedule.Interval):
        return schedule.latest_between(parsed, cron.starts_at, until)
    after = max(math.ceil(cron.starts_at) - 1, until - _LONGEST_PAUSE_S)
    return schedule.latest_between(parsed, after, until)


def next_change(policy: ReservedPolicy, now: float) -> float:
    """Return the first time after `now` at which `scheduled` may return something else; infinite if it never will."""
    return min((at for cron in policy.crons for at in _moments(cron, now)), default=math.inf)


def _moments(cron: CronPolicy, now: float) -> Iterator[float]:
    end = math.inf if cron.expires_at is None else cron.expires_at
    if now > end:
        return
    parsed = _parsed(cron.cron)
    first = now if isinstance(parsed, schedule.Interval) else max(now, math.ceil(cron.starts_at) - 1)
    due = schedule.next_after(parsed, first, anchor=cron.starts_at)
    if due is not None and due <= end:
        yield due
    if end < math.inf:
        # It holds at the very second at which it expires.
        yield math.nextafter(end, math.inf)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> schedule.Schedule:
    return schedule.parse("Cron", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """What the load has wanted so far."""

    target: int = 0
    lower_since: float | None = None
    """Since when less would do, on the caller's clock; None if it would not."""


def follow(before: Follow, policy: ReservedPolicy, *, in_flight: int, base: int, now: float) -> Follow:
    """Return what the load wants: more at once, less only when less has been enough for `COOL_DOWN_S` seconds.

    Args:
        before: what came out last.
        policy: with policies by load; of several, the one that wants most holds.
        in_flight: most requests at once since the last look.
        base: what fixed count and schedules want; the load never takes less.
        now: monotonic time.
    """
    wanted = max(_for_load(one, in_flight, base) for one in policy.metrics)
    if wanted >= before.target:
        return Follow(target=wanted)
    if before.lower_since is None:
        return Follow(target=before.target, lower_since=now)
    if now - before.lower_since < COOL_DOWN_S:
        return before
    return Follow(target=wanted)


def _for_load(metric: MetricPolicy, in_flight: int, base: int) -> int:
    # One request per instance: the runtimes of this platform take no more.
    return min(MAX_COUNT, max(metric.minimum, base, -(-in_flight * 100 // metric.threshold)))
