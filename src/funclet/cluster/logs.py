"""Log records on their way to the one log store, which is in process 0."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from funclet.base.tasks import TaskOwner
from funclet.cluster.codec import encode, encode_logs
from funclet.cluster.frames import Kind
from funclet.cluster.link import Link, LinkAway, LinkLost, RemoteFault
from funclet.model.invocation import Report
from funclet.model.usage import Sample
from funclet.store.protocol import NO_TAGS, LogStore, StoreUnavailable

MAX_QUEUED_BYTES = 16 * 1024 * 1024
_BATCH = 1000
_BATCH_BYTES = 4 * 1024 * 1024
_GATHER_S = 0.05
_REACH_S = 1.0


class LogShipper:
    """A `LogStore` of a process that has none: sends records in their order, in batches, one batch at a time."""

    def __init__(self) -> None:
        self.dropped = 0
        """Records that were lost because too many were queued or process 0 was gone."""
        self._link: Link | None = None
        self._queue: deque[Report] = deque()
        self._queued = 0
        self._arrived = asyncio.Event()
        self._hurried = asyncio.Event()
        self._is_sending = False
        self._patience_s = _REACH_S
        self._sent = asyncio.Event()
        self._tasks = TaskOwner()

    def open(self, link: Link) -> None:
        """Begin to send to process 0 at the other end of `link`."""
        self._link = link
        self._tasks.start(self._run(), name="ship log records")

    def add(self, record: Report) -> None:
        """Queue a record; never waits, drops the oldest when too many are queued and counts them."""
        self._queue.append(record)
        self._queued += _size(record)
        while self._queued > MAX_QUEUED_BYTES and len(self._queue) > 1:
            self._queued -= _size(self._queue.popleft())
            self.dropped += 1
        self._arrived.set()

    def tell(self, samples: Sequence[Sample]) -> None:
        """Send what the statistics need beside the records; lost while process 0 cannot be reached."""
        if self._link is not None and self._link.connection is not None:
            self._link.connection.post(Kind.USAGE, encode(samples))

    async def find(
        self,
        function_id: str,  # noqa: ARG002 - the members of the protocol
        *,
        since: float = 0.0,  # noqa: ARG002
        until: float | None = None,  # noqa: ARG002
        request_id: str = "",  # noqa: ARG002
        tags: Mapping[str, str] = NO_TAGS,  # noqa: ARG002
        after_id: int = 0,  # noqa: ARG002
        limit: int = 1000,  # noqa: ARG002
    ) -> Sequence[tuple[int, Report]]:
        """Refuse: logs are read in process 0.

        Raises:
            StoreUnavailable: always.
        """
        raise StoreUnavailable("logs are read in the first process")

    async def flush(self) -> None:
        """Return when all records that were added have reached process 0, or were lost with it."""
        while self._queue or self._is_sending:
            self._sent.clear()
            self._hurried.set()
            await self._sent.wait()

    async def close(self) -> None:
        """Send what is queued, then end. Where process 0 is gone already, what is queued is lost."""
        self._patience_s = 0.0
        await self.flush()
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                async with asyncio.timeout(_GATHER_S):
                    await self._hurried.wait()
            except TimeoutError:
                pass
            self._hurried.clear()
            while self._queue:
                await self._send(self._take())
            self._sent.set()

    def _take(self) -> list[Report]:
        batch: list[Report] = []
        size = 0
        while self._queue and len(batch) < _BATCH and size < _BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += _size(batch[-1])
        self._queued -= size
        return batch

    async def _send(self, batch: list[Report]) -> None:
        assert self._link is not None
        self._is_sending = True
        try:
            connection = await self._link.reach(within_s=self._patience_s)
            await connection.request(Kind.LOGS, encode_logs(batch))
        except (LinkAway, LinkLost, RemoteFault):
            self.dropped += len(batch)
        finally:
            self._is_sending = False


class GatheredLogs:
    """The log store of process 0: before it is read, the other processes send what they have."""

    def __init__(self, store: LogStore, gather: Callable[[], Awaitable[None]]) -> None:
        self.add = store.add
        self.close = store.close
        self._store = store
        self._gather = gather

    async def find(
        self,
        function_id: str,
        *,
        since: float = 0.0,
        until: float | None = None,
        request_id: str = "",
        tags: Mapping[str, str] = NO_TAGS,
        after_id: int = 0,
        limit: int = 1000,
    ) -> Sequence[tuple[int, Report]]:
        """See `LogStore.find`."""
        await self._gather()
        return await self._store.find(
            function_id, since=since, until=until, request_id=request_id, tags=tags, after_id=after_id, limit=limit
        )

    async def flush(self) -> None:
        """See `LogStore.flush`."""
        await self._gather()
        await self._store.flush()


def _size(record: Report) -> int:
    return len(record.before) + len(record.printed)
