"""The API of functions, versions and aliases in this process, on a real database and real blobs."""

import asyncio
import base64
import functools
import json
from pathlib import Path
from urllib.parse import urlsplit

from funclet.api.app import Api
from funclet.api.call import Services
from funclet.api.operations import OPERATIONS
from funclet.asyncq.destinations import Destinations
from funclet.asyncq.to_bucket import BucketDeliverer
from funclet.asyncq.to_function import FunctionDeliverer
from funclet.base.http import JSON, Request
from funclet.blobs import Blobs
from funclet.catalog import Catalog
from funclet.model.identity import Principal, Project, User
from funclet.model.inventory import ANY_PROJECT, Inventory, Share
from funclet.model.policy import EVERYTHING
from funclet.outside.guard import Guard
from funclet.outside.links import Links
from funclet.outside.objects import ObjectStores
from funclet.outside.outgoing import Outgoing
from funclet.services.applications import Makers
from funclet.services.code import CodeBuilder, CodeLinks
from funclet.services.dependencies import DependencyService
from funclet.services.fetch import CodeFetcher
from funclet.services.functions import FunctionService
from funclet.services.limits import Limits
from funclet.services.observability import ObservabilityService
from funclet.services.reserved import ReservedLimits, ReservedService
from funclet.services.resources import Resources
from funclet.services.statistics import StatisticsService
from funclet.services.trigger_secrets import TriggerSecrets
from funclet.services.triggers import TriggerService
from funclet.services.versions import VersionService
from funclet.store.sqlite import SqliteStore
from funclet.store.usage import UsageBook
from funclet.testing.fakes import FakeSubmitter
from funclet.triggers.catalogue import all_types
from funclet.vault import Vault
from tests.support.packages import zip_base64

PROJECT = Project(project_id="0123456789abcdef0123456789abcdef", name="test-1", domain_id="d" * 32, domain_name="home")
OTHER_PROJECT = Project(project_id="f" * 32, name="test-1", domain_id="e" * 32, domain_name="other")
REGION = "test-1"
RUNTIMES = Path(__file__).parents[2] / "runtimes"


INVENTORY = Inventory(shares={"r1": Share(id="r1", folder="/srv/r1", projects=frozenset({ANY_PROJECT}))})
"""One folder that every function may mount."""


class StoppedClock:
    """A clock that moves only when it is told to."""

    def __init__(self, at=1_790_000_000.0):
        self.at = at

    def now(self):
        """Return the time it stands at."""
        return self.at

    def monotonic(self):
        """Return the time it stands at."""
        return self.at

    async def sleep(self, delay_s):
        """Move on at once."""
        self.at += delay_s


def destinations_of(store, clock, objects):
    """Return the kinds of destinations that applications use."""
    functions = FunctionDeliverer(FakeSubmitter(), Catalog(store, clock), clock)
    return Destinations({"OBS": BucketDeliverer(objects), "FunctionGraph": functions})


@functools.cache
def _outgoing():
    """All APIs share it: it reads the certificates of the host, which takes longer than all the rest."""
    return Outgoing(Guard((), setting="target_networks"))


class _AnyoneIs:
    """Takes every request for one of a fixed user."""

    def __init__(self):
        self.project = PROJECT

    async def authenticate(self, request, *, project_id=""):
        user = User(user_id="u" * 32, name="admin", domain_id=self.project.domain_id, password_hash="")
        return Principal(project=self.project, user=user, grants=EVERYTHING)


class NoLogs:
    """Logs of which nothing is on its way."""

    async def flush(self):
        """Do nothing."""


class SomeInstances:
    """Instances that are only said to be there, by function id."""

    def __init__(self):
        self.found = {}

    async def instances(self, function_id):
        """Return those that a test has put there."""
        return self.found.get(function_id, [])

    async def end_instance(self, function_id, instance_id):
        """Take one away, if it is reserved."""
        found = self.found.get(function_id, [])
        left = [one for one in found if one.instance_id != instance_id or not one.is_reserved]
        self.found[function_id] = left
        return len(left) < len(found)


class Answer:
    """A response with its JSON body."""

    def __init__(self, response):
        self.status = response.status
        self.body = response.body
        self.headers = response.headers
        self.json = json.loads(response.body) if response.body and response.content_type == JSON else None

    @property
    def error(self):
        """Status and code of an error."""
        return self.status, self.json["error_code"]


