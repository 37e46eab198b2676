"""The worker over a real store: what is accepted runs once, again, or is given up, as the decision says."""

import asyncio
import contextlib
from dataclasses import replace

from funclet.asyncq.queue import AsyncQueue
from funclet.asyncq.worker import Worker
from funclet.base.clock import SystemClock
from funclet.base.ids import new_uuid
from funclet.catalog import Catalog
from funclet.model.function import Code, FunctionVersion, Settings
from funclet.model.invocation import Completed, FailureKind, FunctionFailed, Refused, Report, Submission
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


class Invoker:
    """Answers with what the test has prepared, then with success; remembers what it was asked."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.seen = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def invoke(self, invocation):
        self.seen.append(invocation)
        await self.gate.wait()
        return self.outcomes.pop(0) if self.outcomes else COMPLETED


class Lab:
    """A store with one function, a queue and a worker."""

    def __init__(self, store, invoker):
        self.store, self.invoker = store, invoker
        self.queue = AsyncQueue(store)
        self.worker = Worker(store, self.queue, Catalog(store, SystemClock()), invoker, SystemClock())

    async def submit(self, **changes):
        submission = Submission(
            request_id=new_uuid(),
            project_id="p",
            function_id="f-1",
            urn=str(VERSION.urn),
            payload=b'{"n": 1}',
            accepted_at=SystemClock().now(),
        )
        submission = replace(submission, **changes)
        await self.queue.submit(submission)
        return submission.request_id

    async def record(self, request_id):
        rows, _ = await self.store.read(lambda tx: tx.queue.records("f-1", request_id=request_id))
        return rows[0]

    async def status(self, request_id, *, wanted):
        async with asyncio.timeout(10):
            while (record := await self.record(request_id)).status != wanted:
                await asyncio.sleep(0.005)
        return record


@contextlib.asynccontextmanager
async def lab(folder, *outcomes, opens=True):
    store = SqliteStore.open(folder / "funclet.db")
    if not await store.read(lambda tx: tx.functions.exists("p", "default", "hello")):
        await store.write(lambda tx: tx.functions.add(VERSION))
    subject = Lab(store, Invoker(*outcomes))
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
        async with lab(tmp_path) as subject:
            request_id = await subject.submit(accepted_at=SystemClock().now() - 3601)

            await subject.status(request_id, wanted="DISCARD")
            assert subject.invoker.seen == []

    asyncio.run(scenario())


def test_what_a_former_server_was_running_runs_again(tmp_path):
    async def scenario():
        async with lab(tmp_path) as subject:
            subject.invoker.gate.clear()
            request_id = await subject.submit()
            await subject.status(request_id, wanted="RUNNING")
        async with lab(tmp_path) as subject:
            record = await subject.status(request_id, wanted="SUCCESS")

            assert record.attempts == 2

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
