"""The frames of `../CONTRACT.md` over a blocking descriptor: one read and one write per request where possible."""

import os
import select

READY, LOAD, INIT, INVOKE, DONE, PRESTOP, SPECIALISE = 1, 2, 3, 4, 5, 6, 7
HEADER_BYTES = 32
MAX_FRAME_BYTES = 8 * 1024 * 1024
_LENGTH_BYTES = 4
# Larger buffers cross the threshold from which malloc maps fresh pages for every read.
_BUFFER_BYTES = 65536
_NO_REQUEST = bytes(16)
# meta_length of a frame from the runtime.
_NO_META = bytes(4)


class BrokenPeerError(Exception):
    """The other end sent what is no frame of ours; the connection cannot go on."""


class Connection:
    """Reads requests and writes answers. For one thread at a time; does not own the descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(buffer)
        self._targets = [buffer]
        self._start = self._end = 0

    def read(self) -> "tuple[int, bytes, int, memoryview, memoryview] | None":
        """Return (type, request id, timeout_ms, meta, body) of the next frame, or None at end-of-file.

        Meta and body are memory views that hold until the next read.

        Raises:
            BrokenPeerError: not a frame.
        """
        view, start = self._view, self._start
        if start < self._end:
            # To the front, where the rest of it has room.
            got = self._end - start
            view[:got] = bytes(view[start : self._end])
        else:
            # A reader that sleeps in the read itself would also be woken whenever the other end takes an answer.
            self._poll.poll()
            got = os.readv(self._fd, self._targets)
        if got < HEADER_BYTES:
            got = self._fill(view, got, HEADER_BYTES)
            if not got:
                return None
        total = int.from_bytes(view[:4], "big") + _LENGTH_BYTES
        meta_end = HEADER_BYTES + int.from_bytes(view[28:32], "big")
        if not meta_end <= total <= MAX_FRAME_BYTES:
            raise BrokenPeerError(f"frame of {total} bytes, meta up to {meta_end}, read {got}")
        self._start, self._end = total, got
        if got < total:
            self._start = self._end = 0
            if total > _BUFFER_BYTES:
                view = memoryview(bytearray(total))
                view[:got] = self._view[:got]
            if not self._fill(view, got, total):
                return None
        return view[4], bytes(view[8:24]), int.from_bytes(view[24:28], "big"), view[32:meta_end], view[meta_end:total]

    def peek(self) -> int:
        """Return the type of a frame that has been read, at least in part, but not been asked for; 0 if there is none.

        Waits for the rest of its header.
        """
        got = self._end - self._start
        if not got:
            return 0
        view = self._view
        view[:got] = bytes(view[self._start : self._end])
        if got < HEADER_BYTES:
            got = self._fill(view, got, HEADER_BYTES)
        self._start, self._end = 0, got
        return view[4] if got else 0

    def write(
        self,
        kind: int,
        request_id: bytes = _NO_REQUEST,
        code: int = 0,
        flags: int = 0,
        body: bytes = b"",
        printed: int = 0,
    ) -> None:
        """Write one frame; `printed` are the bytes that the request has printed. Waits until the other end reads."""
        length = HEADER_BYTES - _LENGTH_BYTES + len(body)
        head = b"%b%c%c%b%b%b%b" % (
            length.to_bytes(4, "big"),
            kind,
            flags,
            code.to_bytes(2, "big"),
            request_id,
            printed.to_bytes(4, "big"),
            _NO_META,
        )
        frame = head + body
        sent = os.write(self._fd, frame)
        while sent < len(frame):
            sent += os.write(self._fd, memoryview(frame)[sent:])

    def _fill(self, view: memoryview, got: int, wanted: int) -> int:
        """Read until `wanted` bytes are there; 0 at end-of-file."""
        while got and got < wanted:
            count = os.readv(self._fd, [view[got:wanted]])
            got = got + count if count else 0
        return got
