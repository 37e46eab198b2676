"""Pages of records of asynchronous requests, one behind another. Start with `RecordPages.read`."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from funclet.base.clock import Clock
from funclet.model.invocation import InvocationRecord
from funclet.store.protocol import Store
from funclet.store.queue_protocol import RecordQuery

MAX_REMEMBERED = 1000
REMEMBERED_S = 60.0


class RecordPages:
    """Remembers for a minute where pages ended, so that reading on does not count through all before."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ends: OrderedDict[Hashable, tuple[str, float]] = OrderedDict()

    async def read(self, query: RecordQuery, *, window: Hashable) -> tuple[Sequence[InvocationRecord], int]:
        """Return a page and the count of all matches.

        Args:
            query: what is wanted.
            window: begin and end as the client gave them; they may stand for a moving time in `query`.
        """
        listing = (query.function_id, query.status, tuple(query.request_ids), window)
        behind = self._end_before(listing, query.offset)
        # One record more tells where the page before this one ends.
        extra = 1 if query.offset and not behind else 0
        asked = replace(query, behind=behind, offset=query.offset - extra, limit=query.limit + extra)
        found, count = await self._store.read(lambda tx: tx.queue.records(asked))
        if extra and found:
            self._remember((*listing, query.offset), found[0])
        shown = found[extra:]
        if shown:
            self._remember((*listing, query.offset + len(shown)), shown[-1])
        return shown, count

    def _end_before(self, listing: tuple[Hashable, ...], offset: int) -> str:
        request_id, at = self._ends.get((*listing, offset), ("", 0.0))
        return request_id if self._clock.monotonic() < at + REMEMBERED_S else ""

    def _remember(self, key: Hashable, last: InvocationRecord) -> None:
        self._ends[key] = (last.request_id, self._clock.monotonic())
        self._ends.move_to_end(key)
        if len(self._ends) > MAX_REMEMBERED:
            self._ends.popitem(last=False)
