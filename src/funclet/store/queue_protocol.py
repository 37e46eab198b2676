"""What the asynchronous queue may ask of the database: requests, settings, deliveries, dead letters.

The groups are members of `protocol.Tx`. Leases are not here: who runs what is
known in memory only, so a row that is not finished says `WAIT`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from funclet.model.async_config import AsyncConfig
from funclet.model.invocation import InvocationRecord, Submission

QUEUE_MARGIN_S = 100.0
"""A due time further in the future than this at the start of a server is of a clock that was wrong."""


class Accepted(Struct, frozen=True, kw_only=True, gc=False):
    """A submission on its way into the database."""

    submission: Submission
    queued_at: float
    """Now, on the clock of the queue."""


class Stored(Struct, frozen=True, kw_only=True, gc=False):
    """What became of an `Accepted`."""

    submission_id: int
    """0 if it was sent before."""
    request_id: str
    """Its own, or that of the earlier submission with the same dedup id."""


class QueuedRequest(Struct, frozen=True, kw_only=True, gc=False):
    """A row that waits."""

    submission_id: int
    submission: Submission
    queued_at: float
    attempts: int = 0
    """Runs that have ended."""
    refusals: int = 0
    """Attempts that the platform could not begin."""
    started_at: float | None = None
    error_code: int = 0
    """Of the last attempt; 0 if there was none."""
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSize:
    """How much waits for one function."""

    function_id: str
    project_id: str
    urn: str
    """Of one of its submissions."""
    count: int
    payload_bytes: int
    due_at: float
    """Of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A notification that is to be sent when a request has ended."""

    kind: str
    param: str
    is_success: bool
    document: bytes
    ended_at: float
    """Of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeadLetter:
    """A notification that nobody gets."""

    reason: str
    document: bytes
    is_success: bool = False
    kind: str = ""
    param: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What becomes of a request after an attempt, with all that follows from it."""

    request: QueuedRequest
    status: str
    """`SUCCESS`, `FAIL`, `DISCARD`, or `WAIT` to try again."""
    at: float
    """Now, seconds since the epoch, as it is shown."""
    attempts: int
    refusals: int = 0
    started_at: float | None = None
    due_at: float = 0.0
    """For `WAIT`: when to try again, on the clock of the queue."""
    error_code: int = 0
    error_message: str = ""
    delivery: NewDelivery | None = None
    dead_letter: NewDeadLetter | None = None
    status_lines: Sequence[str] = ()
    keeps_record: bool = True
    """Whether the row stays to be looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A notification on its way."""

    delivery_id: int
    request_id: str
    project_id: str
    function_id: str
    function_urn: str
    is_success: bool
    kind: str
    param: str
    root_request_id: str
    depth: int
    ended_at: float
    tries: int
    document: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """A notification as its owner sees it."""

    kind: str
    status: str
    """`WAIT`, `SENT` or `DEAD`."""
    tries: int
    error_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A notification that nobody got."""

    letter_id: int
    project_id: str
    function_id: str
    function_urn: str
    request_id: str
    reason: str
    kind: str
    param: str
    is_success: bool
    root_request_id: str
    depth: int
    first_seen: float
    document: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuery:
    """Which records of a function are wanted."""

    function_id: str
    request_ids: Sequence[str] = ()
    """Empty: all."""
    status: str = ""
    """Empty: all."""
    begin: float = 0.0
    """Accepted at this time or later, seconds since the epoch."""
    end: float = 1e12
    """Accepted at this time or before."""
    offset: int = 0
    behind: str = ""
    """Request id of the last record before the page, which is then found without counting `offset` of them; empty, or
    of a record that is gone: by the offset."""
    limit: int = 100
    running: Collection[str] = ()
    """Request ids of this function that run now: their status is `RUNNING`."""


