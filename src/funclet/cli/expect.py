"""A small language for `invoke --expect`: a path into the answer, and perhaps what it must be.

`body.items[0].name`, `statusCode == 200`, `name != "x"`, `length(items) == 3`: a part
of JMESPath. `holds` decides.
"""

import json
import re
from typing import Any

from funclet.cli.frame import Failure

_COMPARISON = re.compile(r"\s*(.+?)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*")
_LENGTH = re.compile(r"length\((.+)\)")
_STEP = re.compile(r'\.?("(?:[^"]+)"|[A-Za-z_][\w-]*)|\[(-?\d+)\]')


def holds(expression: str, answer: Any) -> bool:
    """Return whether the answer is as the expression says; a path alone must lead to something true.

    Raises:
        Failure: the expression cannot be read.
    """
    match = _COMPARISON.fullmatch(expression)
    if not match:
        return bool(find(expression.strip(), answer))
    have, wanted = find(match.group(1), answer), _literal(match.group(3))
    if match.group(2) in ("==", "!="):
        return bool((have == wanted) == (match.group(2) == "=="))
    if not all(isinstance(side, (int, float)) for side in (have, wanted)):
        return False
    difference = have - wanted
    return bool({"<": difference < 0, "<=": difference <= 0, ">": difference > 0, ">=": difference >= 0}[match[2]])


def find(path: str, answer: Any) -> Any:
    """Return what a path leads to; None when it leads nowhere."""
    length = _LENGTH.fullmatch(path)
    if length:
        found = find(length.group(1), answer)
        return len(found) if isinstance(found, (str, list, dict)) else None
    position = 0
    value = answer
    while position < len(path) and path != "@":
        step = _STEP.match(path, position)
        if not step:
            raise Failure(f"'{path}' is no path.", hint='Write it like body.items[0].name or "odd name".')
        position = step.end()
        value = _step(value, step)
    return value


def _step(value: Any, step: re.Match[str]) -> Any:
    if step.group(2) is not None:
        index = int(step.group(2))
        return value[index] if isinstance(value, list) and -len(value) <= index < len(value) else None
    return value.get(step.group(1).strip('"')) if isinstance(value, dict) else None


def _literal(text: str) -> Any:
    """Read JSON, also in JMESPath's quotes: `'text'` is a text, backticks hold JSON."""
    if text[:1] == text[-1:] == "'":
        return text[1:-1]
    try:
        return json.loads(text.strip("`"))
    except ValueError as error:
        raise Failure(f"'{text}' is no value.", hint='Write JSON: 200, true, "text".') from error
