"""The rows of users, groups, keys, policies, agencies and the audit log: a part of the table in `operations`.

Paths and shapes are those of the cloud's identity service, so that its clients work.
"""

from functools import partial

from funclet.api.call import Operation, addition
from funclet.api.wire import agencies, audit, federation, iam, identity, policies

MAX_BODY_BYTES = 64 * 1024
_USER, _GROUP, _ROLE, _AGENCY = "/v3/users/{user_id}", "/v3/groups/{group_id}", "{role_id}", "{agency_id}"
_PROJECT_STATUS = "/v3-ext/projects/{scope_project_id}"
_CREDENTIALS = "/v3.0/OS-CREDENTIAL/credentials"
_AGENCIES = "/v3.0/OS-AGENCY"
_ON_PROJECT = "/v3/projects/{scope_project_id}/groups/{group_id}/roles"
_ON_DOMAIN = "/v3/domains/{scope_domain_id}/groups/{group_id}/roles"
_EVERYWHERE = "/v3/OS-INHERIT/domains/{scope_domain_id}/groups/{group_id}/roles"
_INHERITED = "/inherited_to_projects"
_AGENCY_ON_PROJECT = _AGENCIES + "/projects/{scope_project_id}/agencies/{agency_id}/roles"
_AGENCY_ON_DOMAIN = _AGENCIES + "/domains/{scope_domain_id}/agencies/{agency_id}/roles"


_row = partial(addition, max_body_bytes=MAX_BODY_BYTES)

