"""The metrics of all data-plane processes, in process 0: each is asked, and what they say is added up.

Counters never go back while the server runs: what a process has last said holds until it says more, also when it does
not answer or has been replaced.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct
from msgspec.msgpack import Decoder

from funclet.cluster.codec import encode
from funclet.cluster.frames import Kind
from funclet.cluster.link import Connection, LinkAway
from funclet.metrics import MAX_VERSIONS, OTHERS, FunctionCounters, Key, Standing, Values, summed

ANSWER_S = 0.5
"""How long the processes have to answer, all together."""


class _Row(Struct, frozen=True, array_like=True):
    """`FunctionCounters` on the wire."""

    key: Key
    results: dict[int, int]
    buckets: list[int]
    sums: tuple[float, float, float, float]
    cold_starts: int
    throttles: int


class _Figures(Struct, frozen=True, array_like=True):
    """What one process says."""

    epoch: str
    """Of the process: one that replaces it counts from zero."""
    rows: list[_Row]
    values: dict[str, float | dict[str, float]]


_decode = Decoder(_Figures).decode


def encode_standing(standing: Standing, epoch: str) -> bytes:
    """Return what a process answers to `Kind.METRICS`; the epoch is another one after every start."""
    values = {name: dict(value) if isinstance(value, Mapping) else value for name, value in standing.values.items()}
    return encode(_Figures(epoch, [_row_of(one) for one in standing.counters], values))


class GatheredMetrics:
    """Asks every other process."""

    def __init__(
        self, connections: Callable[[], Mapping[int, Connection | None]], *, answer_s: float = ANSWER_S
    ) -> None:
        """Prepare.

        Args:
            connections: to the other processes by their numbers; None for one that is away.
            answer_s: how long they have to answer, in seconds.
        """
        self._connections = connections
        self._answer_s = answer_s
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._last: dict[int, _Figures] = {}
        self._ended: dict[Key, FunctionCounters] = {}
        """What processes had counted that were replaced."""

    async def add_to(self, own: Standing) -> Standing:
        """Return what this process and all others have to say; `fgs_process_up` names who did not answer in time."""
        connections = self._connections()
        if not connections:
            return Standing(counters=own.counters, values={**own.values, "fgs_process_up": {"0": 1.0}})
        asked = {number: self._ask(number, connection) for number, connection in connections.items()}
        questions = {number: question for number, question in asked.items() if question is not None}
        if questions:
            await asyncio.wait(questions.values(), timeout=self._answer_s)
        answered = [number for number, question in questions.items() if _is_answered(question)]
        counters = [*own.counters, *self._ended.values()]
        for figures in self._last.values():
            counters += [_counters_of(row) for row in figures.rows]
        up = {"0": 1.0} | {str(number): float(number in answered) for number in connections}
        values = _added([own.values, *(self._last[number].values for number in answered)])
        return Standing(counters=summed(counters), values={**values, "fgs_process_up": up})

    def _ask(self, number: int, connection: Connection | None) -> asyncio.Future[bytes] | None:
        """Return the question that a process has not answered yet, or a new one; None if it is away."""
        question = self._asked.get(number)
        if question is not None and not question.done():
            return question
        if connection is None:
            return None
        try:
            question = connection.request(Kind.METRICS, b"")
        except LinkAway:
            return None
        self._asked[number] = question
        # At once and not when a scrape ends: of two answers, the later one must hold.
        question.add_done_callback(partial(self._note, number))
        return question

    def _note(self, number: int, question: asyncio.Future[bytes]) -> None:
        if not _is_answered(question):
            return
        figures = _decode(question.result())
        former = self._last.get(number)
        if former is not None and former.epoch != figures.epoch:
            self._keep(former.rows)
        self._last[number] = figures

    def _keep(self, rows: Sequence[_Row]) -> None:
        kept = summed([*self._ended.values(), *map(_counters_of, rows)])
        if len(kept) > MAX_VERSIONS:
            others = FunctionCounters(("", OTHERS, OTHERS, OTHERS))
            for one in kept[MAX_VERSIONS - 1 :]:
                others.add(one)
            kept = [*kept[: MAX_VERSIONS - 1], others]
        self._ended = {one.key: one for one in kept}


def _is_answered(question: asyncio.Future[bytes]) -> bool:
    return question.done() and not question.cancelled() and question.exception() is None


def _added(all_values: Sequence[Values]) -> Values:
    total: dict[str, float | Mapping[str, float]] = {}
    for values in all_values:
        for name, value in values.items():
            former = total.get(name)
            if isinstance(value, Mapping):
                before: Mapping[str, float] = former if isinstance(former, Mapping) else {}
                total[name] = {key: before.get(key, 0) + value.get(key, 0) for key in {**before, **value}}
            else:
                total[name] = value + (former if isinstance(former, (int, float)) else 0)
    return total


def _row_of(one: FunctionCounters) -> _Row:
    sums = (one.duration_ms, one.wait_ms, one.start_ms, one.cpu_ms)
    return _Row(one.key, one.results, one.buckets, sums, one.cold_starts, one.throttles)


def _counters_of(row: _Row) -> FunctionCounters:
    one = FunctionCounters(row.key)
    one.results, one.buckets = dict(row.results), list(row.buckets)
    one.duration_ms, one.wait_ms, one.start_ms, one.cpu_ms = row.sums
    one.cold_starts, one.throttles = row.cold_starts, row.throttles
    return one
