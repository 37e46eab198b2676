"""Secrets of others at rest: AES-256-GCM under a key that lies in a file of its own.

The only module that imports `cryptography`. A sealed secret begins with the id of its key, so keys can be
replaced while old secrets are still read; it opens only in the context that it was sealed for.
"""

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES, _KEY_ID_BYTES, _NONCE_BYTES = 32, 4, 12


class VaultError(Exception):
    """A key file or a sealed secret cannot be read; the message holds no secret."""


class Vault:
    """Seals and opens secrets. Safe to use from any thread."""

    def __init__(self, path: Path, keys: Mapping[bytes, bytes]) -> None:
        self.path = path
        """The key file."""
        self._lock = threading.Lock()
        self._keys = dict(keys)
        """By their ids; the first one seals."""

    @classmethod
    def open(cls, path: Path, *, may_make: bool = True) -> "Vault":
        """Read the key file, or if it is missing make one with a new key, for its owner only; blocks.

        Args:
            path: the file.
            may_make: False if there may be secrets that were sealed with the key of the missing file.

        Raises:
            VaultError: the file is missing, damaged, or others may read it.
            OSError: it cannot be read or made.
        """
        if not path.exists():
            if not may_make:
                raise VaultError(f"The key file {path} is missing; without it nobody can read the secrets.")
            vault = cls(path, {})
            vault._replace(_new_key())
            return vault
        return cls(path, _read_keys(path))

    def seal(self, secret: str, *, context: str) -> bytes:
        """Return a secret encrypted; `context` says whose it is and must be given again to open it."""
        name, key = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        return name + nonce + AESGCM(key).encrypt(nonce, secret.encode(), context.encode())

    def reveal(self, sealed: bytes, *, context: str) -> str:
        """Return what was sealed.

        Raises:
            VaultError: the key is gone, the bytes are damaged, or the context is another.
        """
        key = self._keys.get(sealed[:_KEY_ID_BYTES]) or self._added_elsewhere(sealed[:_KEY_ID_BYTES])
        if key is None:
            raise VaultError(f"A secret is sealed with a key that {self.path} does not hold.")
        rest = sealed[_KEY_ID_BYTES:]
        try:
            return AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise VaultError("A sealed secret is damaged or stands where it does not belong.") from error

    def add_key(self) -> None:
        """Seal with a new key from now on; what older ones have sealed is still read. Durable when this returns.

        Raises:
            OSError: the file cannot be written; nothing has changed.
        """
        with self._lock:
            self._replace({**_new_key(), **self._keys})

    def drop_old_keys(self) -> None:
        """Forget all keys but the one that seals. Everything must be sealed with it by now."""
        with self._lock:
            self._replace(dict([next(iter(self._keys.items()))]))

    def _added_elsewhere(self, name: bytes) -> bytes | None:
        """Return a key that another process of the server has written since; blocks."""
        with self._lock:
            # Whatever is wrong with the file, what this process has still opens.
            with contextlib.suppress(VaultError, OSError):
                self._keys = _read_keys(self.path)
            return self._keys.get(name)

    def _replace(self, keys: Mapping[bytes, bytes]) -> None:
        """Write keys first: what a key seals that is in no file could never be read again."""
        partial = self.path.with_name(self.path.name + ".part")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(f"{name.hex()} {key.hex()}\n" for name, key in keys.items())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._keys = dict(keys)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read_keys(path: Path) -> dict[bytes, bytes]:
    """Return the keys in a file.

    Raises:
        VaultError: it is damaged, or others may read it.
    """
    if path.stat().st_mode & 0o077:
        raise VaultError(f"Others may read the key file {path}; make it private: chmod 600 {path}")
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
        keys = {bytes.fromhex(name): bytes.fromhex(key) for name, key in lines}
    except ValueError as error:
        raise VaultError(f"The key file {path} is damaged; restore it from a backup.") from error
    if not keys or any(len(name) != _KEY_ID_BYTES or len(key) != _KEY_BYTES for name, key in keys.items()):
        raise VaultError(f"The key file {path} is damaged; restore it from a backup.")
    return keys


def _new_key() -> dict[bytes, bytes]:
    return {os.urandom(_KEY_ID_BYTES): os.urandom(_KEY_BYTES)}
