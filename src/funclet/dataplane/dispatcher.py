"""Gives each invocation to an instance. The first file of the data plane to read.

`invoke` is the whole story: refuse early, acquire an instance, run, release,
record. Everything else here keeps the pools that `acquire` needs.
"""

import asyncio
import itertools
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from funclet.base.clock import Clock
from funclet.base.deadlines import Deadlines
from funclet.base.tasks import TaskOwner
from funclet.dataplane.capacity import Capacity
from funclet.dataplane.code import CodeCache
from funclet.dataplane.endings import EndedWithAnother, NotStarted
from funclet.dataplane.eviction import keep_value
from funclet.dataplane.faults import cancelled_wait
from funclet.dataplane.foresight import Foresight, Key, key_of
from funclet.dataplane.instance import Credentials, Instance
from funclet.dataplane.launch import LaunchOptions, sandbox_spec, typical_spec
from funclet.dataplane.listing import info_of
from funclet.dataplane.pace import Pace
from funclet.dataplane.pool import Pool
from funclet.dataplane.projects import NO_LIMIT, Projects
from funclet.dataplane.refusals import Refusals
from funclet.dataplane.sampling import Sampler
from funclet.dataplane.slots import StartSlots
from funclet.dataplane.verdicts import OVERLOADED, StartFailed, not_installed, refused_gpu, with_hint
from funclet.dataplane.waiter import Given, give_up
from funclet.metrics import PLATFORM_FAILED, FunctionCounters, Metrics
from funclet.model.function import FunctionVersion
from funclet.model.invocation import (
    FunctionFailed,
    InnerCode,
    Invocation,
    Outcome,
    PlatformFailed,
    Refused,
    Report,
)
from funclet.model.reserved import InstanceInfo, Reservation
from funclet.model.usage import Sample
from funclet.runtimes.registry import Registry, RuntimeSpec
from funclet.sandbox.protocol import SandboxDriver

log = logging.getLogger(__name__)

