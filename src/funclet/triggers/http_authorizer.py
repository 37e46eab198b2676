"""Asks functions whether requests of the gateway may pass. Start with `Authorizers.decide`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from funclet.base.clock import Clock
from funclet.base.http import Request
from funclet.base.ids import new_uuid
from funclet.catalog import Catalog
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.gateway import Authorizer, Identity, Location
from funclet.model.invocation import Completed, FunctionFailed, Invocation, Invoker, PlatformFailed, Refused
from funclet.triggers.http_event import MAX_QUERY_PARAMETERS, build_authorizer_event
from funclet.triggers.http_routes import Match

MAX_RESULT_BYTES = 1024 * 1024
MAX_REMEMBERED = 10_000
MAX_CONTEXT_MEMBERS = 100
MAX_VALUE_LENGTH = 1024
"""Of the value of an identity."""
_REFUSED = "APIG.0305"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AuthorizerFailed(Exception):
    """A custom authorizer could not be asked, or its answer cannot be used: nobody passes."""


@dataclass(frozen=True, slots=True)
class _Decision:
    passes: bool
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Remembered:
    decision: _Decision
    until_s: float


class Authorizers:
    """Decides with the functions of custom authorizers, and remembers what they said as long as they allow."""

    def __init__(self, catalog: Catalog, invoker: Invoker, clock: Clock) -> None:
        self._catalog = catalog
        self._invoker = invoker
        self._clock = clock
        self._remembered: dict[tuple[str, float, tuple[str, ...]], _Remembered] = {}

    async def decide(
        self, authorizer: Authorizer, match: Match, request: Request, *, gateway_id: str, scheme: str
    ) -> Mapping[str, str]:
        """Let a request pass and return what the authorizer says about it.

        Raises:
            ModelError: APIG.0305 if a value that identifies the caller is missing or wrong, or the function denies;
                FSS.0429 or FSS.0503 if the function cannot run now.
            AuthorizerFailed: nothing is known.
            StoreUnavailable: the function cannot be looked up.
        """
        values = _identify(authorizer, request)
        # Without identities all callers look alike, so nothing can be remembered of one.
        is_remembered = bool(authorizer.cache_age_s and authorizer.identities)
        key = (authorizer.authorizer_id, authorizer.updated_at, values)
        known = self._remembered.get(key) if is_remembered else None
        if known is not None and known.until_s > self._clock.monotonic():
            return _passed(known.decision)
        event = build_authorizer_event(match, request, authorizer, gateway_id=gateway_id, scheme=scheme)
        decision = await self._ask(authorizer, event)
        if is_remembered:
            self._remember(key, decision, authorizer.cache_age_s)
        return _passed(decision)

    async def _ask(self, authorizer: Authorizer, event: bytes) -> _Decision:
        try:
            region = authorizer.function_urn.split(":")[2]
            urn = urns.parse(authorizer.function_urn, region=region, project_id=authorizer.project_id)
            version = await self._catalog.resolve(urn)
        except ModelError as error:
            raise AuthorizerFailed(f"The custom authorizer cannot be asked: {error.message}") from error
        invocation = Invocation(request_id=new_uuid(), version=version, payload=event, alias=urn.alias)
        outcome = await self._invoker.invoke(invocation)
        match outcome:
            case Completed():
                return _read(outcome.body)
            case FunctionFailed():
                raise AuthorizerFailed("The function of the custom authorizer failed; its log says why.")
            case Refused():
                code = "FSS.0503" if outcome.is_overload else "FSS.0429"
                message = f"The function of the custom authorizer cannot run now: {outcome.reason}"
                raise ModelError(code, message, retry_after_s=outcome.retry_after_s)
            case PlatformFailed():
                raise AuthorizerFailed(f"The function of the custom authorizer could not run: {outcome.reason}")

    def _remember(self, key: tuple[str, float, tuple[str, ...]], decision: _Decision, age_s: int) -> None:
        self._remembered.pop(key, None)
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = _Remembered(decision, self._clock.monotonic() + age_s)


def _passed(decision: _Decision) -> Mapping[str, str]:
    if not decision.passes:
        raise ModelError(_REFUSED, "The custom authorizer denies the request.")
    return decision.context


def _identify(authorizer: Authorizer, request: Request) -> tuple[str, ...]:
    if not authorizer.identities:
        return ()
    query: Mapping[str, str] = {}
    if any(identity.location is Location.QUERY for identity in authorizer.identities):
        try:
            query = dict(parse_qsl(request.raw_query, keep_blank_values=True, max_num_fields=MAX_QUERY_PARAMETERS))
        except ValueError as error:
            raise ModelError("APIG.0201", f"There are more than {MAX_QUERY_PARAMETERS} query parameters.") from error
    return tuple(_value(identity, request, query) for identity in authorizer.identities)


def _value(identity: Identity, request: Request, query: Mapping[str, str]) -> str:
    is_header = identity.location is Location.HEADER
    value = request.headers.get(identity.name.lower()) if is_header else query.get(identity.name)
    where = "header" if is_header else "query parameter"
    if not value:
        raise ModelError(_REFUSED, f"The {where} '{identity.name}' is missing.")
    is_sound = len(value) <= MAX_VALUE_LENGTH
    if is_sound and identity.validation:
        is_sound = _compiled(identity.validation).fullmatch(value) is not None
    if not is_sound:
        raise ModelError(_REFUSED, f"The {where} '{identity.name}' is invalid.")
    return value


@lru_cache(maxsize=256)
def _compiled(validation: str) -> re.Pattern[str]:
    return re.compile(validation)


def _read(result: bytes) -> _Decision:
    """Return what a function has decided."""
    if len(result) > MAX_RESULT_BYTES:
        raise AuthorizerFailed(f"The result of the custom authorizer is larger than {MAX_RESULT_BYTES} bytes.")
    answer = _json_object(result, "result")
    status = answer.get("statusCode")
    if isinstance(status, bool) or status != 200:  # noqa: PLR2004 - HTTP's own number
        raise AuthorizerFailed("The result of the custom authorizer must have 'statusCode' 200.")
    body = answer.get("body")
    if not isinstance(body, str):
        raise AuthorizerFailed("The result of the custom authorizer must have a 'body' that is JSON text.")
    said = _json_object(body.encode(), "body")
    if said.get("status") not in ("allow", "deny"):
        raise AuthorizerFailed('The body of the custom authorizer\'s result must have \'status\' "allow" or "deny".')
    context = said.get("context")
    return _Decision(said["status"] == "allow", {} if context is None else _context(context))


def _json_object(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise AuthorizerFailed(f"The {what} of the custom authorizer must be a JSON object.")
    return found


def _context(context: Any) -> Mapping[str, str]:
    if not isinstance(context, dict) or len(context) > MAX_CONTEXT_MEMBERS:
        raise AuthorizerFailed(
            f"'context' of the custom authorizer must be an object of at most {MAX_CONTEXT_MEMBERS} texts."
        )
    for name, value in context.items():
        if not _KEY.fullmatch(name) or not isinstance(value, str):
            raise AuthorizerFailed("'context' of the custom authorizer must hold texts, under names like 'user_name'.")
    return context
