"""What a store of code packages must keep."""

import asyncio
import os
import resource
import threading

import pytest

from funclet.base.ids import sha512_hex
from funclet.blobs import BlobDamaged, BlobError, BlobMissing, Blobs

DATA = b"PK\x03\x04 a package"
DIGEST = sha512_hex(DATA)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def put(blobs, data=DATA):
    return asyncio.run(blobs.put(data))


def make_old(blobs, digest, *, age_s=1000.0):
    path = blobs.path(digest)
    at = path.stat().st_mtime - age_s
    os.utime(path, (at, at))


@pytest.mark.parametrize("data", [DATA, b"", bytes(3 * 1024 * 1024)])
def test_a_package_comes_back_by_its_digest(blobs, data):
    digest = put(blobs, data)

    assert digest == sha512_hex(data)
    assert asyncio.run(blobs.read(digest)) == data


def test_putting_twice_keeps_one_file(blobs):
    assert put(blobs) == put(blobs)

    assert [path.name for path in blobs.path(DIGEST).parent.iterdir()] == [DIGEST]


def test_many_may_put_the_same_at_once(blobs):
    async def put_all():
        return await asyncio.gather(*(blobs.put(DATA) for _ in range(8)))

    assert set(asyncio.run(put_all())) == {DIGEST}
    assert asyncio.run(blobs.read(DIGEST)) == DATA


def test_packages_are_the_owners_alone(blobs):
    put(blobs)

    assert blobs.path(DIGEST).stat().st_mode & 0o777 == 0o600
    assert blobs.path(DIGEST).parent.stat().st_mode & 0o777 == 0o700


def test_a_missing_package_is_told_from_a_damaged_one(blobs):
    with pytest.raises(BlobMissing):
        asyncio.run(blobs.read(DIGEST))
    put(blobs)
    blobs.path(DIGEST).write_bytes(DATA[:-1])

    with pytest.raises(BlobDamaged):
        asyncio.run(blobs.read(DIGEST))


def test_putting_again_repairs_a_damaged_package(blobs):
    put(blobs)
    blobs.path(DIGEST).write_bytes(b"rotten")

    put(blobs)

    assert asyncio.run(blobs.read(DIGEST)) == DATA


@pytest.mark.parametrize(
    "digest", ["", "ab", "../" * 40 + "etc/pass", "/" * 128, "AB" * 64, DIGEST + "\n", DIGEST + "0"]
)
def test_only_a_digest_is_a_path(blobs, digest):
    with pytest.raises(BlobError, match="not a digest"):
        blobs.path(digest)
    with pytest.raises(BlobError, match="not a digest"):
        asyncio.run(blobs.read(digest))


def test_the_sweep_takes_what_is_old_and_unused(blobs):
    used, old, new = (put(blobs, data) for data in (b"used", b"old", b"new"))
    make_old(blobs, used)
    make_old(blobs, old)

    assert asyncio.run(blobs.sweep(frozenset({used}), older_than_s=500)) == 1

    assert asyncio.run(blobs.read(used)) == b"used"
    assert asyncio.run(blobs.read(new)) == b"new"
    with pytest.raises(BlobMissing):
        asyncio.run(blobs.read(old))


def test_putting_an_old_package_again_saves_it_from_the_sweep(blobs):
    put(blobs)
    make_old(blobs, DIGEST)

    put(blobs)

    assert asyncio.run(blobs.sweep(frozenset(), older_than_s=500)) == 0


def test_the_sweep_takes_remains_of_uploads_and_leaves_other_files(blobs):
    put(blobs)
    for name in ("0123.new", "readme"):
        path = blobs.path(DIGEST).with_name(name)
        path.write_bytes(b"")
        os.utime(path, (0, 0))

    assert asyncio.run(blobs.sweep(frozenset(), older_than_s=500)) == 1

    assert {path.name for path in blobs.path(DIGEST).parent.iterdir()} == {DIGEST, "readme"}


def test_the_sweep_of_a_folder_that_is_not_there_finds_nothing(blobs):
    assert asyncio.run(blobs.sweep(frozenset(), older_than_s=0)) == 0


def test_a_full_disk_leaves_nothing_behind(blobs):
    data = bytes(2 * 1024 * 1024)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))
    try:
        with pytest.raises(BlobError, match="cannot be stored"):
            put(blobs, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(blobs.path(sha512_hex(data)).parent.iterdir()) == []
    put(blobs, data)


def test_the_loop_is_not_blocked(blobs):
    threads = set()

    async def put_beside():
        task = asyncio.ensure_future(blobs.put(DATA))
        while not task.done():
            threads.update(thread.name for thread in threading.enumerate())
            await asyncio.sleep(0)
        return await task

    assert asyncio.run(put_beside()) == DIGEST
    assert len(threads) > 1
