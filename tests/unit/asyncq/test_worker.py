"""The worker over a real store: what is accepted runs once, again, or is given up, as the decision says."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest
from msgspec import structs

from funclet.asyncq.attempt import AttemptOptions, Attempts
from funclet.asyncq.configs import AsyncConfigSource
from funclet.asyncq.gone import MAX_LETTERS
from funclet.asyncq.queue import AsyncQueue, QueueLimits
from funclet.asyncq.worker import MAX_RUNNING, Worker
from funclet.base.clock import SystemClock
from funclet.base.ids import new_uuid
from funclet.catalog import Catalog
from funclet.model.async_config import AsyncConfig, DestinationConfig
from funclet.model.errors import ModelError
from funclet.model.function import Code, FunctionVersion, Settings
from funclet.model.identity import Project, ProjectState
from funclet.model.invocation import (
    MAX_ASYNC_BODY_BYTES,
    Completed,
    FailureKind,
    FunctionFailed,
    Refused,
    Report,
    Submission,
)
from funclet.model.project_state import suspended_of
from funclet.store.queue_protocol import RecordQuery, Settlement
from funclet.store.sqlite import SqliteStore

VERSION = FunctionVersion(
    project_id="p",
    region="r",
    package="default",
    name="hello",
    function_id="f-1",
    version="latest",
    settings=Settings(runtime="Python3.10", handler="index.handler", timeout_s=3, memory_mib=128),
    code=Code(digest="d" * 128, size=1, code_type="zip"),
    modified_at=0.0,
)
COMPLETED = Completed(body=b"{}", is_json=True, report=Report())
FAILED = FunctionFailed(kind=FailureKind.HANDLER, code=4002, body=b"boom", is_json=False, report=Report())


def a_submission_now(**changes):
    submission = Submission(
        request_id=new_uuid(),
        project_id="p",
        function_id="f-1",
        urn=str(VERSION.urn),
        payload=b'{"n": 1}',
        accepted_at=SystemClock().now(),
    )
    return structs.replace(submission, **changes)


class Invoker:
    """Answers with what the test has prepared, then with success; remembers what it was asked."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.seen = []
        self.cancelled = []
        self.finds = False
        """Whether something runs what is cancelled."""
        self.gate = asyncio.Event()
        self.gate.set()

    async def invoke(self, invocation):
        self.seen.append(invocation)
        await self.gate.wait()
        return self.outcomes.pop(0) if self.outcomes else COMPLETED

    async def cancel(self, function_id, request_id, *, force):
        self.cancelled.append((request_id, force))
        return self.finds


class Lab:
    """A store with one function, a queue and a worker."""

    def __init__(self, store, invoker, *, clock=None, **limits):
        self.store, self.invoker, clock = store, invoker, clock or SystemClock()
        self.queue = AsyncQueue(store, clock, limits=QueueLimits(**limits))
        self.catalog = Catalog(store, clock)
        self.configs = AsyncConfigSource(store)
        attempts = Attempts(
            catalog=self.catalog,
            configs=self.configs,
            invoker=invoker,
            clock=clock,
            steady=self.queue.steady,
            options=AttemptOptions(retry_base_s=0.05),
        )
        self.worker = Worker(store, self.queue, attempts, invoker, clock)

    async def submit(self, **changes):
        return await self.queue.submit(a_submission_now(**changes))

    async def record(self, request_id):
        query = RecordQuery(function_id="f-1", request_ids=(request_id,), running=tuple(self.worker.running_of("f-1")))
        rows, _ = await self.store.read(lambda tx: tx.queue.records(query))
        return rows[0]

    async def lines(self, request_id):
        found = await self.store.read(
            lambda tx: tx.async_configs.status_lines("p", request_id=request_id, after=0, limit=100)
        )
        return [json.loads(line) for _, line in found]

    async def letters(self):
        letters, _ = await self.store.read(lambda tx: tx.deliveries.dead_letters("p", offset=0, limit=100))
        return [json.loads(letter.document) for letter in letters]

    async def status(self, request_id, *, wanted):
        async with asyncio.timeout(10):
            while (record := await self.record(request_id)).status != wanted:
                await asyncio.sleep(0.005)
        return record


class StoreThatWaits:
    """A store whose writes each take one of `permits`, once there are any: a disk that takes its time."""

    def __init__(self, store):
        self._store = store
        self.permits = None

    async def write(self, work):
        if self.permits is not None:
            await self.permits.acquire()
        return await self._store.write(work)

    def __getattr__(self, name):
        return getattr(self._store, name)


