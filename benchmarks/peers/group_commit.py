"""The bare reference of accepting asynchronously: take a body, make it durable, answer 202, and nothing else.

A uvloop protocol with httptools hands bodies to a thread that writes them to SQLite (write-ahead log, flushed with
every commit), all that have come meanwhile in one transaction. No routes, no signatures, no limits, no records.
"""

import argparse
import asyncio
import collections
import sqlite3
import threading
from typing import Any

import httptools
import uvloop

_ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_MAX_BATCH = 1024


class Writer:
    """The thread that owns the database."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, body BLOB)")
        self._waiting: collections.deque[tuple[Client, bytes]] = collections.deque()
        self._wake = threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, client: "Client", body: bytes) -> None:
        """Write one body; the client is answered once it is durable."""
        self._waiting.append((client, body))
        self._wake.release()

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            batch = []
            while self._waiting and len(batch) < _MAX_BATCH:
                batch.append(self._waiting.popleft())
            if batch:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT INTO message (body) VALUES (?)", [(body,) for _, body in batch])
                self._connection.execute("COMMIT")
                self._loop.call_soon_threadsafe(_answer, batch)


def _answer(batch: "list[tuple[Client, bytes]]") -> None:
    for client, _ in batch:
        client.reply()


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
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
        self._writer.put(self, body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._transport = None

    def reply(self) -> None:
        """Write the answer, unless the client has gone."""
        if self._transport is not None:
            self._transport.write(_ANSWER)


async def serve(port: int, path: str) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    writer = Writer(path, loop)
    server = await loop.create_server(lambda: Client(writer), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.database))


if __name__ == "__main__":
    main()
