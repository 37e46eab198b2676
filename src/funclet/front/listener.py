"""The listening socket with all of its connections, and the handler of their requests."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from funclet.api.errors import error_response
from funclet.base.clock import Clock
from funclet.base.http import Request, Response
from funclet.base.ids import new_uuid
from funclet.base.prompt import PromptRuns
from funclet.base.tasks import TaskOwner
from funclet.front.connection import Connection, FrontLimits

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
IsPrompt = Callable[[Request], bool]
"""Whether the handler of a request may be run without a task, see `base.prompt`."""
BodyLimit = Callable[[str, str], tuple[int, str]]
"""Method and raw path -> largest body in bytes, and the error code for a larger one."""

BACKLOG = 1024


class Front:
    """Owns the sockets of the listeners of one handler from `listen` to `close`."""

    def __init__(
        self,
        handler: Handler,
        *,
        body_limit: BodyLimit,
        clock: Clock,
        limits: FrontLimits | None = None,
        is_prompt: IsPrompt = lambda _: False,
    ) -> None:
        self._handler = handler
        self._is_prompt = is_prompt
        self.body_limit = body_limit
        self.clock = clock
        self.limits = limits or FrontLimits()
        self._tasks = TaskOwner()
        self._runs = PromptRuns()
        # Both: requests being handled. They finish even if the client goes away.
        self.buffered_bytes = 0
        self.is_draining = False
        self.date = formatdate(clock.now(), usegmt=True)
        self.connections: set[Connection] = set()
        self._is_empty = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._sweeper = TaskOwner()

    async def listen(self, host: str, port: int) -> None:
        """Begin to accept connections; port 0 lets the system choose.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(self._connect, host, port, backlog=BACKLOG))

    async def listen_on(self, *listeners: socket.socket) -> None:
        """Begin to accept connections on bound sockets, which are ours from now on."""
        loop = asyncio.get_running_loop()
        for listener in listeners:
            self._servers.append(await loop.create_server(self._connect, sock=listener, backlog=BACKLOG))

    @property
    def port(self) -> int:
        """The port that is listened on; only after `listen`."""
        if not self._servers or not self._servers[0].sockets:
            raise RuntimeError("the front does not listen")
        port: int = self._servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def running(self) -> int:
        """Requests that are being handled."""
        return len(self._tasks) + len(self._runs)

    async def drain(self, *, deadline_s: float) -> bool:
        """Take no new request and finish what runs; False if something still runs after `deadline_s` seconds."""
        ends_at = self.clock.monotonic() + deadline_s
        self.is_draining = True
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        if self.connections:
            self._is_empty.clear()
            try:
                await asyncio.wait_for(self._is_empty.wait(), ends_at - self.clock.monotonic())
            except TimeoutError:
                return False
        for owner in (self._tasks, self._runs):
            if not await owner.drain(deadline_s=max(0.0, ends_at - self.clock.monotonic())):
                return False
        return True

    async def close(self) -> None:
        """Cut all connections, end all handlers and free the ports."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        await self._sweeper.close()
        for connection in tuple(self.connections):
            connection.abort()
        await self._tasks.close()
        await self._runs.close()

    def sweep(self) -> None:
        """End connections that are past their deadline. Runs every second."""
        self.date = formatdate(self.clock.now(), usegmt=True)
        now = self.clock.monotonic()
        for connection in tuple(self.connections):
            if connection.deadline() < now:
                connection.run_out()

    def handle(self, request: Request, done: Callable[[Response], None]) -> None:
        """Begin to handle a request; `done` gets its answer, perhaps before this returns."""
        if self._is_prompt(request):
            self._runs.start(self._answer(request), done)
        else:
            self._tasks.start(self._answer_later(request, done), name="http_request")

    async def _answer_later(self, request: Request, done: Callable[[Response], None]) -> None:
        done(await self._answer(request))

    async def _answer(self, request: Request) -> Response:
        """Return the answer of the handler, or 500 if it raises.

        This is where faults of ours end: they are logged here and nowhere else.
        """
        try:
            return await self._handler(request)
        except Exception:  # the connection and all others must go on, whatever a handler does
            request_id = new_uuid()
            where = (request.method, request.raw_path, request_id)
            log.exception("request_failed method=%s path=%s request_id=%s", *where)
            return error_response("FSS.0500", "internal error", request_id=request_id)

    def closed(self, connection: Connection) -> None:
        """Note that a connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._is_empty.set()

    def _connect(self) -> Connection:
        if not len(self._sweeper):
            self._sweeper.start(self._keep_sweeping(), name="front_sweeper")
        return Connection(self)

    async def _keep_sweeping(self) -> None:
        while True:
            await self.clock.sleep(1.0)
            self.sweep()
