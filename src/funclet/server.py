"""The composition root: builds every part, starts them in order, stops them in the opposite one.

`build` shows the whole wiring; `Server.run` is the life of the process.
"""

import asyncio
import contextlib
import gc
import importlib.util
import json
import logging
import os
import resource
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funclet.api.app import Api
from funclet.api.auth import Authenticator
from funclet.api.call import Services
from funclet.api.operations import OPERATIONS
from funclet.api.probes import Probes
from funclet.asyncq.queue import AsyncQueue
from funclet.asyncq.worker import Worker
from funclet.base.clock import SystemClock
from funclet.base.tasks import TaskOwner
from funclet.blobs import BlobError, Blobs
from funclet.catalog import Catalog
from funclet.config import Settings
from funclet.dataplane.code import CodeCache
from funclet.dataplane.dispatcher import Dispatcher, DispatcherOptions
from funclet.dataplane.launch import LaunchOptions, forkable_of
from funclet.front import Front, FrontLimits
from funclet.gateway import MAX_BODY_BYTES, Gateway, RouteSource
from funclet.metrics import Metrics
from funclet.model.errors import ModelError
from funclet.model.urn import Urn
from funclet.runtimes.registry import Registry
from funclet.sandbox.checked import CheckedDriver
from funclet.sandbox.isolated import IsolatedDriver
from funclet.sandbox.process import ProcessDriver
from funclet.sandbox.protocol import Network, SandboxDriver, SandboxError
from funclet.sandbox.sandboxd.hostcheck import check_isolation
from funclet.sandbox.sandboxd.settings import Forkable, SandboxdSettings
from funclet.services.code import CodeBuilder, CodeLinks
from funclet.services.fetch import CodeFetcher
from funclet.services.functions import FunctionService
from funclet.services.identity import Credentials, IdentityService, bootstrap_identity
from funclet.services.invocations import InvocationService
from funclet.services.limits import Limits
from funclet.services.observability import ObservabilityService
from funclet.services.triggers import TriggerService
from funclet.services.versions import VersionService
from funclet.store.folder import DataFolderLock
from funclet.store.logs import SqliteLogStore
from funclet.store.protocol import Store, StoreError
from funclet.store.sqlite import SqliteStore
from funclet.triggers import apig
from funclet.triggers.host import TimerHost
from funclet.triggers.timer import TimerType

log = logging.getLogger(__name__)

_BLOB_SWEEP_AGE_S = 3600
_QUEUE_DRAIN_S = 5.0
# Of all descriptors, for the connections of each port. The rest is for instances, so that clients cannot stop starts.
_GATEWAY_DESCRIPTORS, _API_DESCRIPTORS = 0.5, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The two bound sockets of a server, and their addresses as clients reach them."""

    api: socket.socket
    gateway: socket.socket
    api_url: str
    gateway_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose server this is."""

    project_id: str
    created: Credentials | None
    """What a first start has made; None if there was a project already."""


