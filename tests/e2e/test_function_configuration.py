"""Settings of functions that act, on a real server run by root: each is changed, and its effect seen."""

import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from funclet.client import ApiError
from tests.support.files import files_with
from tests.support.network import PORT, PRIVATE, PUBLIC, outside_world
from tests.support.server import PROJECT_ID, ServerProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

OWNER = 5000
SECRET = "correct horse battery staple"
# Runs the statements of its event and returns what they leave in `result`, or the error they end with.
TOLD = """
import json, os, socket

def handler(event, context):
    scope = {"os": os, "socket": socket, "json": json, "context": context}
    try:
        exec(event["run"], scope)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return {"result": scope.get("result")}
"""
INVENTORY = """
[[shares]]
id = "team"
folder = "{folder}/team"
projects = ["{project}"]

[[shares]]
id = "archive"
folder = "{folder}/archive"
projects = ["*"]
read_only = true

[[shares]]
id = "theirs"
folder = "{folder}/theirs"
projects = ["ffffffffffffffffffffffffffffffff"]

[[shares]]
id = "remote"
export = "127.0.0.1:/nobody-exports-this"
projects = ["*"]

[[vpcs]]
id = "office"
subnets = [{{ id = "first" }}]
[vpcs.zones."internal.example"]
"@" = "10.9.8.6"
db = "10.9.8.7"

[[vpcs]]
id = "open"
subnets = [{{ id = "first" }}]
internet = true
"""


@pytest.fixture(scope="module")
def shares(scratch):
    folder = Path(tempfile.mkdtemp(prefix="shares-", dir=scratch))
    folder.chmod(0o755)
    for name in ("team", "archive", "theirs"):
        (folder / name).mkdir()
        os.chown(folder / name, OWNER, OWNER)
    (folder / "archive" / "old.txt").write_text("kept")
    (folder / "theirs" / "secret.txt").write_text("of another project")
    return folder


@pytest.fixture(scope="module")
def world():
    """Before the server: it looks for ways out of the host when its first function has a network."""
    with outside_world():
        yield


@pytest.fixture(scope="module")
def server(scratch, shares, world):
    inventory = shares / "inventory.toml"
    inventory.write_text(INVENTORY.format(folder=shares, project=PROJECT_ID))
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    folder.chmod(0o755)
    running = ServerProcess(folder, "--inventory", str(inventory), "--idle-release-s", "2").start()
    yield running
    running.stop()


@pytest.fixture
def ask(server):
    """Run statements inside a function; return their `result` or the text of their error."""

    def run(urn, statements, **headers):
        answer = server.invoke(urn, {"run": statements}, **headers)
        assert answer.headers["x-func-err-code"] == "0", answer
        body = answer.body.decode()
        return json.loads(body)["result"] if body.startswith("{") else body

    return run


def reconfigure(server, urn, **settings):
    """Change settings as a client does that names the function."""
    return server.client.update_config(urn, {"func_name": urn.split(":")[6], **settings})


@contextmanager
def refused(code):
    """Expect a refusal of the API."""
    with pytest.raises(ApiError) as error:
        yield
    assert error.value.code == code


def mounting(*rows):
    return {"mount_user": {"user_id": OWNER, "user_group_id": OWNER}, "func_mounts": list(rows)}


def mount(resource, path="/mnt/data", **more):
    return {"mount_type": "sfs", "mount_resource": resource, "local_mount_path": path, **more}


def vpc(vpc_id):
    return {"func_vpc": {"vpc_id": vpc_id, "subnet_id": "first"}, "xrole": "agency"}


def logged(server, urn):
    """Return all that the log of a function holds."""
    return "".join(record["text"] for record in server.client.logs(urn))


# Encrypted variables


