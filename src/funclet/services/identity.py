"""Projects, logins and tokens, and what a new server starts with (`bootstrap_identity`).

Passwords are kept as hashes, tokens as SHA-256 digests: neither can be read back
from the database. Secrets of access keys are sealed: signatures need them.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id
from funclet.model.errors import ModelError
from funclet.model.identity import DAY_S, FUNCTION_SERVICE, AccessKey, Agency, Group, Principal, Project, Token, User
from funclet.model.roles import FIRST_AGENCIES, FIRST_GROUPS, OWNER_ROLE
from funclet.services.key_secrets import seal_secret
from funclet.services.passwords import hash_password, is_outdated, password_matches
from funclet.services.permissions import policies_of, principal_of_user
from funclet.store.protocol import Store, Tx
from funclet.vault import Vault

TOKEN_LIFETIME_S = DAY_S
MAX_FAILURES = 5
FAILURE_WINDOW_S = 900.0
MAX_WATCHED_NAMES = 10_000
ADMIN_NAME = "admin"
# Each takes 20 MiB and a core for some 30 ms.
MAX_CONCURRENT_HASHES = 2

_WRONG_PASSWORD = "The username or password is wrong."  # noqa: S105 - a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A token just issued; `text` is not kept anywhere else."""

    text: str
    token: Token
    user: User
    project: Project
    roles: tuple[str, ...] = ()
    """Names of what the user may do."""


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

        An unknown user takes as long as a wrong password. Five failures within a quarter of an hour for one
        name from one address are answered with a refusal until the quarter is over.

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
        if user is None or not matches or not user.is_enabled:
            raise ModelError("FSS.0401", _WRONG_PASSWORD)
        project = await self._project(user, scope)
        if domain and domain not in (project.domain_id, project.domain_name):
            raise ModelError("FSS.0401", _WRONG_PASSWORD)
        self._failures.pop(watched, None)
        renewed = ""
        if is_outdated(user.password_hash):
            async with self._hashing:
                renewed = await asyncio.to_thread(hash_password, password)
        return await self._issue(user, project, expires_at=self._clock.now() + TOKEN_LIFETIME_S, renewed_hash=renewed)

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

    async def users(self, principal: Principal, *, name: str = "", with_others: bool = False) -> Sequence[User]:
        """Return the users of the caller's domain by name, only the one called `name` if given.

        Without `with_others` there is nobody but the caller.
        """
        found = await self._store.read(lambda tx: tx.iam.users(principal.user.domain_id)) if with_others else []
        return [user for user in found or [principal.user] if name in ("", user.name)]

    async def caller_of(self, text: str) -> Principal | None:
        """Return who acts with a token; None if it is unknown, has expired, or its user is disabled."""
        held = await self.find_token(text)
        if held is None:
            return None
        ids = (held.user.user_id, held.project.project_id)
        return await self._store.read(lambda tx: principal_of_user(tx, *ids))

    async def login_federated(self, *, user: User, groups: Sequence[str], scope: Scope, expires_at: float) -> Login:
        """Return a token for a user whom an issuer vouches for, and who is then in exactly these groups.

        Args:
            user: with the id that belongs to issuer and subject; one that is known keeps its name.
            groups: names; those that do not exist are left out.
            scope: as for a login.
            expires_at: seconds since the epoch; the token does not live longer than a day.

        Raises:
            ModelError: FSS.0401 if the scope is wrong or the user was disabled here.
        """
        project = await self._project(user, scope)
        now = self._clock.now()

        def join(tx: Tx) -> User:
            known = tx.identities.user(user.user_id)
            if known is None:
                taken = tx.identities.user_named(user.name) is not None
                known = replace(
                    user, name=f"{user.name[:50]}-{user.user_id[:8]}" if taken else user.name, created_at=now
                )
                tx.identities.add_user(known)
            if not known.is_enabled:
                raise ModelError("FSS.0401", f"The user '{known.name}' is disabled.")
            for group in tx.iam.list(Group, known.domain_id):
                if group.name in groups:
                    tx.iam.add_member(group.group_id, known.user_id)
                else:
                    tx.iam.remove_member(group.group_id, known.user_id)
            return known

        joined = await self._store.write(join)
        return await self._issue(joined, project, expires_at=min(expires_at, now + TOKEN_LIFETIME_S))

    async def domain_of_first_project(self) -> str:
        """Return the id of the domain that users of an issuer belong to."""
        projects = await self._store.read(lambda tx: tx.identities.projects())
        return projects[0].domain_id

    async def _project(self, user: User, scope: Scope) -> Project:
        for project in await self._store.read(lambda tx: tx.identities.projects()):
            if (
                project.domain_id == user.domain_id
                and scope.project_id in ("", project.project_id)
                and scope.project_name in ("", project.name)
                and scope.domain in ("", project.domain_id, project.domain_name)
            ):
                return project
        raise ModelError(
            "FSS.0401",
            "The scope names no project or domain of this user: give the id of the project, or its name and the domain "
            "of the user.",
        )

    async def _issue(self, user: User, project: Project, *, expires_at: float, renewed_hash: str = "") -> Login:
        text = secrets.token_urlsafe(48)
        now = self._clock.now()
        token = Token(
            digest=hashlib.sha256(text.encode()).hexdigest(),
            user_id=user.user_id,
            project_id=project.project_id,
            issued_at=now,
            expires_at=expires_at,
        )

        def store(tx: Tx) -> tuple[str, ...]:
            tx.identities.forget_expired(now=now)
            tx.identities.add_token(token)
            current = tx.identities.user(user.user_id)
            if current is not None:
                password_hash = renewed_hash or current.password_hash
                tx.iam.update_user(replace(current, last_login_at=now, password_hash=password_hash))
            return _roles(tx, user, project)

        roles = await self._store.write(store)
        return Login(text=text, token=token, user=user, project=project, roles=roles)

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
    vault: Vault | None = None,
    now: float = 0.0,
) -> Credentials | None:
    """Give an empty store its project (named as the region), domain, user `admin`, access key, groups and agencies.

    Whatever is not given is drawn at random. A store that has a project keeps all it has; only a key
    pair that is given is added to it, or takes the place of the one with the same public part, and groups and
    agencies are made where there were none. `vault` seals the secret; without it, that is done later.
    `now`, in seconds since the epoch, is when all of it was created.

    Returns:
        What was created, or None if the store had a project already.
    """
    password = password or secrets.token_urlsafe(18)
    password_hash = await asyncio.to_thread(hash_password, password)
    domain_id = new_hex_id()
    project = Project(project_id=project_id or new_hex_id(), name=region, domain_id=domain_id, domain_name=ADMIN_NAME)
    user = User(
        user_id=new_hex_id(),
        name=ADMIN_NAME,
        domain_id=domain_id,
        password_hash=password_hash,
        is_owner=True,
        created_at=now,
    )
    key = AccessKey(
        access=ak or secrets.token_hex(10).upper(),
        secret=sk or secrets.token_urlsafe(30),
        user_id=user.user_id,
        project_id=project.project_id,
        created_at=now,
    )
    stored = key if vault is None else replace(key, secret=seal_secret(vault, key.secret, key.access))
    if not await store.write(lambda tx: _create(tx, project, user, stored, adds_key=bool(ak and sk), now=now)):
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


