"""Whether the caller of an operation is allowed to call it. Start with `Gate.check`.

Action and resources follow from the operation and its path; for a new function, from the body.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from funclet.api.actions import INVOKE_ACTION, action_of, effect_of, is_traced, names_of
from funclet.api.call import Operation
from funclet.api.facts import (
    NO_ENTERPRISE_PROJECT,
    Body,
    facts_of_body,
    facts_of_function,
    facts_of_functions,
    facts_of_settings,
    read_body,
)
from funclet.base.clock import Clock, utc_text
from funclet.base.http import Request
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.identity import Principal, Project
from funclet.model.policy import ADDRESS_KEY, ENTERPRISE_KEY, TIME_KEY, USER_KEY, Access, Facts
from funclet.model.project_state import Effect
from funclet.model.urn import DEFAULT_PACKAGE, Urn
from funclet.store.protocol import Store

MAX_REMEMBERED_LENGTH = 512
_SERVICE = "FUNCTIONGRAPH"
_FUNCTION_PARAMETERS = ("function_urn", "func_urn")
# Of these a path may have more than one, and they name where, not what.
_NO_NAMES = frozenset({"project_id", "resource_type", "instance_id"})
# Their resource is in the body or the query, so nothing that is decided by the path can be remembered.
_BY_BODY = frozenset({"CreateFunction", "ImportFunction"})
_NOT_BY_PATH = _BY_BODY | {"ShowObject"}
# Conditions may ask what stands in the bodies of these.
_TELLING = frozenset({*_BY_BODY, "UpdateFunctionConfig", "CreateTags", "DeleteTags", "CreateVpcEndpoint"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the pipeline must know of an operation, beside its row."""

    action: str
    """Empty: none is needed."""
    names: tuple[str, ...]
    """The action and its other names."""
    is_traced: bool
    """Whether success belongs in the audit log."""
    effect: Effect
    """What it does to the project of its caller."""


def rule_of(operation: Operation) -> Rule:
    """Return the rule of an operation."""
    action = action_of(operation.name)
    name, method = operation.name, operation.method
    is_worth_a_trace, effect = is_traced(name, method), effect_of(name, method)
    return Rule(action=action, names=names_of(action), is_traced=is_worth_a_trace, effect=effect)


