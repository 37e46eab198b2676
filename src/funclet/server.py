"""The composition root: builds every part, starts them in order, stops them in the opposite one.

`Server.run` is the life of the process. With several data-plane processes it is process 0;
`data_process` has the life of the others, out of the same parts.
"""

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from funclet.api.access import Gate
from funclet.api.app import Api
from funclet.api.operations import OPERATIONS
from funclet.api.probes import Probes
from funclet.asyncq.queue import AsyncQueue
from funclet.base.clock import SystemClock
from funclet.base.tasks import StopSignal, TaskOwner
from funclet.blobs import BlobError, Blobs
from funclet.catalog import Catalog
from funclet.changes import Changes
from funclet.cluster import codec
from funclet.cluster.codec import Hint, Submitted
from funclet.cluster.frames import Kind
from funclet.cluster.hub import Answer
from funclet.cluster.logs import GatheredLogs
from funclet.cluster.mesh import Mesh
from funclet.cluster.metrics import GatheredMetrics
from funclet.code_sweep import CodeSweep, folders_in_use
from funclet.config import Settings
from funclet.dataplane.code import CodeCache
from funclet.dataplane.launch import forkable_of
from funclet.front.listener import Handler
from funclet.front.listeners import Listeners
from funclet.gateway import RouteSource
from funclet.host import raise_descriptor_limit, settle_interpreter
from funclet.keyring.shared import SharedKeys
from funclet.metrics import Metrics, Standing
from funclet.model.errors import ModelError
from funclet.model.inventory import Inventory
from funclet.model.urn import Urn
from funclet.outside.objects import trim_streams
from funclet.people import Keys, People, authenticator_of, key_source
from funclet.runtimes.registry import Registry
from funclet.sandbox.checked import CheckedDriver
from funclet.sandbox.isolated import IsolatedDriver
from funclet.sandbox.process import ProcessDriver
from funclet.sandbox.protocol import SandboxDriver
from funclet.sandbox.sandboxd.hostcheck import check_isolation
from funclet.sandbox.sandboxd.settings import Forkable, SandboxdSettings
from funclet.services.audit import AuditService
from funclet.services.identity import Credentials, bootstrap_identity
from funclet.services.key_secrets import seal_plain_secrets
from funclet.store.folder import DataFolderLock
from funclet.store.logs import SqliteLogStore
from funclet.store.protocol import LogStore, Store, StoreError
from funclet.store.sqlite import SqliteStore
from funclet.store.usage import UsageBook
from funclet.triggers.host import TimerHost
from funclet.triggers.prewarm import TimerPrewarm
from funclet.wiring import (
    LEAVE_S,
    HttpSide,
    Outside,
    Parts,
    QueueSide,
    build_outside,
    build_services,
    gauges_of,
    leave,
    open_dispatcher,
)

if TYPE_CHECKING:
    from funclet.dataplane.dispatcher import Dispatcher

log = logging.getLogger(__name__)

