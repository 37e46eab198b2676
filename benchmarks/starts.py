"""Many cold starts at once, and one after the other without a pause. Start with `bursts`."""

import itertools
import json
import time
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import urlsplit

from benchmarks.crowd import Crowd, Seen
from benchmarks.figures import percentile
from benchmarks.functions import HELLO
from benchmarks.load import Caller, request_bytes
from benchmarks.measures import SETTLE_S, Plan, Results, Series
from benchmarks.ours import OwnServer, new_function
from benchmarks.targets import BODY

MANY = "200 functions, a request each"
ONE = "1 function, 100 callers"
SUSTAINED = "new instances without a pause"
DEPLOYED = "create function to first 200"

_FUNCTIONS, _CALLERS = 200, 100
_STARTING = 16
"""Requests that wait for a start at any moment, when starts are made without a pause."""
_SUSTAINED_S = 10.0
_OK, _REFUSED = 200, (429, 503)


def bursts(server: OwnServer, plan: Plan) -> Results:
    """Measure how long it takes until all are answered that call at once, on a server that soon ends idle instances.

    A first round is not counted: from it the server learns how many starts to prepare for.

    Who is refused asks again at once; only with the last answer the time is over.
    Before each, no instance is left and what the server prepares is complete: no sandbox has come or gone
    for 2.5 seconds.
    """
    many = [server.deploy(f"many_{number}", HELLO) for number in range(_FUNCTIONS)]
    one = server.deploy("one", HELLO)
    calls = {MANY: many, ONE: [one] * _CALLERS}
    notes = {MANY: "of code that was there before", ONE: "it has no instance"}
    results = {name: Series(note=note) for name, note in notes.items()}
    for number in range(plan.rounds + 1):
        plan.say(f"bursts: round {number} of {plan.rounds}")
        for name, urns in calls.items():
            _burst(server, urns, results[name] if number else Series())
    return results


def _burst(server: OwnServer, urns: Sequence[str], series: Series) -> None:
    server.settle(quiet_s=2.5)
    prepared = len(server.sandbox_processes())
    waiting = _requests(server, urns)
    times: list[float] = []
    cold = refused = 0
    with closing(Crowd(server.api_url, len(urns))) as crowd:
        began = time.perf_counter()
        while waiting:
            seen = crowd.run(iter(waiting))
            _check(seen, _OK, *_REFUSED)
            waiting = [one.request for one in seen if one.status != _OK]
            times += [(one.ended_at - began) * 1000 for one in seen if one.status == _OK]
            cold += sum(one.status == _OK and one.start != "warm" for one in seen)
            refused += len(waiting)
    series.add(
        took_ms=max(times),
        first_ms=min(times),
        p50_ms=percentile(times, 0.5),
        cold=cold,
        refused=refused,
        prepared=prepared,
    )


def sustained(server: OwnServer, urns: Sequence[str], plan: Plan) -> Results:
    """Measure starts per second over ten seconds: requests to one function after the other that has no instance.

    Ends of instances go on beside the starts, as they must when this is to last.
    """
    series = Series(note=f"{_STARTING} callers, each time another function")
    requests = _requests(server, urns)
    for number in range(min(2, plan.rounds)):
        plan.say(f"starts without a pause: round {number + 1} of {min(2, plan.rounds)}")
        server.settle(quiet_s=2.5)
        with closing(Crowd(server.api_url, _STARTING)) as crowd:
            began = time.perf_counter()
            seen = crowd.run(itertools.cycle(requests), send_s=_SUSTAINED_S)
        _check(seen, _OK, *_REFUSED)
        elapsed_s = max(one.ended_at for one in seen) - began
        cold = [one.took_ms for one in seen if one.status == _OK and one.start != "warm"]
        series.add(
            per_s=len(cold) / elapsed_s,
            p50_ms=percentile(cold, 0.5),
            p99_ms=percentile(cold, 0.99),
            refused=sum(one.status != _OK for one in seen),
            warm=sum(one.status == _OK for one in seen) - len(cold),
        )
    return {SUSTAINED: series}


def deployments(server: OwnServer, plan: Plan) -> Results:
    """Measure the time from the request that creates a function to the answer of its first invocation, each once."""
    series = Series(note="zip in the request; two requests on one connection")
    count = plan.rounds * plan.new_starts
    plan.say(f"create function to first 200: {count} times")
    with closing(Caller(server.api_url)) as caller:
        for number in range(count):
            name = f"fresh_{number}"
            urn = server.urn_of(name)
            # Written and signed before the clock starts, because that is the client's own time.
            create = server.signed_post("/functions", json.dumps(new_function(name, HELLO)))
            invoke = server.signed(urn, BODY)
            time.sleep(SETTLE_S)
            created = caller.send(create)
            answered = caller.send(invoke)
            if (created.status, answered.status) != (_OK, _OK):
                raise RuntimeError(f"{created.status} {answered.status}: {(created.body + answered.body)[:300]!r}")
            series.add(took_ms=created.took_ms + answered.took_ms, create_ms=created.took_ms)
            server.client.delete_function(urn.rpartition(":")[0])
    return {DEPLOYED: series}


def _requests(server: OwnServer, urns: Sequence[str]) -> list[bytes]:
    host = urlsplit(server.api_url).netloc
    return [request_bytes(server.signed(urn, BODY), host) for urn in urns]


def _check(seen: Sequence[Seen], *expected: int) -> None:
    failed = [one.status for one in seen if one.status not in expected]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(seen)} requests failed: {sorted(set(failed))}")
