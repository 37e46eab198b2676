"""Who may call and what they may do, over named queries. The columns stand in the order of the members."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import msgspec

from funclet.model.identity import AccessKey, Agency, CustomPolicy, Group, Project, ProjectState, Token, User
from funclet.store.connection import Session
from funclet.store.identity import Entry, Reseal
from funclet.store.protocol import Duplicate

_TAKEN = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
_Row = TypeVar("_Row", Project, User, AccessKey, Token)


def _change(session: Session, query: str, taken: str, /, **values: Any) -> None:
    try:
        session.run(query, **values)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode in _TAKEN:
            raise Duplicate(taken) from error
        raise


def _columns(value: object) -> dict[str, Any]:
    columns: dict[str, Any] = msgspec.to_builtins(value)
    return columns


def _value(kind: type[_Row], row: tuple[Any, ...] | None) -> _Row | None:
    if row is None:
        return None
    # SQLite knows no booleans: their columns hold 0 or 1.
    return msgspec.convert(dict(zip((one.name for one in fields(kind)), row, strict=True)), kind, strict=False)


class SqlIdentities:
    """Projects, users, access keys, tokens."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_project(self, project: Project) -> None:
        """Store a project.

        Raises:
            Duplicate: the id is taken.
        """
        _change(self._session, "add_project", f"project '{project.project_id}' exists", **_columns(project))

    def projects(self) -> Sequence[Project]:
        """Return all projects, the first one first."""
        found = (_value(Project, row) for row in self._session.all("list_projects"))
        return [project for project in found if project]

    def set_state(self, project_id: str, state: ProjectState, reason: str) -> None:
        """Give a project another state."""
        self._session.run("set_project_state", project_id=project_id, state=state.value, state_reason=reason)

    def contents(self, project_id: str) -> Mapping[str, int]:
        """Return how much of what a project has, by kind; nothing of what it has none of."""
        return {kind: count for kind, count in self._session.all("count_contents", project_id=project_id) if count}

    def delete_project(self, project_id: str, *, heir_id: str) -> None:
        """Delete an empty project with its tokens and grants; its access keys go to the project `heir_id`."""
        self._session.run("move_access_keys", project_id=project_id, heir_id=heir_id)
        for name in ("tokens_of", "grants_of", "log_reporting_of", "async_status_log_of"):
            self._session.run(f"delete_{name}_project", project_id=project_id)
        self._session.run("delete_project", project_id=project_id)

    def add_user(self, user: User) -> None:
        """Store a user.

        Raises:
            Duplicate: the id or the name is taken.
        """
        _change(self._session, "add_user", f"user '{user.name}' exists", **_columns(user))

    def user(self, user_id: str) -> User | None:
        """Return a user by id."""
        return _value(User, self._session.one("get_user", user_id=user_id))

    def user_named(self, name: str) -> User | None:
        """Return a user by name."""
        return _value(User, self._session.one("get_user_named", name=name))

    def add_access_key(self, key: AccessKey) -> None:
        """Store or replace an access key."""
        self._session.run("put_access_key", **_columns(key))

    def access_key(self, access: str) -> AccessKey | None:
        """Return an access key by its public part."""
        return _value(AccessKey, self._session.one("get_access_key", access=access))

    def add_token(self, token: Token) -> None:
        """Store a token.

        Raises:
            Duplicate: the token is stored.
        """
        _change(self._session, "add_token", "the token is stored already", **_columns(token))

    def token(self, digest: str) -> Token | None:
        """Return a token by the SHA-256 of its text."""
        return _value(Token, self._session.one("get_token", digest=digest))

    def forget_expired(self, *, now: float) -> None:
        """Delete tokens and temporary keys that have expired."""
        self._session.run("forget_expired_tokens", now=now)
        self._session.run("forget_expired_keys", now=now)


