"""Whether an object that a destination writes starts the function whose outcome it is. Start with `check`."""

from collections.abc import Iterable

from funclet.model.async_config import DestinationConfig
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.trigger import Trigger
from funclet.store.protocol import Tx
from funclet.triggers import obs

_WRITTEN = "Put"
_ENDS = ("-success.json", "-failure.json")


def check(tx: Tx, version: FunctionVersion, wanted: Iterable[DestinationConfig]) -> None:
    """Refuse a bucket and prefix whose objects start the same function, over and over again.

    Raises:
        ModelError: FSS.0400, naming the trigger.
    """
    for destination in wanted:
        if destination.kind != "OBS":
            continue
        for trigger in tx.triggers.of_function(version.function_id):
            if trigger.type_code == obs.CODE and _starts(trigger, destination, version.name):
                bucket = destination.members["bucket"]
                raise ModelError(
                    "FSS.0400",
                    f"Objects below this prefix of bucket '{bucket}' start the function again "
                    f"(OBS trigger {trigger.trigger_id}): choose another bucket or prefix.",
                )


def _starts(trigger: Trigger, destination: DestinationConfig, function_name: str) -> bool:
    data, members = trigger.event_data, destination.members
    if data["bucket"] != members["bucket"] or not any(_WRITTEN in obs.MEANINGS[event] for event in data["events"]):
        return False
    prefix = str(members.get("prefix", "")).strip("/")
    start = f"{prefix}/{function_name}/" if prefix else f"{function_name}/"
    wanted, ending = data.get("prefix") or "", data.get("suffix") or ""
    is_start = start.startswith(wanted) or wanted.startswith(start)
    return is_start and any(end.endswith(ending) or ending.endswith(end) for end in _ENDS)
