"""From series of figures to the goals they reach, and to JSON and Markdown. Pure; start with `render`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.figures import Grade, Summary, percentile, summarise
from benchmarks.goals import Measured, verdicts
from benchmarks.measures import Results

_NONE = "-"
_FIGURES = {
    "burst": "Many cold starts at once",
    "sustained": "Starts without a pause",
    "deploy": "From nothing to the first answer",
    "memory": "Memory of idle instances",
    "connections": "Idle connections",
    "rest": "At rest",
}
"""Parts whose figures are shown one by one, under their own names."""
_GRADES = {None: "not measured", Grade.GOAL: "goal", Grade.MUST: "must", Grade.MISSED: "**missed**"}


def to_document(measured: Measured, about: Mapping[str, str], missing: Sequence[str]) -> dict[str, Any]:
    """Return everything as JSON values, every round included."""
    return {
        "about": dict(about),
        "missing": list(missing),
        "goals": [
            {
                "part": verdict.part,
                "what": verdict.what,
                "unit": verdict.unit,
                "figure": verdict.figure and verdict.figure.median,
                "must": verdict.goal.must,
                "goal": verdict.goal.goal,
                "reached": verdict.grade,
            }
            for verdict in verdicts(measured)
        ],
        "measured": {
            name: {target: {"note": series.note, **series.figures} for target, series in results.items()}
            for name, results in measured.items()
        },
    }


def render(measured: Measured, about: Mapping[str, str], missing: Sequence[str]) -> str:
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
    for name, title in _FIGURES.items():
        if name in measured:
            parts += [f"## {title}", "", *_figures(measured[name]), ""]
    return "\n".join(parts)


def _goals(measured: Measured) -> list[str]:
    rows = []
    for verdict in verdicts(measured):
        sign = "≥" if verdict.goal.is_floor else "≤"
        figure = _NONE if verdict.figure is None else _range(verdict.figure)
        bounds = (f"{sign} {bound:g}" for bound in (verdict.goal.must, verdict.goal.goal))
        rows.append((verdict.what, verdict.unit, figure, *bounds, _GRADES[verdict.grade]))
    return table(("what", "unit", "figure", "must", "goal", "reached"), rows)


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
                number(found["p50_us"].median),
                number(found["p99_us"].median),
                number(found["front_us"].median),
                number(others) if others else _NONE,
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
        times = (number(found[figure].median / 1000) for figure in ("p50_us", "p99_us"))
        sent, per_s = number(found["sent_per_s"].median), _range(found["per_s"])
        rows.append((f"{name}: {series.note}", sent, per_s, f"{found['share'].median:.0%}", *times))
    return table(head, rows)


def _cold(results: Results) -> list[str]:
    rows = []
    for name, series in results.items():
        times = series.figures["took_ms"]
        shares = (number(percentile(times, share)) for share in (0.5, 0.9, 0.99))
        rows.append((f"{name}: {series.note}", str(len(times)), number(min(times)), *shares))
    head = ("start", "n", "best ms", "p50 ms", "p90 ms", "p99 ms")
    return table(head, rows)


def _figures(results: Results) -> list[str]:
    rows = [
        (f"{name}: {series.note}", figure, str(len(values)), _range(summarise(values)))
        for name, series in results.items()
        for figure, values in series.figures.items()
    ]
    return table(("what", "figure", "n", "median"), rows)


def _range(summary: Summary) -> str:
    return f"{number(summary.median)} [{number(summary.low)}..{number(summary.high)}]"


def number(value: float) -> str:
    """Return a number with three digits that count, and spaces between thousands."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004 - two digits before the point


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
