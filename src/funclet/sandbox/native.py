"""The typed face of the C helper: steps with names, and `spawn`.

A `Step` is one system call (or a few) that the child makes before it executes
the interpreter. `describe_failure` turns what the child reports into words.
"""

import os
import resource
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from funclet.sandbox.protocol import SandboxError

try:
    from funclet.sandbox import _native as _helper
except ImportError:  # built without a compiler: only the `process` level is left
    _native = None
else:
    _native = _helper

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REC = 0x4000
MS_PRIVATE = 1 << 18

ATTR_RDONLY = 1
ATTR_NOSUID = 2
ATTR_NODEV = 4
ATTR_NOEXEC = 8

_REPORT = struct.Struct("=ii")

Row = tuple[int, int, int, int, bytes, bytes]
"""A step as the C module takes it."""


class Helper(Protocol):
    """The functions of the C module; they raise OSError."""

    def spawn(
        self, steps: list[Row], argv: list[bytes], envp: list[bytes], flags: int, cgroup_fd: int, error_fd: int, /
    ) -> tuple[int, int]:
        """Make a child that runs the steps; return its pid and pidfd."""
        ...

    def unshare(self, flags: int, /) -> None:
        """Leave namespaces of this process, which must have one thread."""
        ...

    def setns(self, fd: int, kind: int, /) -> None:
        """Join a namespace."""
        ...

    def set_parent_death_signal(self, signal: int, /) -> None:
        """Ask for a signal when the parent dies. A change of user clears it: call after that."""
        ...

    def take_meters(self, peak_fd: int, cpu_fd: int, /) -> tuple[int, float]:
        """Return peak memory in bytes, which begins anew, and CPU seconds of a control group; 0 for no descriptor."""
        ...

    def clone_tree(self, path: str, attributes: int, is_share: bool = False, owners_fd: int = -1, /) -> int:
        """Return a descriptor of a detached copy of the mounts at a path without symbolic links.

        Of a share only the one folder, with the owners of its files translated by a user namespace if it is given.
        """
        ...

    def owners(self, uid_map: str, gid_map: str, /) -> int:
        """Return a user namespace without processes, with lines such as `<id on disk> <id of a process> 1`."""
        ...

    def attach(self, tree_fd: int, path: str, /) -> None:
        """Mount what `clone_tree` returned."""
        ...

    def mount_detached(self, kind: str, source: str, attributes: int, /) -> int:
        """Mount a file system that no folder shows yet; it lasts as long as the returned descriptor."""
        ...

    def mount(self, kind: str, source: str, path: str, flags: int, options: str, /) -> None:
        """Mount a file system on a folder. Waits for file servers."""
        ...

    def unmount(self, path: str, /) -> None:
        """Take a mount away; it ends when nobody uses it any more. Does not wait."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One thing the child does. The meaning of the fields is that of the operation (see `_native.c`)."""

    op: str
    """Name of the operation, without the prefix `OP_`."""
    a: int = 0
    b: int = 0
    c: int = 0
    s: bytes = b""
    t: bytes = b""

    def __str__(self) -> str:
        detail = "" if self.op == "SECCOMP" else os.fsdecode(self.s or self.t).replace("\0", " ")
        return f"{self.op.lower().replace('_', ' ')} {detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Spawned:
    """A child that has begun with its steps. The caller owns both descriptors."""

    pid: int
    pidfd: int
    error_fd: int
    """Reads as empty once the interpreter runs, else as the report for `describe_failure`."""


def is_available() -> bool:
    """Tell whether the C helper was built."""
    return _native is not None


def helper() -> Helper:
    """Return the C module.

    Raises:
        SandboxError: it was not built.
    """
    if _native is None:
        raise SandboxError("The helper funclet.sandbox._native is missing: install a C compiler and reinstall funclet.")
    return _native


def spawn(
    steps: Sequence[Step],
    *,
    argv: Sequence[str],
    environment: Mapping[str, str],
    flags: int = 0,
    cgroup_fd: int = -1,
) -> Spawned:
    """Make a child that runs `steps`; the last is normally `EXEC`. Does not wait for it.

    Raises:
        SandboxError: the kernel refused to make a process with these namespaces.
    """
    native = helper()
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(write_fd, True)
    try:
        pid, pidfd = native.spawn(
            [row_of(step, write_fd) for step in steps],
            [os.fsencode(argument) for argument in argv],
            [os.fsencode(f"{name}={value}") for name, value in environment.items()],
            flags,
            cgroup_fd,
            write_fd,
        )
    except (OSError, ValueError) as error:
        os.close(read_fd)
        raise SandboxError(f"The process cannot be made: {error}.") from error
    finally:
        os.close(write_fd)
    return Spawned(pid, pidfd, read_fd)


def row_of(step: Step, error_fd: int) -> Row:
    """Return a step for the C module; `error_fd` is the child's end of the pipe for its report."""
    operation = getattr(helper(), "OP_" + step.op)
    # Through the pipe that we read the child sees a parent that died before it asked to be told.
    return (operation, step.a, error_fd if step.op == "PDEATHSIG" else step.b, step.c, step.s, step.t)


def path() -> Path:
    """Return the file of the C module.

    Raises:
        SandboxError: it was not built.
    """
    return Path(str(getattr(helper(), "__file__", "")))


def limit_step(which: int, value: int) -> Step:
    """Return the step that sets a resource limit; one that is lower already stays."""
    _, hard = resource.getrlimit(which)
    return Step("RLIMIT", a=which, b=value if hard == resource.RLIM_INFINITY else min(value, hard))


def attempt(steps: Sequence[Step], *, flags: int = 0) -> str:
    """Run `steps` in a child that then ends; return an empty string or what failed. Waits for it: milliseconds."""
    try:
        spawned = spawn(steps, argv=(), environment={}, flags=flags)
    except SandboxError as error:
        return str(error)
    try:
        os.waitid(os.P_PIDFD, spawned.pidfd, os.WEXITED)
        report = os.read(spawned.error_fd, _REPORT.size)
    finally:
        os.close(spawned.pidfd)
        os.close(spawned.error_fd)
    return describe_failure(steps, report) if report else ""


def describe_failure(steps: Sequence[Step], report: bytes) -> str:
    """Name the step that failed and why."""
    if len(report) != _REPORT.size:
        return "the child ended before it had reported"
    index, number = _REPORT.unpack(report)
    return f"step '{steps[index]}': {os.strerror(number)}"
