"""Logging in, tokens, projects: the identity operations on a real database, through the whole pipeline."""

import asyncio
import json

import pytest

from funclet.api.app import Api
from funclet.api.auth import Authenticator
from funclet.api.call import Services
from funclet.api.operations import OPERATIONS
from funclet.base.http import Request
from funclet.model.identity import Project
from funclet.services.identity import IdentityService, Scope, bootstrap_identity
from funclet.services.projects import ProjectService
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeClock

REGION = "test-1"


class Identity:
    """A server that only knows who is who."""

    def __init__(self, path):
        self.clock = FakeClock()
        self.runner = asyncio.Runner()
        self.store = SqliteStore.open(path)
        self.given = self.bootstrap(password="right")
        services = Services(
            functions=None,
            versions=None,
            invocations=None,
            triggers=None,
            observability=None,
            topics=None,
            streams=None,
            connections=None,
            gateway=None,
            dependencies=None,
            identity=IdentityService(self.store, self.clock, region=REGION),
            projects=ProjectService(self.store, region=REGION, on_change=lambda: None),
        )
        authenticator = Authenticator(self.store, self.clock)
        self.api = Api(operations=OPERATIONS, services=services, authenticator=authenticator)

    def run(self, work):
        """Run a coroutine to its end."""
        return self.runner.run(work)

    def bootstrap(self, **options):
        """Give the database its first user."""
        return self.run(bootstrap_identity(self.store, region=REGION, **options))

    def close(self):
        """Close the database."""
        self.run(self.store.close())
        self.runner.close()

    def send(self, method, target, body=None, **headers):
        """Send a request and return status, JSON and headers."""
        path, _, query = target.partition("?")
        names = {"host": "h:1"} | {name.replace("_", "-"): value for name, value in headers.items()}
        data = b"" if body is None else json.dumps(body).encode()
        request = Request(method=method, raw_path=path, raw_query=query, headers=names, body=data, peer="10.0.0.1")
        response = self.run(self.api.handle(request))
        return response.status, json.loads(response.body), response.headers

    def login(self, password="right", *, name="admin", scope=None, domain=None, query=""):
        """Ask for a token."""
        user = {"name": name, "password": password} | ({"domain": domain} if domain else {})
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if scope is not None:
            auth["scope"] = scope
        return self.send("POST", f"/v3/auth/tokens{query}", {"auth": auth})

    def token(self):
        """Return the text of a new token."""
        return self.login()[2]["X-Subject-Token"]


@pytest.fixture
def identity(tmp_path):
    opened = Identity(tmp_path / "state.db")
    yield opened
    opened.close()


@pytest.mark.proves("operation:CreateToken", "faq:FAQ-204")
def test_a_login_gives_a_token_in_the_shape_of_keystone(identity):
    given = identity.given

    status, body, headers = identity.login(scope={"project": {"name": REGION}}, domain={"name": "admin"})

    token = body["token"]
    assert status == 201
    assert len(headers["X-Subject-Token"]) > 40
    assert token["methods"] == ["password"]
    assert (token["issued_at"], token["expires_at"]) == ("2023-11-14T22:13:20.000000Z", "2023-11-15T22:13:20.000000Z")
    assert token["project"]["id"] == given.project_id
    assert token["project"]["name"] == REGION
    assert token["project"]["domain"]["name"] == "admin"
    assert token["user"]["name"] == "admin"
    assert token["roles"]
    assert [entry["endpoints"][0]["url"] for entry in token["catalog"]] == [
        f"http://h:1/v2/{given.project_id}",
        "http://h:1/v3",
        "http://h:1/v3",
    ]


def test_a_domain_scope_shows_the_domain_and_no_project(identity):
    _, body, _ = identity.login(scope={"domain": {"name": "admin"}}, query="?nocatalog=true")

    assert "project" not in body["token"]
    assert body["token"]["domain"]["name"] == "admin"
    assert body["token"]["catalog"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "wrong"},
        {"password": ""},
        {"name": "nobody"},
        {"name": ""},
        {"domain": {"name": "other"}},
        {"scope": {"project": {"name": "other"}}},
        {"scope": {"project": {"id": "f" * 32}}},
        {"scope": {"domain": {"id": "other"}}},
    ],
)
def test_a_wrong_login_is_401_in_the_shape_of_keystone(identity, changes):
    status, body, _ = identity.login(**changes)

    assert status == 401
    assert (body["error"]["code"], body["error"]["title"]) == (401, "Unauthorized")


@pytest.mark.parametrize("body", [{}, {"auth": {"identity": {"methods": "password"}}}, {"auth": None}])
def test_a_login_of_the_wrong_shape_is_400(identity, body):
    status, answer, _ = identity.send("POST", "/v3/auth/tokens", body)

    assert (status, answer["error"]["code"]) == (400, 400)


def test_other_methods_of_login_are_refused(identity):
    body = {"auth": {"identity": {"methods": ["hw_assume_role"]}}}

    assert identity.send("POST", "/v3/auth/tokens", body)[0] == 401


def test_an_unknown_user_gets_the_words_of_a_wrong_password(identity):
    assert identity.login(name="nobody")[1] == identity.login("wrong")[1]


def test_five_failures_are_answered_with_429_until_a_quarter_of_an_hour_is_over(identity):
    for _ in range(5):
        assert identity.login("wrong")[0] == 401

    status, body, headers = identity.login("right")
    identity.clock.advance(900)

    assert (status, body["error"]["code"], headers["Retry-After"]) == (429, 429, "900")
    assert identity.login("right")[0] == 201


