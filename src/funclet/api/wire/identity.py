"""Identity operations, in the shapes of Keystone: tokens, projects, domains, regions, users."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from funclet.api.actions import ASSUME_ACTION, LIST_PROJECTS_ACTION, LIST_USERS_ACTION
from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.identity import Principal, Project, Token, User
from funclet.services.agencies import MAX_DURATION_S
from funclet.services.identity import Login, Scope

T = TypeVar("T")
# As the cloud's identity service says it.
_VERSION, _VERSION_AT = "v3.6", "2016-04-04T00:00:00Z"


class _Reference(msgspec.Struct):
    """A domain or project by id or name."""

    id: str = ""
    name: str = ""


class _ProjectScope(msgspec.Struct):
    id: str = ""
    name: str = ""
    domain: _Reference = msgspec.field(default_factory=_Reference)


class TokenScope(msgspec.Struct):
    """What a token is wanted for."""

    project: _ProjectScope | None = None
    domain: _Reference | None = None


class _User(msgspec.Struct):
    password: str
    name: str = ""
    domain: _Reference = msgspec.field(default_factory=_Reference)


class _Password(msgspec.Struct):
    user: _User


class _Token(msgspec.Struct):
    id: str


class _AssumedRole(msgspec.Struct):
    agency_name: str = ""
    xrole_name: str = ""
    duration_seconds: int = MAX_DURATION_S


class _Identity(msgspec.Struct):
    methods: list[str]
    password: _Password | None = None
    token: _Token | None = None
    assume_role: _AssumedRole | None = None


class _Auth(msgspec.Struct):
    identity: _Identity
    scope: TokenScope | None = None


class _NewToken(msgspec.Struct):
    auth: _Auth


class _ProjectFields(msgspec.Struct):
    name: str


class _NewProject(msgspec.Struct):
    project: _ProjectFields


class _StatusFields(msgspec.Struct):
    status: str
    reason: str = ""


class _NewStatus(msgspec.Struct):
    project: _StatusFields


async def create_token(call: Call) -> Response:
    """Serve CreateToken: log in with a password, get a token for another scope with one, or act as an agency."""
    auth = codec.decode(_NewToken, call).auth
    identity, scope = auth.identity, read_scope(auth.scope)
    if identity.methods == ["password"] and identity.password:
        user = identity.password.user
        login = await call.services.identity.login(
            name=user.name,
            domain=user.domain.id or user.domain.name,
            password=user.password,
            scope=scope,
            peer=call.request.peer,
        )
    elif identity.methods == ["token"] and identity.token:
        login = await call.services.identity.rescope(text=identity.token.id, scope=scope)
    elif identity.methods == ["assume_role"] and identity.assume_role:
        return await _assume_role(call, identity.assume_role)
    else:
        raise ModelError(
            "FSS.0401", "methods must be ['password'], ['token'] or ['assume_role'], with the member of that name."
        )
    is_domain = auth.scope is not None and auth.scope.project is None and auth.scope.domain is not None
    return token_response(call, login, method=identity.methods[0], is_domain=is_domain)


def token_response(call: Call, login: Login, *, method: str, is_domain: bool = False) -> Response:
    """Return the answer to a login."""
    body = _token(login, call, method=method, is_domain=is_domain)
    return codec.json_response(201, body, headers={"X-Subject-Token": login.text})


async def _assume_role(call: Call, wanted: _AssumedRole) -> Response:
    """Return a token of an agency to a user whose own token is in X-Auth-Token."""
    agencies = require(call.services.agencies)
    principal = await call.services.identity.caller_of(call.request.headers.get("x-auth-token", ""))
    if principal is None:
        raise ModelError("FSS.0401", "The token in X-Auth-Token is unknown or has expired.")
    name = wanted.agency_name or wanted.xrole_name
    check_may_assume(call, principal, name)
    claims = await agencies.assumed(principal, name, duration=wanted.duration_seconds, policy=None)
    user = User(user_id="", name=claims.agency, domain_id=principal.user.domain_id, password_hash="")
    token = Token(
        digest="", user_id="", project_id=claims.project_id, issued_at=claims.issued_at, expires_at=claims.expires_at
    )
    login = Login(text=agencies.token(claims), token=token, user=user, project=principal.project)
    return token_response(call, login, method="assume_role")


def check_may_assume(call: Call, principal: Principal, agency_name: str) -> None:
    """Refuse a caller that may not act as an agency.

    Raises:
        ModelError: FSS.0403.
    """
    if not call.gate.may(call.request, principal, ASSUME_ACTION, *filter(None, (agency_name,))):
        raise ModelError(
            "FSS.0403",
            f"'{principal.user.name}' is not authorized to perform {ASSUME_ACTION} on agency '{agency_name[:64]}'.",
        )


def require(service: T | None) -> T:
    """Return a service that only process 0 has; other processes pass its requests on."""
    assert service is not None
    return service


async def validate_token(call: Call) -> Response:
    """Serve ValidateToken: show what the token in X-Subject-Token stands for."""
    text = call.request.headers.get("x-subject-token", "")
    if not text:
        raise ModelError("FSS.0400", "The header X-Subject-Token is missing.")
    login = await call.services.identity.find_token(text)
    if login is None or login.user.domain_id != call.principal.user.domain_id:
        raise ModelError("FSS.0404", "The token in X-Subject-Token is unknown or has expired.")
    body = _token(login, call, method="password", is_domain=False)
    return codec.json_response(200, body, headers={"X-Subject-Token": login.text})


async def list_auth_projects(call: Call) -> Response:
    """Serve ListAuthProjects: those in which the caller may do anything."""
    found = await require(call.services.projects).visible(call.principal, with_others=call.principal.user.is_owner)
    links = {"self": url(call, "/v3/auth/projects")}
    return codec.json_response(200, {"projects": [_project(one, call) for one in found], "links": links})


async def list_auth_catalog(call: Call) -> Response:
    """Serve ListAuthCatalog."""
    links = {"self": url(call, "/v3/auth/catalog")}
    return codec.json_response(200, {"catalog": _catalog(call.principal.project, call), "links": links})


async def list_enterprise_projects(_: Call) -> Response:
    """Serve ListEnterpriseProjects: the one that every account has."""
    one = {"id": "0", "name": "default", "description": "", "status": 1, "type": "prod"}
    return codec.json_response(200, {"enterprise_projects": [one], "total_count": 1})


async def list_projects(call: Call) -> Response:
    """Serve ListProjects. SDKs look their project id up here, by the name of the region."""
    projects = await _visible(call, name=call.query.get("name", ""))
    return codec.json_response(
        200,
        {"projects": [_project(project, call) for project in projects], "links": {"self": url(call, "/v3/projects")}},
    )


async def _visible(call: Call, *, name: str = "") -> Sequence[Project]:
    sees_all = call.gate.may(call.request, call.principal, LIST_PROJECTS_ACTION)
    return await require(call.services.projects).visible(call.principal, name=name, with_others=sees_all)


async def create_project(call: Call) -> Response:
    """Serve CreateProject. An SDK also tries this when it found no project for its region, and is refused."""
    name = codec.decode(_NewProject, call).project.name
    project = await require(call.services.projects).create(call.principal, name)
    return codec.json_response(201, {"project": _project(project, call)})


async def delete_project(call: Call) -> Response:
    """Serve DeleteProject: only one that is empty."""
    await require(call.services.projects).delete(call.principal, call.parameters["scope_project_id"])
    return codec.no_content()


async def show_project(call: Call) -> Response:
    """Serve ShowProject and ShowProjectDetailsAndStatus."""
    project_id = call.parameters["scope_project_id"]
    found = [one for one in await _visible(call) if one.project_id == project_id]
    if not found:
        raise ModelError("FSS.0404", f"The project '{project_id[:64]}' does not exist.")
    return codec.json_response(200, {"project": _project(found[0], call)})


async def update_project_status(call: Call) -> Response:
    """Serve UpdateProjectStatus: what may be done in a project from now on."""
    wanted = codec.decode(_NewStatus, call).project
    projects, project_id = require(call.services.projects), call.parameters["scope_project_id"]
    await projects.set_state(call.principal, project_id, wanted.status, wanted.reason)
    return codec.no_content()


async def list_auth_domains(call: Call) -> Response:
    """Serve ListAuthDomains: the one domain of the caller."""
    project = call.principal.project
    domain = {
        "id": project.domain_id,
        "name": project.domain_name,
        "enabled": True,
        "description": "",
        "links": {"self": url(call, f"/v3/domains/{project.domain_id}")},
    }
    return codec.json_response(200, {"domains": [domain], "links": {"self": url(call, "/v3/auth/domains")}})


async def show_version(call: Call) -> Response:
    """Serve ShowIdentityVersion: by this, clients of OpenStack's making find out where they are to log in."""
    version = {
        "id": _VERSION,
        "status": "stable",
        "updated": _VERSION_AT,
        "links": [{"rel": "self", "href": url(call, "/v3/")}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }
    return codec.json_response(200, {"version": version})


async def list_regions(call: Call) -> Response:
    """Serve the list of regions: the one that this server is."""
    region = {
        "id": call.services.identity.region,
        "type": "public",
        "description": "",
        "parent_region_id": None,
        "locales": {},
        "links": {"self": url(call, f"/v3/regions/{call.services.identity.region}")},
    }
    return codec.json_response(200, {"regions": [region], "links": {"self": url(call, "/v3/regions")}})


async def list_users(call: Call) -> Response:
    """Serve the list of users, by name; without one, the caller."""
    users = await call.services.identity.users(
        call.principal,
        name=call.query.get("name", ""),
        with_others=call.gate.may(call.request, call.principal, LIST_USERS_ACTION),
    )
    return codec.json_response(
        200, {"users": [user_answer(user, call) for user in users], "links": {"self": url(call, "/v3/users")}}
    )


def read_scope(scope: TokenScope | None) -> Scope:
    """Return what a login wants a token for."""
    if scope is None:
        return Scope()
    if scope.project is not None:
        domain = scope.project.domain
        return Scope(project_id=scope.project.id, project_name=scope.project.name, domain=domain.id or domain.name)
    return Scope(domain=scope.domain.id or scope.domain.name) if scope.domain else Scope()


def _token(login: Login, call: Call, *, method: str, is_domain: bool) -> dict[str, Any]:
    project, user = login.project, login.user
    domain = {"id": project.domain_id, "name": project.domain_name}
    scope = (
        {"domain": domain}
        if is_domain
        else {"project": {"id": project.project_id, "name": project.name, "domain": domain}}
    )
    return {
        "token": {
            "methods": [method],
            "issued_at": iam_time(login.token.issued_at),
            "expires_at": iam_time(login.token.expires_at),
            "catalog": [] if codec.is_true(call.query.get("nocatalog", "")) else _catalog(project, call),
            "roles": [{"id": str(number), "name": name} for number, name in enumerate(login.roles)],
            "user": {"id": user.user_id, "name": user.name, "domain": domain, "password_expires_at": ""},
            **scope,
        }
    }


def _catalog(project: Project, call: Call) -> list[dict[str, Any]]:
    region = call.services.identity.region
    # Clients of OpenStack's making look for `identity`, the vendor's for `iam`.
    services = (("functiongraph", f"/v2/{project.project_id}"), ("iam", "/v3"), ("identity", "/v3"))
    return [
        {
            "id": kind,
            "name": kind,
            "type": kind,
            "endpoints": [
                {
                    "id": f"{kind}-public",
                    "interface": "public",
                    "region": region,
                    "region_id": region,
                    "url": url(call, path),
                }
            ],
        }
        for kind, path in services
    ]


def _project(project: Project, call: Call) -> dict[str, Any]:
    return {
        "id": project.project_id,
        "name": project.name,
        "domain_id": project.domain_id,
        "parent_id": project.domain_id,
        "enabled": True,
        "is_domain": False,
        "description": "",
        "status": project.state,
        "status_reason": project.state_reason,
        "links": {"self": url(call, f"/v3/projects/{project.project_id}")},
    }


def user_answer(user: User, call: Call) -> dict[str, Any]:
    """Return a user as all its operations show it."""
    return {
        "id": user.user_id,
        "name": user.name,
        "domain_id": user.domain_id,
        "enabled": user.is_enabled,
        "description": user.description,
        "email": user.email,
        "is_domain_owner": user.is_owner,
        "create_time": iam_time(user.created_at),
        "last_login_time": iam_time(user.last_login_at) if user.last_login_at is not None else None,
        "password_expires_at": None,
        "xuser_type": user.issuer,
        "links": {"self": url(call, f"/v3/users/{user.user_id}")},
    }


def url(call: Call, path: str) -> str:
    """Return `path` under the address that the client used for this server."""
    scheme = "https" if call.request.headers.get("x-forwarded-proto", "").lower() == "https" else "http"
    return f"{scheme}://{call.request.headers.get('host', 'localhost')}{path}"


def iam_time(at: float) -> str:
    """Return a time as all operations of the identity service write it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
