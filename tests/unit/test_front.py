"""The listener on real sockets: what is read, in which order it is answered, and every limit."""

import asyncio
import inspect
import json
import logging
import socket
import struct

import pytest
import uvloop

from funclet.base.http import Response
from funclet.front import Front, FrontLimits
from funclet.testing.fakes import FakeClock

GET = b"GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\n\r\n"
BIG = 6_291_456


async def describe(request):
    body = request.body if len(request.body) < 100 else str(len(request.body)).encode()
    seen = [request.method, request.raw_path, request.raw_query, body.decode("latin-1"), dict(request.headers)]
    return Response(status=200, body=json.dumps(seen).encode())


def body_limit(method, path):
    return (BIG, "FSS.1201") if path.endswith("/invocations") else (70_000, "FSS.0413")


class Lab:
    """A listener on a stopped clock, and its clients."""

    def __init__(self, *, is_prompt=False):
        self.clock = FakeClock()
        self._is_prompt = is_prompt
        self.front = None
        self._writers = []

    async def start(self, handler=describe, **limits):
        """Listen."""
        self.front = Front(
            handler,
            body_limit=body_limit,
            clock=self.clock,
            limits=FrontLimits(**limits),
            is_prompt=lambda _: self._is_prompt,
        )
        await self.front.listen("127.0.0.1", 0)

    async def connect(self, *parts):
        """Open a connection and send something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.front.port)
        self._writers.append(writer)
        for part in parts:
            writer.write(part)
        return reader, writer

    async def answers(self, *parts, count=1, end=False):
        """Send and return the answers; with `end`, fail unless the server then closes."""
        reader, _ = await self.connect(*parts)
        found = [await read_answer(reader) for _ in range(count)]
        if end:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        return found

    async def stop(self):
        """Close everything."""
        for writer in self._writers:
            writer.close()
        if self.front:
            await self.front.close()


async def read_answer(reader, *, is_head=False):
    """Return status, headers in lower case and body of one answer."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    length = 0 if is_head else int(headers.get("content-length", 0))
    return int(head[0].split()[1]), headers, await asyncio.wait_for(reader.readexactly(length), 5)


VARIANTS = {
    "as the server": {"new_loop": uvloop.new_event_loop, "is_prompt": True, "is_compiled": True},
    "tasks on the plain loop": {"new_loop": asyncio.new_event_loop, "is_prompt": False, "is_compiled": True},
    "without a compiler": {"new_loop": uvloop.new_event_loop, "is_prompt": True, "is_compiled": False},
}


def in_lab(test):
    """Run a test in labs of its own, one for each variant."""

    async def work(is_prompt, **arguments):
        lab = Lab(is_prompt=is_prompt)
        try:
            await test(lab, **arguments)
        finally:
            await lab.stop()

    def run(variant, **arguments):
        choice = VARIANTS[variant]
        with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=choice["new_loop"]) as runner:
            if not choice["is_compiled"]:
                patch.setattr("funclet.front.connection.read_request", lambda data, start: None)
            runner.run(work(choice["is_prompt"], **arguments))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    # pytest takes fixtures and parameters from the signature; the lab is neither.
    others = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(test).parameters.values() if p.name != "lab"]
    run.__signature__ = inspect.Signature([inspect.Parameter("variant", inspect.Parameter.KEYWORD_ONLY), *others])
    return pytest.mark.parametrize("variant", VARIANTS)(run)


