"""Requests that wait inside a busy instance, or for one instead of a start."""

import asyncio
import json

import pytest

from funclet.base.prompt import PromptRuns
from funclet.dataplane.scaler import LONG_RUN_S, SHORT_RUNS
from funclet.model.invocation import Completed, FailureKind, PlatformFailed, Refused
from funclet.runtimes.frames import MAX_FRAME_BYTES, FrameType
from funclet.sandbox.protocol import ExitReason, Usage
from funclet.testing.fakes import FakeClock
from funclet.testing.sandbox import FakeDriver, Reply
from tests.support.dataplane import configured, dispatcher, invocation, run, until

ONE = configured(max_instances=1)


class Lab:
    """A function that does what its events say, on a clock that only the test moves."""

    def __init__(self):
        self.clock = FakeClock()
        self.driver = FakeDriver(self._behave)
        self.begun = []
        """Events in the order in which they were begun, on whatever instance."""
        self.gates = {}
        self.ids = {}
        """Of the requests that were begun with `begin`, by their names."""

    def event(self, name, **does):
        """Return the payload of a request: `waits` for its gate, `prints`, `takes_s`, `exits`, `breaks`, `code`."""
        if does.get("waits"):
            self.gates[name] = asyncio.Event()
        return json.dumps({"name": name, **does}).encode()

    async def _behave(self, kind, body):
        if kind is not FrameType.INVOKE:
            return Reply(body)
        event = json.loads(body)
        self.begun.append(event["name"])
        if event.get("waits"):
            await self.gates[event["name"]].wait()
        self.clock.advance(event.get("takes_s", 0))
        if event.get("breaks"):
            return Reply(bytes(MAX_FRAME_BYTES))
        exits = ExitReason(event["exits"]) if "exits" in event else None
        return Reply(body, code=event.get("code", 0), prints=event.get("prints", "").encode(), exits=exits)

    def dispatcher(self, *, depth=2, **options):
        """Return a dispatcher of this function."""
        return dispatcher(self.driver, depth=depth, clock=self.clock, **options)

    async def call(self, subject, name="short", *, version=ONE, **does):
        """Invoke."""
        return await subject.invoke(invocation(version, self.event(name, **does)))

    def begin(self, subject, name, *, version=ONE, **does):
        """Invoke in a task; its gate is there at once."""
        request = invocation(version, self.event(name, **does))
        self.ids[name] = request.request_id
        return asyncio.create_task(subject.invoke(request))

    async def make_short(self, subject, *, runs=SHORT_RUNS, version=ONE):
        """Let the function be known for short runs."""
        for _ in range(runs):
            assert isinstance(await self.call(subject, version=version), Completed)
        self.begun.clear()

    async def pair(self, subject, *, version=ONE, first=None, **second):
        """Let one request run until its gate opens, and send another one; return both tasks."""
        running = self.begin(subject, "first", version=version, waits=True, **(first or {}))
        await until(lambda: self.begun == ["first"])
        behind = self.begin(subject, "second", version=version, **second)
        await asyncio.sleep(0.01)
        return running, behind


def in_lab(test):
    """Run a test in a lab of its own."""

    def work():
        run(test(Lab()))

    work.__name__, work.__doc__ = test.__name__, test.__doc__
    return work


@in_lab
async def test_a_request_waits_inside_a_busy_instance_and_one_more_does_not(lab):
    async with lab.dispatcher() as subject:
        await lab.make_short(subject)
        first, second = await lab.pair(subject)
        third = await lab.call(subject)
        assert lab.begun == ["first"]
        lab.gates["first"].set()

        assert isinstance(third, Refused)
        assert [json.loads((await task).body)["name"] for task in (first, second)] == ["first", "second"]
        assert lab.begun == ["first", "second"]
        assert len(lab.driver.made) == 1
        assert subject.statistics()["busy"] == 0


async def takes_two(lab, subject):
    """Tell whether a second request may wait inside the instance."""
    lab.begun.clear()
    first, second = await lab.pair(subject)
    is_refused = second.done()
    lab.gates["first"].set()
    await asyncio.gather(first, second)
    return not is_refused


@in_lab
async def test_only_functions_that_were_short_for_long_may(lab):
    async with lab.dispatcher() as subject:
        await lab.make_short(subject, runs=SHORT_RUNS - 1)
        assert not await takes_two(lab, subject)
        assert await takes_two(lab, subject)

        await lab.call(subject, takes_s=LONG_RUN_S)
        assert not await takes_two(lab, subject)
        await lab.make_short(subject)
        assert await takes_two(lab, subject)


