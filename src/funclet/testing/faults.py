"""Faults at named places, for servers that tests start: kill -9 between two steps of a request, a slow disk, a clock.

`main` starts `fgs` with one of them, so nothing in the product knows of it:
`python -m funclet.testing.faults POINT MARKER serve ...`.
"""

import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from funclet.asyncq.attempt import Attempts
from funclet.asyncq.dispatch import DeliveryWorker
from funclet.asyncq.queue import AsyncQueue
from funclet.base.clock import SystemClock
from funclet.cli.main import main as fgs
from funclet.store.sql_queue import SqlQueue

SLOW_COMMIT_S = 0.5

Place = tuple[type, str, bool]
"""A class, one of its methods, and whether the server dies before it (else behind it)."""

CRASH_POINTS: dict[str, Place] = {
    "accept-written": (SqlQueue, "add_all", False),
    "accept-durable": (AsyncQueue, "_accepted", True),
    "accept-answered": (AsyncQueue, "_accepted", False),
    "run-begins": (Attempts, "run", True),
    "run-ended": (Attempts, "run", False),
    "settle-written": (SqlQueue, "settle_all", False),
    "settle-durable": (AsyncQueue, "_ended", True),
    "delivery-begins": (DeliveryWorker, "_try", True),
    "delivery-acknowledged": (DeliveryWorker, "_try", False),
    "delivery-durable": (DeliveryWorker, "_write", False),
}
"""Between accepting a request and the end of its delivery, in this order."""


def crash_once(point: str, marker: Path) -> None:
    """Let this process kill itself the first time that it comes to a point; the file `marker` says that it has."""
    owner, name, is_before = CRASH_POINTS[point]
    method = getattr(owner, name)

    def crash() -> None:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, _around(method, crash, is_before=is_before))


def slow_commits(delay_s: float) -> None:
    """Let every transaction that accepts requests take so much longer, as a slow disk does."""
    add_all = SqlQueue.add_all

    def slow(self: SqlQueue, accepted: Any) -> Any:
        time.sleep(delay_s)
        return add_all(self, accepted)

    setattr(SqlQueue, "add_all", slow)  # noqa: B010 - an assignment to a method is refused by the type checker


def move_clock(file: Path) -> None:
    """Let the wall clock of this process be off by the seconds in `file`, which may change at any time."""

    def now() -> float:
        return time.time() + float(file.read_text("ascii") or 0)

    setattr(SystemClock, "now", staticmethod(now))  # noqa: B010 - an assignment to a method is refused by the type checker


def _around(method: Callable[..., Any], crash: Callable[[], None], *, is_before: bool) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        if is_before:
            crash()
        found = method(*arguments, **options)
        if is_before:
            return found
        if isinstance(found, Coroutine):
            return _then(found, crash)
        crash()
        return found

    return call


async def _then(work: Coroutine[Any, Any, Any], crash: Callable[[], None]) -> Any:
    found = await work
    crash()
    return found


def main() -> None:
    """Install the fault that the first arguments name, and be `fgs` with the rest of them."""
    point, marker, *words = sys.argv[1:]
    if point == "slow":
        slow_commits(SLOW_COMMIT_S)
    elif point == "clock":
        move_clock(Path(marker))
    else:
        crash_once(point, Path(marker))
    sys.argv[1:] = words
    fgs()


if __name__ == "__main__":
    main()
