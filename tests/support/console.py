"""A terminal for documented commands: one bash for a whole document, and the comparison of what it prints.

`Console.run` gives the output of a command; `differences` tells what in it is not as documented.
"""

import difflib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_END = "__END_OF_COMMAND__"
# What changes from run to run. Whatever is not named here must be the same in the document.
_VARIABLE = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"(?<=^  isolation  ).*", re.MULTILINE), "<level>"),
    (re.compile(r"^ +'fgs doctor' says what is missing\n", re.MULTILINE), ""),
    (re.compile(r"(?<=^  access key )\S+|(?<=^  secret key )\S+|(?<=^  password   )\S+", re.MULTILINE), "<secret>"),
    (re.compile(r"(?<=^ak          )\S+", re.MULTILINE), "<secret>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{128})\b"), "<id>"),
    (re.compile(r"\bdigest: [0-9a-f]{12} -> [0-9a-f]{12}\b"), "digest: <id> -> <id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)?( ?)(ms|s)\b"), r"<number>\1\2"),
    (re.compile(r"\b\d+\.\d+ per second"), "<number> per second"),
    (re.compile(r"\bmem \d+ MB/"), "mem <number> MB/"),
    (re.compile(r"\b(memory|storage|cpu) used: [0-9.]+(MB|U)"), r"\1 used: <number>\2"),
    # Which parts of a line Python underlines in a traceback depends on its version.
    (re.compile(r"^[ ~^]+\n", re.MULTILINE), ""),
    (re.compile(r"(?<=\S)  +"), "  "),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a document is tried out, in the place of the addresses and folders that it names."""

    folder: Path
    port: int
    gateway_port: int

    @property
    def home(self):
        """The home folder; documents say `/root`."""
        return self.folder / "home"

    @property
    def data(self):
        """The data folder; documents say `/var/lib/funclet`."""
        return self.folder / "data"

    def environment(self):
        """Return the variables that make a documented command use these places."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "TZ": "UTC",
            "FGS_PORT": str(self.port),
            "FGS_GATEWAY_PORT": str(self.gateway_port),
            "FGS_DATA_DIR": str(self.data),
        }

    def as_documented(self, text):
        """Return the text with the addresses and folders of the documents."""
        for here, there in (
            (str(self.data), "/var/lib/funclet"),
            (str(self.home), "/root"),
            (f"127.0.0.1:{self.port}", "127.0.0.1:7180"),
            (f"127.0.0.1:{self.gateway_port}", "127.0.0.1:7181"),
        ):
            text = text.replace(here, there)
        return text


def free_ports(count):
    """Return ports that nobody listens on; somebody may take them before you do."""
    listeners = [socket.socket() for _ in range(count)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def normalised(text):
    """Return the lines of an output, with a token for whatever changes from run to run."""
    for pattern, token in _VARIABLE:
        text = pattern.sub(token, text)
    return text.strip("\n").split("\n")


def differences(expected, actual):
    """Return the lines in which two outputs differ after normalisation; none when they agree."""
    compared = difflib.unified_diff(normalised(expected), normalised(actual), "documented", "real", lineterm="", n=1)
    return list(compared)


class Console:
    """One bash on a pseudo-terminal, so that commands print what a reader sees. Close it."""

    def __init__(self, places):
        places.home.mkdir(parents=True)
        work = places.folder / "work"
        work.mkdir()
        self._terminal, inside = pty.openpty()
        # Commands come through a pipe: an interactive bash would print prompts and echo them.
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=work, env=places.environment(), stdin=subprocess.PIPE, stdout=inside, stderr=inside,
            start_new_session=True,
        )  # fmt: skip
        os.close(inside)
        self._unread = ""

    def run(self, command, *, lines=0, within_s=60):
        """Return what a command prints.

        What runs in the background (`&`) prints on: that is read until it has so many lines after normalisation.
        """
        self._bash.stdin.write(f"{{\n{command}\n}} </dev/null\nprintf '\\n{_END}\\n'\n".encode())
        self._bash.stdin.flush()
        text = self._read(lambda found: f"{_END}\n" in found, within_s)
        before, _, after = text.partition(f"\n{_END}\n")
        text = before + after
        if command.endswith("&"):
            self._unread = text
            text = self._read(
                lambda found: not lines or (found.endswith("\n") and len(normalised(found)) >= lines), within_s
            )
        return text

    def _read(self, is_whole, within_s):
        text, self._unread = self._unread, ""
        deadline = time.monotonic() + within_s
        while not is_whole(text):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"the command did not end within {within_s} s; it printed:\n{text}"
            if select.select([self._terminal], [], [], min(left_s, 0.1))[0]:
                text += os.read(self._terminal, 65_536).decode("utf-8", "replace").replace("\r\n", "\n")
        return text

    def close(self):
        """End bash and everything that it has started, and wait for that."""
        self._bash.stdin.write(b"kill $(jobs -p) 2>/dev/null; wait; exec true\n")
        self._bash.stdin.close()
        try:
            self._bash.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(self._bash.pid, signal.SIGKILL)
            self._bash.wait()
        finally:
            os.close(self._terminal)
