"""What users ask about running functions, answered by functions that look."""

import base64
import json
import re

import pytest

MIB = 1024 * 1024
CHINESE = '''# 返回收到的内容
import json

def handler(event, context):
    """把内容原样返回"""
    return json.dumps({"名字": event["名字"]}, ensure_ascii=False)
'''
PLACES = """
import os
from pathlib import Path

def attempt(work):
    try:
        return work()
    except OSError as error:
        return type(error).__name__

def handler(event, context):
    return {
        "cwd": os.getcwd(),
        "code": os.environ["RUNTIME_CODE_ROOT"],
        "relative": Path("code/backend/test.conf").read_text(),
        "by_variable": Path(os.environ["RUNTIME_CODE_ROOT"], "backend/test.conf").read_text(),
        "tmp": attempt(lambda: Path("/tmp/note").write_text("x")),
        "beside_the_code": attempt(lambda: Path("code/note").write_text("x")),
        "elsewhere": attempt(lambda: Path("/opt/note").write_text("x")),
    }
"""
MEMORY = """
kept = []

def handler(event, context):
    kept.append(b"x" * (event.get("mib", 0) << 20))
    return len(event.get("text", ""))
"""
THREADS = """
import subprocess, threading

def handler(event, context):
    done = threading.Event()
    threads = []
    try:
        for _ in range(event["threads"]):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            threads.append(thread)
        child = subprocess.run(["/bin/sh", "-c", "echo child"], capture_output=True, text=True, check=True)
        return {"threads": len(threads), "child": child.stdout.strip()}
    except (RuntimeError, OSError) as error:
        return {"threads": len(threads), "error": str(error)}
    finally:
        done.set()
"""
BACKGROUND = """
import os, subprocess, time

def handler(event, context):
    if event["how"] == "system":
        os.system("echo from behind &")
        time.sleep(0.5)
    else:
        child = subprocess.Popen(["/bin/sh", "-c", "echo from behind"], stdout=subprocess.PIPE, text=True)
        print(child.communicate()[0])
"""
PYTHON_INITIALIZER = """
ready = []

def my_initializer(context):
    ready.append(context.getFunctionName())

def handler(event, context):
    return ready
"""
NODE_INITIALIZER = """
const ready = [];
exports.initializer = function (context, callback) { ready.push(context.getFunctionName()); callback(null, ''); };
exports.handler = async (event, context) => ready;
"""
OLD_HABITS = """
import argparse, asyncio

def handler(event, context):
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="nobody")
    try:
        asyncio.get_event_loop()
        found = "loop"
    except RuntimeError:
        found = "no loop"
    loop = asyncio.new_event_loop()
    try:
        own = loop.run_until_complete(asyncio.sleep(0, result="own loop"))
    finally:
        loop.close()
    return {"name": parser.parse_args(args=[]).name, "found": found, "own": own}
"""


def log_of(answer):
    return base64.b64decode(answer.headers["x-cff-function-log"]).decode()


def memory_used(answer):
    return json.loads(answer.headers["x-cff-invoke-summary"])["memoryUsed"]


@pytest.mark.proves("faq:FAQ-103")
@pytest.mark.parametrize("runtime", ["Python3.6", "Python3.9", "Python3.10", "Python3.12"])
def test_chinese_in_source_and_event_arrives_unchanged(server, runtime):
    urn = server.deploy(f"faq-chinese-{runtime.replace('.', '-')}", CHINESE, runtime=runtime)

    answer = server.invoke(urn, json.dumps({"名字": "函数"}, ensure_ascii=False).encode())

    assert answer.body.decode() == '{"名字": "函数"}'


@pytest.mark.proves("faq:FAQ-208", "faq:FAQ-227")
def test_code_lies_below_the_working_directory_and_only_tmp_can_be_written(server):
    urn = server.deploy("faq-places", {"index.py": PLACES, "backend/test.conf": "setting"})

    assert server.invoke(urn).json() == {
        "cwd": "/opt/function",
        "code": "/opt/function/code",
        "relative": "setting",
        "by_variable": "setting",
        "tmp": 1,
        "beside_the_code": "OSError",
        "elsewhere": "OSError",
    }


