"""Whether the caller of an operation is allowed to call it. Start with `Gate.check`.

Action and resources follow from the operation and its path; for a new function, from the body.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec

from funclet.api.actions import INVOKE_ACTION, action_of, is_traced, names_of
from funclet.api.call import Operation
from funclet.base.clock import Clock, utc_text
from funclet.base.http import Request
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.identity import Principal, Project
from funclet.model.policy import ADDRESS_KEY, RUNTIME_KEY, TIME_KEY, USER_KEY, Access
from funclet.model.urn import DEFAULT_PACKAGE, Urn

MAX_REMEMBERED_LENGTH = 512
_SERVICE = "FUNCTIONGRAPH"
_FUNCTION_PARAMETERS = ("function_urn", "func_urn")
# Of these a path may have more than one, and they name where, not what.
_NO_NAMES = frozenset({"project_id", "resource_type", "instance_id"})
# Their resource is in the body or the query, so nothing that is decided by the path can be remembered.
_BY_BODY = frozenset({"CreateFunction", "ImportFunction"})
_NOT_BY_PATH = _BY_BODY | {"ShowObject"}


class _NewFunction(msgspec.Struct):
    """What permissions look at in the body of a new function; the operation itself checks it."""

    func_name: str = ""
    package: str | None = None
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the pipeline must know of an operation, beside its row."""

    action: str
    """Empty: none is needed."""
    names: tuple[str, ...]
    """The action and its other names."""
    is_traced: bool
    """Whether success belongs in the audit log."""


def rule_of(operation: Operation) -> Rule:
    """Return the rule of an operation."""
    action = action_of(operation.name)
    return Rule(action=action, names=names_of(action), is_traced=is_traced(operation.name, operation.method))


