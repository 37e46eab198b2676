"""Thousands of generated requests against a real server: whatever is sent, the answer is whole and the server stays up.

The requests are the same in every run. With `FUNCLET_RANDOM_TESTS=1` each run
makes up others.
"""

import json
import os
import random
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from funclet.api.operations import OPERATIONS
from tests.support import generated
from tests.support.raw_http import RawConnection
from tests.support.server import ServerProcess

# Thousands of requests take their time on a slow machine.
pytestmark = pytest.mark.timeout(300)

SIGNED_REQUESTS, BROKEN_REQUESTS = 5000, 1000
PARALLEL_REQUESTS, CLIENTS = 500, 8
SERVED_OPERATIONS = 24
FUNCTION_FAULT = re.compile(r"FSS\.4\d\d\d")
# What would tell a client about our insides.
INSIDES = re.compile(rb"Traceback \(most|site-packages|src/funclet|funclet/[a-z_/]+\.py|sqlite3?\.|File \\?\"")
PROFILE = {
    "deadline": None,
    "database": None,
    "derandomize": os.environ.get("FUNCLET_RANDOM_TESTS") != "1",
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def target(scratch):
    """A server that only these tests know: hardly anything on it stays as it was."""
    folder = Path(tempfile.mkdtemp(prefix="generated-", dir=scratch))
    folder.chmod(0o755)
    server = ServerProcess(folder).start()
    try:
        for name in generated.NAMES:
            server.deploy(name, generated.ECHO)
        yield server
    finally:
        server.stop()


@pytest.fixture
def connection(target):
    opened = RawConnection(target.api_url, timeout_s=60)
    yield opened
    opened.close()


def check_answer(answer, *, has_body=True):
    """Check what holds for every answer."""
    assert answer is not None, "closed without an answer"
    assert answer.headers.get("x-request-id"), answer
    if answer.status < 400 or not has_body:
        return
    error = json.loads(answer.body)
    if "error" in error:
        assert isinstance(error["error"]["message"], str), answer
        code = ""
    else:
        code = error["error_code"]
        assert isinstance(code, str), answer
        assert error["error_msg"], answer
        assert error["request_id"] == answer.headers["x-request-id"], answer
    if FUNCTION_FAULT.fullmatch(code):
        return
    assert answer.status < 500 or answer.status == 501, answer
    assert not INSIDES.search(answer.body), answer


def check_types(request, answer):
    """Check that a good answer has members of the documented types."""
    if not request.operation or answer.status not in (200, 201, 202) or not answer.body:
        return
    if request.operation != "InvokeFunction":
        body = json.loads(answer.body)
        assert not generated.wrong_types(body, generated.answer_kind(request.operation)), answer
    elif not request.is_v0:
        shape = {"request_id": "string", "result": "string", "log": "string", "status": "integer"}
        assert not [name for name, kind in shape.items() if generated.wrong_types(json.loads(answer.body)[name], kind)]


def check_alive(server, name):
    """Check that the server still works and has nothing to be ashamed of."""
    urn = server.deploy(name, generated.ECHO)
    answer = server.invoke(urn, {"still": "here"})

    assert answer.json() == {"event": {"still": "here"}}
    assert "Traceback" not in server.log(), server.log()[-5000:]


def test_the_facts_agree_with_the_table():
    table = {(one.name, one.method, one.path) for one in OPERATIONS if not one.is_ours}

    assert table == {(one["name"], one["method"], one["path"]) for one in generated.FACTS["operations"]}


def test_every_generated_request_gets_a_whole_answer(target, connection, record_property):
    statuses, triggers, served = {}, generated.KnownTriggers(), set()

    @settings(max_examples=SIGNED_REQUESTS, **PROFILE)
    @given(request=generated.requests())
    def property_(request):
        request = replace(request, target=triggers.put_into(request.target))
        answer = connection.ask(generated.render(request, connection.host), has_body=request.method != "HEAD")
        check_answer(answer, has_body=request.method != "HEAD")
        check_types(request, answer)
        triggers.learn(request, answer)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status < 300:
            served.add(request.operation)

    property_()

    record_property("statuses", statuses)
    assert sum(statuses.values()) >= SIGNED_REQUESTS
    # Requests that never get past the checks would prove little.
    assert len(served) >= SERVED_OPERATIONS, served
    check_alive(target, "after_generated")


def test_requests_of_many_clients_at_once_get_whole_answers(target, record_property):
    found = []

    @settings(max_examples=PARALLEL_REQUESTS, phases=[Phase.generate], **PROFILE)
    @given(request=generated.requests())
    def collect(request):
        found.append(request)

    collect()

    def replay(number):
        connection = RawConnection(target.api_url, timeout_s=60)
        order = random.Random(number).sample(found, len(found))
        try:
            for request in order:
                has_body = request.method != "HEAD"
                answer = connection.ask(generated.render(request, connection.host), has_body=has_body)
                check_answer(answer, has_body=has_body)
                check_types(request, answer)
        finally:
            connection.close()
        return len(order)

    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = sum(pool.map(replay, range(CLIENTS)))

    record_property("parallel_requests", sent)
    assert sent >= CLIENTS * PARALLEL_REQUESTS
    check_alive(target, "after_many")


@st.composite
def broken(draw):
    """Draw a request and what to do to its bytes; none of HEAD, whose answers cannot be told from cut ones."""
    cut, skip = draw(st.floats(0, 1)), draw(st.integers(0, 40))
    requests = generated.requests().filter(lambda request: request.method != "HEAD")
    return draw(requests), cut, skip, draw(st.binary(max_size=20))


def test_broken_bytes_never_break_the_server(target, record_property):
    connection = RawConnection(target.api_url)
    sent = 0

    @settings(max_examples=BROKEN_REQUESTS, **PROFILE)
    @given(how=broken())
    def property_(how):
        nonlocal sent
        request, cut, skip, insertion = how
        data = generated.render(request, connection.host)
        at = int(cut * len(data))
        try:
            connection.send(data[:at] + insertion + data[at + skip :])
            connection.end()
            for answer in connection.answers():
                check_answer(answer)
        finally:
            connection.close()
        sent += 1

    property_()

    record_property("broken_requests", sent)
    assert sent >= BROKEN_REQUESTS
    check_alive(target, "after_broken")
