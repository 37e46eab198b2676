"""Counters of invocations by function and version, and their text for Prometheus.

A pool holds the `FunctionCounters` of its version (`Metrics.hold`) and calls
`observe` for each request: a few additions, no look-up. `render` does the rest.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from funclet import telemetry
from funclet.model.function import FunctionVersion
from funclet.model.invocation import Report

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_MS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000, 120_000, 900_000)
"""Upper bounds of the duration buckets; one more bucket holds what is longer."""
MAX_VERSIONS = 1000
"""Versions that have series of their own; beyond, those longest idle are folded into one."""
OTHERS = "_others"
"""Function and version in the labels of what was folded."""
PLATFORM_FAILED = -1
"""Stands for an inner code where there is none: the platform failed."""

Key = tuple[str, str, str, str]
"""Project, package, function name, version."""
Values = Mapping[str, float | Mapping[str, float]]


class FunctionCounters:
    """What became of the requests of one version since the server started. For one thread."""

    __slots__ = (
        "buckets", "cold_starts", "cpu_ms", "duration_ms", "function_id", "holders", "key", "results", "start_ms",
        "throttles", "wait_ms",
    )  # fmt: skip

    def __init__(self, key: Key) -> None:
        self.key = key
        self.function_id = ""
        """Of the version that is counted; empty where several are."""
        self.holders = 0
        """How many pools update this object; it is folded only when there is none."""
        self.results: dict[int, int] = {}
        """Requests by inner code; 0 for success."""
        self.buckets = [0] * (len(BUCKETS_MS) + 1)
        self.duration_ms = 0.0
        self.wait_ms = 0.0
        """Before the run: waiting for an instance, its start included."""
        self.start_ms = 0.0
        """Starts of instances that requests had to wait for."""
        self.cpu_ms = 0.0
        self.cold_starts = 0
        self.throttles = 0
        """Requests that were refused because of limits or load."""

    def observe(self, report: Report) -> None:
        """Count one request that ran; costs less than a microsecond."""
        results, code, duration_ms = self.results, report.code, report.duration_ms
        results[code] = results.get(code, 0) + 1
        self.buckets[bisect_left(BUCKETS_MS, duration_ms)] += 1
        self.duration_ms += duration_ms
        self.wait_ms += report.wait_ms
        self.cpu_ms += report.cpu_ms
        if report.is_cold:
            self.cold_starts += 1
            self.start_ms += report.start_ms

    def observe_failure(self, code: int) -> None:
        """Count one request that did not run: an inner code, or `PLATFORM_FAILED`."""
        self.results[code] = self.results.get(code, 0) + 1

    def add(self, other: "FunctionCounters") -> None:
        """Add all that `other` has counted."""
        for code, count in other.results.items():
            self.results[code] = self.results.get(code, 0) + count
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.duration_ms += other.duration_ms
        self.wait_ms += other.wait_ms
        self.start_ms += other.start_ms
        self.cpu_ms += other.cpu_ms
        self.cold_starts += other.cold_starts
        self.throttles += other.throttles


class Metrics:
    """The counters of all versions, as many as are wanted at most."""

    def __init__(self, *, max_versions: int = MAX_VERSIONS) -> None:
        self._max_versions = max_versions
        # In the order in which they were last held: the first one has been idle longest.
        self._counters: dict[Key, FunctionCounters] = {}
        self._others = FunctionCounters(("", OTHERS, OTHERS, OTHERS))

    def hold(self, version: FunctionVersion) -> FunctionCounters:
        """Return the counters of a version, which stay until `let_go` is called as often as this."""
        key = (version.project_id, version.package, version.name, version.version)
        counters = self._counters.pop(key, None) or FunctionCounters(key)
        self._counters[key] = counters
        counters.holders += 1
        counters.function_id = version.function_id
        self._fold()
        return counters

    def let_go(self, counters: FunctionCounters) -> None:
        """Give back what `hold` returned; nothing may be counted in it afterwards."""
        counters.holders -= 1
        self._fold()

    def failed(self, version: FunctionVersion, code: int) -> None:
        """Count a request that failed with an inner code before there was a pool for it."""
        counters = self.hold(version)
        counters.observe_failure(code)
        self.let_go(counters)

    def refused(self, version: FunctionVersion) -> None:
        """Count a request that was refused before there was a pool for it."""
        counters = self.hold(version)
        counters.throttles += 1
        self.let_go(counters)

    def snapshot(self) -> Sequence[FunctionCounters]:
        """Return the counters of all versions, and those that were folded; they go on counting."""
        folded = [self._others] if self._others.results or self._others.throttles else []
        return [*self._counters.values(), *folded]

    def _fold(self) -> None:
        excess = len(self._counters) - self._max_versions
        if excess <= 0:
            return
        for key, counters in list(self._counters.items()):
            if counters.holders == 0:
                self._others.add(counters)
                del self._counters[key]
                excess -= 1
                if excess == 0:
                    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All metrics at one moment, of a process or of all."""

    counters: Sequence[FunctionCounters]
    values: Values
    """What is there now, by the names of `GAUGES`; several by the value of their label."""


