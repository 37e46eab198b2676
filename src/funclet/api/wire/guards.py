"""What the body of a call needs beside the action of its operation. Start with `check_agencies`.

These are asked once the body was read as the operation itself reads it: another reading could be led to see less.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from funclet.api.access import refusal
from funclet.api.actions import DELETE_ACTION, PASS_ACTION, READ_OBJECT_ACTION
from funclet.api.call import Call
from funclet.model.policy import Access

NAMES_OF_ROLES = ("xrole", "app_xrole")
"""Settings of a function that name an agency."""


async def check_agencies(call: Call, *names: object) -> None:
    """Refuse a caller that may not let functions act as these agencies; empty ones are none.

    Raises:
        ModelError: FSS.0403; FSS.1121 or FSS.1122 where agencies must exist.
    """
    for name in names:
        if isinstance(name, str) and name:
            check_action(call, PASS_ACTION, name)
            if call.services.agencies is not None:
                await call.services.agencies.check_named(call.principal, name)


async def check_object(call: Call, link: str) -> None:
    """Refuse a caller that may not read the object of the project that a link means; a link elsewhere is none.

    Raises:
        ModelError: FSS.0403.
    """
    packages = call.services.packages
    if packages is None or not link or call.principal.grants.is_unlimited:
        return
    name = await packages.object_of(link, project_id=call.principal.project.project_id)
    if name is not None:
        check_action(call, READ_OBJECT_ACTION, name, name.partition("/")[0])


def check_settings(call: Call, action: str, place: tuple[str, str], *, runtime: str, echoed: Mapping[str, Any]) -> None:
    """Refuse a caller that may not do `action` with a new function of this package and name with such settings.

    Raises:
        ModelError: FSS.0403.
    """
    call.gate.check_new(call.request, call.principal, action, place, runtime=runtime, echoed=echoed)


async def check_deletion(call: Call, places: Iterable[tuple[str, str]]) -> None:
    """Refuse a caller that may not delete one of these functions, given by package and name.

    Raises:
        ModelError: FSS.0403.
    """
    for package, name in places:
        await call.gate.check_function(call.request, call.principal, DELETE_ACTION, package=package, name=name)


def check_action(call: Call, action: str, *names: str) -> None:
    """Refuse a caller that may not do `action` on a resource of its kind, by the names of that; without any, at all.

    Raises:
        ModelError: FSS.0403.
    """
    if not call.gate.may(call.request, call.principal, action, *names):
        service, kind, _ = action.split(":")
        resources = (f"{service.upper()}:*:*:{kind}:{names[0]}",) if names else ()
        raise refusal(Access(actions=(action,), resources=resources), call.principal)
