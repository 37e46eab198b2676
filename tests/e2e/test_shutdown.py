"""How a server ends, on purpose and by force, what it leaves behind, and why it may refuse to start."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from funclet.client import NetworkError
from funclet.store.folder import DataFolderLock
from tests.support.processes import is_alive, tree_of
from tests.support.server import AK, SK, ServerProcess
from tests.support.traces import traces_of
from tests.support.waiting import eventually

SLEEPER = "import time\n\ndef handler(event, context):\n    time.sleep(event['s'])\n    return 'slept'\n"


def began(server, urn, seconds):
    """Begin a request that sleeps, and return its future when its instance is there."""
    before = set(server.instances())
    future = server.begin(urn, {"s": seconds})
    eventually(lambda: set(server.instances()) - before, because="the instance of the sleeper starts")
    return future


def refuses_connections(url):
    """Whether nobody listens at the address."""
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def server_with_sleeper(new_server):
    """Start a server with a function that sleeps; return both."""

    def start(*options):
        server = new_server(*options)
        return server, server.deploy("sleeper", SLEEPER, timeout=60)

    return start


# Orderly


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["sigterm", "closed-terminal"])
def test_a_signal_lets_running_requests_finish_and_leaves_nothing(server_with_sleeper, number):
    server, urn = server_with_sleeper()
    running = began(server, urn, 2)
    tree = tree_of(server.sandboxd_pid)

    os.kill(server.sandboxd_pid, number)
    eventually(lambda: refuses_connections(server.api_url), because="new connections are refused")
    was_running = not running.done()
    answer = running.result()
    status = server.process.wait(timeout=10)

    assert was_running
    assert (answer.status, answer.body) == (200, b"slept")
    assert status == 0
    assert [pid for pid in tree if is_alive(pid)] == []
    assert traces_of(server.sandboxd_pid, server.folder) == []


def test_a_request_whose_instance_still_starts_is_finished_too(new_server):
    server = new_server()
    source = "import time\ntime.sleep(1.5)\n\ndef handler(event, context):\n    return 'ready'\n"
    running = began(server, server.deploy("slow-to-load", source), 0)

    status = server.stop()

    assert running.result().body == b"ready"
    assert status == 0
    assert traces_of(server.sandboxd_pid, server.folder) == []


def test_requests_beyond_the_drain_deadline_are_cut_off(server_with_sleeper):
    server, urn = server_with_sleeper("--drain-s", "0.5")
    running = began(server, urn, 50)
    began_at = time.monotonic()

    status = server.stop()

    assert status == 0
    assert time.monotonic() - began_at < 5
    assert isinstance(running.exception(), NetworkError)
    assert traces_of(server.sandboxd_pid, server.folder) == []


def test_a_second_sigint_ends_at_once(server_with_sleeper):
    server, urn = server_with_sleeper()
    running = began(server, urn, 50)
    began_at = time.monotonic()

    os.kill(server.sandboxd_pid, signal.SIGINT)
    eventually(lambda: refuses_connections(server.api_url), because="the first signal is heard")
    os.kill(server.sandboxd_pid, signal.SIGINT)
    server.process.wait(timeout=10)

    assert time.monotonic() - began_at < 5
    assert isinstance(running.exception(), NetworkError)
    assert traces_of(server.sandboxd_pid, server.folder) == []


def test_functions_are_there_after_a_restart(server_with_sleeper):
    server, urn = server_with_sleeper()

    server.stop()
    server.start()

    assert server.invoke(urn, {"s": 0}).body == b"slept"


# By force


def test_when_the_server_is_killed_sandboxd_cleans_up_and_ends(server_with_sleeper):
    server, urn = server_with_sleeper()
    running = began(server, urn, 50)
    tree = tree_of(server.sandboxd_pid)

    os.kill(server.server_pid, signal.SIGKILL)
    status = server.process.wait(timeout=10)

    assert status == 128 + signal.SIGKILL
    assert isinstance(running.exception(), NetworkError)
    assert [pid for pid in tree if is_alive(pid)] == []
    assert traces_of(server.sandboxd_pid, server.folder) == []


@pytest.mark.root
def test_when_sandboxd_is_killed_all_ends_and_the_next_start_cleans_up(server_with_sleeper):
    server, urn = server_with_sleeper()
    began(server, urn, 50)
    tree, dead_pid = tree_of(server.sandboxd_pid), server.sandboxd_pid

    server.kill_sandboxd()

    eventually(lambda: not [pid for pid in tree if is_alive(pid)], because="server and instances end")
    assert traces_of(dead_pid, server.folder) != []
    server.start()
    assert traces_of(dead_pid, server.folder / "nowhere") == []
    assert server.invoke(urn, {"s": 0}).body == b"slept"


# Refusals


def refusal(folder, *options, **environment):
    """Start a server that cannot start; return its exit status and what it prints."""
    command = [sys.executable, "-m", "funclet", "serve", "--port", "0", "--gateway-port", "0"]
    known = {"PATH": os.environ["PATH"], "HOME": str(folder), "FGS_ADMIN_AK": AK, "FGS_ADMIN_SK": SK}
    done = subprocess.run(
        [*command, "--data-dir", str(folder / "data"), *options],
        env=known | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_second_server_on_the_same_data_is_refused(server):
    status, text = refusal(server.folder)

    assert status != 0
    assert f"is used by the server with pid {server.server_pid}" in text
    assert "Traceback" not in text
    assert server.invoke(server.deploy("still-there", SLEEPER), {"s": 0}).status == 200


def test_a_busy_port_is_named(scratch, server):
    port = server.api_url.rsplit(":", 1)[1]

    status, text = refusal(scratch / "busy", "--port", port)

    assert status != 0
    assert f"Port {port} on 127.0.0.1 cannot be used: Address already in use." in text
    assert "--port" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("options", "environment", "named"),
    [
        (["--port", "many"], {}, "--port"),
        (["--port", "70000"], {}, "port 70000 is out of range"),
        (["--port", "7180", "--gateway-port", "7180"], {}, "need a port each"),
        (["--host", "192.0.2.1"], {}, "Is --host an address of this machine?"),
        (["--timezone", "Mars/Olympus"], {}, "timezone 'Mars/Olympus' is not known"),
        (["--isolation", "none"], {}, "--isolation"),
        (["--idle-release-s", "0"], {}, "idle_release_s 0 is out of range"),
        (["--no-such-option"], {}, "--no-such-option"),
        (["--user", "nobody-of-this-name"], {}, "nobody-of-this-name"),
        pytest.param(["--user", "0"], {}, "must not run as root", marks=pytest.mark.root),
        ([], {"FGS_PORT": "many"}, "FGS_PORT='many' is not a whole number"),
        ([], {"FGS_PROT": "7180"}, "FGS_PROT is no setting"),
        ([], {"FGS_EDITION": "moon"}, "edition must be one of"),
        ([], {"FGS_REGION": "Not A Region"}, "region must be"),
        ([], {"FGS_ADMIN_SK": ""}, "admin_ak and admin_sk"),
        ([], {"FGS_RUNTIME": "Python2.7"}, "runtime must have the form"),
    ],
)
def test_a_wrong_setting_is_named(scratch, options, environment, named):
    status, text = refusal(scratch / "wrong", *options, **environment)

    assert status != 0
    assert named in text
    assert "Traceback" not in text
    assert SK not in text
    assert not (scratch / "wrong").exists(), "a start that is refused makes no credentials"


def test_a_data_folder_that_is_a_file_is_named(scratch):
    folder = scratch / "file"
    folder.mkdir()
    (folder / "data").write_text("in the way")

    status, text = refusal(folder)

    assert status != 0
    assert str(folder / "data") in text
    assert "--data-dir" in text
    assert "Traceback" not in text


def test_the_state_file_does_not_name_a_server_that_has_ended(new_server):
    """Other programs find the server by it."""
    server: ServerProcess = new_server()
    state = server.data_dir / "server.json"
    existed = state.exists()

    server.stop()

    assert existed
    assert not state.exists()


@pytest.mark.root
def test_a_folder_that_holds_other_things_is_not_given_to_the_servers_user(scratch):
    folder = scratch / "not-ours"
    (folder / "data" / "photos").mkdir(parents=True)

    status, text = refusal(folder)

    assert status != 0
    assert "it holds other things, such as photos, which would be given to uid 7180" in text
    assert [path.stat().st_uid for path in (folder / "data", folder / "data" / "photos")] == [0, 0]
    assert [path.name for path in (folder / "data").iterdir()] == ["photos"]


@pytest.mark.root
def test_the_data_of_a_live_server_of_another_user_is_left_to_it(scratch):
    folder, other = scratch / "of-another", 12345
    (folder / "data").mkdir(parents=True)
    lock = DataFolderLock.take(folder / "data")
    for path in (folder / "data", folder / "data" / "lock"):
        os.chown(path, other, other)

    status, text = refusal(folder)
    lock.release()

    assert (status, "Traceback" in text) == (6, False)
    assert f"is used by the server with pid {os.getpid()}; stop it" in text
    assert [path.stat().st_uid for path in (folder / "data", folder / "data" / "lock")] == [other, other]


def test_a_hang_up_that_is_ignored_ends_nothing(scratch):
    folder = scratch / "nohup"
    folder.mkdir()
    server = ServerProcess(folder)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server.start()
    finally:
        signal.signal(signal.SIGHUP, before)

    os.kill(server.sandboxd_pid, signal.SIGHUP)
    answer = server.invoke(server.deploy("after-hang-up", SLEEPER), {"s": 0})
    status = server.stop()

    assert answer.body == b"slept"
    assert status == 0
