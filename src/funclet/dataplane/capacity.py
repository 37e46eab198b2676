"""Memory of the node as tokens: what instances may hold together, and who has to give way."""

from dataclasses import dataclass


@dataclass(slots=True)
class Capacity:
    """Counts the memory that instances may use. Tokens are taken before a start and given back after the end."""

    total_mib: int
    used_mib: int = 0

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
