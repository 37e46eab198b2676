"""Which connection stands for a bucket or a stream, and its secret: the registry of connections at work."""

from dataclasses import dataclass, field

from funclet.model.messaging import ANY_RESOURCE, Connection, ConnectionKind
from funclet.store.messaging import connection_context
from funclet.store.protocol import Store
from funclet.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedConnection:
    """A connection with its secret, which stays out of `repr`."""

    connection: Connection
    secret: str = field(repr=False)


class Links:
    """Finds connections."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def find(self, project_id: str, kind: ConnectionKind, resource: str) -> OpenedConnection | None:
        """Return the connection that names a bucket or stream, else the one for all of its kind; None if neither is.

        Raises:
            VaultError: its secret cannot be read.
            StoreUnavailable: ask later.
        """
        found = await self._all(project_id, kind)
        for wanted in (resource, ANY_RESOURCE):
            for connection, sealed in found:
                if wanted in connection.resources:
                    return self._opened(connection, sealed)
        return None

    async def named(self, project_id: str, name: str) -> OpenedConnection | None:
        """Return one connection.

        Raises:
            VaultError: its secret cannot be read.
            StoreUnavailable: ask later.
        """
        for connection, sealed in await self._store.read(lambda tx: tx.connections.list(project_id)):
            if connection.name == name:
                return self._opened(connection, sealed)
        return None

    async def _all(self, project_id: str, kind: ConnectionKind) -> list[tuple[Connection, bytes]]:
        rows = await self._store.read(lambda tx: tx.connections.list(project_id))
        return [row for row in rows if row[0].kind is kind]

    def _opened(self, connection: Connection, sealed: bytes) -> OpenedConnection:
        context = connection_context(connection.project_id, connection.name)
        return OpenedConnection(connection=connection, secret=self._vault.reveal(sealed, context=context))
