"""Operations that switch something on and read it back: log reporting, tracing, snapshots, endpoints, bridges."""

import dataclasses

import msgspec

from funclet.api.call import Call, resources_of
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.model.errors import ModelError

BRIDGE_TYPES = ("rds", "mqs", "cache")


class TracingFields(msgspec.Struct):
    """Body of `UpdateTracing`."""

    tracing_ak: str | None = None
    tracing_sk: str | None = None


class EndpointFields(msgspec.Struct):
    """Body of `CreateVpcEndpoint`."""

    vpc_id: str | None = None
    subnet_id: str | None = None
    flavor: str | None = None
    xrole: str | None = None


async def enable_lts_logs(call: Call) -> Response:
    """Serve EnableLtsLogs."""
    await resources_of(call).switches.report_logs(call.principal)
    return Response(status=200)


async def show_lts_log_details(call: Call) -> Response:
    """Serve ShowLtsLogDetails; all members are empty while the project does not report logs."""
    place = await resources_of(call).switches.log_place(call.principal, call.parameters["function_urn"])
    return codec.json_response(200, dataclasses.asdict(place))


async def update_tracing(call: Call) -> Response:
    """Serve UpdateTracing; an empty body ends tracing."""
    fields = codec.decode(TracingFields, call)
    await resources_of(call).switches.set_tracing(
        call.principal,
        call.parameters["function_urn"],
        access_key=fields.tracing_ak or "",
        secret_key=fields.tracing_sk or "",
    )
    return Response(status=200)


async def show_tracing(call: Call) -> Response:
    """Serve ShowTracing. The secret is never sent back."""
    key = await resources_of(call).switches.tracing_key(call.principal, call.parameters["function_urn"])
    return codec.json_response(200, {"tracing_ak": key, "tracing_sk": ""})


async def update_snapshot(call: Call) -> Response:
    """Serve UpdateFuncSnapshot."""
    action = call.parameters["action"]
    if action not in ("enable", "disable"):
        raise ModelError("FSS.0400", f"action '{action[:40]}' is invalid: enable or disable.")
    await resources_of(call).switches.switch_snapshot(
        call.principal, call.parameters["function_urn"], is_on=action == "enable"
    )
    return Response(status=200)


async def show_snapshot(call: Call) -> Response:
    """Serve ShowFuncSnapshotState: the switch, or how far the snapshot is, which this server never makes."""
    action = call.parameters["action"]
    if action not in ("state", "enableSnapshot"):
        raise ModelError("FSS.0400", f"action '{action[:40]}' is invalid: state or enableSnapshot.")
    is_on = await resources_of(call).switches.has_snapshot(call.principal, call.parameters["function_urn"])
    if action == "state" and is_on:
        return codec.json_response(200, {"state": "fail", "code": "not_supported"})
    return codec.json_response(200, {"state": "success" if is_on else "disable", "code": ""})


async def create_vpc_endpoint(call: Call) -> Response:
    """Serve CreateVpcEndpoint. The entry is the address of the API itself."""
    fields = codec.decode(EndpointFields, call)
    endpoints = resources_of(call).endpoints
    await endpoints.create(
        call.principal,
        vpc_id=fields.vpc_id or "",
        subnet_id=fields.subnet_id or "",
        flavor=fields.flavor or "",
        agency=fields.xrole or "",
    )
    host = endpoints.address.rpartition(":")[0] or endpoints.address
    return codec.json_response(200, {"endpoints": [host.strip("[]")], "address": endpoints.address})


async def delete_vpc_endpoint(call: Call) -> Response:
    """Serve DeleteVpcEndpoint."""
    parameters = call.parameters
    await resources_of(call).endpoints.delete(call.principal, parameters["vpc_id"], parameters["subnet_id"])
    return codec.no_content()


async def list_bridge_functions(call: Call) -> Response:
    """Serve ListBridgeFunctions: none, because bridges to the cloud's services have nothing to lead to here."""
    _check_bridge_type(call, is_required=False)
    await call.services.functions.get(call.principal, call.parameters["function_urn"])
    return codec.json_response(200, [])


async def list_bridge_versions(call: Call) -> Response:
    """Serve ListBridgeVersions: none."""
    _check_bridge_type(call, is_required=True)
    return codec.json_response(200, [])


def _check_bridge_type(call: Call, *, is_required: bool) -> None:
    kind = call.query.get("type", "")
    if kind not in BRIDGE_TYPES and (kind or is_required):
        raise ModelError("FSS.1001", f"type '{kind[:40]}' is invalid: one of {', '.join(BRIDGE_TYPES)}.")
