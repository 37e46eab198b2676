"""What was used of functions, over named queries."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from funclet.model.usage import Tally
from funclet.store.connection import Session
from funclet.store.protocol import FunctionUsage, Slots, UsageRow


class SqlUsage:
    """See `protocol.UsageTable`. The columns of a tally stand in the order of its members."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, rows: Sequence[UsageRow]) -> None:
        """Add sums to what is there for their slots."""
        self._session.run_rows("add_usage", [(*row[:-1], *_columns(row.tally)) for row in rows])

    def projects(self, function_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the projects of functions that are there, or of which something was used, by function id."""
        names = msgspec.json.encode(function_ids).decode()
        return dict(self._session.all("projects_of_functions", function_ids=names))

    def of_function(self, function_id: str, version: str, *, span_s: int, since: int, until: int) -> Slots:
        """Return the sums of a function, or of one version, by slot."""
        rows = self._session.all(
            "usage_of_function", function_id=function_id, version=version, span_s=span_s, since=since, until=until
        )
        return [(begins_at, Tally(*sums)) for begins_at, *sums in rows]

    def by_function(self, project_id: str, *, span_s: int, since: int, until: int) -> Sequence[FunctionUsage]:
        """Return the sums of each function of a project that is there and has some."""
        rows = self._session.all("usage_by_function", project_id=project_id, span_s=span_s, since=since, until=until)
        return [FunctionUsage(package, name, Tally(*sums)) for package, name, *sums in rows]

    def count(self) -> int:
        """Return how many rows there are."""
        return self._session.number("count_usage")

    def prune(self, *, span_s: int, before: int, limit: int) -> int:
        """Delete the oldest slots of a length that begin before a time, at most `limit`; return how many."""
        return self._session.run("prune_usage", span_s=span_s, before=before, limit=limit).rowcount


def _columns(tally: Tally) -> Sequence[Any]:
    return [getattr(tally, name) for name in Tally.__struct_fields__]
