"""Level `process` where the helper could not be built."""

import asyncio

from funclet.sandbox import native
from funclet.sandbox.protocol import ExitReason
from tests.support.sandbox import run_in_lab


def test_it_works_without_the_helper(monkeypatch):
    async def body(lab):
        monkeypatch.setattr(native, "_native", None)
        async with lab.running() as box:
            assert await box.ask("result = (os.environ['LC_ALL'], os.getcwd())") == (
                "C.UTF-8",
                str(lab.folder / "code" / "one"),
            )
            assert await box.ask("result = sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1]") == [0, 1, 2, 3]
            ended = await box.sandbox.stop(grace_s=5)
            assert (ended.reason, ended.status) == (ExitReason.STOPPED, -15)

    run_in_lab("process", body)


def test_children_in_its_group_end_with_it(monkeypatch):
    async def body(lab):
        monkeypatch.setattr(native, "_native", None)
        async with lab.running() as box:
            await box.ask("if os.fork() == 0: time.sleep(100)")
            assert len(lab.processes()) == 2
            await box.send("os._exit(4)")

            assert (await asyncio.wait_for(box.sandbox.wait(), 5)).status == 4
            async with asyncio.timeout(5):
                while lab.processes():
                    await asyncio.sleep(0.02)

    run_in_lab("process", body)
