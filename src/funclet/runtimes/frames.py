"""The frame contract of the built-in languages, as `runtimes/CONTRACT.md` writes it down.

`FrameConnection.exchange` sends one request and returns the runtime's answer.
It keeps no deadline and no instance state; its owner does.
"""

import asyncio
import json
import socket
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

MAX_FRAME_BYTES = 8 * 1024 * 1024
_HEADER = struct.Struct("!IBBH16sII")
_HEADER_AFTER_LENGTH = _HEADER.size - 4
_FLAG_JSON = 1
_NO_ID = bytes(16)


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What the runtime made of one request."""

    code: int
    """Inner code; 0 for success."""
    is_json: bool
    body: bytes


class FrameConnection(asyncio.Protocol):
    """Our end of one runtime's socket; one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None
        self._expected = _NO_ID
        self._ready = asyncio.get_running_loop().create_future()
        self._closed = False

    @classmethod
    async def open(cls, sock: socket.socket) -> "FrameConnection":
        """Take over a connected stream socket; `close` closes it."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, sock=sock)
        return connection

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come through this connection."""
        return self._closed

    async def ready(self) -> None:
        """Wait until the runtime has said that it can answer.

        Raises:
            RuntimeGone: it went away instead.
        """
        await asyncio.shield(self._ready)

    async def exchange(
        self,
        kind: FrameType,
        request_id: str,
        *,
        timeout_ms: int = 0,
        meta: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send one request and wait for its answer.

        Cancelling leaves the connection unusable: the answer may still come, so its owner ends the instance.

        Raises:
            RuntimeGone: there will be no answer.
        """
        if self._transport is None or self._closed:
            raise RuntimeGone("the runtime has closed its connection")
        self._expected = uuid.UUID(request_id).bytes
        self._waiting = asyncio.get_running_loop().create_future()
        meta_bytes = json.dumps(meta, separators=(",", ":")).encode() if meta else b""
        length = _HEADER_AFTER_LENGTH + len(meta_bytes) + len(body)
        header = _HEADER.pack(length, kind, 0, 0, self._expected, timeout_ms, len(meta_bytes))
        self._transport.writelines((header, meta_bytes, body))
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def close(self) -> None:
        """Close the socket: the runtime reads end-of-file and ends. Safe to call twice."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # Not an instance check: the transports of uvloop are of a family of their own.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEADER.size:
            length, kind, flags, code, request_id, _, meta_length = _HEADER.unpack_from(buffer)
            if not _HEADER_AFTER_LENGTH + meta_length <= length <= MAX_FRAME_BYTES:
                self._fail("the runtime sent a frame of an impossible size")
                return
            end = 4 + length
            if len(buffer) < end:
                return
            body = bytes(memoryview(buffer)[_HEADER.size + meta_length : end])
            del buffer[:end]
            self._take(kind, request_id, Answer(code, bool(flags & _FLAG_JSON), body))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        """Called by asyncio."""
        self._fail("the runtime has closed its connection")

    def _take(self, kind: int, request_id: bytes, answer: Answer) -> None:
        if kind == FrameType.READY and not self._ready.done():
            self._ready.set_result(None)
        elif kind == FrameType.DONE and request_id == self._expected and self._waiting and not self._waiting.done():
            self._expected = _NO_ID
            self._waiting.set_result(answer)
        else:
            self._fail("the runtime sent a frame that nobody asked for")

    def _fail(self, reason: str) -> None:
        self.close()
        for future in (self._ready, self._waiting):
            if future is not None and not future.done():
                future.set_exception(RuntimeGone(reason))
        # Nobody may be waiting for READY any more; an exception that is never read would be logged as lost.
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()
