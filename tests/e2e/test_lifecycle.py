"""The life of instances as their callers see it: starts, reuse, limits, ends, and what changes do to them."""

import base64
import collections
import json
import resource

import pytest

from funclet.client import Client, Credentials, Link, NetworkError
from funclet.host import host_memory_mib
from funclet.model.function import MEMORY_LADDER
from tests.support import processes
from tests.support.packages import zip_of
from tests.support.server import AK, PROJECT_ID, SK
from tests.support.waiting import eventually

COUNTER = """
calls = 0

def handler(event, context):
    global calls
    calls += 1
    return {"calls": calls}
"""
# Says which instance it is and from when to when it ran.
CLOCKED = """
import time, uuid
me = uuid.uuid4().hex

def handler(event, context):
    began = time.time()
    time.sleep(event.get("sleep", 0))
    return {"me": me, "began": began, "ended": time.time()}
"""
NODE_COUNTER = """
let calls = 0;
exports.handler = async (event, context) => ({ calls: ++calls });
"""
NODE = "Node.js20.15"


@pytest.fixture(scope="module")
def strict_server(scratch):
    """A server that lets nobody wait for an instance, and releases idle ones after a second."""
    from tests.support.server import ServerProcess

    folder = scratch / "strict"
    folder.mkdir()
    running = ServerProcess(folder, "--edition", "huawei", "--idle-release-s", "1").start()
    yield running
    running.stop()


def log_of(answer):
    """Return the log tail of the header."""
    return base64.b64decode(answer.headers["x-cff-function-log"]).decode()


def summary_of(answer):
    """Return the parsed summary header."""
    return json.loads(answer.headers["x-cff-invoke-summary"])


def limit_instances(server, urn, count):
    """Set the most instances a function may have; 0 disables it."""
    return server.client.send("PUT", f"/fgs/functions/{urn}/config-max-instance", {"max_instance_num": count})


def begin_cold(server, urn, event):
    """Begin the first request of a function; return its future and its instance, which is there already."""
    before = set(server.instances())
    future = server.begin(urn, event)
    (instance,) = eventually(lambda: set(server.instances()) - before, because="an instance starts")
    return future, instance


# Starts and reuse


@pytest.mark.proves("faq:FAQ-112")
@pytest.mark.parametrize("runtime", ["Python3.9", NODE])
def test_a_second_request_finds_the_state_of_the_first(server, runtime):
    urn = server.deploy(f"counter-{runtime[:4]}", NODE_COUNTER if runtime == NODE else COUNTER, runtime=runtime)

    answers = [server.invoke(urn, x_cff_log_type="tail") for _ in range(3)]

    assert [answer.json()["calls"] for answer in answers] == [1, 2, 3]
    assert ["Start load request" in log_of(answer) for answer in answers] == [True, False, False]


@pytest.mark.proves("faq:FAQ-113")
def test_requests_at_the_same_time_run_in_instances_of_their_own(server):
    urn = server.deploy("parallel", CLOCKED)

    answers = [future.result().json() for future in [server.begin(urn, {"sleep": 0.4}) for _ in range(3)]]

    assert len({answer["me"] for answer in answers}) == 3
    assert max(answer["began"] for answer in answers) < min(answer["ended"] for answer in answers)


def test_an_instance_that_was_used_last_is_used_again(server):
    """So that those which are not needed any more grow idle."""
    urn = server.deploy("stack", CLOCKED)
    for future in [server.begin(urn, {"sleep": 0.2}) for _ in range(3)]:
        future.result()

    later = {server.invoke(urn).json()["me"] for _ in range(5)}

    assert len(later) == 1


@pytest.mark.proves("faq:FAQ-403")
def test_tmp_belongs_to_one_instance(server):
    source = """
import os, time

def handler(event, context):
    before = os.listdir("/tmp")
    open("/tmp/note", "w").close()
    time.sleep(event.get("sleep", 0))
    return before
"""
    urn = server.deploy("notes", source)

    first = server.invoke(urn).json()
    again = server.invoke(urn).json()
    together = [future.result().json() for future in [server.begin(urn, {"sleep": 0.4}) for _ in range(2)]]

    assert first == []
    assert again == ["note"]
    assert sorted(together) == [[], ["note"]]


