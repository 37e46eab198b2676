"""Control groups of instances: version 1, version 2, or none.

`detect` finds what the host has. Names carry the pid of the sandboxd that made
them, so what a dead one left behind can be told and removed.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from funclet.sandbox.protocol import SandboxError

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "funclet-"
_V1_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
_V2_CONTROLLERS = ("cpu", "memory", "pids")
_PERIOD_US = 100_000
_BOOST_MILLICORES = 1000
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a control group enforces."""

    memory_mib: int
    cpu_millicores: int
    processes: int


@dataclass(slots=True, kw_only=True)
class Group:
    """The control groups of one instance. Close with `Cgroups.remove`."""

    folders: tuple[Path, ...]
    limits: Limits
    join_fds: tuple[int, ...] = ()
    """Version 1: a child that writes `0` here joins. Attaching from outside costs milliseconds instead."""
    into_fd: int = -1
    """Version 2: the folder for `CLONE_INTO_CGROUP`."""
    peak_fd: int = -1
    """Peak memory in bytes; writing to it begins a new peak, unless there is a `used_fd`."""
    used_fd: int = -1
    """Memory in use, where a peak cannot begin anew."""
    cpu_fd: int = -1
    oom_fd: int = -1
    """Becomes readable when the kernel is about to kill for memory; -1 where it kills the whole group by itself."""
    open_fds: list[int] = field(default_factory=list)

    def cpu_s(self) -> float:
        """Return the CPU seconds used so far."""
        return cpu_seconds(os.pread(self.cpu_fd, 512, 0))

    def child_started(self) -> None:
        """Close what only the child needed."""
        for fd in (*self.join_fds, self.into_fd):
            if fd >= 0:
                os.close(fd)
        self.join_fds, self.into_fd = (), -1

    def close(self) -> None:
        """Close every descriptor; the folders stay."""
        self.child_started()
        for fd in self.open_fds:
            os.close(fd)
        self.open_fds.clear()


class Cgroups(Protocol):
    """One version of control groups."""

    version: str

    def open(self) -> None:
        """Make the parent groups of this process and remove those of dead ones.

        Raises:
            SandboxError: the host does not allow it.
        """
        ...

    def create(self, name: str, limits: Limits) -> Group:
        """Make the groups of one instance, with the CPU boost of its start."""
        ...

    def limit_cpu(self, group: Group) -> None:
        """End the boost."""
        ...

    def boost_cpu(self, group: Group) -> None:
        """Give the boost again: a thousand processes that die on a third of a core take ten seconds to go."""
        ...

    def resize(self, group: Group, limits: Limits) -> None:
        """Give a group that was made ahead the limits of the function it got; the CPU boost stays."""
        ...

    def was_out_of_memory(self, group: Group) -> bool:
        """Tell whether the kernel killed a process of it for memory."""
        ...

    def remove(self, group: Group) -> None:
        """Give the group back. Its processes are gone already."""
        ...

    def close(self) -> None:
        """Remove the parent groups."""
        ...


