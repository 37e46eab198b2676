"""What the figures are to reach: one row for each, in the order of the table. Pure; start with `verdicts`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import footprint, starts
from benchmarks.figures import Goal, Grade, Summary, paired_differences, paired_ratios, percentile, summarise
from benchmarks.measures import CALLERS, FLOOD, Results

OTHER = "funclet, other checkout"
OURS, SIGNED, REFERENCE, NGINX = "funclet", "funclet, signed API", "ref", "nginx hello"
ASGI, DEFAULT = "functions-framework ASGI", "functions-framework"

Measured = Mapping[str, Results]
"""Results by part."""
_Find = Callable[[Measured], Summary | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is judged, its figure (None: not measured), and its goal."""

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
        rows.append(("warm, by the other checkout", "times", _ratio(OURS, OTHER), _least(1, 1)))
    return [Verdict(what=what, unit=unit, figure=find(measured), goal=goal) for what, unit, find, goal in rows]


def _least(must: float, goal: float) -> Goal:
    return Goal(must=must, goal=goal, is_floor=True)


def _most(must: float, goal: float) -> Goal:
    return Goal(must=must, goal=goal)


def _ratio(ours: str, theirs: str) -> _Find:
    """Compare good answers per second, round by round."""
    return _paired("warm", ours, theirs, "per_s", lambda one, other: summarise(paired_ratios(one, other)))


def _over(figure: str) -> _Find:
    """Compare times of one caller with those of nginx, round by round."""
    return _paired("single", OURS, NGINX, figure, lambda one, other: summarise(paired_differences(one, other)))


def _paired(
    part: str, ours: str, theirs: str, figure: str, compare: Callable[[list[float], list[float]], Summary]
) -> _Find:
    def find(measured: Measured) -> Summary | None:
        one, other = (_values(measured, part, target, figure) for target in (ours, theirs))
        return compare(one, other) if one and other else None

    return find


def _one(part: str, target: str, figure: str) -> _Find:
    def find(measured: Measured) -> Summary | None:
        values = _values(measured, part, target, figure)
        return summarise(values) if values else None

    return find


def _share(part: str, target: str, share: float, figure: str = "took_ms") -> _Find:
    """Take a percentile of all single figures of a target."""

    def find(measured: Measured) -> Summary | None:
        values = _values(measured, part, target, figure)
        if not values:
            return None
        return Summary(median=percentile(values, share), low=min(values), high=max(values), count=len(values))

    return find


def _values(measured: Measured, part: str, target: str, figure: str) -> list[float]:
    """Return all values of a figure; none when it was not measured."""
    series = measured.get(part, {}).get(target)
    return series.figures.get(figure, []) if series else []


def _first(*finds: _Find) -> _Find:
    def find(measured: Measured) -> Summary | None:
        return next((found for one in finds if (found := one(measured)) is not None), None)

    return find


_HEAVY = "Python, 200 ms of imports, {}, later start"
_ROWS: tuple[tuple[str, str, _Find, Goal], ...] = (
    ("warm, by ref", "times", _ratio(OURS, REFERENCE), _least(0.55, 0.9)),
    ("warm, by functions-framework ASGI", "times", _ratio(OURS, ASGI), _least(1.3, 1.3)),
    ("warm, by functions-framework", "times", _ratio(OURS, DEFAULT), _least(3, 3)),
    ("front CPU per warm request", "µs", _one("warm", OURS, "front_us"), _most(40, 25)),
    ("time per signed request, by gateway", "times", _ratio(OURS, SIGNED), _most(1.3, 1.15)),
    ("warm p50 over nginx", "µs", _over("p50_us"), _most(80, 50)),
    ("warm p99 over nginx", "µs", _over("p99_us"), _most(200, 120)),
    ("overload, 64 callers: goodput by best", "times", _one("overload", CALLERS, "share"), _least(0.95, 0.98)),
    ("overload, 64 callers: p99 of accepted by best", "times", _one("overload", CALLERS, "p99_by_best"), _most(5, 5)),
    ("overload, open loop: goodput by best", "times", _one("overload", FLOOD, "share"), _least(0.95, 0.98)),
    ("overload, open loop: p99 of accepted by best", "times", _one("overload", FLOOD, "p99_by_best"), _most(5, 5)),
    ("cold start, Python, pool hit, p50", "ms", _share("cold", "Python, pool hit, new function", 0.5), _most(3, 0.8)),
    ("cold start, Python, pool hit, p99", "ms", _share("cold", "Python, pool hit, new function", 0.99), _most(8, 3)),
    (
        "cold start, Python, pool empty, p50",
        "ms",
        _share("cold", "Python, pool empty, new function", 0.5),
        _most(8, 2.5),
    ),
    (
        "cold start, Python, pool empty, p99",
        "ms",
        _share("cold", "Python, pool empty, new function", 0.99),
        _most(20, 5),
    ),
    (
        "later start with 200 ms of imports, p50",
        "ms",
        _first(*(_share("cold", _HEAVY.format(pool), 0.5) for pool in ("pool hit", "pool empty"))),
        _most(20, 6),
    ),
    (
        "later start with 200 ms of imports, p99",
        "ms",
        _first(*(_share("cold", _HEAVY.format(pool), 0.99) for pool in ("pool hit", "pool empty"))),
        _most(20, 10),
    ),
    ("cold start, Node.js, pool hit, p50", "ms", _share("cold", "Node.js, pool hit, new function", 0.5), _most(8, 2.5)),
    ("cold start, Node.js, pool hit, p99", "ms", _share("cold", "Node.js, pool hit, new function", 0.99), _most(20, 5)),
    ("200 cold functions at once, all answered", "ms", _one("burst", starts.MANY, "took_ms"), _most(300, 60)),
    ("1 function, 100 callers, from 0 to all answered", "ms", _one("burst", starts.ONE, "took_ms"), _most(500, 100)),
    ("isolated starts without a pause", "1/s", _one("sustained", starts.SUSTAINED, "per_s"), _least(150, 400)),
    ("create function (zip) to first 200, p50", "ms", _share("deploy", starts.DEPLOYED, 0.5), _most(30, 10)),
    ("create function (zip) to first 200, p99", "ms", _share("deploy", starts.DEPLOYED, 0.99), _most(30, 10)),
    (
        "idle isolated Python instance, all in",
        "MiB",
        _one("memory", footprint.INSTANCE, "instance_mib"),
        _most(2.5, 1.8),
    ),
    (
        "10,000 idle connections",
        "MB",
        _one("connections", footprint.IDLE_CONNECTIONS, "more_mb"),
        _most(100, 60),
    ),
    ("at rest, 10,000 functions: memory", "MB", _one("rest", footprint.REST, "pss_mb"), _most(100, 50)),
    ("at rest, 10,000 functions: CPU", "% of a core", _one("rest", footprint.REST, "cpu_percent"), _most(1, 0.1)),
)
