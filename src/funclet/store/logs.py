"""Logs of functions in a file of their own.

Records are queued in memory and written in batches by one thread, so nobody who
adds one ever waits. The newest are kept: by age, by the size of the file, and by
the size of the queue. A crash may lose the last second; a power cut a little more.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from funclet.base.clock import Clock, SystemClock
from funclet.model.invocation import LogRecord
from funclet.store.connection import Session, connect, create_private_file, load_queries, migrate
from funclet.store.protocol import StoreUnavailable

log = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 1024 * 1024 * 1024
DEFAULT_MAX_AGE_S = 7 * 24 * 3600.0
MAX_TEXT_BYTES = 1024 * 1024
MAX_QUEUED = 20_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024
MAX_FOUND = 10_000
"""Records that one `find` returns at most."""
_BATCH = 1000
_GATHER_S = 0.2
"""How long the writer gathers a batch, so at most what a crash of the server loses."""
_FIND_WAIT_S = 5.0
_PRUNE_ROWS = 200
_PRUNE_EXPIRED_ROWS = 2 * _BATCH
"""More than a batch brings in, so that deleting keeps up with writing."""
_PRUNE_EVERY_S = 60.0


class SqliteLogStore:
    """A `protocol.LogStore` on one SQLite file. Make it with `open`; whoever opens it closes it."""

    def __init__(self, path: Path, writing: sqlite3.Connection, reading: sqlite3.Connection, file: "_LogFile") -> None:
        self._path = path
        self._file = file
        self._connections = (reading, writing)  # the writer last: it empties the write-ahead log
        self._reads = Session(reading, load_queries())
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._queue: deque[LogRecord] = deque()
        self._queued_bytes = 0
        self._added = 0
        self._finished = 0
        self._dropped = 0
        self._is_closed = False
        self._is_hurried = False
        # Guards all of the above; notified when there is something to write and when something was written.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_age_s: float = DEFAULT_MAX_AGE_S,
        clock: Clock | None = None,
    ) -> "SqliteLogStore":
        """Open or create the file; blocks.

        Args:
            path: the file; its folder is made if missing.
            max_bytes: size of all records above which the oldest are deleted.
            max_age_s: age in seconds above which records are deleted.
            clock: for the age; the clock of the machine by default.

        Raises:
            StoreError: the file is newer than this code.
            StoreUnavailable: the file cannot be opened.
        """
        with contextlib.ExitStack() as opened:
            try:
                create_private_file(path)
                queries = load_queries()
                writing = opened.enter_context(contextlib.closing(connect(path, synchronous="NORMAL")))
                migrate(writing, queries, family="logs")
                reading = opened.enter_context(contextlib.closing(connect(path, synchronous="NORMAL", read_only=True)))
            except (sqlite3.Error, OSError) as error:
                raise StoreUnavailable(f"log file '{path}' cannot be opened: {error}") from error
            file = _LogFile(writing, Session(writing, queries), max_bytes, max_age_s, clock or SystemClock())
            opened.pop_all()
            return cls(path, writing, reading, file)

    @property
    def dropped(self) -> int:
        """Records that were lost because too many were queued or the disk failed."""
        return self._dropped

    def add(self, record: LogRecord) -> None:
        """Queue a record for writing; never waits, drops the oldest when too many are queued and counts them."""
        if len(record.text) > MAX_TEXT_BYTES:
            # Before it is queued, so that the bound of the queue is one of its memory, too.
            record = _shortened(record)
        with self._changed:
            self._added += 1
            if self._is_closed:
                self._drop(1)
                return
            self._queue.append(record)
            self._queued_bytes += len(record.text)
            while len(self._queue) > MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES:
                self._queued_bytes -= len(self._queue.popleft().text)
                self._drop(1)
            if len(self._queue) == 1 or len(self._queue) == _BATCH:
                self._changed.notify_all()

    async def find(
        self,
        function_id: str,
        *,
        since: float = 0.0,
        until: float | None = None,
        request_id: str = "",
        after_id: int = 0,
        limit: int = 1000,
    ) -> Sequence[tuple[int, LogRecord]]:
        """Return records with their ids, oldest first; the newest `limit` of them when `after_id` is 0.

        Sees all records that were added before. At most `MAX_FOUND` are returned.

        Raises:
            StoreUnavailable: the store is closed or failing.
        """
        if self._is_closed:
            raise StoreUnavailable("the log store is closed")
        query = ("find_next_logs" if after_id else "find_newest_logs") + ("_of_request" if request_id else "")
        values = {
            "function_id": function_id,
            "since": since,
            "until": until,
            "request_id": request_id,
            "after_id": after_id,
            "limit": min(limit, MAX_FOUND),
        }
        rows = await asyncio.get_running_loop().run_in_executor(self._reader, self._find, query, values)
        found = [(int(row[0]), _record(row)) for row in rows]
        return found if after_id else found[::-1]

    async def close(self) -> None:
        """Write what is queued and close the file."""
        if not self._is_closed:
            with self._changed:
                self._is_closed = True
                self._changed.notify_all()
            await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self._thread.join()
        self._reader.shutdown()
        for connection in self._connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _find(self, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._changed:
            added = self._added
            self._is_hurried = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._finished >= added, timeout=_FIND_WAIT_S)
        try:
            return self._reads.all(query, **values)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"log file '{self._path}' cannot be read now: {error}") from error

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._file.write(batch)
                lost = 0
            # A record that cannot be written must not end the thread that writes all others.
            except Exception:
                log.exception("log records were lost: %d", len(batch))
                lost = len(batch)
            with self._changed:
                self._finished += len(batch) - lost
                self._drop(lost)
                self._changed.notify_all()

    def _take(self) -> list[LogRecord]:
        """Wait for records, gather more for a moment, and take a batch; empty when the store is closed and done."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            self._changed.wait_for(
                lambda: self._is_hurried or self._is_closed or len(self._queue) >= _BATCH, timeout=_GATHER_S
            )
            batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            self._queued_bytes -= sum(len(record.text) for record in batch)
            self._is_hurried = self._is_hurried and bool(self._queue)
            return batch

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._finished += count


