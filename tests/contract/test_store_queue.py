"""What the queue of every store must keep, case by case and in any order of calls."""

import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from funclet.store.protocol import Duplicate
from funclet.store.queue_protocol import Accepted, NewDeadLetter, NewDelivery
from funclet.store.sql_async import MAX_DEAD_LETTERS
from tests.support.store import FACTORIES, FUNCTION_ID, Database, a_submission, due, records, settled


def add(db, *submissions):
    """Store submissions that are queued when they are accepted."""
    accepted = [Accepted(submission=one, queued_at=one.accepted_at) for one in submissions]
    return db.write(lambda tx: tx.queue.add_all(accepted))


def test_a_submission_comes_out_as_it_went_in(db):
    submission = a_submission(
        payload=bytes(range(256)) * 1024,
        memory_mib=256,
        source="t1",
        root_request_id="root",
        parent_request_id="parent",
        depth=3,
    )
    add(db, submission)
    if db.reopens:
        db.reopen()

    (request,) = db.read(due)

    assert (request.submission, request.attempts, request.refusals, request.started_at) == (submission, 0, 0, None)


def test_many_are_stored_in_their_order(db):
    stored = add(db, *(a_submission(f"r{n:04}", payload=b"%d" % n) for n in range(300)))

    assert [one.request_id for one in stored] == [f"r{n:04}" for n in range(300)]
    found = db.read(due)
    assert [(one.submission.request_id, one.submission.payload) for one in found] == [
        (f"r{n:04}", b"%d" % n) for n in range(300)
    ]
    assert [one.submission_id for one in found] == [one.submission_id for one in stored]


def test_a_request_id_is_accepted_once(db):
    db.write(lambda tx: tx.queue.add(a_submission()))

    with pytest.raises(Duplicate, match="before"):
        db.write(lambda tx: tx.queue.add(a_submission(payload=b"2")))


def test_a_dedup_id_is_the_first_request_for_ten_minutes(db):
    first = a_submission("a", dedup_id="d", accepted_at=1000.0)

    def again(request_id, at, **changes):
        (stored,) = add(db, structs.replace(first, request_id=request_id, accepted_at=at, **changes))
        return stored.request_id

    add(db, first)

    assert again("b", 1001.0) == "a"
    assert again("c", 1599.0) == "a"
    assert again("other-version", 1001.0, urn="urn:fss:r1:p1:function:default:hello:v1") == "other-version"
    assert again("d", 1600.0) == "d"
    assert again("e", 1601.0) == "d"
    assert len(db.read(due)) == 3
    assert [one.request_id for one in add(db, a_submission("x", dedup_id="q"), a_submission("y", dedup_id="q"))] == [
        "x",
        "x",
    ]


def test_the_oldest_due_rows_come_first_and_none_before_its_time(db):
    for request_id, accepted_at in (("b", 20.0), ("a", 10.0), ("later", 99.0), ("c", 20.0)):
        add(db, a_submission(request_id, accepted_at=accepted_at))

    found = db.read(lambda tx: due(tx, now=50.0))
    held = {found[0].submission_id}
    rest = db.read(lambda tx: due(tx, now=50.0, limit=1, held=held))

    assert [one.submission.request_id for one in found] == ["a", "b", "c"]
    assert [one.submission.request_id for one in rest] == ["b"]
    assert db.read(lambda tx: tx.queue.next_due(FUNCTION_ID, after=50.0)) == 99.0
    assert db.read(lambda tx: tx.queue.oldest_queued_at(FUNCTION_ID)) == 10.0


def test_no_more_bytes_are_read_than_wanted_but_one_row_at_least(db):
    add(db, *(a_submission(f"r{n}", payload=bytes(100)) for n in range(4)))

    assert len(db.read(lambda tx: due(tx, max_bytes=250))) == 2
    assert len(db.read(lambda tx: due(tx, max_bytes=1))) == 1


def test_lanes_are_what_waits(db):
    assert db.read(lambda tx: tx.queue.lanes()) == []
    add(db, a_submission("a", accepted_at=20.0), a_submission("b", accepted_at=10.0))
    add(db, a_submission("c", function_id="other", project_id="p2", payload=b"1"))

    lanes = {lane.function_id: lane for lane in db.read(lambda tx: tx.queue.lanes())}

    mine = lanes[FUNCTION_ID]
    assert (mine.count, mine.payload_bytes, mine.due_at, mine.project_id) == (2, 22, 10.0, "p1")
    assert (lanes["other"].count, lanes["other"].payload_bytes, lanes["other"].project_id) == (1, 1, "p2")


