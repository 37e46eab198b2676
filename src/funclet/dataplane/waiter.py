"""One request that waits for an instance of its pool: `Waiter`."""

from dataclasses import dataclass

from funclet.base.prompt_future import PromptFuture
from funclet.dataplane.instance import Instance
from funclet.model.invocation import FunctionFailed, Refused

Given = Instance | FunctionFailed | Refused


@dataclass(slots=True, eq=False)
class Waiter:
    """It waits until something is given to it."""

    future: PromptFuture[Given]
    since: float
    """On the monotonic clock."""
    failed_starts: int = 0

    def give(self, given: Given) -> None:
        """End the wait; nothing happens if the caller has gone away."""
        if not self.future.done():
            self.future.set_result(given)