@pytest.mark.proves("faq:FAQ-124")
def test_an_encrypted_variable_is_given_to_its_function_and_to_nobody_else(server, ask):
    urn = server.deploy("secretive", TOLD, encrypted_user_data=json.dumps({"PASSWORD": SECRET}))
    neighbour = server.deploy("nosy", TOLD)
    server.client.publish_version(urn, name="v1")

    given = ask(
        urn, "result = (context.getUserData('PASSWORD'), json.loads(os.environ['RUNTIME_USERDATA'])['PASSWORD'])"
    )
    assert given == [SECRET, SECRET]
    assert ask(urn, "result = os.environ.get('PASSWORD')") is None

    look = """
result = []
for pid in os.listdir("/proc"):
    for name in ("environ", "cmdline", "mem") if pid.isdigit() else ():
        try:
            result.append(open(f"/proc/{pid}/{name}", errors="replace").read(1 << 20))
        except OSError:
            pass
result = json.dumps(result)
"""
    assert SECRET not in ask(neighbour, look)
    shown = [
        server.client.function_config(urn),
        server.client.list_versions(urn),
        server.client.call("GET", server.path("/functions")).json(),
        reconfigure(server, urn, timeout=9),
    ]
    assert SECRET not in json.dumps(shown)
    assert json.loads(shown[0]["encrypted_user_data"]) == {"PASSWORD": ""}
    eventually(lambda: "Finish invoke" in logged(server, urn))
    assert SECRET not in logged(server, urn) + server.log()
    assert files_with(server.data_dir, SECRET.encode()) == []


@pytest.mark.proves("operation:UpdateFunctionConfig")
def test_encrypted_variables_outlive_a_new_key_and_a_restart(new_server):
    server = new_server()
    urn = server.deploy(
        "sealed",
        "def handler(event, context):\n    return context.getUserData('P')\n",
        encrypted_user_data='{"P":"s-e-c"}',
    )
    version = server.client.publish_version(urn, name="v1")["func_urn"]
    key_file = server.data_dir / "secrets.key"
    old_key = key_file.read_text().split()[1]

    server.client.send("POST", "/funclet/secret-key/rotate")

    assert old_key not in key_file.read_text()
    assert [server.invoke(one).body for one in (urn, version)] == [b"s-e-c", b"s-e-c"]
    reconfigure(server, urn, memory_size=256)
    assert server.invoke(urn).body == b"s-e-c"
    server.stop()
    assert files_with(server.data_dir, b"s-e-c") == []
    server.start()
    assert [server.invoke(one).body for one in (urn, version)] == [b"s-e-c", b"s-e-c"]


def test_the_key_of_secrets_may_lie_outside_the_data_folder(new_server, scratch):
    folder = Path(tempfile.mkdtemp(prefix="keys-", dir=scratch))
    # The server's own user makes the file.
    folder.chmod(0o777)
    key_file, moved = folder / "funclet.key", folder / "moved.key"
    server = new_server("--secret-key-file", str(key_file), "--processes", "2")
    urn = server.deploy(
        "sealed-elsewhere",
        "def handler(event, context):\n    return context.getUserData('P')\n",
        encrypted_user_data='{"P":"s-e-c"}',
    )
    assert server.invoke(urn).body == b"s-e-c"
    assert not (server.data_dir / "secrets.key").exists()
    assert files_with(server.data_dir, key_file.read_text().split()[1].encode()) == []
    before = key_file.read_text()
    server.client.send("POST", "/funclet/secret-key/rotate")
    assert key_file.read_text() != before
    server.stop()

    key_file.rename(moved)
    with pytest.raises(AssertionError, match="is missing; without it nobody can read the secrets"):
        server.start()
    assert not key_file.exists()
    key_file.write_text("01234567 " + "ab" * 32 + "\n")
    key_file.chmod(0o600)
    shutil.chown(key_file, moved.stat().st_uid, moved.stat().st_gid)
    with pytest.raises(AssertionError, match="opens no secret of this server: put the right one back"):
        server.start()
    moved.rename(key_file)
    server.start()
    assert server.invoke(urn).body == b"s-e-c"
    folder.chmod(0o755)
    with refused("FSS.0503"):
        server.client.send("POST", "/funclet/secret-key/rotate")
    reconfigure(server, urn, memory_size=256)
    assert server.invoke(urn).body == b"s-e-c"


