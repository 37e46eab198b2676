"""Which tests prove which rows of the tables in docs/reference, read from the marks in tests/ without importing them.

`@pytest.mark.proves("operation:CreateEvent", "error:FSS.1068")` names the rows. The mark may stand at a function,
a class, a module (`pytestmark`) or a `pytest.param`; it belongs to the function or class around it.
Start with `collect`.
"""

import ast
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = ("operation", "error", "quota", "faq")
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class WrongMark(Exception):
    """A mark that names nothing that can be looked up."""


@dataclass(frozen=True, slots=True, order=True)
class Proof:
    """A test that proves a row."""

    path: str
    """Of the file, from the root of the repository."""
    name: str
    """Of the function or class; that of the file if the mark holds for all of it."""

    def link(self, page: Path) -> str:
        """Return a link to the test for a page."""
        return f"[{self.name}]({os.path.relpath(ROOT / self.path, page.parent)})"


Proofs = Mapping[str, Sequence[Proof]]


def collect(folder: Path = ROOT / "tests", *, root: Path = ROOT) -> Proofs:
    """Return the tests of each row that a mark names, such as `error:FSS.1068`, in a fixed order.

    Raises:
        WrongMark: a mark is not made of literal texts like `kind:name`.
    """
    found: dict[str, set[Proof]] = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "proves" not in text:
            continue
        place = path.relative_to(root).as_posix()
        for owner, call in _marks(ast.parse(text), path.name):
            for row in _rows(call, place):
                found.setdefault(row, set()).add(Proof(place, owner))
    return {row: sorted(proofs) for row, proofs in sorted(found.items())}


def cell(proofs: Proofs, row: str, page: Path, *, otherwise: str = "") -> str:
    """Return what stands in the column of proofs: the first test and how many more, or the reason why there is none."""
    tests = proofs.get(row, ())
    if not tests:
        return otherwise
    more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
    return tests[0].link(page) + more


def unknown(proofs: Proofs, kind: str, names: Sequence[str]) -> list[str]:
    """Return a sentence for each mark of a kind whose row does not exist."""
    known = {f"{kind}:{name}" for name in names}
    return [
        f"{tests[0].path}: {tests[0].name} proves '{row}', which no table has"
        for row, tests in proofs.items()
        if row.startswith(f"{kind}:") and row not in known
    ]


def _marks(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        name = child.name if isinstance(child, _Scope) else owner
        # What stands in a class is a test of its own; a function inside a function is not.
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = owner
        if isinstance(child, ast.Call) and _is_mark(child.func):
            yield owner, child
        yield from _marks(child, name)


def _is_mark(function: ast.expr) -> bool:
    """Tell whether something called is the mark: `pytest.mark.proves`, or a name `proves` for it."""
    return getattr(function, "attr", getattr(function, "id", "")) == "proves"


def _rows(call: ast.Call, place: str) -> Iterator[str]:
    for row in (text for argument in call.args for text in _texts(argument)):
        if not isinstance(row, str) or row.partition(":")[0] not in KINDS or not row.partition(":")[2]:
            raise WrongMark(f"{place}:{call.lineno}: a mark names rows as literal texts like 'error:FSS.1068'")
        yield row


def _texts(argument: ast.expr) -> Iterator[object]:
    """Yield the texts of an argument: one, or those of `*(f"error:FSS.{number}" for number in (1101, 1102))`."""
    generator = argument.value if isinstance(argument, ast.Starred) else None
    if isinstance(generator, ast.GeneratorExp) and isinstance(generator.elt, ast.JoinedStr):
        for value in ast.literal_eval(generator.generators[0].iter):
            yield "".join(
                str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else str(value)
                for part in generator.elt.values
            )
    else:
        yield argument.value if isinstance(argument, ast.Constant) else None
