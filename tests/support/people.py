"""A server in this process that knows users, their permissions and functions: the whole pipeline, without a socket."""

import asyncio
import json
from types import SimpleNamespace

from funclet.api.access import Gate
from funclet.api.app import Api
from funclet.api.auth import Authenticator
from funclet.api.call import Services
from funclet.api.operations import OPERATIONS
from funclet.api.traces import Tracer
from funclet.base.http import Request
from funclet.blobs import Blobs
from funclet.catalog import Catalog
from funclet.model.inventory import Inventory
from funclet.outside.guard import Guard
from funclet.outside.links import Links
from funclet.outside.objects import ObjectStores
from funclet.outside.outgoing import Outgoing
from funclet.outside.packages import StoredPackages
from funclet.services.agencies import AgencyService
from funclet.services.applications import Makers
from funclet.services.audit import AuditService
from funclet.services.code import CodeBuilder, CodeLinks
from funclet.services.connections import ConnectionService
from funclet.services.dependencies import DependencyService
from funclet.services.fetch import CodeFetcher
from funclet.services.functions import FunctionService
from funclet.services.iam import IamService
from funclet.services.identity import IdentityService, bootstrap_identity
from funclet.services.invocations import InvocationService
from funclet.services.limits import Limits
from funclet.services.policies import PolicyService
from funclet.services.projects import ProjectService
from funclet.services.resources import Resources
from funclet.services.surroundings_rights import SurroundingsRights
from funclet.services.temporary import TemporaryKeys
from funclet.services.trigger_secrets import TriggerSecrets
from funclet.services.triggers import TriggerService
from funclet.services.versions import VersionService
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeClock, FakeInvoker, FakeSubmitter
from funclet.triggers.catalogue import all_types
from funclet.vault import KeySource, Vault
from tests.support.api import INVENTORY, destinations_of, new_body
from tests.support.sign import signed

REGION = "test-1"
PASSWORD = "Right-horse-1"