def test_every_process_of_a_server_reads_what_a_new_key_has_sealed(new_server):
    server = new_server("--processes", "2")
    source = "def handler(event, context):\n    return context.getUserData('P')\n"
    urns = [server.deploy(f"shared-{n}", source, encrypted_user_data='{"P":"s-e-c"}') for n in range(4)]
    for urn in urns:
        assert server.invoke(urn).body == b"s-e-c"

    server.client.send("POST", "/funclet/secret-key/rotate")

    for urn in urns:
        reconfigure(server, urn, memory_size=256)
        assert server.invoke(urn).body == b"s-e-c"


@pytest.mark.proves("faq:FAQ-123", "quota:environment-size")
def test_4096_characters_of_variables_reach_the_function(server, ask):
    urn = server.deploy("wordy", TOLD)
    key, value = "K" * 96, "ü" * 4000

    reconfigure(server, urn, user_data=json.dumps({key: value}, ensure_ascii=False))

    assert ask(urn, f"result = os.environ[{key!r}] == context.getUserData({key!r}) == 'ü' * 4000") is True
    with refused("FSS.1018"):
        reconfigure(server, urn, user_data=json.dumps({key: value + "x"}))


# Mounts


def test_functions_share_a_folder_and_keep_what_they_wrote(server, ask, shares):
    writer = server.deploy("writer", TOLD, mount_config=mounting(mount("team")))
    reader = server.deploy("reader", TOLD, mount_config=mounting(mount("team", "/data"), mount("archive", "/mnt/old")))

    ask(writer, "os.makedirs('/mnt/data/notes', exist_ok=True); open('/mnt/data/notes/one', 'w').write('hello')")

    assert ask(reader, "result = open('/data/notes/one').read() + open('/mnt/old/old.txt').read()") == "hellokept"
    assert "Read-only" in ask(reader, "open('/mnt/old/new', 'w')")
    assert (shares / "team" / "notes" / "one").stat().st_uid == OWNER
    assert server.client.function_config(reader)["mount_config"]["func_mounts"][0]["status"] == "active"


def test_what_another_project_mounts_can_neither_be_mounted_nor_seen(server, ask):
    with refused("FSS.1050"):
        server.deploy("thief", TOLD, mount_config=mounting(mount("theirs")))
    with refused("FSS.1039"):
        server.deploy("thief", TOLD, mount_config=mounting(mount("team", mount_share_path="../theirs")))
    # All files of the host's /usr are among those that it looks at.
    urn = server.deploy("visitor", TOLD, timeout=120, mount_config=mounting(mount("team")))

    found = ask(urn, "result = [name for _, _, names in os.walk('/') for name in names if name == 'secret.txt']")

    assert found == []


def test_a_mount_that_is_added_or_taken_away_holds_for_the_next_request(server, ask):
    urn = server.deploy("changing", TOLD)

    assert ask(urn, "result = os.listdir('/mnt')") == []
    reconfigure(server, urn, mount_config=mounting(mount("team")))
    assert ask(urn, "result = os.listdir('/mnt')") == ["data"]
    reconfigure(server, urn, mount_config=None)
    assert ask(urn, "result = os.listdir('/mnt')") == []


@pytest.mark.proves("error:FSS.4206")
def test_a_folder_that_is_gone_fails_the_request_and_works_when_it_is_back(server, ask, shares):
    urn = server.deploy("patient", TOLD, mount_config=mounting(mount("team", mount_share_path="/later")))

    answer = server.invoke(urn, {"run": "result = 1"})
    assert (answer.status, answer.json()["error_code"]) == (500, "FSS.4206")
    assert answer.json()["error_msg"] == "failed to mount volumes for function: '/mnt/data': the folder does not exist"
    assert (answer.headers["x-func-err-code"], answer.headers["x-is-func-err"]) == ("4206", "true")
    assert str(shares) not in answer.body.decode()
    assert "sandboxd" not in server.log().split("exception")[-1]

    (shares / "team" / "later").mkdir()
    assert eventually(lambda: server.invoke(urn, {"run": "result = 1"}).status == 200)


