"""How many processes and files an instance has, and what tells that something took too long, on a real server."""

import json

import pytest

pytestmark = pytest.mark.root


@pytest.mark.proves("quota:processes")
def test_a_function_may_have_1024_processes_and_threads_and_no_more(server):
    source = """
import subprocess, threading, time
threading.stack_size(65536)

def handler(event, context):
    over = threading.Event()
    child = subprocess.check_output(["/bin/echo", "child"], text=True).strip()
    count = 0
    try:
        while count < event["most"]:
            threading.Thread(target=over.wait).start()
            count += 1
    except RuntimeError:
        pass
    over.set()
    return [child, count]
"""
    urn = server.deploy("threads", source, memory_size=512, timeout=20)

    child, hundred = server.invoke(urn, {"most": 100}).json()
    _, most = server.invoke(urn, {"most": 2000}).json()

    assert (child, hundred) == ("child", 100)
    # The runtime itself is one of them.
    assert 1000 <= most <= 1024
    assert server.invoke(urn, {"most": 1}).json() == ["child", 1]


@pytest.mark.proves("quota:file-descriptors")
def test_a_function_may_have_2048_open_files_and_no_more(server):
    source = """
def handler(event, context):
    files = []
    try:
        while len(files) < 5000:
            files.append(open("/dev/null"))
    except OSError as error:
        return [error.errno, len(files)]
    finally:
        for file in files:
            file.close()
"""
    number, count = server.invoke(server.deploy("descriptors", source, memory_size=256)).json()

    assert number == 24
    assert 2030 <= count <= 2048


@pytest.mark.proves("faq:FAQ-233", "error:FSS.4010", "error:FSS.4211")
def test_what_took_too_long_can_be_told_apart(server):
    slow = "import time\n{}\ndef start(context):\n    {}\n\ndef handler(event, context):\n    {}\n"
    sleep = "time.sleep(20)"
    hooks = {"initializer_handler": "index.start", "initializer_timeout": 1, "timeout": 3}
    answers = {
        "initializer": server.invoke(server.deploy("slow-start", slow.format("", sleep, "pass"), **hooks)),
        "handler": server.invoke(server.deploy("slow-run", slow.format("", "pass", sleep), **hooks)),
    }
    cold = server.invoke(server.deploy("slow-load", slow.format("time.sleep(0.5)", "pass", "pass"), **hooks))

    found = {name: (answer.status, answer.json()["error_code"]) for name, answer in answers.items()}
    assert found == {"initializer": (500, "FSS.4211"), "handler": (500, "FSS.4010")}
    # Loading slowly is no part of the time that the handler has, nor of what is billed.
    assert cold.status == 200
    assert json.loads(cold.headers["x-cff-invoke-summary"])["duration"] < 400
