"""What a sandbox is shown beyond its code: shared folders, a private network, names. And what it cannot make of it."""

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from funclet.sandbox.protocol import MountFailed, Network, SharedFolder
from funclet.sandbox.sandboxd.remote import DEADLINE_S
from funclet.sandbox.sandboxd.settings import ShareRoot
from tests.support.network import PORT, PRIVATE, PUBLIC, outside_world
from tests.support.sandbox import become_true, run_in_lab

pytestmark = pytest.mark.root

FULL = "full"
OWNER, GROUP = 5000, 5001


def shared(source, target="/mnt/data", *, read_only=False, user_id=OWNER, group_id=GROUP):
    return SharedFolder(source=str(source), target=target, read_only=read_only, user_id=user_id, group_id=group_id)


@pytest.fixture
def share(tmp_path):
    """A folder that the operator has opened, and a secret beside it."""
    folder = tmp_path / "share"
    folder.mkdir()
    os.chown(folder, OWNER, GROUP)
    (tmp_path / "secret.txt").write_text("of the host")
    return folder


def ask(share, *statements, roots=None, **spec):
    """Run statements in a sandbox that mounts the folder; return their results."""
    answers = []

    async def body(lab):
        async with lab.running(**({"shares": [shared(share)]} | spec)) as box:
            answers.extend([await box.ask(one) for one in statements])

    run_in_lab(FULL, body, shares=roots or [ShareRoot(folder=share, read_only=False)])
    return answers


def refusals(share, *asked, roots=None, level=FULL):
    """Return why sandboxes with these shared folders are not made; nothing of them may be left."""
    errors = []

    async def body(lab):
        for one in asked:
            with pytest.raises(MountFailed) as failed:
                await lab.driver.create().start(lab.spec(shares=[one]))
            errors.append(str(failed.value))
        await become_true(lambda: lab.processes() == [])

    run_in_lab(level, body, shares=roots or [ShareRoot(folder=share, read_only=False)])
    return errors


def refusal(share, asked, **options):
    """Return why one such sandbox is not made."""
    (error,) = refusals(share, asked, **options)
    return error


# Shared folders


def test_what_is_written_belongs_on_the_host_to_the_owner_of_the_settings(share):
    (share / "old.txt").write_text("was there")
    os.chown(share / "old.txt", OWNER, GROUP)

    seen = ask(
        share,
        "open('/mnt/data/new.txt', 'w').write('x'); result = sorted(os.listdir('/mnt/data'))",
        "result = (open('/mnt/data/old.txt').read(), os.stat('/mnt/data/old.txt').st_uid)",
    )

    assert seen == [["new.txt", "old.txt"], ("was there", 1003)]
    written = (share / "new.txt").stat()
    assert (written.st_uid, written.st_gid) == (OWNER, GROUP)


def test_two_instances_share_what_they_write(share):
    answers = []

    async def body(lab):
        async with lab.running(shares=[shared(share)]) as one, lab.running(shares=[shared(share, "/data")]) as two:
            await one.ask("open('/mnt/data/note', 'w').write('from one')")
            answers.append(await two.ask("result = open('/data/note').read()"))
            answers.append(await two.ask("open('/data/note', 'a').write(' and two'); result = os.getuid()"))

    run_in_lab(FULL, body, shares=[ShareRoot(folder=share, read_only=False)])
    assert answers == ["from one", 1003]
    assert (share / "note").read_text() == "from one and two"


def test_a_network_file_system_sees_the_user_of_the_host(share):
    """It cannot translate owners, so the file server must take all users for one."""
    share.chmod(0o777)

    ask(
        share,
        "open('/mnt/data/new.txt', 'w').write('x'); result = 1",
        roots=[ShareRoot(folder=share, read_only=False, maps_owners=False)],
    )

    assert (share / "new.txt").stat().st_uid >= 210_000


