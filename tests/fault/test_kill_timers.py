"""kill -9 of the server at the moment at which timers fire: no firing is lost, none happens twice."""

import contextlib
import math
import os
import random
import sqlite3
import time
import uuid

from tests.support.waiting import eventually

KILLS = int(os.environ.get("FUNCLET_TIMER_KILLS", "8"))
TIMERS = 5
# Reproducible, and still another moment for each kill.
SEED = 20_260_310
MAX_LAG_S = 3
"""How long a firing may take to reach the disk on a busy machine."""


class Timers:
    """Timers that fire every second, and what the database says of them while no server runs."""

    def __init__(self, server):
        self.server = server
        self.started_at = int(time.time())
        urn = server.deploy("target", "def handler(event, context):\n    return event\n")
        body = {"trigger_type_code": "TIMER"}
        self.ids = []
        for number in range(TIMERS):
            data = {"name": f"t{number}", "schedule_type": "Cron", "schedule": "* * * * * ?"}
            self.ids.append(server.client.create_trigger(urn, body | {"event_data": data})["trigger_id"])
        self.ready_at = time.time()

    def fired(self):
        """Return the due times that have fired, by trigger; check that requests and positions fit them."""
        found = {}
        with contextlib.closing(sqlite3.connect(self.server.data_dir / "funclet.db")) as db:
            for trigger_id in self.ids:
                ids = {row[0] for row in db.execute("SELECT request_id FROM submission WHERE source = ?", [trigger_id])}
                dues = range(self.started_at, int(time.time()) + 2)
                known = {str(uuid.uuid5(uuid.UUID(trigger_id), str(due))): due for due in dues}
                assert ids <= set(known), "a request that belongs to no due time"
                found[trigger_id] = sorted(known[one] for one in ids)
                query = "SELECT position FROM function_trigger WHERE trigger_id = ?"
                position = db.execute(query, [trigger_id]).fetchone()[0]
                # What was dropped moves it on as well, but never what fires without its request.
                assert position >= max(found[trigger_id], default=0)
        return found


def test_kills_at_the_firing_moment_lose_and_double_nothing(new_server, record_property):
    chance = random.Random(SEED)
    server = new_server()
    timers = Timers(server)
    up_at, expected, seen = timers.ready_at, [], 0
    for number in range(KILLS):
        # Now and then a pause that is long enough to tell that nothing is missing while the server runs.
        pause_s = 7.0 if number % 4 == 1 else 1.5
        moment = math.ceil(time.time() + pause_s) + chance.uniform(-0.01, 0.05)
        time.sleep(moment - time.time())
        server.kill()
        for trigger_id, dues in timers.fired().items():
            watched = range(math.floor(up_at) + 2, math.floor(moment) - MAX_LAG_S + 1)
            assert set(watched) <= set(dues), "a firing of a running server is missing"
            seen += len(watched)
            # The first one that was missed comes when the server is back; those behind it do not.
            if dues:
                expected.append((trigger_id, dues[-1] + 1))
        server.start()
        up_at = time.time()

    eventually(lambda: time.time() > up_at + 2, within_s=10)
    server.stop()

    fired = timers.fired()
    assert len(expected) >= TIMERS * (KILLS - 1)
    lost = [(trigger_id, due) for trigger_id, due in expected if due not in fired[trigger_id]]
    assert not lost
    assert seen >= TIMERS, "the pauses were too short to prove anything"
    record_property("firings", sum(map(len, fired.values())))
