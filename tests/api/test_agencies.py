"""Agencies: what acts for a function, and for users who assume it."""

import pytest

from funclet.model.roles import FULL_ACCESS

AGENCIES = "/v3.0/OS-AGENCY/agencies"


def domain(town):
    return town.done("GET", "/v3/auth/domains")["domains"][0]["id"]


@pytest.mark.proves(
    "operation:CreateAgency",
    "operation:ShowAgency",
    "operation:ListAgencies",
    "operation:UpdateAgency",
    "operation:DeleteAgency",
)
def test_the_life_of_an_agency(town):
    body = {"agency": {"name": "job", "domain_id": domain(town), "trust_domain_name": "op_svc_cff",
                       "duration": "ONEDAY", "description": "d"}}  # fmt: skip
    made = town.send("POST", AGENCIES, body)
    agency = made.json["agency"]
    path = f"{AGENCIES}/{agency['id']}"

    assert made.status == 201
    assert (agency["duration"], agency["expire_time"]) == ("ONEDAY", "2023-11-15T22:13:20Z")
    assert town.done("PUT", path, {"agency": {"duration": 3}})["agency"]["expire_time"] == "2023-11-17T22:13:20Z"
    assert town.done("GET", f"{AGENCIES}?name=job&domain_id={domain(town)}")["agencies"][0]["duration"] == "3"
    shown = town.done("GET", path)["agency"]
    assert shown == agency | {"duration": "3", "expire_time": "2023-11-17T22:13:20Z"}
    assert town.send("DELETE", path).status == 204
    assert town.send("GET", path).status == 404


@pytest.mark.parametrize("on", ["projects/{p}", "domains/{d}"])
@pytest.mark.proves(
    "operation:GrantAgencyRoleOnProject", "operation:ListAgencyRolesOnProject", "operation:RevokeAgencyRoleOnProject",
    "operation:GrantAgencyRoleOnDomain", "operation:ListAgencyRolesOnDomain", "operation:RevokeAgencyRoleOnDomain",
)  # fmt: skip
def test_what_an_agency_may_is_granted_listed_and_revoked(town, on):
    """A function acts as its agency, so what that may do shows in the token of the function."""
    body = {"agency": {"name": "job", "domain_id": domain(town), "trust_domain_name": "op_svc_cff"}}
    agency = town.done("POST", AGENCIES, body)["agency"]["id"]
    place = on.format(p=town.project_id, d=domain(town))
    roles = f"/v3.0/OS-AGENCY/{place}/agencies/{agency}/roles"
    elsewhere = roles.replace(place, {"projects/{p}": f"domains/{domain(town)}"}.get(on, f"projects/{town.project_id}"))

    def may_list():
        """Ask what the agency is allowed to do."""
        question = {"user": "", "agency": "job", "action": "functiongraph:function:list"}
        return town.done("POST", f"/v2/{town.project_id}/funclet/policies/simulate", question)["is_allowed"]

    assert not may_list()
    assert town.send("PUT", f"{roles}/{FULL_ACCESS.role_id}").status == 204
    assert [role["id"] for role in town.done("GET", roles)["roles"]] == [FULL_ACCESS.role_id]
    assert town.done("GET", elsewhere)["roles"] == []
    assert may_list()
    assert town.send("DELETE", f"{roles}/{FULL_ACCESS.role_id}").status == 204
    assert town.send("DELETE", f"{roles}/{FULL_ACCESS.role_id}").status == 404
    assert town.done("GET", roles)["roles"] == []
    assert not may_list()


@pytest.mark.parametrize(
    ("agency", "status"),
    [
        ({"name": ""}, 400),
        ({"name": "a b"}, 400),
        ({"name": "a" * 65}, 400),
        ({"name": "a", "duration": "LONG"}, 400),
        ({"name": "a", "duration": 0}, 400),
        ({"name": "a", "duration": "36501"}, 400),
        ({"name": "a", "trust_domain_name": ""}, 400),
        ({"name": "a", "domain_id": "0" * 32}, 403),
    ],
)
def test_a_wrong_agency_is_refused(town, agency, status):
    assert town.send("POST", AGENCIES, {"agency": agency}).status == status
    assert len(town.done("GET", AGENCIES)["agencies"]) == 2


@pytest.mark.proves("operation:ListServiceTrustedAgencies")
def test_functions_may_name_the_agencies_that_trust_them_and_have_not_ended(town):
    for agency in ({"name": "short", "duration": "ONEDAY"}, {"name": "people", "trust_domain_name": "admin"}):
        town.done("POST", AGENCIES, {"agency": agency})

    before = town.done("GET", "{f}/service-trusted-agencies")
    town.clock.advance(24 * 3600)
    town.owner = town.login("admin")
    after = town.done("GET", "{f}/service-trusted-agencies")

    assert before == [
        {"name": "serverless-readonly", "expire_time": ""},
        {"name": "serverless-trust", "expire_time": ""},
        {"name": "short", "expire_time": "2023-11-15T22:13:20Z"},
    ]
    assert [row["name"] for row in after] == ["serverless-readonly", "serverless-trust"]