def mounters(lab):
    """Return the processes that open what lies on file servers."""
    children = Path(f"/proc/{lab.sandboxd.pid}/task/{lab.sandboxd.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"mounter" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def descriptors_of(lab):
    """Count what sandboxd holds open."""
    return len(list(Path(f"/proc/{lab.sandboxd.pid}/fd").iterdir()))


def test_a_process_that_opens_shares_is_replaced_when_it_dies(share):
    share.chmod(0o777)

    async def body(lab):
        async with lab.running(shares=[shared(share)]):
            (first,) = mounters(lab)
        os.kill(first, signal.SIGKILL)
        await become_true(lambda: not Path(f"/proc/{first}").exists())
        async with lab.running(shares=[shared(share)]) as box:
            assert await box.ask("result = os.listdir('/mnt/data')") == []
        assert len(mounters(lab)) == 1

    run_in_lab(FULL, body, shares=[ShareRoot(folder=share, read_only=False, maps_owners=False)])


def test_whoever_waits_for_a_file_server_can_go_and_keeps_nobody_waiting(share):
    share.chmod(0o777)

    async def body(lab):
        async with lab.running(shares=[shared(share)]):
            (one,) = mounters(lab)
        descriptors = descriptors_of(lab)
        os.kill(one, signal.SIGSTOP)
        started = asyncio.ensure_future(lab.driver.create().start(lab.spec(shares=[shared(share)])))
        async with lab.running() as box:
            assert await box.ask("result = 1") == 1
        assert not started.done()

        started.cancel()
        with pytest.raises(asyncio.CancelledError):
            await started
        os.kill(one, signal.SIGCONT)

        async with lab.running(shares=[shared(share)]) as box:
            assert await box.ask("result = os.listdir('/mnt/data')") == []
        assert mounters(lab) == [one]
        await become_true(lambda: descriptors_of(lab) <= descriptors)

    run_in_lab(FULL, body, shares=[ShareRoot(folder=share, read_only=False, maps_owners=False)])


def test_a_file_server_that_hangs_fails_the_start_in_time(share):
    async def body(lab):
        async with lab.running(shares=[shared(share)]):
            (one,) = mounters(lab)
        os.kill(one, signal.SIGSTOP)

        with pytest.raises(MountFailed, match=f"the file server does not answer within {DEADLINE_S:g} s"):
            await lab.driver.create().start(lab.spec(shares=[shared(share)]))

        await become_true(lambda: mounters(lab) == [])
        async with lab.running(shares=[shared(share)]):
            pass

    run_in_lab(FULL, body, shares=[ShareRoot(folder=share, read_only=False, maps_owners=False)])


def test_files_of_other_owners_keep_their_modes(share):
    (share / "private").write_text("of root")
    (share / "private").chmod(0o600)
    (share / "public").write_text("for all")

    seen = ask(
        share,
        "result = open('/mnt/data/public').read()",
        "open('/mnt/data/private').read()",
        "open('/mnt/data/public', 'a')",
        "os.chown('/mnt/data/public', 1003, 1003)",
    )

    assert seen[0] == "for all"
    assert all("PermissionError" in answer for answer in seen[1:])


def test_a_folder_below_a_share_shows_nothing_above_it(share):
    (share / "mine").mkdir()
    (share / "of-others").mkdir()

    seen = ask(
        share,
        "result = (os.listdir('/mnt/data'), os.path.exists('/mnt/data/../of-others'), os.listdir('/mnt'))",
        shares=[shared(share / "mine")],
    )

    assert seen == [([], False, ["data"])]


@pytest.mark.parametrize("strict", ["root", "mount"])
def test_what_is_shared_to_be_read_cannot_be_written(share, strict):
    (share / "file").write_text("x")
    os.chown(share / "file", OWNER, GROUP)
    statements = """
file, result = "/mnt/data/file", []
for attempt in (lambda: open(file, "a"), lambda: open("/mnt/data/new", "w"), lambda: os.unlink(file),
                lambda: os.chmod(file, 0o777), lambda: os.mkdir("/mnt/data/folder")):
    try:
        attempt(); result.append("done")
    except OSError as error:
        result.append(error.errno)
"""
    seen = ask(
        share,
        statements,
        shares=[shared(share, read_only=True)],
        roots=[ShareRoot(folder=share, read_only=strict == "root")],
    )

    assert seen == [[30] * 5]


def test_a_share_to_be_read_is_not_given_to_be_written(share):
    roots = [ShareRoot(folder=share, read_only=True)]

    assert "has not opened" in refusal(share, shared(share), roots=roots)


def test_the_stricter_of_two_nested_shares_holds(share):
    (share / "strict").mkdir()
    roots = [ShareRoot(folder=share, read_only=False), ShareRoot(folder=share / "strict", read_only=True)]

    assert "has not opened" in refusal(share, shared(share / "strict"), roots=roots)


def test_a_symbolic_link_in_a_share_leads_nowhere_outside(share, tmp_path):
    (share / "out").symlink_to(tmp_path / "secret.txt")
    (share / "up").symlink_to("../secret.txt")
    (share / "passwords").symlink_to("/etc/shadow")

    seen = ask(share, *(f"open('/mnt/data/{name}').read()" for name in ("out", "up", "passwords")))

    assert all("No such file" in answer for answer in seen)


def test_a_symbolic_link_cannot_be_what_is_shared(share, tmp_path):
    (share / "link").symlink_to(tmp_path)
    (share / "to-etc").symlink_to("/etc")

    for error in refusals(share, shared(share / "link"), shared(share / "to-etc" / "ssl")):
        assert "symbolic link" in error


def test_a_link_that_an_instance_made_leads_the_next_mount_nowhere(share):
    ask(share, "os.mkdir('/mnt/data/sub'); os.rmdir('/mnt/data/sub'); os.symlink('/etc', '/mnt/data/sub'); result = 1")
    assert (share / "sub").is_symlink()

    assert "symbolic link" in refusal(share, shared(share / "sub"))


def test_a_path_that_leaves_the_share_is_refused(share, tmp_path):
    (tmp_path / "other").mkdir()
    ways = ("..", "../other", "a/../../other", ".", "./a", "a//b", "a/")

    for error in refusals(share, *(shared(f"{share}/{way}") for way in ways)):
        assert "has not opened" in error


def test_a_folder_that_was_not_opened_is_refused(share):
    Path(f"{share}-beside").mkdir()
    sources = ("/", "/etc", "/root", "", "relative", "/proc", f"{share}-beside")

    for error in refusals(share, *map(shared, sources)):
        assert "has not opened" in error


def test_nothing_is_shared_unless_the_operator_says_so(share):
    errors = []

    async def body(lab):
        with pytest.raises(MountFailed) as failed:
            await lab.driver.create().start(lab.spec(shares=[shared(share)]))
        errors.append(str(failed.value))

    run_in_lab(FULL, body)
    assert "has not opened" in errors[0]


def test_no_place_of_the_system_is_covered(share):
    targets = (
        "/tmp/x",
        "/opt/x",
        "/etc",
        "/home/snuser",
        "/proc/x",
        "/mnt",
        "/usr/x",
        "/a/b/c",
        "x",
        "/mnt/",
        "/mnt/..",
    )

    errors = refusals(share, *(shared(share, target) for target in targets))

    assert errors == [f"'{target}': failed to mount exist system path" for target in targets]


def test_what_is_no_folder_is_not_shared(share):
    (share / "file").write_text("x")
    os.mkfifo(share / "pipe")
    os.mknod(share / "device", 0o666 | 0o060000, os.makedev(7, 0))

    *others, missing = refusals(share, *(shared(share / name) for name in ("file", "pipe", "device", "missing")))

    assert all("no folder" in error for error in others)
    assert "does not exist" in missing


def test_devices_in_a_share_cannot_be_opened(share):
    for name, kind, numbers in (("disk", 0o060000, (7, 0)), ("memory", 0o020000, (1, 1)), ("null", 0o020000, (1, 3))):
        os.mknod(share / name, 0o666 | kind, os.makedev(*numbers))
        os.chown(share / name, OWNER, GROUP)

    seen = ask(share, *(f"open('/mnt/data/{name}', 'rb').read(1)" for name in ("disk", "memory", "null")))

    assert all("PermissionError" in answer for answer in seen)


def test_an_instance_can_make_no_device_in_a_share(share):
    (answer,) = ask(share, "os.mknod('/mnt/data/disk', 0o060666, os.makedev(7, 0))")

    assert "PermissionError" in answer


def test_a_program_with_another_users_rights_gives_none(share):
    (share / "id").write_bytes(Path("/usr/bin/id").read_bytes())
    (share / "id").chmod(0o4755)

    (seen,) = ask(
        share, "import subprocess; result = subprocess.check_output(['/mnt/data/id', '-u'], text=True).strip()"
    )

    assert seen == "1003"


def test_what_is_mounted_below_a_share_is_not_shown(share):
    (share / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(share / "below")], check=True)
    try:
        (share / "below" / "secret").write_text("x")

        (seen,) = ask(share, "result = os.listdir('/mnt/data/below')")
    finally:
        subprocess.run(["umount", str(share / "below")], check=True)

    assert seen == []


