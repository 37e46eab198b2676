"""Statistics of real servers: every request once, over kills and several processes."""

import contextlib

import pytest

from tests.e2e.test_processes import COUNT, wait_for_all
from tests.support.members import Callers
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

SOMETIMES = "def handler(event, context):\n    return 1 / event['by']\n"


def sums(server, urn, *names):
    found = server.client.send("GET", f"/fgs/functions/{urn}/statistics/10")
    return tuple(sum(max(0, point["value"]) for point in found[name]) for name in names)


def test_counts_outlive_kill_9_and_nothing_is_counted_twice(new_server):
    server = new_server()
    urn = server.deploy("counted", SOMETIMES)
    for by in (1, 1, 0, 1):
        server.invoke(urn, {"by": by})
    assert sums(server, urn, "count", "fail_count", "function_error_count") == (4, 1, 1)

    for _ in range(2):
        server.kill()
        server.start()
        assert sums(server, urn, "count", "fail_count") == (4, 1)
    server.invoke(urn, {"by": 1})
    assert sums(server, urn, "count") == (5,)
    server.stop()
    server.start()
    assert sums(server, urn, "count", "fail_count") == (5, 1)


def test_requests_on_all_processes_are_counted_together(new_server):
    server = wait_for_all(new_server("--processes", str(COUNT)))
    urns = [server.deploy(f"spread-{number}", SOMETIMES) for number in range(2 * COUNT)]
    with contextlib.closing(Callers(server, 8)) as callers:
        callers.invoke_all([(urn, {"by": by}) for urn in urns for by in (1, 1, 0)])
    server.client.send("PUT", f"/fgs/functions/{urns[0]}/config-max-instance", {"max_instance_num": 0})
    refused = server.invoke(urns[0]).status

    assert refused == 429
    assert [sums(server, urn, "count", "fail_count") for urn in urns[1:]] == [(3, 1)] * (len(urns) - 1)
    eventually(lambda: sums(server, urns[0], "count", "reject_count") == (4, 1))
    rows = server.client.send("GET", "/fgs/function/report", type="count", limit=20)["values"]
    assert sum(row["value"] for row in rows) == 3 * len(urns) + 1
    month = server.client.send("GET", "/fgs/functions/statistics", filter="monthly_report")
    assert month["count"][0]["value"] == 3 * len(urns) + 1
    assert month["gbs"][0]["value"] > 0
