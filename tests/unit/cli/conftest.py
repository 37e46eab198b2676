"""A server of canned answers, and `fgs` in this process."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from funclet.cli.main import run

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
        found = self.answers.get((method, path))
        if not found:
            return 404, {"error_code": "FSS.1051", "error_msg": f"nothing for {method} {path}"}, {}
        return found.pop(0) if len(found) > 1 else found[0]


def _handler(stub):
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


@pytest.fixture
def stub():
    made = Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder without profiles, and an environment without settings."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("FGS_PROFILE", "FGS_ENDPOINT", "FGS_REGION", "FGS_PROJECT_ID", "FGS_TOKEN", "HW_ACCESS_KEY",
                 "HW_SECRET_KEY", "HW_PROFILE", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


@pytest.fixture
def fgs_alone(home, capfd):
    """Run a command line without any settings."""

    def command(*words: str) -> Ran:
        code = run(list(words))
        out, err = capfd.readouterr()
        return Ran(int(code), out, err)

    return command


@pytest.fixture
def fgs(fgs_alone, stub, monkeypatch):
    """Run a command line against the stub."""
    monkeypatch.setenv("FGS_ENDPOINT", stub.url)
    monkeypatch.setenv("FGS_PROJECT_ID", PROJECT)
    monkeypatch.setenv("HW_ACCESS_KEY", "AKEXAMPLE")
    monkeypatch.setenv("HW_SECRET_KEY", "very-secret-key")
    return fgs_alone
