"""A disk that cannot be written any more while the server runs: nothing is answered 202 that is not on it."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from funclet.base.ids import new_uuid
from funclet.client import ApiError
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

COUNTING = """
def handler(event, context):
    with open(event["file"], "a") as file:
        file.write(context.getRequestID() + "\\n")
"""


def run(*command):
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


class Disk:
    """A file system of its own; ext4 refuses writes to files that are open already once it cannot be written."""

    def __init__(self, folder):
        self.image, self.folder = folder / "disk.img", folder / "data"
        self.folder.mkdir()
        with self.image.open("wb") as file:
            file.truncate(96 * 1024 * 1024)
        run("mkfs.ext4", "-q", self.image)
        self.mount()

    def mount(self):
        run("mount", "-o", "loop,errors=remount-ro", self.image, self.folder)

    def unmount(self):
        """Unmount it as soon as the last process of a server that was killed is gone."""
        eventually(lambda: subprocess.run(["umount", self.folder], check=False, capture_output=True).returncode == 0)

    def fail(self):
        """Do what the kernel does when it meets an error: go on read-only.

        Everything is written back before, so that also what is mapped into memory cannot be written any more.
        """
        os.sync()
        run("mount", "-o", "remount,abort", self.folder)

    def repair(self):
        """Check it, and mount it anew.

        A copy: whoever has made a namespace of mounts meanwhile keeps the file system that failed.
        """
        self.unmount()
        os.sync()
        self.image = self.image.rename(shutil.copyfile(self.image, self.image.with_suffix(".copy")))
        # 1: there was something to correct, and it is corrected.
        assert subprocess.run(["fsck.ext4", "-fy", self.image], check=False, capture_output=True).returncode in (0, 1)
        self.mount()

    def databases(self):
        """Return the files of the databases."""
        return list(self.folder.glob("*.db*"))


@pytest.fixture
def disk(scratch):
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=scratch))
    folder.chmod(0o755)
    made = Disk(folder)
    yield made
    made.unmount()


@pytest.fixture
def server(disk):
    running = ServerProcess(disk.folder.parent, "--isolation", "process").start()
    yield running
    running.stop()


@pytest.fixture
def runs(scratch):
    """A file outside of that disk, for the runs of the function."""
    folder = Path(tempfile.mkdtemp(prefix="marks-", dir=scratch))
    folder.chmod(0o777)
    return folder / new_uuid()


@contextlib.contextmanager
def unwritable(files):
    """Take the right to write from everybody, root and whoever has a file open included."""
    run("chattr", "+i", *files)
    try:
        yield
    finally:
        run("chattr", "-i", *files)


class Client:
    """Submits to the counting function, and keeps what was answered."""

    def __init__(self, server, runs):
        self.server, self.runs = server, runs
        self.urn = server.deploy("counted", COUNTING)
        self.accepted, self.refused = set(), []

    def submit(self):
        """Tell whether the request was accepted."""
        try:
            self.accepted.add(self.server.client.invoke_async(self.urn, json.dumps({"file": str(self.runs)}).encode()))
        except ApiError as error:
            self.refused.append((error.status, error.code))
            return False
        return True

    def has_run(self):
        lines = self.runs.read_text().split() if self.runs.exists() else []
        return self.accepted <= set(lines)

    def records(self):
        path = self.server.path(f"/functions/{self.urn}/async-invocations")
        return self.server.client.call("GET", path).json()


def test_a_database_that_cannot_be_written_refuses_and_recovers_by_itself(disk, server, runs):
    client = Client(server, runs)
    assert client.submit()
    eventually(client.has_run, because="the first has run")

    with unwritable(disk.databases()):
        answers = [client.submit() for _ in range(20)]

    assert not any(answers)
    assert set(client.refused) == {(503, "FSS.0503")}
    eventually(client.submit, because="it is taken again, without a restart")
    eventually(client.has_run, because="all that was accepted has run")
    assert client.records()["count"] == len(client.accepted), "what was refused was kept"


def test_a_disk_that_became_read_only_refuses_and_what_was_accepted_runs_once_it_is_repaired(disk, server, runs):
    client = Client(server, runs)
    assert all(client.submit() for _ in range(5))

    disk.fail()
    answers = [client.submit() for _ in range(20)]

    assert not any(answers)
    assert set(client.refused) == {(503, "FSS.0503")}
    server.kill()
    disk.repair()
    server.start()
    eventually(client.submit, because="it is taken again")
    eventually(client.has_run, because="all that was accepted has run")
    assert client.records()["count"] == len(client.accepted), "what was refused was kept"
