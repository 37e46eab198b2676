"""Custom authorizers, apps and grants, with the members that the cloud's gateway service has."""

from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.gateway import AppCode, Authorizer, AuthorizerKind, Grant, Identity, Location
from funclet.services.gateway_access import ShownApp

MAX_PAGE = 500
_URN_COLONS = 7
"""Of a function urn with a version."""


class IdentityBody(msgspec.Struct):
    """A value that a request must carry."""

    name: str
    location: Location
    validation: str | None = None


class AuthorizerBody(msgspec.Struct):
    """Body of the operations that create and replace an authorizer."""

    name: str
    type: AuthorizerKind
    authorizer_uri: str
    authorizer_type: str = "FUNC"
    authorizer_version: str | None = None
    authorizer_alias_uri: str | None = None
    identities: list[IdentityBody] | None = None
    ttl: int | None = None
    user_data: str | None = None
    need_body: bool | None = None


class AppBody(msgspec.Struct):
    """Body of the operation that creates an app."""

    name: str
    remark: str | None = None
    app_key: str | None = None
    app_secret: str | None = None


class CodeBody(msgspec.Struct):
    """Body of the operation that gives an app a code."""

    app_code: str | None = None


class GrantBody(msgspec.Struct):
    """Body of the operation that lets apps call APIs. `env_id` is taken and means nothing: an API is in one."""

    app_ids: list[str]
    api_ids: list[str]


async def create_authorizer(call: Call) -> Response:
    """Serve CreateCustomAuthorizer."""
    authorizer = await call.services.gateway.create_authorizer(call.principal, _wanted(call))
    return codec.json_response(201, _authorizer(authorizer))


async def update_authorizer(call: Call) -> Response:
    """Serve UpdateCustomAuthorizer."""
    authorizer_id = call.parameters["authorizer_id"]
    authorizer = await call.services.gateway.update_authorizer(call.principal, authorizer_id, _wanted(call))
    return codec.json_response(200, _authorizer(authorizer))


async def list_authorizers(call: Call) -> Response:
    """Serve ListCustomAuthorizers."""
    return _page(call, "authorizer_list", [_authorizer(one) for one in await _authorizers(call)])


async def show_authorizer(call: Call) -> Response:
    """Serve ShowCustomAuthorizer."""
    authorizer = await call.services.gateway.authorizer(call.principal, call.parameters["authorizer_id"])
    return codec.json_response(200, _authorizer(authorizer))


async def delete_authorizer(call: Call) -> Response:
    """Serve DeleteCustomAuthorizer."""
    await call.services.gateway.delete_authorizer(call.principal, call.parameters["authorizer_id"])
    return codec.no_content()


async def create_app(call: Call) -> Response:
    """Serve CreateApp."""
    body = codec.decode(AppBody, call)
    shown = await call.services.gateway.create_app(
        call.principal,
        name=body.name,
        remark=body.remark or "",
        key=body.app_key or "",
        secret=body.app_secret or "",
    )
    return codec.json_response(201, _app(shown))


async def list_apps(call: Call) -> Response:
    """Serve ListApps, without their secrets."""
    apps = await call.services.gateway.apps(call.principal)
    return _page(call, "apps", [_app(ShownApp(app, "")) for app in apps])


async def show_app(call: Call) -> Response:
    """Serve ShowApp."""
    return codec.json_response(200, _app(await call.services.gateway.app(call.principal, call.parameters["app_id"])))


async def delete_app(call: Call) -> Response:
    """Serve DeleteApp."""
    await call.services.gateway.delete_app(call.principal, call.parameters["app_id"])
    return codec.no_content()


async def create_app_code(call: Call) -> Response:
    """Serve CreateAppCode."""
    body = codec.decode(CodeBody, call)
    code, text = await call.services.gateway.add_code(call.principal, call.parameters["app_id"], body.app_code or "")
    return codec.json_response(201, _code(code, text))


async def list_app_codes(call: Call) -> Response:
    """Serve ListAppCodes."""
    codes = await call.services.gateway.codes(call.principal, call.parameters["app_id"])
    return _page(call, "app_codes", [_code(code, text) for code, text in codes])


