"""The action of every operation: what a caller must be allowed to do. Start with `ACTIONS`.

An operation of the table in `operations` stands here under one action, or in `FREE` with the reason why it needs
none. One that stands in neither is for the owner of the account alone, and fails a test.
"""

from collections.abc import Mapping, Sequence

from funclet.model.project_state import Effect

_F = "functiongraph:function:"
_T = "functiongraph:trigger:"
_D = "functiongraph:dependency:"
_W = "functiongraph:workflow:"
_USERS, _GROUPS, _KEYS = "iam:users:", "iam:groups:", "iam:credentials:"
_ROLES, _GRANTS, _AGENCIES, _PROJECTS = "iam:roles:", "iam:permissions:", "iam:agencies:", "iam:projects:"

# Action -> operations. Of the first block the cloud documents names and operations; it names most of the others
# in its newer documents, and the rest is ours.
_BY_ACTION: Mapping[str, str] = {
    _F + "list": "ListFunctions",
    _F + "getConfig": "ShowFunctionConfig",
    _F + "getCode": "ShowFunctionCode",
    _F + "create": "CreateFunction",
    _F + "delete": "DeleteFunction",
    _F + "updateCode": "UpdateFunctionCode",
    _F + "updateConfig": "UpdateFunctionConfig",
    _F + "createVersion": "CreateFunctionVersion",
    _F + "listVersion": "ListFunctionVersions",
    _F + "createAlias": "CreateVersionAlias",
    _F + "updateAlias": "UpdateVersionAlias",
    _F + "deleteAlias": "DeleteVersionAlias",
    _F + "getAlias": "ShowVersionAlias",
    _F + "listAlias": "ListVersionAliases",
    _F + "invoke": "InvokeFunction",
    _F + "invokeAsync": "AsyncInvokeFunction AsyncInvokeReservedFunction",
    _T + "listSpecifiedFunctionTriggers": "ListFunctionTriggers",
    _T + "get": "ShowFunctionTrigger",
    _T + "create": "CreateFunctionTrigger",
    _T + "delete": "DeleteFunctionTrigger",
    _T + "deleteSpecifiedFunctionTriggers": "BatchDeleteFunctionTriggers",
    # Not documented.
    _F + "updateMaxInstance": "UpdateFunctionMaxInstanceConfig",
    _F + "updateReserved": "UpdateFunctionReservedInstancesCount DeleteReservedInstanceById",
    _F + "listReserved": "ListFunctionReservedInstances ListReservedInstanceConfigs",
    _F + "listInstance": "ListInstances",
    _F + "getMetrics": "ListFunctionStatistics ListStatistics ListFunctionAsMetric ShowFunctionMetrics "
    "ShowFuncReservedInstanceMetrics",
    _F + "getLog": "ShowLtsLogDetails ShowProjectAsyncStatusLogInfo ListLogs ListAsyncStatusLines",
    _F + "updateLog": "EnableLtsLogs EnableAsyncStatusLog",
    _F + "export": "ExportFunction",
    _F + "import": "ImportFunction",
    _F + "listEvent": "ListEvents",
    _F + "getEvent": "ShowEvent",
    _F + "createEvent": "CreateEvent",
    _F + "updateEvent": "UpdateEvent",
    _F + "deleteEvent": "DeleteEvent",
    _F + "getAsyncConfig": "ShowFunctionAsyncInvokeConfig ListFunctionAsyncInvokeConfig",
    _F + "updateAsyncConfig": "UpdateFunctionAsyncInvokeConfig",
    _F + "deleteAsyncConfig": "DeleteFunctionAsyncInvokeConfig",
    _F + "listAsyncInvocation": "ListAsyncInvocations ListActiveAsyncInvocations ListAsyncDeliveries ListDeadLetters",
    _F + "cancelAsyncInvocation": "CancelAsyncInvocation",
    _F + "replayAsyncInvocation": "ReplayDeadLetter",
    _F + "deleteAsyncInvocation": "PurgeDeadLetters",
    _F + "getTracing": "ShowTracing",
    _F + "updateTracing": "UpdateTracing",
    _F + "getSnapshot": "ShowFuncSnapshotState",
    _F + "updateSnapshot": "UpdateFuncSnapshot",
    _F + "pin": "UpdateFunctionCollectState",
    _F + "listBridge": "ListBridgeFunctions ListBridgeVersions",
    _T + "update": "UpdateTrigger",
    _T + "list": "ListTriggers",
    _D + "list": "ListDependencies ListDependencyVersion",
    _D + "get": "ShowDependency ShowDependencyVersion",
    _D + "create": "CreateDependency CreateDependencyVersion",
    _D + "update": "UpdateDependency",
    _D + "delete": "DeleteDependency DeleteDependencyVersion",
    _W + "list": "ListWorkflow",
    _W + "get": "ShowWorkFlow",
    _W + "create": "CreateWorkflow",
    _W + "update": "UpdateWorkFlow",
    _W + "delete": "BatchDeleteWorkflows",
    _W + "execute": "StartWorkflowExecution",
    _W + "executeSync": "StartSyncWorkflowExecution",
    _W + "stop": "StopWorkFlow",
    _W + "retry": "RetryWorkFlow",
    _W + "callback": "CreateCallbackWorkflow",
    _W + "listExecution": "ListWorkflowExecutions ShowWorkflowExecutionForPage",
    _W + "getExecution": "ShowWorkflowExecution",
    _W + "getMetrics": "ShowTenantMetric ShowWorkFlowMetric",
    "functiongraph:application:list": "ListFunctionApplications",
    "functiongraph:application:get": "ShowFunctionApp",
    "functiongraph:application:create": "CreateFunctionApp",
    "functiongraph:application:delete": "DeleteFunctionApp",
    "functiongraph:template:list": "ListFunctionTemplate ListAppTemplates",
    "functiongraph:template:get": "ShowFunctionTemplate ShowAppTemplate",
    "functiongraph:quota:list": "ListQuotas",
    "functiongraph:tag:list": "ListFunctionTags ShowProjectTagsList ShowResInstanceInfo",
    "functiongraph:tag:create": "CreateTags",
    "functiongraph:tag:delete": "DeleteTags",
    "functiongraph:vpcEndpoint:create": "CreateVpcEndpoint",
    "functiongraph:vpcEndpoint:delete": "DeleteVpcEndpoint",
    "functiongraph:meta:list": "ListRuntimeTypes ListTriggerTypes ShowFeature ListServiceTrustedAgencies",
    # What stands in for other services.
    "smn:topic:create": "CreateTopic",
    "smn:topic:list": "ListTopics ListTopicDetails",
    "smn:topic:delete": "DeleteTopic",
    "smn:topic:publish": "PublishMessage",
    "smn:topic:update": "AddSubscription CancelSubscription",
    "smn:topic:listSubscriptions": "ListSubscriptions ListSubscriptionsByTopic",
    "apig:authorizers:create": "CreateCustomAuthorizer",
    "apig:authorizers:list": "ListCustomAuthorizers",
    "apig:authorizers:get": "ShowCustomAuthorizer",
    "apig:authorizers:update": "UpdateCustomAuthorizer",
    "apig:authorizers:delete": "DeleteCustomAuthorizer",
    "apig:apps:create": "CreateApp",
    "apig:apps:list": "ListApps",
    "apig:apps:get": "ShowApp",
    "apig:apps:delete": "DeleteApp",
    "apig:appCodes:create": "CreateAppCode",
    "apig:appCodes:list": "ListAppCodes",
    "apig:appCodes:delete": "DeleteAppCode",
    "apig:appAuths:create": "CreateAppGrants",
    "apig:appAuths:list": "ListAppGrants",
    "apig:appAuths:delete": "DeleteAppGrant",
    "dis:streams:create": "CreateStream",
    "dis:streams:list": "ListStreams",
    "dis:streams:delete": "DeleteStream",
    "dis:streams:send": "SendRecords",
    "dis:streams:consume": "ShowCursor ConsumeRecords",
    "obs:bucket:ListBucket": "ListObjects",
    "obs:object:GetObject": "ShowObject",
    "funclet:dependency:share": "ShareDependency",
    "funclet:connection:list": "ListConnections",
    "funclet:connection:put": "PutConnection",
    "funclet:connection:delete": "DeleteConnection",
    "funclet:connection:test": "TestConnection",
    "funclet:secretKey:rotate": "RotateSecretKey",
    # Who may do what.
    _USERS + "listUsers": "ListGroupUsers",
    _USERS + "getUser": "ShowUser ShowIamUser ListUserGroups",
    _USERS + "createUser": "CreateUser CreateIamUser",
    _USERS + "updateUser": "UpdateUser UpdateIamUser",
    _USERS + "deleteUser": "DeleteUser",
    _GROUPS + "listGroups": "ListGroups",
    _GROUPS + "getGroup": "ShowGroup",
    _GROUPS + "createGroup": "CreateGroup",
    _GROUPS + "updateGroup": "UpdateGroup",
    _GROUPS + "deleteGroup": "DeleteGroup",
    _GROUPS + "checkMember": "CheckGroupMember",
    _GROUPS + "addUser": "AddGroupMember",
    _GROUPS + "removeUser": "RemoveGroupMember",
    _KEYS + "listCredentials": "ListAccessKeys",
    _KEYS + "getCredential": "ShowAccessKey",
    _KEYS + "createCredential": "CreateAccessKey",
    _KEYS + "updateCredential": "UpdateAccessKey",
    _KEYS + "deleteCredential": "DeleteAccessKey",
    _ROLES + "listRoles": "ListRoles ListCustomPolicies",
    _ROLES + "getRole": "ShowRole ShowCustomPolicy",
    _ROLES + "createRole": "CreateCustomPolicy",
    _ROLES + "updateRole": "UpdateCustomPolicy",
    _ROLES + "deleteRole": "DeleteCustomPolicy",
    _ROLES + "simulate": "SimulatePolicy",
    _GRANTS + "listRolesForGroup": "ListGroupRolesOnProject ListGroupRolesOnDomain ListGroupRolesEverywhere",
    _GRANTS + "grantRoleToGroup": "GrantGroupRoleOnProject GrantGroupRoleOnDomain GrantGroupRoleEverywhere",
    _GRANTS + "revokeRoleFromGroup": "RevokeGroupRoleOnProject RevokeGroupRoleOnDomain RevokeGroupRoleEverywhere",
    _GRANTS + "listRolesForAgency": "ListAgencyRolesOnProject ListAgencyRolesOnDomain",
    _GRANTS + "grantRoleToAgency": "GrantAgencyRoleOnProject GrantAgencyRoleOnDomain",
    _GRANTS + "revokeRoleFromAgency": "RevokeAgencyRoleOnProject RevokeAgencyRoleOnDomain",
    _AGENCIES + "listAgencies": "ListAgencies",
    _AGENCIES + "getAgency": "ShowAgency",
    _AGENCIES + "createAgency": "CreateAgency",
    _AGENCIES + "updateAgency": "UpdateAgency",
    _AGENCIES + "deleteAgency": "DeleteAgency",
    _PROJECTS + "createProject": "CreateProject",
    _PROJECTS + "updateProject": "UpdateProjectStatus",
    _PROJECTS + "deleteProject": "DeleteProject",
    "cts:trace:list": "ListTraces",
}

