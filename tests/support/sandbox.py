"""A laboratory for sandbox drivers: a driver of any level, and a program inside that does what it is told."""

import ast
import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from funclet.sandbox.checked import CheckedDriver
from funclet.sandbox.isolated import IsolatedDriver
from funclet.sandbox.process import ProcessDriver
from funclet.sandbox.protocol import SandboxSpec
from funclet.sandbox.sandboxd.settings import SandboxdSettings

PYTHON = Path("/usr/bin/python3")
NOBODY = "65534"

# Reads statements, runs them, answers with the repr of `result`.
PROGRAM = """
import os, socket, sys, time
peer = socket.socket(fileno=3)
peer.sendall(b"R")
while text := peer.recv(65536):
    scope = {"os": os, "socket": socket, "sys": sys, "time": time}
    try:
        exec(text.decode(), scope)
        answer = scope.get("result")
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    peer.sendall(repr(answer).encode())
"""

_names = (f"test-{os.getpid()}-{number}" for number in itertools.count())


class Box:
    """One running sandbox with the program inside."""

    def __init__(self, sandbox, streams, spec):
        self.sandbox = sandbox
        self.streams = streams
        self.spec = spec

    async def send(self, statements):
        await asyncio.get_running_loop().sock_sendall(self.streams.connection, statements.encode())

    async def ask(self, statements):
        """Run statements inside; return what they left in `result`. None when the program is gone."""
        await self.send(statements)
        with contextlib.suppress(ConnectionResetError):
            answer = await asyncio.get_running_loop().sock_recv(self.streams.connection, 1 << 20)
            return ast.literal_eval(answer.decode()) if answer else None

    def log(self):
        with contextlib.suppress(BlockingIOError):
            return os.read(self.streams.log_fd, 65536).decode()
        return ""


class Lab:
    """A driver, and folders that its sandboxes may see."""

    def __init__(self, driver, folder, sandboxd):
        self.driver = driver
        self.folder = folder
        self.sandboxd = sandboxd

    def spec(self, **changes):
        members = {
            "name": next(_names),
            "interpreter": PYTHON,
            "arguments": ["-I", "-S", "{runtime_root}/program.py"],
            "environment": {"LC_ALL": "C.UTF-8", "LAB": self.folder.name},
            "code_dir": self.folder / "code" / "one",
            "runtime_dir": self.folder / "runtime",
            "memory_mib": 128,
            "cpu_millicores": 300,
        }
        return SandboxSpec(**(members | changes))

    def processes(self):
        """Return the pids on this host of everything that runs the program of this lab."""
        mark = f"LAB={self.folder.name}".encode()
        return [folder.name for folder in Path("/proc").glob("[0-9]*") if mark in _read(folder / "environ")]

    @contextlib.asynccontextmanager
    async def running(self, **changes):
        spec = self.spec(**changes)
        sandbox = self.driver.create()
        streams = await sandbox.start(spec)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(streams.connection, 1), 10)
            yield Box(sandbox, streams, spec)
        finally:
            await sandbox.stop(grace_s=0)
            streams.connection.close()
            os.close(streams.log_fd)


def _read(path):
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def make_folders():
    folder = Path(tempfile.mkdtemp(prefix="sandbox-test-"))
    folder.chmod(0o755)
    for name in ("code/one", "code/two", "runtime"):
        (folder / name).mkdir(parents=True)
    (folder / "runtime" / "program.py").write_text(PROGRAM)
    (folder / "code" / "one" / "mine.txt").write_text("mine")
    (folder / "code" / "two" / "other.txt").write_text("the other function's")
    return folder


def start_sandboxd(folder, *, as_nobody, **changes):
    """Start sandboxd in a process of its own; return our socket and the process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    members = {"allowed_folders": (folder / "code", folder), "spare_slots": 2}
    settings = SandboxdSettings(**(members | changes))
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if as_nobody else []
    process = subprocess.Popen(
        [*drop, sys.executable, "-I", "-m", "funclet.sandbox.sandboxd", str(theirs.fileno()), settings.to_json()],
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    return ours, process


@contextlib.asynccontextmanager
async def open_lab(level, **settings):
    folder = make_folders()
    sandboxd = None
    if level == "process":
        inner = ProcessDriver()
    else:
        control, sandboxd = start_sandboxd(folder, as_nobody=level == "rootless" and os.geteuid() == 0, **settings)
        inner = IsolatedDriver(control)
    driver = CheckedDriver(inner)
    await driver.open()
    try:
        yield Lab(driver, folder, sandboxd)
    finally:
        await driver.close()
        if sandboxd is not None:
            sandboxd.wait(15)
        shutil.rmtree(folder)


def run_in_lab(level, body, **settings):
    """Run `await body(lab)` with a fresh driver."""

    async def main():
        async with open_lab(level, **settings) as lab:
            await asyncio.wait_for(body(lab), 60)

    asyncio.run(main())


async def become_true(condition, *, within_s=5.0):
    """Wait until `condition()` holds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)
