"""Sends notifications to their destinations. Start with `DeliveryWorker.deliver_one`.

A delivery is a row that was written with the end of its request. It is tried
at once and three times more; then its document is a dead letter. What was on its way when a
server ended is sent again, so a destination may get a notification twice.
"""

import asyncio
import logging

from funclet.asyncq.counters import AsyncCounters
from funclet.asyncq.delivery import Deliverer, Delivery, DeliveryFailed, Destination
from funclet.asyncq.queue import STORE_RETRY_S
from funclet.base.clock import Clock, SteadyClock
from funclet.base.tasks import TaskOwner
from funclet.model.async_config import DestinationConfig
from funclet.store.protocol import Store, StoreUnavailable, Tx
from funclet.store.queue_protocol import StoredDelivery

log = logging.getLogger(__name__)

DELAYS_S = (1.0, 5.0, 25.0)
"""Before each further try: one at once, and three more."""
MAX_SENDING = 32
TIMEOUT_S = 60.0
"""For one try."""
_MAX_SLEEP_S = 60.0
_NAME_FIELD = 6


class DeliveryWorker:
    """Owns all deliveries of a store. There must be one per store."""

    def __init__(
        self, store: Store, deliverer: Deliverer, clock: Clock, steady: SteadyClock, counters: AsyncCounters
    ) -> None:
        self._store = store
        self._deliverer = deliverer
        self._clock = clock
        self._steady = steady
        self._counters = counters
        self._held: set[int] = set()
        self._woken = asyncio.Event()
        self._loops = TaskOwner()
        self._sends = TaskOwner()

    def wake(self) -> None:
        """Look for deliveries now: some were added, or one has ended."""
        self._woken.set()

    def open(self) -> None:
        """Begin."""
        self._loops.start(self._loop(), name="deliveries")

    async def close(self, *, deadline_s: float) -> None:
        """Begin nothing more; let what is on its way end for `deadline_s` seconds. The rest is sent after a start."""
        await self._loops.close()
        await self._sends.drain(deadline_s=deadline_s)
        await self._sends.close()

    async def deliver_one(self, stored: StoredDelivery) -> None:
        """See one try through."""
        try:
            failure = await self._try(stored)
            await self._write(stored, failure)
        finally:
            self._held.discard(stored.delivery_id)
            self.wake()

    async def _try(self, stored: StoredDelivery) -> DeliveryFailed | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._deliverer.deliver(_delivery_of(stored))
        except DeliveryFailed as failure:
            return failure
        except TimeoutError:
            return DeliveryFailed(f"the destination has not answered within {TIMEOUT_S:g} s")
        except Exception:  # a fault of a destination kind must not end the others
            log.exception("delivery_failed request_id=%s kind=%s", stored.request_id, stored.kind)
            return DeliveryFailed("the notification could not be sent: internal error")
        return None

    async def _write(self, stored: StoredDelivery, failure: DeliveryFailed | None) -> None:
        tries = stored.tries + 1
        is_over = failure is not None and (failure.is_permanent or tries > len(DELAYS_S))
        now, due_at = self._clock.now(), self._steady.now() + DELAYS_S[min(tries, len(DELAYS_S)) - 1]

        def work(tx: Tx) -> None:
            if failure is None:
                tx.deliveries.sent(stored.delivery_id, at=now)
            elif is_over:
                tx.deliveries.dead(stored, at=now, reason=failure.reason)
            else:
                tx.deliveries.put_off(stored.delivery_id, due_at=due_at, error_message=failure.reason)

        if failure is not None:
            self._counters.of(stored.function_id, stored.function_urn).destination_errors += 1
        if failure is not None and is_over:
            log.warning(
                "notification_dead request_id=%s kind=%s reason=%s", stored.request_id, stored.kind, failure.reason
            )
        while True:
            try:
                await self._store.write(work)
            except StoreUnavailable:
                await self._clock.sleep(STORE_RETRY_S)
            else:
                return

    async def _loop(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause_s = await self._start_due()
            except StoreUnavailable:
                pause_s = STORE_RETRY_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _start_due(self) -> float:
        """Begin with what is due; return how long there is nothing else to do."""
        now, free, held = self._steady.now(), MAX_SENDING - len(self._held), frozenset(self._held)
        if free <= 0:
            return _MAX_SLEEP_S
        due, later = await self._store.read(
            lambda tx: (tx.deliveries.due(now=now, limit=free, held=held), tx.deliveries.next_due(after=now))
        )
        for stored in due:
            self._held.add(stored.delivery_id)
            self._sends.start(self.deliver_one(stored), name=f"deliver {stored.request_id}")
        return _MAX_SLEEP_S if later is None else min(_MAX_SLEEP_S, max(0.001, later - now))


def _delivery_of(stored: StoredDelivery) -> Delivery:
    config = DestinationConfig(kind=stored.kind, param=stored.param)
    return Delivery(
        request_id=stored.request_id,
        project_id=stored.project_id,
        function_urn=stored.function_urn,
        function_name=stored.function_urn.split(":")[_NAME_FIELD],
        is_success=stored.is_success,
        document=stored.document,
        root_request_id=stored.root_request_id,
        depth=stored.depth,
        ended_at=stored.ended_at,
        destination=Destination(kind=stored.kind, param=config.members),
    )
