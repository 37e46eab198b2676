"""LTS triggers: lines of a log stream."""

from funclet.triggers.fields import Text
from funclet.triggers.protocol import Traits
from funclet.triggers.source import SourceType, not_connected

LTS = SourceType(
    traits=Traits(
        code="LTS",
        invalid_code="FSS.1110",
        missing_code="FSS.1160",
        can_be_disabled=True,
        is_pull=True,
        unconnected=not_connected("log streams"),
    ),
    fields=(
        Text("log_group_id", required=True, most=128),
        Text("log_topic_id", required=True, most=128),
        Text("log_group_name", least=0, most=255),
        Text("log_topic_name", least=0, most=255),
    ),
    identity=("log_group_id", "log_topic_id"),
    unique_by=("log_group_id", "log_topic_id"),
    exists_code="FSS.1149",
)
