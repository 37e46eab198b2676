"""What was used of functions, minute by minute: what is recorded, and how it is added up. Pure.

`Sample` is what a data plane says once a second of what no report tells. `Tally` is the sum of reports and samples
of one version in one slot of time.
"""

from msgspec import Struct

MINUTE_S = 60
DAY_S = 86_400
LEVELS = {MINUTE_S: 15 * DAY_S, 5 * MINUTE_S: 63 * DAY_S, 60 * MINUTE_S: 455 * DAY_S}
"""Lengths of the slots that are kept, in seconds -> how long they are kept (platform.md 8.3)."""
MONTH = 0
"""Stands for the length of slots that are calendar months of UTC."""
MONTHS_KEPT_S = 800 * DAY_S
NO_DATA = -1
"""The value of a slot of which nothing is known."""


class Sample(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What a data plane adds to the reports of a version. Counts are since the last sample."""

    project_id: str
    function_id: str
    version: str
    at: float
    """Seconds since the epoch."""
    rejects: int = 0
    system_errors: int = 0
    """Requests that failed without a report, because the platform did."""
    in_flight: int = 0
    """Most requests at once."""
    instances: int = 0
    """On demand: those that no setting keeps ready."""
    reserved: int = 0
    reserved_mb_ms: int = 0
    """Memory times time of reserved instances, but for the idle time of those in idle mode."""
    idle_mb_ms: int = 0
    """Memory times idle time of reserved instances in idle mode."""


class Tally(Struct, gc=False):
    """Sums of one slot. Times in milliseconds."""

    reports: int = 0
    """Requests that ran, or for which an instance could not be started."""
    runs: int = 0
    function_errors: int = 0
    system_errors: int = 0
    rejects: int = 0
    cold_starts: int = 0
    duration_ms: float = 0.0
    most_ms: float = 0.0
    least_ms: float = 0.0
    """0 without runs."""
    memory_bytes: int = 0
    """Sum of the peaks."""
    most_memory_bytes: int = 0
    init_ms: int = 0
    """Billed time of initializers."""
    mb_ms: int = 0
    """Billed memory times time on instances on demand, initializers included."""
    reserved_mb_ms: int = 0
    idle_mb_ms: int = 0
    in_flight: int = 0
    instances: int = 0
    reserved: int = 0

    def merge(self, other: "Tally") -> None:
        """Add all that `other` has."""
        self.least_ms = least(self, other)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _MAXIMA:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))

    @property
    def count(self) -> int:
        """All requests, those that were refused included."""
        return self.reports + self.system_errors + self.rejects


_MAXIMA = ("most_ms", "most_memory_bytes", "in_flight", "instances", "reserved")
_SUMS = tuple(name for name in Tally.__struct_fields__ if name not in (*_MAXIMA, "least_ms"))


def least(one: Tally, other: Tally) -> float:
    """Return the least duration of both, 0 if neither has one."""
    if not (one.runs and other.runs):
        return one.least_ms + other.least_ms
    return min(one.least_ms, other.least_ms)


def tally_of(sample: Sample) -> Tally:
    """Return what a sample adds."""
    return Tally(
        rejects=sample.rejects,
        system_errors=sample.system_errors,
        in_flight=sample.in_flight,
        instances=sample.instances,
        reserved=sample.reserved,
        reserved_mb_ms=sample.reserved_mb_ms,
        idle_mb_ms=sample.idle_mb_ms,
    )


def slot_width_s(window_s: int) -> int:
    """Return how long the slots of a window are: a minute, half an hour or three hours (api.md 17)."""
    if window_s < 60 * MINUTE_S:
        return MINUTE_S
    return 30 * MINUTE_S if window_s < DAY_S else 180 * MINUTE_S
