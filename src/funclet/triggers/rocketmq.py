"""ROCKETMQ triggers: topics of an instance."""

from funclet.model.errors import ModelError
from funclet.triggers.fields import INSTANCE, IS_SERIAL, TOPICS, Flag, Text, batch_size
from funclet.triggers.protocol import EXISTS, INVALID, MISSING, EventData, Traits
from funclet.triggers.source import SourceType, not_connected


def _check_access(data: EventData) -> None:
    if data.get("enable_acl") and not (data.get("access_key") and data.get("secret_key")):
        raise ModelError(INVALID, "event_data.access_key and event_data.secret_key are needed with enable_acl.")


ROCKETMQ = SourceType(
    traits=Traits(
        code="ROCKETMQ",
        invalid_code=INVALID,
        missing_code=MISSING,
        can_be_disabled=True,
        starts_disabled=True,
        secrets=("secret_key",),
        unconnected=not_connected("RocketMQ"),
    ),
    fields=(
        INSTANCE,
        TOPICS,
        batch_size(1000),
        Flag("enable_acl"),
        Text("access_key", least=0),
        Text("secret_key", least=0),
        IS_SERIAL,
    ),
    identity=("instance_id",),
    unique_by=("instance_id", "topic_ids"),
    exists_code=EXISTS,
    check_more=_check_access,
)
