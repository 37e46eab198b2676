"""The frame contract of the built-in languages, as `runtimes/CONTRACT.md` writes it down.

`FrameConnection.send` hands one request to the runtime and returns the future of
its answer. Answers come in the order of the requests. It keeps no deadline and no
instance state; its owner does.
"""

import array
import asyncio
import contextlib
import fcntl
import json
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import cast

from msgspec import Struct

from funclet.base.prompt_future import PromptFuture

MAX_FRAME_BYTES = 8 * 1024 * 1024
_HEADER = struct.Struct("!IBBH16sII")
_HEADER_BYTES = _HEADER.size
_HEADER_AFTER_LENGTH = _HEADER_BYTES - 4
_FLAG_JSON, _FLAG_HANDLED = 1, 2
_DONE = 5
# Larger bodies are handed to the socket by themselves, which spares a copy.
_JOINED_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024


class FrameType(IntEnum):
    """What a frame asks for or answers."""

    READY = 1
    LOAD = 2
    INIT = 3
    INVOKE = 4
    DONE = 5
    PRESTOP = 6
    SPECIALISE = 7


class RuntimeGone(Exception):
    """The runtime closed its end, or sent what no runtime may send, before it had answered."""

    def __init__(self, reason: str, *, has_begun: bool = True) -> None:
        super().__init__(reason)
        self.has_begun = has_begun
        """Whether it may have begun with the request; otherwise the request can be run elsewhere."""


class Answer(Struct, frozen=True, gc=False):
    """What the runtime made of one request."""

    code: int
    """Inner code; 0 for success."""
    is_json: bool
    body: bytes
    printed: int = 0
    """Bytes that the request has printed, as far as the runtime knows."""
    is_handled: bool = False
    """Whether the handler has failed by returning an error."""