class InProcessApi:
    """Send requests without a socket. `close` it."""

    def __init__(
        self,
        folder,
        registry,
        *,
        limits=None,
        code_url_hosts=(),
        runner=None,
        inventory=INVENTORY,
        reserved_limits=None,
        keeps_logs=True,
    ):
        self.clock = StoppedClock()
        self.changes = []
        self.runner = runner or asyncio.Runner()
        self.limits = limits or Limits()
        self.store = SqliteStore.open(folder / "state.db")
        self.blobs = Blobs(folder / "blobs")
        (folder / "blobs").mkdir(exist_ok=True)
        fetcher = CodeFetcher(code_url_hosts, max_bytes=self.limits.fetch_bytes)
        self.functions = FunctionService(
            self.store,
            self.blobs,
            registry,
            self.clock,
            CodeBuilder(fetcher),
            CodeLinks(b"k" * 32, self.clock),
            region=REGION,
            limits=self.limits,
            on_change=self._on_change,
            inventory=inventory,
            keeps_logs=keeps_logs,
        )
        self.versions = VersionService(
            self.store, self.clock, region=REGION, limits=self.limits, on_change=self._on_change
        )
        self.dependencies = DependencyService(
            self.store,
            self.blobs,
            registry,
            self.clock,
            fetcher,
            limits=self.limits,
            on_change=self._on_change,
        )
        vault = Vault.open(folder / "secret-key")
        objects = ObjectStores(self.store, Links(self.store, vault), _outgoing(), self.clock, folder / "objects")
        self.triggers = TriggerService(
            self.store,
            self.clock,
            all_types(default_zone="UTC", gateway_url="http://host:8001"),
            TriggerSecrets(vault, echoes=False),
            region=REGION,
            on_change=lambda: self.changes.append("triggers"),
        )
        self.instances = SomeInstances()
        self.book = UsageBook(self.store, self.clock)
        self._authenticator = _AnyoneIs()
        services = Services(
            functions=self.functions,
            versions=self.versions,
            invocations=None,
            triggers=self.triggers,
            identity=None,
            observability=ObservabilityService(store=self.store, logs=None, region=REGION, limits=self.limits),
            topics=None,
            streams=None,
            connections=None,
            resources=Resources.build(
                self.store,
                self.clock,
                vault,
                Makers(
                    functions=self.functions,
                    dependencies=self.dependencies,
                    triggers=self.triggers,
                    check_destination=destinations_of(self.store, self.clock, objects).check,
                ),
                region=REGION,
                api_url="http://host:8000",
                inventory=inventory,
            ),
            gateway=None,
            dependencies=self.dependencies,
            reserved=ReservedService(
                self.store,
                self.clock,
                self.instances,
                region=REGION,
                limits=reserved_limits or ReservedLimits(),
                on_change=self._on_change,
            ),
            statistics=StatisticsService(self.store, NoLogs(), self.book, self.clock, region=REGION),
        )
        self.resources = services.resources
        self._api = Api(operations=OPERATIONS, services=services, authenticator=self._authenticator)

    def _on_change(self, *what):
        self.changes.append(what)

    def run(self, work):
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def close(self):
        """Close the database and the loop."""
        self.run(self.store.close())
        self.runner.close()

    def act_as(self, project):
        """Let the requests that follow come from a user of this project."""
        self._authenticator.project = project

    def send(self, method, path, body=None):
        """Send a request; `path` stands behind `/v2/<project>/fgs`, or is a whole URL."""
        return Answer(self.run(self._api.handle(self._request(method, path, body))))

    def send_together(self, method, path, bodies):
        """Send several requests at once; return their statuses."""

        async def send_all():
            return await asyncio.gather(*(self._api.handle(self._request(method, path, body)) for body in bodies))

        return [response.status for response in self.run(send_all())]

    def _request(self, method, path, body):
        if not path.startswith("http"):
            path = f"http://host:8000/v2/{self._authenticator.project.project_id}/fgs{path}"
        url = urlsplit(path)
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return Request(method=method, raw_path=url.path, raw_query=url.query, headers={"host": "host:8000"}, body=data)

    def create(self, name="hello", **fields):
        """Create a function with small defaults."""
        return self.send("POST", "/functions", new_body(name, **fields))

    def config(self, urn="hello"):
        """Read a configuration that must exist."""
        answer = self.send("GET", f"/functions/{urn}/config")
        assert answer.status == 200, answer.json
        return answer.json

    def update(self, urn="hello", **fields):
        """Change the configuration as the vendor's SDK does: with `func_name`."""
        return self.send("PUT", f"/functions/{urn}/config", {"func_name": urn, **fields})

    def publish(self, version, urn="hello", **fields):
        """Publish `latest`."""
        return self.send("POST", f"/functions/{urn}/versions", {"version": version, **fields})

    def revision(self, urn="hello"):
        """Return the revision that the data plane sees."""
        principal = self.run(self._authenticator.authenticate(None))
        return self.run(self.functions.get(principal, urn)).revision


def new_body(name="hello", **fields):
    """Return a body of `CreateFunction`; a field that is None is left out."""
    body = {
        "func_name": name,
        "package": "default",
        "runtime": "Python3.10",
        "handler": "index.handler",
        "timeout": 3,
        "memory_size": 128,
        "code_type": "zip",
        "code_filename": "index.zip",
        "func_code": {"file": zip_base64({"index.py": "def handler(event, context):\n    return event\n"})},
    } | fields
    return {key: value for key, value in body.items() if value is not None}


def text_base64(text):
    """Return a text in base64."""
    return base64.b64encode(text.encode()).decode()
