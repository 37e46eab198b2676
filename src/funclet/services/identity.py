"""Projects, logins and tokens, and what a new server starts with (`bootstrap_identity`).

Passwords are kept as scrypt hashes, tokens as SHA-256 digests: neither can be
read back from the database.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id
from funclet.model.errors import ModelError
from funclet.model.identity import AccessKey, Principal, Project, Token, User
from funclet.store.protocol import Store, Tx

TOKEN_LIFETIME_S = 24 * 3600.0
MAX_FAILURES = 10
FAILURE_WINDOW_S = 60.0
MAX_WATCHED_NAMES = 10_000
MAX_PASSWORD_LENGTH = 1024
ADMIN_NAME = "admin"
# Each takes 16 MiB and a core for some 50 ms.
MAX_CONCURRENT_HASHES = 2

_SALT_BYTES = 16
_WRONG_PASSWORD = "The username or password is wrong."  # noqa: S105 - a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A token just issued; `text` is not kept anywhere else."""

    text: str
    token: Token
    user: User
    project: Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a token is wanted for: a project by id or by name, or, if both are empty, the first one."""

    project_id: str = ""
    project_name: str = ""
    domain: str = ""
    """Id or name of the domain that the scope names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a new server was given. Shown once, by whoever started it."""

    project_id: str
    project_name: str
    domain_name: str
    user_name: str
    password: str
    access: str
    secret: str


class IdentityService:
    """Use cases of the identity operations."""

    def __init__(self, store: Store, clock: Clock, *, region: str) -> None:
        self._store = store
        self._clock = clock
        self.region = region
        self._failures: dict[tuple[str, str], list[float]] = {}
        self._hashing = asyncio.Semaphore(MAX_CONCURRENT_HASHES)

    async def login(self, *, name: str, domain: str, password: str, scope: Scope, peer: str) -> Login:
        """Return a new token for a user and password.

        An unknown user takes as long as a wrong password. Ten failures within a minute for one
        name from one address are answered with a refusal until the minute is over.

        Raises:
            ModelError: FSS.0401 if name, domain, password or scope is wrong, FSS.0429 if there were too many failures.
        """
        watched = (name, peer)
        self._check_failures(watched)
        user = await self._store.read(lambda tx: tx.identities.user_named(name))
        async with self._hashing:
            # Asked again: of many requests that came at once, only some may try.
            self._check_failures(watched)
            matches = await asyncio.to_thread(password_matches, password, user.password_hash if user else "")
            if not matches:
                self._failures.setdefault(watched, []).append(self._clock.monotonic())
        if user is None or not matches:
            raise ModelError("FSS.0401", _WRONG_PASSWORD)
        project = await self._project(user, scope)
        if domain and domain not in (project.domain_id, project.domain_name):
            raise ModelError("FSS.0401", _WRONG_PASSWORD)
        self._failures.pop(watched, None)
        return await self._issue(user, project, expires_at=self._clock.now() + TOKEN_LIFETIME_S)

    async def rescope(self, *, text: str, scope: Scope) -> Login:
        """Return a new token for the holder of another one; it expires when that one does.

        Raises:
            ModelError: FSS.0401 if the token is unknown or has expired, or the scope cannot be had.
        """
        held = await self.find_token(text)
        if held is None:
            raise ModelError("FSS.0401", "The token is unknown or has expired.")
        project = await self._project(held.user, scope)
        return await self._issue(held.user, project, expires_at=held.token.expires_at)

    async def find_token(self, text: str) -> Login | None:
        """Return what a token stands for; None if it is unknown or has expired."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        login = await self._store.read(lambda tx: _find_login(tx, text, digest))
        return login if login and login.token.expires_at > self._clock.now() else None

    async def projects(self, principal: Principal, *, name: str = "") -> Sequence[Project]:
        """Return the projects of the caller's domain; only those called `name`, if given."""
        projects = await self._store.read(lambda tx: tx.identities.projects())
        return [p for p in projects if p.domain_id == principal.user.domain_id and name in ("", p.name)]

    async def users(self, principal: Principal, *, name: str = "") -> Sequence[User]:
        """Return the user called `name` if the caller's domain has one; without a name, the caller."""
        if not name:
            return [principal.user]
        user = await self._store.read(lambda tx: tx.identities.user_named(name))
        return [user] if user and user.domain_id == principal.user.domain_id else []

    async def _project(self, user: User, scope: Scope) -> Project:
        for project in await self._store.read(lambda tx: tx.identities.projects()):
            if (
                project.domain_id == user.domain_id
                and scope.project_id in ("", project.project_id)
                and scope.project_name in ("", project.name)
                and scope.domain in ("", project.domain_id, project.domain_name)
            ):
                return project
        raise ModelError("FSS.0401", "The scope names no project or domain of this user.")

    async def _issue(self, user: User, project: Project, *, expires_at: float) -> Login:
        text = secrets.token_urlsafe(48)
        now = self._clock.now()
        token = Token(
            digest=hashlib.sha256(text.encode()).hexdigest(),
            user_id=user.user_id,
            project_id=project.project_id,
            issued_at=now,
            expires_at=expires_at,
        )

        def store(tx: Tx) -> None:
            tx.identities.forget_expired(now=now)
            tx.identities.add_token(token)

        await self._store.write(store)
        return Login(text=text, token=token, user=user, project=project)

    def _check_failures(self, watched: tuple[str, str]) -> None:
        now = self._clock.monotonic()
        recent = [at for at in self._failures.pop(watched, []) if now - at < FAILURE_WINDOW_S]
        if recent:
            self._failures[watched] = recent
        while len(self._failures) > MAX_WATCHED_NAMES:
            del self._failures[next(iter(self._failures))]
        if len(recent) >= MAX_FAILURES:
            wait_s = FAILURE_WINDOW_S - (now - recent[0])
            raise ModelError("FSS.0429", "There were too many failed logins; try again later.", retry_after_s=wait_s)


