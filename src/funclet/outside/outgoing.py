"""Requests to HTTP servers outside, under the guard. Follows no redirects, uses no proxy, keeps no connections."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httptools

from funclet.outside.guard import AddressRefused, AddressUnknown, Guard

MAX_ANSWER_BYTES = 1024 * 1024
_CHUNK = 64 * 1024
_FIRST_FINAL_STATUS = 200
_PORTS = {"http": 80, "https": 443}


class SendFailed(Exception):
    """No answer has come; the message says why."""

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.is_refused = is_refused
        """Whether the operator does not allow the address, so that trying again is of no use."""


class AnswerTooLarge(SendFailed):
    """The answer is larger than whoever asked can take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The answer of a server outside."""

    status: int
    body: bytes


class Outgoing:
    """Sends requests. Certificates are checked against the authorities of the host (`SSL_CERT_FILE` adds one)."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._tls = ssl.create_default_context()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        within_s: float,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> Sent:
        """Send one request and return its answer, whatever its status.

        Args:
            method: upper case.
            url: `http` or `https`, percent-encoded.
            headers: without Host, Content-Length and Connection.
            body: may be empty.
            within_s: for all of it, in seconds.
            max_answer_bytes: how large the body of the answer may be.

        Raises:
            AnswerTooLarge: its body is larger.
            SendFailed: there is no answer.
        """
        target = urlsplit(url)
        host, port = target.hostname or "", target.port or _PORTS[target.scheme]
        try:
            async with asyncio.timeout(within_s):
                address = await self._guard.resolve(host, port)
                reader, writer = await asyncio.open_connection(
                    address,
                    port,
                    ssl=self._tls if target.scheme == "https" else None,
                    server_hostname=host if target.scheme == "https" else None,
                )
                try:
                    writer.write(_head(method, target, headers, len(body)) + body)
                    await writer.drain()
                    return await _read(reader, max_answer_bytes)
                finally:
                    writer.close()
                    # What the peer does with a connection that is over is of no interest.
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except AddressRefused as error:
            raise SendFailed(str(error), is_refused=True) from error
        except AddressUnknown as error:
            raise SendFailed(str(error)) from error
        except TimeoutError as error:
            raise SendFailed(f"{host}:{port} has not answered within {within_s:g} seconds") from error
        except ssl.SSLError as error:
            raise SendFailed(f"{host}:{port} cannot be trusted: {error.reason or error}") from error
        except OSError as error:
            raise SendFailed(f"{host}:{port} cannot be reached: {error.strerror or error}") from error


def _head(method: str, target: SplitResult, headers: Mapping[str, str], length: int) -> bytes:
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.netloc}", "Connection: close", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Answer:
    """What the parser tells of one answer."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.is_complete = False
        self.has_length = False
        self.body = bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 - the signature is that of the parser
        """Note whether the answer says how long it is; the parser calls it."""
        self.has_length = self.has_length or name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        """Note the status; the parser calls it."""
        self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body, in bytes as they came; the parser calls it."""
        self.body += data

    def on_message_complete(self) -> None:
        """Note that the answer is complete, unless it is a provisional one (100 to 199); the parser calls it."""
        if self.status >= _FIRST_FINAL_STATUS:
            self.is_complete = True
        else:
            self.status, self.has_length = 0, False


async def _read(reader: asyncio.StreamReader, max_bytes: int) -> Sent:
    answer = _Answer()
    while not answer.is_complete:
        data = await reader.read(_CHUNK)
        if not data:
            break
        try:
            answer.parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise SendFailed("what came back is no HTTP") from error
        if len(answer.body) > max_bytes:
            raise AnswerTooLarge(f"the answer is larger than {max_bytes} bytes")
    # An answer without a length ends with its connection.
    if not answer.is_complete and (answer.has_length or not answer.status):
        raise SendFailed("the connection ended before the answer")
    return Sent(status=answer.status, body=bytes(answer.body))
