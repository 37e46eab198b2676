"""Every field of the bodies of functions, code, versions, aliases, dependencies and imports: each type that is wrong.

What a field may hold by its rule is tested with its operation; here only that a value of another type is refused by
name, that an unknown field is ignored, and that a refusal changes nothing.
"""

import base64
import json

import pytest

from tests.support.api import new_body
from tests.support.packages import zip_base64, zip_of

WRONG = {"text": "x", "number": 7, "fraction": 1.5, "boolean": True, "array": [[]], "object": {"a": {}}}
ARCHIVE = zip_base64({"index.py": "def handler(event, context):\n    return event\n"})
CREATE = {
    "func_name": "text",
    "package": "text",
    "runtime": "text",
    "timeout": "number",
    "handler": "text",
    "memory_size": "number",
    "code_type": "text",
    "code_url": "text",
    "code_filename": "text",
    "func_code": "object",
    "func_code.file": "text",
    "depend_version_list": "array",
    "description": "text",
    "user_data": "text",
    "encrypted_user_data": "text",
    "xrole": "text",
    "app_xrole": "text",
    "initializer_handler": "text",
    "initializer_timeout": "number",
    "pre_stop_handler": "text",
    "pre_stop_timeout": "number",
    "enterprise_project_id": "text",
    "type": "text",
    "func_vpc": "object",
    "func_vpc.vpc_id": "text",
    "func_vpc.security_groups": "array",
    "mount_config": "object",
    "mount_config.func_mounts": "array",
    "mount_config.mount_user": "object",
    "mount_config.mount_user.user_id": "number",
    "custom_image": "object",
    "custom_image.enabled": "boolean",
    "custom_image.image": "text",
    "log_config": "object",
    "log_config.group_id": "text",
    "lts_custom_tag": "object",
    "network_controller": "object",
    "network_controller.disable_public_network": "boolean",
    "network_controller.trigger_access_vpcs": "array",
    "strategy_config": "object",
    "strategy_config.concurrency": "number",
    "strategy_config.concurrent_num": "number",
    "gpu_memory": "number",
    "gpu_type": "text",
    "ephemeral_storage": "number",
    "enable_dynamic_memory": "boolean",
    "enable_lts_log": "boolean",
    "is_stateful_function": "boolean",
    "enable_class_isolation": "boolean",
    "enable_auth_in_header": "boolean",
    "peering_cidr": "text",
    "domain_names": "text",
    "heartbeat_handler": "text",
    "restore_hook_handler": "text",
    "restore_hook_timeout": "number",
    "extend_config": "text",
    "user_data_encrypt_kms_key_id": "text",
    "code_encrypt_kms_key_id": "text",
    "tags": "text",
}
OF_CODE = ("code_type", "code_url", "code_filename", "func_code", "func_code.file", "depend_version_list")
STRATEGY = "additional_version_strategy.v2"
ALIAS = {
    "version": "text",
    "description": "text",
    "additional_version_weights": "object",
    "additional_version_weights.v2": "number",
    "additional_version_strategy": "object",
    STRATEGY: "object",
    f"{STRATEGY}.combine_type": "text",
    f"{STRATEGY}.rules": "array",
    f"{STRATEGY}.rules.0.rule_type": "text",
    f"{STRATEGY}.rules.0.param": "text",
    f"{STRATEGY}.rules.0.op": "text",
    f"{STRATEGY}.rules.0.value": "text",
}
DEPENDENCY = dict.fromkeys(("name", "runtime", "depend_type", "depend_file", "depend_link", "description"), "text")
IMPORT = dict.fromkeys(("func_name", "file_name", "file_type", "file_code", "package"), "text")
TEMPLATE = (
    "Resources: {f: {Type: 'HC::Serverless::Function', Properties: "
    "{Runtime: Python3.10, Handler: index.handler, CodeFileName: c.zip}}}"
)
RULE = {"rule_type": "Header", "param": "x-user", "op": "=", "value": "a"}

