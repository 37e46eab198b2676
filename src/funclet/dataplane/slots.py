"""How many starts may be on their way on this node, over all functions, and whose start is next: `StartSlots`."""

import asyncio
from dataclasses import dataclass

from funclet.dataplane.fairness import Claim, Owner, Shares

LONGEST_HOLD_S = 0.1
"""A start that takes longer waits for something else than the CPU, or for its own code: others may begin."""


@dataclass(slots=True, eq=False)
class Slot:
    """Held by one start."""

    owner: Owner
    timer: asyncio.TimerHandle | None = None
    is_held: bool = True


class StartSlots:
    """Lets a few starts run at once: more only slow each other down, and those of one function all others."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._shares = Shares()
        self._claims: dict[Claim, asyncio.Future[Slot]] = {}

    @property
    def waiting(self) -> int:
        """How many starts wait for a slot."""
        return len(self._claims)

    async def enter(self, owner: Owner) -> Slot:
        """Return a slot as soon as it is one's turn; `leave` must follow."""
        if self._free:
            return self._give(owner)
        loop = asyncio.get_running_loop()
        claim = Claim(owner, 1, loop.time())
        future: asyncio.Future[Slot] = loop.create_future()
        self._claims[claim] = future
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave(future.result())
            raise
        finally:
            self._claims.pop(claim, None)

    def leave(self, slot: Slot) -> None:
        """Give a slot back; nothing happens if that was done before."""
        if not slot.is_held:
            return
        slot.is_held = False
        if slot.timer is not None:
            slot.timer.cancel()
        self._shares.remove(slot.owner, 1)
        self._free += 1
        while self._free and self._claims:
            claim = self._shares.first(tuple(self._claims))
            future = self._claims.pop(claim)
            if not future.done():
                future.set_result(self._give(claim.owner))

    def _give(self, owner: Owner) -> Slot:
        self._free -= 1
        self._shares.add(owner, 1)
        slot = Slot(owner)
        slot.timer = asyncio.get_running_loop().call_later(LONGEST_HOLD_S, self.leave, slot)
        return slot
