"""Every member of the configuration of a function: what it may not be, by a table that must name all of them."""

import json
from pathlib import Path

import pytest

from funclet.api.wire.function_fields import ConfigFields
from tests.support.api import new_body

LONG = "x" * 257
HUGE = "x" * 300_000
NOT_TEXT = [1, 1.5, True, [], {}, ["x"], {"x": "y"}]
NOT_NUMBER = ["3", 3.5, True, [], {}, 1e300, ""]
NOT_FLAG = ["true", "", 0, 1, [], {}]
NOT_OBJECT = ["x", 1, True, [1], ["x"], [{}]]
VPC = {"vpc_id": "v", "subnet_id": "s"}
MOUNT = {"mount_type": "sfs", "mount_resource": "r1", "local_mount_path": "/mnt/data"}


def mounts(**changes):
    return {"func_mounts": [MOUNT | changes]}


# Member -> values of the wrong type (FSS.0400), and values that are wrong otherwise with their code.
FIELDS = {
    "func_name": (NOT_TEXT, []),
    "package": (NOT_TEXT, []),
    "runtime": (NOT_TEXT, [("Cobol", "FSS.1005"), ("python3.10", "FSS.1005"), (HUGE, "FSS.1005")]),
    "timeout": (NOT_NUMBER, [(value, "FSS.1008") for value in (0, 2, -1, 259_201, 2**70)]),
    "handler": (
        NOT_TEXT,
        [(value, "FSS.1003") for value in ("x", "." * 9, "../x.y", "/x.y", "a\x00.b", "x." + "y" * 127)],
    ),
    "memory_size": (NOT_NUMBER, [(value, "FSS.1007") for value in (0, 1, 127, 129, -128, 10_241, 2**70)]),
    "description": (NOT_TEXT, [("d" * 513, "FSS.1019"), (HUGE, "FSS.1019")]),
    "user_data": (
        NOT_TEXT,
        [
            ("{", "FSS.1009"),
            ("[]", "FSS.1009"),
            ("null", "FSS.1009"),
            ('{"a": 1}', "FSS.1009"),
            ('{"a": {"b": "c"}}', "FSS.1009"),
            ('{"1a": "x"}', "FSS.1009"),
            ('{"": "x"}', "FSS.1009"),
            ('{"a-b": "x"}', "FSS.1009"),
            ('{"a": "\\u0000"}', "FSS.1009"),
            ('{"a": "\\ud800"}', "FSS.1009"),
            ("[" * 50_000, "FSS.1009"),
            (json.dumps({f"k{n}": "" for n in range(21)}), "FSS.1017"),
            (json.dumps({"k": "v" * 4096}), "FSS.1018"),
            (HUGE, "FSS.1018"),
        ],
    ),
    "encrypted_user_data": (
        NOT_TEXT,
        [
            ("{", "FSS.1009"),
            ('{"a": 1}', "FSS.1009"),
            ('{"RUNTIME_CPU": "1"}', "FSS.1009"),
            ("sealed:AAAA", "FSS.1009"),
            (json.dumps({f"k{n}": "" for n in range(21)}), "FSS.1017"),
            (json.dumps({"k": "v" * 4096}), "FSS.1018"),
            (HUGE, "FSS.1018"),
        ],
    ),
    "initializer_handler": (NOT_TEXT, [(value, "FSS.1404") for value in ("x", "../a.b", "a\x00.b", "x." + "y" * 127)]),
    "initializer_timeout": (NOT_NUMBER, [(value, "FSS.1405") for value in (-1, 301, 2**70)]),
    "pre_stop_handler": (NOT_TEXT, [(value, "FSS.0400") for value in ("x", "a.b", "x." + "y" * 127)]),
    "pre_stop_timeout": (NOT_NUMBER, [(value, "FSS.0400") for value in (-1, 91, 2**70)]),
    "ephemeral_storage": (NOT_NUMBER, [(value, "FSS.0400") for value in (1, 511, 513, 10_239, -512, 20_480)]),
    "enable_dynamic_memory": (NOT_FLAG, []),
    "enable_fresh_state": (NOT_FLAG, []),
    "strategy_config": (
        [*NOT_OBJECT, {"concurrency": "1"}, {"concurrent_num": 1.5}],
        [
            ({"concurrency": -2}, "FSS.1026"),
            ({"concurrency": 1001}, "FSS.1026"),
            ({"concurrent_num": -1}, "FSS.1026"),
            ({"concurrent_num": 2}, "FSS.1026"),
            ({"concurrent_num": 1001}, "FSS.1026"),
        ],
    ),
    "network_controller": (
        [*NOT_OBJECT, {"disable_public_network": 1}, {"trigger_access_vpcs": {}}, {"trigger_access_vpcs": ["x"]}],
        [
            ({"trigger_access_vpcs": [{"vpc_id": LONG}]}, "FSS.0400"),
            ({"trigger_access_vpcs": [{"vpc_id": "v"}] * 101}, "FSS.0400"),
        ],
    ),
    "func_vpc": (
        [*NOT_OBJECT, {"vpc_id": 1, "subnet_id": "s"}, VPC | {"security_groups": "x"}, VPC | {"is_safety": 1}],
        [
            ({"vpc_id": "v"}, "FSS.0400"),
            ({"subnet_id": "s"}, "FSS.0400"),
            ({"vpc_id": "", "subnet_id": ""}, "FSS.0400"),
            (VPC, "FSS.0400"),  # without an agency
            ({"vpc_id": LONG, "subnet_id": "s"}, "FSS.0400"),
            (VPC | {"security_groups": ["g"] * 101}, "FSS.0400"),
        ],
    ),
    "mount_config": (
        [*NOT_OBJECT, {"func_mounts": {}}, {"func_mounts": ["x"]}, {"mount_user": []}, mounts(mount_type=1)],
        [
            (mounts(mount_type="nfs"), "FSS.0400"),
            (mounts(mount_resource=""), "FSS.0400"),
            (mounts(mount_resource=LONG), "FSS.0400"),
            (mounts(mount_share_path=LONG), "FSS.0400"),
            (mounts(local_mount_path="/tmp"), "FSS.1039"),
            (mounts() | {"mount_user": {"user_id": 0}}, "FSS.1075"),
        ],
    ),
    "custom_image": (
        [*NOT_OBJECT, {"enabled": "true"}, {"image": 1}, {"uid": 1003}],
        [({"command": "x" * 5121}, "FSS.0400"), ({"image": "i", "working_dir": "/srv"}, "FSS.0400")],
    ),
    "log_config": ([*NOT_OBJECT, {"group_id": 1}], [({"group_id": LONG}, "FSS.0400")]),
    "lts_custom_tag": (
        ["x", 1, [], {"k": 1}, {"k": None}],
        [
            ({"k": ""}, "FSS.0400"),
            ({"": "v"}, "FSS.0400"),
            ({"k k": "v"}, "FSS.0400"),
            ({"k": "v" * 65}, "FSS.0400"),
            ({"k" * 65: "v"}, "FSS.0400"),
            ({f"k{n}": "v" for n in range(11)}, "FSS.0400"),
        ],
    ),
    "gpu_memory": (NOT_NUMBER, [(1024, "FSS.1007"), (-1, "FSS.1007")]),
    "gpu_type": (NOT_TEXT, [("nvidia-t4", "FSS.1007"), ("abacus", "FSS.1007")]),
    "xrole": (NOT_TEXT, [(LONG, "FSS.0400")]),
    "app_xrole": (NOT_TEXT, [(LONG, "FSS.0400")]),
    "extend_config": (NOT_TEXT, [(HUGE, "FSS.0400")]),
    "enterprise_project_id": (NOT_TEXT, [(LONG, "FSS.0400")]),
    "type": (NOT_TEXT, [("v3", "FSS.0400"), ("V1", "FSS.0400")]),
    "peering_cidr": (
        NOT_TEXT,
        [
            ("x", "FSS.0400"),
            ("10.0.0.0/33", "FSS.0400"),
            ("10.0.0.0/8;", "FSS.0400"),
            (";".join(["10.0.0.0/8"] * 6), "FSS.0400"),
        ],
    ),
    "domain_names": (NOT_TEXT, [("x", "FSS.0400"), ("{}", "FSS.0400"), ("[1]", "FSS.0400"), (HUGE, "FSS.0400")]),
    "heartbeat_handler": (NOT_TEXT, [("x", "FSS.0400"), ("x." + "y" * 127, "FSS.0400"), ("a.\nb", "FSS.0400")]),
    "restore_hook_handler": (NOT_TEXT, [("x", "FSS.0400"), ("x." + "y" * 127, "FSS.0400")]),
    "restore_hook_timeout": (NOT_NUMBER, [(-1, "FSS.0400"), (301, "FSS.0400")]),
    "enable_class_isolation": (NOT_FLAG, []),
    "enable_auth_in_header": (NOT_FLAG, []),
    "enable_lts_log": (NOT_FLAG, []),
    "is_stateful_function": (NOT_FLAG, []),
    "user_data_encrypt_kms_key_id": (NOT_TEXT, [(LONG, "FSS.0400")]),
    "code_encrypt_kms_key_id": (NOT_TEXT, [(LONG, "FSS.0400")]),
    "tags": (NOT_TEXT, [(HUGE, "FSS.0400")]),
}
WRONG_TYPES = [(name, value) for name, (values, _) in FIELDS.items() for value in values]
WRONG_VALUES = [(name, value, code) for name, (_, rows) in FIELDS.items() for value, code in rows]
# What must go together, or must not.
CONFLICTS = [
    ({"initializer_handler": "index.start", "initializer_timeout": 301}, "FSS.1405"),
    ({"initializer_handler": "index.start", "initializer_timeout": -1}, "FSS.1405"),
    ({"pre_stop_handler": "index.stop", "pre_stop_timeout": 91}, "FSS.0400"),
    ({"pre_stop_handler": "index.stop", "pre_stop_timeout": 0}, "FSS.0400"),
    ({"user_data": '{"a": "1"}', "encrypted_user_data": '{"a": "2"}'}, "FSS.1009"),
    (
        {
            "user_data": json.dumps({f"a{n}": "" for n in range(11)}),
            "encrypted_user_data": json.dumps({f"b{n}": "" for n in range(10)}),
        },
        "FSS.1017",
    ),
    ({"user_data": '{"a": "%s"}' % ("x" * 2100), "encrypted_user_data": '{"b": "%s"}' % ("x" * 2100)}, "FSS.1018"),
    ({"gpu_memory": 1024, "gpu_type": "nvidia-t4"}, "FSS.1007"),
    ({"mount_config": {"func_mounts": [MOUNT, MOUNT]}}, "FSS.1039"),
    ({"extend_config": "x" * 131_072, "tags": "x" * 131_072}, "FSS.0400"),
]
LIMITS = [
    ("timeout", 3),
    ("timeout", 259_200),
    ("memory_size", 128),
    ("memory_size", 10_240),
    ("handler", "x." + "y" * 126),
    ("description", "ü" * 512),
    ("user_data", json.dumps({"k": "v" * 4095})),
    ("user_data", json.dumps({f"k{n}": "" for n in range(20)})),
    ("encrypted_user_data", json.dumps({"k": "v" * 4095})),
    ("strategy_config", {"concurrency": -1}),
    ("strategy_config", {"concurrency": 1000}),
    ("ephemeral_storage", 512),
    ("ephemeral_storage", 10_240),
    ("xrole", "x" * 256),
    ("heartbeat_handler", "x." + "y" * 126),
    ("restore_hook_timeout", 300),
    ("peering_cidr", ";".join(["10.0.0.0/8"] * 5)),
    ("lts_custom_tag", {f"{n}{'k' * 63}": "v" * 64 for n in range(10)}),
    ("domain_names", json.dumps([{"domain_name": "a.b"}] * 100)),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory, registry):
    """An API for all rows, with one function that no row may change."""
    from tests.support.api import InProcessApi

    api = InProcessApi(tmp_path_factory.mktemp("fields"), registry)
    assert api.create().status == 200
    yield api
    api.close()


