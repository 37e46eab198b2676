"""Picks the deliverer of a destination by its kind. The kinds themselves stand in files of their own, `to_*.py`."""

from collections.abc import Mapping

from funclet.asyncq.delivery import Deliverer, Delivery, DeliveryFailed, Destination
from funclet.model.errors import ModelError


class Destinations:
    """Implements `delivery.Deliverer` for all kinds that the server was built with."""

    def __init__(self, kinds: Mapping[str, Deliverer]) -> None:
        self._kinds = dict(kinds)

    def check(self, destination: Destination) -> None:
        """See `Deliverer.check`.

        Raises:
            ModelError: FSS.0400.
        """
        kind = self._kinds.get(destination.kind)
        if kind is None:
            names = ", ".join(self._kinds)
            raise ModelError("FSS.0400", f"The destination '{destination.kind[:40]}' is unknown; use one of {names}.")
        kind.check(destination)

    async def deliver(self, delivery: Delivery) -> None:
        """See `Deliverer.deliver`.

        Raises:
            DeliveryFailed: the target has not acknowledged the document.
        """
        kind = self._kinds.get(delivery.destination.kind)
        if kind is None:
            raise DeliveryFailed(f"the kind '{delivery.destination.kind}' is unknown", is_permanent=True)
        try:
            kind.check(delivery.destination)
        except ModelError as error:
            # Stored by a version that took it.
            raise DeliveryFailed(error.message, is_permanent=True) from error
        await kind.deliver(delivery)


def text_of(destination: Destination, name: str) -> str:
    """Return a parameter that must be a text.

    Raises:
        ModelError: FSS.0400.
    """
    value = destination.param.get(name)
    if not isinstance(value, str) or not value:
        raise ModelError("FSS.0400", f"The destination {destination.kind} needs the parameter '{name}', a text.")
    return value
