"""The destination kind FunctionGraph: the document is the event of another function's asynchronous invocation."""

from funclet.asyncq.delivery import Delivery, DeliveryFailed, Destination
from funclet.base.clock import Clock
from funclet.base.ids import new_ordered_uuid
from funclet.catalog import Catalog
from funclet.model.errors import ModelError
from funclet.model.invocation import Submission, Submitter
from funclet.model.urn import LATEST, Urn, parse
from funclet.store.protocol import StoreUnavailable

KIND = "FunctionGraph"
_URN_FIELDS = 7


class FunctionDeliverer:
    """Implements `delivery.Deliverer` for this kind; every other one is refused."""

    def __init__(self, submitter: Submitter, catalog: Catalog, clock: Clock, *, region: str) -> None:
        self._submitter = submitter
        self._catalog = catalog
        self._clock = clock
        self._region = region

    def check(self, destination: Destination) -> None:
        """Refuse a urn that is not well formed; whether there is such a function is not asked.

        Raises:
            ModelError: FSS.0400.
        """
        if destination.kind != KIND:
            raise ModelError("FSS.0400", f"destination '{destination.kind}' is not offered by this server.")
        text = str(destination.param.get("func_urn", ""))
        fields = text.split(":")
        is_full = fields[:2] == ["urn", "fss"] and len(fields) >= _URN_FIELDS
        try:
            parse(text if is_full else "", region=self._region, project_id=fields[3] if is_full else "")
        except ModelError as error:
            raise ModelError("FSS.0400", f"param.func_urn '{text[:269]}' is no function urn.") from error

    async def deliver(self, delivery: Delivery) -> None:
        """Submit the document; the request stands one further down the chain.

        Raises:
            DeliveryFailed: permanent if the function does not exist or is of another project.
        """
        urn = self._target(delivery)
        try:
            version = await self._catalog.resolve(urn)
            await self._submitter.submit(
                Submission(
                    request_id=new_ordered_uuid(),
                    project_id=version.project_id,
                    function_id=version.function_id,
                    urn=str(urn if urn.qualifier else urn.qualified(LATEST)),
                    payload=delivery.document,
                    accepted_at=self._clock.now(),
                    source="destination",
                    root_request_id=delivery.root_request_id,
                    parent_request_id=delivery.request_id,
                    depth=delivery.depth + 1,
                )
            )
        except ModelError as error:
            raise DeliveryFailed(error.message, is_permanent=error.status != 503) from error  # noqa: PLR2004 - busy
        except StoreUnavailable as error:
            raise DeliveryFailed("the database cannot be read now") from error

    def _target(self, delivery: Delivery) -> Urn:
        text = str(delivery.destination.param["func_urn"])
        try:
            return parse(text, region=self._region, project_id=delivery.project_id)
        except ModelError as error:
            raise DeliveryFailed(error.message, is_permanent=True) from error
