"""A worker of the reference: reads JSON from a socket, answers JSON. `answer` is the work that every peer does."""

import json
import socket
import struct
import sys

_LENGTH = struct.Struct("!I")


def answer(body: bytes) -> bytes:
    """Return the answer to one request."""
    event = json.loads(body)
    return json.dumps({"greeting": f"hello, {event['name']}", "items": len(event["items"])}).encode()


def main() -> None:
    """Serve one connection until its other end is closed."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    buffer = b""
    # More at once would cross the threshold from which malloc maps fresh pages for every read.
    while data := connection.recv(65536):
        buffer = buffer + data if buffer else data
        while len(buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                break
            reply = answer(buffer[_LENGTH.size : end])
            buffer = buffer[end:]
            connection.sendall(_LENGTH.pack(len(reply)) + reply)


if __name__ == "__main__":
    main()
