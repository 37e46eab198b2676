"""Create, read, list, change and delete functions through the API."""

import json
import re

import pytest

from funclet.services.limits import Limits
from tests.support.api import OTHER_PROJECT, PROJECT, new_body, text_base64
from tests.support.packages import zip_base64

URN = f"urn:fss:test-1:{PROJECT.project_id}:function:default:hello"
VPC = {
    "vpc_id": "v1",
    "subnet_id": "s1",
    "vpc_name": "net",
    "subnet_name": "sub",
    "cidr": "10.0.0.0/16",
    "security_groups": ["sg"],
    "is_safety": True,
}
MOUNT = {"mount_type": "sfs", "mount_resource": "r1", "local_mount_path": "/mnt/data"}


def mounts(*paths, **user):
    mounts = [{**MOUNT, "local_mount_path": path, "mount_share_path": f"/{n}"} for n, path in enumerate(paths)]
    return {"mount_user": user, "func_mounts": mounts}


EVERYTHING = {
    "user_data": '{"B": "1",  "A":"ü"}',
    "encrypted_user_data": '{"password": "secret"}',
    "description": "does things",
    "xrole": "agency",
    "app_xrole": "running",
    "initializer_handler": "index.init",
    "initializer_timeout": 300,
    "pre_stop_handler": "index.stop",
    "pre_stop_timeout": 90,
    "func_vpc": VPC,
    "mount_config": {"mount_user": {"mount_user_id": 500, "mount_user_group_id": -1}, "func_mounts": [MOUNT]},
    "enterprise_project_id": "ep",
    "type": "v1",
    "log_config": {"group_id": "g", "group_name": "gn", "stream_id": "s", "stream_name": "sn"},
    "network_controller": {"disable_public_network": True, "trigger_access_vpcs": [{"vpc_id": "v", "vpc_name": "n"}]},
    "is_stateful_function": True,
    "enable_dynamic_memory": True,
    "enable_fresh_state": True,
    "enable_lts_log": True,
    "lts_custom_tag": {"team": "a-1"},
    "user_data_encrypt_kms_key_id": "k1",
    "code_encrypt_kms_key_id": "k2",
    "domain_names": '[{"id":"1"}]',
    "tags": "k1:v1",
}


def test_create_answers_200_with_the_full_configuration(api):
    answer = api.create(package="tools", timeout=901, memory_size=256)

    assert answer.status == 200
    created = answer.json
    assert created["func_urn"] == f"urn:fss:test-1:{PROJECT.project_id}:function:tools:hello:latest"
    assert re.fullmatch(r"[0-9a-f-]{36}", created["func_id"])
    assert created["resource_id"] == f"{created['func_id']}:hello"
    assert re.fullmatch(r"latest-\d{12}@[a-z0-9]{5}", created["image_name"])
    assert re.fullmatch(r"[0-9a-f]{128}", created["digest"])
    assert created["code_size"] > 0
    expected = {
        "domain_id": PROJECT.domain_id,
        "namespace": PROJECT.project_id,
        "project_name": "test-1",
        "package": "tools",
        "cpu": 400,
        "version": "latest",
        "long_time": True,
        "strategy_config": {"concurrency": 400, "concurrent_num": 1},
        "depend_list": [],
        "depend_version_list": [],
        "ephemeral_storage": 512,
        "allow_ephemeral_storage": True,
        "enterprise_project_id": "0",
        "type": "v2",
        "enable_cloud_debug": "DISABLED",
        "last_modified": "2026-09-21T14:13:20Z",
    }
    assert {name: created[name] for name in expected} == expected
    assert not {"mount_config", "func_vpc", "custom_image"} & created.keys()


@pytest.mark.proves("faq:FAQ-124")
def test_everything_that_is_sent_comes_back(api):
    assert api.create(**EVERYTHING).status == 200

    read = api.config()

    expected = EVERYTHING | {
        "encrypted_user_data": '{"password":""}',
        "mount_config": {
            "mount_user": {"user_id": 500, "user_group_id": -1},
            "func_mounts": [{**MOUNT, "status": "active"}],
        },
    }
    assert {name: read[name] for name in expected} == expected
    assert (read["log_group_id"], read["log_stream_id"]) == ("g", "s")


