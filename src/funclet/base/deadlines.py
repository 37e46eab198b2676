"""One timer for many waits: `asyncio.timeout` for each costs more than what it guards."""

import asyncio
import math
from typing import Any


class Deadlines:
    """Ends futures that take too long with TimeoutError. Costs nothing while none is watched."""

    def __init__(self) -> None:
        self._futures: dict[asyncio.Future[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def add(self, future: asyncio.Future[Any], delay_s: float) -> None:
        """Let `future` raise TimeoutError after `delay_s` seconds, unless it is discarded before."""
        loop = asyncio.get_running_loop()
        at = loop.time() + delay_s
        self._futures[future] = at
        if at < self._rings_at:
            self._set(loop, at)

    def discard(self, future: asyncio.Future[Any]) -> None:
        """Watch a future no longer. Nothing happens if it was not watched."""
        self._futures.pop(future, None)

    def _set(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = loop.call_at(at, self._ring)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer, self._rings_at = None, math.inf
        due = [future for future, at in self._futures.items() if at <= now]
        for future in due:
            del self._futures[future]
        if self._futures:
            self._set(loop, min(self._futures.values()))
        for future in due:
            if not future.done():
                future.set_exception(TimeoutError())
