"""The paths that watch the server: who may ask, and what they say."""

import asyncio
import json

import pytest

from funclet.api.app import Api
from funclet.api.operations import OPERATIONS
from funclet.api.probes import Probes
from funclet.base.http import Request
from funclet.metrics import CONTENT_TYPE, Standing
from funclet.model.errors import ModelError
from funclet.model.identity import Principal, Project, User
from funclet.model.policy import EVERYTHING
from funclet.store.protocol import StoreUnavailable

TOKEN = "a-token-of-the-operator"


class Authenticator:
    """Knows users by the project that their token names."""

    async def authenticate(self, request, *, project_id=""):
        project_id = request.headers.get("x-auth-token")
        if project_id is None:
            raise ModelError("APIG.0301", "no credentials")
        project = Project(project_id=project_id, name="", domain_id="", domain_name="")
        return Principal(
            project=project, user=User(user_id="", name="", domain_id="", password_hash=""), grants=EVERYTHING
        )


class Store:
    """Answers, or not at all."""

    def __init__(self):
        self.reads = 0
        self.is_up = True

    async def read(self, work):
        self.reads += 1
        if not self.is_up:
            raise StoreUnavailable("down")
        return work(self)

    @property
    def queue(self):
        return self

    def answers(self):
        return True


class Clock:
    at = 1000.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


class Lab:
    def __init__(self, token=TOKEN):
        self.store, self.clock, self.is_stopping = Store(), Clock(), False
        probes = Probes(
            store=self.store,
            authenticator=Authenticator(),
            clock=self.clock,
            collect=self.collect,
            is_stopping=lambda: self.is_stopping,
            operator_project_id="first",
            token=token,
        )
        probes.more_metrics = self.more
        self.api = Api(operations=OPERATIONS, services=None, authenticator=Authenticator(), probes=probes)

    async def collect(self):
        return Standing(counters=(), values={"fgs_instances": {"idle": 4}})

    async def more(self):
        return b"fgs_async_queue_length 3\n"

    def get(self, path, *, method="GET", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return asyncio.run(self.api.handle(Request(method=method, raw_path=path, headers=named)))


def test_health_asks_for_nothing():
    lab = Lab()
    lab.store.is_up = False

    answer = lab.get("/healthz")

    assert (answer.status, answer.body) == (200, b"ok\n")


def test_ready_needs_the_database_and_remembers_only_that_it_was_there():
    lab = Lab()
    assert [lab.get("/readyz").status for _ in range(5)] == [200] * 5
    assert lab.store.reads == 1

    lab.store.is_up = False
    lab.clock.at += 1.5
    assert (lab.get("/readyz").status, lab.get("/readyz").body) == (503, b"no database\n")

    lab.store.is_up = True
    assert lab.get("/readyz").status == 200


def test_a_server_that_stops_is_not_ready():
    lab = Lab()
    lab.get("/readyz")
    lab.is_stopping = True

    assert (lab.get("/readyz").status, lab.get("/healthz").status) == (503, 200)


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {TOKEN}"}, {"x_auth_token": "first"}])
def test_the_operator_reads_metrics(headers):
    answer = Lab().get("/metrics", **headers)

    assert (answer.status, answer.content_type) == (200, CONTENT_TYPE)
    lines = answer.body.decode().splitlines()
    assert {'fgs_instances{kind="idle"} 4', "fgs_async_queue_length 3"} <= set(lines)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "APIG.0301"),
        ({"authorization": "Bearer "}, 401, "APIG.0301"),
        ({"authorization": f"Bearer {TOKEN}x"}, 401, "APIG.0301"),
        ({"authorization": f"bearer {TOKEN}"}, 401, "APIG.0301"),
        ({"authorization": "Bearer \xff"}, 401, "APIG.0301"),
        ({"x_auth_token": "second"}, 403, "FSS.0403"),
    ],
)
def test_nobody_else_does(headers, status, code):
    answer = Lab().get("/metrics", **headers)

    assert (answer.status, json.loads(answer.body)["error_code"]) == (status, code)
    assert b"fgs_" not in answer.body


def test_without_a_token_no_bearer_is_good():
    assert Lab(token="").get("/metrics", authorization="Bearer ").status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_only_reading_is_possible(path):
    answer = Lab().get(path, method="POST", x_auth_token="first")

    assert (answer.status, json.loads(answer.body)["error_code"]) == (405, "FSS.0405")
    assert answer.headers["Allow"] == "GET, HEAD"