@in_lab
async def test_functions_that_are_not_short_on_average_may_not(lab):
    async with lab.dispatcher() as subject:
        for _ in range(2 * SHORT_RUNS):
            await lab.call(subject, takes_s=0.0011)

        assert not await takes_two(lab, subject)


@in_lab
async def test_behind_one_that_has_printed_nobody_waits(lab):
    async with lab.dispatcher() as subject:
        await lab.make_short(subject)
        await lab.call(subject, prints="a line\n")
        assert not await takes_two(lab, subject)

        # The first of these two was silent.
        assert await takes_two(lab, subject)


@in_lab
async def test_where_the_language_does_not_allow_it_nobody_waits(lab):
    async with lab.dispatcher(depth=1) as subject:
        await lab.make_short(subject)

        assert not await takes_two(lab, subject)


@pytest.mark.parametrize("first", ["", "of the first\n"])
@pytest.mark.parametrize("second", ["", "of the second\n"])
def test_each_line_is_in_the_log_of_its_request(first, second):
    async def scenario(lab):
        async with lab.dispatcher() as subject:
            await lab.make_short(subject)
            # The second prints before the server has seen the answer of the first: nothing lets the loop in between.
            tasks = await lab.pair(subject, first={"prints": first}, prints=second)
            lab.gates["first"].set()
            outcomes = await asyncio.gather(*tasks)

            assert [outcome.report.printed.decode() for outcome in outcomes] == [first, second]

    run(scenario(Lab()))


@pytest.mark.parametrize(("reason", "code"), [("exited", 4204), ("out_of_memory", 4205)])
def test_when_the_instance_dies_the_one_behind_is_run_elsewhere_once(reason, code):
    async def scenario(lab):
        async with lab.dispatcher(wait_s=5) as subject:
            await lab.make_short(subject)
            first, second = await lab.pair(subject, first={"exits": reason})
            lab.gates["first"].set()

            assert (await first).code == code
            assert isinstance(await second, Completed)
            assert lab.begun == ["first", "second"]
            assert len(lab.driver.made) == 2
            await until(lambda: subject.statistics()["memory_mib"] == 128)

    run(scenario(Lab()))


@in_lab
async def test_when_the_first_times_out_the_one_behind_is_run_elsewhere_once(lab):
    version = configured(max_instances=1, timeout_s=1)
    async with lab.dispatcher(wait_s=5) as subject:
        await lab.make_short(subject, version=version)
        first, second = await lab.pair(subject, version=version)

        assert (await first).code == 4010
        assert isinstance(await second, Completed)
        assert lab.begun == ["first", "second"]
        assert len(lab.driver.made) == 2
        await until(lambda: subject.statistics()["memory_mib"] == 128)


@in_lab
async def test_when_the_first_is_cancelled_the_one_behind_is_run_elsewhere_once(lab):
    async with lab.dispatcher(wait_s=5) as subject:
        await lab.make_short(subject)
        first, second = await lab.pair(subject)

        assert await subject.cancel("f-1", lab.ids["first"], force=True)

        assert ((await first).kind, (await first).code) == (FailureKind.CANCELLED, 4208)
        assert isinstance(await second, Completed)
        assert lab.begun == ["first", "second"]
        assert len(lab.driver.made) == 2


@in_lab
async def test_when_the_one_behind_is_cancelled_without_force_the_first_comes_to_its_own_end(lab):
    async with lab.dispatcher(wait_s=5) as subject:
        await lab.make_short(subject)
        first, second = await lab.pair(subject, waits=True)

        assert await subject.cancel("f-1", lab.ids["second"], force=False)
        await asyncio.sleep(0.01)
        assert not first.done()
        lab.gates["first"].set()

        assert isinstance(await first, Completed)
        assert ((await second).kind, (await second).code) == (FailureKind.CANCELLED, 4208)
        assert isinstance(await lab.call(subject), Completed)
        assert len(lab.driver.made) == 2


@in_lab
async def test_force_on_the_one_behind_ends_the_first_as_well_and_at_once(lab):
    async with lab.dispatcher(wait_s=5) as subject:
        await lab.make_short(subject)
        pair = await lab.pair(subject)

        assert await subject.cancel("f-1", lab.ids["second"], force=True)

        # The gate of the first is never opened.
        outcomes = await asyncio.gather(*pair)
        assert [(one.kind, one.code) for one in outcomes] == [(FailureKind.CANCELLED, 4208)] * 2
        assert [one.body for one in outcomes] == [b"function invocation canceled"] * 2
        assert lab.begun == ["first"]
        assert isinstance(await lab.call(subject), Completed)
        await until(lambda: subject.statistics()["memory_mib"] == 128)


