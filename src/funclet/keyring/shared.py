"""Keys in memory that the processes of one server share: only process 0 asks the program that unwraps them."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_MAX_BYTES = 1024 * 1024


class SharedKeys:
    """Keys by the file that they are from. Process 0 writes them, the others read; none of it is on a disk."""

    def __init__(self, descriptor: int) -> None:
        """Use the memory behind `descriptor`, which is this object's from now on."""
        self._descriptor = descriptor
        self._lock = threading.Lock()

    @staticmethod
    def make() -> int:
        """Return a descriptor of new memory; children that are executed do not inherit it."""
        return os.memfd_create("funclet-keys", os.MFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Forget the memory in this process."""
        os.close(self._descriptor)

    def publish(self, file: str, keys: Mapping[bytes, bytes]) -> None:
        """Replace the keys of a file."""
        with self._locked(fcntl.LOCK_EX):
            files = self._read()
            files[file] = {name.hex(): key.hex() for name, key in keys.items()}
            text = json.dumps(files).encode()
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))

    def keys_of(self, file: str) -> dict[bytes, bytes]:
        """Return the keys of a file; empty if it has not been read yet."""
        with self._locked(fcntl.LOCK_SH):
            found = self._read().get(file, {})
        return {bytes.fromhex(name): bytes.fromhex(key) for name, key in found.items()}

    def _read(self) -> dict[str, dict[str, str]]:
        text = os.pread(self._descriptor, _MAX_BYTES, 0)
        files: dict[str, dict[str, str]] = json.loads(text) if text else {}
        return files

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        # The lock of the file is one of the process, not of the descriptor, which all processes have in common.
        with self._lock:
            fcntl.lockf(self._descriptor, kind)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
