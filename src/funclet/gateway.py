"""The HTTP gateway: requests of the world, answered by functions. Start with `Gateway.handle`.

A request names the group of its trigger in the path (`/_apig/<group>/orders`) or
in the host (`<group>.example.test`); without a group, the triggers of the first
project answer, so that `/orders` works. TLS ends in front of this listener:
triggers with `protocol: HTTPS` are served here as well.
"""

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from funclet.base.clock import Clock
from funclet.base.deadlines import Deadlines
from funclet.base.http import Request, Response
from funclet.base.ids import new_uuid
from funclet.catalog import Catalog
from funclet.model.audit import Journal
from funclet.model.errors import ModelError
from funclet.model.gateway import Authorizer
from funclet.model.identity import Principal
from funclet.model.invocation import (
    MAX_ASYNC_BODY_BYTES,
    Completed,
    FunctionFailed,
    Invocation,
    Invoker,
    Outcome,
    PlatformFailed,
    Refused,
    Submission,
    Submitter,
)
from funclet.model.project_state import Effect, refusal_of
from funclet.model.urn import Urn
from funclet.services.callers import Authenticator
from funclet.store.protocol import Store, StoreUnavailable, Tx
from funclet.triggers import http_cors
from funclet.triggers.apig import CODES, PREFIX
from funclet.triggers.http_authorizer import AuthorizerFailed
from funclet.triggers.http_event import build_event, render_result
from funclet.triggers.http_refusals import FAILED_CODE, FAILED_STATUS, trace_of
from funclet.triggers.http_routes import Match, Route, Routes

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_ROUTES_AGE_S = 5.0

_GATEWAY_FAULT = "APIG.0201"


class AppChecker(Protocol):
    """Tells whether a request is of an app that may call an API."""

    async def check(self, request: Request, api_id: str) -> None:
        """Let it pass, or raise.

        Raises:
            ModelError: the credentials are missing or wrong, or the app has no grant.
        """
        ...


class Deciders(Protocol):
    """Asks custom authorizers."""

    async def decide(
        self, authorizer: Authorizer, match: Match, request: Request, *, gateway_id: str, scheme: str
    ) -> Mapping[str, str]:
        """Let a request pass and return what the authorizer says about it.

        Raises:
            ModelError: the request does not pass.
            AuthorizerFailed: nobody knows whether it may.
        """
        ...


