"""The clock of the machine is set an hour forward or back: no request is lost, none early, and ages stay sane."""

import json
import re
import tempfile
import time
from pathlib import Path

import pytest

from funclet.base.ids import new_uuid
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

HOUR_S = 3600.0
RETRY_S = 4.0
"""Before the one retry, give or take a fifth."""
SOURCE = """
import time
def handler(event, context):
    with open(event["file"], "a") as file:
        file.write(f"{context.getRequestID()} {time.monotonic()}\\n")
    if event.get("fails"):
        raise ValueError("once more")
    time.sleep(event.get("s", 0))
"""


class Clocked:
    """A server whose wall clock can be set, and a function that counts its runs."""

    def __init__(self, scratch):
        folder = Path(tempfile.mkdtemp(prefix="clock-", dir=scratch))
        folder.chmod(0o777)
        self.offset, self.runs_path = folder / "offset", folder / new_uuid()
        self.set_clock(0)
        self.server = ServerProcess(folder, "--isolation", "process", FGS_ASYNC_RETRY_BASE_S=str(RETRY_S))
        self.server.program = ("-m", "funclet.testing.faults", "clock", str(self.offset))
        self.server.start()
        self.client = self._logged_in()
        self.urn = self.server.deploy("counted", SOURCE, timeout=60)
        path = self.server.path(f"/functions/{self.urn}/async-invoke-config")
        body = {"max_async_retry_attempts": 1, "max_async_event_age_in_seconds": 86_400}
        self.server.client.call("PUT", path, body=json.dumps(body).encode())
        path = self.server.path(f"/functions/{self.urn}/config-max-instance")
        self.server.client.call("PUT", path, body=b'{"max_instance_num": 1}')

    def _logged_in(self):
        """Return a client with a token: the date of a signature would be an hour off."""
        password = re.search(r"password +(\S+)", self.server.log())[1]
        user = {"name": "admin", "password": password}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        answer = self.server.client.call("POST", "/v3/auth/tokens", body=json.dumps(body).encode())
        return self.server.new_client(token=answer.headers["x-subject-token"])

    def set_clock(self, offset_s):
        """Let the wall clock be off by so much."""
        new = self.offset.with_suffix(".new")
        new.write_text(str(offset_s))
        new.rename(self.offset)

    def submit(self, **event):
        body = json.dumps({"file": str(self.runs_path)} | event).encode()
        return self.client.invoke_async(self.urn, body)

    def runs(self, request_id):
        """Return when a request has run, on the monotonic clock."""
        lines = self.runs_path.read_text().splitlines() if self.runs_path.exists() else []
        return [float(line.split()[1]) for line in lines if line.split()[0] == request_id]

    def status(self, request_id):
        """Return the state of a request; those of an hour around now are looked at, by the clock of this test."""
        path = self.server.path(f"/functions/{self.urn}/active-async-invocations")
        found = self.client.call("GET", path, query={"requests": request_id}).json()["invocations"]
        return found[0]["status"] if found else None

    def oldest_s(self):
        """Return the age of the oldest request that waits."""
        lines = self.client.call("GET", "/metrics").body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("fgs_async_oldest_seconds "))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.stop()


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_a_step_while_the_server_runs_changes_no_due_time_and_no_age(scratch, step_s):
    with Clocked(scratch) as lab:
        fails = lab.submit(fails=True)
        eventually(lambda: lab.runs(fails), because="it ran once")
        busy = lab.submit(s=6)
        eventually(lambda: lab.status(busy) == "RUNNING", because="it runs")
        waits = lab.submit()
        began = time.monotonic()

        lab.set_clock(step_s)

        after = lab.submit()
        age_s = lab.oldest_s()
        assert 0 <= age_s <= time.monotonic() - began + RETRY_S + 10
        for request_id in (busy, waits, after):
            eventually(lambda r=request_id: lab.status(r) == "SUCCESS", within_s=30, because="it ran to its end")
        eventually(lambda: lab.status(fails) == "FAIL", within_s=30, because="its retry ran, too")
        first, second = lab.runs(fails)
        assert second - first >= 0.8 * RETRY_S, "the step made the retry early"
        assert [len(lab.runs(one)) for one in (busy, waits, after)] == [1, 1, 1]


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_a_step_while_the_server_is_down_loses_nothing_and_delays_nothing_by_an_hour(scratch, step_s):
    with Clocked(scratch) as lab:
        fails = lab.submit(fails=True)
        eventually(lambda: lab.runs(fails), because="it ran once")
        busy = lab.submit(s=3)
        eventually(lambda: lab.status(busy) == "RUNNING", because="it runs")
        waiting = [lab.submit() for _ in range(5)]
        lab.server.kill()
        lab.client.close()
        lab.set_clock(step_s)
        lab.server.start()

        age_s = lab.oldest_s()
        assert 0 <= age_s <= max(0.0, step_s) + 60
        for request_id in (busy, *waiting):
            eventually(lambda r=request_id: lab.status(r) == "SUCCESS", within_s=30, because="it ran to its end")
        eventually(lambda: lab.status(fails) == "FAIL", within_s=30, because="its retry ran, too")
        assert len(lab.runs(fails)) == 2
        assert [len(lab.runs(one)) for one in waiting] == [1] * 5
