"""Exports that the server mounts itself, against the kernel's NFS server. Runs in the machine of `tools/vm/run.py`."""

import contextlib
import os
import signal
import stat
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.census import calm_down
from tests.support.nfs import HOST, HUNG_HOST, NfsServer, hung_server, nfs_volumes
from tests.support.processes import children_of
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.vm]

TIMEOUT_S = 6
# Runs the statements of its event and returns what they leave in `result`, or the error they end with.
TOLD = """
import json, os, subprocess

def handler(event, context):
    scope = {"os": os, "subprocess": subprocess}
    try:
        exec(event["run"], scope)
    except Exception as error:
        return {"result": repr(error)}
    return {"result": scope.get("result")}
"""
INVENTORY = f"""
[[shares]]
id = "four"
export = "{HOST}:/team"
projects = ["*"]

[[shares]]
id = "three"
export = "localhost:/team"
nfs_version = "3"
projects = ["*"]

[[shares]]
id = "models"
export = "{HOST}:/models"
read_only = true
projects = ["*"]

[[shares]]
id = "squashed"
export = "{HOST}:/squashed"
nfs_version = "4.1"
projects = ["*"]

[[shares]]
id = "wrong"
export = "{HOST}:/wrong"
projects = ["*"]

[[shares]]
id = "hung"
export = "{HUNG_HOST}:/team"
projects = ["*"]

[[shares]]
id = "nameless"
export = "no-such-host.invalid:/team"
projects = ["*"]
"""


@pytest.fixture(scope="module")
def nfs():
    """A file server with three exports."""
    folder = Path(tempfile.mkdtemp(prefix="exports-"))
    folder.chmod(0o755)
    running = NfsServer(folder).start()
    running.export("team", "root_squash")
    (running.export("models") / "model.txt").write_text("weights")
    running.export("squashed", "all_squash", "anonuid=5000", "anongid=5000")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(nfs, scratch):
    """A server that was started before anybody needed a file server."""
    del nfs
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    folder.chmod(0o755)
    (folder / "inventory.toml").write_text(INVENTORY)
    running = ServerProcess(folder, "--inventory", str(folder / "inventory.toml")).start()
    # What it prepares after its start keeps an emulated processor busy for long; no mount is to be charged for it.
    assert calm_down(running)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def deploy(server):
    """Deploy the function that does what it is told, with mounts (resource and where it is seen)."""

    def make(name, *, timeout_s=TIMEOUT_S, **mounts):
        rows = [
            {
                "mount_type": "ecs",
                "mount_resource": resource,
                "mount_share_path": "/",
                "local_mount_path": f"/mnt/{place}",
            }
            for place, resource in mounts.items()
        ]
        user = {"user_id": -1, "user_group_id": -1}
        config = {"mount_config": {"mount_user": user, "func_mounts": rows}} if rows else {}
        return server.deploy(name, TOLD, timeout=timeout_s, xrole="agency", **config)

    return make


@pytest.fixture(scope="module")
def ask(server):
    """Return what statements leave in `result` inside a function."""

    def run(urn, statements):
        answer = server.invoke(urn, {"run": statements})
        assert answer.status == 200, answer.body
        return answer.json()["result"]

    return run


def failure(server, urn):
    """Return code and message of a request that fails."""
    answer = server.invoke(urn, {"run": "result = 1"})
    assert answer.status == 500, answer.body
    return answer.json()["error_code"], answer.json()["error_msg"]


def test_functions_share_a_file_by_versions_3_and_4(deploy, ask, nfs):
    one, two = deploy("by-four", data="four"), deploy("by-three", data="three")

    ask(one, "open('/mnt/data/note', 'w').write('from one')")
    assert ask(two, "result = open('/mnt/data/note').read()") == "from one"
    ask(two, "open('/mnt/data/answer', 'w').write('from two')")
    assert ask(one, "result = open('/mnt/data/answer').read()") == "from two"

    kinds = "result = [line.split(' - ')[1].split()[0] for line in open('/proc/self/mountinfo') if '/mnt/data' in line]"
    assert (ask(one, kinds), ask(two, kinds)) == (["nfs4"], ["nfs"])
    # The file server knows no mount_user: without a rule of its own it sees the instance's user of the host.
    assert (nfs.folder / "team/note").stat().st_uid >= 210_000


def test_a_file_server_that_takes_all_users_for_one_decides_who_owns_files(deploy, ask, nfs):
    urn = deploy("squashed", data="squashed")
    (nfs.folder / "squashed/old").write_text("of 5000")
    (nfs.folder / "squashed/old").chmod(0o600)
    os.chown(nfs.folder / "squashed/old", 5000, 5000)

    ask(urn, "open('/mnt/data/new', 'w').write('x')")

    written = (nfs.folder / "squashed/new").stat()
    assert (written.st_uid, written.st_gid) == (5000, 5000)
    assert ask(urn, "result = open('/mnt/data/old').read()") == "of 5000"


