"""Logging in with the token of an OIDC issuer, in the shape of the cloud's identity service."""

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.api.wire.identity import TokenScope, read_scope, require, token_response
from funclet.base.http import Response


class _IdToken(msgspec.Struct):
    id: str


class _Auth(msgspec.Struct):
    id_token: _IdToken
    scope: TokenScope | None = None


class _NewToken(msgspec.Struct):
    auth: _Auth


async def create_token_with_id_token(call: Call) -> Response:
    """Serve CreateTokenWithIdToken: a token of ours for an ID token of the issuer that the operator has named."""
    auth = codec.decode(_NewToken, call).auth
    login = await require(call.services.federation).login(auth.id_token.id, read_scope(auth.scope))
    return token_response(call, login, method="id_token")
