"""States of projects: who sets them, what callers are told, and that they hold for whatever credentials there are."""

import pytest

from tests.api.test_projects import NAME, add_key, add_project, create
from tests.support.people import REGION, allow


def put(town, project_id, status, **how):
    """Ask for another state; `reason` goes into the body, the rest says how to send it."""
    reason = {"reason": how.pop("reason")} if "reason" in how else {}
    return town.send("PUT", f"/v3-ext/projects/{project_id}", {"project": {"status": status, **reason}}, **how)


def told(answer):
    """Return the code and the message of a refusal, in whichever shape."""
    error = answer.json.get("error", answer.json)
    return answer.json.get("error_code", ""), error.get("message", answer.json.get("error_msg", ""))


def scoped(town, project_id, token):
    """Return a token for a project."""
    identity = {"methods": ["token"], "token": {"id": token}}
    body = {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}
    return town.send("POST", "/v3/auth/tokens", body, token="").headers["X-Subject-Token"]


@pytest.fixture
def shop(town):
    """Return the id of another project than the first."""
    return add_project(town)


@pytest.mark.proves(
    "operation:UpdateProjectStatus", "operation:ShowProjectDetailsAndStatus", "operation:ListAuthProjects"
)
def test_a_state_is_set_and_shown(town, shop):
    assert put(town, shop, "suspended", reason="invoice 17").status == 204

    shown = town.done("GET", f"/v3-ext/projects/{shop}")["project"]
    assert (shown["name"], shown["status"], shown["status_reason"]) == (NAME, "suspended", "invoice 17")
    for path in ("/v3/projects", "/v3/auth/projects"):
        listed = {one["id"]: one["status"] for one in town.done("GET", path)["projects"]}
        assert listed == {town.project_id: "normal", shop: "suspended"}
    [trace] = town.traces("?operation=UpdateProjectStatus")
    assert (trace["outcome"], trace["action"]) == ("done", "iam:projects:updateProject")


@pytest.mark.proves("error:FSS.1125", "faq:FAQ-405")
@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        ("suspended", "", f"restricted, operation not allowed: project '{NAME}' is suspended: account in arrears"),
        ("suspended", "unpaid", f"restricted, operation not allowed: project '{NAME}' is suspended: unpaid"),
        ("readonly", "", f"restricted, operation not allowed: project '{NAME}' is read-only: set by the operator"),
        ("readonly", "audit", f"restricted, operation not allowed: project '{NAME}' is read-only: audit"),
    ],
)
def test_a_refusal_gives_the_reason(town, shop, status, reason, message):
    key = add_key(town)
    put(town, shop, status, reason=reason)

    answer = create(town, shop, key=key)

    assert (answer.status, answer.json["error_code"], answer.json["error_msg"]) == (403, "FSS.1125", message)
    assert town.done("GET", f"/v2/{shop}/fgs/functions", key=key)["count"] == 0
    traces = town.done("GET", f"/v2/{shop}/funclet/traces?outcome=denied", key=key)["traces"]
    assert [(one["operation"], one["error_code"]) for one in traces] == [("CreateFunction", "FSS.1125")]


def test_every_kind_of_credentials_heeds_it_at_once_and_so_does_its_end(town, shop):
    key, token = add_key(town), scoped(town, shop, town.owner)
    credential = town.send(
        "POST", "/v3.0/OS-CREDENTIAL/securitytokens", {"auth": {"identity": {"methods": ["token"]}}}, token=token
    ).json["credential"]
    temporary = (credential["access"], credential["secret"], credential["securitytoken"])
    callers = ({"key": key}, {"token": token}, {"key": temporary})
    assert {create(town, shop, f"a{n}", **how).status for n, how in enumerate(callers)} == {200}

    put(town, shop, "readonly")
    assert {create(town, shop, f"b{n}", **how).status for n, how in enumerate(callers)} == {403}
    assert {town.send("GET", f"/v2/{shop}/fgs/functions/a0/config", **how).status for how in callers} == {200}
    # Other projects of the same people go on as before.
    assert create(town, town.project_id, key=key).status == 200

    put(town, shop, "normal")
    assert {create(town, shop, f"c{n}", **how).status for n, how in enumerate(callers)} == {200}


def test_functions_run_in_a_read_only_project_but_not_in_a_suspended_one(town, shop):
    key = add_key(town)
    create(town, shop, key=key)
    path = f"/v2/{shop}/fgs/functions/foo"

    found = {}
    for status in ("readonly", "suspended"):
        put(town, shop, status)
        found[status] = [
            town.send("POST", f"{path}/{kind}", {}, key=key).status for kind in ("invocations", "invocations-async")
        ]

    assert found == {"readonly": [200, 202], "suspended": [403, 403]}
    assert (len(town.invoker.invocations), len(town.submitter.submissions)) == (1, 1)


def test_it_takes_an_action_that_security_administrators_have(town, shop):
    town.user("sec", [allow("iam:*:*")])
    town.user("dev", groups=["developers"])

    assert put(town, shop, "readonly", token=town.login("dev")).status == 403
    assert put(town, shop, "readonly", token=town.login("sec")).status == 204


def test_nobody_lifts_it_from_inside_or_from_another_project_but_the_first(town, shop):
    other = add_project(town, f"{REGION}_other")
    put(town, shop, "suspended")

    for inside in (shop, other):
        answer = put(town, shop, "normal", token=scoped(town, inside, town.owner))
        assert (answer.status, f"Only callers in '{REGION}'" in told(answer)[1]) == (403, True)

    assert create(town, shop, key=add_key(town)).status == 403


def test_the_first_project_can_be_suspended_and_activated_by_those_who_run_the_server(town):
    assert put(town, town.project_id, "suspended").status == 204

    assert create(town, town.project_id).status == 403
    assert town.send("POST", "/v3/projects", {"project": {"name": NAME}}).status == 403
    assert put(town, town.project_id, "normal").status == 204
    assert create(town, town.project_id).status == 200


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ({"status": "paused"}, "status 'paused' is invalid: one of normal, readonly, suspended"),
        ({"status": ""}, "status '' is invalid"),
        ({"status": "suspended", "reason": "x" * 256}, "at most 255 characters"),
        ({"status": "suspended", "reason": "two\nlines"}, "one line"),
        ({"status": 1}, "status"),
        ({}, "status"),
    ],
)
def test_a_state_that_is_none_changes_nothing(town, shop, project, message):
    answer = town.send("PUT", f"/v3-ext/projects/{shop}", {"project": project})

    assert (answer.status, message in told(answer)[1]) == (400, True), answer.json
    assert town.done("GET", f"/v3-ext/projects/{shop}")["project"]["status"] == "normal"


def test_the_longest_reason_is_kept(town, shop):
    assert put(town, shop, "readonly", reason="ü" * 255).status == 204
    assert town.done("GET", f"/v3-ext/projects/{shop}")["project"]["status_reason"] == "ü" * 255


def test_a_project_that_is_not_there_or_not_for_the_caller_is_not_found(town, shop):
    town.user("ann")

    assert put(town, "0" * 32, "suspended").status == 404
    assert town.send("GET", f"/v3-ext/projects/{'0' * 32}").status == 404
    assert town.send("GET", f"/v3-ext/projects/{shop}", token=town.login("ann")).status == 404


def test_an_empty_project_can_be_deleted_whatever_its_state(town, shop):
    put(town, shop, "suspended")

    town.done("DELETE", f"/v3/projects/{shop}")

    assert add_project(town) != shop
    assert {one["status"] for one in town.done("GET", "/v3/projects")["projects"]} == {"normal"}
