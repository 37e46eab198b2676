"""Stopping and continuing all processes of an instance: how the CPU is taken from one that has nothing to do.

With signals and not the kernel's freezer, so that it holds at every level of isolation and for both versions of
control groups.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_MAX_ROUNDS = 5
"""How often processes are looked for that came while the others were being stopped."""


def pause(first: int) -> None:
    """Stop a process and everything below it; those that have ended are passed over."""
    stopped: set[int] = set()
    for _ in range(_MAX_ROUNDS):
        # Parents before their children: of a process that is stopped none comes and none goes.
        fresh = [pid for pid in _tree(first) if pid not in stopped]
        if not fresh:
            return
        for pid in fresh:
            _send(pid, signal.SIGSTOP)
        stopped.update(fresh)


def resume(first: int) -> None:
    """Let them go on."""
    for pid in _tree(first):
        _send(pid, signal.SIGCONT)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    # A process may end at any moment.
    with contextlib.suppress(OSError):
        for thread in Path("/proc", str(pid), "task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _tree(int(child))


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
