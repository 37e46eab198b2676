"""Functions are ready when their timers fire: the timer host says what is due, the data plane prepares it."""

import contextlib

from funclet.catalog import Catalog
from funclet.model import urn
from funclet.model.errors import ModelError
from funclet.model.invocation import Prewarmer
from funclet.model.trigger import Trigger
from funclet.store.protocol import StoreUnavailable


class TimerPrewarm:
    """Passes on which version a timer will run."""

    def __init__(self, catalog: Catalog, prewarmer: Prewarmer, *, region: str) -> None:
        self._catalog = catalog
        self._prewarmer = prewarmer
        self._region = region

    async def announce(self, trigger: Trigger, due_in_s: float) -> None:
        """Have the function of a trigger ready in `due_in_s` seconds.

        An alias of two versions has one of them prepared, drawn like that of a request.
        """
        # Whatever is wrong with the function is told to the invocation.
        with contextlib.suppress(ModelError, StoreUnavailable):
            named = urn.parse(trigger.function_urn, region=self._region, project_id=trigger.project_id)
            self._prewarmer.prepare(await self._catalog.resolve(named), due_in_s=due_in_s)
