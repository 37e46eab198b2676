"""What watches the server asks: is it alive, can it take requests, what has it done. Start with `Probes.find`.

These paths are no part of the cloud's API. The two probes say nothing but yes
or no, so anybody may ask; metrics name functions, so only the operator may.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping

from funclet.api.actions import METRICS_ACTION
from funclet.api.errors import MethodRefused
from funclet.base.clock import Clock
from funclet.base.http import TEXT, Request, Response
from funclet.metrics import CONTENT_TYPE, Standing, render
from funclet.model.errors import ModelError
from funclet.model.policy import Access
from funclet.services.callers import Authenticator
from funclet.store.protocol import Store, StoreUnavailable

READY_AGE_S = 1.0
"""How long an answer of `/readyz` holds, so that asking often costs nothing."""
_BEARER = "Bearer "

Serve = Callable[[Request], Awaitable[Response]]


class Probes:
    """Answers `/healthz`, `/readyz` and `/metrics`."""

    def __init__(
        self,
        *,
        store: Store,
        authenticator: Authenticator,
        clock: Clock,
        collect: Callable[[], Awaitable[Standing]],
        is_stopping: Callable[[], bool],
        operator_project_id: str,
        token: str,
    ) -> None:
        """Prepare.

        Args:
            store: asked for the queue, and whether it answers at all.
            authenticator: of signed requests for metrics.
            clock: of ages.
            collect: returns all metrics but those of the queue.
            is_stopping: whether the server takes no new work any more.
            operator_project_id: the project whose users may read metrics.
            token: whoever sends it as a bearer may read metrics too; empty: nobody.
        """
        self._store = store
        self._authenticator = authenticator
        self._clock = clock
        self._collect = collect
        self._is_stopping = is_stopping
        self._operator_project_id = operator_project_id
        self._token = token.encode()
        self._ready_until_s = 0.0
        self.more_metrics: Callable[[], Awaitable[bytes]] | None = None
        """Returns the metrics of parts that are made later."""
        self._serves: Mapping[str, Serve] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_text,
        }

    def find(self, request: Request) -> Serve | None:
        """Return what answers a request, or None if it is for the API.

        Raises:
            ModelError: FSS.0405.
        """
        serve = self._serves.get(request.raw_path)
        if serve is not None and request.method not in ("GET", "HEAD"):
            message = f"{request.method} is not possible under {request.raw_path}, only GET."
            raise MethodRefused(message, allowed="GET, HEAD")
        return serve

    async def _healthz(self, _request: Request) -> Response:
        """Say that the process answers."""
        return _text(200, "ok\n")

    async def _readyz(self, _request: Request) -> Response:
        """Say whether requests can be served: not while stopping, and not without the database."""
        if self._is_stopping():
            return _text(503, "stopping\n")
        if self._clock.monotonic() >= self._ready_until_s:
            try:
                await self._store.read(lambda tx: tx.queue.answers())
            except StoreUnavailable:
                return _text(503, "no database\n")
            self._ready_until_s = self._clock.monotonic() + READY_AGE_S
        return _text(200, "ready\n")

    async def _metrics_text(self, request: Request) -> Response:
        await self._check_operator(request)
        standing = await self._collect()
        # Thousands of lines; the loop has other things to do.
        body = await asyncio.to_thread(render, standing.counters, standing.values)
        if self.more_metrics is not None:
            body += await self.more_metrics()
        return Response(status=200, body=body, content_type=CONTENT_TYPE)

    async def _check_operator(self, request: Request) -> None:
        """Refuse everybody but the operator.

        Raises:
            ModelError: APIG.0301 or FSS.0403.
        """
        given = request.headers.get("authorization", "")
        if given.startswith(_BEARER):
            sent = given.removeprefix(_BEARER).encode("latin-1", "replace")
            if self._token and hmac.compare_digest(sent, self._token):
                return
            raise ModelError("APIG.0301", "The bearer token is not the one of the setting metrics_token.")
        principal = await self._authenticator.authenticate(request)
        if principal.project.project_id != self._operator_project_id:
            raise ModelError("FSS.0403", "Metrics are for users of the server's first project.")
        if not principal.grants.allows(Access(actions=(METRICS_ACTION,))):
            raise ModelError("FSS.0403", f"'{principal.user.name}' is not authorized to perform {METRICS_ACTION}.")


def _text(status: int, text: str) -> Response:
    return Response(status=status, body=text.encode(), content_type=TEXT)
