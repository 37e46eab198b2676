"""Outcomes of asynchronous requests at their destinations: real servers, store, broker and receivers."""

import base64
import json
import urllib.request
from datetime import UTC, datetime

import pytest

from tests.support.outside import Receiver
from tests.support.server import PROJECT_ID, REGION, ServerProcess
from tests.support.waiting import eventually

CHARGE = """
def handler(event, context):
    if event.get("fails"):
        raise ConnectionError("card service unreachable")
    return {"charged": True}
"""
FAILURE_DELAYS_S = 40
"""A destination is tried after 1, 5 and 25 seconds before it is given up."""


@pytest.fixture(scope="module")
def outside(scratch, s3, broker):
    """A server with both connected: buckets and streams whose names are not listed stay with the server."""
    folder = scratch / "destinations"
    folder.mkdir()
    running = ServerProcess(folder, FGS_TARGET_NETWORKS="127.0.0.0/8").start()
    api(running, "PUT", "funclet/connections/store", s3.connection(resources=["outcomes-s3", "broken-s3"]))
    api(running, "PUT", "funclet/connections/broker", broker.connection(resources=["brokered", "nobody"]))
    broker.add_stream("brokered")
    api(running, "POST", "streams", {"stream_name": "local"})
    yield running
    running.stop()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def api(server, method, path, body=None, query=None):
    data = b"" if body is None else json.dumps(body).encode()
    return server.client.call(method, f"/v2/{PROJECT_ID}/{path}", body=data, query=query)


def direct(server, urn, kind, **param):
    """Send successes and failures of a function to a destination."""
    destination = {"destination": kind, "param": json.dumps(param)}
    body = {
        "max_async_retry_attempts": 0,
        "max_async_event_age_in_seconds": 3600,
        "destination_config": {"on_success": destination, "on_failure": destination},
    }
    api(server, "PUT", f"fgs/functions/{urn}/async-invoke-config", body)


def submit(server, urn, event):
    answer = api(server, "POST", f"fgs/functions/{urn}/invocations-async", event)
    return answer.json()["request_id"]


def status(server, urn, request_id):
    found = server.client.async_record(urn, request_id)
    return found and found["status"]


class Bucket:
    """Objects of the store outside."""

    kind = "OBS"

    def __init__(self, s3):
        self.s3 = s3
        self.param = {"bucket": "outcomes-s3", "prefix": "/async/", "expires": 30}

    def find(self, name, request_id, outcome):
        key = f"async/{name}/{datetime.now(UTC):%Y/%m/%d}/{request_id}-{outcome}.json"
        return self.s3.get("outcomes-s3", key)[1] if key in self.s3.keys("outcomes-s3") else None


class Folder:
    """Objects in the data folder, read through the API."""

    kind = "OBS"

    def __init__(self, server):
        self.server = server
        self.param = {"bucket": "outcomes-here", "prefix": "async", "expires": 0}

    def find(self, name, request_id, outcome):
        path = "funclet/buckets/outcomes-here"
        listed = api(self.server, "GET", f"{path}/objects", query={"prefix": f"async/{name}/"}).json()["objects"]
        key = next((one["key"] for one in listed if one["key"].endswith(f"{request_id}-{outcome}.json")), None)
        return api(self.server, "GET", f"{path}/object", query={"key": key}).body if key else None


class Topic:
    """Messages at a subscriber."""

    kind = "SMN"

    def __init__(self, server, receiver, name):
        self.receiver = receiver
        self.urn = f"urn:smn:{REGION}:{PROJECT_ID}:{name}"
        self.param = {"topic_urn": self.urn}
        api(server, "POST", "notifications/topics", {"name": name})
        subscription = {"protocol": "http", "endpoint": receiver.url}
        api(server, "POST", f"notifications/topics/{self.urn}/subscriptions", subscription)
        invitation = eventually(lambda: receiver.bodies("SubscriptionConfirmation"))[-1]
        urllib.request.urlopen(invitation["subscribe_url"]).close()

    def find(self, name, request_id, outcome):
        wanted = [body for body in self.receiver.bodies() if body["subject"] == f"FunctionGraph async {outcome}"]
        texts = [body["message"].encode() for body in wanted]
        return next((text for text in texts if request_id.encode() in text), None)


class LocalStream:
    """Records of a stream of the server, read by cursor."""

    kind = "DIS"

    def __init__(self, server):
        self.server = server
        self.param = {"stream_name": "local"}

    def find(self, name, request_id, outcome):
        query = {"stream-name": "local", "cursor-type": "TRIM_HORIZON"}
        cursor = api(self.server, "GET", "cursors", query=query).json()["partition_cursor"]
        records = api(self.server, "GET", "records", query={"partition-cursor": cursor}).json()["records"]
        return next((base64.b64decode(one["data"]) for one in records if one["partition_key"] == request_id), None)


class Broker:
    """Messages of the broker outside."""

    kind = "DIS"

    def __init__(self, broker):
        self.broker = broker
        self.param = {"stream_name": "brokered"}

    def find(self, name, request_id, outcome):
        found = self.broker.messages("brokered")
        return next((data for headers, data in found if headers["Fgs-Partition-Key"] == request_id), None)


