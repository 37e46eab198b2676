"""The rows of custom authorizers, apps and grants: a part of the table in `operations`.

Paths and shapes are those of the cloud's gateway service.
"""

from functools import partial

from funclet.api.call import Operation, addition
from funclet.api.wire import gateway_access as access

MAX_BODY_BYTES = 64 * 1024
_APIG = "apigw/instances/{instance_id}"


_row = partial(addition, max_body_bytes=MAX_BODY_BYTES)

GATEWAY_OPERATIONS: tuple[Operation, ...] = (
    _row("CreateCustomAuthorizer", "POST", f"{_APIG}/authorizers", access.create_authorizer),
    _row("ListCustomAuthorizers", "GET", f"{_APIG}/authorizers", access.list_authorizers),
    _row("ShowCustomAuthorizer", "GET", f"{_APIG}/authorizers/{{authorizer_id}}", access.show_authorizer),
    _row("UpdateCustomAuthorizer", "PUT", f"{_APIG}/authorizers/{{authorizer_id}}", access.update_authorizer),
    _row("DeleteCustomAuthorizer", "DELETE", f"{_APIG}/authorizers/{{authorizer_id}}", access.delete_authorizer),
    _row("CreateApp", "POST", f"{_APIG}/apps", access.create_app),
    _row("ListApps", "GET", f"{_APIG}/apps", access.list_apps),
    _row("ShowApp", "GET", f"{_APIG}/apps/{{app_id}}", access.show_app),
    _row("DeleteApp", "DELETE", f"{_APIG}/apps/{{app_id}}", access.delete_app),
    _row("CreateAppCode", "POST", f"{_APIG}/apps/{{app_id}}/app-codes", access.create_app_code),
    _row("ListAppCodes", "GET", f"{_APIG}/apps/{{app_id}}/app-codes", access.list_app_codes),
    _row("DeleteAppCode", "DELETE", f"{_APIG}/apps/{{app_id}}/app-codes/{{code_id}}", access.delete_app_code),
    _row("CreateAppGrants", "POST", f"{_APIG}/app-auths", access.create_grants),
    _row("ListAppGrants", "GET", f"{_APIG}/app-auths/binded-apis", access.list_grants),
    _row("DeleteAppGrant", "DELETE", f"{_APIG}/app-auths/{{grant_id}}", access.delete_grant),
)
