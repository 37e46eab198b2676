"""Streams of the server's own: created, written to, read by cursor."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from funclet.base.clock import Clock
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.model.messaging import MAX_RECORD_BYTES, Stream, StreamRecord, check_stream_name
from funclet.store.protocol import Duplicate, Store, Tx

MAX_STREAMS = 100
MAX_RETENTION_H = 168
DEFAULT_RETENTION_H = 24
MIN_STREAM_BYTES, MAX_STREAM_BYTES = 8 * 1024**2, 1024**3
"""A stream has room for the largest document of a destination."""
MAX_RECORDS = 500
"""Of one request to write."""
MAX_FETCH_BYTES = 4 * 1024 * 1024
PARTITION = "shardId-0000000000"
"""The only one: a stream of this server has one order."""
CURSOR_TYPES = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST")
_MAX_SEQUENCE_DIGITS = 18
_MAX_KEY_LENGTH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """A record to add."""

    partition_key: str
    data: bytes


class StreamService:
    """Use cases of streams."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, principal: Principal, name: str, *, retention_h: int, max_bytes: int) -> Stream:
        """Create a stream that keeps records for `retention_h` hours, and `max_bytes` of them at most.

        Raises:
            ModelError: FSS.0400 for a wrong name or number, FSS.0409 if it exists, FSS.0403 beyond the quota.
        """
        check_stream_name(name)
        if not 1 <= retention_h <= MAX_RETENTION_H:
            raise ModelError("FSS.0400", f"A stream keeps records for 1 to {MAX_RETENTION_H} hours.")
        if not MIN_STREAM_BYTES <= max_bytes <= MAX_STREAM_BYTES:
            raise ModelError("FSS.0400", f"A stream may hold {MIN_STREAM_BYTES} to {MAX_STREAM_BYTES} bytes.")
        project_id = principal.project.project_id
        stream = Stream(
            project_id=project_id,
            name=name,
            retention_s=retention_h * 3600.0,
            max_bytes=max_bytes,
            created_at=self._clock.now(),
        )

        def add(tx: Tx) -> None:
            """Add the stream, in one transaction with the count of the others."""
            if tx.streams.list(project_id, after="", limit=1)[1] >= MAX_STREAMS:
                raise ModelError("FSS.0403", f"The project has {MAX_STREAMS} streams already.")
            tx.streams.add(stream)

        try:
            await self._store.write(add)
        except Duplicate as error:
            raise ModelError("FSS.0409", f"The stream '{name}' exists already.") from error
        return stream

    async def list(self, principal: Principal, *, after: str, limit: int) -> tuple[Sequence[Stream], int]:
        """Return the streams behind a name, and the count of all."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.streams.list(project_id, after=after, limit=limit))

    async def delete(self, principal: Principal, name: str) -> None:
        """Delete a stream with its records.

        Raises:
            ModelError: FSS.1130.
        """
        project_id = principal.project.project_id
        if not await self._store.write(lambda tx: tx.streams.delete(project_id, name)):
            raise _missing(name)

    async def append(self, principal: Principal, name: str, records: Sequence[NewRecord]) -> Sequence[int]:
        """Add records, all or none; return their numbers.

        Raises:
            ModelError: FSS.1130, FSS.0400 if there are too many or one is too large.
        """
        if not 1 <= len(records) <= MAX_RECORDS:
            raise ModelError("FSS.0400", f"A request adds 1 to {MAX_RECORDS} records.")
        if any(
            len(record.data) > MAX_RECORD_BYTES or len(record.partition_key) > _MAX_KEY_LENGTH for record in records
        ):
            message = f"A record has at most {MAX_RECORD_BYTES} bytes, its key {_MAX_KEY_LENGTH} characters."
            raise ModelError("FSS.0400", message)
        project_id, now = principal.project.project_id, self._clock.now()

        def append(tx: Tx) -> list[int]:
            """Append all records or none; return their numbers."""
            numbers = [
                tx.streams.append(project_id, name, partition_key=record.partition_key, data=record.data, at=now)
                for record in records
            ]
            if None in numbers:
                raise _missing(name)
            return [number for number in numbers if number is not None]

        return await self._store.write(append)

    async def cursor(self, principal: Principal, name: str, *, kind: str, sequence: str) -> str:
        """Return a text that says where to read on.

        Raises:
            ModelError: FSS.1130, FSS.0400 for a wrong type or number.
        """
        project_id = principal.project.project_id
        if kind not in CURSOR_TYPES:
            raise ModelError("FSS.0400", f"cursor-type must be one of {', '.join(CURSOR_TYPES)}.")

        def end(tx: Tx) -> int:
            """Return the number of the last record; 0 if there never was one."""
            _require(tx.streams.get(project_id, name), name)
            return tx.streams.end(project_id, name)

        last = await self._store.read(end)
        if kind in ("TRIM_HORIZON", "LATEST"):
            return cursor_text(name, 0 if kind == "TRIM_HORIZON" else last)
        if not (sequence.isascii() and sequence.isdigit() and len(sequence) <= _MAX_SEQUENCE_DIGITS):
            raise ModelError("FSS.0400", f"cursor-type {kind} needs starting-sequence-number, a whole number.")
        return cursor_text(name, int(sequence) - (1 if kind == "AT_SEQUENCE_NUMBER" else 0))

    async def read(self, principal: Principal, cursor: str, *, limit: int) -> tuple[Sequence[StreamRecord], str]:
        """Return records from a cursor on, up to 4 MB (one record at least), and the cursor behind them.

        Raises:
            ModelError: FSS.1130, FSS.0400 for what is no cursor.
        """
        name, after = _parse_cursor(cursor)
        project_id, now = principal.project.project_id, self._clock.now()

        def find(tx: Tx) -> Sequence[StreamRecord]:
            """Return records that have not outlived the retention time."""
            _require(tx.streams.get(project_id, name), name)
            return tx.streams.read(project_id, name, after=after, now=now, limit=limit)

        taken: list[StreamRecord] = []
        size = 0
        for record in await self._store.read(find):
            size += len(record.data)
            if taken and size > MAX_FETCH_BYTES:
                break
            taken.append(record)
        return taken, cursor_text(name, taken[-1].sequence if taken else after)


def cursor_text(name: str, after: int) -> str:
    """Return the cursor behind a record."""
    return base64.urlsafe_b64encode(f"{name}:{after}".encode()).decode()


def _parse_cursor(text: str) -> tuple[str, int]:
    try:
        name, _, after = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
        check_stream_name(name)
        return name, int(after[: _MAX_SEQUENCE_DIGITS + 1])
    except (ValueError, ModelError) as error:
        raise ModelError("FSS.0400", "partition-cursor is no cursor of this server; ask for one anew.") from error


def _require(stream: Stream | None, name: str) -> None:
    if stream is None:
        raise _missing(name)


def _missing(name: str) -> ModelError:
    return ModelError("FSS.1130", f"The stream '{name[:80]}' does not exist.")
