"""Starts the data-plane processes beside the server, replaces what has died, and ends with the server.

It opens nothing, listens to nobody, and knows no secret: signals and the ends of its children are all it hears.
One process more than needed is kept ready, so that a replacement takes no start.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from funclet.cluster.ownership import EARLY_S, restart_delay_s
from funclet.sandbox.sandboxd.supervise import FORWARDED, signals_as_data

log = logging.getLogger(__name__)

_END_S = 10.0
"""How long the others may take to end when the server has ended."""
_LOOK_S = 0.01
"""How often it is looked whether the instances of a dead process are gone."""
_STANDBY_DELAY_S = 1.0
"""How long after a start or a replacement the next process to stand by is started: both need the processors."""


class Supervisor:
    """The parent of all processes of one server, each with its sandboxd where there is one."""

    def __init__(
        self, server_pid: int, count: int, be_process: Callable[[int], int], *, stopping: Callable[[], None]
    ) -> None:
        """Prepare the supervisor.

        Args:
            server_pid: process 0, or its sandboxd; our child.
            count: of all processes.
            be_process: becomes a process, in a child, that reads its number (one byte) from a descriptor as soon
                as it is ready to serve; returns its exit status.
            stopping: is called once, before the processes are told to stop.
        """
        self._server_pid = server_pid
        self._be_process = be_process
        self._stopping = stopping
        self._children: dict[int, _Child] = {}
        self._wanted = list(range(1, count))
        """Numbers that no process has."""
        self._failures = 0
        self._start_at = 0.0
        self._standby_at = float("inf")
        self._kill_at = float("inf")
        self._is_stopping = False
        self._status: int | None = None

    def run(self) -> int:
        """Keep the processes running until the server ends; return its exit status, once all have ended."""
        with signals_as_data() as signal_fd:
            # Only so that it is reported at `signal_fd`, like the others.
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            # A server that has ended already is reported by nothing.
            self._reap()
            while self._status is None or self._children:
                self._fill()
                living = [child.life_fd for child in self._children.values() if child.life_fd >= 0]
                ready = select.select([signal_fd, *living], [], [], self._time_to_wait())[0]
                for number in os.read(signal_fd, 64) if signal_fd in ready else b"":
                    if number != signal.SIGCHLD:
                        self._pass_on(number)
                self._reap()
                self._replace(ready)
                if time.monotonic() >= self._kill_at:
                    self._kill_at = float("inf")
                    self._signal_others(signal.SIGKILL)
            return self._status

    def _time_to_wait(self) -> float | None:
        times = [self._kill_at]
        if not self._is_stopping:
            times.append(self._start_at if self._wanted else max(self._standby_at, self._start_at))
            if any(child.is_dying for child in self._children.values()):
                times.append(time.monotonic() + _LOOK_S)
        return None if min(times) == float("inf") else max(0.0, min(times) - time.monotonic())

    def _fill(self) -> None:
        """Give every number a process, and keep one process without a number."""
        if self._is_stopping:
            return
        now = time.monotonic()
        while self._wanted and (standby := self._standby()):
            standby.assign(self._wanted.pop(0))
            self._standby_at = now + _STANDBY_DELAY_S
        while self._wanted and now >= self._start_at:
            self._start(now).assign(self._wanted.pop(0))
            self._standby_at = now + _STANDBY_DELAY_S
        if not self._wanted and now >= max(self._standby_at, self._start_at):
            self._standby_at = float("inf")
            self._start(now)

    def _standby(self) -> "_Child | None":
        return next((child for child in self._children.values() if child.number is None and child.life_fd >= 0), None)

    def _start(self, now: float) -> "_Child":
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        # Nothing is written to this one. Its end tells the end of the process, before that of its sandboxd.
        life_fd, held_fd = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(write_fd)
            os.close(life_fd)
            for child in self._children.values():
                child.close()
            self._become(read_fd)
        os.close(read_fd)
        os.close(held_fd)
        self._children[pid] = _Child(pid=pid, started_at=now, write_fd=write_fd, life_fd=life_fd)
        return self._children[pid]

    def _become(self, read_fd: int) -> NoReturn:
        """Be a process; this is the child."""
        status = 1
        try:
            os.close(signal.set_wakeup_fd(-1))
            for handled in (*FORWARDED, signal.SIGCHLD):
                signal.signal(handled, signal.SIG_DFL)
            status = self._be_process(read_fd)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001  # the bottom of a process: nobody else would show it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, raw_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(raw_status)
            status = code if code >= 0 else 128 - code
            if pid == self._server_pid:
                self._server_ended(status)
            elif pid in self._children:
                self._ended(self._children.pop(pid), status)

    def _server_ended(self, status: int) -> None:
        self._status = status
        self._stop()
        self._kill_at = time.monotonic() + _END_S
        self._signal_others(signal.SIGTERM)

    def _ended(self, child: "_Child", status: int) -> None:
        child.close()
        if self._is_stopping:
            return
        now = time.monotonic()
        self._failures = self._failures + 1 if now - child.started_at < EARLY_S else 0
        self._start_at = now + restart_delay_s(self._failures)
        if child.number is not None:
            self._want(child)
        elif not child.is_replaced:
            log.warning("a data-plane process that stood by has ended with %d", status)
            self._standby_at = self._start_at

    def _replace(self, ready: Sequence[int]) -> None:
        """Give away the numbers of processes that have died, once none of their instances is left."""
        for child in self._children.values():
            if child.life_fd in ready:
                child.end_life()
            # Their sandboxd has more to clean up, but nothing there can answer a request any more.
            if child.is_dying and not self._is_stopping and not _has_living_children(child.pid):
                self._want(child)

    def _want(self, child: "_Child") -> None:
        assert child.number is not None
        log.warning("data-plane process %d has died; another takes its place", child.number)
        self._wanted.append(child.number)
        child.number, child.is_replaced = None, True

    def _pass_on(self, number: int) -> None:
        self._stop()
        if self._status is None:
            os.kill(self._server_pid, number)
        self._signal_others(number)

    def _stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._stopping()

    def _signal_others(self, number: int) -> None:
        # Not reaped yet, so none of these numbers can be anybody else's.
        for pid in self._children:
            os.kill(pid, number)


@dataclass(slots=True)
class _Child:
    """A data-plane process, or its sandboxd."""

    pid: int
    started_at: float
    write_fd: int
    life_fd: int
    """-1 once the process has died."""
    number: int | None = None
    """None while it stands by, and again when another has taken its place."""
    is_replaced: bool = False

    @property
    def is_dying(self) -> bool:
        """Whether the process has died and its number is not free yet."""
        return self.life_fd < 0 and self.number is not None

    def assign(self, number: int) -> None:
        """Tell it its number."""
        self.number = number
        # It may have died; the number is free again when that is noticed.
        with contextlib.suppress(BrokenPipeError):
            os.write(self.write_fd, bytes([number]))
        os.close(self.write_fd)
        self.write_fd = -1

    def end_life(self) -> None:
        """Note that the process has died."""
        os.close(self.life_fd)
        self.life_fd = -1

    def close(self) -> None:
        """Close what is open."""
        for descriptor in (self.write_fd, self.life_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self.write_fd = self.life_fd = -1


def _has_living_children(pid: int) -> bool:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return False
    return any(_is_living(child) for child in children)


def _is_living(pid: str) -> bool:
    try:
        # The state stands behind the name, which may hold anything.
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