_BLOB_SWEEP_AGE_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose server this is."""

    project_id: str
    created: Credentials | None
    """What a first start has made; None if there was a project already."""


class Server:
    """One running server. `run` returns when it was told to stop and has drained."""

    def __init__(
        self,
        settings: Settings,
        listeners: Listeners,
        driver: SandboxDriver,
        registry: Registry,
        mesh: Mesh | None = None,
        inventory: Inventory | None = None,
        shared_keys: SharedKeys | None = None,
    ) -> None:
        """Prepare the server.

        Args:
            settings: of the operator.
            listeners: bound sockets, which are the server's from now on.
            driver: makes sandboxes; closed at the end.
            registry: the runtimes of this host.
            mesh: the other data-plane processes; None if this is the only one.
            inventory: what the operator has opened to functions; None for nothing.
            shared_keys: where the other processes have their keys from; None if this is the only one.
        """
        self._settings = settings
        self._listeners = listeners
        self._driver = driver
        self._registry = registry
        self._mesh = mesh
        self._inventory = inventory or Inventory()
        self._key_source = key_source(settings, shared_keys)
        self._stop = StopSignal()
        self._blobs = Blobs(settings.data_folder / "packages")
        self._code = CodeCache(self._blobs, settings.data_folder / "code")

    async def run(self, *, identify: Callable[[Identity], None], announce: Callable[[Identity], None]) -> None:
        """Start everything, serve until SIGTERM or SIGINT, drain, stop everything.

        Args:
            identify: called as soon as it is known whose server this is, before sandboxes are asked for.
            announce: called once requests are answered.

        Raises:
            StoreError, SandboxError, MeshError, OSError: the server cannot start.
        """
        raise_descriptor_limit()
        self._stop.listen()
        # What is entered first is left last: HTTP stops first, the store last.
        async with AsyncExitStack() as stack:
            identity = await self._start(stack, identify)
            settle_interpreter()
            announce(identity)
            await self._stop.asked.wait()
            log.info("stopping: running requests get %g seconds; once more to end at once", self._settings.drain_s)

    async def _start(self, stack: AsyncExitStack, identify: Callable[[Identity], None]) -> Identity:
        store = self._open_store(stack)
        keys = await asyncio.to_thread(Keys.open, self._settings, self._key_source, store.vault, SystemClock())
        identity = await self._bootstrap(store, keys)
        identify(identity)
        book = UsageBook(store, SystemClock())
        parts, dispatcher, probes = await self._open_parts(stack, store, keys, identity.project_id, book)
        outside = await self._open_outside(stack, parts)
        side = QueueSide(self._settings, parts, outside)
        queue = side.queue
        stack.push_async_callback(side.close, deadline_s=min(self._settings.async_drain_s, self._settings.drain_s))
        await side.open()

        loops = TaskOwner()
        stack.push_async_callback(loops.close)
        timers = self._start_timers(parts, queue, loops)
        loops.start(book.run(), name="usage")

        async def more_metrics() -> bytes:
            return await side.metrics_text() + timers.metrics_text()

        probes.more_metrics = more_metrics
        changes = Changes(parts, dispatcher, loops, self._mesh, region=self._settings.region)
        people = self._open_people(stack, parts, identity, changes)

        def triggers_changed() -> None:
            timers.changed()
            changes.publish(Hint())

        people.projects.on_state = (side.worker.suspend, lambda _: triggers_changed())
        services = build_services(
            self._settings,
            self._listeners,
            parts,
            queue,
            outside,
            function_changed=self._on_change_of_function(side, timers, changes, loops, parts),
            triggers_changed=triggers_changed,
            inventory=self._inventory,
            queue=side,
            people=people,
            book=book,
            processes=self._mesh.member.count if self._mesh else 1,
        )
        api = Api(
            operations=OPERATIONS,
            services=services,
            authenticator=parts.authenticator,
            probes=probes,
            gate=parts.gate,
            tracer=people.tracer,
        )
        handle: Handler = api.handle
        if self._mesh is not None:
            handle = changes.settled(api.handle)
            await self._mesh.listen(dispatcher, _answers(handle, queue, parts.logs, people.audit, book))
            await self._mesh.join()
        http = HttpSide(self._stop, self._settings, self._listeners)
        await http.open(stack, parts, queue, handle, api, outside.vault, people.audit)
        return identity

    def _on_change_of_function(
        self, side: QueueSide, timers: TimerHost, changes: Changes, loops: TaskOwner, parts: Parts
    ) -> Callable[[str, str, str], None]:
        sweep = CodeSweep(self._code, parts.store, parts.clock)
        loops.start(sweep.run(), name="unwanted code")

        def changed(project_id: str, package: str, name: str) -> None:
            """Do what follows a change of a function: timers, queue, caches of all processes, code unpacked ahead."""
            # A function or version that goes takes its triggers along.
            timers.changed()
            sweep.noticed()
            side.configs.forget(project_id, package, name)
            changes.publish(Hint(project_id=project_id, package=package, name=name))
            urn = Urn(region=self._settings.region, project_id=project_id, package=package, name=name)
            loops.start(side.worker.heed(project_id, package, name), name="requests of a changed function")
            loops.start(_unpack_ahead(parts.catalog, self._code, urn), name="unpack code")

        return changed

    def _start_timers(self, parts: Parts, queue: AsyncQueue, loops: TaskOwner) -> TimerHost:
        settings = self._settings
        prewarm = TimerPrewarm(parts.catalog, parts.invoker, region=settings.region)
        timers = TimerHost(
            parts.store,
            parts.clock,
            on_queued=queue.noticed,
            queue_time=queue.steady.now,
            default_zone=settings.timezone,
            grace_s=settings.timer_grace_s,
            event_version=settings.timer_event_version,
            announce=prewarm.announce if settings.prewarm_timers == "on" else None,
        )
        loops.start(timers.run(), name="timers")
        return timers

    def _open_people(self, stack: AsyncExitStack, parts: Parts, identity: Identity, changes: Changes) -> People:
        """Begin to keep the audit log."""
        people = People(
            self._settings,
            parts.store,
            parts.clock,
            parts.keys,
            operator_project_id=identity.project_id,
            on_change=lambda: changes.publish(Hint(is_of_identity=True)),
        )
        people.audit.open()
        stack.push_async_callback(people.audit.close)
        return people

    async def _open_outside(self, stack: AsyncExitStack, parts: Parts) -> Outside:
        """Begin to send what topics have, and to delete what has come to its end."""
        outside = build_outside(self._settings, parts.store, parts.keys.vault, parts.clock)
        stack.push_async_callback(outside.jetstream.close)
        outside.sender.open()
        stack.push_async_callback(outside.sender.close, deadline_s=min(LEAVE_S, self._settings.drain_s))
        sweeps = TaskOwner()
        stack.push_async_callback(sweeps.close)
        sweeps.start(outside.stores.run(), name="expired objects")
        sweeps.start(trim_streams(parts.store, parts.clock), name="streams")
        return outside

    def _open_store(self, stack: AsyncExitStack) -> SqliteStore:
        folder = self._settings.data_folder
        lock = DataFolderLock.take(folder)
        stack.callback(lock.release)
        for name in ("packages", "code"):
            (folder / name).mkdir(exist_ok=True)
        store = SqliteStore.open(folder / "funclet.db", is_alone=self._mesh is None, keys=self._key_source)
        stack.push_async_callback(store.close)
        return store

    async def _bootstrap(self, store: Store, keys: Keys) -> Identity:
        settings = self._settings
        await seal_plain_secrets(keys.vault, store)
        created = await bootstrap_identity(
            store,
            region=settings.region,
            project_id=settings.project_id or None,
            ak=settings.admin_ak or None,
            sk=settings.admin_sk or None,
            vault=keys.vault,
            now=SystemClock().now(),
        )
        projects = await store.read(lambda tx: tx.identities.projects())
        return Identity(project_id=projects[0].project_id, created=created)

    async def _open_parts(
        self, stack: AsyncExitStack, store: SqliteStore, keys: Keys, project_id: str, book: UsageBook
    ) -> "tuple[Parts, Dispatcher, Probes]":
        """Open what stands below the services: logs, packages, data plane."""
        clock, folder = SystemClock(), self._settings.data_folder
        # Last of all, after the last log record.
        stack.push_async_callback(book.close)
        store_of_logs = SqliteLogStore.open(folder / "logs.db", observe=book.observe)
        stack.push_async_callback(store_of_logs.close)
        logs: LogStore = store_of_logs
        await _sweep(store, self._blobs, self._code)
        mesh = self._mesh
        if mesh is not None:
            logs = GatheredLogs(logs, mesh.gather_logs)
            mesh.open()
            stack.push_async_callback(mesh.close)
            stack.push_async_callback(self._wait_alone, mesh)
        await self._driver.open()
        stack.push_async_callback(self._driver.close)
        count = mesh.member.count if mesh else 1
        metrics = Metrics()
        dispatcher = open_dispatcher(
            self._settings,
            self._driver,
            self._registry,
            self._code,
            logs.add,
            metrics=metrics,
            processes=count,
            inventory=self._inventory,
            credentials=keys.temporary.of_function,
            tell=book.add,
        )
        stack.push_async_callback(dispatcher.close)
        if mesh is not None:
            stack.push_async_callback(leave, self._stop, mesh, self._settings)
        parts = Parts(
            store=store,
            logs=logs,
            blobs=self._blobs,
            registry=self._registry,
            catalog=Catalog(store, clock),
            routes=RouteSource(store, clock),
            invoker=mesh.invoker(dispatcher) if mesh else dispatcher,
            instances=mesh.instances(dispatcher) if mesh else dispatcher,
            authenticator=authenticator_of(store, clock, keys),
            clock=clock,
            keys=keys,
            gate=Gate(clock, region=self._settings.region, store=store),
        )

        async def collect() -> Standing:
            """Return the counters and gauges of this process."""
            values = gauges_of(dispatcher, log_dropped=store_of_logs.dropped)
            return Standing(counters=metrics.snapshot(), values=values)

        return parts, dispatcher, self._make_probes(parts, collect, project_id)

    def _make_probes(self, parts: Parts, collect: Callable[[], Awaitable[Standing]], project_id: str) -> Probes:
        gathered = GatheredMetrics(self._mesh.connections if self._mesh else dict)

        async def collect_all() -> Standing:
            """Return those of all processes, added up."""
            return await gathered.add_to(await collect())

        return Probes(
            store=parts.store,
            authenticator=parts.authenticator,
            clock=parts.clock,
            collect=collect_all,
            is_stopping=self._stop.asked.is_set,
            operator_project_id=project_id,
            token=self._settings.metrics_token,
        )

    async def _wait_alone(self, mesh: Mesh) -> None:
        """Let the other processes end first: the log store must outlive their last record."""
        await self._stop.unless_hurried(mesh.wait_alone(), within_s=LEAVE_S)


def _answers(
    handle: Handler, queue: AsyncQueue, logs: LogStore, audit: AuditService, book: UsageBook
) -> dict[Kind, Answer]:
    """Return what process 0 does for the others."""

    async def request(body: bytes) -> bytes:
        """Answer a request to the API that arrived at another process."""
        return codec.encode(await handle(codec.decode_request(body)))

    async def submit(body: bytes) -> bytes:
        """Queue an asynchronous request; return its id, or the refusal."""
        try:
            request_id = await queue.submit(codec.decode_submission(body))
        except ModelError as error:
            done = Submitted(code=error.code, message=error.message, retry_after_s=error.retry_after_s)
            return codec.encode(done)
        return codec.encode(Submitted(request_id=request_id))

    async def keep_logs(body: bytes) -> bytes:
        """Store log records of another process."""
        for record in codec.decode_logs(body):
            logs.add(record)
        return b""

    async def keep_traces(body: bytes) -> bytes:
        """Note entries of the audit log of another process."""
        for trace in codec.decode_traces(body):
            audit.note(trace)
        return b""

    async def keep_usage(body: bytes) -> bytes:
        """Count invocations of another process."""
        book.add(codec.decode_samples(body))
        return b""

    return {
        Kind.REQUEST: request,
        Kind.SUBMIT: submit,
        Kind.LOGS: keep_logs,
        Kind.TRACES: keep_traces,
        Kind.USAGE: keep_usage,
    }


async def _sweep(store: Store, blobs: Blobs, code: CodeCache) -> None:
    """Remove packages and unpacked code that nothing names any more: left-overs of deleted functions and crashes."""
    await blobs.sweep(await store.read(lambda tx: tx.functions.code_digests()), _BLOB_SWEEP_AGE_S)
    await asyncio.to_thread(code.sweep, await folders_in_use(store))


async def _unpack_ahead(catalog: Catalog, code: CodeCache, urn: Urn) -> None:
    """Unpack the code of a function that was changed, so that its first request need not wait for it."""
    # A function that is gone by now needs nothing, and whoever invokes one that cannot be unpacked is told why.
    with contextlib.suppress(ModelError, StoreError, BlobError, OSError):
        version = await catalog.resolve(urn)
        if version.code.digest:
            await code.fetch(version.code)


def load_registry(settings: Settings) -> Registry:
    """Return the runtimes of this host with the operator's interpreters."""
    return Registry.load(language_folder(), operator_map=settings.runtime_map)