async def eventually(condition):
    """Wait until a condition holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def error_code(answer):
    return answer[0], json.loads(answer[2])["error_code"]


@in_lab
async def test_a_request_arrives_as_it_was_sent(lab):
    await lab.start()

    [(status, headers, body)] = await lab.answers(
        b"POST /a%20b/?c=%20&d HTTP/1.1\r\nHOST: h:1\r\nX-A: 1\r\nx-a:  2 \r\nContent-Length: 3\r\n\r\nxyz"
    )

    assert status == 200
    assert json.loads(body) == [
        "POST",
        "/a%20b/",
        "c=%20&d",
        "xyz",
        {"host": "h:1", "x-a": "1, 2", "content-length": "3"},
    ]
    assert len(headers["x-request-id"]) == 36
    assert headers["date"] == "tue, 14 nov 2023 22:13:20 gmt"


@in_lab
async def test_the_target_may_be_a_whole_url(lab):
    await lab.start()

    [(_, _, body)] = await lab.answers(b"GET http://elsewhere/a?b#c HTTP/1.1\r\nHost: h\r\n\r\n")

    assert json.loads(body)[1:3] == ["/a", "b"]


@in_lab
async def test_a_chunked_body_is_put_together_and_its_trailers_are_ignored(lab):
    await lab.start()

    [(_, _, body)] = await lab.answers(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX-Trailer: 1\r\n\r\n",
    )

    seen = json.loads(body)
    assert seen[3] == "abc"
    assert "x-trailer" not in seen[4]


@in_lab
async def test_a_connection_serves_many_requests(lab):
    await lab.start()
    reader, writer = await lab.connect(GET)
    first = await read_answer(reader)

    writer.write(GET)

    assert (await read_answer(reader))[0] == first[0] == 200


@in_lab
async def test_pipelined_requests_are_answered_one_at_a_time_and_in_order(lab):
    running = most = 0

    async def slower_at_first(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.03 / int(request.raw_path[1:]))
        running -= 1
        return Response(status=200, body=request.raw_path.encode())

    await lab.start(slower_at_first)
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(1, 6))

    answers = await lab.answers(requests, count=5)

    assert [body for _, _, body in answers] == [b"/1", b"/2", b"/3", b"/4", b"/5"]
    assert most == 1


@in_lab
async def test_a_broken_request_is_refused_after_those_before_it_were_answered(lab):
    await lab.start()

    answers = await lab.answers(GET + GET + b"NONSENSE\r\n\r\n", count=3, end=True)

    assert [status for status, _, _ in answers] == [200, 200, 400]


@in_lab
async def test_a_client_may_close_its_side_and_still_gets_all_answers(lab):
    await lab.start()
    reader, writer = await lab.connect(GET + GET)

    writer.write_eof()

    assert (await asyncio.wait_for(reader.read(), 5)).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("request_line", "connection"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close"),
        (b"GET / HTTP/1.0\r\n\r\n", "close"),
    ],
)
@in_lab
async def test_the_connection_is_closed_when_the_client_wants_it(lab, request_line, connection):
    await lab.start()

    [(status, headers, _)] = await lab.answers(request_line, end=True)

    assert (status, headers["connection"]) == (200, connection)


@in_lab
async def test_an_old_client_may_ask_to_keep_the_connection(lab):
    await lab.start()

    answers = await lab.answers(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2, count=2)

    assert answers[1][1]["connection"] == "keep-alive"


@in_lab
async def test_a_client_that_waits_for_it_is_told_to_go_on(lab):
    await lab.start()
    reader, writer = await lab.connect(
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"

    writer.write(b"ab")

    assert json.loads((await read_answer(reader))[2])[3] == "ab"


@in_lab
async def test_a_client_that_waits_is_refused_before_it_sends_too_much(lab):
    await lab.start()

    answers = await lab.answers(
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70001\r\nExpect: 100-continue\r\n\r\n", end=True
    )

    assert error_code(answers[0]) == (413, "FSS.0413")


@pytest.mark.parametrize(("size", "status"), [(BIG, 200), (BIG + 1, 413)])
@in_lab
async def test_the_body_limit_is_exact(lab, size, status):
    await lab.start()
    head = b"POST /f/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size

    [answer] = await lab.answers(head, b"x" * size)

    assert answer[0] == status
    if status == 413:
        assert error_code(answer) == (413, "FSS.1201")


@pytest.mark.parametrize(("size", "status"), [(70_000, 200), (70_001, 413)])
@in_lab
async def test_the_body_limit_holds_for_chunks(lab, size, status):
    await lab.start()
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

    [answer] = await lab.answers(head, b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")

    assert answer[0] == status


@in_lab
async def test_a_client_that_sends_all_before_it_reads_still_gets_its_refusal(lab):
    await lab.start()
    size = 40 * 1024 * 1024
    reader, writer = await lab.connect(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)

    for _ in range(40):
        writer.write(b"x" * 1024 * 1024)
        await asyncio.wait_for(writer.drain(), 5)

    assert (await read_answer(reader))[0] == 413
    assert lab.front.buffered_bytes == 0


MALFORMED = {
    "no request": b"\x16\x03\x01\x02\x00\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: h\r\n\r\n",
    "lower case method": b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "two different lengths": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunks and length": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"
    ),
    "other encoding": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "negative length": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    "huge length": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
    "bad chunk": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\n 2\r\n\r\n",
    "blank before colon": b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    "nul in header": b"GET / HTTP/1.1\r\nHost: h\x00\r\n\r\n",
    "bare carriage return": b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tunnel": b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
@in_lab
async def test_what_is_not_http_is_refused_with_json_and_the_connection_closed(lab, name):
    await lab.start()

    answers = await lab.answers(MALFORMED[name], end=True)

    assert error_code(answers[0]) == (400, "APIG.0201")
    assert answers[0][1]["connection"] == "close"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 16_383 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        (b"GET /" + b"a" * 16_384 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: bcd\r\n" * 20_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(199)) + b"\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 60_000 + b"\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 65_536 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 1_000_000, 431),
    ],
)
@in_lab
async def test_heads_are_limited(lab, request_bytes, status):
    await lab.start()

    [answer] = await lab.answers(request_bytes)

    assert answer[0] == status


@pytest.mark.parametrize("body", [b"", b"abc"])
@in_lab
async def test_a_wish_for_another_protocol_is_ignored(lab, body):
    await lab.start()
    head = b"POST / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )

    answers = await lab.answers(head + body + GET, count=2)

    assert json.loads(answers[0][2])[3] == body.decode()
    assert json.loads(answers[1][2])[0] == "GET"


@in_lab
async def test_head_is_answered_without_a_body(lab):
    await lab.start()
    reader, writer = await lab.connect(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    status, headers, _ = await read_answer(reader, is_head=True)
    writer.write(GET)

    assert (status, int(headers["content-length"]) > 0) == (200, True)
    assert (await read_answer(reader))[0] == 200


@in_lab
async def test_204_has_neither_body_nor_length(lab):
    async def nothing(request):
        return Response(status=204, body=b"ignored")

    await lab.start(nothing)

    answers = await lab.answers(GET + GET, count=2)

    assert all(status == 204 and "content-length" not in headers for status, headers, _ in answers)


@in_lab
async def test_no_header_of_an_answer_can_begin_another_line(lab):
    async def hostile(request):
        return Response(
            status=299,
            headers={"X-A": "1\r\nX-B: 2", "X\r\nY": "3", "Content-Length": "9", "X-Ü": "ü", "X-Ł": "ł\x00"},
            repeated_headers=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2\n")),
            content_type="text/plain\r\nX-C: 4",
        )

    await lab.start(hostile)
    reader, _ = await lab.connect(GET)

    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")

    assert lines[0] == "HTTP/1.1 299 "
    assert {"X-A: 1  X-B: 2", "XY: 3", "Content-Length: 0", "X-: ü", "X-: ł ", "Set-Cookie: a=1"} <= set(lines)
    assert {"Set-Cookie: b=2 ", "Content-Type: text/plain  X-C: 4"} <= set(lines)
    assert not any(line.startswith(("X-B", "X-C", "Y", "Content-Length: 9")) for line in lines)


@in_lab
async def test_a_failing_handler_is_500_without_details_and_is_logged_once(lab, caplog):
    async def broken(request):
        raise KeyError("a secret")

    await lab.start(broken)

    answers = await lab.answers(GET + GET, count=2)

    status, _, body = answers[0]
    assert (status, json.loads(body)["error_code"]) == (500, "FSS.0500")
    assert b"secret" not in body
    assert json.loads(body)["request_id"] in caplog.records[0].getMessage()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


@in_lab
async def test_idle_connections_are_closed_after_75_seconds(lab):
    await lab.start()
    reader, _ = await lab.connect(GET)
    await read_answer(reader)

    lab.clock.advance(74)
    lab.front.sweep()
    lab.clock.advance(2)
    lab.front.sweep()

    assert await asyncio.wait_for(reader.read(), 5) == b""


@in_lab
async def test_a_head_that_drips_in_is_refused_after_15_seconds(lab):
    await lab.start()
    reader, writer = await lab.connect(b"GET / HT")
    await eventually(lambda: any(c.deadline() == 15.0 for c in lab.front.connections))
    lab.clock.advance(14)
    writer.write(b"TP")
    lab.clock.advance(2)

    lab.front.sweep()

    assert (await read_answer(reader))[0] == 408


@in_lab
async def test_a_body_without_progress_is_refused(lab):
    await lab.start()
    reader, _ = await lab.connect(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")
    await eventually(lambda: lab.front.buffered_bytes == 2)
    lab.clock.advance(31)

    lab.front.sweep()

    assert (await read_answer(reader))[0] == 408
    assert lab.front.buffered_bytes == 0


@in_lab
async def test_a_client_that_does_not_read_is_cut_off(lab):
    async def large(request):
        return Response(status=200, body=b"x" * 20_000_000)

    await lab.start(large)
    await lab.connect(GET)
    await eventually(lambda: any(c._is_full for c in lab.front.connections))

    lab.clock.advance(31)
    lab.front.sweep()

    await eventually(lambda: not lab.front.connections)


@in_lab
async def test_a_running_request_has_no_deadline_here(lab):
    release = asyncio.Event()

    async def slow(request):
        await release.wait()
        return Response(status=200)

    await lab.start(slow)
    reader, _ = await lab.connect(GET)
    await eventually(lambda: lab.front.running == 1)
    lab.clock.advance(100_000)
    lab.front.sweep()

    release.set()

    assert (await read_answer(reader))[0] == 200


@in_lab
async def test_a_client_that_goes_away_does_not_stop_its_request(lab):
    release, done = asyncio.Event(), asyncio.Event()

    async def slow(request):
        await release.wait()
        done.set()
        return Response(status=200)

    await lab.start(slow)
    _, writer = await lab.connect(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
    await eventually(lambda: lab.front.running == 1)
    writer.transport.abort()

    release.set()

    await asyncio.wait_for(done.wait(), 5)
    await eventually(lambda: lab.front.buffered_bytes == 0 and not lab.front.connections)


@in_lab
async def test_one_connection_too_many_is_refused(lab):
    await lab.start(max_connections=1)
    await lab.answers(GET)

    answers = await lab.answers(end=True)

    assert error_code(answers[0]) == (503, "FSS.0503")


@in_lab
async def test_bodies_of_all_clients_together_are_limited(lab):
    await lab.start(max_buffered_bytes=1000)
    await lab.connect(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 901\r\n\r\n" + b"x" * 900)
    await eventually(lambda: lab.front.buffered_bytes == 900)

    answers = await lab.answers(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200\r\n\r\n" + b"x" * 200)

    assert error_code(answers[0]) == (503, "FSS.0503")
    assert lab.front.buffered_bytes == 900


@in_lab
async def test_draining_finishes_what_runs_and_closes_the_rest(lab):
    release = asyncio.Event()

    async def slow(request):
        await release.wait()
        return Response(status=200)

    await lab.start(slow)
    port = lab.front.port
    idle, _ = await lab.connect()
    busy, _ = await lab.connect(GET)
    await eventually(lambda: lab.front.running == 1 and len(lab.front.connections) == 2)

    draining = asyncio.create_task(lab.front.drain(deadline_s=5))
    assert await asyncio.wait_for(idle.read(), 5) == b""
    release.set()

    status, headers, _ = await read_answer(busy)
    assert (status, headers["connection"]) == (200, "close")
    assert await draining is True
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@in_lab
async def test_draining_gives_up_at_its_deadline(lab):
    async def endless(request):
        await asyncio.Event().wait()

    await lab.start(endless)
    await lab.connect(GET)
    await eventually(lambda: lab.front.running == 1)

    assert await lab.front.drain(deadline_s=0.05) is False


@in_lab
async def test_reading_stops_while_a_request_is_handled(lab):
    release = asyncio.Event()

    async def slow(request):
        await release.wait()
        return Response(status=200)

    await lab.start(slow)
    reader, writer = await lab.connect(GET)
    await eventually(lambda: lab.front.running == 1)
    request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000
    for _ in range(400):
        writer.write(request)
    for _ in range(20):
        await asyncio.sleep(0.005)

    assert lab.front.buffered_bytes < 2_000_000
    release.set()
    assert all([(await read_answer(reader))[0] == 200 for _ in range(401)])


class Late:
    """A handler that answers early on demand, and goes on until it is released."""

    def __init__(self):
        self.requests = {}
        self.release = asyncio.Event()
        self.ended = []

    async def __call__(self, request):
        """Serve `/late` so, and everything else at once."""
        self.requests[request.raw_path] = request
        if request.raw_path == "/late":
            await self.release.wait()
        self.ended.append(request.raw_path)
        return Response(status=200, body=request.raw_path.encode())

    def answer_early(self):
        """Answer the late request."""
        self.requests["/late"].answer_early(Response(status=504, body=b"early"))


def get(path):
    return b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path


@in_lab
async def test_an_early_answer_is_sent_once_and_the_late_one_dropped(lab):
    handler = Late()
    await lab.start(handler)
    reader, writer = await lab.connect(get(b"/late"))
    await eventually(lambda: handler.requests)
    again = handler.requests["/late"].answer_early

    handler.answer_early()
    again(Response(status=200, body=b"twice"))
    assert (await read_answer(reader))[::2] == (504, b"early")
    assert lab.front.running == 1
    handler.release.set()
    await eventually(lambda: handler.ended)
    writer.write(get(b"/next"))

    assert (await read_answer(reader))[::2] == (200, b"/next")
    assert handler.requests["/late"].answer_early is None


@in_lab
async def test_after_an_early_answer_the_next_request_is_served_while_the_late_one_goes_on(lab):
    handler = Late()
    await lab.start(handler)
    reader, _ = await lab.connect(get(b"/late") + get(b"/next"))
    await eventually(lambda: handler.requests)

    handler.answer_early()

    assert (await read_answer(reader))[::2] == (504, b"early")
    assert (await read_answer(reader))[::2] == (200, b"/next")
    assert lab.front.running == 1
    handler.release.set()
    await eventually(lambda: handler.ended == ["/next", "/late"] and lab.front.running == 0)


@in_lab
async def test_an_early_answer_to_a_client_that_has_gone_harms_nobody(lab):
    handler = Late()
    await lab.start(handler)
    _, writer = await lab.connect(b"POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
    await eventually(lambda: handler.requests)
    assert lab.front.buffered_bytes == 2
    # Cut, not closed: a closed side alone may still want its answer.
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await eventually(lambda: not lab.front.connections)

    handler.answer_early()
    handler.release.set()

    await eventually(lambda: handler.ended == ["/late"])
    assert lab.front.buffered_bytes == 0


@in_lab
async def test_a_request_that_was_answered_early_is_waited_for_when_draining(lab):
    handler = Late()
    await lab.start(handler)
    reader, _ = await lab.connect(get(b"/late"))
    await eventually(lambda: handler.requests)
    handler.answer_early()
    await read_answer(reader)

    draining = asyncio.create_task(lab.front.drain(deadline_s=5))
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert not draining.done()
    handler.release.set()

    assert await draining


@in_lab
async def test_behind_the_last_answer_of_a_connection_nothing_is_run(lab):
    handler = Late()
    await lab.start(handler)
    lab.front.is_draining = True

    answers = await lab.answers(get(b"/a") + get(b"/b") + get(b"/c"), end=True)

    assert [body for _, _, body in answers] == [b"/a"]
    assert handler.ended == ["/a"]
    await eventually(lambda: lab.front.buffered_bytes == 0 and not lab.front.connections)


@in_lab
async def test_a_client_that_sends_nonsense_behind_a_request_and_closes_its_side_gets_both_answers(lab):
    handler = Late()
    await lab.start(handler)
    reader, writer = await lab.connect(get(b"/late") + b"NONSENSE\r\n\r\n")
    await eventually(lambda: handler.requests)
    writer.write_eof()
    await asyncio.sleep(0.01)

    handler.release.set()

    data = await asyncio.wait_for(reader.read(), 5)
    assert data.startswith(b"HTTP/1.1 200")
    assert data.count(b"HTTP/1.1 400") == 1


@in_lab
async def test_requests_in_any_pieces_are_the_same_requests(lab):
    await lab.start()
    post = b"POST /p?q HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz"
    chunked = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    data = post + GET + chunked + post
    [*expected] = [body for _, _, body in await lab.answers(data, count=4)]
    for cut in range(1, len(data), 7):
        reader, writer = await lab.connect(data[:cut])
        await asyncio.sleep(0.002)
        writer.write(data[cut:])

        assert [(await read_answer(reader))[2] for _ in range(4)] == expected
