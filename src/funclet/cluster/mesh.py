"""The place of one process among the data-plane processes of a server: its links to the others, and its hub.

The order of a life: `open`, `listen`, serve, `leave`, `close`. Process 0 is the server, with the API, the
database's writer and the log store; what the others may not do themselves they ask of it over `head`.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from funclet.base.http import Request, Response
from funclet.cluster import codec
from funclet.cluster.codec import Hello, Hint, encode
from funclet.cluster.frames import Kind
from funclet.cluster.hub import Answer, Hub
from funclet.cluster.link import Connection, Link, LinkAway, LinkLost, RemoteFault
from funclet.cluster.member import Member
from funclet.cluster.sharded import ShardedInstances, ShardedInvoker
from funclet.model.audit import Trace
from funclet.model.errors import ModelError
from funclet.model.invocation import Invoker, Node, Submission
from funclet.model.reserved import Instances

SOCKETS = "processes"
"""The folder of sockets, in the data folder."""
HEAD = 0
"""The number of the process that is the server."""
START_S = 30.0
"""How long processes wait for each other at the start."""
_HINT_S = 1.0
"""How long a change waits for a process that does not answer; then the age limit of its caches holds."""
_GATHER_S = 1.0


class MeshError(Exception):
    """The processes of this server do not find each other."""


class Mesh:
    """Links and hub of one process."""

    def __init__(self, member: Member, folder: Path) -> None:
        """Prepare; nothing is opened yet.

        Args:
            member: this process.
            folder: of the sockets; only our user can enter it.
        """
        self.member = member
        self._folder = folder
        self._descriptor = -1
        self._links: list[Link | None] = []
        self._head: Link | None = None
        self._hub: Hub | None = None
        self._hints: set[asyncio.Future[bytes]] = set()

    @property
    def head(self) -> Link:
        """The link on which process 0 is asked for what only it can do; not in process 0."""
        if self._head is None:
            raise RuntimeError("process 0 has no link to itself")
        return self._head

    def open(self) -> None:
        """Begin to look for the other processes.

        Raises:
            OSError: the folder cannot be made.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        me = self.member.number
        self._links += [None if number == me else self._link(number) for number in range(self.member.count)]
        if me != HEAD:
            self._head = Link(self._descriptor, str(HEAD), self._hello(is_for_invocations=False))
            self._head.open()

    def invoker(self, local: Node) -> ShardedInvoker:
        """Return what runs every function in the process that owns it."""
        return ShardedInvoker(local, self._links)

    def instances(self, local: Instances) -> ShardedInstances:
        """Return what finds every instance in the process that owns its function."""
        return ShardedInstances(local, self._links)

    async def listen(self, local: Invoker, answers: Mapping[Kind, Answer]) -> None:
        """Begin to serve the other processes: their invocations by `local`, the rest by `answers`.

        Raises:
            OSError: the socket cannot be made.
        """
        self._hub = Hub(self.member, local, answers)
        await self._hub.listen(self._descriptor, str(self.member.number))

    async def join(self) -> None:
        """Wait until the others can be reached: in process 0 all of them, elsewhere process 0, which must know us.

        Raises:
            MeshError: it takes too long.
        """
        try:
            async with asyncio.timeout(START_S):
                if self.member.number == HEAD:
                    await asyncio.gather(*(link.reach(within_s=START_S) for link in self._links if link))
                else:
                    assert self._hub is not None
                    await self._hub.has_heard(HEAD)
        except (LinkAway, TimeoutError) as error:
            raise MeshError("Data-plane processes did not start; their messages say why.") from error

    def publish(self, hint: Hint) -> None:
        """Tell every other process of a change. One that is not there now reads everything anew when it starts."""
        for answer in self._ask_all(Kind.HINT, encode(hint)):
            self._hints.add(answer)
            answer.add_done_callback(self._hints.discard)

    @property
    def is_settled(self) -> bool:
        """Whether every change that was published is known to all."""
        return not self._hints

    async def settle(self) -> None:
        """Wait until the changes that were published are known to all; not longer than a second."""
        if self._hints:
            await asyncio.wait(tuple(self._hints), timeout=_HINT_S)

    async def gather_logs(self) -> None:
        """Have every other process send the log records that it has; not longer than a second."""
        answers = self._ask_all(Kind.FLUSH, b"")
        if answers:
            await asyncio.wait(answers, timeout=_GATHER_S)

    def connections(self) -> Mapping[int, Connection | None]:
        """Return the connections to the other processes by their numbers; None for one that is away."""
        return {number: link.connection for number, link in enumerate(self._links) if link is not None}

    async def leave(self) -> None:
        """Tell the others that no more invocations will come from here, and wait for the same word of theirs."""
        for link in self._links:
            if link is not None and link.connection is not None:
                link.connection.post(Kind.BYE)
        if self._hub is not None:
            await self._hub.has_no_caller()

    async def wait_alone(self) -> None:
        """Wait until every other process has hung up."""
        if self._hub is not None:
            await self._hub.is_alone()

    async def close(self) -> None:
        """Hang up."""
        for link in (*self._links, self._head):
            if link is not None:
                await link.close()
        if self._hub is not None:
            await self._hub.close()
        os.close(self._descriptor)

    def _ask_all(self, kind: Kind, body: bytes) -> list[asyncio.Future[bytes]]:
        answers: list[asyncio.Future[bytes]] = []
        for link in self._links:
            # One that is away, or has too much to do to answer, is not waited for.
            with contextlib.suppress(LinkAway):
                if link is not None and link.connection is not None:
                    answers.append(link.connection.request(kind, body))
        return answers

    def _link(self, number: int) -> Link:
        taken = partial(self.member.progress.taken, owner=number, caller=self.member.number)
        link = Link(self._descriptor, str(number), self._hello(is_for_invocations=True), taken)
        link.open()
        return link

    def _hello(self, *, is_for_invocations: bool) -> bytes:
        member = self.member
        return encode(Hello(run_id=member.run_id, number=member.number, is_for_invocations=is_for_invocations))