@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "DISCARD"])
def test_a_settled_row_has_ended(db, status):
    add(db, a_submission())
    (request,) = db.read(due)

    ending = settled(request, status, error_code=4002, error_message="boom", started_at=1500.0)
    db.write(lambda tx: tx.queue.settle_all([ending]))

    ((record,), count) = db.read(records)
    assert (record.status, record.attempts, count) == (status, 1, 1)
    assert (record.accepted_at, record.started_at, record.ended_at) == (1000.0, 1500.0, 2000.0)
    assert (record.error_code, record.error_message) == (4002, "boom")
    assert db.read(due) == []


def test_a_row_put_off_is_due_when_told_and_remembers_its_attempts(db):
    add(db, a_submission())
    (request,) = db.read(due)

    db.write(lambda tx: tx.queue.settle_all([settled(request, "WAIT", due_at=3000.0, refusals=2, started_at=5.0)]))

    assert db.read(lambda tx: tx.queue.next_due(FUNCTION_ID, after=2000.0)) == 3000.0
    assert db.read(lambda tx: due(tx, now=2999.0)) == []
    (again,) = db.read(lambda tx: due(tx, now=3000.0))
    assert (again.attempts, again.refusals, again.started_at) == (1, 2, 5.0)
    assert again.submission == a_submission()


def test_settling_what_has_ended_changes_nothing_and_nothing_follows(db):
    add(db, a_submission())
    (request,) = db.read(due)
    db.write(lambda tx: tx.queue.settle_all([settled(request, "FAIL")]))

    delivery = NewDelivery(kind="SMN", param="{}", is_success=True, document=b"{}", ended_at=1.0)
    late = [settled(request, "SUCCESS", delivery=delivery), settled(request, "WAIT"), settled(request, "SUCCESS")]
    assert db.write(lambda tx: tx.queue.settle_all(late)) == []

    assert db.read(records)[0][0].status == "FAIL"
    assert db.read(lambda tx: tx.deliveries.due(now=1e9, limit=10, held=())) == []


def test_a_record_that_is_not_wanted_goes_with_its_end(db):
    add(db, a_submission("a"), a_submission("b"))
    requests = db.read(due)

    db.write(lambda tx: tx.queue.settle_all([settled(one, "SUCCESS", keeps_record=False) for one in requests[:1]]))

    assert [record.request_id for record in db.read(records)[0]] == ["b"]


def test_an_end_and_its_delivery_are_one(db):
    add(db, a_submission(root_request_id="root", depth=2))
    (request,) = db.read(due)
    delivery = NewDelivery(kind="SMN", param='{"a":1}', is_success=True, document=b'{"x":1}', ended_at=7.0)

    (number,) = db.write(lambda tx: tx.queue.settle_all([settled(request, "SUCCESS", delivery=delivery)]))

    (stored,) = db.read(lambda tx: tx.deliveries.due(now=1e9, limit=10, held=()))
    assert (stored.delivery_id, stored.kind, stored.param, stored.document) == (number, "SMN", '{"a":1}', b'{"x":1}')
    assert (stored.request_id, stored.root_request_id, stored.depth, stored.ended_at) == ("r1", "root", 2, 7.0)
    assert db.read(lambda tx: tx.deliveries.due(now=1e9, limit=10, held={number})) == []


def deliverable(db):
    add(db, a_submission())
    (request,) = db.read(due)
    delivery = NewDelivery(kind="SMN", param="{}", is_success=True, document=b'{"x":1}', ended_at=7.0)
    db.write(lambda tx: tx.queue.settle_all([settled(request, "SUCCESS", delivery=delivery)]))
    return db.read(lambda tx: tx.deliveries.due(now=1e9, limit=10, held=()))[0]


def test_a_delivery_waits_and_is_sent(db):
    stored = deliverable(db)

    db.write(lambda tx: tx.deliveries.put_off(stored.delivery_id, due_at=5000.0, error_message="no"))
    assert db.read(lambda tx: tx.deliveries.due(now=4999.0, limit=10, held=())) == []
    assert db.read(lambda tx: tx.deliveries.next_due(after=4999.0)) == 5000.0
    db.write(lambda tx: tx.deliveries.sent(stored.delivery_id, at=1.0))

    (record,) = db.read(lambda tx: tx.deliveries.of_request("p1", "r1"))
    assert (record.status, record.tries) == ("SENT", 2)
    assert db.read(lambda tx: tx.deliveries.next_due(after=0.0)) is None


