"""How many processes there are, and which one owns which function. Pure.

Ownership never moves while the server runs: the instance maximum of a function is exact because one process
counts its instances, and there is no moment at which two would. A process that has died is started again and
owns the same functions.
"""

import zlib

CORES_OF_ONE = 4
"""Up to so many cores one process is faster: a hand-over between processes costs two wake-ups."""
CORES_PER_PROCESS = 2
"""One for the process, one for its instances."""
MAX_CHOSEN = 8
LARGEST_INSTANCE_MIB = 10_240
"""Every process can hold an instance of the largest size."""
EARLY_S = 2.0
FAILURES_BEFORE_DELAY = 3
MAX_DELAY_S = 1.0


def choose_count(asked: int, *, cores: int, memory_mib: int) -> int:
    """Return how many data-plane processes a server has.

    Args:
        asked: the setting; 0 lets this function choose.
        cores: what the server may use.
        memory_mib: what all instances may hold together; each process gets an equal share.
    """
    if asked:
        return asked
    if cores <= CORES_OF_ONE:
        return 1
    return max(1, min(MAX_CHOSEN, cores // CORES_PER_PROCESS, memory_mib // LARGEST_INSTANCE_MIB))


def owner_of(function_id: str, count: int) -> int:
    """Return the number of the process that owns a function, 0 to `count` - 1; the same in every process."""
    return zlib.crc32(function_id.encode()) % count


def restart_delay_s(failures: int) -> float:
    """Return how long to wait before the next process is started.

    Args:
        failures: how many in a row have died within `EARLY_S` seconds of their start.
    """
    beyond = failures - FAILURES_BEFORE_DELAY
    return 0.0 if beyond <= 0 else min(MAX_DELAY_S, 0.1 * 2.0 ** min(beyond, 10))
