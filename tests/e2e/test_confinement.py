"""What a function cannot do to the host, to the server and to its neighbours, on a real server run by root."""

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.processes import is_alive, status_of, tree_of, zygotes_of
from tests.support.server import AK, SK
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

MIB = 1 << 20
PROMPT_S = 1.0
"""A neighbour's answer takes a millisecond; this leaves room for a busy machine, not for starving."""

# Runs the statements of its event and returns what they leave in `result`, or the error they end with.
PRISONER = """
import os, socket, sys, time

def handler(event, context):
    scope = {"os": os, "socket": socket, "sys": sys, "time": time, "event": event}
    try:
        exec(event["run"], scope)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return {"result": scope.get("result")}
"""
NEIGHBOUR = """
calls = 0

def handler(event, context):
    global calls
    calls += 1
    return {"calls": calls}
"""
SERVER_USER = "7180"


@pytest.fixture(scope="module")
def neighbour(server):
    """Another function on the same server; the tests look whether it goes on answering."""
    return server.deploy("neighbour", NEIGHBOUR)


@pytest.fixture(scope="module")
def prisoner(server):
    """A function that does what it is told, without a network."""
    return server.deploy("prisoner", PRISONER, network_controller={"disable_public_network": True})


@pytest.fixture(autouse=True)
def neighbour_goes_on(server, neighbour):
    """Every attack leaves the neighbour's instance, and its state, alone."""
    before = calls_of(server, neighbour)
    yield
    assert calls_of(server, neighbour) > before


@pytest.fixture
def attack(server, prisoner):
    """Run statements inside the prisoner; return their `result` or the text of their error."""

    def run(statements, **event):
        answer = server.invoke(prisoner, {"run": statements, **event})
        assert answer.headers["x-func-err-code"] == "0", answer
        body = answer.body.decode()
        return json.loads(body)["result"] if body.startswith("{") else body

    return run


def calls_of(server, neighbour):
    """Call the neighbour; its counter shows that it is the same instance."""
    answer = server.invoke(neighbour)
    assert answer.status == 200, answer
    return answer.json()["calls"]


def slowest_answer_s(server, neighbour, *, until):
    """Call the neighbour again and again until a future is done; return the longest it took."""
    longest = 0.0
    while not until.done():
        began = time.monotonic()
        calls_of(server, neighbour)
        longest = max(longest, time.monotonic() - began)
    return longest


def memory_used_mib(answer):
    """Return the peak of the summary header."""
    return json.loads(answer.headers["x-cff-invoke-summary"])["memoryUsed"]


# Violence


def test_a_fork_bomb_ends_at_its_deadline_and_leaves_nothing(server, neighbour):
    source = """
import os

def handler(event, context):
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""
    bomb = server.deploy("fork-bomb", source, timeout=3, memory_size=512)
    before = set(server.instances())

    attack = server.begin(bomb)
    slowest_s = slowest_answer_s(server, neighbour, until=attack)

    answer = attack.result()
    assert answer.headers["x-func-err-code"] in {"4010", "4205"}
    assert slowest_s < PROMPT_S
    eventually(lambda: set(server.instances()) <= before, because="the bomb's instance is gone")


@pytest.mark.proves("error:FSS.4205", "faq:FAQ-120")
def test_a_function_that_takes_too_much_memory_is_ended(server, neighbour):
    source = "def handler(event, context):\n    return len(bytearray(400 << 20))\n"
    hog = server.deploy("memory-hog", source, memory_size=128)

    attack = server.begin(hog)
    slowest_s = slowest_answer_s(server, neighbour, until=attack)

    answer = attack.result()
    assert answer.status == 500
    assert answer.json()["error_code"] == "FSS.4205"
    assert answer.json()["error_msg"] == "runtime memory limit exceeded"
    assert answer.headers["x-func-err-code"] == "4205"
    assert answer.headers["x-is-func-err"] == "true"
    assert memory_used_mib(answer) == 128
    assert slowest_s < PROMPT_S


def test_a_child_that_takes_too_much_memory_ends_the_whole_instance(server):
    source = """
import os, time

def handler(event, context):
    if os.fork() == 0:
        hold = bytearray(400 << 20)
    time.sleep(8)
"""
    hog = server.deploy("memory-hog-child", source, memory_size=128)

    answer = server.invoke(hog)

    assert answer.json()["error_code"] == "FSS.4205"


FILL = """
import os

