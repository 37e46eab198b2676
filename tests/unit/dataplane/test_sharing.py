"""Functions that share a node: who gets memory, who gives way, who is evicted, and what is started ahead."""

import asyncio
from dataclasses import replace

from funclet.dataplane.capacity import Capacity
from funclet.model.invocation import Completed, Refused
from funclet.runtimes.frames import FrameType
from funclet.testing.fakes import FakeClock
from funclet.testing.sandbox import FakeDriver, Reply
from tests.support.dataplane import VERSION, configured, dispatcher, gate, invocation, run, until

OTHER = replace(VERSION, function_id="f-2", name="other")
STRANGER = replace(VERSION, project_id="q", function_id="f-3", name="stranger")


async def busy_for_a_while(kind, body):
    if kind is FrameType.INVOKE:
        await asyncio.sleep(0.01)
    return Reply(body)


async def keep_calling(subject, version, outcomes):
    while True:
        outcomes.append(await subject.invoke(invocation(version)))


def crowd(subject, version, count):
    """Begin calls of one function without end; return their tasks and what came back."""
    outcomes = []
    return [asyncio.create_task(keep_calling(subject, version, outcomes)) for _ in range(count)], outcomes


async def end(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_crowd_keeps_no_other_function_or_project_from_its_first_request():
    async def scenario():
        async with dispatcher(FakeDriver(busy_for_a_while), memory_mib=512, wait_s=5, refuses_early=False) as subject:
            tasks, outcomes = crowd(subject, VERSION, 1000)
            await until(lambda: len(outcomes) > 20)
            began = asyncio.get_running_loop().time()
            others = await asyncio.gather(*(subject.invoke(invocation(one)) for one in (OTHER, STRANGER)))
            took_s = asyncio.get_running_loop().time() - began
            await end(tasks)

            assert [type(one) for one in others] == [Completed, Completed]
            # The crowd has 250 rounds of four to go.
            assert took_s < 1.0
            assert subject.statistics()["memory_mib"] <= 512

    run(scenario())


def test_callers_that_leave_no_pause_give_way_as_well():
    async def scenario():
        async with dispatcher(FakeDriver(busy_for_a_while), memory_mib=256, wait_s=5) as subject:
            tasks, outcomes = crowd(subject, VERSION, 2)
            await until(lambda: len(outcomes) > 10)

            assert isinstance(await subject.invoke(invocation(STRANGER)), Completed)
            await end(tasks)

    run(scenario())


def test_two_projects_have_half_of_the_node_each_however_many_functions_one_has():
    async def scenario():
        async with dispatcher(FakeDriver(busy_for_a_while), memory_mib=1024, wait_s=5, refuses_early=False) as subject:
            many = [replace(VERSION, function_id=f"f-{number}") for number in range(10, 15)]
            begun = [crowd(subject, version, 8)[0] for version in many]
            await until(lambda: subject.statistics()["memory_mib"] == 1024)
            begun.append(crowd(subject, STRANGER, 8)[0])
            await until(lambda: subject._capacity._shares.held("q") == 512)

            assert subject._capacity._shares.held("p") <= 512
            await end([task for tasks in begun for task in tasks])

    run(scenario())


def test_while_memory_is_short_requests_that_would_wait_long_are_refused_and_the_others_are_quick():
    async def scenario():
        async with dispatcher(FakeDriver(busy_for_a_while), memory_mib=256, wait_s=5) as subject:
            # The other function waits for memory that is never enough, so no more instances can come.
            for version in (VERSION, OTHER):
                await subject.invoke(invocation(version))
            tasks = [*crowd(subject, OTHER, 4)[0]]
            flood, outcomes = crowd(subject, VERSION, 60)
            await until(lambda: len(outcomes) > 300)
            await end([*tasks, *flood])

            refused = [one for one in outcomes if isinstance(one, Refused)]
            waits_ms = sorted(one.report.wait_ms for one in outcomes if isinstance(one, Completed))
            assert refused
            assert all(one.retry_after_s for one in refused)
            assert waits_ms[len(waits_ms) * 9 // 10] < 500

    run(scenario())


def test_no_more_requests_wait_for_one_function_than_its_room_holds(monkeypatch):
    async def scenario():
        behaviour, opened = gate()
        monkeypatch.setattr("funclet.dataplane.dispatcher._MAX_WAITING_PER_POOL", 5)
        async with dispatcher(FakeDriver(behaviour), memory_mib=128, wait_s=5) as subject:
            version = configured(max_instances=-1)
            calls = [asyncio.create_task(subject.invoke(invocation(version))) for _ in range(20)]
            await until(lambda: sum(call.done() for call in calls) == 15)
            opened.set()
            outcomes = await asyncio.gather(*calls)

            assert [type(one) for one in outcomes].count(Completed) == 5
            assert all(one.is_overload for one in outcomes if isinstance(one, Refused))

    run(scenario())


def test_the_instance_that_is_worth_least_gives_way_not_the_one_idle_longest():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver, memory_mib=256) as subject:
            await subject.invoke(invocation(VERSION))
            # It takes long to start, so it is worth more than one that was used later.
            subject._all_pools()[0]._start_s.value = 5.0
            await subject.invoke(invocation(OTHER))
            await subject.invoke(invocation(STRANGER))
            await subject.invoke(invocation(VERSION))

            assert len(driver.made) == 3
            assert {version.name for version in subject.versions()} >= {"hello", "stranger"}

    run(scenario())


async def look(subject, clock, seconds=1):
    """Let time pass; the dispatcher looks once a second."""
    for _ in range(seconds):
        await asyncio.sleep(0.002)
        clock.advance(1.0)
    await asyncio.sleep(0.005)


def test_an_instance_is_ready_when_a_timer_fires_and_its_request_is_no_cold_start():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock, idle_release_s=2.0) as subject:
            subject.prepare(VERSION, due_in_s=30.0)
            await look(subject, clock, 27)
            assert not driver.made
            await look(subject, clock, 2)
            assert subject.statistics()["idle"] == 1

            outcome = await subject.invoke(invocation())

            assert (outcome.report.is_cold, outcome.report.start_ms) == (False, 0.0)
            assert len(driver.made) == 1
            await look(subject, clock, 10)
            assert subject.statistics()["memory_mib"] == 0

    run(scenario())


