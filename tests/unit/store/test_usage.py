"""The book of usage: each request is counted once, whatever fails in between, and no more is kept than allowed."""

import asyncio
import contextlib
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.model.invocation import Report
from funclet.model.usage import LEVELS, MONTH, Sample, Tally, slot_width_s, tally_of
from funclet.store.protocol import StoreUnavailable
from funclet.store.sqlite import SqliteStore
from funclet.store.usage import UsageBook, month_of
from funclet.testing.fakes import FakeClock
from tests.support.dataplane import VERSION

NOW = 1_773_000_000
MINUTE = NOW // 60 * 60


class Refusing:
    """A store that can be told to refuse writes."""

    def __init__(self, store):
        self._store = store
        self.refuses = False
        self.read = store.read

    async def write(self, work):
        """Write, or refuse."""
        if self.refuses:
            raise StoreUnavailable("told to")
        return await self._store.write(work)


@contextlib.asynccontextmanager
async def book(folder, **more):
    store = SqliteStore.open(folder / "state.db")
    await store.write(lambda tx: tx.functions.add(VERSION))
    refusing = Refusing(store)
    made = UsageBook(refusing, FakeClock(NOW), **more)
    made.store = refusing
    try:
        yield made
    finally:
        await store.close()


def ran(duration_ms=10.0, *, at=NOW, code=0, has_run=True, function_id="f-1", **more):
    return Report(
        function_id=function_id, version="latest", at=at, has_run=has_run, code=code, duration_ms=duration_ms,
        memory_mib=128, **more,
    )  # fmt: skip


async def slots(subject, span_s=60, since=0, until=2 * NOW, version=""):
    return await subject.store.read(
        lambda tx: tx.usage.of_function("f-1", version, span_s=span_s, since=since, until=until)
    )


