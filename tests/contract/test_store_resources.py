"""What every store must keep of tags, usage and records: whichever way a list is found, it is the same list."""

from dataclasses import replace

import pytest

from funclet.model.function import Code
from funclet.model.resources import TagFilter
from funclet.services.record_pages import REMEMBERED_S, RecordPages
from funclet.store import sql_records, sql_resources
from funclet.store.queue_protocol import RecordQuery, Settlement
from funclet.testing.fakes import FakeClock
from tests.support.store import a_submission, a_version, due

TAGS = (
    {"team": "a", "stage": "prod"},
    {"team": "a", "stage": "test"},
    {"team": "b", "stage": "prod"},
    {},
    {"team": "a", "stage": "prod", "rare": "1"},
)


@pytest.fixture
def tagged(db):
    def fill(tx):
        for number, tags in enumerate(TAGS):
            version = a_version(f"f{number}", modified_at=float(number))
            tx.functions.add(version)
            tx.tags.put("p1", version.function_id, tags)

    db.write(fill)
    return db


@pytest.mark.parametrize("counted", [0, 2, 1000])
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (TagFilter(), ["f4", "f3", "f2", "f1", "f0"]),
        (TagFilter(tags={"team": ["a"]}), ["f4", "f1", "f0"]),
        (TagFilter(tags={"team": ["a"], "stage": ["prod"]}), ["f4", "f0"]),
        (TagFilter(tags={"team": [], "rare": []}), ["f4"]),
        (TagFilter(tags={"team": ["a", "b"], "stage": ["test", "prod"]}, name_part="2"), ["f2"]),
        (TagFilter(without_tags=True), ["f3"]),
        (TagFilter(without_tags=True, name_part="4"), []),
    ],
)
def test_functions_are_found_by_tags_however_many_there_are(tagged, monkeypatch, counted, wanted, names):
    monkeypatch.setattr(sql_resources, "MAX_COUNTED", counted)

    def find(offset, limit):
        found, count = tagged.read(lambda tx: tx.tags.find("p1", wanted, offset=offset, limit=limit))
        return [one.name for one in found], count

    found, count = find(0, 10)
    assert (found, count) == (names, len(names))
    assert find(1, 1)[0] == names[1:2]
    assert tagged.read(lambda tx: tx.tags.find("p2", wanted, offset=0, limit=10)) == ([], 0)


def test_a_function_is_without_tags_when_its_last_one_has_gone(tagged):
    def change(tx):
        tx.tags.remove("id-p1-f2", "team", None)
        tx.tags.remove("id-p1-f2", "stage", "other")
        tx.tags.remove("id-p1-f2", "stage", "prod")
        tx.tags.put("p1", "id-p1-f3", {"a": "1"})
        tx.tags.put("p1", "id-p1-f3", {"a": "2"})
        tx.functions.delete("id-p1-f0")

    tagged.write(change)

    found, _ = tagged.read(lambda tx: tx.tags.find("p1", TagFilter(without_tags=True), offset=0, limit=10))
    assert [one.name for one in found] == ["f2"]
    assert tagged.read(lambda tx: tx.tags.of_project("p1")) == {
        "a": ["2"],
        "rare": ["1"],
        "stage": ["prod", "test"],
        "team": ["a"],
    }


def test_what_a_project_has_is_counted_through_every_change(db):
    def sized(version, size):
        return replace(version, code=Code(digest=f"{size}", size=size, code_type="zip"))

    first, second = sized(a_version("f1"), 100), sized(a_version("f2"), 10)

    def totals():
        return db.read(lambda tx: tx.functions.totals("p1"))

    assert totals() == (0, 0)
    db.write(lambda tx: [tx.functions.add(one) for one in (first, second)])
    assert totals() == (2, 110)
    db.write(lambda tx: tx.functions.add_version(replace(first, version="v1")))
    assert totals() == (2, 210)
    db.write(lambda tx: tx.functions.replace_latest(sized(first, 40)))
    assert totals() == (2, 150)
    db.write(lambda tx: tx.functions.delete_version(first.function_id, "v1"))
    assert totals() == (2, 50)
    db.write(lambda tx: tx.functions.delete(first.function_id))
    assert totals() == (1, 10)
    assert db.read(lambda tx: tx.functions.totals("p2")) == (0, 0)


