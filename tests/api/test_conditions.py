"""Conditions of policies: each key, where it allows and where it does not, and what follows from what is not known."""

import base64

import pytest
import yaml

from funclet.base.http import Request
from funclet.model.urn import Urn
from tests.support.api import new_body
from tests.support.packages import zip_of
from tests.support.people import REGION, allow, deny

ALL = "functiongraph:*:*"
TEAM = "g:ResourceTag/team"


def when(operator, key, *values):
    return {"Condition": {operator: {key: list(values)}}}


def tagged(town, name, **tags):
    town.function(name)
    if tags:
        town.done("POST", f"{tags_of(town, name)}/create", tag_body("create", **tags))


def tags_of(town, name):
    return f"/v2/{town.project_id}/functions/urn:fss:{REGION}:{town.project_id}:function:default:{name}/tags"


def tag_body(action, **tags):
    return {"action": action, "tags": [{"key": key, "value": value} for key, value in tags.items()]}


def status(town, token, method, target, body=None):
    answer = town.send(method, target, body, token=token)
    assert answer.status < 400 or answer.json["error_code"] == "FSS.0403", answer.json
    return answer.status


# Tags of the function


def test_a_tag_of_the_function_opens_it_and_no_other(town):
    tagged(town, "mine", team="red")
    tagged(town, "theirs", team="blue")
    tagged(town, "plain")
    token = town.user("ann", [allow(ALL, **when("StringEquals", TEAM, "red"))])

    for method, end, body in (("GET", "config", None), ("POST", "invocations", {}), ("GET", "code", None)):
        names = ("mine", "theirs", "plain")
        found = [status(town, token, method, f"{{f}}/functions/{name}/{end}", body) for name in names]
        assert found == [200, 403, 403]


def test_a_tag_closes_a_function_to_those_who_may_do_everything_else(town):
    tagged(town, "prod", team="prod")
    tagged(town, "plain")
    token = town.user("ann", [deny(ALL, **when("StringLike", TEAM, "prod*"))], groups=["developers"])

    assert status(town, token, "DELETE", "{f}/functions/prod") == 403
    assert status(town, token, "DELETE", "{f}/functions/plain") == 204


def test_a_function_without_the_tag_is_not_what_an_allow_asks_for_and_is_what_a_deny_excludes(town):
    tagged(town, "plain")
    tagged(town, "red", team="red")
    allowed = town.user("ann", [allow(ALL, **when("StringNotEquals", TEAM, "blue"))])
    denied = town.user("bob", [deny(ALL, **when("StringNotEquals", TEAM, "red"))], groups=["developers"])
    lenient = town.user("eve", [allow(ALL, **when("StringEqualsIfExists", TEAM, "red"))])

    for token, expected in ((allowed, [403, 200]), (denied, [403, 200]), (lenient, [200, 200])):
        assert [status(town, token, "GET", f"{{f}}/functions/{name}/config") for name in ("plain", "red")] == expected


def test_a_tag_that_changes_is_asked_for_at_each_call(town):
    tagged(town, "one", team="red")
    token = town.user("ann", [allow(ALL, **when("StringEquals", TEAM, "red"))])
    assert status(town, token, "POST", "{f}/functions/one/invocations", {}) == 200

    town.done("POST", f"{tags_of(town, 'one')}/create", tag_body("create", team="blue"))

    assert status(town, token, "POST", "{f}/functions/one/invocations", {}) == 403


def test_the_list_shows_functions_by_their_tags(town):
    for name, team in (("a", "red"), ("b", "blue"), ("c", "red")):
        tagged(town, name, team=team)
    tagged(town, "d")
    may_read = allow("functiongraph:function:getConfig", **when("StringEquals", TEAM, "red"))
    token = town.user("ann", [allow("functiongraph:function:list"), may_read])

    found = town.done("GET", "{f}/functions", token=token)

    assert {row["func_name"] for row in found["functions"]} == {"a", "c"}


