"""Custom policies, who has which permission, and what would be allowed. Start with `PolicyService.create`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id
from funclet.model import policy as policies
from funclet.model.errors import ModelError
from funclet.model.identity import (
    MAX_GRANTS,
    MAX_POLICIES,
    Agency,
    CustomPolicy,
    Principal,
    check_description,
    check_entry_name,
)
from funclet.model.policy import Access
from funclet.model.roles import BY_ID, SYSTEM_ROLES, SystemRole
from funclet.services.iam import require_group, require_user
from funclet.services.permissions import grants_of_user, policies_of
from funclet.store.protocol import Duplicate, Store, Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whose permissions are meant: a group, or an agency."""

    group_id: str = ""
    agency_id: str = ""


class PolicyService:
    """Use cases of policies and of their grants."""

    def __init__(self, store: Store, clock: Clock, *, on_change: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._changed = on_change

    async def create(
        self, principal: Principal, *, name: str, description: str, document: Mapping[str, Any]
    ) -> CustomPolicy:
        """Store a policy. Nobody has it yet.

        Raises:
            ModelError: FSS.0400 if it is wrong, FSS.0409 if the name is taken, FSS.0403 beyond the quota.
        """
        _check(name, description, document)
        now = self._clock.now()
        policy = CustomPolicy(
            policy_id=new_hex_id(),
            name=name,
            domain_id=principal.user.domain_id,
            document=document,
            description=description,
            created_at=now,
            updated_at=now,
        )

        def add(tx: Tx) -> None:
            if len(tx.iam.list(CustomPolicy, policy.domain_id)) >= MAX_POLICIES:
                raise ModelError("FSS.0403", f"There are {MAX_POLICIES} policies already.")
            tx.iam.add(policy)

        await self._write(add, name)
        return policy

    async def list(self, principal: Principal) -> Sequence[CustomPolicy]:
        """Return the custom policies by name."""
        return await self._store.read(lambda tx: tx.iam.list(CustomPolicy, principal.user.domain_id))

    async def get(self, principal: Principal, policy_id: str) -> CustomPolicy:
        """Return a custom policy.

        Raises:
            ModelError: FSS.0404.
        """
        return await self._store.read(lambda tx: _require(tx, principal, policy_id))

    async def update(
        self,
        principal: Principal,
        policy_id: str,
        *,
        name: str | None,
        description: str | None,
        document: Mapping[str, Any] | None,
    ) -> CustomPolicy:
        """Change a policy; None leaves a member as it is. It holds at once for all who have it.

        Raises:
            ModelError: FSS.0404, FSS.0400, FSS.0409 if the name is taken.
        """

        def update(tx: Tx) -> CustomPolicy:
            old = _require(tx, principal, policy_id)
            policy = replace(
                old,
                name=old.name if name is None else name,
                description=old.description if description is None else description,
                document=old.document if document is None else document,
                updated_at=self._clock.now(),
            )
            _check(policy.name, policy.description, policy.document)
            tx.iam.update(policy)
            return policy

        return await self._write(update, name or "")

    async def delete(self, principal: Principal, policy_id: str) -> None:
        """Delete a policy that nobody has.

        Raises:
            ModelError: FSS.0404, FSS.0409 if somebody has it.
        """

        def delete(tx: Tx) -> None:
            policy = _require(tx, principal, policy_id)
            if tx.iam.is_granted(policy_id):
                raise ModelError("FSS.0409", f"The policy '{policy.name}' is granted to a group or an agency.")
            tx.iam.delete(CustomPolicy, policy_id)

        await self._write(delete, "")

    async def role(self, principal: Principal, role_id: str) -> SystemRole | CustomPolicy:
        """Return a role of every server, or a custom policy.

        Raises:
            ModelError: FSS.0404.
        """
        return BY_ID.get(role_id) or await self.get(principal, role_id)

    async def roles(self, principal: Principal) -> Sequence[SystemRole | CustomPolicy]:
        """Return all that can be granted."""
        return [*SYSTEM_ROLES, *await self.list(principal)]

    async def granted(
        self, principal: Principal, holder: Holder, project_id: str
    ) -> Sequence[SystemRole | CustomPolicy]:
        """Return what a group or an agency has in a project; with an empty id, in all.

        Raises:
            ModelError: FSS.0404.
        """

        def find(tx: Tx) -> Sequence[SystemRole | CustomPolicy]:
            found = tx.iam.grants(_require_holder(tx, principal, holder))
            role_ids = [role_id for role_id, scope in found if scope == project_id]
            _check_project(tx, principal, project_id)
            return [BY_ID.get(role_id) or _require(tx, principal, role_id) for role_id in role_ids]

        return await self._store.read(find)

    async def grant(
        self, principal: Principal, holder: Holder, role_id: str, project_id: str, *, is_given: bool
    ) -> None:
        """Give a role or policy to a group or an agency, or take it back.

        Raises:
            ModelError: FSS.0404 if one of them is missing, or it is to be taken back and was not given; FSS.0403
                beyond the quota.
        """

        def change(tx: Tx) -> None:
            holder_id = _require_holder(tx, principal, holder)
            _check_project(tx, principal, project_id)
            if role_id not in BY_ID:
                _require(tx, principal, role_id)
            if not is_given:
                if not tx.iam.revoke(holder_id, role_id, project_id):
                    raise ModelError("FSS.0404", "The role was not granted.")
                return
            if len(tx.iam.grants(holder_id)) >= MAX_GRANTS:
                raise ModelError("FSS.0403", f"There are {MAX_GRANTS} grants already.")
            tx.iam.grant(holder_id, role_id, project_id)

        await self._write(change, "")

    async def simulate(self, principal: Principal, *, user_name: str, agency_name: str, access: Access) -> bool:
        """Return whether a user or an agency would be allowed something in the caller's project.

        Raises:
            ModelError: FSS.0404 if there is none of this name.
        """
        project_id, domain_id = principal.project.project_id, principal.user.domain_id

        def decide(tx: Tx) -> bool:
            if agency_name:
                agency = tx.iam.named(Agency, domain_id, agency_name)
                if agency is None:
                    raise ModelError("FSS.0404", f"The agency '{agency_name[:64]}' does not exist.")
                return policies.Grants(policies_of(tx, [agency.agency_id], project_id)).allows(access)
            found = tx.identities.user_named(user_name)
            user = require_user(tx, principal, found.user_id if found else user_name)
            return grants_of_user(tx, user, project_id).allows(access)

        return await self._store.read(decide)

    async def _write(self, work: Callable[[Tx], T], name: str) -> T:
        try:
            done = await self._store.write(work)
        except Duplicate as error:
            raise ModelError("FSS.0409", f"The policy '{name}' exists already.") from error
        self._changed()
        return done


def _check(name: str, description: str, document: Mapping[str, Any]) -> None:
    check_entry_name(name)
    check_description(description)
    if any(role.name.lower() == name.lower() for role in SYSTEM_ROLES):
        raise ModelError("FSS.0409", f"The name '{name}' is that of a role that every server has.")
    policies.parse(name, dict(document))


def _require(tx: Tx, principal: Principal, policy_id: str) -> CustomPolicy:
    policy = tx.iam.get(CustomPolicy, policy_id)
    if policy is None or policy.domain_id != principal.user.domain_id:
        raise ModelError("FSS.0404", f"The policy '{policy_id[:64]}' does not exist.")
    return policy


def _require_holder(tx: Tx, principal: Principal, holder: Holder) -> str:
    if holder.group_id:
        return require_group(tx, principal, holder.group_id).group_id
    agency = tx.iam.get(Agency, holder.agency_id)
    if agency is None or agency.domain_id != principal.user.domain_id:
        raise ModelError("FSS.0404", f"The agency '{holder.agency_id[:64]}' does not exist.")
    return agency.agency_id


def _check_project(tx: Tx, principal: Principal, project_id: str) -> None:
    projects = [one for one in tx.identities.projects() if one.domain_id == principal.user.domain_id]
    if project_id and not any(one.project_id == project_id for one in projects):
        raise ModelError("FSS.0404", f"The project '{project_id[:64]}' does not exist.")
