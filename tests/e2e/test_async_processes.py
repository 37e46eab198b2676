"""Asynchronous requests are cancelled in whichever data-plane process they run."""

import json
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.members import member_pids
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

SLEEPER = """
import os, time
def handler(event, context):
    time.sleep(event.get("s", 0))
    pid, above = os.getpid(), []
    while pid > 1:
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
        above.append(pid)
    return above
"""
COOPERATIVE_S = 6.0


@pytest.fixture(scope="module")
def several(scratch):
    """A server of two processes at level `process`, where an instance is a child of the process that owns it."""
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    folder.chmod(0o755)
    running = ServerProcess(folder, "--isolation", "process", "--processes", "2").start()
    eventually(lambda: len(member_pids(running)) == 2, because="both processes serve")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def urns(several):
    """Return one function of each process, that of the head first."""
    numbers = {pid: number for number, pid in member_pids(several).items()}
    found = {}
    for number in range(40):
        urn = several.deploy(f"sleeper-{number}", SLEEPER, timeout=60)
        answer = eventually(lambda u=urn: invoked(several, u), because="it answers")
        # Of the processes above the instance, the nearest that is one of the server's.
        owner = next(numbers[pid] for pid in json.loads(answer.body) if pid in numbers)
        found.setdefault(owner, urn)
        if len(found) == 2:
            break
    return found[0], found[1]


def invoked(server, urn):
    answer = server.invoke(urn)
    return answer if answer.status == 200 else None


def record(server, urn, request_id):
    return server.client.async_record(urn, request_id)


def started(server, urn, **headers):
    """Return the id of a request that runs."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    path = server.path(f"/functions/{urn}/invocations-async")
    answer = server.client.call("POST", path, body=b'{"s": 50}', headers=names)
    request_id = answer.json()["request_id"]
    eventually(lambda: record(server, urn, request_id)["status"] == "RUNNING", because="it runs")
    return request_id


def cancel(server, urn, request_id, **fields):
    body = json.dumps({"request_id": request_id} | fields).encode()
    server.client.call("POST", server.path(f"/functions/{urn}/cancel"), body=body)


def assert_cancelled(server, urn, request_id):
    eventually(lambda: record(server, urn, request_id)["status"] == "FAIL", because="it has ended")
    found = record(server, urn, request_id)
    assert (found["error_code"], found["error_message"]) == ("4208", "function invocation canceled")


@pytest.mark.parametrize("owner", [0, 1], ids=["head", "other"])
@pytest.mark.parametrize(
    "fields", [{}, {"type": "force"}, {"type": "recursive"}], ids=["cooperative", "force", "recursive"]
)
def test_a_request_is_cancelled_whichever_process_runs_it(several, urns, owner, fields):
    urn = urns[owner]
    request_id = started(several, urn)
    began = time.monotonic()

    cancel(several, urn, request_id, **fields)

    assert_cancelled(several, urn, request_id)
    assert time.monotonic() - began < COOPERATIVE_S + 2
    assert several.invoke(urn).status == 200


@pytest.mark.parametrize(("of_parent", "of_child"), [(0, 1), (1, 0), (0, 0), (1, 1)])
def test_what_a_request_has_caused_is_cancelled_in_the_other_process_too(several, urns, of_parent, of_child):
    parent = started(several, urns[of_parent])
    child = started(several, urns[of_child], X_Cff_Async_Hop=f"{parent};1;{parent}")
    stranger = started(several, urns[of_child])

    cancel(several, urns[of_parent], parent, type="recursive")

    assert_cancelled(several, urns[of_parent], parent)
    assert_cancelled(several, urns[of_child], child)
    assert record(several, urns[of_child], stranger)["status"] == "RUNNING"
    cancel(several, urns[of_child], stranger, type="force")
    assert_cancelled(several, urns[of_child], stranger)
