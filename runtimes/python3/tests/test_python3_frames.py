"""Frames over a socket pair, whole and in pieces."""
# ruff: noqa: ANN001, ANN201, D103 - as in the other tests: names and fixtures say it

import socket
import struct
import threading

import pytest
from _funclet import frames

REQUEST_ID = bytes(range(16))


@pytest.fixture
def peer():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, frames.Connection(theirs.fileno())


def packed(meta=b"", body=b"", length=None):
    length = 28 + len(meta) + len(body) if length is None else length
    return struct.pack(">IBBH16sII", length, frames.INVOKE, 0, 0, REQUEST_ID, 2500, len(meta)) + meta + body


def plain(frame):
    return tuple(bytes(part) if isinstance(part, memoryview) else part for part in frame)


@pytest.mark.parametrize("size", [0, 1, 65504, 65505, 200000])
def test_a_frame_of_any_size_is_read(peer, size):
    ours, connection = peer
    threading.Thread(target=ours.sendall, args=(packed(b'{"a":1}', b"x" * size),)).start()

    assert plain(connection.read()) == (frames.INVOKE, REQUEST_ID, 2500, b'{"a":1}', b"x" * size)


@pytest.mark.parametrize("cut", [1, 20, 32, 34, 35, 60])
def test_frames_that_come_together_are_read_one_after_the_other(peer, cut):
    ours, connection = peer
    first, second = packed(b"", b"[1]"), packed(b"{}", b"x" * 70000)
    ours.sendall((first + second)[: len(first) + cut])
    threading.Thread(target=ours.sendall, args=(second[cut:] + first,)).start()

    assert plain(connection.read())[4] == b"[1]"
    assert plain(connection.read())[3:] == (b"{}", b"x" * 70000)
    assert plain(connection.read())[4] == b"[1]"


@pytest.mark.parametrize("cut", [1, 4, 31, 32, 33])
def test_a_frame_in_two_pieces_is_read(peer, cut):
    ours, connection = peer
    data = packed(b"{}", b"[1]")
    ours.sendall(data[:cut])
    threading.Thread(target=ours.sendall, args=(data[cut:],)).start()

    assert plain(connection.read()) == (frames.INVOKE, REQUEST_ID, 2500, b"{}", b"[1]")


@pytest.mark.parametrize("sent", [b"", b"\0\0", packed()[:-1], packed(body=b"ab")[:-1]], ids=len)
def test_end_of_file_is_none_even_in_a_frame(peer, sent):
    ours, connection = peer
    ours.sendall(sent)
    ours.shutdown(socket.SHUT_WR)

    assert connection.read() is None


@pytest.mark.parametrize(
    "data",
    [
        packed(length=27),
        packed(length=8 * 1024 * 1024),
        packed(length=2**32 - 1),
        packed(b"abc", length=30),
    ],
)
def test_what_is_no_frame_is_refused(peer, data):
    ours, connection = peer
    ours.sendall(data)

    with pytest.raises(frames.BrokenPeerError):
        connection.read()


def test_an_answer_has_the_fixed_part_and_the_body(peer):
    ours, connection = peer

    connection.write(frames.DONE, REQUEST_ID, 4002, 1, b"{}", 7)

    assert ours.recv(100) == struct.pack(">IBBH16sII", 30, frames.DONE, 1, 4002, REQUEST_ID, 7, 0) + b"{}"