def test_ids_of_keys_are_kept_by_versions_and_changed_each_with_what_it_is_for(api):
    api.create(user_data_encrypt_kms_key_id="k1", code_encrypt_kms_key_id="k2")
    api.publish("v1")
    file = {"file": zip_base64({"index.py": "pass"})}

    api.update(user_data_encrypt_kms_key_id="k3")
    recoded = api.send(
        "PUT", "/functions/hello/code", {"code_type": "zip", "func_code": file, "code_encrypt_kms_key_id": "k4"}
    ).json
    untouched = api.send("PUT", "/functions/hello/code", {"code_type": "zip", "func_code": file}).json

    def ids(answer):
        return answer["user_data_encrypt_kms_key_id"], answer["code_encrypt_kms_key_id"]

    assert (recoded["code_encrypt_kms_key_id"], untouched["code_encrypt_kms_key_id"]) == ("k4", "k4")
    assert ids(api.config()) == ("k3", "k4")
    urn = f"urn:fss:test-1:{PROJECT.project_id}:function:default:hello:v1"
    assert ids(api.send("GET", f"/functions/{urn}/config").json) == ("k1", "k2")
    assert api.send("GET", "/functions/hello/code").json["code_encrypt_kms_key_id"] == "k4"
    assert ids(api.update(user_data_encrypt_kms_key_id="").json) == ("", "k4")


def test_unknown_members_are_ignored(api):
    assert api.create(of_the_future={"a": 1}).status == 200


def test_an_empty_package_is_default(api):
    assert api.create(package="").json["package"] == "default"
    assert api.create("second", package=None).json["package"] == "default"


