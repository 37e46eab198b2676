"""Identity operations, in the shapes of Keystone: tokens, projects, domains, regions, users."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.identity import Project, User
from funclet.services.identity import Login, Scope


class _Reference(msgspec.Struct):
    """A domain or project by id or name."""

    id: str = ""
    name: str = ""


class _ProjectScope(msgspec.Struct):
    id: str = ""
    name: str = ""
    domain: _Reference = msgspec.field(default_factory=_Reference)


class _Scope(msgspec.Struct):
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


class _Identity(msgspec.Struct):
    methods: list[str]
    password: _Password | None = None
    token: _Token | None = None


class _Auth(msgspec.Struct):
    identity: _Identity
    scope: _Scope | None = None


class _NewToken(msgspec.Struct):
    auth: _Auth


async def create_token(call: Call) -> Response:
    """Serve CreateToken: log in with a password, or get a token for another scope with a token."""
    auth = codec.decode(_NewToken, call).auth
    identity, scope = auth.identity, _read_scope(auth.scope)
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
    else:
        raise ModelError("FSS.0401", "methods must be ['password'] or ['token'], with the member of that name.")
    is_domain = auth.scope is not None and auth.scope.project is None and auth.scope.domain is not None
    body = _token(login, call, method=identity.methods[0], is_domain=is_domain)
    return codec.json_response(201, body, headers={"X-Subject-Token": login.text})


async def validate_token(call: Call) -> Response:
    """Serve ValidateToken: show what the token in X-Subject-Token stands for."""
    login = await call.services.identity.find_token(call.request.headers.get("x-subject-token", ""))
    if login is None or login.user.domain_id != call.principal.user.domain_id:
        raise ModelError("FSS.0404", "The token in X-Subject-Token is unknown or has expired.")
    body = _token(login, call, method="password", is_domain=False)
    return codec.json_response(200, body, headers={"X-Subject-Token": login.text})


async def list_projects(call: Call) -> Response:
    """Serve ListProjects. SDKs look their project id up here, by the name of the region."""
    projects = await call.services.identity.projects(call.principal, name=call.query.get("name", ""))
    return codec.json_response(
        200,
        {"projects": [_project(project, call) for project in projects], "links": {"self": _url(call, "/v3/projects")}},
    )


async def create_project(_: Call) -> Response:
    """Refuse to create a project: an SDK tries this when it found none for its region."""
    raise ModelError("FSS.0403", "Projects cannot be created here; use the region of this server as project name.")


async def list_auth_domains(call: Call) -> Response:
    """Serve ListAuthDomains: the one domain of the caller."""
    project = call.principal.project
    domain = {
        "id": project.domain_id,
        "name": project.domain_name,
        "enabled": True,
        "description": "",
        "links": {"self": _url(call, f"/v3/domains/{project.domain_id}")},
    }
    return codec.json_response(200, {"domains": [domain], "links": {"self": _url(call, "/v3/auth/domains")}})


async def list_regions(call: Call) -> Response:
    """Serve the list of regions: the one that this server is."""
    region = {
        "id": call.services.identity.region,
        "type": "public",
        "description": "",
        "parent_region_id": None,
        "locales": {},
        "links": {"self": _url(call, f"/v3/regions/{call.services.identity.region}")},
    }
    return codec.json_response(200, {"regions": [region], "links": {"self": _url(call, "/v3/regions")}})


async def list_users(call: Call) -> Response:
    """Serve the list of users, by name; without one, the caller."""
    users = await call.services.identity.users(call.principal, name=call.query.get("name", ""))
    return codec.json_response(
        200, {"users": [_user(user, call) for user in users], "links": {"self": _url(call, "/v3/users")}}
    )


def _read_scope(scope: _Scope | None) -> Scope:
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
            "issued_at": _time(login.token.issued_at),
            "expires_at": _time(login.token.expires_at),
            "catalog": [] if codec.is_true(call.query.get("nocatalog", "")) else _catalog(project, call),
            "roles": [{"id": "0", "name": "te_admin"}],
            "user": {"id": user.user_id, "name": user.name, "domain": domain, "password_expires_at": ""},
            **scope,
        }
    }


def _catalog(project: Project, call: Call) -> list[dict[str, Any]]:
    region = call.services.identity.region
    services = (("functiongraph", f"/v2/{project.project_id}"), ("iam", "/v3"))
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
                    "url": _url(call, path),
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
        "links": {"self": _url(call, f"/v3/projects/{project.project_id}")},
    }


def _user(user: User, call: Call) -> dict[str, Any]:
    return {
        "id": user.user_id,
        "name": user.name,
        "domain_id": user.domain_id,
        "enabled": True,
        "links": {"self": _url(call, f"/v3/users/{user.user_id}")},
    }


def _url(call: Call, path: str) -> str:
    """Return `path` under the address that the client used for this server."""
    scheme = "https" if call.request.headers.get("x-forwarded-proto", "").lower() == "https" else "http"
    return f"{scheme}://{call.request.headers.get('host', 'localhost')}{path}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