def test_a_dead_delivery_is_a_dead_letter_until_it_is_replayed(db):
    stored = deliverable(db)
    db.write(lambda tx: tx.deliveries.dead(stored, at=9.0, reason="gone"))
    db.write(lambda tx: tx.deliveries.dead(stored, at=10.0, reason="twice"))

    ((letter,), count) = db.read(lambda tx: tx.deliveries.dead_letters("p1", offset=0, limit=10))
    assert (count, letter.reason, letter.first_seen, letter.document) == (1, "gone", 9.0, b'{"x":1}')
    assert db.read(lambda tx: tx.deliveries.dead_letter("p2", letter.letter_id)) is None
    db.write(lambda tx: tx.deliveries.replay(letter, now=20.0))

    assert db.read(lambda tx: tx.deliveries.dead_letters("p1", offset=0, limit=10)) == ([], 0)
    (again,) = db.read(lambda tx: tx.deliveries.due(now=20.0, limit=10, held=()))
    assert (again.document, again.tries, again.kind) == (b'{"x":1}', 0, "SMN")


def test_a_project_keeps_the_newest_dead_letters_and_can_purge_them(db):
    letters = MAX_DEAD_LETTERS + 5
    add(db, *(a_submission(f"r{n}") for n in range(letters)))
    requests = db.read(due)
    dead = [settled(one, "FAIL", dead_letter=NewDeadLetter(reason="boom", document=b"{}")) for one in requests]
    db.write(lambda tx: tx.queue.settle_all(dead))

    newest, count = db.read(lambda tx: tx.deliveries.dead_letters("p1", offset=0, limit=2))
    assert (count, newest[0].request_id) == (MAX_DEAD_LETTERS, f"r{letters - 1}")
    assert db.write(lambda tx: tx.deliveries.purge("p1", [newest[0].letter_id])) == 1
    assert db.write(lambda tx: tx.deliveries.purge("p2", [])) == 0
    assert db.write(lambda tx: tx.deliveries.purge("p1", [])) == MAX_DEAD_LETTERS - 1