class Server:
    """One running server. `run` returns when it was told to stop and has drained."""

    def __init__(self, settings: Settings, listeners: Listeners, driver: SandboxDriver, registry: Registry) -> None:
        self._settings = settings
        self._listeners = listeners
        self._driver = driver
        self._registry = registry
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, *, identify: Callable[[Identity], None], announce: Callable[[Identity], None]) -> None:
        """Start everything, serve until SIGTERM or SIGINT, drain, stop everything.

        Args:
            identify: called as soon as it is known whose server this is, before sandboxes are asked for.
            announce: called once requests are answered.

        Raises:
            StoreError, SandboxError, OSError: the server cannot start.
        """
        _raise_descriptor_limit()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        # What is entered first is left last: HTTP stops first, the store last.
        async with AsyncExitStack() as stack:
            identity = await self._start(stack, identify)
            gc.freeze()
            # What requests make is freed by counting; a search for circles every 700 objects finds none.
            gc.set_threshold(20_000, 20, 20)
            announce(identity)
            await self._stop.wait()
            log.info("stopping: running requests get %g seconds; once more to end at once", self._settings.drain_s)

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _start(self, stack: AsyncExitStack, identify: Callable[[Identity], None]) -> Identity:
        store = self._open_store(stack)
        identity = await self._bootstrap(store)
        identify(identity)
        parts = await self._open_parts(stack, store)
        queue_deadline_s = min(_QUEUE_DRAIN_S, self._settings.drain_s)
        worker = Worker(parts.store, parts.queue, parts.catalog, parts.dispatcher, parts.clock)
        await worker.open()
        stack.push_async_callback(worker.close, deadline_s=queue_deadline_s)

        loops = TaskOwner()
        stack.push_async_callback(loops.close)
        timers = TimerHost(
            parts.store, parts.clock, wake_queue=parts.queue.arrived.set, default_zone=self._settings.timezone
        )
        loops.start(timers.run(), name="timers")
        routes = RouteSource(parts.store, parts.clock)

        def triggers_changed() -> None:
            routes.changed()
            timers.changed()

        def function_changed(project_id: str, package: str, name: str) -> None:
            parts.catalog.forget(project_id, package, name)
            # A function or version that goes takes its triggers along.
            triggers_changed()
            function = (project_id, package, name)
            loops.start(_retire_outdated(parts.dispatcher, parts.catalog, function), name="retire instances")
            urn = Urn(region=self._settings.region, project_id=project_id, package=package, name=name)
            loops.start(_unpack_ahead(parts.catalog, parts.code, urn), name="unpack code")

        services = _services(
            self._settings,
            self._listeners,
            parts,
            function_changed=function_changed,
            triggers_changed=triggers_changed,
        )
        await self._open_http(stack, parts, services, routes, identity)
        return identity

    def _open_store(self, stack: AsyncExitStack) -> SqliteStore:
        folder = self._settings.data_folder
        lock = DataFolderLock.take(folder)
        stack.callback(lock.release)
        for name in ("packages", "code"):
            (folder / name).mkdir(exist_ok=True)
        store = SqliteStore.open(folder / "funclet.db")
        stack.push_async_callback(store.close)
        return store

    async def _bootstrap(self, store: Store) -> Identity:
        settings = self._settings
        created = await bootstrap_identity(
            store,
            region=settings.region,
            project_id=settings.project_id or None,
            ak=settings.admin_ak or None,
            sk=settings.admin_sk or None,
        )
        projects = await store.read(lambda tx: tx.identities.projects())
        return Identity(project_id=projects[0].project_id, created=created)

    async def _open_parts(self, stack: AsyncExitStack, store: SqliteStore) -> "_Parts":
        """Open what stands below the services: logs, packages, data plane."""
        settings, clock, folder = self._settings, SystemClock(), self._settings.data_folder
        logs = SqliteLogStore.open(folder / "logs.db")
        stack.push_async_callback(logs.close)
        blobs = Blobs(folder / "packages")
        code = CodeCache(blobs, folder / "code")
        await _sweep(store, blobs, code)

        await self._driver.open()
        stack.push_async_callback(self._driver.close)
        options = DispatcherOptions(
            memory_mib=int(host_memory_mib() * settings.memory_fraction),
            idle_release_s=settings.idle_release_s,
            wait_s=settings.wait_s,
            launch=LaunchOptions(
                network=choose_network(settings, self._driver),
                timezone=settings.timezone,
                use_stems=settings.stems == "on",
            ),
        )
        metrics = Metrics()
        dispatcher = Dispatcher(self._driver, self._registry, code, clock, options, logs.add, metrics)
        dispatcher.open()
        stack.push_async_callback(dispatcher.close)
        return _Parts(
            store,
            logs,
            blobs,
            code,
            self._registry,
            Catalog(store, clock),
            AsyncQueue(store),
            dispatcher,
            clock,
            metrics,
        )

    async def _open_http(
        self, stack: AsyncExitStack, parts: "_Parts", services: Services, routes: RouteSource, identity: Identity
    ) -> None:
        authenticator = Authenticator(parts.store, parts.clock)
        probes = Probes(
            store=parts.store,
            authenticator=authenticator,
            clock=parts.clock,
            metrics=parts.metrics,
            values=parts.values,
            is_stopping=self._stop.is_set,
            operator_project_id=identity.project_id,
            token=self._settings.metrics_token,
        )
        api = Api(operations=OPERATIONS, services=services, authenticator=authenticator, probes=probes)
        gateway = Gateway(
            routes=routes,
            catalog=parts.catalog,
            invoker=parts.dispatcher,
            submitter=parts.queue,
            authenticator=authenticator,
            clock=parts.clock,
            gateway_url=self._listeners.gateway_url,
        )
        wanted = self._settings.max_connections
        gateway_front = Front(
            gateway.handle,
            body_limit=lambda *_: (MAX_BODY_BYTES, "APIG.0201"),
            clock=parts.clock,
            is_prompt=lambda _: True,
            limits=FrontLimits(max_connections=max_connections_of(wanted, share=_GATEWAY_DESCRIPTORS)),
        )
        api_front = Front(
            api.handle,
            body_limit=api.body_limit,
            clock=parts.clock,
            is_prompt=lambda request: request.raw_path.endswith("/invocations"),
            limits=FrontLimits(max_connections=max_connections_of(wanted, share=_API_DESCRIPTORS)),
        )
        for front, listener in ((gateway_front, self._listeners.gateway), (api_front, self._listeners.api)):
            await front.listen_on(listener)
            stack.push_async_callback(self._stop_front, front)

    async def _stop_front(self, front: Front) -> None:
        await self._unless_hurried(front.drain(deadline_s=self._settings.drain_s))
        await front.close()

    async def _unless_hurried(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for `work`, but not any longer once a second signal has come."""
        task, hurry = asyncio.ensure_future(work), asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((task, hurry), return_when=asyncio.FIRST_COMPLETED)
        for pending in (task, hurry):
            pending.cancel()
        await asyncio.gather(task, hurry, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the services are made of."""

    store: Store
    logs: SqliteLogStore
    blobs: Blobs
    code: CodeCache
    registry: Registry
    catalog: Catalog
    queue: AsyncQueue
    dispatcher: Dispatcher
    clock: SystemClock
    metrics: Metrics

    def values(self) -> Mapping[str, float | Mapping[str, float]]:
        """Return what is there now, by the names of `metrics.GAUGES`."""
        now = self.dispatcher.statistics()
        return {
            "fgs_instances": {kind: now[kind] for kind in ("idle", "busy", "starting")},
            "fgs_waiting_requests": now["waiting"],
            "fgs_memory_used_mb": now["memory_mib"],
            "fgs_log_dropped_total": self.logs.dropped,
        }


def _services(
    settings: Settings,
    listeners: Listeners,
    parts: _Parts,
    *,
    function_changed: Callable[[str, str, str], None],
    triggers_changed: Callable[[], None],
) -> Services:
    region, limits, store, clock = settings.region, Limits(), parts.store, parts.clock
    kinds = [apig.GatewayType(code, gateway_url=listeners.gateway_url) for code in apig.CODES]
    return Services(
        functions=FunctionService(
            store,
            parts.blobs,
            parts.registry,
            clock,
            CodeBuilder(CodeFetcher(settings.code_url_hosts, max_bytes=limits.fetch_bytes)),
            CodeLinks(secrets.token_bytes(32), clock),
            region=region,
            limits=limits,
            on_change=function_changed,
        ),
        versions=VersionService(store, clock, region=region, limits=limits, on_change=function_changed),
        invocations=InvocationService(
            store=store,
            catalog=parts.catalog,
            invoker=parts.dispatcher,
            submitter=parts.queue,
            clock=clock,
            region=region,
            handler_error_status=settings.handler_error_status,
        ),
        triggers=TriggerService(
            store,
            clock,
            [*kinds, TimerType(default_zone=settings.timezone)],
            region=region,
            on_change=triggers_changed,
        ),
        identity=IdentityService(store, clock, region=region),
        observability=ObservabilityService(store=store, logs=parts.logs, region=region),
    )


def _raise_descriptor_limit() -> None:
    """Each instance takes five descriptors and each connection one: take as many as the host gives."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def max_connections_of(wanted: int, *, share: float) -> int:
    """Return how many connections a port may hold: as many as wanted, but at most a share of all descriptors."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if descriptors == resource.RLIM_INFINITY else min(wanted, int(descriptors * share))


async def _sweep(store: Store, blobs: Blobs, code: CodeCache) -> None:
    """Remove packages and unpacked code that nothing names any more: left-overs of deleted functions and crashes."""
    in_use = await store.read(lambda tx: tx.functions.code_digests())
    await blobs.sweep(in_use, _BLOB_SWEEP_AGE_S)
    await asyncio.to_thread(code.sweep, in_use)


async def _unpack_ahead(catalog: Catalog, code: CodeCache, urn: Urn) -> None:
    """Unpack the code of a function that was changed, so that its first request need not wait for it."""
    # A function that is gone by now needs nothing, and whoever invokes one that cannot be unpacked is told why.
    with contextlib.suppress(ModelError, StoreError, BlobError, OSError):
        version = await catalog.resolve(urn)
        if version.code.digest:
            await code.fetch(version.code)


async def _retire_outdated(dispatcher: Dispatcher, catalog: Catalog, function: tuple[str, str, str]) -> None:
    """End the instances of one function that no request will run on any more: deleted, disabled or of older code."""
    for version in dispatcher.versions():
        if (version.project_id, version.package, version.name) != function:
            continue
        try:
            current = await catalog.resolve(version.urn)
        except ModelError:
            dispatcher.retire(version)
        else:
            if current.revision > version.revision or current.settings.max_instances == 0:
                dispatcher.retire(version)


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
    """Return the installations of interpreters outside `/usr`, which sandboxes must be shown."""
    found = [runtime.interpreter.parent.parent for runtime in registry.all() if runtime.interpreter]
    return tuple(dict.fromkeys(prefix for prefix in found if not prefix.is_relative_to("/usr")))


def forkable(registry: Registry) -> Sequence[Forkable]:
    """Return the languages whose stems may be forks of one process."""
    newest = [runtime for runtime in registry.newest() if runtime.language and runtime.language.has_zygote]
    return tuple(forkable_of(runtime) for runtime in newest)


def host_memory_mib() -> int:
    """Return the memory of this host."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)


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


def choose_network(settings: Settings, driver: SandboxDriver) -> Network:
    """Return what functions may reach. `auto` takes NAT where the host has what it needs.

    Raises:
        SandboxError: the operator asked for NAT and the host cannot do it.
    """
    if settings.network == "off" or driver.level != "full":
        return Network.OFF
    checks = {check.name: check for check in driver.check_host()}
    nat = checks["function network"]
    if not nat.ok and settings.network == "nat":
        raise SandboxError(f"Functions cannot have a network: {nat.detail}")
    return Network.NAT if nat.ok else Network.OFF


def write_state(folder: Path, listeners: Listeners, level: str) -> None:
    """Tell other programs on this host where the server is: `server.json` in the data folder."""
    state = {"pid": os.getpid(), "api_url": listeners.api_url, "gateway_url": listeners.gateway_url, "isolation": level}
    partial = folder / "server.json.part"
    partial.write_text(json.dumps(state) + "\n", encoding="utf-8")
    partial.replace(folder / "server.json")


def remove_state(folder: Path) -> None:
    """Take back what `write_state` told; nothing happens if it is not there."""
    (folder / "server.json").unlink(missing_ok=True)
