"""Reserved instances on pretended sandboxes: kept, replaced, used first, never taken for anything but requests."""

import asyncio
from dataclasses import replace

from funclet.model.invocation import Completed, Refused
from funclet.model.reserved import Reservation
from funclet.runtimes.frames import FrameType
from funclet.sandbox.protocol import ExitReason
from funclet.testing.fakes import FakeClock
from funclet.testing.sandbox import FakeDriver, Reply
from tests.support.dataplane import VERSION, configured, dispatcher, gate, invocation, run, until
from tests.unit.dataplane.test_sharing import OTHER, busy_for_a_while, crowd, end, look


def keep(subject, count, version=VERSION, **more):
    subject.reserve([Reservation(version=version, count=count, **more)])


def reserved(subject):
    """Return the reserved instances of all pools."""
    return [one for pool in subject._all_pools() for one in pool.reserved_instances]


async def kept(subject, count, version=VERSION, **more):
    """Reserve, and wait until all are there."""
    keep(subject, count, version, **more)
    await until(lambda: len(reserved(subject)) == count and subject.statistics()["starting"] == 0)


def test_instances_are_started_at_once_and_the_first_request_is_warm():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver) as subject:
            await kept(subject, 2)

            outcomes = await asyncio.gather(*(subject.invoke(invocation()) for _ in range(2)))

            assert [one.report.is_cold for one in outcomes] == [False, False]
            assert [one.report.is_reserved for one in outcomes] == [True, True]
            assert len(driver.made) == 2

    run(scenario())


def test_what_is_there_already_is_kept_before_anything_is_started():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver) as subject:
            await subject.invoke(invocation())
            await kept(subject, 2)

            assert len(driver.made) == 2

    run(scenario())


def test_they_outlive_the_idle_time_and_go_with_it_when_they_are_not_reserved_any_more():
    async def scenario():
        clock = FakeClock()
        async with dispatcher(FakeDriver(), clock=clock, idle_release_s=2.0) as subject:
            await kept(subject, 3)
            await look(subject, clock, 10)
            assert subject.statistics()["idle"] == 3

            keep(subject, 1)
            await look(subject, clock, 4)
            assert subject.statistics()["idle"] == 1

            subject.reserve([])
            await look(subject, clock, 4)
            assert subject.statistics()["memory_mib"] == 0

    run(scenario())


def test_one_that_dies_is_replaced_while_idle_and_while_it_runs():
    async def scenario():
        async def dies(kind, body):
            return Reply(exits=ExitReason.EXITED if kind is FrameType.INVOKE else None)

        clock, driver = FakeClock(), FakeDriver(dies)
        async with dispatcher(driver, clock=clock) as subject:
            await kept(subject, 2)
            driver.made[0].die(ExitReason.EXITED)
            await look(subject, clock, 2)
            await until(lambda: len(driver.made) == 3 and len(reserved(subject)) == 2)

            assert (await subject.invoke(invocation())).code == 4204
            await look(subject, clock, 2)
            await until(lambda: len(driver.made) == 4 and len(reserved(subject)) == 2)

    run(scenario())


def test_a_crowd_gets_more_and_the_reserved_ones_serve_first():
    async def scenario():
        behaviour, opened = gate()
        driver = FakeDriver(behaviour)
        async with dispatcher(driver) as subject:
            await kept(subject, 1)
            calls = [asyncio.create_task(subject.invoke(invocation())) for _ in range(3)]
            await until(lambda: subject.statistics()["busy"] == 3)
            opened.set()
            outcomes = await asyncio.gather(*calls)

            assert [one.report.is_reserved for one in outcomes] == [True, False, False]
            assert subject._all_pools()[0].take() in reserved(subject)

    run(scenario())


def test_memory_that_others_want_is_never_taken_from_them():
    async def scenario():
        driver = FakeDriver(busy_for_a_while)
        async with dispatcher(driver, memory_mib=256, wait_s=0.1) as subject:
            await kept(subject, 2)
            calling, outcomes = crowd(subject, VERSION, 4)
            refused = await subject.invoke(invocation(OTHER))
            await until(lambda: len(outcomes) > 20)

            assert isinstance(refused, Refused)
            assert refused.is_overload
            assert len(driver.made) == 2
            assert len(reserved(subject)) == 2
            await end(calling)

    run(scenario())


