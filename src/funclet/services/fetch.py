"""Fetch a code package from a host that the operator allows. Off as long as none is allowed."""

import asyncio
import http.client
import socket
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from funclet.base.clock import Clock, SystemClock
from funclet.model.errors import ModelError
from funclet.services.limits import MIB

SETTING = "code_url_hosts"
MAX_URL_LENGTH = 2048
_IDLE_TIMEOUT_S = 10.0
_TOTAL_TIMEOUT_S = 120.0
_CHUNK = 256 * 1024
_OK, _NOT_FOUND, _MAX_STATUS_REDIRECT = 200, 404, 399


class CodeFetcher:
    """Reads `http` and `https` URLs of the allowed hosts. Follows no redirects and uses no proxy."""

    def __init__(self, hosts: Sequence[str] = (), *, max_bytes: int = 300 * MIB, clock: Clock | None = None) -> None:
        """Take the hosts as `name` for the usual ports, or as `name:port`."""
        self._hosts = frozenset(host.lower() for host in hosts)
        self._max_bytes = max_bytes
        self._clock = clock or SystemClock()

    async def fetch(self, url: str) -> bytes:
        """Return what is stored under `url`.

        Raises:
            ModelError: FSS.1010 if it is not allowed or cannot be read, FSS.1054 if there is nothing,
                FSS.1071 if it is too large.
        """
        target = self._require_allowed(url)
        return await asyncio.to_thread(self._read, target)

    def _require_allowed(self, url: str) -> SplitResult:
        try:
            target = urlsplit(url)
            is_sound = (
                len(url) <= MAX_URL_LENGTH
                and url.isascii()
                and url.isprintable()
                and " " not in url
                and target.scheme in ("http", "https")
                # The whole of it, so that neither another port nor a user name can be smuggled in.
                and target.netloc.lower() in self._hosts
            )
        except ValueError:
            is_sound = False
        if not is_sound:
            raise ModelError(
                "FSS.1010",
                f"code_url '{url[:200]}' is not allowed. The operator can allow its host by the setting '{SETTING}'; "
                "or upload the code as a ZIP archive with code_type 'zip'.",
            )
        return target

    def _read(self, target: SplitResult) -> bytes:
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        connection = kind(target.hostname or "", target.port, timeout=_IDLE_TIMEOUT_S)
        path = target.path or "/"
        try:
            connection.request("GET", f"{path}?{target.query}" if target.query else path)
            with connection.getresponse() as response:
                return self._read_response(response)
        except (OSError, http.client.HTTPException) as error:
            raise ModelError("FSS.1010", f"code_url cannot be read: {_reason(error)}.") from error
        finally:
            connection.close()

    def _read_response(self, response: http.client.HTTPResponse) -> bytes:
        if response.status == _NOT_FOUND:
            raise ModelError("FSS.1054", "There is no code package under code_url.")
        if response.status != _OK:
            what = "a redirect, which is not followed" if response.status <= _MAX_STATUS_REDIRECT else "an error"
            raise ModelError("FSS.1010", f"code_url answered with {what}: status {response.status}.")
        deadline = self._clock.monotonic() + _TOTAL_TIMEOUT_S
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise ModelError("FSS.1071", f"The package under code_url is larger than {self._max_bytes // MIB} MB.")
            if self._clock.monotonic() > deadline:
                raise ModelError("FSS.1010", f"code_url took longer than {_TOTAL_TIMEOUT_S:.0f} seconds.")
        if response.length:
            raise ModelError("FSS.1010", "code_url ended before the whole package was read.")
        return bytes(data)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its host name is unknown"
    return str(error) or type(error).__name__