def test_records_page_newest_first_and_filter(db):
    for number in range(4):
        add(db, a_submission(f"r{number}", accepted_at=float(number // 2)))

    def ids(**wanted):
        found, count = db.read(lambda tx: records(tx, **wanted))
        return [record.request_id for record in found], count

    assert ids() == (["r3", "r2", "r1", "r0"], 4)
    assert ids(offset=1, limit=2) == (["r2", "r1"], 4)
    assert ids(begin=0.5) == (["r3", "r2"], 2)
    assert ids(end=0.5, status="WAIT") == (["r1", "r0"], 2)
    assert ids(status="RUNNING", running=["r0"]) == (["r0"], 1)
    assert ids(status="WAIT", running=["r0"], limit=1) == (["r3"], 3)
    assert ids(request_ids=["r2"]) == (["r2"], 1)
    assert ids(request_ids=["r0"], running=["r0"], status="RUNNING") == (["r0"], 1)
    assert ids(request_ids=["r2"], status="FAIL") == ([], 0)
    assert ids(request_ids=["r2", "r0"], offset=1) == (["r0"], 2)
    assert ids(function_id="other", request_ids=["r2"]) == ([], 0)


def test_children_are_what_a_request_has_caused_and_goes_on(db):
    add(db, a_submission("a"), a_submission("b", parent_request_id="a"), a_submission("c", parent_request_id="a"))
    (request,) = [one for one in db.read(due) if one.submission.request_id == "c"]
    db.write(lambda tx: tx.queue.settle_all([settled(request, "SUCCESS")]))

    assert db.read(lambda tx: tx.queue.children("a")) == [(FUNCTION_ID, "b")]
    assert db.read(lambda tx: tx.queue.children("")) == []


def test_what_waits_for_a_function_is_discarded_in_steps(db):
    add(db, *(a_submission(f"r{n}", payload=b"12345") for n in range(5)))

    def discard():
        error = {"error_code": 1, "error_message": "gone"}
        return db.write(lambda tx: tx.queue.discard(FUNCTION_ID, limit=3, held=held, at=9.0, **error))

    held = {request.submission_id for request in db.read(due)[:2]}
    assert [discard(), discard()] == [(3, 15), (0, 0)]
    held = ()
    assert [discard(), discard()] == [(2, 10), (0, 0)]
    found, _ = db.read(records)
    assert {(record.status, record.ended_at, record.error_message) for record in found} == {("DISCARD", 9.0, "gone")}


def test_forget_deletes_what_ended_before(db):
    add(db, a_submission("old"), a_submission("new"), a_submission("waits", dedup_id="d"))
    old, new, _ = db.read(due)
    db.write(lambda tx: tx.queue.settle_all([settled(old, "SUCCESS", at=100.0), settled(new, "SUCCESS", at=200.0)]))

    assert db.write(lambda tx: tx.queue.forget(ended_before=200.0, queued_before=0.0)) == 1
    assert db.write(lambda tx: tx.queue.forget(ended_before=200.0, queued_before=1e9)) == 1

    assert {record.request_id for record in db.read(records)[0]} == {"new", "waits"}


def test_what_is_due_implausibly_late_after_a_restart_is_due_now(db):
    add(db, a_submission("a", accepted_at=5000.0), a_submission("b", accepted_at=1050.0))

    db.write(lambda tx: tx.queue.open(now=1000.0))

    assert [one.submission.request_id for one in db.read(lambda tx: due(tx, now=1000.0))] == ["a"]


def test_status_lines_are_read_in_their_order(db):
    for number in range(3):
        db.write(lambda tx, n=number: tx.queue.add_status_lines("p1", f"r{n % 2}", [f'{{"n":{n}}}'], at=5.0))

    lines = db.read(lambda tx: tx.async_configs.status_lines("p1", request_id="r0", after=0, limit=10))
    assert [json.loads(line)["n"] for _, line in lines] == [0, 2]
    assert db.read(lambda tx: tx.async_configs.status_lines("p2", request_id="", after=0, limit=10)) == []


# Properties


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls: none is lost, and none comes back after its end."""

    def __init__(self) -> None:
        super().__init__()
        self.files = contextlib.ExitStack()
        folder = Path(self.files.enter_context(tempfile.TemporaryDirectory()))
        self.db = Database(FACTORIES["sqlite"], folder)
        self.now = 0.0
        self.due: dict[str, float] = {}
        self.attempts: dict[str, int] = {}
        self.requests = {}
        self.ended: dict[str, str] = {}

    @rule(count=st.integers(1, 4))
    def add(self, count: int) -> None:
        """Submit some at once."""
        ids = [f"r{len(self.attempts) + n}" for n in range(count)]
        self.db.together(*(lambda tx, r=r: tx.queue.add(a_submission(r, accepted_at=self.now)) for r in ids))
        for request_id in ids:
            self.due[request_id] = self.now
            self.attempts[request_id] = 0

    @rule()
    def look(self) -> None:
        """Read what is due."""
        found = self.db.read(lambda tx: due(tx, now=self.now))
        self.requests = {one.submission.request_id: one for one in found}
        assert self.requests.keys() == {key for key, at in self.due.items() if at <= self.now}
        assert all(one.attempts == self.attempts[key] for key, one in self.requests.items())

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), status=st.sampled_from(["SUCCESS", "FAIL", "DISCARD", "WAIT"]))
    def settle(self, data: st.DataObject, status: str) -> None:
        """End what was read, or put it off; what has ended meanwhile stays as it is."""
        request_id = data.draw(st.sampled_from(sorted(self.requests)))
        request = self.requests[request_id]
        due_at = self.now + data.draw(st.integers(0, 3))
        self.db.write(lambda tx: tx.queue.settle_all([settled(request, status, due_at=due_at)]))
        if request_id in self.ended:
            return
        self.attempts[request_id] = request.attempts + 1
        if status == "WAIT":
            self.due[request_id] = due_at
        else:
            del self.due[request_id]
            self.ended[request_id] = status

    @rule(by=st.integers(1, 3))
    def wait(self, by: int) -> None:
        """Let time pass."""
        self.now += by

    @rule()
    def restart(self) -> None:
        """Close and open."""
        self.db.reopen()

    @invariant()
    def every_row_is_where_it_should_be(self) -> None:
        """Compare with the model."""
        found, count = self.db.read(records)
        expected = dict.fromkeys(self.due, "WAIT") | self.ended
        assert {record.request_id: record.status for record in found} == expected
        assert {record.request_id: record.attempts for record in found} == self.attempts
        assert count == len(expected)

    def teardown(self) -> None:
        """Close what the example opened."""
        self.db.close()
        self.files.close()


QueueMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueueProperties = QueueMachine.TestCase
