"""The document at `/openapi.json`: every row of the table is in it and nothing else, and it is cheap to ask for."""

import json
import re
import urllib.request

import pytest

from funclet.api.openapi.document import Facts, render
from funclet.api.operations import OPERATIONS
from funclet.base.http import Request
from tests.support.raw_http import RawConnection

DOCUMENT = json.loads(render(OPERATIONS))
METHODS = ("get", "post", "put", "delete", "patch", "head", "options")
WRITTEN = {
    (path, method.upper()): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method in METHODS
}
ROWS = {(row.path, row.method): row for row in OPERATIONS}
FACTS = Facts()


def references(value):
    """Yield all references in a part of the document."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name == "$ref" and isinstance(one, str):
                yield one
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_document_and_table_hold_the_same_operations():
    assert {key: one["operationId"] for key, one in WRITTEN.items()} == {key: row.name for key, row in ROWS.items()}


def test_every_row_is_described_and_nothing_else_is():
    assert FACTS.operations.keys() == {row.name for row in OPERATIONS}


def test_every_shape_is_used_and_exists():
    used = {reference.rpartition("/")[2] for reference in references(DOCUMENT) if "/schemas/" in reference}

    assert used == DOCUMENT["components"]["schemas"].keys()


def test_path_parameters_are_those_of_the_path():
    for path, methods in DOCUMENT["paths"].items():
        shared = [one["$ref"].rpartition("/")[2] for one in methods.get("parameters", [])]
        own = {
            one["name"]
            for method in METHODS
            for one in methods.get(method, {}).get("parameters", [])
            if one["in"] == "path"
        }

        assert shared == re.findall(r"\{(\w+)\}", path)
        assert own <= set(shared)


def test_what_needs_no_credentials_and_what_is_not_built_is_marked():
    assert {key for key, one in WRITTEN.items() if one.get("security") == []} == {
        key for key, row in ROWS.items() if row.is_public
    }
    assert {key for key, one in WRITTEN.items() if one.get("x-is-built") is False} == {
        key for key, row in ROWS.items() if row.serve is None
    }


@pytest.mark.parametrize("name", sorted(FACTS.operations))
def test_required_parameters_are_parameters(name):
    facts = FACTS.operations[name]
    named = {one for place in ("query", "header") for one in facts.get(place, {})}

    assert set(facts.get("required", [])) <= named


def test_a_long_enumeration_stands_in_one_place():
    """Runtimes and such change; the document stays small."""
    text = json.dumps(FACTS.shapes)

    assert text.count('"Python3.12"') == 1
    assert len(render(OPERATIONS)) < 250_000


@pytest.mark.proves("operation:ShowApiDocument")
def test_it_is_served_to_anybody(server):
    with urllib.request.urlopen(f"{server.api_url}/openapi.json") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert json.load(answer) == DOCUMENT


def test_whoever_has_it_is_not_sent_it_again(server):
    connection = RawConnection(server.api_url)
    head = f"GET /openapi.json HTTP/1.1\r\nHost: {connection.host}\r\n"
    try:
        first = connection.ask(f"{head}\r\n".encode())
        etag = first.headers["etag"]
        again = connection.ask(f"{head}If-None-Match: {etag}\r\n\r\n".encode())
        listed = connection.ask(f'{head}If-None-Match: "x", W/{etag}\r\n\r\n'.encode())
        other = connection.ask(f'{head}If-None-Match: "x"\r\n\r\n'.encode())
    finally:
        connection.close()

    assert [answer.status for answer in (first, again, listed, other)] == [200, 304, 304, 200]
    assert (again.body, again.headers["etag"]) == (b"", etag)
    assert other.body == first.body


def test_it_is_rendered_once(api):
    request = Request(method="GET", raw_path="/openapi.json", headers={"host": "h"})

    first, second = (api.run(api._api.handle(request)) for _ in range(2))

    assert first.body is second.body
