"""Folders of unpacked code that no version has any more: when they go, and what keeps them."""

import asyncio
import subprocess
import sys

import pytest

from funclet.dataplane.code import CodeCache
from funclet.dataplane.code_holds import FolderHolds, remove_unless_held
from funclet.model.function import Code
from tests.support.packages import zip_of

NAME = "a" * 128
OTHER = "b" * 128
# Holds a folder until its input ends.
HOLDER = """
import sys
from pathlib import Path
from funclet.dataplane.code_holds import FolderHolds
holds = FolderHolds()
assert holds.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


class Source:
    async def read(self, digest):
        return zip_of({"index.py": f"# {digest}"})


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def cache(folder):
    return CodeCache(Source(), folder)


def code(digest=NAME):
    return Code(digest=digest, size=1, code_type="zip")


def fetch(cache, digest=NAME):
    return asyncio.run(cache.fetch(code(digest)))


def hold(cache):
    return asyncio.run(cache.hold(code()))


def look(cache, in_use=(), unwanted=frozenset()):
    return cache.remove_unwanted(frozenset(in_use), unwanted)


def test_what_no_version_has_goes_at_the_second_look(cache, folder):
    fetch(cache)
    fetch(cache, OTHER)

    unwanted = look(cache, [OTHER])
    assert unwanted == {NAME}
    assert (folder / NAME / "index.py").exists()
    assert look(cache, [OTHER], unwanted) == frozenset()
    assert [path.name for path in folder.iterdir()] == [OTHER]


def test_what_is_wanted_again_stays(cache, folder):
    fetch(cache)
    unwanted = look(cache)

    assert look(cache, [NAME], unwanted) == frozenset()
    assert look(cache) == {NAME}
    assert (folder / NAME).is_dir()


def test_a_folder_goes_only_when_the_last_instance_has_let_go(cache, folder):
    held, first = hold(cache)
    _, second = hold(cache)
    unwanted = look(cache)

    for let_go in (first, second):
        assert look(cache, (), unwanted) == {NAME}
        assert (held / "index.py").exists()
        let_go()
    assert look(cache, (), unwanted) == frozenset()
    assert list(folder.iterdir()) == []


def test_another_process_holds_as_well_and_no_longer_than_it_lives(cache, folder):
    fetch(cache)
    command = [sys.executable, "-c", HOLDER, str(folder / NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        assert look(cache, (), frozenset({NAME})) == {NAME}
        other.kill()
    assert look(cache, (), frozenset({NAME})) == frozenset()


def test_what_was_removed_is_unpacked_again(cache, folder):
    _, let_go = hold(cache)
    let_go()
    assert remove_unless_held(folder / NAME)

    held, _ = hold(cache)

    assert (held / "index.py").exists()
    assert not remove_unless_held(held)


def test_a_folder_that_is_gone_cannot_be_held(folder):
    holds = FolderHolds()

    assert holds.take(folder / NAME) is False
    assert remove_unless_held(folder / NAME) is True


def test_what_is_being_made_is_left_alone(cache, folder):
    (folder / f"{NAME}.1.part").mkdir()

    assert look(cache, (), frozenset({f"{NAME}.1.part"})) == frozenset()
    assert (folder / f"{NAME}.1.part").is_dir()
