"""What the asynchronous queue has done, per function, and its text for Prometheus."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from funclet.model.urn import parse

MAX_FUNCTIONS = 1000
"""Functions that have series of their own; what comes later is counted as `_others`."""
OTHERS = "_others"


@dataclass(slots=True)
class LaneCounters:
    """What became of the requests of one function since the server started."""

    project_id: str
    function: str
    """`package:name`."""
    accepted: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    """By status."""
    retries: Counter[str] = field(default_factory=Counter)
    """By cause."""
    destination_errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneGauges:
    """What is there now of one function."""

    length: int
    oldest_s: float
    in_flight: int


class AsyncCounters:
    """The counters of all functions."""

    def __init__(self) -> None:
        self._by_id: dict[str, LaneCounters] = {}
        self._others = LaneCounters(project_id="", function=OTHERS)

    def of(self, function_id: str, urn: str) -> LaneCounters:
        """Return the counters of a function, which `urn` names."""
        found = self._by_id.get(function_id)
        if found is None:
            if len(self._by_id) >= MAX_FUNCTIONS:
                return self._others
            fields = urn.split(":")
            place = parse(urn, region=fields[2], project_id=fields[3])
            found = self._by_id[function_id] = LaneCounters(place.project_id, f"{place.package}:{place.name}")
        return found

    def find(self, function_id: str) -> LaneCounters | None:
        """Return the counters of a function, if it has some of its own."""
        return self._by_id.get(function_id)

    def render(self, gauges: Mapping[str, LaneGauges]) -> bytes:
        """Return all metrics in the text format of Prometheus; `gauges` by function id."""
        rows = [*self._by_id.items(), ("", self._others)]
        lines: list[str] = []
        _head(lines, "fgs_async_queue_length", "gauge", "Asynchronous invocations that wait.")
        lines.append(f"fgs_async_queue_length {sum(now.length for now in gauges.values())}")
        _head(lines, "fgs_async_oldest_seconds", "gauge", "How long ago the oldest of these was accepted.")
        lines.append(f"fgs_async_oldest_seconds {max([round(now.oldest_s, 3) for now in gauges.values()], default=0)}")
        for name, help_, pick in _GAUGES:
            _head(lines, name, "gauge", help_)
            lines += [f"{name}{{{_labels(one)}}} {pick(gauges[key])}" for key, one in rows if key in gauges]
        _head(lines, "fgs_async_accepted_total", "counter", "Asynchronous invocations that were accepted.")
        lines += [f"fgs_async_accepted_total{{{_labels(one)}}} {one.accepted}" for _, one in rows if one.accepted]
        _head(lines, "fgs_async_ended_total", "counter", "Asynchronous invocations that have ended, by status.")
        lines += _by(rows, "fgs_async_ended_total", "status", lambda one: one.ended)
        _head(lines, "fgs_async_retries_total", "counter", "Attempts that are repeated, by cause.")
        lines += _by(rows, "fgs_async_retries_total", "cause", lambda one: one.retries)
        _head(lines, "fgs_async_destination_errors_total", "counter", "Notifications that were not acknowledged.")
        lines += [
            f"fgs_async_destination_errors_total{{{_labels(one)}}} {one.destination_errors}"
            for _, one in rows
            if one.destination_errors
        ]
        return ("\n".join(lines) + "\n").encode()


_GAUGES: tuple[tuple[str, str, Callable[[LaneGauges], float]], ...] = (
    ("fgs_async_function_queue_length", "Asynchronous invocations that wait.", lambda now: now.length),
    ("fgs_async_function_oldest_seconds", "How long ago the oldest was accepted.", lambda now: round(now.oldest_s, 3)),
    ("fgs_async_function_in_flight", "Asynchronous invocations that run.", lambda now: now.in_flight),
)


def _by(
    rows: Iterable[tuple[str, LaneCounters]], name: str, label: str, pick: Callable[[LaneCounters], Counter[str]]
) -> list[str]:
    return [
        f'{name}{{{_labels(one)},{label}="{value}"}} {count}'
        for _, one in rows
        for value, count in sorted(pick(one).items())
    ]


def _labels(one: LaneCounters) -> str:
    return f'project="{one.project_id}",function="{one.function}"'


def _head(lines: list[str], name: str, kind: str, help_: str) -> None:
    lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
