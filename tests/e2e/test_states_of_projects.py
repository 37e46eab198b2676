"""States of projects on real servers: several processes, the queue, timers, the gateway, and kill -9."""

import contextlib
import copy
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_gateway_and_timers import TICK, send, ticks
from tests.e2e.test_processes import COUNT, PAGE, wait_for_all
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

CONNECTIONS = 12
SLOW = (
    "import time\n\ndef handler(event, context):\n    time.sleep(0.3)\n    print('RAN', event['n'])\n    return 'ok'\n"
)


def add_shop(server):
    """Make another project; return the server as its people see it, and the id."""
    body = json.dumps({"project": {"name": "test-1_shop"}}).encode()
    project_id = server.client.call("POST", "/v3/projects", body=body).json()["project"]["id"]
    return view_of(server, project_id), project_id


def view_of(server, project_id):
    view = copy.copy(server)
    view._client = server.new_client(project_id=project_id)
    return view


def put_state(server, project_id, status):
    body = json.dumps({"project": {"status": status}}).encode()
    assert server.client.call("PUT", f"/v3-ext/projects/{project_id}", body=body).status == 204


def on_fresh_connections(server, project_id, urn, path, *, asynchronous=False):
    """Invoke on so many connections that every process takes some; return what API and gateway answered."""
    kind = "invocations-async" if asynchronous else "invocations"
    found = set()
    for _ in range(CONNECTIONS):
        with contextlib.closing(server.new_client(project_id=project_id)) as client:
            target = client.path(f"/fgs/functions/{urn}/{kind}")
            answer = client.call("POST", target, body=b"{}", raises=False)
        code = "" if answer.status < 300 else answer.json()["error_code"]
        found |= {("api", answer.status, code), ("gateway", send(server.gateway_url, "GET", path)[0])}
    return found


@pytest.mark.proves("faq:FAQ-405", "error:FSS.1125", "error:APIG.0302")
def test_all_processes_heed_a_state_as_soon_as_it_is_answered(new_server):
    server = wait_for_all(new_server("--processes", str(COUNT)))
    shop, project_id = add_shop(server)
    urn = shop.deploy("page", PAGE)
    data = {"name": "page", "auth": "NONE"}
    trigger = shop.client.create_trigger(urn, {"trigger_type_code": "APIG", "event_data": data})
    path = urlsplit(trigger["event_data"]["invoke_url"]).path
    passes = {("api", 200, ""), ("gateway", 200)}
    assert on_fresh_connections(server, project_id, urn, path) == passes

    for _ in range(3):
        put_state(server, project_id, "suspended")
        refused = on_fresh_connections(server, project_id, urn, path)
        assert refused == {("api", 403, "FSS.1125"), ("gateway", 403)}
        put_state(server, project_id, "readonly")
        assert on_fresh_connections(server, project_id, urn, path) == passes

    put_state(server, project_id, "suspended")
    refused = on_fresh_connections(server, project_id, urn, path, asynchronous=True)
    assert refused == {("api", 403, "FSS.1125"), ("gateway", 403)}
    assert shop.client.function_config(urn)["func_name"] == "page"
    shop.client.close()


def due_times(server, name):
    return [datetime.fromisoformat(text) for text in ticks(server, name)]


@pytest.mark.proves("faq:FAQ-405")
def test_accepted_requests_wait_and_timers_rest_over_kill_9_until_the_project_is_activated(new_server):
    server = new_server("--timer-grace-s", "0")
    shop, project_id = add_shop(server)
    slow = shop.deploy("slow", SLOW, strategy_config={"concurrency": 1})
    tick = shop.deploy("tick", TICK)
    data = {"name": "tick", "schedule_type": "Cron", "schedule": "* * * * * ?"}
    shop.client.create_trigger(tick, {"trigger_type_code": "TIMER", "event_data": data})
    eventually(lambda: due_times(shop, "tick"), within_s=20)
    accepted = [shop.client.invoke_async(slow, json.dumps({"n": n}).encode()) for n in range(6)]

    def states():
        return [shop.client.async_record(slow, one)["status"] for one in accepted]

    eventually(lambda: "SUCCESS" in states())
    put_state(server, project_id, "suspended")
    suspended_at = datetime.now(UTC)
    eventually(lambda: "RUNNING" not in states(), because="what ran has ended")
    before = states()
    assert "WAIT" in before
    shop.client.close()

    server.kill()
    server.start()
    shop = view_of(server, project_id)
    # Time enough for a server that forgot the state: another project's timer fires twice.
    other = server.deploy("other", TICK)
    server.client.create_trigger(other, {"trigger_type_code": "TIMER", "event_data": data})
    eventually(lambda: len(due_times(server, "other")) >= 2, within_s=20)
    assert states() == before
    assert shop.invoke(slow).status == 403

    activated_at = datetime.now(UTC)
    put_state(server, project_id, "normal")

    eventually(lambda: set(states()) == {"SUCCESS"}, within_s=20)
    eventually(lambda: max(due_times(shop, "tick")) > activated_at, within_s=20)
    assert not [at for at in due_times(shop, "tick") if suspended_at < at < activated_at]
    shop.client.close()