@pytest.fixture
def recorded(db):
    """Requests r0 to r9, accepted two a second: of each three one waits, one has failed, one has gone well."""
    requests = [a_submission(f"r{number}", accepted_at=float(number // 2)) for number in range(10)]
    db.write(lambda tx: [tx.queue.add(one) for one in requests])
    ends = {"1": "FAIL", "2": "SUCCESS"}
    settled = [
        Settlement(request=one, status=ends[str(int(one.submission.request_id[1:]) % 3)], at=99.0, attempts=1)
        for one in db.read(lambda tx: due(tx, limit=100))
        if int(one.submission.request_id[1:]) % 3
    ]
    db.write(lambda tx: tx.queue.settle_all(settled))
    return db


FUNCTION = a_submission("x").function_id


@pytest.mark.parametrize("counted", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("", ["r9", "r8", "r7", "r6", "r5", "r4", "r3", "r2", "r1", "r0"]),
        ("WAIT", ["r9", "r6", "r0"]),
        ("RUNNING", ["r3"]),
        ("FAIL", ["r7", "r4", "r1"]),
        ("SUCCESS", ["r8", "r5", "r2"]),
        ("DISCARD", []),
    ],
)
def test_pages_of_records_follow_each_other_by_offset_and_by_name(recorded, monkeypatch, counted, status, expected):
    monkeypatch.setattr(sql_records, "MAX_COUNTED", counted)

    def page(offset, behind=""):
        query = RecordQuery(function_id=FUNCTION, status=status, offset=offset, behind=behind, limit=2, running=("r3",))
        found, count = recorded.read(lambda tx: tx.queue.records(query))
        assert count >= offset + len(found) or not found
        return [record.request_id for record in found], count

    by_offset = [page(offset)[0] for offset in range(0, 10, 2)]
    by_name = [page(0)[0], *(page(offset, expected[offset - 1])[0] for offset in range(2, len(expected), 2))]

    assert [one for shown in by_offset for one in shown] == expected
    assert [one for shown in by_name for one in shown] == expected
    assert page(2, "gone")[0] == expected[2:4]
    if counted > 10:
        assert page(0)[1] == len(expected)


def test_a_page_behind_a_record_keeps_to_the_window(recorded):
    def ids(**wanted):
        query = RecordQuery(function_id=FUNCTION, behind="r9", offset=1, **wanted)
        found, _ = recorded.read(lambda tx: tx.queue.records(query))
        return [record.request_id for record in found]

    assert ids(begin=3.0) == ["r8", "r7", "r6"]
    assert ids(begin=1.0, end=2.0) == ["r5", "r4", "r3", "r2"]


def test_reading_on_neither_repeats_nor_leaves_out_what_came_meanwhile(recorded):
    pages = RecordPages(recorded.store, FakeClock())

    def page(offset, limit=4):
        query = RecordQuery(function_id=FUNCTION, offset=offset, limit=limit)
        found, _ = recorded.runner.run(pages.read(query, window=None))
        return [record.request_id for record in found]

    first = page(0)
    recorded.write(lambda tx: tx.queue.add(a_submission("late", accepted_at=9.0)))

    assert first + page(4) + page(8) == [f"r{number}" for number in range(9, -1, -1)]
    assert page(0)[0] == "late"
    assert page(7, limit=2) == ["r3", "r2"]
    assert page(50) == []


def test_where_a_page_ended_is_forgotten_after_a_minute(recorded):
    clock = FakeClock()
    pages = RecordPages(recorded.store, clock)

    async def read(offset):
        return (await pages.read(RecordQuery(function_id=FUNCTION, offset=offset, limit=2), window=None))[0]

    recorded.runner.run(read(0))
    recorded.write(lambda tx: tx.queue.add(a_submission("late", accepted_at=9.0)))
    clock.advance(REMEMBERED_S + 1)

    assert [record.request_id for record in recorded.runner.run(read(2))] == ["r8", "r7"]
