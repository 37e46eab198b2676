"""What the figures are to reach: one row for each, in the order of the table. Pure; start with `verdicts`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import footprint, starts
from benchmarks.figures import Goal, Grade, Summary, paired_differences, paired_ratios, percentile, summarise
from benchmarks.measures import CALLERS, FLOOD, Results

OTHER = "funclet, other checkout"
OURS, SIGNED, REFERENCE, NGINX = "funclet", "funclet, signed API", "ref", "nginx hello"
ACCEPT, ENTRY, DEPTH, DRAIN, PEER = "accept", "entry", "depth", "drain", "peer"
"""What is measured of the asynchronous queue."""
FULL = "full"
"""The server whose lists are measured beside those of a small one."""
ASGI, DEFAULT = "functions-framework ASGI", "functions-framework"

Measured = Mapping[str, Results]
"""Results by part."""
_Find = Callable[[Results], Summary | None]
"""Takes the results of one part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is judged, its figure (None: not measured), and its goal."""

    part: str
    """Of the benchmark that measures it."""
    what: str
    unit: str
    figure: Summary | None
    goal: Goal

    @property
    def grade(self) -> Grade | None:
        """What it reaches; None when it was not measured."""
        return None if self.figure is None else self.goal.grade(self.figure.median)


def verdicts(measured: Measured) -> list[Verdict]:
    """Return all goals with their figures."""
    rows = list(_ROWS)
    if OTHER in measured.get("warm", {}):
        rows.append(("warm", "warm, by the other checkout", "times", _ratio(OURS, OTHER), _least(1, 1)))
    return [
        Verdict(part=part, what=what, unit=unit, figure=find(measured.get(part, {})), goal=goal)
        for part, what, unit, find, goal in rows
    ]


def _least(must: float, goal: float) -> Goal:
    return Goal(must=must, goal=goal, is_floor=True)


def _most(must: float, goal: float) -> Goal:
    return Goal(must=must, goal=goal)


def _ratio(ours: str, theirs: str) -> _Find:
    """Compare good answers per second, round by round."""
    return _paired(ours, theirs, "per_s", lambda one, other: summarise(paired_ratios(one, other)))


def _over(figure: str) -> _Find:
    """Compare times of one caller with those of nginx, round by round."""
    return _paired(OURS, NGINX, figure, lambda one, other: summarise(paired_differences(one, other)))


def _paired(ours: str, theirs: str, figure: str, compare: Callable[[list[float], list[float]], Summary]) -> _Find:
    def find(results: Results) -> Summary | None:
        one, other = (_values(results, target, figure) for target in (ours, theirs))
        return compare(one, other) if one and other else None

    return find


def _one(target: str, figure: str) -> _Find:
    def find(results: Results) -> Summary | None:
        values = _values(results, target, figure)
        return summarise(values) if values else None

    return find


def _share(target: str, share: float, figure: str = "took_ms") -> _Find:
    """Take a percentile of all single figures of a target."""

    def find(results: Results) -> Summary | None:
        values = _values(results, target, figure)
        if not values:
            return None
        return Summary(median=percentile(values, share), low=min(values), high=max(values), count=len(values))

    return find


def _values(results: Results, target: str, figure: str) -> list[float]:
    """Return all values of a figure; none when it was not measured."""
    return results[target].figures.get(figure, []) if target in results else []


def _first(*finds: _Find) -> _Find:
    def find(results: Results) -> Summary | None:
        return next((found for one in finds if (found := one(results)) is not None), None)

    return find


_HIT, _EMPTY = "Python, pool hit, new function", "Python, pool empty, new function"
_NODE_HIT = "Node.js, pool hit, new function"
_HEAVY = [f"Python, 200 ms of imports, {pool}, later start" for pool in ("pool hit", "pool empty")]
_ROWS: tuple[tuple[str, str, str, _Find, Goal], ...] = (
    ("warm", "warm, by ref", "times", _ratio(OURS, REFERENCE), _least(0.55, 0.9)),
    ("warm", "warm, by functions-framework ASGI", "times", _ratio(OURS, ASGI), _least(1.3, 1.3)),
    ("warm", "warm, by functions-framework", "times", _ratio(OURS, DEFAULT), _least(3, 3)),
    ("warm", "front CPU per warm request", "µs", _one(OURS, "front_us"), _most(40, 25)),
    ("warm", "time per signed request, by gateway", "times", _ratio(OURS, SIGNED), _most(1.3, 1.15)),
    ("single", "warm p50 over nginx", "µs", _over("p50_us"), _most(80, 50)),
    ("single", "warm p99 over nginx", "µs", _over("p99_us"), _most(200, 120)),
    ("overload", "64 callers: goodput by best", "times", _one(CALLERS, "share"), _least(0.95, 0.98)),
    ("overload", "64 callers: p99 of accepted by best", "times", _one(CALLERS, "p99_by_best"), _most(5, 5)),
    ("overload", "open loop, 10 times: goodput by best", "times", _one(FLOOD, "share"), _least(0.95, 0.98)),
    ("overload", "open loop, 10 times: p99 of accepted by best", "times", _one(FLOOD, "p99_by_best"), _most(5, 5)),
    ("cold", "cold start, Python, pool hit, p50", "ms", _share(_HIT, 0.5), _most(3, 0.8)),
    ("cold", "cold start, Python, pool hit, p99", "ms", _share(_HIT, 0.99), _most(8, 3)),
    ("cold", "cold start, Python, pool empty, p50", "ms", _share(_EMPTY, 0.5), _most(8, 2.5)),
    ("cold", "cold start, Python, pool empty, p99", "ms", _share(_EMPTY, 0.99), _most(20, 5)),
    ("cold", "later start with 200 ms of imports, p50", "ms", _first(*(_share(n, 0.5) for n in _HEAVY)), _most(20, 6)),
    (
        "cold",
        "later start with 200 ms of imports, p99",
        "ms",
        _first(*(_share(n, 0.99) for n in _HEAVY)),
        _most(20, 10),
    ),
    ("cold", "cold start, Node.js, pool hit, p50", "ms", _share(_NODE_HIT, 0.5), _most(8, 2.5)),
    ("cold", "cold start, Node.js, pool hit, p99", "ms", _share(_NODE_HIT, 0.99), _most(20, 5)),
    ("burst", "200 cold functions at once, all answered", "ms", _one(starts.MANY, "took_ms"), _most(300, 60)),
    ("burst", "1 function, 100 callers, from 0 to all answered", "ms", _one(starts.ONE, "took_ms"), _most(500, 100)),
    ("sustained", "isolated starts without a pause", "1/s", _one(starts.SUSTAINED, "per_s"), _least(150, 400)),
    ("deploy", "create function (zip) to first 200, p50", "ms", _share(starts.DEPLOYED, 0.5), _most(30, 10)),
    ("deploy", "create function (zip) to first 200, p99", "ms", _share(starts.DEPLOYED, 0.99), _most(30, 10)),
    (
        "memory",
        "idle isolated Python instance, all in",
        "MiB",
        _one(footprint.INSTANCE, "instance_mib"),
        _most(2.5, 1.8),
    ),
    ("queue", "accepted for later, 64 callers", "1/s", _one(ACCEPT, "per_s"), _least(20_000, 50_000)),
    ("queue", "accepted for later, by bare group commit", "times", _one(ACCEPT, "by_bare"), _least(0.25, 0.6)),
    ("queue", "accepted for later, 1 caller, p50", "ms", _one(ACCEPT, "one_p50_ms"), _most(0.5, 0.2)),
    ("queue", "accepted for later, half of the load, p99", "ms", _one(ACCEPT, "half_p99_ms"), _most(10, 10)),
    ("queue", "sent for later to handler entry, over synchronous, p50", "ms", _one(ENTRY, "more_ms"), _most(2, 2)),
    ("queue", "1,000,000 wait: accepted, by an empty queue", "times", _one(DEPTH, "accepted_by_empty"), _least(0.8, 1)),
    ("queue", "1,000,000 wait: run, by an empty queue", "times", _one(DEPTH, "run_by_empty"), _least(0.8, 1)),
    ("queue", "1,000,000 wait: memory", "MiB", _one(DEPTH, "more_mib"), _most(50, 50)),
    ("lists", "10,000 functions: slowest list or get, by few functions", "times", _one(FULL, "worst"), _most(3, 1.5)),
    ("lists", "10,000 functions: memory while they are listed", "MiB", _one(FULL, "memory_mib"), _most(300, 150)),
    ("connections", "10,000 idle connections", "MB", _one(footprint.IDLE_CONNECTIONS, "more_mb"), _most(100, 60)),
    ("rest", "at rest, 10,000 functions: memory", "MB", _one(footprint.REST, "pss_mb"), _most(100, 50)),
    ("rest", "at rest, 10,000 functions: CPU", "% of a core", _one(footprint.REST, "cpu_percent"), _most(1, 0.1)),
)
