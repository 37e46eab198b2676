"""One timer for many waits."""

import asyncio
import time

import pytest
import uvloop

from funclet.base.deadlines import Deadlines

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def run(new_loop, scenario):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@LOOPS
def test_the_earliest_is_called_first_whenever_it_was_added(new_loop):
    async def scenario():
        deadlines, called = Deadlines(), []
        for delay_s in (0.06, 0.02, 0.04, 0.0):
            deadlines.add(delay_s, delay_s, lambda delay_s=delay_s: called.append(delay_s))
        await until(lambda: len(called) == 4)

        assert called == [0.0, 0.02, 0.04, 0.06]

    run(new_loop, scenario())


@LOOPS
def test_none_is_called_before_its_time(new_loop):
    async def scenario():
        deadlines, loop = Deadlines(), asyncio.get_running_loop()
        future = loop.create_future()
        began = loop.time()
        deadlines.add("key", 0.03, lambda: future.set_result(loop.time() - began))

        assert await future >= 0.029

    run(new_loop, scenario())


@LOOPS
def test_those_that_are_due_together_are_called_by_time(new_loop):
    async def scenario():
        deadlines, called = Deadlines(), []
        for number in (3, 1, 2):
            deadlines.add(number, number / 1000, lambda number=number: called.append(number))
        # The loop is busy meanwhile.
        time.sleep(0.01)  # noqa: ASYNC251 - on purpose
        await until(lambda: len(called) == 3)

        assert called == [1, 2, 3]

    run(new_loop, scenario())


@LOOPS
def test_a_discarded_one_is_never_called(new_loop):
    async def scenario():
        deadlines, called = Deadlines(), []
        deadlines.add("a", 0.01, lambda: called.append("a"))
        deadlines.add("b", 0.02, lambda: called.append("b"))
        deadlines.discard("a")
        deadlines.discard("never watched")
        await until(lambda: called)

        assert called == ["b"]

    run(new_loop, scenario())


@LOOPS
def test_not_even_by_one_that_is_due_together_with_it(new_loop):
    async def scenario():
        deadlines, called = Deadlines(), []

        def discards():
            called.append("a")
            deadlines.discard("b")

        deadlines.add("a", 0.0, discards)
        deadlines.add("b", 1e-6, lambda: called.append("b"))
        await asyncio.sleep(0.03)

        assert called == ["a"]

    run(new_loop, scenario())


@LOOPS
def test_what_is_called_may_watch_its_key_again(new_loop):
    async def scenario():
        deadlines, called = Deadlines(), []

        def again():
            called.append(len(called))
            if len(called) < 5:
                deadlines.add("key", 0.001, again)

        deadlines.add("key", 0.001, again)
        await until(lambda: len(called) == 5)
        await asyncio.sleep(0.01)

        assert called == [0, 1, 2, 3, 4]

    run(new_loop, scenario())


@LOOPS
def test_one_that_raises_is_logged_and_the_others_go_on(new_loop, caplog):
    async def scenario():
        deadlines, called = Deadlines(), []

        def fails():
            raise ValueError("mine")

        deadlines.add("a", 0.0, fails)
        deadlines.add("b", 1e-6, lambda: called.append("b"))
        deadlines.add("c", 0.02, lambda: called.append("c"))
        await until(lambda: len(called) == 2)

        assert [str(record.exc_info[1]) for record in caplog.records] == ["mine"]

    run(new_loop, scenario())


@LOOPS
def test_a_future_fails_in_time_unless_it_is_set_before(new_loop):
    async def scenario():
        deadlines, loop = Deadlines(), asyncio.get_running_loop()
        late, early = loop.create_future(), loop.create_future()
        for future in (late, early):
            deadlines.fail(future, 0.01)
        early.set_result("early")

        with pytest.raises(TimeoutError):
            await late
        assert await early == "early"

    run(new_loop, scenario())


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the timers that are set on it."""

    timers = 0

    def call_at(self, *arguments, **options):
        """Count."""
        self.timers += 1
        return super().call_at(*arguments, **options)


def test_many_waits_cost_one_timer_and_none_cost_none():
    async def scenario():
        loop, deadlines = asyncio.get_running_loop(), Deadlines()
        assert loop.timers == 0
        for number in range(1000):
            deadlines.add(number, 0.01 + number / 1e5, lambda: None)
            deadlines.discard(number)
        assert loop.timers == 1
        await asyncio.sleep(0.03)

        # The sleep, and no other: what rang found nothing to watch.
        assert loop.timers == 2

    run(CountingLoop, scenario())
