"""The groups `async_configs` and `deliveries` of a transaction."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from funclet.model.async_config import AsyncConfig
from funclet.model.invocation import Submission
from funclet.store.connection import Session
from funclet.store.queue_protocol import DeadLetter, DeliveryRecord, NewDeadLetter, NewDelivery, StoredDelivery

MAX_DEAD_LETTERS = 10_000
"""Of one project; the oldest go first."""
MAX_REASON_LENGTH = 2048


def _json(values: object) -> str:
    return msgspec.json.encode(values).decode()


class SqlAsyncConfigs:
    """Settings of asynchronous requests."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode: Callable[[str], AsyncConfig] = msgspec.json.Decoder(AsyncConfig).decode

    def put(self, function_id: str, version: str, config: AsyncConfig) -> None:
        """Create or replace a record."""
        self._session.run("put_async_config", function_id=function_id, version=version, document=_json(config))

    def get(self, function_id: str, version: str) -> AsyncConfig | None:
        """Return one record."""
        row = self._session.one("get_async_config", function_id=function_id, version=version)
        return self._decode(row[0]) if row else None

    def of_function(self, function_id: str) -> dict[str, AsyncConfig]:
        """Return all records of a function by version."""
        rows = self._session.all("list_async_configs", function_id=function_id)
        return {version: self._decode(document) for version, document in rows}

    def delete(self, function_id: str, version: str) -> bool:
        """Delete a record; False if there is none."""
        return self._session.run("delete_async_config", function_id=function_id, version=version).rowcount > 0

    def put_status_log(self, project_id: str, group_id: str, stream_id: str) -> None:
        """Enable the status log of a project; one that is enabled keeps its ids."""
        self._session.run("put_async_status_log", project_id=project_id, group_id=group_id, stream_id=stream_id)

    def status_log(self, project_id: str) -> tuple[str, str] | None:
        """Return group and stream id; None if it is not enabled."""
        row = self._session.one("get_async_status_log", project_id=project_id)
        return (row[0], row[1]) if row else None

    def status_lines(self, project_id: str, *, request_id: str, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return lines of the status log with their ids, oldest first."""
        rows = self._session.all(
            "list_async_status_lines", project_id=project_id, request_id=request_id, after=after, limit=limit
        )
        return [(number, document) for number, document in rows]


class SqlDeliveries:
    """Notifications on their way, and those that nobody got."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def due(self, *, now: float, limit: int, held: Collection[int]) -> Sequence[StoredDelivery]:
        """Return rows that are due, earliest first, without those in `held`."""
        rows = self._session.all("due_deliveries", now=now, limit=limit, held=_json(list(held)))
        return [_delivery(row) for row in rows]

    def next_due(self, *, after: float) -> float | None:
        """Return when the first row that is due after a time is due."""
        row = self._session.one("next_due_delivery", after=after)
        return row[0] if row else None

    def sent(self, delivery_id: int, *, at: float) -> None:
        """End a row: the target has acknowledged."""
        self._session.run("end_delivery", delivery_id=delivery_id, status="SENT", at=at, error_message="")
        self._session.run("delete_delivery_document", delivery_id=delivery_id)

    def put_off(self, delivery_id: int, *, due_at: float, error_message: str) -> None:
        """Count a try and have the row wait."""
        message = error_message[:MAX_REASON_LENGTH]
        self._session.run("put_off_delivery", delivery_id=delivery_id, due_at=due_at, error_message=message)

    def dead(self, delivery: StoredDelivery, *, at: float, reason: str) -> None:
        """Give up: the document becomes a dead letter."""
        number, text = delivery.delivery_id, reason[:MAX_REASON_LENGTH]
        ended = self._session.run("end_delivery", delivery_id=number, status="DEAD", at=at, error_message=text)
        if not ended.rowcount:
            return
        self._session.run("delete_delivery_document", delivery_id=number)
        _add_letter(
            self._session,
            project_id=delivery.project_id,
            function_id=delivery.function_id,
            function_urn=delivery.function_urn,
            request_id=delivery.request_id,
            reason=text,
            kind=delivery.kind,
            param=delivery.param,
            is_success=int(delivery.is_success),
            root_request_id=delivery.root_request_id,
            depth=delivery.depth,
            first_seen=at,
            document=delivery.document,
        )

    def of_request(self, project_id: str, request_id: str) -> Sequence[DeliveryRecord]:
        """Return what was to be sent for one request, oldest first."""
        rows = self._session.all("list_deliveries_of_request", project_id=project_id, request_id=request_id)
        return [
            DeliveryRecord(kind=kind, status=status, tries=tries, error_message=message)
            for kind, status, tries, message in rows
        ]

    def dead_letters(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[DeadLetter], int]:
        """Return a page of dead letters, newest first, and the count of all."""
        rows = self._session.all("list_dead_letters", project_id=project_id, offset=offset, limit=limit)
        return [_letter(row) for row in rows], self._session.number("count_dead_letters", project_id=project_id)

    def dead_letter(self, project_id: str, letter_id: int) -> DeadLetter | None:
        """Return one dead letter."""
        row = self._session.one("get_dead_letter", project_id=project_id, letter_id=letter_id)
        return _letter(row) if row else None

    def replay(self, letter: DeadLetter, *, now: float) -> None:
        """Send a dead letter with a destination once more: it becomes a delivery again."""
        _insert_delivery(
            self._session,
            request_id=letter.request_id,
            project_id=letter.project_id,
            function_id=letter.function_id,
            function_urn=letter.function_urn,
            is_success=int(letter.is_success),
            kind=letter.kind,
            param=letter.param,
            root_request_id=letter.root_request_id,
            depth=letter.depth,
            request_ended_at=letter.first_seen,
            due_at=now,
            document=letter.document,
        )
        self.purge(letter.project_id, [letter.letter_id])

    def purge(self, project_id: str, letter_ids: Sequence[int]) -> int:
        """Delete dead letters, all of a project if `letter_ids` is empty; return how many."""
        if not letter_ids:
            return self._session.run("purge_all_dead_letters", project_id=project_id).rowcount
        return self._session.run(
            "purge_dead_letters", project_id=project_id, letter_ids=_json(list(letter_ids))
        ).rowcount


def add_delivery(session: Session, submission: Submission, new: NewDelivery, *, due_at: float) -> int:
    """Store a delivery of a request that ends in this transaction; return its id."""
    return _insert_delivery(
        session,
        request_id=submission.request_id,
        project_id=submission.project_id,
        function_id=submission.function_id,
        function_urn=submission.urn,
        is_success=int(new.is_success),
        kind=new.kind,
        param=new.param,
        root_request_id=submission.root_request_id or submission.request_id,
        depth=submission.depth,
        request_ended_at=new.ended_at,
        due_at=due_at,
        document=new.document,
    )


def add_dead_letter(session: Session, submission: Submission, new: NewDeadLetter, *, at: float) -> None:
    """Store a dead letter of a request that ends in this transaction."""
    _add_letter(
        session,
        project_id=submission.project_id,
        function_id=submission.function_id,
        function_urn=submission.urn,
        request_id=submission.request_id,
        reason=new.reason[:MAX_REASON_LENGTH],
        kind=new.kind,
        param=new.param,
        is_success=int(new.is_success),
        root_request_id=submission.root_request_id or submission.request_id,
        depth=submission.depth,
        first_seen=at,
        document=new.document,
    )


def _insert_delivery(session: Session, *, document: bytes, **columns: Any) -> int:
    number = int(session.run("add_delivery", **columns).lastrowid or 0)
    session.run("add_delivery_document", delivery_id=number, document=document)
    return number


def _add_letter(session: Session, *, project_id: str, **columns: Any) -> None:
    session.run("add_dead_letter", project_id=project_id, **columns)
    if session.number("count_dead_letters", project_id=project_id) > MAX_DEAD_LETTERS:
        session.run("trim_dead_letters", project_id=project_id, kept=MAX_DEAD_LETTERS)


def _delivery(row: tuple[Any, ...]) -> StoredDelivery:
    number, request_id, project_id, function_id, function_urn, is_success, kind, param, *rest = row
    root_request_id, depth, ended_at, tries, document = rest
    return StoredDelivery(
        delivery_id=number,
        request_id=request_id,
        project_id=project_id,
        function_id=function_id,
        function_urn=function_urn,
        is_success=bool(is_success),
        kind=kind,
        param=param,
        root_request_id=root_request_id,
        depth=depth,
        ended_at=ended_at,
        tries=tries,
        document=document,
    )


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    letter_id, project_id, function_id, function_urn, request_id, reason, kind, param, is_success, *rest = row
    root_request_id, depth, first_seen, document = rest
    return DeadLetter(
        letter_id=letter_id,
        project_id=project_id,
        function_id=function_id,
        function_urn=function_urn,
        request_id=request_id,
        reason=reason,
        kind=kind,
        param=param,
        is_success=bool(is_success),
        root_request_id=root_request_id,
        depth=depth,
        first_seen=first_seen,
        document=document,
    )
