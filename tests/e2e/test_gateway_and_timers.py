"""Functions behind the gateway and functions fired by timers, on a real server."""

import base64
import http.client
import json
import time
from urllib.parse import urlsplit

import pytest

from funclet.client import Client, Credentials, Link
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

ECHO = """
import json

def handler(event, context):
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json", "Set-Cookie": ["a=1", "b=2"]},
        "isBase64Encoded": False,
        "body": json.dumps({"event": event, "request_id": context.getRequestID()}),
    }
"""


def send(base, method, target, *, body=None, headers=None):
    """Send a request as any client of the world does; return status, headers and body."""
    url = urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def publish(server, name, source, **data):
    """Deploy a function behind the gateway; return its trigger."""
    urn = server.deploy(name, source)
    event_data = {"name": name, "auth": "NONE", **data}
    return server.client.create_trigger(urn, {"trigger_type_code": "DEDICATEDGATEWAY", "event_data": event_data})


@pytest.mark.proves("faq:FAQ-105", "faq:FAQ-118", "faq:FAQ-414")
def test_a_request_becomes_an_event_and_the_result_a_response(server):
    trigger = publish(server, "gw_echo", ECHO)

    status, headers, body = send(
        server.gateway_url,
        "POST",
        "/gw_echo/eu/42?a=1&b=2",
        body=b'{"sku":"A-1"}',
        headers={"Content-Type": "application/json", "X-Custom": "yes"},
    )

    answer = json.loads(body)
    assert status == 200, body
    event = answer["event"]
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert headers["X-Cff-Request-Id"] == answer["request_id"]
    assert event["requestContext"] == {
        "requestId": headers["X-Request-Id"],
        "apiId": trigger["event_data"]["api_id"],
        "stage": "RELEASE",
    }
    assert (event["httpMethod"], event["path"]) == ("POST", "/gw_echo/eu/42")
    assert event["pathParameters"] == {"": "eu/42"}
    assert event["queryStringParameters"] == {"a": "1", "b": "2"}
    assert event["headers"]["x-custom"] == "yes"
    assert event["headers"]["x-real-ip"] == "127.0.0.1"
    assert base64.b64decode(event["body"]) == b'{"sku":"A-1"}'


@pytest.mark.proves("error:APIG.0101", "faq:FAQ-413")
def test_the_shown_address_works_and_stops_working(server):
    trigger = publish(server, "gw_gone", ECHO)
    url = urlsplit(trigger["event_data"]["invoke_url"])

    before = send(server.gateway_url, "GET", url.path)[0]
    urn = trigger["event_data"]["func_info"]["function_urn"]
    server.client.trigger("DELETE", urn, trigger)
    after, _, body = send(server.gateway_url, "GET", url.path)

    assert (before, after) == (200, 404)
    assert json.loads(body)["error_code"] == "APIG.0101"


def test_head_gets_the_length_but_no_body(server):
    publish(server, "gw_head", ECHO)

    status, headers, body = send(server.gateway_url, "HEAD", "/gw_head")

    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.proves("faq:FAQ-101", "faq:FAQ-411", "error:FSS.1202")
def test_a_plain_string_is_refused_and_a_traceback_is_shown(server):
    source = (
        "def handler(event, context):\n"
        "    if 'fail' in event['queryStringParameters']:\n"
        "        raise ValueError('no')\n"
        "    return 'hello'\n"
    )
    publish(server, "gw_string", source)

    plain = send(server.gateway_url, "GET", "/gw_string")
    failed = send(server.gateway_url, "GET", "/gw_string?fail=1")

    assert (plain[0], json.loads(plain[2])["error_code"]) == (500, "FSS.1202")
    assert (failed[0], failed[1]["X-Is-Func-Err"]) == (500, "true")
    assert json.loads(failed[2])["errorType"] == "ValueError"


def test_a_binary_answer_arrives_byte_for_byte(server):
    source = (
        "import base64\n"
        "def handler(event, context):\n"
        "    data = base64.b64decode(event['body'])\n"
        "    return {'statusCode': 200, 'headers': {'Content-Type': 'image/png'}, 'isBase64Encoded': True,\n"
        "            'body': base64.b64encode(data[::-1]).decode()}\n"
    )
    publish(server, "gw_binary", source)
    data = bytes(range(256)) * 64

    status, headers, body = send(server.gateway_url, "PUT", "/gw_binary", body=data)

    assert (status, headers["Content-Type"], body) == (200, "image/png", data[::-1])


