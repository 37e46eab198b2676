"""Policies, roles and their grants, in the shapes of the cloud's identity service."""

from typing import Any

import msgspec

from funclet.api.actions import ACTIONS, known_actions, names_of
from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.api.wire.identity import require, url
from funclet.base.http import Response
from funclet.model import policy as policies
from funclet.model.errors import ModelError
from funclet.model.identity import CustomPolicy
from funclet.model.policy import SHOWN_KEYS, VERSION, Access, Policy, exact_key
from funclet.model.roles import SystemRole
from funclet.services.permissions import read_policy
from funclet.services.policies import Holder

MAX_DOCUMENT_BYTES = 6144
_ALL_PROJECTS = ""
_CUSTOM, _SYSTEM = "CUSTOMED", "SYSTEM"


class _Policy(msgspec.Struct):
    display_name: str | None = None
    description: str | None = None
    type: str | None = None
    policy: dict[str, Any] | None = None


class _PolicyBody(msgspec.Struct):
    role: _Policy


class _Question(msgspec.Struct):
    """Body of SimulatePolicy."""

    action: str
    user: str = ""
    agency: str = ""
    resource: str = ""
    context: dict[str, str] = {}


async def create_custom_policy(call: Call) -> Response:
    """Serve CreateCustomPolicy."""
    body = codec.decode(_PolicyBody, call).role
    _check_size(body)
    policy = await require(call.services.policies).create(
        call.principal,
        name=body.display_name or "",
        description=body.description or "",
        document=body.policy or {},
    )
    return codec.json_response(201, {"role": _role(policy, call)})


async def list_custom_policies(call: Call) -> Response:
    """Serve ListCustomPolicies."""
    found = await require(call.services.policies).list(call.principal)
    links = {"self": url(call, "/v3.0/OS-ROLE/roles")}
    return codec.json_response(
        200, {"roles": [_role(one, call) for one in found], "total_number": len(found), "links": links}
    )


async def show_custom_policy(call: Call) -> Response:
    """Serve ShowCustomPolicy."""
    policy = await require(call.services.policies).get(call.principal, call.parameters["role_id"])
    return codec.json_response(200, {"role": _role(policy, call)})


async def update_custom_policy(call: Call) -> Response:
    """Serve UpdateCustomPolicy: members that are not sent stay as they are."""
    body = codec.decode(_PolicyBody, call).role
    _check_size(body)
    policy = await require(call.services.policies).update(
        call.principal,
        call.parameters["role_id"],
        name=body.display_name,
        description=body.description,
        document=body.policy,
    )
    return codec.json_response(200, {"role": _role(policy, call)})


async def delete_custom_policy(call: Call) -> Response:
    """Serve DeleteCustomPolicy."""
    await require(call.services.policies).delete(call.principal, call.parameters["role_id"])
    return codec.no_content()


async def list_roles(call: Call) -> Response:
    """Serve ListRoles: those of every server and the custom ones, all or by `display_name`."""
    wanted = call.query.get("display_name", "")
    found = await require(call.services.policies).roles(call.principal)
    return _roles([role for role in found if wanted in ("", role.name)], call, "/v3/roles")


async def show_role(call: Call) -> Response:
    """Serve ShowRole."""
    role = await require(call.services.policies).role(call.principal, call.parameters["role_id"])
    return codec.json_response(200, {"role": _role(role, call)})


async def list_grants(call: Call) -> Response:
    """Serve the lists of what a group or an agency may do in one project, or in all."""
    found = await require(call.services.policies).granted(call.principal, _holder(call), _project(call))
    return _roles(found, call, call.request.raw_path)


async def grant(call: Call) -> Response:
    """Serve the operations that give a role to a group or an agency."""
    return await _grant(call, is_given=True)


async def revoke(call: Call) -> Response:
    """Serve the operations that take a role back."""
    return await _grant(call, is_given=False)


