"""The driver for levels `full` and `rootless`: an asyncio client of sandboxd.

`IsolatedDriver` owns the one socket to sandboxd; `IsolatedSandbox` is one
instance. Measuring never asks sandboxd: the descriptors for it came with the start.
"""

import asyncio
import contextlib
import errno
import math
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache

from funclet.sandbox import native
from funclet.sandbox.protocol import (
    Exit,
    ExitReason,
    HostCheck,
    MountFailed,
    SandboxError,
    SandboxSpec,
    SharedFolder,
    Streams,
    Usage,
)
from funclet.sandbox.sandboxd.hostcheck import check_isolation
from funclet.sandbox.sandboxd.messages import (
    MAX_PACKET_BYTES,
    BadMessage,
    Create,
    Exited,
    Failed,
    Freeze,
    LimitCpu,
    Message,
    Ready,
    Share,
    Started,
    Stop,
    keep_of,
    parse,
    receive,
    render,
    send,
)
from funclet.sandbox.sandboxd.rootfs import CODE_ROOT, RUNTIME_ROOT
from funclet.sandbox.sandboxd.settings import SandboxdSettings
from funclet.sandbox.watch import MemoryWatch

_READY_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 15.0
_LIMIT_DELAY_S = 0.005
_MIB = 1024 * 1024
_METERS = frozenset({"peak", "used", "cpu", "tmp"})
_NUMBER_BYTES = 32


