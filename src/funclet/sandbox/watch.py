"""Memory and CPU of a process tree, read from `/proc`: for levels without control groups.

`MemoryWatch` polls; what is allocated and freed between two looks is not seen,
and memory shared between processes by fork counts once for each.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_PERIOD_S = 0.1
_MAX_PROCESSES = 4096
_TICKS = os.sysconf("SC_CLK_TCK")
_CPU_FIELDS = slice(11, 15)
"""utime, stime, cutime and cstime among the fields of `stat` after the name."""


def tree_usage(root: int, *, with_root: bool) -> tuple[int, float]:
    """Return bytes of memory that no file backs, and CPU seconds, of the living tree below `root`.

    Args:
        root: pid of the first process.
        with_root: false when it is an init of ours, whose memory is not the function's.
    """
    memory, cpu_s = 0, 0.0
    for pid in _tree(root):
        # A process may end between two reads.
        with contextlib.suppress(OSError, ValueError, IndexError):
            cpu_s += _cpu_s(pid)
            if with_root or pid != root:
                memory += _memory(pid)
    return memory, cpu_s


class MemoryWatch:
    """Looks at one tree ten times a second until stopped; needs a running loop."""

    def __init__(self, root: int, *, with_root: bool, limit_bytes: int, on_excess: Callable[[], None]) -> None:
        self._root = root
        self._with_root = with_root
        self._limit = limit_bytes
        self._on_excess = on_excess
        self._peak = 0
        self._cpu_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._timer = asyncio.get_running_loop().call_later(_PERIOD_S, self._look)

    def stop(self) -> None:
        """End looking; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self) -> tuple[int, float]:
        """Return the peak in bytes since the last call, and CPU seconds; begin a new peak."""
        self._sample()
        peak, self._peak = self._peak, 0
        return peak, self._cpu_s

    def _sample(self) -> None:
        memory, cpu_s = tree_usage(self._root, with_root=self._with_root)
        self._peak = max(self._peak, memory)
        self._cpu_s = max(self._cpu_s, cpu_s)

    def _look(self) -> None:
        self._sample()
        if self._peak > self._limit:
            self._timer = None
            self._on_excess()
        else:
            self.start()


def _tree(root: int) -> Iterator[int]:
    waiting, seen = [root], 0
    while waiting and seen < _MAX_PROCESSES:
        pid = waiting.pop()
        seen += 1
        yield pid
        with contextlib.suppress(OSError):
            for task in Path("/proc", str(pid), "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]


def _memory(pid: int) -> int:
    kib = 0
    for line in Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            kib += int(line.split()[1])
    return kib * 1024


def _cpu_s(pid: int) -> float:
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[_CPU_FIELDS]) / _TICKS
