"""What the queue of every store must keep, case by case and in any order of calls."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from funclet.store.protocol import Duplicate
from tests.support.store import FACTORIES, Database, a_submission, settled


def test_a_submission_is_leased_as_it_was_added(db):
    submission = a_submission(payload=bytes(range(256)) * 1024, memory_mib=256)
    db.write(lambda tx: tx.queue.add(submission))
    if db.reopens:
        db.reopen()

    (lease,) = db.write(lambda tx: tx.queue.lease(now=1000.0, limit=10))

    assert (lease.submission, lease.attempt) == (submission, 1)
    assert db.write(lambda tx: tx.queue.lease(now=1000.0, limit=10)) == []


def test_a_request_id_is_accepted_once(db):
    db.write(lambda tx: tx.queue.add(a_submission()))

    with pytest.raises(Duplicate, match="r1"):
        db.write(lambda tx: tx.queue.add(a_submission(payload=b"2")))


def test_the_oldest_due_rows_are_leased_first_and_none_before_its_time(db):
    for request_id, accepted_at in (("b", 20.0), ("a", 10.0), ("later", 99.0), ("c", 20.0)):
        db.write(lambda tx, r=request_id, a=accepted_at: tx.queue.add(a_submission(r, accepted_at=a)))

    first = db.write(lambda tx: tx.queue.lease(now=50.0, limit=2))
    second = db.write(lambda tx: tx.queue.lease(now=50.0, limit=2))

    assert [lease.submission.request_id for lease in (*first, *second)] == ["a", "b", "c"]
    assert db.read(lambda tx: tx.queue.next_due()) == 99.0


def test_the_backlog_is_what_waits(db):
    assert db.read(lambda tx: tx.queue.backlog()) == (0, None)
    for request_id, accepted_at in (("b", 20.0), ("a", 10.0), ("c", 30.0)):
        db.write(lambda tx, r=request_id, a=accepted_at: tx.queue.add(a_submission(r, accepted_at=a)))

    assert db.read(lambda tx: tx.queue.backlog()) == (3, 10.0)
    db.write(lambda tx: tx.queue.lease(now=50.0, limit=1))
    assert db.read(lambda tx: tx.queue.backlog()) == (2, 20.0)


@pytest.mark.parametrize("status", ["SUCCESS", "FAIL", "DISCARD"])
def test_a_settled_row_has_ended(db, status):
    db.write(lambda tx: tx.queue.add(a_submission()))
    db.write(lambda tx: tx.queue.lease(now=1500.0, limit=1))

    db.write(lambda tx: tx.queue.settle(settled("r1", status, error_code=4002, error_message="boom")))

    ((record,), count) = db.read(lambda tx: tx.queue.records("id-p1-hello"))
    assert (record.status, record.attempts, count) == (status, 1, 1)
    assert (record.accepted_at, record.started_at, record.ended_at) == (1000.0, 1500.0, 2000.0)
    assert (record.error_code, record.error_message) == (4002, "boom")
    assert db.read(lambda tx: tx.queue.next_due()) is None


def test_a_row_put_back_is_due_when_told_and_its_attempts_grow(db):
    db.write(lambda tx: tx.queue.add(a_submission()))
    db.write(lambda tx: tx.queue.lease(now=1000.0, limit=1))

    db.write(lambda tx: tx.queue.settle(settled("r1", "WAIT", due_at=3000.0)))

    assert db.read(lambda tx: tx.queue.next_due()) == 3000.0
    assert db.write(lambda tx: tx.queue.lease(now=2999.0, limit=1)) == []
    (lease,) = db.write(lambda tx: tx.queue.lease(now=3000.0, limit=1))
    assert lease.attempt == 2
    assert lease.submission == a_submission()


def test_an_attempt_that_does_not_count_is_given_back(db):
    db.write(lambda tx: tx.queue.add(a_submission()))
    db.write(lambda tx: tx.queue.lease(now=1000.0, limit=1))

    db.write(lambda tx: tx.queue.settle(settled("r1", "WAIT", due_at=1.0, counts=False)))

    ((record,), _) = db.read(lambda tx: tx.queue.records("id-p1-hello"))
    assert (record.attempts, record.started_at) == (0, None)
    assert db.write(lambda tx: tx.queue.lease(now=1000.0, limit=1))[0].attempt == 1


def test_settling_what_does_not_run_changes_nothing(db):
    db.write(lambda tx: tx.queue.add(a_submission()))

    db.write(lambda tx: tx.queue.settle(settled("r1", "SUCCESS")))
    db.write(lambda tx: tx.queue.settle(settled("unknown", "SUCCESS")))
    assert db.read(lambda tx: tx.queue.records("id-p1-hello"))[0][0].status == "WAIT"

    db.write(lambda tx: tx.queue.lease(now=1000.0, limit=1))
    db.write(lambda tx: tx.queue.settle(settled("r1", "FAIL")))
    db.write(lambda tx: tx.queue.settle(settled("r1", "SUCCESS")))
    db.write(lambda tx: tx.queue.settle(settled("r1", "WAIT")))
    assert db.read(lambda tx: tx.queue.records("id-p1-hello"))[0][0].status == "FAIL"


def test_recover_puts_running_rows_back(db):
    for request_id in ("done", "lost"):
        db.write(lambda tx, r=request_id: tx.queue.add(a_submission(r)))
    db.write(lambda tx: tx.queue.lease(now=1000.0, limit=2))
    db.write(lambda tx: tx.queue.settle(settled("done", "SUCCESS")))

    assert db.write(lambda tx: tx.queue.recover()) == 1
    assert db.write(lambda tx: tx.queue.recover()) == 0

    (lease,) = db.write(lambda tx: tx.queue.lease(now=1000.0, limit=2))
    assert (lease.submission.request_id, lease.attempt) == ("lost", 2)


def test_records_page_newest_first_and_filter(db):
    for number in range(4):
        db.write(lambda tx, n=number: tx.queue.add(a_submission(f"r{n}", accepted_at=float(n // 2))))
    db.write(lambda tx: tx.queue.lease(now=0.0, limit=1))

    def ids(**wanted):
        records, count = db.read(lambda tx: tx.queue.records("id-p1-hello", **wanted))
        return [record.request_id for record in records], count

    assert ids() == (["r3", "r2", "r1", "r0"], 4)
    assert ids(offset=1, limit=2) == (["r2", "r1"], 4)
    assert ids(status="RUNNING") == (["r0"], 1)
    assert ids(request_id="r2") == (["r2"], 1)
    assert ids(request_id="r2", status="FAIL") == ([], 0)
    assert ids(request_id="r2", offset=1) == ([], 1)
    assert db.read(lambda tx: tx.queue.records("other", request_id="r2")) == ([], 0)


def test_forget_deletes_what_ended_before(db):
    for request_id, at in (("old", 100.0), ("new", 200.0)):
        db.write(lambda tx, r=request_id: tx.queue.add(a_submission(r)))
        db.write(lambda tx: tx.queue.lease(now=1000.0, limit=1))
        db.write(lambda tx, r=request_id, a=at: tx.queue.settle(settled(r, "SUCCESS", at=a)))
    db.write(lambda tx: tx.queue.add(a_submission("waits")))

    assert db.write(lambda tx: tx.queue.forget(ended_before=200.0)) == 1

    records, _ = db.read(lambda tx: tx.queue.records("id-p1-hello"))
    assert {record.request_id for record in records} == {"new", "waits"}


# Properties


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls: no row is leased twice at once, none is lost, none comes back after its end."""

    def __init__(self) -> None:
        super().__init__()
        self.files = contextlib.ExitStack()
        folder = Path(self.files.enter_context(tempfile.TemporaryDirectory()))
        self.db = Database(FACTORIES["sqlite"], folder)
        self.now = 0.0
        self.due: dict[str, float] = {}
        self.running: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.ended: dict[str, str] = {}

    @rule(count=st.integers(1, 4))
    def add(self, count: int) -> None:
        """Submit some at once."""
        ids = [f"r{len(self.attempts) + n}" for n in range(count)]
        self.db.together(*(lambda tx, r=r: tx.queue.add(a_submission(r, accepted_at=self.now)) for r in ids))
        for request_id in ids:
            self.due[request_id] = self.now
            self.attempts[request_id] = 0

    @rule(limit=st.integers(1, 3), callers=st.integers(1, 3))
    def lease(self, limit: int, callers: int) -> None:
        """Lease from several callers at once."""
        batches = self.db.together(*[lambda tx: tx.queue.lease(now=self.now, limit=limit)] * callers)
        for batch in batches:
            for lease in batch:
                request_id = lease.submission.request_id
                assert self.due.pop(request_id) <= self.now
                self.attempts[request_id] += 1
                assert lease.attempt == self.attempts[request_id]
                self.running.add(request_id)
            if len(batch) < limit:
                assert all(due > self.now for due in self.due.values())

    @precondition(lambda self: self.running)
    @rule(data=st.data(), status=st.sampled_from(["SUCCESS", "FAIL", "DISCARD", "WAIT", "FREE"]))
    def settle(self, data: st.DataObject, status: str) -> None:
        """End a running row or put it back."""
        request_id = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(request_id)
        if status in {"WAIT", "FREE"}:
            due_at, counts = self.now + data.draw(st.integers(0, 3)), status == "WAIT"
            self.attempts[request_id] -= 0 if counts else 1
            self.due[request_id] = due_at
            self.db.write(lambda tx: tx.queue.settle(settled(request_id, "WAIT", due_at=due_at, counts=counts)))
        else:
            self.ended[request_id] = status
            self.db.write(lambda tx: tx.queue.settle(settled(request_id, status)))

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        """Settle what has ended: nothing may happen."""
        request_id = data.draw(st.sampled_from(sorted(self.ended)))
        self.db.write(lambda tx: tx.queue.settle(settled(request_id, "WAIT")))

    @rule(by=st.integers(1, 3))
    def wait(self, by: int) -> None:
        """Let time pass."""
        self.now += by

    @rule()
    def restart(self) -> None:
        """Close, open, and recover."""
        self.db.reopen()
        assert self.db.write(lambda tx: tx.queue.recover()) == len(self.running)
        self.due |= dict.fromkeys(self.running, self.now)
        self.running.clear()

    @invariant()
    def every_row_is_where_it_should_be(self) -> None:
        """Compare with the model."""
        records, count = self.db.read(lambda tx: tx.queue.records("id-p1-hello", limit=10_000))
        expected = dict.fromkeys(self.due, "WAIT") | dict.fromkeys(self.running, "RUNNING") | self.ended
        assert {record.request_id: record.status for record in records} == expected
        assert {record.request_id: record.attempts for record in records} == self.attempts
        assert count == len(expected)

    def teardown(self) -> None:
        """Close what the example opened."""
        self.db.close()
        self.files.close()


QueueMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestQueueProperties = QueueMachine.TestCase
