"""A server of canned answers, and `fgs` in this process."""

import json
import threading
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from funclet.cli.main import run
from tests.support.stub import PROJECT, Stub, handler_of


@pytest.fixture
def stub():
    made = Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
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
