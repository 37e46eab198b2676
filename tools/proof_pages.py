"""Write the pages of docs/reference that say which test proves what: error codes, quotas, questions.

The rows stand in tools/rows; a row without a test needs a reason there, which counts only while no test has its mark.

python -m tools.proof_pages            # write
python -m tools.proof_pages --check    # fail if a page is not up to date, or a row has neither test nor reason
python -m tools.proof_pages --stale    # list the reasons that a test has made unnecessary
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funclet.model.errors import TABLE
from tools import proofs as marks

FOLDER = marks.ROOT / "docs" / "reference"
ROWS = Path(__file__).parent / "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page with its table."""

    name: str
    kind: str
    """Of the marks that name its rows."""
    title: str
    introduction: tuple[str, ...]
    columns: tuple[str, ...]
    """Beside the row's name and the column of proofs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table."""

    name: str
    cells: tuple[str, ...]
    reason: str = ""
    """Why no test proves it; empty if one must."""
    same_as: tuple[str, ...] = ()
    """Rows that ask the same, and have the tests and reasons."""


PAGES = (
    Page(
        name="error-codes",
        kind="error",
        title="Where error codes come from",
        introduction=(
            "All codes of the cloud's function service, and for each the test that makes this server answer with it,",
            "or the reason why it cannot. [Error codes](errors.md) has what this server sends and what to do then.",
        ),
        columns=("Status", "Meaning"),
    ),
    Page(
        name="quotas",
        kind="quota",
        title="Limits",
        introduction=(
            "Every limit of the platform, its value on this server, and the test that goes up to it and one past it.",
            "What a project has used of its quotas: `GET /v2/{project_id}/fgs/quotas`.",
        ),
        columns=("What", "Value"),
    ),
    Page(
        name="faq",
        kind="faq",
        title="Questions",
        introduction=(
            "What users of the cloud's product ask, by number, and the test that shows what this server does.",
            "A question without a test names the feature that it waits for.",
        ),
        columns=("Question",),
    ),
)


def main(arguments: Sequence[str]) -> int:
    """Write or check the pages; 1 if a check fails."""
    proofs = marks.collect()
    if arguments == ["--stale"]:
        print("\n".join(stale(proofs)))
        return 0
    texts = {page.name: render(page, read_rows(page), proofs) for page in PAGES}
    if arguments == ["--check"]:
        faults = [
            f"{name}.md is not up to date: run `make docs`"
            for name, text in texts.items()
            if not _path(name).exists() or _path(name).read_text(encoding="utf-8") != text
        ]
        faults += [fault for page in PAGES for fault in faults_of(page, read_rows(page), proofs)]
        for fault in faults:
            print(fault)
        return 1 if faults else 0
    for name, text in texts.items():
        _path(name).write_text(text, encoding="utf-8")
    return 0


def render(page: Page, rows: Sequence[Row], proofs: marks.Proofs) -> str:
    """Return the text of a page."""
    columns = ("Row", *page.columns, "Proved by")
    by_name = {row.name: row for row in rows}
    proved = sum(_is_proved(page, row, proofs) for row in rows)
    lines = [
        f"# {page.title}",
        "",
        f"<!-- Generated from tools/rows/{page.name}.toml and the marks of tests by tools/proof_pages.py. -->",
        "",
        *page.introduction,
        "",
        f"Rows with a test: {proved} of {len(rows)}.",
        "",
        "| " + " | ".join(columns) + " |",
        "| " + " | ".join("---" for _ in columns) + " |",
    ]
    for row in rows:
        asked = [by_name[name] for name in row.same_as] or [row]
        cells = [marks.cell(proofs, f"{page.kind}:{one.name}", _path(page.name), otherwise=one.reason) for one in asked]
        lines.append("| " + " | ".join((f"`{row.name}`", *row.cells, "; ".join(dict.fromkeys(cells)))) + " |")
    return "\n".join(lines) + "\n"


def faults_of(page: Page, rows: Sequence[Row], proofs: marks.Proofs) -> Iterator[str]:
    """Yield what is wrong: rows with neither test nor reason, and marks of unknown rows."""
    for row in rows:
        if not (row.reason or row.same_as or _is_proved(page, row, proofs)):
            mark = f"{page.kind}:{row.name}"
            yield f'{page.name}: {row.name} has neither a test with @pytest.mark.proves("{mark}") nor a reason'
    yield from marks.unknown(proofs, page.kind, [row.name for row in rows])


def _is_proved(page: Page, row: Row, proofs: marks.Proofs) -> bool:
    return any(f"{page.kind}:{name}" in proofs for name in row.same_as or (row.name,))


def stale(proofs: marks.Proofs) -> Iterator[str]:
    """Yield the rows that have both a reason and a test."""
    for page in PAGES:
        for row in read_rows(page):
            if row.reason and f"{page.kind}:{row.name}" in proofs:
                yield f"tools/rows/{page.name}.toml: {row.name} has a test now, its reason can go"


def read_rows(page: Page) -> Sequence[Row]:
    """Return the rows of a page in the order of its file."""
    document = tomllib.loads((ROWS / f"{page.name}.toml").read_text(encoding="utf-8"))
    reasons: Mapping[str, str] = document.get("reasons", {})
    read = {"error": _error_row, "quota": _quota_row, "faq": _question_row}[page.kind]
    return [read(name, values, _reason(values, reasons)) for name, values in document["rows"].items()]


def _reason(values: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    """Return the reason of a row: its own words, or `@name` of one that several rows have."""
    reason: str = values.get("reason", "")
    return reasons[reason[1:]] if reason.startswith("@") else reason


def _error_row(name: str, values: Mapping[str, Any], reason: str) -> Row:
    """Return the row of a code; what the server itself knows of it wins."""
    known = TABLE.get(name)
    status, meaning = (known.status, known.meaning) if known else (values["status"], values["meaning"])
    return Row(name=name, cells=(str(status), meaning), reason=reason)


def _quota_row(name: str, values: Mapping[str, Any], reason: str) -> Row:
    return Row(name=name, cells=(values["what"], values["value"]), reason=reason)


def _question_row(name: str, values: Mapping[str, Any], reason: str) -> Row:
    return Row(name=name, cells=(values["question"],), reason=reason, same_as=tuple(values.get("same_as", ())))


def _path(name: str) -> Path:
    return FOLDER / f"{name}.md"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
