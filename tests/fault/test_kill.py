"""kill -9 of the whole server at random moments under load: nothing that was acknowledged is lost."""

import contextlib
import itertools
import json
import os
import random
import time

from tests.support.crowd import Crowd
from tests.support.packages import new_function
from tests.support.waiting import eventually

KILLS = int(os.environ.get("FUNCLET_KILLS", "50"))
# Reproducible, and still another moment for each kill.
SEED = 20_260_101
CODE = {"index.py": "def handler(event, context):\n    return event\n"}


class Load(Crowd):
    """Clients that write all the time and remember what was acknowledged."""

    def __init__(self, server):
        super().__init__(server)
        self.functions, self.versions, self.requests = set(), set(), set()
        # Functions whose deletion was asked for: whether it was acknowledged or cut off, they may be gone.
        self.deleted = set()
        self.gone = set()
        self.numbers = itertools.count(1)

    def create_functions(self, client):
        name = f"kept-{next(self.numbers)}"
        urn = client.create_function(new_function(name, CODE))["func_urn"]
        self.functions.add(name)
        client.publish_version(urn, name="v1")
        self.versions.add(name)
        # The quota of functions is for what exists: half of them go again.
        if len(self.functions) % 2:
            self.deleted.add(name)
            client.delete_function(urn.rsplit(":", 1)[0])
            self.gone.add(name)

    def submit(self, client):
        self.requests.add(client.invoke_async(self.server.urn, json.dumps({"n": next(self.numbers)}).encode()))


def test_kill_9_at_random_moments_loses_nothing(new_server, record_property):
    """After every kill all acknowledged functions and versions are there; at the end every accepted request has run."""
    chance = random.Random(SEED)
    server = new_server()
    server.urn = server.deploy("target", "def handler(event, context):\n    return event\n")
    load = Load(server)
    for number in range(KILLS):
        load.start(load.create_functions, *[load.submit] * 3)
        time.sleep(chance.uniform(0.0, 0.4))
        server.kill()
        load.stop()
        server.start()
        if number % 10 == 9:
            check_functions(server, load)

    check_functions(server, load)
    assert len(load.functions) >= KILLS / 2, "the load was too small to prove anything"
    assert len(load.requests) >= KILLS
    statuses = eventually(lambda: ended(server, load.requests), within_s=90, because="all requests have ended")
    assert set(statuses.values()) == {"SUCCESS"}
    for name, count in (("kills", KILLS), ("functions", len(load.functions)), ("requests", len(load.requests))):
        record_property(name, count)


def check_functions(server, load):
    names = {row["func_name"] for row in server.client.list_functions(name="kept-")}
    kept = load.functions - load.deleted
    assert kept <= names, f"lost: {sorted(kept - names)}"
    assert not load.gone & names, "a deletion was undone"
    for name in sorted(load.versions & kept)[:20]:
        with contextlib.closing(server.new_client()) as client:
            versions = {row["version"] for row in client.list_versions(name)}
        assert versions == {"latest", "v1"}


def ended(server, requests):
    """Return the status of every request once none is waiting or running; None before."""
    statuses = {}
    path = server.path(f"/functions/{server.urn}/async-invocations")
    marker = 0
    while True:
        page = server.client.call("GET", path, query={"limit": 500, "marker": marker}).json()
        statuses |= {row["request_id"]: row["status"] for row in page["invocations"]}
        if not page["invocations"]:
            break
        marker += len(page["invocations"])
    missing = requests - statuses.keys()
    assert not missing, f"lost: {sorted(missing)[:5]} and {len(missing)} in all"
    mine = {request: statuses[request] for request in requests}
    return mine if not {"WAIT", "RUNNING"} & set(mine.values()) else None