def fill():
    chunk, written = b"x" * (1 << 20), 0
    with open("/tmp/fill", "wb", buffering=0) as file:
        while True:
            written += file.write(chunk)

def handler(event, context):
    left_over = os.listdir("/tmp")
    try:
        if event.get("fill"):
            fill()
    except OSError as error:
        if event["fill"] == "fail":
            raise
        size = os.stat("/tmp/fill").st_size
        return {"errno": error.errno, "mib": size >> 20, "left_over": left_over}
    return {"left_over": left_over}
"""


@pytest.mark.proves("faq:FAQ-206")
def test_a_full_tmp_is_the_functions_own_affair(server, neighbour):
    """It ends at the size of /tmp, not at the host's disk, and is not counted as memory."""
    filler = server.deploy("tmp-filler", FILL, memory_size=128)
    free_before = free_mib(server.data_dir)

    attack = server.begin(filler, {"fill": "report"})
    slowest_s = slowest_answer_s(server, neighbour, until=attack)

    answer = attack.result()
    assert answer.status == 200, answer
    assert answer.json()["errno"] == 28
    assert 500 <= answer.json()["mib"] <= 530
    assert free_before - free_mib(server.data_dir) < 600
    assert slowest_s < PROMPT_S


@pytest.mark.proves("error:FSS.4207")
def test_a_handler_that_fails_for_want_of_disk_is_told_so(server):
    filler = server.deploy("tmp-filler-2", FILL, memory_size=128)

    failed = server.invoke(filler, {"fill": "fail"})
    after = server.invoke(filler)

    assert failed.status == 500
    assert failed.json()["error_code"] == "FSS.4207"
    assert failed.json()["error_msg"] == "disk usage exceed limit"
    assert after.json() == {"left_over": []}


def free_mib(folder):
    """Return the space of the disk that a folder is on."""
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize // MIB


def test_a_busy_loop_does_not_starve_the_neighbour(server, neighbour):
    spinner = server.deploy("spinner", "def handler(event, context):\n    while True: pass\n", timeout=3)

    attacks = [server.begin(spinner) for _ in range(4)]
    slowest_s = slowest_answer_s(server, neighbour, until=attacks[0])

    assert {attack.result().headers["x-func-err-code"] for attack in attacks} == {"4010"}
    assert slowest_s < PROMPT_S


# Noise


@pytest.mark.proves("error:FSS.4204")
@pytest.mark.parametrize(
    "noise",
    [
        "b'\\xff' * 100",
        "b'\\x00\\x00\\x00\\x00' * 100",
        "b'\\x7f\\xff\\xff\\xff' + b'x' * 100_000",
        "b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'",
        "os.urandom(1 << 20)",
    ],
)
def test_nonsense_on_the_socket_of_requests_ends_only_the_one_who_says_it(server, noise):
    """The function holds that socket as well: the server must not believe what it reads."""
    source = f"""
import os, socket, time

def handler(event, context):
    if event:
        socket.socket(fileno=os.dup(3)).sendall({noise})
        time.sleep(5)
    return "quiet"
"""
    urn = server.deploy(f"noisy-{abs(hash(noise)) % 10**8}", source)

    failed, after = server.invoke(urn, {"noise": True}), server.invoke(urn)

    assert (failed.status, failed.json()["error_code"]) == (500, "FSS.4204")
    assert after.body == b"quiet"


@pytest.mark.parametrize("kind", range(8))
def test_an_answer_that_nobody_asked_for_reaches_nobody(server, kind):
    """Whoever answers while idle is ended; those who call meanwhile get answers of their own, or are told so."""
    source = """
import os, socket, struct, threading

def handler(event, context):
    if event:
        forged = struct.pack("!IBBH16sII", 28 + 6, event["kind"], 0, 0, bytes(16), 0, 0) + b"forged"
        threading.Timer(0.1, socket.socket(fileno=os.dup(3)).sendall, [forged]).start()
    return "own"
"""
    urn = server.deploy(f"forger-{kind}", source)
    before = set(server.instances())
    server.invoke(urn, {"kind": kind})
    (instance,) = set(server.instances()) - before

    answers = []
    while instance in server.instances():
        answers.append(server.invoke(urn))

    assert all(answer.body == b"own" or answer.json()["error_code"] == "FSS.4204" for answer in answers)


