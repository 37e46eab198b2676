"""What functions keep ready, over named queries."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from funclet.model.reserved import ReservedPolicy
from funclet.store.connection import Session


class SqlReserved:
    """See `protocol.Reserved`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode: Callable[[str], ReservedPolicy] = msgspec.json.Decoder(ReservedPolicy).decode

    def put(self, policy: ReservedPolicy) -> None:
        """Create or replace the policy of a version or alias."""
        self._session.run(
            "put_reserved_policy",
            function_id=policy.function_id,
            qualifier=policy.qualifier,
            project_id=policy.project_id,
            document=msgspec.json.encode(policy).decode(),
        )

    def delete(self, function_id: str, qualifier: str) -> None:
        """Delete a policy; nothing happens if there is none."""
        self._session.run("delete_reserved_policy", function_id=function_id, qualifier=qualifier)

    def get(self, function_id: str, qualifier: str) -> ReservedPolicy | None:
        """Return the policy of a version or alias."""
        row = self._session.one("get_reserved_policy", function_id=function_id, qualifier=qualifier)
        return self._decode(row[0]) if row else None

    def of_function(self, function_id: str) -> Sequence[ReservedPolicy]:
        """Return all policies of a function, by qualifier."""
        return self._decoded(self._session.all("list_reserved_policies_of_function", function_id=function_id))

    def of_project(self, project_id: str) -> Sequence[ReservedPolicy]:
        """Return all policies of a project, by function name and qualifier."""
        return self._decoded(self._session.all("list_reserved_policies_of_project", project_id=project_id))

    def all(self) -> Sequence[ReservedPolicy]:
        """Return the policies of all projects."""
        return self._decoded(self._session.all("list_reserved_policies"))

    def _decoded(self, rows: list[tuple[Any, ...]]) -> Sequence[ReservedPolicy]:
        return [self._decode(document) for (document,) in rows]
