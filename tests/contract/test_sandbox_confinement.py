"""What code inside a sandbox cannot do at levels `full` and `rootless`."""

import asyncio
import os
from pathlib import Path

import pytest

from funclet.sandbox.protocol import ExitReason, Network, SandboxError
from tests.support.sandbox import become_true, run_in_lab

SYSCALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    value = libc.syscall(*arguments)
    return "allowed" if value >= 0 else os.strerror(ctypes.get_errno())
"""
FULL = pytest.param("full", marks=pytest.mark.root)

isolated = pytest.mark.parametrize("level", ["rootless", FULL])
full = pytest.mark.parametrize("level", [FULL])


def ask(level, statements, **spec):
    """Run statements in a fresh sandbox and return their result."""
    answers = []

    async def body(lab):
        async with lab.running(**spec) as box:
            answers.append(await box.ask(statements))

    run_in_lab(level, body)
    return answers[0]


@isolated
def test_it_sees_itself_as_snuser(level):
    statements = "import pwd; result = (os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name)"

    assert ask(level, statements) == (1003, 1003, "snuser")


@isolated
def test_it_has_no_capability_and_cannot_gain_one(level):
    wanted = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    status = ask(
        level,
        "result = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())",
    )

    assert [int(status[name], 16) for name in wanted] == [0, 0, 0, 0, 0, 1, 2]


@isolated
def test_it_sees_only_its_own_processes(level):
    assert ask(level, "result = sorted(p for p in os.listdir('/proc') if p.isdigit())") == ["1", "2"]


@isolated
def test_it_cannot_kill_processes_of_the_host(level):
    assert ask(level, f"os.kill({os.getpid()}, 0)") == "ProcessLookupError: [Errno 3] No such process"


@isolated
def test_its_init_survives_its_attacks(level):
    assert ask(level, "os.kill(1, 9); os.kill(1, 1); time.sleep(0.1); result = os.getppid()") == 1


@isolated
def test_it_cannot_read_the_memory_of_its_init(level):
    assert "Permission denied" in ask(level, "open('/proc/1/mem', 'rb')")
    assert "Permission denied" in ask(level, "open('/proc/1/environ', 'rb').read()")


@isolated
def test_the_root_has_only_what_it_should(level):
    listing = ask(level, "result = {p: sorted(os.listdir(p)) for p in ('/', '/dev', '/home', '/opt', '/mnt', '/var')}")

    assert set(listing["/"]) <= {
        *(
            "bin",
            "dev",
            "etc",
            "home",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "mnt",
            "opt",
            "proc",
            "sbin",
            "tmp",
            "usr",
            "var",
        )
    }
    assert set(listing["/dev"]) == {"fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"}
    assert (listing["/home"], listing["/opt"], listing["/mnt"], listing["/var"]) == (["snuser"], ["function"], [], [])


@isolated
@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/sys", "/sys/fs/cgroup", "/run", "/root", "/var/lib", "/var/run", "/proc/kcore"]
)
def test_host_files_are_not_there(level, path):
    answer = ask(level, f"result = os.stat({path!r}).st_size or len(open({path!r}, 'rb').read())")

    assert answer == 0 or "No such file" in answer


@isolated
def test_data_folder_and_code_of_others_are_not_there(level):
    seen = []

    async def body(lab):
        async with lab.running() as box:
            paths = [
                str(lab.folder),
                str(lab.folder / "code" / "two"),
                "/opt/function/two",
                "/opt/function/code/../two",
            ]
            seen.extend(await box.ask(f"result = [os.path.exists(path) for path in {paths}]"))

    run_in_lab(level, body)
    assert seen == [False] * 4


@isolated
@pytest.mark.parametrize(
    "folder",
    [
        "/",
        "/usr",
        "/etc",
        "/opt/function",
        "/opt/function/code",
        "/home/snuser",
        "/home/snuser/runtime",
        "/home/snuser/log",
        "/dev",
        "/proc/sys/kernel",
    ],
)
def test_nothing_but_tmp_is_writable(level, folder):
    answer = ask(level, f"open({folder!r} + '/new', 'w')")

    assert "Read-only file system" in answer or "Permission denied" in answer or "No such file" in answer


@isolated
def test_kernel_settings_are_not_writable(level):
    answers = ask(
        level,
        """
result = []
for path in ("sys/kernel/hostname", "sys/net/ipv4/ip_forward", "sys/kernel/core_pattern", "sysrq-trigger"):
    try:
        open(f"/proc/{path}", "w").write("x"); result.append("written")
    except OSError as error:
        result.append(error.errno)
