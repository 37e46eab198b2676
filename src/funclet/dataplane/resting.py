"""The idle instances of one pool: those that are reserved are used first, and never taken for anything but requests."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from funclet.dataplane.instance import Instance


@dataclass(slots=True)
class Resting:
    """Last in, first out: the others can rest, and be released."""

    free: list[Instance] = field(default_factory=list)
    """Those that may be released, evicted or given up for another size; the one idle longest comes first."""
    reserved: list[Instance] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.free) + len(self.reserved)

    def __iter__(self) -> Iterator[Instance]:
        yield from self.free
        yield from self.reserved

    def add(self, instance: Instance) -> None:
        """Take in an instance that has become idle."""
        (self.reserved if instance.is_reserved else self.free).append(instance)

    def pop(self) -> Instance | None:
        """Take out the instance that serves next; None if there is none."""
        if self.reserved:
            return self.reserved.pop()
        return self.free.pop() if self.free else None

    def take_old(self, before: float, *, keeps_one: bool) -> list[Instance]:
        """Take out those that have been idle since `before`, a monotonic time, unless reserved, and all that died.

        With `keeps_one`, the last that could serve stays however long it has been idle.
        """
        kept = next((one for one in reversed(self.free) if one.is_usable), None) if keeps_one else None
        old = [
            instance
            for instance in self.free
            if instance is not kept and (instance.idle_since <= before or not instance.is_usable)
        ]
        old += [instance for instance in self.reserved if not instance.is_usable]
        for instance in old:
            (self.reserved if instance.is_reserved else self.free).remove(instance)
        return old

    def mark(self, instance: Instance, *, is_reserved: bool) -> None:
        """Give an instance the mark or take it away, be it in here or at work."""
        before = self.reserved if instance.is_reserved else self.free
        instance.is_reserved = is_reserved
        if instance in before:
            before.remove(instance)
            instance.freeze(is_frozen=False)
            # Without the mark it is the next to go.
            (self.reserved if is_reserved else self.free).insert(0, instance)
