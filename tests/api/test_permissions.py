"""What users may do: groups, policies and their conditions through the whole pipeline."""

import pytest

from tests.support.api import new_body
from tests.support.people import PASSWORD, Town, allow, deny


def refused(answer, action, *, on=""):
    body = answer.json
    message = body["error_msg"] if "error_msg" in body else body["error"]["message"]
    assert answer.status == 403, body
    assert f"not authorized to perform {action}{' on ' if on else ''}{on}" in message, message


@pytest.mark.proves("faq:FAQ-211", "error:FSS.0403")
def test_a_new_user_may_do_nothing_until_a_group_is_joined(town):
    token = town.user("ann")
    refused(town.send("GET", "{f}/functions", token=token), "functiongraph:function:list")

    town.join(town.user_id("ann"), "viewers")

    assert town.send("GET", "{f}/functions", token=token).status == 200


def test_the_refusal_names_the_missing_action_and_the_function(town):
    town.function("foo")
    token = town.user("ann", groups=["viewers"])

    answer = town.send("PUT", "{f}/functions/foo/code", {}, token=token)

    domain = town.done("GET", "/v3/auth/domains")["domains"][0]["id"]
    refused(answer, "functiongraph:function:updateCode", on=f"FUNCTIONGRAPH:test-1:{domain}:function:default/foo")


def test_an_operation_that_is_not_built_is_refused_first(town):
    token = town.user("ann", groups=["viewers"])

    refused(town.send("POST", "{f}/workflows", {}, token=token), "functiongraph:workflow:create")
    assert town.send("POST", "{f}/workflows", {}).status == 501


def test_a_policy_on_one_function_opens_no_other(town):
    for name in ("dev-one", "prod-one"):
        town.function(name)
    mine = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/dev-*"]}
    token = town.user("ann", [allow("functiongraph:*:*", **mine)])

    for urn in ("dev-one", "default:dev-one", f"urn:fss:test-1:{town.project_id}:function:default:dev-one:latest"):
        assert town.send("GET", f"{{f}}/functions/{urn}/config", token=token).status == 200
    for urn in ("prod-one", "default:prod-one", f"urn:fss:test-1:{town.project_id}:function:default:prod-one"):
        refused(town.send("GET", f"{{f}}/functions/{urn}/config", token=token), "functiongraph:function:getConfig")


def test_a_new_function_is_judged_by_the_name_in_the_body(town):
    mine = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/dev-*"]}
    token = town.user("ann", [allow("functiongraph:*:*", **mine)])

    assert town.send("POST", "{f}/functions", new_body("dev-x"), token=token).status == 200
    refused(town.send("POST", "{f}/functions", new_body("prod-x"), token=token), "functiongraph:function:create")
    refused(
        town.send("POST", "{f}/functions", new_body("dev-x", package="other"), token=token),
        "functiongraph:function:create",
    )
    refused(town.send("POST", "{f}/functions", {"func_name": 1}, token=token), "functiongraph:function:create")


def test_a_deny_holds_against_full_access(town):
    for name in ("dev", "prod"):
        town.function(name)
    protected = deny("functiongraph:*:*", Resource=["FUNCTIONGRAPH:*:*:function:default/prod"])
    token = town.user("ann", [protected], groups=["developers"])

    assert town.send("DELETE", "{f}/functions/dev", token=token).status == 204
    refused(town.send("DELETE", "{f}/functions/prod", token=token), "functiongraph:function:delete")


def test_a_list_shows_only_functions_whose_configuration_may_be_read(town):
    for name in ("dev-a", "dev-b", "prod-a"):
        town.function(name)
    mine = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/dev-*"]}
    token = town.user("ann", [allow("functiongraph:function:list"), allow("functiongraph:function:getConfig", **mine)])

    found = town.done("GET", "{f}/functions", token=token)
    second = town.done("GET", "{f}/functions?marker=1&maxitems=1", token=token)

    assert ({row["func_name"] for row in found["functions"]}, found["count"]) == ({"dev-a", "dev-b"}, 2)
    assert (len(second["functions"]), second["count"]) == (1, 2)
    assert town.done("GET", "{f}/functions")["count"] == 3


def test_only_new_functions_with_an_allowed_runtime(town):
    condition = {"StringLike": {"functiongraph:Runtime": ["Python3.*"]}}
    token = town.user("ann", [allow("functiongraph:function:create", Condition=condition)])

    assert town.send("POST", "{f}/functions", new_body("one"), token=token).status == 200
    answer = town.send("POST", "{f}/functions", new_body("two", runtime="Node.js18.15"), token=token)
    refused(answer, "functiongraph:function:create")


def test_where_from_and_when_are_asked_at_each_request(town):
    condition = {
        "IpAddress": {"g:SourceIp": ["10.0.0.0/8"]},
        "DateLessThan": {"g:CurrentTime": ["2023-11-14T23:00:00Z"]},
    }
    token = town.user("ann", [allow("functiongraph:function:list", Condition=condition)])

    assert town.send("GET", "{f}/functions", token=token, peer="10.9.9.9").status == 200
    refused(town.send("GET", "{f}/functions", token=token, peer="11.0.0.1"), "functiongraph:function:list")
    town.clock.advance(3600)
    refused(town.send("GET", "{f}/functions", token=token, peer="10.9.9.9"), "functiongraph:function:list")


