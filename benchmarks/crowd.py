"""A load generator that holds many connections and knows every answer by itself. Start with `Crowd`.

Unlike wrk it can send another request on each connection, send on all of them at
once, and tell accepted requests from refused ones. One thread and one epoll.
"""

import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.load import parse_head

_CONNECT_S = 30.0
_CHUNK = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answer."""

    request: bytes
    status: int
    start: str
    """How its instance was started, as the server says: `cold`, `warm`, or empty."""
    began_at: float
    ended_at: float
    """Both on the clock of `time.perf_counter`."""

    @property
    def took_ms(self) -> float:
        """Milliseconds from sending to the last byte."""
        return (self.ended_at - self.began_at) * 1000


@dataclass(slots=True)
class _Line:
    """One connection with at most one request on its way."""

    socket: socket.socket
    request: bytes = b""
    began_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    is_waiting: bool = False


class Crowd:
    """Owns connections to one address, from construction to `close`."""

    def __init__(self, url: str, count: int) -> None:
        """Open them all.

        Raises:
            OSError: not all could be opened.
        """
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 80)
        self._poll = select.epoll()
        self._lines: dict[int, _Line] = {}
        for _ in range(count):
            opened = socket.create_connection(address, timeout=_CONNECT_S)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines[opened.fileno()] = _Line(opened)
            self._poll.register(opened, select.EPOLLIN)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines.values():
            line.socket.close()
        self._poll.close()

    def __len__(self) -> int:
        return len(self._lines)

    def run(self, requests: Iterator[bytes], *, send_s: float = 0.0, answer_s: float = 30.0) -> list[Seen]:
        """Send on all connections at once, and again on each that has its answer; return what came back.

        Args:
            requests: what to send; those that are left when the time is over are left alone.
            send_s: how long to go on sending; 0 for one request on each connection.
            answer_s: how long to wait for the last answers.

        Raises:
            ConnectionError: a connection broke.
            TimeoutError: an answer did not come.
        """
        seen: list[Seen] = []
        began = time.perf_counter()
        for line in self._lines.values():
            self._send_next(line, requests)
        waiting = sum(line.is_waiting for line in self._lines.values())
        while waiting:
            if time.perf_counter() > began + send_s + answer_s:
                raise TimeoutError(f"{waiting} of {len(seen) + waiting} requests were not answered")
            for number, _ in self._poll.poll(1.0):
                line = self._lines[number]
                answer = _receive(line)
                if answer is None:
                    continue
                seen.append(answer)
                waiting -= 1
                if time.perf_counter() < began + send_s and self._send_next(line, requests):
                    waiting += 1
        return seen

    @staticmethod
    def _send_next(line: _Line, requests: Iterator[bytes]) -> bool:
        request = next(requests, None)
        if request is None:
            return False
        line.is_waiting, line.request, line.began_at = True, request, time.perf_counter()
        line.socket.sendall(request)
        return True


def _receive(line: _Line) -> Seen | None:
    """Take what has arrived; return the answer once it is whole."""
    data = line.socket.recv(_CHUNK)
    if not data:
        raise ConnectionError("the server closed a connection")
    line.received += data
    head, separator, body = bytes(line.received).partition(b"\r\n\r\n")
    if not separator:
        return None
    status, headers = parse_head(head)
    if len(body) < int(headers.get("content-length", "0")):
        return None
    line.received.clear()
    line.is_waiting = False
    start = headers.get("x-funclet-start", "")
    ended_at = time.perf_counter()
    return Seen(request=line.request, status=status, start=start, began_at=line.began_at, ended_at=ended_at)
