"""What no HTTP client would send, on the sockets of a real server: smuggling, endless heads, broken chunks, silence."""

import json
import time

import pytest

from tests.support.raw_http import RawConnection

HOST = b"Host: h\r\n"
POST = b"POST /v3/auth/tokens HTTP/1.1\r\n" + HOST
GET = b"GET /v3/regions HTTP/1.1\r\n" + HOST + b"\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\n" + HOST + b"\r\n"

# Two readers could see different requests in these: a proxy before us one, we two.
SMUGGLED = {
    "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + HIDDEN,
    "list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n" + HIDDEN,
    "signed length": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "empty length": POST + b"Content-Length: \r\n\r\n" + HIDDEN,
    "length with blank": POST + b"Content-Length: 1 0\r\n\r\n" + HIDDEN,
    "blank before colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "unknown encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "encoding with vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + HIDDEN,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked, then something": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "bare line feed in header": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "bare carriage return": b"GET / HTTP/1.1\r\nHost: h\rTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "nul in name": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length\x00: 5\r\n\r\n" + HIDDEN,
    "chunk size with sign": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + HIDDEN,
    "chunk size with prefix": POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + HIDDEN,
    "chunk size too large": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n\r\n" + HIDDEN,
    "chunk without size": POST + b"Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n" + HIDDEN,
    "chunk longer than its size": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + HIDDEN,
    "chunk ended by line feeds": POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" + HIDDEN,
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + HIDDEN,
    "no host": b"GET / HTTP/1.1\r\n\r\n" + HIDDEN,
    "request line of three words": b"GET / extra HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "http/0.9": b"GET /\r\n\r\n" + HIDDEN,
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/9": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n" + HIDDEN,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "tunnel": b"CONNECT example.test:443 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "noise": bytes(range(256)) * 8,
}
OVERSIZED = {
    "line": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "line without end": (b"GET /" + b"a" * 2_000_000, 414),
    "header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "header without end": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 2_000_000, 431),
    "headers": (b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X%d: 1\r\n" % n for n in range(300)) + b"\r\n", 431),
    "login": (POST + b"Content-Length: 99999999999\r\n\r\n{}", 413),
}


@pytest.fixture(autouse=True)
def log_is_clean(server):
    """Whatever is sent, nothing of ours breaks."""
    before = len(server.log())
    yield
    assert "Traceback" not in server.log()[before:]


@pytest.fixture(params=["api", "gateway"])
def url(request, server):
    """Both listeners of the server, one after the other."""
    return server.api_url if request.param == "api" else server.gateway_url


@pytest.fixture
def connect():
    """Open connections that are closed at the end."""
    opened = []

    def connection(url):
        opened.append(RawConnection(url, timeout_s=10))
        return opened[-1]

    yield connection
    for one in opened:
        one.close()


def error_of(answer):
    """Return status and code of an answer that must be a whole refusal."""
    error = json.loads(answer.body)
    assert error["error_msg"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return answer.status, error["error_code"]


@pytest.mark.proves("error:APIG.0201")
@pytest.mark.parametrize("name", SMUGGLED)
def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(url, connect, name):
    connection = connect(url)

    connection.send(SMUGGLED[name])
    connection.end()
    answers = connection.answers()

    assert [error_of(answer) for answer in answers] == [(400, "APIG.0201")]
    assert answers[0].headers["connection"] == "close"


@pytest.mark.parametrize("name", OVERSIZED)
def test_what_is_too_large_is_refused_before_it_is_whole(server, connect, name):
    request, status = OVERSIZED[name]
    connection = connect(server.api_url)

    connection.send(request)
    answer = connection.answer()

    assert error_of(answer)[0] == status
    assert answer.headers["connection"] == "close"


@pytest.mark.proves("error:FSS.0413")
def test_chunks_that_become_too_many_are_refused(server, connect):
    connection = connect(server.api_url)
    chunk = b"fff\r\n" + b"a" * 0xFFF + b"\r\n"

    connection.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20)
    answer = connection.answer()

    assert error_of(answer) == (413, "FSS.0413")


def test_pipelined_requests_are_answered_in_order(server, connect):
    connection = connect(server.api_url)
    paths = [b"/v3/nothing%d" % number for number in range(50)]

    connection.send(b"".join(b"GET %s HTTP/1.1\r\n%s\r\n" % (path, HOST) for path in paths))
    connection.end()
    answers = connection.answers()

    assert len(answers) == len(paths)
    for path, answer in zip(paths, answers, strict=True):
        assert path.decode() in json.loads(answer.body)["error"]["message"]


def test_a_body_that_looks_like_a_request_is_a_body(server, connect):
    connection = connect(server.api_url)

    connection.send(
        b"GET /v2/p/fgs/functions HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
    )
    connection.end()

    assert [answer.status for answer in connection.answers()] == [401]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "PROPFIND"])
def test_a_method_without_a_meaning_here_is_refused_and_not_echoed(server, connect, method):
    connection = connect(server.api_url)
    head = f"{method} {server.path('/functions')} HTTP/1.1\r\nHost: h\r\nX-Secret: mirror-mirror\r\n\r\n"

    connection.send(head.encode())
    answer = connection.answer(has_body=method != "HEAD")

    assert answer.status == 405
    assert b"mirror" not in answer.body
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert connection.ask(GET).status == 401


@pytest.mark.parametrize(
    "beginning",
    [b"", b"G", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\nX:", POST + b"Content-Length: 100\r\n\r\n{"],
    ids=["nothing", "a letter", "a line", "a header", "a body"],
)
def test_clients_that_fall_silent_hold_up_nobody(server, connect, beginning):
    silent = [connect(server.api_url) for _ in range(40)]
    for connection in silent:
        connection.send(beginning)

    began = time.monotonic()
    answer = connect(server.api_url).ask(GET)

    assert answer.status == 401
    assert time.monotonic() - began < 3


def test_a_request_that_arrives_byte_by_byte_is_answered(server, connect):
    connection = connect(server.api_url)

    for byte in GET:
        connection.send(bytes([byte]))

    assert connection.answer().status == 401
