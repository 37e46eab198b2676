"""The driver for level `process`: a plain process of the server's own user.

For development, and where nothing else works: code and language folder are host
paths, and what the server's user may read, the function may read. With the C
helper a small init holds the tree together; without it a process that leaves
its session is not found again.
"""

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from funclet.sandbox import native
from funclet.sandbox.native import Step
from funclet.sandbox.pausing import pause, resume
from funclet.sandbox.protocol import Exit, ExitReason, HostCheck, MountFailed, SandboxError, SandboxSpec, Streams, Usage
from funclet.sandbox.watch import MemoryWatch

_MIB = 1024 * 1024
_LOWEST_FREE_FD = 16
_REPORT_BYTES = 64
_KILLED = -signal.SIGKILL

# Without the helper: what its steps would have done, in an interpreter that then executes the right one.
_TRAMPOLINE = """
import os, resource, sys
folder, files = sys.argv[1], int(sys.argv[2])
os.closerange(4, 1 << 20)
os.chdir(folder)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """A process that was begun, and how to end it."""

    pid: int
    pidfd: int
    error_fd: int
    """End of file once the interpreter runs, else the report of the step that failed; -1: nothing to wait for."""
    status_fd: int
    """Where init writes the wait status; -1: the process is the interpreter itself."""
    steps: Sequence[Step]

    @property
    def has_init(self) -> bool:
        """Whether the process that was started is an init of ours, with the interpreter below it."""
        return self.status_fd >= 0

    def terminate(self) -> None:
        """Ask the interpreter to end."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)

    def kill_all(self) -> None:
        """End every process that can be found."""
        with contextlib.suppress(ProcessLookupError):
            if self.has_init:
                signal.pidfd_send_signal(self.pidfd, signal.SIGHUP)
            else:
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close what was held of the process; it goes on."""
        for fd in (self.pidfd, self.error_fd, self.status_fd):
            if fd >= 0:
                os.close(fd)


class ProcessDriver:
    """Makes plain processes. `start` must run on the thread that lives as long as the server."""

    level = "process"

    def __init__(self) -> None:
        self._sandboxes: set[ProcessSandbox] = set()

    def create(self) -> "ProcessSandbox":
        """Return a sandbox that is not started yet."""
        return ProcessSandbox(self._sandboxes)

    def keep_stems(self, spec: SandboxSpec) -> None:
        """Do nothing: a plain process cannot get its code later."""

    def check_host(self) -> Sequence[HostCheck]:
        """Say that this level isolates nothing."""
        detail = "functions run as the server's user and can read what it can read; use it for development only"
        return [HostCheck(name="isolation", ok=False, detail=detail)]

    async def open(self) -> None:
        """Do nothing: this level works everywhere."""

    async def close(self) -> None:
        """End all sandboxes that still run."""
        await asyncio.gather(*(sandbox.stop(grace_s=0) for sandbox in tuple(self._sandboxes)))


class ProcessSandbox:
    """One process tree."""

    def __init__(self, register: "set[ProcessSandbox]") -> None:
        self._register = register
        self._child: _Child | None = None
        self._exited: asyncio.Future[Exit] | None = None
        self._watch: MemoryWatch | None = None
        self._killer: asyncio.TimerHandle | None = None
        self._reason = ExitReason.EXITED

    async def start(self, spec: SandboxSpec) -> Streams:
        """See `Sandbox.start`. Links, processes, `/tmp` size, network, names and extra mounts have no effect."""
        if spec.shares:
            raise MountFailed(f"'{spec.shares[0].target}': folders can be shared at isolation level full only")
        loop = asyncio.get_running_loop()
        self._exited = loop.create_future()
        ours, theirs = socket.socketpair()
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        try:
            self._child = _launch(spec, connection=theirs.fileno(), log=log_write)
            self._register.add(self)
            failure = await self._begin(loop, self._child)
        except BaseException:  # cancelled or failed: either way the caller is given nothing to close
            self._kill()
            ours.close()
            os.close(log_read)
            raise
        finally:
            theirs.close()
            os.close(log_write)
        if failure:
            ours.close()
            os.close(log_read)
            await self.wait()
            raise SandboxError(f"The process of '{spec.name}' cannot be started: {failure}.")
        self._watch = MemoryWatch(
            self._child.pid,
            with_root=not self._child.has_init,
            limit_bytes=spec.memory_mib * _MIB,
            on_excess=self._on_excess,
        )
        if not self._exited.done():
            self._watch.start()
        ours.setblocking(False)
        os.set_blocking(log_read, False)
        return Streams(connection=ours, log_fd=log_read)

    async def _begin(self, loop: asyncio.AbstractEventLoop, child: _Child) -> str:
        """Return what the child could not do. Only then its end is listened for: that closes what is read here."""
        try:
            return await _failure(child)
        finally:
            loop.add_reader(child.pidfd, self._on_exit)

    def measure(self, *, storage_age_s: float = 0.0) -> Usage:  # noqa: ARG002 - there is no storage to measure
        """See `Sandbox.measure`. Memory is what was seen ten times a second."""
        if self._watch is None:
            raise SandboxError("The sandbox was never started.")
        peak, cpu_s = self._watch.take()
        return Usage(memory_peak_bytes=peak, cpu_s=cpu_s, tmp_bytes=0)

    def limit_cpu(self) -> None:
        """Do nothing: this level cannot hold a CPU share."""

    def freeze(self, *, is_frozen: bool) -> None:
        """See `Sandbox.freeze`."""
        if self._child is not None and self._exited is not None and not self._exited.done():
            (pause if is_frozen else resume)(self._child.pid)

    async def stop(self, *, grace_s: float) -> Exit:
        """See `Sandbox.stop`."""
        if self._child is None or self._exited is None:
            raise SandboxError("The sandbox was never started.")
        if not self._exited.done():
            if self._reason is ExitReason.EXITED:
                self._reason = ExitReason.STOPPED
            if grace_s > 0:
                self._child.terminate()
                loop = asyncio.get_running_loop()
                self._killer = self._killer or loop.call_later(grace_s, self._kill)
            else:
                self._kill()
        return await self.wait()

    async def wait(self) -> Exit:
        """See `Sandbox.wait`."""
        if self._exited is None:
            raise SandboxError("The sandbox was never started.")
        return await asyncio.shield(self._exited)

    def _on_excess(self) -> None:
        self._reason = ExitReason.OUT_OF_MEMORY
        self._kill()

    def _kill(self) -> None:
        if self._child is not None and self._exited is not None and not self._exited.done():
            self._child.kill_all()

    def _on_exit(self) -> None:
        child, exited = self._child, self._exited
        if child is None or exited is None:
            return
        asyncio.get_running_loop().remove_reader(child.pidfd)
        if not child.has_init:
            child.kill_all()
        status = _reap(child)
        if self._watch is not None:
            self._watch.stop()
        if self._killer is not None:
            self._killer.cancel()
        child.close()
        self._register.discard(self)
        exited.set_result(Exit(reason=self._reason, status=status))


def _launch(spec: SandboxSpec, *, connection: int, log: int) -> _Child:
    def filled(text: str) -> str:
        """Return an argument or a value with the folders of this instance in place of their names."""
        return text.replace("{code_root}", str(spec.code_dir)).replace("{runtime_root}", str(spec.runtime_dir))

    argv = [str(spec.interpreter), *(filled(argument) for argument in spec.arguments)]
    paths = {name: filled(value) for name, value in spec.path_environment.items()}
    environment = {**spec.environment, **paths}
    fds = [_out_of_the_way(fd) for fd in (connection, log)]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        launch = _launch_with_init if native.is_available() else _launch_plain
        return launch(spec, argv, environment, (null, *fds))
    except OSError as error:
        raise SandboxError(f"The process of '{spec.name}' cannot be started: {error}.") from error
    finally:
        for fd in (null, *fds):
            os.close(fd)


def _launch_with_init(
    spec: SandboxSpec, argv: Sequence[str], environment: Mapping[str, str], fds: tuple[int, ...]
) -> _Child:
    status_read, status_write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(status_read, False)
    null, connection, log = fds
    steps = [
        Step("CHDIR", s=os.fsencode(spec.code_dir)),
        native.limit_step(resource.RLIMIT_NOFILE, spec.open_files),
        native.limit_step(resource.RLIMIT_CORE, 0),
        # To init this means: end the whole tree.
        Step("PDEATHSIG", a=signal.SIGHUP),
        Step("NO_NEW_PRIVS"),
        Step("INIT", b=status_write),
        Step("SETSID"),
        Step("DESCRIPTORS", a=null, b=log, c=connection),
        Step("EXEC", s=os.fsencode(argv[0])),
    ]
    try:
        spawned = native.spawn(steps, argv=argv, environment=environment)
    except SandboxError:
        os.close(status_read)
        raise
    finally:
        os.close(status_write)
    return _Child(pid=spawned.pid, pidfd=spawned.pidfd, error_fd=spawned.error_fd, status_fd=status_read, steps=steps)


def _launch_plain(
    spec: SandboxSpec, argv: Sequence[str], environment: Mapping[str, str], fds: tuple[int, ...]
) -> _Child:
    null, connection, log = fds
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(spec.open_files, hard) if hard != resource.RLIM_INFINITY else spec.open_files
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(spec.code_dir), str(files), *argv],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
            (os.POSIX_SPAWN_DUP2, connection, 3),
        ],
        setsid=True,
        setsigdef=range(1, 32),
    )
    return _Child(pid=pid, pidfd=os.pidfd_open(pid), error_fd=-1, status_fd=-1, steps=())


async def _failure(child: _Child) -> str:
    """Return what the child could not do; empty once the interpreter runs."""
    if child.error_fd < 0:
        return ""
    await _readable(child.error_fd)
    report = os.read(child.error_fd, _REPORT_BYTES)
    return native.describe_failure(child.steps, report) if report else ""


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        """End the wait; more than one event is no error."""
        if not done.done():
            done.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await done
    finally:
        loop.remove_reader(fd)


def _reap(child: _Child) -> int:
    result = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    if child.has_init:
        written = os.read(child.status_fd, 4)
        return os.waitstatus_to_exitcode(struct.unpack("i", written)[0]) if written else _KILLED
    if result is None:
        return _KILLED
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _out_of_the_way(fd: int) -> int:
    """Return a copy of `fd` under a number that the child's 0 to 3 do not overwrite."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FREE_FD)
