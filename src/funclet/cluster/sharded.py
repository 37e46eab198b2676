"""`ShardedInvoker`: an invocation runs in the process that owns its function, whichever process accepted it."""

from collections.abc import Sequence

from funclet.cluster.codec import (
    Cancellation,
    decode_flag,
    decode_instances,
    decode_outcome,
    encode,
    encode_invocation,
    encode_preparation,
)
from funclet.cluster.frames import Kind
from funclet.cluster.link import Link, LinkAway, LinkLost, NotTaken, RemoteFault
from funclet.cluster.ownership import owner_of
from funclet.model.function import FunctionVersion
from funclet.model.invocation import Invocation, Node, Outcome, PlatformFailed, Refused
from funclet.model.reserved import InstanceInfo, Instances

AWAY_S = 5.0
"""How long an invocation waits for a process that is being started again."""
MAX_WAITING = 1000
"""Invocations that may wait so for one process."""
_ATTEMPTS = 3


class ShardedInvoker:
    """Implements `model.invocation.Node` over the processes of one server. The first file of `cluster` to read."""

    def __init__(self, local: Node, links: Sequence[Link | None]) -> None:
        """Make the invoker.

        Args:
            local: runs the functions that this process owns.
            links: to each process by its number; None stands for this one.
        """
        self._local = local
        self._remotes = [None if link is None else RemoteInvoker(link) for link in links]

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run one invocation here or hand it over."""
        remote = self._remotes[owner_of(invocation.version.function_id, len(self._remotes))]
        return await (self._local if remote is None else remote).invoke(invocation)

    def prepare(self, version: FunctionVersion, *, due_in_s: float) -> None:
        """Tell the process that owns the function."""
        remote = self._remotes[owner_of(version.function_id, len(self._remotes))]
        (self._local if remote is None else remote).prepare(version, due_in_s=due_in_s)

    async def cancel(self, function_id: str, request_id: str, *, force: bool) -> bool:
        """See `Invoker.cancel`."""
        remote = self._remotes[owner_of(function_id, len(self._remotes))]
        invoker = self._local if remote is None else remote
        return await invoker.cancel(function_id, request_id, force=force)


class ShardedInstances:
    """Implements `model.reserved.Instances` over the processes of one server."""

    def __init__(self, local: Instances, links: Sequence[Link | None]) -> None:
        """See `ShardedInvoker`."""
        self._local = local
        self._links = links

    async def instances(self, function_id: str) -> Sequence[InstanceInfo]:
        """See `Instances.instances`."""
        link = self._links[owner_of(function_id, len(self._links))]
        if link is None:
            return await self._local.instances(function_id)
        answer = await _ask(link, Kind.INSTANCES, (function_id, ""))
        return [] if answer is None else decode_instances(answer)

    async def end_instance(self, function_id: str, instance_id: str) -> bool:
        """See `Instances.end_instance`."""
        link = self._links[owner_of(function_id, len(self._links))]
        if link is None:
            return await self._local.end_instance(function_id, instance_id)
        answer = await _ask(link, Kind.END_INSTANCE, (function_id, instance_id))
        return answer is not None and decode_flag(answer)


async def _ask(link: Link, kind: Kind, names: tuple[str, str]) -> bytes | None:
    """Return the answer of another process; None if it cannot be asked now."""
    try:
        return await link.connection.request(kind, encode(names)) if link.connection is not None else None
    except (LinkAway, LinkLost, RemoteFault):
        return None


class RemoteInvoker:
    """Implements `model.invocation.Node` by the process at the other end of a link."""

    def __init__(self, link: Link, *, away_s: float = AWAY_S) -> None:
        self._link = link
        self._away_s = away_s
        self._waiting = 0

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Have one invocation run.

        What the other process had not begun with when it died is sent to it again once it is back;
        what it had begun with is not repeated.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._send(invocation)
            except NotTaken:
                continue
            except LinkAway:
                break
            except LinkLost:
                return PlatformFailed(reason="The process that ran the function has ended.")
            except RemoteFault:
                return PlatformFailed(reason="The invocation failed inside the server.")
        return Refused(reason="The process that owns the function cannot take the request now", is_overload=True)

    def prepare(self, version: FunctionVersion, *, due_in_s: float) -> None:
        """Pass it on; a process that is away has no instance ready."""
        if self._link.connection is not None:
            self._link.connection.post(Kind.PREPARE, encode_preparation(version, due_in_s))

    async def cancel(self, function_id: str, request_id: str, *, force: bool) -> bool:
        """See `Invoker.cancel`; False as well if the other process cannot be asked now."""
        connection = self._link.connection
        if connection is None:
            return False
        body = encode(Cancellation(function_id=function_id, request_id=request_id, is_forced=force))
        try:
            return decode_flag(await connection.request(Kind.CANCEL, body))
        except (LinkAway, LinkLost, RemoteFault):
            return False

    async def _send(self, invocation: Invocation) -> Outcome:
        connection = self._link.connection
        if connection is None:
            if self._waiting >= MAX_WAITING:
                raise LinkAway
            self._waiting += 1
            try:
                connection = await self._link.reach(within_s=self._away_s)
            finally:
                self._waiting -= 1
        number, telling = connection.versions.number(invocation.version)
        if telling is not None:
            connection.post(Kind.VERSION, telling)
        return decode_outcome(await connection.request(Kind.INVOKE, encode_invocation(invocation, number)))
