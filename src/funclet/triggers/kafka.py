"""Kafka triggers: KAFKA names an instance that the operator knows, OPENSOURCEKAFKA the addresses of its brokers."""

from funclet.model.errors import ModelError
from funclet.triggers.fields import INSTANCE, IS_SERIAL, TOPICS, Field, Flag, Text, batch_size
from funclet.triggers.protocol import EventData, Traits
from funclet.triggers.source import SourceType, not_connected

_INVALID, _MISSING, _EXISTS, _NEEDS_LOGIN = "FSS.1112", "FSS.1174", "FSS.1150", "FSS.1113"
_ADDRESS = r"[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}"
_ADDRESSES = rf"{_ADDRESS}(,{_ADDRESS})*"
_LOGIN: tuple[Field, ...] = (
    Flag("kafka_ssl_enable"),
    Text("kafka_user", least=0),
    Text("kafka_password", least=0),
    IS_SERIAL,
)


def _addresses(*, required: bool) -> Text:
    least = 1 if required else 0
    pattern = _ADDRESSES if required else f"({_ADDRESSES})?"
    return Text("kafka_connect_address", required, least, pattern=pattern, looks="it looks like host:9092,host:9092")


def _check_login(data: EventData) -> None:
    if data.get("kafka_ssl_enable") and not (data.get("kafka_user") and data.get("kafka_password")):
        raise ModelError(
            _NEEDS_LOGIN, "event_data.kafka_user and event_data.kafka_password are needed with kafka_ssl_enable."
        )


def _traits(code: str, *, is_pull: bool) -> Traits:
    return Traits(
        code=code,
        invalid_code=_INVALID,
        missing_code=_MISSING,
        can_be_disabled=True,
        is_pull=is_pull,
        is_gateway=False,
        starts_disabled=True,
        secrets=("kafka_password",),
        unconnected=not_connected("Kafka"),
    )


KAFKA = SourceType(
    traits=_traits("KAFKA", is_pull=True),
    fields=(INSTANCE, TOPICS, batch_size(1000), _addresses(required=False), *_LOGIN),
    identity=("instance_id",),
    unique_by=("instance_id", "topic_ids"),
    exists_code=_EXISTS,
    check_more=_check_login,
)
OPENSOURCEKAFKA = SourceType(
    traits=_traits("OPENSOURCEKAFKA", is_pull=False),
    fields=(_addresses(required=True), TOPICS, batch_size(1000), *_LOGIN),
    identity=(),
    unique_by=("kafka_connect_address", "topic_ids"),
    exists_code=_EXISTS,
    check_more=_check_login,
)
