"""Coroutines without tasks: when they run, in whose stack, and how they end."""

import asyncio
import logging

import pytest

from funclet.base.prompt import PromptRuns
from funclet.base.prompt_future import PromptFuture


def run(scenario):
    asyncio.run(scenario)


async def waiting(future, seen):
    seen.append("begun")
    seen.append(await future)
    return "result"


def test_a_coroutine_without_waits_has_ended_when_start_returns():
    async def scenario():
        runs, results = PromptRuns(), []

        async def immediate():
            return 1

        runs.start(immediate(), results.append)

        assert results == [1]
        assert len(runs) == 0

    run(scenario())


def test_it_goes_on_inside_set_result():
    async def scenario():
        runs, future, seen = PromptRuns(), PromptFuture(), []
        runs.start(waiting(future, seen), seen.append)
        assert seen == ["begun"]
        assert len(runs) == 1

        future.set_result("set")

        assert seen == ["begun", "set", "result"]
        assert len(runs) == 0

    run(scenario())


def test_it_goes_on_inside_set_exception():
    async def scenario():
        runs, future, results = PromptRuns(), PromptFuture(), []

        async def catches():
            try:
                await future
            except TimeoutError:
                return "too late"

        runs.start(catches(), results.append)

        future.set_exception(TimeoutError())

        assert results == ["too late"]

    run(scenario())


def test_a_future_that_is_set_already_is_no_wait():
    async def scenario():
        runs, future, seen = PromptRuns(), PromptFuture(), []
        future.set_result("set")

        runs.start(waiting(future, seen), seen.append)

        assert seen == ["begun", "set", "result"]

    run(scenario())


@pytest.mark.parametrize("pauses", [1, 3])
def test_after_any_other_wait_it_goes_on_as_a_task(pauses):
    async def scenario():
        runs, first, second, results = PromptRuns(), PromptFuture(), PromptFuture(), []
        tasks = []

        async def mixed():
            tasks.append(asyncio.current_task())
            await first
            for _ in range(pauses):
                await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
            async with asyncio.timeout(5):
                return await second

        runs.start(mixed(), results.append)
        first.set_result(None)
        for _ in range(pauses + 2):
            await asyncio.sleep(0)
        assert results == []
        second.set_result("end")
        assert await runs.drain(deadline_s=5)

        assert results == ["end"]
        assert tasks[1] is not None
        # Before, it ran in the stack of its caller.
        assert tasks[0] is asyncio.current_task()

    run(scenario())


def test_an_exception_from_another_wait_reaches_the_coroutine():
    async def scenario():
        runs, future, results = PromptRuns(), asyncio.get_running_loop().create_future(), []

        async def catches():
            try:
                await future
            except OSError:
                return "caught"

        runs.start(catches(), results.append)
        future.set_exception(OSError())
        assert await runs.drain(deadline_s=5)

        assert results == ["caught"]

    run(scenario())


def test_tasks_wait_for_such_a_future_as_for_any_other():
    async def scenario():
        future, other = PromptFuture(), PromptFuture()
        tasks = [asyncio.create_task(waiting(future, [])) for _ in range(2)]
        cancelled = asyncio.create_task(waiting(other, []))
        await asyncio.sleep(0)
        future.set_result("set")
        cancelled.cancel()

        assert await asyncio.gather(*tasks) == ["result"] * 2
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert other.cancelled()

    run(scenario())


@pytest.mark.parametrize("is_task", [False, True])
def test_what_it_raises_is_logged_and_done_is_not_called(is_task, caplog):
    async def scenario():
        runs, future, results = PromptRuns(), PromptFuture(), []

        async def fails():
            if is_task:
                await asyncio.sleep(0)
            await future
            raise ValueError("mine")

        runs.start(fails(), results.append)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # Nothing of it reaches whoever sets the future.
        future.set_result(None)
        assert await runs.drain(deadline_s=5)

        assert results == []
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert isinstance(record.exc_info[1], ValueError)

    run(scenario())


