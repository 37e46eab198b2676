"""CPU time of processes and of the machine, read from `/proc`. Start with `CpuMeter`."""

import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

Groups = Mapping[str, Sequence[int]]
"""Process ids by what they do for a target: `front`, `workers`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUse:
    """CPU seconds between two moments."""

    by_group: Mapping[str, float]
    active: Mapping[str, int]
    """How many processes of each group used any."""
    others_cores: float
    """Cores kept busy by processes that have nothing to do with the measurement: the noise."""


class CpuMeter:
    """Counts the CPU time of groups of processes from its construction to `stop`."""

    def __init__(self, find: Callable[[], Groups]) -> None:
        """Begin.

        Args:
            find: returns the processes of now; asked at the beginning and at the end.
        """
        self._find = find
        self._before = _by_pid(find())
        self._own_before = _own_s()
        self._busy_before, self._began = busy_s(), time.monotonic()

    def stop(self) -> CpuUse:
        """Return what was used. A process that ended meanwhile is not counted."""
        elapsed_s = time.monotonic() - self._began
        busy = busy_s() - self._busy_before
        own = _own_s() - self._own_before
        by_group, active = {}, {}
        for group, used in _by_pid(self._find()).items():
            before = self._before.get(group, {})
            deltas = [now - before.get(pid, 0.0) for pid, now in used.items()]
            by_group[group], active[group] = sum(deltas), len([delta for delta in deltas if delta > 0])
        others = max(0.0, busy - own - sum(by_group.values()))
        return CpuUse(by_group=by_group, active=active, others_cores=others / elapsed_s)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process with all its threads; 0 when it has ended."""
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return ticks_of_stat(text) / _TICKS_PER_S


def ticks_of_stat(text: str) -> int:
    """Return user and system time out of the text of `/proc/<pid>/stat`; the name in it may hold anything."""
    fields = text.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def busy_s() -> float:
    """Return the seconds that all cores together have been busy since the start of the machine."""
    return busy_ticks_of_stat(Path("/proc/stat").read_text(encoding="utf-8")) / _TICKS_PER_S


def busy_ticks_of_stat(text: str) -> int:
    """Return the busy time out of the text of `/proc/stat`: everything but idle, waiting for disks, and guests."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, text.split("\n", 1)[0].split()[1:9])
    return user + nice + system + irq + softirq + steal


def children_of(pid: int) -> list[int]:
    """Return the pids of the living children of all threads of a process."""
    try:
        threads = list(Path("/proc", str(pid), "task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []
    found: list[int] = []
    for thread in threads:
        try:
            found += map(int, (thread / "children").read_text(encoding="ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def tree_of(pid: int) -> list[int]:
    """Return a process and everything below it."""
    return [pid, *(below for child in children_of(pid) for below in tree_of(child))]


def _by_pid(groups: Groups) -> dict[str, dict[int, float]]:
    return {group: {pid: cpu_s(pid) for pid in pids} for group, pids in groups.items()}


def _own_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended: the load generators."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total
