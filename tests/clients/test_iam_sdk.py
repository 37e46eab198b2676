"""Users, groups, keys, policies and agencies through the vendor's Python SDK for IAM, as administrators' scripts do."""

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2
from huaweicloudsdkiam import v3

from funclet.model.roles import FULL_ACCESS, READ_ONLY
from tests.support.server import AK, PROJECT_ID, SK

# Without python-dateutil, which the SDK does not install, its times stay text.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")
PASSWORD = "Right-horse-1"


class Iam:
    """Calls the operations of the SDK by their names, with plain bodies; its answers are the SDK's own classes."""

    def __init__(self, url, access=AK, secret=SK):
        # It looks up the domain by itself, as it does at the cloud.
        credentials = GlobalCredentials(access, secret).with_iam_endpoint(url)
        self.client = v3.IamClient.new_builder().with_credentials(credentials).with_endpoint(url).build()

    def __call__(self, operation, **members):
        kind = getattr(v3, "".join(word.capitalize() for word in operation.split("_")) + "Request")
        return getattr(self.client, operation)(kind(**members))

    def refused(self, operation, **members):
        """Return the status of a call that must fail."""
        with pytest.raises(ClientRequestException) as caught:
            self(operation, **members)
        return caught.value.status_code

    @property
    def domain_id(self):
        """The only domain."""
        return self("keystone_list_auth_domains").domains[0].id

    def close(self):
        """Close the connections."""
        self.client.get_http_client().close()


@pytest.fixture(scope="module")
def iam(server):
    made = Iam(server.api_url)
    yield made
    made.close()


@pytest.fixture
def ann(iam):
    """A user."""
    body = {"user": {"name": "ann", "domain_id": iam.domain_id, "password": PASSWORD, "email": "ann@example.com"}}
    user = iam("create_user", body=body).user
    yield user
    iam("keystone_delete_user", user_id=user.id)


@pytest.fixture
def team(iam):
    """A group."""
    group = iam("keystone_create_group", body={"group": {"name": "team", "description": "d"}}).group
    yield group
    iam("keystone_delete_group", group_id=group.id)


def functions_of(server, access, secret):
    """Return the client of somebody for functions."""
    credentials = BasicCredentials(access, secret, PROJECT_ID)
    return v2.FunctionGraphClient.new_builder().with_credentials(credentials).with_endpoint(server.api_url).build()


@pytest.mark.proves(
    "operation:CreateIamUser", "operation:ShowIamUser", "operation:UpdateIamUser", "operation:ListUsers",
    "operation:ShowUser", "operation:UpdateUser", "operation:DeleteUser", "operation:ListAuthDomains",
)  # fmt: skip
def test_a_user(iam, ann):
    assert (ann.name, ann.enabled, ann.domain_id) == ("ann", True, iam.domain_id)
    assert iam("show_user", user_id=ann.id).user.email == "ann@example.com"
    changed = iam("update_user", user_id=ann.id, body={"user": {"email": "a@example.com", "description": "new"}}).user
    assert (changed.email, changed.description) == ("a@example.com", "new")
    assert iam("keystone_update_user_by_admin", user_id=ann.id, body={"user": {"enabled": False}}).user.enabled is False
    assert iam("keystone_show_user", user_id=ann.id).user.enabled is False
    assert [user.id for user in iam("keystone_list_users", name="ann").users] == [ann.id]

    other = iam("keystone_create_user", body={"user": {"name": "bob", "password": PASSWORD}}).user
    assert {user.name for user in iam("keystone_list_users").users} >= {"admin", "ann", "bob"}
    iam("keystone_delete_user", user_id=other.id)
    assert iam.refused("keystone_show_user", user_id=other.id) == 404


@pytest.mark.proves(
    "operation:CreateGroup", "operation:ShowGroup", "operation:UpdateGroup", "operation:ListGroups",
    "operation:DeleteGroup", "operation:AddGroupMember", "operation:CheckGroupMember", "operation:RemoveGroupMember",
    "operation:ListGroupUsers", "operation:ListUserGroups",
)  # fmt: skip
def test_a_group_and_its_members(iam, ann, team):
    member = {"group_id": team.id, "user_id": ann.id}

    assert iam.refused("keystone_check_user_in_group", **member) == 404
    iam("keystone_add_user_to_group", **member)
    assert iam("keystone_check_user_in_group", **member).status_code == 204
    assert [user.name for user in iam("keystone_list_users_for_group_by_admin", group_id=team.id).users] == ["ann"]
    assert [group.name for group in iam("keystone_list_groups_for_user", user_id=ann.id).groups] == ["team"]
    iam("keystone_remove_user_from_group", **member)
    assert iam("keystone_list_users_for_group_by_admin", group_id=team.id).users == []

    assert iam("keystone_update_group", group_id=team.id, body={"group": {"description": "crew"}}).group.name == "team"
    assert iam("keystone_show_group", group_id=team.id).group.description == "crew"
    assert [group.id for group in iam("keystone_list_groups", name="team").groups] == [team.id]