@pytest.mark.proves("error:FSS.0401")
def test_failures_that_come_at_once_are_counted_too(identity):
    service = identity.api._services.identity

    async def attack():
        tries = [service.login(name="admin", domain="", password=f"p{n}", scope=Scope(), peer="p") for n in range(20)]
        return [error.code for error in await asyncio.gather(*tries, return_exceptions=True)]

    codes = identity.run(attack())

    assert 5 <= codes.count("FSS.0401") <= 6
    assert codes.count("FSS.0401") + codes.count("FSS.0429") == 20


def test_failures_of_one_name_do_not_lock_out_another_address(identity):
    for _ in range(5):
        identity.login("wrong")
    service = identity.api._services.identity

    login = identity.run(service.login(name="admin", domain="", password="right", scope=Scope(), peer="10.9.9.9"))

    assert login.user.name == "admin"


def test_a_token_opens_the_api_for_a_day(identity):
    token = identity.token()

    assert identity.send("GET", "/v3/projects", x_auth_token=token)[0] == 200
    identity.clock.advance(24 * 3600)
    assert identity.send("GET", "/v3/projects", x_auth_token=token)[0] == 401


def test_the_text_of_a_token_is_not_in_the_database(identity, tmp_path):
    token = identity.token()

    assert not any(token.encode() in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.proves("operation:ValidateToken")
def test_a_token_can_be_looked_at(identity):
    token = identity.token()

    status, body, headers = identity.send("GET", "/v3/auth/tokens", x_auth_token=token, x_subject_token=token)

    assert (status, headers["X-Subject-Token"]) == (200, token)
    assert body["token"]["user"]["name"] == "admin"
    assert identity.send("GET", "/v3/auth/tokens", x_auth_token=token, x_subject_token="other")[0] == 404
    assert identity.send("GET", "/v3/auth/tokens", x_subject_token=token)[0] == 401


def test_a_token_of_a_token_does_not_live_longer(identity):
    token = identity.token()
    identity.clock.advance(3600)
    auth = {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"project": {"name": REGION}}}

    status, body, headers = identity.send("POST", "/v3/auth/tokens", {"auth": auth})

    assert (status, body["token"]["expires_at"]) == (201, "2023-11-15T22:13:20.000000Z")
    assert headers["X-Subject-Token"] != token


@pytest.mark.proves("operation:ListProjects")
def test_a_region_has_exactly_one_project(identity):
    token = identity.token()

    _, found, _ = identity.send("GET", f"/v3/projects?name={REGION}", x_auth_token=token)
    _, missing, _ = identity.send("GET", "/v3/projects?name=other", x_auth_token=token)

    assert [project["id"] for project in found["projects"]] == [identity.given.project_id]
    assert found["projects"][0]["links"]["self"] == f"http://h:1/v3/projects/{identity.given.project_id}"
    assert missing["projects"] == []


def test_projects_of_other_domains_are_not_shown(identity):
    other = Project(project_id="f" * 32, name="other", domain_id="e" * 32, domain_name="other")
    identity.run(identity.store.write(lambda tx: tx.identities.add_project(other)))

    _, body, _ = identity.send("GET", "/v3/projects", x_auth_token=identity.token())

    assert len(body["projects"]) == 1


@pytest.mark.proves("operation:ListAuthDomains", "operation:ListRegions")
def test_what_else_clients_ask_for_at_their_start(identity):
    token = identity.token()

    domains = identity.send("GET", "/v3/auth/domains", x_auth_token=token)[1]["domains"]
    regions = identity.send("GET", "/v3/regions", x_auth_token=token)[1]["regions"]
    users = identity.send("GET", "/v3/users?name=admin", x_auth_token=token)[1]["users"]
    nobody = identity.send("GET", "/v3/users?name=nobody", x_auth_token=token)[1]["users"]
    created = identity.send("POST", "/v3/projects", {"project": {"name": "x"}}, x_auth_token=token)

    assert [domain["name"] for domain in domains] == ["admin"]
    assert [region["id"] for region in regions] == [REGION]
    assert [user["name"] for user in users] == ["admin"]
    assert nobody == []
    assert created[0] == 403


@pytest.mark.proves("error:FSS.0501")
def test_an_unbuilt_operation_is_501_for_those_who_are_known(identity):
    path = f"/v2/{identity.given.project_id}/fgs/workflows"

    status, body, _ = identity.send("GET", path, x_auth_token=identity.token())

    assert (status, body["error_code"]) == (501, "FSS.0501")
    assert identity.send("GET", path)[0] == 401


def test_a_second_start_creates_nothing(identity):
    assert identity.bootstrap() is None
    assert len(identity.run(identity.store.read(lambda tx: tx.identities.projects()))) == 1


def test_a_key_pair_given_later_is_added_or_replaced(identity):
    for secret in ("one", "two", "two"):
        assert identity.bootstrap(ak="MYKEY", sk=secret) is None

    key = identity.run(identity.store.read(lambda tx: tx.identities.access_key("MYKEY")))
    first = identity.run(identity.store.read(lambda tx: tx.identities.access_key(identity.given.access)))

    assert (key.secret, key.project_id) == ("two", identity.given.project_id)
    assert first.secret == identity.given.secret


def test_what_the_operator_chose_is_used(tmp_path):
    async def work():
        store = SqliteStore.open(tmp_path / "state.db")
        given = await bootstrap_identity(store, region="r", project_id="a" * 32, ak="AK", sk="SK", password="p")
        await store.close()
        return given

    given = asyncio.run(work())

    assert (given.project_id, given.project_name, given.access, given.secret, given.password) == (
        "a" * 32,
        "r",
        "AK",
        "SK",
        "p",
    )
