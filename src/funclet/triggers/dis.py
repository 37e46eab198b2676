"""DIS triggers: records of a stream."""

from funclet.model.errors import ModelError
from funclet.triggers.fields import Flag, Number, Text
from funclet.triggers.protocol import EventData, Sources, Traits
from funclet.triggers.source import SourceType, not_connected

_INVALID = "FSS.1104"
# What an interval may be depends on its unit.
_INTERVALS = {"s": Number("polling_interval", 1, 60), "ms": Number("polling_interval", 2, 60_000)}


def _check_interval(data: EventData) -> None:
    unit = data["polling_unit"]
    problem = _INTERVALS[unit].problem(data["polling_interval"])
    if problem:
        raise ModelError(_INVALID, f"event_data.polling_interval {problem} with polling_unit '{unit}'.")


def _find_stream(data: EventData, sources: Sources) -> None:
    if not sources.has_stream(data["stream_name"]):
        raise ModelError("FSS.1130", f"The stream '{data['stream_name'][:80]}' does not exist; create it first.")


DIS = SourceType(
    traits=Traits(
        code="DIS",
        invalid_code=_INVALID,
        missing_code="FSS.1134",
        can_be_disabled=True,
        is_pull=True,
        unconnected=not_connected("streams"),
    ),
    fields=(
        Text("stream_name", required=True, most=64),
        Text("sharditerator_type", required=True, choices=("TRIM_HORIZON", "LATEST")),
        Number("polling_interval", 1, 60_000, required=True),
        Text("polling_unit", required=True, choices=tuple(_INTERVALS)),
        Number("max_fetch_bytes", 1024, 4 * 1024 * 1024),
        Flag("is_serial", required=True, takes_text=True),
        Number("batch_size", 1, 10_000),
    ),
    identity=("stream_name",),
    unique_by=("stream_name",),
    exists_code="FSS.1143",
    check_more=_check_interval,
    find_source=_find_stream,
)
