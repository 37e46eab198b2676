"""Write docs/reference/permissions.md: the action of each operation, and which roles allow it.

python tools/permissions.py            # write
python tools/permissions.py --check    # fail if the page is not up to date
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from funclet.api.actions import ACTIONS, FREE, action_of, names_of
from funclet.api.call import Operation
from funclet.api.operations import OPERATIONS
from funclet.model.policy import CONDITION_KEYS, OPERATORS, Access, Grants
from funclet.model.roles import SYSTEM_ROLES, SystemRole

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "permissions.md"


def main(arguments: Sequence[str]) -> int:
    """Write or check the page; 1 if a check fails."""
    text = render(OPERATIONS)
    if arguments == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print(f"{PAGE.name} is not up to date: run `make docs`")
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


def render(operations: Sequence[Operation]) -> str:
    """Return the page."""
    lines = [
        "# Permissions",
        "",
        "<!-- Generated from src/funclet/api/actions.py and model/roles.py by tools/permissions.py. Do not edit. -->",
        "",
        "Every operation asks for one action; [how to allow them](../howto/permissions.md).",
        "The owner of the account, `admin` of the first start, may do everything.",
        "`tests/api/test_matrix.py` calls every operation with every role and compares with this table.",
        "",
        "## Roles",
        "",
        "| Letter | Role | What it is for | Actions |",
        "| --- | --- | --- | --- |",
        *(_role(letter, role) for letter, role in _lettered()),
        "",
        "## Operations",
        "",
        "| Operation | Action | Roles |",
        "| --- | --- | --- |",
        *(_row(row) for row in sorted(operations, key=lambda row: row.name) if row.name not in FREE),
        "",
        "## Operations that need no action",
        "",
        "| Operation | Why |",
        "| --- | --- |",
        *(f"| {name} | {reason} |" for name, reason in sorted(FREE.items())),
        "",
        "## Other names of actions",
        "",
        "Policies may use either name.",
        "",
        "| Action | Also |",
        "| --- | --- |",
        *(_aliases(action) for action in sorted(set(ACTIONS.values())) if len(names_of(action)) > 1),
        "",
        "## Conditions",
        "",
        f"Keys: {', '.join(f'`{key}`' for key in CONDITION_KEYS)}.",
        "",
        f"Operators: {', '.join(f'`{operator}`' for operator in OPERATORS)},",
        "each also with `IfExists` behind it.",
    ]
    return "\n".join(lines) + "\n"


def _lettered() -> Sequence[tuple[str, SystemRole]]:
    return list(zip("ABCDEFGH", SYSTEM_ROLES, strict=True))


def _role(letter: str, role: SystemRole) -> str:
    actions = " ".join(f"`{action}`" for statement in role.policy.statements for action in statement.actions)
    return f"| {letter} | {role.name} | {role.description} | {actions} |"


def _row(row: Operation) -> str:
    action = action_of(row.name)
    access = Access(actions=names_of(action))
    letters = " ".join(letter for letter, role in _lettered() if Grants([role.policy]).allows(access))
    return f"| {row.name} | `{action}` | {letters} |"


def _aliases(action: str) -> str:
    return f"| `{action}` | {', '.join(f'`{name}`' for name in names_of(action)[1:])} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
