"""The load generator that knows every answer by itself, against a server that answers as it is told."""

import itertools
import socket
import threading
from contextlib import closing

import pytest

from benchmarks.crowd import Crowd
from tests.support.waiting import eventually


class Script:
    """A listener that answers each request with what `answer` returns for its number, in small pieces, or ends."""

    def __init__(self, answer):
        self.answer = answer
        self.numbers = itertools.count(1)
        self.open = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.open += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            while connection.recv(1000):
                answer = self.answer(next(self.numbers))
                if answer is None:
                    break
                for at in range(0, len(answer), 7):
                    connection.sendall(answer[at : at + 7])
        self.open -= 1

    def close(self):
        self._listener.close()


def reply(status, body=b"", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


@pytest.fixture
def script():
    """Make listeners; they are closed at the end."""
    made = []

    def make(answer):
        made.append(Script(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_each_connection_sends_one_request_and_knows_its_answer(script):
    server = script(lambda number: reply(200 if number % 2 else 503, b"x" * 100, X_Funclet_Start="cold"))

    with closing(Crowd(server.url, 10)) as crowd:
        seen = crowd.run(iter([b"request"] * 10))

    assert sorted(one.status for one in seen) == [200] * 5 + [503] * 5
    assert {(one.start, one.request) for one in seen} == {("cold", b"request")}
    assert all(one.took_ms > 0 for one in seen)


def test_fewer_requests_than_connections_are_sent_once_each(script):
    server = script(lambda _: reply(200))

    with closing(Crowd(server.url, 5)) as crowd:
        assert len(crowd.run(iter([b"request"] * 2))) == 2


def test_a_closed_loop_ends_with_the_last_answers(script):
    server = script(lambda _: reply(200))

    with closing(Crowd(server.url, 2)) as crowd:
        seen = crowd.run(itertools.repeat(b"request"), send_s=0.2)

    assert len(seen) > 2
    assert next(server.numbers) == len(seen) + 1


def test_a_connection_that_breaks_is_not_an_answer(script):
    server = script(lambda _: None)

    with closing(Crowd(server.url, 1)) as crowd, pytest.raises(ConnectionError):
        crowd.run(iter([b"request"]))


def test_an_answer_that_does_not_come_is_named(script):
    server = script(lambda _: b"HTTP/1.1 200 X\r\n")

    with closing(Crowd(server.url, 1)) as crowd, pytest.raises(TimeoutError, match="1 of 1"):
        crowd.run(iter([b"request"]), answer_s=0.1)


def test_closing_ends_all_connections(script):
    server = script(lambda _: reply(200))
    crowd = Crowd(server.url, 3)
    eventually(lambda: server.open == 3)

    crowd.close()

    eventually(lambda: server.open == 0, because="the listener sees them end")