@pytest.mark.proves("quota:fgs_func_scale_down_timeout", "faq:FAQ-114", "faq:FAQ-117")
def test_an_idle_instance_is_released(strict_server):
    urn = strict_server.deploy("idle", COUNTER)
    before = set(strict_server.instances())
    strict_server.invoke(urn)
    instance = set(strict_server.instances()) - before

    eventually(lambda: not instance & set(strict_server.instances()), within_s=4, because="the instance is released")

    assert len(instance) == 1
    assert strict_server.invoke(urn).json() == {"calls": 1}


# Limits


@pytest.mark.proves("error:FSS.0429")
def test_beyond_the_maximum_of_instances_requests_are_refused(strict_server):
    urn = strict_server.deploy("limited", CLOCKED)
    limit_instances(strict_server, urn, 1)

    answers = [future.result() for future in [strict_server.begin(urn, {"sleep": 0.5}) for _ in range(2)]]

    answered, refused = sorted(answers, key=lambda answer: answer.status)
    assert (answered.status, refused.status) == (200, 429)
    assert refused.json()["error_code"] == "FSS.0429"
    assert refused.json()["error_msg"] == "Your request has been controlled by overload sdk, please retry later"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-is-func-err"] == "false"
    assert refused.headers["x-func-err-code"] == "150429"
    assert strict_server.invoke(urn).status == 200


def test_a_request_may_wait_for_a_busy_instance(server):
    """The edition of the shared server allows a second."""
    urn = server.deploy("waiting", CLOCKED)
    limit_instances(server, urn, 1)
    server.invoke(urn)

    answers = [future.result() for future in [server.begin(urn, {"sleep": 0.3}) for _ in range(3)]]

    assert [answer.status for answer in answers] == [200] * 3
    assert len({answer.json()["me"] for answer in answers}) == 1


def test_a_disabled_function_is_refused_until_it_is_enabled(server):
    urn = server.deploy("disabled", COUNTER)

    limit_instances(server, urn, 0)
    refused = server.invoke(urn)
    limit_instances(server, urn, 5)
    answered = server.invoke(urn)

    assert (refused.status, refused.json()["error_code"]) == (429, "FSS.0429")
    assert refused.json()["error_msg"] == "Function Disabled"
    assert answered.status == 200


@pytest.mark.proves("quota:sync-request", "faq:FAQ-220")
def test_a_request_body_of_the_limit_passes_and_one_byte_more_does_not(server):
    urn = server.deploy("measure", "def handler(event, context):\n    return len(event['x'])\n", memory_size=256)
    limit = 6_291_456

    passed = server.invoke(urn, b'{"x":"' + b"y" * (limit - 8) + b'"}')
    refused = server.invoke(urn, b'{"x":"' + b"y" * (limit - 7) + b'"}')

    assert (passed.status, passed.body) == (200, str(limit - 8).encode())
    assert (refused.status, refused.json()["error_code"]) == (413, "FSS.1201")


@pytest.mark.proves("error:FSS.4004", "quota:sync-response")
@pytest.mark.parametrize("runtime", ["Python3.9", NODE])
def test_an_answer_of_the_limit_passes_and_one_byte_more_does_not(server, runtime):
    python = "def handler(event, context):\n    return 'y' * event['size']\n"
    node = "exports.handler = async (event, context) => 'y'.repeat(event.size);"
    source = node if runtime == NODE else python
    urn = server.deploy(f"talk-{runtime[:4]}", source, runtime=runtime, memory_size=256)
    limit = 6_291_456

    passed = server.invoke(urn, {"size": limit})
    refused = server.invoke(urn, {"size": limit + 1})
    far_over = server.invoke(urn, {"size": 3 * limit})

    assert (passed.status, len(passed.body)) == (200, limit)
    assert (refused.status, refused.json()["error_code"]) == (500, "FSS.4004")
    assert refused.json()["error_msg"] == f"response body size {limit + 1} exceeds the limit of {limit}"
    assert far_over.json()["error_code"] == "FSS.4004"


