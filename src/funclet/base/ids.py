"""Identifiers and digests."""

import hashlib
import os
import time


def new_uuid() -> str:
    """Return a random UUID in lower case with dashes: request, function and timer ids."""
    digits = os.urandom(16).hex()
    # Version 4, and one of the four digits of its variant. `uuid.UUID` takes four times as long.
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def new_ordered_uuid() -> str:
    """Return a UUID that begins with the time (version 7): ids of rows by the million.

    An index of them grows at its end, where random ones would touch a page of their own for each row.
    """
    at, digits = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    variant = "89ab"[int(digits[3], 16) & 3]
    return f"{at[:8]}-{at[8:12]}-7{digits[:3]}-{variant}{digits[4:7]}-{digits[7:19]}"


def new_hex_id() -> str:
    """Return 32 hexadecimal digits: project, user and gateway ids."""
    return os.urandom(16).hex()


def sha512_hex(data: bytes) -> str:
    """Return the digest by which a code package is known."""
    return hashlib.sha512(data).hexdigest()
