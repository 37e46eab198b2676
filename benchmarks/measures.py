"""The measurements, one function each; every round of each visits all of its targets. Start with `warm`."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import rotated
from benchmarks.functions import BUSY, HEAVY, HELLO, HELLO_NODE, NODE, PYTHON
from benchmarks.load import Call, Caller, Reply, closed_loop, open_loop
from benchmarks.ours import OwnServer
from benchmarks.processes import CpuMeter
from benchmarks.targets import BODY, JSON_HEADERS, Target

_WARM_UP_S = 1.0
_OVERLOAD = 10
_BUSY_INSTANCES = 4
_GONE_S = 15.0
_SETTLE_S = 0.03


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
    """Measure closed loops: good answers per second, times, and CPU per request of front and workers."""
    results = {target.name: Series(note=target.note) for target in targets}
    for target in targets if connections > 1 else ():
        # As many callers as will come, so that there are as many instances.
        closed_loop(target.make_call(), folder, connections=connections, duration_s=_WARM_UP_S)
    for number in range(plan.rounds):
        plan.say(f"warm, {connections} connections: round {number + 1} of {plan.rounds}")
        for target in rotated(targets, number):
            call = target.make_call()
            meter = CpuMeter(target.find_processes)
            run = closed_loop(call, folder, connections=connections, duration_s=plan.seconds)
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


def overload(server: OwnServer, folder: Path, plan: Plan) -> Results:
    """Measure a function of known capacity under 64 callers, and at ten times its capacity."""
    url = server.publish(server.deploy("bench_busy", BUSY, instances=_BUSY_INSTANCES), "bench_busy")
    call = Call(url=url, headers=JSON_HEADERS, body=BODY)
    results = {
        "capacity": Series(note=f"{_BUSY_INSTANCES} instances of 10 ms, as many callers"),
        "64 callers": Series(note="closed loop"),
        "open loop": Series(note=f"{_OVERLOAD} times the capacity of the round is sent"),
    }
    closed_loop(call, folder, connections=_BUSY_INSTANCES, duration_s=_WARM_UP_S)
    for number in range(plan.rounds):
        plan.say(f"overload: round {number + 1} of {plan.rounds}")
        capacity = closed_loop(call, folder, connections=_BUSY_INSTANCES, duration_s=plan.seconds)
        callers = closed_loop(call, folder, connections=64, duration_s=plan.seconds)
        rate_per_s = _OVERLOAD * capacity.per_s
        flood = open_loop(call, rate_per_s=rate_per_s, duration_s=plan.seconds)
        for name, run in (("capacity", capacity), ("64 callers", callers), ("open loop", flood)):
            sent = rate_per_s * plan.seconds if run is flood else run.requests
            results[name].add(
                per_s=run.per_s,
                share=run.per_s / max(1.0, capacity.per_s),
                sent_per_s=sent / run.duration_s,
                p50_us=run.p50_us,
                p99_us=run.p99_us,
            )
    return results


class ColdStarts:
    """Measures first requests, one after the other, on a server that soon ends idle instances."""

    def __init__(self, server: OwnServer, plan: Plan) -> None:
        """Deploy the functions that are started again and again, and start each once."""
        self._server = server
        self._plan = plan
        self._caller = Caller(server.api_url)
        self._serial = 0
        kinds: Sequence[tuple[str, Mapping[str, str], str, int]] = (
            ("python", HELLO, PYTHON, plan.later_starts),
            ("heavy", HEAVY, PYTHON, max(2, plan.later_starts // 2)),
            ("node", HELLO_NODE, NODE, max(2, plan.later_starts // 2)),
        )
        self._again: dict[str, list[str]] = {}
        self._results: Results = {
            "Python, new function": Series(note="code unpacked, pool empty"),
            "Python, later start": Series(note="had an instance before"),
            "Python, 200 ms of imports, later start": Series(note="had an instance before"),
            "Node.js, new function": Series(note="code unpacked, pool empty"),
            "Node.js, later start": Series(note="had an instance before"),
            "bare python3 -I -S": Series(note="fork, exec, exit of an empty program; for comparison"),
            "bare node": Series(note="the same"),
        }
        for kind, files, runtime, count in kinds:
            urns = [server.deploy(f"again_{kind}_{number}", files, runtime=runtime) for number in range(count)]
            self._again[kind] = urns
            for urn in urns:
                self._start(urn)

    def run(self) -> Results:
        """Measure all rounds; a figure is one start, in milliseconds."""
        for number in range(self._plan.rounds):
            self._plan.say(f"cold starts: round {number + 1} of {self._plan.rounds}")
            self._new("Python, new function", HELLO, PYTHON, self._plan.new_starts)
            self._new("Node.js, new function", HELLO_NODE, NODE, max(2, self._plan.new_starts // 3))
            self._wait_until_gone()
            self._later("Python, later start", "python")
            self._later("Python, 200 ms of imports, later start", "heavy")
            self._later("Node.js, later start", "node")
            self._bare("bare python3 -I -S", ["/usr/bin/python3", "-I", "-S", "-c", ""])
            self._bare("bare node", ["node", "-e", ""])
        return self._results

    def close(self) -> None:
        """Close the connection."""
        self._caller.close()

    def _new(self, name: str, files: Mapping[str, str], runtime: str, count: int) -> None:
        urns = []
        for _ in range(count):
            self._serial += 1
            urns.append(self._server.deploy(f"cold_{self._serial}", files, runtime=runtime))
            self._measure(name, urns[-1])
        for urn in urns:
            # Without the version: the whole function.
            self._server.client.delete_function(urn.rpartition(":")[0])

    def _later(self, name: str, kind: str) -> None:
        for urn in self._again[kind]:
            self._measure(name, urn)

    def _measure(self, name: str, urn: str) -> None:
        # What the server does after a deployment or an earlier start must not run beside this one.
        time.sleep(_SETTLE_S)
        reply = self._start(urn)
        self._results[name].add(took_ms=reply.took_ms)

    def _start(self, urn: str) -> Reply:
        reply = self._caller.send(self._server.signed(urn, BODY))
        if reply.status != 200 or reply.headers.get("x-funclet-start") == "warm":  # noqa: PLR2004 - HTTP's own number
            raise RuntimeError(f"not a cold start of {urn}: {reply.status} {reply.body[:300].decode(errors='replace')}")
        return reply

    def _wait_until_gone(self) -> None:
        deadline = time.monotonic() + _GONE_S
        while self._server.instance_count():
            if time.monotonic() > deadline:
                raise RuntimeError("idle instances were not released")
            time.sleep(0.05)

    def _bare(self, name: str, command: Sequence[str]) -> None:
        for _ in range(3):
            began = time.perf_counter()
            # A clean environment: the variables of a host can make interpreters read much at their start.
            subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, check=True)  # noqa: S603 - our own command
            self._results[name].add(took_ms=(time.perf_counter() - began) * 1000)


def say_to_stderr(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)
