"""Hashes of passwords: argon2id, and the scrypt of older servers, which still opens and is then renewed.

The only module that imports `argon2`. Both take some 30 ms and 20 MB; not for the loop's thread.
"""

import hashlib
import hmac

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from funclet.model.identity import MAX_PASSWORD_LENGTH

# The least that OWASP recommends for argon2id.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_SCRYPT = "scrypt$"
# Of no password: verified where there is no user, so that both cases take the same time.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$y7t8JTBWMxH/E0hL5Zq8cg$gCPyI6OH47QK2OczhM9p2nl7Dh9DwAYrClrM3eRXZNU"


def hash_password(password: str) -> str:
    """Return the hash to be stored."""
    return _hasher.hash(_cut(password))


def password_matches(password: str, password_hash: str) -> bool:
    """Tell whether a password has this hash; never true for an empty hash, and as slow then."""
    if password_hash.startswith(_SCRYPT):
        _, salt, expected = password_hash.split("$")
        return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)).hex(), expected)
    try:
        return _hasher.verify(password_hash or _NOBODY, _cut(password)) and bool(password_hash)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(password_hash: str) -> bool:
    """Tell whether a hash should be made anew from the password at the next occasion."""
    return password_hash.startswith(_SCRYPT) or _hasher.check_needs_rehash(password_hash)


def _cut(password: str) -> str:
    # Longer ones would only cost us time before they are refused.
    return password[:MAX_PASSWORD_LENGTH]


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(_cut(password).encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