@pytest.mark.proves("quota:gateway-request")
@pytest.mark.parametrize(("size", "status"), [(4 * 1024 * 1024, 200), (4 * 1024 * 1024 + 1, 413)])
def test_four_megabytes_pass_and_no_more(server, size, status):
    name = f"gw_size_{status}"
    source = (
        "def handler(event, context):\n"
        "    return {'statusCode': 200, 'headers': {}, 'isBase64Encoded': False, 'body': str(len(event['body']))}\n"
    )
    publish(server, name, source, func_info={"timeout": 30_000})

    got, _, body = send(server.gateway_url, "POST", f"/{name}", body=b"x" * size)

    assert got == status
    assert status == 200 or json.loads(body)["error_code"] == "APIG.0201"


@pytest.mark.proves("faq:FAQ-228")
def test_the_gateway_waits_no_longer_than_the_trigger_says(server):
    source = "import time\ndef handler(event, context):\n    time.sleep(3)\n    print('went on to the end')\n"
    publish(server, "gw_slow", source, func_info={"timeout": 1000})

    started = time.monotonic()
    status, headers, body = send(server.gateway_url, "GET", "/gw_slow")
    took_s = time.monotonic() - started

    assert (status, json.loads(body)["error_code"]) == (504, "APIG.0201")
    assert 0.9 < took_s < 2.5
    request_id = headers["X-Cff-Request-Id"]
    found = eventually(lambda: server.client.logs("gw_slow", request_id=request_id), within_s=10)
    assert "went on to the end" in json.dumps(found)


def test_iam_asks_for_a_signature(server):
    publish(server, "gw_iam", ECHO, auth="IAM")

    def signed(**changes):
        names = {"project_id": server.project_id, "ak": server.ak, "sk": server.sk} | changes
        client = Client(server.gateway_url, Credentials(**names), Link(retries=0))
        try:
            return client.call("POST", "/gw_iam/x", query={"a": "1"}, body=b"{}", raises=False).status
        finally:
            client.close()

    assert send(server.gateway_url, "GET", "/gw_iam")[0] == 401
    assert signed() == 200
    assert signed(sk="wrong") == 401


def test_an_asynchronous_trigger_queues(server):
    trigger = publish(server, "gw_async", ECHO, func_info={"invocation_type": "async"})
    urn = trigger["event_data"]["func_info"]["function_urn"]

    status, _, body = send(server.gateway_url, "POST", "/gw_async", body=b"x")

    assert status == 202
    request_id = json.loads(body)["request_id"]

    def has_run():
        record = server.client.async_record(urn, request_id)
        return record and record["status"] == "SUCCESS"

    eventually(has_run, within_s=20)


TICK = "def handler(event, context):\n    print('TICK', event['trigger_name'], event['time'])\n"


def ticks(server, name):
    """Return the due times for which a timer has fired, in the order of the log."""
    lines = "\n".join(record["text"] for record in server.client.logs(name)).splitlines()
    return [line.rpartition(" ")[2] for line in lines if "TICK" in line]


def test_a_timer_fires_every_second_until_it_is_disabled(server):
    urn = server.deploy("tm_tick", TICK)
    data = {"name": "tick", "schedule_type": "Cron", "schedule": "* * * * * ?"}
    trigger = server.client.create_trigger(urn, {"trigger_type_code": "TIMER", "event_data": data})

    seen = eventually(lambda: (found := ticks(server, "tm_tick"))[2:] and found, within_s=20)
    server.client.trigger("PUT", urn, trigger, {"trigger_status": "DISABLED"})

    assert len(set(seen)) == len(seen)
    status = server.client.trigger("GET", urn, trigger)["trigger_status"]
    assert status == "DISABLED"


def test_no_firing_is_doubled_over_a_crash(new_server):
    server = new_server()
    urn = server.deploy("tm_crash", TICK)
    data = {"name": "tick", "schedule_type": "Cron", "schedule": "* * * * * ?"}
    server.client.create_trigger(urn, {"trigger_type_code": "TIMER", "event_data": data})
    eventually(lambda: ticks(server, "tm_crash"), within_s=20)

    server.kill()
    server.start()
    before = len(ticks(server, "tm_crash"))
    seen = eventually(lambda: (found := ticks(server, "tm_crash"))[before + 2 :] and found, within_s=20)

    # A run that the crash cut off is repeated: at least once is what the queue promises, not the timer.
    assert len(seen) - len(set(seen)) <= 1


AGE = """
import time

loaded = time.monotonic()

def handler(event, context):
    print('AGE', time.monotonic() - loaded)
"""


def fire_once_soon(server, name):
    """Let a timer of a new function fire in five to six seconds; return how old its instance was then, in seconds."""
    urn = server.deploy(name, AGE)
    second = int(time.time() + 6) % 60
    data = {"name": "tick", "schedule_type": "Cron", "schedule": f"{second} * * * * ?"}
    server.client.create_trigger(urn, {"trigger_type_code": "TIMER", "event_data": data})

    def ages():
        lines = "\n".join(record["text"] for record in server.client.logs(name)).splitlines()
        return [float(line.rpartition(" ")[2]) for line in lines if "AGE" in line]

    return eventually(ages, within_s=20)[0]


