"""Asynchronous requests are cancelled in whichever data-plane process they run."""

import base64
import json
import tempfile
import time
from pathlib import Path

import pytest

from funclet.base.ids import new_uuid
from funclet.dataplane.scaler import SHORT_RUNS
from tests.support.members import member_pids
from tests.support.packages import zip_base64
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

# Short unless it is told to wait: then the next request waits inside the same instance.
SLEEPER = """
import os, time
def handler(event, context):
    time.sleep(event.get("s", 0))
    if "file" in event:
        with open(event["file"], "a") as file:
            file.write("x")
    return above(os.getpid()) if event.get("who") else None

def above(pid):
    found = []
    while pid > 1:
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
        found.append(pid)
    return found
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
    return one_of_each(several, "sleeper")


@pytest.fixture(scope="module")
def short(several):
    """As `urns`, of functions of their own."""
    return one_of_each(several, "short")


@pytest.fixture
def mark(scratch):
    """A file that shows whether, and how often, a request has run."""
    folder = scratch / new_uuid()
    folder.mkdir()
    folder.chmod(0o777)
    return folder / "mark"


def one_of_each(several, name):
    """Deploy functions until each process owns one; return these two."""
    numbers = {pid: number for number, pid in member_pids(several).items()}
    found = {}
    for number in range(40):
        urn = several.deploy(f"{name}-{number}", SLEEPER, timeout=60)
        answer = eventually(lambda u=urn: invoked(several, u), because="it answers")
        # Of the processes above the instance, the nearest that is one of the server's.
        owner = next(numbers[pid] for pid in json.loads(answer.body) if pid in numbers)
        found.setdefault(owner, urn)
        if len(found) == 2:
            break
    return found[0], found[1]


def invoked(server, urn):
    answer = server.invoke(urn, b'{"who": true}')
    return answer if answer.status == 200 else None


def record(server, urn, request_id):
    return server.client.async_record(urn, request_id)


def started(server, urn, event=b'{"s": 50}', **headers):
    """Return the id of a request that runs."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    path = server.path(f"/functions/{urn}/invocations-async")
    answer = server.client.call("POST", path, body=event, headers=names)
    request_id = answer.json()["request_id"]
    eventually(lambda: record(server, urn, request_id)["status"] == "RUNNING", because="it runs")
    return request_id


def cancel(server, urn, request_id, **fields):
    body = json.dumps({"request_id": request_id} | fields).encode()
    server.client.call("POST", server.path(f"/functions/{urn}/cancel"), body=body)


def assert_cancelled(server, urn, request_id):
    eventually(lambda: record(server, urn, request_id)["status"] not in ("WAIT", "RUNNING"), because="it has ended")
    found = record(server, urn, request_id)
    assert (found["status"], found["error_code"]) == ("FAIL", "4208")
    assert found["error_message"] == "function invocation canceled"


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


def pair_in_one_instance(server, urn, second_event):
    """Return two requests of which one runs in an instance and the other waits inside it."""
    for _ in range(SHORT_RUNS + 1):
        assert server.invoke(urn, b"{}").status == 200
    first = started(server, urn)
    second = started(server, urn, json.dumps(second_event).encode())
    lines = server.client.call("GET", "/metrics").body.decode().splitlines()
    (busy,) = [line for line in lines if line.startswith('fgs_instances{kind="busy"}')]
    assert busy.endswith(" 1"), "both are in one instance"
    return first, second


@pytest.mark.parametrize("owner", [0, 1], ids=["head", "other"])
def test_force_ends_an_instance_and_what_has_not_begun_in_it_runs_elsewhere_once(several, short, owner, mark):
    urn = short[owner]
    first, second = pair_in_one_instance(several, urn, {"file": str(mark)})

    cancel(several, urn, first, type="force")

    assert_cancelled(several, urn, first)
    eventually(lambda: record(several, urn, second)["status"] == "SUCCESS", because="it ran in another instance")
    assert mark.read_text() == "x"


@pytest.mark.parametrize("owner", [0, 1], ids=["head", "other"])
def test_force_on_one_of_two_in_an_instance_ends_both_if_the_other_one_runs(several, short, owner, mark):
    urn = short[owner]
    first, second = pair_in_one_instance(several, urn, {"file": str(mark)})
    began = time.monotonic()

    cancel(several, urn, second, type="force")

    assert_cancelled(several, urn, second)
    assert_cancelled(several, urn, first)
    assert time.monotonic() - began < COOPERATIVE_S - 1, "at once"
    assert several.invoke(urn).status == 200
    assert not mark.exists()


@pytest.mark.parametrize("owner", [0, 1], ids=["head", "other"])
def test_what_waits_for_an_instance_is_cancelled_in_either_process_and_never_begins(several, urns, owner, mark):
    urn = urns[owner]
    slow_start = f"import time\ntime.sleep(3)\n{SLEEPER}"
    several.client.update_code(urn, base64.b64decode(zip_base64({"index.py": slow_start})))
    request_id = started(several, urn, json.dumps({"file": str(mark)}).encode())
    began = time.monotonic()

    cancel(several, urn, request_id)

    assert_cancelled(several, urn, request_id)
    assert time.monotonic() - began < 2, "before there was an instance"
    assert several.invoke(urn).status == 200
    assert not mark.exists()