class RouteSource:
    """The routes of the moment: read when asked for, kept until a change or for `MAX_ROUTES_AGE_S`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._routes = Routes((), root_project_id="")
        self._read_at = -math.inf
        self._changes = 0
        self._seen_changes = -1
        self._reading = asyncio.Lock()

    def changed(self) -> None:
        """Note that triggers have changed: the next request reads them again."""
        self._changes += 1

    async def current(self) -> Routes:
        """Return the routes.

        Raises:
            StoreUnavailable: they are not in memory and cannot be read.
        """
        if self._is_fresh():
            return self._routes
        async with self._reading:
            if not self._is_fresh():
                await self._read()
            return self._routes

    def _is_fresh(self) -> bool:
        is_young = self._clock.monotonic() - self._read_at < MAX_ROUTES_AGE_S
        return is_young and self._seen_changes == self._changes

    async def _read(self) -> None:
        # Noted before the read: a change during it makes this table stale at once.
        changes, read_at = self._changes, self._clock.monotonic()
        try:
            routes = await self._store.read(_read_routes)
        except StoreUnavailable:
            if self._seen_changes != self._changes:
                raise
            # Old routes serve better than none while the database is away.
            return
        self._routes, self._seen_changes, self._read_at = routes, changes, read_at


class _Exchange:
    """A request and how it is answered."""

    __slots__ = ("caller", "gateway_id", "is_late", "request", "request_id", "route")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.request_id = new_uuid()
        self.gateway_id = self.request_id.replace("-", "")
        self.route: Route | None = None
        """Once it is known."""
        self.caller: Principal | None = None
        """Of a trigger with IAM, once it is known."""
        self.is_late = False
        """Whether the client was told that it takes too long."""

    def finish(self, response: Response) -> Response:
        """Return the response with our ids, and with what browsers are to know."""
        response.headers["X-Request-Id"] = self.gateway_id
        response.headers["X-Cff-Request-Id"] = self.request_id
        if self.route is not None and self.route.cors is not None:
            http_cors.allow(self.route.cors, self.request, response)
        return response

    def answer_early(self, response: Response) -> None:
        """Answer now, if the client can still be answered."""
        if self.request.answer_early is not None:
            self.request.answer_early(self.finish(response))


class Gateway:
    """Answers the requests of the gateway's listener."""

    def __init__(
        self,
        *,
        routes: RouteSource,
        catalog: Catalog,
        invoker: Invoker,
        submitter: Submitter,
        authenticator: Authenticator,
        apps: AppChecker,
        authorizers: Deciders,
        clock: Clock,
        gateway_url: str,
        may_invoke: Callable[[Request, Principal, Urn], Awaitable[bool]],
        journal: Journal,
    ) -> None:
        """Wire the gateway.

        Args:
            routes: where the triggers come from.
            catalog: resolves their functions.
            invoker: runs them now.
            submitter: takes requests of asynchronous triggers.
            authenticator: checks requests of triggers with IAM.
            apps: checks those of triggers with APP.
            authorizers: ask functions about requests.
            clock: time of acceptance.
            gateway_url: how clients reach this listener; its scheme is told to functions.
            may_invoke: tells whether a caller of a trigger with IAM may invoke its function.
            journal: takes what was refused.
        """
        self._routes = routes
        self._catalog = catalog
        self._invoker = invoker
        self._submitter = submitter
        self._authenticator = authenticator
        self._apps = apps
        self._authorizers = authorizers
        self._clock = clock
        self._deadlines = Deadlines()
        self._scheme = urlsplit(gateway_url).scheme
        self._may_invoke = may_invoke
        self._journal = journal

    async def handle(self, request: Request) -> Response:
        """Answer one request. What is raised from here is a fault of ours.

        The answer carries X-Request-Id and X-Cff-Request-Id, also when it is an error.
        """
        exchange = _Exchange(request)
        gateway_id = exchange.gateway_id
        try:
            response = await self._answer(exchange)
        except ModelError as error:
            self._note(exchange, error)
            response = _error(gateway_id, error.status, error.code, error.message, error.retry_after_s)
        except AuthorizerFailed as error:
            self._note(exchange, error)
            response = _error(gateway_id, FAILED_STATUS, FAILED_CODE, str(error))
        except StoreUnavailable:
            response = _error(gateway_id, 503, "FSS.0503", "The database cannot be used now; try again later.", 1.0)
        return exchange.finish(response)

    async def _answer(self, exchange: _Exchange) -> Response:
        request = exchange.request
        if len(request.body) > MAX_BODY_BYTES:
            message = f"The body is larger than the {MAX_BODY_BYTES} bytes allowed."
            return _error(exchange.gateway_id, 413, _GATEWAY_FAULT, message)
        routes = await self._routes.current()
        if request.method == "OPTIONS":
            answer = _preflight(routes, request)
            if answer is not None:
                return answer
        match = _match(routes, request, request.method)
        if match is None:
            raise ModelError("APIG.0101", f"No trigger answers {request.method} {request.raw_path[:200]}.")
        route = match.route
        exchange.route = route
        if route.refusal:
            raise ModelError("APIG.0302", route.refusal)
        late = functools.partial(self._answer_late, exchange, route)
        self._deadlines.add(exchange.request_id, route.timeout_s, late)
        try:
            if route.auth != "NONE":
                await self._check_caller(route, exchange)
            context = await self._context(match, exchange) if route.has_context else None
            if exchange.is_late:
                # An authorizer took all the time there was: the function has nobody to answer.
                return Response(status=504)
            event = build_event(match, request, gateway_id=exchange.gateway_id, scheme=self._scheme, context=context)
            if route.is_async:
                return await self._submit(route, event, exchange.request_id, exchange.gateway_id)
            version = await self._catalog.resolve(route.urn, headers=request.headers)
            on_answer = None if request.answer_early is None else functools.partial(self._answer_now, exchange)
            invocation = Invocation(
                request_id=exchange.request_id,
                version=version,
                payload=event,
                alias=route.urn.alias,
                on_answer=on_answer,
            )
            outcome = await self._invoker.invoke(invocation)
        finally:
            self._deadlines.discard(exchange.request_id)
        if on_answer is not None and request.answer_early is None:
            # It has its answer, see `_answer_now` and `_answer_late`.
            return Response(status=200)
        return _render(outcome, exchange.gateway_id)

    def _answer_now(self, exchange: _Exchange, result: bytes) -> None:
        """Give the client its answer before the invocation is recorded: nothing of the record is in it."""
        try:
            response = render_result(result)
        except ModelError:
            # No answer that could be given; the client is told so in the usual way.
            return
        exchange.answer_early(response)

    def _answer_late(self, exchange: _Exchange, route: Route) -> None:
        """Tell the client that it takes too long; the invocation goes on even so."""
        exchange.is_late = True
        message = f"Backend timeout: no answer within {route.timeout_s:g} s; the function goes on running."
        exchange.answer_early(_error(exchange.gateway_id, 504, _GATEWAY_FAULT, message))

    def _note(self, exchange: _Exchange, error: ModelError | AuthorizerFailed) -> None:
        if exchange.route is None:
            return
        now, request_id = self._clock.now(), exchange.request_id
        trace = trace_of(exchange.route, exchange.request, exchange.caller, error, at=now, request_id=request_id)
        if trace is not None:
            self._journal.note(trace)

    async def _check_caller(self, route: Route, exchange: _Exchange) -> None:
        request = exchange.request
        if route.auth == "APP":
            await self._apps.check(request, route.api_id)
        elif route.auth == "IAM":
            project_id = route.trigger.project_id
            principal = exchange.caller = await self._authenticator.authenticate(request, project_id=project_id)
            if principal.project.project_id != project_id:
                raise ModelError("APIG.0302", "The credentials are of another project than the function.")
            if not await self._may_invoke(request, principal, route.urn):
                raise ModelError("APIG.0302", f"'{principal.user.name}' is not authorized to invoke the function.")

    async def _context(self, match: Match, exchange: _Exchange) -> Mapping[str, str] | None:
        """Ask the authorizers; return what they say, if the function is to know."""
        route = match.route
        said: dict[str, str] = {}
        if route.auth == "AUTHORIZER":
            said |= await self._decide(route.authorizer, match, exchange)
        if route.needs_backend_authorizer and not exchange.is_late:
            said |= await self._decide(route.backend_authorizer, match, exchange)
        return said if route.forwards_context else None

    async def _decide(self, authorizer: Authorizer | None, match: Match, exchange: _Exchange) -> Mapping[str, str]:
        if authorizer is None:
            raise AuthorizerFailed("The custom authorizer of this API does not exist any more.")
        return await self._authorizers.decide(
            authorizer, match, exchange.request, gateway_id=exchange.gateway_id, scheme=self._scheme
        )

    async def _submit(self, route: Route, event: bytes, request_id: str, gateway_id: str) -> Response:
        if len(event) > MAX_ASYNC_BODY_BYTES:
            message = f"The event is larger than the {MAX_ASYNC_BODY_BYTES} bytes that can be queued."
            return _error(gateway_id, 413, "FSS.1201", message)
        submission = Submission(
            request_id=request_id,
            project_id=route.trigger.project_id,
            function_id=route.trigger.function_id,
            urn=route.trigger.function_urn,
            payload=event,
            accepted_at=self._clock.now(),
            source=route.trigger.trigger_id,
        )
        accepted_id = await self._submitter.submit(submission)
        return Response(status=202, body=msgspec.json.encode({"request_id": accepted_id}))


