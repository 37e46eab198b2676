"""From an HTTP request to the event of a gateway function, and from its result back. Pure.

`build_event` and `render_result` are the two directions.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from funclet.base.http import JSON, TEXT, Request, Response
from funclet.model.errors import ModelError
from funclet.model.gateway import Authorizer, AuthorizerKind
from funclet.triggers.http_result import decode_plain
from funclet.triggers.http_routes import MAX_REMEMBERED_LENGTH, Match

MAX_QUERY_PARAMETERS = 1000
MAX_HEADERS_BYTES = 64 * 1024
BINARY = "application/octet-stream"
AUTHORIZER_PREFIX = "x-authorizer-"

_NO_STATUS = "FSS.1202"
_NOT_USABLE = "FSS.1206"
_WANTED = '{"statusCode": 200, "isBase64Encoded": false, "headers": {}, "body": ""}'
_SHOWN_RESULT_BYTES = 200
# RFC 9110 7.6.1, the length, which the listener knows better, and the ids.
_OURS = frozenset(
    {
        "x-request-id",
        "x-cff-request-id",
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def build_event(
    match: Match, request: Request, *, gateway_id: str, scheme: str, context: Mapping[str, str] | None = None
) -> bytes:
    """Return the event as JSON text.

    Args:
        match: the route of the request.
        request: as received.
        gateway_id: id of this request, 32 hexadecimal digits.
        scheme: `http` or `https`, as clients see the gateway.
        context: what authorizers have said, for headers `x-authorizer-...`, which clients cannot send then.

    Raises:
        ModelError: APIG.0201 if the query has too many parameters.
    """
    headers = _event_headers(request, gateway_id, scheme)
    if context is not None:
        headers = {name: value for name, value in headers.items() if not name.startswith(AUTHORIZER_PREFIX)}
        headers |= {f"{AUTHORIZER_PREFIX}{name.lower()}": value for name, value in context.items()}
    return b"".join(
        (
            match.event_start,
            gateway_id.encode(),
            b'"},"queryStringParameters":',
            msgspec.json.encode(_query(request.raw_query)) if request.raw_query else b"{}",
            b',"headers":',
            msgspec.json.encode(headers),
            b',"body":',
            _event_body(match, request),
        )
    )


def build_authorizer_event(
    match: Match, request: Request, authorizer: Authorizer, *, gateway_id: str, scheme: str
) -> bytes:
    """Return the event with which the function of a custom authorizer is asked, as JSON text.

    Args:
        match: the route of the request.
        request: as received; an authorizer of the back end sees only its method and path.
        authorizer: says what its function gets.
        gateway_id: id of this request, 32 hexadecimal digits.
        scheme: `http` or `https`, as clients see the gateway.

    Raises:
        ModelError: APIG.0201 if the query has too many parameters.
    """
    user_data = b',"user_data":' + msgspec.json.encode(authorizer.user_data) + b"}"
    if authorizer.kind is AuthorizerKind.BACKEND:
        route = match.route
        context = {"requestId": gateway_id, "apiId": route.api_id, "stage": route.stage}
        known = {
            "requestContext": context,
            "httpMethod": request.method,
            "path": match.path,
            "pathParameters": {},
            "queryStringParameters": {},
            "headers": {},
            "body": "",
            "isBase64Encoded": True,
        }
        return msgspec.json.encode(known)[:-1] + user_data
    shown = request if authorizer.sends_body else replace(request, body=b"")
    return build_event(match, shown, gateway_id=gateway_id, scheme=scheme)[:-1] + user_data


def render_result(result: bytes) -> Response:
    """Return the response that a function result stands for, without the headers that are the gateway's own.

    Raises:
        ModelError: FSS.1202 if it has no status code, FSS.1206 if it is not usable in another way.
    """
    try:
        plain = decode_plain(result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _render_any(result)
    # 1xx announces a second response that never comes: it would hang the client.
    if plain.is_encoded or not 200 <= plain.status <= 599 or len(result) > MAX_HEADERS_BYTES:  # noqa: PLR2004 - HTTP's own numbers
        return _render_any(result)
    content_type = TEXT
    headers: dict[str, str] = {}
    for name, value in plain.headers.items():
        kind = _kind_of(name) if len(name) <= MAX_REMEMBERED_LENGTH else _Kind.WRONG
        if kind is _Kind.WRONG or not (value.isascii() and value.isprintable()):
            return _render_any(result)
        if kind is _Kind.TYPE:
            content_type = value.strip()
        elif kind is _Kind.FREE:
            headers[name] = value.strip()
    return Response(status=plain.status, body=plain.body.encode(), content_type=content_type, headers=headers)


class _Kind(Enum):
    """What a header of a function result is to the gateway."""

    FREE = "free"
    TYPE = "content type"
    OURS = "ours"
    WRONG = "wrong"


@lru_cache(maxsize=1024)
def _kind_of(name: str) -> _Kind:
    lower = name.lower()
    if lower in _OURS:
        return _Kind.OURS
    if not _HEADER_NAME.fullmatch(name):
        return _Kind.WRONG
    return _Kind.TYPE if lower == "content-type" else _Kind.FREE


def _render_any(result: bytes) -> Response:
    try:
        answer = msgspec.json.decode(result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or answer.get("statusCode") in (None, 0, ""):
        raise ModelError(
            _NO_STATUS,
            "The response body or callback body is invalid because they do not contain any status code. "
            f"The function must return an object like {_WANTED}, not: {_shorten(result)}",
        )
    status = _status(answer["statusCode"])
    body, is_binary = _body(answer)
    single, repeated = _headers(answer.get("headers"))
    content_type = single.pop("content-type", BINARY if is_binary else TEXT)
    return Response(
        status=status,
        body=body,
        content_type=content_type,
        headers=single,
        repeated_headers=repeated,
    )


def _event_body(match: Match, request: Request) -> bytes:
    """Return the JSON text of the body, of the member that says how it is encoded, and of the end of the event."""
    if not match.route.encodes_body:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == JSON:
            try:
                return msgspec.json.encode(request.body.decode()) + b',"isBase64Encoded":false}'
            except UnicodeDecodeError:
                # No JSON after all; Base64 loses nothing.
                pass
    return b'"%b","isBase64Encoded":true}' % binascii.b2a_base64(request.body, newline=False)


def _event_headers(request: Request, gateway_id: str, scheme: str) -> dict[str, str]:
    headers = {name: value if value.isascii() else _header_text(value) for name, value in request.headers.items()}
    host = headers.get("host", "")
    forwarded = headers.get("x-forwarded-for")
    headers["x-request-id"] = gateway_id
    headers["x-real-ip"] = request.peer
    headers["x-forwarded-for"] = f"{forwarded}, {request.peer}" if forwarded else request.peer
    headers["x-forwarded-host"] = host
    headers["x-forwarded-port"] = _port(host) or ("443" if scheme == "https" else "80")
    headers["x-forwarded-proto"] = scheme
    return headers


def _header_text(value: str) -> str:
    """Return the text of a header whose characters stand for bytes; most senders mean UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _port(host: str) -> str:
    port = host.rpartition(":")[2]
    return port if port != host and port.isdigit() else ""


