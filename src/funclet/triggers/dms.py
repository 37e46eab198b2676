"""DMS triggers: messages of a queue of the old kind, for one of its consumer groups."""

from funclet.triggers.fields import IS_SERIAL, Number, Text
from funclet.triggers.protocol import Traits
from funclet.triggers.source import SourceType, not_connected

DMS = SourceType(
    traits=Traits(
        code="DMS",
        invalid_code="FSS.1103",
        missing_code="FSS.1133",
        can_be_disabled=True,
        unconnected=not_connected("DMS queues"),
    ),
    fields=(
        Text("queue_id", required=True, most=128),
        Text("consumer_group_id", required=True, most=128),
        Number("polling_interval", 1, 60, required=True),
        IS_SERIAL,
    ),
    identity=("queue_id", "consumer_group_id"),
    unique_by=("queue_id", "consumer_group_id"),
    exists_code="FSS.1142",
)