@contextlib.asynccontextmanager
async def lab(folder, *outcomes, opens=True, config=None, clock=None, **limits):
    store = SqliteStore.open(folder / "funclet.db")
    if not await store.read(lambda tx: tx.functions.exists("p", "default", "hello")):
        await store.write(lambda tx: tx.functions.add(VERSION))
    if config is not None:
        record = AsyncConfig(func_urn=str(VERSION.urn), created_at=0.0, modified_at=0.0, **config)
        await store.write(lambda tx: tx.async_configs.put("f-1", "latest", record))
    subject = Lab(StoreThatWaits(store), Invoker(*outcomes), clock=clock, **limits)
    if opens:
        await subject.worker.open()
    try:
        yield subject
    finally:
        await subject.worker.close(deadline_s=0.05)
        await store.close()


def test_an_accepted_request_runs_and_succeeds(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            request_id = await subject.submit()
            record = await subject.status(request_id, wanted="SUCCESS")

            assert [seen.request_id for seen in subject.invoker.seen] == [request_id]
            assert subject.invoker.seen[0].payload == b'{"n": 1}'
            assert record.attempts == 1

    asyncio.run(scenario())


def test_a_function_error_is_final_without_settings(tmp_path):
    async def scenario():
        async with lab(tmp_path, FAILED) as subject:
            record = await subject.status(await subject.submit(), wanted="FAIL")

            assert (record.error_code, record.error_message) == (4002, "boom")

    asyncio.run(scenario())


def test_a_refused_request_runs_later_and_uses_up_no_attempt(tmp_path):
    async def scenario():
        async with lab(tmp_path, Refused(reason="busy")) as subject:
            record = await subject.status(await subject.submit(), wanted="SUCCESS")

            assert len(subject.invoker.seen) == 2
            assert record.attempts == 1

    asyncio.run(scenario())


def test_a_request_of_a_deleted_function_is_discarded(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            request_id = await subject.submit(urn="urn:fss:r:p:function:default:gone:latest")

            record = await subject.status(request_id, wanted="DISCARD")
            assert "gone" in record.error_message
            assert subject.invoker.seen == []

    asyncio.run(scenario())


def test_an_event_over_its_age_is_discarded_without_a_run(tmp_path):
    async def scenario():
        async with lab(tmp_path, opens=False, config={"max_age_s": 1}) as subject:
            old = a_submission_now()
            await subject.store.write(lambda tx: tx.queue.add(old, queued_at=old.accepted_at - 2))
            await subject.worker.open()

            await subject.status(old.request_id, wanted="DISCARD")
            assert subject.invoker.seen == []
            assert (await subject.letters())[0]["request_context"]["condition"] == "EventAgeExceeded"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "condition", "http_status"),
    [
        (4002, "UnhandledInvocationError", 500),
        (4010, "UnhandledInvocationError", 504),
        (150_429, "ThrottlingError", 429),
        (200_500, "SystemError", 500),
    ],
)
def test_an_event_that_ran_and_is_over_its_age_at_its_turn_ends_with_its_last_error(
    tmp_path, code, condition, http_status
):
    async def scenario():
        async with lab(tmp_path, opens=False, config={"max_age_s": 1, "max_retries": 3}) as subject:
            old, now = a_submission_now(), SystemClock().now()
            await subject.store.write(lambda tx: tx.queue.add(old, queued_at=now - 2))
            row = await subject.store.read(lambda tx: tx.queue.find_waiting("f-1", old.request_id))
            error = {"error_code": code, "error_message": "the last error"}
            put_off = Settlement(request=row, status="WAIT", at=now, attempts=1, started_at=now, due_at=now, **error)
            await subject.store.write(lambda tx: tx.queue.settle_all([put_off]))
            await subject.worker.open()

            record = await subject.status(old.request_id, wanted="FAIL")

            assert (record.error_code, record.error_message, subject.invoker.seen) == (code, "the last error", [])
            (document,) = await subject.letters()
            assert document["request_context"]["condition"] == condition
            assert document["response_context"]["status_code"] == http_status

    asyncio.run(scenario())


