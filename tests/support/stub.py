"""A server of canned answers, for tests of clients."""

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

PROJECT = "0123456789abcdef0123456789abcdef"


@dataclass
class Seen:
    """One request that the stub got."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Stub:
    """Answers by (method, path); the last answer of a list is repeated."""

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, Any, dict[str, str]]]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def on(self, method: str, path: str, status: int = 200, body: Any = None, **headers: str) -> None:
        """Answer a request; `path` is below the project unless it starts with /v3."""
        full = path if path.startswith("/v3") else f"/v2/{PROJECT}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault((method, full), []).append((status, body, named))

    def take(self, method: str, path: str) -> tuple[int, Any, dict[str, str]]:
        """Return the next answer to a request."""
        found = self.answers.get((method, path))
        if not found:
            return 404, {"error_code": "FSS.1051", "error_msg": f"nothing for {method} {path}"}, {}
        return found.pop(0) if len(found) > 1 else found[0]


def handler_of(stub):
    """Return the request handler class that answers from `stub`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self):
            path, _, query = self.path.partition("?")
            path = path.replace("%3A", ":").replace("%21", "!")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.seen.append(Seen(self.command, path, query, headers, body))
            status, answer, extra = stub.take(self.command, path)
            data = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - names of the standard library

        def log_message(self, *_):
            pass

    return Handler