@pytest.mark.parametrize("during", ["request", "idleness"])
def test_a_flood_of_output_drowns_nobody(server, neighbour, during):
    source = """
import os, threading, time

def flood(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(1, b"x" * 65536)

def handler(event, context):
    if event["during"] == "request":
        flood(2)
    else:
        threading.Thread(target=flood, args=[2]).start()
    return 1
"""
    urn = server.deploy(f"flood-{during}", source, memory_size=1024)
    memory_before = resident_mib(server.server_pid)
    sleeper = "import time\n\ndef handler(event, context):\n    time.sleep(2)\n"
    two_seconds = server.begin(server.deploy(f"sleeper-{during}", sleeper))

    attack = server.begin(urn, {"during": during})
    slowest_s = slowest_answer_s(server, neighbour, until=two_seconds)

    assert attack.result().status == 200
    assert slowest_s < PROMPT_S
    assert resident_mib(server.server_pid) - memory_before < 64


def resident_mib(pid):
    """Return the resident memory of a process."""
    return int(status_of(pid)["VmRSS"].split()[0]) // 1024


# Files


def test_the_servers_data_cannot_be_seen(server, attack):
    inside = (server.data_dir / name for name in ("", "funclet.db", "packages", "lock"))
    paths = [*inside, server.home / ".fgs" / "config.toml", server.log_path, f"/proc/{server.server_pid}", "/run"]

    seen = attack("result = [path for path in event['paths'] if os.path.exists(path)]", paths=[str(p) for p in paths])

    assert seen == []


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/ssh", "/root", "/proc/1/environ", "/proc/kcore", "/sys/kernel"])
def test_secrets_of_the_host_cannot_be_read(attack, path):
    statements = "path = event['path']; result = os.listdir(path) if os.path.isdir(path) else open(path).read()"

    answer = attack(statements, path=path)

    # What the kernel has and everybody may read is covered by an empty file.
    assert answer == "" or answer.startswith(("FileNotFoundError", "PermissionError"))


@pytest.mark.proves("faq:FAQ-403")
def test_code_of_others_cannot_be_seen(server):
    server.deploy("keeper", {"index.py": "def handler(event, context):\n    return 1\n", "secret-of-keeper.txt": "s"})
    server.invoke(f"urn:fss:{server.region}:{server.project_id}:function:default:keeper:latest")

    # All files of the host's /usr are among them.
    searcher = server.deploy("searcher", PRISONER, timeout=120)
    statements = "result = [name for _, _, names in os.walk('/') for name in names if 'secret-of' in name]"
    answer = server.invoke(searcher, {"run": statements})

    assert answer.json() == {"result": []}


def test_its_own_code_and_the_system_cannot_be_changed(attack):
    statements = """
result = []
for path in ("/usr/bin/new", "/opt/function/code/index.py", "/opt/function/code/new", "/home/snuser/new", "/etc/passwd",
             "/home/snuser/runtime/bootstrap.py", "/new", "/dev/new", "/proc/sys/kernel/core_pattern"):
    try:
        open(path, "a").close()
        result.append(path)
    except OSError:
        pass
"""
    assert attack(statements) == []


# Secrets


def test_no_secret_of_the_server_reaches_an_instance(attack):
    statements = """
result = {"environment": dict(os.environ), "files": []}
for pid in os.listdir("/proc"):
    for name in ("environ", "cmdline") if pid.isdigit() else ():
        try:
            result["files"].append(open(f"/proc/{pid}/{name}").read())
        except OSError:
            pass
"""
    seen = json.dumps(attack(statements))

    assert "RUNTIME_HANDLER" in seen
    for secret in (SK, AK, "FGS_ADMIN", "funclet.db"):
        assert secret not in seen


def test_the_secret_key_is_not_left_in_the_environment_of_our_processes(server):
    for pid in (server.sandboxd_pid, server.server_pid):
        for name in ("environ", "cmdline"):
            assert SK.encode() not in Path("/proc", str(pid), name).read_bytes()


def test_it_holds_no_descriptor_but_its_own(attack):
    statements = """
result = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        result[int(fd)] = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        pass  # the one that lists
"""
    descriptors = attack(statements)

    # Standard input, the log pipe and the socket of its requests; the runtime may hold copies.
    kinds = sorted(target.partition(":")[0] for target in set(descriptors.values()))
    assert kinds == ["/dev/null", "pipe", "socket"]


