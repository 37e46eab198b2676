"""Packages in object stores: which object an address means, and its bytes. Start with `StoredPackages.read`.

An address names an object if it is `obs://bucket/key` or `s3://bucket/key`, if it lies on the server of a
connection of the project, or if it has the form that the cloud's object store gives its objects,
`https://bucket.obs.region.domain/key`, for a bucket that a connection names. A bucket that no connection stands
for is the one in the data folder.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from funclet.model.errors import ModelError
from funclet.model.messaging import Connection, ConnectionKind, check_bucket_name
from funclet.outside.links import Links
from funclet.outside.objects import ObjectStores
from funclet.outside.outgoing import AnswerTooLarge, SendFailed
from funclet.outside.s3 import S3Failed
from funclet.store.protocol import Store
from funclet.vault import VaultError

MAX_KEY_LENGTH = 1024
MIB = 1024 * 1024
_SCHEMES = ("obs", "s3")
_CLOUD_HOST = re.compile(r"(?P<bucket>[a-z0-9.-]{3,63})\.obs\.[a-z0-9-]+\.[a-z0-9.-]+")
_GONE = ("NoSuchKey", "NoSuchBucket")


@dataclass(frozen=True, slots=True)
class _Place:
    bucket: str
    key: str


class StoredPackages:
    """Reads packages from connected stores and from the buckets in the data folder."""

    def __init__(self, store: Store, links: Links, stores: ObjectStores) -> None:
        self._store = store
        self._links = links
        self._stores = stores

    async def object_of(self, project_id: str, url: str) -> str | None:
        """Return bucket and key, with a slash between them, that an address means to a project; None for none."""
        place = await self._place(project_id, url)
        return f"{place.bucket}/{place.key}" if place else None

    async def read(self, project_id: str, url: str, *, max_bytes: int) -> bytes | None:
        """Return the object that an address means to a project; None if it means none.

        Raises:
            ModelError: FSS.1010 for an address that no object can have or a store that does not answer, FSS.1054 if
                the object does not exist, FSS.1071 if it is larger than `max_bytes`.
        """
        place = await self._place(project_id, url)
        if place is None:
            return None
        _check(place)
        try:
            link = await self._links.find(project_id, ConnectionKind.S3, place.bucket)
            if link is not None:
                return await self._stores.client(link).get(place.bucket, place.key, max_bytes=max_bytes)
            body = await self._stores.folder.read(project_id, place.bucket, place.key)
        except AnswerTooLarge as error:
            raise _too_large(max_bytes) from error
        except S3Failed as error:
            if error.code in _GONE:
                raise _missing(place) from error
            raise ModelError("FSS.1010", f"The package cannot be read: {error}.") from error
        except (SendFailed, VaultError, OSError) as error:
            raise ModelError("FSS.1010", f"The package cannot be read: {error}.") from error
        if body is None:
            raise _missing(place)
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body

    async def _place(self, project_id: str, url: str) -> _Place | None:
        try:
            target = urlsplit(url)
            host = target.netloc.lower()
        except ValueError:
            return None
        if target.scheme in _SCHEMES:
            return _Place(host, _key(target.path))
        if target.scheme not in ("http", "https"):
            return None
        rows = await self._store.read(lambda tx: tx.connections.list(project_id))
        connections = [row for row, _ in rows if row.kind is ConnectionKind.S3]
        return _on_a_connection(connections, target, host) or _on_the_cloud(connections, target, host)


def _on_a_connection(connections: Sequence[Connection], target: SplitResult, host: str) -> _Place | None:
    """Return what an address on the server of a connection means: the bucket is in its path or in its host."""
    for connection in connections:
        server = urlsplit(connection.address).netloc.lower()
        if host == server:
            bucket, _, key = target.path.lstrip("/").partition("/")
            return _Place(unquote(bucket), unquote(key))
        if host.endswith(f".{server}"):
            return _Place(host.removesuffix(f".{server}"), _key(target.path))
    return None


def _on_the_cloud(connections: Sequence[Connection], target: SplitResult, host: str) -> _Place | None:
    match = _CLOUD_HOST.fullmatch(host)
    if match and any(match["bucket"] in connection.resources for connection in connections):
        return _Place(match["bucket"], _key(target.path))
    return None


def _key(path: str) -> str:
    return unquote(path.removeprefix("/"))


def _check(place: _Place) -> None:
    try:
        check_bucket_name(place.bucket)
    except ModelError as error:
        raise ModelError("FSS.1010", error.message) from error
    parts = place.key.split("/")
    if not place.key.isprintable() or len(place.key) > MAX_KEY_LENGTH or any(part in ("", ".", "..") for part in parts):
        raise ModelError("FSS.1010", f"The address names no object: '{place.key[:200]}' is no key.")


def _too_large(max_bytes: int) -> ModelError:
    return ModelError("FSS.1071", f"The package is larger than {max_bytes // MIB} MB.")


def _missing(place: _Place) -> ModelError:
    return ModelError("FSS.1054", f"There is no object '{place.key[:200]}' in the bucket '{place.bucket}'.")
