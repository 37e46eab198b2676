"""DYNAMODB triggers: the changes of a table."""

from funclet.triggers.fields import INSTANCE, IS_SERIAL, Text, batch_size
from funclet.triggers.protocol import EXISTS, INVALID, MISSING, Traits
from funclet.triggers.source import SourceType, not_connected

DYNAMODB = SourceType(
    traits=Traits(
        code="DYNAMODB",
        invalid_code=INVALID,
        missing_code=MISSING,
        can_be_disabled=True,
        starts_disabled=True,
        unconnected=not_connected("DynamoDB tables"),
    ),
    fields=(
        INSTANCE,
        Text("table_name", required=True, most=255),
        batch_size(1000),
        Text("sharditerator_type", choices=("TRIM_HORIZON", "LATEST")),
        IS_SERIAL,
    ),
    identity=("instance_id", "table_name"),
    unique_by=("instance_id", "table_name"),
    exists_code=EXISTS,
)