IAM_OPERATIONS: tuple[Operation, ...] = (
    _row("ListAuthProjects", "GET", "/v3/auth/projects", identity.list_auth_projects),
    _row("ShowProject", "GET", "/v3/projects/{scope_project_id}", identity.show_project),
    _row("DeleteProject", "DELETE", "/v3/projects/{scope_project_id}", identity.delete_project),
    _row("ShowProjectDetailsAndStatus", "GET", _PROJECT_STATUS, identity.show_project),
    _row("UpdateProjectStatus", "PUT", _PROJECT_STATUS, identity.update_project_status),
    _row("ListAuthCatalog", "GET", "/v3/auth/catalog", identity.list_auth_catalog),
    _row("ListEnterpriseProjects", "GET", "/v1.0/enterprise-projects", identity.list_enterprise_projects),
    _row(
        "CreateTokenWithIdToken",
        "POST",
        "/v3.0/OS-AUTH/id-token/tokens",
        federation.create_token_with_id_token,
        is_public=True,
    ),
    _row("CreateUser", "POST", "/v3/users", iam.create_user),
    _row("CreateIamUser", "POST", "/v3.0/OS-USER/users", iam.create_user),
    _row("ShowUser", "GET", _USER, iam.show_user),
    _row("ShowIamUser", "GET", "/v3.0/OS-USER/users/{user_id}", iam.show_user),
    _row("UpdateUser", "PATCH", _USER, iam.update_user),
    _row("UpdateIamUser", "PUT", "/v3.0/OS-USER/users/{user_id}", iam.update_user),
    _row("ChangeOwnPassword", "POST", _USER + "/password", iam.change_own_password),
    _row("DeleteUser", "DELETE", _USER, iam.delete_user),
    _row("ListUserGroups", "GET", _USER + "/groups", iam.list_user_groups),
    _row("CreateGroup", "POST", "/v3/groups", iam.create_group),
    _row("ListGroups", "GET", "/v3/groups", iam.list_groups),
    _row("ShowGroup", "GET", _GROUP, iam.show_group),
    _row("UpdateGroup", "PATCH", _GROUP, iam.update_group),
    _row("DeleteGroup", "DELETE", _GROUP, iam.delete_group),
    _row("ListGroupUsers", "GET", _GROUP + "/users", iam.list_group_users),
    _row("CheckGroupMember", "HEAD", _GROUP + "/users/{user_id}", iam.check_group_member),
    _row("AddGroupMember", "PUT", _GROUP + "/users/{user_id}", iam.add_group_member),
    _row("RemoveGroupMember", "DELETE", _GROUP + "/users/{user_id}", iam.remove_group_member),
    _row("CreateAccessKey", "POST", _CREDENTIALS, iam.create_access_key),
    _row("ListAccessKeys", "GET", _CREDENTIALS, iam.list_access_keys),
    _row("ShowAccessKey", "GET", _CREDENTIALS + "/{access_key}", iam.show_access_key),
    _row("UpdateAccessKey", "PUT", _CREDENTIALS + "/{access_key}", iam.update_access_key),
    _row("DeleteAccessKey", "DELETE", _CREDENTIALS + "/{access_key}", iam.delete_access_key),
    _row("ListRoles", "GET", "/v3/roles", policies.list_roles),
    _row("ShowRole", "GET", "/v3/roles/{role_id}", policies.show_role),
    _row("CreateCustomPolicy", "POST", "/v3.0/OS-ROLE/roles", policies.create_custom_policy),
    _row("ListCustomPolicies", "GET", "/v3.0/OS-ROLE/roles", policies.list_custom_policies),
    _row("ShowCustomPolicy", "GET", "/v3.0/OS-ROLE/roles/{role_id}", policies.show_custom_policy),
    _row("UpdateCustomPolicy", "PATCH", "/v3.0/OS-ROLE/roles/{role_id}", policies.update_custom_policy),
    _row("DeleteCustomPolicy", "DELETE", "/v3.0/OS-ROLE/roles/{role_id}", policies.delete_custom_policy),
    _row("SimulatePolicy", "POST", "/v2/{project_id}/funclet/policies/simulate", policies.simulate_policy),
    _row("ListGroupRolesOnProject", "GET", _ON_PROJECT, policies.list_grants),
    _row("GrantGroupRoleOnProject", "PUT", f"{_ON_PROJECT}/{_ROLE}", policies.grant),
    _row("RevokeGroupRoleOnProject", "DELETE", f"{_ON_PROJECT}/{_ROLE}", policies.revoke),
    _row("ListGroupRolesOnDomain", "GET", _ON_DOMAIN, policies.list_grants),
    _row("GrantGroupRoleOnDomain", "PUT", f"{_ON_DOMAIN}/{_ROLE}", policies.grant),
    _row("RevokeGroupRoleOnDomain", "DELETE", f"{_ON_DOMAIN}/{_ROLE}", policies.revoke),
    _row("ListGroupRolesEverywhere", "GET", _EVERYWHERE + _INHERITED, policies.list_grants),
    _row("GrantGroupRoleEverywhere", "PUT", f"{_EVERYWHERE}/{_ROLE}{_INHERITED}", policies.grant),
    _row("RevokeGroupRoleEverywhere", "DELETE", f"{_EVERYWHERE}/{_ROLE}{_INHERITED}", policies.revoke),
    _row("CreateAgency", "POST", _AGENCIES + "/agencies", agencies.create_agency),
    _row("ListAgencies", "GET", _AGENCIES + "/agencies", agencies.list_agencies),
    _row("ShowAgency", "GET", f"{_AGENCIES}/agencies/{_AGENCY}", agencies.show_agency),
    _row("UpdateAgency", "PUT", f"{_AGENCIES}/agencies/{_AGENCY}", agencies.update_agency),
    _row("DeleteAgency", "DELETE", f"{_AGENCIES}/agencies/{_AGENCY}", agencies.delete_agency),
    _row("ListAgencyRolesOnProject", "GET", _AGENCY_ON_PROJECT, policies.list_grants),
    _row("GrantAgencyRoleOnProject", "PUT", f"{_AGENCY_ON_PROJECT}/{_ROLE}", policies.grant),
    _row("RevokeAgencyRoleOnProject", "DELETE", f"{_AGENCY_ON_PROJECT}/{_ROLE}", policies.revoke),
    _row("ListAgencyRolesOnDomain", "GET", _AGENCY_ON_DOMAIN, policies.list_grants),
    _row("GrantAgencyRoleOnDomain", "PUT", f"{_AGENCY_ON_DOMAIN}/{_ROLE}", policies.grant),
    _row("RevokeAgencyRoleOnDomain", "DELETE", f"{_AGENCY_ON_DOMAIN}/{_ROLE}", policies.revoke),
    _row("ListTraces", "GET", "/v2/{project_id}/funclet/traces", audit.list_traces),
)
"""They go behind those of the function API."""
