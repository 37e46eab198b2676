"""Instances that are forks of one process: what they must not share, and what the end of that process must not end."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.processes import children_of, is_alive, namespaced_pids_of, runs_python, tree_of, zygotes_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

DESCRIPTORS = 10
"""What sandboxd holds for each stem."""
LIBRARY = "import ctypes; lib = ctypes.CDLL(None, use_errno=True); "
SECRET = "S3CRET-OF-ANOTHER-FUNCTION"
# Runs the statements of its event; `result` is the answer.
PRISONER = """
import os, socket, sys, time

def handler(event, context):
    scope = {"event": event, "context": context}
    try:
        exec(event["run"], scope)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return {"result": scope.get("result")}
"""
HEAVY = """
import os, time

ends_at = time.thread_time() + 0.05
while time.thread_time() < ends_at:
    pass
loaded_at = time.time()
started = 0
{more}

def start(context):
    global started
    started += 1

def handler(event, context):
    return {{"loaded_at": loaded_at, "started": started, "name": context.getFunctionName(), "pid": os.getpid(),
            "mark": os.environ.get("MARK"), "data": context.getUserData("TIER"),
            "namespace": os.stat("/proc/self/ns/pid").st_ino}}
"""


@pytest.fixture(scope="module")
def server(scratch):
    """One server whose idle instances end after a second."""
    from tests.support.server import ServerProcess

    folder = scratch / "zygotes"
    folder.mkdir()
    running = ServerProcess(folder, "--idle-release-s", "1").start()
    eventually(lambda: len(forks_of(running)) >= 8, within_s=30, because="stems were forked")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def prisoner(server):
    return server.deploy("prisoner", PRISONER)


@pytest.fixture
def attack(server, prisoner):
    """Run statements inside a fork; return their `result` or the text of their error."""

    def run(statements, **event):
        answer = server.invoke(prisoner, {"run": statements, **event})
        assert answer.headers["x-func-err-code"] == "0", answer
        body = answer.body.decode()
        return json.loads(body)["result"] if body.startswith("{") else body

    return run


def forks_of(server):
    """Return the pids of the first processes of all forks."""
    return [pid for pid in children_of(server.sandboxd_pid) if runs_python(pid) and len(namespaced_pids_of(pid)) == 2]


def used_by(server):
    """Count what sandboxd holds: processes, dead ones, control groups, mounts, descriptors, loop devices."""
    pid = server.sandboxd_pid
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"funclet-{pid}/" in path]
    mounts = len(Path("/proc", str(pid), "mountinfo").read_text().splitlines())
    processes = tree_of(pid)
    return {
        "forks": len(forks_of(server)),
        "zygotes": len(zygotes_of(server)),
        "dead": sum(1 for one in processes if not is_alive(one)),
        "groups per fork": round(len(groups) / max(1, len(forks_of(server)))),
        "mounts": mounts,
    }


def descriptors_of(server):
    return sum(1 for _ in Path("/proc", str(server.sandboxd_pid), "fd").iterdir())


# What forks share


def test_a_zygote_knows_no_secret_and_sees_no_host(server):
    (zygote,) = zygotes_of(server)
    folder = Path("/proc", str(zygote))
    names = {entry.partition("=")[0] for entry in (folder / "environ").read_text().split("\0") if entry}

    assert names == {"PATH", "HOME", "LANG", "RUNTIME_CODE_ROOT", "LD_LIBRARY_PATH", "FUNCLET_STEM"}
    assert sorted(path.name for path in (folder / "fd").iterdir()) == ["0", "1", "2", "3", "4"]
    assert str(server.data_dir) not in (folder / "mountinfo").read_text()
    assert (folder / "ns" / "net").readlink() != Path("/proc/self/ns/net").readlink()
    assert (folder / "root").stat().st_dev != Path("/").stat().st_dev


def test_no_fork_finds_what_another_function_was_told(server, attack):
    marked = [
        server.deploy(f"holder-{number}", PRISONER, user_data=json.dumps({"TOKEN": SECRET})) for number in range(24)
    ]
    # More than there are stems: some are forked while the request waits.
    answers = [server.begin(urn, {"run": "result = context.getUserData('TOKEN')"}) for urn in marked]
    assert {answer.result(timeout=60).json()["result"] for answer in answers} == {SECRET}
    # The brackets keep the pattern from being what it looks for.
    scan = """
