"""Logging in with the token of an OIDC issuer, against a real one."""

import json

import pytest

from tests.support.issuer import CLIENT_ID, IssuerServer
from tests.support.server import PROJECT_ID, ServerProcess

PATH = "/v3.0/OS-AUTH/id-token/tokens"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    running = IssuerServer(tmp_path_factory.mktemp("issuer")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def oidc_server(tmp_path_factory, issuer):
    running = ServerProcess(
        tmp_path_factory.mktemp("server"), "--isolation", "process", "--oidc-issuer", issuer.url,
        "--oidc-audience", CLIENT_ID, "--oidc-group", "staff=developers", "--oidc-group", "guests=viewers",
    ).start()  # fmt: skip
    yield running
    running.stop()


def exchange(server, id_token, **scope):
    auth = {"id_token": {"id": id_token}} | ({"scope": scope} if scope else {})
    return server.client.call("POST", PATH, body=json.dumps({"auth": auth}).encode(), raises=False)


def client_of(server, answer):
    assert answer.status == 201, answer.body
    return server.new_client(ak="", sk="", token=answer.headers["x-subject-token"])


def status(server, client, method, path, body=b"{}"):
    return client.call(method, server.path(path), body=body if method == "POST" else b"", raises=False).status


@pytest.mark.proves("operation:CreateTokenWithIdToken")
def test_the_token_of_an_issuer_opens_what_its_groups_may(oidc_server, issuer):
    issuer.know("sub-1", preferred_username="grace", groups=["guests", "nobody-knows-this"])

    answer = exchange(oidc_server, issuer.id_token("sub-1"), project={"name": "test-1"})
    client = client_of(oidc_server, answer)
    token = json.loads(answer.body)["token"]

    assert token["user"]["name"] == "grace"
    assert token["project"]["id"] == PROJECT_ID
    assert [role["name"] for role in token["roles"]] == ["FunctionGraph ReadOnlyAccess"]
    assert status(oidc_server, client, "GET", "/functions") == 200
    assert status(oidc_server, client, "POST", "/functions") == 403
    client.close()


def test_groups_are_those_of_the_last_login(oidc_server, issuer):
    issuer.know("sub-2", preferred_username="linus", groups=["staff"])
    first = client_of(oidc_server, exchange(oidc_server, issuer.id_token("sub-2")))
    assert status(oidc_server, first, "POST", "/functions") == 400

    issuer.know("sub-2", preferred_username="linus", groups=[])
    second = client_of(oidc_server, exchange(oidc_server, issuer.id_token("sub-2")))

    assert status(oidc_server, second, "POST", "/functions") == 403
    first.close()
    second.close()


def test_a_user_of_the_issuer_is_not_the_user_of_the_same_name_here(oidc_server, issuer):
    issuer.know("sub-3", preferred_username="admin", groups=["guests"])

    answer = exchange(oidc_server, issuer.id_token("sub-3"))
    token = json.loads(answer.body)["token"]

    assert token["user"]["name"].startswith("admin-")
    assert [role["name"] for role in token["roles"]] == ["FunctionGraph ReadOnlyAccess"]


def test_a_user_who_is_disabled_here_does_not_get_in(oidc_server, issuer):
    issuer.know("sub-4", preferred_username="mallory", groups=["staff"])
    answer = exchange(oidc_server, issuer.id_token("sub-4"))
    user_id = json.loads(answer.body)["token"]["user"]["id"]
    client = client_of(oidc_server, answer)

    oidc_server.client.call("PATCH", f"/v3/users/{user_id}", body=b'{"user": {"enabled": false}}')

    assert exchange(oidc_server, issuer.id_token("sub-4")).status == 401
    assert status(oidc_server, client, "GET", "/functions") == 401
    client.close()


def test_a_token_for_another_client_is_refused(oidc_server, issuer):
    issuer.know("sub-5", preferred_username="eve", groups=["staff"])

    answer = exchange(oidc_server, issuer.id_token("sub-5", client_id="another"))

    assert answer.status == 401
    assert "Audience" in json.loads(answer.body)["error"]["message"]


def test_a_token_that_was_changed_is_refused(oidc_server, issuer):
    issuer.know("sub-6", preferred_username="eve2", groups=["guests"])
    head, body, proof = issuer.id_token("sub-6").split(".")

    for wrong in (f"{head}.{body}.{proof[:-4]}AAAA", f"{head}.{body}.", f"{head}.{body[:-2]}AA.{proof}", "x", ""):
        assert exchange(oidc_server, wrong).status == 401


@pytest.mark.proves("error:FSS.0426")
@pytest.mark.proves("error:FSS.0426")
def test_without_an_issuer_the_exchange_says_which_setting_is_missing(server):
    answer = exchange(server, "x")

    assert answer.status == 426
    assert "oidc_issuer" in json.loads(answer.body)["error"]["message"]
