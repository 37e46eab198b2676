"""Refusals take their time while many come, so that they do not take the CPU from requests that run.

Whoever is refused often asks again at once. Answered at once as well, 64 such callers keep a core at work
with nothing but refusals, and the answers of running requests wait behind them.
"""

import asyncio
import math
from collections import deque

from funclet.base.prompt_future import PromptFuture

PAUSE_S = 0.02
"""What a refusal takes unless the one before was answered longer ago than this. Clients are asked to wait longer."""
MAX_HELD = 4000
"""Refusals that may be held back together; further ones are answered at once."""
_TICK_S = 0.002
"""Refusals that are due within this time are answered together."""


class Refusals:
    """Holds back the refusals of one node."""

    def __init__(self) -> None:
        self._answered_at = -math.inf
        """When the last refusal was answered or will be."""
        self._held: deque[tuple[float, PromptFuture[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def pause(self) -> None:
        """Return when a refusal should be answered: at once if it is the only one, else after `PAUSE_S` seconds."""
        now = asyncio.get_running_loop().time()
        is_alone = now - self._answered_at > PAUSE_S
        self._answered_at = now
        if is_alone or len(self._held) >= MAX_HELD:
            return
        self._answered_at += PAUSE_S
        future = PromptFuture[None]()
        self._held.append((self._answered_at, future))
        if self._timer is None:
            self._set(PAUSE_S)
        await future

    def _set(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        due_at = asyncio.get_running_loop().time() + _TICK_S
        while self._held and self._held[0][0] <= due_at:
            _, future = self._held.popleft()
            # The caller may have gone away.
            if not future.done():
                future.set_result(None)
        if self._held and self._timer is None:
            self._set(max(_TICK_S, self._held[0][0] - due_at))
