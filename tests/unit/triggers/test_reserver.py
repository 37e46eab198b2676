"""What a process tells its data plane to keep: from stored policies, second by second."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from funclet.catalog import Catalog
from funclet.model.function import Alias
from funclet.model.identity import Project, ProjectState
from funclet.model.reserved import CronPolicy, MetricPolicy, ReservedPolicy
from funclet.store.protocol import StoreUnavailable
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeClock
from funclet.triggers.reserved import RELOAD_S, Reserver
from tests.support.dataplane import VERSION

POLICY = ReservedPolicy(
    project_id="p", package="default", function_name="hello", function_id="f-1", qualifier="latest", count=2
)


class Keeper:
    """Remembers what it is to keep; says that so many requests run as it was told."""

    def __init__(self):
        self.kept = []
        self.running = 0

    def reserve(self, wanted):
        """Remember it."""
        self.kept = [(one.version.version, one.version.revision, one.count) for one in wanted]

    def in_flight(self, function_id, version):
        """Return what the test has set."""
        return self.running


class Bench:
    """A reserver with its database, clock and data plane."""

    def __init__(self, folder, owns):
        self.clock = FakeClock()
        self.store = SqliteStore.open(folder / "state.db")
        self.keeper = Keeper()
        self.catalog = Catalog(self.store, self.clock)
        self.reserver = Reserver(self.store, self.catalog, self.keeper, self.clock, region="r", owns=owns)

    async def put(self, *policies):
        """Store policies, and say so."""
        await self.store.write(lambda tx: [tx.reserved.put(one) for one in policies])
        self.changed()

    def changed(self):
        """Let everything be read anew."""
        self.catalog.forget("p", "default", "hello")
        self.reserver.changed()

    async def look(self, seconds=0.0):
        """Let time pass, second by second; return what is kept then."""
        await self.reserver.look()
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            await self.reserver.look()
        return self.keeper.kept


@contextlib.asynccontextmanager
async def bench(folder, owns=lambda _: True):
    made = Bench(folder, owns)
    await made.store.write(lambda tx: tx.functions.add(VERSION))
    try:
        yield made
    finally:
        await made.store.close()


def test_what_is_stored_is_kept_from_the_first_look_on(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            assert await subject.look() == []
            await subject.put(POLICY)

            assert await subject.look() == [("latest", 1, 2)]

    asyncio.run(scenario())


def test_other_processes_keep_what_they_own(tmp_path):
    async def scenario():
        async with bench(tmp_path, owns=lambda function_id: function_id != "f-1") as subject:
            await subject.put(POLICY)

            assert await subject.look() == []

    asyncio.run(scenario())


def test_a_change_that_nobody_tells_of_is_seen_after_some_seconds(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            await subject.look()
            await subject.store.write(lambda tx: tx.reserved.put(POLICY))

            assert await subject.look(RELOAD_S - 1) == []
            assert await subject.look(1) == [("latest", 1, 2)]

    asyncio.run(scenario())


def test_a_new_revision_is_what_is_kept_next_and_a_disabled_function_keeps_nothing(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            await subject.put(POLICY)
            await subject.store.write(lambda tx: tx.functions.replace_latest(replace(VERSION, revision=2)))
            subject.changed()
            assert await subject.look() == [("latest", 2, 2)]

            disabled = replace(VERSION, revision=2, settings=replace(VERSION.settings, max_instances=0))
            await subject.store.write(lambda tx: tx.functions.replace_latest(disabled))
            subject.changed()
            assert await subject.look() == []

    asyncio.run(scenario())


def test_an_alias_keeps_its_main_version_and_follows_it(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            for name in ("v1", "v2"):
                await subject.store.write(
                    lambda tx, name=name: tx.functions.add_version(replace(VERSION, version=name))
                )
            live = Alias(name="live", version="v1", additional_weights={"v2": 99}, modified_at=0.0)
            await subject.store.write(lambda tx: tx.aliases.put("f-1", live))
            await subject.put(replace(POLICY, qualifier="!live"))
            assert await subject.look() == [("v1", 1, 2)]

            await subject.store.write(lambda tx: tx.aliases.put("f-1", replace(live, version="v2")))
            subject.changed()
            assert await subject.look() == [("v2", 1, 2)]

    asyncio.run(scenario())


def test_policies_go_with_their_version_alias_or_function(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            await subject.store.write(lambda tx: tx.functions.add_version(replace(VERSION, version="v1")))
            await subject.store.write(lambda tx: tx.functions.add_version(replace(VERSION, version="v2")))
            for name, version in (("live", "v1"), ("old", "v2")):
                alias = Alias(name=name, version=version, modified_at=0.0)
                await subject.store.write(lambda tx, alias=alias: tx.aliases.put("f-1", alias))
            await subject.put(*(replace(POLICY, qualifier=one) for one in ("latest", "v2", "!live", "!old")))

            async def left():
                found = await subject.store.read(lambda tx: tx.reserved.all())
                return sorted(one.qualifier for one in found)

            await subject.store.write(lambda tx: tx.aliases.delete("f-1", "live"))
            assert await left() == ["!old", "latest", "v2"]
            await subject.store.write(lambda tx: tx.functions.delete_version("f-1", "v2"))
            assert await left() == ["latest"]
            await subject.store.write(lambda tx: tx.functions.delete("f-1"))
            assert await left() == []
            subject.changed()
            assert await subject.look() == []

    asyncio.run(scenario())


def test_a_schedule_holds_from_its_second_on(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            minute = CronPolicy(
                name="up",
                cron="@every 10s",
                count=5,
                starts_at=subject.clock.now(),
                expires_at=subject.clock.now() + 15,
            )
            await subject.put(replace(POLICY, crons=(minute,)))

            assert [(await subject.look(seconds))[0][2] for seconds in (9, 1, 5, 1)] == [2, 5, 5, 2]

    asyncio.run(scenario())


def test_a_clock_that_is_set_back_takes_the_schedule_back(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            soon = CronPolicy(name="up", cron="@every 10s", count=5, starts_at=subject.clock.now())
            await subject.put(replace(POLICY, crons=(soon,)))
            assert (await subject.look(10))[0][2] == 5
            subject.clock.step(-20)

            assert (await subject.look())[0][2] == 2

    asyncio.run(scenario())


def test_the_load_of_ten_seconds_counts_even_if_it_was_short(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            half = MetricPolicy(name="half", threshold=50, minimum=2)
            await subject.put(replace(POLICY, metrics=(half,)))
            assert await subject.look() == [("latest", 1, 2)]
            subject.keeper.running = 4
            await subject.look(1)
            subject.keeper.running = 0

            assert (await subject.look(9))[0][2] == 8
            # Less only after five minutes.
            assert (await subject.look(300))[0][2] == 8
            assert (await subject.look(20))[0][2] == 2

    asyncio.run(scenario())


@pytest.mark.proves("quota:fgs_func_occurs")
def test_the_load_never_takes_more_than_the_quota_of_the_project_leaves(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            for name in ("v1", "v2"):
                await subject.store.write(
                    lambda tx, name=name: tx.functions.add_version(replace(VERSION, version=name))
                )
            tenth = (MetricPolicy(name="tenth", threshold=10, minimum=5),)
            await subject.put(
                replace(POLICY, count=60),
                replace(POLICY, count=0, qualifier="v1", metrics=tenth),
                replace(POLICY, count=0, qualifier="v2", metrics=tenth),
            )
            subject.keeper.running = 50
            kept = await subject.look(20)

            assert sorted(count for *_, count in kept) == [15, 15, 60]

    asyncio.run(scenario())


def test_without_a_database_what_is_kept_stays(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            await subject.put(POLICY)
            await subject.look()
            await subject.store.close()
            subject.changed()

            with pytest.raises(StoreUnavailable):
                await subject.look()
            assert subject.keeper.kept == [("latest", 1, 2)]

    asyncio.run(scenario())


def test_nothing_is_kept_for_a_suspended_project(tmp_path):
    async def scenario():
        async with bench(tmp_path) as subject:
            project = Project(project_id="p", name="r", domain_id="d", domain_name="D", state=ProjectState.SUSPENDED)
            await subject.store.write(lambda tx: tx.identities.add_project(project))
            await subject.put(POLICY)
            assert await subject.look() == []

            await subject.store.write(lambda tx: tx.identities.set_state("p", ProjectState.NORMAL, ""))

            assert await subject.look(RELOAD_S) == [("latest", 1, 2)]

    asyncio.run(scenario())
