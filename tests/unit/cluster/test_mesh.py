"""Processes of one server, three of them in this one process: hand-over, hints, logs, deaths and the end."""

import asyncio
import contextlib
import os
import uuid

import pytest

from funclet.base.http import Request, Response
from funclet.cluster import codec
from funclet.cluster.codec import Hint
from funclet.cluster.frames import Kind
from funclet.cluster.logs import LogShipper
from funclet.cluster.member import Member, Progress
from funclet.cluster.mesh import Head, Mesh
from funclet.cluster.ownership import owner_of
from funclet.cluster.sharded import RemoteInvoker
from funclet.model.errors import ModelError
from funclet.model.invocation import Completed, Invocation, PlatformFailed, Refused, Report, Submission
from funclet.testing.fakes import FakeInvoker
from tests.unit.cluster.test_messages_between import version

COUNT = 3


class Process:
    """One process of a mesh with an invoker that says who ran what."""

    def __init__(self, number, folder, progress, *, run_id="run", answer=None):
        self.number = number
        self.local = FakeInvoker(answer or (lambda _: ran_by(number)))
        self.mesh = Mesh(Member(number=number, count=COUNT, run_id=run_id, progress=progress), folder)
        self.hints, self.logs, self.submissions = [], [], []

    async def start(self):
        """Open it and listen."""
        self.mesh.open()
        self.invoker = self.mesh.invoker(self.local)
        answers = {
            Kind.HINT: self.take_hint,
            Kind.REQUEST: self.take_request,
            Kind.LOGS: self.take_logs,
            Kind.SUBMIT: self.take_submission,
            Kind.PREPARE: self.take_preparation,
        }
        await self.mesh.listen(self.local, answers)

    async def take_preparation(self, body):
        version, due_in_s = codec.decode_preparation(body)
        self.local.prepare(version, due_in_s=due_in_s)
        return b""

    async def take_hint(self, body):
        self.hints.append(codec.decode_hint(body))
        return b""

    async def take_request(self, body):
        request = codec.decode_request(body)
        return codec.encode(Response(status=201, body=request.body, headers={"X-Path": request.raw_path}))

    async def take_logs(self, body):
        self.logs += codec.decode_logs(body)
        return b""

    async def take_submission(self, body):
        self.submissions.append(codec.decode_submission(body))
        return codec.encode(codec.Submitted(request_id="first"))


def ran_by(number):
    return Completed(body=str(number).encode(), is_json=True, report=Report())


def invocation_of(number, payload=b"{}"):
    """Return an invocation of a function that a process owns."""
    while True:
        name = uuid.uuid4().hex
        one = version(name)
        if owner_of(one.function_id, COUNT) == number:
            return Invocation(request_id=name, version=one, payload=payload)


@contextlib.asynccontextmanager
async def processes(folder, **options):
    """Three processes that know each other."""
    descriptor = Progress.make(COUNT)
    progress = Progress(descriptor, COUNT)
    os.close(descriptor)
    members = [Process(number, folder, progress, **options) for number in range(COUNT)]
    for member in members:
        await member.start()
    await asyncio.gather(*(member.mesh.join() for member in members))
    await asyncio.gather(*(link.reach(within_s=5) for member in members for link in member.mesh._links if link))
    try:
        yield members
    finally:
        for member in members:
            await member.mesh.close()


def run(work):
    """Run a coroutine with a deadline: what hangs must fail."""
    return asyncio.run(asyncio.wait_for(work, 20))


