"""SMN triggers: messages of a topic."""

from funclet.model.errors import ModelError
from funclet.model.messaging import parse_topic_urn
from funclet.triggers.fields import Text
from funclet.triggers.protocol import EventData, Sources, Traits
from funclet.triggers.source import SourceType, not_connected

_INVALID = "FSS.1102"


def _check_urn(data: EventData) -> None:
    try:
        parse_topic_urn(data["topic_urn"])
    except ModelError as error:
        raise ModelError(
            _INVALID, "event_data.topic_urn is invalid: it looks like urn:smn:REGION:PROJECT_ID:TOPIC."
        ) from error


def _find_topic(data: EventData, sources: Sources) -> None:
    if not sources.has_topic(data["topic_urn"]):
        raise ModelError("FSS.1171", f"The topic '{data['topic_urn']}' does not exist; create it first.")


SMN = SourceType(
    traits=Traits(
        code="SMN",
        invalid_code=_INVALID,
        missing_code="FSS.1132",
        can_be_disabled=False,
        unconnected=not_connected("topics"),
    ),
    fields=(Text("topic_urn", required=True, most=255),),
    identity=("topic_urn",),
    unique_by=("topic_urn",),
    exists_code="FSS.1141",
    check_more=_check_urn,
    find_source=_find_topic,
)
