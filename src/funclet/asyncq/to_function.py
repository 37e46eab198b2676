"""Destination `FunctionGraph`: the document becomes the event of an asynchronous invocation of another function."""

import uuid

from funclet.asyncq.delivery import Delivery, DeliveryFailed, Destination
from funclet.asyncq.destinations import text_of
from funclet.base.clock import Clock
from funclet.catalog import Catalog
from funclet.model.errors import ModelError
from funclet.model.invocation import Submission, Submitter
from funclet.model.urn import Urn, parse
from funclet.store.protocol import Duplicate

_SPACE = uuid.UUID("0b4c86a2-54f1-4d5e-9a0e-7f0c7a1f6d2b")
_NOT_FOUND = 404
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
        """Submit the document; the request id follows from that of the delivery, so a repetition changes nothing.

        Raises:
            DeliveryFailed: the function is gone, or nothing could be stored.
        """
        urn = _urn(delivery.destination)
        if urn.project_id != delivery.project_id:
            raise DeliveryFailed("the function belongs to another project", is_permanent=True)
        try:
            version = await self._catalog.resolve(urn)
            submission = Submission(
                request_id=str(uuid.uuid5(_SPACE, f"{delivery.request_id} {delivery.is_success} {urn}")),
                project_id=urn.project_id,
                function_id=version.function_id,
                urn=str(urn.qualified(urn.qualifier or urn.version)),
                payload=delivery.document,
                accepted_at=self._clock.now(),
            )
            await self._submitter.submit(submission)
        except Duplicate:
            # It was delivered before, and the server ended before it could note that.
            return
        except ModelError as error:
            raise DeliveryFailed(error.message, is_permanent=error.status == _NOT_FOUND) from error


def _urn(destination: Destination) -> Urn:
    text = text_of(destination, "func_urn")
    fields = text.split(":")
    if fields[:2] != ["urn", "fss"] or len(fields) < _URN_FIELDS:
        raise ModelError("FSS.0400", f"func_urn must be the full urn of a function, not '{text[:100]}'.")
    try:
        return parse(text, region=fields[2], project_id=fields[3])
    except ModelError as error:
        raise ModelError("FSS.0400", error.message) from error
