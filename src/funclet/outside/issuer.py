"""Tokens of an OIDC issuer: verified with the keys that it publishes. The only module that imports `jwt`."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from funclet.base.clock import Clock
from funclet.outside.outgoing import Outgoing, SendFailed

# No shared secrets: whoever could check such a token could make one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_TOKEN_LENGTH = 16 * 1024
LEEWAY_S = 60.0
KEYS_AGE_S = 3600.0
PAUSE_S = 30.0
"""Between two attempts to read the keys, whatever tokens ask for."""
_FETCH_S = 5.0
_OK = 200
_DISCOVERY = "/.well-known/openid-configuration"


class TokenRefused(Exception):
    """The token is not a valid one of this issuer for this audience; the message says why."""


class IssuerUnavailable(Exception):
    """The keys of the issuer cannot be read now."""


class Issuer:
    """One issuer. Safe to use from many tasks of one loop."""

    def __init__(self, address: str, outgoing: Outgoing, clock: Clock) -> None:
        """Take the issuer; nothing is asked before the first token comes."""
        self._address = address
        self._outgoing = outgoing
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading = asyncio.Lock()

    async def verify(self, token: str, *, audience: str) -> Mapping[str, Any]:
        """Return the claims of a token.

        Signature, issuer, audience and life must be right, and `sub` must be there.

        Raises:
            TokenRefused: it is not valid.
            IssuerUnavailable: that cannot be told now.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenRefused("it is too long")
        try:
            head = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenRefused("it is no signed JWT") from error
        algorithm = head.get("alg")
        if algorithm not in ALGORITHMS:
            raise TokenRefused(f"its algorithm is none of {', '.join(ALGORITHMS)}")
        key = await self._key(str(head.get("kid", "")))
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=audience,
                issuer=self._address,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise TokenRefused(str(error)[:200]) from error
        return claims

    async def _key(self, key_id: str) -> jwt.PyJWK:
        async with self._reading:
            now = self._clock.monotonic()
            is_old = now - self._read_at > KEYS_AGE_S
            if (is_old or self._find(key_id) is None) and now - self._tried_at > PAUSE_S:
                self._tried_at = now
                self._keys = await self._read_keys()
                self._read_at = now
            elif is_old:
                raise IssuerUnavailable(f"its keys could not be read less than {PAUSE_S:g} seconds ago")
        key = self._find(key_id)
        if key is None:
            raise TokenRefused("the issuer has no such key")
        return key

    def _find(self, key_id: str) -> jwt.PyJWK | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read_keys(self) -> Mapping[str, jwt.PyJWK]:
        discovery = await self._get(self._address.rstrip("/") + _DISCOVERY)
        if discovery.get("issuer") != self._address:
            raise IssuerUnavailable(f"it calls itself '{str(discovery.get('issuer'))[:200]}'")
        address = str(discovery.get("jwks_uri", ""))
        if urlsplit(address).scheme not in ("http", "https"):
            raise IssuerUnavailable("it does not say where its keys are")
        found: dict[str, jwt.PyJWK] = {}
        rows = (await self._get(address)).get("keys")
        for row in rows if isinstance(rows, list) else []:
            # Keys of kinds that we do not know may stand among the others.
            try:
                found[str(row.get("kid", ""))] = jwt.PyJWK(row)
            except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
                continue
        return found

    async def _get(self, address: str) -> Mapping[str, Any]:
        try:
            answer = await self._outgoing.send(
                "GET", address, headers={"Accept": "application/json"}, within_s=_FETCH_S
            )
        except SendFailed as error:
            raise IssuerUnavailable(str(error)) from error
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise IssuerUnavailable(f"{address} has answered with something that is not JSON") from error
        if answer.status != _OK or not isinstance(found, dict):
            raise IssuerUnavailable(f"{address} has answered with status {answer.status}")
        return found