ACTIONS: Mapping[str, str] = {name: action for action, names in _BY_ACTION.items() for name in names.split()}
"""Operation -> the action that its caller must be allowed."""

FREE: Mapping[str, str] = {
    "CreateToken": "this is the login",
    "CreateTokenWithIdToken": "this is the login of users of an OIDC issuer",
    "ValidateToken": "whoever has a token may see what it stands for",
    "CreateTemporaryAccessKey": "it gives no more than its caller has, or what an agency allows (iam:agencies:assume)",
    "ListProjects": "clients look their own project up; others are shown only with iam:projects:listProjects",
    "ShowProject": "as ListProjects: of other projects with iam:projects:listProjects",
    "ShowProjectDetailsAndStatus": "as ListProjects: of other projects with iam:projects:listProjects",
    "ListAuthProjects": "clients look up the projects that they may use",
    "ListAuthDomains": "clients look their own domain up",
    "ListAuthCatalog": "clients look the addresses of services up",
    "ListRegions": "clients look the region up",
    "ListEnterpriseProjects": "clients look for the only one that there is",
    "ListUsers": "clients look themselves up; others are shown only with iam:users:listUsers",
    "ChangeOwnPassword": "it needs the old password",
    "DownloadCode": "the link carries a signature",
    "ConfirmSubscription": "the link carries a token",
    "ShowIdentityVersion": "clients look for it before they log in",
    "ShowApiDocument": "anybody may learn how to talk to the server",
}
"""Operation -> why it needs no action."""

