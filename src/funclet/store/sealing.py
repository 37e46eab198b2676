"""Encrypted environment variables at rest: sealed in the documents of the database, in the clear nowhere but in memory.

`Sealing.seal` and `Sealing.reveal` stand between the model and its document.
"""

import base64
import binascii
from dataclasses import replace

from funclet.model.function import FunctionVersion
from funclet.store.messaging import Reseal
from funclet.store.protocol import StoreError
from funclet.vault import Vault, VaultError

SEALED = 2
"""In the column `secrets`; 1: in the clear, from before there was sealing; 0: there are none."""
_MARK = "sealed:"
"""No JSON text begins like this."""


class Sealing:
    """Seals and reveals what must not be read in the file of the database."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def seal(self, version: FunctionVersion) -> FunctionVersion:
        """Return a version as it is stored."""
        secret = version.settings.encrypted_user_data
        if not secret:
            return version
        return _with_secret(version, _text(self._vault.seal(secret, context=_context(version))))

    def reveal(self, version: FunctionVersion) -> FunctionVersion:
        """Return a stored version as it is used.

        Raises:
            StoreError: its variables cannot be opened.
        """
        stored = version.settings.encrypted_user_data
        if not stored.startswith(_MARK):
            return version
        try:
            return _with_secret(version, self._vault.reveal(_bytes(stored), context=_context(version)))
        except (VaultError, binascii.Error) as error:
            raise StoreError(f"the encrypted variables of function '{version.name}' cannot be read: {error}") from error


def sealed_anew(version: FunctionVersion, reseal: Reseal) -> FunctionVersion:
    """Return a stored version with its sealed variables sealed by `reseal`."""
    stored = version.settings.encrypted_user_data
    return _with_secret(version, _text(reseal(_bytes(stored), _context(version))))


def _with_secret(version: FunctionVersion, text: str) -> FunctionVersion:
    return replace(version, settings=replace(version.settings, encrypted_user_data=text))


def _context(version: FunctionVersion) -> str:
    # Versions of one function may share their variables; another function must not be able to open them.
    return f"function:{version.function_id}"


def _text(sealed: bytes) -> str:
    return _MARK + base64.b64encode(sealed).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.removeprefix(_MARK), validate=True)