@pytest.mark.proves("error:FSS.4206")
def test_an_export_that_cannot_be_mounted_says_what_to_do(server):
    """What a file server that answers does is tested in `tests/vm/test_nfs.py`."""
    urn = server.deploy("remote", TOLD, mount_config=mounting(mount("remote")))

    answer = server.invoke(urn, {"run": "result = 1"})

    has_nfs = "nfs" in Path("/proc/filesystems").read_text().split()
    said = "" if has_nfs else "this kernel cannot mount NFS: load the module nfs (modprobe nfs)"
    assert answer.json()["error_code"] == "FSS.4206"
    assert "'/mnt/data': share 'remote' (127.0.0.1:/nobody-exports-this): " in answer.json()["error_msg"]
    assert answer.json()["error_msg"].endswith(said)


def test_a_link_in_place_of_a_mounted_folder_is_not_followed(server, shares):
    (shares / "team" / "link").symlink_to(shares / "theirs")
    urn = server.deploy("linked", TOLD, mount_config=mounting(mount("team", mount_share_path="/link")))

    answer = server.invoke(urn, {"run": "result = os.listdir('/mnt/data')"})

    assert answer.json()["error_code"] == "FSS.4206"
    assert "symbolic link" in answer.json()["error_msg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[shares]]\nid = 'a'\nfolder = '/missing'\nprojects = ['*']\n", "is no folder of this host"),
        ("[[shares]]\nid = 'a'\nfolder = '/etc'\nprojects = ['*']\n", "belongs to the system"),
        ("[[shares]]\nid = 'a'\nfolder = '/tmp'\nprojects = []\n", "needs projects"),
        ("[[shares]]\nid = 'a'\nfolder = '/tmp'\n", "missing required field `projects`"),
        ("[[volumes]]\n", "unknown field `volumes`"),
        ("[[shares]\n", "cannot be read"),
    ],
)
def test_an_inventory_that_cannot_be_used_stops_the_start_and_says_why(new_server, shares, text, said):
    path = shares / "bad.toml"
    path.write_text(text)

    with pytest.raises(AssertionError, match=re.escape(said)):
        new_server("--inventory", str(path))


# Network

REACH = "result = socket.create_connection(({!r}, {}), timeout=1).recv(100).decode()"


@pytest.mark.proves("faq:FAQ-443", "faq:FAQ-239", "faq:FAQ-441", "faq:FAQ-442")
def test_a_function_reaches_what_its_network_settings_say(server, ask):
    urn = server.deploy("traveller", TOLD)
    reached = {}
    for name, settings in {
        "as created": {},
        "in a VPC": vpc("office"),
        "in a VPC with internet": vpc("open"),
        "in a VPC, public off": vpc("office") | {"network_controller": {"disable_public_network": True}},
        "public off": {"func_vpc": None, "network_controller": {"disable_public_network": True}},
        "as at first": {"func_vpc": None, "network_controller": None},
    }.items():
        reconfigure(server, urn, **settings) if settings else None
        answers = [ask(urn, REACH.format(address, PORT)) for address in (PRIVATE, PUBLIC)]
        reached[name] = ["no" if "Error" in answer else answer for answer in answers]

    everything, private, nothing = ["172.30.77.1", "198.51.100.1"], ["172.30.77.1", "no"], ["no", "no"]
    assert reached == {
        "as created": everything,
        "in a VPC": private,
        "in a VPC with internet": everything,
        "in a VPC, public off": private,
        "public off": nothing,
        "as at first": everything,
    }


