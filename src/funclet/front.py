"""The HTTP/1.1 listener of the server, for the API and for the gateway. Start with `Front`.

One asyncio protocol on httptools and nothing between it and the handler, because
every invocation passes here. Requests of a connection are answered one at a time
and in order; whatever a client can send too much of, or too slowly, has a limit.
"""

import asyncio
import collections
import logging
import math
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from typing import cast

import httptools

from funclet.api.errors import error_response
from funclet.base.clock import Clock
from funclet.base.http import Request, Response
from funclet.base.http1 import BODILESS, encode_head, head_without_upgrade, split_target
from funclet.base.ids import new_uuid
from funclet.base.tasks import TaskOwner

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
BodyLimit = Callable[[str, str], tuple[int, str]]
"""Method and raw path -> largest body in bytes, and the error code for a larger one."""

# Bodies up to this size are taken without asking for the limit of their path: no path allows less.
SMALL_BODY_BYTES = 64 * 1024
BACKLOG = 1024
# Larger bodies are handed to the socket by themselves, which spares a copy.
_JOINED_BYTES = 16 * 1024

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Meaningful only once; a second one is an attempt to make two readers see two requests.
_SINGLE = frozenset({"content-length", "host", "transfer-encoding"})
_MALFORMED = "APIG.0201"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """What one listener takes."""

    max_connections: int = 4096
    max_uri_bytes: int = 16 * 1024
    max_header_bytes: int = 64 * 1024
    max_headers: int = 200
    max_buffered_bytes: int = 512 * 1024 * 1024
    """Bodies of all connections together, from their first byte until they were answered."""
    keep_alive_s: float = 75.0
    head_s: float = 15.0
    """From the first byte of a request to the end of its headers."""
    progress_s: float = 30.0
    """Without a byte of a body received, or of an answer taken."""
    linger_s: float = 5.0
    """How long a refused client may go on sending what is thrown away."""


class Front:
    """Owns the sockets of one listener from `listen` to `close`."""

    def __init__(
        self, handler: Handler, *, body_limit: BodyLimit, clock: Clock, limits: FrontLimits | None = None
    ) -> None:
        self._handler = handler
        self.body_limit = body_limit
        self.clock = clock
        self.limits = limits or FrontLimits()
        self.tasks = TaskOwner()
        """Requests being handled. They finish even if the client goes away."""
        self.buffered_bytes = 0
        self.is_draining = False
        self.date = formatdate(clock.now(), usegmt=True)
        self.connections: set[_Connection] = set()
        self._is_empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._sweeper = TaskOwner()

    async def listen(self, host: str, port: int) -> None:
        """Begin to accept connections; port 0 lets the system choose.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, host, port, backlog=BACKLOG)

    async def listen_on(self, listener: socket.socket) -> None:
        """Begin to accept connections on a bound socket, which is ours from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, sock=listener, backlog=BACKLOG)

    @property
    def port(self) -> int:
        """The port that is listened on; only after `listen`."""
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the front does not listen")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def drain(self, *, deadline_s: float) -> bool:
        """Take no new request and finish what runs; False if something still runs after `deadline_s` seconds."""
        ends_at = self.clock.monotonic() + deadline_s
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        if self.connections:
            self._is_empty.clear()
            try:
                await asyncio.wait_for(self._is_empty.wait(), ends_at - self.clock.monotonic())
            except TimeoutError:
                return False
        return await self.tasks.drain(deadline_s=max(0.0, ends_at - self.clock.monotonic()))

    async def close(self) -> None:
        """Cut all connections, end all handlers and free the port."""
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        await self._sweeper.close()
        for connection in tuple(self.connections):
            connection.abort()
        await self.tasks.close()

    def sweep(self) -> None:
        """End connections that are past their deadline. Runs every second."""
        self.date = formatdate(self.clock.now(), usegmt=True)
        now = self.clock.monotonic()
        for connection in tuple(self.connections):
            if connection.deadline < now:
                connection.run_out()

    async def answer(self, request: Request) -> Response:
        """Return the answer of the handler, or 500 if it raises.

        This is where faults of ours end: they are logged here and nowhere else.
        """
        try:
            return await self._handler(request)
        except Exception:  # the connection and all others must go on, whatever a handler does
            request_id = new_uuid()
            where = (request.method, request.raw_path, request_id)
            log.exception("request_failed method=%s path=%s request_id=%s", *where)
            return error_response("FSS.0500", "internal error", request_id=request_id)

    def closed(self, connection: "_Connection") -> None:
        """Note that a connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._is_empty.set()

    def _connect(self) -> "_Connection":
        if not len(self._sweeper):
            self._sweeper.start(self._keep_sweeping(), name="front_sweeper")
        return _Connection(self)

    async def _keep_sweeping(self) -> None:
        while True:
            await self.clock.sleep(1.0)
            self.sweep()


class _Phase(Enum):
    """How far the next request of a connection has been read."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"
    DEAF = "deaf"
    """Nothing is read any more: what arrives is thrown away."""


