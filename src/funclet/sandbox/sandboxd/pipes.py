"""What connects an instance with the server and with sandboxd. Start with `Pipes.make`."""

import fcntl
import os
import socket
from dataclasses import dataclass

from funclet.sandbox.sandboxd import plan

_LOWEST_FREE_FD = 16
_SOCKET_BUFFER_BYTES = 1024 * 1024


@dataclass(slots=True)
class Pipes:
    """Both sides of what connects an instance."""

    ends: plan.Ends
    connection: int
    log: int
    status: int

    @classmethod
    def make(cls, environment: bytes = b"") -> "Pipes":
        """Return new ones; a child that is to load a function ahead reads its environment where null would be."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
        ours.setblocking(False)
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(log_read, False)
        status_read, status_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(status_read, False)
        null = _memory_file(environment) if environment else os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        child = [out_of_the_way(fd) for fd in (theirs.detach(), log_write, status_write, null)]
        ends = plan.Ends(connection=child[0], log=child[1], status=child[2], null=child[3])
        return cls(ends, ours.detach(), log_read, status_read)

    def close_ends(self) -> None:
        """Close what is the child's."""
        for fd in (self.ends.connection, self.ends.log, self.ends.status, self.ends.null):
            os.close(fd)

    def close_ours(self) -> None:
        """Close what is ours."""
        for fd in (self.connection, self.log, self.status):
            os.close(fd)


def out_of_the_way(fd: int) -> int:
    """Return `fd` as a number that the child's 0 to 3 do not overwrite."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FREE_FD)
    os.close(fd)
    return moved


def _memory_file(content: bytes) -> int:
    """Return a descriptor from which `content` can be read."""
    fd = os.memfd_create("environment", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
