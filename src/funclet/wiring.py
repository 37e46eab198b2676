"""What every process of a server is made of: parts, data plane, use cases and listeners.

`server` puts them together for process 0, `data_process` for the others.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from funclet.api.access import Gate
from funclet.api.app import Api
from funclet.api.app_auth import AppAuthenticator
from funclet.api.auth import Authenticator
from funclet.api.call import Services
from funclet.asyncq.attempt import AttemptOptions, Attempts
from funclet.asyncq.configs import AsyncConfigSource
from funclet.asyncq.delivery import Deliverer
from funclet.asyncq.destinations import Destinations
from funclet.asyncq.dispatch import DeliveryWorker
from funclet.asyncq.queue import AsyncQueue, QueueLimits
from funclet.asyncq.to_bucket import BucketDeliverer
from funclet.asyncq.to_function import FunctionDeliverer
from funclet.asyncq.to_stream import StreamDeliverer
from funclet.asyncq.to_topic import TopicDeliverer
from funclet.asyncq.worker import Worker
from funclet.base.clock import SystemClock
from funclet.base.tasks import StopSignal
from funclet.blobs import Blobs
from funclet.catalog import Catalog
from funclet.cluster.mesh import Mesh
from funclet.cluster.ownership import owner_of
from funclet.config import Settings
from funclet.dataplane.code import CodeCache
from funclet.dataplane.dispatcher import Dispatcher, DispatcherOptions
from funclet.dataplane.instance import Credentials
from funclet.dataplane.launch import LaunchOptions
from funclet.dataplane.projects import share_of
from funclet.front import Front, FrontLimits
from funclet.front.listener import Handler
from funclet.front.listeners import Listeners
from funclet.gateway import MAX_BODY_BYTES, Gateway, RouteSource
from funclet.host import host_memory_mib, max_connections_of
from funclet.metrics import Metrics, Values
from funclet.model.audit import Journal
from funclet.model.inventory import Inventory
from funclet.model.invocation import Node, Report, Submitter
from funclet.model.reserved import Instances
from funclet.model.usage import Sample
from funclet.outside.guard import Guard, parse_networks
from funclet.outside.jetstream import JetStream
from funclet.outside.links import Links
from funclet.outside.objects import ObjectStores
from funclet.outside.outgoing import Outgoing
from funclet.outside.packages import StoredPackages
from funclet.outside.topics import TopicSender
from funclet.people import Keys, People
from funclet.runtimes.registry import Registry
from funclet.sandbox.protocol import Network, SandboxDriver, SandboxError
from funclet.services.applications import Makers
from funclet.services.asynchronous import AsyncService
from funclet.services.code import CodeBuilder, CodeLinks
from funclet.services.connections import ConnectionService
from funclet.services.dependencies import DependencyService
from funclet.services.fetch import CodeFetcher
from funclet.services.functions import FunctionService
from funclet.services.gateway_access import GatewayAccessService
from funclet.services.identity import IdentityService
from funclet.services.invocations import InvocationService
from funclet.services.limits import Limits
from funclet.services.observability import ObservabilityService
from funclet.services.reserved import ReservedLimits, ReservedService
from funclet.services.resources import Resources
from funclet.services.statistics import StatisticsService
from funclet.services.streams import StreamService
from funclet.services.surroundings_rights import SurroundingsRights
from funclet.services.topics import TopicService
from funclet.services.trigger_secrets import TriggerSecrets
from funclet.services.triggers import TriggerService
from funclet.services.versions import VersionService
from funclet.store.protocol import LogStore, Store
from funclet.store.usage import UsageBook
from funclet.triggers.catalogue import all_types
from funclet.triggers.http_authorizer import Authorizers
from funclet.vault import Vault

LEAVE_S = 5.0
"""How much longer than its own requests a process waits for those of the others at shutdown."""
# Of all descriptors, for the connections of each port. The rest is for instances, so that clients cannot stop starts.
_GATEWAY_DESCRIPTORS, _API_DESCRIPTORS = 0.5, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the services and listeners of a process are made of."""

    store: Store
    logs: LogStore
    blobs: Blobs
    registry: Registry
    catalog: Catalog
    routes: RouteSource
    invoker: Node
    instances: Instances
    authenticator: Authenticator
    clock: SystemClock
    keys: Keys
    gate: Gate


