"""Connections to systems outside, the key that seals their secrets, and the objects in the data folder."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from funclet.base.clock import Clock
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.model.messaging import (
    ANY_RESOURCE,
    Connection,
    ConnectionKind,
    StoredObject,
    check_bucket_name,
    check_connection,
)
from funclet.outside import jetstream
from funclet.outside.guard import AddressRefused, AddressUnknown, Guard
from funclet.outside.jetstream import JetStream, JetStreamFailed, NatsAddress
from funclet.outside.links import Links, OpenedConnection
from funclet.outside.objects import ObjectStores
from funclet.outside.outgoing import SendFailed
from funclet.outside.s3 import S3Failed
from funclet.services.key_secrets import reseal_secrets
from funclet.store.messaging import connection_context
from funclet.store.protocol import Store, Tx
from funclet.vault import Vault, VaultError

MAX_CONNECTIONS = 100
_PORTS = {"http": 80, "https": 443, "nats": 4222, "tls": 4222}


class ConnectionService:
    """Use cases of connections. No answer of theirs holds a secret."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        vault: Vault,
        guard: Guard,
        links: Links,
        stores: ObjectStores,
        jetstream: JetStream,
    ) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._guard = guard
        self._links = links
        self._stores = stores
        self._jetstream = jetstream
        # Two at once would drop each other's new key while secrets are still sealed with it.
        self._rotating = asyncio.Lock()

    async def put(self, connection: Connection, secret: str) -> Connection:
        """Create or replace a connection and return it; what is on its way uses the new one.

        Raises:
            ModelError: FSS.0400 for wrong members or an address that may not be used, FSS.0409 if another connection
                has one of its resources, FSS.0403 beyond the quota, FSS.0426 if the server lacks the client library.
        """
        check_connection(connection, secret)
        connection = replace(connection, created_at=self._clock.now())
        if connection.kind is ConnectionKind.NATS and not jetstream.IS_INSTALLED:
            raise ModelError("FSS.0426", "This server has no client for NATS; install it: pip install 'funclet[nats]'.")
        await self._check_address(connection.address)
        context = connection_context(connection.project_id, connection.name)

        def put(tx: Tx) -> None:
            """Store the connection, in one transaction with the check of all others."""
            others = [row for row, _ in tx.connections.list(connection.project_id) if row.name != connection.name]
            if len(others) >= MAX_CONNECTIONS:
                raise ModelError("FSS.0403", f"The project has {MAX_CONNECTIONS} connections already.")
            _check_resources(connection, others)
            # Here, as everywhere: what was sealed before a change of the key and is stored after it is lost.
            tx.connections.put(connection, self._vault.seal(secret, context=context))

        await self._store.write(put)
        return connection

    async def list(self, principal: Principal) -> Sequence[Connection]:
        """Return the connections of the project by name."""
        rows = await self._store.read(lambda tx: tx.connections.list(principal.project.project_id))
        return [connection for connection, _ in rows]

    async def delete(self, principal: Principal, name: str) -> None:
        """Delete a connection. Objects of its store that were to be deleted one day stay there.

        Raises:
            ModelError: FSS.0404.
        """
        if not await self._store.write(lambda tx: tx.connections.delete(principal.project.project_id, name)):
            raise _missing(name)

    async def test(self, principal: Principal, name: str) -> str:
        """Reach the system at the other end; return what is wrong, empty if nothing.

        Raises:
            ModelError: FSS.0404.
        """
        try:
            link = await self._links.named(principal.project.project_id, name)
            if link is None:
                raise _missing(name)
            await self._reach(link)
        except (S3Failed, SendFailed, JetStreamFailed, VaultError) as error:
            return str(error)
        return ""

    async def rotate_key(self) -> None:
        """Seal all secrets of all projects with a new key and forget the old ones.

        A crash in between leaves both keys, so nothing is lost; the next call ends it. Calls wait for each other.

        Raises:
            ModelError: FSS.0503, the file of the key cannot be written, or the key not be wrapped; nothing has changed.
        """
        async with self._rotating:
            await self._rotate()

    async def _rotate(self) -> None:
        vault = self._vault
        try:
            await asyncio.to_thread(vault.add_key)
        except OSError as error:
            raise ModelError("FSS.0503", f"The file of the key cannot be written: {error.strerror}.") from error
        except VaultError as error:
            raise ModelError("FSS.0503", f"There is no new key: {error}") from error

        def reseal(sealed: bytes, context: str) -> bytes:
            """Return a secret sealed with the new key."""
            return vault.seal(vault.reveal(sealed, context=context), context=context)

        def reseal_all(tx: Tx) -> None:
            """Seal every secret of the database with the new key, in one transaction."""
            tx.connections.reseal(reseal)
            tx.topics.reseal(reseal)
            tx.remembered.reseal(reseal)
            tx.triggers.reseal(reseal)
            tx.gateway.reseal(reseal)
            tx.functions.reseal(reseal)
            reseal_secrets(vault, tx)

        await self._store.write(reseal_all)
        await asyncio.to_thread(vault.drop_old_keys)

    async def objects(
        self, principal: Principal, bucket: str, *, prefix: str, after: str, limit: int
    ) -> Sequence[StoredObject]:
        """Return objects in the data folder by key.

        Raises:
            ModelError: FSS.0400.
        """
        check_bucket_name(bucket)
        project_id = principal.project.project_id
        return await self._store.read(
            lambda tx: tx.objects.list(project_id, bucket, prefix=prefix, after=after, limit=limit)
        )

    async def read_object(self, principal: Principal, bucket: str, key: str) -> bytes:
        """Return an object in the data folder.

        Raises:
            ModelError: FSS.0400, FSS.0404.
        """
        check_bucket_name(bucket)
        is_sound = key.isprintable() and not any(part in ("", ".", "..") for part in key.split("/"))
        body = await self._stores.folder.read(principal.project.project_id, bucket, key) if is_sound else None
        if body is None:
            raise ModelError("FSS.0404", f"There is no object '{key[:200]}' in the bucket '{bucket}' of this server.")
        return body

    async def _check_address(self, address: str) -> None:
        url = urlsplit(address)
        try:
            await self._guard.resolve(url.hostname or "", url.port or _PORTS[url.scheme])
        except (AddressRefused, AddressUnknown) as error:
            raise ModelError("FSS.0400", f"The address '{address[:200]}' cannot be used: {error}.") from error

    async def _reach(self, link: OpenedConnection) -> None:
        if link.connection.kind is ConnectionKind.S3:
            await self._stores.client(link).check()
        else:
            connection = link.connection
            await self._jetstream.check(NatsAddress(url=connection.address, user=connection.user, password=link.secret))


def _check_resources(connection: Connection, others: Sequence[Connection]) -> None:
    """Refuse a resource that another connection has, so that there is never a doubt which one is meant."""
    for other in others:
        shared = set(other.resources) & set(connection.resources)
        if other.kind is connection.kind and shared:
            what = "everything else" if ANY_RESOURCE in shared else f"'{min(shared)}'"
            raise ModelError("FSS.0409", f"The connection '{other.name}' stands for {what} already.")


def _missing(name: str) -> ModelError:
    return ModelError("FSS.0404", f"The connection '{name[:80]}' does not exist.")
