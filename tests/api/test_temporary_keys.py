"""Temporary keys and tokens: of users, of agencies, and of functions."""

import base64
from dataclasses import replace

import pytest
import yaml

from funclet.model.roles import READ_ONLY
from funclet.services.temporary import RENEW_S, TemporaryKeys
from funclet.vault import Vault
from tests.support.api import new_body
from tests.support.packages import zip_of
from tests.support.people import Town, allow
from tests.support.store import a_version

PATH = "/v3.0/OS-CREDENTIAL/securitytokens"
DAY_S = 24 * 3600


def ask(town, identity=None, **how):
    body = {"auth": {"identity": {"methods": ["token"]} | (identity or {})}}
    return town.send("POST", PATH, body, **how)


def key_of(answer):
    credential = answer.json["credential"]
    return credential["access"], credential["secret"], credential["securitytoken"]


@pytest.mark.proves("operation:CreateTemporaryAccessKey")
def test_a_temporary_key_may_what_its_user_may_until_it_ends(town):
    token = town.user("ann", groups=["viewers"])

    answer = ask(town, token=token)
    key = key_of(answer)

    assert answer.status == 201
    assert answer.json["credential"]["expires_at"] == "2023-11-14T22:28:20.000000Z"
    assert town.send("GET", "{f}/functions", key=key).status == 200
    assert town.send("POST", "{f}/functions", {}, key=key).status == 403
    town.clock.advance(900)
    assert town.send("GET", "{f}/functions", key=key).status == 401


def test_neither_part_of_it_is_worth_anything_without_the_others(town):
    mine, other = key_of(ask(town)), key_of(ask(town))

    assert town.send("GET", "{f}/functions", key=mine).status == 200
    for wrong in (
        (mine[0], mine[1], ""),
        (mine[0], mine[1], other[2]),
        (mine[0], other[1], mine[2]),
        (other[0], mine[1], mine[2]),
        (mine[0], mine[1], mine[2][:-2] + "AA"),
        (mine[0], mine[1], "fgt-"),
        (mine[0], mine[1], "fgt-" + "A" * 20_000),
        (mine[0], mine[1], "fgt-\xe4"),
    ):
        assert town.send("GET", "{f}/functions", key=wrong).status == 401
    # What goes with a key is no token.
    assert town.send("GET", "{f}/functions", token=mine[2]).status == 401


def test_it_is_no_more_than_the_policy_that_was_sent_with_it(town):
    policy = {"Version": "1.1", "Statement": [allow("functiongraph:function:list")]}

    key = key_of(ask(town, {"policy": policy}))

    assert town.send("GET", "{f}/functions", key=key).status == 200
    assert town.send("GET", "/v3/groups", key=key).status == 403


@pytest.mark.parametrize(
    "identity",
    [
        {"methods": []},
        {"methods": ["password"]},
        {"methods": ["assume_role"]},
        {"token": {"duration_seconds": 899}},
        {"token": {"duration_seconds": 86_401}},
        {"token": {"duration_seconds": "900"}},
        {"policy": {"Version": "1.1"}},
    ],
)
def test_wrong_requests_are_refused(town, identity):
    assert ask(town, identity).status == 400


@pytest.mark.parametrize("duration", [900, 86_400])
def test_the_limits_of_its_life_are_taken(town, duration):
    assert ask(town, {"token": {"duration_seconds": duration}}).status == 201


def test_temporary_credentials_make_nothing_that_lasts_longer(town):
    key = key_of(ask(town))

    assert ask(town, key=key).status == 403
    assert town.send("POST", "/v3.0/OS-CREDENTIAL/credentials", {"credential": {}}, key=key).status == 403


def test_it_ends_with_its_user(town):
    key = key_of(ask(town, token=town.user("ann", groups=["viewers"])))
    assert town.send("GET", "{f}/functions", key=key).status == 200

    town.done("DELETE", f"/v3/users/{town.user_id('ann')}")

    assert town.send("GET", "{f}/functions", key=key).status == 401