def open_dispatcher(
    settings: Settings,
    driver: SandboxDriver,
    registry: Registry,
    code: CodeCache,
    record: Callable[[Report], None],
    *,
    metrics: Metrics,
    processes: int,
    inventory: Inventory,
    credentials: Credentials,
    tell: Callable[[Sequence[Sample]], None],
) -> Dispatcher:
    """Open the data plane of a process over an open driver; the caller closes it before the driver.

    Several processes share the host's memory and the limits of a project equally.

    Raises:
        SandboxError: functions cannot have the network that the operator asked for.
    """
    options = DispatcherOptions(
        memory_mib=instance_memory_mib(settings) // processes,
        idle_release_s=settings.idle_release_s,
        learns_idle=settings.idle_release == "learned",
        wait_s=settings.wait_s,
        # Whoever says how long requests may wait wants them to.
        refuses_early=settings.admission_wait_ms < 0,
        project_requests=share_of(settings.most_project_requests, processes),
        project_instances=share_of(settings.project_instances, processes),
        launch=LaunchOptions(
            network=choose_network(settings, driver),
            timezone=settings.timezone,
            use_stems=settings.stems == "on",
            inventory=inventory,
        ),
        credentials=credentials,
    )
    dispatcher = Dispatcher(driver, registry, code, SystemClock(), options, record, metrics, tell)
    dispatcher.open()
    return dispatcher


def gauges_of(dispatcher: Dispatcher, *, log_dropped: int) -> Values:
    """Return what there is now in this process, by the names of `metrics.GAUGES`."""
    now = dispatcher.statistics()
    return {
        "fgs_instances": {kind: now[kind] for kind in ("idle", "busy", "starting")},
        "fgs_waiting_requests": now["waiting"],
        "fgs_memory_used_mb": now["memory_mib"],
        "fgs_log_dropped_total": log_dropped,
    }


async def leave(stop: StopSignal, mesh: Mesh, settings: Settings) -> None:
    """Serve the other processes until they have finished their requests."""
    await stop.unless_hurried(mesh.leave(), within_s=settings.drain_s + LEAVE_S)


