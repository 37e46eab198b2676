"""Every operation has an action, or a reason why it needs none."""

import re

import pytest

from funclet.api.access import rule_of
from funclet.api.actions import ACTIONS, FREE, UNLISTED, action_of, is_traced, known_actions, names_of
from funclet.api.call import Operation
from funclet.api.operations import OPERATIONS
from funclet.model import policy as policies
from funclet.model.roles import SYSTEM_ROLES

DOCUMENTED = [
    "function:list",
    "function:getConfig",
    "function:getCode",
    "function:create",
    "function:delete",
    "function:updateCode",
    "function:updateConfig",
    "function:createVersion",
    "function:listVersion",
    "function:createAlias",
    "function:updateAlias",
    "function:deleteAlias",
    "function:getAlias",
    "function:listAlias",
    "function:invoke",
    "function:invokeAsync",
    "trigger:listSpecifiedFunctionTriggers",
    "trigger:get",
    "trigger:create",
    "trigger:delete",
    "trigger:deleteSpecifiedFunctionTriggers",
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda row: row.name)
def test_every_operation_has_an_action_or_a_reason_for_none(operation):
    assert (operation.name in ACTIONS) != (operation.name in FREE), (
        f"{operation.name} needs a place in src/funclet/api/actions.py: an action, or a reason in FREE"
    )


def test_the_table_names_no_operation_that_is_not_there():
    names = {row.name for row in OPERATIONS}

    assert set(ACTIONS) | set(FREE) <= names


def test_public_operations_need_no_action_and_say_why():
    assert {row.name for row in OPERATIONS if row.is_public} <= set(FREE)


def test_all_documented_actions_are_asked_for():
    assert {f"functiongraph:{name}" for name in DOCUMENTED} <= set(ACTIONS.values())


def test_a_forgotten_operation_is_for_those_who_may_do_everything():
    rule = rule_of(Operation(name="Forgotten", method="GET", path="/forgotten"))
    access = policies.Access(actions=rule.names)

    assert rule.action == f"{UNLISTED}Forgotten"
    allowed = [role.name for role in SYSTEM_ROLES if policies.Grants([role.policy]).allows(access)]
    assert allowed == ["FunctionGraph Administrator", "Tenant Administrator"]


def test_actions_have_three_parts_and_their_other_names_mean_one_action():
    pattern = re.compile(r"[a-z]+:[A-Za-z]+:[A-Za-z]+")
    assert all(pattern.fullmatch(action) for action in known_actions())

    seen = {}
    for action in ACTIONS.values():
        for name in names_of(action):
            assert seen.setdefault(name.lower(), action) == action


def test_what_changes_something_is_traced():
    traced = {row.name for row in OPERATIONS if is_traced(row.name, row.method)}

    assert {"CreateFunction", "DeleteFunction", "CreateToken", "CreateAccessKey", "ShowFunctionCode"} <= traced
    assert not traced & {"InvokeFunction", "AsyncInvokeFunction", "ListFunctions", "SimulatePolicy", "SendRecords"}
    assert all(row.name in traced for row in OPERATIONS if row.method in ("PUT", "DELETE", "PATCH"))


def test_the_action_of_an_operation_without_one_is_empty():
    assert action_of("CreateToken") == ""
