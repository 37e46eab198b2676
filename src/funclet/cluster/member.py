"""What one process knows of the others: `Member`, and the memory that they share, `Progress`."""

import mmap
import os
import struct
from dataclasses import dataclass

_CELL = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One data-plane process of several. Process 0 is the server; the others serve invocations only."""

    number: int
    count: int
    run_id: str
    """Of this start of the server."""
    progress: "Progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """A data-plane process that will be told which one it is."""

    count: int
    run_id: str
    progress: "Progress"
    descriptor: int
    """Where one byte comes: the number. Its end without one means that there will be none."""

    def member(self, number: int) -> Member:
        """Return what the process is once it has a number."""
        return Member(number=number, count=self.count, run_id=self.run_id, progress=self.progress)


class Progress:
    """Up to which invocation each process has taken what each other one sent it.

    The memory outlives every process, so after a death the callers know what had been begun: only that may
    not run again. Each cell is written by one process.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        """Map the memory behind `descriptor`, which stays the caller's."""
        self._memory = mmap.mmap(descriptor, count * count * _CELL.size)
        self._count = count

    @staticmethod
    def make(count: int) -> int:
        """Return a descriptor of new memory for `count` processes; children that are executed inherit it."""
        descriptor = os.memfd_create("funclet-progress", 0)
        os.ftruncate(descriptor, count * count * _CELL.size)
        return descriptor

    def note(self, *, owner: int, caller: int, number: int) -> None:
        """Remember that `owner` begins with invocation `number` of `caller`."""
        at = self._at(owner, caller)
        if number > _CELL.unpack_from(self._memory, at)[0]:
            _CELL.pack_into(self._memory, at, number)

    def taken(self, *, owner: int, caller: int) -> int:
        """Return the highest number that was noted."""
        number: int = _CELL.unpack_from(self._memory, self._at(owner, caller))[0]
        return number

    def _at(self, owner: int, caller: int) -> int:
        return (owner * self._count + caller) * _CELL.size
