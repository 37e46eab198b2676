"""`/metrics` and the probes of a real server."""

import urllib.error
import urllib.request

import pytest

SOURCE = """
import time

def handler(event, context):
    time.sleep(event.get("sleep", 0))
    busy_until = time.process_time() + event.get("busy", 0)
    while time.process_time() < busy_until:
        pass
    if event.get("fail"):
        raise ValueError("mine")
    return "ok"
"""
TOKEN = "token-of-the-one-who-watches"


def read(server, path, **headers):
    """Return status and text of a request without a signature."""
    request = urllib.request.Request(server.api_url + path, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics_of(server):
    text = server.client.call("GET", "/metrics").body.decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}


def test_a_scrape_shows_what_requests_took(server):
    urn = server.deploy("watched", SOURCE)
    for event in ({"sleep": 0.02}, {}, {"busy": 0.05}, {"fail": True}):
        server.invoke(urn, event)
    server.client.send("PUT", f"/fgs/functions/{urn}/config-max-instance", {"max_instance_num": 1})
    assert sorted(future.result().status for future in [server.begin(urn, {"sleep": 1.5}) for _ in range(2)]) == [
        200,
        429,
    ]

    found = metrics_of(server)

    labels = f'project="{server.project_id}",function="default:watched",version="latest"'
    assert found[f'fgs_invocations_total{{{labels},result="success"}}'] == 4
    assert found[f'fgs_invocations_total{{{labels},result="code_error"}}'] == 1
    assert found[f"fgs_cold_starts_total{{{labels}}}"] == 1
    assert found[f"fgs_throttles_total{{{labels}}}"] == 1
    assert found[f'fgs_duration_ms_bucket{{{labels},le="1000"}}'] == 4
    assert found[f"fgs_duration_ms_count{{{labels}}}"] == 5
    assert found[f"fgs_duration_ms_sum{{{labels}}}"] >= 20
    assert 0 < found[f"fgs_start_ms_total{{{labels}}}"] <= found[f"fgs_wait_ms_total{{{labels}}}"]
    # At level rootless it is counted in steps of 10 ms.
    assert found[f"fgs_cpu_ms_total{{{labels}}}"] >= 30
    assert {f'fgs_instances{{kind="{kind}"}}' for kind in ("idle", "busy", "starting")} <= set(found)
    assert {"fgs_async_queue_length", "fgs_async_oldest_seconds", "fgs_memory_used_mb"} <= set(found)
    assert found["fgs_log_dropped_total"] == 0


def test_probes_are_open_and_metrics_are_not(server):
    assert read(server, "/healthz") == (200, "ok\n")
    assert read(server, "/readyz") == (200, "ready\n")
    assert read(server, "/metrics")[0] == 401
    assert read(server, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 401


@pytest.mark.parametrize(("token", "status"), [(TOKEN, 200), (TOKEN[:-1], 401)])
def test_a_scraper_comes_with_the_token_of_the_setting(new_server, token, status):
    server = new_server(FGS_METRICS_TOKEN=TOKEN)

    assert read(server, "/metrics", Authorization=f"Bearer {token}")[0] == status