# The newer names of the documented actions. Where the cloud's table could not be read, they follow its pattern.
_ALIASES: Mapping[str, Sequence[str]] = {
    _F + "list": (_F + "listFunctions",),
    _F + "getConfig": (_F + "getFunctionConfig",),
    _F + "getCode": (_F + "getFunctionCode",),
    _F + "create": (_F + "createFunction",),
    _F + "delete": (_F + "deleteFunction",),
    _F + "updateCode": (_F + "updateFunctionCode",),
    _F + "updateConfig": (_F + "updateFunctionConfig",),
    _F + "createVersion": (_F + "createFunctionVersion", _F + "publishFunctionVersion"),
    _F + "listVersion": (_F + "listFunctionVersions",),
    _F + "createAlias": (_F + "createFunctionAlias", _F + "createVersionAlias"),
    _F + "updateAlias": (_F + "updateFunctionAlias", _F + "updateVersionAlias"),
    _F + "deleteAlias": (_F + "deleteFunctionAlias", _F + "deleteVersionAlias"),
    _F + "getAlias": (_F + "getFunctionAlias", _F + "getVersionAlias"),
    _F + "listAlias": (_F + "listFunctionAliases", _F + "listVersionAliases"),
    _F + "invoke": (_F + "invokeFunction",),
    _F + "invokeAsync": (_F + "invokeFunctionAsync", _F + "asyncInvokeFunction"),
    _T + "listSpecifiedFunctionTriggers": (_T + "listFunctionTriggers",),
    _T + "get": (_T + "getTrigger", _T + "getFunctionTrigger"),
    _T + "create": (_T + "createTrigger", _T + "createFunctionTrigger"),
    _T + "delete": (_T + "deleteTrigger", _T + "deleteFunctionTrigger"),
    _T + "deleteSpecifiedFunctionTriggers": (_T + "batchDeleteFunctionTriggers",),
}