def test_invoking_is_allowed_function_by_function(town):
    for name in ("mine", "theirs"):
        town.function(name)
    only = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/mine"]}
    token = town.user("ann", [allow("functiongraph:function:invoke*", **only)])

    for path in ("invocations", "invocations-async"):
        assert town.send("POST", f"{{f}}/functions/mine/{path}", {}, token=token).status in (200, 202)
        assert town.send("POST", f"{{f}}/functions/theirs/{path}", {}, token=token).status == 403
    assert len(town.invoker.invocations) == 1


def test_a_change_holds_at_once_for_requests_that_were_allowed_a_moment_ago(town):
    town.function("foo")
    token = town.user("ann", groups=["operators"])
    invoke = ("POST", "{f}/functions/foo/invocations", {})
    assert town.send(*invoke, token=token).status == 200

    town.done("DELETE", f"/v3/groups/{town.group_id('operators')}/users/{town.user_id('ann')}")

    assert town.send(*invoke, token=token).status == 403


def test_without_word_of_a_change_it_holds_within_five_seconds(tmp_path, registry):
    town = Town(tmp_path, registry, forgets=False)
    token = town.user("ann", groups=["viewers"])
    assert town.send("GET", "{f}/functions", token=token).status == 200

    town.done("DELETE", f"/v3/groups/{town.group_id('viewers')}/users/{town.user_id('ann')}")
    town.clock.advance(5)

    assert town.send("GET", "{f}/functions", token=token).status == 403
    town.close()


def test_a_permission_in_one_project_is_none_in_another(town):
    token = town.user("ann", [allow("functiongraph:function:list")])
    other = f"{'0' * 31}1"
    project = town.read(lambda tx: tx.identities.projects())[0]
    added = type(project)(project_id=other, name="second", domain_id=project.domain_id, domain_name=project.domain_name)
    town.run(town.store.write(lambda tx: tx.identities.add_project(added)))
    identity = {"methods": ["token"], "token": {"id": token}}
    scope = {"project": {"name": "second"}}
    there = town.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, token="")

    answer = town.send("GET", f"/v2/{other}/fgs/functions", token=there.headers["X-Subject-Token"])

    refused(answer, "functiongraph:function:list")
    assert town.send("GET", "{f}/functions", token=token).status == 200


def test_giving_a_function_an_agency_needs_the_permission_to_pass_it(town):
    token = town.user("ann", [allow("functiongraph:function:*")])
    may_pass = allow("iam:agencies:pass", Resource=["IAM:*:*:agencies:serverless-readonly"])
    other = town.user("bob", [allow("functiongraph:function:*"), may_pass])

    refused(
        town.send("POST", "{f}/functions", new_body("one", xrole="serverless-trust"), token=token), "iam:agencies:pass"
    )
    refused(
        town.send("POST", "{f}/functions", new_body("one", app_xrole="serverless-trust"), token=other),
        "iam:agencies:pass",
    )
    assert town.send("POST", "{f}/functions", new_body("one", xrole="serverless-readonly"), token=other).status == 200
    change = {"func_name": "one", "xrole": "serverless-trust"}
    refused(town.send("PUT", "{f}/functions/one/config", change, token=token), "iam:agencies:pass")


def test_a_disabled_user_has_neither_token_nor_key_nor_login(town):
    town.user("ann", groups=["viewers"])
    token, key = town.login("ann"), town.key("ann")
    assert town.send("GET", "{f}/functions", key=key).status == 200

    town.done("PATCH", f"/v3/users/{town.user_id('ann')}", {"user": {"enabled": False}})

    assert town.send("GET", "{f}/functions", token=token).status == 401
    assert town.send("GET", "{f}/functions", key=key).status == 401
    assert town.try_login("ann", PASSWORD).status == 401


def test_tokens_do_not_come_back_with_the_user(town):
    token = town.user("ann", groups=["viewers"])
    path = f"/v3/users/{town.user_id('ann')}"

    town.done("PATCH", path, {"user": {"enabled": False}})
    town.done("PATCH", path, {"user": {"enabled": True}})

    assert town.send("GET", "{f}/functions", token=token).status == 401
    assert town.send("GET", "{f}/functions", token=town.login("ann")).status == 200


def test_a_policy_that_cannot_be_read_denies_everything(town):
    """It may have held a Deny; so a stored policy that a later server does not understand must not open anything."""
    token = town.user("ann", [allow("functiongraph:function:list")], groups=["viewers"])

    def spoil(tx):
        from dataclasses import replace

        from funclet.model.identity import CustomPolicy

        policy = tx.iam.list(CustomPolicy, tx.identities.projects()[0].domain_id)[0]
        tx.iam.update(replace(policy, document={"Version": "9"}))

    town.run(town.store.write(spoil))
    town.authenticator.forget()

    assert town.send("GET", "{f}/functions", token=token).status == 403
