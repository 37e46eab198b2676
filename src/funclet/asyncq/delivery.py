"""What the queue hands to a destination, and what it expects back: the seam to `destinations`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a notification goes."""

    kind: str
    """As on the wire: `OBS`, `SMN`, `DIS` or `FunctionGraph`."""
    param: Mapping[str, str | int]
    """The parsed members, checked by `Deliverer.check`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notification on its way."""

    request_id: str
    """Of the invocation that ended; the same for every try, so it serves to drop duplicates."""
    project_id: str
    function_urn: str
    """With qualifier."""
    function_name: str
    is_success: bool
    document: bytes
    """JSON text, UTF-8."""
    root_request_id: str
    """Of the request that a client or an event source made, at the head of the chain."""
    depth: int
    """Of the invocation that ended; what a destination starts has one more."""
    ended_at: float
    """Seconds since the epoch."""
    destination: Destination


class DeliveryFailed(Exception):
    """The target has not acknowledged."""

    def __init__(self, reason: str, *, is_permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        """Safe to show to the owner of the function."""
        self.is_permanent = is_permanent
        """Whether another try would end the same."""


class Deliverer(Protocol):
    """Brings notifications to their targets."""

    def check(self, destination: Destination) -> None:
        """Refuse a destination whose members are wrong; the target itself is not asked.

        Raises:
            ModelError: FSS.0400, naming the member.
        """
        ...

    async def deliver(self, delivery: Delivery) -> None:
        """Return when the target has acknowledged. May be called again for the same request.

        Raises:
            DeliveryFailed: it has not; without `is_permanent` it is tried again.
        """
        ...