class Head:
    """What a process asks of process 0. Implements `model.invocation.Submitter` and `model.audit.Journal`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def handle(self, request: Request) -> Response:
        """Have process 0 answer a request of the API.

        Raises:
            ModelError: FSS.0503, it cannot be asked now, or has ended before it answered.
        """
        # Only this process can reach the client; the answer comes back as a whole.
        sent = replace(request, answer_early=None)
        return codec.decode_response(await self._ask(Kind.REQUEST, encode(sent)))

    async def submit(self, submission: Submission) -> str:
        """See `Submitter.submit`."""
        done = codec.decode_submitted(await self._ask(Kind.SUBMIT, encode(submission)))
        if done.code:
            raise ModelError(done.code, done.message, retry_after_s=done.retry_after_s)
        return done.request_id

    def note(self, trace: Trace) -> None:
        """See `Journal.note`. Where process 0 is away, the trace is lost with it."""
        with contextlib.suppress(LinkAway):
            if self._link.connection is not None:
                sent = self._link.connection.request(Kind.TRACES, encode([trace]))
                # Nobody waits; whatever comes of it is looked at, so that it is not reported as lost.
                sent.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def keep(self, trace: Trace) -> None:
        """Refuse: what is changed is changed in process 0.

        Raises:
            AssertionError: always.
        """
        raise AssertionError(f"{trace.operation} was served outside process 0")

    async def _ask(self, kind: Kind, body: bytes) -> bytes:
        try:
            connection = await self._link.reach(within_s=_HINT_S)
            return await connection.request(kind, body)
        except (LinkAway, LinkLost, RemoteFault) as error:
            raise ModelError("FSS.0503", "The server cannot take the request now.", retry_after_s=1.0) from error