def an_agency(town, name, role=READ_ONLY, **members):
    agency = town.done("POST", "/v3.0/OS-AGENCY/agencies", {"agency": {"name": name} | members})["agency"]
    path = f"/v3.0/OS-AGENCY/projects/{town.project_id}/agencies/{agency['id']}/roles"
    town.done("PUT", f"{path}/{role.role_id}")
    return agency


def test_users_act_as_an_agency_that_trusts_their_domain(town):
    an_agency(town, "helper", trust_domain_name="admin")
    an_agency(town, "job")
    token = town.user("ann", [allow("iam:agencies:assume", Resource=["IAM:*:*:agencies:helper"])])
    assumed = {"methods": ["assume_role"], "assume_role": {"agency_name": "helper"}}

    key = key_of(ask(town, assumed, token=token))

    assert town.send("GET", "{f}/functions", key=key).status == 200
    assert town.send("POST", "{f}/functions", {}, key=key).status == 403
    # Without the permission; and where the agency trusts others.
    assert ask(town, assumed, token=town.user("bob")).status == 403
    assert ask(town, assumed | {"assume_role": {"agency_name": "job"}}).status == 403
    assert ask(town, assumed | {"assume_role": {"agency_name": "none"}}).status == 403


def test_an_agency_can_be_assumed_with_a_token(town):
    an_agency(town, "helper", trust_domain_name="admin")
    identity = {"methods": ["assume_role"], "assume_role": {"agency_name": "helper", "duration_seconds": 3600}}

    answer = town.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity}})
    token = answer.headers["X-Subject-Token"]

    assert (answer.status, answer.json["token"]["expires_at"]) == (201, "2023-11-14T23:13:20.000000Z")
    assert town.send("GET", "{f}/functions", token=token).status == 200
    assert town.send("POST", "{f}/functions", {}, token=token).status == 403
    assert town.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity}}, token="no").status == 401
    town.clock.advance(3600)
    assert town.send("GET", "{f}/functions", token=token).status == 401


def of_function(town, **roles):
    version = a_version(project_id=town.project_id)
    version = replace(version, settings=replace(version.settings, echoed=roles))
    return town.temporary.of_function(version)


def signing(keys):
    return keys["security_access_key"], keys["security_secret_key"], keys["security_token"]


def test_a_function_without_an_agency_has_no_keys(town):
    assert of_function(town) == {}
    assert of_function(town, xrole="", app_xrole="") == {}


def test_a_function_acts_as_its_agency_and_no_more(town):
    keys = of_function(town, xrole="serverless-readonly")

    for how in ({"key": signing(keys)}, {"token": keys["auth_token"]}):
        assert town.send("GET", "{f}/functions", **how).status == 200
        answer = town.send("POST", "{f}/functions", {}, **how)
        assert answer.status == 403
        assert "'serverless-readonly' is not authorized to perform" in answer.json["error_msg"]


def test_the_agency_for_the_code_comes_before_the_one_for_the_platform(town):
    keys = of_function(town, xrole="serverless-trust", app_xrole="serverless-readonly")

    assert town.send("POST", "{f}/functions", {}, key=signing(keys)).status == 403


@pytest.mark.proves("quota:context-keys")
def test_keys_of_functions_are_renewed_two_hours_before_their_end(town):
    first = of_function(town, xrole="serverless-readonly")

    town.clock.advance(DAY_S - RENEW_S - 1)
    assert of_function(town, xrole="serverless-readonly") is first
    town.clock.advance(1)
    second = of_function(town, xrole="serverless-readonly")

    assert second["security_access_key"] != first["security_access_key"]
    assert town.send("GET", "{f}/functions", key=signing(first)).status == 200
    assert town.send("GET", "{f}/functions", key=signing(second)).status == 200
    town.clock.advance(RENEW_S)
    assert town.send("GET", "{f}/functions", key=signing(first)).status == 401
    assert town.send("GET", "{f}/functions", key=signing(second)).status == 200