@pytest.mark.proves(
    "error:FSS.1004",
    "error:FSS.1017",
    "error:FSS.1018",
    "error:FSS.1024",
    "error:FSS.1039",
    "error:FSS.1049",
    "error:FSS.1075",
    "error:FSS.1404",
    "error:FSS.1405",
)
@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"func_name": None}, 400, "FSS.1002"),
        ({"func_name": ""}, 400, "FSS.1002"),
        ({"func_name": "1st"}, 400, "FSS.1002"),
        ({"func_name": "a_"}, 400, "FSS.1002"),
        ({"func_name": "a" * 61}, 400, "FSS.1002"),
        ({"func_name": "a/b"}, 400, "FSS.1002"),
        ({"package": "p q"}, 400, "FSS.1004"),
        ({"package": "a" * 61}, 400, "FSS.1004"),
        ({"runtime": None}, 400, "FSS.1005"),
        ({"runtime": "Python9.9"}, 400, "FSS.1005"),
        ({"runtime": "python3.10"}, 400, "FSS.1005"),
        ({"handler": None}, 400, "FSS.1003"),
        ({"handler": "index"}, 400, "FSS.1003"),
        ({"handler": "../index.handler"}, 400, "FSS.1003"),
        ({"handler": "a." + "h" * 127}, 400, "FSS.1003"),
        ({"timeout": None}, 400, "FSS.1008"),
        ({"timeout": 0}, 400, "FSS.1008"),
        ({"timeout": 2}, 400, "FSS.1008"),
        ({"timeout": 259_201}, 400, "FSS.1008"),
        ({"memory_size": None}, 400, "FSS.1007"),
        ({"memory_size": 0}, 400, "FSS.1007"),
        ({"memory_size": 129}, 400, "FSS.1007"),
        ({"memory_size": 10_241}, 400, "FSS.1007"),
        ({"code_type": None}, 400, "FSS.1006"),
        ({"code_type": "rar"}, 400, "FSS.1006"),
        ({"code_filename": "../x.zip"}, 400, "FSS.1078"),
        ({"func_code": {"file": "!!!"}}, 400, "FSS.1011"),
        ({"func_code": {"file": text_base64("no archive")}}, 400, "FSS.1011"),
        ({"code_type": "obs", "code_url": "https://b.example/x.zip"}, 400, "FSS.1010"),
        ({"description": "d" * 513}, 400, "FSS.1019"),
        ({"user_data": "{"}, 400, "FSS.1009"),
        ({"user_data": '{"a":1}'}, 400, "FSS.1009"),
        ({"user_data": '{"1a":""}'}, 400, "FSS.1009"),
        ({"user_data": '{"RUNTIME_CPU":""}'}, 400, "FSS.1009"),
        ({"user_data": r'{"a":"\ud800"}'}, 400, "FSS.1009"),
        ({"user_data": r'{"a":"\u0000"}'}, 400, "FSS.1009"),
        ({"user_data": '{"a":""}', "encrypted_user_data": '{"a":""}'}, 400, "FSS.1009"),
        ({"user_data": json.dumps({f"k{n}": "" for n in range(21)})}, 400, "FSS.1017"),
        ({"user_data": json.dumps({"k": "v" * 4096})}, 400, "FSS.1018"),
        ({"user_data": json.dumps({"k": ""}) + " " * 65_536}, 400, "FSS.1018"),
        ({"initializer_handler": "init"}, 400, "FSS.1404"),
        ({"initializer_handler": "a.b", "initializer_timeout": 301}, 400, "FSS.1405"),
        ({"initializer_handler": "a.b", "initializer_timeout": -1}, 400, "FSS.1405"),
        ({"pre_stop_handler": "a.b"}, 400, "FSS.0400"),
        ({"pre_stop_handler": "a.b", "pre_stop_timeout": 91}, 400, "FSS.0400"),
        ({"func_vpc": {"vpc_id": "v"}, "xrole": "a"}, 400, "FSS.0400"),
        ({"func_vpc": VPC}, 400, "FSS.0400"),
        ({"mount_config": mounts(*(f"/m{n}" for n in range(6)))}, 403, "FSS.1049"),
        ({"mount_config": mounts("relative")}, 400, "FSS.1039"),
        ({"mount_config": mounts("/")}, 400, "FSS.1039"),
        ({"mount_config": mounts("/mnt/../etc")}, 400, "FSS.1039"),
        ({"mount_config": mounts("/mnt", "/mnt/")}, 400, "FSS.1039"),
        ({"mount_config": mounts("/" + "m" * 255)}, 400, "FSS.1039"),
        ({"mount_config": {"func_mounts": [{**MOUNT, "mount_type": "nfs"}]}}, 400, "FSS.0400"),
        ({"mount_config": {"func_mounts": [{**MOUNT, "mount_type": "ecs"}]}}, 400, "FSS.0400"),
        ({"mount_config": {"func_mounts": [{**MOUNT, "mount_resource": ""}]}}, 400, "FSS.0400"),
        ({"mount_config": mounts("/m", user_id=0)}, 400, "FSS.1075"),
        ({"mount_config": mounts("/m", user_id=1000)}, 400, "FSS.1075"),
        ({"mount_config": mounts("/m", mount_user_id=1002)}, 400, "FSS.1075"),
        ({"mount_config": mounts("/m", user_group_id=65_535)}, 400, "FSS.1075"),
        ({"mount_config": mounts("/m", user_group_id=-2)}, 400, "FSS.1075"),
        ({"type": "v3"}, 400, "FSS.0400"),
        ({"gpu_memory": 1024}, 400, "FSS.1007"),
        ({"gpu_memory": 1025, "runtime": "Custom"}, 400, "FSS.1007"),
        ({"gpu_memory": 17_408, "runtime": "Custom"}, 400, "FSS.1007"),
        ({"lts_custom_tag": {f"k{n}": "v" for n in range(11)}}, 400, "FSS.0400"),
        ({"lts_custom_tag": {"k": "v" * 65}}, 400, "FSS.0400"),
        ({"lts_custom_tag": {"k": "a b"}}, 400, "FSS.0400"),
        ({"peering_cidr": "10.0.0.0/33"}, 400, "FSS.0400"),
        ({"peering_cidr": ";".join(["10.0.0.0/8"] * 6)}, 400, "FSS.0400"),
        ({"restore_hook_timeout": 301}, 400, "FSS.0400"),
        ({"ephemeral_storage": 1024}, 400, "FSS.0400"),
        ({"strategy_config": {"concurrency": -2}}, 400, "FSS.1026"),
        ({"strategy_config": {"concurrency": 1001}}, 400, "FSS.1026"),
        ({"strategy_config": {"concurrent_num": 2}}, 400, "FSS.1026"),
        ({"depend_version_list": ["no-such"]}, 404, "FSS.1056"),
        ({"depend_version_list": [str(n) for n in range(21)]}, 400, "FSS.1024"),
        ({"custom_image": {"image": "i", "working_dir": "/app"}}, 400, "FSS.0400"),
        ({"custom_image": {"image": "i", "args": "a" * 5121}}, 400, "FSS.0400"),
        ({"runtime": "Custom Image"}, 400, "FSS.0400"),
        ({"domain_names": "d" * 262_144}, 400, "FSS.0400"),
        ({"timeout": "3"}, 400, "FSS.0400"),
        ({"memory_size": 128.5}, 400, "FSS.0400"),
        ({"func_code": "text"}, 400, "FSS.0400"),
        ({"enable_lts_log": "yes"}, 400, "FSS.0400"),
        ({"lts_custom_tag": {"k": 1}}, 400, "FSS.0400"),
        ({"func_vpc": []}, 400, "FSS.0400"),
    ],
)
def test_create_refuses(api, fields, status, code):
    answer = api.send("POST", "/functions", new_body(**{"name": "hello", **_renamed(fields)}))

    assert answer.error == (status, code)
    assert api.send("GET", "/functions").json["count"] == 0
    assert api.changes == []


