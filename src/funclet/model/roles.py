"""The permissions that every server has, by the names of the cloud. They cannot be changed or deleted."""

import hashlib
from dataclasses import dataclass

from funclet.model.policy import Policy, Statement

OWNER_ROLE = "te_admin"
"""Shown as the role of whoever may do everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRole:
    """One of them."""

    role_id: str
    name: str
    """As clients know it."""
    description: str
    policy: Policy


def _role(name: str, description: str, *actions: str) -> SystemRole:
    return SystemRole(
        role_id=hashlib.sha256(name.encode()).hexdigest()[:32],
        name=name,
        description=description,
        policy=Policy(name=name, statements=(Statement(actions=actions),)),
    )


# What triggers, destinations, networks and mounts use of the services that stand in for those of the cloud.
_EMBEDDED = (
    "apig:*:*",
    "cts:notification:*",
    "cts:operation:*",
    "cts:tracker:*",
    "dds:*:*",
    "dis:*:*",
    "dms:*:*",
    "ecs:cloudServers:get",
    "lts:*:*",
    "obs:*:*",
    "sfsturbo:*:*",
    "smn:*:*",
    "vpc:*:*",
)
_QUERIES = ("functiongraph:*:get*", "functiongraph:*:list*")

ADMINISTRATOR = _role("FunctionGraph Administrator", "Everything but users and their permissions.",
                      "functiongraph:*:*", "funclet:*:*", "iam:agencies:pass", "iam:agencies:list*", "cts:trace:list",
                      *_EMBEDDED)  # fmt: skip
INVOKER = _role("FunctionGraph Invoker", "Query functions, triggers and flows, invoke, see logs and metrics.",
                "functiongraph:function:list*", "functiongraph:function:getConfig", "functiongraph:function:getAlias",
                "functiongraph:function:getAsyncConfig", "functiongraph:function:getLog",
                "functiongraph:function:getMetrics", "functiongraph:trigger:get*", "functiongraph:trigger:list*",
                "functiongraph:workflow:get*", "functiongraph:workflow:list*", "functiongraph:workflow:execute*",
                "functiongraph:quota:list", "functiongraph:meta:list", "functiongraph:function:invoke*")  # fmt: skip
FULL_ACCESS = _role("FunctionGraph FullAccess", "All actions of functions, and those of the services around them.",
                    "functiongraph:*:*", "iam:agencies:pass", "iam:agencies:list*", *_EMBEDDED)  # fmt: skip
COMMON_OPERATIONS = _role("FunctionGraph CommonOperations", "Query, invoke, see logs and metrics.",
                          *_QUERIES, "functiongraph:function:invoke*")  # fmt: skip
READ_ONLY = _role("FunctionGraph ReadOnlyAccess", "Query only, with logs and metrics.", *_QUERIES)
DEPENDENCIES = _role("FunctionGraph DependencyReadOnlyAccess", "List and show dependencies and their versions.",
                     "functiongraph:dependency:get*", "functiongraph:dependency:list*")  # fmt: skip
IDENTITY = _role("Security Administrator", "Users, groups, keys, permissions and agencies, and the audit log.",
                 "iam:*:*", "cts:trace:list")  # fmt: skip
TENANT = _role("Tenant Administrator", "Everything.", "*:*:*")

SYSTEM_ROLES = (
    ADMINISTRATOR,
    INVOKER,
    FULL_ACCESS,
    COMMON_OPERATIONS,
    READ_ONLY,
    DEPENDENCIES,
    IDENTITY,
    TENANT,
)
BY_ID = {role.role_id: role for role in SYSTEM_ROLES}

FIRST_GROUPS = (
    ("admin", "Everything.", TENANT),
    ("developers", "Functions and all that belongs to them.", FULL_ACCESS),
    ("operators", "Query and invoke.", COMMON_OPERATIONS),
    ("viewers", "Query only.", READ_ONLY),
)
"""The groups of a new server: name, description, role."""
FIRST_AGENCIES = (
    ("serverless-trust", "For functions that use all services of this server.", FULL_ACCESS),
    ("serverless-readonly", "For functions that only query.", READ_ONLY),
)
"""The agencies of a new server."""
