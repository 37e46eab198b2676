"""One timer for many waits: `asyncio.timeout` for each costs more than what it guards."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class Deadlines:
    """Calls back for whatever takes too long. Costs nothing while nothing is watched."""

    def __init__(self) -> None:
        self._watched: dict[object, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def add(self, key: object, delay_s: float, late: Callable[[], None]) -> None:
        """Call `late` after `delay_s` seconds, unless `key` is discarded before. What it raises is logged."""
        at = time.monotonic() + delay_s
        self._watched[key] = (at, late)
        if at < self._rings_at:
            self._set(at)

    def fail(self, future: "asyncio.Future[Any]", delay_s: float) -> None:
        """Let a future raise TimeoutError after `delay_s` seconds, unless it is discarded before."""
        self.add(future, delay_s, lambda: None if future.done() else future.set_exception(TimeoutError()))

    def discard(self, key: object) -> None:
        """Watch a key no longer. Nothing happens if it was not watched."""
        self._watched.pop(key, None)

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer, self._rings_at = None, math.inf
        now = time.monotonic()
        due = sorted((at, number, key) for number, (key, (at, _)) in enumerate(self._watched.items()) if at <= now)
        for at, _, key in due:
            # One that was called before may have discarded this one, or begun to watch the same key anew.
            watched = self._watched.get(key)
            if watched is not None and watched[0] == at:
                del self._watched[key]
                _call(watched[1])
        if self._watched:
            self._set(min(at for at, _ in self._watched.values()))


def _call(late: Callable[[], None]) -> None:
    try:
        late()
    except Exception:  # the deadlines of all others must go on
        log.exception("a deadline could not be acted on")