def _query(raw_query: str) -> dict[str, str | list[str]]:
    try:
        pairs = parse_qsl(_header_text(raw_query), keep_blank_values=True, max_num_fields=MAX_QUERY_PARAMETERS)
    except ValueError as error:
        raise ModelError("APIG.0201", f"There are more than {MAX_QUERY_PARAMETERS} query parameters.") from error
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: found if len(found) > 1 else found[0] for name, found in values.items()}


def _status(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == len("200"):
        value = int(value)
    # 1xx announces a second response that never comes: it would hang the client.
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:  # noqa: PLR2004 - HTTP's own numbers
        raise ModelError(_NOT_USABLE, f"'statusCode' of the function result is {str(value)[:40]}, not 200 to 599.")
    return value


def _body(answer: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Return the bytes of the body, and whether they are anything but text."""
    body = answer.get("body")
    if body is None:
        return b"", False
    if isinstance(body, dict) and body.get("type") == "Buffer":
        # What a Buffer of Node.js becomes in JSON.
        return _buffer(body.get("data")), True
    if not isinstance(body, str):
        raise ModelError(
            _NOT_USABLE, f"'body' of the function result must be a string; convert it first, as in {_WANTED}."
        )
    if not answer.get("isBase64Encoded"):
        return body.encode(), False
    try:
        return base64.b64decode("".join(body.split()), validate=True), True
    except (binascii.Error, ValueError) as error:
        raise ModelError(
            _NOT_USABLE, "'body' of the function result is not Base64, though 'isBase64Encoded' is true."
        ) from error


def _buffer(data: Any) -> bytes:
    try:
        if isinstance(data, list):
            return bytes(data)
    except (TypeError, ValueError):
        pass
    raise ModelError(_NOT_USABLE, "'body' of the function result is a Buffer without bytes.")


def _headers(headers: Any) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Return the headers that appear once, by lower-case name for `content-type` only, and the repeated ones."""
    single: dict[str, str] = {}
    repeated: list[tuple[str, str]] = []
    if headers is None:
        return single, ()
    if not isinstance(headers, dict):
        raise ModelError(_NOT_USABLE, f"'headers' of the function result must be an object, as in {_WANTED}.")
    size = 0
    for name, value in headers.items():
        lower = name.lower()
        if lower in _OURS:
            continue
        if not _HEADER_NAME.fullmatch(name):
            raise ModelError(_NOT_USABLE, f"'{name[:80]}' in 'headers' of the function result is no header name.")
        values = [_header_value(name, one) for one in (value if isinstance(value, list) else [value])]
        size += sum(len(name) + len(one) for one in values)
        if lower == "content-type" and values:
            single[lower] = values[-1]
        elif isinstance(value, list):
            repeated.extend((name, one) for one in values)
        else:
            single[name] = values[0]
    if size > MAX_HEADERS_BYTES:
        raise ModelError(_NOT_USABLE, f"'headers' of the function result are larger than {MAX_HEADERS_BYTES} bytes.")
    return single, tuple(repeated)


def _header_value(name: str, value: Any) -> str:
    """Return a header value whose characters stand for bytes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str) or _CONTROL.search(value):
        raise ModelError(
            _NOT_USABLE, f"Header '{name[:80]}' of the function result must be a string without control characters."
        )
    return value.strip() if value.isascii() else value.strip().encode().decode("latin-1")


def _shorten(result: bytes) -> str:
    text = result[: _SHOWN_RESULT_BYTES + 4].decode(errors="replace")
    return text if len(result) <= _SHOWN_RESULT_BYTES else f"{text[:_SHOWN_RESULT_BYTES]}..."
