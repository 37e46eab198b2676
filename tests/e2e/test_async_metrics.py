"""What an operator sees of the asynchronous queue in `/metrics`, function by function."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.e2e.test_async_acceptance import SLEEPER, call, ended, record, settings, submit
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

FAILS = "def handler(event, context):\n    raise ValueError('once more')\n"
ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def watched(scratch):
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    folder.chmod(0o755)
    environment = {"FGS_ASYNC_RETRY_BASE_S": "0.1", "FGS_ADMISSION_WAIT_MS": "0"}
    server = ServerProcess(folder, "--isolation", "process", **environment).start()
    yield server
    server.stop()


def deploy_single(server, name):
    """Deploy a function of which one request runs at a time."""
    urn = server.deploy(name, SLEEPER, timeout=30)
    call(server, "PUT", server.path(f"/functions/{urn}/config-max-instance"), {"max_instance_num": 1})
    return urn


def series(server, name, **labels):
    """Return the value of a series of a function; None if there is none."""
    text = server.client.call("GET", "/metrics").body.decode()
    wanted = {"project": server.project_id, **labels}
    inside = ",".join(f'{key}="{value}"' for key, value in wanted.items())
    found = [line for line in text.splitlines() if line.startswith(f"{name}{{{inside}}} ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else None


def test_length_age_and_what_runs_are_told(watched):
    urn = deploy_single(watched, "queued")
    function = {"function": "default:queued"}
    first = submit(watched, urn, {"s": 3})
    eventually(lambda: record(watched, urn, first)["status"] == "RUNNING", because="it runs")
    waiting = [submit(watched, urn, {}) for _ in range(3)]

    assert series(watched, "fgs_async_function_in_flight", **function) == 1
    assert series(watched, "fgs_async_function_queue_length", **function) == 3
    eventually(lambda: series(watched, "fgs_async_function_oldest_seconds", **function) >= 1, because="it grows old")
    assert series(watched, "fgs_async_function_oldest_seconds", **function) < 30
    for request_id in (first, *waiting):
        assert ended(watched, urn, request_id)["status"] == "SUCCESS"

    eventually(lambda: series(watched, "fgs_async_function_queue_length", **function) is None, because="none waits")
    assert series(watched, "fgs_async_accepted_total", **function) == 4
    assert series(watched, "fgs_async_ended_total", **function, status="SUCCESS") == 4


def test_retries_are_told_by_their_class(watched):
    fails, busy = watched.deploy("fails", FAILS), deploy_single(watched, "throttled")
    settings(watched, fails, max_async_retry_attempts=2)
    answer = watched.begin(busy, {"s": 3})
    running = 'fgs_instances{kind="busy"} 1'
    eventually(lambda: running in watched.client.call("GET", "/metrics").body.decode(), because="it is busy")
    throttled = submit(watched, busy, {})
    failed = submit(watched, fails, {})

    assert ended(watched, fails, failed)["status"] == "FAIL"
    assert ended(watched, busy, throttled)["status"] == "SUCCESS"
    assert answer.result(timeout=20).status == 200

    assert series(watched, "fgs_async_retries_total", function="default:fails", cause="function") == 2
    assert series(watched, "fgs_async_ended_total", function="default:fails", status="FAIL") == 1
    assert series(watched, "fgs_async_retries_total", function="default:throttled", cause="throttling") >= 1


def test_retries_because_of_the_platform_are_told_too(watched):
    before = set((watched.data_dir / "packages").rglob("*"))
    urn = watched.deploy("lost-code", ECHO + "# only here\n")
    (package,) = [path for path in set((watched.data_dir / "packages").rglob("*")) - before if path.is_file()]
    unpacked = watched.data_dir / "code" / package.name
    eventually(unpacked.is_dir, because="code is unpacked before anybody asks for it")
    away = package.rename(package.with_suffix(".away"))
    shutil.rmtree(unpacked)
    function = {"function": "default:lost-code", "cause": "system"}

    request_id = submit(watched, urn, {})
    eventually(
        lambda: series(watched, "fgs_async_retries_total", **function),
        because="it could not be started",
    )
    away.rename(package)

    assert ended(watched, urn, request_id)["status"] == "SUCCESS"
    assert series(watched, "fgs_async_retries_total", **function) >= 1


def test_discards_are_told(watched):
    urn = deploy_single(watched, "discarding")
    settings(watched, urn, max_async_event_age_in_seconds=1)
    first = submit(watched, urn, {"s": 3})
    eventually(lambda: record(watched, urn, first)["status"] == "RUNNING", because="it runs")
    too_old = submit(watched, urn, {})

    assert ended(watched, urn, too_old)["status"] == "DISCARD"

    assert series(watched, "fgs_async_ended_total", function="default:discarding", status="DISCARD") == 1


def test_errors_of_destinations_are_told(watched):
    urn = watched.deploy("told-nobody", ECHO)
    nobody = urn.replace(":told-nobody:", ":nobody:")
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": nobody})}
    settings(watched, urn, destination_config={"on_success": target})

    assert ended(watched, urn, submit(watched, urn, {}))["status"] == "SUCCESS"

    function = {"function": "default:told-nobody"}
    eventually(lambda: series(watched, "fgs_async_destination_errors_total", **function) == 1, because="it is counted")


def test_topics_are_told(watched):
    path = f"/v2/{watched.project_id}/notifications/topics"
    urn = call(watched, "POST", path, {"name": "news"}).json()["topic_urn"]
    for _ in range(2):
        call(watched, "POST", f"{path}/{urn}/publish", {"message": "hello", "subject": ""})

    assert series(watched, "fgs_topic_published_total", topic="news") == 2
