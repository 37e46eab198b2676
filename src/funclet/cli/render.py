"""Data on stdout: tables for people, JSON for scripts.

`rows` shows a list, `item` one thing, `failure` an error; all obey -o and --fields.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from funclet.cli.frame import Failure, Flags, say

Document = Mapping[str, Any]
_MAX_CELL = 60
_MAX_HEAD = 8
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def as_json(value: Any) -> None:
    """Write one JSON document."""
    say(json.dumps(value, ensure_ascii=False, indent=2))


def rows(flags: Flags, found: Sequence[Document], *, columns: Sequence[str], wide: Sequence[str] = ()) -> None:
    """Write a list of documents.

    Args:
        flags: the global options.
        found: the documents, as the server sent them.
        columns: members that the table shows; the first is what `-o name` prints.
        wide: members that `-o wide` shows too.
    """
    chosen = _fields(flags) or [*columns, *(wide if flags.output == "wide" else ())]
    if flags.output == "json":
        as_json([_only(row, _fields(flags)) for row in found])
    elif flags.output == "name":
        for row in found:
            say(_text(member(row, columns[0])))
    elif flags.output == "text":
        for row in found:
            say("\t".join(_text(member(row, name)) for name in chosen))
    else:
        head = [] if flags.is_on("no_headers") else [[name.rpartition(".")[2].upper() for name in chosen]]
        _table(head + [[_text(member(row, name)) for name in chosen] for row in found])


def item(flags: Flags, found: Document, *, columns: Sequence[str]) -> None:
    """Write one document: all of it as JSON, the chosen members otherwise."""
    chosen = _fields(flags) or columns
    if flags.output == "json":
        as_json(_only(found, _fields(flags)))
    elif flags.output == "name":
        say(_text(member(found, columns[0])))
    else:
        pairs = [[name, _text(member(found, name))] for name in chosen if member(found, name) not in (None, "")]
        for name, value in pairs:
            separator = "\t" if flags.output == "text" else " " * (max(len(p[0]) for p in pairs) - len(name) + 2)
            say(f"{name}{separator}{value}")


def failure(flags: Flags, error: Failure) -> None:
    """Write an error to stderr: as an object when JSON was asked for, as text otherwise."""
    if flags.is_json:
        found = {
            "code": error.code,
            "message": error.message,
            "request_id": error.request_id,
            "hint": error.hint,
            "http_status": error.http_status,
        }
        click.echo(json.dumps({"error": found}, ensure_ascii=False), err=True)
        return
    head = f"error {error.code}:" if error.code else "error:"
    click.echo(f"{click.style(head, fg='red')} {error.message}", err=True, color=flags.color)
    if error.request_id:
        click.echo(f"request id: {error.request_id}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def member(document: Document, name: str) -> Any:
    """Return a member by its dotted name; None where there is none."""
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _fields(flags: Flags) -> list[str]:
    return [name.strip() for name in flags.text("fields").split(",") if name.strip()]


def _only(row: Document, names: Sequence[str]) -> Document:
    return {name: member(row, name) for name in names} if names else row


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return local_time(value) if isinstance(value, str) and _TIME.fullmatch(value) else str(value)


def local_time(text: str) -> str:
    """Return a UTC time of the API as people here write it; anything else unchanged."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text


def _table(lines: Sequence[Sequence[str]]) -> None:
    cut = [[_cut(cell) for cell in line] for line in lines]
    widths = [max((_width(line[i]) for line in cut), default=0) for i in range(len(cut[0]) if cut else 0)]
    for line in cut:
        padded = (cell + " " * (widths[i] - _width(cell)) for i, cell in enumerate(line))
        say("  ".join(padded).rstrip())


def _cut(cell: str) -> str:
    """Shorten what is too long: prose at its end, names such as urns in the middle, since they differ at the end."""
    if len(cell) <= _MAX_CELL:
        return cell
    head = _MAX_CELL - 1 if " " in cell else _MAX_HEAD
    return f"{cell[:head]}…{cell[len(cell) - (_MAX_CELL - 1 - head) :]}"


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
