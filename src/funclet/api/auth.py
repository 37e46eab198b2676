"""Who sends a request: signed with a key pair (`SDK-HMAC-SHA256`) or carrying a token.

Start with `Authenticator.authenticate`. `signature` is pure and follows the
vendor's signers byte by byte; header values and paths are text whose characters
stand for the bytes received (ISO-8859-1).
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from funclet.base.clock import Clock
from funclet.base.http import Request
from funclet.model.errors import ModelError
from funclet.model.identity import AccessKey, Principal, Token
from funclet.services.key_secrets import reveal_secret
from funclet.services.permissions import principal_of_claims, principal_of_user
from funclet.services.temporary import PREFIX, Claims, TemporaryKeys
from funclet.store.protocol import Store, Tx
from funclet.vault import Vault, VaultError

ALGORITHM = "SDK-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_SKEW_S = 15 * 60.0
REMEMBERED_S = 5.0
MAX_REMEMBERED = 10_000
LARGE_BODY_BYTES = 256 * 1024
MAX_PROJECT_ID_LENGTH = 64

_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_AUTHORIZATION = re.compile(
    ALGORITHM + r" +Access=([^,\s]{1,128}), *SignedHeaders=([a-z0-9;_.-]{1,4096}), *Signature=([0-9a-f]{64})"
)
# Not what Python takes for white space: some of those characters are bytes of UTF-8 here.
_BLANKS = " \t"
# Stands in for the secret of a key that does not exist, so that both cases take the same work.
_NO_SECRET = "-" * 40

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Credential(Generic[T]):
    """A key or token with the caller that it stands for."""

    proof: T
    principal: Principal


class Remembered(Generic[T]):
    """What was read a moment ago, hits and misses, each bounded so that neither can crowd out the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, T]] = {}
        self._unknown: dict[str, float] = {}
        self._reading: dict[str, asyncio.Task[T | None]] = {}

    def get(self, name: str) -> tuple[bool, T | None]:
        """Return whether `name` is remembered, and as what; None for one that does not exist."""
        newest_gone = self._clock.monotonic() - REMEMBERED_S
        known = self._known.get(name)
        if known is not None and known[0] > newest_gone:
            return True, known[1]
        return self._unknown.get(name, newest_gone) > newest_gone, None

    async def get_or_read(self, name: str, read: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return what `name` is remembered as, or what is read now; those that ask meanwhile share one reading."""
        is_remembered, value = self.get(name)
        if is_remembered:
            return value
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._read(name, read), name="read a credential")
            reading.add_done_callback(lambda done: self._ended(name, done))
        # Shielded: one that goes away must not end what others wait for.
        return await asyncio.shield(reading)

    async def _read(self, name: str, read: Callable[[], Awaitable[T | None]]) -> T | None:
        value = await read()
        # Unless all was forgotten meanwhile.
        if self._reading.get(name) is asyncio.current_task():
            self.put(name, value)
        return value

    def _ended(self, name: str, reading: "asyncio.Task[T | None]") -> None:
        if self._reading.get(name) is reading:
            del self._reading[name]

    def put(self, name: str, value: T | None) -> None:
        """Remember `value` for `name`, dropping the oldest entry when there are too many."""
        now = self._clock.monotonic()
        self._known.pop(name, None)
        self._unknown.pop(name, None)
        if value is None:
            self._unknown[name] = now
        else:
            self._known[name] = (now, value)
        for entries in (self._known, self._unknown):
            if len(entries) > MAX_REMEMBERED:
                del entries[next(iter(entries))]

    def clear(self) -> None:
        """Forget everything, and what is being read: it may be old by now."""
        self._known.clear()
        self._unknown.clear()
        self._reading.clear()


class Authenticator:
    """Turns the credentials of a request into its caller. Safe to use from many tasks of one loop."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        vault: Vault | None = None,
        temporary: TemporaryKeys | None = None,
        find_key: "FindKey | None" = None,
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
        self._find_key = self._find_key_of_user if find_key is None else _credential_of(find_key)
        self._keys = Remembered[_Credential[AccessKey]](clock)
        self._tokens = Remembered[_Credential[Token]](clock)
        # Apart: what goes with a key must never be taken for a token.
        self._temporary_keys = Remembered[_Credential[Claims]](clock)
        self._temporary_tokens = Remembered[_Credential[Claims]](clock)
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

        What was changed holds at once where `forget` is called, elsewhere within `REMEMBERED_S` seconds.

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
        credential = await self._key(request, access)
        secret = credential.proof.secret if credential else _NO_SECRET
        if len(request.body) > LARGE_BODY_BYTES:
            payload_hash = await asyncio.to_thread(_hash_payload, request)
        else:
            payload_hash = _hash_payload(request)
        expected = signature(request, signed_headers, payload_hash, secret)
        if not hmac.compare_digest(expected, given) or credential is None:
            raise _refusal("the access key is unknown or the signature does not match")
        self._check_temporary(request, credential.proof)
        principal = credential.principal
        wanted = project_id or request.headers.get("x-project-id") or principal.project.project_id
        if wanted == principal.project.project_id or principal.is_temporary or len(wanted) > MAX_PROJECT_ID_LENGTH:
            return principal
        return await self._in_project(principal, wanted) or principal

    async def _in_project(self, principal: Principal, project_id: str) -> Principal | None:
        user_id = principal.user.user_id
        return await self._elsewhere.get_or_read(
            f"{user_id} {project_id}", lambda: self._store.read(lambda tx: principal_of_user(tx, user_id, project_id))
        )

    async def _key(self, request: Request, access: str) -> _Credential[AccessKey] | None:
        security_token = request.headers.get("x-security-token", "")
        if not security_token.startswith(PREFIX):
            return await self._lookup(self._keys, access, self._find_key)
        held = await self._claimed(security_token, is_key=True)
        if held is None or held.proof.access != access:
            return None
        claims = held.proof
        key = AccessKey(
            access=access,
            secret=claims.secret,
            user_id=claims.user_id,
            project_id=claims.project_id,
            security_token=security_token,
            expires_at=claims.expires_at,
        )
        return _Credential(key, held.principal)

    async def _claimed(self, sealed: str, *, is_key: bool) -> _Credential[Claims] | None:
        remembered = self._temporary_keys if is_key else self._temporary_tokens
        is_remembered, held = remembered.get(sealed)
        if is_remembered or self._temporary is None:
            return held
        claims = self._temporary.read_key(sealed) if is_key else self._temporary.read_token(sealed)
        if claims is None:
            return None
        now = self._clock.now()

        def find(tx: Tx) -> _Credential[Claims] | None:
            principal = principal_of_claims(tx, claims, now=now)
            return _Credential(claims, principal) if principal else None

        return await remembered.get_or_read(sealed, lambda: self._store.read(find))

    def _check_date(self, request: Request, signed_headers: str) -> None:
        date = request.headers.get("x-sdk-date", "")
        if "x-sdk-date" not in signed_headers.split(";") or not _DATE.fullmatch(date):
            raise _refusal("X-Sdk-Date must be signed and of the form YYYYMMDDTHHMMSSZ")
        if abs(_timestamp(date) - self._clock.now()) > MAX_SKEW_S:
            raise _refusal(f"X-Sdk-Date {date} is more than 15 minutes off; set the clock of the client")

    def _check_temporary(self, request: Request, key: AccessKey) -> None:
        sent = request.headers.get("x-security-token", "")
        if key.security_token and not hmac.compare_digest(key.security_token.encode(), sent.encode()):
            raise _refusal("X-Security-Token is missing or does not belong to the access key")
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            raise _refusal("the temporary access key has expired")

    async def _bearer(self, token: str) -> Principal:
        credential: _Credential[Token] | _Credential[Claims] | None
        if token.startswith(PREFIX):
            credential = await self._claimed(token, is_key=False)
        else:
            credential = await self._lookup(self._tokens, token_digest(token), _find_token)
        if credential is None or credential.proof.expires_at <= self._clock.now():
            raise _refusal("the token is unknown or has expired; get a new one from POST /v3/auth/tokens")
        return credential.principal

    async def _lookup(
        self,
        remembered: Remembered[_Credential[T]],
        name: str,
        find: Callable[[Tx, str], _Credential[T] | None],
    ) -> _Credential[T] | None:
        return await remembered.get_or_read(name, lambda: self._store.read(lambda tx: find(tx, name)))

    def _find_key_of_user(self, tx: Tx, access: str) -> _Credential[AccessKey] | None:
        key = tx.identities.access_key(access)
        principal = principal_of_user(tx, key.user_id, key.project_id) if key and key.is_active else None
        if key is None or principal is None:
            return None
        try:
            secret = reveal_secret(self._vault, key.secret, access)
        except VaultError as error:
            raise ModelError("FSS.0500", f"The secret of the access key cannot be read: {error}") from error
        return _Credential(replace(key, secret=secret), replace(principal, is_temporary=key.expires_at is not None))


@lru_cache(maxsize=64)
def _timestamp(date: str) -> float:
    try:
        return datetime.fromisoformat(date).timestamp()
    except ValueError as error:
        raise _refusal("X-Sdk-Date is not a date") from error


def token_digest(token: str) -> str:
    """Return the form in which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def signature(request: Request, signed_headers: str, payload_hash: str, secret: str) -> str:
    """Return the signature that `request` must carry if it was signed with `secret`.

    Args:
        request: the request; of its headers only those in `signed_headers` count.
        signed_headers: names in lower case, joined with `;`, in the order of the client.
        payload_hash: last line of the canonical request.
        secret: secret part of the key.
    """
    digest = hashlib.sha256(canonical_request(request, signed_headers, payload_hash)).hexdigest()
    to_sign = f"{ALGORITHM}\n{request.headers.get('x-sdk-date', '')}\n{digest}"
    return hmac.digest(secret.encode(), to_sign.encode("latin-1"), "sha256").hex()


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


def _hash_payload(request: Request) -> str:
    """Return the last line of the canonical request.

    A hash that the client declares in X-Sdk-Content-Sha256 is not taken from it: the header may be
    unsigned, and only what we computed proves that the body is the signed one.
    """
    if not request.body:
        return _EMPTY_HASH
    if request.headers.get("x-sdk-content-sha256") == UNSIGNED_PAYLOAD:
        return UNSIGNED_PAYLOAD
    return hashlib.sha256(request.body).hexdigest()


FindKey = Callable[[Tx, str], tuple[AccessKey, Principal] | None]


def _credential_of(find_key: FindKey) -> Callable[[Tx, str], _Credential[AccessKey] | None]:
    def find(tx: Tx, access: str) -> _Credential[AccessKey] | None:
        found = find_key(tx, access)
        return _Credential(*found) if found else None

    return find


def _find_token(tx: Tx, digest: str) -> _Credential[Token] | None:
    token = tx.identities.token(digest)
    principal = principal_of_user(tx, token.user_id, token.project_id) if token else None
    return _Credential(token, principal) if token and principal else None


def _refusal(reason: str) -> ModelError:
    return ModelError("APIG.0301", f"Incorrect IAM authentication information: {reason}.")
