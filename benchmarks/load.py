"""Load generators: wrk for closed loops, `Caller` for single timed requests, a process of our own for open loops."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_TIMEOUT_S = 30.0
_ROOT = Path(__file__).parents[1]
_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "duration_us": %d, "p50_us": %.1f, "p99_us": %.1f, '
    .. '"broken": %d, "refused": %d}\\n', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.timeout, e.status))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request that is sent again and again."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What one run of a load generator gave."""

    requests: int
    """Answers, whatever their status."""
    good: int
    """Answers below 400."""
    broken: int
    """Requests without an answer."""
    duration_s: float
    p50_us: float
    p99_us: float

    @property
    def per_s(self) -> float:
        """Good answers per second."""
        return self.good / self.duration_s


class LoadFailed(Exception):
    """A load generator did not run; the message has what it printed."""


def closed_loop(call: Call, folder: Path, *, connections: int, duration_s: float) -> LoadResult:
    """Run wrk on the last core of the machine: each connection sends its next request when it has its answer.

    Raises:
        LoadFailed: wrk could not run.
    """
    script = folder / "request.lua"
    script.write_text(lua_of(call), encoding="utf-8")
    command = [shutil.which("wrk") or "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(duration_s))}s"]
    command += ["--timeout", "10s", "-s", str(script), call.url]
    core = max(os.sched_getaffinity(0))
    done = subprocess.run(  # noqa: S603 - our own command
        ["taskset", "-c", str(core), *command],  # noqa: S607 - of util-linux, wherever it is
        capture_output=True,
        text=True,
        timeout=duration_s + _TIMEOUT_S,
        check=False,
    )
    return parse_wrk(done.stdout + done.stderr)


def lua_of(call: Call) -> str:
    """Return the script that makes wrk send this request and print its figures."""
    lines = [f"wrk.method = {_lua(call.method)}"]
    if call.body:
        lines.append(f"wrk.body = {_lua(call.body)}")
    lines += [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in call.headers.items()]
    return "\n".join(lines) + _DONE


def _lua(text: str) -> str:
    """Return a string literal: Lua reads those of JSON, but for escapes that plain ASCII does not need."""
    if not (text.isascii() and text.isprintable()):
        raise ValueError("only printable ASCII can be sent")
    return json.dumps(text)


def parse_wrk(output: str) -> LoadResult:
    """Read the figures out of what wrk printed.

    Raises:
        LoadFailed: there are none.
    """
    for line in output.splitlines():
        if line.startswith("RESULT "):
            found = json.loads(line.removeprefix("RESULT "))
            return LoadResult(
                requests=found["requests"],
                good=found["requests"] - found["refused"],
                broken=found["broken"],
                duration_s=found["duration_us"] / 1e6,
                p50_us=found["p50_us"],
                p99_us=found["p99_us"],
            )
    raise LoadFailed(f"wrk did not run: {output.strip()[-500:]}")


def open_loop(call: Call, *, rate_per_s: float, duration_s: float) -> LoadResult:
    """Send at a fixed rate, whether answers come or not; times count from when a request was due.

    Raises:
        LoadFailed: the generator could not run.
    """
    order = {
        "call": {"url": call.url, "method": call.method, "headers": dict(call.headers), "body": call.body},
        "rate_per_s": rate_per_s,
        "duration_s": duration_s,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.open_loop"],
        cwd=_ROOT,
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=duration_s + _TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise LoadFailed(f"the open loop did not run: {done.stderr.strip()[-500:]}")
    return LoadResult(**json.loads(done.stdout))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer and how long it took, from the first byte sent to the last one received."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    took_ms: float


class Caller:
    """Sends single requests on one kept connection with as little around them as Python allows."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, call: Call) -> Reply:
        """Send a request to the host of this caller and wait for the answer.

        Raises:
            OSError: the connection broke or no answer came in time.
        """
        request = request_bytes(call, self._host)
        began = time.perf_counter()
        self._socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        status, headers = parse_head(head)
        length = int(headers.get("content-length", "0"))
        while len(body) < length:
            body += self._receive()
        return Reply(status=status, headers=headers, body=body, took_ms=(time.perf_counter() - began) * 1000)

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection before it had answered")
        return data


def request_bytes(call: Call, host: str) -> bytes:
    """Return a request as it goes over the wire."""
    parts = urlsplit(call.url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    headers = {"Host": host, **call.headers, "Content-Length": str(len(call.body.encode()))}
    lines = [f"{call.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + call.body).encode()


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Return status and headers of an answer."""
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return int(first.split(" ", 2)[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
