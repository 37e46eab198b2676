"""What sandboxd keeps towards the server, the host, and whoever starts it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from funclet.sandbox.protocol import Network, SandboxError
from funclet.sandbox.sandboxd.messages import Create, Failed, Ready, Started, Stop, parse, receive, render, send
from tests.support.network import outside_world
from tests.support.sandbox import PYTHON, become_true, make_folders, run_in_lab, start_sandboxd
from tests.support.waiting import eventually

pytestmark = pytest.mark.root


@contextmanager
def sandboxd():
    """Yield a raw connection to a sandboxd that is ready, the folders it may show, and the process."""
    folder = make_folders()
    control, process = start_sandboxd(folder, as_nobody=False, image_folder=folder)
    try:
        with closing(control):
            control.settimeout(20)
            assert hear(control) == Ready(level="full", error="", checks=hear.checks)
            yield control, folder, process
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def hear(control):
    packet, descriptors = receive(control)
    for fd in descriptors:
        os.close(fd)
    message = parse(packet) if packet else None
    hear.checks = getattr(message, "checks", {})
    return message


def request(folder, **changes):
    members = {
        "id": 1,
        "name": f"raw-{os.getpid()}",
        "interpreter": str(PYTHON),
        "arguments": ("-c", "import time; time.sleep(100)"),
        "environment": {},
        "stem_environment": {},
        "code_dir": str(folder / "code" / "one"),
        "runtime_dir": str(folder / "runtime"),
        "interpreter_links": (),
        "memory_mib": 64,
        "cpu_millicores": 300,
        "tmp_mib": 16,
        "processes": 16,
        "open_files": 64,
        "network": "off",
        "extra_read_only": {},
    }
    return Create(**(members | changes))


def traces(pid, folder):
    """Everything on this host that speaks of one sandboxd."""
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"funclet-{pid}" in path]
    links = [path.name for path in Path("/sys/class/net").glob(f"fgs{pid}*")]
    disks = [path for path in Path("/sys/block").glob("loop*/loop/backing_file") if folder.name in _text(path)]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if folder.name in line]
    runs = [path for path in (Path("/run/funclet") / str(pid),) if path.exists()]
    rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    return groups + links + disks + mounts + runs + ([rules] if f"fgs{pid}" in rules else [])


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def test_it_starts_and_ends_an_instance():
    with sandboxd() as (control, folder, _):
        send(control, render(request(folder)))
        assert isinstance(hear(control), Started)

        send(control, render(Stop(id=1, grace_ms=0)))

        assert (hear(control).reason, Path("/proc/self").exists()) == ("stopped", True)


def test_a_symbolic_link_below_an_allowed_folder_is_not_followed():
    """The server may swap a folder for a link after it was checked; the privileged side must not follow."""
    with sandboxd() as (control, folder, _):
        (folder / "code" / "evil").symlink_to("/etc")
        send(control, render(request(folder, code_dir=str(folder / "code" / "evil"))))

        answer = hear(control)

        assert isinstance(answer, Failed)
        assert "Too many levels of symbolic links" in answer.error


@pytest.mark.parametrize(
    "changes",
    [
        {"code_dir": "/etc"},
        {"code_dir": "{folder}/code/../../etc"},
        {"runtime_dir": "/root"},
        {"extra_read_only": {"/var": "/mnt/var"}},
        {"extra_read_only": {"{folder}/code": "/mnt/../etc"}},
        {"extra_read_only": {"{folder}/code": "/etc"}},
        {"interpreter": "/root/python"},
    ],
)
def test_paths_that_are_none_of_its_business_are_refused(changes):
    with sandboxd() as (control, folder, _):
        filled = json.loads(json.dumps(changes).replace("{folder}", str(folder)))
        send(control, render(request(folder, **filled)))

        assert isinstance(hear(control), Failed)


@pytest.mark.parametrize(
    "packet",
    [
        b"nonsense",
        b"[]",
        b'["Create",{}]',
        b'["Exited",{"id":1,"reason":"x","status":0}]',
        b"[" * 100_000,
    ],
)
def test_a_server_that_speaks_nonsense_is_left(packet):
    with sandboxd() as (control, _, process):
        send(control, packet)

        assert process.wait(10) == 0


def test_an_id_cannot_be_used_twice():
    with sandboxd() as (control, folder, process):
        send(control, render(request(folder)))
        assert isinstance(hear(control), Started)

        send(control, render(request(folder, name="second")))

        assert process.wait(10) == 0


def test_descriptors_from_the_server_are_closed():
    with sandboxd() as (control, _, process):
        before = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        for _ in range(20):
            send(control, render(Stop(id=99, grace_ms=0)), [0, 1, 2])

        # Meanwhile it prepares slots, which takes a few descriptors; sixty would have leaked.
        eventually(lambda: len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < before + 20)


def test_nothing_is_left_when_the_server_disappears():
    with sandboxd() as (control, folder, process):
        send(control, render(request(folder)))
        assert isinstance(hear(control), Started)
        assert traces(process.pid, folder)

        control.close()

        process.wait(10)
        eventually(lambda: traces(process.pid, folder) == [])


def test_what_a_killed_one_left_is_removed_by_the_next():
    with sandboxd() as (control, folder, process):
        for number, network in enumerate(("off", "nat")):
            send(control, render(request(folder, id=number, name=f"left-{number}", network=network)))
            assert isinstance(hear(control), Started)
        process.kill()
        process.wait()
        assert traces(process.pid, folder)

        with sandboxd():
            eventually(lambda: traces(process.pid, folder) == [])


def test_nothing_is_left_of_many_instances():
    left = []

    async def body(lab):
        async with lab.running(), lab.running(network=Network.NAT), lab.running(tmp_mib=64):
            pass
        with pytest.raises(SandboxError):
            await lab.driver.create().start(lab.spec(interpreter=Path("/usr/bin/no-such")))
        pid = lab.sandboxd.pid
        groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"funclet-{pid}/" in path]
        left.extend(groups)

    run_in_lab("full", body)
    assert left == []


FETCH = "result = socket.create_connection(({!r}, {}), timeout=1).recv(100)"


def test_with_a_network_only_the_outside_can_be_reached():
    answers = {}

    async def body(lab):
        with outside_world(), socket.create_server(("0.0.0.0", 0)) as here:
            port = here.getsockname()[1]
            async with lab.running(network=Network.NAT) as one, lab.running(network=Network.NAT) as two:
                address = await two.ask(
                    "s = socket.socket(2, 2); s.connect(('198.51.100.2', 1)); result = s.getsockname()[0]"
                )
                await two.ask("import builtins; builtins.open_port = socket.create_server(('0.0.0.0', 8080))")
                answers["outside"] = await one.ask(FETCH.format("198.51.100.2", 8080))
                answers["host"] = await one.ask(FETCH.format("198.51.100.1", port))
                answers["bridge"] = await one.ask(FETCH.format("10.214.77.1", port))
                answers["other instance"] = await one.ask(FETCH.format(address, 8080))
                answers["metadata"] = await one.ask(FETCH.format("169.254.169.254", 80))
                answers["address"] = address
                # What has sent something is not kept for the next one.
                await two.ask(FETCH.format("198.51.100.2", 8080))
        await become_true(lambda: len(list(Path("/sys/class/net").glob(f"fgs{lab.sandboxd.pid}v*"))) <= 2)

    run_in_lab("full", body, nat_network="10.214.77.0/24")

    assert answers.pop("outside") == b"198.51.100.1"  # the host's address, not the instance's
    assert answers.pop("address").startswith("10.214.77.")
    assert {name: str(answer) for name, answer in answers.items() if "rror" not in str(answer)} == {}


PLACE = "import os; result = [os.stat('/proc/self/ns/net').st_ino, os.stat('/tmp').st_dev]"
CLEAN = """
import pathlib
lines = pathlib.Path('/proc/net/dev').read_text().splitlines()[2:]
result = os.listdir('/tmp'), sum(int(line.partition(':')[2].split()[9]) for line in lines)
"""
UDP = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('{}', 9))"


@pytest.mark.parametrize(
    ("use", "is_kept"),
    [
        ("result = 1 + 1", [True, True]),
        ("open('/tmp/secret', 'w').write('mine')", [True, False]),
        ("open('/tmp/secret', 'w').close(); os.unlink('/tmp/secret')", [True, False]),
        ("os.listdir('/tmp')", [True, False]),
        (UDP.format("127.0.0.1"), [False, True]),
        (UDP.format("192.0.2.1"), [False, True]),  # no route leads there
    ],
)
def test_only_what_an_instance_did_not_use_of_its_slot_is_used_again(use, is_kept):
    async def body(lab):
        with ExitStack() as stack:
            async with lab.running() as box:
                mine = await box.ask(PLACE)
                (pid,) = lab.processes()
                # As long as somebody holds them, their numbers stay theirs.
                for path in ("ns/net", "root/tmp"):
                    stack.callback(os.close, os.open(f"/proc/{pid}/{path}", os.O_RDONLY | os.O_CLOEXEC))
                await box.ask(use)
            places = []
            for _ in range(4):
                async with lab.running() as box:
                    places.append(await box.ask(PLACE))
                    assert await box.ask(CLEAN) == ([], 0)
            kept = [mine[index] in {place[index] for place in places} for index in range(len(mine))]
            assert kept == is_kept

    run_in_lab("full", body, spare_slots=1)


SUPERVISED = """
import os, signal, socket, sys, time
from pathlib import Path
from funclet.sandbox.sandboxd.settings import SandboxdSettings
from funclet.sandbox import native
from funclet.sandbox.sandboxd.supervise import supervise

