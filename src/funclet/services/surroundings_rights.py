"""Whether the agency of a function allows the network and the file systems that the function names.

Asked only where agencies must exist. Start with `SurroundingsRights.check`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from funclet.base.clock import Clock, utc_text
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import FUNCTION_SERVICE, Principal
from funclet.model.policy import TIME_KEY, USER_KEY, Access
from funclet.services.permissions import principal_of_claims
from funclet.services.temporary import Claims
from funclet.store.protocol import Tx

# What the cloud does for a function in the name of its agency, and the member that names the resource.
_OF_NETWORK = (
    ("vpc:ports:get", ""),
    ("vpc:ports:create", ""),
    ("vpc:ports:delete", ""),
    ("vpc:vpcs:get", "vpc_id"),
    ("vpc:subnets:get", "subnet_id"),
)
_MEMBERS = ("xrole", "func_vpc", "mount_config")
_OF_MOUNT = {
    "sfs": (),
    "sfsTurbo": ("sfsturbo:shares:getShare", "sfsturbo:shares:showFsDir"),
    "ecs": ("ecs:cloudServers:get",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Need:
    """Something that the agency must allow."""

    action: str
    name: str
    """Of the resource; empty if there is none."""
    code: str
    """Of the refusal."""
    what: str
    """What needs it."""


class SurroundingsRights:
    """Holds the network and the mounts of functions against what their agencies may do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def check(self, tx: Tx, version: FunctionVersion, old: Mapping[str, Any]) -> None:
        """Refuse a network or a mount that the agency (`xrole`) does not allow. What a function has, it may keep.

        Args:
            tx: to look the agency up.
            version: as it is to be.
            old: the settings without own meaning as they were; empty for a new function.

        Raises:
            ModelError: FSS.1121 if the agency is not there now; FSS.1122 for the network and FSS.1040 for a mount, with
                the action that is missing.
        """
        new = version.settings.echoed
        needs = [] if all(new.get(name) == old.get(name) for name in _MEMBERS) else list(_needs(new))
        if not needs or not new.get("xrole"):
            return
        agency = self._agency(tx, version)
        for need in needs:
            if not self._allows(agency, need, version.region):
                of_what = f" on '{need.name[:80]}'" if need.name else ""
                raise ModelError(
                    need.code,
                    f"The agency '{agency.user.name}' is not authorized to perform {need.action}{of_what}, "
                    f"which {need.what} needs; grant it a policy: fgs iam policy grant.",
                )

    def _agency(self, tx: Tx, version: FunctionVersion) -> Principal:
        name, now = str(version.settings.echoed["xrole"]), self._clock.now()
        claims = Claims(
            project_id=version.project_id, agency=name, trusted=FUNCTION_SERVICE, issued_at=now, expires_at=now
        )
        agency = principal_of_claims(tx, claims, now=now)
        if agency is None:
            raise ModelError(
                "FSS.1121", f"The agency '{name[:64]}' does not exist any more, or functions get no keys of it now."
            )
        return agency

    def _allows(self, agency: Principal, need: _Need, region: str) -> bool:
        service, kind, _ = need.action.split(":")
        resource = f"{service.upper()}:{region}:{agency.project.domain_id}:{kind}:{need.name}"
        context = {TIME_KEY: utc_text(self._clock.now()), USER_KEY: agency.user.name}
        access = Access(actions=(need.action,), resources=(resource,) if need.name else (), context=context)
        return agency.grants.allows(access)


def _needs(settings: Mapping[str, Any]) -> Iterator[_Need]:
    """Yield what the agency of a function with these settings must allow."""
    vpc = settings.get("func_vpc") or {}
    for action, member in _OF_NETWORK if vpc else ():
        name = str(vpc[member]) if member else ""
        yield _Need(action=action, name=name, code="FSS.1122", what="the network of the function (func_vpc)")
    for mount in (settings.get("mount_config") or {}).get("func_mounts", ()):
        kind = mount["mount_type"]
        for action in _OF_MOUNT[kind]:
            yield _Need(action=action, name=mount["mount_resource"], code="FSS.1040", what=f"a mount of type {kind}")
