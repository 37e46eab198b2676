"""Who uses a folder of unpacked code: locks that all processes of a server see, and that end with their process."""

import fcntl
import os
import shutil
from pathlib import Path


class FolderHolds:
    """Shared locks on folders, one for all instances of this process that run from the same one."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, int]] = {}
        """Name of a folder -> descriptor, and how many hold it."""

    def take(self, folder: Path) -> bool:
        """Hold a folder, once more if it is held already; False if it is gone or being removed.

        Raises:
            OSError: it cannot be opened, for example because there are no descriptors left.
        """
        descriptor, count = self._held.get(folder.name, (-1, 0))
        if not count and (descriptor := _lock(folder, fcntl.LOCK_SH)) < 0:
            return False
        self._held[folder.name] = descriptor, count + 1
        return True

    def give(self, folder: Path) -> None:
        """Let go of a folder once."""
        descriptor, count = self._held.pop(folder.name)
        if count > 1:
            self._held[folder.name] = descriptor, count - 1
        else:
            os.close(descriptor)


def remove_unless_held(folder: Path) -> bool:
    """Delete a folder that nobody holds, and tell whether it is gone. Blocks."""
    descriptor = _lock(folder, fcntl.LOCK_EX)
    if descriptor < 0:
        return not folder.exists()
    try:
        # Whoever comes from now on finds no folder of this name, and makes another one.
        doomed = folder.rename(folder.with_name(f"{folder.name}.{os.getpid()}.gone"))
    finally:
        os.close(descriptor)
    shutil.rmtree(doomed)
    return True


def _lock(folder: Path, kind: int) -> int:
    """Return the descriptor of a locked folder; -1 if it is gone, or locked by somebody else."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return -1
