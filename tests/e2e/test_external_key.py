"""A server whose keys a program of the operator wraps: the scripts of the how-to page, and what can go wrong."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from funclet.client import ApiError
from tests.support.files import files_with
from tests.support.key_service import TOKEN, KeyService, script_of_page
from tests.support.members import instances_of, is_back, member_pids
from tests.support.processes import status_of, tree_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

SECRET = "s-e-c-r-e-t"
USER = 7180
FAST = ("--stems", "off", "--isolation", "process")
"""How instances are confined makes no difference to the keys."""
TELLS = "def handler(event, context):\n    return context.getUserData('P')\n"


@pytest.fixture
def service():
    running = KeyService()
    yield running
    running.close()


@pytest.fixture
def folder(scratch, tmp_path_factory):
    """A folder of scripts that the server's user can reach."""
    made = scratch / tmp_path_factory.mktemp("scripts").name
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def transit(folder, service):
    token = folder / "vault-token"
    token.write_text(f"X-Vault-Token: {TOKEN}\n")
    token.chmod(0o400)
    os.chown(token, USER, USER)
    return script_of_page(
        "/v1/transit/",
        folder / "master-key",
        service=("https://vault.example.com:8200", service.url),
        token=("/etc/funclet/vault-token", str(token)),
    )


def secretive(server, name="secretive"):
    urn = server.deploy(name, TELLS, encrypted_user_data=f'{{"P":"{SECRET}"}}')
    assert server.invoke(urn).body == SECRET.encode()
    return urn


def forms(key_file):
    """Return how the keys of a file in the clear could stand somewhere."""
    return [form for line in key_file.read_text().splitlines() for key in [line.split()[1]]
            for form in (key.encode(), bytes.fromhex(key))]  # fmt: skip


def holders_of_keys(server):
    """Return the processes of a server that have the memory of its keys open."""
    holders = set()
    for pid in tree_of(server.process.pid):
        with contextlib.suppress(OSError):
            links = [entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()]
            if any("funclet-keys" in str(link) for link in links):
                holders.add(pid)
    return holders


@contextlib.contextmanager
def start_refused(server, match):
    """Expect that a server does not start, and that its data stay as they are."""
    kept = [(server.data_dir / name).read_bytes() for name in ("secrets.key", "temporary.key")]
    with pytest.raises(AssertionError, match=match):
        server.start()
    yield
    assert kept == [(server.data_dir / name).read_bytes() for name in ("secrets.key", "temporary.key")]


@pytest.mark.proves("operation:RotateSecretKey")
def test_a_server_keeps_its_secrets_with_a_key_service(new_server, service, transit):
    server = new_server(*FAST)
    urn = secretive(server)
    server.stop()
    in_the_clear = [form for name in ("secrets.key", "temporary.key") for form in forms(server.data_dir / name)]
    found = files_with(server.data_dir, *in_the_clear)
    assert sorted(path.name for path in found) == ["secrets.key", "temporary.key"]

    server.options = (*FAST, "--secret-key-command", str(transit))
    server.start()

    assert server.invoke(urn).body == SECRET.encode()
    assert files_with(server.data_dir, SECRET.encode(), *in_the_clear) == []
    for name in ("secrets.key", "temporary.key"):
        assert (server.data_dir / name).read_text().startswith("wrapped 1\n")
        assert (server.data_dir / name).stat().st_mode & 0o777 == 0o600
    # Two files, each wrapped once, and unwrapped once to see that it works.
    assert sorted(service.calls) == ["decrypt"] * 2 + ["encrypt"] * 2

    before = (server.data_dir / "secrets.key").read_text()
    server.client.send("POST", "/funclet/secret-key/rotate")
    assert (server.data_dir / "secrets.key").read_text().splitlines()[1] not in before
    asked = len(service.calls)
    server.client.update_config(urn, {"func_name": "secretive", "memory_size": 256})
    assert server.invoke(urn).body == SECRET.encode()
    assert len(service.calls) == asked
    server.stop()
    server.start()
    assert server.invoke(urn).body == SECRET.encode()


def test_a_server_whose_key_service_is_away_serves_but_neither_rotates_nor_starts(new_server, service, transit):
    server = new_server(*FAST, "--secret-key-command", str(transit))
    urn = secretive(server)
    service.close()
    kept = (server.data_dir / "secrets.key").read_text()

    with pytest.raises(ApiError) as refused:
        server.client.send("POST", "/funclet/secret-key/rotate")
    assert (refused.value.status, refused.value.code) == (503, "FSS.0503")
    assert "exit status 7: curl" in str(refused.value)
    assert (server.data_dir / "secrets.key").read_text() == kept
    server.client.update_config(urn, {"func_name": "secretive", "memory_size": 256})
    assert server.invoke(urn).body == SECRET.encode()

    server.stop()
    with start_refused(server, r"The secrets cannot be opened\. .*master-key unwrap\): exit status 7: curl.*"):
        pass
    assert "hint: Nothing has changed. Run the program by hand; docs/howto/secrets.md says how." in server.log()
    hidden = transit.rename(transit.with_name("hidden"))
    with start_refused(server, r"it cannot be started \(No such file or directory\)"):
        pass
    hidden.rename(transit)
    server.options = FAST
    with start_refused(server, "are wrapped; start the server with the program that unwraps them"):
        pass


