"""Which gateway trigger answers a request. Pure: built from triggers, asked by path.

Start with `Routes.find`. Order: stage, then an exact method before ANY, a literal
path before one with `{parameters}`, exact match before prefix, the longer path,
the older trigger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import msgspec

from funclet.model import urn as urns
from funclet.model.gateway import Authorizer
from funclet.model.trigger import Trigger
from funclet.model.urn import Urn
from funclet.triggers import http_cors
from funclet.triggers.apig import DEFAULT_TIMEOUT_MS, DEFAULTS
from funclet.triggers.http_cors import Cors

DEFAULT_STAGE = str(DEFAULTS["env_name"])
NO_REFUSALS: Mapping[str, str] = {}
_ANY = "ANY"
MAX_REMEMBERED, MAX_REMEMBERED_LENGTH = 4096, 512
"""Matches that are kept for requests of the same method, stage and path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A gateway trigger, prepared for matching."""

    trigger: Trigger
    urn: Urn
    group_id: str
    api_id: str
    stage: str
    method: str
    """Upper case, or `ANY`."""
    segments: tuple[str, ...]
    """Decoded; `{name}` for a parameter."""
    is_prefix: bool
    auth: str
    """`NONE`, `IAM`, `APP`, or `AUTHORIZER`."""
    authorizer: Authorizer | None
    """Asked first, if `auth` says so; None then: it is gone, and nobody passes."""
    backend_authorizer: Authorizer | None
    """Asked right before the function."""
    needs_backend_authorizer: bool
    forwards_context: bool
    """Whether the function gets what authorizers say."""
    has_context: bool
    """Whether authorizers have a say, or the function gets nothing in their name but what they say."""
    cors: Cors | None
    """What browsers are told; None: nothing."""
    timeout_s: float
    is_async: bool
    encodes_body: bool
    """Whether JSON bodies, too, reach the function in Base64."""
    refusal: str
    """Why nothing may run in the project; empty where it may."""

    rank: tuple[bool, bool, bool, int, int]
    """What decides between routes that match: the smallest wins, as the module says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The route of a request, and what its path says."""

    route: Route
    path: str
    """As received, without group or query."""
    path_parameters: Mapping[str, str]
    """Parameters decoded; under the empty name what follows the prefix, as received."""
    event_start: bytes
    """JSON text of the event, as far as it is the same for all requests of this match: up to the id of the request."""


class Routes:
    """All routes of the gateway; never changes."""

    def __init__(
        self,
        triggers: Iterable[Trigger],
        *,
        root_project_id: str,
        authorizers: Iterable[Authorizer] = (),
        refusals: Mapping[str, str] = NO_REFUSALS,
    ) -> None:
        """Prepare `triggers`, oldest first.

        Args:
            triggers: gateway triggers of all projects.
            root_project_id: the project whose routes answer requests that name no group.
            authorizers: of all projects.
            refusals: why nothing may run in a project, by its id.
        """
        known = {(one.project_id, one.authorizer_id): one for one in authorizers}
        self._groups: dict[str, _Group] = {}
        self._root = _Group()
        self._found: dict[tuple[str, str, str, str], Match] = {}
        for age, trigger in enumerate(triggers):
            route = _prepare(trigger, age, known, refusals.get(trigger.project_id, ""))
            self._groups.setdefault(route.group_id, _Group()).add(route)
            if trigger.project_id == root_project_id:
                self._root.add(route)
        for group in (*self._groups.values(), self._root):
            group.sort()

    def has_group(self, group_id: str) -> bool:
        """Tell whether any route is in this group."""
        return group_id in self._groups

    def find(self, *, group_id: str, method: str, stage: str, path: str) -> Match | None:
        """Return the best match; None if there is none.

        Args:
            group_id: empty for a request that names no group.
            method: upper case.
            stage: wanted environment; empty for the default one.
            path: percent-encoded, with a leading slash.
        """
        key = (group_id, method, stage, path)
        match = self._found.get(key)
        if match is None:
            match = self._search(group_id, method, stage, path)
            if match is not None and len(path) <= MAX_REMEMBERED_LENGTH:
                if len(self._found) >= MAX_REMEMBERED:
                    self._found.clear()
                self._found[key] = match
        return match

    def _search(self, group_id: str, method: str, stage: str, path: str) -> Match | None:
        raw = path.split("/")[1:]
        decoded = [decode(segment) for segment in raw]
        group = self._groups.get(group_id) if group_id else self._root
        best: Match | None = None
        for routes in group.candidates(decoded[0]) if group else ():
            for route in routes:
                if best is not None and best.route.rank < route.rank:
                    break
                if route.method not in (method, _ANY) or route.stage != (stage or DEFAULT_STAGE):
                    continue
                parameters = _match_path(route, raw, decoded)
                if parameters is not None:
                    best = _found(route, method, path, parameters)
                    break
        return best


def _found(route: Route, method: str, path: str, parameters: Mapping[str, str]) -> Match:
    known = {
        "httpMethod": method,
        "path": path,
        "pathParameters": parameters,
        "requestContext": {"apiId": route.api_id, "stage": route.stage, "requestId": ""},
    }
    # Up to the quotation mark that the id follows.
    start = msgspec.json.encode(known).removesuffix(b'"}}')
    return Match(route=route, path=path, path_parameters=parameters, event_start=start)


class _Group:
    """Routes that may answer the same request, by their first segment, so that many cost no more than few."""

    def __init__(self) -> None:
        self._literal: dict[str, list[Route]] = {}
        self._other: list[Route] = []

    def add(self, route: Route) -> None:
        """Add a route; `sort` must follow the last one."""
        is_literal = bool(route.segments) and not _is_parameter(route.segments[0])
        (self._literal.setdefault(route.segments[0], []) if is_literal else self._other).append(route)

    def sort(self) -> None:
        """Put the routes that match most exactly first."""
        for routes in (*self._literal.values(), self._other):
            routes.sort(key=lambda route: route.rank)

    def candidates(self, first: str) -> tuple[list[Route], list[Route]]:
        """Return the routes that may answer a path with this first segment: literal ones, then others."""
        return self._literal.get(first, []), self._other


def decode(text: str) -> str:
    """Return a header value or a part of a URL as text: its characters stand for bytes, which may be escaped UTF-8."""
    if text.isascii() and "%" not in text:
        return text
    return unquote_to_bytes(text.encode("latin-1", errors="replace")).decode(errors="replace")


def _prepare(trigger: Trigger, age: int, authorizers: Mapping[tuple[str, str], Authorizer], refusal: str) -> Route:
    data = trigger.event_data
    info = data.get("func_info", {})
    is_prefix = data.get("match_mode", DEFAULTS["match_mode"]) == "SWA"
    path = data["path"].rstrip("/") if is_prefix else data["path"]
    segments = tuple(s if _is_parameter(s) else decode(s) for s in path.split("/")[1:])
    method = data.get("req_method", _ANY)
    region = trigger.function_urn.split(":")[2]
    forwards = data.get("x_authorizer_forward") is True
    return Route(
        trigger=trigger,
        urn=urns.parse(trigger.function_urn, region=region, project_id=trigger.project_id),
        group_id=data["group_id"],
        api_id=data["api_id"],
        stage=data.get("env_name") or DEFAULT_STAGE,
        method=method,
        segments=segments,
        is_prefix=is_prefix,
        auth=data.get("auth", DEFAULTS["auth"]),
        authorizer=authorizers.get((trigger.project_id, data.get("x_authorizer_id", ""))),
        backend_authorizer=authorizers.get((trigger.project_id, data.get("x_backend_authorizer_id", ""))),
        needs_backend_authorizer=bool(data.get("x_backend_authorizer_id")),
        forwards_context=forwards,
        has_context=forwards or data.get("auth") == "AUTHORIZER" or bool(data.get("x_backend_authorizer_id")),
        cors=http_cors.parse(data.get("x_cors")),
        timeout_s=info.get("timeout", DEFAULT_TIMEOUT_MS) / 1000,
        is_async=info.get("invocation_type") == "async",
        encodes_body=data.get("x_body_base64") is not False,
        refusal=refusal,
        rank=(method == _ANY, any(map(_is_parameter, segments)), is_prefix, -len(segments), age),
    )


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{")


def _match_path(route: Route, raw: list[str], decoded: list[str]) -> dict[str, str] | None:
    wanted = route.segments
    if len(decoded) < len(wanted) or (len(decoded) > len(wanted) and not route.is_prefix):
        return None
    parameters = {}
    for segment, value in zip(wanted, decoded, strict=False):
        if not _is_parameter(segment):
            if segment != value:
                return None
        elif value:
            parameters[segment[1:-1]] = value
        else:
            return None
    rest = "/".join(raw[len(wanted) :])
    if rest:
        parameters[""] = rest
    return parameters