import re
pattern, found = re.compile(b"S3CRET[-]OF[-]ANOTHER[-]FUNCTION"), []
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for words in map(str.split, maps):
        if words[1].startswith("rw"):
            start, end = (int(part, 16) for part in words[0].split("-"))
            memory.seek(start)
            if pattern.search(memory.read(end - start)):
                found.append(words)
result = found
"""

    assert server.invoke(server.deploy("scanner", PRISONER), {"run": scan}).json() == {"result": []}
    assert server.invoke(marked[0], {"run": scan}).json()["result"]
    (zygote,) = zygotes_of(server)
    assert SECRET.encode() not in memory_of(zygote)


def memory_of(pid):
    """Return all that a process could read and write of its own."""
    content = []
    folder = Path("/proc", str(pid))
    with (folder / "mem").open("rb", 0) as memory:
        for line in (folder / "maps").read_text().splitlines():
            words = line.split()
            if words[1].startswith("rw") and not words[-1].startswith("[v"):
                start, end = (int(part, 16) for part in words[0].split("-"))
                memory.seek(start)
                content.append(memory.read(end - start))
    return b"".join(content)


def test_random_state_and_clocks_are_not_those_of_a_sibling(server):
    source = """
import random, uuid, secrets, tempfile, time, ssl

def handler(event, context):
    return {
        "random": random.random(), "uuid1": str(uuid.uuid1()), "uuid4": str(uuid.uuid4()), "hex": secrets.token_hex(8),
        "name": next(tempfile._get_candidate_names()), "ssl": ssl.RAND_bytes(8).hex(), "now": time.time_ns(),
    }
"""
    seen = [server.invoke(server.deploy(f"dice-{number}", source)).json() for number in range(6)]

    for name in seen[0]:
        assert len({one[name] for one in seen}) == len(seen), name


def test_a_fork_holds_its_own_descriptors_and_no_other(attack):
    found = attack("""
import os
result = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        result[fd] = os.readlink("/proc/self/fd/" + fd).partition(":")[0]
    except OSError:
        pass
""")

    # 4 is the log once more, which stays when the author closes the streams.
    assert found == {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "socket", "4": "pipe"}


def test_a_fork_sees_no_process_but_its_own(attack):
    assert attack("import os; result = sorted(n for n in os.listdir('/proc') if n.isdigit())") == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "statements", "outcome"),
    [
        ("memory of init", "open('/proc/1/mem', 'rb', 0)", "PermissionError"),
        ("variables of init", "open('/proc/1/environ').read()", "PermissionError"),
        ("root of init", "import os; os.listdir('/proc/1/root')", "PermissionError"),
        (
            "ptrace of init",
            LIBRARY + "result = [lib.ptrace(16, 1, 0, 0), ctypes.get_errno()]",
            [-1, 1],
        ),
        (
            "memory of another process",
            LIBRARY + "result = [lib.process_vm_readv(1, 0, 0, 0, 0, 0), ctypes.get_errno()]",
            [-1, 1],
        ),
        ("the helper", "import os; result = os.path.exists('/tmp/native.so')", False),
        (
            "new namespaces",
            LIBRARY + "result = [lib.unshare(0x20000), ctypes.get_errno()]",
            [-1, 1],
        ),
    ],
)
def test_a_fork_cannot_reach(attack, name, statements, outcome):
    found = attack(statements)

    assert found.startswith(outcome) if isinstance(outcome, str) else found == outcome, (name, found)


def test_signals_end_nobody_else(server, attack, prisoner):
    before = set(zygotes_of(server)), server.server_pid

    attack(
        """
import os, signal
for pid in [*range(10, 400), *event["pids"]]:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except OSError:
            pass
