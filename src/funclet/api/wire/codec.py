"""JSON bodies and query parameters: from bytes to checked shapes, and back. Start with `decode`.

A shape is a `msgspec.Struct`. Unknown members are ignored. To tell an explicit
null from an absent member, give it the type `X | UnsetType | None` and the
default `UNSET`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from funclet.api.call import Call
from funclet.base.http import Response
from funclet.model.errors import ModelError

T = TypeVar("T")

_MAX_NUMBER_LENGTH = 18
_SECONDS = re.compile(r"\d{1,12}(\.\d{0,9})?", re.ASCII)
_AT = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(.*)`, got `(.*)`", re.DOTALL)
_WORDS = {"int": "integer", "str": "string", "bool": "boolean", "float": "number"}


def decode(shape: type[T], call: Call) -> T:
    """Return the body of `call` as a `shape`. An empty body stands for `{}`.

    Raises:
        ModelError: FSS.0406 if it is not JSON, FSS.0400 if a member is missing or of the wrong type.
    """
    return decode_bytes(shape, call.request.body or b"{}")


def decode_bytes(shape: type[T], body: bytes) -> T:
    """Return `body` as a `shape`; `decode` for a body that is not the one of a call.

    Raises:
        ModelError: as `decode`.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise ModelError("FSS.0400", explain(str(error))) from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise ModelError("FSS.0406", f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise ModelError("FSS.0406", "The body is nested too deeply.") from error


def json_response(status: int, value: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return `value` (builtin types or Structs) as a JSON answer. Members that are UNSET are left out."""
    return Response(status=status, body=msgspec.json.encode(value), headers=dict(headers or {}))


def no_content() -> Response:
    """Return the answer 204."""
    return Response(status=204)


def query_number(call: Call, name: str, *, default: int) -> int:
    """Return a query parameter that is a whole number; `default` if it is absent or empty.

    Raises:
        ModelError: FSS.1001.
    """
    text = call.query.get(name, "").strip()
    if not text:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_NUMBER_LENGTH):
        raise ModelError("FSS.1001", f"{name} '{text[:40]}' is invalid: a whole number is wanted.")
    return int(text)


def query_time(call: Call, name: str) -> float | None:
    """Return a query parameter that is a time, in seconds since the epoch; None if it is absent or empty.

    It may be given in seconds or as `2026-03-17T10:13:22`, which is UTC unless it says otherwise.

    Raises:
        ModelError: FSS.1001.
    """
    text = call.query.get(name, "").strip()
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ModelError("FSS.1001", f"{name} '{text[:40]}' is no time like 2026-03-17T10:13:22.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def page(call: Call, size_name: str, *, default: int, maximum: int) -> tuple[int, int]:
    """Return offset and size of the page that a list call asks for, by `marker` and `size_name`.

    A size of 0 or above `maximum` means `maximum`.

    Raises:
        ModelError: FSS.1001 if either is not a number or is negative.
    """
    marker = query_number(call, "marker", default=0)
    size = query_number(call, size_name, default=default)
    for name, value in (("marker", marker), (size_name, size)):
        if value < 0:
            raise ModelError("FSS.1001", f"{name} {value} is invalid: 0 or more is wanted.")
    return marker, size if 0 < size <= maximum else maximum


def is_true(text: str) -> bool:
    """Tell whether a boolean header or query value says true; clients send `true` and `True`."""
    return text.strip().lower() == "true"


def explain(error: str) -> str:
    """Turn the words of the decoder into a sentence that names the field."""
    at = _AT.search(error)
    path = at.group(1) if at else ""
    text = error[: at.start()] if at else error
    missing = _MISSING.fullmatch(text)
    if missing:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return f"Field '{path}' is missing."
    subject = f"Field '{path}'" if path else "The body"
    expected = _EXPECTED.fullmatch(text)
    if expected:
        wanted = " or ".join(_WORDS.get(word, word) for word in expected.group(1).split(" | "))
        got = _WORDS.get(expected.group(2), expected.group(2))
        return f"{subject} must be of type {wanted}, not {got}."
    return f"{subject} is invalid: {text[:1].lower()}{text[1:]}."