def test_nothing_is_started_ahead_where_an_instance_is_idle_or_there_is_no_memory_or_place_for_it():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock, memory_mib=128) as subject:
            await subject.invoke(invocation(VERSION))
            for version in (VERSION, OTHER, configured(max_instances=0)):
                subject.prepare(version, due_in_s=3.0)
            await look(subject, clock, 4)

            assert len(driver.made) == 1
            assert subject.statistics()["idle"] == 1

    run(scenario())


def test_a_version_that_is_retired_is_not_started_ahead():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock) as subject:
            subject.prepare(VERSION, due_in_s=5.0)
            assert subject.versions() == [VERSION]
            subject.retire(VERSION)
            await look(subject, clock, 8)

            assert not driver.made

    run(scenario())


def test_an_initializer_that_fails_ahead_of_time_fails_for_the_request_too():
    async def scenario():
        async def bad_init(kind, body):
            return Reply(b"{}", code=4009 if kind is FrameType.INIT else 0, is_json=True)

        clock = FakeClock()
        async with dispatcher(FakeDriver(bad_init), clock=clock) as subject:
            version = configured(initializer_handler="index.init")
            subject.prepare(version, due_in_s=2.0)
            await look(subject, clock, 3)

            assert (await subject.invoke(invocation(version))).code == 4009
            assert subject.statistics()["busy"] == 0

    run(scenario())


def test_a_learned_pause_releases_early_and_starts_again_in_time():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock, learns_idle=True) as subject:
            for _ in range(11):
                await subject.invoke(invocation())
                await look(subject, clock, 200)
            await subject.invoke(invocation())
            await look(subject, clock, 20)
            assert subject.statistics()["memory_mib"] == 0, "released before the fixed minute"
            await look(subject, clock, 165)
            assert subject.statistics()["idle"] == 1

            outcome = await subject.invoke(invocation())

            assert not outcome.report.is_cold

    run(scenario())


def test_those_who_give_way_end_side_by_side_and_no_more_than_are_needed():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver, memory_mib=128 * 6, wait_s=5) as subject:
            for number in range(6):
                await subject.invoke(invocation(replace(VERSION, function_id=f"old-{number}")))
            calls = [subject.invoke(invocation(replace(VERSION, function_id=f"new-{number}"))) for number in range(3)]
            outcomes = await asyncio.gather(*calls)

            assert [type(outcome) for outcome in outcomes] == [Completed] * 3
            # Nine were made and six are there: three have ended.
            assert len(driver.made) == 9
            assert subject.statistics()["memory_mib"] == 128 * 6

    run(scenario())


def test_what_is_missing_counts_what_is_on_its_way_and_only_the_first_claims():
    capacity = Capacity(total_mib=512)
    first = capacity.claim(("project", "f-1"), 512, 0.0)
    assert capacity.take(first)
    for number in range(3):
        capacity.claim(("project", f"g-{number}"), 128, 1.0)

    assert capacity.missing_mib(most_claims=1) == 128
    assert capacity.missing_mib(most_claims=8) == 384
    capacity.free_soon(512)
    assert capacity.missing_mib(most_claims=8) == 0
