"""Identifiers and digests."""

import hashlib
import os
import uuid


def new_uuid() -> str:
    """Return a random UUID in lower case with dashes: request, function and timer ids."""
    return str(uuid.UUID(bytes=os.urandom(16), version=4))


def new_hex_id() -> str:
    """Return 32 hexadecimal digits: project, user and gateway ids."""
    return os.urandom(16).hex()


def sha512_hex(data: bytes) -> str:
    """Return the digest by which a code package is known."""
    return hashlib.sha512(data).hexdigest()
