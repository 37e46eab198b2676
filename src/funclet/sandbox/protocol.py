"""What the data plane may ask of a sandbox, whatever makes it.

Start with `SandboxDriver`. A sandbox holds one process tree and knows nothing
of the frames that are spoken inside it.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class SandboxError(Exception):
    """The sandbox could not do what was asked. A fault of the platform, never of the function."""


class MountFailed(SandboxError):
    """A shared folder cannot be shown; the message names where it was to be seen, and is safe to show."""


class Network(StrEnum):
    """What an instance may reach."""

    OFF = "off"
    """Loopback only."""
    NAT = "nat"
    """Addresses outside this host, through a network of its own."""
    PRIVATE = "private"
    """As NAT, but private addresses only."""


class ExitReason(StrEnum):
    """Why a sandbox ended."""

    EXITED = "exited"
    STOPPED = "stopped"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFolder:
    """A folder of the host that an instance shares with others."""

    source: str
    """Absolute, without symbolic links."""
    target: str
    """Where it is seen inside."""
    read_only: bool
    user_id: int
    """Who owns, on the host, the files that the instance writes."""
    group_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """Everything needed to make one sandbox. All paths are of the host."""

    name: str
    """Unique on this host; letters, digits and `-`, at most 60. Names the cgroup and the host name inside."""
    interpreter: Path
    """Executable that runs first."""
    arguments: Sequence[str]
    """Its arguments; `{runtime_root}` and `{code_root}` are still in them: the driver knows the paths."""
    environment: Mapping[str, str]
    """Variables as they are, braces included: authors may write what they like."""
    path_environment: Mapping[str, str] = field(default_factory=dict)
    """More variables, with the same placeholders as the arguments."""
    code_dir: Path
    """Unpacked code; seen read-only at `{code_root}`."""
    runtime_dir: Path
    """Language folder; seen read-only at `{runtime_root}`."""
    interpreter_links: Sequence[str] = ()
    """Paths below `/opt/function/runtime` that must lead to the interpreter."""
    stem_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of a sandbox that is started ahead, with placeholders; empty: this one must be started anew."""
    memory_mib: int
    cpu_millicores: int
    """Share of CPU after `limit_cpu`; before it, a start may use a whole core."""
    tmp_mib: int = 512
    processes: int = 1024
    open_files: int = 2048
    network: Network = Network.OFF
    extra_read_only: Mapping[Path, str] = field(default_factory=dict)
    """More host folders and where they are seen inside."""
    shares: Sequence[SharedFolder] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Names that lead to addresses (IPv4), beside those of the network's name servers."""
    greet: Callable[[Mapping[str, str]], bytes] | None = None
    """Makes, of the environment with all paths in it, what is written to the connection of a sandbox that was started
    ahead, as soon as it has its code: its runtime then works while the server is still being told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The two ends the server holds. Whoever starts the sandbox owns and closes them."""

    connection: socket.socket
    """Our end of the frame socket, non-blocking."""
    log_fd: int
    """Read end of the log pipe, non-blocking."""
    is_greeted: bool = False
    """The sandbox was started ahead, and what `SandboxSpec.greet` made has been written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a sandbox ended."""

    reason: ExitReason
    status: int
    """Exit status of the first process, or minus the signal number."""


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """What an instance has used since `measure` was last called, or since start."""

    memory_peak_bytes: int
    cpu_s: float
    """CPU seconds of the whole instance since it started."""
    tmp_bytes: int
    """Bytes now stored in `/tmp`; 0 where the driver cannot know."""


class Sandbox(Protocol):
    """One sandbox. `start` once; then the others; after `wait` has returned only `wait` may be called."""

    async def start(self, spec: SandboxSpec) -> Streams:
        """Make the sandbox and start the interpreter.

        Raises:
            MountFailed: a shared folder cannot be shown; nothing of it is left.
            SandboxError: nothing of it is left.
        """
        ...

    def measure(self, *, storage_age_s: float = 0.0) -> Usage:
        """Return usage and begin a new peak. Costs microseconds; never waits.

        `storage_age_s`: how old the bytes in `/tmp` may be; the other figures are always those of now.
        """
        ...

    def limit_cpu(self) -> None:
        """End the start-up boost: from now on the CPU share of the spec holds."""
        ...

    def freeze(self, *, is_frozen: bool) -> None:
        """Let no process of it run, or let all run again; returns at once. What is sent meanwhile waits."""
        ...

    async def stop(self, *, grace_s: float) -> Exit:
        """Ask the first process to end (SIGTERM), end every process after `grace_s` seconds; 0 kills at once.

        Safe to call twice and together with `wait`.
        """
        ...

    async def wait(self) -> Exit:
        """Wait until every process of the sandbox is gone and its resources are given back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCheck:
    """One line of `fgs doctor` about isolation."""

    name: str
    ok: bool
    detail: str
    """What was found, and what to do when it is not ok."""


class SandboxDriver(Protocol):
    """Makes sandboxes of one kind."""

    @property
    def level(self) -> str:
        """`full`, `rootless` or `process`: what an instance is isolated by; shown at start and by `fgs doctor`."""
        ...

    def create(self) -> Sandbox:
        """Return a sandbox that is not started yet."""
        ...

    def keep_stems(self, spec: SandboxSpec) -> None:
        """Start sandboxes like this one ahead, where this kind can; its code and variables do not matter."""
        ...

    def check_host(self) -> Sequence[HostCheck]:
        """Say what this host allows. Safe to call at any time."""
        ...

    async def open(self) -> None:
        """Get ready to make sandboxes.

        Raises:
            SandboxError: the host does not allow this kind.
        """
        ...

    async def close(self) -> None:
        """End all sandboxes that still run and give everything back."""
        ...
