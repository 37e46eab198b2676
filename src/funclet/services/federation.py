"""Logging in with the token of an OIDC issuer: its user becomes one of ours, in the groups that a claim names.

The issuer's keys are read from its JWKS document, whose address is in its discovery document.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from funclet.base.clock import Clock
from funclet.model.errors import ModelError
from funclet.model.identity import User
from funclet.outside.issuer import Issuer, IssuerUnavailable, TokenRefused
from funclet.services.identity import IdentityService, Login, Scope

MAX_GROUPS_CLAIMED = 100
_MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """What the operator says of an issuer."""

    issuer: str
    """Its address, exactly as its tokens name it."""
    audience: str
    """What tokens must be made for: the client id."""
    group_claim: str
    name_claim: str
    groups: Mapping[str, str] = field(default_factory=dict)
    """Value of the claim -> group of ours. Empty: groups are named as the claim names them."""


class FederationService:
    """The use case of exchanging a token."""

    def __init__(self, identity: IdentityService, clock: Clock, settings: Federation, issuer: Issuer) -> None:
        self._identity = identity
        self._clock = clock
        self._settings = settings
        self._issuer = issuer

    async def login(self, id_token: str, scope: Scope) -> Login:
        """Return a token of ours for one of the issuer; it does not live longer than that one, nor than a day.

        Raises:
            ModelError: FSS.0426 if no issuer is configured, FSS.0401 if the token is not a valid one of the issuer for
                us, FSS.0503 if the issuer cannot be asked for its keys.
        """
        if not self._settings.issuer:
            raise ModelError("FSS.0426", "No OIDC issuer is configured: set oidc_issuer and oidc_audience.")
        try:
            claims = await self._issuer.verify(id_token, audience=self._settings.audience)
        except TokenRefused as error:
            raise ModelError("FSS.0401", f"The ID token is refused: {error}.") from error
        except IssuerUnavailable as error:
            raise ModelError("FSS.0503", f"The issuer cannot be asked: {error}.", retry_after_s=5.0) from error
        subject = str(claims["sub"])
        user = User(
            user_id=user_id_of(self._settings.issuer, subject),
            name=_name_of(claims, self._settings.name_claim, subject),
            domain_id=await self._identity.domain_of_first_project(),
            password_hash="",
            issuer=self._settings.issuer,
        )
        groups = _groups_of(claims.get(self._settings.group_claim), self._settings.groups)
        return await self._identity.login_federated(
            user=user, groups=groups, scope=scope, expires_at=float(claims["exp"])
        )


def user_id_of(issuer: str, subject: str) -> str:
    """Return the id that the user of an issuer has with us: the same one at each login."""
    return hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()[:32]


def _name_of(claims: Mapping[str, Any], claim: str, subject: str) -> str:
    name = claims.get(claim)
    return str(name if isinstance(name, str) and name else subject)[:_MAX_NAME_LENGTH]


def _groups_of(claimed: Any, mapping: Mapping[str, str]) -> Sequence[str]:
    values = [claimed] if isinstance(claimed, str) else claimed if isinstance(claimed, list) else []
    names = [str(value) for value in values[:MAX_GROUPS_CLAIMED]]
    return [mapping[name] for name in names if name in mapping] if mapping else names
