"""What a server holds while nothing happens: instances, connections, functions. Start with `idle_instances`."""

import itertools
import os
import time
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.crowd import Crowd
from benchmarks.functions import HELLO
from benchmarks.load import Call, Caller, request_bytes
from benchmarks.measures import Plan, Results, Series
from benchmarks.memory import held_by, settled_used_mib, wake_ups
from benchmarks.ours import OwnServer
from benchmarks.processes import cpu_s
from benchmarks.targets import BODY

INSTANCE = "idle Python instance"
IDLE_CONNECTIONS = "10,000 idle connections"
REST = "at rest with 10,000 functions"
FUNCTIONS = CONNECTIONS = 10_000

_STEP, _STEPS = 40, 3
_PROVOKED = 300
_REST_S = 10.0
# Longer than the server looks back for how many starts to prepare, so that each reading finds as many prepared.
_CALM_S = 12.0
_MB_PER_MIB = 2**20 / 1e6
_OK, _NOT_FOUND = 200, 404


def idle_instances(server: OwnServer, plan: Plan) -> Results:
    """Measure the memory of the whole machine, the kernel's own included, by instance that waits for its next request.

    The first step only warms up; the others each give a figure: what so many instances more take.
    Before them come so many starts that the server prepares as much as it ever does for the next ones: what is
    prepared must be the same at each reading.
    """
    series = Series(note=f"of the whole machine, kernel included; steps of {_STEP} instances of different functions")
    urns = [server.deploy(f"idle_{number}", HELLO) for number in range(_STEP * _STEPS)]
    before_mib, before = 0.0, 0
    with closing(Caller(server.api_url)) as caller:
        _provoke_starts(server, caller)
        for step in range(_STEPS):
            plan.say(f"idle instances: step {step + 1} of {_STEPS}")
            for urn in urns[step * _STEP : (step + 1) * _STEP]:
                _invoke(server, caller, urn)
            time.sleep(_CALM_S)
            server.settle()
            processes, used_mib = len(server.sandbox_processes()), settled_used_mib()
            if step:
                series.add(
                    instance_mib=(used_mib - before_mib) / _STEP,
                    instance_processes=(processes - before) / _STEP,
                )
            before_mib, before = used_mib, processes
    return {INSTANCE: series}


def _provoke_starts(server: OwnServer, caller: Caller) -> None:
    for number in range(_PROVOKED):
        urn = server.deploy(f"provoked_{number}", HELLO)
        _invoke(server, caller, urn)
        # With the function its instance goes.
        server.client.delete_function(urn.rpartition(":")[0])


def _invoke(server: OwnServer, caller: Caller, urn: str) -> None:
    reply = caller.send(server.signed(urn, BODY))
    if reply.status != _OK:
        raise RuntimeError(f"an instance did not start: {reply.status} {reply.body[:300]!r}")


def idle_connections(server: OwnServer, plan: Plan) -> Results:
    """Measure what connections take that have had an answer and send nothing more.

    The server's own memory, and half of what the kernel took: the other half is the client's end of the same machine.
    """
    plan.say("idle connections")
    call = Call(url=f"{server.gateway_url}/nothing", method="GET")
    request = request_bytes(call, urlsplit(call.url).netloc)
    with closing(Crowd(server.gateway_url, 100)) as first:
        first.run(itertools.repeat(request))
    server.settle()
    before = _Machine.read(server)
    with closing(Crowd(server.gateway_url, CONNECTIONS)) as crowd:
        answered = crowd.run(itertools.repeat(request))
        server.settle()
        more = _Machine.read(server).less(before)
    if len(answered) != CONNECTIONS or {one.status for one in answered} != {_NOT_FOUND}:
        raise RuntimeError("not all connections were taken")
    kernel_mib = max(0.0, more.used_mib - more.server_mib - more.client_mib)
    series = Series(note="each has had one answer; server, and the kernel on its side")
    series.add(
        more_mb=_MB_PER_MIB * (more.server_mib + kernel_mib / 2),
        server_mb=_MB_PER_MIB * more.server_mib,
        kernel_mb=_MB_PER_MIB * kernel_mib / 2,
    )
    return {IDLE_CONNECTIONS: series}


def at_rest(server: OwnServer, plan: Plan) -> Results:
    """Measure memory, CPU time and wake-ups of a server that nobody asks for anything.

    What is prepared for the next starts is told apart: its size is a setting, not a matter of how many functions exist.
    """
    series = Series(note=f"processes of the server; {_REST_S:g} s without a request")
    server.settle(quiet_s=3.0)
    for number in range(min(2, plan.rounds)):
        plan.say(f"at rest: round {number + 1} of {min(2, plan.rounds)}")
        own, prepared = server.own_processes(), server.sandbox_processes()
        both = [*own, *prepared]
        used_s, woken = sum(map(cpu_s, both)), wake_ups(both)
        time.sleep(_REST_S)
        used_s, woken = sum(map(cpu_s, both)) - used_s, wake_ups(both) - woken
        held, held_prepared = held_by(own), held_by(prepared)
        series.add(
            pss_mb=_MB_PER_MIB * held.pss_mib,
            rss_mb=_MB_PER_MIB * held.rss_mib,
            prepared_mb=_MB_PER_MIB * held_prepared.pss_mib,
            cpu_percent=100 * used_s / _REST_S,
            wake_ups_per_s=woken / _REST_S,
        )
    return {REST: series}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """Memory in MiB: what is in use, and who has it."""

    used_mib: float
    server_mib: float
    client_mib: float

    @classmethod
    def read(cls, server: OwnServer) -> "_Machine":
        """Read the memory of now; this process is the client."""
        return cls(
            used_mib=settled_used_mib(),
            server_mib=held_by(server.own_processes()).pss_mib,
            client_mib=held_by([os.getpid()]).pss_mib,
        )

    def less(self, before: "_Machine") -> "_Machine":
        """Return the difference."""
        return _Machine(
            used_mib=self.used_mib - before.used_mib,
            server_mib=self.server_mib - before.server_mib,
            client_mib=self.client_mib - before.client_mib,
        )