def cold_starts(server, name):
    text = server.client.call("GET", "/metrics").body.decode()
    [line] = [line for line in text.splitlines() if line.startswith("fgs_cold_starts_total") and f":{name}" in line]
    return float(line.rsplit(" ", 1)[1])


@pytest.mark.proves("faq:FAQ-115")
@pytest.mark.parametrize("options", [[], ["--processes", "2"]], ids=["one process", "two processes"])
def test_a_timer_meets_a_warm_instance(new_server, options):
    server = new_server("--idle-release-s", "1", *options)

    age_s = fire_once_soon(server, "tm_warm")

    # Made ready shortly before, not when the trigger came to be.
    assert 0.2 <= age_s <= 4
    assert cold_starts(server, "tm_warm") == 0
    # When the request was served nothing keeps it.
    eventually(lambda: not server.instances(), within_s=20)


def test_without_prewarming_a_timer_starts_an_instance(new_server):
    server = new_server("--prewarm-timers", "off")

    assert fire_once_soon(server, "tm_cold") < 0.2
    assert cold_starts(server, "tm_cold") == 1


DECIDER = """
import base64, json

def handler(event, context):
    given = event["headers"].get("authorization", "")
    name, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
    if (name, password) != ("alice", "s3cr3t"):
        return {"statusCode": 200, "body": json.dumps({"status": "deny"})}
    context = {"user_name": name, "realm": event["user_data"]}
    return {"statusCode": 200, "body": json.dumps({"status": "allow", "context": context})}
"""


def test_a_function_decides_who_may_call_another(server):
    decider = server.deploy("gw_decider", DECIDER)
    body = {
        "name": "gw_basic",
        "type": "FRONTEND",
        "authorizer_uri": decider,
        "identities": [{"name": "Authorization", "location": "HEADER", "validation": "Basic [A-Za-z0-9+/=]+"}],
        "ttl": 60,
        "user_data": "orders",
    }
    path = f"/v2/{server.project_id}/apigw/instances/any/authorizers"
    authorizer = server.client.call("POST", path, body=json.dumps(body).encode()).json()
    names = {"auth": "AUTHORIZER", "x_authorizer_id": authorizer["id"], "x_authorizer_forward": True, "x_cors": True}
    publish(server, "gw_guarded", ECHO, **names)

    def get(credentials=None, **headers):
        if credentials:
            headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        return send(server.gateway_url, "GET", "/gw_guarded", headers=headers)

    missing, wrong, right = get(), get("eve:x"), get("alice:s3cr3t", **{"X-Authorizer-Realm": "forged"})
    question = {"Origin": "https://a.example.test", "Access-Control-Request-Method": "GET"}
    asked = send(server.gateway_url, "OPTIONS", "/gw_guarded", headers=question)

    assert [(one[0], json.loads(one[2])["error_code"]) for one in (missing, wrong)] == [(401, "APIG.0305")] * 2
    assert right[0] == 200, right
    headers = json.loads(right[2])["event"]["headers"]
    assert (headers["x-authorizer-user_name"], headers["x-authorizer-realm"]) == ("alice", "orders")
    assert (asked[0], asked[1]["Access-Control-Allow-Origin"], asked[2]) == (204, "*", b"")


def test_an_app_calls_what_it_was_granted(server):
    trigger = publish(server, "gw_app", ECHO, auth="APP")
    base = f"/v2/{server.project_id}/apigw/instances/any"

    def post(path, body):
        return server.client.call("POST", base + path, body=json.dumps(body).encode()).json()

    app = post("/apps", {"name": "gw_shop"})
    code = post(f"/apps/{app['id']}/app-codes", {})["app_code"]
    before = send(server.gateway_url, "GET", "/gw_app", headers={"X-Apig-AppCode": code})
    post("/app-auths", {"app_ids": [app["id"]], "api_ids": [trigger["event_data"]["api_id"]]})
    server.client.call("POST", f"/v2/{server.project_id}/funclet/secret-key/rotate")

    def passes():
        return send(server.gateway_url, "GET", "/gw_app", headers={"X-Apig-AppCode": code})[0] == 200

    eventually(passes, within_s=10)
    signed = Client(server.gateway_url, Credentials(project_id="", ak=app["app_key"], sk=app["app_secret"]), Link())
    try:
        assert signed.call("GET", "/gw_app").status == 200
    finally:
        signed.close()
    assert (before[0], json.loads(before[2])["error_code"]) == (403, "APIG.0304")
