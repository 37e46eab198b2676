"""An open-loop load generator: a process that reads its order as JSON from stdin and prints the result as JSON.

Requests leave at a fixed rate, each on a connection that waits for no answer;
how late an answer is counts from when its request was due.
"""

import asyncio
import collections
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop

from benchmarks.figures import percentile
from benchmarks.load import Call, request_bytes

MAX_CONNECTIONS = 3000
_TICK_S = 0.002
_LAST_ANSWERS_S = 2.0


class _Connection(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self, run: "OpenLoop") -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport
        self._run.ready(self)

    def send(self, due: float) -> None:
        """Send a request that was due at `due`."""
        self._due = due
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_complete(self) -> None:
        """Parser: an answer is whole."""
        if self._due is not None:
            self._run.answered(self._parser.get_status_code(), self._due)
            self._due = None
        if self._parser.should_keep_alive():
            self._run.ready(self)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._run.lost(self)

    def close(self) -> None:
        """End the connection."""
        self._transport.abort()


class OpenLoop:
    """One run. What is due while all connections wait for answers is sent when one is free, and is late."""

    def __init__(self, call: Call, rate_per_s: float, duration_s: float) -> None:
        url = urlsplit(call.url)
        self.request = request_bytes(call, url.netloc)
        self._host, self._port = url.hostname or "", url.port or 80
        self._rate_per_s, self._duration_s = rate_per_s, duration_s
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._opening = 0
        self._due: collections.deque[float] = collections.deque()
        self._late_us: list[float] = []
        self._sent = self._answers = 0
        self._ends_at = 0.0
        self._openers: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, float]:
        """Send for the whole duration, wait a little for the last answers, and return the figures."""
        began = time.monotonic()
        self._ends_at = began + self._duration_s
        planned = 0
        while (now := time.monotonic()) < self._ends_at:
            while began + planned / self._rate_per_s <= now:
                self._due.append(began + planned / self._rate_per_s)
                planned += 1
            self._send_due()
            await asyncio.sleep(_TICK_S)
        late = time.monotonic() + _LAST_ANSWERS_S
        while self._answers < self._sent and time.monotonic() < late:  # noqa: ASYNC110 - has a deadline
            await asyncio.sleep(_TICK_S)
        for connection in tuple(self._all):
            connection.close()
        await asyncio.sleep(0)
        return self._figures(planned)

    def ready(self, connection: _Connection) -> None:
        """Take a connection that can send."""
        self._all.add(connection)
        self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def answered(self, status: int, due: float) -> None:
        """Count an answer; only those that come before the end are good."""
        now = time.monotonic()
        self._answers += 1
        if status < 400 and now <= self._ends_at:  # noqa: PLR2004 - HTTP's own number
            self._late_us.append((now - due) * 1e6)

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._sent += 1
            self._idle.pop().send(self._due.popleft())
        wanted = min(len(self._due), MAX_CONNECTIONS - len(self._all)) - self._opening
        for _ in range(max(0, min(wanted, 50))):
            self._opening += 1
            opener = asyncio.create_task(self._open())
            self._openers.add(opener)
            opener.add_done_callback(self._openers.discard)

    async def _open(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            # Refused while the server is overloaded: what is due stays due.
            return
        finally:
            self._opening -= 1

    def _figures(self, planned: int) -> dict[str, float]:
        late = self._late_us or [0.0]
        return {
            "requests": self._answers,
            "good": len(self._late_us),
            "broken": planned - self._answers,
            "duration_s": self._duration_s,
            "p50_us": percentile(late, 0.5),
            "p99_us": percentile(late, 0.99),
        }


def main() -> None:
    """Run one order."""
    order = json.load(sys.stdin)
    # A rate of zero would never come to its first request.
    run = OpenLoop(Call(**order["call"]), max(1.0, order["rate_per_s"]), order["duration_s"])
    print(json.dumps(uvloop.run(run.run())))


if __name__ == "__main__":
    main()
