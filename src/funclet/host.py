"""What the host gives to this process: descriptors and memory."""

import os
import resource


def raise_descriptor_limit() -> None:
    """Each instance takes five descriptors and each connection one: take as many as the host gives."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def max_connections_of(wanted: int, *, share: float) -> int:
    """Return how many connections a port may hold: as many as wanted, but at most a share of all descriptors."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if descriptors == resource.RLIM_INFINITY else min(wanted, int(descriptors * share))


def host_memory_mib() -> int:
    """Return the memory of this host."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
