"""What the authenticator remembers of keys and tokens: one reading for all that come together."""

import asyncio

import pytest

from funclet.api.remembered import Remembered
from funclet.testing.fakes import FakeClock


def test_those_that_come_together_share_one_reading():
    async def scenario():
        remembered, asked, opened = Remembered(FakeClock()), [], asyncio.Event()

        async def read():
            asked.append(None)
            await opened.wait()
            return "credential"

        calls = [asyncio.create_task(remembered.get_or_read("key", read)) for _ in range(5)]
        await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.sleep(0)
        opened.set()
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == ["credential"] * 4
        assert await remembered.get_or_read("key", read) == "credential"
        assert len(asked) == 1

    asyncio.run(scenario())


def test_a_reading_that_fails_is_tried_again_by_the_next():
    async def scenario():
        remembered = Remembered(FakeClock())

        async def fail():
            raise OSError("the disk")

        async def read():
            return "credential"

        with pytest.raises(OSError, match="the disk"):
            await remembered.get_or_read("key", fail)
        assert await remembered.get_or_read("key", read) == "credential"

    asyncio.run(scenario())
