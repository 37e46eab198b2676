"""One call of one operation, as the functions in `wire` are given it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from funclet.base.http import Request, Response
from funclet.model.identity import Principal

if TYPE_CHECKING:
    from funclet.api.access import Gate
    from funclet.services.agencies import AgencyService
    from funclet.services.asynchronous import AsyncService
    from funclet.services.audit import AuditService
    from funclet.services.connections import ConnectionService
    from funclet.services.dependencies import DependencyService
    from funclet.services.federation import FederationService
    from funclet.services.fetch import CodeFetcher
    from funclet.services.functions import FunctionService
    from funclet.services.gateway_access import GatewayAccessService
    from funclet.services.iam import IamService
    from funclet.services.identity import IdentityService
    from funclet.services.invocations import InvocationService
    from funclet.services.observability import ObservabilityService
    from funclet.services.policies import PolicyService
    from funclet.services.projects import ProjectService
    from funclet.services.reserved import ReservedService
    from funclet.services.resources import Resources
    from funclet.services.statistics import StatisticsService
    from funclet.services.streams import StreamService
    from funclet.services.topics import TopicService
    from funclet.services.triggers import TriggerService
    from funclet.services.versions import VersionService


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All use cases that operations may call."""

    functions: "FunctionService"
    versions: "VersionService"
    invocations: "InvocationService"
    triggers: "TriggerService"
    identity: "IdentityService"
    observability: "ObservabilityService"
    topics: "TopicService"
    streams: "StreamService"
    connections: "ConnectionService"
    gateway: "GatewayAccessService"
    dependencies: "DependencyService"
    packages: "CodeFetcher | None" = None
    """What links to packages mean; None where there are no object stores."""
    iam: "IamService | None" = None
    policies: "PolicyService | None" = None
    agencies: "AgencyService | None" = None
    projects: "ProjectService | None" = None
    federation: "FederationService | None" = None
    audit: "AuditService | None" = None
    """None, as the five above, in processes that pass such requests on."""
    asynchronous: "AsyncService | None" = None
    """None in processes that pass such requests on."""
    resources: "Resources | None" = None
    """None where a test has no need of them."""
    reserved: "ReservedService | None" = None
    """The same."""
    statistics: "StatisticsService | None" = None
    """The same."""


# Not frozen: one is made for every request, and that takes longer then. Nobody changes it.
@dataclass(slots=True, kw_only=True)
class Call:
    """A request that was matched and whose caller is known."""

    services: Services
    principal: Principal
    parameters: Mapping[str, str]
    """Path parameters, percent-decoded."""
    query: Mapping[str, str]
    """Query parameters, decoded; the last of a repeated name."""
    request: Request
    request_id: str
    """Sent back as X-Request-Id."""
    gate: "Gate"
    """For what a caller may do beyond the action of the operation."""


def resources_of(call: Call) -> "Resources":
    """Return the use cases of the smaller groups."""
    assert call.services.resources is not None
    return call.services.resources


Serve = Callable[[Call], Awaitable[Response]]
PROJECT_PATH = "/v2/{project_id}/"
"""Before the paths of everything that belongs to a project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the table."""

    name: str
    """As in the vendor's SDK, for example `CreateFunction`."""
    method: str
    path: str
    """With `{parameters}`; literal segments win over them."""
    serve: Serve | None = None
    """None: known but not built yet, answered with 501."""
    in_sdk: bool = True
    """Whether the vendor's current SDK has it."""
    is_public: bool = False
    """Whether it is answered without credentials (login)."""
    is_ours: bool = False
    """Whether it is an addition of Funclet, outside the vendor's API."""
    max_body_bytes: int = 128 * 1024 * 1024
    """Larger bodies are refused with 413."""


def addition(
    name: str, method: str, path: str, serve: Serve, *, max_body_bytes: int, is_public: bool = False
) -> Operation:
    """Return a row of Funclet's own; a path without a leading slash stands under `/v2/{project_id}/`."""
    return Operation(
        name=name,
        method=method,
        path=path if path.startswith("/") else PROJECT_PATH + path,
        serve=serve,
        in_sdk=False,
        is_ours=True,
        is_public=is_public,
        max_body_bytes=max_body_bytes,
    )