@pytest.fixture
def small_server(new_server):
    """A server that may hold one instance of a size, not two; and that size in MB."""
    host_mib = host_memory_mib()
    size = next(size for size in MEMORY_LADDER if size * 1.5 >= host_mib * 0.05)
    return new_server("--memory-fraction", str(size * 1.5 / host_mib)), size


def test_an_idle_instance_gives_way_to_another_function(small_server):
    server, size = small_server
    one, other = (server.deploy(name, COUNTER, memory_size=size) for name in ("one", "other"))

    answers = [server.invoke(urn).json()["calls"] for urn in (one, other, other, one)]

    assert answers == [1, 1, 2, 1]


def test_a_busy_instance_does_not_give_way(small_server):
    server, size = small_server
    one, other = (server.deploy(name, CLOCKED, memory_size=size) for name in ("one", "other"))

    # Longer than the second for which a start may wait for memory.
    running, _ = begin_cold(server, one, {"sleep": 2})
    refused = server.invoke(other)

    assert (refused.status, refused.json()["error_code"]) == (503, "FSS.0503")
    assert int(refused.headers["retry-after"]) >= 1
    assert running.result().status == 200
    assert server.invoke(other).status == 200


# Ends

PYTHON_ENDS = """
import os, time
calls = 0

def handler(event, context):
    global calls
    calls += 1
    match event.get("do"):
        case "exit": os._exit(3)
        case "sleep": time.sleep(60)
        case "raise": raise ValueError("no")
    return calls
"""
NODE_ENDS = """
let calls = 0;
exports.handler = async (event, context) => {
    calls += 1;
    if (event.do === 'exit') process.exit(3);
    if (event.do === 'sleep') await new Promise((done) => setTimeout(done, 60000));
    if (event.do === 'raise') throw new Error('no');
    return calls;
};
"""


@pytest.fixture(scope="module", params=["Python3.9", NODE])
def ending(request, server):
    """A function that ends as it is told, in either language; with the text of its timeout."""
    runtime = request.param
    source = NODE_ENDS if runtime == NODE else PYTHON_ENDS
    urn = server.deploy(f"ending-{runtime[:4]}", source, runtime=runtime, timeout=3)
    return urn, "call invoke timeout 3s" if runtime == NODE else "invoke timed out after 3 seconds"


@pytest.mark.proves("error:FSS.4010", "faq:FAQ-111", "faq:FAQ-233")
def test_a_function_is_ended_at_its_deadline(server, ending):
    urn, text = ending
    server.invoke(urn)

    answer = server.invoke(urn, {"do": "sleep"})

    assert answer.status == 500
    assert (answer.json()["error_code"], answer.json()["error_msg"]) == ("FSS.4010", text)
    assert (answer.headers["x-func-err-code"], answer.headers["x-is-func-err"]) == ("4010", "true")
    assert summary_of(answer)["duration"] == pytest.approx(3000, abs=300)
    assert server.invoke(urn).json() == 1


def test_a_process_that_exits_fails_its_request_and_ends_the_instance(server, ending):
    urn, _ = ending
    server.invoke(urn)

    answer = server.invoke(urn, {"do": "exit"}, x_cff_log_type="tail")

    assert answer.status == 500
    assert (answer.json()["error_code"], answer.json()["error_msg"]) == ("FSS.4204", "runtime process is exited")
    assert "(invoke Failed), duration:" in log_of(answer)
    assert server.invoke(urn).json() == 1


def test_an_exception_leaves_the_instance_alive(server, ending):
    urn, _ = ending
    before = server.invoke(urn).json()

    failed = server.invoke(urn, {"do": "raise"})

    assert failed.json()["errorMessage"] == "function invocation exception, error: no"
    assert server.invoke(urn).json() == before + 2