def server(control):
    seen = []
    ids = {user_ids}
    if ids:
        os.setgroups([])
        os.setresgid(ids[1], ids[1], ids[1])
        os.setresuid(ids[0], ids[0], ids[0])
        native.helper().set_parent_death_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    print("server", os.getpid(), os.getuid(), os.getppid(), flush=True)
    while True:
        time.sleep(0.02)
        if seen:
            print("signals", *seen, flush=True)
            if len(seen) > 1 or seen[0] == signal.SIGTERM:
                {ending}

supervise(server, settings=SandboxdSettings(allowed_folders=(Path("/var/tmp"),)))
"""


@contextmanager
def supervised(ending="return 5", user_ids=(65534, 65534)):
    program = SUPERVISED.format(ending=ending, user_ids=user_ids)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        _, pid, user, _ = process.stdout.readline().split()
        try:
            yield process, int(pid), int(user)
        finally:
            process.kill()


def test_the_server_is_an_ordinary_user():
    with supervised() as (process, pid, user):
        groups = Path(f"/proc/{pid}/status").read_text()

        assert user == 65534
        assert "CapEff:\t0000000000000000" in groups
        process.terminate()
        assert process.wait(10) == 5


def test_what_the_first_process_knew_is_not_in_the_memory_of_sandboxd():
    program = "secret = 'only-' + 'the-first-process-knows'\n" + SUPERVISED.format(ending="return 5", user_ids=None)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        eventually(lambda: b"sandboxd" in Path(f"/proc/{process.pid}/cmdline").read_bytes())

        assert b"only-the-first-process-knows" not in writable_memory(process.pid)
        process.terminate()
        assert process.wait(10) == 5


def writable_memory(pid):
    """Return all memory of a process that is its own."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if "w" in rights and "vvar" not in line:
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)


