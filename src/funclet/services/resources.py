"""The use cases of the smaller groups of the API, put together."""

from dataclasses import dataclass

from funclet.base.clock import Clock
from funclet.model.inventory import Inventory
from funclet.services.applications import ApplicationService, Makers
from funclet.services.endpoints import EndpointService
from funclet.services.events import EventService
from funclet.services.switches import SwitchService
from funclet.services.tags import TagService
from funclet.services.template_catalog import TemplateCatalog
from funclet.store.protocol import Store
from funclet.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Test events, tags, templates, applications, endpoints, and what is only switched on and read back."""

    events: EventService
    tags: TagService
    templates: TemplateCatalog
    applications: ApplicationService
    switches: SwitchService
    endpoints: EndpointService

    @classmethod
    def build(
        cls,
        store: Store,
        clock: Clock,
        vault: Vault,
        makers: Makers,
        *,
        region: str,
        api_url: str,
        inventory: Inventory,
    ) -> "Resources":
        """Put them together; blocks while templates are read."""
        templates = TemplateCatalog.load()
        return cls(
            events=EventService(store, clock, region=region),
            tags=TagService(store, region=region),
            templates=templates,
            applications=ApplicationService(store, clock, makers, templates, region=region),
            switches=SwitchService(store, vault, region=region),
            endpoints=EndpointService(store, clock, api_url=api_url, inventory=inventory),
        )