def test_one_function_does_not_see_what_another_mounts(share):
    answers = []

    async def body(lab):
        async with lab.running(shares=[shared(share)]), lab.running() as other:
            answers.append(await other.ask("result = os.listdir('/mnt')"))
            answers.append(await other.ask("result = open('/proc/self/mountinfo').read()"))

    run_in_lab(FULL, body, shares=[ShareRoot(folder=share, read_only=False)])
    assert answers[0] == []
    assert "/mnt" not in answers[1]


def test_an_ended_instance_leaves_the_share_free(share):
    ask(share, "open('/mnt/data/x', 'w').write('y'); result = 1")

    (share / "x").unlink()
    share.rmdir()
    assert not share.exists()


@pytest.mark.parametrize("level", ["rootless", "process"])
def test_folders_are_shared_at_the_full_level_only(share, level):
    assert "isolation level full" in refusal(share, shared(share), level=level)


# Names


def test_names_of_the_network_lead_to_their_addresses(share):
    seen = ask(
        share,
        "result = socket.gethostbyname('db.internal.example')",
        "result = socket.gethostbyname('localhost')",
        "open('/etc/hosts', 'a')",
        shares=[],
        hosts={"db.internal.example": "10.1.2.3"},
    )

    assert seen[:2] == ["10.1.2.3", "127.0.0.1"]
    assert "Read-only" in seen[2] or "Permission denied" in seen[2]