class FrameConnection(asyncio.Protocol):
    """Our end of one runtime's socket."""

    def __init__(self, sock: socket.socket, expected: Sequence[str] = ()) -> None:
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = sock
        self._has_unread = False
        """Whether something came that was not read before the end: answers, perhaps."""
        self._parts: list[bytes] = []
        self._missing = 0
        self.expected = [PromptFuture[Answer]() for _ in expected]
        """The answers to come to what was sent before this connection was opened."""
        identities = [_identity(request_id) for request_id in expected]
        self._waiting: deque[tuple[bytes, PromptFuture[Answer]]] = deque(zip(identities, self.expected, strict=True))
        self._ready = asyncio.get_running_loop().create_future()
        self.is_closed = False
        """Whether nothing more will come through this connection."""

    @classmethod
    async def open(cls, sock: socket.socket, expected: Sequence[str] = ()) -> "FrameConnection":
        """Take over a connected stream socket; `close` closes it.

        `expected`: the ids of requests that were written to it already, see `expected`.
        """
        _, connection = await asyncio.get_running_loop().create_connection(lambda: cls(sock, expected), sock=sock)
        return connection

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._waiting)

    def holds(self, request_id: str) -> bool:
        """Tell whether the answer of a request is still to come."""
        identity = bytes.fromhex(request_id.replace("-", ""))
        return any(waiting == identity for waiting, _ in self._waiting)

    def runs(self, request_id: str) -> bool:
        """Tell whether a request is the one that the runtime works on."""
        return bool(self._waiting) and self._waiting[0][0] == _identity(request_id)

    async def ready(self) -> None:
        """Wait until the runtime has said that it can answer.

        Raises:
            RuntimeGone: it went away instead.
        """
        await asyncio.shield(self._ready)

    def send(
        self,
        kind: int,
        request_id: str,
        *,
        timeout_ms: int = 0,
        meta: Mapping[str, str] | None = None,
        body: bytes = b"",
        watch_s: float = 0.0,
    ) -> PromptFuture[Answer]:
        """Send one request; return its answer to come, which raises RuntimeGone if there will be none.

        Whoever stops waiting closes the connection: the answer may still come.

        `watch_s`: how many seconds to look out for the answer before returning; nothing else happens meanwhile.

        Raises:
            RuntimeGone: the connection is closed.
        """
        if self._transport is None or self.is_closed:
            raise RuntimeGone("the runtime has closed its connection", has_begun=False)
        identity = _identity(request_id)
        answer = PromptFuture[Answer]()
        self._waiting.append((identity, answer))
        meta_bytes = json.dumps(meta, separators=(",", ":")).encode() if meta else b""
        length = _HEADER_AFTER_LENGTH + len(meta_bytes) + len(body)
        header = _HEADER.pack(length, kind, 0, 0, identity, timeout_ms, len(meta_bytes))
        if length <= _JOINED_BYTES:
            data = header + meta_bytes + body
            if watch_s and self._send_now(data):
                self._watch(answer, watch_s)
            else:
                self._transport.write(data)
        else:
            self._transport.writelines((header, meta_bytes, body))
        return answer

    def _send_now(self, data: bytes) -> bool:
        """Send without the event loop, which sends only once it has nothing else to do; False if it has to."""
        assert self._transport is not None
        if self._socket is None or self._transport.get_write_buffer_size():
            return False
        try:
            sent = self._socket.send(data)
        except OSError:
            # Full, or broken: the event loop finds out.
            return False
        if sent < len(data):
            self._transport.write(data[sent:])
        return True

    def _watch(self, answer: PromptFuture[Answer], seconds: float) -> None:
        """Read until there is an answer, or it takes longer; what ends the connection is left to the event loop."""
        end = time.perf_counter() + seconds
        while self._socket is not None and not answer.done() and time.perf_counter() < end:
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data:
                return
            self.data_received(data)

    def close(self) -> None:
        """Close the socket: the runtime reads end-of-file and ends. Safe to call twice."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._socket is not None:
            self._has_unread = _shut(self._socket)
            self._socket = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # Not an instance check: the transports of uvloop are of a family of their own.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts = []
        start = 0
        while len(data) - start >= _HEADER_BYTES:
            length, kind, flags, code, request_id, printed, meta_length = _HEADER.unpack_from(data, start)
            if not _HEADER_AFTER_LENGTH + meta_length <= length <= MAX_FRAME_BYTES:
                self._break("the runtime sent a frame of an impossible size")
                return
            end = start + 4 + length
            if len(data) < end:
                self._keep(data[start:], end - len(data))
                return
            body = data[start + _HEADER_BYTES + meta_length : end]
            answer = Answer(code, bool(flags & _FLAG_JSON), body, printed, bool(flags & _FLAG_HANDLED))
            self._take(kind, request_id, answer)
            if self.is_closed:
                return
            start = end
        if start < len(data):
            self._keep(data[start:], _HEADER_BYTES - (len(data) - start))

    def _keep(self, part: bytes, missing: int) -> None:
        """Keep the beginning of a frame; a long one is put together only once, when all of it is there."""
        self._parts, self._missing = [part], missing

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        """Called by asyncio."""
        self._fail("the runtime has closed its connection")

    def _take(self, kind: int, request_id: bytes, answer: Answer) -> None:
        if kind == _DONE and self._waiting and self._waiting[0][0] == request_id:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(answer)
        elif kind == FrameType.READY and not self._ready.done():
            self._ready.set_result(None)
        else:
            self._break("the runtime sent a frame that nobody asked for")

    def _break(self, reason: str) -> None:
        """End with a runtime that does not keep to the contract: it may have begun with anything."""
        self._fail(reason, has_begun=True)

    def _fail(self, reason: str, *, has_begun: bool = False) -> None:
        self.close()
        if not self._ready.done():
            self._ready.set_exception(RuntimeGone(reason))
            # Nobody may be waiting for READY any more; an exception that is never read would be logged as lost.
            self._ready.exception()
        waiting, self._waiting = self._waiting, deque()
        for number, (_, answer) in enumerate(waiting):
            if not answer.done():
                # Answers come in order: as long as the first is missing, the runtime has not begun with the others.
                # But it may be among what was not read.
                may_have_begun = has_begun or number == 0 or self._has_unread
                answer.set_exception(RuntimeGone(reason, has_begun=may_have_begun))
                answer.exception()


def request_bytes(kind: int, request_id: str, *, timeout_ms: int = 0, body: bytes = b"") -> bytes:
    """Return the frame of a request without meta."""
    length = _HEADER_AFTER_LENGTH + len(body)
    return _HEADER.pack(length, kind, 0, 0, _identity(request_id), timeout_ms, 0) + body


def _identity(request_id: str) -> bytes:
    return bytes.fromhex(request_id.replace("-", ""))


def _shut(sock: socket.socket) -> bool:
    """Let the peer write no more; tell whether something that it has written was not read."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    amount = array.array("i", [0])
    with contextlib.suppress(OSError, ValueError):
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, amount, True)
    return amount[0] > 0
