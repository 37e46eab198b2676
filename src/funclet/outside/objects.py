"""Objects of destinations: in the store that a connection names, else in the data folder; and their end."""

import logging
from collections.abc import Mapping
from pathlib import Path

from funclet.base.clock import Clock
from funclet.model.messaging import ConnectionKind, StoredObject
from funclet.outside.folder import FolderBuckets
from funclet.outside.links import Links, OpenedConnection
from funclet.outside.outgoing import Outgoing, SendFailed
from funclet.outside.s3 import S3, S3Credentials, S3Failed
from funclet.store.protocol import Store, StoreUnavailable
from funclet.vault import VaultError

log = logging.getLogger(__name__)

MAX_FOLDER_BYTES = 10 * 1024**3
"""What one project may keep in the data folder."""
CONTENT_TYPE = "application/json"
_SWEEP_PERIOD_S = 60.0
_SWEEP_BATCH = 100
_POSTPONE_S = 3600.0
DAY_S = 86_400.0


class FolderFull(Exception):
    """The project has used up its part of the data folder."""


class ObjectStores:
    """Writes objects and deletes those whose end has come."""

    def __init__(self, store: Store, links: Links, outgoing: Outgoing, clock: Clock, folder: Path) -> None:
        self._store = store
        self._links = links
        self._outgoing = outgoing
        self._clock = clock
        self.folder = FolderBuckets(folder)

    async def put(
        self, project_id: str, bucket: str, key: str, body: bytes, *, metadata: Mapping[str, str], expires_s: float
    ) -> None:
        """Store an object; `expires_s` is how long it is kept, 0 for ever.

        Raises:
            S3Failed, SendFailed, VaultError: the connected store has not taken it.
            FolderFull, OSError: the data folder has not.
            StoreUnavailable: try again later.
        """
        link = await self._links.find(project_id, ConnectionKind.S3, bucket)
        now = self._clock.now()
        stored = StoredObject(
            project_id=project_id,
            connection=link.connection.name if link else "",
            bucket=bucket,
            key=key,
            size=len(body),
            written_at=now,
            expires_at=now + expires_s if expires_s else None,
        )
        if link is None:
            await self._put_into_folder(stored, body)
            return
        if stored.expires_at is not None:
            # First: an object that a crash leaves without its row would stay for ever.
            await self._store.write(lambda tx: tx.objects.put(stored))
        await self.client(link).put(bucket, key, body, content_type=CONTENT_TYPE, metadata=metadata)

    def client(self, link: OpenedConnection) -> S3:
        """Return a client of a connected store."""
        connection = link.connection
        credentials = S3Credentials(access=connection.user, secret=link.secret, region=connection.region)
        return S3(self._outgoing, connection.address, credentials, self._clock)

    async def run(self) -> None:
        """Delete what has come to its end, for ever."""
        while True:
            try:
                while await self.sweep(now=self._clock.now()):
                    pass
            except StoreUnavailable:
                log.warning("expired objects could not be looked up; trying again later")
            await self._clock.sleep(_SWEEP_PERIOD_S)

    async def sweep(self, *, now: float) -> int:
        """Delete some objects whose end has come by `now` (seconds since the epoch); return how many were tried."""
        expired = await self._store.read(lambda tx: tx.objects.expired(now=now, limit=_SWEEP_BATCH))
        for stored in expired:
            await self._end(stored, now)
        return len(expired)

    async def _end(self, stored: StoredObject, now: float) -> None:
        if await self._delete(stored):
            await self._store.write(lambda tx: tx.objects.forget(stored))
        else:
            await self._store.write(lambda tx: tx.objects.postpone(stored, until=now + _POSTPONE_S))

    async def _put_into_folder(self, stored: StoredObject, body: bytes) -> None:
        used = await self._store.read(lambda tx: tx.objects.total(stored.project_id))
        if used + stored.size > MAX_FOLDER_BYTES:
            raise FolderFull(f"the project has used up its {MAX_FOLDER_BYTES} bytes in the data folder")
        await self.folder.put(stored.project_id, stored.bucket, stored.key, body)
        await self._store.write(lambda tx: tx.objects.put(stored))

    async def _delete(self, stored: StoredObject) -> bool:
        """Delete an object where it is; False if that has to be tried again."""
        try:
            if not stored.connection:
                await self.folder.delete(stored.project_id, stored.bucket, stored.key)
                return True
            link = await self._links.named(stored.project_id, stored.connection)
            if link is not None:
                await self.client(link).delete(stored.bucket, stored.key)
        except (S3Failed, SendFailed, VaultError, OSError) as error:
            log.warning(
                "an expired object could not be deleted: bucket=%s key=%s: %s", stored.bucket, stored.key, error
            )
            return False
        # Without its connection it cannot be reached any more.
        return True


async def trim_streams(store: Store, clock: Clock) -> None:
    """Delete what is over the age of its stream, for ever."""
    while True:
        try:
            while await store.write(lambda tx: tx.streams.trim(now=clock.now())):
                pass
        except StoreUnavailable:
            log.warning("old records of streams could not be deleted; trying again later")
        await clock.sleep(_SWEEP_PERIOD_S)