_REAP_PERIOD_S = 1.0
_MAX_WAITING_PER_POOL = 1000
_STOP_DEADLINE_S = 10.0
_ENDED_WITH_ANOTHER = PlatformFailed(reason="The instance was ended because another request in it was cancelled.")
_STARTS_AT_ONCE = 4 * (os.cpu_count() or 1)
"""On the whole node; one function may have half as many on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherOptions:
    """What the operator decides about instances."""

    memory_mib: int
    """What all instances may hold together."""
    idle_release_s: float
    learns_idle: bool = False
    """Whether the pauses of each function say how long its last idle instance is kept, and when one is started."""
    wait_s: float
    """How long a request may wait for a busy instance at the instance maximum."""
    refuses_early: bool = True
    """Whether requests are refused at once that would wait long; else all may wait for `wait_s`."""
    project_requests: int = NO_LIMIT
    """Requests of one project that run at once."""
    project_instances: int = NO_LIMIT
    """Instances of all functions of one project."""
    launch: LaunchOptions
    credentials: Credentials = lambda _: {}
    """What functions get to sign their own requests with."""


@dataclass(slots=True)
class _Versioned:
    """The pool of one version and size, with the version it runs."""

    version: FunctionVersion
    pool: Pool
    counters: FunctionCounters


class Dispatcher:
    """Implements `model.invocation.Node` on this node."""

    def __init__(
        self,
        driver: SandboxDriver,
        registry: Registry,
        code: CodeCache,
        clock: Clock,
        options: DispatcherOptions,
        record: Callable[[Report], None],
        metrics: Metrics,
        tell: Callable[[Sequence[Sample]], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            driver: makes sandboxes; whoever opens it closes it after us.
            registry: the runtimes of this host.
            code: unpacks packages.
            clock: both clocks.
            options: of the operator.
            record: is given the report of each request.
            metrics: counts requests.
            tell: is given once a second what the statistics need beside the reports.
        """
        self._driver = driver
        self._registry = registry
        self._code = code
        self._clock = clock
        self._options = options
        self._record = record
        self._metrics = metrics
        self._tell = tell
        self._capacity = Capacity(total_mib=options.memory_mib)
        self._pools: dict[Key, _Versioned] = {}
        self._retired: list[_Versioned] = []
        self._reservations: dict[Key, Reservation] = {}
        self._sampler = Sampler()
        self._foresight = Foresight(release_s=options.idle_release_s, learns=options.learns_idle)
        self._deadlines = Deadlines()
        self._pace = Pace()
        self._refusals = Refusals()
        self._projects = Projects(
            max_running=options.project_requests,
            max_instances=options.project_instances,
            make_place=self._make_place,
        )
        self._slots = StartSlots(_STARTS_AT_ONCE)
        self._tasks = TaskOwner()
        self._numbers = itertools.count(1)
        self._reaper: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to release idle instances. The driver is open already; whoever opened it closes it after us."""
        if self._options.launch.use_stems:
            for runtime in self._registry.newest():
                self._driver.keep_stems(typical_spec(runtime, self._options.launch, self._registry.links_of(runtime)))
        self._reaper = self._tasks.start(self._reap(), name="release idle instances")

    async def close(self) -> None:
        """End all instances. Call when nothing is being invoked any more."""
        if self._reaper is not None:
            self._reaper.cancel()
        for pool in self._all_pools():
            pool.retire()
        self._tell_samples()
        await self._tasks.drain(deadline_s=_STOP_DEADLINE_S)
        await self._tasks.close()

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run one invocation. Returns an Outcome for anything the function or the load can cause."""
        settings = invocation.version.settings
        if settings.max_instances == 0:
            self._metrics.refused(invocation.version)
            return Refused(reason="Function Disabled", retry_after_s=None)
        project = self._projects.of(invocation.version.project_id)
        if project.running >= project.max_running:
            self._metrics.refused(invocation.version)
            await self._refusals.pause()
            return OVERLOADED
        project.running += 1
        began = self._clock.monotonic()
        try:
            while True:
                entry = self._entry_for(invocation)
                if entry is None:
                    return refused_gpu(invocation.version) or self._not_installed(invocation)
                pool, counters = entry.pool, entry.counters
                instance = pool.take() or await _acquire(pool, invocation)
                if not isinstance(instance, Instance):
                    return self._not_run(invocation, counters, instance)
                outcome = None
                try:
                    outcome = await instance.run(invocation, wait_ms=(self._clock.monotonic() - began) * 1000)
                except NotStarted:
                    # It ended with an earlier request: another one will do.
                    pass
                except EndedWithAnother:
                    return self._not_run(invocation, counters, _ENDED_WITH_ANOTHER)
                finally:
                    pool.release(instance, run_s=outcome.report.duration_ms / 1000 if outcome else None)
                if outcome is not None:
                    self._record(outcome.report)
                    counters.observe(outcome.report)
                    return outcome
        finally:
            project.running -= 1

    def _not_run(
        self, invocation: Invocation, counters: FunctionCounters, given: FunctionFailed | Refused | PlatformFailed
    ) -> Outcome:
        """Count a request that no instance has run, and return what its caller is told."""
        if isinstance(given, FunctionFailed):
            counters.observe_failure(given.code)
            return self._recorded_start(invocation, given)
        if isinstance(given, Refused):
            counters.throttles += 1
        else:
            counters.observe_failure(PLATFORM_FAILED)
        return given

    def prepare(self, version: FunctionVersion, *, due_in_s: float) -> None:
        """See `Prewarmer.prepare`. Invocations of timers never ask for another size than the configured one."""
        if version.settings.max_instances != 0:
            self._foresight.announce(key_of(version), version, self._clock.monotonic() + due_in_s)

    def reserve(self, wanted: Sequence[Reservation]) -> None:
        """See `Keeper.reserve`. Reserved instances have the configured size."""
        self._reservations = {key_of(one.version): one for one in wanted}
        self._keep_reserved()

    def in_flight(self, function_id: str, version: str) -> int:
        """See `Keeper.in_flight`."""
        names = (function_id, version)
        return sum(entry.pool.in_flight for key, entry in self._pools.items() if key[:2] == names)

    async def instances(self, function_id: str) -> Sequence[InstanceInfo]:
        """See `Instances.instances`."""
        found = [info_of(one) for pool in self._pools_of(function_id) for one in pool.all]
        return sorted(found, key=lambda one: one.started_at)

    async def end_instance(self, function_id: str, instance_id: str) -> bool:
        """See `Instances.end_instance`."""
        for pool in self._pools_of(function_id):
            for instance in pool.reserved_instances:
                if instance.instance_id == instance_id:
                    instance.spend()
                    # What is idle ends at once, and what is busy with its request.
                    pool.reap(math.inf)
                    return True
        return False

    async def cancel(self, function_id: str, request_id: str, *, force: bool) -> bool:
        """See `Invoker.cancel`. Looks through the instances: nothing is kept for it while requests run."""
        for entry in self._all_entries():
            if entry.version.function_id == function_id:
                for instance in entry.pool.busy:
                    if instance.holds(request_id):
                        self._tasks.start(instance.cancel(request_id, force=force), name="cancel request")
                        return True
                if give_up(entry.pool.waiters, request_id, cancelled_wait(entry.version)):
                    return True
        return False

    def versions(self) -> Sequence[FunctionVersion]:
        """Return the versions that have instances here or may get some, each as it was when it was first asked for."""
        ahead = [version for key, version in self._foresight.versions() if key not in self._pools]
        return [*(entry.version for entry in self._pools.values()), *ahead]

    def retire(self, version: FunctionVersion) -> None:
        """End the instances of a version that has changed or is gone: idle ones now, busy ones after their request."""
        self._foresight.forget(version)
        # Whoever keeps it says so anew, and of which version.
        self._reservations = {key: one for key, one in self._reservations.items() if one.version != version}
        for key, entry in list(self._pools.items()):
            if entry.version == version:
                self._retire(self._pools.pop(key))

    def statistics(self) -> dict[str, int]:
        """Return how many instances are in which state, and the memory they hold."""
        totals = {"idle": 0, "busy": 0, "starting": 0, "waiting": 0}
        for pool in self._all_pools():
            now = pool.statistics
            totals["idle"] += now.idle
            totals["busy"] += now.busy
            totals["starting"] += now.starting
            totals["waiting"] += now.waiting
        return totals | {"memory_mib": self._capacity.used_mib}

    def _recorded_start(self, invocation: Invocation, failed: FunctionFailed) -> FunctionFailed:
        """Log a start that failed under the id of the request that waited for it."""
        report = replace(failed.report, request_id=invocation.request_id, at=self._clock.now())
        self._record(report)
        return replace(failed, report=report)

    def _not_installed(self, invocation: Invocation) -> FunctionFailed:
        self._metrics.failed(invocation.version, InnerCode.INSTANCE_INIT)
        return self._recorded_start(invocation, not_installed(invocation.version))

    def _entry_for(self, invocation: Invocation) -> _Versioned | None:
        """Return the pool of this version and size; a newer revision retires the pool of the older one.

        None if nothing on this host runs it.
        """
        version = invocation.version
        memory_mib = invocation.memory_mib or version.settings.memory_mib
        key = (version.function_id, version.version, memory_mib)
        current = self._pools.get(key)
        if current is None or current.version.revision < version.revision:
            runtime = self._registry.require(version.settings.runtime)
            if not runtime.is_runnable:
                return None
            if current is not None:
                self._retire(current)
            pool = self._new_pool(version, runtime, memory_mib)
            current = _Versioned(version, pool, self._metrics.hold(version))
            self._pools[key] = current
        current.pool.max_instances = version.settings.max_instances
        return current

    def _retire(self, entry: _Versioned) -> None:
        entry.pool.retire()
        self._retired.append(entry)

    def _new_pool(self, version: FunctionVersion, runtime: RuntimeSpec, memory_mib: int) -> Pool:
        def siblings() -> list[Pool]:
            wanted = (version.function_id, version.version)
            return [
                entry.pool
                for (*names, size), entry in self._pools.items()
                if tuple(names) == wanted and size != memory_mib
            ]

        async def start_instance() -> tuple[Instance, FunctionFailed | None]:
            return await self._start_instance(version, runtime, memory_mib)

        return Pool(
            owner=(version.project_id, version.function_id),
            start_instance=start_instance,
            max_instances=version.settings.max_instances,
            memory_mib=memory_mib,
            wait_s=self._options.wait_s,
            refuses_early=self._options.refuses_early,
            max_waiting=_MAX_WAITING_PER_POOL,
            capacity=self._capacity,
            slots=self._slots,
            make_room=self._make_room,
            project=self._projects.of(version.project_id),
            tasks=self._tasks,
            clock=self._clock,
            deadlines=self._deadlines,
            refusals=self._refusals,
            # A fork takes one request, and must not read another one along with it.
            depth=runtime.language.depth if runtime.language and not version.settings.fresh_state else 1,
            # Only a function with dynamic memory has instances of several sizes.
            siblings=siblings if version.settings.dynamic_memory else tuple,
        )

    async def _start_instance(
        self, version: FunctionVersion, runtime: RuntimeSpec, memory_mib: int
    ) -> tuple[Instance, FunctionFailed | None]:
        assert runtime.language is not None
        code_dir, let_go = await self._code.hold(version.code)
        try:
            spec = sandbox_spec(
                version,
                runtime,
                name=f"fgs-{os.getpid()}-{next(self._numbers)}",
                memory_mib=memory_mib,
                code_dir=code_dir,
                options=self._options.launch,
                links=self._registry.links_of(runtime),
            )
        except BaseException:
            let_go()
            raise
        instance = Instance(
            version,
            language=runtime.language.name,
            memory_mib=memory_mib,
            sandbox=self._driver.create(),
            clock=self._clock,
            deadlines=self._deadlines,
            pace=self._pace,
            record=self._record,
            credentials=self._options.credentials,
        )
        instance.let_go = let_go
        try:
            failure = await instance.start(spec)
        except BaseException:
            # Nothing of a start that was broken off may stay behind; its own error is what the caller must see.
            await asyncio.shield(instance.abort())
            raise
        if failure is not None and failure.code == InnerCode.LOAD and version.code.hint:
            failure = with_hint(failure, version.code.hint)
        return instance, failure

    def _make_room(self) -> None:
        """Stop the idle instances that are worth least, whosever they are: as many as the next starts need.

        Not one for one start after the other: an end takes longer than a start.
        """
        while self._capacity.missing_mib(_STARTS_AT_ONCE):
            idle = [(key, pool) for key, pool in self._keyed_pools() if pool.oldest_idle() is not None]
            if not idle:
                return
            _, pool = min(idle, key=lambda pair: self._value(*pair))
            pool.give_up_idle()

    def _make_place(self, project_id: str) -> bool:
        """Stop the idle instance of a project that is worth least; False if it has none."""
        pools = [pair for pair in self._keyed_pools() if pair[1].owner[0] == project_id and pair[1].oldest_idle()]
        return bool(pools) and min(pools, key=lambda pair: self._value(*pair))[1].give_up_idle()

    def _value(self, key: Key, pool: Pool) -> float:
        """Return what the instance is worth that a pool would lose first."""
        instance = pool.oldest_idle()
        assert instance is not None
        now = self._clock.monotonic()
        reuse = self._foresight.reuse(key, now - instance.idle_since, now)
        return keep_value(start_s=pool.expected_start_s, reuse=reuse, memory_mib=pool.memory_mib)

    async def _reap(self) -> None:
        while True:
            await self._clock.sleep(_REAP_PERIOD_S)
            await self._release_idle()
            self._start_ahead()
            self._keep_reserved()
            self._tell_samples()
            for entry in self._all_entries():
                if entry.pool.is_empty:
                    self._metrics.let_go(entry.counters)
            self._pools = {key: entry for key, entry in self._pools.items() if not entry.pool.is_empty}
            self._retired = [entry for entry in self._retired if not entry.pool.is_empty]

    async def _release_idle(self) -> None:
        """Release what nobody is expected to need, spread over time: many ends at once would hold up requests."""
        foresight, entries = self._foresight, list(self._pools.items())
        for key, entry in entries:
            now, pool = self._clock.monotonic(), entry.pool
            if (used_at := pool.used_at(now)) is not None:
                foresight.saw(key, entry.version, used_at=used_at, start_s=pool.expected_start_s)
            if pool.reap(foresight.release_s(key), keeps_one=foresight.keeps(key, now)):
                await self._clock.sleep(_REAP_PERIOD_S / len(entries))
        for entry in self._retired:
            entry.pool.reap(0.0)

    def _start_ahead(self) -> None:
        """Start what somebody is expected to need."""
        for (*_, memory_mib), version in self._foresight.take_wanted(self._clock.monotonic()):
            found = self._entry_for(Invocation(request_id="", version=version, payload=b"", memory_mib=memory_mib))
            if found is not None:
                found.pool.start_ahead()

    def _keep_reserved(self) -> None:
        for one in self._reservations.values():
            found = self._entry_for(Invocation(request_id="", version=one.version, payload=b""))
            if found is not None:
                found.pool.keep_reserved(one.count, is_idle_mode=one.is_idle_mode)
        for key, entry in self._pools.items():
            if key not in self._reservations and entry.pool.reserved:
                entry.pool.keep_reserved(0)

    def _tell_samples(self) -> None:
        samples = self._sampler.take(
            [(entry.version, entry.pool) for entry in self._all_entries()],
            self._metrics.snapshot(),
            now=self._clock.now(),
            monotonic=self._clock.monotonic(),
        )
        if samples:
            self._tell(samples)

    def _keyed_pools(self) -> list[tuple[Key, Pool]]:
        retired = [((one.version.function_id, "", 0), one.pool) for one in self._retired]
        return [*((key, entry.pool) for key, entry in self._pools.items()), *retired]

    def _pools_of(self, function_id: str) -> list[Pool]:
        return [entry.pool for entry in self._all_entries() if entry.version.function_id == function_id]

    def _all_entries(self) -> list[_Versioned]:
        return [*self._pools.values(), *self._retired]

    def _all_pools(self) -> list[Pool]:
        return [entry.pool for entry in self._all_entries()]


async def _acquire(pool: Pool, invocation: Invocation) -> Given | PlatformFailed:
    try:
        return await pool.acquire(invocation.request_id)
    except StartFailed as failure:
        log.exception("an instance could not be started: urn=%s", invocation.version.urn)
        return PlatformFailed(reason=f"The function could not be started: {failure}")