""",
    )

    assert set(answers) <= {1, 2, 13, 30}


@isolated
def test_code_cannot_be_changed_through_its_owner(level):
    assert "Read-only" in ask(level, "os.chmod('/opt/function/code/mine.txt', 0o777)")


@isolated
def test_tmp_is_writable_and_empty_at_first(level):
    assert ask(level, "result = os.listdir('/tmp'); open('/tmp/x', 'w').write('y')") == []


@isolated
def test_tmp_is_full_at_its_size(level):
    statements = """
written, chunk = 0, b"x" * (1 << 20)
try:
    with open("/tmp/fill", "wb", buffering=0) as file:
        while written < 200:
            file.write(chunk); written += 1
except OSError as error:
    result = (error.errno, written)
"""
    number, written = ask(level, statements, tmp_mib=32, memory_mib=128)

    assert number == 28
    assert 30 <= written <= 40


@full
def test_tmp_may_be_larger_than_memory(level):
    statements = """
chunk = b"x" * (1 << 20)
with open("/tmp/fill", "wb", buffering=0) as file:
    for _ in range(400):
        file.write(chunk)
result = os.stat("/tmp/fill").st_size
"""
    assert ask(level, statements, tmp_mib=512, memory_mib=128) == 400 << 20


@full
def test_bytes_in_tmp_are_measured(level):
    usage = []

    async def body(lab):
        async with lab.running() as box:
            await box.ask("open('/tmp/x', 'wb').write(b'x' * 5_000_000); os.sync()")
            usage.append(box.sandbox.measure().tmp_bytes)

    run_in_lab(level, body)
    assert 5_000_000 <= usage[0] < 6_000_000


@isolated
def test_a_fork_bomb_stops_at_the_limit_of_processes(level):
    statements = """
made = 0
try:
    while made < 500:
        if os.fork() == 0:
            time.sleep(100)
        made += 1
except BlockingIOError:
    result = made
"""
    assert 30 <= ask(level, statements, processes=40) <= 41


@isolated
def test_open_files_are_limited(level):
    assert ask(level, "import resource; result = resource.getrlimit(resource.RLIMIT_NOFILE)[1]", open_files=64) == 64


@isolated
@pytest.mark.parametrize(
    "call",
    [
        "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
        "libc.umount2(b'/proc', 0)",
        "libc.unshare(0x10000000)",
        "libc.setns(0, 0)",
        "libc.ptrace(16, 1, 0, 0)",
        "libc.chroot(b'/tmp')",
        "libc.sethostname(b'x', 1)",
        "libc.personality(0x0040000)",
        "libc.swapon(b'/tmp/x', 0)",
        "libc.reboot(0)",
    ],
)
def test_dangerous_calls_are_refused(level, call):
    statements = f"{SYSCALL}\nctypes.set_errno(0)\nvalue = {call}\nresult = (value, ctypes.get_errno())"

    assert ask(level, statements) == (-1, 1)


@isolated
@pytest.mark.parametrize(
    "number",
    {
        "bpf": 321,
        "perf_event_open": 298,
        "keyctl": 250,
        "io_uring_setup": 425,
        "userfaultfd": 323,
        "open_tree": 428,
        "fsopen": 430,
        "kexec_load": 246,
        "open_by_handle_at": 304,
        "process_vm_readv": 310,
    }.values(),
)
def test_dangerous_calls_without_a_wrapper_are_refused(level, number):
    assert ask(level, f"{SYSCALL}\nresult = call({number}, 0, 0, 0, 0, 0)") == "Operation not permitted"


@isolated
def test_clone_cannot_make_namespaces(level):
    assert ask(level, f"{SYSCALL}\nresult = call(56, 0x10000000 | 17, 0, 0, 0, 0)") == "Operation not permitted"
    assert ask(level, f"{SYSCALL}\nresult = call(435, 0, 0)") == "Function not implemented"


@isolated
@pytest.mark.parametrize("family_and_kind", ["17, 3", "2, 3", "40, 1", "38, 5", "15, 3"])
def test_raw_and_strange_sockets_are_refused(level, family_and_kind):
    answer = ask(level, f"socket.socket({family_and_kind})")

    assert "Operation not permitted" in answer or "not supported" in answer


@isolated
def test_setuid_programs_give_nothing(level):
    statements = """
