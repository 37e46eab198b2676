"""OBS triggers: objects of a bucket that are written or deleted."""

from collections.abc import Sequence

from funclet.model.errors import ModelError
from funclet.model.trigger import Trigger
from funclet.triggers import fields
from funclet.triggers.fields import Text, Texts
from funclet.triggers.protocol import Circumstances, EventData, Traits
from funclet.triggers.source import not_connected

CODE = "OBS"
_INVALID = "FSS.1106"
_GROUPS = {
    "ObjectCreated": ("Put", "Post", "Copy", "CompleteMultipartUpload"),
    "ObjectRemoved": ("Delete", "DeleteMarkerCreated"),
}
_SINGLES = {name: {name} for names in _GROUPS.values() for name in names}
_PREFIXED = {f"s3:{group}:{name}": {name} for group, names in _GROUPS.items() for name in names}
_WHOLE = {group: set(names) for group, names in _GROUPS.items()}
MEANINGS = {**_SINGLES, **_PREFIXED, **_WHOLE, **{f"s3:{group}:*": names for group, names in _WHOLE.items()}}
"""What each name of an event stands for, in short names."""
_FIELDS = (
    Text("bucket", required=True, most=64),
    Texts("events", required=True, choices=tuple(MEANINGS)),
    Text("name", least=0, most=255),
    Text("prefix", least=0),
    Text("suffix", least=0),
)


class ObsType:
    """OBS triggers."""

    traits = Traits(
        code=CODE,
        invalid_code=_INVALID,
        missing_code="FSS.1136",
        can_be_disabled=False,
        unconnected=not_connected("buckets"),
        rival_codes=(CODE,),
    )

    def check(self, event_data: EventData, circumstances: Circumstances) -> None:  # noqa: ARG002 - as in `TriggerType`
        """Refuse wrong members, and events of which one stands for another.

        Raises:
            ModelError: FSS.1106.
        """
        fields.check(_FIELDS, event_data, _INVALID)
        seen: set[str] = set()
        for event in event_data["events"]:
            if seen & MEANINGS[event]:
                raise ModelError(_INVALID, f"event_data.events names '{event}' besides what it stands for.")
            seen |= MEANINGS[event]

    def check_change(self, old: EventData, new: EventData) -> None:
        """Refuse another bucket.

        Raises:
            ModelError: FSS.1106.
        """
        if old["bucket"] != new["bucket"]:
            raise ModelError(_INVALID, "event_data.bucket cannot be changed; delete the trigger and create another.")

    def check_rivals(self, trigger: Trigger, rivals: Sequence[Trigger]) -> None:
        """Refuse what would see events of another trigger of the project.

        Raises:
            ModelError: FSS.1145 for the same again on one version or alias, FSS.1108 for everything else that overlaps.
        """
        for rival in rivals:
            if rival.trigger_id == trigger.trigger_id or rival.project_id != trigger.project_id:
                continue
            if rival.function_urn == trigger.function_urn and _rule(rival) == _rule(trigger):
                raise ModelError("FSS.1145", f"{trigger.function_urn} has this OBS trigger already.")
            if _overlap(rival.event_data, trigger.event_data):
                raise ModelError(
                    "FSS.1108",
                    f"The OBS trigger {rival.trigger_id} of {rival.function_urn} gets the same events of bucket "
                    f"'{trigger.event_data['bucket']}': choose another prefix, suffix or other events.",
                )

    def complete(self, trigger: Trigger) -> Trigger:
        """Add nothing: clients compare the data with what they sent."""
        return trigger

    def shown(self, trigger: Trigger) -> EventData:
        """Return the data as it was sent."""
        return trigger.event_data


def _rule(trigger: Trigger) -> tuple[str, str, str, frozenset[str]]:
    data = trigger.event_data
    return data["bucket"], data.get("prefix") or "", data.get("suffix") or "", frozenset(_events(data))


def _events(data: EventData) -> set[str]:
    return set().union(*(MEANINGS[event] for event in data["events"]))


def _overlap(one: EventData, other: EventData) -> bool:
    """Tell whether one object may concern both."""
    if one["bucket"] != other["bucket"] or not _events(one) & _events(other):
        return False
    prefix, other_prefix = one.get("prefix") or "", other.get("prefix") or ""
    suffix, other_suffix = one.get("suffix") or "", other.get("suffix") or ""
    is_same_start = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
    return is_same_start and (suffix.endswith(other_suffix) or other_suffix.endswith(suffix))
