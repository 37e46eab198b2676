"""The audit log over named queries."""

import itertools
import math
from collections.abc import Sequence

import msgspec

from funclet.model.audit import Trace, TraceOutcome, TraceQuery
from funclet.store.connection import Session

_TRIMMED_AT_ONCE = 5000


class SqlTraces:
    """The audit log."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode = msgspec.json.Decoder(Trace).decode

    def add(self, traces: Sequence[Trace]) -> None:
        """Append."""
        rows = [
            (one.at, one.project_id, one.user_name, one.operation, one.outcome.value, msgspec.json.encode(one).decode())
            for one in traces
        ]
        self._session.run_rows("add_trace", rows)

    def find(self, wanted: TraceQuery) -> Sequence[tuple[int, Trace]]:
        """See `identity.Traces`."""
        begin = self._session.one("time_of_trace", trace_id=wanted.before) if wanted.before else None
        if wanted.before and begin is None:
            return []
        last_at = begin[0] if begin else math.inf
        values = msgspec.to_builtins(wanted) | {"last_at": last_at, "until": min(wanted.until, last_at)}
        projects = {wanted.project_id, ""} if wanted.with_unattributed else {wanted.project_id}
        found = [self._session.all(_query(wanted), **{**values, "project_id": one}) for one in projects]
        rows = sorted(itertools.chain(*found), key=lambda row: (row[1], row[0]), reverse=True)
        return [(trace_id, self._decode(document)) for trace_id, _, document in rows[: wanted.limit]]

    def trim(self, *, oldest: float, rows: int) -> None:
        """Delete what is older than `oldest` (some thousands at once) or more than `rows`."""
        self._session.run("trim_traces_by_age", oldest=oldest, limit=_TRIMMED_AT_ONCE)
        self._session.run("trim_traces_by_count", rows=rows)


def _query(wanted: TraceQuery) -> str:
    """Return the name of the query that has to look at the fewest rows."""
    if wanted.outcome not in {"", TraceOutcome.DONE}:
        return "find_traces_of_outcome"
    if wanted.operation:
        return "find_traces_of_operation"
    return "find_traces_of_user" if wanted.user_name else "find_traces"
