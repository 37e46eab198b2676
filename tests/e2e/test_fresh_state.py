"""Functions whose requests run in processes that are thrown away (`enable_fresh_state`), on a real server."""

import base64

import pytest

from funclet.client import ApiError
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

STATE = """
import os, time
calls = 0

def handler(event, context):
    global calls
    calls += 1
    seen = {"calls": calls, "tmp": sorted(os.listdir("/tmp")), "pid": os.getpid(), "parent": os.getppid()}
    with open("/tmp/note", "w") as file:
        file.write("x")
    os.makedirs("/tmp/deep/er")
    os.symlink("/opt/function/code", "/tmp/link")
    print("printed")
    context.getLogger().info("logged")
    return seen

def start(context):
    open("/tmp/kept", "w").close()
"""
FAULTS = """
import os, resource, signal, time

def handler(event, context):
    match event.get("do"):
        case "exit":
            os._exit(0)
        case "raise":
            raise ValueError("mine")
        case "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        case "eat":
            eaten = []
            while True:
                eaten.append(bytearray(1 << 20))
        case "sleep":
            time.sleep(60)
        case "garbage":
            os.write(3, b"no frame" * 100)
            time.sleep(60)
        case "parent":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        case "memory":
            open(f"/proc/{os.getppid()}/mem", "r+b")
        case "locked":
            os.mkdir("/tmp/locked")
            open("/tmp/locked/file", "w").close()
            os.chmod("/tmp/locked", 0)
    return "ok"
"""
FORKS = """
import os, time

def flee():
    # Never the same process for long: each one forks the next, in a session of its own, and ends.
    while True:
        if os.fork():
            os._exit(0)
        os.setsid()

def handler(event, context):
    for _ in range(event.get("fleeing", 0)):
        if os.fork() == 0:
            flee()
    time.sleep(0.1)
    return len([name for name in os.listdir("/proc") if name.isdigit()])
"""


@pytest.fixture(scope="module", params=["auto", pytest.param("rootless", marks=pytest.mark.root)])
def fresh_server(scratch, request):
    """A server of each isolated level; `auto` is `full` for root."""
    folder = scratch / f"fresh-{request.param}"
    folder.mkdir()
    running = ServerProcess(folder, "--isolation", request.param, "--admission-wait-ms", "10000").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def faults(fresh_server):
    """The urn of a function that does what the event says."""
    return fresh_server.deploy("faults", FAULTS, enable_fresh_state=True, timeout=3)


def code_of(answer):
    """Return the inner code of an invocation that failed; 0 for success."""
    return int(answer.headers["x-func-err-code"])


def test_each_request_finds_the_state_after_the_initializer(fresh_server):
    urn = fresh_server.deploy("state", STATE, initializer_handler="index.start", enable_fresh_state=True)

    answers = [fresh_server.invoke(urn, x_cff_log_type="tail") for _ in range(5)]

    seen = [answer.json() for answer in answers]
    assert [(one["calls"], one["tmp"]) for one in seen] == [(1, ["kept"])] * 5
    assert len({one["pid"] for one in seen}) == 5
    assert len({one["parent"] for one in seen}) == 1, "all by one instance"
    log = base64.b64decode(answers[-1].headers["x-cff-function-log"]).decode()
    assert [line.split()[-1] for line in log.splitlines()[1:3]] == ["printed", "logged"]
    assert log.splitlines()[2].split()[1] == answers[-1].headers["x-cff-request-id"]


def test_many_callers_of_one_instance_share_nothing(fresh_server):
    """Very short functions are given requests ahead, but not these."""
    source = "calls = 0\n\ndef handler(event, context):\n    global calls\n    calls += 1\n    return calls\n"
    urn = fresh_server.deploy("crowd", source, enable_fresh_state=True, memory_size=1024)
    fresh_server.client.send("PUT", f"/fgs/functions/{urn}/config-max-instance", {"max_instance_num": 1})
    alone = [fresh_server.invoke(urn).body for _ in range(50)]

    together = [future.result().body for future in [fresh_server.begin(urn) for _ in range(24)]]

    assert set(alone + together) == {b"1"}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ("exit", 4204),
        ("raise", 4002),
        ("signal", 4204),
        ("eat", 4205),
        ("sleep", 4010),
        ("garbage", 4204),
        ("parent", 4204),
    ],
)
def test_a_fault_gets_the_code_that_it_gets_without_the_switch(fresh_server, faults, event, code):
    plain = fresh_server.deploy(f"plain-{event}", FAULTS, timeout=3)
    assert fresh_server.invoke(faults).body == b"ok"

    answer = fresh_server.invoke(faults, {"do": event})

    assert code_of(answer) == code
    if event != "parent":
        assert code_of(fresh_server.invoke(plain, {"do": event})) == code
    assert fresh_server.invoke(faults).body == b"ok"


def test_the_memory_of_the_instance_is_closed_to_requests(fresh_server, faults):
    answer = fresh_server.invoke(faults, {"do": "memory"})

    assert answer.json()["errorType"] == "PermissionError"


def test_processes_that_go_on_forking_are_gone_before_the_next_request(fresh_server):
    urn = fresh_server.deploy("forks", FORKS, enable_fresh_state=True)
    before = fresh_server.invoke(urn).json()

    with_others = fresh_server.invoke(urn, {"fleeing": 8}).json()

    assert with_others > before
    assert [fresh_server.invoke(urn).json() for _ in range(3)] == [before] * 3


def test_an_instance_that_cannot_be_cleaned_is_replaced(fresh_server, faults):
    fresh_server.invoke(faults, {"do": "locked"})

    eventually(lambda: fresh_server.invoke(faults).status == 200, because="a new instance")


def test_the_switch_is_read_back_and_turned_off_again(fresh_server):
    urn = fresh_server.deploy("switched", STATE, enable_fresh_state=True)
    assert fresh_server.client.function_config(urn)["enable_fresh_state"] is True
    assert [fresh_server.invoke(urn).json()["calls"] for _ in range(2)] == [1, 1]

    have = fresh_server.client.function_config(urn)
    required = {name: have[name] for name in ("func_name", "runtime", "handler", "memory_size", "timeout")}
    fresh_server.client.update_config(urn, required | {"enable_fresh_state": False})

    assert fresh_server.client.function_config(urn)["enable_fresh_state"] is False
    fresh_server.invoke(urn)
    assert fresh_server.client.function_config(urn)["enable_fresh_state"] is False


def test_a_runtime_that_cannot_fork_is_refused(fresh_server):
    with pytest.raises(ApiError, match=r"not possible with runtime 'Node\.js20\.15'") as refused:
        fresh_server.deploy("node", "exports.handler = async () => 1", runtime="Node.js20.15", enable_fresh_state=True)

    assert refused.value.code == "FSS.0400"