class _LogFile:
    """The file as its writer sees it: batches go in, the oldest records go out."""

    def __init__(
        self, connection: sqlite3.Connection, session: Session, max_bytes: int, max_age_s: float, clock: Clock
    ) -> None:
        self._connection = connection
        self._session = session
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._prune_at = 0.0

    def write(self, batch: list[LogRecord]) -> None:
        """Write a batch and prune, in one transaction.

        Raises:
            sqlite3.Error: nothing was written.
        """
        rows = [_row(record) for record in batch]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._session.run_many("add_log", rows)
            self._prune()
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _prune(self) -> None:
        """Delete the oldest in small steps: of all while the file is too large, then of those that are too old."""
        while self._used_bytes() > self._max_bytes:
            if not self._session.run("delete_oldest_logs", limit=_PRUNE_ROWS).rowcount:
                break
        if self._clock.monotonic() >= self._prune_at:
            before = self._clock.now() - self._max_age_s
            deleted = self._session.run("delete_expired_logs", before=before, limit=_PRUNE_EXPIRED_ROWS).rowcount
            if deleted < _PRUNE_EXPIRED_ROWS:
                self._prune_at = self._clock.monotonic() + _PRUNE_EVERY_S

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._connection.execute(f"PRAGMA {name}").fetchall()[0][0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size


def cut_text(text: str, *, max_bytes: int) -> str:
    """Return `text` as it is, or its beginning and end around a line that says how much was left out.

    The result is valid UTF-8 and has about `max_bytes` bytes at most.
    """
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return data.decode()
    half = max_bytes // 2
    begin, end = (part.decode("utf-8", "ignore") for part in (data[:half], data[-half:]))
    return f"{begin}\n... {len(data) - 2 * half} bytes left out ...\n{end}"


def _shortened(record: LogRecord) -> LogRecord:
    return dataclasses.replace(record, text=cut_text(record.text, max_bytes=MAX_TEXT_BYTES))


def _row(record: LogRecord) -> dict[str, Any]:
    return {
        "at": record.at,
        "function_id": record.function_id,
        "version": record.version,
        "request_id": record.request_id,
        "outcome": record.outcome,
        "duration_ms": record.duration_ms,
        "is_cold": int(record.is_cold),
        "labels": json.dumps(dict(record.labels)),
        "text": cut_text(record.text, max_bytes=MAX_TEXT_BYTES),
    }


def _record(row: tuple[Any, ...]) -> LogRecord:
    _, function_id, version, request_id, at, text, outcome, duration_ms, is_cold, labels = row
    return LogRecord(
        function_id=function_id,
        version=version,
        request_id=request_id,
        at=at,
        text=text,
        outcome=outcome,
        duration_ms=duration_ms,
        is_cold=bool(is_cold),
        labels=json.loads(labels),
    )
