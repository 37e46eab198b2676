"""Several projects of one domain: made, used with the credentials of one user, and deleted when they are empty."""

import pytest

from tests.support.api import new_body
from tests.support.people import REGION, allow

NAME = f"{REGION}_shop"


def add_project(town, name=NAME):
    return town.done("POST", "/v3/projects", {"project": {"name": name}})["project"]["id"]


def add_key(town):
    """Return an access key of the owner."""
    return town.key("admin")


def create(town, project_id, name="foo", **how):
    return town.send("POST", f"/v2/{project_id}/fgs/functions", new_body(name), **how)


def names(town, **how):
    return [project["name"] for project in town.done("GET", "/v3/projects", **how)["projects"]]


@pytest.mark.proves("operation:CreateProject", "operation:ListProjects")
def test_a_project_is_made_and_listed(town):
    made = town.done("POST", "/v3/projects", {"project": {"name": NAME, "description": "ignored"}})["project"]

    assert (made["name"], len(made["id"])) == (NAME, 32)
    assert names(town) == [REGION, NAME]
    assert town.traces("?operation=CreateProject")[0]["outcome"] == "done"


@pytest.mark.parametrize(
    "name", ["cn-north-4", REGION, f"{REGION}_", f"{REGION}_a b", f"{REGION}_" + "x" * 33, "x_y", ""]
)
def test_a_project_of_another_name_is_refused(town, name):
    """An SDK that is pointed at another region asks for a project with that name, and must not get one."""
    answer = town.send("POST", "/v3/projects", {"project": {"name": name}})

    assert (answer.status, "cannot be created here" in answer.json["error"]["message"]) == (403, True)
    assert names(town) == [REGION]


def test_a_name_is_taken_once(town):
    add_project(town)

    for name in (NAME, f"{REGION}_SHOP"):
        assert town.send("POST", "/v3/projects", {"project": {"name": name}}).status == 409


def test_one_access_key_works_in_every_project_of_its_user(town):
    project_id, key = add_project(town), add_key(town)

    assert create(town, project_id, key=key).status == 200
    assert create(town, town.project_id, key=key).status == 200

    assert town.done("GET", f"/v2/{project_id}/fgs/functions", key=key)["count"] == 1
    assert town.send("GET", f"/v2/{'0' * 32}/fgs/functions", key=key).status == 403


def test_a_token_is_of_one_project(town):
    project_id = add_project(town)
    identity = {"methods": ["token"], "token": {"id": town.owner}}
    scope = {"project": {"name": NAME}}
    there = town.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, token="")
    token = there.headers["X-Subject-Token"]

    assert create(town, project_id, token=token).status == 200
    assert create(town, town.project_id, token=token).status == 403


def test_a_user_has_in_a_project_what_was_granted_there_and_sees_no_other(town):
    project_id = add_project(town)
    town.user("ann", [allow("functiongraph:function:list")])
    town.user("bob")
    group = town.done("POST", "/v3/groups", {"group": {"name": "shop"}})["group"]["id"]
    town.join(town.user_id("bob"), "shop")
    role = town.policy("shop", allow("functiongraph:*:*"))["id"]
    town.done("PUT", f"/v3/projects/{project_id}/groups/{group}/roles/{role}")
    ann, bob = town.key("ann"), town.key("bob")

    assert town.send("GET", f"/v2/{project_id}/fgs/functions", key=ann).status == 403
    assert town.send("GET", f"/v2/{project_id}/fgs/functions", key=bob).status == 200
    assert town.send("GET", "{f}/functions", key=bob).status == 403
    assert (names(town, key=ann), names(town, key=bob)) == ([REGION], [NAME])
    assert [one["name"] for one in town.done("GET", "/v3/auth/projects", key=bob)["projects"]] == [NAME]


@pytest.mark.parametrize("header", [{}, {"X_Project_Id": "there"}])
def test_everything_in_one_project_is_nothing_of_the_account(town, header):
    """Whoever could make users there or grant roles would be at home in every project."""
    project_id = add_project(town)
    town.user("bob")
    group = town.done("POST", "/v3/groups", {"group": {"name": "shop"}})["group"]["id"]
    town.join(town.user_id("bob"), "shop")
    role = town.policy("all", allow("*"))["id"]
    town.done("PUT", f"/v3/projects/{project_id}/groups/{group}/roles/{role}")
    identity = {"methods": ["token"], "token": {"id": town.login("bob")}}
    scope = {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}
    token = town.send("POST", "/v3/auth/tokens", scope, token="").headers["X-Subject-Token"]
    assert create(town, project_id, token=token).status == 200

    for method, target, body in (
        ("POST", "/v3/users", {"user": {"name": "eve"}}),
        ("PUT", f"/v3/projects/{town.project_id}/groups/{group}/roles/{role}", None),
        ("POST", "/v3.0/OS-CREDENTIAL/credentials", {"credential": {"user_id": town.user_id("admin")}}),
        ("POST", "/v3/projects", {"project": {"name": f"{REGION}_more"}}),
        ("DELETE", f"/v3/projects/{project_id}", None),
        ("POST", f"/v2/{project_id}/funclet/secret-key/rotate", {}),
    ):
        assert town.send(method, target, body, token=token, **header).status == 403, target


@pytest.mark.proves("operation:DeleteProject")
def test_a_project_is_deleted_when_it_is_empty(town):
    project_id, key = add_project(town), add_key(town)
    create(town, project_id, key=key)

    refused = town.send("DELETE", f"/v3/projects/{project_id}")
    town.done("DELETE", f"/v2/{project_id}/fgs/functions/foo", key=key)
    town.done("DELETE", f"/v3/projects/{project_id}")

    assert refused.status == 409
    assert "it has 1 functions" in refused.json["error"]["message"]
    assert names(town) == [REGION]
    assert town.send("GET", f"/v2/{project_id}/fgs/functions", key=key).status == 403


def test_what_belonged_to_a_deleted_project_opens_nothing(town):
    project_id = add_project(town)
    identity = {"methods": ["token"], "token": {"id": town.owner}}
    scope = {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}
    token = town.send("POST", "/v3/auth/tokens", scope, token="").headers["X-Subject-Token"]
    made = town.done("POST", "/v3.0/OS-CREDENTIAL/credentials", {"credential": {}}, token=token)["credential"]
    key = (made["access"], made["secret"], "")

    town.done("DELETE", f"/v3/projects/{project_id}")

    assert town.send("GET", "/v3/auth/domains", token=token).status == 401
    assert town.send("GET", "{f}/functions", key=key).status == 200


def test_projects_that_cannot_be_deleted(town):
    project_id = add_project(town)
    identity = {"methods": ["token"], "token": {"id": town.owner}}
    scope = {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}
    inside = town.send("POST", "/v3/auth/tokens", scope, token="").headers["X-Subject-Token"]

    assert town.send("DELETE", f"/v3/projects/{town.project_id}").status == 409
    assert town.send("DELETE", f"/v3/projects/{project_id}", token=inside).status == 409
    assert town.send("DELETE", f"/v3/projects/{'0' * 32}").status == 404
    assert names(town) == [REGION, NAME]