def language_folder() -> Path:
    """Return where the language folders are; they ship beside the package."""
    spec = importlib.util.find_spec("funclet_languages")
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    # An editable install adds a marker to the locations that is no folder.
    return next(folder for folder in folders if folder.is_dir())


def interpreter_prefixes(registry: Registry) -> Sequence[Path]:
    """Return the installations and environments of interpreters outside `/usr`, which sandboxes must be shown."""
    found = dict.fromkeys(folder for runtime in registry.all() for folder in runtime.installations())
    return tuple(folder for folder in found if folder != Path("/") and not folder.is_relative_to("/usr"))


def forkable(registry: Registry) -> Sequence[Forkable]:
    """Return the languages whose stems may be forks of one process."""
    newest = [runtime for runtime in registry.newest() if runtime.language and runtime.language.has_zygote]
    return tuple(forkable_of(runtime) for runtime in newest)


def make_driver(control: socket.socket | None) -> SandboxDriver:
    """Return the driver for the level that was chosen: with a sandboxd at `control`, isolation; without, processes."""
    return CheckedDriver(ProcessDriver() if control is None else IsolatedDriver(control))


def missing_for_isolation() -> str:
    """Return what keeps this host from isolating instances at all; empty when nothing does."""
    needed = {"native helper", "system call filter", "own /proc"}
    if os.geteuid() == 0:
        needed.add("control groups")
    checks = check_isolation(SandboxdSettings(allowed_folders=()))
    return "; ".join(
        f"{check.name}: {check.detail}"
        for check in checks
        if not check.ok and (check.name in needed or check.name.endswith("namespace"))
    )


def write_state(folder: Path, listeners: Listeners, level: str) -> None:
    """Tell other programs on this host where the server is: `server.json` in the data folder."""
    state = {"pid": os.getpid(), "api_url": listeners.api_url, "gateway_url": listeners.gateway_url, "isolation": level}
    partial = folder / "server.json.part"
    partial.write_text(json.dumps(state) + "\n", encoding="utf-8")
    partial.replace(folder / "server.json")


def remove_state(folder: Path) -> None:
    """Take back what `write_state` told; nothing happens if it is not there."""
    (folder / "server.json").unlink(missing_ok=True)
