"""The audit log: durable, bounded by days and rows, and readable. Start with `AuditService.keep`."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace

from funclet.base.clock import Clock
from funclet.base.tasks import TaskOwner
from funclet.model.audit import Trace, TraceOutcome, TraceQuery
from funclet.model.errors import ModelError
from funclet.model.identity import DAY_S, Principal
from funclet.store.protocol import Store, StoreError

log = logging.getLogger(__name__)

FLUSH_S = 1.0
MAX_NOTED = 1000
"""Different traces of one second that nobody waits for; of more, only their number is kept."""
TRIM_S = 3600.0
MAX_PAGE = 200

_Key = tuple[str, str, str, str, str]
_OVERFLOW = "others"


class AuditService:
    """Implements `model.audit.Journal`, and the use case of reading it."""

    def __init__(self, store: Store, clock: Clock, *, days: int, rows: int, operator_project_id: str = "") -> None:
        """Take the bounds.

        Args:
            store: keeps the traces.
            clock: of their age.
            days: after which they are deleted.
            rows: of which there are at most so many, give or take what comes within an hour.
            operator_project_id: who may see traces that belong to no project.
        """
        self._store = store
        self._clock = clock
        self._days = days
        self._rows = rows
        self._operator_project_id = operator_project_id
        self._noted: dict[_Key, Trace] = {}
        self._arrived = asyncio.Event()
        self._loops = TaskOwner()

    def open(self) -> None:
        """Begin to write what was noted, and to delete what is too old."""
        self._loops.start(self._write_noted(), name="audit log")
        self._loops.start(self._trim(), name="old traces")

    async def close(self) -> None:
        """Write what was noted and end."""
        await self._loops.close()
        await self.flush()

    def note(self, trace: Trace) -> None:
        """See `Journal.note`."""
        key = (trace.source, trace.user_name, trace.operation, trace.code, trace.project_id)
        if key not in self._noted and len(self._noted) >= MAX_NOTED:
            key = ("", "", "", "", _OVERFLOW)
            trace = replace(trace, user_name="", user_id="", resource="", operation=_OVERFLOW, source="", project_id="")
        known = self._noted.get(key)
        self._noted[key] = replace(known, count=known.count + trace.count) if known else trace
        self._arrived.set()

    async def keep(self, trace: Trace) -> None:
        """See `Journal.keep`.

        Raises:
            StoreUnavailable: it is not kept.
        """
        await self._store.write(lambda tx: tx.traces.add([trace]))

    async def flush(self) -> None:
        """Write what was noted; what cannot be written now is tried again."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._store.write(lambda tx: tx.traces.add(list(noted.values())))
        except StoreError as error:
            log.warning("audit_failed traces=%d reason=%s", len(noted), error)
            for trace in noted.values():
                self.note(trace)

    async def find(
        self,
        principal: Principal,
        *,
        since: float | None,
        until: float | None,
        before: int,
        user_name: str,
        operation: str,
        outcome: str,
        limit: int,
    ) -> Sequence[tuple[int, Trace]]:
        """Return a page of traces of the caller's project with their numbers, newest first.

        Failures are written up to a second late: who reads on behind them meanwhile does not see them.

        Raises:
            ModelError: FSS.1001 if the outcome is none.
        """
        if outcome and outcome not in list(TraceOutcome):
            raise ModelError("FSS.1001", f"outcome '{outcome[:40]}' is invalid: one of {', '.join(TraceOutcome)}.")
        await self.flush()
        project_id = principal.project.project_id
        wanted = TraceQuery(
            project_id=project_id,
            with_unattributed=project_id == self._operator_project_id,
            since=0.0 if since is None else since,
            until=self._clock.now() if until is None else until,
            before=before,
            user_name=user_name,
            operation=operation,
            outcome=outcome,
            limit=limit,
        )
        return await self._store.read(lambda tx: tx.traces.find(wanted))

    async def trim(self) -> None:
        """Delete what is too old or too much."""
        oldest = self._clock.now() - self._days * DAY_S
        await self._store.write(lambda tx: tx.traces.trim(oldest=oldest, rows=self._rows))

    async def _write_noted(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._clock.sleep(FLUSH_S)
            await self.flush()

    async def _trim(self) -> None:
        while True:
            with contextlib.suppress(StoreError):  # tried again in an hour
                await self.trim()
            await self._clock.sleep(TRIM_S)
