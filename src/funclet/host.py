"""What the host and the interpreter give to this process: descriptors, memory and turns."""

import fcntl
import gc
import os
import resource
import sys
from pathlib import Path

_ROOM = 16_384
"""Descriptors for which there is room from the beginning, at 8 bytes each."""
_GC_THRESHOLD = (20_000, 20, 20)
"""What requests make is freed by counting; a search for circles every 700 objects finds none."""
_SWITCH_S = 0.0005
"""How long a thread keeps the interpreter while another one wants it. The loop waits for the thread that commits, and
that thread for the loop: up to 5 ms each time if Python is left alone."""


def raise_descriptor_limit() -> None:
    """Each instance takes five descriptors and each connection one: take as many as the host gives."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _make_room(_ROOM if most == resource.RLIM_INFINITY else min(most, _ROOM))


def _make_room(descriptors: int) -> None:
    """Have the table of descriptors grow now.

    The kernel doubles it when it is full, and lets a process with threads wait for all processors each
    time, often for longer than a whole cold start: so would the request that needs the descriptor.
    """
    with Path(os.devnull).open("rb") as some:
        os.close(fcntl.fcntl(some.fileno(), fcntl.F_DUPFD_CLOEXEC, descriptors - 1))


def max_connections_of(wanted: int, *, share: float) -> int:
    """Return how many connections a port may hold: as many as wanted, but at most a share of all descriptors."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if descriptors == resource.RLIM_INFINITY else min(wanted, int(descriptors * share))


def host_memory_mib() -> int:
    """Return the memory of this host."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)


def settle_interpreter() -> None:
    """Set up the interpreter for serving, once everything that stays is loaded."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    sys.setswitchinterval(_SWITCH_S)
