"""Memory of the node as tokens: what instances may hold together, and who has to give way."""

import asyncio
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Capacity:
    """Counts the memory that instances may use. Tokens are taken before a start and given back after the end."""

    total_mib: int
    used_mib: int = 0
    _waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)

    def take(self, memory_mib: int) -> bool:
        """Take tokens for one instance; False if they are not there."""
        if self.used_mib + memory_mib > self.total_mib:
            return False
        self.used_mib += memory_mib
        return True

    def give_back(self, memory_mib: int) -> None:
        """Return the tokens of one instance."""
        self.used_mib -= memory_mib
        assert self.used_mib >= 0, "more capacity was given back than taken"
        self.changed()

    def changed(self) -> None:
        """Let whoever waits longest look again: tokens came back, or an instance is idle that could give way."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    async def wait(self, timeout_s: float) -> None:
        """Return when it is worth looking again, or after `timeout_s` seconds."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await asyncio.wait((future,), timeout=timeout_s)
        future.cancel()
