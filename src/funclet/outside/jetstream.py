"""Streams on a NATS server with JetStream. The only module that imports `nats`, which is an extra (`funclet[nats]`)."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from funclet.outside.guard import AddressRefused, AddressUnknown, Guard

try:
    import nats.aio.client
    import nats.errors
    import nats.js.errors
except ImportError:  # the extra is not installed
    IS_INSTALLED = False
else:
    IS_INSTALLED = True

if TYPE_CHECKING:
    from nats.aio.client import Client

_CONNECT_S, _PUBLISH_S = 5, 10
_PORT = 4222
KEY_HEADER = "Fgs-Partition-Key"
_ID_HEADER = "Nats-Msg-Id"


class JetStreamFailed(Exception):
    """The server has not taken what was sent; the message says why."""

    def __init__(self, reason: str, *, is_permanent: bool = False) -> None:
        super().__init__(reason)
        self.is_permanent = is_permanent


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAddress:
    """Where a NATS server is and who we are there. The password stays out of `repr`."""

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    """A token if there is no user."""


class JetStream:
    """Connections to NATS servers, kept as long as they hold. Close it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._clients: dict[NatsAddress, Client] = {}
        self._locks: dict[NatsAddress, asyncio.Lock] = {}

    async def publish(self, address: NatsAddress, subject: str, data: bytes, *, key: str, message_id: str) -> None:
        """Hand a record to the stream that takes `subject`; it is stored when this returns.

        The server drops a record whose `message_id` it has seen within the time that the stream says.

        Raises:
            JetStreamFailed: it is not stored, as far as can be told.
        """
        client = await self._client(address)
        headers = {_ID_HEADER: message_id, KEY_HEADER: key}
        try:
            await client.jetstream(timeout=_PUBLISH_S).publish(subject, data, headers=headers)
        except nats.js.errors.NoStreamResponseError as error:
            reason = f"no JetStream stream of the server takes the subject '{subject}'"
            raise JetStreamFailed(reason, is_permanent=True) from error
        except nats.errors.MaxPayloadError as error:
            raise JetStreamFailed("the record is larger than the server takes", is_permanent=True) from error
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            await self._drop(address)
            raise JetStreamFailed(_reason(error)) from error

    async def check(self, address: NatsAddress) -> None:
        """Ask the server for its account, which shows that address and credentials are right.

        Raises:
            JetStreamFailed: they are not.
        """
        client = await self._client(address)
        try:
            await client.jetstream(timeout=_PUBLISH_S).account_info()
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            await self._drop(address)
            raise JetStreamFailed(_reason(error)) from error

    async def close(self) -> None:
        """End all connections."""
        for address in list(self._clients):
            await self._drop(address)

    async def _client(self, address: NatsAddress) -> "Client":
        if not IS_INSTALLED:
            raise JetStreamFailed("the server lacks the extra for NATS: pip install 'funclet[nats]'", is_permanent=True)
        async with self._locks.setdefault(address, asyncio.Lock()):
            client = self._clients.get(address)
            if client is None or not client.is_connected:
                await self._drop(address)
                client = self._clients[address] = await self._connect(address)
            return client

    async def _connect(self, address: NatsAddress) -> "Client":
        url = urlsplit(address.url)
        host, port = url.hostname or "", url.port or _PORT
        try:
            found = await self._guard.resolve(host, port)
        except AddressRefused as error:
            raise JetStreamFailed(str(error), is_permanent=True) from error
        except AddressUnknown as error:
            raise JetStreamFailed(str(error)) from error
        given: dict[str, Any] = (
            {"user": address.user, "password": address.password} if address.user else {"token": address.password}
        )
        is_tls = url.scheme == "tls"
        where = f"[{found}]" if ":" in found else found
        client = nats.aio.client.Client()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await client.connect(
                    f"{url.scheme}://{where}:{port}",
                    # Without it, the client would follow the server to addresses that the guard has not seen.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=_CONNECT_S,
                    error_cb=_ignore,
                    tls_hostname=host if is_tls else None,
                    **{name: text for name, text in given.items() if text},
                )
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await _end(client)
            raise JetStreamFailed(f"{host}:{port}: {_reason(error)}") from error
        return client

    async def _drop(self, address: NatsAddress) -> None:
        client = self._clients.pop(address, None)
        if client is not None:
            await _end(client)


async def _end(client: "Client") -> None:
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        await client.close()
    # A client that was refused, or whose last bytes could not be sent, calls itself closed and leaves its socket open.
    transport = client._transport  # noqa: SLF001 - nothing public closes it then
    if transport is not None:
        transport.close()  # type: ignore[no-untyped-call]


async def _ignore(_: Exception) -> None:
    """Whoever waits for the answer is told; the client need not print it as well."""


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