def _renamed(fields):
    """Return fields with an explicit wish for `func_name` in place of the default."""
    return {**fields, "name": fields["func_name"]} if fields.get("func_name") else fields


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a"},
        {"name": "a" * 60},
        {"package": "p" * 60},
        {"timeout": 259_200},
        {"memory_size": 10_240},
        {"handler": "a." + "h" * 126},
        {"description": "d" * 512},
        {"user_data": json.dumps({f"k{n}": "" for n in range(20)})},
        {"user_data": json.dumps({"k": "v" * 4095})},
        {"mount_config": mounts("/m", user_id=65_534, user_group_id=1001)},
        {"mount_config": mounts(*(f"/m{n}" for n in range(5)))},
        {"lts_custom_tag": {f"k{n}": "v" * 64 for n in range(10)}},
        {"peering_cidr": ";".join(["10.0.0.0/8"] * 5)},
        {"runtime": "Custom", "handler": "bootstrap", "gpu_memory": 16_384, "gpu_type": "nvidia-t4"},
        {"runtime": "http", "handler": None, "strategy_config": {"concurrent_num": 1000}},
        {"runtime": "C#(.NET Core 6.0)", "handler": "Assembly::Name.Class::Method"},
        {"runtime": "Java11", "handler": "com.demo.Main.run", "code_type": "jar", "code_filename": "app.jar"},
    ],
)
def test_create_accepts_at_the_limits(api, fields):
    answer = api.send("POST", "/functions", new_body(**{"name": "hello", **fields}))

    assert answer.status == 200, answer.json


def test_an_image_function_needs_no_code_and_no_handler(api):
    fields = {"handler": None, "code_type": None, "code_filename": None, "func_code": None}
    created = api.create(runtime="Custom Image", custom_image={"enabled": True, "image": "reg/app:1"}, **fields).json

    assert (created["handler"], created["code_type"], created["digest"]) == ("-", "Custom-Image-Swr", "")
    expected = {"enabled": True, "image": "reg/app:1", "working_dir": "/", "uid": "1003", "gid": "1003"}
    assert created["custom_image"] == expected