def _create(tx: Tx, project: Project, user: User, key: AccessKey, *, adds_key: bool, now: float) -> bool:
    existing = tx.identities.projects()
    if not existing:
        tx.identities.add_project(project)
        tx.identities.add_user(user)
        tx.identities.add_access_key(key)
        _create_groups(tx, project.domain_id, now)
        return True
    if not tx.iam.list(Group, existing[0].domain_id) and not tx.iam.list(Agency, existing[0].domain_id):
        _create_groups(tx, existing[0].domain_id, now)
    admin = tx.identities.user_named(ADMIN_NAME)
    if adds_key and admin is not None:
        tx.identities.add_access_key(replace(key, user_id=admin.user_id, project_id=existing[0].project_id))
    return False


def _create_groups(tx: Tx, domain_id: str, now: float) -> None:
    for name, description, role in FIRST_GROUPS:
        group = Group(group_id=new_hex_id(), name=name, domain_id=domain_id, description=description, created_at=now)
        tx.iam.add(group)
        tx.iam.grant(group.group_id, role.role_id, "")
    for name, description, role in FIRST_AGENCIES:
        agency = Agency(
            agency_id=new_hex_id(),
            name=name,
            domain_id=domain_id,
            trust_domain_name=FUNCTION_SERVICE,
            description=description,
            created_at=now,
        )
        tx.iam.add(agency)
        tx.iam.grant(agency.agency_id, role.role_id, "")


def _find_login(tx: Tx, text: str, digest: str) -> Login | None:
    token = tx.identities.token(digest)
    user = tx.identities.user(token.user_id) if token else None
    projects = tx.identities.projects()
    project = next((p for p in projects if token and p.project_id == token.project_id), None)
    if token is None or user is None or project is None or not user.is_enabled:
        return None
    return Login(text=text, token=token, user=user, project=project, roles=_roles(tx, user, project))


def _roles(tx: Tx, user: User, project: Project) -> tuple[str, ...]:
    if user.is_owner:
        return (OWNER_ROLE,)
    return tuple(policy.name for policy in policies_of(tx, tx.iam.groups_of(user.user_id), project.project_id))
