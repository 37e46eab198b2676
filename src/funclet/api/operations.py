"""THE table: every operation of the API, one row each, by group.

Names, methods and paths are those of the vendor's SDKs and documents. A row
without a serve function is known but not built: it answers 501. Paths without a
leading slash stand under `/v2/{project_id}/`. Start with `OPERATIONS`.
"""

from dataclasses import replace
from functools import partial

from funclet.api.call import PROJECT_PATH, Operation, Serve, addition
from funclet.api.gateway_operations import GATEWAY_OPERATIONS
from funclet.api.iam_operations import IAM_OPERATIONS
from funclet.api.wire import (
    agencies,
    applications,
    asynchronous,
    connections,
    dependencies,
    document,
    downloads,
    events,
    functions,
    identity,
    invocations,
    observability,
    reserved,
    statistics,
    streams,
    switches,
    tags,
    templates,
    topics,
    transfer,
    triggers,
    versions,
)
from funclet.model.invocation import MAX_ASYNC_BODY_BYTES, MAX_SYNC_BODY_BYTES

# Bodies are read before their sender is known, so what needs no more gets no more.
MAX_BODY_BYTES = 1024 * 1024
MAX_LOGIN_BODY_BYTES = 64 * 1024
MAX_RECORDS_BODY_BYTES = 6 * 1024 * 1024
# A code package of 50 MB as base64, with room for the larger ones that the limits of a server may allow.
MAX_UPLOAD_BYTES = 128 * 1024 * 1024


def _row(
    name: str,
    method: str,
    path: str,
    serve: Serve | None = None,
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    in_sdk: bool = True,
    is_public: bool = False,
) -> Operation:
    return Operation(
        name=name,
        method=method,
        path=path if path.startswith("/") else PROJECT_PATH + path,
        serve=serve,
        max_body_bytes=max_body_bytes,
        in_sdk=in_sdk,
        is_public=is_public,
    )


def _upload(name: str, method: str, path: str, serve: Serve, *, in_sdk: bool = True) -> Operation:
    return _row(name, method, path, serve, in_sdk=in_sdk, max_body_bytes=MAX_UPLOAD_BYTES)


_ours = partial(addition, max_body_bytes=MAX_BODY_BYTES)


_APPLICATIONS = (
    _row("CreateFunctionApp", "POST", "fgs/applications", applications.create_application),
    _row("DeleteFunctionApp", "DELETE", "fgs/applications/{id}", applications.delete_application),
    _row("ListAppTemplates", "GET", "fgs/application/templates", templates.list_app_templates),
    _row("ListFunctionApplications", "GET", "fgs/applications", applications.list_applications),
    _row("ShowAppTemplate", "GET", "fgs/application/templates/{id}", templates.show_app_template),
    _row("ShowFunctionApp", "GET", "fgs/applications/{id}", applications.show_application),
)

_ASYNC = (
    _row(
        "CancelAsyncInvocation",
        "POST",
        "fgs/functions/{function_urn}/cancel",
        asynchronous.cancel_async_invocation,
    ),
    _row(
        "DeleteFunctionAsyncInvokeConfig",
        "DELETE",
        "fgs/functions/{function_urn}/async-invoke-config",
        asynchronous.delete_config,
    ),
    _row(
        "EnableAsyncStatusLog",
        "POST",
        "fgs/functions/enable-async-status-logs",
        asynchronous.enable_async_status_log,
    ),
    _row(
        "ListActiveAsyncInvocations",
        "GET",
        "fgs/functions/{function_urn}/active-async-invocations",
        asynchronous.list_active_async_invocations,
    ),
    _row(
        "ListAsyncInvocations",
        "GET",
        "fgs/functions/{function_urn}/async-invocations",
        invocations.list_async_invocations,
    ),
    _row(
        "ListFunctionAsyncInvokeConfig",
        "GET",
        "fgs/functions/{function_urn}/async-invoke-configs",
        asynchronous.list_configs,
    ),
    _row(
        "ShowFunctionAsyncInvokeConfig",
        "GET",
        "fgs/functions/{function_urn}/async-invoke-config",
        asynchronous.show_config,
    ),
    _row(
        "ShowProjectAsyncStatusLogInfo",
        "GET",
        "fgs/functions/async-status-log-detail",
        asynchronous.show_async_status_log,
    ),
    _row(
        "UpdateFunctionAsyncInvokeConfig",
        "PUT",
        "fgs/functions/{function_urn}/async-invoke-config",
        asynchronous.put_config,
    ),
)