def test_a_key_service_with_another_master_key_or_without_the_right_is_refused(new_server, service, transit, folder):
    server = new_server(*FAST, "--secret-key-command", str(transit))
    urn = secretive(server)
    server.stop()
    right, other = service.keys, KeyService()
    service.keys, other.keys = other.keys, right
    other.close()

    with start_refused(server, r"exit status 22: curl: \(22\) The requested URL returned error: 400"):
        pass
    service.keys = right
    token = (folder / "vault-token").read_text()
    (folder / "vault-token").write_text("X-Vault-Token: no\n")
    with start_refused(server, "The requested URL returned error: 403"):
        pass
    (folder / "vault-token").write_text(token)

    server.start()
    assert server.invoke(urn).body == SECRET.encode()


def test_every_process_has_the_keys_and_only_the_first_asks_for_them(new_server, service, transit):
    server = new_server("--stems", "off", "--secret-key-command", str(transit), "--processes", "2")
    urns = [secretive(server, f"shared-{number}") for number in range(4)]
    assert sorted(service.calls) == ["decrypt"] * 2 + ["encrypt"] * 2

    server.client.send("POST", "/funclet/secret-key/rotate")

    assert sorted(service.calls) == ["decrypt"] * 3 + ["encrypt"] * 3
    for urn in urns:
        server.client.update_config(urn, {"func_name": urn.split(":")[6], "memory_size": 256})
        assert server.invoke(urn).body == SECRET.encode()
    members, holders = set(member_pids(server).values()), holders_of_keys(server)
    assert members <= holders
    assert not holders & {int(status_of(pid)["PPid"]) for pid in members}, "sandboxd has the keys"
    assert not holders & {one for pid in members for one in instances_of(pid)}
    server.stop()
    del service.calls[:]
    server.start()
    assert [server.invoke(urn).body for urn in urns] == [SECRET.encode()] * 4
    assert service.calls == ["decrypt"] * 2

    server.stop()
    service.close()
    began = time.monotonic()
    with start_refused(server, r"The secrets cannot be opened\. .*exit status 7: curl"):
        pass
    assert time.monotonic() - began < 10, "the others do not wait for a server that will not come"


def test_a_process_that_takes_the_place_of_another_gets_the_keys(new_server, service, transit):
    server = new_server(*FAST, "--secret-key-command", str(transit), "--processes", "2")
    urns = [secretive(server, f"shared-{number}") for number in range(4)]
    server.client.send("POST", "/funclet/secret-key/rotate")
    service.close()

    former = member_pids(server)[1]
    os.kill(former, signal.SIGKILL)

    eventually(lambda: is_back(server, 1, former), within_s=20, because="another process takes its place")
    assert [server.invoke(urn).body for urn in urns * 2] == [SECRET.encode()] * 8


def test_the_script_with_a_key_on_another_medium(new_server, folder):
    master = folder / "funclet.master"
    subprocess.run(["openssl", "rand", "-base64", "-out", str(master), "48"], check=True, capture_output=True)
    master.chmod(0o400)
    os.chown(master, USER, USER)
    script = script_of_page("pbkdf2", folder / "master-key", medium=("/mnt/key/funclet.master", str(master)))
    server = new_server(*FAST, "--secret-key-command", str(script))
    urn = secretive(server)
    server.stop()

    hidden = master.rename(folder / "away")
    with start_refused(server, "master-key unwrap.*exit status 1"):
        pass
    hidden.rename(master)
    server.start()

    assert server.invoke(urn).body == SECRET.encode()
    server.stop()
    export_and_start_in_the_clear(server, urn, script)


def export_and_start_in_the_clear(server, urn, script):
    """Do what the page says for a server that is to do without the program."""
    for name in ("secrets.key", "temporary.key"):
        file = server.data_dir / name
        clear = file.with_name("clear.key")
        fgs = [sys.executable, "-m", "funclet", "secret-key", "export", str(file), str(clear), "--command", str(script)]
        done = subprocess.run(fgs, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert clear.stat().st_mode & 0o777 == 0o600
        os.chown(clear, USER, USER)
        clear.rename(file)
    server.options = FAST
    server.start()
    assert server.invoke(urn).body == SECRET.encode()
