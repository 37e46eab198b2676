"""The reader of plain requests against the full parser: it takes only what that one reads in the same way."""

import httptools
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from funclet.base._http import read_request
from funclet.base.http1 import split_target

GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"


class Full:
    """What the full parser makes of some bytes."""

    def __init__(self, data):
        self.requests = []
        self._parser = httptools.HttpRequestParser(self)
        self.error = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.error = error

    def on_message_begin(self):
        """Begin."""
        self._url, self._headers, self._body = b"", [], b""

    def on_url(self, url):
        """Collect."""
        self._url += url

    def on_header(self, name, value):
        """Collect."""
        self._headers.append((name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")))

    def on_body(self, part):
        """Collect."""
        self._body += part

    def on_message_complete(self):
        """Keep."""
        assert len(dict(self._headers)) == len(self._headers)
        assert self._parser.get_http_version() == "1.1"
        assert self._parser.should_keep_alive()
        path, query = split_target(self._url)
        method = self._parser.get_method().decode()
        self.requests.append((method, path, query, dict(self._headers), self._body))


def agrees(data, start=0):
    """Check one reading against the full parser; return it."""
    plain = read_request(data, start)
    if plain is not None:
        *request, end = plain
        full = Full(data[start:end])
        assert full.error is None
        assert full.requests == [tuple(request)]
        # Not a byte of it belongs to the next one: one less, and it is not whole.
        assert Full(data[start : end - 1]).requests == []
    return plain


TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12)
NAMES = TOKEN | st.sampled_from(
    ["Host", "Content-Length", "Connection", "User-Agent", "Transfer-Encoding", "Expect", "Upgrade", "Cookie", "hOST"]
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20) | st.sampled_from(
    ["keep-alive", "close", "Keep-Alive, x", "chunked", "100-continue", "0", "1", "005", "65536", "\t a \t"]
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "FOO", "get", "PRI", "CONNECT"])
TARGETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map("/".__add__)
BLANKS = st.sampled_from(["", " ", "\t", "  \t "])


@st.composite
def requests(draw):
    """Requests that are nearly always valid."""
    headers = [("Host", "h"), *draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))]
    body = draw(st.binary(max_size=40))
    if draw(st.booleans()):
        headers.append(("Content-Length", str(len(body))))
    else:
        body = b""
    lines = [f"{draw(METHODS)} {draw(TARGETS)} HTTP/1.1"]
    lines += [f"{name}:{draw(BLANKS)}{value}{draw(BLANKS)}" for name, value in draw(st.permutations(headers))]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


@st.composite
def mangled(draw):
    """Requests with something wrong in them."""
    data = bytearray(draw(requests()))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data) - 1))
        pieces = [b"\r", b"\n", b"\r\n", b" ", b"\0", b":", b"\t", b"\xe9"]
        piece = draw(st.binary(max_size=2) | st.sampled_from(pieces))
        data[place : place + draw(st.integers(0, 2))] = piece
        if not data:
            data += b"\n"
    return bytes(data)


MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(requests())
@example(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 003\r\n\r\nabc")
@example(b"GET //a://b/?? HTTP/1.1\r\nhost:\r\n\r\n")
def test_what_is_taken_is_read_as_by_the_full_parser(data):
    agrees(data)


@MANY
@given(mangled())
@example(GET.replace(b"h\r\n", b"h\r\n\r\n"))
@example(GET.replace(b"\r\nH", b"\nH"))
def test_what_the_full_parser_refuses_is_never_taken(data):
    agrees(data)


@MANY
@given(st.lists(requests() | mangled(), min_size=2, max_size=4))
def test_requests_behind_each_other_are_read_one_by_one(parts):
    data, start = b"".join(parts), 0
    taken = []
    while plain := agrees(data, start):
        taken.append(tuple(plain[:-1]))
        start = plain[-1]

    assert Full(data[:start]).requests == taken


@settings(max_examples=50, deadline=None)
@given(requests())
def test_what_is_not_whole_is_never_taken(data):
    if agrees(data) is None:
        return
    for cut in range(len(data)):
        assert read_request(data[:cut], 0) is None


def head(*lines):
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: h", *lines, b"", b""))


LARGE = b"Content-Length: 65536"
TAKEN = {
    "the plainest": GET,
    "body of the largest size": head(LARGE) + b"x" * 65536,
    "target of the largest size": b"GET /" + b"a" * 8191 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "as many headers as may be": head(*(b"A%d: b" % number for number in range(63))),
    "name of the largest size": head(b"a" * 64 + b": b"),
    "head of the largest size": head(b"A: " + b"b" * (16384 - len(head(b"A: ")))),
    "blanks around values": head(b"A: \t b c \t "),
    "empty value": head(b"A:"),
    "keep-alive in any case": head(b"connection: Keep-ALIVE"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_plain_requests_are_taken(name):
    assert agrees(TAKEN[name]) is not None


DECLINED = {
    "nothing": b"",
    "another version": GET.replace(b"1.1", b"1.0"),
    "an unknown method": GET.replace(b"GET", b"LINK"),
    "a method in lower case": GET.replace(b"GET", b"get"),
    "a whole url": GET.replace(b"/a", b"http://h/a"),
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    "a fragment": GET.replace(b"b=c", b"b#c"),
    "two blanks": GET.replace(b" /", b"  /"),
    "a blank in the target": GET.replace(b"b=c", b"b =c"),
    "bytes beyond ascii in the target": GET.replace(b"b=c", b"b=\xc3\xa9"),
    "bytes beyond ascii in a value": head("A: é".encode()),
    "nul in the target": GET.replace(b"b=c", b"b=\0"),
    "nul in a value": head(b"A: \0"),
    "nul in a name": head(b"A\0: b"),
    "delete in a value": head(b"A: \x7f"),
    "a bare line feed": GET.replace(b"\r\n", b"\n"),
    "a bare carriage return": head(b"A: b\rC: d"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": head(b"host: i"),
    "a header twice": head(b"A: 1", b"a: 2"),
    "two lengths": head(b"Content-Length: 0", b"Content-Length: 0"),
    "a folded header": head(b"A: 1", b" 2"),
    "a header that begins with a blank": head(b" A: 1"),
    "a blank before the colon": head(b"A : 1"),
    "a name that is no token": head(b"A(: 1"),
    "no name": head(b": 1"),
    "no colon": head(b"A"),
    "chunks": head(b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a client that waits": head(b"Expect: 100-continue"),
    "another protocol": head(b"Connection: Upgrade", b"Upgrade: h2c"),
    "upgrade alone": head(b"Upgrade: h2c"),
    "the end": head(b"Connection: close"),
    "two wishes": head(b"Connection: keep-alive, close"),
    "an old wish": head(b"Proxy-Connection: keep-alive"),
    "an empty length": head(b"Content-Length:"),
    "a negative length": head(b"Content-Length: -1"),
    "a length with a sign": head(b"Content-Length: +1") + b"a",
    "a length in hexadecimal": head(b"Content-Length: 0x1") + b"a",
    "lengths in one line": head(b"Content-Length: 1, 1") + b"a",
    "a long length": head(b"Content-Length: 0000001") + b"a",
    "a body that is too large": head(b"Content-Length: 65537") + b"x" * 65537,
    "a body that is not there": head(b"Content-Length: 2") + b"a",
    "a target that is too long": b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "too many headers": head(*(b"A%d: b" % number for number in range(64))),
    "a name that is too long": head(b"a" * 65 + b": b"),
    "a head that is too large": head(b"A: " + b"b" * (16385 - len(head(b"A: ")))),
}


@pytest.mark.parametrize("name", DECLINED)
def test_what_is_not_plain_is_left_to_the_full_parser(name):
    assert read_request(DECLINED[name], 0) is None


@pytest.mark.parametrize("start", [-1, -(2**40), len(GET), len(GET) + 1, 2**40])
def test_a_start_outside_of_the_data_is_declined(start):
    assert read_request(GET, start) is None
