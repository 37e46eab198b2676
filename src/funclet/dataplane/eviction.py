"""What an idle instance is worth when memory is short. Pure: numbers in, a number out."""

SOON_S = 60.0
"""A request within this time is soon."""


def reuse_chance(idle_s: float, *, learned: float | None = None, is_due: bool = False) -> float:
    """Return how likely it is that an instance is used again soon, 0 to 1.

    Without more knowledge, what has been idle for long will be idle for as long again.

    Args:
        idle_s: how long it has been idle.
        learned: what the pauses of its function say, if they say anything.
        is_due: whether a request is known to come, that of a timer.
    """
    if is_due:
        return 1.0
    return SOON_S / (SOON_S + max(0.0, idle_s)) if learned is None else learned


def keep_value(*, start_s: float, reuse: float, memory_mib: int) -> float:
    """Return what an instance saves for its memory: expected seconds of starting per MiB. The least goes first.

    Args:
        start_s: what starting it again is expected to take.
        reuse: how likely it is that it would have been used, 0 to 1.
        memory_mib: what it holds.
    """
    return start_s * reuse / memory_mib
