"""Answers of the gateway to browsers that ask whether a page of another origin may call an API. Pure."""

from dataclasses import dataclass
from typing import Any

from funclet.base.http import Request, Response
from funclet.model.errors import ModelError
from funclet.triggers import fields
from funclet.triggers.fields import Flag, Number, Texts

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")
MAX_AGE_S = 86_400
MAX_ASKED_LENGTH = 4096
_FIELDS = (
    Texts("allow_origins"),
    Texts("allow_methods", choices=(*METHODS, "*")),
    Texts("allow_headers"),
    Texts("expose_headers"),
    Number("max_age", 0, MAX_AGE_S),
    Flag("allow_credentials"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What browsers may do."""

    origins: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = METHODS
    headers: tuple[str, ...] = ("*",)
    exposed: tuple[str, ...] = ()
    max_age_s: int = 600
    with_credentials: bool = False

    def origin_for(self, request: Request) -> str:
        """Return the allowed origin of a request; empty if its origin is not allowed, or if it has none."""
        origin = request.headers.get("origin", "")
        if not origin or not ("*" in self.origins or origin in self.origins):
            return ""
        return origin if self.with_credentials or "*" not in self.origins else "*"


def check(value: Any, code: str) -> None:
    """Refuse what is no description: nothing, true, false, or an object.

    Raises:
        ModelError: `code`.
    """
    if value is None or isinstance(value, bool):
        return
    if not isinstance(value, dict):
        raise ModelError(code, "event_data.x_cors must be true, false or an object.")
    fields.check(_FIELDS, value, code)
    texts = [text for name in ("allow_origins", "allow_headers", "expose_headers") for text in value.get(name) or ()]
    if not all(text.isascii() and text.isprintable() and "," not in text for text in texts):
        raise ModelError(code, "event_data.x_cors holds a text that no header can hold.")


def parse(value: Any) -> Cors | None:
    """Return what was checked; None if browsers are not to be told anything."""
    if not isinstance(value, dict):
        return Cors() if value is True else None
    return Cors(
        origins=tuple(value.get("allow_origins") or ("*",)),
        methods=tuple(value.get("allow_methods") or METHODS),
        headers=tuple(value.get("allow_headers") or ("*",)),
        exposed=tuple(value.get("expose_headers") or ()),
        max_age_s=600 if value.get("max_age") is None else value["max_age"],
        with_credentials=bool(value.get("allow_credentials")),
    )


def answer(cors: Cors, request: Request) -> Response:
    """Return the answer to a request that only asks what would be allowed."""
    headers = {"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
    origin = cors.origin_for(request)
    if origin:
        asked = request.headers.get("access-control-request-headers", "")[:MAX_ASKED_LENGTH]
        allows_all = "*" in cors.headers
        headers |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ", ".join(METHODS if "*" in cors.methods else cors.methods),
            # The asterisk means nothing with credentials, so what was asked for is repeated.
            "Access-Control-Allow-Headers": (asked or "*") if allows_all else ", ".join(cors.headers),
            "Access-Control-Max-Age": str(cors.max_age_s),
        }
        headers |= {"Access-Control-Allow-Credentials": "true"} if cors.with_credentials else {}
    return Response(status=204, headers=headers)


def allow(cors: Cors, request: Request, response: Response) -> None:
    """Add what a browser has to know to an answer, unless the function has said it."""
    said = {name.lower() for name in (*response.headers, *(name for name, _ in response.repeated_headers))}
    origin = cors.origin_for(request)
    if "access-control-allow-origin" in said or not origin:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    if "vary" not in said:
        response.headers["Vary"] = "Origin"
    if cors.with_credentials:
        response.headers["Access-Control-Allow-Credentials"] = "true"
    if cors.exposed and "access-control-expose-headers" not in said:
        response.headers["Access-Control-Expose-Headers"] = ", ".join(cors.exposed)
