"""What two processes of one server say to each other, as bytes on a unix stream socket.

A frame is a length (4 bytes), a kind (1 byte), a number (8 bytes) and a body in MessagePack. The number of a
request comes back with its reply; 0 means that no reply is due.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum, unique

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""Above the largest body that the API takes."""

_HEAD = struct.Struct("<IBQ")
_COUNTED = _HEAD.size - 4


@unique
class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    """First on every connection: who calls, and of which start of the server. Answered when it is taken."""
    REPLY = 2
    FAULT = 3
    """Instead of a reply: the other process failed; the body is a text."""
    VERSION = 4
    """A function version with a number, so that invocations need not repeat it."""
    INVOKE = 5
    BYE = 6
    """The caller will send no invocation any more."""
    HINT = 7
    """Something has changed; answered when what was remembered of it is forgotten."""
    REQUEST = 8
    """An HTTP request of the API; answered with the response."""
    SUBMIT = 9
    """An asynchronous request; answered when it is durable."""
    LOGS = 10
    FLUSH = 11
    """Send all log records; answered when they were sent."""
    PREPARE = 12
    """A timer will fire: the version and the seconds until then."""
    METRICS = 13
    """Answered with all counters and gauges of the process."""
    CANCEL = 14
    """End what runs a request; answered with whether there was something."""
    USAGE = 16
    """What the statistics need beside the log records; not answered."""
    INSTANCES = 17
    """Answered with the instances of a function."""
    END_INSTANCE = 19
    """End a reserved instance; answered with whether there was one."""
    TRACES = 18
    """Entries of the audit log."""


class BadFrame(Exception):
    """Bytes that no process of ours sends."""


def pack(kind: Kind, number: int, body: bytes) -> bytes:
    """Return a frame."""
    return _HEAD.pack(len(body) + _COUNTED, kind, number) + body


class FrameReader:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """Take bytes, yield the kind, number and body of each frame that is whole.

        Raises:
            BadFrame: a kind is unknown or a frame too long; nothing that follows can be read.
        """
        rest = self._rest
        rest += data
        at = 0
        while len(rest) - at >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(rest, at)
            if not _COUNTED <= length <= MAX_FRAME_BYTES:
                raise BadFrame(f"a frame of {length} bytes")
            end = at + 4 + length
            if len(rest) < end:
                break
            try:
                known = Kind(kind)
            except ValueError as error:
                raise BadFrame(f"kind {kind}") from error
            yield known, number, bytes(memoryview(rest)[at + _HEAD.size : end])
            at = end
        del rest[:at]