_BRIDGE_FUNCTIONS = (
    _row(
        "ListBridgeFunctions",
        "GET",
        "fgs/functions/{function_urn}/servicebridge/relation",
        switches.list_bridge_functions,
    ),
    _row("ListBridgeVersions", "GET", "fgs/servicebridge/version", switches.list_bridge_versions),
)

_DEPENDENCIES = (
    _upload("CreateDependency", "POST", "fgs/dependencies", dependencies.create_dependency_version, in_sdk=False),
    _upload("CreateDependencyVersion", "POST", "fgs/dependencies/version", dependencies.create_dependency_version),
    _row("DeleteDependency", "DELETE", "fgs/dependencies/{depend_id}", dependencies.delete_dependency, in_sdk=False),
    _row(
        "DeleteDependencyVersion",
        "DELETE",
        "fgs/dependencies/{depend_id}/version/{version}",
        dependencies.delete_dependency_version,
    ),
    _row("ListDependencies", "GET", "fgs/dependencies", dependencies.list_dependencies),
    _row("ListDependencyVersion", "GET", "fgs/dependencies/{depend_id}/version", dependencies.list_dependency_version),
    _row("ShowDependency", "GET", "fgs/dependencies/{depend_id}", dependencies.show_dependency, in_sdk=False),
    _row(
        "ShowDependencyVersion",
        "GET",
        "fgs/dependencies/{depend_id}/version/{version}",
        dependencies.show_dependency_version,
    ),
    _upload("UpdateDependency", "PUT", "fgs/dependencies/{depend_id}", dependencies.update_dependency, in_sdk=False),
)

_FUNCTIONS = (
    _upload("CreateFunction", "POST", "fgs/functions", functions.create_function),
    _row("DeleteFunction", "DELETE", "fgs/functions/{function_urn}", functions.delete_function),
    _row("ListFunctions", "GET", "fgs/functions", functions.list_functions),
    _row("ListRuntimeTypes", "GET", "fgs/runtimetypes", functions.list_runtime_types, in_sdk=False),
    _row(
        "ListServiceTrustedAgencies",
        "GET",
        "fgs/service-trusted-agencies",
        agencies.list_service_trusted_agencies,
        in_sdk=False,
    ),
    _row("ShowFunctionCode", "GET", "fgs/functions/{function_urn}/code", functions.show_function_code),
    _row("ShowFunctionConfig", "GET", "fgs/functions/{function_urn}/config", functions.show_function_config),
    _upload("UpdateFunctionCode", "PUT", "fgs/functions/{function_urn}/code", functions.update_function_code),
    _row(
        "UpdateFunctionCollectState",
        "PUT",
        "fgs/functions/{func_urn}/collect/{state}",
        functions.update_function_collect_state,
    ),
    _row("UpdateFunctionConfig", "PUT", "fgs/functions/{function_urn}/config", functions.update_function_config),
    _row(
        "UpdateFunctionMaxInstanceConfig",
        "PUT",
        "fgs/functions/{function_urn}/config-max-instance",
        functions.update_function_max_instance_config,
    ),
)

_IDENTITY = (
    _row(
        "CreateTemporaryAccessKey",
        "POST",
        "/v3.0/OS-CREDENTIAL/securitytokens",
        agencies.create_temporary_access_key,
        in_sdk=False,
        max_body_bytes=MAX_LOGIN_BODY_BYTES,
    ),
    _row(
        "CreateToken",
        "POST",
        "/v3/auth/tokens",
        identity.create_token,
        in_sdk=False,
        is_public=True,
        max_body_bytes=MAX_LOGIN_BODY_BYTES,
    ),
    _row("ListAuthDomains", "GET", "/v3/auth/domains", identity.list_auth_domains, in_sdk=False),
    _row("ListProjects", "GET", "/v3/projects", identity.list_projects, in_sdk=False),
    _row("ValidateToken", "GET", "/v3/auth/tokens", identity.validate_token, in_sdk=False),
)

_IMPORT_AND_EXPORT = (
    _row("ExportFunction", "GET", "fgs/functions/{function_urn}/export", transfer.export_function),
    _upload("ImportFunction", "POST", "fgs/functions/import", transfer.import_function),
)

_INVOCATION = (
    _row(
        "AsyncInvokeFunction",
        "POST",
        "fgs/functions/{function_urn}/invocations-async",
        invocations.async_invoke_function,
        max_body_bytes=MAX_ASYNC_BODY_BYTES,
    ),
    _row(
        "AsyncInvokeReservedFunction",
        "POST",
        "fgs/functions/{function_urn}/reserved-invocations",
        invocations.async_invoke_reserved_function,
        in_sdk=False,
        max_body_bytes=MAX_ASYNC_BODY_BYTES,
    ),
    _row(
        "InvokeFunction",
        "POST",
        "fgs/functions/{function_urn}/invocations",
        invocations.invoke_function,
        max_body_bytes=MAX_SYNC_BODY_BYTES,
    ),
)