def test_the_exit_status_is_that_of_the_server():
    with supervised(ending="os._exit(9)") as (process, _, _):
        process.terminate()

        assert process.wait(10) == 9


def test_a_server_that_dies_of_a_signal_ends_everything():
    with supervised() as (process, pid, _):
        os.kill(pid, signal.SIGKILL)

        assert process.wait(10) == 128 + signal.SIGKILL
        eventually(lambda: traces(process.pid, Path("/no-such-folder")) == [])


def test_one_ctrl_c_reaches_the_server_once_and_a_second_one_again():
    """A terminal signals the whole foreground group; the server must not count one key press as two."""
    with supervised() as (process, _, _):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline().split() == ["signals", "2"]

        os.killpg(process.pid, signal.SIGINT)

        assert "signals 2 2" in process.stdout.read()
        assert process.wait(10) == 5


def test_the_server_is_told_when_the_supervisor_is_killed():
    with supervised(ending="os._exit(0)") as (process, pid, _):
        process.kill()

        process.wait()
        eventually(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text())


def test_as_an_ordinary_user_the_topology_is_the_same():
    program = SUPERVISED.format(ending="return 5", user_ids=None)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().split()[2] == "65534"
        process.terminate()

        assert process.wait(10) == 5


def test_settings_survive_their_way_over_a_command_line():
    from funclet.sandbox.sandboxd.settings import SandboxdSettings

    settings = SandboxdSettings(
        allowed_folders=(Path("/a"),), interpreter_prefixes=(Path("/b"),), nameservers=("1.2.3.4",)
    )
    again = SandboxdSettings.from_json(settings.to_json())

    assert replace(again, nameservers=tuple(again.nameservers)) == settings


def test_two_of_them_use_different_user_ids():
    """One uid would mean one limit of processes: a fork bomb of one server's function would stop the other's."""
    with sandboxd() as (first, folder, _), sandboxd() as (second, other_folder, _):
        users = []
        for control, code in ((first, folder), (second, other_folder)):
            send(control, render(request(code, id=1)))
            users.append(Path(f"/proc/{hear(control).pid}").stat().st_uid)

        assert users[0] != users[1]
