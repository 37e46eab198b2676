"""A kind of trigger whose rules are a table: which members, which of them name the source, which are secret.

Each kind is a `SourceType` in a module of its own; `catalogue.py` lists them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from funclet.model.errors import ModelError
from funclet.model.trigger import Trigger
from funclet.triggers import fields
from funclet.triggers.fields import Field
from funclet.triggers.protocol import Circumstances, EventData, Sources, Traits


def _nothing_more(_data: EventData) -> None:
    """Find no fault."""


def _anything(_data: EventData, _sources: Sources) -> None:
    """Take any source: it cannot be looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceType:
    """The rules of one kind, as a `TriggerType`."""

    traits: Traits
    fields: Sequence[Field]
    identity: tuple[str, ...]
    """Members that name the source: they never change."""
    unique_by: tuple[str, ...]
    """Members that no two triggers of a version have all alike."""
    exists_code: str
    """Error code if there is such a trigger already."""
    check_more: Callable[[EventData], None] = _nothing_more
    """Looks at what fields cannot say; raises `ModelError`."""
    find_source: Callable[[EventData, Sources], None] = _anything
    """Looks for the source itself; raises `ModelError` if it is missing."""

    def check(self, event_data: EventData, circumstances: Circumstances) -> None:
        """Refuse data that is not what the table says, and a source that does not exist.

        Raises:
            ModelError: the invalid code of the kind, or a more telling one.
        """
        fields.check(self.fields, event_data, self.traits.invalid_code)
        self.check_more(event_data)
        self.find_source(event_data, circumstances.sources)

    def check_change(self, old: EventData, new: EventData) -> None:
        """Refuse another source.

        Raises:
            ModelError: the invalid code of the kind.
        """
        for member in self.identity:
            if old.get(member) != new.get(member):
                raise ModelError(
                    self.traits.invalid_code,
                    f"event_data.{member} cannot be changed; delete the trigger and create another.",
                )

    def check_rivals(self, trigger: Trigger, rivals: Sequence[Trigger]) -> None:
        """Refuse a second trigger of a version or alias on the same source.

        Raises:
            ModelError: the "exists already" code of the kind.
        """
        mine = self._key(trigger)
        for rival in rivals:
            is_same_place = rival.type_code == trigger.type_code and rival.function_urn == trigger.function_urn
            if is_same_place and rival.trigger_id != trigger.trigger_id and self._key(rival) == mine:
                named = ", ".join(f"{name} '{str(trigger.event_data.get(name))[:80]}'" for name in self.unique_by)
                raise ModelError(
                    self.exists_code, f"{trigger.function_urn} has a {trigger.type_code} trigger for {named} already."
                )

    def complete(self, trigger: Trigger) -> Trigger:
        """Add nothing: clients compare the data with what they sent."""
        return trigger

    def shown(self, trigger: Trigger) -> EventData:
        """Return the data as it was sent."""
        return trigger.event_data

    def _key(self, trigger: Trigger) -> list[Any]:
        values = [trigger.event_data.get(name) for name in self.unique_by]
        return [sorted(value) if isinstance(value, list) else value for value in values]


def not_connected(source: str) -> str:
    """Return why triggers of a kind do not fire, as clients are shown it."""
    return f"This server does not listen to {source} yet: the trigger is kept, but it does not fire."
