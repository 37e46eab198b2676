"""Topics, streams and connections on a real server, asked for with the vendor's own SDKs where it has some."""

import base64
import contextlib
import http.client
import json
import re
import shutil
import sqlite3
import tempfile
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkdis import v2 as dis
from huaweicloudsdksmn import v2 as smn
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from funclet.outside.topics import DELAYS_S
from tests.support.outside import NATS_PASSWORD, S3_SECRET, Receiver, make_certificate
from tests.support.server import AK, PROJECT_ID, REGION, SK
from tests.support.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")
LOOPBACK = "127.0.0.0/8"


@pytest.fixture(scope="module")
def outside_server(scratch):
    from tests.support.server import ServerProcess

    folder = scratch / "outside"
    folder.mkdir()
    certificate = make_certificate(folder, "localhost")
    running = ServerProcess(folder, FGS_TARGET_NETWORKS=LOOPBACK, SSL_CERT_FILE=str(certificate[0])).start()
    running.certificate = certificate
    yield running
    running.stop()


@pytest.fixture
def sdk_of(outside_server):
    """Build clients of the vendor's SDKs."""
    clients = []

    def build(kind, server=outside_server):
        credentials = BasicCredentials(AK, SK, PROJECT_ID)
        clients.append(kind.new_builder().with_credentials(credentials).with_endpoint(server.api_url).build())
        return clients[-1]

    yield build
    for client in clients:
        client.get_http_client().close()


@pytest.fixture
def topics(sdk_of):
    return sdk_of(smn.SmnClient)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def create_topic(topics, name):
    body = smn.CreateTopicRequestBody(name=name, display_name="News")
    return topics.create_topic(smn.CreateTopicRequest(body=body)).topic_urn


def subscribe(server, topic_urn, url, **changes):
    """Subscribe an address; return the urn of the subscription and its secret, which the SDK does not know."""
    body = {"protocol": url.partition(":")[0], "endpoint": url} | changes
    answer = server.client.call(
        "POST", f"/v2/{PROJECT_ID}/notifications/topics/{topic_urn}/subscriptions", body=json.dumps(body).encode()
    ).json()
    return answer["subscription_urn"], answer.get("secret")


def confirm(receiver):
    """Open the link that a new subscriber was sent."""
    invitation = eventually(lambda: receiver.bodies("SubscriptionConfirmation"))[-1]
    with urllib.request.urlopen(invitation["subscribe_url"]) as response:
        return json.load(response)["subscription_urn"]


def publish(topics, topic_urn, text, subject=""):
    body = smn.PublishMessageRequestBody(subject=subject, message=text)
    return topics.publish_message(smn.PublishMessageRequest(topic_urn=topic_urn, body=body)).message_id


def refused(call, *arguments):
    with pytest.raises(ClientRequestException) as caught:
        call(*arguments)
    return caught.value.status_code, caught.value.error_code


def call(server, method, path, body=None, *, raises=True, query=None):
    data = b"" if body is None else json.dumps(body).encode()
    return server.client.call(method, f"/v2/{PROJECT_ID}/{path}", body=data, raises=raises, query=query)


