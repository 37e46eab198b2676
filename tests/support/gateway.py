"""The trigger operations, the gateway and the timer host in this process, on a real database."""

import asyncio
import json
from dataclasses import replace
from urllib.parse import urlsplit

from funclet.api.access import Gate
from funclet.api.app import Api
from funclet.api.app_auth import AppAuthenticator
from funclet.api.call import Operation, Services
from funclet.api.operations import OPERATIONS
from funclet.api.wire import triggers
from funclet.base.http import Request
from funclet.catalog import Catalog
from funclet.gateway import Gateway, RouteSource
from funclet.model.errors import ModelError
from funclet.model.function import Alias, Code, FunctionVersion, Settings
from funclet.model.identity import Principal, Project, User
from funclet.model.invocation import Completed, Report
from funclet.model.policy import EVERYTHING
from funclet.services.gateway_access import GatewayAccessService
from funclet.services.trigger_secrets import TriggerSecrets
from funclet.services.triggers import TriggerService
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeClock, FakeInvoker, FakeJournal, FakeSubmitter
from funclet.triggers.catalogue import all_types
from funclet.triggers.host import TimerHost
from funclet.triggers.http_authorizer import Authorizers
from funclet.vault import Vault
from tests.support.store import due

PROJECT_ID = "0123456789abcdef0123456789abcdef"
PROJECT = Project(project_id=PROJECT_ID, name="test-1", domain_id="d" * 32, domain_name="home")
OTHER_PROJECT = Project(project_id="f" * 32, name="other", domain_id="e" * 32, domain_name="other")
REGION = "test-1"
GATEWAY_URL = "http://127.0.0.1:7181"
START = 1_773_136_800.0
"""2026-03-10 10:00:00 UTC."""

_TRIGGERS = "/v2/{project_id}/fgs/triggers"
_ONE = _TRIGGERS + "/{function_urn}/{trigger_type_code}/{trigger_id}"
_OPERATIONS = [
    ("POST", _TRIGGERS + "/{function_urn}", triggers.create_function_trigger),
    ("GET", _TRIGGERS + "/{function_urn}", triggers.list_function_triggers),
    ("DELETE", _TRIGGERS + "/{function_urn}", triggers.batch_delete_function_triggers),
    ("GET", _TRIGGERS, triggers.list_triggers),
    ("GET", "/v2/{project_id}/fgs/triggertypes", triggers.list_trigger_types),
    ("GET", _ONE, triggers.show_function_trigger),
    ("PUT", _ONE, triggers.update_trigger),
    ("DELETE", _ONE, triggers.delete_function_trigger),
]


class HeaderAuthenticator:
    """Takes the project that a header names for the caller's."""

    async def authenticate(self, request, *, project_id=""):
        """Return the caller, or refuse."""
        project = {"home": PROJECT, "other": OTHER_PROJECT}.get(request.headers.get("x-auth-token"))
        if project is None:
            raise ModelError("APIG.0301", "Incorrect IAM authentication information.")
        user = User(user_id="u" * 32, name="admin", domain_id=project.domain_id, password_hash="")
        return Principal(project=project, user=user, grants=EVERYTHING)