def _read_routes(tx: Tx) -> Routes:
    projects = tx.identities.projects()
    return Routes(
        tx.triggers.of_type(*CODES),
        root_project_id=projects[0].project_id if projects else "",
        authorizers=tx.gateway.authorizers(),
        refusals={one.project_id: refusal_of(one, Effect.RUN) for one in projects},
    )


def _match(routes: Routes, request: Request, method: str) -> Match | None:
    group_id, path = _address(request, routes)
    return routes.find(group_id=group_id, method=method, stage=request.headers.get("x-stage", ""), path=path)


def _preflight(routes: Routes, request: Request) -> Response | None:
    """Return the answer to a browser that asks what it may do; None if the gateway does not answer that itself."""
    asked = request.headers.get("access-control-request-method", "")
    match = _match(routes, request, asked) if asked in http_cors.METHODS else None
    return http_cors.answer(match.route.cors, request) if match is not None and match.route.cors else None


def _address(request: Request, routes: Routes) -> tuple[str, str]:
    """Return group (empty if none is named) and path within it."""
    path = request.raw_path
    if path.startswith(f"{PREFIX}/"):
        group_id, slash, rest = path[len(PREFIX) + 1 :].partition("/")
        return group_id, slash + rest or "/"
    label = request.headers.get("host", "").partition(".")[0]
    return (label, path) if routes.has_group(label) else ("", path)


def _render(outcome: Outcome, gateway_id: str) -> Response:
    match outcome:
        case Completed():
            return render_result(outcome.body)
        case FunctionFailed():
            return _render_failure(outcome, gateway_id)
        case Refused():
            status = 503 if outcome.is_overload else 429
            return _error(gateway_id, status, f"FSS.0{status}", outcome.reason, outcome.retry_after_s)
        case PlatformFailed():
            return _error(gateway_id, 500, "FSS.0500", outcome.reason)


def _render_failure(failure: FunctionFailed, gateway_id: str) -> Response:
    headers = {"X-Is-Func-Err": "true", "X-Func-Err-Code": str(failure.code)}
    if failure.is_json:
        return Response(status=500, body=failure.body, headers=headers)
    response = _error(gateway_id, 500, f"FSS.{failure.code}", failure.body.decode(errors="replace"))
    response.headers = headers
    return response


def _error(gateway_id: str, status: int, code: str, message: str, retry_after_s: float | None = None) -> Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    body = msgspec.json.encode({"error_code": code, "error_msg": message, "request_id": gateway_id})
    return Response(status=status, body=body, headers=headers)