class HttpSide:
    """The listeners of a process: those of the API and those of the gateway."""

    def __init__(self, stop: StopSignal, settings: Settings, listeners: Listeners) -> None:
        self._stop = stop
        self._drain_s = settings.drain_s
        self._connections = settings.max_connections
        self._listeners = listeners

    async def open(
        self,
        stack: AsyncExitStack,
        parts: Parts,
        submitter: Submitter,
        handle: Handler,
        api: Api,
        vault: Vault,
        journal: Journal,
    ) -> None:
        """Begin to answer, requests of the API by `handle`; `stack` ends it in an orderly way."""
        gateway = Gateway(
            routes=parts.routes,
            catalog=parts.catalog,
            invoker=parts.invoker,
            submitter=submitter,
            authenticator=parts.authenticator,
            apps=AppAuthenticator(parts.store, parts.clock, vault),
            authorizers=Authorizers(parts.catalog, parts.invoker, parts.clock),
            clock=parts.clock,
            gateway_url=self._listeners.gateway_url,
            may_invoke=parts.gate.may_invoke,
            journal=journal,
        )
        gateway_front = Front(
            gateway.handle,
            body_limit=lambda *_: (MAX_BODY_BYTES, "APIG.0201"),
            clock=parts.clock,
            is_prompt=lambda _: True,
            limits=FrontLimits(max_connections=max_connections_of(self._connections, share=_GATEWAY_DESCRIPTORS)),
        )
        api_front = Front(
            handle,
            body_limit=api.body_limit,
            clock=parts.clock,
            is_prompt=lambda request: request.raw_path.endswith(("/invocations", "/invocations-async")),
            limits=FrontLimits(max_connections=max_connections_of(self._connections, share=_API_DESCRIPTORS)),
        )
        for front, listeners in ((gateway_front, self._listeners.gateway), (api_front, self._listeners.api)):
            await front.listen_on(*listeners)
            stack.push_async_callback(self._stop_front, front)

    async def _stop_front(self, front: Front) -> None:
        await self._stop.unless_hurried(front.drain(deadline_s=self._drain_s))
        await front.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What reaches systems outside, and what stands in for them."""

    vault: Vault
    guard: Guard
    links: Links
    stores: ObjectStores
    sender: TopicSender
    jetstream: JetStream

    def deliverer(self, parts: Parts, submitter: Submitter) -> Deliverer:
        """Return the deliverer of all kinds of destinations."""
        store, clock = parts.store, parts.clock
        return Destinations(
            {
                "OBS": BucketDeliverer(self.stores),
                "SMN": TopicDeliverer(store, clock, published=self.sender.published),
                "DIS": StreamDeliverer(store, self.links, self.jetstream, clock),
                "FunctionGraph": FunctionDeliverer(submitter, parts.catalog, clock),
            }
        )

    def topics(self, parts: Parts, *, region: str, api_url: str) -> TopicService:
        """Return the use cases of topics."""
        return TopicService(
            parts.store,
            self.vault,
            self.guard,
            parts.clock,
            region=region,
            api_url=api_url,
            wake=self.sender.arrived.set,
            published=self.sender.published,
        )

    def connections(self, parts: Parts) -> ConnectionService:
        """Return the use cases of connections."""
        return ConnectionService(
            parts.store,
            parts.clock,
            vault=self.vault,
            guard=self.guard,
            links=self.links,
            stores=self.stores,
            jetstream=self.jetstream,
        )


def build_outside(settings: Settings, store: Store, vault: Vault, clock: SystemClock) -> Outside:
    """Return it over an open store and the vault of its secrets; nothing runs yet."""
    folder = settings.data_folder
    guard = Guard(parse_networks(settings.target_networks), setting="target_networks")
    outgoing = Outgoing(guard)
    links = Links(store, vault)
    return Outside(
        vault=vault,
        guard=guard,
        links=links,
        stores=ObjectStores(store, links, outgoing, clock, folder / "objects"),
        sender=TopicSender(store, vault, outgoing, clock),
        jetstream=JetStream(guard),
    )


def build_services(
    settings: Settings,
    listeners: Listeners,
    parts: Parts,
    submitter: Submitter,
    outside: Outside,
    *,
    function_changed: Callable[[str, str, str], None],
    triggers_changed: Callable[[], None],
    inventory: Inventory,
    queue: "QueueSide | None" = None,
    people: People | None = None,
    book: UsageBook | None = None,
    processes: int = 1,
) -> Services:
    """Return all use cases of the API over the parts of a process."""
    region, store, clock = settings.region, parts.store, parts.clock
    limits = Limits(instances=settings.project_instances or -1)
    kinds = all_types(default_zone=settings.timezone, gateway_url=listeners.gateway_url)
    sealed = TriggerSecrets(outside.vault, echoes=settings.echo_secrets == "on")
    packages = StoredPackages(store, outside.links, outside.stores)
    fetcher = CodeFetcher(settings.code_url_hosts, max_bytes=limits.fetch_bytes, store=packages)
    makers = Makers(
        functions=_functions(parts, fetcher, inventory, settings, limits, function_changed),
        dependencies=DependencyService(store, parts.blobs, parts.registry, clock, fetcher, limits, function_changed),
        triggers=TriggerService(store, clock, kinds, sealed, region=region, on_change=triggers_changed),
        check_destination=outside.deliverer(parts, submitter).check,
    )
    return Services(
        functions=makers.functions,
        versions=VersionService(store, clock, region=region, limits=limits, on_change=function_changed),
        invocations=_invocations(settings, parts, submitter, queue),
        triggers=makers.triggers,
        identity=people.identity if people else IdentityService(store, clock, region=region),
        observability=ObservabilityService(
            store=store, logs=parts.logs, region=region, limits=limits, idle_release_s=settings.idle_release_s
        ),
        topics=outside.topics(parts, region=region, api_url=listeners.api_url),
        streams=StreamService(store, clock),
        connections=outside.connections(parts),
        gateway=GatewayAccessService(store, clock, outside.vault, region=region, on_change=triggers_changed),
        dependencies=makers.dependencies,
        packages=fetcher,
        iam=people.iam if people else None,
        policies=people.policies if people else None,
        agencies=people.agencies if people else None,
        projects=people.projects if people else None,
        federation=people.federation if people else None,
        audit=people.audit if people else None,
        reserved=_reserved(settings, parts, processes, function_changed) if queue else None,
        statistics=StatisticsService(store, parts.logs, book, clock, region=region) if book else None,
        asynchronous=queue.service(settings, parts) if queue else None,
        resources=Resources.build(
            store, clock, outside.vault, makers, region=region, api_url=listeners.api_url, inventory=inventory
        ),
    )


def _functions(
    parts: Parts,
    fetcher: CodeFetcher,
    inventory: Inventory,
    settings: Settings,
    limits: Limits,
    on_change: Callable[[str, str, str], None],
) -> FunctionService:
    return FunctionService(
        parts.store,
        parts.blobs,
        parts.registry,
        parts.clock,
        CodeBuilder(fetcher),
        CodeLinks(secrets.token_bytes(32), parts.clock),
        region=settings.region,
        limits=limits,
        on_change=on_change,
        inventory=inventory,
        keeps_logs=settings.function_logs == "on",
        rights=SurroundingsRights(parts.clock) if settings.agencies == "existing" else None,
    )


def _invocations(
    settings: Settings, parts: Parts, submitter: Submitter, queue: "QueueSide | None"
) -> InvocationService:
    return InvocationService(
        store=parts.store,
        catalog=parts.catalog,
        invoker=parts.invoker,
        submitter=submitter,
        clock=parts.clock,
        region=settings.region,
        handler_error_status=settings.handler_error_status,
        numeric=settings.async_numeric == "on",
        running_of=queue.worker.running_of if queue else lambda _: (),
    )


def _reserved(
    settings: Settings, parts: Parts, processes: int, on_change: Callable[[str, str, str], None]
) -> ReservedService:
    return ReservedService(
        parts.store,
        parts.clock,
        parts.instances,
        region=settings.region,
        limits=_reserved_limits(settings, processes),
        on_change=on_change,
    )


def _reserved_limits(settings: Settings, processes: int) -> ReservedLimits:
    memory_mib = instance_memory_mib(settings) // processes
    return ReservedLimits(memory_mib=memory_mib, owner_of=lambda function_id: owner_of(function_id, processes))


class QueueSide:
    """The asynchronous queue of process 0, with its worker and the deliveries."""

    def __init__(self, settings: Settings, parts: Parts, outside: Outside) -> None:
        limits = QueueLimits(
            per_function=settings.async_max_queue, project_bytes=settings.async_max_project_mb * 1024 * 1024
        )
        self.queue = AsyncQueue(parts.store, parts.clock, limits=limits)
        self.configs = AsyncConfigSource(parts.store)
        options = AttemptOptions(
            retry_base_s=settings.async_retry_base_s,
            retry_factor=settings.async_retry_factor,
            max_chain_depth=settings.async_max_chain_depth,
            keeps_all_records=settings.async_records == "all",
        )
        attempts = Attempts(
            catalog=parts.catalog,
            configs=self.configs,
            invoker=parts.invoker,
            clock=parts.clock,
            steady=self.queue.steady,
            options=options,
        )
        self.worker = Worker(parts.store, self.queue, attempts, parts.invoker, parts.clock)
        self._topic_counters = outside.sender.counters
        self.deliverer: Deliverer = outside.deliverer(parts, self.queue)
        self.deliveries = DeliveryWorker(
            parts.store, self.deliverer, parts.clock, self.queue.steady, self.queue.counters
        )
        self.queue.on_deliveries = self.deliveries.wake

    async def open(self) -> None:
        """Begin with what a former server has left."""
        await self.worker.open()
        self.deliveries.open()

    async def close(self, *, deadline_s: float) -> None:
        """Let what runs end for `deadline_s` seconds; the rest is done after the next start."""
        await self.worker.close(deadline_s=deadline_s)
        await self.deliveries.close(deadline_s=min(deadline_s, LEAVE_S))

    def service(self, settings: Settings, parts: Parts) -> AsyncService:
        """Return the use cases over this queue."""
        return AsyncService(
            store=parts.store,
            clock=parts.clock,
            region=settings.region,
            configs=self.configs,
            deliverer=self.deliverer,
            running=self.worker,
            submitter=self.queue,
            deliveries_changed=self.deliveries.wake,
            queue_time=self.queue.steady.now,
        )

    async def metrics_text(self) -> bytes:
        """Return the metrics of the queue, function by function, and of the topics."""
        return self.queue.counters.render(await self.worker.gauges()) + self._topic_counters.render()


def instance_memory_mib(settings: Settings) -> int:
    """Return what all instances of this host may hold together."""
    return int(host_memory_mib() * settings.memory_fraction)


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
