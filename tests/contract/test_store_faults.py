"""What is left of a store when the disk or the process fails."""

import asyncio
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from funclet.store.protocol import (
    StoreError,
    StoreUnavailable,
)
from funclet.store.sqlite import SqliteReader, SqliteStore
from tests.support.store import FACTORIES, Database, a_submission, due, records


def fill(db: Database, prefix: str) -> tuple[set[str], BaseException | None]:
    """Add large submissions one by one until one fails or 64 MiB are stored."""
    added = set()
    for number in range(256):
        try:
            db.write(lambda tx, n=number: tx.queue.add(a_submission(f"{prefix}{n}", payload=bytes(256 * 1024))))
        except StoreError as error:
            return added, error
        added.add(f"{prefix}{number}")
    return added, None


def stored(db: Database) -> set[str]:
    found, _ = db.read(records)
    return {record.request_id for record in found}


def test_a_file_that_cannot_grow_makes_the_store_unavailable_until_it_can(db):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 1024 * 1024, hard))
    try:
        added, error = fill(db, "a")
        together = db.together(
            *(lambda tx, n=n: tx.queue.add(a_submission(f"x{n}", payload=bytes(2**20))) for n in "123456")
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert isinstance(error, StoreUnavailable)
    assert added
    assert any(isinstance(result, StoreUnavailable) for result in together)
    kept = {f"x{n}" for n, result in zip("123456", together, strict=True) if result is None}
    db.write(lambda tx: tx.queue.add(a_submission("after")))
    assert stored(db) == added | kept | {"after"}


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.root
@pytest.mark.parametrize("name", FACTORIES)
def test_a_full_disk_makes_the_store_unavailable_until_there_is_room(name, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(5 * 1024 * 1024))
    db = Database(FACTORIES[name], small_disk)
    try:
        added, error = fill(db, "a")
        assert isinstance(error, StoreUnavailable)
        assert stored(db) == added

        ballast.unlink()

        db.write(lambda tx: tx.queue.add(a_submission("after")))
        assert stored(db) == added | {"after"}
    finally:
        db.close()


CHILD = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from funclet.model.invocation import Submission
    from funclet.store.sqlite import SqliteStore

    async def caller(store, name):
        for number in range(1_000_000):
            submission = Submission(request_id=f"{name}-{number}", project_id="p", function_id="id-p1-hello", urn="u",
                payload=bytes(500), accepted_at=1.0)
            await store.write(lambda tx: tx.queue.add(submission))
            sys.stdout.write(submission.request_id + "\\n")
            sys.stdout.flush()

    async def main():
        store = SqliteStore.open(Path(sys.argv[1]) / "funclet.db")
        await asyncio.gather(*(caller(store, f"{sys.argv[2]}-{n}") for n in range(16)))

    asyncio.run(main())
    """
)


def test_every_acknowledged_write_survives_a_kill(tmp_path):
    """Twenty servers in a row are killed while they write; the database that each leaves is the next one's."""
    acknowledged: set[str] = set()
    for kill in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, tmp_path, str(kill)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with child:
            lines = [child.stdout.readline() for _ in range(50 + 37 * kill)]
            child.send_signal(signal.SIGKILL)
            rest, errors = child.communicate()
        assert lines[-1], errors.decode()
        # A last line without its newline was not acknowledged whole.
        acknowledged |= set((b"".join(lines) + rest).decode().rpartition("\n")[0].split("\n"))

    db = Database(FACTORIES["sqlite"], tmp_path)
    try:
        found, count = db.read(records)
        waiting = db.read(lambda tx: [len(due(tx, now=2.0, limit=1_000_000))])
    finally:
        db.close()
    assert not acknowledged - {record.request_id for record in found}
    assert waiting == [count]


def test_files_are_the_owners_alone(db):
    db.write(lambda tx: tx.queue.add(a_submission()))

    modes = {path.name: path.stat().st_mode & 0o777 for path in db.folder.iterdir()}

    assert modes["funclet.db"] == 0o600
    assert set(modes.values()) == {0o600}


def test_a_process_that_only_reads_cannot_write(tmp_path):
    async def check():
        writer = SqliteStore.open(tmp_path / "funclet.db")
        reader = SqliteReader.open(tmp_path / "funclet.db")
        with pytest.raises(StoreUnavailable, match="only reads"):
            await reader.write(lambda tx: tx.identities.projects())
        with pytest.raises(StoreUnavailable):
            await reader.read(lambda tx: tx.identities.forget_expired(now=0.0))
        await reader.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await reader.read(lambda tx: tx.identities.projects())
        await writer.close()

    asyncio.run(check())


def test_a_brief_look_that_fails_is_tried_again_in_a_thread(tmp_path):
    async def check():
        writer = SqliteStore.open(tmp_path / "funclet.db")
        reader = SqliteReader.open(tmp_path / "funclet.db")
        threads = set()

        def look(tx):
            threads.add(threading.current_thread())
            return tx.identities.forget_expired(now=0.0)

        with pytest.raises(StoreUnavailable, match="cannot be read"):
            await reader.read(look, is_brief=True)
        assert len(threads) == 2

        await writer.write(lambda tx: tx.queue.add(a_submission("seen")))
        found, _ = await reader.read(records, is_brief=True)
        assert [record.request_id for record in found] == ["seen"]
        await reader.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await reader.read(records, is_brief=True)
        await writer.close()

    asyncio.run(check())