@pytest.mark.proves(
    "operation:CreateAccessKey", "operation:ShowAccessKey", "operation:ListAccessKeys", "operation:UpdateAccessKey",
    "operation:DeleteAccessKey", "operation:GrantGroupRoleOnProject", "operation:RevokeGroupRoleOnProject",
    "operation:ListGroupRolesOnProject",
)  # fmt: skip
def test_an_access_key_opens_what_the_group_of_its_user_may(iam, server, ann, team):
    grant = {"project_id": PROJECT_ID, "group_id": team.id}
    iam("keystone_add_user_to_group", group_id=team.id, user_id=ann.id)
    iam("keystone_associate_group_with_project_permission", **grant, role_id=READ_ONLY.role_id)
    assert [role.id for role in iam("keystone_list_project_permissions_for_group", **grant).roles] == [
        READ_ONLY.role_id
    ]

    key = iam("create_permanent_access_key", body={"credential": {"user_id": ann.id, "description": "d"}}).credential
    hers = functions_of(server, key.access, key.secret)
    assert hers.list_functions(v2.ListFunctionsRequest()).functions is not None
    assert [one.access for one in iam("list_permanent_access_keys", user_id=ann.id).credentials] == [key.access]
    shown = iam("show_permanent_access_key", access_key=key.access).credential
    assert (shown.user_id, shown.status, shown.description) == (ann.id, "active", "d")

    iam("keystone_remove_project_permission_from_group", **grant, role_id=READ_ONLY.role_id)
    assert status_of_list(hers) == 403
    iam("update_permanent_access_key", access_key=key.access, body={"credential": {"status": "inactive"}})
    assert status_of_list(hers) == 401
    iam("delete_permanent_access_key", access_key=key.access)
    assert iam.refused("show_permanent_access_key", access_key=key.access) == 404
    hers.get_http_client().close()


@pytest.mark.proves("operation:ChangeOwnPassword", "operation:CreateToken")
def test_users_change_their_own_password(iam, server, ann):
    key = iam("create_permanent_access_key", body={"credential": {"user_id": ann.id}}).credential
    own = Iam(server.api_url, key.access, key.secret)
    new = {"original_password": PASSWORD, "password": "Other-horse-2"}

    own("keystone_update_user_password", user_id=ann.id, body={"user": new})

    assert login(iam, PASSWORD) == 401
    assert login(iam, "Other-horse-2") == 201
    own.close()


def login(iam, password):
    """Ask for a token with a password; return the status."""
    user = {"name": "ann", "password": password, "domain": {"name": "admin"}}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    try:
        return iam("keystone_create_user_token_by_password", body={"auth": auth}).status_code
    except ClientRequestException as refused:
        return refused.status_code


def status_of_list(client):
    """Return the status with which a list of functions is refused."""
    with pytest.raises(ClientRequestException) as caught:
        client.list_functions(v2.ListFunctionsRequest())
    return caught.value.status_code


@pytest.mark.proves(
    "operation:CreateCustomPolicy", "operation:ShowCustomPolicy", "operation:ListCustomPolicies",
    "operation:UpdateCustomPolicy", "operation:DeleteCustomPolicy", "operation:ListRoles", "operation:ShowRole",
    "operation:GrantGroupRoleOnDomain", "operation:ListGroupRolesOnDomain", "operation:RevokeGroupRoleOnDomain",
    "operation:GrantGroupRoleEverywhere", "operation:ListGroupRolesEverywhere",
    "operation:RevokeGroupRoleEverywhere",
)  # fmt: skip
def test_a_policy_and_where_it_is_granted(iam, team):
    document = {"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": ["functiongraph:function:list"]}]}
    role = {"display_name": "lists", "type": "AX", "description": "d", "policy": document}
    made = iam("create_cloud_service_custom_policy", body={"role": role}).role
    assert made.policy.statement[0].action == ["functiongraph:function:list"]
    assert iam("show_custom_policy", role_id=made.id).role.display_name == "lists"
    assert "lists" in [one.display_name for one in iam("list_custom_policies").roles]
    changed = {"role": role | {"description": "new"}}
    assert iam("update_cloud_service_custom_policy", role_id=made.id, body=changed).role.description == "new"
    assert iam("keystone_show_permission", role_id=made.id).role.display_name == "lists"
    system = iam("keystone_list_permissions", display_name=READ_ONLY.name).roles
    assert [one.id for one in system] == [READ_ONLY.role_id]

    place = {"domain_id": iam.domain_id, "group_id": team.id}
    iam("keystone_associate_group_with_domain_permission", **place, role_id=made.id)
    assert [one.id for one in iam("keystone_list_domain_permissions_for_group", **place).roles] == [made.id]
    iam("keystone_remove_domain_permission_from_group", **place, role_id=made.id)
    iam("update_domain_group_inherit_role", **place, role_id=made.id)
    assert [one.id for one in iam("keystone_list_all_project_permissions_for_group", **place).roles] == [made.id]
    assert iam.refused("delete_custom_policy", role_id=made.id) == 409
    iam("delete_domain_group_inherited_role", **place, role_id=made.id)

    iam("delete_custom_policy", role_id=made.id)
    assert iam.refused("show_custom_policy", role_id=made.id) == 404


