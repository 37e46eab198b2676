"""Making and ending instances, one level at a time; knows nothing of messages.

`FullMaker` and `RootlessMaker` put together slot, control groups, root file
system and steps; a `running.Running` holds what must be given back.
"""

import contextlib
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from funclet.sandbox import native
from funclet.sandbox.native import Spawned, Step
from funclet.sandbox.protocol import MountFailed, Network, SandboxError
from funclet.sandbox.sandboxd import cgroups, plan, shares
from funclet.sandbox.sandboxd.hostcheck import host_nameservers
from funclet.sandbox.sandboxd.messages import Create, Keep, Share
from funclet.sandbox.sandboxd.pipes import Pipes, out_of_the_way
from funclet.sandbox.sandboxd.rootfs import Skeleton, Tmp, mount_code, open_code, plan_fork, remove_dead_folders
from funclet.sandbox.sandboxd.running import Running
from funclet.sandbox.sandboxd.settings import SandboxdSettings, ShareRoot
from funclet.sandbox.sandboxd.slots import Slot, Slots
from funclet.sandbox.sandboxd.zygotes import Zygote, children, command_of, end_strays, is_roots_own
from funclet.sandbox.seccomp import build_filter

_RUN_FOLDER = Path("/run/funclet")
_TEMPORARY_PREFIX = "funclet-"
NO_TREES: Mapping[Share, int] = MappingProxyType({})


class Maker(Protocol):
    """Makes instances of one level."""

    has_stems: bool
    """Whether instances can be started ahead and get their code later."""
    known: set[int]
    """Children of this process that are somebody's; the others are ended at times."""

    def open(self) -> None:
        """Get ready. Raises SandboxError when the host does not allow it."""
        ...

    def remote_shares(self, spec: Create) -> Mapping[Share, ShareRoot]:
        """Return what of its shares lies on file servers and must be opened before `spawn`.

        Raises:
            MountFailed: one of its shares cannot be shown.
        """
        ...

    def spawn(self, spec: Create, trees: Mapping[Share, int] = NO_TREES) -> Running:
        """Begin an instance. Raises SandboxError when nothing of it is left.

        `trees`: descriptors of its remote shares, which stay the caller's.
        """
        ...

    def start_zygote(self, spec: Keep) -> Zygote | None:
        """Start the process whose forks are such instances; None if they have none.

        Raises:
            SandboxError: it cannot be made.
        """
        ...

    def end_zygote(self, zygote: Zygote) -> None:
        """End it, if it has not ended; its forks live on. Safe to call twice."""
        ...

    def fork(self, spec: Create, zygote: Zygote, *, rehearsals: int, environment: bytes = b"") -> Running:
        """Begin an instance as a fork; with an `environment` it loads its function before it is ready.

        Raises:
            SandboxError: nothing of it is left, and the zygote may be dead.
        """
        ...

    def specialise(self, running: Running, spec: Create) -> None:
        """Make a stem the instance of a function: its code, its limits.

        Raises:
            SandboxError: it cannot be used any more.
        """
        ...

    def cpu_s(self, running: Running) -> float:
        """Return the CPU seconds it has used."""
        ...

    def limit_cpu(self, running: Running) -> None:
        """End the CPU boost."""
        ...

    def boost_cpu(self, running: Running) -> None:
        """Give the CPU boost again, for a quick end."""
        ...

    def was_out_of_memory(self, running: Running) -> bool:
        """Tell whether the kernel killed a process of it for memory."""
        ...

    def give_back(self, running: Running) -> None:
        """Release everything; its processes are gone."""
        ...

    def refill(self) -> bool:
        """Prepare one thing; False when all is prepared."""
        ...

    def close(self) -> None:
        """Give back what no instance holds."""
        ...


