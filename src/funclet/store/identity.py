"""What the server may ask of the database about users, their permissions, and the audit log.

Groups of `protocol.Tx`, apart because that module is long enough.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from funclet.model.audit import Trace, TraceQuery
from funclet.model.identity import AccessKey, Agency, CustomPolicy, Group, User

Reseal = Callable[[str, str], str]
"""Gets the secret of an access key as it is stored and the access key; returns what is to be stored."""

Entry = TypeVar("Entry", Group, CustomPolicy, Agency)


class Iam(Protocol):
    """Users in detail, groups, policies, agencies, and who may do what."""

    def users(self, domain_id: str) -> Sequence[User]:
        """Return the users of a domain by name."""
        ...

    def update_user(self, user: User) -> None:
        """Overwrite a user.

        Raises:
            Duplicate: the name is taken.
        """
        ...

    def delete_user(self, user_id: str) -> None:
        """Delete a user with all access keys, tokens and memberships."""
        ...

    def access_keys(self, user_id: str) -> Sequence[AccessKey]:
        """Return the access keys of a user, oldest first."""
        ...

    def delete_access_key(self, access: str) -> None:
        """Delete an access key; nothing happens if there is none."""
        ...

    def reseal(self, reseal: Reseal) -> None:
        """Store the secrets of all access keys anew."""
        ...

    def forget_tokens(self, user_id: str) -> None:
        """Delete all tokens of a user."""
        ...

    def add(self, entry: Group | CustomPolicy | Agency) -> None:
        """Store a group, policy or agency.

        Raises:
            Duplicate: the domain has one of its kind with this name.
        """
        ...

    def update(self, entry: Group | CustomPolicy | Agency) -> None:
        """Overwrite one.

        Raises:
            Duplicate: the domain has another one with this name.
        """
        ...

    def get(self, kind: type[Entry], entry_id: str) -> Entry | None:
        """Return one by its id."""
        ...

    def named(self, kind: type[Entry], domain_id: str, name: str) -> Entry | None:
        """Return one by its name."""
        ...

    def list(self, kind: type[Entry], domain_id: str) -> Sequence[Entry]:
        """Return those of a domain by name."""
        ...

    def delete(self, kind: type[Entry], entry_id: str) -> None:
        """Delete one, with its members and grants if it has any."""
        ...

    def add_member(self, group_id: str, user_id: str) -> None:
        """Put a user into a group, unless it is there."""
        ...

    def remove_member(self, group_id: str, user_id: str) -> bool:
        """Take a user out of a group; False if it was not in it."""
        ...

    def members(self, group_id: str) -> Sequence[str]:
        """Return the ids of the users of a group."""
        ...

    def groups_of(self, user_id: str) -> Sequence[str]:
        """Return the ids of the groups of a user."""
        ...

    def grant(self, holder_id: str, role_id: str, project_id: str) -> None:
        """Give a role or policy to a group or agency, in one project, or in all with an empty id."""
        ...

    def revoke(self, holder_id: str, role_id: str, project_id: str) -> bool:
        """Take it back; False if it was not given."""
        ...

    def grants(self, holder_id: str) -> Sequence[tuple[str, str]]:
        """Return what a group or agency has: pairs of role and project, the latter empty for all."""
        ...

    def is_granted(self, role_id: str) -> bool:
        """Tell whether anybody has a role or policy."""
        ...


class Traces(Protocol):
    """The audit log."""

    def add(self, traces: Sequence[Trace]) -> None:
        """Append."""
        ...

    def find(self, wanted: TraceQuery) -> Sequence[tuple[int, Trace]]:
        """Return traces of a project with their numbers, newest first."""
        ...

    def trim(self, *, oldest: float, rows: int) -> None:
        """Delete what is older than `oldest` (some thousands at once) or more than `rows`."""
        ...
