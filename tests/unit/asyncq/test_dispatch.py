"""When a destination is tried, and when it is given up."""

import asyncio
import itertools

import pytest

from funclet.asyncq.counters import AsyncCounters
from funclet.asyncq.delivery import DeliveryFailed
from funclet.asyncq.dispatch import DELAYS_S, DeliveryWorker
from funclet.base.clock import SteadyClock
from funclet.store.queue_protocol import NewDelivery, QueuedRequest, RecordQuery, Settlement
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeClock
from tests.support.store import a_submission


class Target:
    """A destination that takes nothing, or what comes after some tries."""

    def __init__(self, clock, failures):
        self.tries, self._clock, self._failures, self._began = [], clock, failures, clock.now()

    def check(self, destination):
        """Take everything."""

    async def deliver(self, delivery):
        self.tries.append(round(self._clock.now() - self._began))
        if self._failures:
            raise self._failures.pop(0)


async def told(store, clock):
    """Store the end of a request, which is to be told."""
    submission = a_submission()
    await store.write(lambda tx: tx.queue.add(submission))
    delivery = NewDelivery(
        kind="DIS", param='{"stream_name":"s"}', is_success=True, document=b"{}", ended_at=clock.now()
    )
    request = QueuedRequest(submission_id=1, submission=submission, queued_at=clock.now())
    settlement = Settlement(request=request, status="SUCCESS", at=clock.now(), attempts=1, delivery=delivery)
    await store.write(lambda tx: tx.queue.settle_all([settlement]))
    return submission


def outcome_of(tmp_path, failures):
    """Let time pass up to each try; return the times of all, the states of delivery and request, and dead letters."""

    async def scenario():
        clock, store = FakeClock(), SqliteStore.open(tmp_path / "funclet.db")
        target, steady = Target(clock, failures), SteadyClock(clock)
        submission = await told(store, clock)
        worker = DeliveryWorker(store, target, clock, steady, AsyncCounters())
        worker.open()
        try:
            for number in itertools.count(1):
                await noted(store, submission, number)
                due_at = await store.read(lambda tx: tx.deliveries.next_due(after=0.0))
                if due_at is None:
                    return target.tries, *await state(store, submission)
                clock.advance(due_at - steady.now() + 0.001)
                worker.wake()
        finally:
            await worker.close(deadline_s=1)
            await store.close()

    return asyncio.run(scenario())


async def noted(store, submission, number):
    """Wait until a try is over and what came of it is written."""

    def work(tx):
        (delivery,) = tx.deliveries.of_request(submission.project_id, submission.request_id)
        return delivery.tries >= number or delivery.status in ("SENT", "DEAD")

    async with asyncio.timeout(10):
        while not await store.read(work):
            await asyncio.sleep(0.001)


async def state(store, submission):
    query = RecordQuery(function_id=submission.function_id, request_ids=(submission.request_id,))

    def work(tx):
        (delivery,) = tx.deliveries.of_request(submission.project_id, submission.request_id)
        letters, _ = tx.deliveries.dead_letters(submission.project_id, offset=0, limit=10)
        (record,) = tx.queue.records(query)[0]
        return delivery.status, record.status, [letter.reason for letter in letters]

    return await store.read(work)


def test_what_is_never_taken_is_tried_at_once_and_after_1_5_and_25_seconds(tmp_path):
    tries, delivery, request, letters = outcome_of(tmp_path, [DeliveryFailed(f"no {n}") for n in range(9)])

    assert DELAYS_S == (1, 5, 25)
    assert tries == [0, 1, 6, 31]
    assert (delivery, request, letters) == ("DEAD", "SUCCESS", ["no 3"])


@pytest.mark.parametrize(("failures", "times"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 6]), (3, [0, 1, 6, 31])])
def test_what_is_taken_is_not_tried_again(tmp_path, failures, times):
    tries, delivery, request, letters = outcome_of(tmp_path, [DeliveryFailed("no")] * failures)

    assert tries == times
    assert (delivery, request, letters) == ("SENT", "SUCCESS", [])


def test_what_can_never_succeed_is_tried_once(tmp_path):
    tries, delivery, request, letters = outcome_of(tmp_path, [DeliveryFailed("gone", is_permanent=True)])

    assert tries == [0]
    assert (delivery, request, letters) == ("DEAD", "SUCCESS", ["gone"])