class FullMaker:
    """Level `full`: root's means."""

    has_stems = True

    def __init__(self, settings: SandboxdSettings) -> None:
        self._settings = settings
        self._slots = Slots(settings)
        self._folder = _RUN_FOLDER / str(os.getpid())
        self._skeleton = Skeleton(self._folder, nameservers=tuple(settings.nameservers) or host_nameservers())
        self._cgroups: cgroups.Cgroups | None = None
        self._filter = b""
        self._has_user_namespaces = False
        self._home_fd = -1
        """Our own mount namespace, to come back to."""
        self.known: set[int] = set()

    def open(self) -> None:
        """See `Maker.open`."""
        self._filter = build_filter()
        found = cgroups.detect()
        if found is None:
            raise SandboxError("Control groups with memory, cpu and pids are missing: mount cgroup2 at /sys/fs/cgroup.")
        remove_dead_folders(_RUN_FOLDER, "")
        # Mounts of ours are nobody else's, and end with this process.
        native.helper().unshare(native.CLONE_NEWNS)
        failure = native.attempt([Step("PROPAGATION", a=native.MS_REC | native.MS_PRIVATE, s=b"/")])
        if failure:
            raise SandboxError(f"Mounts cannot be made private: {failure}.")
        self.known = set(children())
        self._home_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        found.open()
        self._cgroups = found
        self._slots.open()
        self._skeleton.build()
        trial = plan.Identity(user_id=self._settings.first_user_id, use_user_namespace=True)
        self._has_user_namespaces = not native.attempt(plan.identity_steps(trial))

    def remote_shares(self, spec: Create) -> Mapping[Share, ShareRoot]:
        """See `Maker.remote_shares`."""
        shares.check(spec, self._settings)
        return shares.remote_of(spec, self._settings)

    def spawn(self, spec: Create, trees: Mapping[Share, int] = NO_TREES) -> Running:
        """See `Maker.spawn`."""
        plan.check_paths(spec, self._settings)
        shares.check(spec, self._settings)
        interpreter = plan.find_interpreter(spec, self._settings)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as after:
            slot, group, tmp = self._prepare(spec, undo)
            hosts_file = self._folder / f"hosts-{spec.name}"
            undo.callback(hosts_file.unlink, missing_ok=True)
            own = shares.open_own(spec, trees, slot.user_id, hosts_file, after)
            root = self._skeleton.plan(
                spec, interpreter=interpreter.inside, prefixes=interpreter.prefixes, tmp=tmp, own=own
            )
            pipes = Pipes.make()
            undo.callback(pipes.close_ours)
            identity = self._identity(slot)
            steps = plan.full_steps(
                spec, pipes.ends, identity, root, slot.namespace.fd, group.join_fds, self._filter, interpreter.inside
            )
            spawned = _spawn(spec, interpreter, steps, plan.FULL_FLAGS, group.into_fd, pipes)
            undo.pop_all()
        self.known.add(spawned.pid)
        running = _full(_running(spec, spawned, steps, pipes), slot, group)
        if spec.hosts:
            running.hosts_file = hosts_file
        return running

    def fork(self, spec: Create, zygote: Zygote, *, rehearsals: int, environment: bytes = b"") -> Running:
        """See `Maker.fork`."""
        plan.check_paths(spec, self._settings)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as after:
            slot, group, tmp = self._prepare(spec, undo)
            pipes = Pipes.make(environment)
            undo.callback(pipes.close_ours)
            after.callback(pipes.close_ends)
            root = plan_fork(spec, tmp=tmp, code_fd=_open_code(spec, after))
            steps = plan.fork_steps(
                spec, pipes.ends, self._identity(slot), root, slot.namespace.fd, group.join_fds, self._filter
            )
            try:
                spawned = zygote.fork(
                    steps,
                    flags=plan.FULL_FLAGS,
                    cgroup_fd=group.into_fd,
                    rehearsals=rehearsals,
                    is_loaded=bool(environment),
                )
            except SandboxError:
                # First the zygote and a child that it may have made, so that what they hold can be given back.
                self.end_zygote(zygote)
                raise
            undo.pop_all()
        self.known.add(spawned.pid)
        running = _full(_running(spec, spawned, steps, pipes), slot, group)
        running.is_late = True
        return running

    def start_zygote(self, spec: Keep) -> Zygote | None:
        """See `Maker.start_zygote`."""
        command = command_of(spec, self._settings)
        if command is None:
            return None
        interpreter = plan.find_interpreter(spec, self._settings)
        if not all(map(is_roots_own, (*interpreter.deciding_paths(), command.folder))):
            return None
        root = self._skeleton.plan_template(
            spec, interpreter=interpreter.inside, prefixes=interpreter.prefixes, helper=native.path()
        )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = out_of_the_way(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        ends = plan.Ends(connection=out_of_the_way(theirs.detach()), log=null, status=-1, null=null)
        steps = [*plan.zygote_steps(root, ends), plan.exec_step(interpreter.inside)]
        argv = (interpreter.inside, *command.arguments)
        try:
            zygote = Zygote.start(steps, ours, argv=argv, command=command, flags=plan.ZYGOTE_FLAGS)
        except SandboxError:
            ours.close()
            raise
        finally:
            os.close(ends.connection)
            os.close(ends.null)
        self.known.add(zygote.pid)
        return zygote

    def end_zygote(self, zygote: Zygote) -> None:
        """See `Maker.end_zygote`."""
        if zygote.close():
            self.known.discard(zygote.pid)
            end_strays(frozenset(self.known))

    def _prepare(self, spec: Create, undo: contextlib.ExitStack) -> tuple[Slot, cgroups.Group, Tmp]:
        """Return what an instance needs before there is a process; `undo` gives it back."""
        if self._cgroups is None:
            raise SandboxError("sandboxd is not open.")
        slot = self._slots.take(tmp_mib=spec.tmp_mib, network=Network(spec.network))
        undo.callback(self._slots.give_back, slot)
        group = self._cgroups.create(spec.name, _limits(spec))
        undo.callback(self._cgroups.remove, group)
        return slot, group, Tmp(mount_fd=slot.disk.mount_fd if slot.disk else -1)

    def _identity(self, slot: Slot) -> plan.Identity:
        return plan.Identity(user_id=slot.user_id, use_user_namespace=self._has_user_namespaces)

    def specialise(self, running: Running, spec: Create) -> None:
        """See `Maker.specialise`."""
        plan.check_paths(spec, self._settings)
        if self._cgroups is None or running.group is None:
            raise SandboxError("A stem has lost its control groups.")
        try:
            mount_code(running.spawned.pidfd, spec.code_dir, self._home_fd)
        except OSError as error:
            raise SandboxError(f"The code cannot be mounted: {error}.") from error
        self._cgroups.resize(running.group, _limits(spec))

    def cpu_s(self, running: Running) -> float:
        """See `Maker.cpu_s`."""
        return running.group.cpu_s() if running.group is not None else 0.0

    def limit_cpu(self, running: Running) -> None:
        """See `Maker.limit_cpu`."""
        if self._cgroups is not None and running.group is not None:
            self._cgroups.limit_cpu(running.group)

    def boost_cpu(self, running: Running) -> None:
        """See `Maker.boost_cpu`."""
        if self._cgroups is not None and running.group is not None:
            self._cgroups.boost_cpu(running.group)

    def was_out_of_memory(self, running: Running) -> bool:
        """See `Maker.was_out_of_memory`."""
        group = running.group
        return self._cgroups is not None and group is not None and self._cgroups.was_out_of_memory(group)

    def give_back(self, running: Running) -> None:
        """See `Maker.give_back`."""
        self.known.discard(running.spawned.pid)
        _close(running)
        running.out_of_memory = running.out_of_memory or self.was_out_of_memory(running)
        if self._cgroups is not None and running.group is not None:
            self._cgroups.remove(running.group)
        if running.slot is not None:
            self._slots.give_back(running.slot)

    def refill(self) -> bool:
        """See `Maker.refill`."""
        return self._slots.refill()

    def close(self) -> None:
        """See `Maker.close`."""
        if self._home_fd >= 0:
            os.close(self._home_fd)
        self._slots.close()
        self._skeleton.remove()
        if self._cgroups is not None:
            self._cgroups.close()
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class RootlessMaker:
    """Level `rootless`: an ordinary user's means. Memory is watched by the server's driver, not enforced here."""

    has_stems = False

    def __init__(self, settings: SandboxdSettings) -> None:
        self._settings = settings
        self.known: set[int] = set()
        self._filter = b""
        self._folder = Path()
        self._skeleton: Skeleton | None = None

    def open(self) -> None:
        """See `Maker.open`."""
        self._filter = build_filter()
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        remove_dead_folders(Path(base), _TEMPORARY_PREFIX)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY_PREFIX}{os.getpid()}-", dir=base)).resolve()
        servers = tuple(self._settings.nameservers) or host_nameservers()
        self._skeleton = Skeleton(self._folder, nameservers=servers)
        self._skeleton.build()

    def remote_shares(self, spec: Create) -> Mapping[Share, ShareRoot]:
        """Refuse: an ordinary user can share no folders."""
        if spec.shares:
            raise MountFailed(f"'{spec.shares[0].target}': folders can be shared at isolation level full only")
        return {}

    def spawn(self, spec: Create, trees: Mapping[Share, int] = NO_TREES) -> Running:  # noqa: ARG002  # as above
        """See `Maker.spawn`."""
        if self._skeleton is None:
            raise SandboxError("sandboxd is not open.")
        self.remote_shares(spec)
        if spec.network != Network.OFF:
            raise SandboxError(
                "Level rootless has no network for functions: run the server as root, or use network off."
            )
        plan.check_paths(spec, self._settings)
        interpreter = plan.find_interpreter(spec, self._settings)
        root = self._skeleton.plan(spec, interpreter=interpreter.inside, prefixes=interpreter.prefixes, tmp=Tmp())
        with contextlib.ExitStack() as undo:
            pipes = Pipes.make()
            undo.callback(pipes.close_ours)
            steps = plan.rootless_steps(spec, pipes.ends, root, self._filter, interpreter.inside)
            spawned = _spawn(spec, interpreter, steps, plan.ROOTLESS_FLAGS, -1, pipes)
            undo.pop_all()
        return _running(spec, spawned, steps, pipes)

    def start_zygote(self, spec: Keep) -> Zygote | None:  # noqa: ARG002  # as below
        """Return none: there are no stems at this level."""
        return None

    def end_zygote(self, zygote: Zygote) -> None:
        """Do nothing: there are none."""

    def fork(self, spec: Create, zygote: Zygote, *, rehearsals: int, environment: bytes = b"") -> Running:  # noqa: ARG002
        """Refuse: there are no zygotes at this level."""
        raise SandboxError("There are no stems at this level.")

    def cpu_s(self, running: Running) -> float:  # noqa: ARG002  # as below
        """Return 0: nobody asks where there are no stems."""
        return 0.0

    def specialise(self, running: Running, spec: Create) -> None:  # noqa: ARG002  # `has_stems` is false
        """Refuse: an ordinary user cannot mount into an instance that runs."""
        raise SandboxError("There are no stems at this level.")

    def limit_cpu(self, running: Running) -> None:
        """Do nothing: without control groups no CPU share can be held."""

    def boost_cpu(self, running: Running) -> None:
        """Do nothing: there is no limit."""

    def was_out_of_memory(self, running: Running) -> bool:  # noqa: ARG002  # the kernel does not know
        """Return false: only the server's driver watches."""
        return False

    def give_back(self, running: Running) -> None:
        """See `Maker.give_back`."""
        _close(running)

    def refill(self) -> bool:
        """See `Maker.refill`."""
        return False

    def close(self) -> None:
        """See `Maker.close`."""
        if self._skeleton is not None:
            self._skeleton.remove()
            with contextlib.suppress(OSError):
                self._folder.rmdir()