async def delete_app_code(call: Call) -> Response:
    """Serve DeleteAppCode."""
    await call.services.gateway.delete_code(call.principal, call.parameters["app_id"], call.parameters["code_id"])
    return codec.no_content()


async def create_grants(call: Call) -> Response:
    """Serve CreateAppGrants."""
    body = codec.decode(GrantBody, call)
    grants = await call.services.gateway.grant(call.principal, body.app_ids, body.api_ids)
    return codec.json_response(201, {"auths": [_grant(grant) for grant in grants]})


async def list_grants(call: Call) -> Response:
    """Serve ListAppGrants."""
    grants = await call.services.gateway.grants(call.principal, call.query.get("app_id", ""))
    return _page(call, "auths", [_grant(grant) for grant in grants])


async def delete_grant(call: Call) -> Response:
    """Serve DeleteAppGrant."""
    await call.services.gateway.revoke(call.principal, call.parameters["grant_id"])
    return codec.no_content()


async def _authorizers(call: Call) -> list[Authorizer]:
    found = await call.services.gateway.authorizers(call.principal)
    name, kind = call.query.get("name", ""), call.query.get("type", "")
    return [one for one in found if name in ("", one.name) and kind in ("", one.kind)]


def _page(call: Call, name: str, rows: list[dict[str, Any]]) -> Response:
    limit = codec.query_number(call, "limit", default=20)
    offset = max(0, codec.query_number(call, "offset", default=0))
    page = rows[offset : offset + (limit if 0 < limit <= MAX_PAGE else MAX_PAGE)]
    return codec.json_response(200, {"total": len(rows), "size": len(page), name: page})


def _wanted(call: Call) -> Authorizer:
    body = codec.decode(AuthorizerBody, call)
    identities = [
        Identity(name=one.name, location=one.location, validation=one.validation or "") for one in body.identities or ()
    ]
    return Authorizer(
        authorizer_id="",
        project_id="",
        name=body.name,
        kind=body.type,
        function_urn=body.authorizer_alias_uri or _versioned(body.authorizer_uri, body.authorizer_version or ""),
        cache_age_s=body.ttl or 0,
        user_data=body.user_data or "",
        identities=tuple(identities),
        sends_body=bool(body.need_body),
        created_at=0.0,
        updated_at=0.0,
    )


def _versioned(urn: str, version: str) -> str:
    """Return the urn with a version, unless it has one already."""
    has_version = urn.count(":") >= _URN_COLONS
    return f"{urn}:{version}" if version and not has_version else urn


def _authorizer(authorizer: Authorizer) -> dict[str, Any]:
    urn, _, qualifier = authorizer.function_urn.rpartition(":")
    is_alias = qualifier.startswith("!")
    return {
        "id": authorizer.authorizer_id,
        "name": authorizer.name,
        "type": authorizer.kind,
        "authorizer_type": "FUNC",
        "authorizer_uri": urn,
        "authorizer_version": "" if is_alias else qualifier,
        "authorizer_alias_uri": authorizer.function_urn if is_alias else "",
        "identities": [
            {"name": one.name, "location": one.location, "validation": one.validation} for one in authorizer.identities
        ],
        "ttl": authorizer.cache_age_s,
        "user_data": authorizer.user_data,
        "need_body": authorizer.sends_body,
        "create_time": utc_text(authorizer.created_at),
    }


def _app(shown: ShownApp) -> dict[str, Any]:
    app = shown.app
    secret = {"app_secret": shown.secret} if shown.secret else {}
    return {
        "id": app.app_id,
        "name": app.name,
        "remark": app.remark,
        "app_key": app.key,
        "app_type": "apig",
        "status": 1,
        "register_time": utc_text(app.created_at),
        "update_time": utc_text(app.updated_at),
        **secret,
    }


def _code(code: AppCode, text: str) -> dict[str, Any]:
    return {
        "id": code.code_id,
        "app_id": code.app_id,
        "app_code": text,
        "create_time": utc_text(code.created_at),
    }


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.grant_id,
        "app_id": grant.app_id,
        "api_id": grant.api_id,
        "auth_result": {"status": "SUCCESS", "error_msg": "", "error_code": ""},
        "auth_time": utc_text(grant.created_at),
    }
