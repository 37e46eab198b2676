"""Logs of functions in a file of their own.

Records are queued in memory and written in blocks by one thread, so nobody who
adds one ever waits. The newest are kept: by age, by the size of the file, and by
the size of the queue. A crash may lose the last second; a power cut a little more.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from funclet.base.clock import Clock, SystemClock
from funclet.model.invocation import Report
from funclet.store.connection import Session, connect, create_private_file, load_queries, migrate
from funclet.store.protocol import NO_TAGS, StoreUnavailable

log = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 1024 * 1024 * 1024
DEFAULT_MAX_AGE_S = 7 * 24 * 3600.0
MAX_TEXT_BYTES = 1024 * 1024
MAX_QUEUED = 20_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024
MAX_FOUND = 10_000
"""Records that one `find` returns at most."""
_BLOCK_RECORDS = 1000
_BLOCK_BYTES = 256 * 1024
"""Of texts in one block, unless it holds a single record."""
_IDS_PER_BLOCK = 1 << 10
"""The id of a record is that of its block, times this, and its place in the block."""
_GATHER_S = 0.2
"""How long the writer gathers records, so at most what a crash of the server loses."""
_FIND_WAIT_S = 5.0
_PRUNE_BLOCKS = 200
_PRUNE_EVERY_S = 60.0


class SqliteLogStore:
    """A `protocol.LogStore` on one SQLite file. Make it with `open`; whoever opens it closes it.

    `add` is for one thread, that of the loop.
    """

    def __init__(
        self,
        path: Path,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        file: "_LogFile",
        observe: Callable[[Sequence[Report]], None],
    ) -> None:
        self._path = path
        self._file = file
        self._observe = observe
        self._connections = (reading, writing)  # the writer last: it empties the write-ahead log
        self._reads = Session(reading, load_queries())
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._queue: deque[Report] = deque()
        # Each number has one thread that changes it: records and bytes that came, were pushed out, were taken.
        self._added = self._added_bytes = 0
        self._pushed = self._pushed_bytes = 0
        self._taken = self._taken_bytes = 0
        self._lost = 0
        self._is_closed = False
        self._is_awake = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._written = threading.Condition()
        """Notified when a batch was written."""
        self._finished = 0
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
        observe: Callable[[Sequence[Report]], None] = lambda _: None,
    ) -> "SqliteLogStore":
        """Open or create the file; blocks.

        Args:
            path: the file; its folder is made if missing.
            max_bytes: size of all records above which the oldest are deleted.
            max_age_s: age in seconds above which records are deleted.
            clock: for the age; the clock of the machine by default.
            observe: is given every record once, in the thread that writes them.

        Raises:
            StoreError: the file is newer than this code.
            StoreUnavailable: the file cannot be opened.
        """
        with contextlib.ExitStack() as opened:
            try:
                create_private_file(path)
                queries = load_queries()
                writing = opened.enter_context(contextlib.closing(connect(path, synchronous="NORMAL", is_alone=True)))
                migrate(writing, queries, family="logs")
                reading = opened.enter_context(
                    contextlib.closing(connect(path, synchronous="NORMAL", read_only=True, is_alone=True))
                )
            except (sqlite3.Error, OSError) as error:
                raise StoreUnavailable(f"log file '{path}' cannot be opened: {error}") from error
            file = _LogFile(writing, Session(writing, queries), max_bytes, max_age_s, clock or SystemClock())
            opened.pop_all()
            return cls(path, writing, reading, file, observe)

    @property
    def dropped(self) -> int:
        """Records that were lost because too many were queued or the disk failed."""
        return self._pushed + self._lost

    def add(self, record: Report) -> None:
        """Queue a record for writing; never waits, drops the oldest when too many are queued and counts them."""
        size = len(record.printed) + len(record.before)
        if size > MAX_TEXT_BYTES:
            # Before it is queued, so that the bound of the queue is one of its memory, too.
            record, size = _shortened(record)
        self._added += 1
        if self._is_closed:
            self._pushed += 1
            return
        self._added_bytes += size
        self._queue.append(record)
        if (
            self._added - self._pushed - self._taken > MAX_QUEUED
            or self._added_bytes - self._pushed_bytes - self._taken_bytes > MAX_QUEUED_BYTES
        ):
            self._push_out()
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()

    def _push_out(self) -> None:
        """Drop the oldest record, unless the writer has just taken them all."""
        with contextlib.suppress(IndexError):
            oldest = self._queue.popleft()
            self._pushed_bytes += len(oldest.printed) + len(oldest.before)
            self._pushed += 1

    async def find(
        self,
        function_id: str,
        *,
        since: float = 0.0,
        until: float | None = None,
        request_id: str = "",
        tags: Mapping[str, str] = NO_TAGS,
        after_id: int = 0,
        limit: int = 1000,
    ) -> Sequence[tuple[int, Report]]:
        """Return records with their ids, oldest first; the newest `limit` of them when `after_id` is 0.

        Sees all records that were added before. At most `MAX_FOUND` are returned.

        Raises:
            StoreUnavailable: the store is closed or failing.
        """
        if self._is_closed:
            raise StoreUnavailable("the log store is closed")

        def is_wanted(record: Report) -> bool:
            is_in_time = record.at >= since and (until is None or record.at <= until)
            is_marked = not tags or tags.items() <= (record.log_tags or {}).items()
            return is_in_time and is_marked and (not request_id or record.request_id == request_id)

        def collect() -> list[tuple[int, Report]]:
            found: list[tuple[int, Report]] = []
            for number, record in self._read(function_id, since, until, after_id):
                if number > after_id and is_wanted(record):
                    found.append((number, record))
                    if len(found) >= min(limit, MAX_FOUND):
                        break
            return found if after_id else found[::-1]

        added = self._added
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._find, collect, added)

    async def flush(self) -> None:
        """See `LogStore.flush`."""
        if not self._is_closed:
            await asyncio.get_running_loop().run_in_executor(self._reader, self._find, lambda: None, self._added)

    async def close(self) -> None:
        """Write what is queued and close the file."""
        if not self._is_closed:
            self._is_closed = True
            self._hurry.set()
            self._wake.set()
            await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self._thread.join()
        self._reader.shutdown()
        for connection in self._connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _find(self, collect: Any, added: int) -> Any:
        self._hurry.set()
        with self._written:
            self._written.wait_for(lambda: self._finished + self._pushed >= added, timeout=_FIND_WAIT_S)
        try:
            return collect()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"log file '{self._path}' cannot be read now: {error}") from error

    def _read(self, function_id: str, since: float, until: float | None, after_id: int) -> Iterator[tuple[int, Report]]:
        """Yield records with their ids: the newest first, or with `after_id` the oldest first."""
        query = "next_log_blocks" if after_id else "newest_log_blocks"
        values = {"function_id": function_id, "since": since, "until": until}
        if after_id:
            values["from_id"] = after_id // _IDS_PER_BLOCK
        for block_id, packed in self._reads.each(query, **values):
            records = list(enumerate(_decode(packed), block_id * _IDS_PER_BLOCK))
            yield from records if after_id else reversed(records)

    def _run(self) -> None:
        while not self._is_closed or self._queue:
            self._wake.wait()
            # In this order: whoever adds a record in between finds the writer awake, and it is.
            self._wake.clear()
            self._is_awake = False
            self._hurry.wait(_GATHER_S)
            self._hurry.clear()
            self._write_queued()

    def _write_queued(self) -> None:
        batch = self._take()
        try:
            self._observe(batch)
            self._file.write([record for record in batch if record.log_tags is not None])
        # A record that cannot be written must not end the thread that writes all others.
        except Exception:
            log.exception("log records were lost: %d", len(batch))
            self._lost += len(batch)
        with self._written:
            self._finished = self._taken
            self._written.notify_all()

    def _take(self) -> list[Report]:
        batch: list[Report] = []
        size = 0
        with contextlib.suppress(IndexError):
            while len(batch) < MAX_QUEUED:
                record = self._queue.popleft()
                batch.append(record)
                size += len(record.printed) + len(record.before)
        self._taken += len(batch)
        self._taken_bytes += size
        return batch


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

    def write(self, batch: list[Report]) -> None:
        """Write a batch and prune, in one transaction.

        Raises:
            sqlite3.Error: nothing was written.
        """
        if not batch:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for block in _blocks(batch):
                self._session.run("add_log_block", **_row(block))
                # Whoever serves requests wants the interpreter more urgently.
                time.sleep(0)
            self._prune()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _prune(self) -> None:
        """Delete the oldest in small steps: of all while the file is too large, then of those that are too old."""
        while (excess := self._used_bytes() - self._max_bytes) > 0 and self._delete_oldest(excess):
            pass
        if self._clock.monotonic() >= self._prune_at:
            before = self._clock.now() - self._max_age_s
            deleted = self._session.run("delete_expired_log_blocks", before=before, limit=_PRUNE_BLOCKS).rowcount
            if deleted < _PRUNE_BLOCKS:
                self._prune_at = self._clock.monotonic() + _PRUNE_EVERY_S

    def _delete_oldest(self, size: int) -> bool:
        """Delete blocks that hold about `size` bytes, at least one; False if there are none."""
        last_id = 0
        for block_id, block_size in self._session.all("oldest_log_blocks", limit=_PRUNE_BLOCKS):
            last_id, size = block_id, size - block_size
            if size <= 0:
                break
        return self._session.run("delete_log_blocks", last_id=last_id).rowcount > 0

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._connection.execute(f"PRAGMA {name}").fetchall()[0][0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size


def cut_text(text: bytes, *, max_bytes: int) -> bytes:
    """Return `text` as it is, or its beginning and end around a line that says how much was left out.

    Characters of UTF-8 stay whole. The result has about `max_bytes` bytes at most.
    """
    if len(text) <= max_bytes:
        return text
    half = max_bytes // 2
    begin, end = (part.decode("utf-8", "ignore").encode() for part in (text[:half], text[-half:]))
    return b"%b\n... %d bytes left out ...\n%b" % (begin, len(text) - 2 * half, end)


def _shortened(record: Report) -> tuple[Report, int]:
    before = cut_text(record.before, max_bytes=MAX_TEXT_BYTES // 2)
    printed = cut_text(record.printed, max_bytes=MAX_TEXT_BYTES - len(before))
    return msgspec.structs.replace(record, before=before, printed=printed), len(before) + len(printed)


def _blocks(batch: Sequence[Report]) -> Iterator[list[Report]]:
    """Yield the records of each function together, in blocks of limited size."""
    by_function: dict[str, list[Report]] = {}
    for record in batch:
        by_function.setdefault(record.function_id, []).append(record)
    for records in by_function.values():
        block: list[Report] = []
        size = 0
        for record in records:
            text = len(record.printed) + len(record.before)
            if block and (len(block) == _BLOCK_RECORDS or size + text > _BLOCK_BYTES):
                yield block
                block, size = [], 0
            block.append(record)
            size += text
        yield block


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Report]).decode


def _row(block: Sequence[Report]) -> dict[str, Any]:
    packed = _encode(block)
    times = [record.at for record in block]
    return {
        "function_id": block[0].function_id,
        "first_at": min(times),
        "last_at": max(times),
        "size": len(packed),
        "records": packed,
    }
