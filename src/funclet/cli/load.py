"""Many invocations of one function, and how long they took.

`run` starts the threads; each has a connection of its own.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count as counter
from typing import Any

from funclet.cli.frame import counted
from funclet.cli.session import Session
from funclet.client import ClientError


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it. Times in milliseconds, as this side saw them."""

    times_ms: Sequence[float]
    """Of those that were answered, ascending."""
    took_s: float
    outcomes: Mapping[str, int]
    """completed, function failed, throttled, platform failed, no answer: how many of each."""
    cold_starts: int
    was_interrupted: bool = False
    """Whether it ended before all were sent; what was on its way then is not counted."""

    @property
    def count(self) -> int:
        """How many invocations there were."""
        return sum(self.outcomes.values())

    @property
    def function_failed(self) -> int:
        """How many failed in the function."""
        return self.outcomes.get("function failed", 0)

    @property
    def failed(self) -> int:
        """How many did not complete."""
        return self.count - self.outcomes.get("completed", 0)

    def percentile_ms(self, percent: float) -> float:
        """Return the time that `percent` of the answers did not exceed; 0 without answers."""
        if not self.times_ms:
            return 0.0
        return self.times_ms[min(len(self.times_ms) - 1, int(len(self.times_ms) * percent / 100))]

    def document(self) -> dict[str, Any]:
        """Return the report as one JSON document."""
        times = {f"p{percent}_ms": round(self.percentile_ms(percent), 3) for percent in (50, 95, 99)}
        per_second = round(self.count / self.took_s, 1) if self.took_s else 0.0
        return {
            "count": self.count,
            "duration_s": round(self.took_s, 3),
            "per_second": per_second,
            **times,
            "cold_starts": self.cold_starts,
            "outcomes": dict(self.outcomes),
        }

    def text(self) -> str:
        """Return the report for people."""
        found = self.document()
        outcomes = ", ".join(f"{number} {name}" for name, number in self.outcomes.items()) or "none completed"
        return (
            f"{counted(self.count, 'invocation')} in {found['duration_s']} s, {found['per_second']} per second\n"
            f"p50 {found['p50_ms']:.1f} ms   p95 {found['p95_ms']:.1f} ms   p99 {found['p99_ms']:.1f} ms\n"
            f"{outcomes}; {counted(self.cold_starts, 'cold start')}"
        )


def run(talk: Session, urn: str, event: bytes, headers: Mapping[str, str], *, count: int, concurrency: int) -> Report:
    """Invoke a function `count` times, `concurrency` at once, without repeating what fails."""
    numbers = counter()
    times_ms: list[float] = []
    outcomes: Counter[str] = Counter()
    cold = counter()
    clients = [talk.another_client(retries=0) for _ in range(min(concurrency, count))]
    stop = threading.Event()

    def work(number: int) -> None:
        """Send with one connection until all are sent or Ctrl-C was pressed."""
        while next(numbers) < count and not stop.is_set():
            started_at = time.monotonic()
            try:
                answer = clients[number].invoke(urn, event, headers=headers)
            except ClientError:
                outcomes["no answer"] += 1
                continue
            times_ms.append((time.monotonic() - started_at) * 1000)
            outcomes[_outcome(answer.status, answer.headers)] += 1
            if answer.headers.get("x-funclet-start") == "cold":
                next(cold)

    started_at, was_interrupted = time.monotonic(), False
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        stop.set()
        was_interrupted = True
    took_s = time.monotonic() - started_at
    return Report(
        times_ms=sorted(times_ms),
        took_s=took_s,
        outcomes=dict(outcomes),
        cold_starts=next(cold),
        was_interrupted=was_interrupted,
    )


def _outcome(status: int, headers: Mapping[str, str]) -> str:
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return "throttled"
    if headers.get("x-is-func-err") == "true":
        return "function failed"
    return "completed" if status < HTTPStatus.BAD_REQUEST else "platform failed"