def test_they_count_towards_the_instance_maximum():
    async def scenario():
        async with dispatcher(FakeDriver()) as subject:
            version = configured(max_instances=2)
            keep(subject, 5, version)
            await until(lambda: len(reserved(subject)) == 2)
            await asyncio.sleep(0.01)

            assert subject.statistics()["memory_mib"] == 256

    run(scenario())


def test_where_memory_is_short_they_come_as_soon_as_there_is_some():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock, memory_mib=256) as subject:
            await kept(subject, 2, OTHER)
            subject.reserve(
                [Reservation(version=OTHER, count=2), Reservation(version=VERSION, count=1)],
            )
            await look(subject, clock, 3)
            assert {one.version.name for one in reserved(subject)} == {"other"}

            subject.reserve([Reservation(version=OTHER, count=1), Reservation(version=VERSION, count=1)])
            await look(subject, clock, 3)
            await until(lambda: {one.version.name for one in reserved(subject)} == {"other", "hello"})

    run(scenario())


def test_a_function_whose_initializer_fails_is_tried_again_with_growing_pauses_only():
    async def scenario():
        async def bad_init(kind, body):
            return Reply(b"{}", code=4009 if kind is FrameType.INIT else 0, is_json=True)

        clock, driver = FakeClock(), FakeDriver(bad_init)
        async with dispatcher(driver, clock=clock) as subject:
            keep(subject, 1, configured(initializer_handler="index.init"))
            await look(subject, clock, 60)

            # Three at once, then after 1, 2, 4, 8, 16, 32 seconds, each found by the look after it.
            assert 6 <= len(driver.made) <= 10

    run(scenario())


def test_a_newer_revision_takes_over_and_a_version_that_is_gone_has_none():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock) as subject:
            await kept(subject, 2)
            newer = replace(VERSION, revision=2)
            subject.retire(VERSION)
            await look(subject, clock, 2)
            assert subject.statistics()["memory_mib"] == 0, "nothing of the old one comes back"

            await kept(subject, 2, newer)

            assert {one.version.revision for one in reserved(subject)} == {2}
            assert isinstance(await subject.invoke(invocation(newer)), Completed)
            assert len(driver.made) == 4

    run(scenario())


def test_in_idle_mode_they_have_no_cpu_until_a_request_comes():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock) as subject:
            await kept(subject, 1, is_idle_mode=True)
            await look(subject, clock, 1)
            sandbox = driver.made[0]
            assert sandbox.is_frozen

            assert isinstance(await subject.invoke(invocation()), Completed)

            assert not sandbox.is_frozen
            await look(subject, clock, 1)
            assert sandbox.is_frozen
            keep(subject, 1)
            assert not sandbox.is_frozen

    run(scenario())


def test_one_that_is_frozen_runs_again_before_it_is_ended():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock, idle_release_s=1.0) as subject:
            await kept(subject, 1, is_idle_mode=True)
            await look(subject, clock, 1)
            subject.reserve([])

            assert not driver.made[0].is_frozen

    run(scenario())


def test_one_that_is_released_by_hand_ends_and_another_takes_its_place():
    async def scenario():
        clock, driver = FakeClock(), FakeDriver()
        async with dispatcher(driver, clock=clock) as subject:
            await kept(subject, 2)
            await subject.invoke(invocation())
            before = await subject.instances("f-1")
            assert [(one.is_reserved, one.state) for one in before] == [(True, "idle")] * 2
            assert sorted(one.served for one in before) == [0, 1]

            assert await subject.end_instance("f-1", before[0].instance_id)
            assert not await subject.end_instance("f-1", "none")
            assert not await subject.end_instance("f-2", before[1].instance_id)
            await look(subject, clock, 2)

            after = await subject.instances("f-1")
            assert before[0].instance_id not in {one.instance_id for one in after}
            assert len(after) == 2

    run(scenario())
