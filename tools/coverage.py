"""Write docs/reference/coverage.md, the list of operations and which of them are built, from the operation table.

python tools/coverage.py            # write
python tools/coverage.py --check    # fail if the page is not up to date
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from funclet.api.call import Operation
from funclet.api.operations import OPERATIONS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "coverage.md"


def main(arguments: Sequence[str]) -> int:
    """Write or check the page; 1 if a check fails."""
    text = render(OPERATIONS)
    if arguments == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print(f"{PAGE.name} is not up to date: run `make docs`")
            return 1
        return 0
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def render(operations: Sequence[Operation]) -> str:
    """Return the page."""
    vendor = [row for row in operations if not row.is_ours]
    sdk = [row for row in vendor if row.in_sdk]
    ours = [row for row in operations if row.is_ours]
    lines = [
        "# API coverage",
        "",
        "<!-- Generated from src/funclet/api/operations.py by tools/coverage.py. Do not edit. -->",
        "",
        f"Built: {_built(sdk)} of {len(sdk)} operations of the Python SDK,",
        f"and {_built(vendor)} of {len(vendor)} with those that only other clients use.",
        "An operation that is not built answers `501` with `FSS.0501` and its name, once the caller is authenticated.",
        "",
        *_table(vendor),
        "",
        "## Additions",
        "",
        "Not part of the vendor's function API; some answer what its clients ask of other services at their start.",
        "",
        *_table(ours),
    ]
    return "\n".join(lines) + "\n"


def _built(operations: Sequence[Operation]) -> int:
    return sum(row.serve is not None for row in operations)


def _table(operations: Sequence[Operation]) -> list[str]:
    rows = [
        f"| {row.name} | `{row.method} {row.path}` | {'yes' if row.serve else 'no'} | {'yes' if row.in_sdk else 'no'} |"
        for row in sorted(operations, key=lambda row: row.name)
    ]
    return ["| Operation | Request | Built | In the SDK |", "| --- | --- | --- | --- |", *rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
