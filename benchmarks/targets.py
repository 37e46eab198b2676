"""What is measured beside Funclet: each peer is started here and ended with the `Fleet`. Start with `start_peers`."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Call, Caller
from benchmarks.processes import Groups, tree_of

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).with_name("peers")
PEER_BIN = ROOT / ".venv-bench" / "bin"
BODY = '{"name": "Funclet", "items": [1, 2, 3], "note": "every target gets the same event"}'
JSON_HEADERS = {"Content-Type": "application/json"}

_START_S = 20.0
_STOP_S = 5.0
_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_processes auto;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; default_type application/json; return 200 '{{"hello": "world"}}'; }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that answers HTTP requests."""

    name: str
    note: str
    make_call: Callable[[], Call]
    """Asked for anew in each round, because signatures grow old."""
    find_processes: Callable[[], Groups]
    """`front` takes requests; what else there is runs functions or helps."""


class StartFailed(Exception):
    """A target did not start; the message says which and what it printed."""


class Fleet:
    """Owns the processes of all peers, and ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.missing: list[str] = []
        """What could not be measured, and why."""

    def close(self) -> None:
        """End all peers."""
        self._stack.close()

    def start(self, name: str, note: str, command: Sequence[str], call: Call, *, folder: Path = PEERS) -> Target:
        """Start one peer in a folder and wait until it answers.

        Raises:
            StartFailed: it ended, or did not answer in time.
        """
        log_path = self._folder / f"{name.replace(' ', '-').replace(',', '')}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        self._stack.callback(_end, process)
        deadline = time.monotonic() + _START_S
        while not answers(call):
            if process.poll() is not None or time.monotonic() > deadline:
                text = log_path.read_text(encoding="utf-8", errors="replace")[-500:]
                raise StartFailed(f"{name} did not start: {text}")
            time.sleep(0.05)

        def find_processes() -> Groups:
            return {"front": tree_of(process.pid)}

        return Target(name=name, note=note, make_call=lambda: call, find_processes=find_processes)

    def start_reference(self, name: str, note: str, *options: str) -> Target:
        """Start the reference; its workers are counted apart."""
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.peers.reference", "--port", str(port), *options]
        target = self.start(name, note, command, _call(port), folder=ROOT)
        front, *_ = target.find_processes()["front"]

        def find_processes() -> Groups:
            return {"front": [front], "workers": tree_of(front)[1:]}

        return Target(name=name, note=note, make_call=target.make_call, find_processes=find_processes)

    def try_start(self, start: Callable[[], Target]) -> list[Target]:
        """Return the target in a list, or an empty one and a note in `missing`."""
        try:
            return [start()]
        except (StartFailed, OSError) as error:
            self.missing.append(str(error))
            return []


def start_peers(fleet: Fleet, folder: Path) -> list[Target]:
    """Start everything that is installed; what is not is noted in `fleet.missing`."""
    return [
        fleet.start_reference("ref", "uvloop + httptools, two plain workers, one request ahead", "--depth", "2"),
        fleet.start_reference("ref, lockstep", "the same, a worker gets its next request after its answer"),
        fleet.start_reference("ref, one process", "uvloop + httptools, the work done in place", "--workers", "0"),
        *fleet.try_start(lambda: _start_nginx(fleet, folder)),
        *fleet.try_start(lambda: _start_framework(fleet, is_asgi=True)),
        *fleet.try_start(lambda: _start_framework(fleet, is_asgi=False)),
        *fleet.try_start(lambda: _start_uvicorn(fleet)),
        *fleet.try_start(lambda: _start_granian(fleet)),
    ]


def _start_nginx(fleet: Fleet, folder: Path) -> Target:
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port), encoding="utf-8")
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if nginx is None:
        raise StartFailed("nginx is not installed")
    call = Call(url=f"http://127.0.0.1:{port}/", method="GET")
    return fleet.start("nginx hello", "a constant text, no work", [nginx, "-c", str(config), "-e", "stderr"], call)


def _start_framework(fleet: Fleet, *, is_asgi: bool) -> Target:
    port = free_port()
    source = PEERS / ("framework_asgi.py" if is_asgi else "framework.py")
    command = [str(PEER_BIN / "functions-framework"), "--target", "hello", "--source", str(source)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    if is_asgi:
        note = "functions-framework --asgi: gunicorn with one uvicorn worker"
        return fleet.start("functions-framework ASGI", note, [*command, "--asgi"], _call(port))
    note = "functions-framework as it comes: gunicorn with one process and threads"
    return fleet.start("functions-framework", note, command, _call(port))


def _start_uvicorn(fleet: Fleet) -> Target:
    port = free_port()
    command = [str(PEER_BIN / "uvicorn"), "application:app", "--port", str(port), "--no-access-log"]
    return fleet.start("uvicorn", "bare ASGI, one process, uvloop and httptools", command, _call(port))


def _start_granian(fleet: Fleet) -> Target:
    port = free_port()
    command = [str(PEER_BIN / "granian"), "--interface", "asgi", "--port", str(port), "application:app"]
    return fleet.start("granian", "bare ASGI, one worker", command, _call(port))


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(call: Call) -> bool:
    """Tell whether a request is answered with 200."""
    try:
        caller = Caller(call.url)
    except OSError:
        return False
    try:
        return caller.send(call).status == 200  # noqa: PLR2004 - HTTP's own number
    except OSError:
        return False
    finally:
        caller.close()


def _call(port: int) -> Call:
    return Call(url=f"http://127.0.0.1:{port}/", headers=JSON_HEADERS, body=BODY)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a peer and everything that it has started."""
    below = tree_of(process.pid)[1:]
    process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + _STOP_S
    while any(Path("/proc", str(pid)).exists() for pid in below) and time.monotonic() < deadline:
        time.sleep(0.02)
