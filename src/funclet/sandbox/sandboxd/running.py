"""One instance that runs: what it is made of, and what must be given back when it has ended."""

import contextlib
import os
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from funclet.sandbox.native import Spawned, Step
from funclet.sandbox.protocol import ExitReason
from funclet.sandbox.sandboxd import cgroups
from funclet.sandbox.sandboxd.messages import Create
from funclet.sandbox.sandboxd.slots import Slot


@dataclass(slots=True, kw_only=True)
class Running:
    """One instance from spawn until everything is given back."""

    id: int
    spawned: Spawned
    steps: Sequence[Step]
    status_fd: int
    outgoing: dict[str, int]
    """Descriptors for the server, by name; closed here once they are sent."""
    slot: Slot | None = None
    group: cgroups.Group | None = None
    is_started: bool = False
    stop_asked: bool = False
    is_stem: bool = False
    """It was started ahead, and is nobody's yet."""
    is_ready: bool = False
    """As a stem it has said READY."""
    is_late: bool = False
    """Its runtime does not know the environment when the server gets it."""
    spec: Create | None = None
    """What function it is for; None while it is for any."""
    cpu_before_s: float = 0.0
    """CPU time that it had used when it was given to the server."""
    out_of_memory: bool = False
    hosts_file: Path | None = None
    """What shows it names of its network, until it has mounted that."""

    def signal(self, number: int) -> None:
        """Send to init; it passes SIGTERM on. Nothing happens when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.spawned.pidfd, number)

    def child_started(self) -> None:
        """Let go of what only the child needed."""
        if self.hosts_file is not None:
            self.hosts_file.unlink(missing_ok=True)
        if self.slot is not None:
            self.slot.child_started()
        if self.group is not None:
            self.group.child_started()

    def let_go_of_tmp(self) -> None:
        """Close our descriptors of `/tmp` before the instance ends: whoever closes a disk last waits milliseconds."""
        if self.slot is not None and self.slot.let_go_of_tmp():
            self.outgoing.pop("tmp", None)

    def close_outgoing(self) -> None:
        """Close what was made for the server."""
        for name, fd in self.outgoing.items():
            if name not in {"peak", "used", "cpu", "tmp"}:  # those are the control group's and the slot's
                os.close(fd)
        self.outgoing.clear()

    def exit_status(self) -> int:
        """Return exit status, or minus the signal, of the ended interpreter."""
        wait_status = os.read(self.status_fd, 4)
        if len(wait_status) == struct.calcsize("i"):
            return os.waitstatus_to_exitcode(struct.unpack("i", wait_status)[0])
        return -signal.SIGKILL

    def exit_reason(self) -> ExitReason:
        """Return why it ended."""
        if self.out_of_memory:
            return ExitReason.OUT_OF_MEMORY
        return ExitReason.STOPPED if self.stop_asked else ExitReason.EXITED