def test_no_socket_of_the_host_has_a_name_inside(attack):
    """Sandboxd listens nowhere; and what others listen on is in another network namespace."""
    lines = attack("result = open('/proc/net/unix').read().splitlines()[1:]")

    assert [line for line in lines if len(line.split()) > 7] == []


# Processes


@pytest.mark.proves("faq:FAQ-403")
def test_it_sees_and_ends_only_its_own_processes(server, attack):
    statements = """
result = {"pids": sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit()), "found": []}
for pid in (-1, 1, *event["pids"]):
    try:
        os.kill(pid, 9)
        result["found"].append(pid)
    except ProcessLookupError:
        pass
"""
    targets = [server.server_pid, server.sandboxd_pid, os.getpid()]

    seen = attack(statements, pids=targets)

    assert seen == {"pids": [1, 2], "found": [1]}
    assert is_alive(server.server_pid)
    # Nor its own first process, which takes no signal from inside.
    assert attack("result = 1") == 1


def test_the_server_is_an_ordinary_user_without_capabilities(server):
    status = status_of(server.server_pid)

    assert status["Uid"].split() == [SERVER_USER] * 4
    assert status["Gid"].split() == [SERVER_USER] * 4
    assert status["Groups"].split() == []
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
    assert status["NoNewPrivs"] == "1"


def test_only_sandboxd_and_its_zygotes_are_root(server, attack):
    assert attack("result = os.getuid()") == 1003

    def those_of(user):
        found = set()
        for pid in tree_of(server.sandboxd_pid):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found |= {pid} if status_of(pid)["Uid"].split()[0] == user else set()
        return found

    # What is being made for the next starts is root until it has its own user, some milliseconds later.
    eventually(lambda: those_of("0") == {server.sandboxd_pid, *zygotes_of(server)})
    assert those_of(SERVER_USER) == {server.server_pid}


LIBC = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
value = {call}
result = [value, ctypes.get_errno()]
"""
REFUSED = {1, 2, 13, 22, 30, 38}  # EPERM, ENOENT, EACCES, EINVAL (no such user here), EROFS, ENOSYS


@pytest.mark.parametrize(
    "call",
    [
        "libc.setuid(0)",
        "libc.setgid(0)",
        "libc.setresuid(0, 0, 0)",
        "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
        "libc.mount(b'/', b'/tmp', None, 4096, None)",
        "libc.umount2(b'/proc', 2)",
        "libc.unshare(0x10000000)",
        "libc.unshare(0x00020000)",
        "libc.setns(3, 0)",
        "libc.ptrace(16, 1, 0, 0)",
        "libc.chroot(b'/tmp')",
        "libc.pivot_root(b'/tmp', b'/tmp')",
        "libc.mknod(b'/tmp/sda', 0o60666, 0x800)",
        "libc.open(b'/dev/mem', 2)",
        "libc.open(b'/dev/loop0', 2)",
        "libc.open(b'/proc/1/mem', 2)",
        "libc.init_module(b'', 0, b'')",
        "libc.reboot(0)",
        "libc.syscall(321, 0, 0, 0)",
        "libc.syscall(425, 1, 0)",
        "libc.sched_setscheduler(0, 1, (ctypes.c_int * 1)(99))",
    ],
    ids=lambda call: call.removeprefix("libc.").partition("(")[0],
)
def test_privileges_cannot_be_gained(attack, call):
    value, number = attack(LIBC.format(call=call))

    assert value == -1
    assert number in REFUSED


def test_programs_of_root_give_no_rights(attack):
    statements = """
