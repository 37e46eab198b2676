"""Fail on a module over 500 lines or a function over 60 that gives no reason in its docstring.

The reason is a sentence with the word "long" in the docstring of the module or function.
"""

import ast
import sys
from pathlib import Path

MAX_MODULE, MAX_FUNCTION = 500, 60


def excused(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether the docstring gives a reason for the length."""
    return "long" in (ast.get_docstring(node) or "").lower().split()


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    document = ast.get_docstring(node)
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    return lines - (len(document.splitlines()) + 2 if document else 0)


def main() -> int:
    """Print every offender; 1 if there is one."""
    offenders = []
    for path in sorted([*Path("src").rglob("*.py"), *Path("runtimes").rglob("*.py")]):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        if text.count("\n") > MAX_MODULE and not excused(tree):
            offenders.append(f"{path}: {text.count(chr(10))} lines, at most {MAX_MODULE}")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = length(node)
                if count > MAX_FUNCTION and not excused(node):
                    offenders.append(f"{path}:{node.lineno}: {node.name} has {count} lines, at most {MAX_FUNCTION}")
    print("\n".join(offenders))
    return 1 if offenders else 0


if __name__ == "__main__":
    sys.exit(main())