def test_what_a_former_server_was_running_runs_again(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            subject.invoker.gate.clear()
            request_id = await subject.submit()
            await subject.status(request_id, wanted="RUNNING")
        async with lab(tmp_path) as subject:
            record = await subject.status(request_id, wanted="SUCCESS")

            assert record.attempts == 1

    asyncio.run(scenario())


def test_closing_lets_a_running_request_end(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            subject.invoker.gate.clear()
            request_id = await subject.submit()
            await subject.status(request_id, wanted="RUNNING")
            closing = asyncio.create_task(subject.worker.close(deadline_s=5))
            await asyncio.sleep(0)
            subject.invoker.gate.set()
            await closing

            assert (await subject.record(request_id)).status == "SUCCESS"

    asyncio.run(scenario())


def test_no_more_runs_at_once_than_the_worker_may(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            subject.invoker.gate.clear()
            for _ in range(70):
                last = await subject.submit()
            async with asyncio.timeout(10):
                while len(subject.invoker.seen) < 64:
                    await asyncio.sleep(0.005)
            subject.invoker.gate.set()
            await subject.status(last, wanted="SUCCESS")

            assert len(subject.invoker.seen) == 70

    asyncio.run(scenario())


def test_retries_are_as_many_as_configured_and_the_end_is_told_once(tmp_path):
    async def scenario():
        target = DestinationConfig(kind="SMN", param='{"topic_urn": "t"}')
        async with lab(tmp_path, *[FAILED] * 9, config={"max_retries": 2, "on_failure": target}) as subject:
            record = await subject.status(await subject.submit(), wanted="FAIL")
            deliveries = await subject.store.read(lambda tx: tx.deliveries.due(now=1e10, limit=9, held=()))

            assert (len(subject.invoker.seen), record.attempts) == (3, 3)
            (delivery,) = deliveries
            document = json.loads(delivery.document)
            assert document["request_context"]["approximate_invoke_count"] == 2
            assert document["request_context"]["condition"] == "UnhandledInvocationError"
            assert await subject.letters() == []

    asyncio.run(scenario())


def test_a_failure_that_nobody_is_told_of_is_a_dead_letter(tmp_path):
    async def scenario():
        async with lab(tmp_path, FAILED) as subject:
            await subject.status(await subject.submit(), wanted="FAIL")

            (document,) = await subject.letters()
            assert document["request_payload"] == '{"n": 1}'
            assert document["response_payload"] == "boom"

    asyncio.run(scenario())


def test_a_dead_letter_keeps_even_the_event_that_no_destination_would_be_told(tmp_path):
    async def scenario():
        async with lab(tmp_path, FAILED) as subject:
            # Only a chain of destinations makes one so long.
            event = json.dumps({"of a chain": "x" * (MAX_ASYNC_BODY_BYTES + 1)})
            await subject.status(await subject.submit(payload=event.encode()), wanted="FAIL")

            (document,) = await subject.letters()
            assert document["request_payload"] == event

    asyncio.run(scenario())


def test_a_chain_that_is_too_long_ends_and_its_destination_is_not_called(tmp_path):
    async def scenario():
        target = DestinationConfig(kind="SMN", param='{"topic_urn": "t"}')
        async with lab(tmp_path, config={"on_failure": target}) as subject:
            record = await subject.status(await subject.submit(depth=17), wanted="DISCARD")
            deliveries = await subject.store.read(lambda tx: tx.deliveries.due(now=1e10, limit=9, held=()))

            assert (subject.invoker.seen, deliveries) == ([], [])
            assert "16" in record.error_message
            assert (await subject.letters())[0]["request_context"]["condition"] == "LoopDetected"
            await subject.status(await subject.submit(depth=16), wanted="SUCCESS")

    asyncio.run(scenario())


def test_a_waiting_request_can_be_cancelled(tmp_path):
    async def scenario():
        async with lab(tmp_path, Refused(reason="busy")) as subject:
            request_id = await subject.submit()
            async with asyncio.timeout(10):
                while not (subject.invoker.seen and (await subject.record(request_id)).error_message):
                    await asyncio.sleep(0.005)

            assert await subject.worker.cancel("f-1", request_id, force=False)

            record = await subject.record(request_id)
            assert (record.status, record.error_code) == ("DISCARD", 4208)
            assert record.error_message == "function invocation canceled"
            assert not await subject.worker.cancel("f-1", request_id, force=False)
            assert not await subject.worker.cancel("other", request_id, force=False)
            assert len(subject.invoker.seen) == 1
            assert subject.queue.lengths == {}

    asyncio.run(scenario())


def test_a_request_that_waits_for_an_instance_can_be_cancelled(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            subject.invoker.gate.clear()
            request_id = await subject.submit()
            await subject.status(request_id, wanted="RUNNING")

            assert await subject.worker.cancel("f-1", request_id, force=True)

            record = await subject.status(request_id, wanted="FAIL")
            assert (record.error_code, subject.invoker.cancelled) == (4208, [(request_id, True)])

    asyncio.run(scenario())


def test_what_is_cancelled_between_two_attempts_does_not_run_again_however_slow_the_disk_is(tmp_path):
    async def scenario():
        async with lab(tmp_path, FAILED, config={"max_retries": 3}) as subject:
            request_id, _ = await subject.submit(), subject.invoker.gate.clear()
            await subject.status(request_id, wanted="RUNNING")
            permits = subject.store.permits = asyncio.Semaphore(0)
            # The attempt ends, and that it is to be repeated is on its way to the disk.
            subject.invoker.gate.set()
            await subject.status(request_id, wanted="WAIT")

            cancelling = asyncio.create_task(subject.worker.cancel("f-1", request_id, force=False))
            await asyncio.sleep(0.05)
            permits.release()
            # Longer than the pause before the next attempt; the end is not written yet.
            await asyncio.sleep(0.3)
            assert not cancelling.done()
            subject.store.permits = None
            permits.release()

            assert await cancelling
            record = await subject.record(request_id)
            assert (record.status, record.error_code, len(subject.invoker.seen)) == ("DISCARD", 4208, 1)

    asyncio.run(scenario())


def test_what_is_ready_when_it_is_cancelled_is_not_read_again_before_its_end_is_written(tmp_path):
    async def scenario():
        async with lab(tmp_path, config={"max_retries": 3}) as subject:
            subject.invoker.gate.clear()
            # As many as may run at once, and one more.
            ids = [await subject.submit() for _ in range(MAX_RUNNING + 1)]
            await subject.status(ids[MAX_RUNNING - 1], wanted="RUNNING")
            permits = subject.store.permits = asyncio.Semaphore(0)

            cancelling = asyncio.create_task(subject.worker.cancel("f-1", ids[-1], force=False))
            await asyncio.sleep(0.05)
            subject.invoker.gate.set()
            await asyncio.sleep(0.2)
            subject.store.permits = None
            for _ in range(MAX_RUNNING + 2):
                permits.release()

            assert await cancelling
            for request_id in ids[:-1]:
                await subject.status(request_id, wanted="SUCCESS")
            assert (await subject.record(ids[-1])).status == "DISCARD"
            assert ids[-1] not in {one.request_id for one in subject.invoker.seen}
            assert subject.queue.lengths == {}

    asyncio.run(scenario())


@pytest.mark.parametrize(("outcome", "status", "code"), [(FAILED, "FAIL", 4208), (COMPLETED, "SUCCESS", 0)])
def test_a_run_that_was_cancelled_is_not_tried_again_however_it_ends(tmp_path, outcome, status, code):
    async def scenario():
        async with lab(tmp_path, outcome, config={"max_retries": 3}) as subject:
            subject.invoker.gate.clear()
            subject.invoker.finds = True
            request_id = await subject.submit()
            await subject.status(request_id, wanted="RUNNING")

            cancelling = asyncio.create_task(subject.worker.cancel("f-1", request_id, force=False))
            await asyncio.sleep(0)
            # The handler was told to end, and comes to an end of its own.
            subject.invoker.gate.set()

            assert await cancelling
            record = await subject.status(request_id, wanted=status)
            assert (record.error_code, len(subject.invoker.seen)) == (code, 1)

    asyncio.run(scenario())


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(tmp_path):
    async def scenario():
        async with lab(tmp_path, per_function=2) as subject:
            subject.invoker.gate.clear()
            for _ in range(2):
                last = await subject.submit()
            with pytest.raises(ModelError, match="2 requests wait") as caught:
                await subject.submit()
            assert caught.value.code == "FSS.0503"

            subject.invoker.gate.set()
            await subject.status(last, wanted="SUCCESS")
            await subject.submit()

    asyncio.run(scenario())


def test_a_project_may_store_so_many_bytes(tmp_path):
    async def scenario():
        async with lab(tmp_path, project_bytes=15, opens=False) as subject:
            await subject.submit()
            with pytest.raises(ModelError, match="15 bytes") as caught:
                await subject.submit(function_id="f-2")
            assert caught.value.code == "FSS.0503"

    asyncio.run(scenario())


def test_a_row_that_another_transaction_stored_runs_when_the_queue_is_told(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            submission = a_submission_now()
            await subject.store.write(lambda tx: tx.queue.add(submission))

            subject.queue.noticed([submission])

            await subject.status(submission.request_id, wanted="SUCCESS")

    asyncio.run(scenario())


def test_the_first_event_of_a_function_does_not_wait_for_thousands_of_another(tmp_path):
    async def scenario():
        other = replace(VERSION, name="other", function_id="f-2")
        async with lab(tmp_path, opens=False) as subject:
            await subject.store.write(lambda tx: tx.functions.add(other))
            await asyncio.gather(*(subject.submit() for _ in range(5000)))
            subject.invoker.gate.clear()
            await subject.worker.open()
            async with asyncio.timeout(10):
                while len(subject.invoker.seen) < 64:
                    await asyncio.sleep(0.005)

            await subject.submit(function_id="f-2", urn=str(other.urn))

            # Whatever runs, and for how long: the first of a function begins.
            async with asyncio.timeout(10):
                while subject.invoker.seen[-1].version.function_id != "f-2":
                    await asyncio.sleep(0.005)
            assert len(subject.invoker.seen) == 65
            subject.invoker.gate.set()

    asyncio.run(scenario())


def test_no_more_of_a_function_run_than_it_has_instances(tmp_path):
    async def scenario():
        limited = replace(VERSION, settings=replace(VERSION.settings, max_instances=2), revision=2)
        async with lab(tmp_path) as subject:
            await subject.store.write(lambda tx: tx.functions.replace_latest(limited))
            await subject.status(await subject.submit(), wanted="SUCCESS")
            subject.invoker.gate.clear()
            last = [await subject.submit() for _ in range(10)][-1]
            assert len(subject.worker.running_of("f-1")) <= 2
            subject.invoker.gate.set()

            await subject.status(last, wanted="SUCCESS")

    asyncio.run(scenario())


def test_a_deleted_function_has_all_its_requests_discarded(tmp_path):
    async def scenario():
        async with lab(tmp_path, opens=False) as subject:
            ids = await asyncio.gather(*(subject.submit() for _ in range(3000)))
            await subject.store.write(lambda tx: tx.functions.delete("f-1"))
            await subject.worker.open()

            await subject.worker.heed("p", "default", "hello")

            for request_id in (ids[0], ids[-1]):
                await subject.status(request_id, wanted="DISCARD")
            assert subject.invoker.seen == []
            _, count = await subject.store.read(lambda tx: tx.deliveries.dead_letters("p", offset=0, limit=1))
            assert count >= MAX_LETTERS
            assert not subject.queue.lengths

    asyncio.run(scenario())


def event(number):
    return json.dumps({"n": number}).encode()


def test_what_waited_for_a_deleted_function_leaves_its_event_in_a_dead_letter_once(tmp_path):
    async def scenario():
        async with lab(tmp_path, config={"max_retries": 3}) as subject:
            subject.invoker.gate.clear()
            ids = [await subject.submit(payload=event(n)) for n in range(MAX_RUNNING + 200)]
            await subject.status(ids[MAX_RUNNING - 1], wanted="RUNNING")
            await subject.store.write(lambda tx: tx.functions.delete("f-1"))
            subject.catalog.forget("p", "default", "hello")

            await subject.worker.heed("p", "default", "hello")

            waited = ids[MAX_RUNNING:]
            for request_id in waited:
                await subject.status(request_id, wanted="DISCARD")
            subject.invoker.gate.set()
            async with asyncio.timeout(10):
                while subject.queue.lengths:
                    await asyncio.sleep(0.005)
            letters, _ = await subject.store.read(lambda tx: tx.deliveries.dead_letters("p", offset=0, limit=500))
            assert sorted(letter.request_id for letter in letters) == sorted(waited)
            payloads = {json.loads(letter.document)["request_payload"] for letter in letters}
            assert payloads == {event(n).decode() for n in range(MAX_RUNNING, MAX_RUNNING + 200)}
            assert len(subject.invoker.seen) == MAX_RUNNING

    asyncio.run(scenario())


class SetClock(SystemClock):
    """A clock that somebody sets."""

    step_s = 0.0

    def now(self):
        return SystemClock.now() + self.step_s


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_step_of_the_clock_neither_ends_nor_delays_requests(tmp_path, step_s):
    async def scenario():
        clock = SetClock()
        async with lab(tmp_path, FAILED, clock=clock, config={"max_retries": 1, "max_age_s": 600}) as subject:
            subject.invoker.gate.clear()
            before = await subject.submit()
            await subject.status(before, wanted="RUNNING")
            clock.step_s = step_s
            subject.invoker.gate.set()
            after = await subject.submit(accepted_at=clock.now())

            for request_id in (before, after):
                await subject.status(request_id, wanted="SUCCESS")
            assert len(subject.invoker.seen) == 3

    asyncio.run(scenario())


def test_status_lines_grow_with_every_change(tmp_path):
    async def scenario():
        config = {"max_retries": 1, "has_status_log": True}
        async with lab(tmp_path, Refused(reason="busy"), FAILED, config=config) as subject:
            request_id = await subject.submit()
            await subject.status(request_id, wanted="SUCCESS")

            async with asyncio.timeout(10):
                while len(lines := await subject.lines(request_id)) < 7:
                    await asyncio.sleep(0.005)
            lines = sorted(lines, key=lambda line: line["seq_status"])
            assert [line["seq_status"] for line in lines] == [10, 20, 110, 120, 210, 220, 230]
            assert all(
                list(line)
                == ["function_urn", "request_id", "seq_status", "operation_timestamp", "error_code", "error_message"]
                for line in lines
            )
            assert [line["error_code"] for line in lines] == [0, 0, 150_429, 0, 4002, 0, 0]

    asyncio.run(scenario())


PROJECT = Project(project_id="p", name="r", domain_id="d", domain_name="D")


async def put_state(subject, state):
    """Give the project of all functions another state, as its use case does."""

    def write(tx):
        if not tx.identities.projects():
            tx.identities.add_project(PROJECT)
        tx.identities.set_state("p", state, "")
        return suspended_of(tx.identities.projects())

    return await subject.store.write(write)


def test_requests_of_a_suspended_project_wait_and_run_afterwards(tmp_path):
    async def scenario():
        other = replace(VERSION, project_id="q", name="other", function_id="f-2")
        async with lab(tmp_path) as subject:
            await subject.store.write(lambda tx: tx.functions.add(other))
            subject.invoker.gate.clear()
            running = await subject.submit()
            async with asyncio.timeout(10):
                while not subject.invoker.seen:
                    await asyncio.sleep(0.005)

            subject.worker.suspend(await put_state(subject, ProjectState.SUSPENDED))
            waiting = [await subject.submit() for _ in range(3)]
            subject.invoker.gate.set()
            await subject.status(running, wanted="SUCCESS")
            # What another project has accepted later overtakes it.
            last = await subject.submit(project_id="q", function_id="f-2", urn=str(other.urn))
            async with asyncio.timeout(10):
                while subject.invoker.seen[-1].request_id != last:
                    await asyncio.sleep(0.005)
            assert [(await subject.record(one)).status for one in waiting] == ["WAIT"] * 3

            subject.worker.suspend(await put_state(subject, ProjectState.NORMAL))
            for one in waiting:
                assert (await subject.status(one, wanted="SUCCESS")).attempts == 1
            assert len(subject.invoker.seen) == 5

    asyncio.run(scenario())


def test_requests_of_a_suspended_project_wait_over_a_restart_and_can_be_cancelled(tmp_path):
    async def scenario():
        async with lab(tmp_path, opens=False) as subject:
            await put_state(subject, ProjectState.SUSPENDED)
            waiting = [await subject.submit() for _ in range(2)]
            await subject.worker.open()

            assert await subject.worker.cancel("f-1", waiting[0], force=False)
            await subject.status(waiting[0], wanted="DISCARD")
            assert (await subject.record(waiting[1])).status == "WAIT"

            subject.worker.suspend(await put_state(subject, ProjectState.NORMAL))
            await subject.status(waiting[1], wanted="SUCCESS")
            assert [one.request_id for one in subject.invoker.seen] == [waiting[1]]

    asyncio.run(scenario())


def test_a_request_that_grows_too_old_while_its_project_is_suspended_does_not_run(tmp_path):
    async def scenario():
        async with lab(tmp_path, opens=False, config={"max_age_s": 1}) as subject:
            await put_state(subject, ProjectState.SUSPENDED)
            await subject.worker.open()
            old = a_submission_now()
            await subject.store.write(lambda tx: tx.queue.add(old, queued_at=old.accepted_at - 2))
            subject.queue.noticed([old])

            subject.worker.suspend(await put_state(subject, ProjectState.NORMAL))

            await subject.status(old.request_id, wanted="DISCARD")
            assert subject.invoker.seen == []

    asyncio.run(scenario())
