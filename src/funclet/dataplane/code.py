"""Code packages, unpacked once per digest and shared by all instances that run them.

Dependencies are laid over the package in a folder of hard links, so that their content is on the disk, and in
memory, only once however many functions use them.
"""

import asyncio
import ctypes
import io
import os
import shutil
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from funclet.dataplane.code_holds import FolderHolds, remove_unless_held
from funclet.model.function import Code
from funclet.model.package import Entry, inspect

_libc = ctypes.CDLL(None, use_errno=True)


class PackageSource(Protocol):
    """Where packages are read from by digest."""

    async def read(self, digest: str) -> bytes:
        """Return a package whose digest was checked."""
        ...


class CodeCache:
    """Folders of unpacked code by `Code.tree`, below one folder."""

    def __init__(self, source: PackageSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._running: dict[str, asyncio.Task[Path]] = {}
        self.holds = FolderHolds()
        """On folders that instances of this process run from."""

    async def fetch(self, code: Code) -> Path:
        """Return the folder that holds the unpacked code and dependencies; it is read-only for everyone.

        Raises:
            ModelError: a package breaks the rules of packages.
            OSError: it cannot be read or written.
        """
        if not code.layers:
            return await self._once(code.digest, self._unpack)
        return await self._once(code.tree, lambda folder: self._merge(code, folder))

    async def hold(self, code: Code) -> "tuple[Path, Callable[[], None]]":
        """Return what `fetch` does, and a function that says that it is not used any more.

        Until then nobody removes the folder, in whatever process.

        Raises:
            ModelError, OSError: as `fetch`.
        """
        while True:
            folder = await self.fetch(code)
            if self.holds.take(folder):
                return folder, partial(self.holds.give, folder)
            # It is being removed just now, and will be made again.
            await asyncio.sleep(0)

    def remove_unwanted(self, in_use: frozenset[str], unwanted_before: frozenset[str]) -> frozenset[str]:
        """Delete folders that are not `in_use` and were not at the last look either, unless somebody holds them.

        Blocks; for a thread. What is in the making at the same time may be about something that was just changed,
        so nothing is deleted at the first look.

        Returns:
            The names of those that are not in use and still there.
        """
        unwanted = frozenset(path.name for path in self._folder.iterdir() if "." not in path.name) - in_use
        removed = {name for name in unwanted & unwanted_before if remove_unless_held(self._folder / name)}
        return unwanted - removed

    def sweep(self, in_use: frozenset[str]) -> int:
        """Delete folders of code that is not `in_use` any more, and left-overs; return how many. Only at start."""
        doomed = [path for path in self._folder.iterdir() if path.name not in in_use]
        for path in doomed:
            shutil.rmtree(path)
        return len(doomed)

    async def _once(self, name: str, make: Callable[[Path], Awaitable[None]]) -> Path:
        """Return the folder of this name; if it is missing, `make` it, once for all who ask meanwhile."""
        folder = self._folder / name
        if folder.is_dir():
            return folder
        task = self._running.get(name)
        if task is None:
            task = asyncio.create_task(_made(make, folder), name=f"unpack {name[:12]}")
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name, None))
        # Shielded: a caller that goes away must not undo the work that others wait for.
        return await asyncio.shield(task)

    async def _unpack(self, folder: Path) -> None:
        package = await self._source.read(folder.name)
        await asyncio.to_thread(_extract, package, folder)

    async def _merge(self, code: Code, folder: Path) -> None:
        digests = (code.digest, *(layer.digest for layer in code.layers))
        # An image has no package of its own.
        sources = [await self._once(digest, self._unpack) for digest in digests if digest]
        await asyncio.to_thread(_lay_together, sources, folder)


async def _made(make: Callable[[Path], Awaitable[None]], folder: Path) -> Path:
    await make(folder)
    return folder


def _extract(package: bytes, folder: Path) -> None:
    listing = inspect(package)
    partial = _begin(folder)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        for entry in listing.entries:
            _write(archive, entry, partial)
    _finish(partial, folder)


def _lay_together(sources: Sequence[Path], folder: Path) -> None:
    partial = _begin(folder)
    for source in sources:
        _lay_over(source, partial)
    _finish(partial, folder)


def _lay_over(source: Path, target: Path) -> None:
    """Put everything that is in `source` into `target`, in place of what has the same path there.

    Directories of `target` are real ones: a link that stands where `source` has a directory is replaced, never
    followed.
    """
    for entry in os.scandir(source):
        path = target / entry.name
        if entry.is_dir(follow_symlinks=False):
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
                path.mkdir()
            _lay_over(Path(entry.path), path)
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        _link(Path(entry.path), path)


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError:
        # A file can have only so many names, and some file systems know no such links.
        shutil.copy2(source, path, follow_symlinks=False)


def _begin(folder: Path) -> Path:
    """Return an empty folder next to `folder`, so that a crash leaves no half-written code under its final name."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o755)
    return partial


def _finish(partial: Path, folder: Path) -> None:
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
