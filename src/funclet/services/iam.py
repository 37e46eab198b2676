"""Users, groups and access keys. Start with `IamService.create_user`.

All of them are those of the caller's domain. What follows from a change is told through `on_change`: credentials
and permissions are looked up anew.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id
from funclet.model.errors import ModelError
from funclet.model.identity import (
    MAX_GROUPS,
    MAX_KEYS,
    MAX_USERS,
    AccessKey,
    Group,
    Principal,
    User,
    check_description,
    check_email,
    check_entry_name,
    check_password,
    check_user_name,
)
from funclet.services.key_secrets import seal_secret
from funclet.services.passwords import hash_password, password_matches
from funclet.store.protocol import Duplicate, Store, Tx
from funclet.vault import Vault

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What is to be different about a user; None: as it is."""

    name: str | None = None
    password: str | None = None
    email: str | None = None
    description: str | None = None
    is_enabled: bool | None = None


class IamService:
    """Use cases of users, groups and access keys."""

    def __init__(self, store: Store, clock: Clock, vault: Vault, *, on_change: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._changed = on_change

    async def create_user(self, principal: Principal, wanted: UserChange) -> User:
        """Create a user without any permission.

        Raises:
            ModelError: FSS.0400 for a wrong member, FSS.0409 if the name is taken, FSS.0403 beyond the quota.
        """
        name = wanted.name or ""
        check_user_name(name)
        _check_texts(wanted)
        password_hash = await _hashed(wanted.password, name) if wanted.password else ""
        user = User(
            user_id=new_hex_id(),
            name=name,
            domain_id=principal.user.domain_id,
            password_hash=password_hash,
            is_enabled=wanted.is_enabled is not False,
            description=wanted.description or "",
            email=wanted.email or "",
            created_at=self._clock.now(),
        )

        def add(tx: Tx) -> None:
            if len(tx.iam.users(user.domain_id)) >= MAX_USERS:
                raise ModelError("FSS.0403", f"There are {MAX_USERS} users already.")
            tx.identities.add_user(user)

        await self._write(add, taken=f"The user '{name}' exists already.")
        return user

    async def user(self, principal: Principal, user_id: str) -> User:
        """Return a user.

        Raises:
            ModelError: FSS.0404.
        """
        return await self._store.read(lambda tx: require_user(tx, principal, user_id))

    async def update_user(self, principal: Principal, user_id: str, change: UserChange) -> User:
        """Change a user. A new password, or being disabled, ends all tokens.

        Raises:
            ModelError: FSS.0404, FSS.0400 for a wrong member, FSS.0409 if the name is taken,
                FSS.0403 for the owner of the account, whom nobody else may change.
        """
        if change.name is not None:
            check_user_name(change.name)
        _check_texts(change)
        old = await self.user(principal, user_id)
        password_hash = await _hashed(change.password, change.name or old.name) if change.password is not None else None

        def update(tx: Tx) -> User:
            user = require_user(tx, principal, user_id)
            _check_owner(principal, user)
            if user.is_owner and change.is_enabled is False:
                raise ModelError("FSS.0403", "The owner of the account cannot be disabled.")
            if user.issuer and password_hash is not None:
                raise ModelError(
                    "FSS.0403", f"The user '{user.name}' logs in at {user.issuer} and has no password here."
                )
            wanted: dict[str, Any] = {
                "name": change.name,
                "password_hash": password_hash,
                "email": change.email,
                "description": change.description,
                "is_enabled": change.is_enabled,
            }
            user = replace(user, **{name: value for name, value in wanted.items() if value is not None})
            tx.iam.update_user(user)
            if password_hash is not None or not user.is_enabled:
                tx.iam.forget_tokens(user_id)
            return user

        return await self._write(update, taken=f"The user '{change.name}' exists already.")

    async def change_password(self, principal: Principal, user_id: str, *, old: str, new: str) -> None:
        """Give the caller another password; all its tokens end.

        Raises:
            ModelError: FSS.0403 if it is another user or the old password is wrong, FSS.0400 for a poor new one.
        """
        if user_id != principal.user.user_id or principal.is_temporary:
            raise ModelError("FSS.0403", "Only users themselves may change their password here.")
        user = await self.user(principal, user_id)
        if not await asyncio.to_thread(password_matches, old, user.password_hash):
            raise ModelError("FSS.0403", "The old password is wrong.")
        await self.update_user(principal, user_id, UserChange(password=new))

    async def delete_user(self, principal: Principal, user_id: str) -> None:
        """Delete a user with all credentials.

        Raises:
            ModelError: FSS.0404, FSS.0403 for the owner of the account and for the caller itself.
        """

        def delete(tx: Tx) -> None:
            user = require_user(tx, principal, user_id)
            if user.is_owner or user_id == principal.user.user_id:
                raise ModelError("FSS.0403", "Neither the owner of the account nor yourself can be deleted.")
            tx.iam.delete_user(user_id)

        await self._write(delete)

    async def create_group(self, principal: Principal, *, name: str, description: str) -> Group:
        """Create a group without members and permissions.

        Raises:
            ModelError: FSS.0400, FSS.0409 if the name is taken, FSS.0403 beyond the quota.
        """
        check_entry_name(name)
        check_description(description)
        group = Group(
            group_id=new_hex_id(),
            name=name,
            domain_id=principal.user.domain_id,
            description=description,
            created_at=self._clock.now(),
        )

        def add(tx: Tx) -> None:
            if len(tx.iam.list(Group, group.domain_id)) >= MAX_GROUPS:
                raise ModelError("FSS.0403", f"There are {MAX_GROUPS} groups already.")
            tx.iam.add(group)

        await self._write(add, taken=f"The group '{name}' exists already.")
        return group

    async def groups(self, principal: Principal, *, name: str = "") -> Sequence[Group]:
        """Return the groups by name; only the one called `name`, if given."""
        found = await self._store.read(lambda tx: tx.iam.list(Group, principal.user.domain_id))
        return [group for group in found if name in ("", group.name)]

    async def group(self, principal: Principal, group_id: str) -> Group:
        """Return a group.

        Raises:
            ModelError: FSS.0404.
        """
        return await self._store.read(lambda tx: require_group(tx, principal, group_id))

    async def update_group(
        self, principal: Principal, group_id: str, *, name: str | None, description: str | None
    ) -> Group:
        """Change a group; None leaves a member as it is.

        Raises:
            ModelError: FSS.0404, FSS.0400, FSS.0409 if the name is taken.
        """
        if name is not None:
            check_entry_name(name)
        check_description(description or "")

        def update(tx: Tx) -> Group:
            old = require_group(tx, principal, group_id)
            group = replace(
                old,
                name=old.name if name is None else name,
                description=old.description if description is None else description,
            )
            tx.iam.update(group)
            return group

        return await self._write(update, taken=f"The group '{name}' exists already.")

    async def delete_group(self, principal: Principal, group_id: str) -> None:
        """Delete a group; its members lose what they had by it.

        Raises:
            ModelError: FSS.0404.
        """

        def delete(tx: Tx) -> None:
            tx.iam.delete(Group, require_group(tx, principal, group_id).group_id)

        await self._write(delete)

    async def members(self, principal: Principal, group_id: str) -> Sequence[User]:
        """Return the users of a group by name.

        Raises:
            ModelError: FSS.0404.
        """

        def find(tx: Tx) -> Sequence[User]:
            inside = set(tx.iam.members(require_group(tx, principal, group_id).group_id))
            return [user for user in tx.iam.users(principal.user.domain_id) if user.user_id in inside]

        return await self._store.read(find)

    async def groups_of(self, principal: Principal, user_id: str) -> Sequence[Group]:
        """Return the groups of a user by name.

        Raises:
            ModelError: FSS.0404.
        """

        def find(tx: Tx) -> Sequence[Group]:
            mine = set(tx.iam.groups_of(require_user(tx, principal, user_id).user_id))
            return [group for group in tx.iam.list(Group, principal.user.domain_id) if group.group_id in mine]

        return await self._store.read(find)

    async def is_member(self, principal: Principal, group_id: str, user_id: str) -> bool:
        """Tell whether a user is in a group.

        Raises:
            ModelError: FSS.0404 if either is missing.
        """

        def find(tx: Tx) -> bool:
            require_user(tx, principal, user_id)
            return user_id in tx.iam.members(require_group(tx, principal, group_id).group_id)

        return await self._store.read(find)

    async def set_member(self, principal: Principal, group_id: str, user_id: str, *, is_in: bool) -> None:
        """Put a user into a group, or take it out.

        Raises:
            ModelError: FSS.0404 if either is missing, or the user is to be taken out and was not in it.
        """

        def change(tx: Tx) -> None:
            require_group(tx, principal, group_id)
            require_user(tx, principal, user_id)
            if is_in:
                tx.iam.add_member(group_id, user_id)
            elif not tx.iam.remove_member(group_id, user_id):
                raise ModelError("FSS.0404", "The user is not in the group.")

        await self._write(change)

    async def create_key(self, principal: Principal, user_id: str, description: str) -> AccessKey:
        """Give a user an access key for the caller's project; its secret is shown this once.

        Raises:
            ModelError: FSS.0404, FSS.0400, FSS.0403 beyond two keys, for the owner's by others, and for callers whose
                own credentials are temporary.
        """
        check_description(description)
        if principal.is_temporary:
            raise ModelError("FSS.0403", "Temporary credentials cannot make permanent ones.")
        key = AccessKey(
            access=secrets.token_hex(10).upper(),
            secret=secrets.token_urlsafe(30),
            user_id=user_id,
            project_id=principal.project.project_id,
            created_at=self._clock.now(),
            description=description,
        )

        def add(tx: Tx) -> None:
            _check_owner(principal, require_user(tx, principal, user_id))
            permanent = [one for one in tx.iam.access_keys(user_id) if one.expires_at is None]
            if len(permanent) >= MAX_KEYS:
                raise ModelError("FSS.0403", f"The user has {MAX_KEYS} access keys already; delete one first.")
            # Sealed in here, or a change of the vault's key could come between.
            tx.identities.add_access_key(replace(key, secret=seal_secret(self._vault, key.secret, key.access)))

        await self._write(add)
        return key

    async def keys(self, principal: Principal, user_id: str) -> Sequence[AccessKey]:
        """Return the access keys of a user, oldest first, their secrets sealed.

        Raises:
            ModelError: FSS.0404.
        """
        return await self._store.read(lambda tx: tx.iam.access_keys(require_user(tx, principal, user_id).user_id))

    async def key(self, principal: Principal, access: str) -> AccessKey:
        """Return an access key, its secret sealed.

        Raises:
            ModelError: FSS.0404.
        """
        return await self._store.read(lambda tx: _require_key(tx, principal, access))

    async def update_key(
        self, principal: Principal, access: str, *, is_active: bool | None, description: str | None
    ) -> AccessKey:
        """Switch an access key on or off, or describe it; None leaves a member as it is.

        Raises:
            ModelError: FSS.0404, FSS.0400, FSS.0403 for the owner's by others.
        """
        check_description(description or "")

        def update(tx: Tx) -> AccessKey:
            old = _require_key(tx, principal, access)
            _check_owner(principal, require_user(tx, principal, old.user_id))
            key = replace(
                old,
                is_active=old.is_active if is_active is None else is_active,
                description=old.description if description is None else description,
            )
            tx.identities.add_access_key(key)
            return key

        return await self._write(update)

    async def delete_key(self, principal: Principal, access: str) -> None:
        """Delete an access key.

        Raises:
            ModelError: FSS.0404, FSS.0403 for the owner's by others.
        """

        def delete(tx: Tx) -> None:
            key = _require_key(tx, principal, access)
            _check_owner(principal, require_user(tx, principal, key.user_id))
            tx.iam.delete_access_key(access)

        await self._write(delete)

    async def _write(self, work: Callable[[Tx], T], *, taken: str = "") -> T:
        try:
            done = await self._store.write(work)
        except Duplicate as error:
            raise ModelError("FSS.0409", taken) from error
        self._changed()
        return done


def require_user(tx: Tx, principal: Principal, user_id: str) -> User:
    """Return a user of the caller's domain.

    Raises:
        ModelError: FSS.0404.
    """
    user = tx.identities.user(user_id)
    if user is None or user.domain_id != principal.user.domain_id:
        raise ModelError("FSS.0404", f"The user '{user_id[:64]}' does not exist.")
    return user


def require_group(tx: Tx, principal: Principal, group_id: str) -> Group:
    """Return a group of the caller's domain.

    Raises:
        ModelError: FSS.0404.
    """
    group = tx.iam.get(Group, group_id)
    if group is None or group.domain_id != principal.user.domain_id:
        raise ModelError("FSS.0404", f"The group '{group_id[:64]}' does not exist.")
    return group


def _require_key(tx: Tx, principal: Principal, access: str) -> AccessKey:
    key = tx.identities.access_key(access)
    user = tx.identities.user(key.user_id) if key else None
    if key is None or user is None or user.domain_id != principal.user.domain_id:
        raise ModelError("FSS.0404", f"The access key '{access[:64]}' does not exist.")
    return key


def _check_owner(principal: Principal, user: User) -> None:
    """Refuse to let others change the owner of the account: who could, would be the owner."""
    if user.is_owner and not principal.user.is_owner:
        raise ModelError("FSS.0403", f"Only '{user.name}' may do this: the owner of the account.")


def _check_texts(change: UserChange) -> None:
    check_description(change.description or "")
    check_email(change.email or "")


async def _hashed(password: str | None, name: str) -> str:
    check_password(password or "", name=name)
    return await asyncio.to_thread(hash_password, password or "")
