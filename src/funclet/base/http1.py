"""The text of HTTP/1.1: request targets read, heads of answers written. Pure; sockets are the front's."""

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus

from funclet.base.http import Response
from funclet.base.ids import new_uuid

try:
    from funclet.base._http import read_request as read_request  # noqa: PLC0414 - given on
except ImportError:  # installed without a compiler

    def read_request(
        data: bytes,  # noqa: ARG001 - as the compiled one, which only ever saves time
        start: int,  # noqa: ARG001 - as above
        /,
    ) -> tuple[str, str, str, dict[str, str], bytes, int] | None:
        """Leave every request to the full parser."""
        return None


BODILESS = frozenset({204, 304})
"""Statuses whose answer has neither body nor length."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
# The listener writes these itself.
_RESERVED = frozenset({"connection", "content-length", "content-type", "date", "keep-alive", "transfer-encoding"})
MAX_NAME_LENGTH = 256
"""Of a header in an answer; longer ones are cut."""
_UPGRADE = frozenset({"connection", "upgrade"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def split_target(target: bytes) -> tuple[str, str]:
    """Return raw path and raw query of a request target, which may be a whole URL."""
    text = target.decode("latin-1").partition("#")[0]
    if not text.startswith("/") and "://" in text:
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    return path, query


def head_without_upgrade(method: str, target: bytes, headers: Mapping[str, str], *, is_http_1_0: bool) -> bytes:
    """Return the head of a request that was read, less its wish for another protocol."""
    kept = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name not in _UPGRADE)
    line = f"{method} {target.decode('latin-1')} HTTP/1.{0 if is_http_1_0 else 1}\r\n"
    return f"{line}{kept}\r\n".encode("latin-1")


def encode_head(response: Response, *, connection: str, date: str) -> bytes:
    """Return status line and headers of an answer, with the empty line.

    Header names and values are cleaned of what would break out of their line. An X-Request-Id is
    added if the answer has none.

    Args:
        response: the answer.
        connection: value of the Connection header; empty for none.
        date: value of the Date header.
    """
    status = response.status
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    head = f"{line}Date: {date}\r\n"
    if status not in BODILESS:
        head += f"Content-Length: {len(response.body)}\r\n"
        if response.content_type:
            head += f"Content-Type: {_value(response.content_type)}\r\n"
    if connection:
        head += f"Connection: {connection}\r\n"
    headers = response.headers
    if "X-Request-Id" not in headers:
        head += f"X-Request-Id: {new_uuid()}\r\n"
    for name, value in headers.items():
        if begin := _begin(name[:MAX_NAME_LENGTH]):
            head += f"{begin}{_value(value)}\r\n"
    for name, value in response.repeated_headers:
        if begin := _begin(name[:MAX_NAME_LENGTH]):
            head += f"{begin}{_value(value)}\r\n"
    head += "\r\n"
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode(errors="replace")


def _value(value: str) -> str:
    """Return the value of a header. What comes from a function must not begin a line of its own."""
    return value if value.isprintable() else _CONTROL.sub(" ", value)


@lru_cache(maxsize=1024)
def _begin(name: str) -> str:
    """Return the name of a header with colon and blank; empty for one that nobody but the listener may write."""
    if not _TOKEN.fullmatch(name):
        name = _NOT_IN_TOKEN.sub("", name)
    return f"{name}: " if name and name.lower() not in _RESERVED else ""
