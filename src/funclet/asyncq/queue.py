"""Accepts submissions durably and tells the worker that there is something to do."""

import asyncio

from funclet.model.errors import ModelError
from funclet.model.invocation import Submission
from funclet.store.protocol import Store, StoreUnavailable


class AsyncQueue:
    """Implements `model.invocation.Submitter` over the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.arrived = asyncio.Event()
        """Set when a row was added: the worker need not poll."""

    async def submit(self, submission: Submission) -> None:
        """Store a submission; it is durable when this returns.

        Raises:
            ModelError: FSS.0503, nothing is stored.
        """
        try:
            await self._store.write(lambda tx: tx.queue.add(submission))
        except StoreUnavailable as error:
            raise ModelError(
                "FSS.0503", "The request could not be stored; nothing was accepted. Try again later.", retry_after_s=5
            ) from error
        self.arrived.set()
