"""What one can see of a project: logs of its functions, and its quotas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import DEFAULT_MAX_INSTANCES
from funclet.model.identity import Principal
from funclet.model.invocation import Report
from funclet.services.limits import MIB, Limits
from funclet.store.protocol import LogStore, Store

DEFAULT_IDLE_RELEASE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which log records of a function are wanted. Times in seconds since the epoch."""

    since: float = 0.0
    until: float | None = None
    request_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Only records that have all of them."""
    after_id: int = 0
    """Only records with a greater id, oldest first; 0: the newest ones."""
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much of something a project may have, and has."""

    kind: str
    limit: int
    used: int
    unit: str = ""


class ObservabilityService:
    """Use cases of logs and quotas."""

    def __init__(
        self,
        *,
        store: Store,
        logs: LogStore,
        region: str,
        limits: Limits | None = None,
        idle_release_s: float = DEFAULT_IDLE_RELEASE_S,
    ) -> None:
        self._store = store
        self._logs = logs
        self._region = region
        self._limits = limits or Limits()
        self._idle_release_s = idle_release_s

    async def logs(
        self, principal: Principal, urn_text: str, wanted: LogFilter
    ) -> tuple[Sequence[tuple[int, Report]], bool]:
        """Return log records of all versions of a function with their ids, oldest first, and whether more come.

        No more come while the log of `latest` is switched off; what was kept before is there until it is too old.

        The last second may be missing: records are written in batches.

        Raises:
            ModelError: FSS.1051 if the function does not exist.
        """
        urn = urns.parse(urn_text, region=self._region, project_id=principal.project.project_id)
        latest = await self._store.read(lambda tx: tx.functions.get(urn.project_id, urn.package, urn.name, urns.LATEST))
        if latest is None:
            raise ModelError("FSS.1051", f"Function '{urn.name}' does not exist in package '{urn.package}'.")
        found = await self._logs.find(
            latest.function_id,
            since=wanted.since,
            until=wanted.until,
            request_id=wanted.request_id,
            tags=wanted.tags,
            after_id=wanted.after_id,
            limit=wanted.limit,
        )
        return found, latest.settings.keeps_log

    async def quotas(self, principal: Principal) -> Sequence[Quota]:
        """Return the quotas of the caller's project."""
        project_id = principal.project.project_id
        functions, code_bytes = await self._store.read(lambda tx: tx.functions.totals(project_id))
        policies = await self._store.read(lambda tx: tx.reserved.of_project(project_id))
        return (
            Quota(kind="fgs_func_scale_down_timeout", limit=int(self._idle_release_s), used=0),
            Quota(kind="fgs_func_occurs", limit=100, used=sum(policy.most for policy in policies)),
            Quota(kind="fgs_func_pat_idle_time", limit=100, used=0),
            Quota(kind="fgs_func_num", limit=self._limits.functions, used=functions),
            Quota(
                kind="fgs_func_code_size",
                limit=self._limits.code_bytes // MIB,
                used=-(-code_bytes // MIB),
                unit="MB",
            ),
            Quota(kind="fgs_workflow_num", limit=512, used=0),
            Quota(kind="fgs_on_demand_instance_limit", limit=DEFAULT_MAX_INSTANCES, used=0),
            Quota(kind="fgs_func_qos_limit", limit=self._limits.instances, used=0),
        )