_LOGS = (
    _row("EnableLtsLogs", "POST", "fgs/functions/enable-lts-logs", switches.enable_lts_logs),
    _row("ShowLtsLogDetails", "GET", "fgs/functions/{function_urn}/lts-log-detail", switches.show_lts_log_details),
)

_METRICS = (
    _row("ListFunctionAsMetric", "GET", "fgs/function/report", statistics.rank_functions),
    _row("ListFunctionStatistics", "GET", "fgs/functions/{func_urn}/statistics/{period}", statistics.of_function),
    _row("ListStatistics", "GET", "fgs/functions/statistics", statistics.list_statistics),
    _row("ShowFuncReservedInstanceMetrics", "GET", "fgs/functions/{func_urn}/instancereports", statistics.instances),
    _row("ShowFunctionMetrics", "GET", "fgs/functions/{func_urn}/slareports/{period}", statistics.metrics),
)

_QUOTAS = (
    _row("ListQuotas", "GET", "fgs/quotas", observability.list_quotas),
    _row("ShowFeature", "GET", "fgs/feature", observability.show_feature, in_sdk=False),
)

_RESERVED_INSTANCES = (
    _row(
        "DeleteReservedInstanceById",
        "DELETE",
        "fgs/functions/{function_urn}/reservedinstances/{instance_id}",
        reserved.delete,
        in_sdk=False,
    ),
    _row("ListFunctionReservedInstances", "GET", "fgs/functions/reservedinstances", reserved.list_counts),
    _row("ListReservedInstanceConfigs", "GET", "fgs/functions/reservedinstanceconfigs", reserved.list_configs),
    _row("UpdateFunctionReservedInstancesCount", "PUT", "fgs/functions/{function_urn}/reservedinstances", reserved.put),
)

_SNAPSHOTS = (
    _row("ShowFuncSnapshotState", "GET", "fgs/functions/{function_urn}/snapshots/{action}", switches.show_snapshot),
    _row("UpdateFuncSnapshot", "POST", "fgs/functions/{function_urn}/snapshots/{action}", switches.update_snapshot),
)

_TAGS = (
    _row("CreateTags", "POST", "{resource_type}/{resource_id}/tags/create", tags.create_tags),
    _row("DeleteTags", "DELETE", "{resource_type}/{resource_id}/tags/delete", tags.delete_tags),
    _row("ListFunctionTags", "GET", "{resource_type}/{resource_id}/tags", tags.list_function_tags),
    _row("ShowProjectTagsList", "GET", "{resource_type}/tags", tags.show_project_tags),
    _row("ShowResInstanceInfo", "POST", "{resource_type}/resource-instances/{action}", tags.find_tagged),
)

_TEMPLATES = (
    _row("ListFunctionTemplate", "GET", "fgs/templates", templates.list_function_templates),
    _row("ShowFunctionTemplate", "GET", "fgs/templates/{template_id}", templates.show_function_template),
)

_TEST_EVENTS = (
    _row("CreateEvent", "POST", "fgs/functions/{function_urn}/events", events.create_event),
    _row("DeleteEvent", "DELETE", "fgs/functions/{function_urn}/events/{event_id}", events.delete_event),
    _row("ListEvents", "GET", "fgs/functions/{function_urn}/events", events.list_events),
    _row("ShowEvent", "GET", "fgs/functions/{function_urn}/events/{event_id}", events.show_event),
    _row("UpdateEvent", "PUT", "fgs/functions/{function_urn}/events/{event_id}", events.update_event),
)

_TRACING = (
    _row("ShowTracing", "GET", "fgs/functions/{function_urn}/tracing", switches.show_tracing),
    _row("UpdateTracing", "PUT", "fgs/functions/{function_urn}/tracing", switches.update_tracing),
)