def test_every_length_of_slots_has_the_sums(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.observe([ran(10), ran(30, code=4002)])
            subject.add([Sample(project_id="p", function_id="f-1", version="latest", at=NOW, rejects=3, in_flight=2)])
            await subject.flush()

            for span_s in (*LEVELS, MONTH):
                ((begins_at, tally),) = await slots(subject, span_s)
                assert begins_at == (NOW // span_s * span_s if span_s else month_of(NOW))
                assert (tally.reports, tally.runs, tally.function_errors, tally.rejects) == (2, 2, 1, 3)
                assert (tally.duration_ms, tally.least_ms, tally.most_ms, tally.in_flight) == (40.0, 10.0, 30.0, 2)
                assert tally.mb_ms == 128 * 40
                assert tally.count == 5

    asyncio.run(scenario())


def test_later_reports_are_added_to_what_is_stored(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            for duration_ms in (20, 5, 40):
                subject.observe([ran(duration_ms)])
                await subject.flush()
            subject.observe([ran(0, has_run=False, code=4009)])
            await subject.flush()

            ((_, tally),) = await slots(subject)
            assert (tally.reports, tally.runs, tally.least_ms, tally.most_ms) == (4, 3, 5.0, 40.0)

    asyncio.run(scenario())


def test_a_request_is_counted_when_it_ends(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.observe([ran(120_000, at=MINUTE)])
            await subject.flush()

            assert [begins_at for begins_at, _ in await slots(subject)] == [MINUTE + 120]

    asyncio.run(scenario())


def test_runs_on_reserved_instances_are_paid_for_by_their_life_and_initializers_by_the_millisecond(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.observe([ran(10, is_reserved=True, init_ms=7.0), ran(10.2, init_ms=0.5)])
            await subject.flush()

            ((_, tally),) = await slots(subject)
            assert (tally.mb_ms, tally.init_ms) == (128 * (11 + 1), 1)

    asyncio.run(scenario())


def test_what_cannot_be_written_is_kept_and_written_once(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.store.refuses = True
            subject.observe([ran()])
            with pytest.raises(StoreUnavailable):
                await subject.flush()
            subject.observe([ran()])
            subject.store.refuses = False
            await subject.flush()
            await subject.flush()

            ((_, tally),) = await slots(subject)
            assert tally.reports == 2

    asyncio.run(scenario())


def test_no_more_is_gathered_than_memory_is_meant_for(tmp_path, monkeypatch):
    async def scenario():
        monkeypatch.setattr("funclet.store.usage.MAX_GATHERED", 3)
        async with book(tmp_path) as subject:
            subject.observe([ran(at=NOW + 60 * number) for number in range(5)])
            await subject.flush()

            assert (len(await slots(subject)), subject.lost) == (3, 2)

    asyncio.run(scenario())


def test_reports_come_from_another_thread_while_it_is_written(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            thread = threading.Thread(target=lambda: [subject.observe([ran()]) for _ in range(2000)])
            thread.start()
            while thread.is_alive():
                await subject.flush()
            await subject.flush()

            assert sum(tally.reports for _, tally in await slots(subject)) == 2000

    asyncio.run(scenario())


def test_what_was_used_stays_with_its_project_when_the_function_is_gone(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.observe([ran()])
            await subject.flush()
            await subject.store.write(lambda tx: tx.functions.delete("f-1"))
            subject.observe([ran()])
            await subject.flush()

            assert [tally.reports for _, tally in await of_project(subject)] == [2]
            assert not await subject.store.read(lambda tx: tx.usage.by_function("p", span_s=60, since=0, until=2 * NOW))

    asyncio.run(scenario())


async def of_project(subject, span_s=60):
    return await subject.store.read(lambda tx: tx.usage.of_function("p", "", span_s=span_s, since=0, until=2 * NOW))


def sample(function_id, *, at=NOW, **counts):
    return Sample(project_id="p", function_id=function_id, version="latest", at=at, **counts)


def test_a_project_has_the_sums_of_its_functions_and_of_what_they_had_at_most(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            await subject.store.write(lambda tx: tx.functions.add(replace(VERSION, function_id="f-2", name="another")))
            subject.observe([ran(10), ran(30, function_id="f-2")])
            subject.add([sample("f-1", in_flight=3, instances=2), sample("f-2", in_flight=4, reserved=1)])
            await subject.flush()
            subject.add([sample("f-1", in_flight=1, instances=5), sample("f-2", at=NOW + 60, in_flight=9)])
            await subject.flush()

            first, second = [tally for _, tally in await of_project(subject)]
            assert (first.runs, first.least_ms, first.most_ms, first.duration_ms) == (2, 10.0, 30.0, 40.0)
            assert (first.in_flight, first.instances, first.reserved) == (3 + 4, 5, 1)
            assert second.in_flight == 9
            ((_, hour),) = await of_project(subject, 3600)
            assert (hour.runs, hour.in_flight, hour.instances) == (2, 3 + 9, 5)

    asyncio.run(scenario())


def test_a_project_keeps_what_it_had_at_most_over_a_restart(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.add([sample("f-1", in_flight=7)])
            await subject.flush()
            again = UsageBook(subject.store, FakeClock(NOW))
            again.add([sample("f-1", in_flight=2)])
            await again.flush()

            ((_, tally),) = await of_project(subject)
            assert tally.in_flight == 7

    asyncio.run(scenario())


def test_what_ended_slots_had_at_most_takes_no_memory(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.add([sample("f-1", at=NOW - 60 * number, in_flight=1) for number in range(200)])
            await subject.flush()

            assert len(subject._peaks._slots) <= 8

    asyncio.run(scenario())


async def turn(subject, seconds):
    """Let the book work for some seconds, each as long as its writes take."""
    running = asyncio.create_task(subject.run())
    for _ in range(seconds):
        await asyncio.sleep(0.01)
        subject._clock.advance(1.0)
    await asyncio.sleep(0.05)
    running.cancel()


def test_old_slots_go_each_length_at_its_age(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            ages = {span_s: kept_s + 2 * max(span_s, 60) for span_s, kept_s in LEVELS.items()}
            subject.observe([ran(at=NOW - age_s) for age_s in (0, *ages.values())])
            await subject.flush()
            await turn(subject, 2)

            counts = {span_s: len(await slots(subject, span_s)) for span_s in (*LEVELS, MONTH)}
            assert counts == {60: 1, 300: 2, 3600: 3, MONTH: 4}

    asyncio.run(scenario())


def test_where_there_are_too_many_the_oldest_minutes_go_first(tmp_path):
    async def scenario():
        async with book(tmp_path, max_rows=100) as subject:
            subject.observe([ran(at=NOW - 60 * number) for number in range(120)])
            await subject.flush()
            await turn(subject, 2)

            assert await subject.store.read(lambda tx: tx.usage.count()) <= 100
            assert len(await slots(subject, 3600)) >= 2

    asyncio.run(scenario())


def test_all_is_written_at_the_end(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.observe([ran()])
            await subject.close()
            assert len(await slots(subject)) == 1
            subject.observe([ran()])
            subject.store.refuses = True
            await subject.close()

    asyncio.run(scenario())


_TALLIES = st.builds(
    Tally,
    reports=st.integers(0, 9),
    runs=st.integers(0, 9),
    duration_ms=st.integers(0, 99).map(float),
    least_ms=st.integers(1, 99).map(float),
    most_ms=st.integers(1, 99).map(float),
    in_flight=st.integers(0, 9),
).map(lambda tally: tally if tally.runs else Tally(reports=tally.reports, in_flight=tally.in_flight))


def added(*tallies):
    total = Tally()
    for one in tallies:
        total.merge(one)
    return total


@given(_TALLIES, _TALLIES, _TALLIES)
def test_sums_do_not_depend_on_their_order(one, two, three):
    assert added(one, two, three) == added(three, one, two) == added(one, added(two, three))


def test_a_sample_adds_what_it_says():
    sample = Sample(project_id="p", function_id="f", version="v", at=0.0, rejects=1, system_errors=2, reserved=3)

    assert tally_of(sample) == Tally(rejects=1, system_errors=2, reserved=3)


@pytest.mark.parametrize(
    ("window_s", "width_s"), [(60, 60), (3599, 60), (3600, 1800), (86_399, 1800), (86_400, 10_800)]
)
def test_the_width_of_slots(window_s, width_s):
    assert slot_width_s(window_s) == width_s


def test_versions_are_counted_apart(tmp_path):
    async def scenario():
        async with book(tmp_path) as subject:
            subject.observe([ran(), replace_version(ran(), "v1")])
            await subject.flush()

            assert [tally.reports for _, tally in await slots(subject)] == [2]
            assert [tally.reports for _, tally in await slots(subject, version="v1")] == [1]

    asyncio.run(scenario())


def replace_version(report, version):
    return Report(**{**{name: getattr(report, name) for name in Report.__struct_fields__}, "version": version})