@pytest.mark.parametrize("force", [True, False])
def test_what_may_have_begun_ends_with_the_one_that_force_ends_and_is_else_the_platforms_fault(force):
    async def scenario(lab):
        async with lab.dispatcher(wait_s=5) as subject:
            await lab.make_short(subject)
            first, second = await lab.pair(subject, first={"breaks": True})

            # It sends what no runtime may send: it may have begun with anything.
            subject._all_pools()[0].busy[0]._cancelled[lab.ids["first"]] = force
            lab.gates["first"].set()

            assert (await first).kind is FailureKind.CANCELLED
            if force:
                assert (await second).kind is FailureKind.CANCELLED
            else:
                assert isinstance(await second, PlatformFailed)

    run(scenario(Lab()))


@in_lab
async def test_what_waits_for_an_instance_is_cancelled_at_once_and_never_begins(lab):
    async with lab.dispatcher(depth=1, wait_s=5) as subject:
        await lab.call(subject)
        lab.begun.clear()
        first, second = await lab.pair(subject)

        assert await subject.cancel("f-1", lab.ids["second"], force=False)

        assert ((await second).kind, (await second).code) == (FailureKind.CANCELLED, 4208)
        assert not first.done()
        lab.gates["first"].set()
        assert isinstance(await first, Completed)
        assert isinstance(await lab.call(subject, "third"), Completed)
        assert lab.begun == ["first", "third"]
        assert not await subject.cancel("f-1", lab.ids["second"], force=False)


@in_lab
async def test_a_request_that_has_just_ended_takes_nobody_with_it(lab):
    async with lab.dispatcher(wait_s=5) as subject:
        await lab.make_short(subject)
        first, second = await lab.pair(subject, waits=True)
        instance = subject._all_pools()[0].busy[0]
        lab.gates["first"].set()
        await first

        await instance.cancel(lab.ids["first"], force=True)
        lab.gates["second"].set()

        assert isinstance(await second, Completed)
        assert instance.is_usable


@in_lab
async def test_the_time_of_the_one_behind_begins_when_it_begins(lab):
    version = configured(max_instances=1, timeout_s=2)
    async with lab.dispatcher() as subject:
        await lab.make_short(subject, version=version)
        first, second = await lab.pair(subject, version=version, waits=True)
        for gate in ("first", "second"):
            await asyncio.sleep(1.2)
            lab.gates[gate].set()

        assert [type(outcome) for outcome in await asyncio.gather(first, second)] == [Completed, Completed]


@in_lab
async def test_the_one_behind_has_a_deadline_too(lab):
    version = configured(max_instances=1, timeout_s=1)
    async with lab.dispatcher() as subject:
        await lab.make_short(subject, version=version)
        first, second = await lab.pair(subject, version=version, waits=True)
        lab.gates["first"].set()

        assert isinstance(await first, Completed)
        assert (await second).kind is FailureKind.TIMEOUT
        await until(lambda: subject.statistics()["memory_mib"] == 0)


@in_lab
async def test_behind_one_that_has_filled_its_disk_a_request_that_has_begun_ends_well(lab):
    async with lab.dispatcher() as subject:
        await lab.make_short(subject)
        first, second = await lab.pair(subject, first={"code": 4002}, waits=True)
        lab.driver.made[0].usage = Usage(memory_peak_bytes=1, cpu_s=0, tmp_bytes=512 * 1024 * 1024)
        lab.gates["first"].set()
        assert (await first).code == 4207
        lab.gates["second"].set()

        assert isinstance(await second, Completed)
        await until(lambda: subject.statistics()["memory_mib"] == 0)


@in_lab
async def test_a_busy_instance_with_one_behind_is_neither_released_nor_evicted_nor_cut_by_an_update(lab):
    async with lab.dispatcher(memory_mib=128) as subject:
        await lab.make_short(subject)
        first, second = await lab.pair(subject)
        [pool] = subject._all_pools()

        assert pool.reap(0.0) == 0
        assert pool.oldest_idle() is None
        other = await lab.call(subject, version=configured(memory_mib=64, max_instances=2, handler="other.handler"))
        assert isinstance(other, Refused)
        assert other.is_overload
        subject.retire(ONE)
        lab.gates["first"].set()

        assert [type(outcome) for outcome in await asyncio.gather(first, second)] == [Completed, Completed]
        await until(lambda: subject.statistics()["memory_mib"] == 0)


MANY = configured(max_instances=-1)


