"""kill -9 of data-plane processes, one after the other, under load: nothing is wrong, hangs or is left."""

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.test_processes import COUNT, ECHO, Load, is_done, submit, wait_for_all, zombies_below
from tests.support.members import is_back, member_pids
from tests.support.processes import children_of
from tests.support.traces import traces_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

KILLS = int(os.environ.get("FUNCLET_PROCESS_KILLS", "8"))
SEED = 20_260_102


def test_kill_9_of_process_after_process_loses_nothing_and_leaves_nothing(new_server, record_property):
    chance = random.Random(SEED)
    server = wait_for_all(new_server("--processes", str(COUNT)))
    urns = [server.deploy(f"echo-{number}", ECHO) for number in range(6)]
    sandboxds, accepted = set(), []
    load = Load(server, urns)
    for kill in range(KILLS):
        # Long enough for the next process to stand by.
        time.sleep(chance.uniform(2.0, 2.5))
        sandboxds |= set(children_of(server.process.pid))
        number = chance.randrange(1, COUNT)
        former = member_pids(server)[number]
        accepted.append((urns[kill % len(urns)], submit(server, urns[kill % len(urns)])))

        os.kill(former, signal.SIGKILL)

        eventually(lambda number=number, former=former: is_back(server, number, former))
    seen = load.stop()

    answers = [answer for _, _, answer in seen if answer]
    assert {answer.status for answer in answers} <= {200, 500}
    assert {answer.json()["error_code"] for answer in answers if answer.status == 500} <= {"FSS.0500"}
    assert all(answer.json() == {"n": 1} for answer in answers if answer.status == 200)
    for urn, request_id in accepted:
        eventually(lambda urn=urn, request_id=request_id: is_done(server, urn, request_id), within_s=30)
    eventually(lambda: len(children_of(server.process.pid)) == COUNT + 1, because="one stands by")
    eventually(lambda: not zombies_below(server.process.pid))
    gone = sandboxds - set(children_of(server.process.pid))
    assert len(gone) >= KILLS - 1
    assert not [trace for sandboxd in gone for trace in traces_of(sandboxd, Path("/none"))]
    record_property("kills", KILLS)
    record_property("answers", len(answers))
    for urn in urns:
        good = [at for at, called, answer in seen if called == urn and answer and answer.status == 200]
        record_property("longest pause", max(later - earlier for earlier, later in itertools.pairwise(good)))
