"""The database of one server: SQLite behind one writer thread with group commit.

Start with `_Writer.run`: it takes all pieces of work that wait, runs each in its
own savepoint, commits once, and only then answers. Readers are two threads
with a connection each. A third thread copies the write-ahead log into the
database, so that no commit waits for it.
"""

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from funclet.store.connection import (
    BUSY_TIMEOUT_S,
    Session,
    connect,
    create_private_file,
    is_storage_failure,
    load_queries,
    migrate,
)
from funclet.store.protocol import StoreError, StoreUnavailable, Tx
from funclet.store.sealing import Sealing
from funclet.store.sql import SqlFunctions, SqlTx
from funclet.vault import KeySource, Vault

log = logging.getLogger(__name__)

MAX_BATCH = 1024
MAX_WAITING = 65_536
"""Pieces of work that may wait for the writer; more are refused."""
READERS = 2
CHECKPOINT_BYTES = 8 * 1024 * 1024
"""Size of the write-ahead log from which it is copied into the database."""
_CHECKPOINT_PAUSE_S = 0.05
_WRITER_CACHE_KIB = 32 * 1024
KEY_FILE = "secrets.key"
"""Beside the database: what seals its secrets."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatistics:
    """What the writer did since the store was opened."""

    works: int
    """Pieces of work that were answered, failed ones included."""
    commits: int
    failed_commits: int
    """Batches of which nothing was kept."""


class _Job(Generic[T]):
    """One piece of work on its way through the writer."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Callable[[Tx], T], future: "asyncio.Future[None]") -> None:
        self.work = work
        self.future = future
        self.result: T | None = None
        self.error: BaseException | None = None


_Batch = list[_Job[Any]]


class _Connections:
    """Opens connections to the one file, and makes the groups for them."""

    def __init__(self, path: Path, queries: Mapping[str, str], vault: Vault, *, is_alone: bool) -> None:
        self.path = path
        self.vault = vault
        self._queries = queries
        self._is_alone = is_alone

    def open(self, *, read_only: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S) -> tuple[sqlite3.Connection, Tx]:
        """Open a connection; the caller closes it."""
        if read_only:
            connection = connect(
                self.path, synchronous="FULL", read_only=True, is_alone=self._is_alone, busy_timeout_s=busy_timeout_s
            )
        else:
            connection = connect(self.path, synchronous="FULL", cache_kib=_WRITER_CACHE_KIB, is_alone=self._is_alone)
            # The checkpointer does it. The limit cuts the log back once it starts anew, so its size tells its content.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_BYTES}")
        return connection, SqlTx(Session(connection, self._queries), Sealing(self.vault))


