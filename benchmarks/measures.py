"""The measurements, one function each; every round of each visits all of its targets. Start with `warm`."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.crowd import Crowd
from benchmarks.figures import percentile, rotated
from benchmarks.functions import BUSY, HEAVY, HELLO, HELLO_NODE, NODE, PYTHON
from benchmarks.load import Call, Caller, LoadResult, Reply, closed_loop, open_loop, request_bytes
from benchmarks.ours import OwnServer
from benchmarks.processes import CpuMeter
from benchmarks.targets import BODY, JSON_HEADERS, Target

CAPACITY, CALLERS, FLOOD = "capacity", "64 callers", "open loop"
_FIRST_ERROR = 400
_WARM_UP_S = 1.0
_OVERLOAD = 10
_BUSY_INSTANCES = 4
# The server ends instances that were idle for a second, and looks once a second.
_RELEASED_S = 3.5
SETTLE_S = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int
    seconds: float
    """Duration of one run of a load generator."""
    new_starts: int
    """Cold starts of new functions per round."""
    later_starts: int
    """Cold starts of functions that had an instance before, per round."""
    say: Callable[[str], None]


@dataclass(slots=True)
class Series:
    """The figures of one target, one per round, by name."""

    note: str = ""
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **figures: float) -> None:
        """Append one round."""
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)


Results = dict[str, Series]
"""Series by target."""


def warm(targets: Sequence[Target], folder: Path, plan: Plan, *, connections: int) -> Results:
    """Measure closed loops: good answers per second, times, and CPU per request of front and workers.

    A single connection is not measured by wrk, which adds to the times of requests those of the requests that it would
    have sent in the meantime: with one connection its high percentiles are those of the few longest pauses of the host.
    """
    results = {target.name: Series(note=target.note) for target in targets}
    for target in targets if connections > 1 else ():
        # As many callers as will come, so that there are as many instances.
        closed_loop(target.make_call(), folder, connections=connections, duration_s=_WARM_UP_S)
    for number in range(plan.rounds):
        plan.say(f"warm, {connections} connections: round {number + 1} of {plan.rounds}")
        for target in rotated(targets, number):
            call = target.make_call()
            meter = CpuMeter(target.find_processes)
            run = (
                _closed(call, 1, plan.seconds)
                if connections == 1
                else closed_loop(call, folder, connections=connections, duration_s=plan.seconds)
            )
            used = meter.stop()
            results[target.name].add(
                per_s=run.per_s,
                p50_us=run.p50_us,
                p99_us=run.p99_us,
                failed=run.requests - run.good + run.broken,
                others_cores=used.others_cores,
                workers=used.active.get("workers", 0),
                **{f"{name}_us": 1e6 * seconds / max(1, run.requests) for name, seconds in used.by_group.items()},
            )
    return results


def overload(server: OwnServer, plan: Plan) -> Results:
    """Measure a function of known capacity under 64 callers, and at ten times its capacity.

    Times are those of accepted requests, each also by those of the best point in the same round.
    """
    url = server.publish(server.deploy("bench_busy", BUSY, instances=_BUSY_INSTANCES), "bench_busy")
    call = Call(url=url, headers=JSON_HEADERS, body=BODY)
    results = {
        CAPACITY: Series(note=f"{_BUSY_INSTANCES} instances of 10 ms, as many callers"),
        CALLERS: Series(note="closed loop"),
        FLOOD: Series(note=f"{_OVERLOAD} times the capacity of the round is sent"),
    }
    _closed(call, _BUSY_INSTANCES, _WARM_UP_S)
    for number in range(plan.rounds):
        plan.say(f"overload: round {number + 1} of {plan.rounds}")
        best = _closed(call, _BUSY_INSTANCES, plan.seconds)
        callers = _closed(call, 64, plan.seconds)
        rate_per_s = _OVERLOAD * best.per_s
        flood = open_loop(call, rate_per_s=rate_per_s, duration_s=plan.seconds)
        for name, run in ((CAPACITY, best), (CALLERS, callers), (FLOOD, flood)):
            sent = rate_per_s * plan.seconds if run is flood else run.requests
            results[name].add(
                per_s=run.per_s,
                share=run.per_s / max(1.0, best.per_s),
                sent_per_s=sent / run.duration_s,
                p50_us=run.p50_us,
                p99_us=run.p99_us,
                p99_by_best=run.p99_us / max(1.0, best.p99_us),
            )
    return results


def _closed(call: Call, callers: int, duration_s: float) -> LoadResult:
    """Run a closed loop that tells the times of accepted requests from those of refused ones, as wrk does not.

    A caller that was refused asks again at once.
    """
    request = request_bytes(call, urlsplit(call.url).netloc)
    with closing(Crowd(call.url, callers)) as crowd:
        began = time.perf_counter()
        seen = crowd.run(itertools.repeat(request), send_s=duration_s)
        elapsed_s = time.perf_counter() - began
    accepted = [one.took_ms * 1000 for one in seen if one.status < _FIRST_ERROR]
    return LoadResult(
        requests=len(seen),
        good=len(accepted),
        broken=0,
        duration_s=elapsed_s,
        p50_us=percentile(accepted or [0.0], 0.5),
        p99_us=percentile(accepted or [0.0], 0.99),
    )


def cold(servers: Mapping[str, OwnServer], plan: Plan) -> Results:
    """Measure first requests in milliseconds, a figure for each start, on servers that soon end idle instances.

    Args:
        servers: by what their starts find: `pool hit` or `pool empty`.
        plan: how many.
    """
    results: Results = {}
    with ExitStack() as stack:
        starters = [stack.enter_context(closing(ColdStarts(*pair, plan, results))) for pair in servers.items()]
        for number in range(plan.rounds):
            plan.say(f"cold starts: round {number + 1} of {plan.rounds}")
            for starter in rotated(starters, number):
                starter.measure_new()
            # Not by counting processes: sandboxes that are prepared ahead look like instances.
            time.sleep(_RELEASED_S)
            for starter in rotated(starters, number):
                starter.measure_later()
            _measure_bare(results, "bare python3 -I -S", ["/usr/bin/python3", "-I", "-S", "-c", ""])
            _measure_bare(results, "bare node", ["node", "-e", ""])
    return results


class ColdStarts:
    """Makes cold starts on one server, one after the other."""

    def __init__(self, pool: str, server: OwnServer, plan: Plan, results: Results) -> None:
        """Deploy the functions that are started again and again, and start each once."""
        self._pool, self._server, self._plan, self._results = pool, server, plan, results
        self._caller = Caller(server.api_url)
        self._serial = 0
        half = max(2, plan.later_starts // 2)
        self._again = {
            "Python": self._deploy("again", HELLO, PYTHON, plan.later_starts),
            "Python, 200 ms of imports": self._deploy("heavy", HEAVY, PYTHON, half),
            "Node.js": self._deploy("node", HELLO_NODE, NODE, half),
        }
        for urn in (urn for urns in self._again.values() for urn in urns):
            self._start(urn)

    def measure_new(self) -> None:
        """Measure the first requests of new functions."""
        self._new("Python", HELLO, PYTHON, self._plan.new_starts)
        self._new("Node.js", HELLO_NODE, NODE, max(2, self._plan.new_starts // 3))

    def measure_later(self) -> None:
        """Measure the next requests of functions whose instances were released."""
        for kind, urns in self._again.items():
            for urn in urns:
                self._measure(f"{kind}, {self._pool}, later start", "had an instance before", urn)

    def close(self) -> None:
        """Close the connection."""
        self._caller.close()

    def _new(self, kind: str, files: Mapping[str, str], runtime: str, count: int) -> None:
        urns = self._deploy("new", files, runtime, count)
        for urn in urns:
            self._measure(f"{kind}, {self._pool}, new function", "its code has to be unpacked", urn)
        for urn in urns:
            # Without the version: the whole function.
            self._server.client.delete_function(urn.rpartition(":")[0])

    def _deploy(self, name: str, files: Mapping[str, str], runtime: str, count: int) -> list[str]:
        first = self._serial
        self._serial += count
        return [
            self._server.deploy(f"{name}_{number}", files, runtime=runtime) for number in range(first, first + count)
        ]

    def _measure(self, name: str, note: str, urn: str) -> None:
        # What the server does after the start before this one, such as filling its pool, must not run beside it.
        time.sleep(SETTLE_S)
        self._results.setdefault(name, Series(note=note)).add(took_ms=self._start(urn).took_ms)

    def _start(self, urn: str) -> Reply:
        reply = self._caller.send(self._server.signed(urn, BODY))
        if reply.status != 200 or reply.headers.get("x-funclet-start") == "warm":  # noqa: PLR2004 - HTTP's own number
            raise RuntimeError(f"not a cold start of {urn}: {reply.status} {reply.body[:300].decode(errors='replace')}")
        return reply


def _measure_bare(results: Results, name: str, command: Sequence[str]) -> None:
    series = results.setdefault(name, Series(note="fork, exec and exit of an empty program, for comparison"))
    for _ in range(3):
        began = time.perf_counter()
        # A clean environment: the variables of a host can make interpreters read much at their start.
        subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, check=True)  # noqa: S603 - our own command
        series.add(took_ms=(time.perf_counter() - began) * 1000)


def say_to_stderr(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)
