"""Refusals: one alone is answered at once, many take their time, and none is lost."""

import asyncio
import time

from funclet.dataplane import refusals
from funclet.dataplane.refusals import PAUSE_S, Refusals
from tests.support.dataplane import run


async def taken(subject):
    """Return how long one refusal takes, in seconds."""
    began = time.monotonic()
    await subject.pause()
    return time.monotonic() - began


def test_a_refusal_that_stands_alone_is_answered_at_once():
    async def scenario():
        subject = Refusals()
        first = await taken(subject)
        await asyncio.sleep(2 * PAUSE_S)

        assert max(first, await taken(subject)) < PAUSE_S / 4

    run(scenario())


def test_whoever_asks_again_at_once_is_refused_only_after_a_pause():
    async def scenario():
        subject = Refusals()
        await subject.pause()

        for _ in range(5):
            assert PAUSE_S * 0.8 <= await taken(subject) < PAUSE_S * 5

    run(scenario())


def test_all_of_a_crowd_are_answered_after_one_pause(monkeypatch):
    async def scenario():
        subject, now = Refusals(), [0.0]
        # The loop's own clock: nobody of the crowd comes late, however busy the machine is.
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
        crowd = [asyncio.create_task(subject.pause()) for _ in range(1000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        at_once = sum(task.done() for task in crowd)
        now[0] += PAUSE_S
        await asyncio.gather(*crowd)

        assert at_once == 1

    run(scenario())


def test_no_more_than_the_limit_are_held(monkeypatch):
    async def scenario():
        monkeypatch.setattr(refusals, "MAX_HELD", 3)
        subject = Refusals()
        times = await asyncio.gather(*(taken(subject) for _ in range(10)))

        assert sum(one > PAUSE_S * 0.8 for one in times) == 3

    run(scenario())


def test_one_who_goes_away_does_not_keep_the_others():
    async def scenario():
        subject = Refusals()
        await subject.pause()
        gone, *others = (asyncio.create_task(subject.pause()) for _ in range(3))
        await asyncio.sleep(0)
        gone.cancel()

        async with asyncio.timeout(5):
            await asyncio.gather(*others)
        assert gone.cancelled()

    run(scenario())