@pytest.fixture
def unchanged(shared):
    """Compare the function, and the list of all, before and after."""
    before = shared.config(), shared.send("GET", "/functions").json
    yield
    assert (shared.config(), shared.send("GET", "/functions").json) == before


def refusals(api, **fields):
    """Return status, code and message of a creation and of a change with these members."""
    answers = api.send("POST", "/functions", new_body("new") | fields), api.update(**fields)
    return [(*answer.error, answer.json["error_msg"]) for answer in answers if answer.status != 200]


def test_the_table_names_every_member():
    assert set(FIELDS) == set(ConfigFields.__struct_fields__)


def test_the_reference_page_names_every_member():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "function-configuration.md").read_text()

    assert [name for name in ConfigFields.__struct_fields__ if f"`{name}" not in page] == []


@pytest.mark.proves("error:FSS.0400")
@pytest.mark.parametrize(("name", "value"), WRONG_TYPES, ids=lambda value: str(value)[:30])
def test_a_member_of_the_wrong_type_is_refused_by_name(shared, unchanged, name, value):
    found = refusals(shared, **{name: value})

    assert [one[:2] for one in found] == [(400, "FSS.0400")] * 2
    assert all(name in message and len(message) < 500 for _, _, message in found)


@pytest.mark.proves(
    "error:FSS.0400",
    "error:FSS.1003",
    "error:FSS.1005",
    "error:FSS.1007",
    "error:FSS.1008",
    "error:FSS.1009",
    "error:FSS.1017",
    "error:FSS.1018",
    "error:FSS.1019",
    "error:FSS.1026",
    "error:FSS.1404",
    "quota:timeout",
    "quota:memory",
    "quota:environment-size",
    "quota:environment-variables",
    "quota:log-tags",
    "quota:tmp",
    "quota:function instances",
    "quota:instance-concurrency",
    "quota:function-description",
    "quota:restore-hook-timeout",
)
@pytest.mark.parametrize(("name", "value", "code"), WRONG_VALUES, ids=lambda value: str(value)[:30])
def test_a_member_outside_its_rule_is_refused(shared, unchanged, name, value, code):
    found = refusals(shared, **{name: value})

    assert [one[:2] for one in found] == [(400, code)] * 2
    assert all(0 < len(message) < 1000 for _, _, message in found)


