"""One client's connection: requests read, answers written in their order, and every limit of both.

Plain requests are read in one pass (`read_request`); all others, and all that is
wrong, by httptools.
"""

import asyncio
import collections
import functools
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, cast

import httptools

from funclet.api.errors import error_response
from funclet.base.http import Request, Response
from funclet.base.http1 import BODILESS, encode_head, head_without_upgrade, read_request, split_target
from funclet.base.ids import new_uuid

if TYPE_CHECKING:
    from funclet.front.listener import Front

# Bodies up to this size are taken without asking for the limit of their path: no path allows less.
SMALL_BODY_BYTES = 64 * 1024
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
    is_answered: bool = False


class Connection(asyncio.Protocol):
    """One client. Reads requests, gives them to the front one at a time, writes the answers."""

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._peer = ""
        self._phase = _Phase.BETWEEN
        self._turns: collections.deque[_Turn] = collections.deque()
        self._turn: _Turn | None = None
        """The request that is being handled or answered."""
        self._is_serving = False
        """Whether `_serve` is on the stack."""
        self._is_paused = False
        self._is_full = False
        """Whether the client takes its answer more slowly than we write it."""
        self._unsent = 0
        self._is_half_closed = False
        self._head_began = 0.0
        self._last_event = 0.0
        """When data came, an answer was written or a part of it was taken, on the monotonic clock."""
        self._linger_until = math.inf
        self._body_bytes = 0
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # A cast, because uvloop's transports only quack like it.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._front.connections.add(self)
        if len(self._front.connections) > self._front.limits.max_connections:
            self._refuse("FSS.0503", "The server has as many connections as it may have.")
        self._last_event = self._front.clock.monotonic()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        phase = self._phase
        if phase is _Phase.DEAF:
            return
        self._last_event = self._front.clock.monotonic()
        if phase is _Phase.BETWEEN and not self._is_full:
            data = self._take_plain(data)
            if not data:
                return
        self._feed(data)
        if phase is _Phase.HEAD and self._phase is _Phase.HEAD:
            # A header that never ends is not reported by the parser before its end.
            self._raw_head_bytes += len(data)
            if self._raw_head_bytes > self._front.limits.max_header_bytes + self._front.limits.max_uri_bytes:
                self._refuse(_MALFORMED, "The headers are too large.", status=431)

    def _take_plain(self, data: bytes) -> bytes:
        """Take the requests that need no full parser from the beginning of `data`; return what is left."""
        start = 0
        while plain := read_request(data, start):
            method, path, query, headers, body, start = plain
            self._front.buffered_bytes += len(body)
            if self._front.buffered_bytes > self._front.limits.max_buffered_bytes:
                self._body_bytes = len(body)
                self._refuse_memory()
                return b""
            request = Request(
                method=method, raw_path=path, raw_query=query, headers=headers, body=body, peer=self._peer
            )
            self._enqueue(_Turn(request, None, keep_alive=True, body_bytes=len(body)))
            if start == len(data) or self._phase is not _Phase.BETWEEN:
                return b""
        return data[start:] if start else data

    def eof_received(self) -> bool:
        """Called by asyncio."""
        # A client may close its side early and still want its answers.
        self._is_half_closed = True
        return self._turn is not None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it was lost does not matter
        """Called by asyncio."""
        self._phase = _Phase.DEAF
        self._front.buffered_bytes -= self._body_bytes + sum(turn.body_bytes for turn in self._turns)
        self._body_bytes = 0
        self._turns.clear()
        self._front.closed(self)

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self._is_full = True
        self._unsent = self._transport.get_write_buffer_size()
        self._last_event = self._front.clock.monotonic()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._is_full = False
        if self._turn is not None and self._turn.is_answered:
            self._end_turn(self._turn.keep_alive)

    def close_if_idle(self) -> None:
        """End the connection unless a request is being read, handled or answered."""
        if self._turn is None and self._phase is _Phase.BETWEEN:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now, whatever it does."""
        self._transport.abort()

    def run_out(self) -> None:
        """Act on the deadline, which has passed."""
        unsent = self._transport.get_write_buffer_size()
        if self._is_full and unsent < self._unsent:
            self._unsent = unsent
            self._last_event = self._front.clock.monotonic()
        elif self._phase in (_Phase.HEAD, _Phase.BODY) and self._turn is None:
            self._refuse(_MALFORMED, "The request took too long to arrive.", status=408)
        elif self._phase is _Phase.BETWEEN and not self._is_full:
            self._transport.close()
        else:
            self._transport.abort()

    def deadline(self) -> float:
        """Return when this connection is to end if nothing happens, on the monotonic clock."""
        limits = self._front.limits
        if self._is_full:
            return self._last_event + limits.progress_s
        if self._turn is not None:
            return math.inf
        match self._phase:
            case _Phase.HEAD:
                return self._head_began + limits.head_s
            case _Phase.BODY:
                return self._last_event + limits.progress_s
            case _Phase.BETWEEN:
                return self._last_event + limits.keep_alive_s
            case _Phase.DEAF:
                return self._linger_until

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
        name = raw_name.decode("latin-1").lower()
        value = raw_value.strip(b" \t").decode("latin-1")
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
        parser, headers = self._parser, self._headers
        self._method = parser.get_method().decode("latin-1")
        self._keep_alive = parser.should_keep_alive()
        self._is_http_1_0 = parser.get_http_version() == "1.0"
        if parser.should_upgrade():
            self._is_upgrade = True
            return
        self._phase = _Phase.BODY
        encoding = headers.get("transfer-encoding")
        length = int(headers.get("content-length") or 0)
        if "host" not in headers and not self._is_http_1_0:
            self._refuse(_MALFORMED, "There is no Host header.")
        elif encoding is not None and encoding.lower() != "chunked":
            self._refuse(_MALFORMED, "Of all transfer encodings only 'chunked' is understood.")
        elif encoding is not None or length > SMALL_BODY_BYTES:
            self._limit = self._front.body_limit(self._method, split_target(self._url)[0])
            if length > self._limit[0]:
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
            self._refuse_memory()

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

    def _refuse_memory(self) -> None:
        self._refuse("FSS.0503", "The server has too many bodies in memory; try again later.")

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
        self._turns.append(turn)
        if self._turn is None:
            self._serve()
        elif not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _serve(self) -> None:
        """Begin with the next request; and with those behind it, as long as answers come at once."""
        self._is_serving = True
        while self._turns and self._turn is None and not self._transport.is_closing():
            turn = self._turns.popleft()
            if turn.request is None:
                self._send_refusal(turn)
                break
            self._turn = turn
            answer = functools.partial(self._answer, turn)
            turn.request.answer_early = answer
            self._front.handle(turn.request, answer)
        self._is_serving = False

    def _answer(self, turn: _Turn, response: Response) -> None:
        """Write the answer of the request that is being handled, unless it has one."""
        if self._turn is not turn or turn.is_answered:
            return
        self._front.buffered_bytes -= turn.body_bytes
        turn.body_bytes = 0
        turn.is_answered = True
        if turn.request is not None:
            # It holds the turn, which holds the request: a circle that only the garbage collector would find.
            turn.request.answer_early = None
        turn.keep_alive = self._send(turn, response)
        if not self._is_full:
            self._end_turn(turn.keep_alive)

    @property
    def _is_busy(self) -> bool:
        # Asked anew: what was assigned a line ago may have changed in a call since.
        return self._turn is not None

    def _end_turn(self, keep_alive: bool) -> None:
        """Go on after an answer that was taken."""
        self._turn = None
        if not keep_alive:
            # What the client has sent behind this request would run without anybody to answer.
            self._phase = _Phase.DEAF
            self._linger_until = self._front.clock.monotonic() + self._front.limits.progress_s
            self._transport.close()
            return
        self._last_event = self._front.clock.monotonic()
        if self._is_serving or self._transport.is_closing():
            return
        if self._turns:
            self._serve()
        if not self._is_busy:
            if self._is_paused:
                self._is_paused = False
                self._transport.resume_reading()
            self._send_continue()

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
        if self._is_half_closed:
            # There is nothing left to throw away.
            self._transport.close()
            return
        # Closing at once, with unread bytes left, would reset the connection before the client has its answer.
        self._linger_until = self._front.clock.monotonic() + self._front.limits.linger_s
        if not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _send_continue(self) -> None:
        if self._owes_continue and self._turn is None and self._phase is _Phase.BODY:
            self._owes_continue = False
            self._transport.write(_CONTINUE)
