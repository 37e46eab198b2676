"""A warmed process whose forks become stems (`../CONTRACT.md`, Zygotes). Start with `serve`.

It runs as root, so it runs no code but this folder's and the language's own, and knows nothing of any function: what
it once held in memory, every fork can read.
"""

import array
import json
import os
import sys
from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812 - the class of the C module, which is all that is needed
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location

from _funclet import log, stem

# Not from typing, so that these lines are the same in all files; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HELPER = "/tmp/native.so"  # noqa: S108 - on a root that nobody can write to, and covered in every fork
FIRST_DESCRIPTOR = 100
_SOCKET_FD = 3
_MAX_REQUEST_BYTES = 65536
_MAX_DESCRIPTORS = 32


class Birth:
    """What a fork knows of itself from the beginning."""

    def __init__(self, ahead: "frozenset[str]", rehearsals: int, environment: "bytes | None") -> None:
        self.ahead = ahead
        """Modules loaded ahead."""
        self.rehearsals = rehearsals
        self.environment = environment
        """The JSON text of the environment of the function to load before anybody asks for it; None: of no function."""


def serve(records: log.Log) -> Birth:
    """Warm up, then fork whenever the other end of descriptor 3 asks for it; returns in the forks only.

    Ends the process with the connection. What is needed of privileges is done by the helper before it returns.
    """
    at_start = frozenset(sys.modules)
    helper = _load_helper()
    stem.warm(records)
    ahead = frozenset(name.partition(".")[0] for name in sys.modules) - at_start
    control = Socket(fileno=_SOCKET_FD)
    control.send(b"ready")
    while True:
        packet, rights, _, _ = control.recvmsg(_MAX_REQUEST_BYTES, CMSG_SPACE(_MAX_DESCRIPTORS * 4))
        if not packet:
            os._exit(0)
        request = json.loads(packet)
        last = _take_descriptors(rights)
        rows = [(op, a, b, c, s.encode("latin-1"), t.encode("latin-1")) for op, a, b, c, s, t in request["steps"]]
        try:
            pid = helper.fork(rows, request["flags"], request["cgroup"], request["report"])
        except OSError as error:
            answer: dict[str, object] = {"error": str(error)}
        else:
            if pid == 0:
                control.detach()
                environment = _read_environment() if request["loaded"] else None
                stem.settle_fork(records)
                return Birth(ahead, request["rehearsals"], environment)
            answer = {"pid": pid}
        os.closerange(FIRST_DESCRIPTOR, last)
        control.send(json.dumps(answer).encode())


def unread_bytes(fd: int) -> int:
    """Return how much somebody has written to a pipe and nobody has read."""
    import fcntl
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def _load_helper() -> "Any":
    loader = ExtensionFileLoader("_native", HELPER)
    spec = spec_from_file_location("_native", HELPER, loader=loader)
    helper: Any = module_from_spec(spec)  # type: ignore[arg-type] # given a loader, there is a spec
    loader.exec_module(helper)
    return helper


def _take_descriptors(rights: "list[tuple[int, int, bytes]]") -> int:
    """Give the descriptors that came the numbers that the steps know them by; return the number after the last."""
    target = FIRST_DESCRIPTOR
    for level, kind, data in rights:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            descriptors = array.array("i")
            descriptors.frombytes(data)
            for fd in descriptors:
                os.dup2(fd, target, False)
                os.close(fd)
                target += 1
    return target


def _read_environment() -> bytes:
    """Return what standard input holds, and put the usual nothing in its place."""
    parts = []
    while True:
        part = os.read(0, _MAX_REQUEST_BYTES)
        if not part:
            break
        parts.append(part)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    return b"".join(parts)