def test_empty_values_mean_not_set(api):
    empty = {
        "description": "",
        "peering_cidr": "",
        "heartbeat_handler": "",
        "restore_hook_handler": "",
        "restore_hook_timeout": 0,
        "initializer_handler": "",
        "initializer_timeout": 0,
        "gpu_memory": 0,
        "xrole": "",
        "enterprise_project_id": "",
        "strategy_config": {"concurrent_num": 0},
        "lts_custom_tag": {},
        "mount_config": {"mount_user": {}, "func_mounts": []},
        "custom_image": {},
        "log_config": {},
        "ephemeral_storage": 0,
        "package": "",
        "func_vpc": None,
    }

    created = api.create(**empty).json

    assert created["enterprise_project_id"] == "0"
    assert created["ephemeral_storage"] == 512
    assert created["strategy_config"] == {"concurrency": 400, "concurrent_num": 1}
    assert not {"mount_config", "func_vpc", "custom_image", "log_config", "initializer_timeout"} & created.keys()


def test_a_body_that_is_not_json_is_406(api):
    assert api.send("POST", "/functions", b"{").error == (406, "FSS.0406")


@pytest.mark.proves("error:FSS.1061")
def test_a_name_is_unique_in_the_project_across_packages(api):
    api.create(package="one")

    assert api.create(package="two").error == (409, "FSS.1061")


def test_of_many_that_create_the_same_at_once_one_wins(api):
    statuses = api.send_together("POST", "/functions", [new_body()] * 8)

    assert sorted(statuses) == [200] + [409] * 7


def test_another_project_may_use_the_same_name_and_sees_nothing(api):
    api.create()
    api.act_as(OTHER_PROJECT)

    assert api.send("GET", "/functions/hello/config").error == (404, "FSS.1051")
    assert api.send("GET", f"/functions/{URN}/config").error == (403, "FSS.0403")
    assert api.create().status == 200


@pytest.mark.proves(
    "error:FSS.1041", "error:FSS.1044", "quota:fgs_func_num", "quota:fgs_func_code_size", "quota:packages"
)
@pytest.mark.parametrize(
    ("limits", "package", "code"),
    [
        (Limits(functions=1), "default", "FSS.1041"),
        (Limits(packages=1), "other", "FSS.1044"),
        (Limits(code_bytes=200), "default", "FSS.1042"),
    ],
)
def test_quotas_hold_one_past_the_limit(new_api, limits, package, code):
    api = new_api(limits=limits)
    assert api.create().status == 200

    assert api.create("second", package=package).error == (403, code)
    assert api.send("GET", "/functions").json["count"] == 1


def test_a_taken_name_is_reported_before_a_quota(new_api):
    api = new_api(limits=Limits(functions=1))
    api.create()

    assert api.create().error == (409, "FSS.1061")


def test_changes_are_told_with_project_package_and_name(api):
    api.create(package="tools")

    assert api.changes == [(PROJECT.project_id, "tools", "hello")]


@pytest.mark.parametrize("urn", ["hello", "default:hello", f"{PROJECT.project_id}:default:hello", URN, f"{URN}:latest"])
def test_every_form_of_the_urn_finds_the_function(api, urn):
    api.create()

    assert api.config(urn)["func_urn"] == f"{URN}:latest"


@pytest.mark.parametrize(
    ("urn", "status", "code"),
    [
        ("other", 404, "FSS.1051"),
        ("tools:hello", 404, "FSS.1051"),
        (f"{URN}:v9", 404, "FSS.1052"),
        (f"{URN}:!prod", 404, "FSS.1053"),
        ("a:b:c:d:e", 400, "FSS.1309"),
        (URN.replace("test-1", "elsewhere"), 400, "FSS.1309"),
    ],
)
def test_what_does_not_exist(api, urn, status, code):
    api.create()

    assert api.send("GET", f"/functions/{urn}/config").error == (status, code)


