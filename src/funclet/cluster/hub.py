"""The called end of the connections between processes: `Hub` listens, runs what is asked for, and answers."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, cast

from funclet.base.prompt import PromptRuns
from funclet.base.tasks import TaskOwner
from funclet.cluster.codec import Hello, KnownVersions, decode_hello, encode
from funclet.cluster.frames import BadFrame, FrameReader, Kind, pack
from funclet.cluster.link import socket_path
from funclet.cluster.member import Member
from funclet.model.invocation import Invocation, Invoker

log = logging.getLogger(__name__)

Answer = Callable[[bytes], Awaitable[bytes]]
_BACKLOG = 128


class Hub:
    """Serves the other processes of this server from `listen` to `close`."""

    def __init__(self, member: Member, invoker: Invoker, answers: Mapping[Kind, Answer]) -> None:
        """Prepare the hub.

        Args:
            member: this process.
            invoker: runs the invocations that are handed over.
            answers: what answers each other kind of request; what is missing is refused.
        """
        self.member = member
        self.invoker = invoker
        self.answers = answers
        self.tasks = TaskOwner()
        self.runs = PromptRuns()
        self.callers: set[_Caller] = set()
        self.changed = asyncio.Event()
        """Set when a caller has come or gone, or will send no invocation any more."""
        self._server: asyncio.Server | None = None

    async def listen(self, folder: int, name: str) -> None:
        """Begin to take connections on a socket in the folder behind a descriptor; one of that name is replaced.

        Raises:
            OSError: it cannot be made.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(socket_path(folder, name))
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Caller(self), sock=listener, backlog=_BACKLOG)

    async def has_heard(self, number: int) -> None:
        """Wait until a process has said hello."""
        await self._until(lambda: any(caller.hello and caller.hello.number == number for caller in self.callers))

    async def has_no_caller(self) -> None:
        """Wait until no process will send invocations any more."""
        await self._until(lambda: not any(caller.may_invoke for caller in self.callers))

    async def is_alone(self) -> None:
        """Wait until every process has hung up."""
        await self._until(lambda: not self.callers)

    async def close(self) -> None:
        """Hang up and end what still runs."""
        if self._server is not None:
            self._server.close()
        await self.tasks.close()
        await self.runs.close()
        for caller in tuple(self.callers):
            caller.close()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class _Caller(asyncio.Protocol):
    """One connection from another process."""

    def __init__(self, hub: Hub) -> None:
        self.hello: Hello | None = None
        self.may_invoke = False
        self._hub = hub
        self._transport: asyncio.Transport
        self._reader = FrameReader()
        self._versions = KnownVersions()

    def close(self) -> None:
        """Hang up once everything is written."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection among the callers; asyncio calls it."""
        # A cast, because uvloop's transports only quack like it.
        self._transport = cast("asyncio.Transport", transport)
        self._hub.callers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it was lost does not matter
        """Forget the connection and take no invocations from it any more; asyncio calls it."""
        self.may_invoke = False
        self._hub.callers.discard(self)
        self._hub.changed.set()

    def data_received(self, data: bytes) -> None:
        """Take the frames that are complete; hang up on what is none. asyncio calls it."""
        try:
            for kind, number, body in self._reader.feed(data):
                self._take(kind, number, body)
        except (BadFrame, ValueError, KeyError):
            # A process of another start of the server, or a fault of ours: nothing can be read any more.
            log.warning("another process of this server was refused", exc_info=True)
            self._transport.abort()

    def _take(self, kind: Kind, number: int, body: bytes) -> None:
        if kind is Kind.INVOKE and self.may_invoke and self.hello is not None:
            invocation = self._versions.invocation(body)
            member = self._hub.member
            member.progress.note(owner=member.number, caller=self.hello.number, number=number)
            self._hub.runs.start(self._invoke(number, invocation), self._reply)
        elif kind is Kind.VERSION:
            self._versions.learn(body)
        elif kind is Kind.BYE:
            self.may_invoke = False
            self._hub.changed.set()
        elif kind is Kind.HELLO:
            self._greet(number, decode_hello(body))
        elif self.hello is not None and kind in self._hub.answers:
            self._start(self._answer(number, self._hub.answers[kind], body), kind)
        else:
            raise BadFrame(f"{kind.name} is not taken here")

    def _start(self, work: Coroutine[Any, Any, None], kind: Kind) -> None:
        self._hub.tasks.start(work, name=f"{kind.name} of another process")

    def _greet(self, number: int, hello: Hello) -> None:
        if hello.run_id != self._hub.member.run_id:
            raise BadFrame("a process of another start of this server")
        self.hello, self.may_invoke = hello, hello.is_for_invocations
        self._hub.changed.set()
        self._transport.write(pack(Kind.REPLY, number, b""))

    async def _invoke(self, number: int, invocation: Invocation) -> bytes:
        try:
            return pack(Kind.REPLY, number, encode(await self._hub.invoker.invoke(invocation)))
        except Exception as error:  # the caller must be told, whatever it was
            log.exception("invocation_failed request_id=%s", invocation.request_id)
            return pack(Kind.FAULT, number, type(error).__name__.encode())

    async def _answer(self, number: int, answer: Answer, body: bytes) -> None:
        try:
            reply = pack(Kind.REPLY, number, await answer(body))
        except Exception as error:  # as above
            log.exception("a request of another process failed")
            reply = pack(Kind.FAULT, number, type(error).__name__.encode())
        if number:
            self._reply(reply)

    def _reply(self, frame: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame)
