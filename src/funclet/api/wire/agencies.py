"""Agencies and temporary access keys, in the shapes of the cloud's identity service."""

from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.api.wire.identity import check_may_assume, iam_time, require
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.identity import Agency
from funclet.services.agencies import DEFAULT_DURATION_S, AgencyChange


class _Agency(msgspec.Struct):
    name: str = ""
    domain_id: str | None = None
    trust_domain_name: str | None = None
    description: str | None = None
    duration: str | int | None = None


class _AgencyBody(msgspec.Struct):
    agency: _Agency


class _Held(msgspec.Struct):
    duration_seconds: int = DEFAULT_DURATION_S


class _Assumed(msgspec.Struct):
    agency_name: str
    duration_seconds: int = DEFAULT_DURATION_S


class _Identity(msgspec.Struct):
    methods: list[str]
    token: _Held | None = None
    assume_role: _Assumed | None = None
    policy: dict[str, Any] | None = None


class _Auth(msgspec.Struct):
    identity: _Identity


class _NewKey(msgspec.Struct):
    auth: _Auth


async def create_agency(call: Call) -> Response:
    """Serve CreateAgency."""
    body = codec.decode(_AgencyBody, call).agency
    _check_domain(body.domain_id, call)
    agency = await require(call.services.agencies).create(call.principal, body.name, _change(body))
    return codec.json_response(201, {"agency": _agency(agency)})


async def list_agencies(call: Call) -> Response:
    """Serve ListAgencies, all or by name."""
    _check_domain(call.query.get("domain_id"), call)
    found = await require(call.services.agencies).list(call.principal, name=call.query.get("name", ""))
    return codec.json_response(200, {"agencies": [_agency(one) for one in found]})


async def show_agency(call: Call) -> Response:
    """Serve ShowAgency."""
    agency = await require(call.services.agencies).get(call.principal, call.parameters["agency_id"])
    return codec.json_response(200, {"agency": _agency(agency)})


async def update_agency(call: Call) -> Response:
    """Serve UpdateAgency: members that are not sent stay as they are."""
    body = codec.decode(_AgencyBody, call).agency
    agency = await require(call.services.agencies).update(call.principal, call.parameters["agency_id"], _change(body))
    return codec.json_response(200, {"agency": _agency(agency)})


async def delete_agency(call: Call) -> Response:
    """Serve DeleteAgency."""
    await require(call.services.agencies).delete(call.principal, call.parameters["agency_id"])
    return codec.no_content()


async def list_service_trusted_agencies(call: Call) -> Response:
    """Serve ListServiceTrustedAgencies: those that functions may name."""
    found = await require(call.services.agencies).of_functions(call.principal)
    return codec.json_response(200, [{"name": one.name, "expire_time": _end(one) or ""} for one in found])


async def create_temporary_access_key(call: Call) -> Response:
    """Serve CreateTemporaryAccessKey: for the caller, or for an agency that lets the caller act for it."""
    identity = codec.decode(_NewKey, call).auth.identity
    agencies = require(call.services.agencies)
    if identity.methods == ["token"]:
        duration = identity.token.duration_seconds if identity.token else DEFAULT_DURATION_S
        key = agencies.key_of_caller(call.principal, duration=duration, policy=identity.policy)
    elif identity.methods == ["assume_role"] and identity.assume_role:
        wanted = identity.assume_role
        check_may_assume(call, call.principal, wanted.agency_name)
        claims = await agencies.assumed(
            call.principal, wanted.agency_name, duration=wanted.duration_seconds, policy=identity.policy
        )
        key = agencies.key(claims)
    else:
        raise ModelError("FSS.0400", "methods must be ['token'], or ['assume_role'] with the member of that name.")
    credential = {
        "access": key.access,
        "secret": key.secret,
        "securitytoken": key.security_token,
        "expires_at": iam_time(key.expires_at),
    }
    return codec.json_response(201, {"credential": credential})


def _check_domain(domain_id: str | None, call: Call) -> None:
    if domain_id and domain_id != call.principal.user.domain_id:
        raise ModelError("FSS.0403", f"The domain '{domain_id[:64]}' is not the one of your credentials.")


def _change(body: _Agency) -> AgencyChange:
    return AgencyChange(
        trust_domain_name=body.trust_domain_name,
        description=body.description,
        duration=None if body.duration is None else str(body.duration),
    )


def _agency(agency: Agency) -> dict[str, Any]:
    return {
        "id": agency.agency_id,
        "name": agency.name,
        "domain_id": agency.domain_id,
        "trust_domain_name": agency.trust_domain_name,
        "description": agency.description,
        "duration": agency.duration,
        "create_time": iam_time(agency.created_at),
        "expire_time": _end(agency),
    }


def _end(agency: Agency) -> str | None:
    return None if agency.expires_at is None else utc_text(agency.expires_at)
