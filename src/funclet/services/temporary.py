"""Temporary access keys and tokens that are kept nowhere: all that they stand for is sealed in the security token.

Whoever they act for is looked up at each use, so they end with it, and its permissions are those of that moment.
Start with `TemporaryKeys.issue`.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from funclet.base.clock import Clock
from funclet.model.function import FunctionVersion
from funclet.model.identity import DAY_S, FUNCTION_SERVICE
from funclet.vault import Vault, VaultError

RENEW_S = 2 * 3600.0
"""How long before their end a function gets other keys."""
MAX_TOKEN_LENGTH = 16 * 1024
MAX_REMEMBERED = 10_000
PREFIX = "fgt-"
"""Of tokens and security tokens of this kind."""

_KEY, _TOKEN = "temporary-key", "temporary-token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a temporary key or token stands for."""

    project_id: str
    user_id: str = ""
    """Of the user; empty: an agency acts."""
    agency: str = ""
    """Name of the agency."""
    trusted: str = ""
    """Whom the agency must trust for this to hold: `op_svc_cff` or the name of a domain."""
    access: str = ""
    """Empty for a token."""
    secret: str = field(default="", repr=False)
    policy: Mapping[str, Any] | None = None
    """A policy that must allow as well."""
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryKey:
    """An access key that must be sent with its security token."""

    access: str
    secret: str = field(repr=False)
    security_token: str = field(repr=False)
    expires_at: float


class TemporaryKeys:
    """Makes and reads them. Safe to use from any thread."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        """Take the key file that seals them: whoever has it can make keys for every user."""
        self._vault = vault
        self._clock = clock
        self._of_functions: dict[tuple[str, str], tuple[float, Mapping[str, str]]] = {}

    def issue(self, claims: Claims) -> TemporaryKey:
        """Return a key pair with what `claims` says; its `access` and `secret` are drawn here."""
        access, secret = secrets.token_hex(10).upper(), secrets.token_urlsafe(30)
        sealed = self._seal(replace(claims, access=access, secret=secret), _KEY)
        return TemporaryKey(access=access, secret=secret, security_token=sealed, expires_at=claims.expires_at)

    def issue_token(self, claims: Claims) -> str:
        """Return a token for the header X-Auth-Token."""
        return self._seal(claims, _TOKEN)

    def read_key(self, security_token: str) -> Claims | None:
        """Return what a security token stands for; None if it is not of ours. It may have expired."""
        return self._open(security_token, _KEY)

    def read_token(self, token: str) -> Claims | None:
        """Return what a token stands for; None if it is not of ours. It may have expired."""
        return self._open(token, _TOKEN)

    def of_function(self, version: FunctionVersion) -> Mapping[str, str]:
        """Return the credentials that a request of a function is given, by the names of the runtime contract.

        The same ones until two hours before their end; none if the function names no agency.
        """
        agency = version.settings.echoed.get("app_xrole") or version.settings.echoed.get("xrole") or ""
        if not agency:
            return {}
        now = self._clock.now()
        known = self._of_functions.get((version.project_id, agency))
        if known is not None and now < known[0] - RENEW_S:
            return known[1]
        claims = Claims(
            project_id=version.project_id,
            agency=agency,
            trusted=FUNCTION_SERVICE,
            issued_at=now,
            expires_at=now + DAY_S,
        )
        key = self.issue(claims)
        made = {
            "access_key": key.access,
            "secret_key": key.secret,
            "security_access_key": key.access,
            "security_secret_key": key.secret,
            "security_token": key.security_token,
            "auth_token": self.issue_token(claims),
        }
        if len(self._of_functions) >= MAX_REMEMBERED:
            self._of_functions.clear()
        self._of_functions[version.project_id, agency] = (claims.expires_at, made)
        return made

    def _seal(self, claims: Claims, context: str) -> str:
        sealed = self._vault.seal(msgspec.json.encode(claims).decode(), context=context)
        return PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _open(self, text: str, context: str) -> Claims | None:
        if not text.startswith(PREFIX) or len(text) > MAX_TOKEN_LENGTH:
            return None
        packed = text.removeprefix(PREFIX)
        try:
            sealed = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
            return msgspec.json.decode(self._vault.reveal(sealed, context=context), type=Claims)
        except (VaultError, ValueError, binascii.Error):
            return None
