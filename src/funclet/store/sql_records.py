"""Lists of records of asynchronous requests. Start with `find_records`.

They cost about the same however many records a function has: pages are found by index, one behind another without
counting through those before, and matches are counted up to `MAX_COUNTED` only.
"""

import json
from collections.abc import Sequence
from typing import Any

from funclet.model.invocation import InvocationRecord
from funclet.store.connection import Session
from funclet.store.queue_protocol import RecordQuery

MAX_COUNTED = 10_000
_LAST_NUMBER = 2**62
_FAILED = ("FAIL", "DISCARD")


def find_records(session: Session, query: RecordQuery) -> tuple[Sequence[InvocationRecord], int]:
    """Return a page of records of a function, newest first, and the count of all matches, at most `MAX_COUNTED`.

    The count is never less than what the page and those before it show.
    """
    rows, count = _find(session, query)
    shown = query.offset + len(rows) if rows else 0
    return [_record(row) for row in rows], max(count, shown)


def _find(session: Session, query: RecordQuery) -> tuple[list[tuple[Any, ...]], int]:
    if query.request_ids:
        return _sliced(_by_id(session, query, query.request_ids), query)
    if query.status == "RUNNING":
        return _sliced(_by_id(session, query, query.running), query)
    window = {"function_id": query.function_id, "begin": query.begin}
    most = {"end": query.end, "most": MAX_COUNTED}
    if query.status in _FAILED:
        rows = session.all("find_failed_records", status=query.status, **window, **_page(session, query))
        return rows, session.number("count_failed_records", status=query.status, **window, **most)
    shown = {"status": query.status, "running": json.dumps(list(query.running))}
    if query.status == "WAIT" and _are_few_waiting(session, query):
        waiting = session.all("find_waiting_records", running=shown["running"], end=query.end, **window)
        return _sliced(waiting, query)
    rows = session.all("find_records", **window, **shown, **_page(session, query))
    if query.status:
        return rows, session.number("count_records_of_status", **window, **shown, **most)
    return rows, session.number("count_records", **window, **most)


def _page(session: Session, query: RecordQuery) -> dict[str, Any]:
    """Return where a page begins: behind a record if that is named and still there, else behind so many of them."""
    page = {"at": query.end, "number": _LAST_NUMBER, "offset": query.offset, "limit": query.limit}
    if not query.behind:
        return page
    position = session.one("record_position", request_id=query.behind, function_id=query.function_id)
    if position is None:
        return page
    # What was accepted after the end of the window stands before it.
    at, number = min((query.end, _LAST_NUMBER), position)
    return page | {"at": at, "number": number, "offset": 0}


def _sliced(rows: list[tuple[Any, ...]], query: RecordQuery) -> tuple[list[tuple[Any, ...]], int]:
    return rows[query.offset : query.offset + query.limit], len(rows)


def _by_id(session: Session, query: RecordQuery, request_ids: Any) -> list[tuple[Any, ...]]:
    return session.all(
        "find_records_by_id",
        request_ids=json.dumps(list(request_ids)),
        running=json.dumps(list(query.running)),
        function_id=query.function_id,
        begin=query.begin,
        end=query.end,
        status=query.status,
    )


def _are_few_waiting(session: Session, query: RecordQuery) -> bool:
    count = session.number("count_waiting_rows", function_id=query.function_id, most=MAX_COUNTED)
    return count < MAX_COUNTED


def _record(row: tuple[Any, ...]) -> InvocationRecord:
    request_id, status, attempts, accepted_at, started_at, ended_at, error_code, error_message = row
    return InvocationRecord(
        request_id=request_id,
        status=status,
        attempts=attempts,
        accepted_at=accepted_at,
        started_at=started_at,
        ended_at=ended_at,
        error_code=error_code,
        error_message=error_message,
    )
