"""Write docs/reference/coverage.md, the list of operations and which of them are built, from the operation table.

python -m tools.coverage            # write
python -m tools.coverage --check    # fail if the page is not up to date, or something that is built has no test
"""

import sys
from collections.abc import Iterator, Sequence

from funclet.api.call import Operation
from funclet.api.operations import OPERATIONS
from tools import proofs as marks

PAGE = marks.ROOT / "docs" / "reference" / "coverage.md"


def main(arguments: Sequence[str]) -> int:
    """Write or check the page; 1 if a check fails."""
    proofs = marks.collect()
    text = render(OPERATIONS, proofs)
    if arguments == ["--check"]:
        faults = list(faults_of(OPERATIONS, proofs))
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            faults.append(f"{PAGE.name} is not up to date: run `make docs`")
        for fault in faults:
            print(fault)
        return 1 if faults else 0
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def faults_of(operations: Sequence[Operation], proofs: marks.Proofs) -> Iterator[str]:
    """Yield what is wrong: operations that are built and proved by no test, and marks of unknown ones."""
    for row in operations:
        mark = f"operation:{row.name}"
        if row.serve and mark not in proofs:
            yield f'{row.name} is built, but no test has @pytest.mark.proves("{mark}")'
    yield from marks.unknown(proofs, "operation", [row.name for row in operations])


def render(operations: Sequence[Operation], proofs: marks.Proofs) -> str:
    """Return the page."""
    vendor = [row for row in operations if not row.is_ours]
    sdk = [row for row in vendor if row.in_sdk]
    ours = [row for row in operations if row.is_ours]
    lines = [
        "# API coverage",
        "",
        "<!-- Generated from src/funclet/api/operations.py and the marks of tests by tools/coverage.py. -->",
        "",
        f"Built: {_built(sdk)} of {len(sdk)} operations of the Python SDK,",
        f"and {_built(vendor)} of {len(vendor)} with those that only other clients use.",
        "An operation that is not built answers `501` with `FSS.0501` and its name, once the caller is authenticated.",
        "",
        *_table(vendor, proofs),
        "",
        "## Additions",
        "",
        "Not part of the vendor's function API; some answer what its clients ask of other services at their start.",
        "",
        *_table(ours, proofs),
    ]
    return "\n".join(lines) + "\n"


def _built(operations: Sequence[Operation]) -> int:
    return sum(row.serve is not None for row in operations)


def _table(operations: Sequence[Operation], proofs: marks.Proofs) -> list[str]:
    head = ["| Operation | Request | Built | In the SDK | Proved by |", "| --- | --- | --- | --- | --- |"]
    return head + [_row(row, proofs) for row in sorted(operations, key=lambda row: row.name)]


def _row(row: Operation, proofs: marks.Proofs) -> str:
    proof = marks.cell(proofs, f"operation:{row.name}", PAGE, otherwise="" if row.serve else "not built yet")
    cells = (row.name, f"`{row.method} {row.path}`", _yes(row.serve is not None), _yes(row.in_sdk), proof)
    return "| " + " | ".join(cells) + " |"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
