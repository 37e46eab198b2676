"""Agencies, and temporary keys: of an agency for whom it trusts, and of users for themselves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id
from funclet.model import policy as policies
from funclet.model.errors import ModelError
from funclet.model.identity import (
    FUNCTION_SERVICE,
    MAX_AGENCIES,
    Agency,
    Principal,
    check_agency_name,
    check_description,
    duration_s,
)
from funclet.services.permissions import is_valid
from funclet.services.temporary import Claims, TemporaryKey, TemporaryKeys
from funclet.store.protocol import Duplicate, Store, Tx

T = TypeVar("T")
MIN_DURATION_S, MAX_DURATION_S, DEFAULT_DURATION_S = 900, 86_400, 900


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyChange:
    """What is to be different about an agency; None: as it is."""

    trust_domain_name: str | None = None
    description: str | None = None
    duration: str | None = None


class AgencyService:
    """Use cases of agencies and of temporary keys."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        temporary: TemporaryKeys,
        *,
        on_change: Callable[[], None],
        must_exist: bool = False,
    ) -> None:
        """Take the parts.

        Args:
            store: has the agencies.
            clock: of their end.
            temporary: makes keys.
            on_change: is told that credentials and permissions must be looked up anew.
            must_exist: whether functions may name only agencies whose keys they would get.
        """
        self._store = store
        self._must_exist = must_exist
        self._clock = clock
        self._temporary = temporary
        self._changed = on_change

    async def create(self, principal: Principal, name: str, wanted: AgencyChange) -> Agency:
        """Create an agency without permissions.

        Raises:
            ModelError: FSS.0400, FSS.0409 if the name is taken, FSS.0403 beyond the quota.
        """
        check_agency_name(name)
        agency = self._changed_agency(
            Agency(
                agency_id=new_hex_id(),
                name=name,
                domain_id=principal.user.domain_id,
                trust_domain_name=FUNCTION_SERVICE,
                created_at=self._clock.now(),
            ),
            wanted,
        )

        def add(tx: Tx) -> None:
            if len(tx.iam.list(Agency, agency.domain_id)) >= MAX_AGENCIES:
                raise ModelError("FSS.0403", f"There are {MAX_AGENCIES} agencies already.")
            tx.iam.add(agency)

        await self._write(add, name)
        return agency

    async def list(self, principal: Principal, *, name: str = "") -> Sequence[Agency]:
        """Return the agencies by name; only the one called `name`, if given."""
        found = await self._store.read(lambda tx: tx.iam.list(Agency, principal.user.domain_id))
        return [agency for agency in found if name in ("", agency.name)]

    async def of_functions(self, principal: Principal) -> Sequence[Agency]:
        """Return the agencies that functions may name now."""
        now = self._clock.now()
        return [one for one in await self.list(principal) if one.trusts_functions and is_valid(one, now=now)]

    async def check_named(self, principal: Principal, name: str) -> None:
        """Refuse the name of an agency for a function, if agencies must exist.

        Raises:
            ModelError: FSS.1121 if there is none, FSS.1122 if functions would get no keys of it.
        """
        if not self._must_exist:
            return
        found = await self.list(principal, name=name)
        if not found:
            raise ModelError("FSS.1121", f"The agency '{name[:64]}' does not exist; create it: fgs iam agency create.")
        if not found[0].trusts_functions or not is_valid(found[0], now=self._clock.now()):
            raise ModelError(
                "FSS.1122", f"The agency '{name[:64]}' has expired or does not trust functions ({FUNCTION_SERVICE})."
            )

    async def get(self, principal: Principal, agency_id: str) -> Agency:
        """Return an agency.

        Raises:
            ModelError: FSS.0404.
        """
        return await self._store.read(lambda tx: _require(tx, principal, agency_id))

    async def update(self, principal: Principal, agency_id: str, change: AgencyChange) -> Agency:
        """Change an agency. A new duration counts from its creation.

        Raises:
            ModelError: FSS.0404, FSS.0400.
        """

        def update(tx: Tx) -> Agency:
            agency = self._changed_agency(_require(tx, principal, agency_id), change)
            tx.iam.update(agency)
            return agency

        return await self._write(update, "")

    async def delete(self, principal: Principal, agency_id: str) -> None:
        """Delete an agency: the keys that were given out in its name are worth nothing any more.

        Raises:
            ModelError: FSS.0404.
        """

        def delete(tx: Tx) -> None:
            tx.iam.delete(Agency, _require(tx, principal, agency_id).agency_id)

        await self._write(delete, "")

    def key_of_caller(self, principal: Principal, *, duration: int, policy: Mapping[str, Any] | None) -> TemporaryKey:
        """Return a temporary key of the caller.

        Args:
            principal: the caller.
            duration: seconds, from a quarter of an hour to a day.
            policy: the document of a policy that must allow as well; None for none.

        Raises:
            ModelError: FSS.0400, FSS.0403 if the caller itself acts with temporary credentials.
        """
        if principal.is_temporary:
            raise ModelError("FSS.0403", "Temporary credentials cannot be renewed with themselves.")
        claims = self._claims(principal, duration, policy)
        return self._temporary.issue(replace(claims, user_id=principal.user.user_id))

    async def assumed(
        self, principal: Principal, agency_name: str, *, duration: int, policy: Mapping[str, Any] | None
    ) -> Claims:
        """Return what somebody may have made into a key or token who acts as an agency that trusts the own domain.

        Whether the caller may do so at all is for the caller of this to check.

        Raises:
            ModelError: FSS.0400, FSS.0403 if there is no such agency or it does not trust this domain.
        """
        domain = principal.project.domain_name
        found = await self.list(principal, name=agency_name)
        agency = next((one for one in found if is_valid(one, now=self._clock.now())), None)
        if agency is None or agency.trust_domain_name != domain or principal.is_temporary:
            raise ModelError(
                "FSS.0403", f"There is no agency '{agency_name[:64]}' that lets users of '{domain}' act for it."
            )
        return replace(self._claims(principal, duration, policy), agency=agency.name, trusted=domain)

    def key(self, claims: Claims) -> TemporaryKey:
        """Return a temporary key for what `assumed` gave."""
        return self._temporary.issue(claims)

    def token(self, claims: Claims) -> str:
        """Return a token for what `assumed` gave."""
        return self._temporary.issue_token(claims)

    def _claims(self, principal: Principal, duration: int, policy: Mapping[str, Any] | None) -> Claims:
        if not MIN_DURATION_S <= duration <= MAX_DURATION_S:
            raise ModelError(
                "FSS.0400", f"duration_seconds {duration} is out of range: {MIN_DURATION_S} to {MAX_DURATION_S}."
            )
        if policy is not None:
            policies.parse("session policy", dict(policy))
        now = self._clock.now()
        return Claims(project_id=principal.project.project_id, policy=policy, issued_at=now, expires_at=now + duration)

    def _changed_agency(self, agency: Agency, change: AgencyChange) -> Agency:
        check_description(change.description or "")
        trusted = change.trust_domain_name
        if trusted is not None and not 1 <= len(trusted) <= 64:  # noqa: PLR2004 - the length of names in the cloud
            raise ModelError("FSS.0400", "trust_domain_name must have 1 to 64 characters.")
        duration = agency.duration if change.duration is None else change.duration
        lasts_s = duration_s(duration)
        return replace(
            agency,
            trust_domain_name=agency.trust_domain_name if trusted is None else trusted,
            description=agency.description if change.description is None else change.description,
            duration=duration,
            expires_at=None if lasts_s is None else agency.created_at + lasts_s,
        )

    async def _write(self, work: Callable[[Tx], T], name: str) -> T:
        try:
            done = await self._store.write(work)
        except Duplicate as error:
            raise ModelError("FSS.0409", f"The agency '{name}' exists already.") from error
        self._changed()
        return done


def _require(tx: Tx, principal: Principal, agency_id: str) -> Agency:
    agency = tx.iam.get(Agency, agency_id)
    if agency is None or agency.domain_id != principal.user.domain_id:
        raise ModelError("FSS.0404", f"The agency '{agency_id[:64]}' does not exist.")
    return agency
