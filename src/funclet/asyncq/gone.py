"""What becomes of the requests that waited for a function that is gone: `end_with_letters`."""

import asyncio
import math
from collections.abc import Collection

from funclet.asyncq import retry
from funclet.asyncq.attempt import Attempts, Result
from funclet.asyncq.lanes import MAX_READY_BYTES
from funclet.asyncq.queue import AsyncQueue
from funclet.store.protocol import Store

MAX_LETTERS = 1000
"""Of one function, beside what is being run already: many more would push the dead letters of others out."""
_STEP = 100


async def end_with_letters(
    store: Store, queue: AsyncQueue, attempts: Attempts, function_id: str, message: str, held: Collection[int]
) -> None:
    """Discard the first requests that wait for a function, each with a dead letter, so that no event is lost.

    Args:
        store: has the rows.
        queue: writes their ends.
        attempts: says what is to be written.
        function_id: of the function that is gone.
        message: why they end.
        held: rows that somebody else sees to the end.

    Raises:
        StoreUnavailable: the rows cannot be read now.
    """
    gone = Result(decision=retry.gone(message), has_run=False)
    for _ in range(MAX_LETTERS // _STEP):
        rows = await store.read(
            lambda tx: tx.queue.due(function_id, now=math.inf, limit=_STEP, max_bytes=MAX_READY_BYTES, held=held)
        )
        if not rows:
            return
        ends = [attempts.settlement(row, gone, None, started_at=row.started_at) for row in rows]
        await asyncio.gather(*map(queue.settle, ends))