def test_names_are_those_of_one_instance(share):
    answers = []

    async def body(lab):
        async with lab.running(hosts={"db.internal": "10.1.2.3"}), lab.running(hosts={"x.y": "10.1.2.4"}) as two:
            answers.append(await two.ask("result = open('/etc/hosts').read()"))
        async with lab.running() as three:
            answers.append(await three.ask("result = open('/etc/hosts').read()"))
        left = Path("/run/funclet", str(lab.sandboxd.pid)).glob("hosts-*")
        assert list(left) == []

    run_in_lab(FULL, body)
    assert answers == ["127.0.0.1 localhost\n::1 localhost\n10.1.2.4 x.y\n", "127.0.0.1 localhost\n::1 localhost\n"]


# Private addresses only

CONNECT = "result = socket.create_connection(({!r}, {}), timeout=1).recv(100)"


def test_a_private_network_reaches_private_addresses_and_no_others():
    answers = {}

    async def body(lab):
        with outside_world(), socket.create_server(("0.0.0.0", 0)) as here:
            port = here.getsockname()[1]
            async with lab.running(network=Network.PRIVATE) as one, lab.running(network=Network.NAT) as other:
                own = await other.ask(
                    "s = socket.socket(2, 2); s.connect(('198.51.100.2', 1)); result = s.getsockname()[0]"
                )
                await other.ask("import builtins; builtins.kept = socket.create_server(('0.0.0.0', 8080))")
                answers["private"] = await one.ask(CONNECT.format(PRIVATE, PORT))
                answers["public"] = await one.ask(CONNECT.format(PUBLIC, PORT))
                answers["host"] = await one.ask(CONNECT.format("172.30.77.1", port))
                answers["metadata"] = await one.ask(CONNECT.format("169.254.169.254", 80))
                answers["instance with another network"] = await one.ask(CONNECT.format(own, 8080))
                answers["from outside"] = await reached_from_outside(lab)

    run_in_lab(FULL, body, nat_network="10.214.0.0/16")

    assert answers.pop("private") == b"172.30.77.1"
    assert answers.pop("from outside") == {"private": b"172.30.77.1", "public": b"198.51.100.1"}
    assert {name: str(answer) for name, answer in answers.items() if "rror" not in str(answer)} == {}


async def reached_from_outside(lab):
    """Return what an instance with an open network reaches meanwhile: the two networks must not disturb each other."""
    async with lab.running(network=Network.NAT) as box:
        return {
            "private": await box.ask(CONNECT.format(PRIVATE, PORT)),
            "public": await box.ask(CONNECT.format(PUBLIC, PORT)),
        }


def test_both_bridges_go_with_sandboxd():
    pids = []

    async def body(lab):
        pids.append(lab.sandboxd.pid)
        async with lab.running(network=Network.PRIVATE), lab.running(network=Network.NAT):
            assert {path.name for path in Path("/sys/class/net").glob(f"fgs{pids[0]}*")} >= {
                f"fgs{pids[0]}",
                f"fgs{pids[0]}p",
            }

    run_in_lab(FULL, body)
    assert list(Path("/sys/class/net").glob(f"fgs{pids[0]}*")) == []
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert f"fgs{pids[0]}" not in tables


def test_a_killed_sandboxd_leaves_no_bridge_for_long():
    pids = []

    async def body(lab):
        pids.append(lab.sandboxd.pid)
        async with lab.running(network=Network.PRIVATE) as box:
            lab.sandboxd.kill()
            await asyncio.wait_for(box.sandbox.wait(), 5)

    async def next_one(lab):
        async with lab.running():
            pass

    run_in_lab(FULL, body)
    run_in_lab(FULL, next_one)
    assert list(Path("/sys/class/net").glob(f"fgs{pids[0]}p")) == []
