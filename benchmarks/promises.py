"""The table of speed in SPECIFICATION.md, from result files: `python -m benchmarks.promises RESULT.json ...`.

What several files have measured is taken from the last of them.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Grade
from benchmarks.goals import Measured, Verdict, verdicts
from benchmarks.measures import Series
from benchmarks.report import number, table
from benchmarks.targets import ROOT

SPECIFICATION = ROOT / "SPECIFICATION.md"
BEGIN, END = "<!-- speed: written by benchmarks/promises.py -->", "<!-- end of speed -->"
HEAD = ("Measure", "Unit", "Must", "Goal", "Last figure", "State", "Benchmark")

_STATES = {Grade.GOAL: "goal met", Grade.MUST: "met", Grade.MISSED: "not met yet", None: "not measured yet"}
_FILES = {"burst": "starts.py", "sustained": "starts.py", "deploy": "starts.py"}
APART = ("queue", "lists")
"""Parts that `make bench` leaves to a command of their own."""
_FILES |= {name: f"{name}.py" for name in APART}
_FILES |= dict.fromkeys(("memory", "connections", "rest"), "footprint.py")


def rows(measured: Measured) -> list[tuple[str, ...]]:
    """Return one row for each goal."""
    return [_row(verdict) for verdict in verdicts(measured)]


def _row(verdict: Verdict) -> tuple[str, ...]:
    sign = "≥" if verdict.goal.is_floor else "≤"
    bounds = (f"{sign} {bound:g}" for bound in (verdict.goal.must, verdict.goal.goal))
    figure = "-" if verdict.figure is None else number(verdict.figure.median)
    link = f"[{verdict.part}](benchmarks/{_FILES.get(verdict.part, 'measures.py')})"
    return (verdict.what, verdict.unit, *bounds, figure, _STATES[verdict.grade], link)


def measured_in(documents: Sequence[Mapping[str, Any]]) -> Measured:
    """Return the figures of result files; a part counts as a whole, and the last file that has it wins."""
    found: dict[str, dict[str, Series]] = {}
    for document in documents:
        for part, results in document["measured"].items():
            found[part] = {
                target: Series(figures={name: values for name, values in series.items() if name != "note"})
                for target, series in results.items()
            }
    return found


def replaced(page: str, measured: Measured) -> str:
    """Return the page with the table of these figures.

    Raises:
        ValueError: the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{SPECIFICATION.name} has no place for the table")
    return "\n".join([before + begin, "", *table(HEAD, rows(measured)), "", end + after])


def main() -> int:
    """Write the table; return the exit status."""
    documents = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    if not documents:
        sys.exit("usage: python -m benchmarks.promises RESULT.json ...")
    page = SPECIFICATION.read_text(encoding="utf-8")
    SPECIFICATION.write_text(replaced(page, measured_in(documents)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
