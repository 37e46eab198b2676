"""The caller's end of a connection between two processes: `Link` keeps one open, `Connection` speaks on it."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from funclet.base.prompt_future import PromptFuture
from funclet.base.tasks import TaskOwner
from funclet.cluster.codec import SentVersions
from funclet.cluster.frames import BadFrame, FrameReader, Kind, pack

log = logging.getLogger(__name__)

MAX_PENDING = 16_384
"""Requests of one connection that may be without an answer."""
_RETRY_S = 0.02
_HELLO_TIMEOUT_S = 5.0


class LinkAway(Exception):
    """The other process cannot be reached now; nothing was sent."""


class LinkLost(Exception):
    """The connection broke before the answer; what was asked for may have been done."""


class NotTaken(LinkLost):
    """The same, but it is certain that the invocation was not begun."""


class RemoteFault(Exception):
    """The other process failed at what was asked; it has logged why."""


class Connection(asyncio.Protocol):
    """One connection. Any number of requests may be under way; answers come in any order."""

    def __init__(self, taken: Callable[[], int], lost: Callable[["Connection"], None]) -> None:
        """Make the protocol.

        Args:
            taken: tells up to which number the other process has begun with invocations.
            lost: is told the end of the connection.
        """
        self.versions = SentVersions()
        self.closed = asyncio.Event()
        self._taken = taken
        self._lost = lost
        self._transport: asyncio.Transport
        self._reader = FrameReader()
        self._pending: dict[int, tuple[Kind, PromptFuture[bytes]]] = {}
        # Greater than every number of a former connection, also of a process that has died: see `Progress`.
        self._number = time.monotonic_ns()

    def request(self, kind: Kind, body: bytes) -> PromptFuture[bytes]:
        """Send a request; return the future of its reply, which may raise `LinkLost` or `RemoteFault`.

        Raises:
            LinkAway: too many requests are under way, or the connection has just been closed.
        """
        if len(self._pending) >= MAX_PENDING or self.closed.is_set():
            raise LinkAway
        self._number += 1
        future = PromptFuture[bytes]()
        self._pending[self._number] = (kind, future)
        self._transport.write(pack(kind, self._number, body))
        return future

    def post(self, kind: Kind, body: bytes = b"") -> None:
        """Send what is not answered."""
        if not self.closed.is_set():
            self._transport.write(pack(kind, 0, body))

    def close(self) -> None:
        """Hang up once everything is written."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Protocol: begin."""
        # A cast, because uvloop's transports only quack like it.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Protocol: answers."""
        try:
            for kind, number, body in self._reader.feed(data):
                self._answered(kind, number, body)
        except BadFrame:
            log.exception("another process of this server does not keep to the protocol")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it was lost does not matter
        """Protocol: the end; whoever waits is told."""
        self.closed.set()
        self._lost(self)
        taken = self._taken()
        pending, self._pending = self._pending, {}
        for number, (kind, future) in pending.items():
            if not future.done():
                future.set_exception(NotTaken() if kind is Kind.INVOKE and number > taken else LinkLost())
                # Whoever asked may have gone away.
                future.exception()

    def _answered(self, kind: Kind, number: int, body: bytes) -> None:
        _, future = self._pending.pop(number, (None, None))
        if future is None or future.done():
            return
        if kind is Kind.REPLY:
            future.set_result(body)
        else:
            future.set_exception(RemoteFault(body.decode(errors="replace")))
            future.exception()


class Link:
    """Keeps a connection to one process, from `open` to `close`, also when that process is started again."""

    def __init__(self, folder: int, name: str, hello: bytes, taken: Callable[[], int] = lambda: 0) -> None:
        """Prepare the link.

        Args:
            folder: descriptor of the folder of sockets.
            name: of the socket in it.
            hello: body of the first frame.
            taken: see `Connection`.
        """
        self._path = socket_path(folder, name)
        self._hello = hello
        self._taken = taken
        self._tasks = TaskOwner()
        self._connection: Connection | None = None
        self._arrived = asyncio.Event()

    @property
    def connection(self) -> Connection | None:
        """The connection of this moment, if there is one."""
        return self._connection

    def open(self) -> None:
        """Begin to connect."""
        self._tasks.start(self._keep(), name=f"link to {Path(self._path).name}")

    async def reach(self, *, within_s: float) -> Connection:
        """Return the connection, as soon as there is one.

        Raises:
            LinkAway: not within that time.
        """
        if self._connection is None:
            # In a task of its own: the caller may run without one, see `base.prompt`.
            await asyncio.create_task(self._arrive(within_s))
        if self._connection is None:
            raise LinkAway
        return self._connection

    async def close(self) -> None:
        """Hang up and connect no more."""
        await self._tasks.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _arrive(self, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._connection is None:
                    await self._arrived.wait()

    async def _keep(self) -> None:
        while True:
            connection = await self._dial()
            if connection is None:
                await asyncio.sleep(_RETRY_S)
                continue
            if not connection.closed.is_set():
                self._connection = connection
                self._arrived.set()
            await connection.closed.wait()

    def _new_connection(self) -> Connection:
        return Connection(self._taken, self._lost)

    def _lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._arrived.clear()

    async def _dial(self) -> Connection | None:
        """Return a connection on which the other process has answered; None if there is none."""
        loop = asyncio.get_running_loop()
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.setblocking(False)
        try:
            await loop.sock_connect(connected, self._path)
            _, connection = await loop.create_unix_connection(self._new_connection, sock=connected)
        except OSError:
            connected.close()
            return None
        with contextlib.suppress(LinkLost, RemoteFault, TimeoutError):
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                await connection.request(Kind.HELLO, self._hello)
                return connection
        connection.close()
        return None


def socket_path(folder: int, name: str) -> str:
    """Return a path of a socket that is short enough for the kernel wherever the folder is."""
    return f"/proc/self/fd/{folder}/{name}"
