"""What every kind of destination must keep, on the real system behind it."""

import asyncio
import hashlib
import json
from dataclasses import replace

import pytest

from funclet.asyncq.delivery import Delivery, DeliveryFailed, Destination
from funclet.asyncq.destinations import Destinations
from funclet.asyncq.queue import AsyncQueue
from funclet.asyncq.to_bucket import BucketDeliverer
from funclet.asyncq.to_function import FunctionDeliverer
from funclet.asyncq.to_stream import StreamDeliverer
from funclet.asyncq.to_topic import TopicDeliverer
from funclet.base.clock import SystemClock
from funclet.catalog import Catalog
from funclet.model.errors import ModelError
from funclet.model.messaging import Connection, ConnectionKind, Stream, Subscription, SubscriptionStatus, Topic
from funclet.outside.guard import Guard, parse_networks
from funclet.outside.jetstream import KEY_HEADER, JetStream
from funclet.outside.links import Links
from funclet.outside.objects import ObjectStores
from funclet.outside.outgoing import Outgoing
from funclet.store.messaging import connection_context
from funclet.store.sqlite import SqliteStore
from funclet.vault import Vault
from tests.support.outside import NATS_PASSWORD, NATS_USER, S3_ACCESS, S3_REGION, S3_SECRET, NatsServer, S3Server
from tests.support.store import a_version

PROJECT = "p1"
URN = f"urn:fss:r1:{PROJECT}:function:default:source:latest"
TOPIC = f"urn:smn:r1:{PROJECT}:news"
DOCUMENT = json.dumps({"request_payload": '{"größe": 1}'}, ensure_ascii=False).encode()
KEY = "results/source/2026/09/22/req-1-success.json"


def a_delivery(destination, **changes):
    delivery = Delivery(
        request_id="req-1",
        project_id=PROJECT,
        function_urn=URN,
        function_name="source",
        is_success=True,
        document=DOCUMENT,
        root_request_id="root-1",
        depth=3,
        ended_at=1_790_085_600.0,
        destination=destination,
    )
    return replace(delivery, **changes)


class Target:
    """All kinds over one store, and what tests need to look behind them."""

    def __init__(self, folder):
        self.runner = asyncio.Runner()
        self.clock = SystemClock()
        self.store = SqliteStore.open(folder / "funclet.db")
        self.vault = Vault.open(folder / "secrets.key")
        guard = Guard(parse_networks(["127.0.0.0/8"]), setting="target_networks")
        links = Links(self.store, self.vault)
        (folder / "objects").mkdir()
        self.folder = folder
        self.stores = ObjectStores(self.store, links, Outgoing(guard), self.clock, folder / "objects")
        self.jetstream = JetStream(guard)
        catalog = Catalog(self.store, self.clock)
        self.destinations = Destinations(
            {
                "OBS": BucketDeliverer(self.stores),
                "SMN": TopicDeliverer(self.store, self.clock, published=lambda _: None),
                "DIS": StreamDeliverer(self.store, links, self.jetstream, self.clock),
                "FunctionGraph": FunctionDeliverer(AsyncQueue(self.store, self.clock), catalog, self.clock),
            }
        )

    def run(self, work):
        return self.runner.run(work)

    def write(self, work):
        return self.run(self.store.write(work))

    def connect(self, kind, address, user, secret, *resources):
        connection = Connection(
            project_id=PROJECT,
            name="outside",
            kind=kind,
            address=address,
            region=S3_REGION,
            user=user,
            resources=resources or ("*",),
        )
        sealed = self.vault.seal(secret, context=connection_context(PROJECT, "outside"))
        self.write(lambda tx: tx.connections.put(connection, sealed))

    def deliver(self, delivery):
        self.run(self.destinations.deliver(delivery))

    def close(self):
        self.run(self.jetstream.close())
        self.run(self.store.close())
        self.runner.close()


@pytest.fixture
def target(tmp_path):
    made = Target(tmp_path)
    yield made
    made.close()


class FunctionKind:
    good = Destination(kind="FunctionGraph", param={"func_urn": f"urn:fss:r1:{PROJECT}:function:default:hello:latest"})
    missing = Destination(kind="FunctionGraph", param={"func_urn": f"urn:fss:r1:{PROJECT}:function:default:no:latest"})

    def prepare(self, target):
        target.write(lambda tx: tx.functions.add(a_version()))

    def received(self, target):
        now, function_id = target.clock.now() + 1, a_version().function_id
        due = target.run(
            target.store.read(
                lambda tx: tx.queue.due(function_id, now=now, limit=10, max_bytes=10**9, held=frozenset())
            )
        )
        submissions = [one.submission for one in due]
        assert {(one.root_request_id, one.depth) for one in submissions} <= {("root-1", 4)}
        return [one.payload for one in submissions]