@pytest.mark.proves("error:FSS.1405", "quota:initializer-timeout", "quota:pre-stop-timeout")
@pytest.mark.parametrize(("fields", "code"), CONFLICTS)
def test_members_that_do_not_go_together_are_refused(shared, unchanged, fields, code):
    assert [one[:2] for one in refusals(shared, **fields)] == [(400, code)] * 2


@pytest.mark.proves(
    *(
        f"quota:{name}"
        for name in ("timeout", "memory", "environment-size", "environment-variables", "log-tags", "tmp")
    ),
    *(f"quota:{name}" for name in ("function instances", "function-description", "restore-hook-timeout")),
)
@pytest.mark.parametrize(("name", "value"), LIMITS, ids=lambda value: str(value)[:30])
def test_a_member_at_its_limit_is_taken(api, name, value):
    created, updated = api.create(**{name: value}), api.create("second") and api.update("second", **{name: value})

    assert (created.status, updated.status) == (200, 200), (created.json, updated.json)


@pytest.mark.proves("quota:initializer-timeout", "quota:pre-stop-timeout")
def test_hooks_at_their_limits_are_taken(api):
    hooks = {"initializer_handler": "index.a", "pre_stop_handler": "index.b"}

    assert api.create(**hooks, initializer_timeout=300, pre_stop_timeout=90).status == 200
    assert api.update(**hooks, initializer_timeout=1, pre_stop_timeout=1).status == 200


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"func_name", "runtime", "handler", "timeout", "memory_size"}))
def test_null_is_as_good_as_absent_for_what_need_not_be(api, name):
    created = api.send("POST", "/functions", new_body() | {name: None})

    assert created.status == 200, created.json
    assert api.update(**{name: None}).status == 200


