"""Starts the data-plane processes beside the server, starts again what has died, and ends with the server.

It opens nothing, listens to nobody, and knows no secret: signals and the ends of its children are all it hears.
"""

import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from funclet.cluster.ownership import EARLY_S, restart_delay_s
from funclet.sandbox.sandboxd.supervise import FORWARDED, signals_as_data

log = logging.getLogger(__name__)

_END_S = 10.0
"""How long the others may take to end when the server has ended."""


class Supervisor:
    """The parent of all processes of one server, each with its sandboxd where there is one."""

    def __init__(
        self, server_pid: int, count: int, be_process: Callable[[int], int], *, stopping: Callable[[], None]
    ) -> None:
        """Prepare the supervisor.

        Args:
            server_pid: process 0, or its sandboxd; our child.
            count: of all processes.
            be_process: becomes the process of a number, in a child; returns its exit status.
            stopping: is called once, before the processes are told to stop.
        """
        self._server_pid = server_pid
        self._be_process = be_process
        self._stopping = stopping
        self._pids: dict[int, int] = {}
        """Pid -> number, of the processes beside the server."""
        self._started: dict[int, float] = {}
        self._failures = dict.fromkeys(range(1, count), 0)
        self._due = dict.fromkeys(range(1, count), 0.0)
        """Number -> when to start it, on the monotonic clock."""
        self._is_stopping = False
        self._kill_at = float("inf")
        self._status: int | None = None

    def run(self) -> int:
        """Keep the processes running until the server ends; return its exit status, once all have ended."""
        with signals_as_data() as signal_fd:
            # Only so that it is reported at `signal_fd`, like the others.
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            # A server that has ended already is reported by nothing.
            self._reap()
            while self._status is None or self._pids:
                self._start_due()
                ready = select.select([signal_fd], [], [], self._time_to_wait())[0]
                for number in os.read(signal_fd, 64) if ready else b"":
                    if number != signal.SIGCHLD:
                        self._pass_on(number)
                self._reap()
                if time.monotonic() >= self._kill_at:
                    self._kill_at = float("inf")
                    self._signal_others(signal.SIGKILL)
            return self._status

    def _time_to_wait(self) -> float | None:
        times = [self._kill_at, *([] if self._is_stopping else self._due.values())]
        earliest = min(times)
        return None if earliest == float("inf") else max(0.0, earliest - time.monotonic())

    def _start_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, at in self._due.items() if at <= now]:
            if self._is_stopping:
                return
            del self._due[number]
            self._started[number] = now
            pid = os.fork()
            if pid == 0:
                self._become(number)
            self._pids[pid] = number

    def _become(self, number: int) -> NoReturn:
        """Be the process of a number; this is the child."""
        status = 1
        try:
            os.close(signal.set_wakeup_fd(-1))
            for handled in (*FORWARDED, signal.SIGCHLD):
                signal.signal(handled, signal.SIG_DFL)
            status = self._be_process(number)
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
            elif pid in self._pids:
                self._ended(self._pids.pop(pid), status)

    def _server_ended(self, status: int) -> None:
        self._status = status
        self._stop()
        self._kill_at = time.monotonic() + _END_S
        self._signal_others(signal.SIGTERM)

    def _ended(self, number: int, status: int) -> None:
        if self._is_stopping:
            return
        now = time.monotonic()
        lived_s = now - self._started[number]
        delay_s = restart_delay_s(lived_s, self._failures[number])
        self._failures[number] = self._failures[number] + 1 if lived_s < EARLY_S else 0
        log.warning("data-plane process %d has ended with %d; it starts again in %g s", number, status, delay_s)
        self._due[number] = now + delay_s

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
        for pid in self._pids:
            os.kill(pid, number)
