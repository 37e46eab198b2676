"""Code packages by digest, in a folder.

`put` is durable when it returns and can be repeated; `read` checks what it
reads; `sweep` deletes what no function names any more.
"""

import asyncio
import contextlib
import os
import re
import threading
from pathlib import Path

from funclet.base.clock import Clock, SystemClock
from funclet.base.durable import UNFINISHED, write_whole
from funclet.base.ids import sha512_hex

_DIGEST = re.compile(r"[0-9a-f]{128}")


class BlobError(Exception):
    """A code package cannot be stored or read."""


class BlobMissing(BlobError):
    """No package has this digest."""


class BlobDamaged(BlobError):
    """The stored package is not what its digest says. Uploading it again repairs it."""


class Blobs:
    """A folder of packages, sharded by the first two digits of their digests."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()
        # Keeps `sweep` from deleting a package between the moment `put` finds it and marks it as new.
        self._lock = threading.Lock()

    def path(self, digest: str) -> Path:
        """Return where the package is or would be.

        Raises:
            BlobError: `digest` is not 128 hexadecimal digits in lower case, so it could be any path.
        """
        if not _DIGEST.fullmatch(digest):
            raise BlobError(f"'{digest[:140]}' is not a digest of a package")
        return self._folder / digest[:2] / digest

    async def put(self, data: bytes) -> str:
        """Store a package and return its digest; it survives a crash when this returns.

        Storing what is there already only makes it new for `sweep`.

        Raises:
            BlobError: the disk is full or failing; nothing is stored.
        """
        return await asyncio.to_thread(self._put, data)

    async def read(self, digest: str) -> bytes:
        """Return a package after checking it against its digest.

        Raises:
            BlobMissing: there is none.
            BlobDamaged: it is not what was stored.
            BlobError: `digest` is none, or the disk fails.
        """
        return await asyncio.to_thread(self._read, self.path(digest))

    async def sweep(self, in_use: frozenset[str], older_than_s: float) -> int:
        """Delete packages that are not `in_use` and were last stored more than `older_than_s` seconds ago.

        The age keeps a package that was stored just now, whose function is not stored yet.
        Remains of uploads that a crash cut short go by the same rule. Returns the number of
        files deleted.

        Raises:
            BlobError: the disk fails; some files may have been deleted.
        """
        return await asyncio.to_thread(self._sweep, in_use, self._clock.now() - older_than_s)

    def _put(self, data: bytes) -> str:
        digest = sha512_hex(data)
        path = self.path(digest)
        try:
            if not self._renew(path, digest):
                write_whole(path, data, top=self._folder)
        except OSError as error:
            raise BlobError(f"the code package cannot be stored: {error.strerror}") from error
        return digest

    def _renew(self, path: Path, digest: str) -> bool:
        """Mark a package that is there as new; False if it is missing or damaged."""
        with self._lock:
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        return sha512_hex(path.read_bytes()) == digest

    def _read(self, path: Path) -> bytes:
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise BlobMissing(f"code package {path.name[:16]}... is missing") from error
        except OSError as error:
            raise BlobError(f"code package {path.name[:16]}... cannot be read: {error.strerror}") from error
        if sha512_hex(data) != path.name:
            raise BlobDamaged(f"code package {path.name[:16]}... is damaged; upload the code again")
        return data

    def _sweep(self, in_use: frozenset[str], before: float) -> int:
        try:
            return sum(
                self._delete_old(path, before)
                for path in self._folder.glob("??/*")
                if path.name not in in_use and (path.suffix == UNFINISHED or _DIGEST.fullmatch(path.name))
            )
        except OSError as error:
            raise BlobError(f"old code packages cannot be deleted: {error.strerror}") from error

    def _delete_old(self, path: Path, before: float) -> bool:
        with self._lock, contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
                return True
        return False
