"""Write the operation table of `fgs api` from an OpenAPI document.

    python tools/operations.py openapi.json > src/funclet/cli/operations.json

Takes names, methods, paths, parameters and the members of bodies; no texts.
"""

import json
import sys
from pathlib import Path
from typing import Any

_METHODS = ("get", "post", "put", "delete", "patch", "head")
_MAX_REFERENCES = 16


def main() -> None:
    """Read the document named on the command line and print the table."""
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rows = [
        _row(document, method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in _METHODS
    ]
    lines = (json.dumps(row, ensure_ascii=False) for row in sorted(rows, key=lambda row: row["name"]))
    print('{"operations": [\n' + ",\n".join(lines) + "\n]}")


def _row(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    schema = _resolve(document, content.get("application/json", {}).get("schema"))
    required = (schema or {}).get("required", [])
    return {
        "name": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "parameters": [
            {
                "name": entry["name"],
                "in": entry["in"],
                "required": bool(entry.get("required")),
                "type": _type(document, entry.get("schema")),
            }
            for entry in operation.get("parameters", [])
        ],
        "body": {
            name: {"type": _type(document, member), "required": name in required}
            for name, member in (schema or {}).get("properties", {}).items()
        },
        "is_free": schema is not None and not schema.get("properties"),
    }


def _resolve(document: dict[str, Any], schema: dict[str, Any] | None) -> dict[str, Any] | None:
    for _ in range(_MAX_REFERENCES):
        if schema is None or "$ref" not in schema:
            break
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _type(document: dict[str, Any], schema: dict[str, Any] | None) -> str:
    found = _resolve(document, schema) or {}
    kind = found.get("type", "any")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "any")
    return str(kind)


if __name__ == "__main__":
    main()
