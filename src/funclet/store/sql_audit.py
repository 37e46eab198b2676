"""The audit log over named queries."""

from collections.abc import Sequence

import msgspec

from funclet.model.audit import Trace, TraceQuery
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
        """Return traces of a project with their numbers, newest first; logins are of every project."""
        rows = self._session.all("find_traces", **msgspec.to_builtins(wanted))
        return [(trace_id, self._decode(document)) for trace_id, document in rows]

    def trim(self, *, oldest: float, rows: int) -> None:
        """Delete what is older than `oldest` (some thousands at once) or more than `rows`."""
        self._session.run("trim_traces_by_age", oldest=oldest, limit=_TRIMMED_AT_ONCE)
        self._session.run("trim_traces_by_count", rows=rows)