def test_the_gateway_asks_for_the_tags_of_the_function(town):
    tagged(town, "mine", team="red")
    tagged(town, "theirs", team="blue")
    token = town.user("ann", [allow("functiongraph:function:invoke", **when("StringEquals", TEAM, "red"))])
    request = Request(method="GET", raw_path="/x", raw_query="", headers={"x-auth-token": token}, body=b"")
    principal = town.run(town.authenticator.authenticate(request))

    def may(name):
        urn = Urn(region=REGION, project_id=town.project_id, package="default", name=name)
        return town.run(town.gate.may_invoke(request, principal, urn))

    assert [may("mine"), may("theirs"), may("missing")] == [True, False, False]


# Tags of the request


def test_only_some_tags_may_be_given(town):
    town.function("one")
    token = town.user(
        "ann", [allow("functiongraph:tag:*", **when("StringLike", "functiongraph:RequestTag/team", "r*"))]
    )
    create = f"{tags_of(town, 'one')}/create"

    assert status(town, token, "POST", create, tag_body("create", team="red")) == 204
    assert status(town, token, "POST", create, tag_body("create", team="blue")) == 403
    assert status(town, token, "POST", create, tag_body("create", other="red")) == 403
    assert status(town, token, "DELETE", f"{tags_of(town, 'one')}/delete", tag_body("delete", team="red")) == 204


def test_a_tag_that_is_denied_cannot_be_given_among_others(town):
    town.function("one")
    denied = deny("functiongraph:tag:*", **when("StringLike", "functiongraph:RequestTag/owner", "*"))
    token = town.user("ann", [denied], groups=["developers"])
    create = f"{tags_of(town, 'one')}/create"

    assert status(town, token, "POST", create, tag_body("create", team="red", owner="me")) == 403
    assert status(town, token, "POST", create, tag_body("create", team="red")) == 204


# The private network


def in_vpc(vpc_id):
    return {"func_vpc": {"vpc_id": vpc_id, "subnet_id": "any"}, "xrole": "serverless-trust"}


def test_only_functions_in_an_allowed_network(town):
    passes = allow("iam:agencies:pass")
    token = town.user("ann", [allow(ALL, **when("StringEquals", "functiongraph:VpcId", "any")), passes])
    town.function("old")

    assert status(town, token, "POST", "{f}/functions", new_body("one", **in_vpc("any"))) == 200
    assert status(town, token, "POST", "{f}/functions", new_body("two", **in_vpc("a"))) == 403
    assert status(town, token, "POST", "{f}/functions", new_body("three")) == 403
    assert status(town, token, "PUT", "{f}/functions/old/config", {"func_name": "old", **in_vpc("any")}) == 200
    assert status(town, token, "PUT", "{f}/functions/old/config", {"func_name": "old", **in_vpc("a")}) == 403


def test_a_network_that_is_denied_is_reached_by_no_body(town):
    token = town.user("ann", [deny(ALL, **when("StringEquals", "functiongraph:VpcId", "any"))], groups=["developers"])
    town.function("old")

    for body in ({"func_name": "old"}, {"func_name": None}, {"func_name": "old", "runtime": None}):
        assert status(town, token, "PUT", "{f}/functions/old/config", {**body, **in_vpc("any")}) == 403
    assert status(town, token, "POST", "{f}/functions", new_body("one", **in_vpc("any"))) == 403
    endpoint = {"vpc_id": "any", "subnet_id": "any", "flavor": "small", "xrole": ""}
    assert status(town, token, "POST", "{f}/vpc-endpoint", endpoint) == 403
    assert status(town, token, "POST", "{f}/vpc-endpoint", {**endpoint, "vpc_id": "a"}) == 200


# The enterprise project


