"""EVENTGRID triggers: events of a channel."""

from funclet.triggers.fields import Flag, Text, Texts
from funclet.triggers.protocol import EXISTS, INVALID, MISSING, Traits
from funclet.triggers.source import SourceType, not_connected

EVENTGRID = SourceType(
    traits=Traits(
        code="EVENTGRID",
        invalid_code=INVALID,
        missing_code=MISSING,
        can_be_disabled=True,
        unconnected=not_connected("event channels"),
    ),
    fields=(
        Text("channel_id", required=True, most=128),
        Text("channel_name", required=True, most=128),
        Text("source_name", required=True, most=128),
        Texts("event_types", required=True),
        Text("trigger_name", required=True, most=64),
        Text("agency", required=True, most=64),
        Text("bucket", least=0, most=64),
        Flag("Key_encode"),
        Text("prefix", least=0),
        Text("suffix", least=0),
    ),
    identity=("channel_id", "source_name", "trigger_name", "bucket"),
    unique_by=("trigger_name",),
    exists_code=EXISTS,
)
