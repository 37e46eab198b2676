"""Many connections on one short function: requests wait inside busy instances, and nothing may get mixed up."""

import http.client
import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.support.waiting import eventually

pytestmark = pytest.mark.root

CONNECTIONS = 32
EACH = 60
TOTAL = CONNECTIONS * EACH
WARM_UP = 150
"""More than a function needs to be known as a short one."""

# The event's path ends with the number of the request.
PRINTS = """
def handler(event, context):
    number = int(event["path"].rpartition("/")[2])
    if number % 7 == 0:
        print("begin", number)
        print("end", number)
    return {"statusCode": 200, "body": str(number)}
"""
DIES = """
import json, os
instance, runs = os.urandom(8).hex(), 0

def handler(event, context):
    global runs
    runs += 1
    number = int(event["path"].rpartition("/")[2])
    if number % 50 == 49:
        print("dying", instance, runs)
        os._exit(1)
    return {"statusCode": 200, "body": json.dumps([number, instance, runs])}
"""


@pytest.fixture(scope="module", params=["full", "rootless"])
def level(request):
    """The isolation of a server."""
    return request.param


def publish(server, name, source):
    """Deploy a function behind the gateway; return its urn."""
    urn = server.deploy(name, source)
    data = {"name": name, "auth": "NONE"}
    server.client.create_trigger(urn, {"trigger_type_code": "DEDICATEDGATEWAY", "event_data": data})
    return urn


def ask(server, name, numbers):
    """Send requests on one connection; return number, status, code and id of each, and its body."""
    url = urlsplit(server.gateway_url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    found = []
    for number in numbers:
        connection.request("GET", f"/{name}/{number}")
        response = connection.getresponse()
        ids = (response.headers["X-Cff-Request-Id"], response.headers["X-Func-Err-Code"])
        found.append((number, response.status, *ids, response.read()))
    connection.close()
    return found


def ask_all(server, name):
    """Send all numbers over many connections at once; return what made the function known as short, and the rest."""
    # None of these prints or dies.
    warm = ask(server, name, [1] * WARM_UP)
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        shares = [range(first, TOTAL, CONNECTIONS) for first in range(CONNECTIONS)]
        return warm, [row for rows in threads.map(lambda share: ask(server, name, share), shares) for row in rows]


def logs_of(server, urn):
    """Return the lines that each request has printed, by its id."""
    lines, after = {}, 1
    while records := server.client.logs(urn, after=after, limit=1000):
        after = records[-1]["id"]
        for record in records:
            lines[record["request_id"]] = [
                line for line in record["text"].splitlines() if line.startswith(("begin", "end", "dying"))
            ]
    return lines


def test_each_log_has_exactly_the_lines_of_its_request(new_server, level):
    server = new_server("--isolation", level)
    urn = publish(server, "prints", PRINTS)

    _, rows = ask_all(server, "prints")

    assert {(status, body) for _, status, _, _, body in rows} == {(200, b"%d" % number) for number in range(TOTAL)}
    wanted = {
        request_id: [f"begin {number}", f"end {number}"] if number % 7 == 0 else []
        for number, _, request_id, _, _ in rows
    }
    assert len(wanted) == TOTAL
    eventually(lambda: len(logs_of(server, urn)) >= TOTAL + WARM_UP, because="all are logged")
    lines = logs_of(server, urn)
    assert {request_id: lines[request_id] for request_id in wanted} == wanted


def test_no_request_is_lost_or_run_twice_when_instances_die(new_server, level):
    server = new_server("--isolation", level)
    urn = publish(server, "dies", DIES)

    warm, rows = ask_all(server, "dies")

    assert len(rows) == TOTAL
    codes = {number: (status, code) for number, status, _, code, _ in rows}
    assert codes == {number: (500, "4204") if number % 50 == 49 else (200, None) for number in range(TOTAL)}

    # Every run of every instance is known from one answer or from one last line.
    runs = defaultdict(list)
    for number, status, _, _, body in warm + rows:
        if status == 200:
            echoed, instance, run = json.loads(body)
            assert echoed == number
            runs[instance].append(run)
    eventually(lambda: len(logs_of(server, urn)) >= TOTAL + WARM_UP, because="all are logged")
    lines = logs_of(server, urn)
    for number, _, request_id, _, _ in rows:
        assert len(lines[request_id]) == (number % 50 == 49), lines[request_id]
        for line in lines[request_id]:
            _, instance, run = line.split()
            runs[instance].append(int(run))
    assert [sorted(seen) for seen in runs.values()] == [list(range(1, len(seen) + 1)) for seen in runs.values()]