def test_an_instance_that_dies_while_idle_is_replaced_unseen(server):
    source = """
import os, threading

def handler(event, context):
    if event.get("die"):
        threading.Timer(0.1, os._exit, [1]).start()
    return os.path.exists("/tmp/x") or open("/tmp/x", "w").close() or False
"""
    urn = server.deploy("dies-idle", source)
    others = set(server.instances())
    server.invoke(urn)
    (instance,) = set(server.instances()) - others
    server.invoke(urn, {"die": True})
    eventually(lambda: instance not in server.instances(), because="the idle instance is gone")

    answer = server.invoke(urn)

    assert (answer.status, answer.json()) == (200, False)


def test_a_client_that_goes_away_does_not_stop_the_function(server):
    source = "import time\n\ndef handler(event, context):\n    time.sleep(1)\n    print('came to the end')\n"
    urn = server.deploy("abandoned", source)
    client = Client(server.api_url, Credentials(project_id=PROJECT_ID, ak=AK, sk=SK), Link(retries=0, timeout_s=0.3))

    with pytest.raises(NetworkError):
        server.invoke(urn, client=client)
    client.close()

    eventually(lambda: any("came to the end" in record["text"] for record in server.client.logs(urn)))


@pytest.mark.parametrize("level", ["rootless", "process"])
def test_ends_are_told_without_the_means_of_root_too(new_server, level):
    server = new_server("--isolation", level)
    python = server.deploy("ends-python", PYTHON_ENDS, timeout=3)
    node = server.deploy("ends-node", NODE_ENDS, runtime=NODE, timeout=3)
    hog = server.deploy(
        "hog", "import time\n\ndef handler(event, context):\n    x = bytearray(400 << 20)\n    time.sleep(2)\n"
    )

    answers = [server.invoke(urn, {"do": do}) for urn in (python, node) for do in ("", "exit", "sleep", "")]
    too_much = server.invoke(hog)

    assert [answer.headers["x-func-err-code"] for answer in answers] == ["0", "4204", "4010", "0"] * 2
    assert [answer.body for answer in answers if answer.status == 200] == [b"1"] * 4
    assert too_much.headers["x-func-err-code"] == "4205"


# Initializers


def test_an_initializer_runs_once_per_instance(server):
    source = """
runs = 0

def start(context):
    global runs
    runs += 1
    print("getting ready")

def handler(event, context):
    return runs
"""
    urn = server.deploy("init", source, initializer_handler="index.start", initializer_timeout=3)

    answers = [server.invoke(urn, x_cff_log_type="tail") for _ in range(3)]

    assert [answer.json() for answer in answers] == [1, 1, 1]
    assert log_of(answers[0]).count("getting ready") == 1
    assert "Start initialize request" in log_of(answers[0])
    assert "getting ready" not in log_of(answers[1])


@pytest.mark.proves("error:FSS.4009")
def test_a_failed_initializer_is_tried_on_three_instances(server):
    source = """
import time

def start(context):
    time.sleep(0.3)
    raise RuntimeError("not today")

def handler(event, context):
    return 1
"""
    urn = server.deploy("bad-init", source, initializer_handler="index.start", initializer_timeout=3)
    seen = set(server.instances())
    before = len(seen)

    attempt = server.begin(urn)
    while not attempt.done():
        seen.update(server.instances())

    answer = attempt.result()
    assert len(seen) - before == 3
    assert (answer.status, answer.json()["error_code"]) == (500, "FSS.4009")
    assert json.loads(answer.json()["error_msg"]) == {
        "errorMessage": "function initialization exception, error: not today",
        "errorType": "RuntimeError",
        "stackTrace": ['File "./index.py", line 6, in start', '  raise RuntimeError("not today")'],
    }


@pytest.mark.proves("error:FSS.4211", "faq:FAQ-233")
def test_an_initializer_has_a_deadline(server):
    source = "import time\n\ndef start(context):\n    time.sleep(60)\n\ndef handler(event, context):\n    return 1\n"
    urn = server.deploy("slow-init", source, initializer_handler="index.start", initializer_timeout=1)

    answer = server.invoke(urn)

    assert (answer.status, answer.json()["error_code"]) == (500, "FSS.4211")