def test_functions_of_one_enterprise_project_only(town):
    key = "g:EnterpriseProjectId"
    token = town.user("ann", [allow(ALL, **when("StringEquals", key, "ep-1"))])
    town.function("mine", enterprise_project_id="ep-1")
    town.function("plain")

    assert status(town, token, "GET", "{f}/functions/mine/config") == 200
    assert status(town, token, "GET", "{f}/functions/plain/config") == 403
    assert status(town, token, "POST", "{f}/functions", new_body("one", enterprise_project_id="ep-1")) == 200
    assert status(town, token, "POST", "{f}/functions", new_body("two")) == 403


def test_moving_a_function_to_another_enterprise_project_needs_both(town):
    key = "g:EnterpriseProjectId"
    one = town.user("ann", [allow(ALL, **when("StringEquals", key, "ep-1"))])
    both = town.user("bob", [allow(ALL, **when("StringEquals", key, "ep-1", "ep-2"))])
    town.function("mine", enterprise_project_id="ep-1")
    change = {"func_name": "mine", "enterprise_project_id": "ep-2"}

    assert status(town, one, "PUT", "{f}/functions/mine/config", change) == 403
    assert status(town, both, "PUT", "{f}/functions/mine/config", change) == 200
    assert status(town, one, "GET", "{f}/functions/mine/config") == 403


# The runtime, by every way to a new function


def archive(runtime):
    properties = {"Runtime": runtime, "Handler": "index.handler"}
    resources = {"one": {"Type": "HC::Serverless::Function", "Properties": properties}}
    code = zip_of({"one.yaml": yaml.safe_dump({"HcCrmTemplateVersion": "v1", "Resources": resources})})
    text = base64.b64encode(code).decode()
    return {"func_name": "one", "file_name": "one.zip", "file_type": "zip", "file_code": text}


def test_a_denied_runtime_comes_by_no_way(town):
    denied = deny("functiongraph:function:*", **when("StringLike", "functiongraph:Runtime", "Python3.10"))
    token = town.user("ann", [denied], groups=["developers"])
    templates = town.done("GET", "{f}/application/templates?runtime=Python3.10")["templates"]

    assert status(town, token, "POST", "{f}/functions", new_body("one", runtime="Python3.10")) == 403
    assert status(town, token, "POST", "{f}/functions/import", archive("Python3.10")) == 403
    assert status(town, token, "POST", "{f}/functions/import", archive("Python3.9")) == 200
    body = {"name": "shop", "template_id": templates[0]["id"]}
    assert status(town, token, "POST", "{f}/applications", body) == 403


# Who, and what no server knows


def test_a_name_is_asked_for_whoever_has_the_policy(town):
    town.function("one")
    statement = allow("functiongraph:function:getConfig", **when("StringEquals", "g:UserName", "ann"))
    ann, bob = (town.user(name, [statement]) for name in ("ann", "bob"))

    assert status(town, ann, "GET", "{f}/functions/one/config") == 200
    assert status(town, bob, "GET", "{f}/functions/one/config") == 403


@pytest.mark.parametrize(
    "key", ["g:MFAPresent", "g:ResourceTag", "g:ResourceTag/", "g:ResourceTag/" + "x" * 129, "functiongraph:Tag/a", ""]
)
def test_a_key_that_nothing_knows_is_refused_with_the_policy(town, key):
    document = {"Version": "1.1", "Statement": [deny(ALL, **when("StringEquals", key, "x"))]}
    answer = town.send("POST", "/v3.0/OS-ROLE/roles", {"role": {"display_name": "p", "policy": document}})

    assert answer.status == 400
    assert "is no key" in str(answer.json)


def test_the_case_of_a_key_does_not_count_but_that_of_a_tag_does(town):
    tagged(town, "one", team="red")
    same = town.user("ann", [allow(ALL, **when("StringEquals", "G:resourcetag/team", "red"))])
    other = town.user("bob", [allow(ALL, **when("StringEquals", "g:ResourceTag/Team", "red"))])

    assert status(town, same, "GET", "{f}/functions/one/config") == 200
    assert status(town, other, "GET", "{f}/functions/one/config") == 403