@pytest.mark.proves("faq:FAQ-215", "faq:FAQ-217", "faq:FAQ-238")
def test_private_names_lead_to_the_addresses_of_the_inventory(server, ask):
    urn = server.deploy("resolver", TOLD, **vpc("office"))
    resolve = "result = [socket.gethostbyname(name) for name in ('db.internal.example', 'internal.example')]"
    assert "gaierror" in ask(urn, resolve)

    reconfigure(server, urn, domain_names='[{"id":"1","domain_name":"internal.example."}]')

    assert ask(urn, resolve) == ["10.9.8.7", "10.9.8.6"]
    reconfigure(server, urn, func_vpc=None)
    assert "gaierror" in ask(urn, resolve)


@pytest.mark.proves("faq:FAQ-219")
def test_a_name_that_nobody_knows_fails_soon(server):
    source = (
        "import socket\n\ndef handler(event, context):\n    socket.gethostbyname('no-such-host.internal.example')\n"
    )
    urn = server.deploy("lost", source, **vpc("office"), timeout=30)

    answer = server.invoke(urn)

    assert "gaierror" in answer.body.decode()
    assert json.loads(answer.headers["x-cff-invoke-summary"])["duration"] < 5000


# Memory, CPU, disk


@pytest.mark.proves("quota:memory")
@pytest.mark.parametrize(("memory_size", "millicores"), [(128, 300), (256, 400), (1024, 1000)])
def test_memory_and_cpu_share_of_an_instance_are_those_of_its_settings(server, ask, memory_size, millicores):
    urn = server.deploy(f"sized-{memory_size}", TOLD, memory_size=memory_size)
    before = set(server.instances())

    told = ask(urn, "result = (context.getMemorySize(), context.getCPUNumber(), os.environ['RUNTIME_CPU'])")

    assert [int(number) for number in told] == [memory_size, millicores, millicores]
    assert server.client.function_config(urn)["cpu"] == millicores
    (pid,) = set(server.instances()) - before
    # The boost of the start ends a moment later.
    eventually(lambda: cpu_share_of(pid) == millicores, because=f"{pid} has its share")
    assert memory_limit_of(pid) == memory_size << 20


def cpu_share_of(pid):
    """Return the CPU limit of the control group of a process in thousandths of a core."""
    version_2 = control_file(pid, "cpu", "cpu.max")
    if version_2:
        quota, period = version_2.split()
        return int(quota) * 1000 // int(period) if quota != "max" else -1
    quota = int(control_file(pid, "cpu", "cpu.cfs_quota_us"))
    return quota * 1000 // int(control_file(pid, "cpu", "cpu.cfs_period_us"))


def memory_limit_of(pid):
    return int(control_file(pid, "memory", "memory.max") or control_file(pid, "memory", "memory.limit_in_bytes"))


