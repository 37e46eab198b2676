"""Unpacked code goes while the server runs: with its last version, and never under an instance."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from funclet.code_sweep import PERIOD_S, CodeSweep
from funclet.dataplane.code import CodeCache
from funclet.model.dependency import DependencyVersion
from funclet.model.function import Code, Layer
from funclet.model.invocation import Completed
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeClock
from funclet.testing.sandbox import FakeDriver
from tests.support.dataplane import VERSION, dispatcher, gate, invocation, run, until
from tests.support.packages import zip_of

PACKAGE, LAYER = "a" * 128, "b" * 128
CODE = Code(digest=PACKAGE, size=1, code_type="zip", layers=(Layer(dependency_id="d", digest=LAYER),))
DEPENDENCY = DependencyVersion(
    version_id="d1",
    dependency_id="d",
    project_id=VERSION.project_id,
    name="lib",
    runtime="Python3.10",
    number=1,
    digest=LAYER,
    size=1,
    etag="e",
    filename="lib.zip",
    modified_at=0.0,
)
LAYERED = replace(VERSION, code=CODE, settings=replace(VERSION.settings, dependency_ids=("d1",)))


class Source:
    async def read(self, digest):
        return zip_of({f"{digest[0]}.py": "x = 1\n"})


@contextlib.asynccontextmanager
async def sweeping(folder):
    """A store with one function, the folders of code, and what removes them; `look` lets it look once."""
    (folder / "code").mkdir()
    store, clock, code = SqliteStore.open(folder / "state.db"), FakeClock(), CodeCache(Source(), folder / "code")
    await store.write(lambda tx: (tx.dependencies.add(DEPENDENCY), tx.functions.add(LAYERED)))
    subject = CodeSweep(code, store, clock)
    task = asyncio.create_task(subject.run())

    async def look():
        await until(lambda: clock._sleepers)
        clock.advance(PERIOD_S)
        await until(lambda: clock._sleepers or not subject._is_changed.is_set())

    try:
        yield store, code, subject, look
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


@pytest.fixture
def names(tmp_path):
    return lambda: {path.name for path in (tmp_path / "code").iterdir()}


def test_folders_go_with_the_function_and_not_under_its_instance(tmp_path, names):
    async def scenario():
        behaviour, opened = gate()
        async with (
            sweeping(tmp_path) as (store, code, subject, look),
            dispatcher(FakeDriver(behaviour), code=code) as plane,
        ):
            running = asyncio.create_task(plane.invoke(invocation(LAYERED)))
            await until(lambda: plane.statistics()["busy"] == 1)
            assert names() == {PACKAGE, LAYER, CODE.tree}
            await store.write(lambda tx: tx.functions.delete(LAYERED.function_id))
            plane.retire(LAYERED)
            subject.noticed()
            await look()
            await look()
            await until(lambda: names() == {LAYER, CODE.tree})

            assert (tmp_path / "code" / CODE.tree / "b.py").exists()
            opened.set()
            assert isinstance(await running, Completed)
            await until(lambda: not plane._code.holds._held)
            await look()
            await until(lambda: names() == {LAYER})

    run(scenario())


def test_folders_of_a_version_stay_however_often_it_looks(tmp_path, names):
    async def scenario():
        async with sweeping(tmp_path) as (_, code, subject, look):
            await code.fetch(CODE)
            for _ in range(3):
                subject.noticed()
                await look()

            assert names() == {PACKAGE, LAYER, CODE.tree}

    run(scenario())


def test_a_store_that_cannot_be_read_now_is_asked_again(tmp_path, names):
    async def scenario():
        async with sweeping(tmp_path) as (store, code, subject, look):
            await code.fetch(replace(CODE, layers=(), digest="c" * 128))
            read, answers = store.read, []

            async def fails_once(work):
                answers.append(1)
                if len(answers) == 1:
                    raise OSError("no disk")
                return await read(work)

            store.read = fails_once
            subject.noticed()
            for _ in range(3):
                await look()
            await until(lambda: not names())

    run(scenario())