@in_lab
async def test_a_request_waits_for_a_busy_instance_that_is_sooner_free_than_a_start(lab):
    async with lab.dispatcher(depth=1) as subject:
        await lab.call(subject, version=MANY)
        lab.begun.clear()
        first, second = await lab.pair(subject, version=MANY)
        assert (subject.statistics()["starting"], len(lab.driver.made)) == (0, 1)
        lab.gates["first"].set()
        await asyncio.gather(first, second)

        assert len(lab.driver.made) == 1


@in_lab
async def test_when_requests_suddenly_take_longer_the_start_is_made_up_for(lab):
    async with lab.dispatcher(depth=1) as subject:
        await lab.call(subject, version=MANY)
        lab.begun.clear()
        first, second = await lab.pair(subject, version=MANY)
        assert len(lab.driver.made) == 1
        lab.clock.advance(1.0)

        assert isinstance(await second, Completed)
        assert len(lab.driver.made) == 2
        assert not first.done()
        lab.gates["first"].set()
        await first


def test_starts_are_limited_to_a_few_at_once(monkeypatch):
    async def scenario():
        opened, most = asyncio.Event(), 0

        async def slow_load(kind, body):
            await opened.wait()
            return Reply(body)

        async with dispatcher(FakeDriver(slow_load), memory_mib=100 * 128) as subject:
            calls = [asyncio.create_task(subject.invoke(invocation(MANY))) for _ in range(50)]
            await until(lambda: subject.statistics()["waiting"] == 50)
            await asyncio.sleep(0.05)
            most = subject.statistics()["starting"]
            opened.set()
            outcomes = await asyncio.gather(*calls)

            assert most == 3
            assert {type(outcome) for outcome in outcomes} == {Completed}

    monkeypatch.setattr("funclet.dataplane.pool._STARTS_AT_ONCE", 3)
    run(scenario())


@in_lab
async def test_an_instance_that_dies_before_its_first_request_fails_it_instead_of_trying_for_ever(lab):
    async with lab.dispatcher() as subject:
        await lab.call(subject)
        pool = subject._all_pools()[0]
        assert pool.give_up_idle()
        start = pool.start_instance

        async def start_and_die():
            instance, failure = await start()
            instance._connection.close()
            return instance, failure

        pool.start_instance = start_and_die
        outcome = await lab.call(subject, "never")

        assert outcome.code == 4204
        assert lab.begun == ["short"]
        assert len(lab.driver.made) == 2
        await until(lambda: subject.statistics()["memory_mib"] == 0)


@in_lab
async def test_who_waits_when_the_instance_dies_gets_another(lab):
    async with lab.dispatcher(wait_s=5) as subject:
        await lab.make_short(subject)
        first, second = await lab.pair(subject, exits="exited")
        third = lab.begin(subject, "third")
        await until(lambda: subject.statistics()["waiting"] == 1)
        lab.gates["first"].set()

        assert isinstance(await first, Completed)
        # The third is inside behind the second, which ends the instance.
        assert (await second).code == 4204
        assert isinstance(await third, Completed)
        assert lab.begun == ["first", "second", "third"]
        await until(lambda: subject.statistics()["memory_mib"] == 128)


@in_lab
async def test_an_instance_that_is_given_back_while_it_is_handed_over_is_given_to_nobody_else(lab):
    async with lab.dispatcher(wait_s=5) as subject:
        await lab.call(subject)
        pool = subject._all_pools()[0]
        instance = pool.take()
        acquired = []

        async def acquires_and_ends():
            # Without a task, as the requests of the gateway: this runs inside the release below.
            given = await pool.acquire()
            acquired.append(given)
            given._connection.close()
            pool.release(given)

        runs = PromptRuns()
        for _ in range(2):
            runs.start(acquires_and_ends(), lambda _: None)
        pool.release(instance)
        assert await runs.drain(deadline_s=5)

        # The second got one of its own, and the first one was stopped once: its memory is given back once.
        assert [given is instance for given in acquired] == [True, False]
        await until(lambda: subject.statistics() == dict.fromkeys(subject.statistics(), 0))


@in_lab
async def test_who_asked_for_it_has_the_answer_first_unless_the_function_failed(lab):
    async with lab.dispatcher() as subject:
        answers = []

        def note(body):
            answers.append((json.loads(body)["name"], len(subject.records)))

        await subject.invoke(invocation(ONE, lab.event("good"), on_answer=note))
        failed = await subject.invoke(invocation(ONE, lab.event("bad", code=4002), on_answer=note))

        assert answers == [("good", 0)]
        assert failed.code == 4002
        assert len(subject.records) == 2