def test_every_invocation_runs_at_its_owner_whoever_accepts_it(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            for caller in members:
                for owner in range(COUNT):
                    assert await caller.invoker.invoke(invocation_of(owner)) == ran_by(owner)
            assert [len(member.local.invocations) for member in members] == [3, 3, 3]

    run(check())


def test_invocations_do_not_wait_for_each_other_and_keep_their_answers(tmp_path):
    async def slower_first(invocation):
        await asyncio.sleep(0.05 - int(invocation.payload) / 4000)
        return Completed(body=invocation.payload, is_json=True, report=Report())

    async def check():
        async with processes(tmp_path, answer=slower_first) as members:
            wanted = [invocation_of(1, str(number).encode()) for number in range(200)]
            outcomes = await asyncio.gather(*(members[0].invoker.invoke(one) for one in wanted))
            assert [outcome.body for outcome in outcomes] == [one.payload for one in wanted]

    run(check())


def test_large_bodies_pass(tmp_path):
    def echo(one):
        return Completed(body=one.payload, is_json=True, report=Report())

    async def check():
        async with processes(tmp_path, answer=echo) as members:
            payload = os.urandom(6 << 20)
            assert (await members[2].invoker.invoke(invocation_of(1, payload))).body == payload

    run(check())


def test_a_fault_of_the_owner_is_a_platform_failure(tmp_path):
    def broken(_):
        raise RuntimeError("boom")

    async def check():
        async with processes(tmp_path, answer=broken) as members:
            outcome = await members[0].invoker.invoke(invocation_of(1))
            assert isinstance(outcome, PlatformFailed)
            assert "boom" not in outcome.reason

    run(check())


async def die(member):
    """End a process as kill -9 does: its connections break, without a word."""
    hub = member.mesh._hub
    hub._server.close()
    for caller in tuple(hub.callers):
        caller._transport.abort()
    await asyncio.sleep(0)


async def come_back(member):
    """Start a process again under its number."""
    hub = member.mesh._hub
    await hub.tasks.close()
    await member.mesh.listen(member.local, hub.answers)


def test_what_had_been_begun_when_the_owner_died_is_not_repeated(tmp_path):
    async def check():
        begun = asyncio.Event()

        async def never(_):
            begun.set()
            await asyncio.Event().wait()

        async with processes(tmp_path) as members:
            members[1].local.answer = never
            running = asyncio.create_task(members[0].invoker.invoke(invocation_of(1)))
            await begun.wait()
            await die(members[1])

            assert isinstance(await running, PlatformFailed)
            assert len(members[1].local.invocations) == 1

    run(check())


def test_what_had_not_been_begun_runs_when_the_owner_is_back(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            running = asyncio.create_task(members[0].invoker.invoke(invocation_of(1)))
            # One step: the frame is on its way, and nobody has read it.
            await asyncio.sleep(0)
            await die(members[1])
            assert not running.done()
            await come_back(members[1])

            assert await running == ran_by(1)
            assert len(members[1].local.invocations) == 1

    run(check())


def test_an_owner_that_stays_away_is_an_overload_and_not_for_ever(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            await die(members[1])
            link = members[0].mesh._links[1]
            while link.connection is not None:
                await asyncio.sleep(0.01)

            outcome = await RemoteInvoker(link, away_s=0.1).invoke(invocation_of(1))

            assert isinstance(outcome, Refused)
            assert outcome.is_overload

    run(check())


def test_a_change_is_settled_when_everybody_has_heard_of_it(tmp_path):
    async def check():
        hint = Hint(project_id="p", package="default", name="f")
        async with processes(tmp_path) as members:
            members[0].mesh.publish(hint)
            assert not members[0].mesh.is_settled
            await members[0].mesh.settle()

            assert members[0].mesh.is_settled
            assert [member.hints for member in members] == [[], [hint], [hint]]

    run(check())


def test_a_change_does_not_wait_for_ever_for_one_that_does_not_answer(tmp_path):
    async def check():
        async with processes(tmp_path) as members:

            async def never(_):
                await asyncio.Event().wait()

            members[1].mesh._hub.answers[Kind.HINT] = never
            members[0].mesh.publish(Hint())
            began = asyncio.get_running_loop().time()
            await members[0].mesh.settle()
            assert 0.5 < asyncio.get_running_loop().time() - began < 3

    run(check())


def test_process_0_is_asked_for_what_only_it_can_do(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            head = Head(members[2].mesh.head)
            answer = await head.handle(Request(method="PUT", raw_path="/v2/ü", body=b"\xff", answer_early=print))
            submission = Submission(
                request_id="r", project_id="p", function_id="f", urn="urn", payload=b"1", accepted_at=1.0
            )
            accepted_id = await head.submit(submission)

            assert (answer.status, answer.body, answer.headers["X-Path"]) == (201, b"\xff", "/v2/ü")
            assert (members[0].submissions, accepted_id) == ([submission], "first")

    run(check())


def test_a_refused_submission_is_refused_here_too(tmp_path):
    async def refuse(_):
        return codec.encode(codec.Submitted(code="FSS.0503", message="full", retry_after_s=5.0))

    async def check():
        async with processes(tmp_path) as members:
            members[0].mesh._hub.answers[Kind.SUBMIT] = refuse
            with pytest.raises(ModelError, match="full") as caught:
                await Head(members[1].mesh.head).submit(
                    Submission(request_id="r", project_id="p", function_id="f", urn="u", payload=b"1", accepted_at=1.0)
                )
            assert (caught.value.code, caught.value.retry_after_s) == ("FSS.0503", 5.0)

    run(check())


def record(number):
    return Report(function_id="f", request_id=str(number), printed=b"x" * 1000)


def test_log_records_arrive_in_order_and_all_before_a_flush_returns(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            shipper = LogShipper()
            shipper.open(members[1].mesh.head)
            records = [record(number) for number in range(5000)]
            for one in records:
                shipper.add(one)
            await shipper.flush()
            assert members[0].logs == records

            shipper.add(records[0])
            await shipper.close()
            assert len(members[0].logs) == 5001
            assert shipper.dropped == 0

    run(check())


def test_log_records_have_a_bound():
    shipper = LogShipper()
    for number in range(20_000):
        shipper.add(record(number))

    assert 3000 < shipper.dropped < 4000


def test_processes_of_another_start_are_not_spoken_with(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            stranger = Process(1, tmp_path, members[0].mesh.member.progress, run_id="another")
            stranger.mesh.open()
            outcome = await RemoteInvoker(stranger.mesh._links[0], away_s=0.3).invoke(invocation_of(0))

            assert isinstance(outcome, Refused)
            assert not members[0].local.invocations
            await stranger.mesh.close()

    run(check())


def test_leaving_waits_for_the_word_of_all_others(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            first = asyncio.create_task(members[0].mesh.leave())
            second = asyncio.create_task(members[1].mesh.leave())
            await asyncio.sleep(0.1)
            assert not first.done()
            assert not second.done()
            # Who has left is still served, and serves.
            assert await members[2].invoker.invoke(invocation_of(0)) == ran_by(0)

            await members[2].mesh.leave()
            await asyncio.gather(first, second)

    run(check())


def test_the_owner_of_a_function_is_told_to_prepare_it(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            for owner in range(COUNT):
                members[0].invoker.prepare(invocation_of(owner).version, due_in_s=4.5)
            async with asyncio.timeout(5):
                while not all(member.local.prepared for member in members):
                    await asyncio.sleep(0.001)

            for member in members:
                [(prepared, due_in_s)] = member.local.prepared
                assert owner_of(prepared.function_id, COUNT) == member.number
                assert due_in_s == 4.5

    run(check())


def test_a_process_that_is_away_has_nothing_prepared(tmp_path):
    async def check():
        async with processes(tmp_path) as members:
            await members[1].mesh.close()
            async with asyncio.timeout(5):
                while members[0].mesh.connections()[1] is not None:
                    await asyncio.sleep(0.001)
            members[0].invoker.prepare(invocation_of(1).version, due_in_s=1.0)
            members[1].mesh.open()

    run(check())