def pushes(server):
    """Return what is still to be sent, from a copy: a server keeps its database for itself."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("funclet.db", "funclet.db-wal"):
            shutil.copy(server.data_dir / name, folder)
        with contextlib.closing(sqlite3.connect(Path(folder, "funclet.db"))) as database:
            return database.execute("SELECT attempts, due_at FROM topic_push ORDER BY push_id").fetchall()


@pytest.mark.proves(
    "error:FSS.1171",
    "operation:CreateTopic",
    "operation:ListTopics",
    "operation:ListTopicDetails",
    "operation:DeleteTopic",
)
def test_a_topic_is_created_listed_and_deleted(topics):
    urn = create_topic(topics, "created-here")
    assert urn == f"urn:smn:{REGION}:{PROJECT_ID}:created-here"
    assert create_topic(topics, "created-here") == urn

    listed = topics.list_topics(smn.ListTopicsRequest(offset=0, limit=100))
    assert [(one.topic_urn, one.display_name) for one in listed.topics if one.name == "created-here"] == [(urn, "News")]
    assert topics.list_topic_details(smn.ListTopicDetailsRequest(topic_urn=urn)).name == "created-here"

    topics.delete_topic(smn.DeleteTopicRequest(topic_urn=urn))
    gone = (404, "FSS.1171")
    assert refused(topics.delete_topic, smn.DeleteTopicRequest(topic_urn=urn)) == gone
    assert refused(topics.list_topic_details, smn.ListTopicDetailsRequest(topic_urn=urn)) == gone
    assert refused(publish, topics, urn, "nobody hears") == gone
    assert refused(create_topic, topics, "no blanks") == (400, "FSS.0400")
    assert refused(publish, topics, f"urn:smn:{REGION}:{'0' * 32}:created-here", "x") == (403, "FSS.0403")


@pytest.mark.proves("operation:AddSubscription", "operation:ConfirmSubscription", "operation:PublishMessage")
def test_messages_reach_only_those_who_have_confirmed_and_are_signed(outside_server, topics, receiver):
    urn = create_topic(topics, "confirmed")
    subscription_urn, secret = subscribe(outside_server, urn, receiver.url)
    publish(topics, urn, "before")
    assert confirm(receiver) == subscription_urn
    message_id = publish(topics, urn, '{"größe": 1}', subject="Größe")

    (body,) = eventually(receiver.bodies)
    path, headers, raw = receiver.requests[-1]
    assert (path, body["message"], body["subject"], body["message_id"]) == (
        "/inbox",
        '{"größe": 1}',
        "Größe",
        message_id,
    )
    assert (body["topic_urn"], headers["X-SMN-MESSAGE-TYPE"]) == (urn, "Notification")
    assert headers["X-SMN-SUBSCRIPTION-URN"] == subscription_urn
    for _, headers, raw in receiver.requests:
        Webhook(secret).verify(raw, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(raw + b" ", headers)
    assert eventually(lambda: pushes(outside_server) == [])


@pytest.mark.proves("operation:ConfirmSubscription")
def test_a_link_confirms_once_and_a_wrong_one_never(outside_server, topics, receiver):
    urn = create_topic(topics, "once")
    subscribe(outside_server, urn, receiver.url)
    confirm(receiver)
    link = receiver.bodies("SubscriptionConfirmation")[-1]["subscribe_url"]

    for url in (link, re.sub("token=.*", "token=wrong", link), re.sub("token=.*", "token=", link)):
        with pytest.raises(urllib.error.HTTPError) as failed:
            urllib.request.urlopen(url)
        failed.value.close()
        assert failed.value.code == 404


def test_subscribing_again_renews_what_is_pending_and_keeps_what_is_confirmed(outside_server, topics, receiver):
    urn = create_topic(topics, "again")
    first, first_secret = subscribe(outside_server, urn, receiver.url)
    second, second_secret = subscribe(outside_server, urn, receiver.url)
    assert first == second
    assert first_secret != second_secret
    assert eventually(lambda: len(receiver.bodies("SubscriptionConfirmation")) == 2)
    assert confirm(receiver) == first

    assert subscribe(outside_server, urn, receiver.url) == (first, None)


@pytest.mark.proves(
    "error:FSS.0404",
    "operation:ListSubscriptions",
    "operation:ListSubscriptionsByTopic",
    "operation:CancelSubscription",
)
def test_subscriptions_are_listed_without_secrets_and_cancelled(outside_server, topics, receiver):
    urn = create_topic(topics, "listed")
    subscription_urn, secret = subscribe(outside_server, urn, receiver.url, remark="mine")
    listed = topics.list_subscriptions_by_topic(smn.ListSubscriptionsByTopicRequest(topic_urn=urn, offset=0, limit=10))
    (one,) = listed.subscriptions
    assert (one.subscription_urn, one.endpoint, one.status, one.remark) == (subscription_urn, receiver.url, 0, "mine")
    confirm(receiver)
    everything = topics.list_subscriptions(smn.ListSubscriptionsRequest(offset=0, limit=100))
    assert [one.status for one in everything.subscriptions if one.topic_urn == urn] == [1]
    for path in (f"notifications/topics/{urn}/subscriptions", "notifications/subscriptions"):
        assert secret.encode() not in call(outside_server, "GET", path).body

    topics.cancel_subscription(smn.CancelSubscriptionRequest(subscription_urn=subscription_urn))

    publish(topics, urn, "nobody hears")
    assert refused(topics.cancel_subscription, smn.CancelSubscriptionRequest(subscription_urn=subscription_urn)) == (
        404,
        "FSS.0404",
    )
    assert receiver.bodies() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "email", "endpoint": "somebody@example.com"},
        {"protocol": "https", "endpoint": "http://localhost/"},
        {"endpoint": "http://user:password@localhost/"},
        {"endpoint": "http://localhost/#part"},
        {"endpoint": "http://local host/"},
        {"endpoint": "http://localhost:99999/"},
        {"endpoint": "http://localhost:0/"},
        {"endpoint": "http://"},
        {"endpoint": "http://localhost/" + "x" * 1024},
        {"endpoint": "http://nowhere.invalid/"},
        {"endpoint": "http://10.0.0.1/"},
        {"endpoint": "http://169.254.169.254/latest/meta-data"},
        {"endpoint": "http://[::1]/"},
        {"endpoint": "http://[::ffff:10.0.0.1]/"},
        {"endpoint": "http://0x0a000001/"},
        {"remark": "x" * 129},
    ],
    ids=lambda changes: str(changes)[:50],
)
def test_addresses_that_cannot_or_must_not_be_used_are_refused(outside_server, topics, changes):
    urn = create_topic(topics, "refused")
    body = {"protocol": "http", "endpoint": "http://localhost/"} | changes

    answer = call(outside_server, "POST", f"notifications/topics/{urn}/subscriptions", body, raises=False)

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.0400")
    assert call(outside_server, "GET", f"notifications/topics/{urn}/subscriptions").json()["subscriptions"] == []


def test_without_the_setting_private_addresses_are_refused_with_its_name(server, sdk_of, receiver):
    urn = create_topic(sdk_of(smn.SmnClient, server), "guarded")
    body = {"protocol": "http", "endpoint": receiver.url}

    answer = call(server, "POST", f"notifications/topics/{urn}/subscriptions", body, raises=False)
    connection = call(
        server, "PUT", "funclet/connections/inner", {"kind": "nats", "address": "nats://127.0.0.1:1"}, raises=False
    )

    for refusal in (answer, connection):
        assert refusal.status == 400
        assert "target_networks" in refusal.json()["error_msg"]


def test_a_message_that_is_not_taken_is_sent_again_later(outside_server, topics, receiver):
    urn = create_topic(topics, "retried")
    subscribe(outside_server, urn, receiver.url)
    confirm(receiver)
    receiver.statuses = [500, 302]
    publish(topics, urn, "third time lucky")

    eventually(lambda: len(receiver.bodies()) == 3, within_s=DELAYS_S[0] + DELAYS_S[1] + 10)

    times = [int(headers["webhook-timestamp"]) for _, headers, _ in receiver.requests[-3:]]
    assert times[1] - times[0] >= DELAYS_S[0] - 1
    assert times[2] - times[1] >= DELAYS_S[1] - 1
    assert eventually(lambda: pushes(outside_server) == [])


def test_an_address_that_hangs_does_not_keep_others_waiting(outside_server, topics, receiver):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        urn = create_topic(topics, "hanging")
        subscribe(outside_server, urn, receiver.url)
        confirm(receiver)
        subscribe(outside_server, urn, f"http://localhost:{silent.getsockname()[1]}/")
        # It reads what it is sent, and never answers.
        connection, _ = silent.accept()
        with connection, connection.makefile("rb") as sent:
            head = http.client.parse_headers(sent) if sent.readline() else {}
            invitation = json.loads(sent.read(int(head["content-length"])))
        urllib.request.urlopen(invitation["subscribe_url"]).close()
        for number in range(40):
            publish(topics, urn, str(number))

        eventually(lambda: len(receiver.bodies()) == 40, within_s=10)
        topics.delete_topic(smn.DeleteTopicRequest(topic_urn=urn))
    assert Counter(body["message"] for body in receiver.bodies()) == Counter(str(number) for number in range(40))


def test_messages_survive_kill_9(new_server, sdk_of, receiver):
    server = new_server(FGS_TARGET_NETWORKS=LOOPBACK)
    topics = sdk_of(smn.SmnClient, server)
    urn = create_topic(topics, "killed")
    subscribe(server, urn, receiver.url)
    confirm(receiver)
    receiver.statuses = [503] * 20
    for number in range(10):
        publish(topics, urn, str(number))
    server.kill()
    receiver.statuses.clear()

    server.start()

    eventually(lambda: {body["message"] for body in receiver.bodies()} == {str(n) for n in range(10)}, within_s=20)
    assert eventually(lambda: pushes(server) == [], within_s=20)


def test_a_certificate_that_is_not_trusted_is_refused_and_one_that_is_passes(outside_server, topics, tmp_path):
    trusted = Receiver(certificate=outside_server.certificate)
    other = Receiver(certificate=make_certificate(tmp_path, "localhost"))
    try:
        urn = create_topic(topics, "tls")
        subscribe(outside_server, urn, other.url)
        subscribe(outside_server, urn, trusted.url)
        confirm(trusted)
        publish(topics, urn, "secret")

        assert eventually(trusted.bodies)
        eventually(lambda: [attempts for attempts, _ in pushes(outside_server)] >= [1])
        assert other.requests == []
        topics.delete_topic(smn.DeleteTopicRequest(topic_urn=urn))
    finally:
        trusted.close()
        other.close()


@pytest.mark.parametrize(
    "members", [{"message": ""}, {"message": "x" * 262_145}, {"message": "x", "subject": "x" * 513}, {}]
)
def test_what_is_no_message_is_refused(outside_server, topics, members):
    urn = create_topic(topics, "picky")

    answer = call(outside_server, "POST", f"notifications/topics/{urn}/publish", members, raises=False)

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.0400")


def test_the_largest_message_passes(outside_server, topics, receiver):
    urn = create_topic(topics, "large")
    subscribe(outside_server, urn, receiver.url)
    confirm(receiver)
    publish(topics, urn, "x" * 262_144, subject="x" * 512)

    assert eventually(receiver.bodies)[0]["message"] == "x" * 262_144


@pytest.fixture
def streams(sdk_of):
    return sdk_of(dis.DisClient)


def create_stream(streams, name, **fields):
    body = dis.CreateStreamReq(stream_name=name, partition_count=1, **fields)
    return streams.create_stream(dis.CreateStreamRequest(body=body))


def send(streams, name, *data):
    entries = [
        dis.PutRecordsRequestEntry(data=base64.b64encode(one).decode(), partition_key=f"key-{len(one)}") for one in data
    ]
    body = dis.PutRecordsRequest(stream_name=name, stream_id="", records=entries)
    return [record.sequence_number for record in streams.send_records(dis.SendRecordsRequest(body=body)).records]


def cursor_of(streams, name, kind, sequence=None):
    request = dis.ShowCursorRequest(
        stream_name=name, partition_id="shardId-0000000000", cursor_type=kind, starting_sequence_number=sequence
    )
    return streams.show_cursor(request).partition_cursor


def consume(streams, cursor):
    answer = streams.consume_records(dis.ConsumeRecordsRequest(partition_cursor=cursor))
    return [base64.b64decode(record.data) for record in answer.records], answer.next_partition_cursor


@pytest.mark.proves("operation:SendRecords", "operation:ConsumeRecords", "operation:ShowCursor")
def test_a_stream_keeps_records_in_order_and_is_read_by_cursor(streams):
    create_stream(streams, "ordered")
    assert send(streams, "ordered", b"a", b"", bytes(range(256))) == ["1", "2", "3"]
    latest = cursor_of(streams, "ordered", "LATEST")
    assert send(streams, "ordered", b"later") == ["4"]

    everything, end = consume(streams, cursor_of(streams, "ordered", "TRIM_HORIZON"))
    assert everything == [b"a", b"", bytes(range(256)), b"later"]
    assert consume(streams, end) == ([], end)
    assert consume(streams, latest)[0] == [b"later"]
    assert consume(streams, cursor_of(streams, "ordered", "AT_SEQUENCE_NUMBER", "3"))[0] == [
        bytes(range(256)),
        b"later",
    ]
    assert consume(streams, cursor_of(streams, "ordered", "AFTER_SEQUENCE_NUMBER", "3"))[0] == [b"later"]


@pytest.mark.proves("error:FSS.1130", "operation:CreateStream", "operation:ListStreams", "operation:DeleteStream")
def test_streams_are_listed_and_deleted(streams):
    create_stream(streams, "listed-stream", data_duration=48)
    assert refused(create_stream, streams, "listed-stream") == (409, "FSS.0409")

    listed = streams.list_streams(dis.ListStreamsRequest(limit=100))
    assert "listed-stream" in listed.stream_names
    assert {one.stream_name: one.retention_period for one in listed.stream_info_list}["listed-stream"] == 48

    streams.delete_stream(dis.DeleteStreamRequest(stream_name="listed-stream"))
    gone = (404, "FSS.1130")
    assert refused(streams.delete_stream, dis.DeleteStreamRequest(stream_name="listed-stream")) == gone
    assert refused(send, streams, "listed-stream", b"x") == gone
    assert refused(cursor_of, streams, "listed-stream", "LATEST") == gone


def test_the_oldest_records_make_room(outside_server, streams):
    call(outside_server, "POST", "streams", {"stream_name": "small", "max_bytes": 8 * 1024**2})
    for number in range(10):
        send(streams, "small", bytes([number]) * 1024**2)

    found, cursor = [], cursor_of(streams, "small", "TRIM_HORIZON")
    while True:
        records, cursor = consume(streams, cursor)
        if not records:
            break
        found += [record[0] for record in records]

    assert found == list(range(2, 10))


@pytest.mark.parametrize(
    ("method", "path", "body", "query"),
    [
        ("POST", "streams", {"stream_name": "a.b"}, None),
        ("POST", "streams", {"stream_name": "x" * 65}, None),
        ("POST", "streams", {"stream_name": "wide", "partition_count": 2}, None),
        ("POST", "streams", {"stream_name": "long", "data_duration": 169}, None),
        ("POST", "streams", {"stream_name": "tiny", "max_bytes": 1}, None),
        ("POST", "records", {"stream_name": "limits", "records": []}, None),
        ("POST", "records", {"stream_name": "limits", "records": [{"data": "?"}]}, None),
        ("POST", "records", {"stream_name": "limits", "records": [{"data": ""}] * 501}, None),
        ("POST", "records", {"stream_name": "limits", "records": [{"data": "", "partition_key": "x" * 257}]}, None),
        ("POST", "records", {"stream_name": "limits", "records": [{"data": "A" * 1_398_108}]}, None),
        ("GET", "records", None, {"partition-cursor": "?"}),
        ("GET", "records", None, {"partition-cursor": "bGltaXRz"}),
        ("GET", "cursors", None, {"stream-name": "limits", "cursor-type": "NEVER"}),
        ("GET", "cursors", None, {"stream-name": "limits", "cursor-type": "AT_SEQUENCE_NUMBER"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_requests_to_streams_are_refused(outside_server, method, path, body, query):
    call(outside_server, "POST", "streams", {"stream_name": "limits"}, raises=False)

    answer = call(outside_server, method, path, body, query=query, raises=False)

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.0400")


@pytest.mark.proves(
    "operation:PutConnection", "operation:ListConnections", "operation:TestConnection", "operation:DeleteConnection"
)
def test_connections_are_tested_listed_and_deleted_and_show_no_secret(outside_server, s3, broker):
    put = [
        call(outside_server, "PUT", "funclet/connections/store", s3.connection(resources=["one", "two"])),
        call(outside_server, "PUT", "funclet/connections/broker", broker.connection()),
    ]
    listed = call(outside_server, "GET", "funclet/connections")
    assert [one["name"] for one in listed.json()["connections"]] == ["broker", "store"]
    tests = [call(outside_server, "POST", f"funclet/connections/{name}/test") for name in ("store", "broker")]
    assert [one.json() for one in tests] == [{"is_working": True, "problem": ""}] * 2

    call(outside_server, "PUT", "funclet/connections/store", s3.connection(secret="wrong"))
    call(outside_server, "PUT", "funclet/connections/broker", broker.connection(secret="wrong"))
    problems = [call(outside_server, "POST", f"funclet/connections/{name}/test") for name in ("store", "broker")]
    assert "SignatureDoesNotMatch" in problems[0].json()["problem"]
    assert "authorization" in problems[1].json()["problem"].lower()

    for name in ("store", "broker"):
        assert call(outside_server, "DELETE", f"funclet/connections/{name}").status == 204
        again = call(outside_server, "DELETE", f"funclet/connections/{name}", raises=False)
        assert (again.status, again.json()["error_code"]) == (404, "FSS.0404")
    shown = b"".join(answer.body for answer in (*put, listed, *tests, *problems)).decode() + outside_server.log()
    assert S3_SECRET not in shown
    assert NATS_PASSWORD not in shown


@pytest.mark.proves("error:FSS.0409")
def test_two_connections_cannot_stand_for_the_same(outside_server, s3):
    call(outside_server, "PUT", "funclet/connections/first", s3.connection(resources=["shared", "*"]))
    for resources in (["shared"], ["other", "*"]):
        answer = call(
            outside_server, "PUT", "funclet/connections/second", s3.connection(resources=resources), raises=False
        )
        assert (answer.status, answer.json()["error_code"]) == (409, "FSS.0409")
    call(outside_server, "PUT", "funclet/connections/first", s3.connection(resources=["*"]))
    call(outside_server, "PUT", "funclet/connections/second", s3.connection(resources=["shared"]))

    for name in ("first", "second"):
        call(outside_server, "DELETE", f"funclet/connections/{name}")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "ftp"},
        {"address": "http://user:secret@localhost"},
        {"address": "http://localhost/bucket"},
        {"address": "http://localhost?x"},
        {"address": "nats://localhost"},
        {"address": "http://localhost:0"},
        {"address": "http://10.1.2.3"},
        {"secret": ""},
        {"secret": "x" * 4097},
        {"user": ""},
        {"user": "a\nb"},
        {"region": "a b"},
        {"resources": []},
        {"resources": ["a/b"]},
        {"resources": [str(n) for n in range(101)]},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_connections_that_cannot_work_are_refused(outside_server, s3, changes):
    answer = call(outside_server, "PUT", "funclet/connections/bad", s3.connection(**changes), raises=False)

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.0400")
    assert call(outside_server, "GET", "funclet/connections").json()["connections"] == []


@pytest.mark.proves("operation:RotateSecretKey")
def test_secrets_are_sealed_at_rest_and_their_key_can_be_replaced(new_server, s3):
    server = new_server(FGS_TARGET_NETWORKS=LOOPBACK)
    call(server, "PUT", "funclet/connections/store", s3.connection())
    key_file = server.data_dir / "secrets.key"
    old_key = key_file.read_text()
    assert key_file.stat().st_mode & 0o777 == 0o600

    assert call(server, "POST", "funclet/secret-key/rotate").status == 204

    assert old_key.split()[1] not in key_file.read_text()
    assert call(server, "POST", "funclet/connections/store/test").json()["is_working"]
    server.stop()
    files = [path for path in server.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if S3_SECRET.encode() in path.read_bytes()]
    server.start()
    assert call(server, "POST", "funclet/connections/store/test").json()["is_working"]

    server.stop()
    key_file.chmod(0o644)
    with pytest.raises(AssertionError, match="chmod 600"):
        server.start()