def _spawn(
    spec: Create, interpreter: plan.Interpreter, steps: Sequence[Step], flags: int, cgroup_fd: int, pipes: Pipes
) -> Spawned:
    try:
        return native.spawn(
            steps,
            argv=(interpreter.inside, *spec.arguments),
            environment=spec.environment,
            flags=flags,
            cgroup_fd=cgroup_fd,
        )
    finally:
        pipes.close_ends()


def _running(spec: Create, spawned: Spawned, steps: Sequence[Step], pipes: Pipes) -> Running:
    outgoing = {"connection": pipes.connection, "log": pipes.log}
    return Running(id=spec.id, spawned=spawned, steps=steps, status_fd=pipes.status, outgoing=outgoing)


def _full(running: Running, slot: Slot, group: cgroups.Group) -> Running:
    """Return it with what level `full` has more."""
    running.slot, running.group = slot, group
    running.outgoing |= {"peak": group.peak_fd, "cpu": group.cpu_fd}
    if group.used_fd >= 0:
        running.outgoing["used"] = group.used_fd
    if slot.disk is not None:
        running.outgoing["tmp"] = slot.disk.root_fd
    return running


def _open_code(spec: Create, after: contextlib.ExitStack) -> int:
    """Return a detached mount of the code, which `after` closes; -1 if there is none yet."""
    if not spec.code_dir:
        return -1
    try:
        fd = open_code(spec.code_dir)
    except OSError as error:
        raise SandboxError(f"The code cannot be mounted: {error}.") from error
    after.callback(os.close, fd)
    return fd


def _limits(spec: Create) -> cgroups.Limits:
    return cgroups.Limits(
        memory_mib=spec.memory_mib,
        cpu_millicores=spec.cpu_millicores,
        processes=spec.processes + 1,  # init
    )


def _close(running: Running) -> None:
    running.close_outgoing()
    for fd in (running.status_fd, running.spawned.pidfd, running.spawned.error_fd):
        os.close(fd)
