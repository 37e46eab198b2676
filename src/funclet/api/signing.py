"""Signatures of requests (`SDK-HMAC-SHA256`), as the vendor's signers make them, byte by byte.

Header values and paths are text whose characters stand for the bytes received (ISO-8859-1).
Start with `signature`.
"""

import hashlib
import hmac
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from funclet.base.http import Request

ALGORITHM = "SDK-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
# Not what Python takes for white space: some of those characters are bytes of UTF-8 here.
_BLANKS = " \t"


def signing_key(secret: str) -> hmac.HMAC:
    """Return the state from which every signature with `secret` begins."""
    return hmac.new(secret.encode(), digestmod="sha256")


def signature(request: Request, signed_headers: str, payload_hash: str, key: hmac.HMAC) -> str:
    """Return the signature that `request` must carry if it was signed with a key.

    Args:
        request: the request; of its headers only those in `signed_headers` count.
        signed_headers: names in lower case, joined with `;`, in the order of the client.
        payload_hash: last line of the canonical request.
        key: of `signing_key`.
    """
    digest = hashlib.sha256(canonical_request(request, signed_headers, payload_hash)).hexdigest()
    to_sign = f"{ALGORITHM}\n{request.headers.get('x-sdk-date', '')}\n{digest}"
    # Less work than an HMAC from the beginning.
    state = key.copy()
    state.update(to_sign.encode("latin-1"))
    return state.hexdigest()


def canonical_request(request: Request, signed_headers: str, payload_hash: str) -> bytes:
    """Return the six parts that are hashed and signed. A signed header that was not sent counts as empty."""
    headers = request.headers
    lines = [
        request.method,
        _canonical_path(request.raw_path),
        _canonical_query(request.raw_query) if request.raw_query else "",
        *[f"{name}:{headers.get(name, '').strip(_BLANKS)}" for name in signed_headers.split(";")],
        "",
        signed_headers,
        payload_hash,
    ]
    return "\n".join(lines).encode("latin-1")


def _canonical_query(query: str) -> str:
    pairs = []
    for pair in query.replace("+", " ").split("&"):
        if pair:
            name, _, value = pair.partition("=")
            pairs.append((unquote_to_bytes(name.encode("latin-1")), unquote_to_bytes(value.encode("latin-1"))))
    pairs.sort()
    return "&".join(f"{quote_from_bytes(name, '~')}={quote_from_bytes(value, '~')}" for name, value in pairs)


@lru_cache(maxsize=256)
def _canonical_path(raw_path: str) -> str:
    path = quote_from_bytes(unquote_to_bytes(raw_path.encode("latin-1")), "~/")
    return path if path.endswith("/") else path + "/"


def hash_payload(request: Request) -> str:
    """Return the last line of the canonical request.

    A hash that the client declares in X-Sdk-Content-Sha256 is not taken from it: the header may be
    unsigned, and only what we computed proves that the body is the signed one.
    """
    if not request.body:
        return _EMPTY_HASH
    if request.headers.get("x-sdk-content-sha256") == UNSIGNED_PAYLOAD:
        return UNSIGNED_PAYLOAD
    return hashlib.sha256(request.body).hexdigest()