class TopicKind:
    good = Destination(kind="SMN", param={"topic_urn": TOPIC})
    missing = Destination(kind="SMN", param={"topic_urn": f"urn:smn:r1:{PROJECT}:nobody"})

    def prepare(self, target):
        confirmed = Subscription(
            subscription_id="s1",
            topic_name="news",
            project_id=PROJECT,
            protocol="http",
            endpoint="http://localhost/",
            status=SubscriptionStatus.CONFIRMED,
        )

        def put(tx):
            tx.topics.add(Topic(region="r1", project_id=PROJECT, name="news"))
            tx.topics.subscribe(confirmed)

        target.write(put)

    def received(self, target):
        now = target.clock.now() + 1
        pushes, _ = target.run(target.store.read(lambda tx: tx.topics.due(now=now, busy=(), under_way=(), limit=10)))
        assert {push.message.hop for push in pushes} <= {"root-1;4"}
        return [push.message.text.encode() for push in pushes]


class StreamKind:
    good = Destination(kind="DIS", param={"stream_name": "results"})
    missing = Destination(kind="DIS", param={"stream_name": "nobody"})

    def prepare(self, target):
        stream = Stream(project_id=PROJECT, name="results", retention_s=3600, max_bytes=10**7, created_at=0)
        target.write(lambda tx: tx.streams.add(stream))

    def received(self, target):
        now = target.clock.now()
        read = target.store.read(lambda tx: tx.streams.read(PROJECT, "results", after=0, now=now, limit=10))
        records = target.run(read)
        assert {record.partition_key for record in records} <= {"req-1"}
        return [record.data for record in records]


class FolderKind:
    good = Destination(kind="OBS", param={"bucket": "results-1", "prefix": "/results/", "expires": 1})
    missing = None

    def prepare(self, target):
        pass

    def received(self, target):
        objects = target.run(
            target.store.read(lambda tx: tx.objects.list(PROJECT, "results-1", prefix="results/", after="", limit=10))
        )
        assert [one.key for one in objects] in ([], [KEY])
        found = [target.run(target.stores.folder.read(PROJECT, "results-1", one.key)) for one in objects]
        assert sorted(path.name for path in target.folder.glob("objects/**/*.*")) == [
            one.key.rpartition("/")[2] for one in objects
        ]
        return found


class S3Kind:
    good = FolderKind.good
    missing = None

    def __init__(self, s3):
        self.s3 = s3

    def prepare(self, target):
        target.connect(ConnectionKind.S3, self.s3.url, S3_ACCESS, S3_SECRET)

    def received(self, target):
        keys = self.s3.keys("results-1")
        assert keys in ([], [KEY])
        found = [self.s3.get("results-1", key) for key in keys]
        for headers, _ in found:
            assert headers["content-type"] == "application/json"
            assert (headers["x-amz-meta-fgs-root"], headers["x-amz-meta-fgs-depth"]) == ("root-1", "4")
        return [body for _, body in found]


class NatsKind:
    good = Destination(kind="DIS", param={"stream_name": "brokered"})
    missing = Destination(kind="DIS", param={"stream_name": "unheard"})

    def __init__(self, broker):
        self.broker = broker

    def prepare(self, target):
        self.broker.add_stream("brokered")
        target.connect(ConnectionKind.NATS, self.broker.url, NATS_USER, NATS_PASSWORD)

    def received(self, target):
        found = self.broker.messages("brokered")
        assert {headers[KEY_HEADER] for headers, _ in found} <= {"req-1"}
        return [data for _, data in found]


@pytest.fixture(params=["function", "topic", "stream", "folder", "s3", "nats"])
def kind(request, target):
    plain = {"function": FunctionKind, "topic": TopicKind, "stream": StreamKind, "folder": FolderKind}
    if request.param in plain:
        made = plain[request.param]()
    else:
        made = {"s3": S3Kind, "nats": NatsKind}[request.param](
            request.getfixturevalue("s3" if request.param == "s3" else "broker")
        )
    made.prepare(target)
    yield made
    if request.param == "nats":
        made.broker.run(lambda js: js.delete_stream("brokered"))
    if request.param == "s3":
        for key in made.s3.keys("results-1"):
            (made.s3.objects / "results-1" / key).unlink()