import subprocess
done = subprocess.run(["/usr/bin/su", "-c", "id -u"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
result = [done.returncode, done.stdout]
"""
    code, printed = attack(statements)

    assert code != 0
    assert printed == ""


# Network

CONNECT = """
from concurrent.futures import ThreadPoolExecutor

def connect(address):
    try:
        with socket.create_connection(tuple(address), timeout=0.7) as peer:
            peer.settimeout(0.7)
            return peer.recv(100).decode()
    except OSError as error:
        return False

with ThreadPoolExecutor(8) as pool:
    result = list(pool.map(connect, event["addresses"]))
"""


@pytest.fixture(scope="module")
def host_listener():
    """A service on all addresses of the host that greets whoever connects; its port."""
    with Greeter("0.0.0.0") as listener:
        yield listener


class Greeter:
    """Listens and says hello; `address` is where, also in another network namespace."""

    PROGRAM = """
import socket, sys
with socket.create_server((sys.argv[1], 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        peer, _ = server.accept()
        peer.sendall(b"hello"); peer.close()
"""

    def __init__(self, address, *, namespace=None):
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        self._command = [*prefix, "/usr/bin/python3", "-c", self.PROGRAM, address]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        return int(self._process.stdout.readline())

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def host_addresses():
    """Return the host's IPv4 addresses."""
    links = json.loads(subprocess.check_output(["ip", "-json", "-4", "addr"]))
    return [entry["local"] for link in links for entry in link["addr_info"]]


def api_address(server):
    """Return where the API is, as a pair."""
    return ["127.0.0.1", int(server.api_url.rsplit(":", 1)[1])]


def test_without_a_network_nothing_can_be_reached(server, attack, host_listener):
    addresses = [api_address(server), *([address, host_listener] for address in host_addresses()), ["198.51.100.1", 80]]

    assert attack("result = [name for _, name in socket.if_nameindex()]") == ["lo"]
    assert attack(CONNECT, addresses=addresses) == [False] * len(addresses)


def test_the_operator_can_take_the_network_from_all_functions(new_server):
    server = new_server("--network", "off")
    function = server.deploy("offline", PRISONER)

    answer = server.invoke(function, {"run": "result = [name for _, name in socket.if_nameindex()]"})

    assert answer.json() == {"result": ["lo"]}


@pytest.fixture
def outside():
    """A network behind the host, as the internet is: a namespace and a wire to it. Yields address and port."""
    name = f"fgstest{os.getpid()}"
    commands = f"""
ip netns add {name}
ip link add {name} type veth peer name eth0 netns {name}
ip addr add 198.51.100.1/24 dev {name}
ip link set {name} up
ip -n {name} addr add 198.51.100.2/24 dev eth0
ip -n {name} link set eth0 up
"""
    try:
        for command in commands.strip().splitlines():
            subprocess.run(command.split(), check=True)
        # Packets of the answer are forwarded by the rule of the device they come from.
        Path(f"/proc/sys/net/ipv4/conf/{name}/forwarding").write_text("1")
        with Greeter("198.51.100.2", namespace=name) as port:
            yield ["198.51.100.2", port]
    finally:
        subprocess.run(["ip", "link", "del", name], check=False)
        subprocess.run(["ip", "netns", "del", name], check=False)


def test_with_a_network_only_the_outside_can_be_reached(server, outside, host_listener):
    online = server.deploy("online", PRISONER)
    inside = [api_address(server), *([address, host_listener] for address in host_addresses())]

    answer = server.invoke(online, {"run": CONNECT, "addresses": [outside, *inside]})

    assert answer.json() == {"result": ["hello"] + [False] * len(inside)}


@pytest.mark.proves("faq:FAQ-403")
def test_instances_cannot_reach_each_other(server):
    listening = """
import threading
listener = socket.create_server(("0.0.0.0", 9000))
sys.kept = listener
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect(("198.51.100.1", 9))
result = probe.getsockname()[0]
socket.create_connection((result, 9000)).close()
"""
    one, other = server.deploy("one", PRISONER), server.deploy("other", PRISONER)
    address = server.invoke(one, {"run": listening}).json()["result"]

    answer = server.invoke(other, {"run": CONNECT, "addresses": [[address, 9000]]})

    assert address.startswith("10.213.")
    assert answer.json() == {"result": [False]}


@pytest.mark.proves("faq:FAQ-237")
def test_nobody_can_connect_to_a_function(server):
    """Not even from the host: a function answers requests of the platform and nothing else."""
    listening = """
listener = socket.create_server(("0.0.0.0", 9000))
sys.kept = listener
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect(("198.51.100.1", 9))
result = probe.getsockname()[0]
"""
    address = server.invoke(server.deploy("listening", PRISONER), {"run": listening}).json()["result"]

    with pytest.raises(OSError, match=r"timed out|refused|unreachable"):
        socket.create_connection((address, 9000), timeout=0.5)
