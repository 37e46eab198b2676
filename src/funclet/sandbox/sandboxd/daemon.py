"""The loop of sandboxd: packets of the server in, instances made and ended, news out.

`serve` runs until the server is gone and nothing is left. One thread; it waits
in one place, and no step on behalf of one instance waits for another.
"""

import contextlib
import heapq
import os
import resource
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from funclet.sandbox import native
from funclet.sandbox.pausing import pause, resume
from funclet.sandbox.protocol import HostCheck, MountFailed, SandboxError
from funclet.sandbox.sandboxd.hostcheck import check_isolation
from funclet.sandbox.sandboxd.instances import FullMaker, Maker, RootlessMaker
from funclet.sandbox.sandboxd.messages import (
    BadMessage,
    Create,
    Exited,
    Failed,
    Freeze,
    Keep,
    LimitCpu,
    Message,
    Ready,
    Share,
    Started,
    Stop,
    parse,
    receive,
    render,
    send,
)
from funclet.sandbox.sandboxd.nursery import SWEEP_S, Nursery
from funclet.sandbox.sandboxd.remote import DEADLINE_S, RemoteShares
from funclet.sandbox.sandboxd.running import Running
from funclet.sandbox.sandboxd.settings import SandboxdSettings
from funclet.sandbox.sandboxd.stems import most_stems

_START_DEADLINE_S = 10.0
_END_DEADLINE_S = 10.0
_OOM_DELAY_S = 0.02
_RETRY_S = 0.05
_MAX_UNSENT = 1000
_REPORT_BYTES = 64
_QUIET_S = 0.02
"""Nothing is prepared so shortly after an instance was wanted: its function is just starting, on the same cores."""
_MOST_QUIET_S = 0.2
"""But for no longer than this: under steady load something must be prepared too."""


Watch = tuple[int, Callable[[], bool]]
"""A descriptor, and what to call when it is readable; true ends everything."""


def serve(control: socket.socket, settings: SandboxdSettings, *, watches: Sequence[Watch] = ()) -> None:
    """Make sandboxes for the server at the other end of `control` until it closes; then end all and clean up.

    Level `full` for root, `rootless` for others. The process must have one thread. `control`, a `SOCK_SEQPACKET`
    socket, is closed at the end.
    """
    settings = settings.resolved()
    # About seven descriptors an instance: the usual soft limit of 1024 is too low. Children get limits of their own.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    maker: Maker = FullMaker(settings) if os.geteuid() == 0 else RootlessMaker(settings)
    most = settings.max_stems if settings.max_stems >= 0 else most_stems(_host_memory_mib())
    daemon = _Daemon(control, maker, watches, most)
    try:
        daemon.run(check_isolation(settings))
    finally:
        daemon.close()


