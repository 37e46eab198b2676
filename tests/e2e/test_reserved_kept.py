"""Reserved instances on real servers: warm from the first request on, whatever dies or changes."""

import contextlib
import os
import signal

import pytest

from tests.e2e.test_processes import COUNT, wait_for_all
from tests.support.members import instances_of, is_back, member_pids
from tests.support.packages import zip_base64
from tests.support.processes import status_of, tree_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

WHO = """
import os, socket

me = os.urandom(8).hex()

def handler(event, context):
    return me
"""
SLOW_START = "import time\n\ndef initializer(context):\n    time.sleep(1.5)\n\n" + WHO
NEWER = WHO.replace("return me", "return 'newer ' + me")
STATISTICS = "/functions/{urn}/slareports/5"


def reserve(server, urn, count, **more):
    return server.client.send("PUT", f"/fgs/functions/{urn}/reservedinstances", {"count": count, **more})


def kept(server, count):
    """Wait until there are so many instances, and return their pids."""

    def look():
        found = server.instances()
        return (found or True) if len(found) == count else None

    found = eventually(look, within_s=20, because=f"{count} instances; log:\n{server.log()}")
    return set() if found is True else set(found)


def reported(server, urn, name):
    """Return the values of a series that are known, of all minutes."""
    found = server.client.send("GET", "/fgs" + STATISTICS.format(urn=urn))
    return [point["value"] for point in found[name] if point["value"] != -1]


def ready_of(client, urn):
    """Return the reserved instances of a function that have started."""
    found = client.send("GET", f"/funclet/functions/{urn}/instances")
    return [one for one in found["instances"] if one["reserved"]]


@pytest.mark.proves("operation:UpdateFunctionReservedInstancesCount")
def test_the_first_request_is_warm_and_the_initializer_has_run(new_server):
    server = new_server("--idle-release-s", "1")
    urn = server.deploy("kept", SLOW_START, initializer_handler="index.initializer", initializer_timeout=10)
    reserve(server, urn, 2)
    pids = kept(server, 2)
    # Long past the idle time.
    eventually(lambda: reported(server, urn, "reserved_instance_num")[-1:] == [2])

    answer = server.invoke(urn)

    assert (answer.status, answer.headers["x-funclet-start"]) == (200, "warm")
    assert kept(server, 2) == pids
    reserve(server, urn, 0)
    kept(server, 0)


def test_what_is_killed_is_replaced_and_the_count_outlives_the_server(new_server):
    server = new_server("--idle-release-s", "1")
    urn = server.deploy("again", WHO)
    reserve(server, urn, 2)
    pids = kept(server, 2)

    victim = pids.pop()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in server.instances())
    assert pids < kept(server, 2)

    server.kill()
    server.start()
    kept(server, 2)
    server.stop()
    server.start()
    kept(server, 2)
    assert server.invoke(urn).status == 200
    kept(server, 2)


def test_new_code_and_settings_are_what_is_kept_next(new_server):
    server = new_server()
    urn = server.deploy("newer", WHO)
    reserve(server, urn, 2)
    old = kept(server, 2)

    body = {"code_type": "zip", "code_filename": "index.zip", "func_code": {"file": zip_base64({"index.py": NEWER})}}
    server.client.send("PUT", f"/fgs/functions/{urn}/code", body)

    eventually(lambda: not old & set(server.instances()))
    new = kept(server, 2)
    assert server.invoke(urn).body.startswith(b"newer ")
    assert kept(server, 2) == new


def test_a_schedule_raises_and_lowers_the_count(new_server):
    server = new_server("--idle-release-s", "1")
    urn = server.deploy("ticking", WHO)
    # Every ten seconds up, five seconds later down.
    crons = [
        {"name": "up", "cron": "0/10 * * * * *", "count": 3},
        {"name": "down", "cron": "5/10 * * * * *", "count": 1},
    ]
    reserve(server, urn, 1, tactics_config={"cron_configs": crons})

    for count in (3, 1, 3):
        kept(server, count)


def test_memory_that_others_want_is_not_taken_from_them(new_server):
    server = new_server("--memory-fraction", "0.05", "--admission-wait-ms", "200")
    urn = server.deploy("fixed", WHO, memory_size=256)
    reserve(server, urn, 1)
    pids = kept(server, 1)
    hungry = server.deploy(
        "hungry", "import time\n\ndef handler(event, context):\n    time.sleep(0.3)\n", memory_size=512
    )

    statuses = {call.result().status for call in [server.begin(hungry) for _ in range(20)]}

    assert statuses <= {200, 429, 503}
    assert pids <= set(server.instances())


@pytest.mark.proves("error:FSS.1076")
def test_more_than_the_node_holds_is_refused(new_server):
    server = new_server("--memory-fraction", "0.05")
    urn = server.deploy("huge", WHO, memory_size=10240)

    answer = server.client.call(
        "PUT", server.path(f"/functions/{urn}/reservedinstances"), body=b'{"count": 1}', raises=False
    )

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.1076")
    assert server.instances() == []


def test_in_idle_mode_nothing_runs_between_requests(new_server):
    busy = """
import threading, time

ticks = 0

def count():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1

threading.Thread(target=count, daemon=True).start()

def handler(event, context):
    return ticks
"""
    server = new_server()
    urn = server.deploy("frozen", busy)
    reserve(server, urn, 1, idle_mode=True)
    (pid,) = kept(server, 1)

    def states():
        return {status_of(one)["State"][0] for one in tree_of(pid)}

    eventually(lambda: states() == {"T"})
    first = server.invoke(urn)
    assert first.status == 200
    eventually(lambda: states() == {"T"})
    assert server.invoke(urn).json() >= first.json()

    reserve(server, urn, 1, idle_mode=False)
    eventually(lambda: "T" not in states())
    reserve(server, urn, 1, idle_mode=True)
    eventually(lambda: states() == {"T"})
    reserve(server, urn, 0)
    # It ends in an orderly way, and so does the server.
    assert server.stop() == 0


def test_several_processes_hold_the_count_exactly(new_server):
    server = wait_for_all(new_server("--processes", str(COUNT)))
    urns = [server.deploy(f"shared-{number}", WHO) for number in range(2 * COUNT)]
    for urn in urns:
        reserve(server, urn, 2)

    def per_process():
        return {number: len(instances_of(pid)) for number, pid in member_pids(server).items()}

    eventually(lambda: sum(per_process().values()) == 2 * len(urns), within_s=20)
    before = per_process()
    victim = next(number for number in before if number and before[number])
    pid = member_pids(server)[victim]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_back(server, victim, pid), within_s=20)

    eventually(lambda: per_process() == before, within_s=20, because=f"{before}, not {per_process()}")
    # The former connection may have been to the process that died.
    with contextlib.closing(server.new_client()) as client:
        # A process is there some milliseconds before it is ready for requests.
        for urn in urns:
            eventually(lambda urn=urn: len(ready_of(client, urn)) == 2, within_s=20)
        answers = [server.invoke(urn, client=client) for urn in urns]
    assert {(one.status, one.headers["x-funclet-start"]) for one in answers} == {(200, "warm")}