class IsolatedDriver:
    """Makes sandboxes through the sandboxd at the other end of `control`, which it owns from now on."""

    def __init__(self, control: socket.socket) -> None:
        self.level = "full" if os.geteuid() == 0 else "rootless"
        """A guess until `open` has heard from sandboxd."""
        self._control = control
        self._sandboxes: dict[int, IsolatedSandbox] = {}
        self._unsent: deque[bytes] = deque()
        self._ready: asyncio.Future[Ready] | None = None
        self._checks: Sequence[HostCheck] = ()
        self._serial = 0
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def create(self) -> "IsolatedSandbox":
        """Return a sandbox that is not started yet."""
        return IsolatedSandbox(self)

    def keep_stems(self, spec: SandboxSpec) -> None:
        """See `SandboxDriver.keep_stems`."""
        request = _request(0, spec)
        self.say(keep_of(request))

    def check_host(self) -> Sequence[HostCheck]:
        """Return what sandboxd found, or try it as the user of this process."""
        return self._checks or check_isolation(SandboxdSettings(allowed_folders=()))

    async def open(self) -> None:
        """Wait until sandboxd is ready.

        Raises:
            SandboxError: sandboxd is gone, silent, or says that this host does not allow isolation.
        """
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        self._control.setblocking(False)
        self._loop.add_reader(self._control.fileno(), self._hear)
        self._is_open = True
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                ready = await self._ready
        except TimeoutError as error:
            self._hang_up()
            raise SandboxError("sandboxd does not answer.") from error
        if ready.error:
            self._hang_up()
            raise SandboxError(ready.error)

    async def close(self) -> None:
        """End all sandboxes and hang up; sandboxd then gives everything back and ends."""
        if not self._is_open:
            self._control.close()
            return
        sandboxes = list(self._sandboxes.values())
        for sandbox in sandboxes:
            sandbox.kill()
        # sandboxd kills what is left when the socket closes, so nothing is lost by not waiting longer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await asyncio.gather(*(sandbox.wait() for sandbox in sandboxes))
        self._hang_up()

    def register(self, sandbox: "IsolatedSandbox") -> int:
        """Return a new id under which news for `sandbox` will come.

        Raises:
            SandboxError: sandboxd is gone.
        """
        if not self._is_open:
            raise SandboxError("sandboxd is gone: restart the server.")
        self._serial += 1
        self._sandboxes[self._serial] = sandbox
        return self._serial

    def forget(self, identity: int) -> None:
        """Take an id back that sandboxd has not heard of."""
        self._sandboxes.pop(identity, None)

    def say(self, message: Message) -> None:
        """Send a packet, later if sandboxd is busy; into the void if it is gone."""
        self.send(render(message))

    def send(self, packet: bytes) -> None:
        """Send a rendered message, see `say`."""
        if self._is_open:
            self._unsent.append(packet)
            self._flush()

    def _flush(self) -> None:
        if self._loop is None:
            return
        while self._unsent:
            try:
                send(self._control, self._unsent[0])
            except BlockingIOError:
                self._loop.add_writer(self._control.fileno(), self._flush)
                return
            except OSError:
                self._hang_up()
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._control.fileno())

    def _hear(self) -> None:
        try:
            packet, descriptors = receive(self._control)
        except BlockingIOError:
            return
        except (OSError, BadMessage):
            self._hang_up()
            return
        if not packet:
            self._hang_up()
            return
        self._take(parse(packet), descriptors)

    def _take(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case Ready():
                self.level = message.level
                self._checks = tuple(
                    HostCheck(name=name, ok=state == "ok", detail=detail)
                    for name, (state, detail) in message.checks.items()
                )
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(message)
            case Started():
                ends = dict(zip(message.descriptors, descriptors, strict=True))
                self._sandboxes[message.id].on_started(message.pid, ends, is_stem=message.is_stem)
            case Failed():
                error = MountFailed(message.error) if message.is_mount else SandboxError(message.error)
                self._sandboxes.pop(message.id).on_failed(error)
            case Exited():
                ended = Exit(reason=ExitReason(message.reason), status=message.status)
                self._sandboxes.pop(message.id).on_exited(ended)
            case _:
                self._hang_up()

    def _hang_up(self) -> None:
        """End the connection: whatever still ran dies with it."""
        if not self._is_open or self._loop is None:
            return
        self._is_open = False
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._control.close()
        self._unsent.clear()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(SandboxError("sandboxd ended before it was ready."))
        for sandbox in self._sandboxes.values():
            sandbox.on_lost()
        self._sandboxes.clear()


class IsolatedSandbox:
    """One instance made by sandboxd."""

    def __init__(self, driver: IsolatedDriver) -> None:
        self._driver = driver
        self._id = 0
        self._memory_mib = 0
        self._started: asyncio.Future[Streams] | None = None
        self._exited: asyncio.Future[Exit] | None = None
        self._meters: dict[str, int] = {}
        self._peak_fd = self._cpu_fd = -1
        self._highest = 0
        """Highest peak that was measured."""
        self._take_meters = native.helper().take_meters
        self._watch: MemoryWatch | None = None
        self._tmp_bytes = 0
        self._tmp_at = -math.inf

    async def start(self, spec: SandboxSpec) -> Streams:
        """See `Sandbox.start`."""
        loop = asyncio.get_running_loop()
        self._started, self._exited = loop.create_future(), loop.create_future()
        self._memory_mib = spec.memory_mib
        self._id = self._driver.register(self)
        packet = render(_request(self._id, spec))
        if len(packet) > MAX_PACKET_BYTES // 2:
            self._driver.forget(self._id)
            raise SandboxError(f"Arguments and environment of '{spec.name}' are too large.")
        self._driver.send(packet)
        try:
            return await asyncio.shield(self._started)
        except asyncio.CancelledError:
            # What arrives after this belongs to nobody, see `on_started`.
            self._started.cancel()
            self.kill()
            raise

    def measure(self, *, storage_age_s: float = 0.0) -> Usage:
        """See `Sandbox.measure`."""
        if self._watch is not None:
            peak, cpu_s = self._watch.take()
            return Usage(memory_peak_bytes=peak, cpu_s=cpu_s, tmp_bytes=0)
        try:
            now = time.monotonic()
            if now - self._tmp_at >= storage_age_s:
                self._tmp_at, self._tmp_bytes = now, self._stored_bytes()
            peak, cpu_s = self._take_meters(self._peak_fd, self._cpu_fd)
            if "used" in self._meters:
                peak = self._new_peak(peak)
            return Usage(memory_peak_bytes=peak, cpu_s=cpu_s, tmp_bytes=self._tmp_bytes)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            # It has ended and its control group is gone; the news of that is still on its way.
            return Usage(memory_peak_bytes=0, cpu_s=0.0, tmp_bytes=0)

    def _new_peak(self, peak: int) -> int:
        """Return the best that is known of a new peak where the kernel only has that of the whole life."""
        if peak > self._highest:
            self._highest = peak
            return peak
        return int(os.pread(self._meters["used"], _NUMBER_BYTES, 0))

    def limit_cpu(self) -> None:
        """See `Sandbox.limit_cpu`. Level `rootless` cannot hold a CPU share.

        Said a moment later: sandboxd had better not wake up before the runtime has its first request.
        """
        asyncio.get_running_loop().call_later(_LIMIT_DELAY_S, self._driver.say, LimitCpu(id=self._id))

    def freeze(self, *, is_frozen: bool) -> None:
        """See `Sandbox.freeze`."""
        self._driver.say(Freeze(id=self._id, is_frozen=is_frozen))

    async def stop(self, *, grace_s: float) -> Exit:
        """See `Sandbox.stop`."""
        self._let_go_of_tmp()
        self._driver.say(Stop(id=self._id, grace_ms=int(grace_s * 1000)))
        return await self.wait()

    async def wait(self) -> Exit:
        """See `Sandbox.wait`."""
        if self._exited is None:
            raise SandboxError("The sandbox was never started.")
        return await asyncio.shield(self._exited)

    def kill(self) -> None:
        """Ask for the end of every process; does not wait."""
        self._let_go_of_tmp()
        self._driver.say(Stop(id=self._id, grace_ms=0))

    def on_started(self, pid: int, descriptors: Mapping[str, int], *, is_stem: bool) -> None:
        """Take what sandboxd made."""
        self._meters = {name: fd for name, fd in descriptors.items() if name in _METERS}
        self._peak_fd, self._cpu_fd = self._meters.get("peak", -1), self._meters.get("cpu", -1)
        streams = Streams(
            connection=socket.socket(fileno=descriptors["connection"]),
            log_fd=descriptors["log"],
            is_greeted=is_stem,
        )
        streams.connection.setblocking(False)
        if "peak" not in self._meters:
            self._watch = MemoryWatch(
                pid, with_root=False, limit_bytes=self._memory_mib * _MIB, on_excess=self._on_excess
            )
            self._watch.start()
        if self._started is not None and not self._started.done():
            self._started.set_result(streams)
        else:
            # Whoever wanted it has gone away.
            streams.connection.close()
            os.close(streams.log_fd)

    def on_failed(self, error: SandboxError) -> None:
        """Learn that there is nothing."""
        if self._started is not None and not self._started.done():
            self._started.set_exception(error)
            self._started.exception()
        self.on_exited(Exit(reason=ExitReason.STOPPED, status=-signal.SIGKILL))

    def on_exited(self, ended: Exit) -> None:
        """Learn that every process is gone."""
        if self._watch is not None:
            self._watch.stop()
        for fd in self._meters.values():
            os.close(fd)
        self._meters = {}
        self._peak_fd = self._cpu_fd = -1
        if self._exited is not None and not self._exited.done():
            self._exited.set_result(ended)

    def on_lost(self) -> None:
        """Learn that sandboxd is gone, and every instance with it."""
        self.on_failed(SandboxError("sandboxd is gone: restart the server."))

    def _let_go_of_tmp(self) -> None:
        """Close what shows how full `/tmp` is, while the instance still holds its disk.

        The last to close a disk waits for its file system to end: 5 ms. That had better be the dying process.
        """
        fd = self._meters.pop("tmp", -1)
        if fd >= 0:
            os.close(fd)

    def _on_excess(self) -> None:
        self._driver.say(Stop(id=self._id, grace_ms=0, out_of_memory=True))

    def _stored_bytes(self) -> int:
        fd = self._meters.get("tmp", -1)
        if fd < 0:
            return 0
        system = os.fstatvfs(fd)
        return (system.f_blocks - system.f_bfree) * system.f_frsize


def _request(identity: int, spec: SandboxSpec) -> Create:
    environment = {**spec.environment, **{name: _filled(value) for name, value in spec.path_environment.items()}}
    # sandboxd follows no symbolic link that the server could change, so it is given real paths.
    return Create(
        id=identity,
        name=spec.name,
        interpreter=str(spec.interpreter),
        arguments=tuple(_filled(argument) for argument in spec.arguments),
        environment=environment,
        greeting=spec.greet(environment) if spec.greet is not None and spec.stem_environment else b"",
        stem_environment={name: _filled(value) for name, value in spec.stem_environment.items()},
        code_dir=_real(str(spec.code_dir)),
        runtime_dir=_real(str(spec.runtime_dir)),
        interpreter_links=tuple(spec.interpreter_links),
        memory_mib=spec.memory_mib,
        cpu_millicores=spec.cpu_millicores,
        tmp_mib=spec.tmp_mib,
        processes=spec.processes,
        open_files=spec.open_files,
        network=spec.network.value,
        extra_read_only={os.path.realpath(source): target for source, target in spec.extra_read_only.items()},
        shares=tuple(map(_share, spec.shares)),
        hosts=dict(spec.hosts),
    )


def _share(share: SharedFolder) -> Share:
    return Share(
        source=share.source,
        target=share.target,
        read_only=share.read_only,
        user_id=share.user_id,
        group_id=share.group_id,
    )


# Code folders never change and language folders not while the server runs; should one lead elsewhere all the same,
# sandboxd refuses it.
@lru_cache(maxsize=4096)
def _real(path: str) -> str:
    return os.path.realpath(path)


def _filled(text: str) -> str:
    return text.replace("{code_root}", CODE_ROOT).replace("{runtime_root}", RUNTIME_ROOT)
