"""What the cloud would charge: its rounding, and the sum of a month. Pure; nothing here ever asks for money.

The numbers of the worked example in the cloud's price pages are the test of `charge`.
"""

import math
from dataclasses import dataclass

MIN_RESERVED_S = 60
"""A reserved instance is paid for so long at least, in seconds."""
MB_MS_PER_GB_S = 1024 * 1000


def billed_ms(duration_ms: float) -> int:
    """Return the duration that is billed: whole milliseconds, rounded up, at least one."""
    return max(1, math.ceil(round(duration_ms, 3)))


def billed_reserved_s(alive_s: float) -> int:
    """Return the life of a reserved instance that is billed: whole seconds, rounded up, at least a minute."""
    return max(MIN_RESERVED_S, math.ceil(alive_s))


def gb_s(mb_ms: int) -> float:
    """Return gigabyte-seconds of megabyte-milliseconds."""
    return mb_ms / MB_MS_PER_GB_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an account has used in a month."""

    requests: int = 0
    active_gb_s: float = 0.0
    """Of runs on demand, of reserved instances, and of runs on those in idle mode."""
    idle_gb_s: float = 0.0
    """Of reserved instances in idle mode while they have no request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices and what is free each month; the public list prices in yuan unless others are given."""

    per_million_requests: float = 1.33
    per_active_gb_s: float = 0.00011108
    per_idle_gb_s: float = 0.000033324
    free_requests: int = 1_000_000
    free_gb_s: float = 400_000.0
    """Of active time only."""


def charge(usage: Usage, prices: Prices) -> float:
    """Return the price of a month."""
    requests = max(0, usage.requests - prices.free_requests) * prices.per_million_requests / 1_000_000
    active = max(0.0, usage.active_gb_s - prices.free_gb_s) * prices.per_active_gb_s
    return requests + active + usage.idle_gb_s * prices.per_idle_gb_s
