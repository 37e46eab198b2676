"""Fetch a package by its link: from the object stores of the project, or from a host that the operator allows."""

import asyncio
import http.client
import socket
from collections.abc import Sequence
from typing import Protocol
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


class PackageStore(Protocol):
    """Where links to objects are looked up first."""

    async def object_of(self, project_id: str, url: str) -> str | None:
        """Return bucket and key, with a slash between them, that an address means to a project; None for none."""
        ...

    async def read(self, project_id: str, url: str, *, max_bytes: int) -> bytes | None:
        """Return the object that an address means to a project; None if it means none.

        Raises:
            ModelError: FSS.1010, FSS.1054 or FSS.1071 if it cannot be read.
        """
        ...


class CodeFetcher:
    """Reads objects, and `http` and `https` URLs of the allowed hosts. Follows no redirects and uses no proxy."""

    def __init__(
        self,
        hosts: Sequence[str] = (),
        *,
        max_bytes: int = 300 * MIB,
        clock: Clock | None = None,
        store: PackageStore | None = None,
    ) -> None:
        """Take the hosts as `name` for the usual ports, or as `name:port`."""
        self._store = store
        self._hosts = frozenset(host.lower() for host in hosts)
        self._max_bytes = max_bytes
        self._clock = clock or SystemClock()

    async def fetch(self, url: str, *, project_id: str) -> bytes:
        """Return what is stored under `url`, as a project sees it.

        Raises:
            ModelError: FSS.1010 if it is not allowed or cannot be read, FSS.1054 if there is nothing,
                FSS.1071 if it is too large.
        """
        if not _is_sound(url):
            raise ModelError("FSS.1010", f"The link '{url[:200]}' is not allowed: it is no address.")
        stored = await self._store.read(project_id, url, max_bytes=self._max_bytes) if self._store else None
        if stored is not None:
            return stored
        target = self._require_allowed(url)
        return await asyncio.to_thread(self._read, target)

    async def object_of(self, url: str, *, project_id: str) -> str | None:
        """Return bucket and key of the project's object that a link means; None if it means none."""
        return await self._store.object_of(project_id, url) if self._store and _is_sound(url) else None

    def _require_allowed(self, url: str) -> SplitResult:
        target = urlsplit(url)
        # The whole of it, so that neither another port nor a user name can be smuggled in.
        if target.scheme not in ("http", "https") or target.netloc.lower() not in self._hosts:
            raise ModelError(
                "FSS.1010",
                f"The link '{url[:200]}' is not allowed. Connect the project's object store ('fgs connection set'), "
                f"let the operator allow the host by the setting '{SETTING}', or upload a ZIP archive instead.",
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
            raise ModelError("FSS.1010", f"The link cannot be read: {_reason(error)}.") from error
        finally:
            connection.close()

    def _read_response(self, response: http.client.HTTPResponse) -> bytes:
        if response.status == _NOT_FOUND:
            raise ModelError("FSS.1054", "There is no package under the link.")
        if response.status != _OK:
            what = "a redirect, which is not followed" if response.status <= _MAX_STATUS_REDIRECT else "an error"
            raise ModelError("FSS.1010", f"The link answered with {what}: status {response.status}.")
        deadline = self._clock.monotonic() + _TOTAL_TIMEOUT_S
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise ModelError("FSS.1071", f"The package under the link is larger than {self._max_bytes // MIB} MB.")
            if self._clock.monotonic() > deadline:
                raise ModelError("FSS.1010", f"The link took longer than {_TOTAL_TIMEOUT_S:.0f} seconds.")
        if response.length:
            raise ModelError("FSS.1010", "The link ended before the whole package was read.")
        return bytes(data)


def _is_sound(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return len(url) <= MAX_URL_LENGTH and url.isascii() and url.isprintable() and " " not in url


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its host name is unknown"
    return str(error) or type(error).__name__
