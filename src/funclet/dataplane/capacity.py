"""Memory of the node as tokens: what instances may hold together, whose start is next, and who has to give way."""

import asyncio
from dataclasses import dataclass, field

from funclet.dataplane.fairness import Claim, Owner, Shares


@dataclass(slots=True)
class Capacity:
    """Counts the memory that instances may use. Tokens are taken before a start and given back after the end."""

    total_mib: int
    used_mib: int = 0
    freeing_mib: int = 0
    """Held by instances that are being stopped."""
    claims: list[Claim] = field(default_factory=list)
    """Of starts that want memory, in the order in which they came."""
    _shares: Shares = field(default_factory=Shares)
    _woken: "dict[Claim, asyncio.Future[None]]" = field(default_factory=dict)

    def has(self, memory_mib: int) -> bool:
        """Tell whether so much is free and nobody wants it."""
        return not self.claims and self.used_mib + memory_mib <= self.total_mib

    def claim(self, owner: Owner, memory_mib: int, now: float) -> Claim:
        """Join those who want memory; `withdraw` must follow."""
        claim = Claim(owner, memory_mib, now)
        self.claims.append(claim)
        return claim

    def withdraw(self, claim: Claim) -> None:
        """Want nothing any more. Nothing happens if the claim was served or withdrawn before."""
        if claim in self.claims:
            self.claims.remove(claim)
            self.changed()

    def is_next(self, claim: Claim) -> bool:
        """Tell whether it is the turn of a claim."""
        return self._shares.first(self.claims) is claim

    def take(self, claim: Claim) -> bool:
        """Give a claim its tokens; False if they are not there or it is not its turn."""
        if self.used_mib + claim.amount > self.total_mib or not self.is_next(claim):
            return False
        self.used_mib += claim.amount
        self._shares.add(claim.owner, claim.amount)
        self.withdraw(claim)
        return True

    def free_soon(self, memory_mib: int) -> None:
        """Note that an instance is being stopped; `give_back` with `was_announced` must follow."""
        self.freeing_mib += memory_mib

    def give_back(self, owner: Owner, memory_mib: int, *, was_announced: bool = False) -> None:
        """Return the tokens of one instance."""
        if was_announced:
            self.freeing_mib -= memory_mib
        self.used_mib -= memory_mib
        assert self.used_mib >= 0, "more capacity was given back than taken"
        self._shares.remove(owner, memory_mib)
        self.changed()

    def missing_mib(self, most_claims: int) -> int:
        """Return how much more than is free or on its way the first claims want, so many at most; 0 if nothing."""
        wanted = sum(claim.amount for claim in self.claims[:most_claims])
        return max(0, self.used_mib - self.freeing_mib + wanted - self.total_mib)

    def must_yield(self, owner: Owner, memory_mib: int, now: float) -> bool:
        """Tell whether an instance that could go on must end, because somebody with a better right waits for memory."""
        if not self.claims:
            return False
        claim = self._shares.first(self.claims)
        if self.used_mib - self.freeing_mib + claim.amount <= self.total_mib:
            # Enough is on its way.
            return False
        return self._shares.must_yield(owner, memory_mib, claim, now)

    def changed(self) -> None:
        """Let whoever is next look again: tokens came back, or an instance is idle that could give way."""
        if self.claims:
            future = self._woken.get(self._shares.first(self.claims))
            if future is not None and not future.done():
                future.set_result(None)

    async def wait(self, claim: Claim, timeout_s: float) -> None:
        """Return when it is worth looking again, or after `timeout_s` seconds."""
        future = asyncio.get_running_loop().create_future()
        self._woken[claim] = future
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            del self._woken[claim]
            future.cancel()