def test_the_document_arrives_byte_for_byte(target, kind):
    target.deliver(a_delivery(kind.good))

    assert kind.received(target) == [DOCUMENT]


def test_delivering_again_changes_nothing_or_adds_the_same(target, kind):
    for _ in range(2):
        target.deliver(a_delivery(kind.good))

    assert kind.received(target) == [DOCUMENT]


def test_a_large_document_arrives(target, kind):
    document = json.dumps({"request_payload": "\u00e4" * 50_000, "response_payload": '"' * 262_144}).encode()
    target.deliver(a_delivery(kind.good, document=document))

    assert [hashlib.sha256(body).hexdigest() for body in kind.received(target)] == [
        hashlib.sha256(document).hexdigest()
    ]


def test_a_target_that_is_not_there_fails_for_good_and_bears_its_name(target, kind):
    if kind.missing is None:
        # A bucket that is missing is made: the agency of the cloud needs the right to.
        target.deliver(a_delivery(Destination(kind="OBS", param={"bucket": "new-bucket", "prefix": "", "expires": 0})))
        return
    with pytest.raises(DeliveryFailed) as failed:
        target.deliver(a_delivery(kind.missing))

    assert failed.value.is_permanent
    assert any(name in failed.value.reason for name in ("no", "nobody", "unheard"))
    assert kind.received(target) == []


@pytest.mark.parametrize(
    "destination",
    [
        Destination(kind="EG", param={"channel_id": "x"}),
        Destination(kind="OBS", param={}),
        Destination(kind="OBS", param={"bucket": "Upper"}),
        Destination(kind="OBS", param={"bucket": "../../etc"}),
        Destination(kind="OBS", param={"bucket": "good-one", "prefix": "a/../b"}),
        Destination(kind="OBS", param={"bucket": "good-one", "prefix": "a//b"}),
        Destination(kind="OBS", param={"bucket": "good-one", "prefix": "a\nb"}),
        Destination(kind="OBS", param={"bucket": "good-one", "prefix": "x" * 513}),
        Destination(kind="OBS", param={"bucket": "good-one", "prefix": "x" * 256}),
        Destination(kind="OBS", param={"bucket": "good-one", "expires": -1}),
        Destination(kind="OBS", param={"bucket": "good-one", "expires": 366}),
        Destination(kind="OBS", param={"bucket": "good-one", "expires": "soon"}),
        Destination(kind="SMN", param={"topic_urn": "urn:smn:r1:p1"}),
        Destination(kind="SMN", param={"topic_urn": "urn:smn:r1:p1:a b"}),
        Destination(kind="SMN", param={"topic_urn": 7}),
        Destination(kind="DIS", param={"stream_name": "a.b"}),
        Destination(kind="DIS", param={"stream_name": "x" * 65}),
        Destination(kind="FunctionGraph", param={"func_urn": "hello"}),
        Destination(kind="FunctionGraph", param={"func_urn": "urn:fss:r1"}),
        Destination(kind="FunctionGraph", param={"func_urn": "urn:fss:r1:p1:trigger:default:hello"}),
        Destination(kind="FunctionGraph", param={"func_urn": ""}),
    ],
    ids=lambda one: f"{one.kind}-{list(one.param.values())[-1:]}"[:60],
)
def test_what_can_never_work_is_refused(target, destination):
    with pytest.raises(ModelError) as refused:
        target.destinations.check(destination)

    assert refused.value.code == "FSS.0400"
    with pytest.raises(DeliveryFailed) as failed:
        target.deliver(a_delivery(destination))
    assert failed.value.is_permanent


@pytest.mark.parametrize("expires", [0, 365, "30"])
def test_the_whole_range_of_days_is_accepted(target, expires):
    target.destinations.check(
        Destination(kind="OBS", param={"bucket": "good-one", "prefix": "a/b/", "expires": expires})
    )


def test_a_function_and_a_topic_of_another_project_are_out_of_reach(target):
    for kind in (FunctionKind(), TopicKind()):
        kind.prepare(target)
        with pytest.raises(DeliveryFailed) as failed:
            target.deliver(a_delivery(kind.good, project_id="p2"))
        assert failed.value.is_permanent
        assert kind.received(target) == []


