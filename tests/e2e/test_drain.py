"""Traffic goes on while code, configuration and aliases change: no request fails, and each change is seen at once."""

import itertools
import json
import threading
import time
from contextlib import contextmanager

import pytest

from tests.support.packages import zip_of
from tests.support.waiting import eventually

CALLERS = 4
ROOT = pytest.mark.root
SERVERS = [
    pytest.param(("--isolation", "full"), 20.0, marks=ROOT, id="full"),
    pytest.param(("--isolation", "full", "--processes", "2"), 10.0, marks=ROOT, id="two processes"),
    pytest.param(("--isolation", "process"), 10.0, id="process"),
]
# Says which code and which variables it has; takes as long as a small request does, and every tenth time longer.
SOURCE = """
import os, time

CODE = {code}
ready = False

def start(context):
    global ready
    ready = True

def handler(event, context):
    time.sleep(event["sleep"])
    return {{"code": CODE, "mark": os.environ["MARK"], "is_ready": ready}}
"""


class Traffic:
    """Callers that never pause, and what went wrong with them."""

    def __init__(self, server, urns):
        self.server = server
        self.urns = urns
        self.answered = 0
        self.failures = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, number):
        client = self.server.new_client()
        try:
            for turn in itertools.count(number):
                if self._is_over.is_set():
                    return
                urn = self.urns[turn % len(self.urns)]
                self._check(self.server.invoke(urn, {"sleep": 0.3 if turn % 10 == 0 else 0.005}, client=client))
        except Exception as error:  # noqa: BLE001 - a broken connection is a failure like any other
            self.failures.append(repr(error))
        finally:
            client.close()

    def _check(self, answer):
        is_good = answer.status == 200 and answer.headers["x-func-err-code"] == "0" and answer.json()["is_ready"]
        self.answered += 1
        if not is_good:
            self.failures.append((answer.status, answer.body))


class Changes:
    """A function whose code, settings and alias change one after the other, and what callers must see of it."""

    def __init__(self, server):
        self.server = server
        self.code, self.mark, self.memory = 0, "m0", 128
        self.urn = server.deploy(
            "moving",
            SOURCE.format(code=0),
            user_data=json.dumps({"MARK": "m0"}),
            initializer_handler="index.start",
            initializer_timeout=5,
        )
        self.versions = ["v0"]
        server.client.publish_version(self.urn, name="v0")
        server.client.save_alias(self.urn, {"name": "live", "version": "v0"}, create=True)
        self.alias_urn = self.urn.replace(":latest", ":!live")
        self.steps = itertools.cycle(
            [self.new_code, self.new_variable, self.new_alias, self.new_memory, self.new_timeout]
        )

    def next(self):
        """Make one change, and look at once whether it holds."""
        next(self.steps)()
        seen = self.server.invoke(self.urn, {"sleep": 0}).json()
        assert (seen["code"], seen["mark"]) == (self.code, self.mark)

    def new_code(self):
        self.code += 1
        self.server.client.update_code(self.urn, zip_of({"index.py": SOURCE.format(code=self.code)}))

    def new_variable(self):
        self.mark = f"m{self.code}"
        self._configure(user_data=json.dumps({"MARK": self.mark}))

    def new_memory(self):
        self.memory = 384 - self.memory
        self._configure(memory_size=self.memory)

    def new_timeout(self):
        self._configure(timeout=10 + self.code % 2)

    def new_alias(self):
        """Publish, and lead first a half and then all requests of the alias to the new version."""
        name = f"v{self.code}"
        self.server.client.publish_version(self.urn, name=name)
        self.versions.append(name)
        weights = {"additional_version_weights": {name: 50}}
        self.server.client.save_alias(self.urn, {"name": "live", "version": self.versions[-2]} | weights, create=False)
        self.server.client.save_alias(self.urn, {"name": "live", "version": name}, create=False)
        seen = self.server.invoke(self.alias_urn, {"sleep": 0}).json()
        assert (seen["code"], seen["mark"]) == (self.code, self.mark)
        if len(self.versions) > 3:
            self.server.client.delete_function(self.urn.replace(":latest", f":{self.versions.pop(0)}"))

    def _configure(self, **settings):
        self.server.client.update_config(self.urn, {"func_name": "moving", **settings})


@pytest.mark.proves("operation:UpdateFunctionConfig", "operation:UpdateFunctionCode", "operation:UpdateVersionAlias")
@pytest.mark.parametrize(("options", "length_s"), SERVERS)
def test_no_request_fails_while_code_settings_and_aliases_change(new_server, options, length_s):
    server = new_server(*options, "--idle-release-s", "1")
    changes = Changes(server)
    ends_at, made = time.monotonic() + length_s, 0

    with Traffic(server, [changes.urn, changes.alias_urn]) as traffic:
        while time.monotonic() < ends_at and not traffic.failures:
            changes.next()
            made += 1

    assert traffic.failures == []
    assert traffic.answered > 20 * length_s
    assert made > length_s
    eventually(lambda: instances_of(server) == 0, because="all old instances have been released")


def instances_of(server):
    """Return how many instances the server has, of whatever code."""
    text = server.client.call("GET", "/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("fgs_instances{"))


SLOW = """
import time

def handler(event, context):
    time.sleep(event["sleep"])
    return "{answer}"
"""


@contextmanager
def waiting_requests(server, urn, *, running, waiting):
    """Have requests that run and others that wait for an instance; all must be answered well."""
    before = [server.begin(urn, {"sleep": 0.8}) for _ in range(running)]
    eventually(lambda: instances_of(server) >= running)
    before += [server.begin(urn, {"sleep": 0.1}) for _ in range(waiting)]
    yield
    answers = [request.result() for request in before]
    assert [answer.status for answer in answers] == [200] * len(answers), answers
    assert {answer.body for answer in answers} <= {b"old", b"new"}


@pytest.mark.parametrize("level", [pytest.param("full", marks=pytest.mark.root), "process"])
@pytest.mark.parametrize("change", ["code", "settings", "maximum"])
def test_requests_that_run_or_wait_survive_a_change(new_server, level, change):
    server = new_server("--isolation", level, "--admission-wait-ms", "20000")
    urn = server.deploy("slow", SLOW.format(answer="old"), timeout=10, strategy_config={"concurrency": 2})

    with waiting_requests(server, urn, running=2, waiting=6):
        if change == "code":
            server.client.update_code(urn, zip_of({"index.py": SLOW.format(answer="new")}))
        elif change == "settings":
            server.client.update_config(urn, {"func_name": "slow", "memory_size": 256})
        else:
            server.client.update_config(urn, {"func_name": "slow", "strategy_config": {"concurrency": 1}})