def control_file(pid, controller, name):
    """Return a file of the control group of a process; empty if this kind of control groups has none."""
    for line in Path("/proc", str(pid), "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for root in ("/sys/fs/cgroup", f"/sys/fs/cgroup/{controllers}", f"/sys/fs/cgroup/{controller}"):
            file = Path(root + path, name)
            if controller in (*controllers.split(","), controllers or controller) and file.exists():
                return file.read_text().strip()
    return ""


@pytest.mark.proves("quota:tmp", "faq:FAQ-206")
def test_the_size_of_tmp_is_that_of_the_settings(server, ask):
    urn = server.deploy("disky", TOLD)
    size = "system = os.statvfs('/tmp'); result = system.f_bavail * system.f_frsize >> 20"

    usual = ask(urn, size)
    reconfigure(server, urn, ephemeral_storage=10_240)
    large = ask(urn, size)
    reconfigure(server, urn, ephemeral_storage=512)

    assert 500 <= usual <= 530
    assert 10_200 <= large <= 10_400
    assert ask(urn, size) == usual


# Timeouts and hooks


@pytest.mark.proves("quota:timeout")
def test_a_new_timeout_holds_for_the_next_request_and_leaves_instances_alone(server):
    source = """
import time
calls = 0

def handler(event, context):
    global calls
    calls += 1
    time.sleep(event.get("sleep", 0))
    return calls
"""
    urn = server.deploy("hasty", source, timeout=30)
    assert server.invoke(urn).json() == 1

    reconfigure(server, urn, timeout=3)

    assert server.invoke(urn).json() == 2
    late = server.invoke(urn, {"sleep": 5})
    assert (late.json()["error_code"], late.json()["error_msg"]) == ("FSS.4010", "invoke timed out after 3 seconds")


STOPPING = {
    "Python3.10": """
import time

def stop(context):
    print("bye from", context.getFunctionName())
    time.sleep({sleep})
    {ending}

def handler(event, context):
    {handler}
    return "old"
""",
    "Node.js20.15": """
exports.stop = async (context) => {{
  console.log('bye from ' + context.getFunctionName());
  await new Promise((resolve) => setTimeout(resolve, {sleep} * 1000));
  {ending}
}};
exports.handler = async (event, context) => {{ {handler}; return 'old'; }};
""",
}


def deploy_stopping(server, name, runtime="Python3.10", *, sleep=0, ending="", handler=""):
    source = STOPPING[runtime].format(
        sleep=sleep, ending=ending or ("pass" if runtime[0] == "P" else ""), handler=handler or '""'
    )
    return server.deploy(name, source, runtime=runtime, pre_stop_handler="index.stop", pre_stop_timeout=1)


@pytest.mark.proves("quota:pre-stop-timeout")
@pytest.mark.parametrize("runtime", ["Python3.10", "Node.js20.15"])
@pytest.mark.parametrize("reason", ["update", "idle"])
def test_pre_stop_runs_before_an_instance_is_released_and_its_output_is_kept(server, runtime, reason):
    urn = deploy_stopping(server, f"stopping-{runtime[:4].lower()}-{reason}", runtime)
    assert server.invoke(urn).body == b"old"

    if reason == "update":
        reconfigure(server, urn, memory_size=256)

    eventually(lambda: "bye from stopping" in logged(server, urn), because="the pre-stop handler has run")


def test_a_pre_stop_that_takes_too_long_or_fails_is_logged_and_the_instance_ends(server):
    slow = deploy_stopping(server, "stopping-slow", sleep=30)
    failing = deploy_stopping(server, "stopping-badly", ending="raise ValueError('cannot stop')")
    before = set(server.instances())
    server.invoke(slow), server.invoke(failing)
    instances = set(server.instances()) - before

    for urn in (slow, failing):
        reconfigure(server, urn, memory_size=256)

    eventually(lambda: not instances & set(server.instances()), because="both have ended")
    eventually(lambda: "bye from" in logged(server, slow) and "pre-stop timed out after 1s" in logged(server, slow))
    eventually(lambda: "cannot stop" in logged(server, failing))
    assert server.invoke(slow).status == server.invoke(failing).status == 200


def test_pre_stop_does_not_run_after_a_crash(server):
    urn = deploy_stopping(server, "crashing", handler="import os; os._exit(7)")

    assert server.invoke(urn).json()["error_code"] == "FSS.4204"
    urn_2 = deploy_stopping(server, "not-crashing")
    server.invoke(urn_2)
    reconfigure(server, urn_2, memory_size=256)

    eventually(lambda: "bye from" in logged(server, urn_2))
    assert "bye from" not in logged(server, urn)


# What this server has not got


@pytest.mark.proves("error:FSS.0503")
def test_a_function_that_wants_a_gpu_is_told_that_there_is_none(server):
    bootstrap = {"bootstrap": "#!/bin/sh\n"}
    urn = server.deploy("gpu", bootstrap, runtime="Custom", handler="bootstrap", gpu_memory=1024, gpu_type="nvidia-t4")

    answer = server.invoke(urn)

    assert (answer.status, answer.json()["error_code"]) == (503, "FSS.0503")
    assert "no GPU available on this node" in answer.json()["error_msg"]
    assert server.client.function_config(urn)["gpu_memory"] == 1024
