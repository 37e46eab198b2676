"""Requests to HTTP servers outside that behave, and that do not."""

import asyncio
import socket
import threading

import pytest

from funclet.outside.guard import Guard, parse_networks
from funclet.outside.outgoing import MAX_ANSWER_BYTES, Outgoing, SendFailed

OUTGOING = Outgoing(Guard(parse_networks(["127.0.0.0/8"]), setting="target_networks"))


class Peer:
    """Takes one connection, reads one request, and sends what it is told; `hangs` keeps the connection open then."""

    def __init__(self, answer, *, hangs=False):
        self.request = b""
        self._done = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/path?a=1"
        self._thread = threading.Thread(target=self._serve, args=(answer, hangs))
        self._thread.start()

    def _serve(self, answer, hangs):
        connection, _ = self._listener.accept()
        with connection:
            while not self.request.endswith(b"\r\n\r\nbody"):
                self.request += connection.recv(4096)
            try:
                connection.sendall(answer)
            except OSError:
                return
            if hangs:
                self._done.wait(30)

    def close(self):
        self._done.set()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def new_peer():
    peers = []

    def make(answer, **options):
        peers.append(Peer(answer, **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


def send(url, *, within_s=5.0, outgoing=OUTGOING, **headers):
    return asyncio.run(outgoing.send("POST", url, headers=headers, body=b"body", within_s=within_s))


def test_a_request_is_whole_and_its_answer_is_returned(new_peer):
    peer = new_peer(b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nyes", hangs=True)

    sent = send(peer.url, Colour="red")

    assert (sent.status, sent.body) == (201, b"yes")
    lines = peer.request.decode().split("\r\n")
    assert lines[0] == "POST /path?a=1 HTTP/1.1"
    assert {f"Host: {peer.url.split('/')[2]}", "Connection: close", "Content-Length: 4", "Colour: red"} <= set(lines)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nye\r\n1\r\ns\r\n0\r\n\r\n", (200, b"yes")),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", (200, b"until the end")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", (302, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno", (500, b"no")),
    ],
    ids=["chunked", "until the end", "no content", "redirect", "interim"],
)
def test_every_form_of_answer_is_understood(new_peer, answer, expected):
    sent = send(new_peer(answer).url)

    assert (sent.status, sent.body) == expected


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "before the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "before the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", "before the answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER_BYTES + 1), "larger than"),
    ],
    ids=["nothing", "cut", "cut chunk", "ssh", "bad length", "too large"],
)
def test_what_is_no_whole_answer_is_a_failure(new_peer, answer, reason):
    with pytest.raises(SendFailed, match=reason) as failed:
        send(new_peer(answer).url)

    assert not failed.value.is_refused


def test_an_answer_that_does_not_come_is_waited_for_no_longer(new_peer):
    with pytest.raises(SendFailed, match=r"has not answered within 0\.2 seconds"):
        send(new_peer(b"HTTP/1.1 200", hangs=True).url, within_s=0.2)


def test_nobody_at_the_address_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SendFailed, match="cannot be reached"):
        send(f"http://127.0.0.1:{port}/")


def test_an_address_that_is_not_allowed_is_not_even_tried():
    guarded = Outgoing(Guard((), setting="target_networks"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with pytest.raises(SendFailed, match="target_networks") as failed:
            send(f"http://127.0.0.1:{listener.getsockname()[1]}/", outgoing=guarded)
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert failed.value.is_refused
