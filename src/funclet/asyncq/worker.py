"""Runs what the queue holds: lease, resolve, invoke, decide, settle (`Worker.run_one`)."""

import asyncio
import contextlib
import logging
import random

from funclet.asyncq.queue import AsyncQueue
from funclet.asyncq.retry import AsyncPolicy, Decision, Done, Drop, decide
from funclet.base.clock import Clock
from funclet.base.tasks import TaskOwner
from funclet.catalog import Catalog
from funclet.model.errors import ModelError
from funclet.model.invocation import Invocation, Invoker
from funclet.model.urn import Urn, parse
from funclet.store.protocol import Lease, Settlement, Store, StoreUnavailable

log = logging.getLogger(__name__)

MAX_RUNNING = 64
_MAX_SLEEP_S = 5.0
_STORE_RETRY_S = 0.5
_KEEP_RECORDS_S = 7 * 86_400
_CLEAN_PERIOD_S = 600
_CODE_GONE = 150_424


class Worker:
    """Takes due rows from the queue and sees each to its end."""

    def __init__(self, store: Store, queue: AsyncQueue, catalog: Catalog, invoker: Invoker, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._catalog = catalog
        self._invoker = invoker
        self._clock = clock
        self._loops = TaskOwner()
        self._runs = TaskOwner()
        self._refusals: dict[str, int] = {}
        self._cleaned_at = 0.0

    async def open(self) -> None:
        """Put back what a former server was running, and begin."""
        recovered = await self._store.write(lambda tx: tx.queue.recover())
        if recovered:
            log.info("asynchronous requests of the former server run again: count=%d", recovered)
        self._loops.start(self._loop(), name="asynchronous queue")

    async def close(self, *, deadline_s: float) -> None:
        """Lease nothing more; let what runs end for `deadline_s` seconds. What is cut off runs again after a start."""
        await self._loops.close()
        await self._runs.drain(deadline_s=deadline_s)
        await self._runs.close()

    async def run_one(self, lease: Lease) -> None:
        """See one attempt through: resolve, invoke, decide, settle."""
        decision = await self._attempt(lease)
        settlement = _settlement(lease, decision, self._clock.now())
        while True:
            try:
                await self._store.write(lambda tx: tx.queue.settle(settlement))
            except StoreUnavailable:
                # The row stays RUNNING until it can be written; nobody else takes it.
                await self._clock.sleep(_STORE_RETRY_S)
            else:
                break
        if settlement.status == "WAIT":
            self._queue.arrived.set()

    async def _attempt(self, lease: Lease) -> Decision:
        submission, now = lease.submission, self._clock.now()
        policy = AsyncPolicy()
        if now > submission.accepted_at + policy.max_age_s:
            status = "DISCARD" if lease.attempt <= 1 else "FAIL"
            return Drop(status=status, code=_CODE_GONE, message="the event is older than its age limit")
        urn = _urn_of(submission.urn)
        try:
            version = await self._catalog.resolve(urn)
        except ModelError as error:
            return Drop(status="DISCARD", code=_CODE_GONE, message=error.message)
        outcome = await self._invoker.invoke(
            Invocation(
                request_id=submission.request_id,
                version=version,
                payload=submission.payload,
                alias=urn.alias,
                memory_mib=submission.memory_mib,
                asynchronous=True,
            )
        )
        refusals = self._refusals.get(submission.request_id, 0) + 1
        decision = decide(
            outcome,
            attempt=lease.attempt,
            refusals=refusals,
            accepted_at=submission.accepted_at,
            now=self._clock.now(),
            policy=policy,
            chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        self._remember(submission.request_id, refusals, decision)
        return decision

    def _remember(self, request_id: str, refusals: int, decision: Decision) -> None:
        """Count refusals in a row; forgotten with a restart, which only shortens a back-off."""
        if isinstance(decision, Done | Drop) or decision.counts:
            self._refusals.pop(request_id, None)
        else:
            self._refusals[request_id] = refusals

    async def _loop(self) -> None:
        while True:
            self._queue.arrived.clear()
            free = MAX_RUNNING - len(self._runs)
            try:
                leased = await self._lease(free) if free > 0 else ()
                pause_s = 0.0 if leased else await self._pause()
            except StoreUnavailable:
                leased, pause_s = (), _STORE_RETRY_S
            for lease in leased:
                task = self._runs.start(self.run_one(lease), name=f"run {lease.submission.request_id}")
                task.add_done_callback(lambda _: self._queue.arrived.set())
            if pause_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._queue.arrived.wait()

    async def _lease(self, limit: int) -> tuple[Lease, ...]:
        now = self._clock.now()
        if now - self._cleaned_at > _CLEAN_PERIOD_S:
            self._cleaned_at = now
            # Repeated, because one call deletes some thousands at most: other writes come in between.
            while await self._store.write(lambda tx: tx.queue.forget(ended_before=now - _KEEP_RECORDS_S)):
                pass
        if await self._store.read(lambda tx: (tx.queue.next_due() or now + 1) > now):
            return ()
        return tuple(await self._store.write(lambda tx: tx.queue.lease(now=now, limit=limit)))

    async def _pause(self) -> float:
        """Return how long there is nothing to do, unless something arrives."""
        due = await self._store.read(lambda tx: tx.queue.next_due())
        return _MAX_SLEEP_S if due is None else min(_MAX_SLEEP_S, max(0.001, due - self._clock.now()))


def _urn_of(text: str) -> Urn:
    fields = text.split(":")
    return parse(text, region=fields[2], project_id=fields[3])


def _settlement(lease: Lease, decision: Decision, now: float) -> Settlement:
    request_id = lease.submission.request_id
    match decision:
        case Done():
            return Settlement(request_id=request_id, status="SUCCESS", at=now)
        case Drop(status=status, code=code, message=message):
            return Settlement(request_id=request_id, status=status, at=now, error_code=code, error_message=message)
        case again:
            return Settlement(request_id=request_id, status="WAIT", at=now, due_at=again.at, counts=again.counts)
