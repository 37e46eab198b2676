"""Secrets of others at rest: AES-256-GCM under a key that lies in a file of its own.

The only module that imports `cryptography`. A sealed secret begins with the id of its key, so keys can be
replaced while old secrets are still read; it opens only in the context that it was sealed for.
"""

import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from funclet.keyring.command import KeyCommand
from funclet.keyring.errors import VaultError
from funclet.keyring.file import KEY_BYTES, KEY_ID_BYTES, KeyFile
from funclet.keyring.shared import SharedKeys

__all__ = ["KeySource", "Vault", "VaultError"]

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where a process has the keys of a vault from."""

    path: Path
    """The key file."""
    command: KeyCommand | None = None
    """Wraps the keys in the file; None: they lie there in the clear."""
    shared: SharedKeys | None = None
    """Has the keys that were wrapped for the other processes of the server; None: there are none."""
    follows: bool = False
    """Whether process 0 of the server reads and writes the file, and this is another one."""

    def beside(self, path: Path) -> "KeySource":
        """Return the source of another key file of the same server."""
        return replace(self, path=path)

    def keep(self, keys: Mapping[bytes, bytes]) -> None:
        """Give keys to the other processes."""
        if self.shared is not None and self.command is not None and not self.follows:
            self.shared.publish(str(self.path), keys)


class Vault:
    """Seals and opens secrets. Safe to use from any thread."""

    def __init__(self, source: KeySource, file: KeyFile, keys: Mapping[bytes, bytes]) -> None:
        self.path = source.path
        """The key file."""
        self._source = source
        self._file = file
        self._lock = threading.Lock()
        self._keys = dict(keys)
        """By their ids; the first one seals."""

    @classmethod
    def open(cls, source: KeySource | Path, *, may_make: bool = True) -> "Vault":
        """Read the key file, or if it is missing make one with a new key, for its owner only; blocks.

        Args:
            source: the file, or what else there is to know of it.
            may_make: False if there may be secrets that were sealed with the key of the missing file.

        Raises:
            VaultError: the file is missing, damaged, or others may read it; the program for it fails.
            OSError: it cannot be read or made.
        """
        source = KeySource(path=source) if isinstance(source, Path) else source
        file = KeyFile(source.path, source.command)
        if source.follows and source.command is not None:
            return cls(source, file, _told(source))
        if not source.path.exists():
            if not may_make:
                raise VaultError(f"The key file {source.path} is missing; without it nobody can read the secrets.")
            vault = cls(source, file, {})
            vault._replace(_new_key())
            return vault
        keys = file.read()
        source.keep(keys)
        return cls(source, file, keys)

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
        key = self._keys.get(sealed[:KEY_ID_BYTES]) or self._added_elsewhere(sealed[:KEY_ID_BYTES])
        if key is None:
            raise VaultError(f"A secret is sealed with a key that {self.path} does not hold.")
        rest = sealed[KEY_ID_BYTES:]
        try:
            return AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise VaultError("A sealed secret is damaged or stands where it does not belong.") from error

    def add_key(self) -> None:
        """Seal with a new key from now on; what older ones have sealed is still read. Durable when this returns.

        Raises:
            OSError, KeyCommandFailed: the file cannot be written, or the key not be wrapped; nothing has changed.
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
                self._keys = self._read_again()
            return self._keys.get(name)

    def _read_again(self) -> dict[bytes, bytes]:
        if self._source.command is None:
            return self._file.read()
        # No request waits for the program; and where it is used, nobody but process 0 writes the file.
        return _told(self._source) if self._source.follows else self._keys

    def _replace(self, keys: Mapping[bytes, bytes]) -> None:
        """Write keys first: what a key seals that is in no file could never be read again."""
        self._file.write(keys)
        self._keys = dict(keys)
        self._source.keep(keys)


def _told(source: KeySource) -> dict[bytes, bytes]:
    """Return the keys that process 0 has unwrapped.

    Raises:
        VaultError: it has told none.
    """
    keys = source.shared.keys_of(str(source.path)) if source.shared is not None else {}
    if not keys:
        raise VaultError(f"Process 0 has not unwrapped the keys in {source.path}.")
    return keys


def _new_key() -> dict[bytes, bytes]:
    return {os.urandom(KEY_ID_BYTES): os.urandom(KEY_BYTES)}
