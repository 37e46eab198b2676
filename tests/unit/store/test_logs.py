"""The store of function logs."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from funclet.model.invocation import Report
from funclet.store import logs
from funclet.store.logs import MAX_QUEUED, SqliteLogStore, cut_text
from funclet.store.protocol import StoreUnavailable


class Clock:
    """A clock that stands where the records of these tests are."""

    def __init__(self):
        self.at = 1_000_000.0

    def now(self):
        """Wall-clock time."""
        return self.at

    def monotonic(self):
        """The same."""
        return self.at

    async def sleep(self, delay_s):
        """Nothing here sleeps."""
        raise NotImplementedError


class Logs:
    """A log store and the loop it is used from."""

    def __init__(self, path, **options):
        self.path = path
        self.options = {"clock": Clock()} | options
        self.runner = asyncio.Runner()
        self.store = SqliteLogStore.open(path, **self.options)

    def add(self, *records):
        """Add some."""
        for record in records:
            self.store.add(record)

    def find(self, function_id="f1", **wanted):
        """Find with ids."""
        return self.runner.run(self.store.find(function_id, **wanted))

    def texts(self, function_id="f1", **wanted):
        """Find texts only."""
        return [record.printed.decode() for _, record in self.find(function_id, **wanted)]

    def reopen(self):
        """Close the store and open it again."""
        self.runner.run(self.store.close())
        self.store = SqliteLogStore.open(self.path, **self.options)

    def close(self):
        """Close the store and the loop."""
        self.runner.run(self.store.close())
        self.runner.close()


@pytest.fixture
def opened(tmp_path):
    made = []

    def open_logs(**options):
        made.append(Logs(tmp_path / "logs.db", **options))
        return made[-1]

    yield open_logs
    for log in made:
        log.close()


def a_record(text="one\n", **changes):
    record = Report(
        function_id="f1",
        version="latest",
        request_id="r1",
        at=1_000_000.0,
        printed=text.encode(),
        has_run=True,
        duration_ms=1.5,
        is_cold=True,
    )
    return replace(record, **changes)


def test_a_record_comes_back_at_once_and_after_a_restart(opened):
    log = opened()
    log.add(a_record())

    assert [record for _, record in log.find()] == [a_record()]
    log.reopen()
    assert [record for _, record in log.find()] == [a_record()]


def test_the_newest_come_oldest_first_and_the_rest_is_followed_by_id(opened):
    log = opened()
    log.add(*(a_record(str(n)) for n in range(5)))

    found = log.find(limit=2)
    assert [record.printed.decode() for _, record in found] == ["3", "4"]

    log.add(*(a_record(str(n)) for n in range(5, 9)))
    assert log.texts(after_id=found[-1][0], limit=3) == ["5", "6", "7"]


def test_a_record_that_is_not_to_be_kept_is_seen_by_statistics_only(opened):
    observed = []
    log = opened(observe=observed.extend)
    log.add(a_record("kept"), a_record("not kept", log_tags=None))

    assert log.texts() == ["kept"]
    assert [record.printed for record in observed] == [b"kept", b"not kept"]
    assert log.store.dropped == 0


def test_records_are_found_by_all_of_their_tags(opened):
    log = opened()
    log.add(a_record("a", log_tags={"team": "x", "stage": "1"}), a_record("b", log_tags={"team": "x"}), a_record("c"))

    assert log.texts(tags={"team": "x"}) == ["a", "b"]
    assert log.texts(tags={"team": "x", "stage": "1"}) == ["a"]
    assert log.texts(tags={"team": "y"}) == []


def test_records_of_an_older_server_have_no_tags():
    (older,) = msgspec.msgpack.decode(logs._encode([a_record("old")]))
    assert older.pop() == {}

    assert logs._decode(msgspec.msgpack.encode([older])) == [a_record("old")]


def test_filters(opened):
    log = opened()
    log.add(
        a_record("a", at=1_000_010.0),
        a_record("b", at=1_000_020.0, request_id="r2"),
        a_record("c", at=1_000_030.0),
        a_record("x", function_id="f2"),
    )

    assert log.texts("f2") == ["x"]
    assert log.texts(since=1_000_020.0) == ["b", "c"]
    assert log.texts(until=1_000_020.0) == ["a", "b"]
    assert log.texts(since=1_000_015.0, until=1_000_025.0) == ["b"]
    assert log.texts(request_id="r1") == ["a", "c"]
    assert log.texts(request_id="r1", limit=1) == ["c"]
    ((first, _),) = log.find(request_id="r1", until=1_000_010.0)
    assert log.texts(request_id="r1", after_id=first) == ["c"]


def test_a_long_text_is_cut_in_the_middle(opened):
    log = opened()
    log.add(a_record("begin" + "ü" * logs.MAX_TEXT_BYTES + "end"))

    (text,) = log.texts()

    assert text.startswith("beginü")
    assert text.endswith("üend")
    assert "bytes left out ...\n" in text
    assert len(text.encode()) <= logs.MAX_TEXT_BYTES + 100


@pytest.mark.parametrize("length", [0, 9, 10, 11, 30])
def test_cut_text_keeps_what_fits(length):
    text = b"x" * length

    cut = cut_text(text, max_bytes=10)

    assert cut == (text if length <= 10 else b"xxxxx\n... %d bytes left out ...\nxxxxx" % (length - 10))


def test_text_that_is_no_unicode_comes_back_as_it_was(opened):
    log = opened()
    log.add(replace(a_record(), printed=b"bad \xff"), a_record("good"))

    assert [record.printed for _, record in log.find()] == [b"bad \xff", b"good"]


def test_the_oldest_are_dropped_and_counted_when_too_many_are_queued(opened):
    log = opened()
    total = MAX_QUEUED * 3

    log.add(*(a_record(str(n)) for n in range(total)))

    texts = log.texts(limit=logs.MAX_FOUND)
    assert texts[-1] == str(total - 1)
    log.reopen()
    kept = log.texts(limit=logs.MAX_FOUND)
    assert kept == texts


def test_every_record_is_written_or_counted_as_dropped(opened):
    log = opened()
    big = "x" * (logs.MAX_TEXT_BYTES - 10)

    log.add(*(a_record(big) for _ in range(100)))

    assert len(log.find()) + log.store.dropped == 100


def test_the_size_is_bounded_and_the_newest_stay(opened, tmp_path):
    log = opened(max_bytes=1024 * 1024)
    for number in range(30):
        log.add(*(a_record(f"{number}-{n} " + "x" * 1000) for n in range(100)))
        log.find(limit=1)

    texts = log.texts(limit=10_000)

    assert texts[-1].startswith("29-99 ")
    assert 300 < len(texts) < 1000
    log.reopen()
    assert (tmp_path / "logs.db").stat().st_size < 2 * 1024 * 1024


def test_old_records_go(opened):
    clock = Clock()
    log = opened(max_age_s=100.0, clock=clock)
    log.add(a_record("old", at=clock.at))
    assert log.texts() == ["old"]

    clock.at += 101.0
    log.add(a_record("new", at=clock.at))

    assert log.texts() == ["new"]


def test_ids_are_never_given_twice(opened):
    clock = Clock()
    log = opened(max_age_s=100.0, clock=clock)
    log.add(a_record())
    ((first, _),) = log.find()
    log.reopen()
    clock.at += 500.0
    log.add(a_record(at=clock.at))
    log.find()
    clock.at += 500.0
    log.add(a_record(at=clock.at))

    ((last, _),) = log.find()

    assert last > first


def test_close_writes_what_is_queued(opened):
    log = opened()
    log.add(*(a_record(str(n)) for n in range(2500)))

    log.reopen()

    assert len(log.texts(limit=5000)) == 2500


def test_a_closed_store_takes_nothing(opened):
    log = opened()
    log.runner.run(log.store.close())

    log.add(a_record())

    assert log.store.dropped == 1
    with pytest.raises(StoreUnavailable, match="closed"):
        log.find()


def test_files_are_the_owners_alone(opened, tmp_path):
    log = opened()
    log.add(a_record())
    log.find()

    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_record_that_is_added_while_the_writer_wakes_up_does_not_put_it_to_sleep(opened):
    log = opened()
    wake = log.store._wake
    clear = wake.clear

    def add_and_clear():
        wake.clear = clear
        log.add(a_record("second"))
        clear()

    wake.clear = add_and_clear
    log.add(a_record("first"))
    assert sorted(log.texts()) == ["first", "second"]
    log.add(a_record("third"))

    assert sorted(log.texts()) == ["first", "second", "third"]
