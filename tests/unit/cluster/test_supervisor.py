"""The supervisor of real, small processes: each writes its number and pid, and then waits for its end."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.support.processes import children_of, is_alive
from tests.support.waiting import eventually

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from funclet.cluster.supervisor import Supervisor

folder = Path(sys.argv[1])

def note(name, text):
    with (folder / name).open("a") as file:
        file.write(text + "\\n")

def be_process(descriptor):
    note("stands-by", str(os.getpid()))
    told = os.read(descriptor, 1)
    if not told:
        return 0
    note(f"process-{told[0]}", str(os.getpid()))
    signal.pause()
    return 0

server = os.fork()
if server == 0:
    note("process-0", str(os.getpid()))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    while True:
        time.sleep(0.02)
        if (folder / "end").exists():
            os._exit(5)

sys.exit(Supervisor(server, 3, be_process, stopping=lambda: note("stopping", "once")).run())
"""


class Supervised:
    """A supervisor and what its processes have written."""

    def __init__(self, folder, program=PROGRAM):
        self.folder = folder
        # A group of its own: what a test forgets can be ended.
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(folder)], start_new_session=True
        )

    def pids(self, name):
        """Return the pids that were written under a name, oldest first."""
        file = self.folder / name
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def wait_for(self, name, count):
        """Return the newest pid under a name as soon as there are so many."""
        eventually(lambda: len(self.pids(name)) >= count, because=name)
        return self.pids(name)[-1]

    def end(self):
        """End everything, however it stands."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def supervised(tmp_path):
    started = Supervised(tmp_path)
    yield started
    started.end()


def test_every_number_has_a_process_and_one_more_stands_by(supervised):
    first, second = supervised.wait_for("process-1", 1), supervised.wait_for("process-2", 1)
    supervised.wait_for("stands-by", 3)

    assert first != second
    assert len(children_of(supervised.process.pid)) == 4


def test_the_one_that_stood_by_replaces_the_dead_one(supervised):
    supervised.wait_for("process-1", 1)
    standby = supervised.wait_for("stands-by", 3)

    os.kill(supervised.pids("process-1")[0], signal.SIGKILL)

    assert supervised.wait_for("process-1", 2) == standby
    # And the next one takes its place.
    supervised.wait_for("stands-by", 4)
    assert len(supervised.pids("process-2")) == 1


def test_one_that_dies_again_and_again_is_replaced_less_and_less_often(supervised):
    begin = time.monotonic()
    for deaths in range(1, 8):
        os.kill(supervised.wait_for("process-1", deaths), signal.SIGKILL)
    supervised.wait_for("process-1", 8)

    assert time.monotonic() - begin > 0.2 + 0.4 + 0.8
    assert is_alive(supervised.pids("process-2")[0])


def test_a_signal_reaches_everybody_and_the_status_is_that_of_the_server(supervised):
    pids = [supervised.wait_for(f"process-{number}", 1) for number in range(3)]
    pids.append(supervised.wait_for("stands-by", 3))

    supervised.process.send_signal(signal.SIGTERM)

    assert supervised.process.wait(timeout=10) == 7
    assert not any(is_alive(pid) for pid in pids)
    assert (supervised.folder / "stopping").read_text() == "once\n"
    assert len(supervised.pids("process-1")) == 1


def test_the_end_of_the_server_is_the_end_of_all(supervised):
    pids = [supervised.wait_for(f"process-{number}", 1) for number in (1, 2)]

    (supervised.folder / "end").touch()

    assert supervised.process.wait(timeout=10) == 5
    assert not any(is_alive(pid) for pid in pids)


def test_a_server_that_ended_before_anybody_looked_is_noticed(tmp_path):
    program = PROGRAM.replace("    while True:", "    os._exit(3)\n    while True:").replace(
        "sys.exit(", "time.sleep(0.3); sys.exit("
    )
    started = Supervised(tmp_path, program)
    try:
        assert started.process.wait(timeout=10) == 3
    finally:
        started.end()
