"""The lock that keeps a second server away from a data folder."""

import fcntl
import os
from pathlib import Path

from funclet.store.protocol import StoreError

_MAX_PID_BYTES = 20


class DataFolderInUse(StoreError):
    """Another live server has this data folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = f"the server with pid {pid}" if pid else "another server"
        super().__init__(
            f"The data folder {folder} is used by {who}; stop it, or choose another folder with --data-dir"
        )
        self.pid = pid
        """None when the other server has not written it yet."""


class DataFolderLock:
    """Ownership of a data folder until the process ends or `release` is called.

    The kernel drops the lock when the process ends, however it ends. A process forked from
    the owner does not share the ownership and cannot keep it alive.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.register_at_fork(after_in_child=self._close)

    @classmethod
    def take(cls, folder: Path) -> "DataFolderLock":
        """Take the lock of `folder` (created if missing, for its owner only) for this process.

        Call it in the process that uses the folder: a child does not inherit it.

        Raises:
            DataFolderInUse: a live process has it.
            OSError: the folder cannot be made or written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            text = os.pread(descriptor, _MAX_PID_BYTES, 0).strip()
            os.close(descriptor)
            raise DataFolderInUse(folder, int(text) if text.isdigit() else None) from error
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Give the folder up; calling it again does nothing."""
        self._close()

    def _close(self) -> None:
        # In a forked child this closes the child's copy only; the owner's lock stays.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
