"""From what went wrong to an answer. The only place that knows the shape of an error body.

Paths of the identity service (`/v3...`) use the shape of Keystone, all others
`{"error_code", "error_msg", "request_id"}`.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from funclet.base.http import Response
from funclet.model.errors import TABLE, ModelError
from funclet.store.protocol import StoreUnavailable

_IDENTITY_PREFIX = "/v3"


class MethodRefused(ModelError):
    """The path exists, but not with this method."""

    def __init__(self, message: str, *, allowed: str) -> None:
        """Prepare; `allowed` is the text of the Allow header."""
        super().__init__("FSS.0405", message)
        self.allowed = allowed


def error_body(code: str, message: str, request_id: str) -> bytes:
    """Return the JSON text of an error."""
    return msgspec.json.encode({"error_code": code, "error_msg": message, "request_id": request_id})


def error_response(
    code: str, message: str, *, request_id: str, headers: Mapping[str, str] | None = None, status: int = 0
) -> Response:
    """Return the answer for a code of the error table; `status` overrides the one of the table."""
    return Response(
        status=status or TABLE[code].status,
        body=error_body(code, message, request_id),
        # The id in the body must be the one that the listener sends.
        headers={"X-Request-Id": request_id, **(headers or {})},
    )


def from_error(error: ModelError | StoreUnavailable, *, path: str, request_id: str) -> Response:
    """Return the answer for an expected failure of a request to `path`."""
    if isinstance(error, StoreUnavailable):
        # What the database said is for our log, not for the caller.
        error = ModelError("FSS.0503", "The database cannot be used now; nothing was changed.", retry_after_s=1.0)
    headers = {} if error.retry_after_s is None else {"Retry-After": retry_after(error.retry_after_s)}
    if isinstance(error, MethodRefused):
        headers["Allow"] = error.allowed
    if path.startswith(_IDENTITY_PREFIX):
        title = HTTPStatus(error.status).phrase
        body = {"error": {"code": error.status, "message": error.message, "title": title}}
        return Response(status=error.status, body=msgspec.json.encode(body), headers=headers)
    return error_response(error.code, error.message, request_id=request_id, headers=headers)


def retry_after(delay_s: float) -> str:
    """Return the value of a Retry-After header: whole seconds, at least one."""
    return str(max(1, math.ceil(delay_s)))