INVOKE_ACTION, SEE_ACTION = _F + "invoke", _F + "getConfig"
CREATE_ACTION, DELETE_ACTION, IMPORT_ACTION = _F + "create", _F + "delete", _F + "import"
TRIGGER_ACTION, ASYNC_ACTION = _T + "create", _F + "updateAsyncConfig"
NEW_DEPENDENCY_ACTION, DELETE_DEPENDENCY_ACTION = _D + "create", _D + "delete"
READ_OBJECT_ACTION = "obs:object:GetObject"
METRICS_ACTION, PASS_ACTION, ASSUME_ACTION = "funclet:metrics:get", "iam:agencies:pass", "iam:agencies:assume"
LIST_USERS_ACTION, LIST_PROJECTS_ACTION = _USERS + "listUsers", _PROJECTS + "listProjects"
# Asked for inside operations, or known to the cloud for its triggers, so that policies may name them.
_FURTHER = (
    METRICS_ACTION, PASS_ACTION, ASSUME_ACTION, LIST_PROJECTS_ACTION,
    "apig:instances:get", "apig:instances:create", "apig:instances:update", "apig:instances:list",
    "apig:sharedInstance:operate", "cts:notification:create", "cts:notification:delete", "cts:notification:update",
    "cts:operation:list", "cts:tracker:list", "dds:instance:get", "dds:instance:list",
    "lts:groups:create", "lts:groups:get", "lts:groups:list", "lts:groups:put", "lts:logstreams:delete",
    "lts:logstreams:list", "lts:topics:get", "lts:subscriptions:create", "lts:subscriptions:put",
    "lts:subscriptions:delete", "lts:structConfig:create", "lts:structConfig:get", "obs:bucket:GetBucketLocation",
    "obs:bucket:GetBucketNotification", "obs:bucket:PutBucketNotification", "obs:object:PutObject",
    "dms:instance:list", "dms:instance:get", "dms:group:delete", "vpc:ports:get", "vpc:ports:create",
    "vpc:ports:delete", "vpc:vpcs:get", "vpc:subnets:get", "swr:repo:download", "sfsturbo:shares:getShare",
    "sfsturbo:shares:showFsDir", "ecs:cloudServers:get", "dns:recordset:list", "aom:metric:get", "aom:metric:list",
)  # fmt: skip