import subprocess
done = subprocess.run(["/usr/bin/su", "-c", "id -u"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
result = (done.returncode != 0, os.statvfs("/usr").f_flag & os.ST_NOSUID != 0)
"""
    assert ask(level, statements) == (True, True)


@isolated
def test_without_a_network_there_is_only_loopback(level):
    statements = """
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
result = [name for _, name in socket.if_nameindex()]
"""
    assert ask(level, statements) == ["lo"]
    assert "Network is unreachable" in ask(level, "socket.create_connection(('192.0.2.1', 80), timeout=1)")


@isolated
def test_abstract_sockets_of_the_host_are_out_of_reach(level):
    with __import__("socket").socket(1) as listener:
        listener.bind("\0funclet-test-listener")
        listener.listen()

        answer = ask(level, "socket.socket(1).connect('\\0funclet-test-listener')")

    assert "Connection refused" in answer


@isolated
def test_the_host_name_is_its_own(level):
    assert ask(level, "result = socket.gethostname()", name="its-own-name") == "its-own-name"


@isolated
def test_old_interpreter_paths_lead_to_the_interpreter(level):
    link = "python3.9/rtsp/python/bin/python"
    statements = (
        f"import subprocess; result = subprocess.check_output(['/opt/function/runtime/{link}', '-c', 'print(1)'])"
    )

    assert ask(level, statements, interpreter_links=[link]) == b"1\n"


@isolated
def test_extra_folders_are_seen_read_only(level):
    answers = []

    async def body(lab):
        extra = {lab.folder / "code" / "two": "/opt/function/dependencies"}
        async with lab.running(extra_read_only=extra) as box:
            answers.append(await box.ask("result = os.listdir('/opt/function/dependencies')"))
            answers.append(await box.ask("open('/opt/function/dependencies/x', 'w')"))

    run_in_lab(level, body)
    assert answers[0] == ["other.txt"]
    assert "Read-only" in answers[1]


@isolated
def test_folders_outside_the_allowed_ones_are_refused(level):
    async def body(lab):
        for changes in (
            {"code_dir": Path("/etc")},
            {"extra_read_only": {Path("/root"): "/mnt/a"}},
            {"runtime_dir": Path("/")},
        ):
            with pytest.raises(SandboxError, match="not below a folder"):
                await lab.driver.create().start(lab.spec(**changes))

    run_in_lab(level, body)


@isolated
def test_extra_folders_cannot_cover_the_system(level):
    async def body(lab):
        with pytest.raises(SandboxError, match="Nothing can be shown"):
            await lab.driver.create().start(lab.spec(extra_read_only={lab.folder / "code" / "two": "/usr"}))

    run_in_lab(level, body)


@isolated
def test_an_interpreter_of_unknown_origin_is_refused(level):
    async def body(lab):
        with pytest.raises(SandboxError, match="interpreter_prefixes"):
            await lab.driver.create().start(lab.spec(interpreter=Path("/opt/own/bin/python")))

    run_in_lab(level, body)


@full
def test_the_user_outside_differs_from_instance_to_instance(level):
    users = []

    async def body(lab):
        async with lab.running(), lab.running():
            users.extend(Path("/proc", pid).stat().st_uid for pid in lab.processes())

    run_in_lab(level, body)
    assert len(set(users)) == 2
    assert min(users) >= 210_000


@full
def test_the_cpu_share_holds_after_the_start(level):
    spin = "t = time.monotonic()\nend = t + 0.8\nwhile time.monotonic() < end: pass\nresult = time.process_time()"
    seconds = []

    async def body(lab):
        async with lab.running(cpu_millicores=200) as box:
            box.sandbox.limit_cpu()
            before = box.sandbox.measure().cpu_s
            await box.ask(spin)
            seconds.append(box.sandbox.measure().cpu_s - before)

    run_in_lab(level, body)
    assert seconds[0] < 0.35


@full
def test_a_peak_of_memory_that_is_over_is_measured(level):
    async def body(lab):
        async with lab.running() as box:
            box.sandbox.measure()
            await box.ask("x = b'x' * (48 << 20); del x")

            assert box.sandbox.measure().memory_peak_bytes > 48 << 20
            assert box.sandbox.measure().memory_peak_bytes < 40 << 20

    run_in_lab(level, body)


@full
def test_one_that_is_out_of_memory_leaves_the_others_alone(level):
    async def body(lab):
        async with lab.running() as one, lab.running(memory_mib=32) as other:
            await other.send("hold = b'x' * (100 << 20)")
            ended = await asyncio.wait_for(other.sandbox.wait(), 10)

            assert ended.reason is ExitReason.OUT_OF_MEMORY
            assert await one.ask("result = 1") == 1

    run_in_lab(level, body)


@pytest.mark.parametrize("level", ["rootless"])
def test_a_network_is_refused_where_it_cannot_be_made(level):
    async def body(lab):
        with pytest.raises(SandboxError, match="network"):
            await lab.driver.create().start(lab.spec(network=Network.NAT))

    run_in_lab(level, body)


@isolated
def test_everything_dies_with_sandboxd(level):
    async def body(lab):
        async with lab.running() as box:
            await box.ask("if os.fork() == 0: time.sleep(100)")
            lab.sandboxd.kill()

            await asyncio.wait_for(box.sandbox.wait(), 5)

            await become_true(lambda: lab.processes() == [])
            with pytest.raises(SandboxError, match="sandboxd is gone"):
                await lab.driver.create().start(lab.spec())

    run_in_lab(level, body)
