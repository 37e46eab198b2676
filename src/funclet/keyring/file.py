"""The file that keys lie in.

In the clear each line is a key: its id and the key, in hexadecimal digits. Wrapped by a program, the file says so in
its first line, and the others hold an id and what the program has made of that key, in base64.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from funclet.keyring.command import KeyCommand
from funclet.keyring.errors import KeyCommandFailed, VaultError

KEY_BYTES, KEY_ID_BYTES = 32, 4
_WRAPPED = "wrapped 1"
_CHECK_BYTES = 16
_MAX_BYTES = 1024 * 1024


class KeyFile:
    """Reads and writes the file in the one form or the other. The caller sees to it that one thread does at a time."""

    def __init__(self, path: Path, command: KeyCommand | None = None) -> None:
        self.path = path
        self.command = command
        """Wraps the keys; None: they lie in the clear."""
        self._wrapped: dict[bytes, bytes] = {}
        """What the program has made of each key that is in the file."""

    def read(self) -> dict[bytes, bytes]:
        """Return the keys by their ids; the first one seals; blocks.

        Keys in the clear are wrapped if there is a program for it.

        Raises:
            VaultError: the file is damaged, others may read it, or its form needs a program.
            KeyCommandFailed: the program fails or gives other keys back; the file is as it was.
            OSError: it cannot be read, or not be written again.
        """
        is_wrapped, rows = self._rows()
        if is_wrapped:
            return self._unwrapped(rows)
        keys = self._parsed(rows, bytes.fromhex)
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise self._damaged()
        if self.command is not None:
            self.write(keys)
        return keys

    def unwrapped(self) -> dict[bytes, bytes]:
        """Return the keys of a wrapped file, and change nothing; blocks.

        Raises:
            VaultError: as `read`, or the keys are in the clear already.
            OSError: the file cannot be read.
        """
        is_wrapped, rows = self._rows()
        if not is_wrapped:
            raise VaultError(f"The keys in {self.path} are in the clear already.")
        return self._unwrapped(rows)

    def write(self, keys: Mapping[bytes, bytes]) -> None:
        """Replace the file; durable when this returns. A key that the file has already is not wrapped again.

        Raises:
            KeyCommandFailed: the program fails; the file is as it was.
            OSError: it cannot be written.
        """
        if self.command is None:
            _replace(self.path, (f"{name.hex()} {key.hex()}\n" for name, key in keys.items()))
            return
        wrapped = {
            name: self._wrapped.get(name) or self.command.wrap(key + _check(name, key)) for name, key in keys.items()
        }
        lines = [f"{name.hex()} {base64.b64encode(text).decode()}\n" for name, text in wrapped.items()]
        _replace(self.path, [f"{_WRAPPED}\n", *lines])
        self._wrapped = wrapped

    def _rows(self) -> tuple[bool, Sequence[str]]:
        """Return whether the keys are wrapped, and the lines of them."""
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise VaultError(f"Others may read the key file {self.path}; make it private: chmod 600 {self.path}")
            text = file.read(_MAX_BYTES)
        try:
            lines = text.decode("ascii").splitlines()
        except ValueError as error:
            raise self._damaged() from error
        is_wrapped = lines[:1] == [_WRAPPED]
        return is_wrapped, lines[1:] if is_wrapped else lines

    def _unwrapped(self, rows: Sequence[str]) -> dict[bytes, bytes]:
        if self.command is None:
            raise VaultError(
                f"The keys in {self.path} are wrapped; start the server with the program that unwraps them: "
                "--secret-key-command"
            )
        wrapped = self._parsed(rows, _from_base64)
        keys = {name: self._checked(name, self.command.unwrap(text)) for name, text in wrapped.items()}
        self._wrapped = wrapped
        return keys

    def _checked(self, name: bytes, plain: bytes) -> bytes:
        key = plain[:KEY_BYTES]
        if len(key) != KEY_BYTES or plain[KEY_BYTES:] != _check(name, key):
            raise KeyCommandFailed(
                f"The program of secret_key_command unwraps no key of {self.path}: has it another master key than "
                "the one that has wrapped them, or is the file damaged?"
            )
        return key

    def _parsed(self, rows: Sequence[str], decode: Callable[[str], bytes]) -> dict[bytes, bytes]:
        try:
            pairs = [row.split() for row in rows]
            keys = {bytes.fromhex(name): decode(text) for name, text in pairs}
        except ValueError as error:
            raise self._damaged() from error
        if not keys or any(len(name) != KEY_ID_BYTES for name in keys):
            raise self._damaged()
        return keys

    def _damaged(self) -> VaultError:
        return VaultError(f"The key file {self.path} is damaged; restore it from a backup.")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _check(name: bytes, key: bytes) -> bytes:
    """Return what tells a key that was unwrapped from anything else. The key is random, so it gives nothing away."""
    return hashlib.sha256(name + key).digest()[:_CHECK_BYTES]


def _replace(path: Path, lines: Iterable[str]) -> None:
    """Write first: what a key seals that is in no file could never be read again."""
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