def test_keys_of_functions_end_with_the_agency_and_follow_its_permissions(town):
    agency = an_agency(town, "job")
    key = signing(of_function(town, xrole="job"))
    assert town.send("GET", "{f}/functions", key=key).status == 200

    path = f"/v3.0/OS-AGENCY/projects/{town.project_id}/agencies/{agency['id']}/roles"
    town.done("DELETE", f"{path}/{READ_ONLY.role_id}")
    assert town.send("GET", "{f}/functions", key=key).status == 403
    town.done("DELETE", f"/v3.0/OS-AGENCY/agencies/{agency['id']}")
    assert town.send("GET", "{f}/functions", key=key).status == 401


def test_an_agency_that_trusts_people_gives_functions_nothing(town):
    an_agency(town, "people", trust_domain_name="admin")

    assert town.send("GET", "{f}/functions", key=signing(of_function(town, xrole="people"))).status == 401
    assert town.send("GET", "{f}/functions", key=signing(of_function(town, xrole="missing"))).status == 401


def test_an_agency_that_has_expired_gives_functions_nothing(town):
    an_agency(town, "short", duration="ONEDAY")
    town.clock.advance(DAY_S - 60)
    keys = of_function(town, xrole="short")
    assert town.send("GET", "{f}/functions", key=signing(keys)).status == 200

    town.clock.advance(60)

    assert town.send("GET", "{f}/functions", key=signing(keys)).status == 401


def test_keys_of_another_server_are_worth_nothing(town, tmp_path):
    strange = TemporaryKeys(Vault.open(tmp_path / "other.key"), town.clock)
    version = a_version(project_id=town.project_id)
    version = replace(version, settings=replace(version.settings, echoed={"xrole": "serverless-trust"}))
    keys = strange.of_function(version)

    assert town.send("GET", "{f}/functions", key=signing(keys)).status == 401
    assert town.send("GET", "{f}/functions", token=keys["auth_token"]).status == 401


def naming(town, agency):
    """Return the answers to every way to give a function an agency: status and code."""
    archive = zip_of({"one.yaml": yaml.safe_dump({
        "HcCrmTemplateVersion": "v1",
        "Resources": {"one": {"Type": "HC::Serverless::Function", "Properties": {
            "Runtime": "Python3.10", "Handler": "index.handler", "Configuration": {"xrole": agency}}}},
    })})  # fmt: skip
    file = {"file_name": "one.zip", "file_type": "zip", "file_code": base64.b64encode(archive).decode()}
    templates = town.done("GET", "{f}/application/templates?runtime=Python3.10")["templates"]
    template = next(one["id"] for one in templates if not one.get("params"))
    answers = (
        town.send("POST", "{f}/functions", new_body("made", xrole=agency)),
        town.send("PUT", "{f}/functions/there/config", {"func_name": "there", "app_xrole": agency}),
        town.send("POST", "{f}/functions/import", {"func_name": "brought", **file}),
        town.send("POST", "{f}/applications", {"name": "shop", "template_id": template, "agency_name": agency}),
    )
    return {(answer.status, answer.json.get("error_code", "")) for answer in answers}


@pytest.fixture
def strict(tmp_path, registry):
    opened = Town(tmp_path, registry, must_exist=True)
    opened.function("there")
    yield opened
    opened.close()


@pytest.mark.proves("error:FSS.1121")
def test_an_agency_that_is_not_there_is_refused_where_it_must_be(strict):
    assert naming(strict, "missing") == {(403, "FSS.1121")}
    assert naming(strict, "serverless-trust") == {(200, "")}


@pytest.mark.proves("error:FSS.1122")
def test_an_agency_whose_keys_no_function_gets_is_refused_where_it_must_not_be(strict):
    for name, more in (("people", {"trust_domain_name": "admin"}), ("short", {"duration": "ONEDAY"})):
        strict.done("POST", "/v3.0/OS-AGENCY/agencies", {"agency": {"name": name, **more}})
    assert naming(strict, "people") == {(403, "FSS.1122")}

    strict.clock.advance(24 * 3600 + 1)
    strict.owner = strict.login("admin")

    assert naming(strict, "short") == {(403, "FSS.1122")}


def test_any_agency_may_be_named_unless_the_operator_says_otherwise(town):
    town.function("there")

    assert naming(town, "missing") == {(200, "")}