def test_wrong_credentials_fail_for_good(target, s3, broker):
    target.connect(ConnectionKind.S3, s3.url, S3_ACCESS, "wrong")
    with pytest.raises(DeliveryFailed, match="403 SignatureDoesNotMatch") as failed:
        target.deliver(a_delivery(FolderKind.good))
    assert failed.value.is_permanent

    target.connect(ConnectionKind.NATS, broker.url, NATS_USER, "wrong")
    with pytest.raises(DeliveryFailed, match=r"(?i)authorization"):
        target.deliver(a_delivery(NatsKind.good))


def test_an_outage_fails_for_now_and_the_next_try_arrives(target, tmp_path):
    servers = S3Server(tmp_path / "own-s3"), NatsServer(tmp_path / "own-nats")
    try:
        s3, broker = (server.start() for server in servers)
        for kind, destination in ((S3Kind(s3), FolderKind.good), (NatsKind(broker), NatsKind.good)):
            kind.prepare(target)
            target.deliver(a_delivery(destination, request_id="req-0"))
            server = getattr(kind, "s3", None) or kind.broker
            server.stop()
            with pytest.raises(DeliveryFailed) as failed:
                target.deliver(a_delivery(destination))
            assert not failed.value.is_permanent
            server.start()

            target.deliver(a_delivery(destination))

        assert s3.keys("results-1") == [KEY.replace("req-1", "req-0"), KEY]
        assert [headers[KEY_HEADER] for headers, _ in broker.messages("brokered")] == ["req-0", "req-1"]
    finally:
        for server in servers:
            server.stop()


def test_a_connection_serves_what_it_names_and_everything_else_stays_here(target, s3):
    target.connect(ConnectionKind.S3, s3.url, S3_ACCESS, S3_SECRET, "elsewhere-1")

    for bucket in ("elsewhere-1", "here-1"):
        target.deliver(a_delivery(Destination(kind="OBS", param={"bucket": bucket, "prefix": "", "expires": 0})))

    assert s3.keys("elsewhere-1") == [KEY.removeprefix("results/")]
    assert not (s3.objects / "here-1").exists()
    assert len(list(target.folder.glob(f"objects/{PROJECT}/here-1/**/*.json"))) == 1


def test_objects_are_deleted_when_their_days_are_over(target, s3):
    target.deliver(a_delivery(FolderKind.good))
    target.connect(ConnectionKind.S3, s3.url, S3_ACCESS, S3_SECRET, "expiring-1")
    for request_id, days in (("kept", 0), ("later", 2), ("gone", 1)):
        param = {"bucket": "expiring-1", "prefix": "p", "expires": days}
        target.deliver(a_delivery(Destination(kind="OBS", param=param), request_id=request_id))
    tomorrow = target.clock.now() + 86_401

    assert target.run(target.stores.sweep(now=tomorrow)) == 2
    assert target.run(target.stores.sweep(now=tomorrow)) == 0

    assert [key.rpartition("/")[2] for key in s3.keys("expiring-1")] == ["kept-success.json", "later-success.json"]
    assert list(target.folder.glob("objects/*/*")) == []


def test_an_object_that_cannot_be_deleted_is_tried_again_an_hour_later(target, tmp_path):
    server = S3Server(tmp_path / "own-s3").start()
    try:
        target.connect(ConnectionKind.S3, server.url, S3_ACCESS, S3_SECRET)
        target.deliver(a_delivery(FolderKind.good))
        server.stop()
        tomorrow = target.clock.now() + 86_401
        assert target.run(target.stores.sweep(now=tomorrow)) == 1
        assert target.run(target.stores.sweep(now=tomorrow + 3599)) == 0
        server.start()

        assert target.run(target.stores.sweep(now=tomorrow + 3600)) == 1
        assert server.keys("results-1") == []
    finally:
        server.stop()


def test_addresses_that_the_operator_does_not_allow_are_not_reached(target, s3):
    guarded = Outgoing(Guard((), setting="target_networks"))
    target.destinations = Destinations(
        {
            "OBS": BucketDeliverer(
                ObjectStores(target.store, Links(target.store, target.vault), guarded, target.clock, target.folder)
            )
        }
    )
    target.connect(ConnectionKind.S3, s3.url, S3_ACCESS, S3_SECRET)

    with pytest.raises(DeliveryFailed, match="target_networks") as failed:
        target.deliver(a_delivery(FolderKind.good))

    assert failed.value.is_permanent
