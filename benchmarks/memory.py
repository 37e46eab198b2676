"""Memory of processes and of the machine, and wake-ups, read from `/proc`. Start with `settled_used_mib`."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_KIB_PER_MIB = 1024
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Memory of several processes together, in MiB."""

    pss_mib: float
    """Pages that processes share are counted once."""
    rss_mib: float
    """Pages that processes share are counted in each."""


def held_by(pids: Sequence[int]) -> Held:
    """Return the memory of processes; those that have ended hold nothing."""
    pss_kib = rss_kib = 0
    for pid in pids:
        try:
            members = kib_of(Path("/proc", str(pid), "smaps_rollup").read_text(encoding="ascii", errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        pss_kib += members.get("Pss", 0)
        rss_kib += members.get("Rss", 0)
    return Held(pss_mib=pss_kib / _KIB_PER_MIB, rss_mib=rss_kib / _KIB_PER_MIB)


def kib_of(text: str) -> dict[str, int]:
    """Return the lines `name: number kB` of a text of `/proc` by name."""
    return {name: int(number) for name, number in re.findall(r"^(\w[\w()]*):\s+(\d+) kB$", text, re.MULTILINE)}


def can_settle() -> bool:
    """Tell whether `settled_used_mib` may do what it does: only root may."""
    return os.access(_DROP_CACHES, os.W_OK)


def settled_used_mib() -> float:
    """Drop what the kernel keeps only to be faster, and return what is then in use, its own memory included.

    Needs root. Used is what is neither free nor a page of a file: pages of files come and go as files are read,
    and can be read again. What remains of the kernel's own caches after dropping is in use.

    Raises:
        OSError: the caches cannot be dropped.
    """
    os.sync()
    _DROP_CACHES.write_text("3\n", encoding="ascii")
    return used_kib(kib_of(Path("/proc/meminfo").read_text(encoding="ascii"))) / _KIB_PER_MIB


def used_kib(members: dict[str, int]) -> int:
    """Return the memory in use by the members of `/proc/meminfo`, pages of files left out."""
    return members["MemTotal"] - members["MemFree"] - members["Active(file)"] - members["Inactive(file)"]


def wake_ups(pids: Sequence[int]) -> int:
    """Return how many times all threads of the processes have been given a core so far."""
    total = 0
    for pid in pids:
        for status in Path("/proc", str(pid), "task").glob("*/status"):
            try:
                total += switches_of(status.read_text(encoding="utf-8", errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total


def switches_of(text: str) -> int:
    """Return the context switches out of the text of `/proc/<pid>/task/<tid>/status`."""
    return sum(int(number) for number in re.findall(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)$", text, re.MULTILINE))


def is_in_sandbox(pid: int) -> bool:
    """Tell whether a process has process ids of its own, as instances and what is prepared for them have."""
    try:
        text = Path("/proc", str(pid), "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    found = re.search(r"^NSpid:\s+(.+)$", text, re.MULTILINE)
    return found is not None and len(found[1].split()) > 1
