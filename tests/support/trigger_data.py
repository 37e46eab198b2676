"""Sound and unsound data of the kinds of triggers whose sources are not connected, for tests of all of them."""

from dataclasses import dataclass, field

from tests.support.gateway import PROJECT_ID, REGION

_KAFKA = {
    "topic_ids": ["sensor-state", "audit"],
    "batch_size": 100,
    "kafka_ssl_enable": True,
    "kafka_user": "fg",
    "kafka_password": "kafka-pass-4711",
    "is_serial": "true",
}
_MONGO = {"instance_id": "i-1", "db_name": "shop", "collection_name": "products", "db_password": "mongo-pass-4711"}
GOOD = {
    "OBS": {"bucket": "photo-inbox", "events": ["s3:ObjectCreated:*", "Delete"], "prefix": "in/", "suffix": ".jpg"},
    "SMN": {"topic_urn": f"urn:smn:{REGION}:{PROJECT_ID}:orders-topic"},
    "KAFKA": {"instance_id": "i-1", **_KAFKA},
    "OPENSOURCEKAFKA": {"kafka_connect_address": "10.0.0.1:9092,broker-2.example.test:9093", **_KAFKA},
    "RABBITMQ": {
        "instance_id": "i-1",
        "exchange_name": "jobs",
        "access_user": "guest",
        "access_password": "rabbit-pass-4711",
        "connect_address": "10.0.0.1:5672",
        "vhost": "/",
        "ssl_enable": False,
        "batch_size": 10,
    },
    "ROCKETMQ": {
        "instance_id": "i-1",
        "topic_ids": ["orders"],
        "batch_size": 1000,
        "enable_acl": True,
        "access_key": "reader",
        "secret_key": "rocket-pass-4711",
    },
    "CTS": {"name": "changes", "operations": ["FunctionGraph:Functions;Triggers:createFunction;deleteFunction"]},
    "LTS": {"log_group_id": "g-1", "log_topic_id": "t-1", "log_group_name": "shop", "log_topic_name": "app"},
    "EVENTGRID": {
        "channel_id": "c-1",
        "channel_name": "default",
        "source_name": "HC.OBS.DWR",
        "event_types": ["OBS:DWR:ObjectCreated:PUT", "OBS:DWR:ObjectCreated:POST"],
        "trigger_name": "inbox",
        "agency": "fgs_to_eg",
        "bucket": "photo-inbox",
        "Key_encode": True,
    },
    "DDS": {**_MONGO, "batch_size": 100},
    "GAUSSMONGO": {**_MONGO, "batch_size": 10_000},
    "DIS": {
        "stream_name": "clicks",
        "sharditerator_type": "TRIM_HORIZON",
        "polling_interval": 30,
        "polling_unit": "s",
        "max_fetch_bytes": 1_048_576,
        "is_serial": "true",
        "batch_size": 100,
    },
    "DMS": {"queue_id": "q-1", "consumer_group_id": "g-1", "polling_interval": 30},
    "IOTDA": {"instance_id": "i-1", "resource": "device.property", "event": "report", "app_type": "APP", "app_id": "a"},
    "DYNAMODB": {"instance_id": "i-1", "table_name": "movies", "batch_size": 10, "sharditerator_type": "LATEST"},
}
SECRETS = {
    "KAFKA": ("kafka_password",),
    "OPENSOURCEKAFKA": ("kafka_password",),
    "RABBITMQ": ("access_password",),
    "ROCKETMQ": ("secret_key",),
    "DDS": ("db_password",),
    "GAUSSMONGO": ("db_password",),
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is documented of a kind."""

    invalid: str = "FSS.0400"
    missing: str = "FSS.1131"
    exists: tuple[int, str] = (409, "FSS.0409")
    required: frozenset[str]
    identity: tuple[str, ...]
    can_be_disabled: bool = True
    starts_disabled: bool = False
    other: dict[str, str] = field(default_factory=dict)
    """Another sound value of a member of `identity`."""
    if_missing: dict[str, str] = field(default_factory=dict)

    def code_if_missing(self, name: str) -> str:
        """Return the code for a required member that is not there."""
        return self.if_missing.get(name, self.invalid)


def _kafka(*required: str, identity: tuple[str, ...] = ()) -> Kind:
    return Kind(
        invalid="FSS.1112",
        missing="FSS.1174",
        exists=(409, "FSS.1150"),
        required=frozenset({*required, "topic_ids", "batch_size"}),
        identity=identity,
        starts_disabled=True,
    )


_MONGO_KIND = Kind(
    invalid="FSS.1164",
    missing="FSS.1163",
    exists=(409, "FSS.1166"),
    required=frozenset({*_MONGO, "batch_size"}),
    identity=("instance_id", "db_name", "collection_name"),
    starts_disabled=True,
)
KINDS = {
    "OBS": Kind(
        invalid="FSS.1106",
        missing="FSS.1136",
        exists=(409, "FSS.1145"),
        required=frozenset({"bucket", "events"}),
        identity=("bucket",),
        can_be_disabled=False,
    ),
    "SMN": Kind(
        invalid="FSS.1102",
        missing="FSS.1132",
        exists=(409, "FSS.1141"),
        required=frozenset({"topic_urn"}),
        identity=("topic_urn",),
        can_be_disabled=False,
        other={"topic_urn": f"urn:smn:{REGION}:{PROJECT_ID}:another"},
    ),
    "KAFKA": _kafka("instance_id", identity=("instance_id",)),
    "OPENSOURCEKAFKA": _kafka("kafka_connect_address"),
    "RABBITMQ": Kind(
        required=frozenset({"instance_id", "exchange_name", "access_password", "batch_size"}),
        identity=("instance_id", "exchange_name", "vhost"),
        starts_disabled=True,
    ),
    "ROCKETMQ": Kind(
        required=frozenset({"instance_id", "topic_ids", "batch_size"}),
        identity=("instance_id",),
        starts_disabled=True,
    ),
    "CTS": Kind(
        invalid="FSS.1305",
        exists=(400, "FSS.1307"),
        required=frozenset({"name", "operations"}),
        identity=(),
        if_missing={"name": "FSS.1312", "operations": "FSS.1314"},
    ),
    "LTS": Kind(
        invalid="FSS.1110",
        missing="FSS.1160",
        exists=(409, "FSS.1149"),
        required=frozenset({"log_group_id", "log_topic_id"}),
        identity=("log_group_id", "log_topic_id"),
    ),
    "EVENTGRID": Kind(
        required=frozenset({"channel_id", "channel_name", "source_name", "event_types", "trigger_name", "agency"}),
        identity=("channel_id", "source_name", "trigger_name", "bucket"),
    ),
    "DDS": _MONGO_KIND,
    "GAUSSMONGO": _MONGO_KIND,
    "DIS": Kind(
        invalid="FSS.1104",
        missing="FSS.1134",
        exists=(409, "FSS.1143"),
        required=frozenset({"stream_name", "sharditerator_type", "polling_interval", "polling_unit", "is_serial"}),
        identity=("stream_name",),
    ),
    "DMS": Kind(
        invalid="FSS.1103",
        missing="FSS.1133",
        exists=(409, "FSS.1142"),
        required=frozenset({"queue_id", "consumer_group_id", "polling_interval"}),
        identity=("queue_id", "consumer_group_id"),
    ),
    "IOTDA": Kind(
        required=frozenset({"instance_id", "resource", "event"}),
        identity=("instance_id", "resource", "event", "app_id"),
        other={"resource": "device.message", "event": "update"},
    ),
    "DYNAMODB": Kind(
        required=frozenset({"instance_id", "table_name", "batch_size"}),
        identity=("instance_id", "table_name"),
        starts_disabled=True,
    ),
}
LONG = {
    "OBS": {"bucket": 64, "prefix": 1024, "suffix": 1024},
    "CTS": {"name": 64},
    "EVENTGRID": {"trigger_name": 64, "bucket": 64},
    "LTS": {"log_group_id": 128, "log_group_name": 255},
    "RABBITMQ": {"exchange_name": 255, "vhost": 255},
    "DYNAMODB": {"table_name": 255},
}


def _refused(code: str, *changes: dict) -> list[tuple[dict, tuple[int, str]]]:
    return [(change, (400, code)) for change in changes]


_BATCHES = ({"batch_size": 0}, {"batch_size": 1001}, {"batch_size": "10"}, {"batch_size": True}, {"batch_size": 1.5})
_LISTS = ({"topic_ids": []}, {"topic_ids": "a"}, {"topic_ids": [5]}, {"topic_ids": ["a", "a"]}, {"topic_ids": [""]})
_KAFKA_ROWS = [
    *_refused("FSS.1112", *_BATCHES, *_LISTS, {"topic_ids": [str(n) for n in range(101)]}),
    *_refused("FSS.1112", {"kafka_ssl_enable": "yes"}, {"kafka_connect_address": "nowhere"}, {"is_serial": "yes"}),
    *_refused("FSS.1113", {"kafka_user": ...}, {"kafka_password": ...}, {"kafka_password": ""}),
]
_MONGO_ROWS = _refused(
    "FSS.1164",
    *({"db_name": name} for name in ("admin", "local", "config", "", "x" * 65)),
    {"collection_name": ""},
    {"db_password": ""},
    {"instance_id": ""},
    {"batch_size": 0},
    {"batch_size": 10_001},
)
BAD = {
    "OBS": _refused(
        "FSS.1106",
        {"bucket": ""},
        {"events": []},
        {"events": "Put"},
        {"events": ["Rename"]},
        {"events": ["s3:ObjectCreated:Delete"]},
        {"events": ["Put", "Put"]},
        {"events": ["ObjectCreated", "Put"]},
        {"events": ["s3:ObjectCreated:Put", "Put"]},
        {"events": ["s3:ObjectRemoved:*", "DeleteMarkerCreated"]},
        {"prefix": 5},
        {"name": "x" * 256},
    ),
    "SMN": [
        *_refused("FSS.1102", {"topic_urn": ""}, {"topic_urn": "orders"}, {"topic_urn": "urn:smn:x:y:z:" + "x" * 255}),
        ({"topic_urn": f"urn:smn:{REGION}:{PROJECT_ID}:nothing"}, (404, "FSS.1171")),
        ({"topic_urn": f"urn:smn:elsewhere:{PROJECT_ID}:orders-topic"}, (404, "FSS.1171")),
        ({"topic_urn": f"urn:smn:{REGION}:{'f' * 32}:orders-topic"}, (404, "FSS.1171")),
    ],
    "KAFKA": [*_KAFKA_ROWS, *_refused("FSS.1112", {"instance_id": ""}, {"instance_id": "x" * 129})],
    "OPENSOURCEKAFKA": [
        *_KAFKA_ROWS,
        *_refused("FSS.1112", {"kafka_connect_address": ""}, {"kafka_connect_address": "a:1,,b:2"}),
    ],
    "RABBITMQ": _refused(
        "FSS.0400", *_BATCHES, {"exchange_name": ""}, {"access_password": ""}, {"ssl_enable": "true"}, {"vhost": 1}
    ),
    "ROCKETMQ": _refused(
        "FSS.0400", *_BATCHES, *_LISTS, {"enable_acl": 1}, {"access_key": ...}, {"secret_key": ...}, {"secret_key": ""}
    ),
    "CTS": [
        *_refused("FSS.1305", {"name": 5}, {"operations": "a:b:c"}, {"operations": [5]}, {"operations": {"a": 1}}),
        *_refused(
            "FSS.1305", *({"operations": [text]} for text in ("", "a", "a:b", "a:b:c:d", "a::c", "a:b;:c", "::"))
        ),
        *_refused("FSS.1312", {"name": ""}),
        *_refused("FSS.1313", {"operations": [f"s:r:op{n}" for n in range(101)]}),
        *_refused("FSS.1313", {"operations": ["s:r:" + ";".join(f"op{n}" for n in range(101))]}),
        *_refused("FSS.1314", {"operations": []}),
        *_refused("FSS.1316", {"operations": ["a:b:c", "a:b:c"]}, {"operations": ["a:b:c;c"]}),
        *_refused("FSS.1316", {"operations": ["a:b;d:c", "a:d:e;c"]}),
        *_refused("FSS.1317", {"name": "x" * 65}),
        *_refused("FSS.1319", {"name": "a b"}, {"name": "a/b"}),
    ],
    "LTS": _refused("FSS.1110", {"log_group_id": ""}, {"log_topic_id": "x" * 129}, {"log_group_name": 5}),
    "EVENTGRID": _refused(
        "FSS.0400",
        {"event_types": []},
        {"event_types": "x"},
        {"event_types": ["a", "a"]},
        {"agency": ""},
        {"trigger_name": ""},
        {"Key_encode": "true"},
        {"channel_id": ""},
    ),
    "DDS": _MONGO_ROWS,
    "GAUSSMONGO": _MONGO_ROWS,
    "DIS": [
        *_refused(
            "FSS.1104",
            {"sharditerator_type": "OLDEST"},
            {"polling_interval": 0},
            {"polling_interval": 61},
            {"polling_interval": 1, "polling_unit": "ms"},
            {"polling_interval": 60_001, "polling_unit": "ms"},
            {"polling_unit": "m"},
            {"polling_interval": "30"},
            {"max_fetch_bytes": 1023},
            {"max_fetch_bytes": 4_194_305},
            {"is_serial": "yes"},
            {"is_serial": 1},
            {"batch_size": 0},
            {"batch_size": 10_001},
        ),
        ({"stream_name": "nothing"}, (404, "FSS.1130")),
    ],
    "DMS": _refused(
        "FSS.1103", {"queue_id": ""}, {"consumer_group_id": ""}, {"polling_interval": 0}, {"polling_interval": 61}
    ),
    "IOTDA": _refused(
        "FSS.0400",
        {"resource": "toaster"},
        {"event": "delete"},
        {"app_type": "LOCAL"},
        {"app_id": ...},
        {"app_id": ""},
        {"instance_id": ""},
    ),
    "DYNAMODB": _refused("FSS.0400", *_BATCHES, {"table_name": ""}, {"sharditerator_type": "NOW"}),
}
"""Changes of sound data that are refused, and how; `...` leaves a member out."""
