"""Scaling, cold starts, refusals and what they are counted as: the questions of the manual, asked of a real server."""

import json

import pytest

from tests.support.server import ServerProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

SLEEPER = "import time\n\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return 'slept'\n"
CROWD = 20


@pytest.fixture(scope="module")
def quick(scratch):
    """A server that releases idle instances after a second and lets nobody wait."""
    folder = scratch / "quick"
    folder.mkdir()
    running = ServerProcess(folder, "--idle-release-s", "1", "--admission-wait-ms", "0").start()
    yield running
    running.stop()


def start_of(answer):
    assert answer.status == 200, answer.body
    return answer.headers["x-funclet-start"]


def limit(server, urn, count):
    server.client.send("PUT", f"/fgs/functions/{urn}/config-max-instance", {"max_instance_num": count})


def series(server, urn):
    """Return the sums of the last minutes by series; of durations the highest."""
    found = server.client.send("GET", f"/fgs/functions/{urn}/slareports/5")
    known = {name: [point["value"] for point in points if point["value"] != -1] for name, points in found.items()}
    return {
        name: (max if "duration" in name or name.endswith("_num") else sum)(values or [0])
        for name, values in known.items()
    }


def counts(server, urn, *names):
    found = series(server, urn)
    return tuple(found[name] for name in names)


def logged(server, urn):
    return server.client.send("GET", f"/funclet/functions/{urn}/logs", limit=1000)["records"]


@pytest.mark.proves("faq:FAQ-113", "faq:FAQ-114")
def test_as_many_instances_as_requests_at_once_and_none_after_a_while(quick):
    urn = quick.deploy("crowd", SLEEPER, timeout=20)
    eventually(lambda: not quick.instances())
    calls = [quick.begin(urn, {"s": 1}) for _ in range(CROWD)]

    assert {call.result().status for call in calls} == {200}
    assert counts(quick, urn, "concurrency_num", "instance_num", "count") == (CROWD, CROWD, CROWD)
    eventually(lambda: not quick.instances())


@pytest.mark.proves("faq:FAQ-112")
def test_an_idle_instance_is_used_again_and_nothing_starts(quick):
    urn = quick.deploy("again", SLEEPER)
    start_of(quick.invoke(urn))
    before = quick.instances()

    assert [start_of(quick.invoke(urn)) for _ in range(3)] == ["warm"] * 3
    assert quick.instances() == before


@pytest.mark.proves("faq:FAQ-117")
def test_the_first_request_after_the_idle_time_is_cold(quick):
    urn = quick.deploy("cold", SLEEPER)

    assert start_of(quick.invoke(urn)) == "cold"
    assert start_of(quick.invoke(urn)) == "warm"
    eventually(lambda: not quick.instances())
    assert start_of(quick.invoke(urn)) == "cold"


@pytest.mark.proves("faq:FAQ-115")
def test_a_timer_keeps_an_instance(quick):
    """Every three seconds here, where idle instances go after one; every minute, where they go after sixty."""
    urn = quick.deploy("ticked", SLEEPER)
    data = {"name": "tick", "schedule_type": "Cron", "schedule": "@every 3s"}
    body = {"trigger_type_code": "TIMER", "trigger_status": "ACTIVE", "event_data": data}
    trigger = quick.client.send("POST", f"/fgs/triggers/{urn}", body)
    eventually(lambda: counts(quick, urn, "count")[0] >= 1, within_s=15)
    (instance,) = quick.instances()

    eventually(lambda: counts(quick, urn, "count")[0] >= 3, within_s=15)

    assert quick.instances() == [instance]
    assert start_of(quick.invoke(urn)) == "warm"
    quick.client.send("DELETE", f"/fgs/triggers/{urn}/TIMER/{trigger['trigger_id']}")


@pytest.mark.proves("faq:FAQ-454")
def test_a_cold_start_is_not_metered_but_the_initializer_is(quick):
    slow_import = "import time\n\ntime.sleep(1.2)\n\n" + SLEEPER
    initialized = SLEEPER + "\ndef initializer(context):\n    time.sleep(1.2)\n"
    month = "/fgs/functions/statistics"

    def used():
        return quick.client.send("GET", month, filter="monthly_report")["gbs"][0]["value"]

    before = used()
    imported = quick.deploy("imports", slow_import)
    answer = quick.invoke(imported)
    assert start_of(answer) == "cold"
    assert int(answer.headers["x-cff-billing-duration"]) < 1000
    after_import = used()
    urn = quick.deploy("initializes", initialized, initializer_handler="index.initializer", initializer_timeout=10)
    answer = quick.invoke(urn)
    assert int(answer.headers["x-cff-billing-duration"]) < 1000

    # 128 MB for 1.2 seconds and what the call took.
    assert after_import - before < 0.125
    assert 0.149 <= used() - after_import < 0.3


@pytest.mark.proves("error:FSS.0429", "quota:function instances")
def test_at_the_maximum_requests_are_refused_counted_and_not_logged(quick):
    urn = quick.deploy("limited", SLEEPER, timeout=20)
    limit(quick, urn, 2)
    running = [quick.begin(urn, {"s": 2}) for _ in range(2)]
    eventually(lambda: len(quick.client.send("GET", f"/funclet/functions/{urn}/instances")["instances"]) == 2)

    refused = quick.invoke(urn)

    assert (refused.status, refused.json()["error_code"]) == (429, "FSS.0429")
    assert refused.json()["error_msg"] == "Your request has been controlled by overload sdk, please retry later"
    assert refused.headers["retry-after"] == "1"
    assert [call.result().status for call in running] == [200, 200]
    eventually(lambda: counts(quick, urn, "count", "reject_count", "fail_count") == (3, 1, 0))
    assert len(logged(quick, urn)) == 2


@pytest.mark.proves("error:FSS.0429", "operation:UpdateFunctionMaxInstanceConfig")
def test_a_disabled_function_refuses_and_says_so_and_without_a_limit_it_runs(quick):
    urn = quick.deploy("disabled", SLEEPER)
    limit(quick, urn, 0)

    refused = quick.invoke(urn)

    assert (refused.status, refused.json()["error_code"], refused.json()["error_msg"]) == (
        429, "FSS.0429", "Function Disabled",
    )  # fmt: skip
    assert "retry-after" not in refused.headers
    eventually(lambda: counts(quick, urn, "count", "reject_count") == (1, 1))
    assert logged(quick, urn) == []
    limit(quick, urn, -1)
    assert start_of(quick.invoke(urn)) == "cold"


@pytest.mark.proves("faq:FAQ-116")
def test_the_memory_that_was_used_is_the_same_in_answer_and_log(quick):
    hungry = "def handler(event, context):\n    held = bytearray(50 * 1024 * 1024)\n    return len(held)\n"
    urn = quick.deploy("hungry", hungry)

    answer = quick.invoke(urn)

    (record,) = eventually(lambda: logged(quick, urn))
    used = record["text"].rpartition("memory used: ")[2].split("MB")[0]
    assert float(used) >= 50
    assert json.loads(answer.headers["x-cff-invoke-summary"])["memoryUsed"] == float(used)
