"""A data-plane process beside the server: it answers invocations, and owns the functions that fall to it.

It gets ready first and is then told its number, at once or when it replaces another.
It reads the database and writes nothing: every other request, submissions and log records go to process 0.
"""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from funclet.api.access import Gate
from funclet.api.app import Api
from funclet.api.errors import from_error
from funclet.api.operations import OPERATIONS
from funclet.api.traces import Tracer
from funclet.base.clock import SystemClock
from funclet.base.http import Request, Response
from funclet.base.ids import new_uuid
from funclet.base.tasks import StopSignal, TaskOwner
from funclet.blobs import Blobs
from funclet.catalog import Catalog
from funclet.changes import Changes, is_invocation
from funclet.cluster import codec
from funclet.cluster.frames import Kind
from funclet.cluster.hub import Answer
from funclet.cluster.link import Link, LinkAway
from funclet.cluster.logs import LogShipper
from funclet.cluster.member import Member, Standby
from funclet.cluster.mesh import SOCKETS, START_S, Head, Mesh, MeshError
from funclet.cluster.metrics import encode_standing
from funclet.config import Settings
from funclet.dataplane.code import CodeCache
from funclet.dataplane.dispatcher import Dispatcher
from funclet.front.listeners import Listeners
from funclet.gateway import RouteSource
from funclet.host import raise_descriptor_limit, settle_interpreter
from funclet.keyring.shared import SharedKeys
from funclet.metrics import Metrics, Standing
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.inventory import Inventory
from funclet.people import Keys, authenticator_of, key_source
from funclet.runtimes.registry import Registry
from funclet.sandbox.protocol import SandboxDriver
from funclet.store.sqlite import SqliteReader
from funclet.vault import Vault
from funclet.wiring import (
    HttpSide,
    Parts,
    build_outside,
    build_services,
    gauges_of,
    leave,
    open_dispatcher,
)

log = logging.getLogger(__name__)


class DataProcess:
    """One running data-plane process. `run` returns when it was told to stop and has drained."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[Listeners],
        driver: SandboxDriver,
        registry: Registry,
        standby: Standby,
        inventory: Inventory,
        shared_keys: SharedKeys | None,
    ) -> None:
        """Prepare the process. The arguments are those of `server.Server`, but with the listeners of all processes.

        Those of its own number are the process's; it closes the others.
        """
        self._settings = settings
        self._all_listeners = listeners
        self._driver = driver
        self._registry = registry
        self._standby = standby
        self._inventory = inventory
        self._key_source = key_source(settings, shared_keys, follows=True)
        self._stop = StopSignal()
        self._metrics = Metrics()
        self._keys: Keys | None = None
        """Only from `_start` on: before, process 0 may not have made the files."""

    async def run(self) -> None:
        """Start everything, serve until told to stop or process 0 has ended, drain, stop everything.

        Raises:
            StoreError, SandboxError, MeshError, OSError: the process cannot start.
        """
        raise_descriptor_limit()
        self._stop.listen()
        parent = os.getppid()
        async with AsyncExitStack() as stack:
            logs = LogShipper()
            dispatcher = await self._open_data_plane(stack, logs)
            stack.push_async_callback(dispatcher.close)
            number = await self._stop.unless_asked(_read_number(self._standby.descriptor))
            if number is not None:
                # The others may end while this one still looks for them.
                await self._stop.unless_asked(self._serve(stack, self._standby.member(number), logs, dispatcher))
            if os.getppid() != parent and self._driver.level != "process":
                # Its sandboxd has died, and every instance with it. Whatever it still answered would be wrong:
                # as it is, the others wait for the process that takes its place.
                log.error("sandboxd is gone: pid=%d", os.getpid())
                os._exit(1)

    async def _open_data_plane(self, stack: AsyncExitStack, logs: LogShipper) -> Dispatcher:
        """Open what can run functions: with runtimes that wait, a replacement starts instances at once."""
        await self._driver.open()
        stack.push_async_callback(self._driver.close)
        folder = self._settings.data_folder
        code = CodeCache(Blobs(folder / "packages"), folder / "code")
        count = self._standby.count
        return open_dispatcher(
            self._settings,
            self._driver,
            self._registry,
            code,
            logs.add,
            metrics=self._metrics,
            processes=count,
            inventory=self._inventory,
            credentials=self._credentials,
            tell=logs.tell,
        )

    def _credentials(self, version: FunctionVersion) -> Mapping[str, str]:
        assert self._keys is not None
        return self._keys.temporary.of_function(version)

    async def _serve(self, stack: AsyncExitStack, member: Member, logs: LogShipper, dispatcher: Dispatcher) -> None:
        await self._start(stack, member, logs, dispatcher)
        settle_interpreter()
        log.info("data-plane process %d serves: pid=%d", member.number, os.getpid())
        await self._stop.asked.wait()

    async def _start(self, stack: AsyncExitStack, member: Member, logs: LogShipper, dispatcher: Dispatcher) -> None:
        settings, clock, folder = self._settings, SystemClock(), self._settings.data_folder
        for number, unwanted in enumerate(self._all_listeners):
            if number != member.number:
                unwanted.close()
        mesh = Mesh(member, folder / SOCKETS)
        mesh.open()
        stack.push_async_callback(mesh.close)
        await self._follow(mesh.head, stack)
        store = SqliteReader.open(folder / "funclet.db", keys=self._key_source)
        stack.push_async_callback(store.close)
        logs.open(mesh.head)
        stack.push_async_callback(logs.close)
        self._keys = keys = await asyncio.to_thread(Keys.open, settings, self._key_source, store.vault, clock)
        parts = Parts(
            store=store,
            logs=logs,
            blobs=Blobs(folder / "packages"),
            registry=self._registry,
            catalog=Catalog(store, clock),
            routes=RouteSource(store, clock),
            invoker=mesh.invoker(dispatcher),
            instances=mesh.instances(dispatcher),
            authenticator=authenticator_of(store, clock, keys),
            clock=clock,
            keys=keys,
            gate=Gate(clock, region=settings.region, store=store),
        )
        loops = TaskOwner()
        stack.push_async_callback(loops.close)
        changes = Changes(parts, dispatcher, loops, mesh, region=settings.region)
        stack.push_async_callback(leave, self._stop, mesh, settings)
        await mesh.listen(dispatcher, _answers(changes, dispatcher, logs, self._metrics))
        await mesh.join()
        await self._open_http(stack, parts, store.vault, Head(mesh.head), self._all_listeners[member.number])

    async def _follow(self, head: Link, stack: AsyncExitStack) -> None:
        """Wait for process 0, and end when it ends."""
        try:
            connection = await head.reach(within_s=START_S)
        except LinkAway as error:
            raise MeshError("Process 0 did not start.") from error

        async def follow() -> None:
            """End at once when process 0 has gone."""
            await connection.closed.wait()
            self._stop.ask()
            self._stop.ask()

        following = TaskOwner()
        stack.push_async_callback(following.close)
        following.start(follow(), name="follow process 0")

    async def _open_http(
        self, stack: AsyncExitStack, parts: Parts, vault: Vault, head: Head, listeners: Listeners
    ) -> None:
        outside = build_outside(self._settings, parts.store, vault, parts.clock)
        services = build_services(
            self._settings,
            listeners,
            parts,
            head,
            outside,
            function_changed=_nothing_changes_here,
            triggers_changed=_nothing_changes_here,
            inventory=self._inventory,
        )
        api = Api(
            operations=OPERATIONS,
            services=services,
            authenticator=parts.authenticator,
            gate=parts.gate,
            tracer=Tracer(head, parts.clock),
        )

        async def handle(request: Request) -> Response:
            """Answer invocations here; process 0 answers everything else."""
            if is_invocation(request):
                return await api.handle(request)
            try:
                return await head.handle(request)
            except ModelError as error:
                return from_error(error, path=request.raw_path, request_id=new_uuid())

        http = HttpSide(self._stop, self._settings, listeners)
        await http.open(stack, parts, head, handle, api, outside.vault, head)


async def _read_number(descriptor: int) -> int | None:
    """Wait for the number of this process; None if there will be none."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    told = os.read(descriptor, 1)
    os.close(descriptor)
    return told[0] if told else None


