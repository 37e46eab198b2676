"""Fixtures for all tests: a shared real server, and servers of one's own."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests.support.outside import NatsServer, S3Server
from tests.support.server import ServerProcess

# Started in the background of a script, the tests are told to ignore Ctrl-C; what they start must not be.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The same with `nohup`.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config, items):
    """Deselect, never skip, what an ordinary user cannot run, and what runs in the virtual machine only."""
    missing = set() if os.geteuid() == 0 else {"root"}
    if os.uname().nodename != "funclet-vm":
        missing.add("vm")
    deselected = [item for item in items if missing & {mark.name for mark in item.iter_markers()}]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session")
def scratch():
    """A folder that the server's user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="funclet-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_server(scratch):
    """Start servers of one's own: `new_server("--idle-release-s", "1", FGS_USER="x")`; they are stopped at the end."""
    started = []

    def start(*options, **environment):
        folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
        folder.chmod(0o755)
        server = ServerProcess(folder, *options, **environment)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(scratch):
    """One server that all tests share; each test uses function names of its own."""
    folder = scratch / "shared"
    folder.mkdir()
    running = ServerProcess(folder).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A real object store."""
    server = S3Server(tmp_path_factory.mktemp("s3")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """A real broker of streams."""
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.stop()
