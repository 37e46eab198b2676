"""One request that waits for an instance of its pool: `Waiter`."""

from collections.abc import Iterable
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
    request_id: str = ""
    """Of the request that may be cancelled while it waits."""
    failed_starts: int = 0

    def give(self, given: Given) -> None:
        """End the wait; nothing happens if the caller has gone away."""
        if not self.future.done():
            self.future.set_result(given)


def give_up(waiters: Iterable[Waiter], request_id: str, outcome: FunctionFailed) -> bool:
    """End the wait of a request with an outcome; False if it is not among those who wait."""
    found = next((waiter for waiter in waiters if waiter.request_id == request_id), None)
    if found is not None:
        found.give(outcome)
    return found is not None
