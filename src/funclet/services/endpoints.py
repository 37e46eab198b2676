"""Use cases of VPC endpoints: entries to the API from inside a network.

On a server of one's own there is no network to put an entry into: the entry is the address on which the API listens.
"""

from urllib.parse import urlsplit

from funclet.base.clock import Clock
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.model.inventory import Inventory, check_vpc
from funclet.model.resources import MAX_ENDPOINTS, VpcEndpoint
from funclet.store.protocol import Store, Tx

MAX_TEXT_LENGTH = 64


class EndpointService:
    """VPC endpoints of all projects."""

    def __init__(self, store: Store, clock: Clock, *, api_url: str, inventory: Inventory) -> None:
        self._store = store
        self._clock = clock
        self._inventory = inventory
        self.address = urlsplit(api_url).netloc
        """Host and port of the API, as clients reach it."""

    async def create(self, principal: Principal, *, vpc_id: str, subnet_id: str, flavor: str, agency: str) -> None:
        """Store an endpoint; the one that the subnet has is replaced.

        Raises:
            ModelError: FSS.0400 for a missing or too long text, FSS.1036, FSS.1037 or FSS.1090 for a subnet that
                the inventory does not have or that is not active, FSS.1048 if the project has too many.
        """
        for name, value in (("vpc_id", vpc_id), ("subnet_id", subnet_id)):
            if not value:
                raise ModelError("FSS.0400", f"{name} is missing.")
        for name, value in (("vpc_id", vpc_id), ("subnet_id", subnet_id), ("flavor", flavor), ("xrole", agency)):
            if len(value) > MAX_TEXT_LENGTH or "/" in value:
                raise ModelError("FSS.0400", f"{name} is invalid: up to {MAX_TEXT_LENGTH} characters, no slash.")
        check_vpc(self._inventory, {"vpc_id": vpc_id, "subnet_id": subnet_id})
        endpoint = VpcEndpoint(
            vpc_id=vpc_id, subnet_id=subnet_id, flavor=flavor, agency=agency, created_at=self._clock.now()
        )
        project_id = principal.project.project_id

        def work(tx: Tx) -> None:
            tx.remembered.put_endpoint(project_id, endpoint)
            if len(tx.remembered.endpoints(project_id)) > MAX_ENDPOINTS:
                raise ModelError("FSS.1048", f"The project has {MAX_ENDPOINTS} VPC endpoints; delete one first.")

        await self._store.write(work)

    async def delete(self, principal: Principal, vpc_id: str, subnet_id: str) -> None:
        """Delete an endpoint.

        Raises:
            ModelError: FSS.0404 if there is none.
        """
        project_id = principal.project.project_id
        if not await self._store.write(lambda tx: tx.remembered.delete_endpoint(project_id, vpc_id, subnet_id)):
            raise ModelError("FSS.0404", f"Subnet '{subnet_id[:64]}' of VPC '{vpc_id[:64]}' has no endpoint.")