class Gate:
    """Lets callers pass, or not."""

    def __init__(self, clock: Clock, *, region: str) -> None:
        self._clock = clock
        self._region = region

    def check(
        self,
        operation: Operation,
        rule: Rule,
        request: Request,
        parameters: Mapping[str, str],
        principal: Principal,
    ) -> None:
        """Refuse a caller that may not do this.

        Raises:
            ModelError: FSS.0403 with the missing action, or FSS.1309 if the function urn cannot be read.
        """
        grants = principal.grants
        if grants.is_unlimited or not rule.action:
            return
        is_allowed = grants.remembered(rule.action, request.raw_path)
        if is_allowed is None:
            access = self._access(operation, rule, request, parameters, principal)
            is_allowed = grants.allows(access)
            if operation.name not in _NOT_BY_PATH and len(request.raw_path) <= MAX_REMEMBERED_LENGTH:
                grants.remember(rule.action, request.raw_path, is_allowed=is_allowed)
        if not is_allowed:
            raise refusal(self._access(operation, rule, request, parameters, principal), principal)

    def resource_of(
        self, operation: Operation, rule: Rule, request: Request, parameters: Mapping[str, str], principal: Principal
    ) -> str:
        """Return the resource of a call for the audit log; empty if it has none, or none that can be read."""
        try:
            resources = self._access(operation, rule, request, parameters, principal).resources
        except ModelError:
            return ""
        return resources[0] if resources else ""

    def function_filter(self, request: Request, principal: Principal, action: str) -> Callable[[str, str], bool] | None:
        """Return what tells by package and name whether the caller may do `action` with a function; None: with all."""
        grants, names = principal.grants, names_of(action)
        if grants.is_unlimited:
            return None
        context = self._context(request, principal)

        def may(package: str, name: str) -> bool:
            resource = self._resource(principal.project, "function", f"{package}/{name}")
            return grants.allows(Access(actions=names, resources=(resource,), context=context))

        return may

    def may(self, request: Request, principal: Principal, action: str, *names: str) -> bool:
        """Tell whether the caller may do `action` on a resource of the kind that the action is of, by its names."""
        resources = self._resources(principal.project, action, *names)
        access = Access(actions=names_of(action), resources=resources, context=self._context(request, principal))
        return principal.grants.allows(access)

    def may_invoke(self, request: Request, principal: Principal, urn: Urn) -> bool:
        """Tell whether a caller may invoke a function of its project now."""
        grants = principal.grants
        if grants.is_unlimited:
            return True
        subject = f"{urn.package}/{urn.name}"
        is_allowed = grants.remembered(INVOKE_ACTION, subject)
        if is_allowed is None:
            resources = self._functions(principal.project, urn.package, urn.name)
            context = self._context(request, principal)
            is_allowed = grants.allows(Access(actions=names_of(INVOKE_ACTION), resources=resources, context=context))
            grants.remember(INVOKE_ACTION, subject, is_allowed=is_allowed)
        return is_allowed

    def _access(
        self,
        operation: Operation,
        rule: Rule,
        request: Request,
        parameters: Mapping[str, str],
        principal: Principal,
    ) -> Access:
        context = self._context(request, principal)
        resources: tuple[str, ...]
        if operation.name in _BY_BODY:
            new = _read_new(request.body)
            resources = self._functions(principal.project, new.package or DEFAULT_PACKAGE, new.func_name)
            context |= {RUNTIME_KEY: new.runtime} if new.runtime else {}
        elif operation.name == "ShowObject":
            bucket, key = parameters["bucket"], parse_key(request.raw_query)
            resources = self._resources(principal.project, rule.action, f"{bucket}/{key}", bucket)
        else:
            resources = self._of_path(rule.action, parameters, principal.project)
        return Access(actions=rule.names, resources=resources, context=context)

    def _of_path(self, action: str, parameters: Mapping[str, str], project: Project) -> tuple[str, ...]:
        urn = next((parameters[name] for name in _FUNCTION_PARAMETERS if name in parameters), "")
        if parameters.get("resource_type") == "functions":
            urn = parameters.get("resource_id", "")
        if urn:
            parsed = urns.parse(urn, region=self._region, project_id=project.project_id)
            function = self._functions(project, parsed.package, parsed.name)
            trigger_id = parameters.get("trigger_id", "")
            return (self._resource(project, "trigger", trigger_id), *function) if trigger_id else function
        name = next((value for key, value in parameters.items() if key not in _NO_NAMES), "")
        return self._resources(project, action, name) if name and action else ()

    def _resources(self, project: Project, action: str, *names: str) -> tuple[str, ...]:
        service, kind, _ = action.split(":", 2)
        return tuple(self._resource(project, kind, name, service=service.upper()) for name in names)

    def _functions(self, project: Project, package: str, name: str) -> tuple[str, ...]:
        return (self._resource(project, "function", f"{package}/{name}"),) if name else ()

    def _resource(self, project: Project, kind: str, name: str, *, service: str = _SERVICE) -> str:
        return f"{service}:{self._region}:{project.domain_id}:{kind}:{name}"

    def _context(self, request: Request, principal: Principal) -> dict[str, str]:
        return {
            TIME_KEY: utc_text(self._clock.now()),
            ADDRESS_KEY: request.peer,
            USER_KEY: principal.user.name,
        }


def parse_key(raw_query: str) -> str:
    """Return the key of an object that a query names; empty if it cannot be read, which the operation refuses."""
    try:
        return dict(parse_qsl(raw_query, keep_blank_values=True, errors="strict")).get("key", "")
    except (UnicodeDecodeError, ValueError):
        return ""


def refusal(access: Access, principal: Principal) -> ModelError:
    """Return the error that names the missing action."""
    return ModelError("FSS.0403", f"'{principal.user.name}' is not authorized to perform {access.shown}.")


def _read_new(body: bytes) -> _NewFunction:
    try:
        return msgspec.json.decode(body, type=_NewFunction)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The operation will refuse it; a statement that names functions does not cover it.
        return _NewFunction()