@pytest.mark.parametrize("is_task", [False, True])
def test_what_done_raises_is_logged(is_task, caplog):
    async def scenario():
        runs, future = PromptRuns(), PromptFuture()

        def done(result):
            raise ValueError(result)

        async def work():
            if is_task:
                await asyncio.sleep(0)
            return await future

        runs.start(work(), done)
        future.set_result("text")
        assert await runs.drain(deadline_s=5)
        await asyncio.sleep(0)

        assert [str(record.exc_info[1]) for record in caplog.records] == ["text"]

    run(scenario())


def test_runs_may_set_futures_of_each_other():
    async def scenario():
        runs, seen = PromptRuns(), []
        futures = [PromptFuture() for _ in range(20)]

        async def link(number):
            await futures[number]
            if number + 1 < len(futures):
                futures[number + 1].set_result(None)
            return number

        for number in range(len(futures)):
            runs.start(link(number), seen.append)
        futures[0].set_result(None)

        assert seen == list(reversed(range(20)))
        assert len(runs) == 0

    run(scenario())


def test_closing_cancels_in_each_state(caplog):
    async def scenario():
        runs, future, ended, results = PromptRuns(), PromptFuture(), [], []

        async def ends(name, awaitable):
            try:
                await awaitable
            finally:
                ended.append(name)

        async def cleans_up():
            try:
                await PromptFuture()
            finally:
                await asyncio.sleep(0)
                ended.append("cleaned up")

        async def fails():
            try:
                await PromptFuture()
            finally:
                raise ValueError("mine")

        async def stays():
            try:
                await PromptFuture()
            except asyncio.CancelledError:
                ended.append("stays")

        runs.start(ends("prompt", future), results.append)
        runs.start(ends("task", asyncio.sleep(60)), results.append)
        for work in (cleans_up(), fails(), stays()):
            runs.start(work, results.append)
        await runs.close()

        assert sorted(ended) == ["cleaned up", "prompt", "stays", "task"]
        assert len(runs) == 0
        assert results == []
        # Only the one that raises is logged; and who sets the future later finds nobody.
        future.set_result("late")
        assert [str(record.exc_info[1]) for record in caplog.records] == ["mine"]

    run(scenario())


def test_a_future_that_is_set_while_its_run_cleans_up_does_not_run_it_twice(caplog):
    async def scenario():
        runs, future, steps = PromptRuns(), PromptFuture(), []

        async def cleans_up():
            try:
                await future
            finally:
                await asyncio.sleep(0)
                steps.append(1)
                await asyncio.sleep(0)
                steps.append(2)

        runs.start(cleans_up(), steps.append)
        closing = asyncio.create_task(runs.close())
        await asyncio.sleep(0)
        future.set_result(None)
        await closing

        assert steps == [1, 2]
        assert caplog.records == []

    run(scenario())


def test_the_end_of_one_may_end_another_while_all_are_cancelled(caplog):
    async def scenario():
        runs, futures = PromptRuns(), [PromptFuture(), PromptFuture()]

        async def either(mine, other):
            try:
                await mine
            finally:
                if not other.done():
                    other.set_result(None)

        runs.start(either(*futures), lambda _: None)
        runs.start(either(*reversed(futures)), lambda _: None)
        await runs.close()

        assert len(runs) == 0
        assert caplog.records == []

    run(scenario())


def test_draining_waits_for_the_last_or_its_deadline():
    async def scenario():
        runs, futures = PromptRuns(), [PromptFuture(), PromptFuture()]
        assert await runs.drain(deadline_s=0)
        for future in futures:
            runs.start(waiting(future, []), lambda _: None)
        assert not await runs.drain(deadline_s=0.01)

        draining = asyncio.create_task(runs.drain(deadline_s=5))
        await asyncio.sleep(0)
        futures[0].set_result(None)
        await asyncio.sleep(0)
        assert not draining.done()
        futures[1].set_result(None)

        assert await draining

    run(scenario())
