"""Connections and objects of the data folder: bodies to the service, values to JSON without secrets."""

from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.messaging import ANY_RESOURCE, Connection, ConnectionKind

MAX_PAGE = 1000
DEFAULT_REGION = "us-east-1"


class ConnectionBody(msgspec.Struct):
    """Body of the put operation."""

    kind: str
    address: str
    user: str = ""
    secret: str = ""
    region: str = DEFAULT_REGION
    resources: list[str] = msgspec.field(default_factory=lambda: [ANY_RESOURCE])


async def put_connection(call: Call) -> Response:
    """Serve PutConnection: create, or replace as a whole."""
    body = codec.decode(ConnectionBody, call)
    if body.kind not in list(ConnectionKind):
        raise ModelError("FSS.0400", f"kind '{body.kind[:40]}' is unknown; use one of {', '.join(ConnectionKind)}.")
    connection = Connection(
        project_id=call.principal.project.project_id,
        name=call.parameters["connection_name"],
        kind=ConnectionKind(body.kind),
        address=body.address.rstrip("/"),
        region=body.region,
        user=body.user,
        resources=tuple(dict.fromkeys(body.resources)),
    )
    stored = await call.services.connections.put(connection, body.secret)
    return codec.json_response(200, _connection(stored))


async def list_connections(call: Call) -> Response:
    """Serve ListConnections."""
    found = await call.services.connections.list(call.principal)
    return codec.json_response(200, {"connections": [_connection(one) for one in found], "count": len(found)})


async def delete_connection(call: Call) -> Response:
    """Serve DeleteConnection."""
    await call.services.connections.delete(call.principal, call.parameters["connection_name"])
    return codec.no_content()


async def test_connection(call: Call) -> Response:
    """Serve TestConnection: 200 in any case, since it is the other end that answers."""
    problem = await call.services.connections.test(call.principal, call.parameters["connection_name"])
    return codec.json_response(200, {"is_working": not problem, "problem": problem})


async def rotate_secret_key(call: Call) -> Response:
    """Serve RotateSecretKey."""
    await call.services.connections.rotate_key()
    return codec.no_content()


async def list_objects(call: Call) -> Response:
    """Serve ListObjects of a bucket in the data folder; `marker` is the last key of the page before."""
    limit = codec.query_number(call, "limit", default=MAX_PAGE)
    found = await call.services.connections.objects(
        call.principal,
        call.parameters["bucket"],
        prefix=call.query.get("prefix", ""),
        after=call.query.get("marker", ""),
        limit=limit if 0 < limit <= MAX_PAGE else MAX_PAGE,
    )
    rows = [
        {
            "key": one.key,
            "size": one.size,
            "written_at": utc_text(one.written_at),
            "expires_at": utc_text(one.expires_at) if one.expires_at is not None else None,
        }
        for one in found
    ]
    return codec.json_response(200, {"objects": rows, "next_marker": rows[-1]["key"] if rows else ""})


async def show_object(call: Call) -> Response:
    """Serve ShowObject: the object itself, by the query parameter `key`."""
    body = await call.services.connections.read_object(
        call.principal, call.parameters["bucket"], call.query.get("key", "")
    )
    return Response(status=200, body=body)


def _connection(one: Connection) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind.value,
        "address": one.address,
        "region": one.region,
        "user": one.user,
        "resources": list(one.resources),
        "created_at": utc_text(one.created_at),
    }
