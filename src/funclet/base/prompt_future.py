"""The future that `base.prompt` is about, in a module of its own: a class like this cannot be compiled."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class PromptFuture(asyncio.Future[T]):
    """A future whose waiter runs inside `set_result`; tasks may wait for it as for any other.

    At most one run waits for it, and nobody cancels it but a task that waits.
    """

    resume: Callable[[], None] | None = None
    """Set by the run that waits."""

    def set_result(self, result: T) -> None:
        """Set the result and run whoever waits."""
        super().set_result(result)
        if self.resume is not None:
            self.resume()

    def set_exception(self, exception: type | BaseException) -> None:
        """Set the exception and run whoever waits."""
        super().set_exception(exception)
        if self.resume is not None:
            self.resume()
