"""Code packages, unpacked once per digest and shared by all instances that run them."""

import asyncio
import ctypes
import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Protocol

from funclet.model.function import Code
from funclet.model.package import Entry, inspect

_libc = ctypes.CDLL(None, use_errno=True)


class PackageSource(Protocol):
    """Where packages are read from by digest."""

    async def read(self, digest: str) -> bytes:
        """Return a package whose digest was checked."""
        ...


class CodeCache:
    """Folders of unpacked code by digest, below one folder."""

    def __init__(self, source: PackageSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._running: dict[str, asyncio.Task[Path]] = {}

    async def fetch(self, code: Code) -> Path:
        """Return the folder that holds the unpacked code; it is read-only for everyone.

        Raises:
            ModelError: the package breaks the rules of packages.
            OSError: it cannot be read or written.
        """
        folder = self._folder / code.digest
        if folder.is_dir():
            return folder
        task = self._running.get(code.digest)
        if task is None:
            task = asyncio.create_task(self._unpack(code.digest, folder), name=f"unpack {code.digest[:12]}")
            self._running[code.digest] = task
            task.add_done_callback(lambda _: self._running.pop(code.digest, None))
        # Shielded: a caller that goes away must not undo the work that others wait for.
        return await asyncio.shield(task)

    def sweep(self, in_use: frozenset[str]) -> int:
        """Delete folders of code that no version names any more, and left-overs; return how many. Only at start."""
        doomed = [path for path in self._folder.iterdir() if path.name not in in_use]
        for path in doomed:
            shutil.rmtree(path)
        return len(doomed)

    async def _unpack(self, digest: str, folder: Path) -> Path:
        package = await self._source.read(digest)
        await asyncio.to_thread(_extract, package, folder)
        return folder


def _extract(package: bytes, folder: Path) -> None:
    """Unpack next to `folder` and rename, so that a crash leaves no half-written code under its final name."""
    listing = inspect(package)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o755)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        for entry in listing.entries:
            _write(archive, entry, partial)
    for path, _, _ in os.walk(partial):
        # Whatever the umask of the server is, the user inside the sandbox must be able to read.
        Path(path).chmod(0o755)
    _flush(partial)
    try:
        partial.rename(folder)
    except OSError:
        # Another process of this server may have been faster, and then its folder is as good.
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)


def _flush(folder: Path) -> None:
    """Put the file system of a folder on the disk: after a crash of the machine, a file that was not would be empty.

    All at once, because a package can have thousands of files.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _write(archive: zipfile.ZipFile, entry: Entry, root: Path) -> None:
    target = root / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.is_directory:
        target.mkdir(exist_ok=True)
    elif entry.link_target:
        target.symlink_to(entry.link_target)
    else:
        with archive.open(archive.infolist()[entry.member]) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
        target.chmod(entry.mode)
