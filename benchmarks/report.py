"""From series of figures to the goals they reach, and to JSON and Markdown. Pure; start with `render`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.figures import Goal, Summary, paired_differences, paired_ratios, percentile, summarise
from benchmarks.measures import Results

OTHER = "funclet, other checkout"
OURS, SIGNED, REFERENCE, NGINX = "funclet", "funclet, signed API", "ref", "nginx hello"
ASGI, DEFAULT = "functions-framework ASGI", "functions-framework"

_NONE = "-"

Verdict = tuple[str, Summary | None, Goal]
"""What is compared, its figure (None: not measured), and its goal."""


def verdicts(measured: Mapping[str, Results]) -> list[Verdict]:
    """Return all goals with their figures."""
    warm, single, cold = (measured.get(name, {}) for name in ("warm", "single", "cold"))
    least, most = True, False
    return [
        (
            "warm requests/s, by those of ref",
            _ratio(warm, OURS, REFERENCE),
            Goal(text="0.55", bound=0.55, is_floor=least),
        ),
        ("... of functions-framework ASGI", _ratio(warm, OURS, ASGI), Goal(text="1.3", bound=1.3, is_floor=least)),
        ("... of functions-framework", _ratio(warm, OURS, DEFAULT), Goal(text="3", bound=3.0, is_floor=least)),
        *_other_verdict(warm),
        ("front CPU per warm request, µs", _one(warm, OURS, "front_us"), Goal(text="40", bound=40.0, is_floor=most)),
        ("time per signed request, by gateway", _ratio(warm, OURS, SIGNED), Goal(text="1.3", bound=1.3, is_floor=most)),
        ("warm p50 over nginx, µs", _over(single, "p50_us"), Goal(text="80", bound=80.0, is_floor=most)),
        ("warm p99 over nginx, µs", _over(single, "p99_us"), Goal(text="200", bound=200.0, is_floor=most)),
        *_cold_verdicts(cold),
    ]


def _other_verdict(warm: Results) -> list[Verdict]:
    if OTHER not in warm:
        return []
    return [("... of the other checkout", _ratio(warm, OURS, OTHER), Goal(text="1", bound=1.0, is_floor=True))]


def _cold_verdicts(cold: Results) -> list[Verdict]:
    rows: Sequence[tuple[str, str, float, float]] = (
        ("cold start, Python, pool hit", "Python, pool hit, new function", 3.0, 8.0),
        ("cold start, Python, pool empty", "Python, pool empty, new function", 8.0, 20.0),
    )
    found: list[Verdict] = []
    for text, name, p50, p99 in rows:
        for share, bound in ((0.5, p50), (0.99, p99)):
            figure = _starts(cold, name, share)
            goal = Goal(text=f"{bound:g}", bound=bound, is_floor=False)
            found.append((f"{text}, p{share * 100:.0f}, ms", figure, goal))
    names = [f"Python, 200 ms of imports, {pool}, later start" for pool in ("pool hit", "pool empty")]
    heavy = next((_starts(cold, name, 0.5) for name in names if name in cold), None)
    found.append(("later start with 200 ms of imports, p50, ms", heavy, Goal(text="20", bound=20.0, is_floor=False)))
    return found


def _ratio(results: Results, ours: str, theirs: str) -> Summary | None:
    if ours not in results or theirs not in results:
        return None
    return summarise(paired_ratios(results[ours].figures["per_s"], results[theirs].figures["per_s"]))


def _over(results: Results, figure: str) -> Summary | None:
    if OURS not in results or NGINX not in results:
        return None
    return summarise(paired_differences(results[OURS].figures[figure], results[NGINX].figures[figure]))


def _one(results: Results, target: str, figure: str) -> Summary | None:
    return summarise(results[target].figures[figure]) if target in results else None


def _starts(results: Results, name: str, share: float) -> Summary | None:
    if name not in results:
        return None
    times = results[name].figures["took_ms"]
    return Summary(median=percentile(times, share), low=min(times), high=max(times), count=len(times))


def to_document(measured: Mapping[str, Results], about: Mapping[str, str], missing: Sequence[str]) -> dict[str, Any]:
    """Return everything as JSON values, every round included."""
    return {
        "about": dict(about),
        "missing": list(missing),
        "goals": [
            {"what": what, "figure": figure and figure.median, "goal": goal.bound, "met": _is_met(figure, goal)}
            for what, figure, goal in verdicts(measured)
        ],
        "measured": {
            name: {target: {"note": series.note, **series.figures} for target, series in results.items()}
            for name, results in measured.items()
        },
    }


def render(measured: Mapping[str, Results], about: Mapping[str, str], missing: Sequence[str]) -> str:
    """Return the page of tables."""
    parts = ["# Benchmark", "", *(f"* {name}: {text}" for name, text in about.items() if text)]
    parts += [f"* not measured: {text}" for text in missing]
    parts += ["", "Medians of all rounds; in brackets the lowest and the highest round.", ""]
    parts += ["## Goals", "", *_goals(measured), ""]
    titles = {
        "warm": "Warm, 16 connections",
        "single": "Warm, 1 connection",
        "crowd": "Warm, 64 closed-loop callers",
    }
    for name, title in titles.items():
        if name in measured:
            parts += [f"## {title}", "", *_warm(measured[name]), ""]
    if "overload" in measured:
        parts += ["## Overload", "", *_overload(measured["overload"]), ""]
    if "cold" in measured:
        parts += ["## Cold starts through HTTP, one at a time", "", *_cold(measured["cold"]), ""]
    return "\n".join(parts)


def _is_met(figure: Summary | None, goal: Goal) -> bool | None:
    return None if figure is None else goal.is_met(figure.median)


def _goals(measured: Mapping[str, Results]) -> list[str]:
    rows = []
    for what, figure, goal in verdicts(measured):
        met = {None: "not measured", True: "yes", False: "**no**"}[_is_met(figure, goal)]
        shown = _NONE if figure is None else f"{_number(figure.median)} [{_number(figure.low)}..{_number(figure.high)}]"
        rows.append((what, shown, f"{'≥' if goal.is_floor else '≤'} {goal.text}", met))
    return table(("what", "figure", "goal", "met"), rows)


def _warm(results: Results) -> list[str]:
    head = (
        "target",
        "good answers/s",
        "spread",
        "p50 µs",
        "p99 µs",
        "front CPU µs",
        "other CPU µs",
        "processes",
        "failed",
    )
    rows = []
    for name, series in results.items():
        found = {figure: summarise(values) for figure, values in series.figures.items()}
        others = sum(found[one].median for one in ("workers_us", "sandboxd_us") if one in found)
        rows.append(
            (
                f"{name}: {series.note}",
                _range(found["per_s"]),
                f"{found['per_s'].spread:.0%}",
                _number(found["p50_us"].median),
                _number(found["p99_us"].median),
                _number(found["front_us"].median),
                _number(others) if others else _NONE,
                f"1 + {found['workers'].median:.0f}" if found["workers"].median else "1",
                f"{sum(series.figures['failed']):.0f}",
            )
        )
    noise = summarise([cores for series in results.values() for cores in series.figures["others_cores"]])
    note = f"Strangers kept {noise.median:.2f} cores busy ({noise.low:.2f} to {noise.high:.2f})."
    return [*table(head, rows), "", note]


def _overload(results: Results) -> list[str]:
    head = ("load", "sent/s", "good answers/s", "share of capacity", "p50 ms", "p99 ms")
    rows = []
    for name, series in results.items():
        found = {figure: summarise(values) for figure, values in series.figures.items()}
        times = (_number(found[figure].median / 1000) for figure in ("p50_us", "p99_us"))
        sent, per_s = _number(found["sent_per_s"].median), _range(found["per_s"])
        rows.append((f"{name}: {series.note}", sent, per_s, f"{found['share'].median:.0%}", *times))
    return table(head, rows)


def _cold(results: Results) -> list[str]:
    rows = []
    for name, series in results.items():
        times = series.figures["took_ms"]
        shares = (_number(percentile(times, share)) for share in (0.5, 0.9, 0.99))
        rows.append((f"{name}: {series.note}", str(len(times)), _number(min(times)), *shares))
    head = ("start", "n", "best ms", "p50 ms", "p90 ms", "p99 ms")
    return table(head, rows)


def _range(summary: Summary) -> str:
    return f"{_number(summary.median)} [{_number(summary.low)}..{_number(summary.high)}]"


def _number(value: float) -> str:
    """Return a number with three digits that count, and spaces between thousands."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004 - two digits before the point


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
