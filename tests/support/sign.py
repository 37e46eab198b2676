"""Requests that are signed as the vendor's SDK does it."""

import hashlib
from datetime import UTC, datetime

from funclet.api.signing import signature, signing_key
from funclet.base.http import Request


def signed(method, path, query, body, key, *, at, peer="10.0.0.1"):
    """Return a request signed with `(access, secret, security token)` at a time."""
    access, secret, security_token = key
    headers = {"host": "h:1", "x-sdk-date": datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")}
    if security_token:
        headers["x-security-token"] = security_token
    names = ";".join(sorted(headers))
    request = Request(method=method, raw_path=path, raw_query=query, headers=headers, body=body, peer=peer)
    proof = signature(request, names, hashlib.sha256(body).hexdigest(), signing_key(secret))
    headers["authorization"] = f"SDK-HMAC-SHA256 Access={access}, SignedHeaders={names}, Signature={proof}"
    return request
