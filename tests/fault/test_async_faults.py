"""Faults between accepting a request and the end of its delivery: nothing that was answered 202 is lost."""

import contextlib
import json
import os
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from funclet.base.ids import new_uuid
from funclet.client import ApiError, NetworkError
from funclet.testing.faults import CRASH_POINTS, SLOW_COMMIT_S
from tests.support.crowd import Crowd
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

KILLS = int(os.environ.get("FUNCLET_ASYNC_KILLS", "20"))
SEED = 20_260_301
COUNTING = """
def handler(event, context):
    with open(event.get("file") or "FOLDER/told-" + event["request_context"]["request_id"], "a") as file:
        file.write(context.getRequestID() + "\\n")
    return {}
"""
FINAL = {"SUCCESS", "FAIL", "DISCARD"}


@pytest.fixture
def marks(scratch):
    """A folder that functions without isolation can write to."""
    folder = Path(tempfile.mkdtemp(prefix="marks-", dir=scratch))
    folder.chmod(0o777)
    return folder


@pytest.fixture
def new_faulty(scratch):
    """Start servers with a fault; they are stopped at the end."""
    started = []

    def start(point, marker, *options):
        folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
        folder.chmod(0o755)
        server = ServerProcess(folder, "--isolation", "process", *options)
        server.program = ("-m", "funclet.testing.faults", point, str(marker))
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


def lines_of(path):
    return path.read_text().split() if path.exists() else []


def status_of(server, urn, request_id):
    record = server.client.async_record(urn, request_id)
    return record and record["status"]


def deploy(server, marks):
    """Deploy the function that counts its runs, and one that its successes are told to; return its urn."""
    told = server.deploy("told", COUNTING.replace("FOLDER", str(marks)))
    urn = server.deploy("counted", COUNTING.replace("FOLDER", str(marks)))
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": told})}
    body = json.dumps({"destination_config": {"on_success": target}}).encode()
    server.client.call("PUT", server.path(f"/functions/{urn}/async-invoke-config"), body=body)
    return urn


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_kill_at_every_point_loses_nothing_that_was_answered(new_faulty, marks, point):
    marker = marks / f"crashed-{point}"
    server = new_faulty(point, marker)
    urn = deploy(server, marks)
    runs = marks / new_uuid()
    request_id = None
    try:
        request_id = server.client.invoke_async(urn, json.dumps({"file": str(runs)}).encode())
    except (NetworkError, ApiError, OSError):
        # The point is before the answer: then nothing was promised.
        assert point.startswith("accept")
    eventually(marker.exists, because="the server came to the point")
    server.process.wait(timeout=20)
    server.kill_is_over()
    server.start()

    if request_id is not None:
        eventually(lambda: status_of(server, urn, request_id) == "SUCCESS", because="it ran to its end")
        told = eventually(lambda: lines_of(marks / f"told-{request_id}"), because="its destination was told")
        assert 1 <= len(lines_of(runs)) <= 2
        assert 1 <= len(told) <= 2
    else:
        # It may have become durable without an answer. If so, it runs.
        found = server.client.call("GET", server.path(f"/functions/{urn}/async-invocations")).json()
        eventually(lambda: len(lines_of(runs)) == found["count"], because="what is durable has run")
        assert found["count"] == (0 if point == "accept-written" else 1)


class Submitting(Crowd):
    """Clients that submit all the time and remember what was answered 202."""

    def __init__(self, server, urn, runs):
        super().__init__(server)
        self.urn, self.event = urn, json.dumps({"file": str(runs)}).encode()
        self.accepted = set()

    def submit(self, client):
        self.accepted.add(client.invoke_async(self.urn, self.event))


def test_random_kills_lose_nothing_and_doubles_are_few(new_server, marks, record_property):
    """Every request that was answered 202 ran; a second run is only for what ran at the moment of a kill."""
    chance = random.Random(SEED)
    server = new_server("--isolation", "process")
    urn = server.deploy("counted", COUNTING)
    runs = marks / "runs"
    load = Submitting(server, urn, runs)
    for _ in range(KILLS):
        load.start(*[load.submit] * 3)
        time.sleep(chance.uniform(0.05, 0.4))
        server.kill()
        load.stop()
        server.start()

    path = server.path(f"/functions/{urn}/async-invocations")

    def count(status=""):
        return server.client.call("GET", path, query={"status": status, "limit": 1}).json()["count"]

    eventually(lambda: count("SUCCESS") == count(), within_s=60, because="everything has run")
    ran = Counter(lines_of(runs))
    assert load.accepted, "nothing was accepted"
    assert not load.accepted - ran.keys(), "lost"
    doubled = sum(times - 1 for times in ran.values())
    assert doubled <= KILLS * 64, "more ran twice than can have run when the server was killed"
    for name, value in (("kills", KILLS), ("accepted", len(load.accepted)), ("doubled", doubled)):
        record_property(name, value)


@pytest.mark.root
def test_a_full_disk_refuses_and_recovers_by_itself(scratch, marks):
    folder = Path(tempfile.mkdtemp(prefix="small-", dir=scratch))
    folder.chmod(0o755)
    (folder / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=0755", "tmpfs", folder / "data"], check=True)
    server = ServerProcess(folder, "--isolation", "process")
    try:
        server.start()
        urn = server.deploy("counted", COUNTING)
        runs = marks / "runs"
        event = json.dumps({"file": str(runs), "pad": "x" * 100_000}).encode()
        accepted = {server.client.invoke_async(urn, event)}
        ballast = folder / "data" / "ballast"
        fill(ballast)
        refusals = []
        for _ in range(400):
            try:
                accepted.add(server.client.invoke_async(urn, event))
            except ApiError as error:
                refusals.append((error.status, error.code))
                if len(refusals) == 5:
                    break
        assert set(refusals) == {(503, "FSS.0503")}
        ballast.unlink()

        accepted.add(eventually(lambda: try_submit(server, urn, event), because="it is taken again"))
        eventually(lambda: accepted <= set(lines_of(runs)), within_s=30, because="all that was accepted has run")
    finally:
        server.stop()
        subprocess.run(["umount", folder / "data"], check=True)


def fill(path):
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))


def try_submit(server, urn, event):
    try:
        return server.client.invoke_async(urn, event)
    except ApiError:
        return None


def test_a_slow_disk_delays_answers_and_one_flush_is_shared(new_faulty, marks):
    server = new_faulty("slow", "-")
    urn = server.deploy("counted", COUNTING)
    runs = marks / "runs"
    event = json.dumps({"file": str(runs)}).encode()
    took, accepted = [], []

    def submit():
        client = server.new_client()
        began = time.monotonic()
        accepted.append(client.invoke_async(urn, event))
        took.append(time.monotonic() - began)
        client.close()

    threads = [threading.Thread(target=submit) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(accepted) == 40
    assert min(took) >= SLOW_COMMIT_S
    assert max(took) < 8 * SLOW_COMMIT_S, "every request was flushed by itself"
    eventually(lambda: set(accepted) <= set(lines_of(runs)), because="all have run")