# Operation -> method, path, a good body, its fields.
OPERATIONS = {
    "CreateFunction": ("POST", "/functions", new_body("new"), CREATE),
    "UpdateFunctionConfig": (
        "PUT",
        "/functions/hello/config",
        {"func_name": "hello", "runtime": "Python3.10", "timeout": 3, "handler": "index.handler", "memory_size": 128},
        {name: kind for name, kind in CREATE.items() if name not in OF_CODE or name == "depend_version_list"},
    ),
    "UpdateFunctionCode": (
        "PUT",
        "/functions/hello/code",
        {"code_type": "zip", "func_code": {"file": ARCHIVE}},
        {**{name: CREATE[name] for name in OF_CODE}, "code_encrypt_kms_key_id": "text"},
    ),
    "UpdateFunctionMaxInstanceConfig": (
        "PUT",
        "/functions/hello/config-max-instance",
        {"max_instance_num": 400},
        {"max_instance_num": "number"},
    ),
    "CreateFunctionVersion": (
        "POST",
        "/functions/hello/versions",
        {"version": "v9"},
        dict.fromkeys(("version", "description", "digest"), "text"),
    ),
    "CreateVersionAlias": (
        "POST",
        "/functions/hello/aliases",
        {"name": "new", "version": "latest"},
        {"name": "text"} | ALIAS,
    ),
    "UpdateVersionAlias": ("PUT", "/functions/hello/aliases/live", {"version": "v1"}, ALIAS),
    "CreateDependencyVersion": (
        "POST",
        "/dependencies/version",
        {"name": "new", "runtime": "Python3.10", "depend_type": "zip", "depend_file": ARCHIVE},
        DEPENDENCY,
    ),
    "CreateDependency": (
        "POST",
        "/dependencies",
        {"name": "new", "runtime": "Python3.10", "depend_type": "zip", "depend_file": ARCHIVE},
        DEPENDENCY,
    ),
    "UpdateDependency": (
        "PUT",
        "/dependencies/{dependency}",
        {"name": "lib", "runtime": "Python3.10", "depend_type": "zip"},
        DEPENDENCY,
    ),
    "ImportFunction": (
        "POST",
        "/functions/import",
        {
            "func_name": "new",
            "file_name": "a.zip",
            "file_type": "zip",
            "file_code": base64.b64encode(zip_of({"t.yaml": TEMPLATE, "c.zip": base64.b64decode(ARCHIVE)})).decode(),
        },
        IMPORT,
    ),
}


@pytest.fixture
def furnished(api):
    """An API with a function that has two versions and an alias, and a dependency."""
    assert api.create().status == 200
    assert api.publish("v1").status == 200
    api.update(description="other")
    assert api.publish("v2").status == 200
    api.update(description="not published yet")
    assert api.send("POST", "/functions/hello/aliases", {"name": "live", "version": "v1"}).status == 200
    body = {"name": "lib", "runtime": "Python3.10", "depend_type": "zip", "depend_file": ARCHIVE}
    api.dependency = api.send("POST", "/dependencies", body).json["id"]
    return api


def state(api):
    """Return all that the API tells of what there is."""
    lists = ("/functions", "/functions/hello/versions", "/functions/hello/aliases", "/dependencies")
    # Links are signed for the time they are asked for, which stands still.
    return [api.send("GET", one).json for one in (*lists, "/functions/hello/code", f"/dependencies/{api.dependency}")]


def send(api, operation, body):
    method, path, _, _ = OPERATIONS[operation]
    return api.send(method, path.format(dependency=api.dependency), body)


def with_value(body, path, value):
    """Return a body with a value at a path; what is missing on the way is made."""
    body = json.loads(json.dumps(body))
    at = body
    *parents, last = path.split(".")
    for position, name in enumerate(parents):
        following = [*parents, last][position + 1]
        if isinstance(at, list):
            if not at:
                at.append(dict(RULE))
            at = at[int(name)]
        else:
            at = at.setdefault(name, [dict(RULE)] if following == "0" else {})
    at[last] = value
    return body


