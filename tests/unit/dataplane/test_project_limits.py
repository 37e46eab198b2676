"""What one project may run on a node: requests at once, and instances of all its functions."""

import asyncio
from dataclasses import replace

import pytest

from funclet.dataplane.projects import NO_LIMIT, share_of
from funclet.model.invocation import Completed, PlatformFailed, Refused
from funclet.model.reserved import Reservation
from funclet.testing.sandbox import FakeDriver
from tests.support.dataplane import VERSION, configured, dispatcher, gate, invocation, run, until

OTHER = replace(VERSION, function_id="f-2", name="other")
THIRD = replace(VERSION, function_id="f-3", name="third")
STRANGER = replace(VERSION, project_id="q", function_id="f-4", name="stranger")


def begin(subject, *versions):
    return [asyncio.create_task(subject.invoke(invocation(version))) for version in versions]


async def busy(subject, count):
    await until(lambda: subject.statistics()["busy"] == count)


@pytest.mark.proves("quota:concurrent-executions")
def test_requests_of_a_project_up_to_its_limit_run_and_one_more_is_refused():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour), project_requests=3) as subject:
            running = begin(subject, VERSION, OTHER, VERSION)
            await busy(subject, 3)

            refused = await subject.invoke(invocation(THIRD))
            elsewhere = begin(subject, STRANGER)
            await busy(subject, 4)
            opened.set()

            assert isinstance(refused, Refused)
            assert (refused.is_overload, refused.retry_after_s) == (False, 1.0)
            outcomes = await asyncio.gather(*running, *elsewhere)
            assert all(isinstance(one, Completed) for one in outcomes)
            # Places are given back, however often they were taken.
            assert isinstance(await subject.invoke(invocation(THIRD)), Completed)

    run(scenario())


def test_requests_that_were_refused_or_given_up_hold_no_place():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour), project_requests=1) as subject:
            given_up = begin(subject, VERSION)
            await busy(subject, 1)
            for _ in range(3):
                assert isinstance(await subject.invoke(invocation()), Refused)
            given_up[0].cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
            opened.set()

            assert isinstance(await subject.invoke(invocation()), Completed)
            disabled = await subject.invoke(invocation(configured(max_instances=0)))
            assert disabled.reason == "Function Disabled"
            assert isinstance(await subject.invoke(invocation()), Completed)

    run(scenario())


@pytest.mark.proves("quota:fgs_func_qos_limit")
def test_instances_of_a_project_up_to_its_limit_run_and_one_more_is_refused():
    async def scenario():
        behaviour, opened = gate()
        driver = FakeDriver(behaviour)
        async with dispatcher(driver, project_instances=3) as subject:
            running = begin(subject, VERSION, VERSION, OTHER)
            await busy(subject, 3)

            for version in (VERSION, OTHER, THIRD):
                refused = await subject.invoke(invocation(version))
                assert isinstance(refused, Refused)
                assert (refused.is_overload, refused.retry_after_s) == (False, 1.0)
            elsewhere = begin(subject, STRANGER)
            await busy(subject, 4)
            opened.set()

            assert all(isinstance(one, Completed) for one in await asyncio.gather(*running, *elsewhere))
            assert len(driver.made) == 4

    run(scenario())


def test_a_burst_beyond_the_limit_has_as_many_answers_as_instances():
    async def scenario():
        behaviour, opened = gate()
        driver = FakeDriver(behaviour)
        async with dispatcher(driver, project_instances=3) as subject:
            calls = begin(subject, *[VERSION] * 10)
            await busy(subject, 3)
            await until(lambda: sum(call.done() for call in calls) == 7)
            opened.set()

            outcomes = await asyncio.gather(*calls)
            assert [type(one) for one in outcomes].count(Completed) == 3
            assert len(driver.made) == 3

    run(scenario())


def test_an_idle_instance_of_another_function_makes_place():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver, project_instances=2) as subject:
            for version in (VERSION, OTHER, THIRD, VERSION):
                assert isinstance(await subject.invoke(invocation(version)), Completed)
            await until(lambda: subject.statistics()["idle"] == 2)

            assert subject._projects.of("p").instances == 2

    run(scenario())


def test_where_requests_may_wait_they_wait_for_an_instance_of_their_own_function():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour), project_instances=1, wait_s=5, refuses_early=False) as subject:
            calls = begin(subject, VERSION, VERSION)
            await busy(subject, 1)
            # No instance of it can become free.
            assert isinstance(await subject.invoke(invocation(OTHER)), Refused)
            opened.set()

            assert all(isinstance(one, Completed) for one in await asyncio.gather(*calls))

    run(scenario())


def test_reserved_instances_count_and_are_not_given_up():
    async def scenario():
        async with dispatcher(FakeDriver(), project_instances=2) as subject:
            subject.reserve([Reservation(version=VERSION, count=3)])
            await until(lambda: subject.statistics()["idle"] == 2)

            assert isinstance(await subject.invoke(invocation(OTHER)), Refused)
            assert subject._projects.of("p").instances == 2

    run(scenario())


def test_a_start_that_fails_and_a_function_that_goes_give_their_places_back():
    async def scenario():
        async with dispatcher(FakeDriver(failing_starts=1), project_instances=1) as subject:
            assert isinstance(await subject.invoke(invocation()), PlatformFailed)
            assert isinstance(await subject.invoke(invocation()), Completed)
            subject.retire(VERSION)

            assert isinstance(await subject.invoke(invocation(OTHER)), Completed)
            assert subject._projects.of("p").instances == 1

    run(scenario())


@pytest.mark.parametrize(
    ("limit", "processes", "share"), [(0, 4, NO_LIMIT), (100, 1, 100), (100, 4, 25), (10, 4, 2), (3, 4, 1)]
)
def test_processes_together_have_no_more_than_the_limit_but_one_each(limit, processes, share):
    assert share_of(limit, processes) == share
