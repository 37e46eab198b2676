"""Whether a destination may be set: by whoever sets it, or for the agency of the function. Start with `check`.

It is asked when a destination is set, not when something is sent there.
"""

from collections.abc import Callable, Iterable

from funclet.model.async_config import DestinationConfig
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import FUNCTION_SERVICE, Principal
from funclet.services.permissions import principal_of_claims
from funclet.services.temporary import Claims
from funclet.store.protocol import Tx

May = Callable[[Principal, str, str], bool]
"""Tells whether somebody may do an action on the resource of that name."""

_NEEDS = {
    "FunctionGraph": ("functiongraph:function:invokeAsync", "func_urn"),
    "OBS": ("obs:object:PutObject", "bucket"),
    "SMN": ("smn:topic:publish", "topic_urn"),
    "DIS": ("dis:streams:send", "stream_name"),
}
"""By kind: what sending is, and the member that names the target."""


def check(
    tx: Tx, version: FunctionVersion, wanted: Iterable[DestinationConfig], caller: Principal, may: May, *, now: float
) -> None:
    """Refuse destinations that neither the caller nor the agency of the function may send to.

    Args:
        tx: to look the agency up.
        version: whose outcomes are to be sent.
        wanted: the destinations, their members checked.
        caller: who sets them.
        may: decides.
        now: seconds since the epoch.

    Raises:
        ModelError: FSS.0403, with the action that is missing.
    """
    for destination in wanted:
        action, member = _NEEDS[destination.kind]
        name = str(destination.members[member])
        if member == "func_urn":
            name = "/".join(name.split(":")[5:7])
        if may(caller, action, name):
            continue
        agency = _agency(tx, version, now)
        if agency is None or not may(agency, action, name):
            raise ModelError(
                "FSS.0403",
                f"'{caller.user.name}' is not authorized to perform {action} on '{name}', "
                "nor is the agency of the function (xrole): it cannot be a destination.",
            )


def _agency(tx: Tx, version: FunctionVersion, now: float) -> Principal | None:
    """Return the agency of a function as a caller; None if it has none that may act for functions now."""
    name = version.settings.echoed.get("xrole")
    if not name:
        return None
    claims = Claims(
        project_id=version.project_id, agency=str(name), trusted=FUNCTION_SERVICE, issued_at=now, expires_at=now
    )
    return principal_of_claims(tx, claims, now=now)