def wrong_values(kind):
    fitting = {"number": ("number",)}.get(kind, (kind,))
    return [value for name, value in WRONG.items() if name not in fitting]


CASES = [(name, field, kind) for name, (*_, fields) in OPERATIONS.items() for field, kind in fields.items()]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_good_body_is_good_and_an_unknown_field_is_ignored(furnished, operation):
    body = OPERATIONS[operation][2] | {"unknown_field": {"deep": [1, {"x": None}]}}

    answer = send(furnished, operation, body)

    assert answer.status == 200, answer.json


@pytest.mark.proves("error:FSS.0400")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_value_of_another_type_is_refused_by_name(furnished, operation):
    _, _, good, fields = OPERATIONS[operation]
    before = state(furnished)
    for field, kind in fields.items():
        for value in wrong_values(kind):
            answer = send(furnished, operation, with_value(good, field, value))

            assert answer.error == (400, "FSS.0400"), (field, value, answer.json)
            # The decoder names the members of a mapping and of a list by a mark of its own.
            named = field.split(".v2")[0].split(".0")[0]
            assert named.split(".")[0] in answer.json["error_msg"], (field, value, answer.json)
    assert state(furnished) == before


@pytest.mark.proves("error:FSS.0406")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("body", [b"{", b'{"a": [', b"nul", b'{"a": 1,}', b"\xff", b'{"a":' * 5000])
def test_a_body_that_is_not_json(furnished, operation, body):
    before = state(furnished)

    assert send(furnished, operation, body).error == (406, "FSS.0406")
    assert state(furnished) == before


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"text"', b"true"])
def test_a_body_that_is_no_object(furnished, operation, body):
    before = state(furnished)

    assert send(furnished, operation, body).error == (400, "FSS.0400")
    assert state(furnished) == before


@pytest.mark.parametrize(
    ("operation", "field", "codes"),
    [
        ("CreateFunction", "func_name", {"FSS.1002"}),
        ("CreateFunction", "runtime", {"FSS.1005"}),
        ("CreateFunction", "timeout", {"FSS.1008"}),
        ("CreateFunction", "handler", {"FSS.1003"}),
        ("CreateFunction", "memory_size", {"FSS.1007"}),
        ("CreateFunction", "code_type", {"FSS.1006"}),
        ("UpdateFunctionCode", "code_type", {"FSS.1006"}),
        ("UpdateFunctionCode", "func_code", {"FSS.1012"}),
        ("UpdateFunctionMaxInstanceConfig", "max_instance_num", {"FSS.1026"}),
        ("CreateVersionAlias", "name", {"FSS.1014"}),
        ("CreateVersionAlias", "version", {"FSS.1015"}),
        ("UpdateVersionAlias", "version", {"FSS.1015"}),
        ("CreateDependencyVersion", "name", {"FSS.1024"}),
        ("CreateDependencyVersion", "runtime", {"FSS.1005"}),
        ("CreateDependencyVersion", "depend_type", {"FSS.1032"}),
        ("CreateDependencyVersion", "depend_file", {"FSS.1024"}),
        ("UpdateDependency", "name", {"FSS.1024"}),
        ("ImportFunction", "func_name", {"FSS.1002"}),
        ("ImportFunction", "file_name", {"FSS.0400"}),
        ("ImportFunction", "file_type", {"FSS.1013"}),
        ("ImportFunction", "file_code", {"FSS.1012"}),
    ],
)
@pytest.mark.parametrize("how", ["missing", "null", "empty"])
def test_a_field_that_is_needed(furnished, operation, field, codes, how):
    body = json.loads(json.dumps(OPERATIONS[operation][2]))
    empty = {"func_code": {}}.get(field, "")
    if how == "missing":
        del body[field]
    else:
        body[field] = None if how == "null" else empty
    before = state(furnished)

    answer = send(furnished, operation, body)

    # A number has no empty value: an empty text is of another type.
    is_number = OPERATIONS[operation][3].get(field) == "number"
    assert answer.json["error_code"] in ({"FSS.0400"} if how == "empty" and is_number else codes)
    assert state(furnished) == before