class Queue(Protocol):
    """Asynchronous requests. A row waits, or has ended."""

    def add(self, submission: Submission, *, queued_at: float | None = None) -> None:
        """Store one submission that is due at once.

        `queued_at`: now, on the clock of the queue; without it, when it was accepted.

        Raises:
            Duplicate: the request id is known.
        """
        ...

    def add_all(self, accepted: Sequence[Accepted]) -> Sequence[Stored]:
        """Store submissions, in their order; one with a dedup id that is known is not stored again.

        Raises:
            Duplicate: a request id is known; nothing is stored.
        """
        ...

    def due(
        self, function_id: str, *, now: float, limit: int, max_bytes: int, held: Collection[int]
    ) -> Sequence[QueuedRequest]:
        """Return rows of a function that are due, earliest first, without those in `held`.

        As many as `limit`, and as fit into `max_bytes`, but one at least.
        """
        ...

    def next_due(self, function_id: str, *, after: float) -> float | None:
        """Return when the first row of a function that is due after a time is due."""
        ...

    def find_waiting(self, function_id: str, request_id: str) -> QueuedRequest | None:
        """Return a row that waits."""
        ...

    def settle_all(self, settlements: Sequence[Settlement]) -> Sequence[int]:
        """End waiting rows or put them off, with their deliveries, dead letters and status lines.

        A row that has ended meanwhile stays as it is, and nothing follows. Return the ids of new deliveries.
        """
        ...

    def add_status_lines(self, project_id: str, request_id: str, lines: Sequence[str], *, at: float) -> None:
        """Store lines of the status log."""
        ...

    def lanes(self) -> Sequence[LaneSize]:
        """Return how much waits for which function; takes a fifth of a second per million rows."""
        ...

    def open(self, *, now: float) -> None:
        """Begin after a restart: what is due implausibly late is due now."""
        ...

    def oldest_queued_at(self, function_id: str) -> float | None:
        """Return when the first of the waiting rows was queued."""
        ...

    def answers(self) -> bool:
        """Tell that the database can be read."""
        ...

    def records(self, query: RecordQuery) -> tuple[Sequence[InvocationRecord], int]:
        """Return a page of records of a function, newest first, and the count of all matches, 10,000 at most.

        The count is never less than what the page and those before it show.
        """
        ...

    def children(self, parent_request_id: str) -> Sequence[tuple[str, str]]:
        """Return function and request id of unfinished requests with this parent."""
        ...

    def discard(
        self, function_id: str, *, limit: int, held: Collection[int], at: float, error_code: int, error_message: str
    ) -> tuple[int, int]:
        """End up to `limit` waiting rows of a function as `DISCARD`, none of `held`. Repeat until there are none.

        Return how many, and the bytes of their events.
        """
        ...

    def forget(self, *, ended_before: float, queued_before: float) -> int:
        """Delete some thousands at most of what has ended before a time; return how many. Repeat until it is 0.

        `queued_before`: for dedup ids.
        """
        ...


class AsyncConfigs(Protocol):
    """Settings of asynchronous requests, one record per version."""

    def put(self, function_id: str, version: str, config: AsyncConfig) -> None:
        """Create or replace a record."""
        ...

    def get(self, function_id: str, version: str) -> AsyncConfig | None:
        """Return one record."""
        ...

    def of_function(self, function_id: str) -> dict[str, AsyncConfig]:
        """Return all records of a function by version."""
        ...

    def delete(self, function_id: str, version: str) -> bool:
        """Delete a record; False if there is none."""
        ...

    def put_status_log(self, project_id: str, group_id: str, stream_id: str) -> None:
        """Enable the status log of a project; one that is enabled keeps its ids."""
        ...

    def status_log(self, project_id: str) -> tuple[str, str] | None:
        """Return group and stream id; None if it is not enabled."""
        ...

    def status_lines(self, project_id: str, *, request_id: str, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return lines of the status log with their ids, oldest first."""
        ...


class Deliveries(Protocol):
    """Notifications on their way. A row waits, or has ended as `SENT` or `DEAD`."""

    def due(self, *, now: float, limit: int, held: Collection[int]) -> Sequence[StoredDelivery]:
        """Return rows that are due, earliest first, without those in `held`."""
        ...

    def next_due(self, *, after: float) -> float | None:
        """Return when the first row that is due after a time is due."""
        ...

    def sent(self, delivery_id: int, *, at: float) -> None:
        """End a row: the target has acknowledged."""
        ...

    def put_off(self, delivery_id: int, *, due_at: float, error_message: str) -> None:
        """Count a try and have the row wait."""
        ...

    def dead(self, delivery: StoredDelivery, *, at: float, reason: str) -> None:
        """Give up: the document becomes a dead letter."""
        ...

    def of_request(self, project_id: str, request_id: str) -> Sequence[DeliveryRecord]:
        """Return what was to be sent for one request, oldest first."""
        ...

    def dead_letters(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[DeadLetter], int]:
        """Return a page of dead letters, newest first, and the count of all."""
        ...

    def dead_letter(self, project_id: str, letter_id: int) -> DeadLetter | None:
        """Return one dead letter."""
        ...

    def replay(self, letter: DeadLetter, *, now: float) -> None:
        """Send a dead letter with a destination once more: it becomes a delivery again."""
        ...

    def purge(self, project_id: str, letter_ids: Sequence[int]) -> int:
        """Delete dead letters, all of a project if `letter_ids` is empty; return how many."""
        ...
