"""Timers: the rules of their data, and the event that one firing carries. `host.py` fires them."""

import json
import re
import uuid
from collections.abc import Sequence

from funclet.model import schedule
from funclet.model.errors import ModelError
from funclet.model.invocation import Submission
from funclet.model.schedule import Schedule
from funclet.model.trigger import Trigger
from funclet.triggers.protocol import Circumstances, EventData, Traits, text_member

CODE = "TIMER"
MAX_USER_EVENT_BYTES = 4096
# Newer samples of the vendor are said to print v2.0; all that were read print the first.
EVENT_VERSIONS = ("v1.0", "v2.0")

_INVALID = "FSS.1109"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class TimerType:
    """TIMER triggers: a rate or a cron schedule."""

    traits = Traits(
        code=CODE,
        invalid_code=_INVALID,
        missing_code="FSS.1140",
        can_be_disabled=True,
        is_pull=True,
        phase_members=("schedule_type", "schedule"),
    )

    def __init__(self, *, default_zone: str) -> None:
        self._default_zone = default_zone

    def check(self, event_data: EventData, circumstances: Circumstances) -> None:
        """Refuse a wrong name, a schedule that cannot be read or never comes, a user event that is too large.

        Raises:
            ModelError: FSS.1109.
        """
        name = text_member(event_data, "name", _INVALID)
        if not _NAME.fullmatch(name):
            raise ModelError(
                _INVALID,
                f"event_data.name '{name[:80]}' is invalid: 1 to 64 letters, digits, '-' or '_', first a letter.",
            )
        user_event = text_member(event_data, "user_event", _INVALID, default="", most=MAX_USER_EVENT_BYTES)
        if len(user_event.encode()) > MAX_USER_EVENT_BYTES:
            raise ModelError(_INVALID, f"event_data.user_event is larger than {MAX_USER_EVENT_BYTES} bytes.")
        if not isinstance(event_data.get("sync_execution", False), bool):
            raise ModelError(_INVALID, "event_data.sync_execution must be true or false.")
        timetable = parse_schedule(event_data, default_zone=self._default_zone)
        if schedule.next_after(timetable, circumstances.now) is None:
            raise ModelError(_INVALID, f"schedule '{event_data['schedule']}' is invalid: it never fires.")

    def check_change(self, old: EventData, new: EventData) -> None:
        """Allow every change."""

    def check_rivals(self, trigger: Trigger, rivals: Sequence[Trigger]) -> None:
        """Refuse a second timer of one name on a version or alias.

        Raises:
            ModelError: FSS.1148.
        """
        name = trigger.event_data["name"]
        for rival in rivals:
            is_same_place = rival.type_code == CODE and rival.function_urn == trigger.function_urn
            if is_same_place and rival.trigger_id != trigger.trigger_id and rival.event_data.get("name") == name:
                raise ModelError("FSS.1148", f"The timer '{name}' exists already on {trigger.function_urn}.")

    def complete(self, trigger: Trigger) -> Trigger:
        """Add nothing: clients compare the data with what they sent."""
        return trigger

    def shown(self, trigger: Trigger) -> EventData:
        """Return the data as it was sent."""
        return trigger.event_data


def parse_schedule(event_data: EventData, *, default_zone: str) -> Schedule:
    """Return the schedule of a timer.

    Raises:
        ModelError: FSS.1109.
    """
    return schedule.parse(
        text_member(event_data, "schedule_type", _INVALID),
        text_member(event_data, "schedule", _INVALID),
        default_zone=default_zone,
    )


def build_event(trigger: Trigger, timetable: Schedule, due: float, *, version: str) -> bytes:
    """Return the event of the firing that was due at `due`, seconds since the epoch, as JSON text."""
    event = {
        "version": version,
        "time": schedule.local_text(timetable, due),
        "trigger_type": CODE,
        "trigger_name": trigger.event_data["name"],
        "user_event": trigger.event_data.get("user_event", ""),
    }
    return json.dumps(event, ensure_ascii=False).encode()


def request_id(trigger: Trigger, due: float) -> str:
    """Return the request id of a firing: it depends on trigger and due time only, so the queue takes none twice."""
    return str(uuid.uuid5(uuid.UUID(trigger.trigger_id), str(int(due))))


def build_submission(trigger: Trigger, timetable: Schedule, due: float, *, now: float, version: str) -> Submission:
    """Return what is queued for the firing that was due at `due`; its event says `version`."""
    return Submission(
        request_id=request_id(trigger, due),
        project_id=trigger.project_id,
        function_id=trigger.function_id,
        urn=trigger.function_urn,
        payload=build_event(trigger, timetable, due, version=version),
        accepted_at=now,
        source=trigger.trigger_id,
    )
