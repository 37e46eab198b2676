"""Who sends a request: signed with a key pair (`SDK-HMAC-SHA256`) or carrying a token.

Start with `Authenticator.authenticate`.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from funclet.api.remembered import Remembered
from funclet.api.signing import ALGORITHM, hash_payload, signature, signing_key
from funclet.base.clock import Clock
from funclet.base.http import Request
from funclet.model.errors import ModelError
from funclet.model.identity import AccessKey, Principal
from funclet.services.key_secrets import reveal_secret
from funclet.services.permissions import principal_of_claims, principal_of_user
from funclet.services.temporary import PREFIX, Claims, TemporaryKeys
from funclet.store.protocol import Store, Tx
from funclet.vault import Vault, VaultError

MAX_SKEW_S = 15 * 60.0
LARGE_BODY_BYTES = 256 * 1024
MAX_PROJECT_ID_LENGTH = 64

_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_AUTHORIZATION = re.compile(
    ALGORITHM + r" +Access=([^,\s]{1,128}), *SignedHeaders=([a-z0-9;_.-]{1,4096}), *Signature=([0-9a-f]{64})"
)
_WRONG_DATE = "X-Sdk-Date must be signed and of the form YYYYMMDDTHHMMSSZ"
# Stands in for a key that does not exist, so that both cases take the same work.
_NO_KEY = signing_key("-" * 40)

T = TypeVar("T")
FindKey = Callable[[Tx, str], tuple[AccessKey, Principal] | None]


@dataclass(frozen=True, slots=True)
class _Key:
    """An access key with the caller that it stands for."""

    proof: AccessKey
    principal: Principal
    signing: hmac.HMAC


@dataclass(frozen=True, slots=True)
class _Token:
    """The caller that a token stands for."""

    expires_at: float
    principal: Principal


class Authenticator:
    """Turns the credentials of a request into its caller. Safe to use from many tasks of one loop."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        vault: Vault | None = None,
        temporary: TemporaryKeys | None = None,
        find_key: FindKey | None = None,
    ) -> None:
        """Take what credentials are checked with.

        Args:
            store: has users, keys, tokens and permissions.
            clock: judges dates.
            vault: opens sealed secrets; None: there are none.
            temporary: reads temporary keys and tokens; None: there are none.
            find_key: looks up the keys of others than users.
        """
        self._store = store
        self._clock = clock
        self._vault = vault
        self._temporary = temporary
        self._find_key: FindKey = find_key or self._find_key_of_user
        self._keys = Remembered[_Key](clock)
        self._tokens = Remembered[_Token](clock)
        # Apart: what goes with a key must never be taken for a token.
        self._temporary_keys = Remembered[_Key](clock)
        self._temporary_tokens = Remembered[_Token](clock)
        self._elsewhere = Remembered[Principal](clock)
        """Users with a key of theirs in other projects than that of the key, by both."""

    def forget(self) -> None:
        """Look everything up anew: users, their credentials or their permissions have changed."""
        self._keys.clear()
        self._tokens.clear()
        self._temporary_keys.clear()
        self._temporary_tokens.clear()
        self._elsewhere.clear()

    async def authenticate(self, request: Request, *, project_id: str = "") -> Principal:
        """Return the caller of `request`.

        A permanent access key is one of its user in all projects of the domain: whoever signs with it acts in the
        project `project_id`, else in that of X-Project-Id, else in that in which the key was made. If there is no such
        project in the domain, in the last of them.

        What was changed holds at once where `forget` is called, elsewhere within five seconds.

        Raises:
            ModelError: APIG.0301, and whether the date, the form or the credentials are at fault.
            StoreUnavailable: the credentials cannot be looked up.
        """
        authorization = request.headers.get("authorization", "")
        if authorization.startswith(ALGORITHM):
            return await self._signed(request, authorization, project_id)
        token = request.headers.get("x-auth-token")
        if token:
            return await self._bearer(token)
        if authorization:
            raise _refusal(f"the Authorization header must use {ALGORITHM}")
        raise _refusal("send an X-Auth-Token header or sign the request with an access key")

    async def _signed(self, request: Request, authorization: str, project_id: str) -> Principal:
        parts = _AUTHORIZATION.fullmatch(authorization)
        if parts is None:
            raise _refusal(
                f"the Authorization header must read '{ALGORITHM} Access=..., SignedHeaders=..., Signature=...'"
            )
        access, signed_headers, given = parts.groups()
        self._check_date(request, signed_headers)
        sealed = request.headers.get("x-security-token", "")
        # Nearly always it was used a moment ago.
        key = None if sealed else self._keys.get(access)[1]
        if key is None:
            key = await self._temporary_key(access, sealed) if sealed.startswith(PREFIX) else await self._key(access)
        if len(request.body) > LARGE_BODY_BYTES:
            payload_hash = await asyncio.to_thread(hash_payload, request)
        else:
            payload_hash = hash_payload(request)
        expected = signature(request, signed_headers, payload_hash, _NO_KEY if key is None else key.signing)
        if not hmac.compare_digest(expected, given) or key is None:
            raise _refusal("the access key is unknown or the signature does not match")
        self._check_temporary(request, key.proof)
        principal = key.principal
        wanted = project_id or request.headers.get("x-project-id") or principal.project.project_id
        if wanted == principal.project.project_id or principal.is_temporary or len(wanted) > MAX_PROJECT_ID_LENGTH:
            return principal
        return await self._in_project(principal, wanted) or principal

    async def _in_project(self, principal: Principal, project_id: str) -> Principal | None:
        user_id = principal.user.user_id
        return await self._elsewhere.get_or_read(
            f"{user_id} {project_id}", lambda: self._store.read(lambda tx: principal_of_user(tx, user_id, project_id))
        )

    async def _key(self, access: str) -> _Key | None:
        def find(tx: Tx) -> _Key | None:
            found = self._find_key(tx, access)
            return _key_of(*found) if found else None

        return await self._keys.get_or_read(access, lambda: self._store.read(find))

    async def _temporary_key(self, access: str, sealed: str) -> _Key | None:
        def key_of(claims: Claims, principal: Principal) -> _Key:
            key = AccessKey(
                access=claims.access,
                secret=claims.secret,
                user_id=claims.user_id,
                project_id=claims.project_id,
                security_token=sealed,
                expires_at=claims.expires_at,
            )
            return _key_of(key, principal)

        read = self._temporary.read_key if self._temporary else None
        held = await self._claimed(self._temporary_keys, sealed, read, key_of)
        return held if held is not None and held.proof.access == access else None

    async def _claimed(
        self,
        remembered: Remembered[T],
        sealed: str,
        read: Callable[[str], Claims | None] | None,
        make: Callable[[Claims, Principal], T],
    ) -> T | None:
        is_remembered, held = remembered.get(sealed)
        if is_remembered or read is None:
            return held
        claims = read(sealed)
        if claims is None:
            return None
        now = self._clock.now()

        def find(tx: Tx) -> T | None:
            principal = principal_of_claims(tx, claims, now=now)
            return make(claims, principal) if principal else None

        return await remembered.get_or_read(sealed, lambda: self._store.read(find))

    def _check_date(self, request: Request, signed_headers: str) -> None:
        date = request.headers.get("x-sdk-date", "")
        if "x-sdk-date" not in signed_headers.split(";"):
            raise _refusal(_WRONG_DATE)
        if abs(_timestamp(date) - self._clock.now()) > MAX_SKEW_S:
            raise _refusal(f"X-Sdk-Date {date} is more than 15 minutes off; set the clock of the client")

    def _check_temporary(self, request: Request, key: AccessKey) -> None:
        sent = request.headers.get("x-security-token", "")
        if key.security_token and not hmac.compare_digest(key.security_token.encode(), sent.encode()):
            raise _refusal("X-Security-Token is missing or does not belong to the access key")
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            raise _refusal("the temporary access key has expired")

    async def _bearer(self, token: str) -> Principal:
        if token.startswith(PREFIX):
            read = self._temporary.read_token if self._temporary else None
            held = await self._claimed(self._temporary_tokens, token, read, lambda c, p: _Token(c.expires_at, p))
        else:
            digest = token_digest(token)
            held = await self._tokens.get_or_read(digest, lambda: self._store.read(lambda tx: _find_token(tx, digest)))
        if held is None or held.expires_at <= self._clock.now():
            raise _refusal("the token is unknown or has expired; get a new one from POST /v3/auth/tokens")
        return held.principal

    def _find_key_of_user(self, tx: Tx, access: str) -> tuple[AccessKey, Principal] | None:
        key = tx.identities.access_key(access)
        principal = principal_of_user(tx, key.user_id, key.project_id) if key and key.is_active else None
        if key is None or principal is None:
            return None
        try:
            secret = reveal_secret(self._vault, key.secret, access)
        except VaultError as error:
            raise ModelError("FSS.0500", f"The secret of the access key cannot be read: {error}") from error
        return replace(key, secret=secret), replace(principal, is_temporary=key.expires_at is not None)


@lru_cache(maxsize=64)
def _timestamp(date: str) -> float:
    if not _DATE.fullmatch(date):
        raise _refusal(_WRONG_DATE)
    try:
        return datetime.fromisoformat(date).timestamp()
    except ValueError as error:
        raise _refusal("X-Sdk-Date is not a date") from error


def token_digest(token: str) -> str:
    """Return the form in which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def _key_of(key: AccessKey, principal: Principal) -> _Key:
    return _Key(key, principal, signing_key(key.secret))


def _find_token(tx: Tx, digest: str) -> _Token | None:
    token = tx.identities.token(digest)
    principal = principal_of_user(tx, token.user_id, token.project_id) if token else None
    return _Token(token.expires_at, principal) if token and principal else None


def _refusal(reason: str) -> ModelError:
    return ModelError("APIG.0301", f"Incorrect IAM authentication information: {reason}.")