@pytest.fixture(params=["bucket", "folder", "topic", "stream", "broker"])
def target(request, outside, s3, broker, receiver):
    return {
        "bucket": lambda: Bucket(s3),
        "folder": lambda: Folder(outside),
        "topic": lambda: Topic(outside, receiver, request.node.name.partition("[")[0].replace("_", "-")),
        "stream": lambda: LocalStream(outside),
        "broker": lambda: Broker(broker),
    }[request.param]()


def test_success_and_failure_arrive_with_their_documents(outside, target, request):
    name = f"charge-{request.node.callspec.id}"
    urn = outside.deploy(name, CHARGE)
    direct(outside, urn, target.kind, **target.param)

    for outcome, event in (("success", {"größe": 1}), ("failure", {"fails": True})):
        request_id = submit(outside, urn, event)
        body = eventually(lambda r=request_id, o=outcome: target.find(name, r, o), within_s=20)
        document = json.loads(body)
        assert document["request_context"]["request_id"] == request_id
        assert json.loads(document["request_payload"]) == event
        if outcome == "success":
            assert document["response_context"]["status_code"] == 200
            assert json.loads(document["response_payload"]) == {"charged": True}
        else:
            assert document["request_context"]["condition"] == "UnhandledInvocationError"
            assert json.loads(document["response_payload"])["errorMessage"].endswith("card service unreachable")


@pytest.mark.parametrize(
    ("kind", "param", "reason"),
    [
        ("SMN", {"topic_urn": f"urn:smn:{REGION}:{PROJECT_ID}:nobody"}, "does not exist"),
        ("DIS", {"stream_name": "missing"}, "does not exist"),
        ("DIS", {"stream_name": "nobody"}, "no JetStream stream"),
        ("FunctionGraph", {"func_urn": f"urn:fss:{REGION}:{PROJECT_ID}:function:default:nobody"}, "nobody"),
    ],
    ids=["topic", "stream", "broker", "function"],
)
def test_a_destination_that_is_missing_ends_among_the_dead_letters_and_changes_no_state(
    outside, request, kind, param, reason
):
    urn = outside.deploy(f"missing-{request.node.callspec.id}", CHARGE)
    direct(outside, urn, kind, **param)
    request_id = submit(outside, urn, {})

    letter = eventually(lambda: letter_of(outside, request_id), within_s=20)

    assert reason in letter["reason"]
    assert status(outside, urn, request_id) == "SUCCESS"


def letter_of(server, request_id):
    letters = api(server, "GET", "funclet/dead-letters").json()["dead_letters"]
    return next((one for one in letters if one["request_id"] == request_id), None)


def test_wrong_credentials_end_among_the_dead_letters_and_a_replay_after_the_repair_arrives(outside, s3):
    urn = outside.deploy("replayed", CHARGE)
    direct(outside, urn, "OBS", bucket="broken-s3", prefix="", expires=0)
    everything = ["outcomes-s3", "broken-s3"]
    api(outside, "PUT", "funclet/connections/store", s3.connection(secret="wrong", resources=everything))
    request_id = submit(outside, urn, {})
    letter = eventually(lambda: letter_of(outside, request_id), within_s=20)
    assert "SignatureDoesNotMatch" in letter["reason"]
    api(outside, "PUT", "funclet/connections/store", s3.connection(resources=everything))

    api(outside, "POST", f"funclet/dead-letters/{letter['id']}/replay")

    (key,) = eventually(lambda: s3.keys("broken-s3") if (s3.objects / "broken-s3").exists() else [], within_s=20)
    assert key.endswith(f"{request_id}-success.json")
    assert status(outside, urn, request_id) == "SUCCESS"


def test_an_outage_of_the_broker_is_sat_out(outside, broker):
    urn = outside.deploy("outage", CHARGE)
    direct(outside, urn, "DIS", stream_name="brokered")
    broker.stop()
    try:
        request_id = submit(outside, urn, {})
        eventually(lambda: status(outside, urn, request_id) == "SUCCESS", within_s=20)
        deliveries = f"funclet/async/{request_id}/deliveries"
        eventually(
            lambda: any(one["tries"] for one in api(outside, "GET", deliveries).json()["deliveries"]), within_s=20
        )
    finally:
        broker.start()

    eventually(lambda: Broker(broker).find("", request_id, "success"), within_s=FAILURE_DELAYS_S)


@pytest.mark.parametrize(
    ("kind", "param"),
    [
        ("OBS", {"bucket": "../etc", "prefix": "", "expires": 0}),
        ("OBS", {"bucket": "fine-one", "prefix": "../..", "expires": 0}),
        ("OBS", {"bucket": "fine-one", "prefix": "", "expires": 366}),
        ("SMN", {"topic_urn": "nobody"}),
        ("DIS", {"stream_name": "a.b"}),
        ("FunctionGraph", {"func_urn": "nobody"}),
        ("EG", {"channel_id": "x"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_settings_that_can_never_work_are_refused(outside, kind, param):
    urn = outside.deploy("refusing", CHARGE) if not hasattr(outside, "refusing") else outside.refusing
    outside.refusing = urn
    body = {"destination_config": {"on_failure": {"destination": kind, "param": json.dumps(param)}}}

    answer = outside.client.call(
        "PUT", outside.path(f"/functions/{urn}/async-invoke-config"), body=json.dumps(body).encode(), raises=False
    )

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.0400")
