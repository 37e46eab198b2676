"""Runtimes that were started ahead: an author must not be able to tell, and they must be as confined as any other."""

import json

import pytest

from tests.support.waiting import eventually

pytestmark = pytest.mark.root

PYTHON = """
import json, os, sys

def handler(event, context):
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    writable = []
    for folder in ("/opt/function/code", "/usr", "/etc", "/opt/function"):
        try:
            open(folder + "/x", "w")
            writable.append(folder)
        except OSError:
            pass
    return {
        "environment": dict(os.environ),
        "argv": sys.argv[1:],
        "path": sys.path,
        "cwd": os.getcwd(),
        "code": sorted(os.listdir("/opt/function/code")),
        "writable": writable,
        "file": __file__,
        "name": context.getFunctionName(),
        "data": context.getUserData("TIER"),
        "confined": {name: status[name] for name in ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
        "started": open("/proc/self/environ").read().count("FUNCLET_STEM"),
    }
"""
NODE = """
const fs = require('fs');
exports.handler = async (event, context) => ({
  environment: process.env,
  argv: process.argv.slice(2),
  cwd: process.cwd(),
  code: fs.readdirSync('/opt/function/code'),
  name: context.getFunctionName(),
  data: context.getUserData('TIER'),
  started: fs.readFileSync('/proc/self/environ', 'utf8').split('FUNCLET_STEM').length - 1,
});
"""
RUNTIMES = [("Python3.10", PYTHON), ("Node.js20.15", NODE)]


@pytest.fixture(scope="module")
def servers(scratch):
    """One server with stems and one without."""
    from tests.support.server import ServerProcess

    started = {}
    for stems in ("on", "off"):
        folder = scratch / f"stems-{stems}"
        folder.mkdir()
        started[stems] = ServerProcess(folder, "--stems", stems).start()
    yield started
    for server in started.values():
        server.stop()


def seen_by_a_stem(server, name, source, **settings):
    """Deploy functions until one got a stem (the first stems may still be warming); return what it saw."""
    numbers = iter(range(1000))

    def attempt():
        urn = server.deploy(f"{name}-{next(numbers)}", source, **settings)
        seen = server.invoke(urn).json()
        return seen if seen["started"] else None

    return eventually(attempt, within_s=20, every_s=0.3, because="an instance was started ahead")


@pytest.mark.parametrize(("runtime", "source"), RUNTIMES)
def test_a_function_sees_the_same_as_without_stems(servers, runtime, source):
    settings = {"runtime": runtime, "user_data": json.dumps({"TIER": "dev", "TZ": "Asia/Shanghai"})}
    ahead = seen_by_a_stem(servers["on"], f"same-{runtime[:4]}", source, **settings)
    fresh = servers["off"].invoke(servers["off"].deploy(f"same-{runtime[:4]}", source, **settings)).json()

    assert fresh["started"] == 0
    for seen in (ahead, fresh):
        del seen["started"]
        del seen["name"]
        del seen["environment"]["RUNTIME_FUNC_NAME"]
        if "confined" in seen:
            # The ids of slots differ outside; inside everybody is 1003.
            assert seen["confined"]["Uid"].split() == ["1003"] * 4
    assert ahead == fresh


@pytest.mark.parametrize(("runtime", "source"), RUNTIMES)
@pytest.mark.parametrize("variable", ["LD_PRELOAD_NOTHING", "LANG"])
def test_variables_of_process_starts_get_a_new_process(servers, runtime, source, variable):
    user_data = json.dumps({variable: "C"})
    urn = servers["on"].deploy(
        f"new-{variable}-{runtime[:4]}".replace("_", "-"), source, runtime=runtime, user_data=user_data
    )

    seen = servers["on"].invoke(urn).json()

    assert seen["started"] == 0
    assert seen["environment"][variable] == "C"


def test_limits_are_those_of_the_function(servers):
    server = servers["on"]
    source = "def handler(event, context):\n    return len(bytearray(event['mib'] << 20))\n"
    seen_by_a_stem(server, "warm-up", PYTHON)
    small = server.deploy("small", source, memory_size=128)
    large = server.deploy("large", source, memory_size=512)

    assert server.invoke(small, {"mib": 300}).json()["error_code"] == "FSS.4205"
    assert server.invoke(large, {"mib": 300}).json() == 300 << 20


def test_a_stem_serves_one_function_only(servers):
    server = servers["on"]
    source = (
        "import os\ndef handler(event, context):\n    open('/tmp/mine', 'x').close()\n    return os.listdir('/tmp')\n"
    )

    urns = [server.deploy(f"alone-{number}", source) for number in range(6)]

    assert [server.invoke(urn).json() for urn in urns] == [["mine"]] * 6


def test_many_cold_starts_at_once_are_all_answered(servers):
    server = servers["on"]
    urns = [
        server.deploy(f"burst-{number}", "def handler(event, context):\n    return event\n") for number in range(20)
    ]

    answers = [server.begin(urn, {"n": number}) for number, urn in enumerate(urns)]

    assert [answer.result(timeout=60).json() for answer in answers] == [{"n": number} for number in range(20)]