@pytest.mark.parametrize("name", ["func_name", "runtime", "handler", "timeout", "memory_size", "code_type"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_must_be_there_is_missed_by_name(api, name, value):
    body = {key: content for key, content in new_body().items() if key != name}
    is_number = name in ("timeout", "memory_size")

    answers = [api.send("POST", "/functions", body), api.send("POST", "/functions", body | {name: value})]

    assert all(answer.status == 400 and name in answer.json["error_msg"] for answer in answers)
    codes = {answer.json["error_code"] for answer in answers}
    assert len(codes) == (2 if is_number and value == "" else 1)
    assert api.send("GET", "/functions").json["count"] == 0


@pytest.mark.parametrize(
    "empty", [{"description": "", "peering_cidr": "", "heartbeat_handler": "", "restore_hook_timeout": 0}]
)
def test_what_one_client_always_sends_empty_is_not_set(api, empty):
    assert api.create(**empty).status == 200
    assert api.update(**empty, restore_hook_handler="", initializer_timeout=0).status == 200


def test_unknown_members_are_ignored_wherever_they_stand(api):
    fields = {
        "of_tomorrow": {"a": [1]},
        "strategy_config": {"concurrency": 5, "x": 1},
        "func_vpc": VPC | {"x": 1},
        "xrole": "agency",
        "mount_config": {"mount_user": {"x": 1}, "func_mounts": [MOUNT | {"x": 1}], "x": 1},
        "network_controller": {"x": 1},
        "custom_image": {"x": 1},
        "log_config": {"x": 1},
    }

    assert api.create(**fields).status == 200
    assert api.update(**fields).status == 200
    assert '"x"' not in json.dumps(api.config())


@pytest.mark.proves("faq:FAQ-224", "faq:FAQ-225")
def test_name_and_runtime_stay_whatever_a_change_says(api):
    api.create()

    assert api.send("PUT", "/functions/hello/config", {"func_name": "other", "runtime": "Node.js20.15"}).error == (
        400,
        "FSS.1005",
    )
    assert api.send("PUT", "/functions/hello/config", {"func_name": "other"}).json["func_name"] == "hello"
    assert api.send("GET", "/functions/other/config").error == (404, "FSS.1051")


@pytest.mark.parametrize(
    ("fields", "is_taken"),
    [
        ({"handler": "com.demo.Main.handle", "heartbeat_handler": "com.demo.Main.beat"}, True),
        ({"handler": "com.demo.Main.handle", "heartbeat_handler": "com.demo.Other.beat"}, False),
        ({"handler": "com.demo.Main.handle", "heartbeat_handler": "beat"}, False),
    ],
)
def test_a_heartbeat_is_a_method_of_the_handlers_class(api, fields, is_taken):
    answer = api.create(runtime="Java17", code_type="jar", code_filename="a.jar", **fields)

    assert answer.status == (200 if is_taken else 400), answer.json


@pytest.mark.proves("faq:FAQ-463")
def test_both_framework_versions_have_the_same_settings(api):
    limits = {"strategy_config": {"concurrency": 5, "concurrent_num": 1}, "lts_custom_tag": {"team": "a"}}

    shown = [api.create(kind, type=kind, **limits).json for kind in ("v1", "v2")]

    assert [one["type"] for one in shown] == ["v1", "v2"]
    assert all(one[name] == value for one in shown for name, value in limits.items())
