"""The bare reference: how fast the same work goes in Python without any of what makes a platform.

A uvloop protocol with httptools takes requests; two plain worker processes
parse the JSON, answer, and write JSON. No routes, no signatures, no limits, no
records, no isolation. `--depth 2` writes a second request to a busy worker, so
that it never sleeps; `--workers 0` does the work in the one process.
"""

import argparse
import asyncio
import collections
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import httptools
import uvloop

from benchmarks.peers.reference_worker import answer

_LENGTH = struct.Struct("!I")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Worker(asyncio.Protocol):
    """Our end of one worker's socket."""

    def __init__(self, gateway: "Gateway") -> None:
        self.waiting: collections.deque[Client] = collections.deque()
        self._gateway = gateway
        self._transport: Any = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport

    def send(self, client: "Client", body: bytes) -> None:
        """Give the worker one request."""
        self.waiting.append(client)
        self._transport.write(_LENGTH.pack(len(body)) + body)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        buffer = self._buffer + data if self._buffer else data
        while len(buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                break
            self.waiting.popleft().reply(buffer[_LENGTH.size : end])
            buffer = buffer[end:]
            self._gateway.freed(self)
        self._buffer = buffer


class Gateway:
    """Hands requests to workers, oldest first; without workers it answers them itself."""

    def __init__(self, depth: int) -> None:
        self.workers: list[Worker] = []
        self._depth = depth
        self._backlog: collections.deque[tuple[Client, bytes]] = collections.deque()

    def take(self, client: "Client", body: bytes) -> None:
        """Take one request."""
        if not self.workers:
            client.reply(answer(body))
            return
        worker = min(self.workers, key=lambda worker: len(worker.waiting))
        if len(worker.waiting) < self._depth:
            worker.send(client, body)
        else:
            self._backlog.append((client, body))

    def freed(self, worker: Worker) -> None:
        """Note that a worker has answered."""
        if self._backlog:
            worker.send(*self._backlog.popleft())


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        """Parser: a part of the body."""
        self._body += part

    def on_message_complete(self) -> None:
        """Parser: the request is whole."""
        body, self._body = self._body, b""
        self._gateway.take(self, body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._transport = None

    def reply(self, body: bytes) -> None:
        """Write the answer, unless the client has gone."""
        if self._transport is not None:
            self._transport.write(_HEAD % len(body) + body)


async def serve(port: int, workers: int, depth: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    gateway = Gateway(depth)
    for _ in range(workers):
        ours, theirs = socket.socketpair()
        worker = Path(__file__).with_name("reference_worker.py")
        subprocess.Popen(  # noqa: ASYNC220, S603 - before anything is served; our own command
            [sys.executable, "-I", str(worker), str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        _, protocol = await loop.create_connection(lambda: Worker(gateway), sock=ours)
        gateway.workers.append(protocol)
    server = await loop.create_server(lambda: Client(gateway), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--depth", type=int, default=1)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.workers, options.depth))


if __name__ == "__main__":
    main()