""",
        pids=[*zygotes_of(server), server.server_pid, server.sandboxd_pid],
    )

    assert (set(zygotes_of(server)), server.server_pid) == before
    assert all(is_alive(pid) for pid in (*before[0], server.server_pid, server.sandboxd_pid))


def test_an_abstract_socket_of_one_is_not_there_for_another(server, attack):
    other = server.deploy("listener", PRISONER)
    listen = (
        "import socket, sys; sys.kept = s = socket.socket(socket.AF_UNIX); s.bind('\\0here'); s.listen(); result = 1"
    )
    assert server.invoke(other, {"run": listen}).json() == {"result": 1}

    assert attack("import socket; socket.socket(socket.AF_UNIX).connect('\\0here')").startswith("ConnectionRefused")


def test_two_forks_share_no_folder_and_no_name(server, attack, prisoner):
    other = server.deploy("writer", PRISONER)
    name = "import socket; open('/tmp/mine', 'w').write('x'); result = socket.gethostname()"
    written = server.invoke(other, {"run": name}).json()["result"]

    assert attack("import os; result = os.listdir('/tmp')") == []
    assert attack("import socket; result = socket.gethostname()") != written


# The end of a zygote


def test_a_killed_zygote_is_replaced_while_requests_go_on(server, prisoner):
    urns = [server.deploy(f"goes-on-{number}", PRISONER) for number in range(30)]
    (before,) = zygotes_of(server)

    answers = [server.begin(urn, {"run": "result = 1"}) for urn in urns[:15]]
    os.kill(before, signal.SIGKILL)
    answers += [server.begin(urn, {"run": "result = 1"}) for urn in urns[15:]]

    assert [answer.result(timeout=60).json() for answer in answers] == [{"result": 1}] * 30
    (after,) = eventually(lambda: zygotes_of(server), because="there is a zygote again")
    assert after != before


def test_nothing_is_left_of_starts_and_dead_zygotes(server):
    def settle():
        eventually(lambda: not server.instances(), within_s=30, because="idle instances are gone")
        last = [-1]

        def is_steady():
            now, last[0] = descriptors_of(server) == last[0], descriptors_of(server)
            return now

        eventually(is_steady, within_s=30, every_s=1.0, because="stems are complete")

    urns = [server.deploy(f"again-{number}", PRISONER) for number in range(20)]
    for urn in urns:
        server.invoke(urn, {"run": "result = 1"})
    settle()
    before, others = used_by(server), descriptors_of(server) - DESCRIPTORS * len(forks_of(server))

    for number in range(3):
        os.kill(zygotes_of(server)[0], signal.SIGKILL)
        for answer in [server.begin(urn, {"run": "result = 1"}) for urn in urns]:
            assert answer.result(timeout=60).status == 200, number
        eventually(lambda: zygotes_of(server), because="there is a zygote again")
        settle()

    after = used_by(server)
    assert after["dead"] == 0
    assert {**after, "forks": 0} == {**before, "forks": 0}
    assert descriptors_of(server) - DESCRIPTORS * len(forks_of(server)) == others


# Functions that are loaded ahead


def starts_of(server, urn, count):
    """Start a function again and again; return what each new instance saw, and when it was asked for."""
    seen = []
    for _ in range(count):
        asked_at = time.time()
        answer = server.invoke(urn, {})
        assert answer.status == 200, answer
        seen.append((asked_at, answer.json()))
        mine = seen[-1][1].pop("namespace")
        eventually(
            lambda mine=mine: mine not in namespaces_of(server), within_s=20, because="the instance was released"
        )
    return seen


def namespaces_of(server):
    """Return the numbers of the pid namespaces of all forks."""
    found = set()
    for pid in forks_of(server):
        with contextlib.suppress(OSError):
            found.add(Path("/proc", str(pid), "ns", "pid").stat().st_ino)
    return found


def test_the_next_instance_of_a_heavy_function_is_loaded_before_it_is_wanted(server):
    urn = server.deploy(
        "heavy", HEAVY.format(more="os.environ['MARK'] = 'mine'"), initializer_handler="index.start",
        initializer_timeout=5, user_data=json.dumps({"TIER": "dev"}),
    )  # fmt: skip

    first, second, third = starts_of(server, urn, 3)

    assert first[1]["loaded_at"] > first[0]
    for asked_at, seen in (second, third):
        assert seen["loaded_at"] < asked_at
        # The initializer belongs to the start, and what the module has set stays.
        assert {**seen, "loaded_at": 0} == {
            "loaded_at": 0, "started": 1, "name": "heavy", "pid": 2, "mark": "mine", "data": "dev",
        }  # fmt: skip
    assert second[1]["loaded_at"] != third[1]["loaded_at"]


@pytest.mark.parametrize(
    "more",
    [
        "import threading; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "import socket; kept = socket.socket()",
        "kept = open('/tmp/kept', 'w')",
        "print('loaded')",
        "import subprocess; kept = subprocess.Popen(['/bin/sleep', '60'])",
    ],
    ids=["thread", "socket", "file", "output", "child"],
)
def test_what_does_more_than_load_is_loaded_when_it_is_wanted(server, more, request):
    urn = server.deploy(f"busy-{request.node.callspec.id}", HEAVY.format(more=more))

    seen = starts_of(server, urn, 2)

    assert all(one["loaded_at"] > asked_at for asked_at, one in seen)
