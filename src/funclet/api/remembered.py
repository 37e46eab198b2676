"""Credentials that were looked up a moment ago."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from funclet.base.clock import Clock

REMEMBERED_S = 5.0
MAX_REMEMBERED = 10_000

T = TypeVar("T")


class Remembered(Generic[T]):
    """What was read a moment ago, hits and misses, each bounded so that neither can crowd out the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, T]] = {}
        self._unknown: dict[str, float] = {}
        self._reading: dict[str, asyncio.Task[T | None]] = {}

    def get(self, name: str) -> tuple[bool, T | None]:
        """Return whether `name` is remembered, and as what; None for one that does not exist."""
        newest_gone = self._clock.monotonic() - REMEMBERED_S
        known = self._known.get(name)
        if known is not None and known[0] > newest_gone:
            return True, known[1]
        return self._unknown.get(name, newest_gone) > newest_gone, None

    async def get_or_read(self, name: str, read: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return what `name` is remembered as, or what is read now; those that ask meanwhile share one reading."""
        is_remembered, value = self.get(name)
        if is_remembered:
            return value
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._read(name, read), name="read a credential")
            reading.add_done_callback(lambda done: self._ended(name, done))
        # Shielded: one that goes away must not end what others wait for.
        return await asyncio.shield(reading)

    async def _read(self, name: str, read: Callable[[], Awaitable[T | None]]) -> T | None:
        value = await read()
        # Unless all was forgotten meanwhile.
        if self._reading.get(name) is asyncio.current_task():
            self.put(name, value)
        return value

    def _ended(self, name: str, reading: "asyncio.Task[T | None]") -> None:
        if self._reading.get(name) is reading:
            del self._reading[name]

    def put(self, name: str, value: T | None) -> None:
        """Remember `value` for `name`, dropping the oldest entry when there are too many."""
        now = self._clock.monotonic()
        self._known.pop(name, None)
        self._unknown.pop(name, None)
        if value is None:
            self._unknown[name] = now
        else:
            self._known[name] = (now, value)
        for entries in (self._known, self._unknown):
            if len(entries) > MAX_REMEMBERED:
                del entries[next(iter(entries))]

    def clear(self) -> None:
        """Forget everything, and what is being read: it may be old by now."""
        self._known.clear()
        self._unknown.clear()
        self._reading.clear()