class SqlIam:
    """Users in detail, groups, policies, agencies, and who may do what."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def users(self, domain_id: str) -> Sequence[User]:
        """Return the users of a domain by name."""
        found = (_value(User, row) for row in self._session.all("list_users", domain_id=domain_id))
        return [user for user in found if user]

    def update_user(self, user: User) -> None:
        """Overwrite a user.

        Raises:
            Duplicate: the name is taken.
        """
        values = _columns(user)
        for fixed in ("domain_id", "created_at", "issuer"):
            del values[fixed]
        _change(self._session, "update_user", f"user '{user.name}' exists", **values)

    def delete_user(self, user_id: str) -> None:
        """Delete a user with all access keys, tokens and memberships."""
        for query in ("delete_access_keys_of", "delete_tokens_of", "delete_memberships_of", "delete_user"):
            self._session.run(query, user_id=user_id)

    def access_keys(self, user_id: str) -> Sequence[AccessKey]:
        """Return the access keys of a user, oldest first."""
        found = (_value(AccessKey, row) for row in self._session.all("list_access_keys", user_id=user_id))
        return [key for key in found if key]

    def delete_access_key(self, access: str) -> None:
        """Delete an access key; nothing happens if there is none."""
        self._session.run("delete_access_key", access=access)

    def reseal(self, reseal: Reseal) -> None:
        """Store the secrets of all access keys anew."""
        for access, secret in self._session.all("list_all_access_keys"):
            sealed_anew = reseal(secret, access)
            if sealed_anew != secret:
                self._session.run("set_secret", access=access, secret=sealed_anew)

    def forget_tokens(self, user_id: str) -> None:
        """Delete all tokens of a user."""
        self._session.run("delete_tokens_of", user_id=user_id)

    def add(self, entry: Group | CustomPolicy | Agency) -> None:
        """Store a group, policy or agency.

        Raises:
            Duplicate: the domain has one of its kind with this name.
        """
        _change(self._session, "add_entry", f"'{entry.name}' exists", domain_id=entry.domain_id, **_entry(entry))

    def update(self, entry: Group | CustomPolicy | Agency) -> None:
        """Overwrite one.

        Raises:
            Duplicate: the domain has another one with this name.
        """
        _change(self._session, "update_entry", f"'{entry.name}' exists", **_entry(entry))

    def get(self, kind: type[Entry], entry_id: str) -> Entry | None:
        """Return one by its id."""
        row = self._session.one("get_entry", entry_id=entry_id, kind=kind.__name__)
        return msgspec.json.decode(row[0], type=kind) if row else None

    def named(self, kind: type[Entry], domain_id: str, name: str) -> Entry | None:
        """Return one by its name."""
        row = self._session.one("get_entry_named", kind=kind.__name__, domain_id=domain_id, name=name)
        return msgspec.json.decode(row[0], type=kind) if row else None

    def list(self, kind: type[Entry], domain_id: str) -> Sequence[Entry]:
        """Return those of a domain by name."""
        rows = self._session.all("list_entries", kind=kind.__name__, domain_id=domain_id)
        return [msgspec.json.decode(document, type=kind) for (document,) in rows]

    def delete(self, kind: type[Entry], entry_id: str) -> None:
        """Delete one, with its members and grants if it has any."""
        self._session.run("delete_entry", entry_id=entry_id, kind=kind.__name__)
        self._session.run("delete_members_of_group", group_id=entry_id)
        self._session.run("delete_grants_of", holder_id=entry_id)

    def add_member(self, group_id: str, user_id: str) -> None:
        """Put a user into a group, unless it is there."""
        self._session.run("add_member", group_id=group_id, user_id=user_id)

    def remove_member(self, group_id: str, user_id: str) -> bool:
        """Take a user out of a group; False if it was not in it."""
        return bool(self._session.run("remove_member", group_id=group_id, user_id=user_id).rowcount)

    def members(self, group_id: str) -> Sequence[str]:
        """Return the ids of the users of a group."""
        return [user_id for (user_id,) in self._session.all("list_members", group_id=group_id)]

    def groups_of(self, user_id: str) -> Sequence[str]:
        """Return the ids of the groups of a user."""
        return [group_id for (group_id,) in self._session.all("list_groups_of", user_id=user_id)]

    def grant(self, holder_id: str, role_id: str, project_id: str) -> None:
        """Give a role or policy to a group or agency, in one project, or in all with an empty id."""
        self._session.run("add_grant", holder_id=holder_id, role_id=role_id, project_id=project_id)

    def revoke(self, holder_id: str, role_id: str, project_id: str) -> bool:
        """Take it back; False if it was not given."""
        values = {"holder_id": holder_id, "role_id": role_id, "project_id": project_id}
        return bool(self._session.run("iam_delete_grant", **values).rowcount)

    def grants(self, holder_id: str) -> Sequence[tuple[str, str]]:
        """Return what a group or agency has: pairs of role and project, the latter empty for all."""
        return [
            (role_id, project_id) for role_id, project_id in self._session.all("iam_list_grants", holder_id=holder_id)
        ]

    def is_granted(self, role_id: str) -> bool:
        """Tell whether anybody has a role or policy."""
        return self._session.number("is_role_granted", role_id=role_id) > 0


def _entry(entry: Group | CustomPolicy | Agency) -> dict[str, Any]:
    match entry:
        case Group(group_id=entry_id) | CustomPolicy(policy_id=entry_id) | Agency(agency_id=entry_id):
            pass
    document = msgspec.json.encode(entry).decode()
    return {"entry_id": entry_id, "kind": type(entry).__name__, "name": entry.name, "document": document}