# POST operations that are the traffic itself.
_TRAFFIC = frozenset(
    {
        "InvokeFunction",
        "AsyncInvokeFunction",
        "AsyncInvokeReservedFunction",
        "PublishMessage",
        "SendRecords",
        "TestConnection",
    }
)
# POST operations that change nothing that is kept.
_QUERIES = frozenset({"ShowResInstanceInfo", "SimulatePolicy"})
# What the state of the caller's project has no say in: credentials of the caller, without which nothing can be read and
# which must be changed once others know them, and the state itself, which its operation keeps for the operator.
_ALWAYS = frozenset({"CreateTemporaryAccessKey", "ChangeOwnPassword", "UpdateProjectStatus"})
_READING = ("GET", "HEAD")
# Reading these is worth remembering: code leaves the server.
_WORTH_A_TRACE = frozenset({"ShowFunctionCode", "ExportFunction"})

UNLISTED = "funclet:unlisted:"


def action_of(operation: str) -> str:
    """Return the action of an operation; empty if it needs none.

    One that was forgotten gets an action that only `*` covers, so that forgetting opens nothing.
    """
    if operation in FREE:
        return ""
    return ACTIONS.get(operation, f"{UNLISTED}{operation}")


def names_of(action: str) -> tuple[str, ...]:
    """Return an action and the other names that policies may give it."""
    return (action, *_ALIASES.get(action, ()))


def known_actions() -> frozenset[str]:
    """Return all names that a policy may use."""
    named = {name for action in _BY_ACTION for name in names_of(action)}
    return frozenset({*named, *_FURTHER})


def is_traced(operation: str, method: str) -> bool:
    """Tell whether a call that succeeded belongs in the audit log; those that were denied always do."""
    is_change = method not in _READING and operation not in _TRAFFIC and operation not in _QUERIES
    return is_change or operation in _WORTH_A_TRACE


def effect_of(operation: str, method: str) -> Effect:
    """Return what an operation does to the project of its caller, which the state of the project may forbid."""
    if method in _READING or operation in _QUERIES or operation in _ALWAYS:
        return Effect.READ
    return Effect.RUN if operation in _TRAFFIC else Effect.CHANGE
