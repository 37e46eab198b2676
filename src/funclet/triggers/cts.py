"""CTS triggers: operations that the audit trail notes. Each fault has a code of its own."""

import re
from collections.abc import Sequence
from typing import Any

from funclet.model.errors import ModelError
from funclet.model.trigger import Trigger
from funclet.triggers.protocol import MISSING, Circumstances, EventData, Quota, Traits
from funclet.triggers.source import not_connected

CODE = "CTS"
MAX_PER_PROJECT = 10
MAX_NAME_LENGTH = 64
MAX_OPERATIONS = 100
_INVALID = "FSS.1305"
_NAME = re.compile(r"[\w-]+")
_WORD = r"[^:;\s]{1,128}"
_OPERATION = re.compile(rf"{_WORD}:{_WORD}(;{_WORD})*:{_WORD}(;{_WORD})*")
_EXAMPLE = "such as FunctionGraph:Functions;Triggers:createFunction;deleteFunction"


class CtsType:
    """CTS triggers."""

    # The code for a missing one of this kind has status 400, where clients that wait for its end need 404.
    traits = Traits(
        code=CODE,
        invalid_code=_INVALID,
        missing_code=MISSING,
        can_be_disabled=True,
        unconnected=not_connected("the audit trail"),
        rival_codes=(CODE,),
        quota=Quota((CODE,), MAX_PER_PROJECT, "FSS.1306"),
    )

    def check(self, event_data: EventData, circumstances: Circumstances) -> None:  # noqa: ARG002 - as in `TriggerType`
        """Refuse a wrong name, and operations that are missing, wrong, too many, or named twice.

        Raises:
            ModelError: FSS.1305, FSS.1312, FSS.1313, FSS.1314, FSS.1316, FSS.1317, FSS.1319.
        """
        _check_name(event_data.get("name"))
        _check_operations(event_data.get("operations"))

    def check_change(self, old: EventData, new: EventData) -> None:
        """Allow every change."""

    def check_rivals(self, trigger: Trigger, rivals: Sequence[Trigger]) -> None:
        """Refuse a second notification of one name in a project.

        Raises:
            ModelError: FSS.1307.
        """
        name = trigger.event_data["name"]
        for rival in rivals:
            is_other = rival.project_id == trigger.project_id and rival.trigger_id != trigger.trigger_id
            if is_other and rival.event_data.get("name") == name:
                raise ModelError("FSS.1307", f"A CTS trigger of the project is called '{name}' already.")

    def complete(self, trigger: Trigger) -> Trigger:
        """Add nothing: clients compare the data with what they sent."""
        return trigger

    def shown(self, trigger: Trigger) -> EventData:
        """Return the data as it was sent."""
        return trigger.event_data


def _check_name(name: Any) -> None:
    if name in (None, ""):
        raise ModelError("FSS.1312", "event_data.name is missing.")
    if not isinstance(name, str):
        raise ModelError(_INVALID, "event_data.name must be a text.")
    if len(name) > MAX_NAME_LENGTH:
        raise ModelError("FSS.1317", f"event_data.name is longer than {MAX_NAME_LENGTH} characters.")
    if not _NAME.fullmatch(name):
        raise ModelError("FSS.1319", f"event_data.name '{name}' is invalid: letters, digits, '-' and '_' are allowed.")


def _check_operations(operations: Any) -> None:
    if operations in (None, []):
        raise ModelError("FSS.1314", f"event_data.operations is missing: an array of texts {_EXAMPLE}.")
    if not isinstance(operations, list):
        raise ModelError(_INVALID, f"event_data.operations must be an array of texts {_EXAMPLE}.")
    if len(operations) > MAX_OPERATIONS:
        raise _too_many()
    for operation in operations:
        if not isinstance(operation, str) or not _OPERATION.fullmatch(operation):
            raise ModelError(_INVALID, f"event_data.operations holds '{str(operation)[:80]}': use texts {_EXAMPLE}.")
    single = [one for operation in operations for one in _singles(operation)]
    if len(single) != len(set(single)):
        raise ModelError("FSS.1316", "event_data.operations names an operation twice.")
    # An operation counts once, for however many resources.
    if len({(service, name) for service, _, name in single}) > MAX_OPERATIONS:
        raise _too_many()


def _singles(operation: str) -> list[tuple[str, str, str]]:
    service, resources, names = operation.split(":")
    return [(service, resource, name) for resource in resources.split(";") for name in names.split(";")]


def _too_many() -> ModelError:
    return ModelError("FSS.1313", f"event_data.operations has more than {MAX_OPERATIONS} operations.")