class Gate:
    """Lets callers pass, or not."""

    def __init__(self, clock: Clock, *, region: str, store: Store | None = None) -> None:
        """Take what decisions depend on.

        Args:
            clock: of conditions on the time.
            region: of all resources.
            store: knows functions; without one nothing is known of them.
        """
        self._clock = clock
        self._region = region
        self._store = store

    async def look_up(self, parameters: Mapping[str, str], principal: Principal) -> Facts:
        """Return what `check` needs to know of the function of a path, for callers whose policies ask for it.

        Raises:
            ModelError: FSS.1309 or FSS.0403 for the urn.
            StoreUnavailable: it cannot be looked up.
        """
        urn = _urn_of(parameters)
        if self._store is None or not urn:
            return {}
        return await facts_of_function(self._store, self._parse(urn, principal.project))

    def check(
        self,
        operation: Operation,
        rule: Rule,
        request: Request,
        parameters: Mapping[str, str],
        principal: Principal,
        facts: Facts | None = None,
    ) -> None:
        """Refuse a caller that may not do this.

        Args:
            operation: the operation.
            rule: its rule.
            request: the request.
            parameters: of its path.
            principal: the caller.
            facts: what `look_up` found.

        Raises:
            ModelError: FSS.0403 with the missing action, FSS.1309 if the function urn cannot be read, or FSS.0406 for
                a body that cannot.
        """
        grants = principal.grants
        if grants.is_unlimited or not rule.action:
            return
        is_allowed = grants.remembered(rule.action, request.raw_path)
        if is_allowed is None:
            access = self._access(operation, rule, request, parameters, principal, facts or {})
            is_allowed = grants.allows(access)
            if is_allowed and _reads_body(operation, principal):
                is_allowed = self._allows_body(request, principal, access)
            if operation.name not in _NOT_BY_PATH and len(request.raw_path) <= MAX_REMEMBERED_LENGTH:
                grants.remember(rule.action, request.raw_path, is_allowed=is_allowed)
        if not is_allowed:
            raise refusal(self._access(operation, rule, request, parameters, principal, {}), principal)

    def _allows_body(self, request: Request, principal: Principal, access: Access) -> bool:
        """Tell whether a call that is allowed for the function as it is may also make of it what its body says.

        Raises:
            ModelError: FSS.0406 if it cannot be read: what it names may be denied.
        """
        body = read_body(request.body)
        if body is None:
            raise ModelError("FSS.0406", "The body is not a JSON object.")
        # Whoever moves a function to another enterprise project needs both.
        return principal.grants.allows(replace(access, context={**access.context, **facts_of_body(body)}))

    def check_new(
        self,
        request: Request,
        principal: Principal,
        action: str,
        place: tuple[str, str],
        *,
        runtime: str,
        echoed: Mapping[str, Any],
    ) -> None:
        """Refuse a caller that may not do `action`, knowing the package, name and settings of the new function.

        Raises:
            ModelError: FSS.0403.
        """
        facts = self._context(request, principal) | facts_of_settings(runtime, echoed)
        resources = self._functions(principal.project, *place)
        access = Access(actions=names_of(action), resources=resources, context=facts)
        if not principal.grants.allows(access):
            raise refusal(access, principal)

    def resource_of(
        self, operation: Operation, rule: Rule, request: Request, parameters: Mapping[str, str], principal: Principal
    ) -> str:
        """Return the resource of a call for the audit log; empty if it has none, or none that can be read."""
        try:
            resources = self._access(operation, rule, request, parameters, principal, {}).resources
        except ModelError:
            return ""
        return resources[0] if resources else ""

    async def check_function(
        self, request: Request, principal: Principal, action: str, *, package: str, name: str
    ) -> None:
        """Refuse a caller that may not do `action` with a function of its project, beside what it calls.

        Raises:
            ModelError: FSS.0403.
            StoreUnavailable: policies ask what is known of the function, and that cannot be looked up.
        """
        urn = Urn(region=self._region, project_id=principal.project.project_id, package=package, name=name)
        access = await self._access_to(request, principal, action, urn)
        if not principal.grants.allows(access):
            raise refusal(access, principal)

    async def function_filter(
        self, request: Request, principal: Principal, action: str
    ) -> Callable[[str, str], bool] | None:
        """Return what tells by package and name whether the caller may do `action` with a function; None: with all.

        Raises:
            StoreUnavailable: policies ask what is known of functions, and that cannot be looked up.
        """
        grants, names = principal.grants, names_of(action)
        if grants.is_unlimited:
            return None
        context = self._context(request, principal)
        known: Mapping[tuple[str, str], Facts] = {}
        if grants.asks_function and self._store is not None:
            known = await facts_of_functions(self._store, principal.project.project_id)

        def may(package: str, name: str) -> bool:
            resource = self._resource(principal.project, "function", f"{package}/{name}")
            facts = {**context, **known.get((package, name), {})}
            return grants.allows(Access(actions=names, resources=(resource,), context=facts))

        return may

    def may(self, request: Request, principal: Principal, action: str, *names: str) -> bool:
        """Tell whether the caller may do `action` on a resource of the kind that the action is of, by its names."""
        resources = self._resources(principal.project, action, *names)
        access = Access(actions=names_of(action), resources=resources, context=self._context(request, principal))
        return principal.grants.allows(access)

    async def may_invoke(self, request: Request, principal: Principal, urn: Urn) -> bool:
        """Tell whether a caller may invoke a function of its project now.

        Raises:
            StoreUnavailable: policies ask what is known of the function, and that cannot be looked up.
        """
        grants = principal.grants
        if grants.is_unlimited:
            return True
        subject = f"{urn.package}/{urn.name}"
        is_allowed = grants.remembered(INVOKE_ACTION, subject)
        if is_allowed is None:
            is_allowed = grants.allows(await self._access_to(request, principal, INVOKE_ACTION, urn))
            grants.remember(INVOKE_ACTION, subject, is_allowed=is_allowed)
        return is_allowed

    async def _access_to(self, request: Request, principal: Principal, action: str, urn: Urn) -> Access:
        context = self._context(request, principal)
        if principal.grants.asks_function and self._store is not None:
            context |= await facts_of_function(self._store, urn)
        resources = self._functions(principal.project, urn.package, urn.name)
        return Access(actions=names_of(action), resources=resources, context=context)

    def _access(
        self,
        operation: Operation,
        rule: Rule,
        request: Request,
        parameters: Mapping[str, str],
        principal: Principal,
        facts: Facts,
    ) -> Access:
        context = self._context(request, principal)
        body = read_body(request.body) if _reads_body(operation, principal) else None
        if body is not None:
            context |= facts_of_body(body)
        context |= facts
        resources: tuple[str, ...]
        if operation.name in _BY_BODY:
            resources = self._functions(principal.project, *_place_of(body)) if body else ()
            context.setdefault(ENTERPRISE_KEY, NO_ENTERPRISE_PROJECT)
        elif operation.name == "ShowObject":
            bucket, key = parameters["bucket"], parse_key(request.raw_query)
            resources = self._resources(principal.project, rule.action, f"{bucket}/{key}", bucket)
        else:
            resources = self._of_path(rule.action, parameters, principal.project)
        return Access(actions=rule.names, resources=resources, context=context)

    def _of_path(self, action: str, parameters: Mapping[str, str], project: Project) -> tuple[str, ...]:
        urn = _urn_of(parameters)
        if urn:
            parsed = self._parse(urn, project)
            function = self._functions(project, parsed.package, parsed.name)
            trigger_id = parameters.get("trigger_id", "")
            return (self._resource(project, "trigger", trigger_id), *function) if trigger_id else function
        name = next((value for key, value in parameters.items() if key not in _NO_NAMES), "")
        return self._resources(project, action, name) if name and action else ()

    def _parse(self, urn: str, project: Project) -> Urn:
        return urns.parse(urn, region=self._region, project_id=project.project_id)

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


def _reads_body(operation: Operation, principal: Principal) -> bool:
    name = operation.name
    return name in _BY_BODY or (principal.grants.depends and name in _TELLING)


def _urn_of(parameters: Mapping[str, str]) -> str:
    """Return the urn of the function of a path; empty if there is none."""
    if parameters.get("resource_type") == "functions":
        return parameters.get("resource_id", "")
    return next((parameters[name] for name in _FUNCTION_PARAMETERS if name in parameters), "")


def _place_of(body: Body) -> tuple[str, str]:
    """Return package and name of a new function; an empty name if the operation will refuse them."""
    package, name = body.package or DEFAULT_PACKAGE, body.func_name
    return (package, name) if isinstance(package, str) and isinstance(name, str) else ("", "")


def parse_key(raw_query: str) -> str:
    """Return the key of an object that a query names; empty if it cannot be read, which the operation refuses."""
    try:
        return dict(parse_qsl(raw_query, keep_blank_values=True, errors="strict")).get("key", "")
    except (UnicodeDecodeError, ValueError):
        return ""


def refusal(access: Access, principal: Principal) -> ModelError:
    """Return the error that names the missing action."""
    return ModelError("FSS.0403", f"'{principal.user.name}' is not authorized to perform {access.shown}.")
