"""Destination `FunctionGraph`: the document becomes the event of an asynchronous invocation of another function."""

from funclet.asyncq.delivery import Delivery, DeliveryFailed, Destination
from funclet.asyncq.destinations import text_of
from funclet.base.clock import Clock
from funclet.base.ids import new_ordered_uuid
from funclet.catalog import Catalog
from funclet.model.errors import ModelError
from funclet.model.invocation import Submission, Submitter
from funclet.model.urn import LATEST, Urn, parse
from funclet.store.protocol import StoreUnavailable

_UNAVAILABLE = 503
_URN_FIELDS = 7


class FunctionDeliverer:
    """Submits the document to the function of `func_urn`."""

    def __init__(self, submitter: Submitter, catalog: Catalog, clock: Clock) -> None:
        self._submitter = submitter
        self._catalog = catalog
        self._clock = clock

    def check(self, destination: Destination) -> None:
        """Refuse what is no function urn.

        Raises:
            ModelError: FSS.0400.
        """
        _urn(destination)

    async def deliver(self, delivery: Delivery) -> None:
        """Submit the document; the request stands one further down the chain. Repeating that changes nothing.

        Raises:
            DeliveryFailed: the function is gone, or nothing could be stored.
        """
        urn = _urn(delivery.destination)
        if urn.project_id != delivery.project_id:
            raise DeliveryFailed("the function belongs to another project", is_permanent=True)
        try:
            version = await self._catalog.resolve(urn)
            await self._submitter.submit(
                Submission(
                    request_id=new_ordered_uuid(),
                    project_id=urn.project_id,
                    function_id=version.function_id,
                    urn=str(urn if urn.qualifier else urn.qualified(LATEST)),
                    payload=delivery.document,
                    accepted_at=self._clock.now(),
                    source="destination",
                    root_request_id=delivery.root_request_id,
                    parent_request_id=delivery.request_id,
                    depth=delivery.depth + 1,
                    # Of a repetition after a crash, the first submission is kept.
                    dedup_id=f"destination {delivery.request_id} {delivery.is_success}",
                )
            )
        except StoreUnavailable as error:
            raise DeliveryFailed("the database cannot be used now") from error
        except ModelError as error:
            raise DeliveryFailed(error.message, is_permanent=error.status != _UNAVAILABLE) from error


def _urn(destination: Destination) -> Urn:
    text = text_of(destination, "func_urn")
    fields = text.split(":")
    if fields[:2] != ["urn", "fss"] or len(fields) < _URN_FIELDS:
        raise ModelError("FSS.0400", f"func_urn must be the full urn of a function, not '{text[:100]}'.")
    try:
        return parse(text, region=fields[2], project_id=fields[3])
    except ModelError as error:
        raise ModelError("FSS.0400", error.message) from error