@pytest.mark.proves("error:FSS.4201")
def test_a_runtime_that_is_not_there_is_named(server):
    urn = server.deploy("java", {"index.jar": "x"}, runtime="Java11", handler="com.example.Demo.handle")

    answer = server.invoke(urn)

    assert (answer.status, answer.json()["error_code"]) == (500, "FSS.4201")
    assert "runtime Java11 is not installed on this host" in answer.json()["error_msg"]


# Changes


def version_of(number):
    """Return code that answers with a number, after the sleep that the event asks for."""
    return f"import time\n\ndef handler(event, context):\n    time.sleep(event.get('sleep', 0))\n    return {number}\n"


def test_new_code_runs_at_once_and_a_running_request_keeps_the_old(server):
    urn = server.deploy("changing", version_of(1))

    running, _ = begin_cold(server, urn, {"sleep": 0.8})
    server.client.update_code(urn, zip_of({"index.py": version_of(2)}))
    after = server.invoke(urn).json()

    assert not running.done()
    assert (after, running.result().json()) == (2, 1)


def test_published_versions_keep_their_code(server):
    urn = server.deploy("published", version_of(1))
    server.client.publish_version(urn, name="v1")
    server.client.update_code(urn, zip_of({"index.py": version_of(2)}))

    answers = [server.invoke(urn.replace(":latest", f":{version}")).json() for version in ("v1", "latest")]

    assert answers == [1, 2]


def test_an_alias_shares_requests_by_weight(server):
    urn = server.deploy("weighted", version_of(1))
    server.client.publish_version(urn, name="v1")
    server.client.update_code(urn, zip_of({"index.py": version_of(2)}))
    server.client.publish_version(urn, name="v2")
    alias = {"name": "live", "version": "v1", "additional_version_weights": {"v2": 50}}
    server.client.save_alias(urn, alias, create=True)

    answers = collections.Counter(server.invoke(urn.replace(":latest", ":!live")).json() for _ in range(60))

    # 4.6 standard deviations around 30.
    assert set(answers) == {1, 2}
    assert 12 <= answers[1] <= 48


def test_an_alias_moves_from_one_request_to_the_next(server):
    urn = server.deploy("moved", version_of(1))
    server.client.publish_version(urn, name="v1")
    server.client.update_code(urn, zip_of({"index.py": version_of(2)}))
    server.client.publish_version(urn, name="v2")
    live = urn.replace(":latest", ":!live")

    answers = []
    for version in ("v1", "v2"):
        server.client.save_alias(urn, {"name": "live", "version": version}, create=version == "v1")
        answers.append(server.invoke(live).json())

    assert answers == [1, 2]


def test_a_deleted_function_is_gone_with_its_instances(server):
    urn = server.deploy("deleted", version_of(1))

    running, instance = begin_cold(server, urn, {"sleep": 0.8})
    server.client.delete_function(urn.removesuffix(":latest"))
    after = server.invoke(urn)

    assert (after.status, after.json()["error_code"]) == (404, "FSS.0404")
    assert running.result().json() == 1
    eventually(lambda: instance not in server.instances(), because="its instance has ended")


def test_instances_of_old_code_end_at_once(server):
    """Not only when they have been idle for long: they hold memory that nobody will use."""
    urn = server.deploy("recoded", version_of(1))
    running, instance = begin_cold(server, urn, {})
    running.result()

    server.client.update_code(urn, zip_of({"index.py": version_of(2)}))

    eventually(lambda: instance not in server.instances(), because="the old instance has ended")


def test_a_new_description_leaves_instances_alone(server):
    urn = server.deploy("described", COUNTER)
    server.invoke(urn)
    config = server.client.function_config(urn)
    keep = {name: config[name] for name in ("func_name", "runtime", "timeout", "handler", "memory_size")}

    server.client.update_config(urn, keep | {"description": "new"})

    assert server.invoke(urn).json() == {"calls": 2}


# Settings


