"""What an instance prints, collected for the request that is running.

The runtime flushes before it answers, so when an answer is there, everything
the request printed is in the pipe: `take` reads the pipe dry.
"""

import array
import asyncio
import fcntl
import os
import termios

_READ_BYTES = 64 * 1024
_MAX_READS_AT_ONCE = 32
MAX_RECORD_BYTES = 1024 * 1024
_CUT_MARK = b"\n[... output of this request is cut here ...]\n"


class OutputReader:
    """Reads the log pipe of one instance for as long as it lives. Owns the descriptor."""

    def __init__(self, log_fd: int) -> None:
        self._fd = log_fd
        self._head = bytearray()
        self._tail = bytearray()
        self._amount = array.array("i", [0])
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(log_fd, self._readable)

    def take(self, amount: int | None = None) -> bytes:
        """Return what was printed since the last call, at most about `MAX_RECORD_BYTES`: its beginning and its end.

        With `amount` only so many bytes of it; the rest belongs to the next request, which has begun already.
        """
        if amount == 0 or (not self._head and not self._is_filled()):
            return b""
        for _ in range(_MAX_READS_AT_ONCE):
            if not self._readable():
                break
        text = bytes(self._head[:amount])
        if amount is not None and len(self._head) > amount:
            del self._head[:amount]
            # It began to be the next request's before it was too long.
            self._head += self._tail
            self._tail.clear()
            return text
        if self._tail:
            text += (_CUT_MARK if len(self._tail) >= MAX_RECORD_BYTES // 2 else b"") + bytes(self._tail)
        self._head.clear()
        self._tail.clear()
        return text

    def close(self) -> None:
        """Stop reading and close the pipe. Safe to call twice."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _is_filled(self) -> bool:
        """Tell whether something waits in the pipe: cheaper than a read that finds nothing."""
        if self._fd < 0:
            return False
        fcntl.ioctl(self._fd, termios.FIONREAD, self._amount, True)
        return self._amount[0] > 0

    def _readable(self) -> bool:
        """Read once; False when there was nothing."""
        if self._fd < 0:
            return False
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            # End of file: every writer is gone. Without this, the loop would report the pipe readable for ever.
            self._loop.remove_reader(self._fd)
            return False
        self._keep(data)
        return True

    def _keep(self, data: bytes) -> None:
        half = MAX_RECORD_BYTES // 2
        room = half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * half:
            del self._tail[: len(self._tail) - half]
