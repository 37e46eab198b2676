"""Connections to SQLite files, named queries, and migrations.

`connect` opens a file with the settings that every database of ours has;
`load_queries` reads the SQL; `migrate` brings a file to the schema of this code.
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from funclet.store.protocol import StoreError

BUSY_TIMEOUT_S = 10.0
"""How long to wait for another process, such as a person's sqlite3 shell or a backup."""
_OLDEST_SQLITE = (3, 40)
_CACHED_STATEMENTS = 256
_ROW = re.compile(r"VALUES (\(.*?\))", re.DOTALL)
MAX_ROWS_AT_ONCE = 128
"""Rows that one statement of `Session.run_rows` has at most; SQLite takes 32,766 values."""
_FEW_ROWS, _ROW_STEP = 16, 8
_MIGRATION = re.compile(r"(?:([a-z]+)_)?\d{4}_[a-z0-9_]+\.(pre|post)\.sql")
# What the disk, the machine or another process does to us; everything else is a fault of the work.
_STORAGE_FAILURES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def is_storage_failure(error: sqlite3.Error) -> bool:
    """Tell whether the storage failed, after which SQLite may have undone the whole transaction by itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _STORAGE_FAILURES


def create_private_file(path: Path) -> None:
    """Create an empty file that only its owner can read, in a folder that only its owner can enter; keep what exists.

    SQLite gives its side files the mode of the database.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def connect(
    path: Path,
    *,
    synchronous: str,
    read_only: bool = False,
    cache_kib: int = 8192,
    is_alone: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> sqlite3.Connection:
    """Open an existing database file in autocommit mode; the caller begins and ends transactions.

    The connection may be used by any thread, by one at a time.

    Args:
        path: the file.
        synchronous: `FULL` if a commit must survive a power cut, `NORMAL` if not.
        read_only: refuse changes.
        cache_kib: memory for pages.
        is_alone: no other process opens the file as long as this connection is open. Then the index of the
            write-ahead log is in plain memory. Otherwise it is a file that is mapped into memory, and on a disk that
            has become read-only the kernel ends a process that writes to it.
        busy_timeout_s: how long to wait for a lock.

    Raises:
        sqlite3.Error: the file cannot be opened or is no database.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?vfs={'unix-excl' if is_alone else 'unix'}",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def load_queries() -> Mapping[str, str]:
    """Read all files of the folder `queries` into a mapping from name to statement.

    Raises:
        StoreError: two queries have the same name.
    """
    found: dict[str, str] = {}
    for file in sorted(files("funclet.store").joinpath("queries").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            for name, statement in _named(file.read_text("utf-8")):
                if name in found:
                    raise StoreError(f"query '{name}' stands twice in the folder of queries")
                found[name] = statement
    return MappingProxyType(found)


def _named(text: str) -> Iterator[tuple[str, str]]:
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
        yield name.strip(), "\n".join(lines).strip().removesuffix(";")


class Session:
    """Runs named queries on one connection, which one thread at a time uses."""

    def __init__(self, connection: sqlite3.Connection, queries: Mapping[str, str]) -> None:
        self._execute = connection.execute
        self._queries = queries

    def run(self, name: str, /, **values: Any) -> sqlite3.Cursor:
        """Run a query that changes rows; return its cursor for `rowcount` and `lastrowid`."""
        return self._execute(self._queries[name], values)

    def run_rows(self, name: str, /, rows: Sequence[Sequence[Any]]) -> None:
        """Run a query with `VALUES (?, ...)` for all of `rows`, with as few statements as can be.

        Every statement lets go of the interpreter and must get it back from the thread of the loop, so one with a
        hundred rows takes hardly longer than one with a single row.
        """
        start = 0
        while start < len(rows):
            # Two at most for the last rows, of few different lengths: each of those has to be prepared once.
            count = min(MAX_ROWS_AT_ONCE, len(rows) - start)
            if count > _FEW_ROWS:
                count -= count % _ROW_STEP
            values = [value for row in rows[start : start + count] for value in row]
            self._execute(_repeated(self._queries[name], count), values)
            start += count

    def all(self, name: str, /, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self._execute(self._queries[name], values).fetchall()

    def each(self, name: str, /, **values: Any) -> sqlite3.Cursor:
        """Return the rows of a query one after the other, as they are asked for."""
        return self._execute(self._queries[name], values)

    def one(self, name: str, /, **values: Any) -> tuple[Any, ...] | None:
        """Return the only row of a query, None if there is none."""
        rows = self.all(name, **values)
        return rows[0] if rows else None

    def number(self, name: str, /, **values: Any) -> int:
        """Return what a query with one row of one integer counts."""
        return int(self.all(name, **values)[0][0])


@lru_cache(maxsize=256)
def _repeated(query: str, count: int) -> str:
    return _ROW.sub(lambda match: "VALUES " + ", ".join([match[1]] * count), query, count=1)


def migrate(connection: sqlite3.Connection, queries: Mapping[str, str], *, family: str = "") -> None:
    """Apply the migrations that the database lacks, each in one transaction, in the order of their numbers.

    `family` is the first word of the file names: empty for the main database. A server has
    its data folder for itself (`DataFolderLock`), so `post` files, which must wait until no
    old server runs, can be applied at once.

    Raises:
        StoreError: the database is newer than this code, or SQLite is too old.
        sqlite3.Error: a file could not be applied; the database is as the file before left it.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; use a Python that has SQLite 3.40 or newer")
    session = Session(connection, queries)
    session.run("create_migration_table")
    applied = {str(name) for (name,) in session.all("applied_migrations")}
    known = _migrations(family)
    # Old code runs on the `pre` part of a newer schema by rule, but not on the `post` part.
    newer = sorted(name for name in applied - known.keys() if not name.endswith(".pre.sql"))
    if newer:
        raise StoreError(
            f"the database was made by a newer version of Funclet (it has {newer[-1]}); "
            "install that version or start with another data folder"
        )
    for name in sorted(known.keys() - applied):
        _apply(session, connection, name, known[name])


def _migrations(family: str) -> dict[str, str]:
    found = {}
    for file in files("funclet.store").joinpath("migrations").iterdir():
        match = _MIGRATION.fullmatch(file.name)
        if match and (match[1] or "") == family:
            found[file.name] = file.read_text("utf-8")
    return found


def _apply(session: Session, connection: sqlite3.Connection, name: str, text: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Not executescript: it would commit before it begins.
        for statement in split_statements(text):
            connection.execute(statement)
        session.run("add_migration", name=name)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def split_statements(text: str) -> Iterator[str]:
    """Yield the statements of a file, with semicolons in texts, comments and SQL triggers kept whole."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in statement.splitlines()):
        raise StoreError("a migration ends in the middle of a statement")