class _Daemon:
    def __init__(self, control: socket.socket, maker: Maker, watches: Sequence[Watch], stems: int) -> None:
        self._control = control
        self._maker = maker
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, Running] = {}
        self._deadlines: list[tuple[float, int, str]] = []
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._is_ending = False
        self._may_refill = True
        self._starting = 0
        self._nursery = Nursery(self, maker, stems)
        self._remote = RemoteShares(self, maker.known, self._on_opened)
        self._quiet_since = 0.0
        self._quiet_until = 0.0
        self._sweep_at = 0.0
        for fd, callback in watches:
            self.watch(fd, partial(self._end_if, callback))

    def run(self, checks: Sequence[HostCheck]) -> None:
        """Serve until the end. A host that allows nothing is told to the server, who hangs up."""
        level = "full" if os.geteuid() == 0 else "rootless"
        lines: dict[str, tuple[str, ...]] = {
            check.name: ("ok" if check.ok else "missing", check.detail) for check in checks
        }
        self._control.setblocking(False)
        self.watch(self._control.fileno(), self._hear)
        try:
            self._maker.open()
        except SandboxError as error:
            self._may_refill = False
            self._say(Ready(level=level, error=str(error), checks=lines))
        else:
            self._say(Ready(level=level, error="", checks=lines))
        end_by = float("inf")
        while not self._is_ending or (self._running and time.monotonic() < end_by):
            if self._is_ending:
                end_by = min(end_by, time.monotonic() + _END_DEADLINE_S)
            events = self._selector.select(self._time_to_wait())
            for key, _ in events:
                # An earlier event of this round may have ended what this one is about, and its number be reused.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._meet_deadlines()
            self._flush()
            if not events and self._may_refill and not self._is_ending and not self._is_starting_one():
                self._refill()

    def close(self) -> None:
        self._nursery.close()
        self._remote.close()
        self._maker.close()
        self._drop_unsent()
        self._selector.close()
        self._control.close()

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """See `nursery.Host`."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """See `nursery.Host`."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def kill(self, running: Running) -> None:
        """See `nursery.Host`."""
        self._kill(running)

    def refill_soon(self) -> None:
        """See `nursery.Host`."""
        self._may_refill = time.monotonic() >= self._quiet_until

    def _end_if(self, callback: Callable[[], bool]) -> None:
        if callback():
            self._end_all()

    def _time_to_wait(self) -> float | None:
        if self._is_ending or self._unsent:
            return _RETRY_S
        if self._may_refill and not self._is_starting_one():
            return 0.0
        return max(0.0, self._deadlines[0][0] - time.monotonic()) if self._deadlines else None

    def _is_starting_one(self) -> bool:
        """Tell whether somebody waits: preparing for the next one would delay the news of this one."""
        return self._starting > 0

    def _refill(self) -> None:
        """Prepare one thing: a part of a slot, or a stem."""
        try:
            if self._maker.refill():
                return
        except SandboxError:
            # Whoever asks for such a slot next is told why it cannot be made.
            self._may_refill = False
            return
        self._may_refill = self._nursery.refill()
        now = time.monotonic()
        if not self._may_refill and self._nursery.has_loaded and self._sweep_at < now:
            self._sweep_at = now + SWEEP_S
            heapq.heappush(self._deadlines, (self._sweep_at, 0, "refill"))

    def _hear(self) -> None:
        try:
            packet, descriptors = receive(self._control)
            for fd in descriptors:
                os.close(fd)
            message = parse(packet) if packet else None
        except BlockingIOError:
            return
        except (OSError, BadMessage):
            # A server that sends nonsense is broken or taken over; either way nothing more is done for it.
            message = None
        match message:
            case Create():
                self._create(message)
            case Stop():
                self._stop(message)
            case LimitCpu():
                self._limit_cpu(message)
            case Freeze():
                self._freeze(message)
            case Keep():
                if self._maker.has_stems:
                    self._nursery.keep(message)
                    self._may_refill = True
            case _:
                self._end_all()

    def _create(self, spec: Create) -> None:
        if spec.id in self._running or spec.id in self._remote:
            self._end_all()
            return
        self._refill_later()
        if spec.shares and self._is_opening(spec):
            return
        running: Running | None = None
        # What stands ready has been shown what all have, and nothing else.
        is_common = not (spec.extra_read_only or spec.shares or spec.hosts)
        if spec.stem_environment and self._maker.has_stems and is_common:
            running = self._nursery.take(spec)
            if running is not None:
                del self._running[running.id]
                running.id = spec.id
                self._running[spec.id] = running
                self._say_started(running)
                return
            running = self._nursery.fork(spec)
        self._begin(spec, lambda: running or self._maker.spawn(spec))

    def _is_opening(self, spec: Create) -> bool:
        """Tell whether the instance must wait for file servers, or has failed already."""
        try:
            remote = self._maker.remote_shares(spec)
        except MountFailed as error:
            self._say_failed(spec, error)
            return True
        if remote:
            heapq.heappush(self._deadlines, (time.monotonic() + DEADLINE_S, spec.id, "mount"))
            self._remote.open(spec, remote)
        return bool(remote)

    def _on_opened(self, spec: Create, opened: Mapping[Share, int] | MountFailed) -> None:
        """Go on with an instance whose shares on file servers are open."""
        if isinstance(opened, MountFailed):
            self._say_failed(spec, opened)
            return
        try:
            self._begin(spec, lambda: self._maker.spawn(spec, opened))
        finally:
            _close_all(list(opened.values()))

    def _begin(self, spec: Create, spawn: Callable[[], Running]) -> None:
        try:
            self.begin(spawn())
        except SandboxError as error:
            self._say_failed(spec, error)
        except OSError as error:  # no descriptors or memory left: the next one may succeed
            self._say(Failed(id=spec.id, error=f"sandboxd is short of something: {error}."))

    def _say_failed(self, spec: Create, error: SandboxError) -> None:
        self._say(Failed(id=spec.id, error=str(error), is_mount=isinstance(error, MountFailed)))

    def _refill_later(self) -> None:
        now = time.monotonic()
        if self._quiet_until < now:
            self._quiet_since = now
            heapq.heappush(self._deadlines, (now + _QUIET_S, 0, "refill"))
        self._quiet_until = min(now + _QUIET_S, self._quiet_since + _MOST_QUIET_S)
        self._may_refill = False

    def begin(self, running: Running) -> None:
        """See `nursery.Host`."""
        self._running[running.id] = running
        self._starting += 1
        self.watch(running.spawned.error_fd, partial(self._on_report, running))
        self.watch(running.spawned.pidfd, partial(self._on_exit, running))
        if running.group is not None and running.group.oom_fd >= 0:
            self.watch(running.group.oom_fd, partial(self._on_out_of_memory, running))
        heapq.heappush(self._deadlines, (time.monotonic() + _START_DEADLINE_S, running.id, "start"))

    def _on_report(self, running: Running) -> None:
        """The child executed the interpreter (end of file), or says which step failed."""
        self._selector.unregister(running.spawned.error_fd)
        self._starting -= 1
        report = os.read(running.spawned.error_fd, _REPORT_BYTES)
        running.child_started()
        if report:
            self._fail(running, native.describe_failure(running.steps, report))
            return
        running.steps = ()
        running.is_started = True
        if not running.is_stem:
            self._say_started(running)

    def _say_started(self, running: Running) -> None:
        message = Started(
            id=running.id, pid=running.spawned.pid, descriptors=tuple(running.outgoing), is_stem=running.is_late
        )
        self._say(message, tuple(running.outgoing.values()))
        running.close_outgoing()

    def _fail(self, running: Running, error: str) -> None:
        running.signal(signal.SIGKILL)
        self._forget(running)
        os.waitid(os.P_PIDFD, running.spawned.pidfd, os.WEXITED)
        self._maker.give_back(running)
        self._say_of(running, Failed(id=running.id, error=f"The sandbox cannot be made: {error}."))

    def _on_exit(self, running: Running) -> None:
        if not running.is_started:
            with contextlib.suppress(KeyError):
                self._on_report(running)
            if not running.is_started:
                return
        self._forget(running)
        os.waitid(os.P_PIDFD, running.spawned.pidfd, os.WEXITED)
        status = running.exit_status()
        self._maker.give_back(running)
        # What came back may be more than is wanted.
        self._refill_later()
        self._say_of(running, Exited(id=running.id, reason=running.exit_reason().value, status=status))

    def _say_of(self, running: Running, message: Message) -> None:
        """Tell the server how an instance of its own ended; a stem is not its business."""
        if not running.is_stem:
            self._say(message)
        elif self._nursery.dropped(running):
            self.refill_soon()

    def _on_out_of_memory(self, running: Running) -> None:
        """Version 1 kills one process only, and tells the groups below the one that is full too: look again soon."""
        if running.group is not None:
            os.eventfd_read(running.group.oom_fd)
            heapq.heappush(self._deadlines, (time.monotonic() + _OOM_DELAY_S, running.id, "memory"))

    def _stop(self, message: Stop) -> None:
        running = self._running.get(message.id)
        if running is None:
            if self._remote.cancel(message.id):
                self._say(Failed(id=message.id, error="It was stopped before it was made."))
            return
        running.stop_asked = True
        running.out_of_memory = running.out_of_memory or message.out_of_memory
        if message.grace_ms <= 0 or not running.is_started:
            self._kill(running)
            return
        running.signal(signal.SIGTERM)
        heapq.heappush(self._deadlines, (time.monotonic() + message.grace_ms / 1000, message.id, "stop"))

    def _kill(self, running: Running) -> None:
        running.let_go_of_tmp()
        # A group that is going away needs no boost.
        with contextlib.suppress(SandboxError):
            self._maker.boost_cpu(running)
        running.signal(signal.SIGKILL)

    def _limit_cpu(self, message: LimitCpu) -> None:
        running = self._running.get(message.id)
        if running is not None:
            self._nursery.is_loaded(running)
            # A group that is going away needs no limit.
            with contextlib.suppress(SandboxError):
                self._maker.limit_cpu(running)

    def _freeze(self, message: Freeze) -> None:
        running = self._running.get(message.id)
        if running is not None and running.is_started:
            (pause if message.is_frozen else resume)(running.spawned.pid)

    def _meet_deadlines(self) -> None:
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, identity, purpose = heapq.heappop(self._deadlines)
            if purpose == "refill":
                self._may_refill = now >= self._quiet_until
                if not self._may_refill:
                    heapq.heappush(self._deadlines, (self._quiet_until, 0, "refill"))
                continue
            if purpose == "mount":
                self._remote.expire(identity)
                continue
            running = self._running.get(identity)
            if running is None or (purpose == "start" and running.is_started):
                continue
            if purpose == "memory":
                running.out_of_memory = running.out_of_memory or self._maker.was_out_of_memory(running)
                if not running.out_of_memory:
                    continue
            self._kill(running)

    def _end_all(self) -> None:
        """Begin the end: nobody is there to be told any more."""
        self._is_ending = True
        self._drop_unsent()
        self._remote.cancel_all()
        self.unwatch(self._control.fileno())
        for running in self._running.values():
            running.stop_asked = True
            self._kill(running)

    def _forget(self, running: Running) -> None:
        del self._running[running.id]
        # The connection is watched while a stem warms up; what is closed and still watched would haunt its number.
        fds = [running.spawned.error_fd, running.spawned.pidfd, running.outgoing.get("connection", -1)]
        if running.group is not None:
            fds.append(running.group.oom_fd)
        for fd in fds:
            self.unwatch(fd)

    def _say(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send now, or when the server reads again; until then with copies of the descriptors."""
        if self._is_ending:
            return
        packet = render(message)
        if not self._unsent and self._send(packet, descriptors):
            return
        self._unsent.append((packet, [os.dup(fd) for fd in descriptors]))
        if len(self._unsent) > _MAX_UNSENT:
            self._end_all()

    def _flush(self) -> None:
        while self._unsent:
            packet, descriptors = self._unsent[0]
            if not self._send(packet, descriptors):
                return
            # The end drops what is unsent.
            if self._unsent:
                self._unsent.popleft()
                _close_all(descriptors)

    def _send(self, packet: bytes, descriptors: Sequence[int]) -> bool:
        """Send a packet; False if the server does not read just now. Without a server this is the end."""
        try:
            send(self._control, packet, descriptors)
        except BlockingIOError:
            return False
        except OSError:
            self._end_all()
        return True

    def _drop_unsent(self) -> None:
        while self._unsent:
            _close_all(self._unsent.popleft()[1])


def _host_memory_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)
