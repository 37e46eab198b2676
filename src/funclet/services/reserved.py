"""Use cases of reserved instances: what a version or alias keeps ready. Start with `ReservedService.configure`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from funclet.base.clock import Clock
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import Alias, FunctionVersion
from funclet.model.identity import Principal
from funclet.model.reserved import (
    MAX_PER_PROJECT,
    CronPolicy,
    InstanceInfo,
    Instances,
    MetricPolicy,
    ReservedPolicy,
    check_policy,
    scheduled,
)
from funclet.model.urn import LATEST
from funclet.services.functions import OnChange, require_version
from funclet.store.protocol import Store, Tx

SHARE = 0.9
"""Of the memory; the rest is for what runs on demand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedLimits:
    """How much may be kept ready."""

    count: int = MAX_PER_PROJECT
    memory_mib: int = 1_000_000_000
    """What all instances of one process may hold; `SHARE` of it may be reserved."""
    owner_of: Callable[[str], int] = lambda _: 0
    """Which process holds the instances of a function, by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPolicy:
    """What a version or alias shall keep ready."""

    count: int
    is_idle_mode: bool = False
    crons: tuple[CronPolicy, ...] = ()
    metrics: tuple[MetricPolicy, ...] = ()


class ReservedService:
    """Policies of all functions."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        instances: Instances,
        *,
        region: str,
        limits: ReservedLimits,
        on_change: OnChange,
    ) -> None:
        self._store = store
        self._instances = instances
        self._clock = clock
        self._region = region
        self._limits = limits
        self._on_change = on_change

    async def configure(self, principal: Principal, urn: str, new: NewPolicy) -> ReservedPolicy:
        """Set what a version or alias keeps ready; with nothing at all, keep nothing any more.

        Raises:
            ModelError: FSS.0400 for what is wrong with a member; FSS.1309, FSS.1051, FSS.1052 or FSS.1053 for the
                urn; FSS.1076 if a quota or the memory does not suffice, the maximum of the function is less, or an
                alias and its version would both keep instances.
        """
        parsed = urns.parse(urn, region=self._region, project_id=principal.project.project_id)
        policy = ReservedPolicy(
            project_id=parsed.project_id,
            package=parsed.package,
            function_name=parsed.name,
            function_id="",
            qualifier=parsed.qualifier or LATEST,
            count=new.count,
            is_idle_mode=new.is_idle_mode,
            crons=new.crons,
            metrics=new.metrics,
            modified_at=self._clock.now(),
        )
        check_policy(policy)

        def work(tx: Tx) -> ReservedPolicy:
            version = require_version(tx, parsed)
            named = replace(policy, function_id=version.function_id)
            if named.is_empty:
                tx.reserved.delete(named.function_id, named.qualifier)
            else:
                tx.reserved.put(named)
                self._check_room(tx, named, version)
            return named

        stored = await self._store.write(work)
        self._on_change(stored.project_id, stored.package, stored.function_name)
        return stored

    async def instances(self, principal: Principal, urn: str) -> Sequence[InstanceInfo]:
        """Return the instances of a function that are there, oldest first.

        Those of all versions, unless the urn names a published one or an alias, which stands for its main version.

        Raises:
            ModelError: FSS.1309, FSS.1051, FSS.1052 or FSS.1053 for the urn.
        """
        parsed = urns.parse(urn, region=self._region, project_id=principal.project.project_id)
        version = await self._store.read(lambda tx: require_version(tx, parsed))
        found = await self._instances.instances(version.function_id)
        return [one for one in found if version.version in (LATEST, one.version)]

    async def end_instance(self, principal: Principal, urn: str, instance_id: str) -> None:
        """End a reserved instance, and keep one less of its version from now on.

        Where only a schedule or the load wants it, another takes its place.

        Raises:
            ModelError: FSS.1309 or FSS.1051 for the urn; FSS.0404 without such an instance.
        """
        parsed = urns.parse(urn, region=self._region, project_id=principal.project.project_id)
        function_id = (await self._latest(principal, urn)).function_id
        if not await self._instances.end_instance(function_id, instance_id):
            raise ModelError("FSS.0404", f"Function '{parsed.name}' has no reserved instance '{instance_id[:80]}' now.")

        def work(tx: Tx) -> None:
            policy = tx.reserved.get(function_id, parsed.qualifier or LATEST)
            if policy is not None and policy.count:
                fewer = replace(policy, count=policy.count - 1, modified_at=self._clock.now())
                if fewer.is_empty:
                    tx.reserved.delete(function_id, fewer.qualifier)
                else:
                    tx.reserved.put(fewer)

        await self._store.write(work)
        self._on_change(parsed.project_id, parsed.package, parsed.name)

    async def _latest(self, principal: Principal, urn: str) -> FunctionVersion:
        parsed = urns.parse(urn, region=self._region, project_id=principal.project.project_id).qualified("")
        return await self._store.read(lambda tx: require_version(tx, parsed))

    async def of_version(self, version: FunctionVersion) -> ReservedPolicy | None:
        """Return the policy of a version itself, not that of an alias; None if it has none."""
        return await self._store.read(lambda tx: tx.reserved.get(version.function_id, version.version))

    async def find(self, principal: Principal, urn: str = "") -> Sequence[ReservedPolicy]:
        """Return the policies of the project, or all of one function, whatever qualifier its urn has.

        Raises:
            ModelError: FSS.1309 or FSS.1051 for the urn.
        """
        project_id = principal.project.project_id
        if not urn:
            return await self._store.read(lambda tx: tx.reserved.of_project(project_id))
        parsed = urns.parse(urn, region=self._region, project_id=project_id).qualified("")
        return await self._store.read(lambda tx: tx.reserved.of_function(require_version(tx, parsed).function_id))

    def now(self) -> int:
        """Return the time in whole seconds since the epoch."""
        return int(self._clock.now())

    def count_now(self, policy: ReservedPolicy) -> int:
        """Return what fixed count and schedules want now; the load may want more."""
        return scheduled(policy, self._clock.now())

    def urn_of(self, policy: ReservedPolicy) -> urns.Urn:
        """Return the urn of what a policy is about."""
        return urns.Urn(
            region=self._region,
            project_id=policy.project_id,
            package=policy.package,
            name=policy.function_name,
            qualifier=policy.qualifier,
        )

    def _check_room(self, tx: Tx, policy: ReservedPolicy, version: FunctionVersion) -> None:
        _refuse_both(tx, policy)
        most = version.settings.max_instances
        if 0 <= most < policy.most:
            raise ModelError(
                "FSS.1076",
                f"Function '{version.name}' may have {most} instances together; {policy.most} cannot be reserved.",
            )
        total = sum(one.most for one in tx.reserved.of_project(policy.project_id))
        if total > self._limits.count:
            raise ModelError(
                "FSS.1076",
                f"The project would have {total} reserved instances; {self._limits.count} are allowed.",
            )
        wanted_mib = self._memory_mib(tx, self._limits.owner_of(policy.function_id))
        most_mib = int(self._limits.memory_mib * SHARE)
        if wanted_mib > most_mib:
            raise ModelError(
                "FSS.1076",
                f"All reserved instances would hold {wanted_mib} MB of memory; {most_mib} can be reserved.",
            )

    def _memory_mib(self, tx: Tx, owner: int) -> int:
        """Return what the instances would hold that one process keeps."""
        total = 0
        for policy in tx.reserved.all():
            if policy.most and self._limits.owner_of(policy.function_id) == owner:
                total += policy.most * require_version(tx, self.urn_of(policy)).settings.memory_mib
        return total


def refuse_second_policy(tx: Tx, function_id: str, alias: Alias) -> None:
    """Refuse an alias with a policy that names a version with one.

    Raises:
        ModelError: FSS.1076.
    """
    policy = tx.reserved.get(function_id, f"!{alias.name}")
    if policy is not None:
        _refuse_both(tx, policy)


def _refuse_both(tx: Tx, policy: ReservedPolicy) -> None:
    others = {one.qualifier for one in tx.reserved.of_function(policy.function_id)}
    for alias in tx.aliases.list(policy.function_id):
        versions = {alias.version, *alias.additional_weights, *alias.additional_strategy}
        is_about = policy.qualifier == f"!{alias.name}" or policy.qualifier in versions
        both = sorted(versions & others)
        if is_about and f"!{alias.name}" in others and both:
            raise ModelError(
                "FSS.1076",
                f"Alias '{alias.name}' and its version '{both[0]}' cannot both have reserved instances.",
            )