def test_dynamic_memory_chooses_the_size_of_the_instance(server):
    urn = server.deploy("dynamic", COUNTER, enable_dynamic_memory=True)

    asked, usual = server.invoke(urn, x_cff_instance_memory="256"), server.invoke(urn)
    refused = server.invoke(urn, x_cff_instance_memory="300")

    assert (summary_of(asked)["memorySize"], summary_of(usual)["memorySize"]) == (256, 128)
    assert (asked.json(), usual.json()) == ({"calls": 1}, {"calls": 1})
    assert (refused.status, refused.json()["error_code"]) == (406, "FSS.0406")


def test_without_dynamic_memory_the_header_says_nothing(server):
    urn = server.deploy("static", COUNTER)

    answers = [server.invoke(urn, x_cff_instance_memory=size) for size in ("256", "300")]

    assert [summary_of(answer)["memorySize"] for answer in answers] == [128, 128]


def test_variables_reach_the_function_in_both_ways(server):
    source = """
import os

def handler(event, context):
    names = ("PLAIN", "SECRET", "LD_LIBRARY_PATH")
    return [[os.environ.get(name) for name in names], [context.getUserData(name) for name in names]]
"""
    variables = {"PLAIN": "p", "LD_LIBRARY_PATH": "/mine"}
    urn = server.deploy(
        "variables", source, user_data=json.dumps(variables), encrypted_user_data=json.dumps({"SECRET": "s"})
    )

    environment, user_data = server.invoke(urn).json()

    # What was given encrypted stays out of the environment, where every child would see it.
    assert environment == ["p", None, "/opt/function/code:/opt/function/code/lib:/mine"]
    assert user_data == ["p", "s", "/mine"]


def test_changed_variables_hold_from_the_next_request_on(server):
    urn = server.deploy("revariable", "import os\n\ndef handler(event, context):\n    return os.environ['A']\n")
    config = server.client.function_config(urn)
    keep = {name: config[name] for name in ("func_name", "runtime", "timeout", "handler", "memory_size")}

    answers = []
    for value in ("1", "2"):
        server.client.update_config(urn, keep | {"user_data": json.dumps({"A": value})})
        answers.append(server.invoke(urn).body)

    assert answers == [b"1", b"2"]


# Asynchronous requests


def status_of(server, urn, request_id):
    """Return the status of an asynchronous request; empty while there is none."""
    record = server.client.async_record(urn, request_id)
    return record["status"] if record else ""


def test_an_asynchronous_request_runs(server):
    urn = server.deploy("later", "def handler(event, context):\n    print('event', event['n'])\n")

    request_id = server.client.invoke_async(urn, b'{"n": 7}')

    eventually(lambda: status_of(server, urn, request_id) == "SUCCESS")
    texts = eventually(lambda: [r["text"] for r in server.client.logs(urn) if r["request_id"] == request_id])
    assert "event 7" in texts[0]


def test_an_asynchronous_request_that_fails_says_why(server):
    urn = server.deploy("later-fails", "def handler(event, context):\n    raise ValueError('no')\n")

    request_id = server.client.invoke_async(urn, b"{}")

    eventually(lambda: status_of(server, urn, request_id) == "FAIL")
    record = server.client.async_record(urn, request_id)
    assert record["error_code"] == "4002"
    assert "function invocation exception, error: no" in record["error_message"]


def test_asynchronous_requests_survive_a_restart(new_server):
    server = new_server("--drain-s", "0")
    urn = server.deploy("slow-later", "import time\n\ndef handler(event, context):\n    time.sleep(1.5)\n", timeout=5)
    limit_instances(server, urn, 2)
    ids = [server.client.invoke_async(urn, b"{}") for _ in range(3)]
    eventually(lambda: [status_of(server, urn, i) for i in ids].count("RUNNING") >= 2)

    server.stop()
    server.start()

    for request_id in ids:
        eventually(lambda request_id=request_id: status_of(server, urn, request_id) == "SUCCESS", within_s=15)


def test_its_table_of_descriptors_does_not_grow_while_requests_wait(server):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert int(processes.status_of(server.server_pid)["FDSize"]) >= min(most, 16_384)
