"""The group `queue` of a transaction: requests that wait, and the records of those that have ended.

Most calls are for many rows at once, because they come from a queue that
gathers what arrives while the disk works.
"""

import sqlite3
from collections.abc import Collection, Sequence
from itertools import count, islice
from typing import Any

import msgspec

from funclet.model.invocation import InvocationRecord, Submission
from funclet.store.connection import Session
from funclet.store.protocol import Duplicate
from funclet.store.queue_protocol import (
    QUEUE_MARGIN_S,
    Accepted,
    LaneSize,
    QueuedRequest,
    RecordQuery,
    Settlement,
    Stored,
)
from funclet.store.sql_async import add_dead_letter, add_delivery
from funclet.store.sql_records import find_records

MAX_FORGOTTEN = 5_000
"""Rows that one `Queue.forget` deletes of each table, because other writes wait meanwhile."""
MAX_ERROR_MESSAGE_LENGTH = 4096
DEDUP_S = 600.0
"""How long a dedup id is remembered."""
_TAKEN = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
_URN_FIELDS = 7


class SqlQueue:
    """Asynchronous requests."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, submission: Submission, *, queued_at: float | None = None) -> None:
        """Store one submission that is due at once.

        Raises:
            Duplicate: the request id is known.
        """
        at = submission.accepted_at if queued_at is None else queued_at
        self.add_all([Accepted(submission=submission, queued_at=at)])

    def add_all(self, accepted: Sequence[Accepted]) -> Sequence[Stored]:
        """Store submissions, in their order; one with a dedup id that is known is not stored again."""
        session = self._session
        numbers = count(session.number("last_submission") + 1)
        stored: list[Stored] = []
        rows: list[tuple[Any, ...]] = []
        payloads: list[tuple[int, bytes]] = []
        for one in accepted:
            submission = one.submission
            first = self._deduplicated(one) if submission.dedup_id else None
            if first is not None:
                stored.append(Stored(submission_id=0, request_id=first))
                continue
            number = next(numbers)
            stored.append(Stored(submission_id=number, request_id=submission.request_id))
            rows.append(_row(number, one))
            payloads.append((number, submission.payload))
        try:
            session.run_rows("add_submissions", rows)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode in _TAKEN:
                raise Duplicate("a request with this id was accepted before") from error
            raise
        session.run_rows("add_payloads", payloads)
        return stored

    def _deduplicated(self, one: Accepted) -> str | None:
        """Return the request that had this dedup id first; None if it is this one, which is remembered."""
        submission = one.submission
        key = {
            "function_id": submission.function_id,
            "qualifier": "".join(submission.urn.split(":")[_URN_FIELDS:]),
            "dedup_id": submission.dedup_id,
        }
        found = self._session.one("find_dedup", **key, after=one.queued_at - DEDUP_S)
        if found is not None:
            return str(found[0])
        self._session.run("put_dedup", **key, request_id=submission.request_id, queued_at=one.queued_at)
        return None

    def due(
        self, function_id: str, *, now: float, limit: int, max_bytes: int, held: Collection[int]
    ) -> Sequence[QueuedRequest]:
        """Return rows of a function that are due, earliest first, without those in `held`."""
        found = self._session.all("due_ids", function_id=function_id, now=now, limit=limit + len(held))
        chosen: list[int] = []
        room = max_bytes
        for number, size in islice((row for row in found if row[0] not in held), limit):
            room -= size
            if chosen and room < 0:
                break
            chosen.append(number)
        return [_queued(row) for row in self._session.all("queued_requests", ids=_json(chosen))] if chosen else []

    def next_due(self, function_id: str, *, after: float) -> float | None:
        """Return when the first row of a function that is due after a time is due."""
        row = self._session.one("next_due", function_id=function_id, after=after)
        return row[0] if row else None

    def find_waiting(self, function_id: str, request_id: str) -> QueuedRequest | None:
        """Return a row that waits."""
        row = self._session.one("waiting_request", function_id=function_id, request_id=request_id)
        return _queued(row) if row else None

    def settle_all(self, settlements: Sequence[Settlement]) -> Sequence[int]:
        """End waiting rows or put them off, with all that follows; return the ids of new deliveries."""
        session = self._session
        simple = [one for one in settlements if not _has_consequences(one)]
        session.run_rows("put_off_submissions", [_put_off(one) for one in simple if one.status == "WAIT"])
        ended = [one for one in simple if one.status != "WAIT"]
        session.run_rows("end_submissions", [_end(one) for one in ended])
        deliveries: list[int] = []
        for one in settlements:
            if _has_consequences(one):
                self._settle_with_consequences(one, deliveries)
        over = [one for one in settlements if one.status != "WAIT"]
        if over:
            session.run("delete_payloads", ids=_json([one.request.submission_id for one in over]))
        unwanted = [one.request.submission_id for one in over if not one.keeps_record]
        if unwanted:
            session.run("delete_ended_submissions", ids=_json(unwanted))
        return deliveries

    def _settle_with_consequences(self, one: Settlement, deliveries: list[int]) -> None:
        """Settle one row whose delivery must not exist if the row had ended before."""
        session = self._session
        name, row = ("put_off_submissions", _put_off(one)) if one.status == "WAIT" else ("end_submissions", _end(one))
        session.run_rows(name, [row])
        if not session.number("changes"):
            return
        if one.delivery is not None:
            deliveries.append(add_delivery(session, one.request.submission, one.delivery, due_at=one.request.queued_at))
        if one.dead_letter is not None:
            add_dead_letter(session, one.request.submission, one.dead_letter, at=one.at)
        submission = one.request.submission
        self.add_status_lines(submission.project_id, submission.request_id, one.status_lines, at=one.at)

    def add_status_lines(self, project_id: str, request_id: str, lines: Sequence[str], *, at: float) -> None:
        """Store lines of the status log."""
        for line in lines:
            self._session.run("add_status_line", project_id=project_id, request_id=request_id, at=at, document=line)

    def lanes(self) -> Sequence[LaneSize]:
        """Return how much waits for which function."""
        return [
            LaneSize(
                function_id=function_id, project_id=project_id, urn=urn, count=rows, payload_bytes=size, due_at=due_at
            )
            for function_id, project_id, urn, rows, size, due_at in self._session.all("lanes")
        ]

    def open(self, *, now: float) -> None:
        """Begin after a restart: what is due implausibly late is due now."""
        for query in ("due_too_late", "delivery_due_too_late"):
            self._session.run(query, now=now, latest=now + QUEUE_MARGIN_S)

    def oldest_queued_at(self, function_id: str) -> float | None:
        """Return when the first of the waiting rows was queued."""
        row = self._session.one("oldest_queued_at", function_id=function_id)
        return row[0] if row else None

    def answers(self) -> bool:
        """Tell that the database can be read."""
        return self._session.number("last_submission") >= 0

    def records(self, query: RecordQuery) -> tuple[Sequence[InvocationRecord], int]:
        """Return a page of records of a function, newest first, and the count of all matches."""
        return find_records(self._session, query)

    def children(self, parent_request_id: str) -> Sequence[tuple[str, str]]:
        """Return function and request id of unfinished requests with this parent."""
        return [(row[0], row[1]) for row in self._session.all("find_children", request_id=parent_request_id)]

    def discard(
        self, function_id: str, *, limit: int, held: Collection[int], at: float, error_code: int, error_message: str
    ) -> tuple[int, int]:
        """End up to `limit` waiting rows of a function as `DISCARD`; return how many, and the bytes of their events."""
        rows = self._session.all("discard_ids", function_id=function_id, limit=limit + len(held))
        found = [row for row in rows if row[0] not in held][:limit]
        if found:
            ids = _json([number for number, _ in found])
            error = {"error_code": error_code, "error_message": error_message[:MAX_ERROR_MESSAGE_LENGTH]}
            self._session.run("discard_submissions", ids=ids, at=at, **error)
            self._session.run("delete_payloads", ids=ids)
        return len(found), sum(size for _, size in found)

    def forget(self, *, ended_before: float, queued_before: float) -> int:
        """Delete what has ended before a time, at most `MAX_FORGOTTEN` rows of each table; return how many."""
        session, gone = self._session, 0
        gone += session.run("forget_submissions", ended_before=ended_before, limit=MAX_FORGOTTEN).rowcount
        gone += session.run("forget_dedup", queued_before=queued_before, limit=MAX_FORGOTTEN).rowcount
        for name in ("forget_status_lines", "forget_deliveries", "forget_dead_letters"):
            gone += session.run(name, ended_before=ended_before, limit=MAX_FORGOTTEN).rowcount
        return gone


def _json(values: object) -> str:
    return msgspec.json.encode(values).decode()


def _row(number: int, one: Accepted) -> tuple[Any, ...]:
    submission = one.submission
    return (
        number,
        submission.request_id,
        submission.project_id,
        submission.function_id,
        submission.urn,
        submission.memory_mib,
        submission.accepted_at,
        one.queued_at,
        one.queued_at,
        len(submission.payload),
        submission.source,
        submission.root_request_id,
        submission.parent_request_id,
        submission.depth,
    )


def _has_consequences(one: Settlement) -> bool:
    return bool(one.delivery or one.dead_letter or one.status_lines)


def _put_off(one: Settlement) -> tuple[Any, ...]:
    number, message = one.request.submission_id, one.error_message[:MAX_ERROR_MESSAGE_LENGTH]
    return number, one.due_at, one.attempts, one.refusals, one.started_at, one.error_code, message


def _end(one: Settlement) -> tuple[Any, ...]:
    number, message = one.request.submission_id, one.error_message[:MAX_ERROR_MESSAGE_LENGTH]
    return number, one.status, one.at, one.attempts, one.started_at, one.error_code, message


def _queued(row: tuple[Any, ...]) -> QueuedRequest:
    number, request_id, project_id, function_id, urn, payload, memory_mib, accepted_at, *rest = row
    source, root_request_id, parent_request_id, depth, queued_at, attempts, refusals, started_at, code, message = rest
    submission = Submission(
        request_id=request_id,
        project_id=project_id,
        function_id=function_id,
        urn=urn,
        payload=payload,
        memory_mib=memory_mib,
        accepted_at=accepted_at,
        source=source,
        root_request_id=root_request_id,
        parent_request_id=parent_request_id,
        depth=depth,
    )
    return QueuedRequest(
        submission_id=number,
        submission=submission,
        queued_at=queued_at,
        attempts=attempts,
        refusals=refusals,
        started_at=started_at,
        error_code=code,
        error_message=message,
    )