class Stack:
    """All of it. `close` it at the end."""

    def __init__(self, folder, *, default_zone="UTC", echo_secrets=False):
        self.runner = asyncio.Runner()
        self.clock = FakeClock(START)
        self.store_path = folder / "state.db"
        self.store = SqliteStore.open(self.store_path)
        self.changes = 0
        self.wakes = 0
        self.invoker = FakeInvoker(completed({"statusCode": 200, "body": "ok"}))
        self.queue = FakeSubmitter()
        self.catalog = Catalog(self.store, self.clock)
        self.routes = RouteSource(self.store, self.clock)
        self.vault = Vault.open(folder / "secrets.key")
        self.triggers = TriggerService(
            self.store,
            self.clock,
            all_types(default_zone=default_zone, gateway_url=GATEWAY_URL),
            TriggerSecrets(self.vault, echoes=echo_secrets),
            region=REGION,
            on_change=self._on_change,
        )
        self.default_zone = default_zone
        self.host = None
        self.new_host()
        self.handling = None
        """What handles the last request, or has handled it."""
        self.journal = FakeJournal()
        self.gateway = Gateway(
            routes=self.routes,
            catalog=self.catalog,
            invoker=self.invoker,
            submitter=self.queue,
            authenticator=HeaderAuthenticator(),
            apps=AppAuthenticator(self.store, self.clock, self.vault),
            authorizers=Authorizers(self.catalog, self.invoker, self.clock),
            clock=self.clock,
            gateway_url=GATEWAY_URL,
            may_invoke=Gate(self.clock, region=REGION, store=self.store).may_invoke,
            journal=self.journal,
        )
        services = Services(
            functions=None,
            versions=None,
            invocations=None,
            triggers=self.triggers,
            identity=None,
            observability=None,
            topics=None,
            streams=None,
            connections=None,
            gateway=GatewayAccessService(self.store, self.clock, self.vault, region=REGION, on_change=self._on_change),
            dependencies=None,
        )
        operations = [
            Operation(name=serve.__name__, method=method, path=path, serve=serve) for method, path, serve in _OPERATIONS
        ]
        operations += [one for one in OPERATIONS if "/apigw/" in one.path]
        self.api = Api(operations=operations, services=services, authenticator=HeaderAuthenticator())
        for project in (PROJECT, OTHER_PROJECT):
            self.write(lambda tx, project=project: tx.identities.add_project(project))

    def new_host(self):
        """Start over, as a new process on the same database does."""
        self.announced = []
        self.host = TimerHost(
            self.store,
            self.clock,
            on_queued=self._wake,
            queue_time=self.clock.now,
            grace_s=60.0,
            default_zone=self.default_zone,
            announce=self._note_announced,
        )
        return self.host

    def _on_change(self):
        self.changes += 1
        self.routes.changed()
        self.host.changed()

    async def _note_announced(self, trigger, due_in_s):
        self.announced.append((trigger.function_urn, due_in_s))

    def _wake(self, submissions):
        assert submissions
        self.wakes += 1

    def run(self, work):
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def write(self, work):
        """Run a piece of work in a transaction."""
        return self.run(self.store.write(work))

    def read(self, work):
        """Run a piece of work on the database."""
        return self.run(self.store.read(work))

    def close(self):
        """Close the database and the loop."""
        self.run(self.store.close())
        self.runner.close()

    @property
    def event(self):
        """The event of the last invocation."""
        return json.loads(self.invoker.invocations[-1].payload)

    def add_function(self, name="orders", *, project=PROJECT, runtime="Python3.10", versions=(), alias=None):
        """Store a function with published versions; return the urn of `latest`."""
        latest = FunctionVersion(
            project_id=project.project_id,
            region=REGION,
            package="default",
            name=name,
            function_id=f"id-of-{project.name}-{name}",
            version="latest",
            settings=Settings(runtime=runtime, handler="index.handler", timeout_s=3, memory_mib=128),
            code=Code(digest="d" * 128, size=1, code_type="zip"),
            modified_at=START,
        )

        def work(tx):
            tx.functions.add(latest)
            for version in versions:
                tx.functions.add_version(replace(latest, version=version))
            if alias:
                tx.aliases.put(latest.function_id, Alias(name=alias, version=versions[0], modified_at=START))

        self.write(work)
        return str(latest.urn)

    def send(self, method, path, body=None, *, token="home"):
        """Send an API request; return its status and JSON."""
        project = OTHER_PROJECT if token == "other" else PROJECT
        url = urlsplit(
            f"/v2/{project.project_id}{path}" if "/apigw/" in path else f"/v2/{project.project_id}/fgs{path}"
        )
        data = b"" if body is None else json.dumps(body).encode()
        request = Request(
            method=method, raw_path=url.path, raw_query=url.query, headers={"x-auth-token": token}, body=data
        )
        response = self.run(self.api.handle(request))
        return response.status, json.loads(response.body) if response.body else None

    def create(self, urn, type_code="APIG", *, token="home", status=None, **event_data):
        """Create a trigger that must come to be; return it."""
        body = {"trigger_type_code": type_code, "event_data": event_data}
        if status:
            body["trigger_status"] = status
        answer = self.send("POST", f"/triggers/{urn}", body, token=token)
        assert answer[0] == 201, answer
        return answer[1]

    def refused(self, urn, type_code="APIG", *, token="home", **event_data):
        """Try to create a trigger that must not come to be; return status and code."""
        body = {"trigger_type_code": type_code, "event_data": event_data}
        status, answer = self.send("POST", f"/triggers/{urn}", body, token=token)
        assert status >= 400, answer
        return status, answer["error_code"]

    def get(self, path, *, method="GET", body=b"", **headers):
        """Send a request to the gateway; return the response."""
        return self.run(self.handle(path, method=method, body=body, **headers))

    async def handle(self, path, *, method="GET", body=b"", **headers):
        """Send a request to the gateway."""
        url = urlsplit(path)
        names = {"host": "127.0.0.1:7181"} | {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(
            method=method, raw_path=url.path, raw_query=url.query, headers=names, body=body, peer="203.0.113.24"
        )
        answer = asyncio.get_running_loop().create_future()
        request.answer_early = answer.set_result
        self.handling = asyncio.create_task(self.gateway.handle(request))
        await asyncio.wait((answer, self.handling), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else self.handling.result()

    def queued(self, function_id="id-of-test-1-orders"):
        """Return the submissions of a function, oldest first."""
        return [one.submission for one in self.read(lambda tx: due(tx, function_id=function_id))]


def completed(result):
    """Return the outcome of a function that returned `result`, a value or bytes."""
    body = result if isinstance(result, bytes) else json.dumps(result).encode()
    return Completed(body=body, is_json=True, report=Report())
