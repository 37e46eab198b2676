"""Secrets of access keys as they are stored: sealed by the vault, as text. Older servers have left plain ones."""

import base64

from funclet.store.protocol import Store, Tx
from funclet.vault import Vault, VaultError

# A secret key has no colon, so no plain one begins so.
_SEALED = "sealed:"


def seal_secret(vault: Vault, secret: str, access: str) -> str:
    """Return a secret as it is to be stored."""
    return _SEALED + base64.b64encode(vault.seal(secret, context=_context(access))).decode()


def reveal_secret(vault: Vault | None, stored: str, access: str) -> str:
    """Return a secret from what is stored.

    Raises:
        VaultError: it cannot be opened.
    """
    if not stored.startswith(_SEALED):
        return stored
    if vault is None:
        raise VaultError("There is no key file to open secrets of access keys with.")
    return vault.reveal(base64.b64decode(stored.removeprefix(_SEALED)), context=_context(access))


def reseal_secrets(vault: Vault, tx: Tx) -> None:
    """Seal the secrets of all access keys with the newest key of the vault.

    Raises:
        VaultError: one of them cannot be opened; nothing is changed then.
    """
    tx.iam.reseal(lambda stored, access: seal_secret(vault, reveal_secret(vault, stored, access), access))


async def seal_plain_secrets(vault: Vault, store: Store) -> None:
    """Seal what an older server has stored as it was.

    Raises:
        VaultError: secrets are sealed already, and the vault opens none of them: it has the key of another server.
    """
    opens: list[bool] = []

    def seal(stored: str, access: str) -> str:
        if not stored.startswith(_SEALED):
            return seal_secret(vault, stored, access)
        opens.append(_opens(vault, stored, access))
        return stored

    await store.write(lambda tx: tx.iam.reseal(seal))
    if opens and not any(opens):
        raise VaultError(f"The key file {vault.path} opens no secret of this server: put the right one back.")


def _opens(vault: Vault, stored: str, access: str) -> bool:
    try:
        reveal_secret(vault, stored, access)
    except VaultError:
        return False
    return True


def _context(access: str) -> str:
    return f"access-key:{access}"
