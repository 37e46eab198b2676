"""What the audit log is told of a request that the gateway does not let pass. Start with `trace_of`."""

from funclet.base.http import Request
from funclet.model.audit import Trace, TraceOutcome
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.triggers.http_authorizer import AuthorizerFailed
from funclet.triggers.http_routes import Route

OPERATION = "CallApi"
FAILED_STATUS, FAILED_CODE = 500, "APIG.0305"
"""The answer where an authorizer could not be asked."""
_ACTION = "functiongraph:function:invoke"
# Of credentials, grants and authorizers; whatever else is refused has nothing to do with who calls.
_CODES = frozenset({"APIG.0301", "APIG.0302", "APIG.0303", "APIG.0304", "APIG.0305"})


def trace_of(
    route: Route,
    request: Request,
    caller: Principal | None,
    error: ModelError | AuthorizerFailed,
    *,
    at: float,
    request_id: str,
) -> Trace | None:
    """Return the entry of a refusal; None if it was not because of who calls.

    Args:
        route: of the trigger; its project may read the entry.
        request: what was refused.
        caller: who sent it, if that is known.
        error: why.
        at: seconds since the epoch.
        request_id: of the answer.
    """
    is_denied = isinstance(error, ModelError)
    if isinstance(error, ModelError) and error.code not in _CODES:
        return None
    trigger, urn = route.trigger, route.urn
    # One from elsewhere is nobody that this project should know by name.
    is_neighbour = caller is not None and caller.project.project_id == trigger.project_id
    user = caller.user if caller is not None and is_neighbour else None
    return Trace(
        at=at,
        project_id=trigger.project_id,
        user_name=user.name if user else "",
        user_id=user.user_id if user else "",
        operation=OPERATION,
        action=_ACTION,
        resource=f"FUNCTIONGRAPH:{urn.region}:*:function:{urn.package}/{urn.name}",
        outcome=TraceOutcome.DENIED if is_denied else TraceOutcome.FAILED,
        status=error.status if isinstance(error, ModelError) else FAILED_STATUS,
        code=error.code if isinstance(error, ModelError) else FAILED_CODE,
        source=request.peer,
        request_id=request_id,
    )
