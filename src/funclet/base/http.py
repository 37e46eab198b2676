"""HTTP requests and responses as values, so that routes can be tested without a socket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


# Neither is frozen, which would triple the time to make one for every request; only who makes one changes it.


@dataclass(slots=True, kw_only=True)
class Request:
    """One whole request; its body has been read and is within the limit of the listener."""

    method: str
    """Upper case."""
    raw_path: str
    """As received: percent-encoded, without the query."""
    raw_query: str = ""
    """Without the question mark."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; repeated headers joined with `, `."""
    body: bytes = b""
    peer: str = ""
    """Address of the client."""
    answer_early: "Callable[[Response], None] | None" = None
    """Answers the client before the handler has ended; what the handler returns is then of no use any more."""


@dataclass(slots=True, kw_only=True)
class Response:
    """One whole response. Content-Length and Connection are added by the listener."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    repeated_headers: tuple[tuple[str, str], ...] = ()
    """Headers that appear more than once, such as Set-Cookie."""