def summed(counters: Iterable[FunctionCounters]) -> Sequence[FunctionCounters]:
    """Return new counters, one for each version, with all that was counted for it."""
    totals: dict[Key, FunctionCounters] = {}
    for one in counters:
        total = totals.get(one.key)
        if total is None:
            total = totals[one.key] = FunctionCounters(one.key)
        total.add(one)
    return list(totals.values())


def render(counters: Iterable[FunctionCounters], values: Values) -> bytes:
    """Return all metrics in the text format of Prometheus.

    Args:
        counters: of the versions.
        values: what is there now, by the names of `GAUGES`; several by the value of their label.
    """
    rows = list(counters)
    lines: list[str] = []
    _render_invocations(lines, rows)
    _render_durations(lines, rows)
    for name, member, help_ in _SUMS:
        _head(lines, name, "counter", help_)
        lines += [f"{name}{{{_labels(one)}}} {_number(getattr(one, member))}" for one in rows]
    for name, (kind, label, help_) in GAUGES.items():
        if name not in values:
            continue
        value = values[name]
        _head(lines, name, kind, help_)
        if isinstance(value, Mapping):
            lines += [f'{name}{{{label}="{of}"}} {_number(each)}' for of, each in value.items()]
        else:
            lines.append(f"{name} {_number(value)}")
    return ("\n".join(lines) + "\n").encode()


_SUMS = (
    ("fgs_wait_ms_total", "wait_ms", "Time that requests waited for an instance, its start included."),
    ("fgs_start_ms_total", "start_ms", "Time that starts of instances took while a request waited."),
    ("fgs_cpu_ms_total", "cpu_ms", "CPU time of invocations."),
    ("fgs_cold_starts_total", "cold_starts", "Invocations that waited for the start of an instance."),
    ("fgs_throttles_total", "throttles", "Invocations that were refused because of limits or load."),
)

GAUGES: Mapping[str, tuple[str, str, str]] = {
    "fgs_instances": ("gauge", "kind", "Instances by what they do."),
    "fgs_waiting_requests": ("gauge", "", "Requests that wait for an instance."),
    "fgs_memory_used_mb": ("gauge", "", "Memory that instances may use, together."),
    "fgs_log_dropped_total": ("counter", "", "Log records that were lost."),
    "fgs_process_up": ("gauge", "process", "Whether a data-plane process answered: what it counted since is missing."),
}
"""Name -> type, label and help of what is known of the whole server."""


def _render_invocations(lines: list[str], rows: Sequence[FunctionCounters]) -> None:
    _head(lines, "fgs_invocations_total", "counter", "Invocations that ran, by result.")
    for one in rows:
        by_result: dict[str, int] = {}
        for code, count in list(one.results.items()):
            result = telemetry.category(code).lower().replace(" ", "_")
            by_result[result] = by_result.get(result, 0) + count
        labels = _labels(one)
        lines += [f'fgs_invocations_total{{{labels},result="{name}"}} {count}' for name, count in by_result.items()]


def _render_durations(lines: list[str], rows: Sequence[FunctionCounters]) -> None:
    _head(lines, "fgs_duration_ms", "histogram", "Duration of invocations, without waiting.")
    bounds = (*map(str, BUCKETS_MS), "+Inf")
    for one in rows:
        labels, total = _labels(one), 0
        for bound, count in zip(bounds, one.buckets, strict=True):
            total += count
            lines.append(f'fgs_duration_ms_bucket{{{labels},le="{bound}"}} {total}')
        lines.append(f"fgs_duration_ms_sum{{{labels}}} {_number(one.duration_ms)}")
        lines.append(f"fgs_duration_ms_count{{{labels}}} {total}")


def _head(lines: list[str], name: str, kind: str, help_: str) -> None:
    lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]


def _labels(one: FunctionCounters) -> str:
    """Return the labels of a version. Names have no characters that would need an escape."""
    project, package, name, version = one.key
    return f'project="{project}",function="{package}:{name}",version="{version}"'


def _number(value: float) -> str:
    return f"{round(value, 3):.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