_TRIGGERS = (
    _row(
        "BatchDeleteFunctionTriggers", "DELETE", "fgs/triggers/{function_urn}", triggers.batch_delete_function_triggers
    ),
    _row("CreateFunctionTrigger", "POST", "fgs/triggers/{function_urn}", triggers.create_function_trigger),
    _row(
        "DeleteFunctionTrigger",
        "DELETE",
        "fgs/triggers/{function_urn}/{trigger_type_code}/{trigger_id}",
        triggers.delete_function_trigger,
    ),
    _row("ListFunctionTriggers", "GET", "fgs/triggers/{function_urn}", triggers.list_function_triggers),
    _row("ListTriggerTypes", "GET", "fgs/triggertypes", triggers.list_trigger_types, in_sdk=False),
    _row("ListTriggers", "GET", "fgs/triggers", triggers.list_triggers, in_sdk=False),
    _row(
        "ShowFunctionTrigger",
        "GET",
        "fgs/triggers/{function_urn}/{trigger_type_code}/{trigger_id}",
        triggers.show_function_trigger,
    ),
    _row(
        "UpdateTrigger", "PUT", "fgs/triggers/{function_urn}/{trigger_type_code}/{trigger_id}", triggers.update_trigger
    ),
)

_VPC_ENDPOINT = (
    _row("CreateVpcEndpoint", "POST", "fgs/vpc-endpoint", switches.create_vpc_endpoint),
    _row("DeleteVpcEndpoint", "DELETE", "fgs/vpc-endpoint/{vpc_id}/{subnet_id}", switches.delete_vpc_endpoint),
)

_VERSIONS_AND_ALIASES = (
    _row("CreateFunctionVersion", "POST", "fgs/functions/{function_urn}/versions", versions.create_function_version),
    _row("CreateVersionAlias", "POST", "fgs/functions/{function_urn}/aliases", versions.create_version_alias),
    _row(
        "DeleteVersionAlias",
        "DELETE",
        "fgs/functions/{function_urn}/aliases/{alias_name}",
        versions.delete_version_alias,
    ),
    _row("ListFunctionVersions", "GET", "fgs/functions/{function_urn}/versions", versions.list_function_versions),
    _row("ListVersionAliases", "GET", "fgs/functions/{function_urn}/aliases", versions.list_version_aliases),
    _row("ShowVersionAlias", "GET", "fgs/functions/{function_urn}/aliases/{alias_name}", versions.show_version_alias),
    _row(
        "UpdateVersionAlias", "PUT", "fgs/functions/{function_urn}/aliases/{alias_name}", versions.update_version_alias
    ),
)

