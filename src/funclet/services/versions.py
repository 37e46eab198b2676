"""Use cases of published versions and of aliases. Start with `VersionService.publish`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from funclet.base.clock import Clock
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import (
    MAX_DESCRIPTION_LENGTH,
    Alias,
    FunctionVersion,
    check_alias,
    check_alias_name,
    check_version_name,
)
from funclet.model.identity import Principal
from funclet.model.urn import LATEST, Urn
from funclet.services.functions import OnChange, check_code_quota, require_version, without_pin
from funclet.services.limits import Limits
from funclet.services.reserved import refuse_second_policy
from funclet.store.protocol import Store, Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A version to be published from `latest`."""

    version: str = ""
    """Empty: a name is made from the time."""
    description: str = ""
    digest: str = ""
    """Digest that the code must have; empty: whatever it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasChange:
    """What an alias shall be. Weights and strategy replace the old ones, also when they are empty."""

    version: str
    description: str | None = None
    """None: it stays."""
    additional_weights: Mapping[str, int] = field(default_factory=dict)
    additional_strategy: Mapping[str, Any] = field(default_factory=dict)


class VersionService:
    """Versions and aliases of all functions."""

    def __init__(self, store: Store, clock: Clock, *, region: str, limits: Limits, on_change: OnChange) -> None:
        self._store = store
        self._clock = clock
        self._region = region
        self._limits = limits
        self._on_change = on_change

    async def publish(self, principal: Principal, urn: str, wanted: Publication) -> FunctionVersion:
        """Freeze the present `latest` under a name. Triggers are not copied.

        Raises:
            ModelError: FSS.1015 or FSS.1019 for name or description; FSS.1051 without the function; FSS.1062 if the
                name is taken; FSS.1016 if the digest differs or nothing has changed since the last publication;
                FSS.0403 or FSS.1042 if a quota is used up.
        """
        if wanted.version:
            check_version_name(wanted.version)
        if len(wanted.description) > MAX_DESCRIPTION_LENGTH:
            raise ModelError("FSS.1019", f"description is longer than {MAX_DESCRIPTION_LENGTH} characters.")
        return await self._change(principal, urn, lambda tx, function: self._publish(tx, function, wanted))

    async def find(self, principal: Principal, urn: str) -> Sequence[FunctionVersion]:
        """Return all versions of a function, `latest` first, then the newest first.

        Raises:
            ModelError: FSS.1051 without the function.
        """
        parsed = self._parse(principal, urn)
        return await self._store.read(lambda tx: tx.functions.versions(require_version(tx, parsed).function_id))

    async def create_alias(self, principal: Principal, urn: str, name: str, wanted: AliasChange) -> Alias:
        """Create an alias.

        Raises:
            ModelError: FSS.1014, FSS.1019, FSS.1091 to FSS.1093 for what is wrong with it; FSS.1051 or FSS.1052 for
                what does not exist; FSS.1063 name taken, FSS.1066 version named already, FSS.1043 too many.
        """

        def work(tx: Tx, function: FunctionVersion) -> Alias:
            _check_versions(tx, function, alias)
            present = tx.aliases.list(function.function_id)
            if any(other.name == name for other in present):
                raise ModelError("FSS.1063", f"Alias '{name}' of function '{function.name}' exists already.")
            _refuse_second_name(alias, present)
            if len(present) >= self._limits.aliases:
                raise ModelError("FSS.1043", f"Function '{function.name}' has {len(present)} aliases; no more allowed.")
            tx.aliases.put(function.function_id, alias)
            return alias

        alias = self._alias(name, wanted, description=wanted.description or "")
        check_alias(alias)
        return await self._change(principal, urn, work)

    async def update_alias(self, principal: Principal, urn: str, name: str, wanted: AliasChange) -> Alias:
        """Change an alias; requests that come after this are routed by it.

        Raises:
            ModelError: as `create_alias`; FSS.1053 if there is none of this name; FSS.1076 if both the alias and
                the version would have reserved instances.
        """

        def work(tx: Tx, function: FunctionVersion) -> Alias:
            old = _require_alias(tx, function, name)
            alias = self._alias(
                name, wanted, description=old.description if wanted.description is None else wanted.description
            )
            _check_versions(tx, function, alias)
            _refuse_second_name(alias, tx.aliases.list(function.function_id))
            tx.aliases.put(function.function_id, alias)
            refuse_second_policy(tx, function.function_id, alias)
            return alias

        check_alias(self._alias(name, wanted, description=wanted.description or ""))
        return await self._change(principal, urn, work)

    async def get_alias(self, principal: Principal, urn: str, name: str) -> Alias:
        """Return an alias.

        Raises:
            ModelError: FSS.1014, FSS.1051 or FSS.1053.
        """
        check_alias_name(name)
        parsed = self._parse(principal, urn)
        return await self._store.read(lambda tx: _require_alias(tx, require_version(tx, parsed), name))

    async def find_aliases(self, principal: Principal, urn: str) -> Sequence[Alias]:
        """Return all aliases of a function by name.

        Raises:
            ModelError: FSS.1051 without the function.
        """
        parsed = self._parse(principal, urn)
        return await self._store.read(lambda tx: tx.aliases.list(require_version(tx, parsed).function_id))

    async def delete_alias(self, principal: Principal, urn: str, name: str) -> None:
        """Delete an alias.

        Raises:
            ModelError: FSS.1014, FSS.1051, FSS.1053; FSS.1154 if it has triggers.
        """

        def work(tx: Tx, function: FunctionVersion) -> None:
            alias = _require_alias(tx, function, name)
            urn_of_alias = str(function.urn.qualified(f"!{alias.name}"))
            if any(trigger.function_urn == urn_of_alias for trigger in tx.triggers.of_function(function.function_id)):
                raise ModelError("FSS.1154", f"Alias '{name}' has triggers; delete them first.")
            tx.aliases.delete(function.function_id, name)

        check_alias_name(name)
        await self._change(principal, urn, work)

    def urn_of(self, principal: Principal, urn: str) -> Urn:
        """Return the urn of a function without qualifier.

        Raises:
            ModelError: FSS.1309 or FSS.0403.
        """
        return self._parse(principal, urn)

    def _parse(self, principal: Principal, urn: str) -> Urn:
        """Return the urn of the function: versions and aliases belong to it, whatever version the client names."""
        return urns.parse(urn, region=self._region, project_id=principal.project.project_id).qualified("")

    async def _change(self, principal: Principal, urn: str, work: Callable[[Tx, FunctionVersion], T]) -> T:
        parsed = self._parse(principal, urn)
        result = await self._store.write(lambda tx: work(tx, require_version(tx, parsed)))
        self._on_change(parsed.project_id, parsed.package, parsed.name)
        return result

    def _alias(self, name: str, wanted: AliasChange, *, description: str) -> Alias:
        return Alias(
            name=name,
            version=wanted.version,
            description=description,
            additional_weights=wanted.additional_weights,
            additional_strategy=wanted.additional_strategy,
            modified_at=self._clock.now(),
        )

    def _publish(self, tx: Tx, latest: FunctionVersion, wanted: Publication) -> FunctionVersion:
        present = tx.functions.versions(latest.function_id)
        taken = {version.version for version in present}
        if wanted.digest and wanted.digest != latest.code.digest:
            raise ModelError("FSS.1016", "digest is not the one of the present code; read it again before publishing.")
        if wanted.version in taken:
            raise ModelError("FSS.1062", f"Version '{wanted.version}' of function '{latest.name}' exists already.")
        settings = without_pin(latest.settings)
        last = next((version for version in present if not version.is_latest), None)
        if last is not None and last.code.tree == latest.code.tree and last.settings == settings:
            raise ModelError("FSS.1016", f"Nothing has changed since version '{last.version}' was published.")
        if len(present) >= self._limits.versions:
            raise ModelError(
                "FSS.0403",
                f"Function '{latest.name}' has {len(present)} versions, 'latest' included; delete one first.",
            )
        version = replace(
            latest,
            version=wanted.version or _unused_name(self._clock.now(), taken),
            version_description=wanted.description,
            settings=settings,
            modified_at=self._clock.now(),
        )
        tx.functions.add_version(version)
        check_code_quota(tx, version.project_id, self._limits)
        return version


def _unused_name(at: float, taken: set[str]) -> str:
    """Return `vYYYYMMDD-HHMMSS` for a time in seconds since the epoch, or for the next second that is free."""
    while (name := datetime.fromtimestamp(at, UTC).strftime("v%Y%m%d-%H%M%S")) in taken:
        at += 1
    return name


def _require_alias(tx: Tx, function: FunctionVersion, name: str) -> Alias:
    alias = tx.aliases.get(function.function_id, name)
    if alias is None:
        raise ModelError("FSS.1053", f"Alias '{name}' of function '{function.name}' does not exist.")
    return alias


def _check_versions(tx: Tx, function: FunctionVersion, alias: Alias) -> None:
    def exists(version: str) -> bool:
        urn = function.urn
        return version == LATEST or tx.functions.get(urn.project_id, urn.package, urn.name, version) is not None

    if not exists(alias.version):
        raise ModelError("FSS.1052", f"Version '{alias.version[:80]}' of function '{function.name}' does not exist.")
    for additional in {*alias.additional_weights, *alias.additional_strategy}:
        if not exists(additional):
            raise ModelError("FSS.1091", f"The additional version '{additional[:80]}' does not exist.")


def _refuse_second_name(alias: Alias, present: Sequence[Alias]) -> None:
    for other in present:
        if other.version == alias.version and other.name != alias.name:
            raise ModelError("FSS.1066", f"Alias '{other.name}' names version '{alias.version}' already.")
