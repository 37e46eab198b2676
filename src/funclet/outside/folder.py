"""Buckets in the data folder: what stands in for an object store as long as none is connected."""

import asyncio
from pathlib import Path

from funclet.base.durable import write_whole


class FolderBuckets:
    """Files below one folder: `<project>/<bucket>/<key>`.

    Callers have checked names and keys: a key has no empty part, no `.` and no `..`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, project_id: str, bucket: str, key: str, body: bytes) -> None:
        """Store an object; it survives a crash when this returns.

        Raises:
            OSError: the disk is full or failing; nothing is stored.
        """
        await asyncio.to_thread(write_whole, self._path(project_id, bucket, key), body, top=self._folder)

    async def read(self, project_id: str, bucket: str, key: str) -> bytes | None:
        """Return an object; None if there is none.

        Raises:
            OSError: the disk fails.
        """
        try:
            return await asyncio.to_thread(self._path(project_id, bucket, key).read_bytes)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    async def delete(self, project_id: str, bucket: str, key: str) -> None:
        """Delete an object and the folders that it leaves empty; nothing happens if there is none.

        Raises:
            OSError: the disk fails.
        """
        await asyncio.to_thread(_delete, self._path(project_id, bucket, key), self._folder)

    def _path(self, project_id: str, bucket: str, key: str) -> Path:
        return self._folder.joinpath(project_id, bucket, *key.split("/"))


def _delete(path: Path, top: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        return
    for folder in path.parents:
        if folder == top:
            return
        try:
            folder.rmdir()
        except OSError:
            # Others are in it, or one was just put there.
            return
