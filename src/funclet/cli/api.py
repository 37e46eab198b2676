"""`fgs api`: call any operation by the name that the vendor's SDKs give it.

The names, paths and members stand in `operations.json`, which `tools/operations.py`
makes from an OpenAPI document.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from funclet.cli import render, session
from funclet.cli.frame import Failure, did_you_mean
from funclet.cli.session import Session
from funclet.client import segment

TABLE = Path(__file__).with_name("operations.json")
_MAX_FILE_BYTES = 128 * 1024 * 1024
_PROJECT = "project_id"
_SAMPLES: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}

Operation = Mapping[str, Any]


@session.command(
    "api",
    examples=("fgs api ListFunctions --maxitems 10", "fgs api CreateFunction --cli-input-json function.json"),
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("operation", required=False)
@click.option("--cli-input-json", "source", help="File with all parameters and body members; - for stdin.")
@click.option("--skeleton", is_flag=True, help="Print such a file, empty.")
@click.option("--out", type=click.Path(dir_okay=False), help="File to write the answer to.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def api(
    talk: Session, operation: str | None, source: str | None, skeleton: bool, out: str | None, words: Sequence[str]
) -> None:
    """Call OPERATION with --parameter value; without a name list the operations.

    Members of the body are given the same way, inner ones as --outer.inner; values of other types
    than text are JSON. The project id is filled in.
    """
    table = load()
    if operation is None:
        columns = ("name", "method", "path")
        render.rows(talk.flags, [{key: row[key] for key in columns} for row in table.values()], columns=columns)
        return
    row = find(table, operation)
    if skeleton:
        render.as_json(skeleton_of(row))
        return
    given = {**_read(source), **parse_words(words, row)}
    path, query, headers, body = arrange(row, given, project_id=talk.client.credentials.project_id)
    answer = talk.client.call(row["method"], path, query=query, headers=headers, body=body)
    if out:
        Path(out).write_bytes(answer.body)
    elif "json" in answer.headers.get("content-type", "json"):
        render.as_json(answer.json())
    else:
        sys.stdout.buffer.write(answer.body)


def load() -> dict[str, Operation]:
    """Return all operations by name."""
    return {row["name"]: row for row in json.loads(TABLE.read_text(encoding="utf-8"))["operations"]}


def find(table: Mapping[str, Operation], name: str) -> Operation:
    """Return an operation; upper and lower case do not matter.

    Raises:
        Failure: there is none of this name.
    """
    plain = {known.lower(): row for known, row in table.items()}
    found = plain.get(name.lower().replace("_", "").replace("-", ""))
    if found is None:
        raise Failure(f"There is no operation '{name}'.{did_you_mean(name, list(table))}", hint="fgs api lists them.")
    return found


def skeleton_of(row: Operation) -> dict[str, Any]:
    """Return an empty input for an operation."""
    names = [entry for entry in row["parameters"] if entry["name"] != _PROJECT]
    sample = {entry["name"]: _SAMPLES.get(entry["type"], "") for entry in names}
    return sample | {name: _SAMPLES.get(entry["type"], "") for name, entry in row["body"].items()}


def parse_words(words: Sequence[str], row: Operation) -> dict[str, Any]:
    """Read `--name value` and `--name=value`.

    Raises:
        Failure: a word is no option, or has no value, or its value is not of its type.
    """
    types = {entry["name"]: entry["type"] for entry in row["parameters"]}
    types |= {name: entry["type"] for name, entry in row["body"].items()}
    plain = {name.lower().replace("-", "_"): name for name in types}
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if not option.startswith("--") or (not equals and not rest):
            raise Failure(f"'{word}' is not understood.", hint="Write --name value.")
        value = value if equals else rest.pop(0)
        outer, *inner = option[2:].split(".")
        outer = plain.get(outer.lower().replace("-", "_"), outer)
        if outer not in types and not row["is_free"]:
            known = did_you_mean(outer, list(types))
            raise Failure(f"{row['name']} has no parameter '{outer}'.{known}", hint=f"fgs api {row['name']} --skeleton")
        place = found
        for name in (outer, *inner[:-1]) if inner else ():
            place = place.setdefault(name, {})
        place[inner[-1] if inner else outer] = _typed(value, "any" if inner else types.get(outer, "any"), option)
    return found


def _typed(text: str, kind: str, option: str) -> Any:
    if kind == "string":
        return text
    try:
        return json.loads(text.lower() if kind == "boolean" else text)
    except ValueError as error:
        if kind == "any":
            return text
        raise Failure(f"{option}: '{text}' is not {kind} in JSON.") from error


def arrange(
    row: Operation, given: Mapping[str, Any], *, project_id: str
) -> tuple[str, dict[str, str], dict[str, str], bytes]:
    """Return path, query, headers and body of a call.

    Raises:
        Failure: something that the path needs is missing.
    """
    values = {_PROJECT: project_id, **given}
    path = row["path"]
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    for entry in row["parameters"]:
        name, place = entry["name"], entry["in"]
        if place == "path" and values.get(name) in (None, ""):
            raise Failure(f"--{name} is missing.", hint=f"fgs api {row['name']} --skeleton")
        value = values.pop(name, None)
        if value is None or value == "":
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if place == "path":
            path = path.replace(f"{{{name}}}", segment(text))
        else:
            (query if place == "query" else headers)[name] = text
    values.pop(_PROJECT, None)
    has_body = bool(row["body"] or row["is_free"]) and bool(values)
    return path, query, headers, json.dumps(values, ensure_ascii=False).encode() if has_body else b""


def _read(source: str | None) -> dict[str, Any]:
    if source is None:
        return {}
    try:
        if source == "-":
            data = sys.stdin.buffer.read(_MAX_FILE_BYTES)
        else:
            with Path(source).open("rb") as file:
                data = file.read(_MAX_FILE_BYTES)
        found = json.loads(data)
    except (OSError, ValueError) as error:
        raise Failure(f"{source} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise Failure(f"{source} must hold a JSON object.")
    return found