async def simulate_policy(call: Call) -> Response:
    """Serve SimulatePolicy: tell whether a user or an agency would be allowed an action."""
    question = codec.decode(_Question, call)
    if bool(question.user) == bool(question.agency):
        raise ModelError("FSS.0400", "Name either a user or an agency.")
    unknown = sorted(key for key in question.context if exact_key(key) != key)
    if unknown:
        raise ModelError("FSS.0400", f"'{unknown[0][:80]}' is no key of conditions: {SHOWN_KEYS}.")
    access = Access(
        actions=names_of(_documented(question.action)),
        resources=(question.resource,) if question.resource else (),
        context=question.context,
    )
    is_allowed = await require(call.services.policies).simulate(
        call.principal, user_name=question.user, agency_name=question.agency, access=access
    )
    return codec.json_response(200, {"is_allowed": is_allowed, "asked": access.shown})


def _documented(action: str) -> str:
    """Return the name under which an action is asked for, which may be another than a policy's."""
    wanted = action.lower()
    # The documented names first: another name alone would miss policies that use the documented one.
    for known in (*ACTIONS.values(), *sorted(known_actions())):
        if wanted in (name.lower() for name in names_of(known)):
            return known
    raise ModelError("FSS.0400", f"The action '{action[:80]}' is unknown: nothing here asks for it.")


async def _grant(call: Call, *, is_given: bool) -> Response:
    await require(call.services.policies).grant(
        call.principal, _holder(call), call.parameters["role_id"], _project(call), is_given=is_given
    )
    return codec.no_content()


def _holder(call: Call) -> Holder:
    return Holder(group_id=call.parameters.get("group_id", ""), agency_id=call.parameters.get("agency_id", ""))


def _project(call: Call) -> str:
    """Return the project of a grant; a grant on the domain holds in all of its projects."""
    domain_id = call.parameters.get("scope_domain_id", "")
    if domain_id and domain_id != call.principal.user.domain_id:
        raise ModelError("FSS.0404", f"The domain '{domain_id[:64]}' does not exist.")
    return call.parameters.get("scope_project_id", _ALL_PROJECTS)


def _check_size(body: _Policy) -> None:
    if body.policy is not None and len(msgspec.json.encode(body.policy)) > MAX_DOCUMENT_BYTES:
        raise ModelError("FSS.0400", f"The policy has more than {MAX_DOCUMENT_BYTES} bytes.")


def _roles(found: Any, call: Call, path: str) -> Response:
    roles = [_role(role, call) for role in found]
    return codec.json_response(200, {"roles": roles, "total_number": len(roles), "links": {"self": url(call, path)}})


def _role(role: SystemRole | CustomPolicy, call: Call) -> dict[str, Any]:
    if isinstance(role, SystemRole):
        return {
            "id": role.role_id,
            "name": role.name,
            "display_name": role.name,
            "type": "AX",
            "catalog": _SYSTEM,
            "description": role.description,
            "policy": _document(role.policy),
            "domain_id": None,
            "links": {"self": url(call, f"/v3/roles/{role.role_id}")},
        }
    answer: dict[str, Any] = {
        "id": role.policy_id,
        "name": f"custom_{role.policy_id}",
        "display_name": role.name,
        "type": "AX",
        "catalog": _CUSTOM,
        "description": role.description,
        "policy": role.document,
        "domain_id": role.domain_id,
        "created_time": str(int(role.created_at * 1000)),
        "updated_time": str(int(role.updated_at * 1000)),
        "links": {"self": url(call, f"/v3/roles/{role.policy_id}")},
    }
    found = policies.warnings(read_policy(role.name, role.document), known_actions())
    # Of ours: what is probably a mistake.
    return answer | ({"warnings": found} if found else {})


def _document(policy: Policy) -> dict[str, Any]:
    statements = [{"Effect": "Allow", "Action": list(one.actions)} for one in policy.statements]
    return {"Version": VERSION, "Statement": statements}