def test_what_is_exported_to_be_read_cannot_be_written(deploy, ask, nfs):
    urn = deploy("reader", data="models")

    assert ask(urn, "result = open('/mnt/data/model.txt').read()") == "weights"
    assert "Read-only" in ask(urn, "open('/mnt/data/new', 'w')")
    assert "Read-only" in ask(urn, "os.chmod('/mnt/data/model.txt', 0o777)")
    assert [path.name for path in (nfs.folder / "models").iterdir()] == ["model.txt"]


def test_devices_and_set_user_id_programs_have_no_effect(deploy, ask, nfs):
    urn = deploy("suspicious", data="four")
    device, program = nfs.folder / "team/null", nfs.folder / "team/id"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    device.chmod(0o666)
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    program.chmod(0o4755)

    assert "PermissionError" in ask(urn, "open('/mnt/data/null').read()")
    assert ask(urn, "result = subprocess.check_output(['/mnt/data/id', '-u'], text=True)") == "1003\n"
    flags = "result = [line.split()[5] for line in open('/proc/self/mountinfo') if '/mnt/data' in line][0]"
    assert {"nosuid", "nodev"} <= set(ask(urn, flags).split(","))


@pytest.mark.proves("error:FSS.4206")
def test_an_export_that_is_not_there_is_named_with_what_to_do(deploy, server):
    code, message = failure(server, deploy("mistaken", data="wrong"))

    assert code == "FSS.4206"
    assert message.endswith(
        f"'/mnt/data': share 'wrong' ({HOST}:/wrong): "
        "the file server has no such export: correct it in the inventory, or export it"
    )


@pytest.mark.proves("error:FSS.4206")
def test_a_name_that_leads_nowhere_fails_the_start(deploy, server):
    code, message = failure(server, deploy("nameless", data="nameless"))

    assert code == "FSS.4206"
    assert "the name of the file server cannot be resolved" in message


@pytest.mark.proves("error:FSS.4206")
def test_a_file_server_that_hangs_keeps_nobody_else_waiting(deploy, server, ask):
    urn, other, cold = deploy("hanging", data="hung"), deploy("lively"), deploy("cold-meanwhile", data="four")
    with hung_server():
        began = time.monotonic()
        pending = server.begin(urn, {"run": "result = 1"})
        eventually(lambda: mounters_of(server, HUNG_HOST), because="the export is being mounted")

        assert ask(other, "result = 'warm or cold'") == "warm or cold"
        assert ask(cold, "result = os.path.isdir('/mnt/data')") is True
        assert not pending.done()
        answer = pending.result(timeout=30)

        assert answer.json()["error_code"] == "FSS.4206"
        assert "the file server does not answer within 8 s" in answer.json()["error_msg"]
        assert time.monotonic() - began > 7
        eventually(lambda: not mounters_of(server, HUNG_HOST), because="what hung has been killed")


@pytest.mark.proves("error:FSS.4206")
def test_a_file_server_that_is_down_fails_its_functions_until_it_is_back(deploy, server, ask, nfs):
    running, late, other = deploy("running", data="four"), deploy("late", data="squashed"), deploy("unmoved")
    ask(running, "open('/mnt/data/kept', 'w').write('kept')")
    patient = deploy("patient", timeout_s=60, data="models")
    for urn in (other, patient):
        ask(urn, "result = 1")
    nfs.pause()
    try:
        told = server.begin(patient, {"run": "os.statvfs('/mnt/data')"})
        # An instance that has the export already waits for it, but no longer than its function may run.
        began = time.monotonic()
        pending = server.begin(running, {"run": "result = os.statvfs('/mnt/data').f_bsize > 0"})
        code, message = failure(server, late)
        assert (code, message.split("): ")[-1]) == (
            "FSS.4206",
            "no NFS server answers there: start it, or correct the host in the inventory",
        )
        while not pending.done():
            assert ask(other, "result = 'answered'") == "answered"
        answer = pending.result()
        assert (answer.status, answer.headers["x-func-err-code"]) == (500, "4010"), answer
        assert time.monotonic() - began < TIMEOUT_S + 6
        # Nor for ever, if its function has time: then it is an error that the function can see.
        assert "TimeoutError" in told.result(timeout=50).json()["result"]
        assert time.monotonic() - began > 10
    finally:
        nfs.resume()

    assert ask(late, "result = os.listdir('/mnt/data') != []") is True
    assert ask(running, "result = open('/mnt/data/kept').read()") == "kept"


def test_after_kill_9_of_all_nothing_is_mounted_and_no_process_is_left(deploy, server, ask):
    ask(deploy("last", data="four"), "open('/mnt/data/note', 'w').write('x')")
    mounters = mounters_of(server, HOST)
    assert mounters
    assert nfs_volumes()

    # Both at once: nobody is left who could clean up.
    for pid in (server.sandboxd_pid, server.server_pid):
        os.kill(pid, signal.SIGKILL)
    server.process.wait(timeout=30)

    eventually(lambda: not nfs_volumes(), within_s=30, because="nothing is mounted any more")
    eventually(lambda: not any(map(_command_of, mounters)), because="the processes are gone")
    server.kill_is_over()


def mounters_of(server, host):
    """Return the processes of sandboxd that mount exports of a host."""
    wanted = f'"source":"{host}:'.encode()
    return [pid for pid in children_of(server.sandboxd_pid) if wanted in _command_of(pid)]


def _command_of(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
