"""kill -9 while applications are made and deleted: each is there as a whole, or not at all."""

import itertools
import os
import random
import time

from funclet.services.template_catalog import TemplateCatalog
from tests.support.crowd import Crowd

KILLS = int(os.environ.get("FUNCLET_KILLS", "50")) // 10
SEED = 20_260_102
RELAY = next(one.template_id for one in TemplateCatalog.load().applications if one.name == "webhook-relay")
PARTS = {("dependency", "signature"), ("function", "receive"), ("function", "forward"), ("trigger", "hook"),
         ("asyncSettings", "receive"), ("asyncSettings", "forward")}  # fmt: skip


class Makers(Crowd):
    """Clients that make applications and delete every second one, and remember what was acknowledged."""

    def __init__(self, server):
        super().__init__(server)
        self.made, self.asked, self.gone = set(), set(), set()
        self.numbers = itertools.count(1)

    def work(self, client):
        number = next(self.numbers)
        body = {"name": f"app{number}", "template_id": RELAY, "params": {"secret": "s"}}
        made = client.send("POST", "/fgs/applications", body)["application_id"]
        self.made.add(made)
        if number % 2:
            self.asked.add(made)
            client.send("DELETE", f"/fgs/applications/{made}")
            self.gone.add(made)


def test_an_application_is_whole_or_not_there_after_kill_9(new_server, record_property):
    chance = random.Random(SEED)
    server = new_server()
    makers = Makers(server)
    for _ in range(KILLS):
        makers.start(*[makers.work] * 3)
        time.sleep(chance.uniform(0.05, 0.4))
        server.kill()
        makers.stop()
        server.start()
        check(server, makers)

    assert len(makers.made) > KILLS, "the load was too small to prove anything"
    record_property("kills", KILLS)
    record_property("applications", len(makers.made))


def check(server, makers):
    client = server.client
    listed = {row["id"] for row in client.pages("/fgs/applications", "applications", limit=500)}
    assert makers.made - makers.asked <= listed, "an acknowledged application is lost"
    assert not makers.gone & listed, "a deletion was undone"

    found = [client.send("GET", f"/fgs/applications/{one}") for one in listed]
    rows = [row for shown in found for row in shown["stack_resources"]]
    for shown in found:
        kinds = {(row["logical_resource_type"], row["logical_resource_name"]) for row in shown["stack_resources"]}
        assert kinds == PARTS
    assert {row["resource_status"] for row in rows} <= {"CREATE_COMPLETE"}
    # And nothing is left of those that are not there.
    for path, member, name, kind in (
        ("/fgs/functions", "functions", "func_name", "function"),
        ("/fgs/dependencies", "dependencies", "name", "dependency"),
        ("/fgs/triggers", "triggers", "trigger_id", "trigger"),
    ):
        known = "physical_resource_id" if kind == "trigger" else "physical_resource_name"
        owned = {row[known] for row in rows if row["logical_resource_type"] == kind}
        assert {row[name] for row in client.pages(path, member)} == owned

    # Room for more: a project has 100 applications.
    for one in sorted(listed)[20:]:
        client.send("DELETE", f"/fgs/applications/{one}")
        makers.asked.add(one)
        makers.gone.add(one)