def test_list_has_the_newest_change_first_and_pages(api):
    for name in ("a1", "a2", "b1"):
        api.clock.at += 1
        api.create(name)

    first = api.send("GET", "/functions?maxitems=2").json
    rest = api.send("GET", f"/functions?maxitems=2&marker={first['next_marker']}").json
    beyond = api.send("GET", "/functions?marker=3").json

    assert [row["func_name"] for row in first["functions"]] == ["b1", "a2"]
    assert (first["next_marker"], first["count"]) == (2, 3)
    assert [row["func_name"] for row in rest["functions"]] == ["a1"]
    assert (beyond["functions"], beyond["next_marker"], beyond["count"]) == ([], 3, 3)


@pytest.mark.proves("faq:FAQ-453")
def test_list_filters_by_package_and_by_part_of_the_name(api):
    api.create("resize-image", package="media")
    api.create("resize", package="tools")

    def names(query):
        return [row["func_name"] for row in api.send("GET", f"/functions?{query}").json["functions"]]

    assert names("package_name=media") == ["resize-image"]
    assert names("func_name=image") == ["resize-image"]
    assert names("func_name=IMAGE") == []
    assert names("func_name=e%25i") == []
    assert names("package_name=med") == []
    assert len(names("maxitems=0")) == 2
    assert len(names("maxitems=401&marker=")) == 2


@pytest.mark.parametrize("query", ["marker=x", "marker=-1", "maxitems=-1", "maxitems=1.5", "marker=%F0"])
def test_list_refuses_bad_numbers(api, query):
    assert api.send("GET", f"/functions?{query}").error == (400, "FSS.1001")


def test_list_elements_have_the_members_of_lists(api):
    api.create(func_vpc=VPC, xrole="a")

    (row,) = api.send("GET", "/functions").json["functions"]

    assert (row["func_vpc_id"], row["fail_count"], row["bind_bridge_funcUrns"]) == ("v1", 0, [])
    assert row["func_urn"] == f"{URN}:latest"


@pytest.mark.proves("operation:ListRuntimeTypes", "faq:FAQ-205")
def test_runtimes_say_what_runs_them(api):
    rows = {row["type"]: row for row in api.send("GET", "/runtimetypes").json}

    assert not rows["Java11"]["is_runnable"]
    assert {"type", "display_name", "interpreter", "interpreter_version", "note"} <= rows["Python3.10"].keys()


def test_pinning_changes_nothing_but_the_pin(api):
    api.create()
    before = api.config()
    api.clock.at += 100

    assert (api.send("PUT", "/functions/hello/collect/true").status, api.config()) == (200, before)
    assert api.send("PUT", "/functions/hello/collect/False").status == 200
    assert api.send("PUT", "/functions/hello/collect/maybe").error == (400, "FSS.0400")
    assert api.send("PUT", "/functions/other/collect/true").error == (404, "FSS.1051")


def test_a_function_is_deleted_with_everything(api):
    api.create()
    api.publish("v1")

    assert (api.send("DELETE", f"/functions/{URN}").status, api.changes[-1][2]) == (204, "hello")
    assert api.send("GET", f"/functions/{URN}:v1/config").error == (404, "FSS.1051")
    assert api.send("DELETE", f"/functions/{URN}").error == (404, "FSS.1051")
    assert api.create().status == 200


def test_latest_cannot_be_deleted_alone(api):
    api.create()

    assert api.send("DELETE", f"/functions/{URN}:latest").error == (400, "FSS.1015")
    assert api.config()


@pytest.mark.parametrize(("runtime", "handler"), [("Java8", "a.B.c"), ("Go1.x", "main"), ("Java11", "a.B.c")])
def test_who_uses_a_runtime_that_is_not_installed_is_warned(api, runtime, handler):
    created = api.create(runtime=runtime, handler=handler, func_code={"file": zip_base64({"a": "b"})}).json
    recoded = api.send(
        "PUT", "/functions/hello/code", {"code_type": "zip", "func_code": {"file": zip_base64({"c": "d"})}}
    ).json

    for answer in (created, recoded, api.config()):
        assert answer["runtime_warning"].startswith(f"The runtime {runtime} is not installed on this server (")
        assert answer["runtime_warning"].endswith("): invocations will fail.")


def test_nobody_is_warned_of_a_runtime_that_is_there(api):
    assert "runtime_warning" not in api.create().json