class _Writer:
    """The only thread that changes the database. All its members but `queue` belong to that thread."""

    def __init__(self, connections: _Connections, checkpointer: "_Checkpointer") -> None:
        self.queue: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self.works = 0
        self.commits = 0
        self.failed_commits = 0
        self._connections = connections
        self._checkpointer = checkpointer
        self._open: tuple[sqlite3.Connection, Tx] | None = connections.open()
        self._is_failing = False
        self._is_ending = False
        self._thread = threading.Thread(target=self.run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """End the thread once it has done all that was queued; blocks."""
        self.queue.put(None)
        self._thread.join()

    def run(self) -> None:
        """Take, commit, answer, until `join` is called."""
        while not self._is_ending:
            batch = self._take()
            if batch:
                self._commit(batch)
                _deliver(batch)
                self._checkpointer.after_commit(self._open[0] if self._open else None)
        self._end()

    def _take(self) -> _Batch:
        """Wait for work, then take what has queued up meanwhile: that makes the group of a group commit."""
        batch: _Batch = []
        job = self.queue.get()
        with contextlib.suppress(queue.Empty):
            while job is not None:
                batch.append(job)
                if len(batch) == MAX_BATCH:
                    return batch
                job = self.queue.get_nowait()
            self._is_ending = True
        return batch

    def _commit(self, batch: _Batch) -> None:
        try:
            self._open = self._open or self._connections.open()
            connection, tx = self._open
            connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                _run(job, connection, tx)
            connection.execute("COMMIT")
        # Whatever it is, the thread must live and the callers must be told: without it the server is dumb.
        except Exception as error:  # noqa: BLE001
            self._abandon(batch, error)
        else:
            self.commits += 1
            if self._is_failing:
                self._is_failing = False
                log.warning("the database can be written again: %s", self._connections.path)
        self.works += len(batch)

    def _abandon(self, batch: _Batch, error: Exception) -> None:
        self.failed_commits += 1
        if not self._is_failing:
            self._is_failing = True
            log.error("the database cannot be written: %s: %s", self._connections.path, error)
        # The next batch opens the file anew: whatever state the failure left in this connection goes with it.
        opened, self._open = self._open, None
        if opened:
            _close(opened[0])
        for job in batch:
            job.result = None
            job.error = StoreUnavailable(f"the database cannot be written now: {error}")
            job.error.__cause__ = error

    def _end(self) -> None:
        if self._open:
            with contextlib.suppress(sqlite3.Error):  # the log is kept then, and read at the next start
                self._open[0].execute("PRAGMA wal_checkpoint(TRUNCATE)")
            _close(self._open[0])


def _run(job: _Job[Any], connection: sqlite3.Connection, tx: Tx) -> None:
    """Run one piece of work so that only its own changes are undone if it raises.

    Raises:
        sqlite3.Error: the storage failed, so the whole batch is lost.
    """
    connection.execute("SAVEPOINT work")
    try:
        job.result = job.work(tx)
    except sqlite3.Error as error:
        if is_storage_failure(error):
            raise
        job.error = StoreError(f"the database refused: {error}")
        job.error.__cause__ = error
    # What a piece of work raises is its caller's, not the writer's.
    except Exception as error:  # noqa: BLE001
        job.error = error
    if job.error is not None:
        connection.execute("ROLLBACK TO work")
    connection.execute("RELEASE work")


def _deliver(batch: _Batch) -> None:
    """Answer the callers, with one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, _Batch] = {}
    for job in batch:
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, jobs in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: its callers are gone
            loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: _Batch) -> None:
    for job in jobs:
        if not job.future.done():  # a caller that was cancelled waits no more
            job.future.set_result(None)


def _close(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # closing undoes what is open, even where ROLLBACK fails
        connection.close()


class _Checkpointer:
    """Copies the write-ahead log into the database off the commit path.

    While commits go on, the log can never be copied to its end from beside, and only a log that
    was copied to its end starts anew. So the thread does the bulk with its syncs, and then asks
    the writer to do the few pages that have come meanwhile, between two batches.
    """

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections
        self._log_path = f"{connections.path}-wal"
        self._is_wanted = threading.Event()
        self._is_rest_wanted = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """End the thread; blocks."""
        self._ending.set()
        self._is_wanted.set()
        self._thread.join()

    def after_commit(self, connection: sqlite3.Connection | None) -> None:
        """Look at the size of the log; called by the writer after every batch."""
        if self._is_rest_wanted and connection:
            self._is_rest_wanted = False
            with contextlib.suppress(sqlite3.Error):  # tried again after the next bulk
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with contextlib.suppress(OSError):  # no log, nothing to copy
            if os.stat(self._log_path).st_size > CHECKPOINT_BYTES:  # noqa: PTH116 - once per commit, a Path costs more
                self._is_wanted.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._is_wanted.wait()
            self._is_wanted.clear()
            if not self._ending.is_set():
                self._copy()
                # Readers can hold the log for long; without a pause every commit would start another copy.
                self._ending.wait(_CHECKPOINT_PAUSE_S)

    def _copy(self) -> None:
        try:
            connection, _ = self._connections.open()
        except sqlite3.Error as error:
            log.warning("the database cannot be opened for a checkpoint: %s", error)
            return
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._is_rest_wanted = True
        except sqlite3.Error as error:
            log.warning("checkpoint failed, the write-ahead log grows: %s", error)
        finally:
            _close(connection)


class _Readers:
    """Threads with a read-only connection each, and one more connection of the thread of the event loop."""

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections
        self._mine = threading.local()
        self._all: set[sqlite3.Connection] = set()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    async def read(self, work: Callable[[Tx], T], *, is_brief: bool) -> T:
        """See `Store.read`. What is brief is done at once, unless it had to wait for a lock."""
        if is_brief:
            try:
                return self._run(work, busy_timeout_s=0.0)
            except sqlite3.Error:
                self._drop()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run_in_thread, work)

    def _run_in_thread(self, work: Callable[[Tx], T]) -> T:
        try:
            return self._run(work)
        except sqlite3.Error as error:
            self._drop()
            raise StoreUnavailable(f"the database cannot be read now: {error}") from error

    def _run(self, work: Callable[[Tx], T], *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> T:
        connection, tx = self._connection(busy_timeout_s)
        # Several queries of one piece of work see the same state.
        connection.execute("BEGIN")
        try:
            return work(tx)
        finally:
            connection.execute("ROLLBACK")

    def join(self) -> None:
        """End the threads once they have done all that was queued; blocks."""
        self._pool.shutdown()
        for connection in self._all:
            _close(connection)

    def _connection(self, busy_timeout_s: float) -> tuple[sqlite3.Connection, Tx]:
        mine: tuple[sqlite3.Connection, Tx] | None = getattr(self._mine, "open", None)
        if mine is None:
            mine = self._mine.open = self._connections.open(read_only=True, busy_timeout_s=busy_timeout_s)
            self._all.add(mine[0])
        return mine

    def _drop(self) -> None:
        mine: tuple[sqlite3.Connection, Tx] | None = getattr(self._mine, "open", None)
        if mine is not None:
            self._mine.open = None
            self._all.discard(mine[0])
            _close(mine[0])


class SqliteStore:
    """A `protocol.Store` on one SQLite file. Make it with `open`; whoever opens it closes it."""

    def __init__(self, connections: _Connections) -> None:
        self.vault = connections.vault
        """Seals what must not be read in the file; its key is in a file beside."""
        self._checkpointer = _Checkpointer(connections)
        self._writer = _Writer(connections, self._checkpointer)
        self._readers = _Readers(connections)
        self._is_closed = False
        self._writer.start()
        self._checkpointer.start()

    @classmethod
    def open(cls, path: Path, *, is_alone: bool = False, keys: KeySource | None = None) -> "SqliteStore":
        """Open or create the database file and bring it to the schema of this code; blocks.

        The caller has the data folder for itself (`DataFolderLock`).

        Args:
            path: the file; its folder is made if missing.
            is_alone: no other process reads it meanwhile (`SqliteReader`): see `connect`.
            keys: of the key of all secrets; `KEY_FILE` beside the database by default.

        Raises:
            StoreError: the database is newer than this code.
            StoreUnavailable: the file cannot be opened.
            VaultError: the file of the key is damaged, or others may read it, or it is missing though the database
                is there.
        """
        beside = path.with_name(KEY_FILE)
        keys = keys or KeySource(path=beside)
        may_make = keys.path == beside or not path.exists()
        try:
            create_private_file(path)
            queries = load_queries()
            vault = Vault.open(keys, may_make=may_make)
            connection = connect(path, synchronous="FULL", is_alone=is_alone)
            try:
                migrate(connection, queries)
                _seal_all(connection, queries, vault)
            finally:
                _close(connection)
            return cls(_Connections(path, queries, vault, is_alone=is_alone))
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"database '{path}' cannot be opened: {error}") from error

    @property
    def statistics(self) -> StoreStatistics:
        """What the writer has done so far."""
        writer = self._writer
        return StoreStatistics(works=writer.works, commits=writer.commits, failed_commits=writer.failed_commits)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction; when this returns, its changes survive a crash.

        If the caller is cancelled, the work may still be carried out.

        Raises:
            StoreUnavailable: nothing of `work` is kept.
        """
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        if self._writer.queue.qsize() >= MAX_WAITING:
            raise StoreUnavailable("too many changes wait for the database")
        job = _Job(work, asyncio.get_running_loop().create_future())
        self._writer.queue.put(job)
        await job.future
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[return-value]  # set where there is no error; None can be a T

    async def read(self, work: Callable[[Tx], T], *, is_brief: bool = False) -> T:
        """Run `work` on a consistent view that sees every finished `write`. It must not change anything.

        Raises:
            StoreUnavailable: the store is closed or failing.
        """
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        return await self._readers.read(work, is_brief=is_brief)

    async def close(self) -> None:
        """Finish what was begun and close the files. Calls that come later raise StoreUnavailable."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.to_thread(self._join)

    def _join(self) -> None:
        # Readers and checkpointer first: the log can be emptied only when nobody else uses it.
        self._readers.join()
        self._checkpointer.join()
        self._writer.join()


def _seal_all(connection: sqlite3.Connection, queries: Mapping[str, str], vault: Vault) -> None:
    """Seal what older versions of this server have stored in the clear, and leave nothing of it in the file."""
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("BEGIN IMMEDIATE")
    SqlFunctions(Session(connection, queries), Sealing(vault)).seal_all()
    connection.execute("COMMIT")


class SqliteReader:
    """A `Store` of a process that only reads what another one writes. Whoever opens it closes it."""

    def __init__(self, connections: _Connections) -> None:
        self.vault = connections.vault
        """See `SqliteStore.vault`."""
        self._readers = _Readers(connections)
        self._is_closed = False

    @classmethod
    def open(cls, path: Path, *, keys: KeySource | None = None) -> "SqliteReader":
        """Open a database file that its writer has brought to the schema of this code; `keys` are those of it.

        Raises:
            VaultError: the file of the key is damaged, or others may read it.
        """
        vault = Vault.open(keys or path.with_name(KEY_FILE))
        return cls(_Connections(path, load_queries(), vault, is_alone=False))

    async def write(self, work: Callable[[Tx], T]) -> T:  # noqa: ARG002 - the members of the protocol
        """Refuse.

        Raises:
            StoreUnavailable: always.
        """
        raise StoreUnavailable("this process only reads the database")

    async def read(self, work: Callable[[Tx], T], *, is_brief: bool = False) -> T:
        """See `Store.read`; finished writes of the other process are seen, too.

        Raises:
            StoreUnavailable: the store is closed or failing.
        """
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        return await self._readers.read(work, is_brief=is_brief)

    async def close(self) -> None:
        """Finish what was begun and close the file. Calls that come later raise StoreUnavailable."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.to_thread(self._readers.join)
