"""Compare one answer with what a step of a case expects. Start with `problems_of`."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from runtime_process import Answer

Check = Callable[[Any, Answer, str], str]
"""Given the expectation, the answer and its body as text, returns what is wrong, or nothing."""

SHOWN_CHARACTERS = 4000
"""How much of a body or log a failure shows."""


def problems_of(answer: Answer, step: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Return every difference as one text with body and log, empty when there is none.

    Args:
        answer: what the runtime gave.
        step: the step; members that are no expectation are passed over. `code` is always compared.
        places: text to replace in expectations, such as `{code_root}`.
    """
    text = answer.body.decode("utf-8", "replace")
    expected = {"code": 0, **step}
    found = [
        problem
        for name, check in CHECKS.items()
        if name in expected and (problem := check(_filled(expected[name], places), answer, text))
    ]
    if not found:
        return ""
    return "; ".join(found) + f"\nbody: {_shortened(text)}\nlog: {_shortened(answer.log)}"


def _shortened(text: str) -> str:
    half = SHOWN_CHARACTERS // 2
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:half]} ... {text[-half:]}"


def _filled(value: Any, places: Mapping[str, str]) -> Any:
    """Fill the places in, in a text or in each text of a list; anything else stays."""
    if isinstance(value, list):
        return [_filled(item, places) for item in value]
    if isinstance(value, str):
        for name, replacement in places.items():
            value = value.replace(name, replacement)
    return value


def _equal(name: str, expected: Any, got: Any) -> str:
    return "" if expected == got else f"{name} is {_shortened(repr(got))}, expected {_shortened(repr(expected))}"


def _body_pattern(expected: Any, _answer: Answer, text: str) -> str:
    return "" if re.fullmatch(expected, text, re.DOTALL) else f"body does not match {expected!r}"


def _body_json(expected: Any, _answer: Answer, text: str) -> str:
    try:
        return _equal("body as JSON", json.loads(expected), json.loads(text))
    except ValueError as error:
        return f"body or expectation is not JSON: {error}"


def _body_has(expected: Any, _answer: Answer, text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"body is not JSON: {error}"
    if not isinstance(value, dict):
        return f"body is not a JSON object: {_shortened(text)}"
    wrong = [_equal(f"member {name!r}", member, value.get(name)) for name, member in expected.items()]
    return "; ".join(filter(None, wrong))


def _body_lacks(expected: Any, _answer: Answer, text: str) -> str:
    present = [name for name in expected if name in json.loads(text)]
    return f"body has the members {present}" if present else ""


def _log(expected: Any, answer: Answer, _text: str) -> str:
    at = 0
    for pattern in expected:
        found = re.compile(pattern, re.MULTILINE).search(answer.log, at)
        if not found:
            return f"log does not match {pattern!r} after character {at}"
        at = found.end()
    return ""


def _log_lines(expected: Any, answer: Answer, _text: str) -> str:
    lines = answer.log.splitlines()
    same = len(lines) == len(expected) and all(map(re.fullmatch, expected, lines))
    return "" if same else f"log has {len(lines)} lines, expected {len(expected)} that match {expected}"


def _log_absent(expected: Any, answer: Answer, _text: str) -> str:
    present = [pattern for pattern in expected if re.search(pattern, answer.log, re.MULTILINE)]
    return f"log matches {present}" if present else ""


CHECKS: Mapping[str, Check] = {
    "code": lambda expected, answer, _text: _equal("code", expected, answer.code),
    "flags": lambda expected, answer, _text: _equal("flags", expected, answer.flags),
    "body": lambda expected, _answer, text: _equal("body", expected, text),
    "body_hex": lambda expected, answer, _text: _equal("body", bytes.fromhex(expected), answer.body),
    "body_size": lambda expected, answer, _text: _equal("body size", expected, len(answer.body)),
    "body_max": lambda expected, answer, _text: _equal("body too long", True, len(answer.body) <= expected),
    "body_pattern": _body_pattern,
    "body_json": _body_json,
    "body_has": _body_has,
    "body_lacks": _body_lacks,
    "log": _log,
    "log_lines": _log_lines,
    "log_absent": _log_absent,
    "log_size": lambda expected, answer, _text: _equal("log size", expected, len(answer.log.encode())),
    "log_max": lambda expected, answer, _text: _equal("log too long", True, len(answer.log.encode()) <= expected),
}