@dataclass(slots=True)
class _Turn:
    """A request that waits for its answer, or the refusal of one."""

    request: Request | None
    refusal: Response | None
    keep_alive: bool
    is_http_1_0: bool = False
    body_bytes: int = 0


class _Connection(asyncio.Protocol):
    """One client. Reads requests, gives them to the front one at a time, writes the answers."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._peer = ""
        self._phase = _Phase.BETWEEN
        self._turns: collections.deque[_Turn] = collections.deque()
        self._is_busy = False
        self._writable: asyncio.Future[None] | None = None
        self._unsent = 0
        self._is_half_closed = False
        self._head_began = 0.0
        self._body_bytes = 0
        self.deadline = math.inf
        """When this connection is to end if nothing happens, on the monotonic clock."""
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports only quack like it.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._front.connections.add(self)
        if len(self._front.connections) > self._front.limits.max_connections:
            self._refuse("FSS.0503", "The server has as many connections as it may have.")
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        if self._phase is _Phase.DEAF:
            return
        was_in_head = self._phase is _Phase.HEAD
        self._feed(data)
        if was_in_head and self._phase is _Phase.HEAD:
            # A header that never ends is not reported by the parser before its end.
            self._raw_head_bytes += len(data)
            if self._raw_head_bytes > self._front.limits.max_header_bytes + self._front.limits.max_uri_bytes:
                self._refuse(_MALFORMED, "The headers are too large.", status=431)
        self._set_deadline()

    def eof_received(self) -> bool:
        # A client may close its side early and still want its answers.
        self._is_half_closed = True
        return self._is_busy and self._phase is not _Phase.DEAF

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it was lost does not matter
        self._phase = _Phase.DEAF
        self._front.buffered_bytes -= self._body_bytes + sum(turn.body_bytes for turn in self._turns)
        self._body_bytes = 0
        self._turns.clear()
        self.resume_writing()
        self._front.closed(self)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()
            self._unsent = self._transport.get_write_buffer_size()
        self._set_deadline()

    def resume_writing(self) -> None:
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None
        self._set_deadline()

    def close_if_idle(self) -> None:
        """End the connection unless a request is being read, handled or answered."""
        if not self._is_busy and self._phase is _Phase.BETWEEN:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now, whatever it does."""
        self._transport.abort()

    def run_out(self) -> None:
        """Act on the deadline, which has passed."""
        unsent = self._transport.get_write_buffer_size()
        if self._writable is not None and unsent < self._unsent:
            self._unsent = unsent
            self._set_deadline()
        elif self._phase in (_Phase.HEAD, _Phase.BODY) and not self._is_busy:
            self._refuse(_MALFORMED, "The request took too long to arrive.", status=408)
            self._set_deadline()
        elif self._phase is _Phase.BETWEEN and self._writable is None:
            self._transport.close()
        else:
            self._transport.abort()

    def _set_deadline(self) -> None:
        limits, now = self._front.limits, self._front.clock.monotonic()
        if self._writable is not None:
            self.deadline = now + limits.progress_s
        elif self._is_busy:
            self.deadline = math.inf
        elif self._phase is _Phase.HEAD:
            self.deadline = self._head_began + limits.head_s
        elif self._phase is _Phase.BODY:
            self.deadline = now + limits.progress_s
        elif self._phase is _Phase.BETWEEN:
            self.deadline = now + limits.keep_alive_s

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(_MALFORMED, f"The request is not HTTP/1.1: {error}.")

    def _begin(self) -> None:
        self._url, self._method = b"", ""
        self._headers: dict[str, str] = {}
        self._header_bytes = self._raw_head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._limit = (SMALL_BODY_BYTES, "FSS.0413")
        self._keep_alive = True
        self._is_http_1_0 = self._is_upgrade = self._owes_continue = False

    def on_message_begin(self) -> None:
        """Parser: the first byte of a request."""
        if self._phase is _Phase.DEAF:
            return
        self._begin()
        self._phase = _Phase.HEAD
        self._head_began = self._front.clock.monotonic()

    def on_url(self, url: bytes) -> None:
        """Parser: the target, or a part of it."""
        if self._phase is not _Phase.HEAD:
            return
        self._url += url
        if len(self._url) > self._front.limits.max_uri_bytes:
            self._refuse(_MALFORMED, "The URI is too long.", status=414)

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        """Parser: one header, or one trailer, which is ignored."""
        if self._phase is not _Phase.HEAD:
            return
        limits, headers = self._front.limits, self._headers
        self._header_bytes += len(raw_name) + len(raw_value)
        name, value = raw_name.decode("latin-1").lower(), raw_value.strip(b" \t").decode("latin-1")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            self._refuse(_MALFORMED, f"There are two {name} headers.")
        else:
            headers[name] = f"{headers[name]}, {value}"
            self._header_bytes += 1
        if self._header_bytes > limits.max_header_bytes or len(headers) > limits.max_headers:
            self._refuse(_MALFORMED, "The headers are too large or too many.", status=431)

    def on_headers_complete(self) -> None:
        """Parser: a body may follow."""
        if self._phase is not _Phase.HEAD:
            return
        self._method = self._parser.get_method().decode("latin-1")
        self._keep_alive = self._parser.should_keep_alive()
        self._is_http_1_0 = self._parser.get_http_version() == "1.0"
        if self._parser.should_upgrade():
            self._is_upgrade = True
            return
        self._phase = _Phase.BODY
        headers = self._headers
        if "host" not in headers and not self._is_http_1_0:
            self._refuse(_MALFORMED, "There is no Host header.")
        elif headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._refuse(_MALFORMED, "Of all transfer encodings only 'chunked' is understood.")
        elif "transfer-encoding" in headers or int(headers.get("content-length") or 0) > SMALL_BODY_BYTES:
            self._limit = self._front.body_limit(self._method, split_target(self._url)[0])
            if int(headers.get("content-length") or 0) > self._limit[0]:
                self._refuse_body()
        if self._phase is _Phase.BODY and headers.get("expect", "").lower() == "100-continue":
            self._owes_continue = True
            self._send_continue()

    def on_body(self, part: bytes) -> None:
        """Parser: a part of the body."""
        if self._phase is not _Phase.BODY:
            return
        self._body.append(part)
        self._body_bytes += len(part)
        self._front.buffered_bytes += len(part)
        if self._body_bytes > self._limit[0]:
            self._refuse_body()
        elif self._front.buffered_bytes > self._front.limits.max_buffered_bytes:
            self._refuse("FSS.0503", "The server has too many bodies in memory; try again later.")

    def on_message_complete(self) -> None:
        """Parser: the request is whole."""
        if self._phase is not _Phase.BODY or self._is_upgrade:
            return
        raw_path, raw_query = split_target(self._url)
        request = Request(
            method=self._method,
            raw_path=raw_path,
            raw_query=raw_query,
            headers=self._headers,
            body=b"".join(self._body),
            peer=self._peer,
        )
        self._phase = _Phase.BETWEEN
        # From here on the turn accounts for the body.
        self._body, self._body_bytes = [], 0
        self._enqueue(_Turn(request, None, self._keep_alive, self._is_http_1_0, len(request.body)))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read a request to change the protocol as if it had not asked.

        The parser stops at the end of its head, so a new one is given the same head without the wish.
        """
        if self._phase is not _Phase.HEAD or self._method == "CONNECT":
            self._refuse(_MALFORMED, "CONNECT is not possible here.")
            return
        head = head_without_upgrade(self._method, self._url, self._headers, is_http_1_0=self._is_http_1_0)
        self._parser = httptools.HttpRequestParser(self)
        self._phase = _Phase.BETWEEN
        self._feed(head + rest)

    def _refuse_body(self) -> None:
        limit, code = self._limit
        self._refuse(code, f"The body is larger than the {limit} bytes allowed.", status=413)

    def _refuse(self, code: str, message: str, *, status: int = 0) -> None:
        """Read no further, and answer with an error once all earlier requests were answered."""
        if self._phase is _Phase.DEAF:
            return
        self._phase = _Phase.DEAF
        self._front.buffered_bytes -= self._body_bytes
        self._body, self._body_bytes = [], 0
        response = error_response(code, message, request_id=new_uuid(), status=status)
        self._enqueue(_Turn(None, response, keep_alive=False))

    def _enqueue(self, turn: _Turn) -> None:
        if self._is_busy:
            self._turns.append(turn)
            self._transport.pause_reading()
        elif turn.request is None:
            self._send_refusal(turn)
        else:
            self._is_busy = True
            self._front.tasks.start(self._serve(turn), name="http_request")

    async def _serve(self, first: _Turn) -> None:
        """Answer a request, and then those that came meanwhile."""
        turn: _Turn | None = first
        try:
            while turn is not None and turn.request is not None:
                turn = await self._serve_one(turn, turn.request)
        except BaseException:
            # Whatever it was, this client gets no answer any more.
            self._transport.abort()
            raise
        self._is_busy = False
        if turn is not None:
            self._send_refusal(turn)
        elif not self._transport.is_closing():
            self._transport.resume_reading()
            self._send_continue()
            self._set_deadline()

    async def _serve_one(self, turn: _Turn, request: Request) -> _Turn | None:
        """Answer one request; return the next one, if there is one and it may still be answered."""
        response = await self._front.answer(request)
        self._front.buffered_bytes -= turn.body_bytes
        keep_alive = self._send(turn, response)
        if self._writable is not None:
            await self._writable
        if not keep_alive:
            self._transport.close()
            return None
        return self._turns.popleft() if self._turns else None

    def _send(self, turn: _Turn, response: Response) -> bool:
        """Write an answer; return whether the connection stays open."""
        is_last = self._is_half_closed and not self._turns
        keep_alive = turn.keep_alive and not is_last and not self._front.is_draining
        if self._transport.is_closing():
            return False
        connection = "close" if not keep_alive else "keep-alive" if turn.is_http_1_0 else ""
        head = encode_head(response, connection=connection, date=self._front.date)
        is_head = turn.request is not None and turn.request.method == "HEAD"
        body = b"" if is_head or response.status in BODILESS else response.body
        if len(body) <= _JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return keep_alive

    def _send_refusal(self, turn: _Turn) -> None:
        assert turn.refusal is not None
        self._send(turn, turn.refusal)
        # Closing at once, with unread bytes left, would reset the connection before the client has its answer.
        self.deadline = self._front.clock.monotonic() + self._front.limits.linger_s
        if not self._transport.is_closing():
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _send_continue(self) -> None:
        if self._owes_continue and not self._is_busy and self._phase is _Phase.BODY:
            self._owes_continue = False
            self._transport.write(_CONTINUE)