class CgroupsV1:
    """Controllers in a hierarchy each, below the groups this process was started in: their limits stay true for us."""

    version = "v1"

    def __init__(self, parents: dict[str, Path]) -> None:
        self._roots = parents
        self._parents = {name: path / f"{_PREFIX}{os.getpid()}" for name, path in parents.items()}

    def open(self) -> None:
        """See `Cgroups.open`."""
        for controller in self._roots:
            _remove_leftovers(_ROOT / controller)
        with _named("The control groups cannot be made"):
            for parent in self._parents.values():
                parent.mkdir(exist_ok=True)

    def create(self, name: str, limits: Limits) -> Group:
        """See `Cgroups.create`."""
        folders = {controller: parent / name for controller, parent in self._parents.items()}
        group = Group(folders=tuple(dict.fromkeys(folders.values())), limits=limits)
        try:
            with _named(f"The control groups of '{name}' cannot be made"):
                for folder in group.folders:
                    folder.mkdir()
                memory = folders["memory"]
                _write(memory / "memory.limit_in_bytes", limits.memory_mib * _MIB)
                _write(memory / "memory.swappiness", 0)
                _write(folders["pids"] / "pids.max", limits.processes)
                self._set_quota(folders["cpu"], _boosted(limits))
                self._open_files(group, folders)
        except SandboxError:
            self.remove(group)
            raise
        return group

    def limit_cpu(self, group: Group) -> None:
        """See `Cgroups.limit_cpu`."""
        with _named("The CPU limit cannot be set"):
            self._set_quota(self._cpu_folder(group), group.limits.cpu_millicores)

    def boost_cpu(self, group: Group) -> None:
        """See `Cgroups.boost_cpu`."""
        with _named("The CPU limit cannot be lifted"):
            self._set_quota(self._cpu_folder(group), _boosted(group.limits))

    def resize(self, group: Group, limits: Limits) -> None:
        """See `Cgroups.resize`."""
        before, group.limits = group.limits, limits
        with _named("The limits cannot be set"):
            if before.memory_mib != limits.memory_mib:
                memory = self._parents["memory"] / group.folders[0].name
                _write(memory / "memory.limit_in_bytes", limits.memory_mib * _MIB)
            if _boosted(before) != _boosted(limits):
                self._set_quota(self._cpu_folder(group), _boosted(limits))

    def _cpu_folder(self, group: Group) -> Path:
        return self._parents["cpu"] / group.folders[0].name

    def was_out_of_memory(self, group: Group) -> bool:
        """See `Cgroups.was_out_of_memory`."""
        return _counter(self._parents["memory"] / group.folders[0].name / "memory.oom_control", "oom_kill") > 0

    def remove(self, group: Group) -> None:
        """See `Cgroups.remove`."""
        group.close()
        _remove_folders(group.folders)

    def close(self) -> None:
        """See `Cgroups.close`."""
        _remove_folders(self._parents.values())

    @staticmethod
    def _set_quota(folder: Path, millicores: int) -> None:
        _write(folder / "cpu.cfs_period_us", _PERIOD_US)
        _write(folder / "cpu.cfs_quota_us", millicores * _PERIOD_US // 1000)

    @staticmethod
    def _open_files(group: Group, folders: dict[str, Path]) -> None:
        group.peak_fd = os.open(folders["memory"] / "memory.max_usage_in_bytes", os.O_RDWR | os.O_CLOEXEC)
        group.open_fds.append(group.peak_fd)
        group.cpu_fd = os.open(folders["cpuacct"] / "cpuacct.usage", os.O_RDONLY | os.O_CLOEXEC)
        group.open_fds.append(group.cpu_fd)
        group.oom_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        group.open_fds.append(group.oom_fd)
        control = os.open(folders["memory"] / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _write(folders["memory"] / "cgroup.event_control", f"{group.oom_fd} {control}")
        finally:
            os.close(control)
        group.join_fds = tuple(os.open(folder / "tasks", os.O_WRONLY | os.O_CLOEXEC) for folder in group.folders)


class CgroupsV2:
    """The unified hierarchy. Needs a delegated group, or to be root of the host."""

    version = "v2"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parent = root / f"{_PREFIX}{os.getpid()}"

    def open(self) -> None:
        """See `Cgroups.open`."""
        _remove_leftovers(_ROOT)
        with _named("The control groups cannot be made; run as root, or delegate a group (Delegate=yes in systemd)"):
            self._enable(self._root)
            self._parent.mkdir(exist_ok=True)
            self._enable(self._parent)

    def create(self, name: str, limits: Limits) -> Group:
        """See `Cgroups.create`."""
        folder = self._parent / name
        group = Group(folders=(folder,), limits=limits)
        try:
            with _named(f"The control group of '{name}' cannot be made"):
                folder.mkdir()
                _write(folder / "memory.max", limits.memory_mib * _MIB)
                _write(folder / "memory.oom.group", 1)
                if (folder / "memory.swap.max").exists():
                    _write(folder / "memory.swap.max", 0)
                _write(folder / "pids.max", limits.processes)
                self._set_quota(folder, _boosted(limits))
                self._open_files(group, folder)
        except SandboxError:
            self.remove(group)
            raise
        return group

    def limit_cpu(self, group: Group) -> None:
        """See `Cgroups.limit_cpu`."""
        with _named("The CPU limit cannot be set"):
            self._set_quota(group.folders[0], group.limits.cpu_millicores)

    def boost_cpu(self, group: Group) -> None:
        """See `Cgroups.boost_cpu`."""
        with _named("The CPU limit cannot be lifted"):
            self._set_quota(group.folders[0], _boosted(group.limits))

    def resize(self, group: Group, limits: Limits) -> None:
        """See `Cgroups.resize`."""
        before, group.limits = group.limits, limits
        with _named("The limits cannot be set"):
            if before.memory_mib != limits.memory_mib:
                _write(group.folders[0] / "memory.max", limits.memory_mib * _MIB)
            if _boosted(before) != _boosted(limits):
                self._set_quota(group.folders[0], _boosted(limits))

    def was_out_of_memory(self, group: Group) -> bool:
        """See `Cgroups.was_out_of_memory`."""
        return _counter(group.folders[0] / "memory.events", "oom_kill") > 0

    def remove(self, group: Group) -> None:
        """See `Cgroups.remove`."""
        group.close()
        _remove_folders(group.folders)

    def close(self) -> None:
        """See `Cgroups.close`."""
        _remove_folders([self._parent])

    def _enable(self, folder: Path) -> None:
        control = folder / "cgroup.subtree_control"
        missing = set(_V2_CONTROLLERS) - set(control.read_text().split())
        if not missing:
            return
        wanted = " ".join(f"+{name}" for name in sorted(missing))
        try:
            _write(control, wanted)
        except OSError:
            # A group with processes of its own cannot have controllers below it, unless it is the host's root: in a
            # delegated group, or the root that a container sees, move them one down.
            leaf = folder / f"{_PREFIX}{os.getpid()}-leaf"
            leaf.mkdir(exist_ok=True)
            for pid in (folder / "cgroup.procs").read_text().split():
                _write(leaf / "cgroup.procs", pid)
            _write(control, wanted)

    @staticmethod
    def _set_quota(folder: Path, millicores: int) -> None:
        _write(folder / "cpu.max", f"{millicores * _PERIOD_US // 1000} {_PERIOD_US}")

    @staticmethod
    def _open_files(group: Group, folder: Path) -> None:
        peak, current = folder / "memory.peak", folder / "memory.current"
        # Before Linux 6.12 a peak cannot begin anew, and before 5.19 there is none. Root can open what cannot be
        # written all the same, so its mode tells.
        begins_anew = peak.exists() and peak.stat().st_mode & stat.S_IWUSR
        if not begins_anew:
            group.used_fd = os.open(current, os.O_RDONLY | os.O_CLOEXEC)
            group.open_fds.append(group.used_fd)
        mode = os.O_RDWR if begins_anew else os.O_RDONLY
        group.peak_fd = os.open(peak if peak.exists() else current, mode | os.O_CLOEXEC)
        group.open_fds.append(group.peak_fd)
        group.cpu_fd = os.open(folder / "cpu.stat", os.O_RDONLY | os.O_CLOEXEC)
        group.open_fds.append(group.cpu_fd)
        group.into_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _boosted(limits: Limits) -> int:
    """Return the millicores of a start."""
    return max(limits.cpu_millicores, _BOOST_MILLICORES)


def cpu_seconds(text: bytes) -> float:
    """Return what the file behind `Group.cpu_fd` says."""
    if text.startswith(b"usage_usec"):
        return int(text.split(maxsplit=2)[1]) / 1e6
    return int(text) / 1e9


def detect() -> Cgroups | None:
    """Return the version whose memory, CPU and process controllers this host has; None when they are missing."""
    own = _own_groups()
    if "memory" in own:
        parents = {name: _ROOT / name / own[name] for name in _V1_CONTROLLERS if name in own}
        if len(parents) < len(_V1_CONTROLLERS):
            return None
        return CgroupsV1({name: path if path.is_dir() else _ROOT / name for name, path in parents.items()})
    delegated = _ROOT / own.get("", "")
    root = delegated if _is_delegated(delegated) else _ROOT
    with contextlib.suppress(OSError):
        if set(_V2_CONTROLLERS) <= set((root / "cgroup.controllers").read_text().split()):
            return CgroupsV2(root)
    return None


def _own_groups() -> dict[str, str]:
    groups: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path.lstrip("/")
    return groups


def _is_delegated(folder: Path) -> bool:
    """Tell whether systemd gave the group to us (Delegate=yes); in any other there are strangers' processes to move."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _write(path: Path, value: str | int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


def _counter(path: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _remove_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _remove_leftovers(hierarchy: Path) -> None:
    """Remove groups whose maker is dead, wherever in the hierarchy it had been started."""
    for path, names, _ in os.walk(hierarchy):
        for name in names:
            pid = name.removeprefix(_PREFIX).partition("-")[0]
            if name.startswith(_PREFIX) and pid.isdigit() and not Path("/proc", pid).exists():
                folder = Path(path, name)
                _remove_folders([*folder.glob("*/"), folder])


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SandboxError(f"{what}: {error}.") from error