def _nothing_changes_here(*_: str) -> None:
    """Stand for what follows a change: only process 0 changes anything."""
    raise AssertionError("a change outside process 0")


def _answers(changes: Changes, dispatcher: Dispatcher, logs: LogShipper, metrics: Metrics) -> dict[Kind, Answer]:
    """Return what this process does for process 0."""

    async def hint(body: bytes) -> bytes:
        """Forget what a hint says has changed; answer when that is done."""
        changes.heed(codec.decode_hint(body))
        return b""

    async def flush(_: bytes) -> bytes:
        """Answer when all log records of this process are with process 0."""
        await logs.flush()
        return b""

    async def prepare(body: bytes) -> bytes:
        """Make an instance ready for a version that is needed in some seconds."""
        version, due_in_s = codec.decode_preparation(body)
        dispatcher.prepare(version, due_in_s=due_in_s)
        return b""

    epoch = new_uuid()

    async def tell_metrics(_: bytes) -> bytes:
        """Return the counters and gauges of this process."""
        values = gauges_of(dispatcher, log_dropped=logs.dropped)
        return encode_standing(Standing(counters=metrics.snapshot(), values=values), epoch)

    async def cancel(body: bytes) -> bytes:
        """End an asynchronous request if it runs here; return whether it did."""
        wanted = codec.decode_cancellation(body)
        return codec.encode(await dispatcher.cancel(wanted.function_id, wanted.request_id, force=wanted.is_forced))

    async def instances(body: bytes) -> bytes:
        """Return the instances of a function that are here."""
        function_id, _ = codec.decode_names(body)
        return codec.encode(await dispatcher.instances(function_id))

    async def end_instance(body: bytes) -> bytes:
        """End one instance of a function; return whether it was here."""
        return codec.encode(await dispatcher.end_instance(*codec.decode_names(body)))

    return {
        Kind.HINT: hint,
        Kind.FLUSH: flush,
        Kind.PREPARE: prepare,
        Kind.METRICS: tell_metrics,
        Kind.CANCEL: cancel,
        Kind.INSTANCES: instances,
        Kind.END_INSTANCE: end_instance,
    }
