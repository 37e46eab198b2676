"""Identifiers and digests."""

import hashlib
import os


def new_uuid() -> str:
    """Return a random UUID in lower case with dashes: request, function and timer ids."""
    digits = os.urandom(16).hex()
    # Version 4, and one of the four digits of its variant. `uuid.UUID` takes four times as long.
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def new_hex_id() -> str:
    """Return 32 hexadecimal digits: project, user and gateway ids."""
    return os.urandom(16).hex()


def sha512_hex(data: bytes) -> str:
    """Return the digest by which a code package is known."""
    return hashlib.sha512(data).hexdigest()