async def bootstrap_identity(
    store: Store,
    *,
    region: str,
    project_id: str | None = None,
    ak: str | None = None,
    sk: str | None = None,
    password: str | None = None,
) -> Credentials | None:
    """Give an empty store its project (named as the region), domain, user `admin` and access key.

    Whatever is not given is drawn at random. A store that has a project keeps all it has; only a key
    pair that is given is added to it, or takes the place of the one with the same public part.

    Returns:
        What was created, or None if the store had a project already.
    """
    password = password or secrets.token_urlsafe(18)
    password_hash = await asyncio.to_thread(hash_password, password)
    domain_id = new_hex_id()
    project = Project(project_id=project_id or new_hex_id(), name=region, domain_id=domain_id, domain_name=ADMIN_NAME)
    user = User(user_id=new_hex_id(), name=ADMIN_NAME, domain_id=domain_id, password_hash=password_hash)
    key = AccessKey(
        access=ak or secrets.token_hex(10).upper(),
        secret=sk or secrets.token_urlsafe(30),
        user_id=user.user_id,
        project_id=project.project_id,
    )
    if not await store.write(lambda tx: _create(tx, project, user, key, adds_key=bool(ak and sk))):
        return None
    return Credentials(
        project_id=project.project_id,
        project_name=project.name,
        domain_name=project.domain_name,
        user_name=user.name,
        password=password,
        access=key.access,
        secret=key.secret,
    )


def hash_password(password: str) -> str:
    """Return `scrypt$<salt>$<hash>`. Takes some 50 ms; not for the loop's thread."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt${salt.hex()}${_scrypt(password, salt).hex()}"


def password_matches(password: str, password_hash: str) -> bool:
    """Tell whether a password has this hash; never true for an empty hash, and as slow then."""
    _, salt, expected = password_hash.split("$") if password_hash else ("", "00" * _SALT_BYTES, "")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)).hex(), expected)


def _scrypt(password: str, salt: bytes) -> bytes:
    # Longer ones would only cost us time before they are refused.
    text = password[:MAX_PASSWORD_LENGTH].encode()
    return hashlib.scrypt(text, salt=salt, n=2**14, r=8, p=1, dklen=32)


def _create(tx: Tx, project: Project, user: User, key: AccessKey, *, adds_key: bool) -> bool:
    existing = tx.identities.projects()
    if not existing:
        tx.identities.add_project(project)
        tx.identities.add_user(user)
        tx.identities.add_access_key(key)
        return True
    admin = tx.identities.user_named(ADMIN_NAME)
    if adds_key and admin is not None:
        tx.identities.add_access_key(
            AccessKey(access=key.access, secret=key.secret, user_id=admin.user_id, project_id=existing[0].project_id)
        )
    return False


def _find_login(tx: Tx, text: str, digest: str) -> Login | None:
    token = tx.identities.token(digest)
    user = tx.identities.user(token.user_id) if token else None
    projects = tx.identities.projects()
    project = next((p for p in projects if token and p.project_id == token.project_id), None)
    if token is None or user is None or project is None:
        return None
    return Login(text=text, token=token, user=user, project=project)
