"""Zygotes: warmed processes, one per kind of runtime, whose forks become instances (`runtimes/CONTRACT.md`, Zygotes).

`Zygote.start` makes one, `Zygote.fork` asks it for a child. A zygote runs as root and
holds nothing that is anybody's: what is a function's reaches only the fork.
"""

import array
import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from funclet.sandbox import native
from funclet.sandbox.native import Spawned, Step
from funclet.sandbox.protocol import SandboxError
from funclet.sandbox.sandboxd.messages import Keep
from funclet.sandbox.sandboxd.rootfs import CODE_ROOT, RUNTIME_ROOT
from funclet.sandbox.sandboxd.settings import Forkable, SandboxdSettings

FIRST_DESCRIPTOR = 100
"""What came with a request has this number in the zygote, what came next the next one."""
_ANSWER_S = 1.0
_MAX_ANSWER_BYTES = 4096
_READY = b"ready"
_VARIABLE = {"FUNCLET_STEM": "fork"}
_DESCRIPTORS = {"SETNS": "a", "WRITE_FD": "a", "MOVE": "a", "INIT": "b", "DESCRIPTORS": "abc"}
"""The fields of steps that are descriptors."""


def command_of(spec: Keep, settings: SandboxdSettings) -> Forkable | None:
    """Return how the zygote of such sandboxes is started; None if they have none.

    It runs as root, so nothing of it may be the server's choice: the request must say exactly what was settled before
    the server was there.
    """
    for one in settings.forkable:
        known = replace(
            one,
            arguments=tuple(map(_filled, one.arguments)),
            environment={name: _filled(value) for name, value in one.environment.items()},
        )
        asked = (spec.runtime_dir, tuple(spec.arguments), dict(spec.stem_environment))
        if asked == (str(known.folder), known.arguments, known.environment):
            return known
    return None


def is_roots_own(path: Path) -> bool:
    """Tell whether nobody can change a file or folder but root, or whoever can change this program anyway."""
    found = path.stat()
    return found.st_uid in (0, Path(__file__).stat().st_uid) and not found.st_mode & 0o022


@dataclass(slots=True)
class Zygote:
    """One zygote from start to `close`."""

    pid: int
    pidfd: int
    control: socket.socket
    fd: int
    """Of `control`, to be known by after the end."""
    is_ready: bool = False
    is_over: bool = False

    @classmethod
    def start(
        cls, steps: Sequence[Step], control: socket.socket, *, argv: Sequence[str], command: Forkable, flags: int
    ) -> "Zygote":
        """Start a zygote; it says when it is ready. `control` is our end of its socket.

        Raises:
            SandboxError: it could not be made.
        """
        spawned = native.spawn(steps, argv=argv, environment={**command.environment, **_VARIABLE}, flags=flags)
        os.close(spawned.error_fd)
        return cls(spawned.pid, spawned.pidfd, control, control.fileno())

    def hear(self) -> bool:
        """Read the one thing it says by itself: that it is ready. False: it has ended or talks nonsense."""
        with contextlib.suppress(OSError):
            if self.control.recv(_MAX_ANSWER_BYTES, socket.MSG_DONTWAIT) == _READY and not self.is_ready:
                self.is_ready = True
                return True
        return False

    def fork(self, steps: Sequence[Step], *, flags: int, cgroup_fd: int, rehearsals: int, is_loaded: bool) -> Spawned:
        """Make a child of this process that runs `steps` and goes on as a stem.

        Args:
            steps: the last one is `RESUME`.
            flags: of clone3.
            cgroup_fd: group to begin in, or -1.
            rehearsals: how often the child warms up; 0 when somebody waits for it.
            is_loaded: its standard input is the environment of a function, whose module it loads before it is ready.

        Raises:
            SandboxError: there is no child, and the zygote may be dead.
        """
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_fd, True)
        try:
            sent = _Sent()
            rows = [native.row_of(_renumbered(step, sent), sent.number(write_fd)) for step in steps]
            request = {
                "steps": [(*row[:4], row[4].decode("latin-1"), row[5].decode("latin-1")) for row in rows],
                "flags": flags,
                "cgroup": sent.number(cgroup_fd),
                "report": sent.number(write_fd),
                "rehearsals": rehearsals,
                "loaded": is_loaded,
            }
            pid = self._ask(json.dumps(request, separators=(",", ":")).encode(), sent.descriptors)
            return Spawned(pid, os.pidfd_open(pid), read_fd)
        except (OSError, ValueError, KeyError, TypeError) as error:
            os.close(read_fd)
            raise SandboxError(f"The process cannot be forked: {error}.") from error
        finally:
            os.close(write_fd)

    def close(self) -> bool:
        """End it and wait for that; False if that was done before. Its forks live on: they are our children."""
        if self.is_over:
            return False
        self.is_over = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        self.control.close()
        return True

    def _ask(self, packet: bytes, descriptors: Sequence[int]) -> int:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self.control.sendmsg([packet], [rights])
        # A fork takes a tenth of a millisecond: not worth going back to the loop, which has others to look after.
        if not select.select([self.control], [], [], _ANSWER_S)[0]:
            raise OSError("the zygote does not answer")
        answer = json.loads(self.control.recv(_MAX_ANSWER_BYTES) or b'{"error": "the zygote has ended"}')
        if "error" in answer:
            raise OSError(str(answer["error"]))
        return int(answer["pid"])


def end_strays(known: frozenset[int]) -> None:
    """End the children of this process that nobody knows: those of a zygote that died before it could name them."""
    for pid in set(children()) - known:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def children() -> Iterator[int]:
    """Yield the pids of the children of this process, which has one thread."""
    for pid in Path("/proc/thread-self/children").read_text().split():
        yield int(pid)


class _Sent:
    """The descriptors of one request, and their numbers in the zygote."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def number(self, fd: int) -> int:
        if fd < 0:
            return fd
        if fd not in self.descriptors:
            self.descriptors.append(fd)
        return FIRST_DESCRIPTOR + self.descriptors.index(fd)


def _renumbered(step: Step, sent: _Sent) -> Step:
    fields = _DESCRIPTORS.get(step.op, "")
    numbers: dict[str, Any] = {name: sent.number(getattr(step, name)) for name in fields}
    return replace(step, **numbers) if fields else step


def _filled(text: str) -> str:
    return text.replace("{code_root}", CODE_ROOT).replace("{runtime_root}", RUNTIME_ROOT)