@pytest.mark.proves(
    "operation:CreateAgency", "operation:ShowAgency", "operation:ListAgencies", "operation:UpdateAgency",
    "operation:DeleteAgency", "operation:GrantAgencyRoleOnProject", "operation:ListAgencyRolesOnProject",
    "operation:RevokeAgencyRoleOnProject", "operation:GrantAgencyRoleOnDomain", "operation:ListAgencyRolesOnDomain",
    "operation:RevokeAgencyRoleOnDomain",
)  # fmt: skip
def test_an_agency_and_its_permissions(iam):
    domain_id = iam.domain_id
    body = {"agency": {"name": "job", "domain_id": domain_id, "trust_domain_name": "op_svc_cff", "duration": "ONEDAY"}}
    made = iam("create_agency", body=body).agency
    assert (made.name, made.duration) == ("job", "ONEDAY")
    shown = iam("show_agency", agency_id=made.id).agency
    assert (shown.name, shown.trust_domain_name) == ("job", "op_svc_cff")
    assert [one.id for one in iam("list_agencies", domain_id=domain_id, name="job").agencies] == [made.id]
    changed = {"agency": {"trust_domain_name": "op_svc_cff", "description": "new"}}
    assert iam("update_agency", agency_id=made.id, body=changed).agency.description == "new"

    for kind, place in (("project", {"project_id": PROJECT_ID}), ("domain", {"domain_id": domain_id})):
        place["agency_id"] = made.id
        iam(f"associate_agency_with_{kind}_permission", **place, role_id=FULL_ACCESS.role_id)
        listed = iam(f"list_{kind}_permissions_for_agency", **place).roles
        assert [one.id for one in listed] == [FULL_ACCESS.role_id]
        iam(f"remove_{kind}_permission_from_agency", **place, role_id=FULL_ACCESS.role_id)
        assert iam(f"list_{kind}_permissions_for_agency", **place).roles == []

    iam("delete_agency", agency_id=made.id)
    assert iam.refused("show_agency", agency_id=made.id) == 404


@pytest.mark.proves(
    "operation:ListRegions",
    "operation:ListAuthProjects",
    "operation:ListAuthCatalog",
    "operation:ListProjects",
    "operation:ShowIdentityVersion",
    "operation:ShowProject",
)
def test_what_is_looked_up(iam, server):
    version = iam("keystone_show_version").version
    assert (version.id.startswith("v3"), version.status) == (True, "stable")
    assert version.links[0].href == f"{server.api_url}/v3/"
    assert [one.id for one in iam("keystone_list_regions").regions] == [server.region]
    assert PROJECT_ID in [one.id for one in iam("keystone_list_projects", name=server.region).projects]
    assert iam("keystone_show_project", project_id=PROJECT_ID).project.name == server.region
    assert iam.refused("keystone_show_project", project_id="0" * 32) == 404
    assert PROJECT_ID in [one.id for one in iam("keystone_list_auth_projects").projects]
    assert {one.type for one in iam("keystone_show_catalog").catalog} >= {"functiongraph", "iam"}


@pytest.mark.proves("operation:UpdateProjectStatus", "operation:ShowProjectDetailsAndStatus", "faq:FAQ-405")
def test_the_status_of_a_project(server, iam):
    made = server.client.call("POST", "/v3/projects", body=b'{"project": {"name": "test-1_frozen"}}').json()["project"]

    def status():
        return iam("show_project_details_and_status", project_id=made["id"]).project.status

    seen = [status()]
    for wanted in ("suspended", "normal"):
        iam("update_project_status", project_id=made["id"], body={"project": {"status": wanted}})
        seen.append(status())

    assert seen == ["normal", "suspended", "normal"]
    assert iam.refused("update_project_status", project_id=made["id"], body={"project": {"status": "frozen"}}) == 400
    assert iam.refused("show_project_details_and_status", project_id="0" * 32) == 404
    server.client.call("DELETE", f"/v3/projects/{made['id']}")
