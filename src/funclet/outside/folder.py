"""Buckets in the data folder: what stands in for an object store as long as none is connected."""

import asyncio
import os
from pathlib import Path

from funclet.base.ids import new_hex_id

_UNFINISHED = ".part"


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
        await asyncio.to_thread(_write, self._path(project_id, bucket, key), body, self._folder)

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


def _write(path: Path, body: bytes, top: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(new_hex_id() + _UNFINISHED)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    # The names, too: of the file in its folder, and of the folders, which may be new.
    for folder in path.parents:
        _sync(folder)
        if folder == top:
            break


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


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
