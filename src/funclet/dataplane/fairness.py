"""Who is next when several functions of several projects want something that is short. Pure.

First the project that holds least, then its function that holds least; among equals the one whose last turn is
longest ago. So a function with a thousand requests and one with its first take turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Owner = tuple[str, str]
"""Project and function."""

MAX_TURNS = 4096
"""Projects and functions whose last turn is remembered; of the others none is known."""
ROUND_S = 0.1
"""How long a claim of somebody who holds nothing waits at most until others must give way for it. Less, and where more
functions are busy than instances fit, every request would be a start."""


@dataclass(slots=True, eq=False)
class Claim:
    """Somebody waits for a part."""

    owner: Owner
    amount: int
    since: float
    """Monotonic time at which it began to wait."""


class Shares:
    """What projects and functions hold."""

    def __init__(self) -> None:
        self._held: dict[str | Owner, int] = {}
        # The one whose turn is longest ago comes first.
        self._turns: dict[str | Owner, int] = {}
        self._turn = 0

    def add(self, owner: Owner, amount: int) -> None:
        """Note that `owner` got something; it was its turn."""
        self._turn += 1
        for one in (owner[0], owner):
            self._held[one] = self._held.get(one, 0) + amount
            self._turns.pop(one, None)
            self._turns[one] = self._turn
        while len(self._turns) > MAX_TURNS:
            del self._turns[next(iter(self._turns))]

    def remove(self, owner: Owner, amount: int) -> None:
        """Note that `owner` gave something back."""
        for one in (owner[0], owner):
            left = self._held[one] - amount
            assert left >= 0, "more was given back than taken"
            if left:
                self._held[one] = left
            else:
                del self._held[one]

    def held(self, one: str | Owner) -> int:
        """Return what a project, or a function, holds."""
        return self._held.get(one, 0)

    def first(self, claims: Sequence[Claim]) -> Claim:
        """Return the claim that is next; of one function the one that came first. There must be one."""
        return min(claims, key=lambda claim: self._rank(claim.owner))

    def must_yield(self, owner: Owner, amount: int, claim: Claim, now: float) -> bool:
        """Tell whether `owner` must give back a part of size `amount` for a claim.

        Args:
            owner: who holds it.
            amount: its size.
            claim: the one that is next.
            now: monotonic time.
        """
        if claim.owner == owner:
            return False
        is_same_project = claim.owner[0] == owner[0]
        theirs = self.held(claim.owner if is_same_project else claim.owner[0])
        ours = self.held(owner if is_same_project else owner[0])
        if theirs + claim.amount <= ours - amount:
            return True
        return theirs == 0 and now - claim.since >= ROUND_S

    def _rank(self, owner: Owner) -> tuple[int, int, int, int]:
        project = owner[0]
        return self.held(project), self._turns.get(project, 0), self.held(owner), self._turns.get(owner, 0)
