"""Time as a dependency, so that nothing else reads a clock by itself."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Return wall-clock time, seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait `delay_s` seconds; cancelling ends the wait at once."""
        ...


class SystemClock:
    """The clock of the machine."""

    # The functions themselves: a method around them would take longer than they do.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, delay_s: float) -> None:
        """Wait `delay_s` seconds."""
        await asyncio.sleep(delay_s)


class SteadyClock:
    """Wall-clock time as it was at the start, going on evenly: a step of the machine's clock does not move it.

    For ages and due times that are kept over restarts: a restart takes the wall-clock time anew.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s = clock.now() - clock.monotonic()

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._offset_s + self._clock.monotonic()


def utc_text(at: float, *, milliseconds: bool = False) -> str:
    """Return `at` (seconds since the epoch) as `2026-03-17T10:13:22Z`, with milliseconds if wanted."""
    moment = datetime.fromtimestamp(at, UTC)
    text = moment.isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return text.replace("+00:00", "Z")