@pytest.mark.proves("faq:FAQ-107")
def test_a_function_may_start_threads_and_processes_up_to_a_limit(server):
    urn = server.deploy("faq-threads", THREADS, memory_size=512)

    some = server.invoke(urn, {"threads": 100}).json()
    many = server.invoke(urn, {"threads": 2000})
    after = server.invoke(urn, {"threads": 1})

    assert some == {"threads": 100, "child": "child"}
    assert "error" in many.json(), many
    assert 900 <= many.json()["threads"] <= 1024
    assert after.json() == {"threads": 1, "child": "child"}


@pytest.mark.proves("faq:FAQ-116")
def test_memory_used_is_in_the_answer_and_in_the_log(server):
    urn = server.deploy("faq-memory", MEMORY)

    answer = server.invoke(urn, {"mib": 50}, x_cff_log_type="tail")

    in_log = re.findall(r"Finish invoke request .*memory used: ([\d.]+)MB", log_of(answer))[-1]
    assert 50 <= float(in_log) <= 128
    assert memory_used(answer) == pytest.approx(float(in_log), abs=0.01)


@pytest.mark.proves("faq:FAQ-119")
def test_a_large_event_is_memory_of_the_function(server):
    urn = server.deploy("faq-large-event", MEMORY)

    small = server.invoke(urn, {"text": "x"})
    large = server.invoke(urn, {"text": "x" * 5 * MIB})

    assert large.json() == 5 * MIB
    assert memory_used(large) >= memory_used(small) + 5


@pytest.mark.proves("faq:FAQ-229")
@pytest.mark.parametrize("how", ["system", "pipe"])
def test_what_child_processes_write_is_part_of_the_log(server, how):
    urn = server.deploy(f"faq-background-{how}", BACKGROUND)

    assert "from behind" in log_of(server.invoke(urn, {"how": how}, x_cff_log_type="tail"))


@pytest.mark.proves("faq:FAQ-231", "faq:FAQ-205")
def test_the_interpreter_is_the_one_that_the_list_of_runtimes_names(server):
    runtimes = {row["type"]: row for row in server.client.call("GET", server.path("/runtimetypes")).json()}
    source = "import platform\ndef handler(event, context):\n    return platform.python_version()\n"

    urn = server.deploy("faq-version", source)

    assert server.invoke(urn).body.decode() == runtimes["Python3.10"]["interpreter_version"]


@pytest.mark.proves("faq:FAQ-235")
@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (PYTHON_INITIALIZER, {"initializer_handler": "index.my_initializer"}),
        (NODE_INITIALIZER, {"initializer_handler": "index.initializer", "runtime": "Node.js18.15"}),
    ],
    ids=["python", "nodejs"],
)
def test_an_initializer_runs_before_the_first_request(server, source, settings):
    name = f"faq-init-{settings.get('runtime', 'python').partition('.')[0].lower()}"
    urn = server.deploy(name, source, **settings)

    assert [server.invoke(urn).json() for _ in range(2)] == [[name], [name]]


@pytest.mark.proves("faq:FAQ-461", "faq:FAQ-462")
def test_arguments_and_event_loops_are_those_of_the_platform(server):
    urn = server.deploy("faq-habits", OLD_HABITS)

    assert server.invoke(urn).json() == {"name": "nobody", "found": "no loop", "own": "own loop"}


@pytest.mark.proves("quota:async-retries", "quota:async-age")
@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("max_async_retry_attempts", (0, 3), (-1, 4)),
        ("max_async_event_age_in_seconds", (1, 86_400), (0, 86_401)),
    ],
)
def test_retries_and_age_of_asynchronous_requests_have_a_range(server, name, taken, refused):
    urn = server.deploy(f"faq-{name.replace('_', '-')}", "def handler(event, context):\n    return 1\n")
    path = server.path(f"/functions/{urn}/async-invoke-config")

    def put(value):
        answer = server.client.call("PUT", path, body=json.dumps({name: value}).encode(), raises=False)
        return answer.status, answer.json().get(name)

    assert [put(value) for value in taken] == [(200, value) for value in taken]
    assert [put(value)[0] for value in refused] == [400, 400]
    assert server.client.call("GET", path).json()[name] == taken[1]
