"""The server's end of a runtime's socket: answers in order, and what had begun when it ends."""

import asyncio
import socket
import struct
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop

from funclet.runtimes.frames import FrameConnection, FrameType, RuntimeGone

HEADER = struct.Struct("!IBBH16sII")
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def done(request_id, body=b"", printed=0):
    return HEADER.pack(28 + len(body), FrameType.DONE, 0, 0, uuid.UUID(request_id).bytes, printed, 0) + body


def with_two_sent(test):
    """Run a test with a connection on which two requests are on their way, and their runtime's end."""

    @LOOPS
    def work(new_loop):
        async def scenario():
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with theirs:
                connection = await FrameConnection.open(ours)
                ids = [str(uuid.uuid4()), str(uuid.uuid4())]
                answers = [connection.send(FrameType.INVOKE, request_id) for request_id in ids]
                await test(connection, theirs, ids, answers)
                connection.close()
                await asyncio.sleep(0.01)

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(scenario())

    work.__name__ = test.__name__
    return work


async def begun(answers):
    """Return what is known of requests that get no answer: whether they may have begun."""
    return [error.has_begun for error in await asyncio.gather(*answers, return_exceptions=True)]


@with_two_sent
async def test_answers_come_in_order_and_in_any_pieces(connection, theirs, ids, answers):
    data = done(ids[0], b"one", 7) + done(ids[1], b"two" * 100)
    for place in range(0, len(data), 25):
        theirs.sendall(data[place : place + 25])
        await asyncio.sleep(0.001)

    first, second = await asyncio.gather(*answers)
    assert (first.body, first.printed, second.body) == (b"one", 7, b"two" * 100)
    assert not connection.is_waiting


@with_two_sent
async def test_a_runtime_that_ends_had_begun_with_the_first_only(connection, theirs, ids, answers):
    theirs.close()

    assert await begun(answers) == [True, False]
    assert connection.is_closed
    with pytest.raises(RuntimeGone) as gone:
        connection.send(FrameType.INVOKE, ids[0])
    assert not gone.value.has_begun


@with_two_sent
async def test_after_the_answer_of_the_first_it_had_begun_with_the_second(connection, theirs, ids, answers):
    theirs.sendall(done(ids[0]))
    theirs.close()

    assert (await answers[0]).code == 0
    assert await begun(answers[1:]) == [True]


@with_two_sent
async def test_closed_by_us_without_a_word_it_had_begun_with_the_first_only(connection, theirs, ids, answers):
    connection.close()

    assert await begun(answers) == [True, False]


@with_two_sent
async def test_closed_by_us_with_an_answer_unread_it_may_have_begun_with_both(connection, theirs, ids, answers):
    theirs.sendall(done(ids[0]))
    connection.close()

    assert await begun(answers) == [True, True]


@with_two_sent
async def test_once_closed_by_us_the_runtime_can_answer_no_more(connection, theirs, ids, answers):
    connection.close()
    with pytest.raises(BrokenPipeError):
        theirs.sendall(done(ids[0]))

    assert await begun(answers) == [True, False]


@with_two_sent
async def test_of_a_runtime_that_breaks_the_contract_nobody_knows(connection, theirs, ids, answers):
    theirs.sendall(done(ids[1]))

    assert await begun(answers) == [True, True]


@LOOPS
def test_an_answer_that_is_looked_out_for_is_there_when_the_request_was_sent(new_loop):
    request_id = str(uuid.uuid4())

    def answer(theirs):
        assert theirs.recv(HEADER.size + 5)[HEADER.size :] == b"event"
        theirs.sendall(done(request_id, b"result")[:10])
        theirs.sendall(done(request_id, b"result")[10:])

    async def scenario():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, ThreadPoolExecutor(1) as pool:
            connection = await FrameConnection.open(ours)
            answered = pool.submit(answer, theirs)
            future = connection.send(FrameType.INVOKE, request_id, body=b"event", watch_s=10.0)
            answered.result()
            assert future.done()
            assert (await future).body == b"result"
            connection.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


@LOOPS
def test_an_answer_that_takes_longer_comes_through_the_event_loop(new_loop):
    async def scenario():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            connection = await FrameConnection.open(ours)
            request_id = str(uuid.uuid4())
            future = connection.send(FrameType.INVOKE, request_id, watch_s=0.001)
            assert not future.done()
            theirs.sendall(done(request_id, b"late"))
            assert (await future).body == b"late"
            connection.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


@LOOPS
def test_a_runtime_that_ends_while_somebody_looks_out_is_noticed(new_loop):
    async def scenario():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        connection = await FrameConnection.open(ours)
        theirs.close()
        future = connection.send(FrameType.INVOKE, str(uuid.uuid4()), watch_s=10.0)
        with pytest.raises(RuntimeGone):
            await asyncio.wait_for(future, 5)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


@LOOPS
def test_a_request_that_does_not_fit_at_once_arrives_whole(new_loop):
    async def scenario():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with theirs:
            connection = await FrameConnection.open(ours)
            request_id, body = str(uuid.uuid4()), b"x" * 60_000
            future = connection.send(FrameType.INVOKE, request_id, body=body, watch_s=0.001)
            reader = asyncio.get_running_loop().run_in_executor(None, receive, theirs, HEADER.size + len(body))
            assert (await reader)[HEADER.size :] == body
            theirs.sendall(done(request_id))
            await future
            connection.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


def receive(sock, amount):
    data = b""
    while len(data) < amount:
        data += sock.recv(amount - len(data))
    return data