class Town:
    """A server with an owner, and whomever a test adds. `close` it."""

    def __init__(
        self,
        folder,
        registry,
        *,
        audit_days=180,
        audit_rows=1000,
        forgets=True,
        must_exist=False,
        key_command=None,
        inventory=INVENTORY,
    ):
        self.folder = folder
        self.clock = FakeClock()
        self.runner = asyncio.Runner()
        self.store = SqliteStore.open(
            folder / "state.db", keys=KeySource(path=folder / "secrets.key", command=key_command)
        )
        self.vault = self.store.vault
        self.temporary = TemporaryKeys(Vault.open(folder / "temporary.key"), self.clock)
        self.given = self.run(
            bootstrap_identity(self.store, region=REGION, password=PASSWORD, vault=self.vault, ak="OWNERKEY", sk="s1")
        )
        self.project_id = self.given.project_id
        self.authenticator = Authenticator(self.store, self.clock, vault=self.vault, temporary=self.temporary)
        self.audit = AuditService(
            self.store, self.clock, days=audit_days, rows=audit_rows, operator_project_id=self.project_id
        )
        self.invoker, self.submitter = FakeInvoker(), FakeSubmitter()
        changed = self.authenticator.forget if forgets else lambda: None
        (folder / "blobs").mkdir()
        blobs, links = Blobs(folder / "blobs"), Links(self.store, self.vault)
        outgoing = Outgoing(Guard((), setting="target_networks"))
        self.objects = ObjectStores(self.store, links, outgoing, self.clock, folder / "objects")
        fetcher = CodeFetcher(store=StoredPackages(self.store, links, self.objects))
        functions = FunctionService(
            self.store,
            blobs,
            registry,
            self.clock,
            CodeBuilder(fetcher),
            CodeLinks(b"k" * 32, self.clock),
            region=REGION,
            limits=Limits(),
            on_change=lambda *_: None,
            inventory=inventory,
            rights=SurroundingsRights(self.clock) if must_exist else None,
        )
        triggers = TriggerService(
            self.store,
            self.clock,
            all_types(default_zone="UTC", gateway_url="http://h:2"),
            TriggerSecrets(self.vault, echoes=False),
            region=REGION,
            on_change=lambda: None,
        )
        dependencies = DependencyService(
            self.store, blobs, registry, self.clock, fetcher, limits=Limits(), on_change=lambda *_: None
        )
        self.services = Services(
            functions=functions,
            packages=fetcher,
            resources=Resources.build(
                self.store,
                self.clock,
                self.vault,
                Makers(
                    functions=functions,
                    dependencies=dependencies,
                    triggers=triggers,
                    check_destination=destinations_of(self.store, self.clock, self.objects).check,
                ),
                region=REGION,
                api_url="http://h:1",
                inventory=Inventory(),
            ),
            versions=VersionService(self.store, self.clock, region=REGION, limits=Limits(), on_change=lambda *_: None),
            invocations=InvocationService(
                store=self.store,
                catalog=Catalog(self.store, self.clock),
                invoker=self.invoker,
                submitter=self.submitter,
                clock=self.clock,
                region=REGION,
            ),
            triggers=triggers,
            identity=IdentityService(self.store, self.clock, region=REGION),
            observability=None,
            topics=None,
            streams=None,
            connections=ConnectionService(
                self.store,
                self.clock,
                vault=self.vault,
                guard=Guard((), setting="target_networks"),
                links=links,
                stores=self.objects,
                jetstream=None,
            ),
            gateway=None,
            dependencies=dependencies,
            iam=IamService(self.store, self.clock, self.vault, on_change=changed),
            policies=PolicyService(self.store, self.clock, on_change=changed),
            projects=ProjectService(self.store, region=REGION, on_change=changed),
            agencies=AgencyService(self.store, self.clock, self.temporary, on_change=changed, must_exist=must_exist),
            audit=self.audit,
        )
        self.gate = Gate(self.clock, region=REGION, store=self.store)
        self.api = Api(
            operations=OPERATIONS,
            services=self.services,
            authenticator=self.authenticator,
            gate=self.gate,
            tracer=Tracer(self.audit, self.clock),
        )
        self.owner = self.login("admin", PASSWORD)

    def run(self, work):
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def read(self, work):
        """Read the database."""
        return self.run(self.store.read(work))

    def close(self):
        """Close the database and the loop."""
        self.run(self.store.close())
        self.runner.close()

    def post_bytes(self, target, data, *, token):
        """Send bytes that need not be JSON."""
        path = target.replace("{f}", f"/v2/{self.project_id}/fgs")
        headers = {"host": "h:1", "x-auth-token": token}
        response = self.run(
            self.api.handle(Request(method="POST", raw_path=path, raw_query="", headers=headers, body=data))
        )
        return SimpleNamespace(status=response.status, json=json.loads(response.body))

    def send(self, method, target, body=None, *, token=None, key=None, peer="10.0.0.1", **headers):
        """Send a request as the owner, or with a token, or signed with `(access, secret, security token)`."""
        path, _, query = target.partition("?")
        path = path.replace("{p}", self.project_id).replace("{f}", f"/v2/{self.project_id}/fgs")
        names = {"host": "h:1"} | {name.replace("_", "-"): value for name, value in headers.items()}
        data = b"" if body is None else json.dumps(body).encode()
        if key is not None:
            request = signed(method, path, query, data, key, at=self.clock.now(), peer=peer)
        else:
            names["x-auth-token"] = self.owner if token is None else token
            request = Request(method=method, raw_path=path, raw_query=query, headers=names, body=data, peer=peer)
        response = self.run(self.api.handle(request))
        found = json.loads(response.body) if response.body else None
        return SimpleNamespace(status=response.status, json=found, headers=response.headers)

    def done(self, method, target, body=None, **how):
        """Send a request that must succeed; return its JSON."""
        answer = self.send(method, target, body, **how)
        assert answer.status < 300, (answer.status, answer.json)
        return answer.json

    def try_login(self, name, password=PASSWORD):
        """Ask for a token."""
        identity = {"methods": ["password"], "password": {"user": {"name": name, "password": password}}}
        return self.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity}}, token="")

    def login(self, name, password=PASSWORD):
        """Return a token."""
        answer = self.try_login(name, password)
        assert answer.status == 201, answer.json
        return answer.headers["X-Subject-Token"]

    def user(self, name, *policies, groups=()):
        """Create a user with these policies (documents' statements) and groups; return a token."""
        user = self.done("POST", "/v3/users", {"user": {"name": name, "password": PASSWORD}})["user"]
        for group_name in groups:
            self.join(user["id"], group_name)
        if policies:
            group = self.done("POST", "/v3/groups", {"group": {"name": f"of-{name}"}})["group"]
            self.done("PUT", f"/v3/groups/{group['id']}/users/{user['id']}")
            for number, statements in enumerate(policies):
                role = self.policy(f"{name}-{number}", *statements)
                self.done("PUT", f"/v3/projects/{{p}}/groups/{group['id']}/roles/{role['id']}")
        return self.login(name)

    def policy(self, name, *statements):
        """Create a policy; return it."""
        body = {"role": {"display_name": name, "policy": {"Version": "1.1", "Statement": list(statements)}}}
        return self.done("POST", "/v3.0/OS-ROLE/roles", body)["role"]

    def user_id(self, name):
        """Return the id of a user."""
        return self.done("GET", f"/v3/users?name={name}")["users"][0]["id"]

    def group_id(self, name):
        """Return the id of a group."""
        return self.done("GET", f"/v3/groups?name={name}")["groups"][0]["id"]

    def join(self, user_id, group_name):
        """Put a user into a group."""
        self.done("PUT", f"/v3/groups/{self.group_id(group_name)}/users/{user_id}")

    def key(self, name):
        """Give a user an access key; return what signs with it."""
        body = {"credential": {"user_id": self.user_id(name)}}
        made = self.done("POST", "/v3.0/OS-CREDENTIAL/credentials", body)["credential"]
        return made["access"], made["secret"], ""

    def function(self, name, **fields):
        """Create a function as the owner."""
        return self.done("POST", "{f}/functions", new_body(name, **fields))["func_urn"]

    def traces(self, query=""):
        """Return the audit log, newest first."""
        return self.done("GET", f"/v2/{{p}}/funclet/traces{query}")["traces"]


def allow(*actions, **more):
    """Return a statement that allows."""
    return {"Effect": "Allow", "Action": list(actions), **more}


def deny(*actions, **more):
    """Return a statement that denies."""
    return {"Effect": "Deny", "Action": list(actions), **more}
