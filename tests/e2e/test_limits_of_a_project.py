"""Limits of a whole project on a real server: what callers are told, and what becomes of queued requests."""

import json

import pytest

from tests.support.waiting import eventually

WAITS = """
import time

def handler(event, context):
    time.sleep(event.get("s", 0))
    return "done"
"""


def is_refused(answer):
    error = (answer.status, json.loads(answer.body)["error_code"])
    return error == (429, "FSS.0429") and answer.headers["retry-after"] == "1"


def quota(server, kind):
    rows = server.client.send("GET", "/fgs/quotas")["quotas"]["resources"]
    return next(row["quota"] for row in rows if row["type"] == kind)


@pytest.mark.proves("quota:concurrent-executions", "error:FSS.0429")
def test_requests_beyond_the_limit_are_refused_and_queued_ones_run_later(new_server):
    server = new_server("--project-requests", "2", "--admission-wait-ms", "0")
    first, second, third = (server.deploy(f"p{number}", WAITS) for number in range(3))
    running = [server.begin(urn, {"s": 3}) for urn in (first, second)]
    eventually(lambda: len(server.instances()) == 2, because="two requests run")

    assert is_refused(server.invoke(third))
    queued = server.client.invoke_async(third, b"{}")
    assert [one.result().status for one in running] == [200, 200]

    assert server.invoke(third).status == 200
    eventually(
        lambda: (server.client.async_record(third, queued) or {}).get("status") == "SUCCESS",
        within_s=30,
        because="the queued request has run",
    )
    # What was refused is in no log.
    assert len(server.client.logs(third)) == 2


@pytest.mark.proves("quota:fgs_func_qos_limit", "error:FSS.0429")
def test_instances_beyond_the_limit_are_not_started_and_idle_ones_give_way(new_server):
    server = new_server("--project-instances", "2", "--admission-wait-ms", "0")
    first, second, third = (server.deploy(f"p{number}", WAITS) for number in range(3))
    running = [server.begin(urn, {"s": 3}) for urn in (first, second)]
    eventually(lambda: len(server.instances()) == 2, because="two instances run")

    assert is_refused(server.invoke(third))
    assert [one.result().status for one in running] == [200, 200]

    assert server.invoke(third).status == 200
    eventually(lambda: len(server.instances()) == 2, because="an idle instance has given way")
    assert quota(server, "fgs_func_qos_limit") == 2
