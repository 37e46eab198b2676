"""The document at `/openapi.json`: the operation table, with the facts of each row from `operations.json`.

Facts are what the table does not say: parameters outside the path, bodies and
answers. `shapes.json` has the schemas that they name. Start with `render`.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import msgspec

from funclet import __version__
from funclet.api.call import Operation
from funclet.base.http import JSON

_SCHEMAS = "#/components/schemas/"
_BEFORE_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PARAMETER = re.compile(r"\{(\w+)\}")
_TEXT = {"type": "string"}
# What a row without facts is taken for: whatever its name promises, as JSON.
_UNKNOWN: Mapping[str, Any] = {"group": "Other", "status": 200, "answer": {}}


class Facts:
    """What is known of operations beside the table."""

    def __init__(self) -> None:
        """Read the files of this package."""
        self.operations: Mapping[str, Mapping[str, Any]] = _read("operations.json")
        """By name of the operation: `group`; schemas of parameters by place (`path`, `query`, `header`) and name;
        names of the `required` ones; `body` and whether it may be left out; `status`, `answer` and its media `types`.
        """
        self.shapes: Mapping[str, Any] = _read("shapes.json")


def render(operations: Iterable[Operation]) -> bytes:
    """Return the OpenAPI 3.1 document of `operations` as JSON."""
    facts = Facts()
    rows = sorted(operations, key=lambda row: (row.path, row.method))
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, facts.operations.get(row.name, _UNKNOWN))
    for path, methods in paths.items():
        names = _PARAMETER.findall(path)
        if names:
            methods["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    names = sorted({name for path in paths for name in _PARAMETER.findall(path)})
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Funclet",
                "version": __version__,
                "summary": "A self-hosted function platform that speaks the FunctionGraph API",
                "description": "Members that are not named here are ignored. A member that need not be sent"
                " may also be null. What is marked with x-is-built false answers 501.",
            },
            "servers": [{"url": "/"}],
            "security": [{"token": []}, {"signature": []}],
            "tags": [{"name": group} for group in sorted({_group(row, facts) for row in rows})],
            "paths": paths,
            "components": {
                "schemas": {**facts.shapes, **_ERRORS},
                "parameters": {name: _parameter(name, "path", _TEXT, is_required=True) for name in names},
                "responses": {"Error": _error("Error"), "IdentityError": _error("IdentityError")},
                "securitySchemes": _SECURITY,
            },
        }
    )


def _operation(row: Operation, facts: Mapping[str, Any]) -> dict[str, Any]:
    required = facts.get("required", ())
    parameters = [
        _parameter(name, place, schema, is_required=place == "path" or name in required)
        for place in ("path", "query", "header")
        for name, schema in facts.get(place, {}).items()
    ]
    kind = "IdentityError" if row.path.startswith("/v3") else "Error"
    answer: dict[str, Any] = {
        "operationId": row.name,
        "summary": _BEFORE_CAPITAL.sub(" ", row.name).capitalize(),
        "tags": [facts["group"]],
        "responses": {str(facts["status"]): _answer(facts), "default": {"$ref": f"#/components/responses/{kind}"}},
    }
    if parameters:
        answer["parameters"] = parameters
    if "body" in facts:
        content = {JSON: {"schema": facts["body"]}}
        answer["requestBody"] = {"required": not facts.get("is_body_optional", False), "content": content}
    if row.is_public:
        answer["security"] = []
    if row.serve is None:
        answer["x-is-built"] = False
    return answer


def _answer(facts: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    schema = facts.get("answer")
    types = facts.get("types", (JSON,) if schema is not None else ())
    if types:
        answer["content"] = {kind: {"schema": schema} if kind == JSON and schema is not None else {} for kind in types}
    return answer


def _parameter(name: str, place: str, schema: Any, *, is_required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": is_required, "schema": schema}


def _group(row: Operation, facts: Facts) -> str:
    return str(facts.operations.get(row.name, _UNKNOWN)["group"])


def _error(shape: str) -> dict[str, Any]:
    return {
        "description": "Refused or failed; see docs/reference/errors.md.",
        "headers": {"X-Request-Id": {"schema": _TEXT}},
        "content": {JSON: {"schema": {"$ref": _SCHEMAS + shape}}},
    }


def _read(name: str) -> Any:
    return msgspec.json.decode((resources.files(__package__) / name).read_bytes())


_ERRORS: Mapping[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error_code", "error_msg", "request_id"],
        "properties": {"error_code": _TEXT, "error_msg": _TEXT, "request_id": _TEXT},
    },
    "IdentityError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "title"],
                "properties": {"code": {"type": "integer"}, "message": _TEXT, "title": _TEXT},
            }
        },
    },
}
_SECURITY: Mapping[str, Any] = {
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Auth-Token",
        "description": "The token that CreateToken answers in X-Subject-Token.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "An access key's signature of the request, SDK-HMAC-SHA256, with X-Sdk-Date.",
    },
}
