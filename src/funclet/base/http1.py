"""The text of HTTP/1.1: request targets read, heads of answers written. Pure; sockets are the front's."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from funclet.base.http import Response
from funclet.base.ids import new_uuid

BODILESS = frozenset({204, 304})
"""Statuses whose answer has neither body nor length."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
# The listener writes these itself.
_RESERVED = frozenset({"connection", "content-length", "content-type", "date", "keep-alive", "transfer-encoding"})
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
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n", f"Date: {date}\r\n"]
    if status not in BODILESS:
        lines.append(f"Content-Length: {len(response.body)}\r\n")
        if response.content_type:
            lines.append(_line("Content-Type", response.content_type))
    if connection:
        lines.append(f"Connection: {connection}\r\n")
    if "X-Request-Id" not in response.headers:
        lines.append(f"X-Request-Id: {new_uuid()}\r\n")
    lines += [_line(name, value) for name, value in response.headers.items() if name.lower() not in _RESERVED]
    lines += [_line(name, value) for name, value in response.repeated_headers if name.lower() not in _RESERVED]
    lines.append("\r\n")
    head = "".join(lines)
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode(errors="replace")


def _line(name: str, value: str) -> str:
    """Return a header line. What comes from a function must not begin a line of its own."""
    if not value.isprintable():
        value = _CONTROL.sub(" ", value)
    if not _TOKEN.fullmatch(name):
        name = _NOT_IN_TOKEN.sub("", name)
    return f"{name}: {value}\r\n" if name else ""
