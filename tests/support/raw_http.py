"""HTTP by hand: bytes out, answers in, so that a test can send what no client would."""

import contextlib
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One answer as it was received."""

    status: int
    headers: dict
    """Names in lower case."""
    body: bytes


class RawConnection:
    """One connection to a server; opened anew when the server has closed it."""

    def __init__(self, url, *, timeout_s=20.0):
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self.host = f"{parts.hostname}:{parts.port}"
        self._timeout_s = timeout_s
        self._socket = None
        self._buffer = b""

    def send(self, data):
        """Send bytes, on a new connection if there is none. A server that stops listening is no error here."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=self._timeout_s)
            self._buffer = b""
        # It may have refused the beginning of the request and closed; its answer can be read nevertheless.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def end(self):
        """Say that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def answer(self, *, has_body=True):
        """Read one answer; None if the server closed instead."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._receive():
                assert not self._buffer, f"half an answer: {self._buffer[:200]!r}"
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = status_line.split(" ")
        assert version == "HTTP/1.1", status_line
        headers = {}
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon, line
            headers[name.lower()] = value
        answer = RawAnswer(int(status), headers, self._body(headers) if has_body else b"")
        if headers.get("connection") == "close":
            self.close()
        return answer

    def ask(self, data, *, has_body=True):
        """Send a request and read its answer; a connection that the server had given up meanwhile is replaced."""
        is_fresh = self._socket is None
        self.send(data)
        answer = self.answer(has_body=has_body)
        if answer is None and not is_fresh:
            self.send(data)
            answer = self.answer(has_body=has_body)
        return answer

    def answers(self):
        """Read answers until the server closes; the answer to a HEAD request has no body and cannot be told apart."""
        found = []
        while True:
            answer = self.answer()
            if answer is None:
                return found
            found.append(answer)
            if self._socket is None:
                return found

    def close(self):
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _body(self, headers):
        size = int(headers.get("content-length", "0"))
        while len(self._buffer) < size:
            assert self._receive(), "the answer is shorter than its length says"
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return body

    def _receive(self):
        if self._socket is None:
            return False
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        if not data:
            self.close()
        return bool(data)