_WORKFLOWS = (
    _row("BatchDeleteWorkflows", "DELETE", "fgs/workflows"),
    _row("CreateCallbackWorkflow", "POST", "fgs/workflows/{workflow_id}/callback"),
    _row("CreateWorkflow", "POST", "fgs/workflows"),
    _row("ListWorkflow", "GET", "fgs/workflows"),
    _row("ListWorkflowExecutions", "GET", "fgs/workflows/{workflow_id}/executions"),
    _row("RetryWorkFlow", "POST", "fgs/workflows/{workflow_id}/executions/{execution_id}/retry"),
    _row("ShowTenantMetric", "GET", "fgs/workflow-statistic"),
    _row("ShowWorkFlow", "GET", "fgs/workflows/{workflow_id}"),
    _row("ShowWorkFlowMetric", "GET", "fgs/workflow-statistic/{workflow_urn}"),
    _row("ShowWorkflowExecution", "GET", "fgs/workflows/{workflow_id}/executions/{execution_id}"),
    _row("ShowWorkflowExecutionForPage", "GET", "fgs/workflows/{workflow_id}/executions-history"),
    _row("StartSyncWorkflowExecution", "POST", "fgs/workflows/{workflow_id}/sync-executions"),
    _row("StartWorkflowExecution", "POST", "fgs/workflows/{workflow_id}/executions"),
    _row("StopWorkFlow", "POST", "fgs/workflows/{workflow_id}/executions/{execution_id}/terminate"),
    _row("UpdateWorkFlow", "PUT", "fgs/workflows/{workflow_id}"),
)
# Additions of Funclet, and what clients ask for beside the documented operations.
_OURS = (
    # The link to a code package carries its own signature, as the cloud's object store would want it.
    _ours("DownloadCode", "GET", "funclet/code/{digest}", downloads.download_code, is_public=True),
    _ours("ShareDependency", "PUT", "funclet/dependencies/{depend_id}/sharing", dependencies.share_dependency),
    _ours("ListLogs", "GET", "funclet/functions/{function_urn}/logs", observability.list_logs),
    _ours("ListInstances", "GET", "funclet/functions/{function_urn}/instances", reserved.list_instances),
    _ours("ListAsyncDeliveries", "GET", "funclet/async/{request_id}/deliveries", asynchronous.list_async_deliveries),
    _ours("ListAsyncStatusLines", "GET", "funclet/async-status-log", asynchronous.list_async_status_lines),
    _ours("ListDeadLetters", "GET", "funclet/dead-letters", asynchronous.list_dead_letters),
    _ours("PurgeDeadLetters", "DELETE", "funclet/dead-letters", asynchronous.purge_dead_letters),
    _ours("ReplayDeadLetter", "POST", "funclet/dead-letters/{letter_id}/replay", asynchronous.replay_dead_letter),
    _ours("CreateProject", "POST", "/v3/projects", identity.create_project),
    _ours("ListRegions", "GET", "/v3/regions", identity.list_regions),
    _ours("ShowIdentityVersion", "GET", "/v3", identity.show_version, is_public=True),
    _ours("ListUsers", "GET", "/v3/users", identity.list_users),
)
# How systems outside are reached, and what stands in for them.
_OUTSIDE = (
    _ours("ListConnections", "GET", "funclet/connections", connections.list_connections),
    _ours("PutConnection", "PUT", "funclet/connections/{connection_name}", connections.put_connection),
    _ours("DeleteConnection", "DELETE", "funclet/connections/{connection_name}", connections.delete_connection),
    _ours("TestConnection", "POST", "funclet/connections/{connection_name}/test", connections.test_connection),
    _ours("RotateSecretKey", "POST", "funclet/secret-key/rotate", connections.rotate_secret_key),
    _ours("ListObjects", "GET", "funclet/buckets/{bucket}/objects", connections.list_objects),
    _ours("ShowObject", "GET", "funclet/buckets/{bucket}/object", connections.show_object),
)
# Those of the cloud's notification service that destinations and their users need.
_TOPICS = (
    _ours("CreateTopic", "POST", "notifications/topics", topics.create_topic),
    _ours("ListTopics", "GET", "notifications/topics", topics.list_topics),
    _ours("ListTopicDetails", "GET", "notifications/topics/{topic_urn}", topics.list_topic_details),
    _ours("DeleteTopic", "DELETE", "notifications/topics/{topic_urn}", topics.delete_topic),
    _ours("PublishMessage", "POST", "notifications/topics/{topic_urn}/publish", topics.publish_message),
    _ours("AddSubscription", "POST", "notifications/topics/{topic_urn}/subscriptions", topics.add_subscription),
    _ours(
        "ListSubscriptionsByTopic",
        "GET",
        "notifications/topics/{topic_urn}/subscriptions",
        topics.list_subscriptions_by_topic,
    ),
    _ours("ListSubscriptions", "GET", "notifications/subscriptions", topics.list_subscriptions),
    _ours("CancelSubscription", "DELETE", "notifications/subscriptions/{subscription_urn}", topics.cancel_subscription),
    # Whoever was sent the token need not have credentials.
    _ours("ConfirmSubscription", "GET", "/smn/subscription/subscribe", topics.confirm_subscription, is_public=True),
)
# Those of the cloud's data ingestion service.
_STREAMS = (
    _ours("CreateStream", "POST", "streams", streams.create_stream),
    _ours("ListStreams", "GET", "streams", streams.list_streams),
    _ours("DeleteStream", "DELETE", "streams/{stream_name}", streams.delete_stream),
    replace(_ours("SendRecords", "POST", "records", streams.send_records), max_body_bytes=MAX_RECORDS_BODY_BYTES),
    _ours("ShowCursor", "GET", "cursors", streams.show_cursor),
    _ours("ConsumeRecords", "GET", "records", streams.consume_records),
)

# Anybody may read how to talk to the server before having a key.
_DOCUMENT = (
    _ours("ShowApiDocument", "GET", "/openapi.json", document.ApiDocument(lambda: OPERATIONS).serve, is_public=True),
)

OPERATIONS: tuple[Operation, ...] = (
    *_APPLICATIONS,
    *_ASYNC,
    *_BRIDGE_FUNCTIONS,
    *_DEPENDENCIES,
    *_FUNCTIONS,
    *_IDENTITY,
    *_IMPORT_AND_EXPORT,
    *_INVOCATION,
    *_LOGS,
    *_METRICS,
    *_QUOTAS,
    *_RESERVED_INSTANCES,
    *_SNAPSHOTS,
    *_TAGS,
    *_TEMPLATES,
    *_TEST_EVENTS,
    *_TRACING,
    *_TRIGGERS,
    *_VPC_ENDPOINT,
    *_VERSIONS_AND_ALIASES,
    *_WORKFLOWS,
    *_OURS,
    *_OUTSIDE,
    *_TOPICS,
    *_STREAMS,
    *GATEWAY_OPERATIONS,
    *IAM_OPERATIONS,
    *_DOCUMENT,
)
"""All rows: those of the API, then ours."""
