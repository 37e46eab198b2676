"""Export and import: what goes out comes in again byte for byte, and nothing hostile comes in."""

import base64
import hashlib
import io
import json
import zipfile

import pytest
import yaml

from funclet.services import bundle
from funclet.services.limits import Limits
from tests.support import hostile
from tests.support.api import OTHER_PROJECT, PROJECT, text_base64
from tests.support.packages import zip_base64, zip_of

CODE = zip_of({"index.py": "def handler(event, context):\n    return event\n", "data/ü.txt": "x"})
FULL = {
    "func_code": {"file": base64.b64encode(CODE).decode()},
    "code_filename": "mine.zip",
    "description": "größer: 'yes'\n# no comment",
    "timeout": 42,
    "memory_size": 512,
    "user_data": '{"B": "2",  "A": "on"}',
    "encrypted_user_data": '{"PASSWORD": "secret"}',
    "initializer_handler": "index.init",
    "initializer_timeout": 9,
    "pre_stop_handler": "index.stop",
    "pre_stop_timeout": 5,
    "xrole": "an_agency",
    "func_vpc": {"vpc_id": "v", "subnet_id": "s", "security_groups": ["g"]},
    "mount_config": {
        "mount_user": {"user_id": 1003, "user_group_id": 1004},
        "func_mounts": [{"mount_type": "sfs", "mount_resource": "r1", "local_mount_path": "/mnt/a"}],
    },
    "enable_dynamic_memory": True,
    "network_controller": {"disable_public_network": True},
    "enable_lts_log": False,
    "lts_custom_tag": {"k": "v"},
    "tags": "a:b",
}
YAML = {
    "HcCrmTemplateVersion": "v1",
    "Resources": {
        "HelloWorld": {
            "Type": "HC::Serverless::Function",
            "Properties": {
                "Handler": "index.handler",
                "Runtime": "Node.js10.16",
                "CodeType": "inline",
                "CodeFileName": "index.zip",
                "DependencyPkg": "",
                "Description": "",
                "MemorySize": 128,
                "Timeout": 3,
                "Version": "latest",
                "Environment": {"Variables": {}},
            },
        }
    },
}


def export(api, query, urn="hello"):
    return api.send("GET", f"/functions/{urn}/export?{query}")


def import_body(archive, name="hello", **fields):
    body = {
        "func_name": name,
        "file_name": "a.zip",
        "file_type": "zip",
        "file_code": base64.b64encode(archive).decode(),
    }
    return {key: value for key, value in (body | fields).items() if value is not None}


def import_(api, archive, name="hello", **fields):
    return api.send("POST", "/functions/import", import_body(archive, name, **fields))


def members(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def archive_of(template=YAML, **files):
    text = template if isinstance(template, str) else yaml.safe_dump(template)
    return zip_of({"t.yaml": text} | (files or {"index.zip": CODE}))


def changed(**properties):
    """Return the template of the vendor's manual with other properties; None takes one away."""
    template = json.loads(json.dumps(YAML))
    found = template["Resources"]["HelloWorld"]["Properties"]
    found.update(properties)
    for name in [name for name, value in properties.items() if value is None]:
        del found[name]
    return template


# Export


@pytest.mark.proves("operation:ExportFunction")
@pytest.mark.parametrize("query", ["type=code", "code=true", "code=True&config=false"])
def test_the_code_alone_is_the_package_as_it_was_uploaded(api, query):
    api.create(func_code=FULL["func_code"])

    answer = export(api, query)

    assert (answer.status, answer.body) == (200, CODE)
    etag = hashlib.md5(CODE, usedforsecurity=False).hexdigest()
    assert answer.headers["Content-Disposition"] == f'attachment; filename="hello+{etag}.zip"'


@pytest.mark.parametrize("query", ["type=config", "config=true"])
def test_the_configuration_alone_is_one_yaml_file(api, query):
    api.create(**FULL)

    found = members(export(api, query).body)

    assert found.keys() == {"hello.yaml"}
    assert "CodeFileName" not in yaml.safe_load(found["hello.yaml"])["Resources"]["hello"]["Properties"]


def test_both_are_the_yaml_file_and_the_code_that_it_names(api):
    api.create(**FULL)

    found = members(export(api, "code=true&config=true").body)

    template = yaml.safe_load(found.pop("hello.yaml"))
    assert found == {"hello.zip": CODE}
    assert template["HcCrmTemplateVersion"] == "v1"
    resource = template["Resources"]["hello"]
    assert resource["Type"] == "HC::Serverless::Function"
    properties = resource["Properties"]
    assert list(properties)[:4] == ["Handler", "Runtime", "CodeType", "DependencyPkg"]
    assert properties["CodeFileName"] == "hello.zip"
    assert properties["Environment"] == {"Variables": {"A": "on", "B": "2"}}
    assert (properties["MemorySize"], properties["Timeout"], properties["Version"]) == (512, 42, "latest")


def test_secrets_do_not_leave(api):
    api.create(**FULL)

    exported = export(api, "type=config").body

    assert b"secret" not in members(exported)["hello.yaml"]
    assert json.loads(
        yaml.safe_load(members(exported)["hello.yaml"])["Resources"]["hello"]["Properties"]["Configuration"][
            "encrypted_user_data"
        ]
    ) == {"PASSWORD": ""}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=false",
        "code=false&config=false",
        "type=both",
        "type=code&code=true",
        "type=config&code=false",
        "code=yes",
        "config=1",
        "type=",
    ],
)
def test_it_must_be_clear_what_is_wanted(api, query):
    api.create()

    assert export(api, query).error == (400, "FSS.0400")


@pytest.mark.parametrize(
    ("urn", "status", "code"),
    [
        ("nowhere", 404, "FSS.1051"),
        ("{}:v9", 404, "FSS.1052"),
        ("{}:!a", 404, "FSS.1053"),
        ("a:b:c:d:e", 400, "FSS.1309"),
    ],
)
def test_what_does_not_exist_is_not_exported(api, urn, status, code):
    api.create()
    full = f"urn:fss:test-1:{PROJECT.project_id}:function:default:hello"

    assert export(api, "type=code", urn.format(full)).error == (status, code)


def test_an_image_has_no_code_to_export(api):
    api.create(runtime="Custom Image", handler="-", custom_image={"image": "r/i:1"}, code_type=None, func_code=None)

    assert export(api, "type=code").error == (400, "FSS.1012")
    exported = export(api, "code=true&config=true").body
    assert members(exported).keys() == {"hello.yaml"}
    api.send("DELETE", "/functions/hello")
    assert import_(api, exported).json["custom_image"]["image"] == "r/i:1"


def test_a_version_and_an_alias_export_what_they_name(api):
    api.create(func_code=FULL["func_code"])
    api.publish("v1")
    api.send("POST", "/functions/hello/aliases", {"name": "live", "version": "v1"})
    api.send("PUT", "/functions/hello/code", {"code_type": "zip", "func_code": {"file": zip_base64({"index.py": "x"})}})
    urn = f"urn:fss:test-1:{PROJECT.project_id}:function:default:hello"

    assert export(api, "type=code", f"{urn}:v1").body == CODE
    assert export(api, "type=code", f"{urn}:!live").body == CODE
    assert export(api, "type=code").body != CODE


# There and back


@pytest.mark.proves("operation:ImportFunction", "faq:FAQ-234")
def test_a_function_comes_back_byte_for_byte(api):
    before = api.create(**FULL).json
    exported = export(api, "code=true&config=true").body
    api.act_as(OTHER_PROJECT)

    after = import_(api, exported).json

    assert export(api, "code=true&config=true").body == exported
    own = {"func_id", "func_urn", "resource_id", "domain_id", "namespace", "image_name"}
    assert {key: value for key, value in after.items() if key not in own} == {
        key: value for key, value in before.items() if key not in own
    }
    assert (after["user_data"], after["digest"]) == (FULL["user_data"], before["digest"])


@pytest.mark.parametrize(
    "fields",
    [
        {"code_type": "inline", "code_filename": "index.py", "func_code": {"file": text_base64("x = 1")}},
        {"runtime": "Node.js18.15", "code_type": "inline", "func_code": None},
        {"runtime": "Custom", "handler": "bootstrap", "func_code": {"file": zip_base64({"bootstrap": "#!/bin/sh"})}},
        {"runtime": "Java11", "handler": "a.B.c", "code_type": "jar", "func_code": {"file": zip_base64({"a": "b"})}},
        {"runtime": "http", "handler": "bootstrap", "func_code": {"file": zip_base64({"bootstrap": "x"})}},
        {"user_data": '{"ü": "1"}'.replace("ü", "U"), "description": "- a\n- b: {c}"},
        {"ephemeral_storage": 10240},
        {"description": "null"},
        {"description": "0x1F"},
    ],
)
def test_every_kind_of_code_comes_back(api, fields):
    before = api.create(**fields).json
    exported = export(api, "code=true&config=true").body
    api.send("DELETE", "/functions/hello")

    after = import_(api, exported).json

    assert (after["digest"], after["description"]) == (before["digest"], before["description"])
    assert export(api, "code=true&config=true").body == exported


def test_update_only_settings_come_back(api):
    api.create()
    api.update(strategy_config={"concurrency": 7}, ephemeral_storage=10240, peering_cidr="10.0.0.0/8")
    exported = export(api, "code=true&config=true").body
    api.send("DELETE", "/functions/hello")

    after = import_(api, exported).json

    assert after["strategy_config"]["concurrency"] == 7
    assert export(api, "code=true&config=true").body == exported


def test_dependencies_are_named_and_must_be_there(api):
    body = {"name": "lib", "runtime": "Python3.10", "depend_type": "zip", "depend_file": zip_base64({"a.py": "1"})}
    created = api.send("POST", "/dependencies/version", body).json
    api.create(depend_version_list=[created["id"]])
    exported = export(api, "code=true&config=true").body

    assert import_(api, exported, "again").json["depend_version_list"] == [created["id"]]
    api.act_as(OTHER_PROJECT)
    assert import_(api, exported).error == (404, "FSS.1056")


def test_a_configuration_alone_brings_the_sample_code(api):
    sample = api.create("sample", func_code=None).json["digest"]
    api.create(**FULL)
    exported = export(api, "type=config").body

    assert import_(api, exported, "again").json["digest"] == sample


def test_aliases_versions_and_triggers_stay_behind(api):
    api.create()
    api.publish("v1")
    api.send("POST", "/functions/hello/aliases", {"name": "live", "version": "v1"})

    urn = f"urn:fss:test-1:{PROJECT.project_id}:function:default:hello:v1"
    after = import_(api, export(api, "code=true&config=true", urn).body, "again").json

    assert after["version"] == "latest"
    assert api.send("GET", "/functions/again/versions").json["count"] == 1
    assert api.send("GET", "/functions/again/aliases").json == []


# Import


def test_the_file_of_the_vendors_manual_is_read(api):
    after = import_(api, archive_of(), "HelloWorld", package="shop").json

    shown = (
        "func_name",
        "package",
        "runtime",
        "handler",
        "code_type",
        "memory_size",
        "timeout",
        "user_data",
        "version",
    )
    assert [after[name] for name in shown] == [
        "HelloWorld",
        "shop",
        "Node.js10.16",
        "index.handler",
        "inline",
        128,
        3,
        "",
        "latest",
    ]
    assert after["code_size"] == len(CODE)


def test_the_name_of_the_request_wins_over_the_one_in_the_file(api):
    assert import_(api, archive_of(), "other").json["func_name"] == "other"


def test_variables_of_the_file_win_over_the_text_that_was_kept(api):
    template = changed(
        Environment={"Variables": {"A": 1, "B": True, "C": "x"}}, Configuration={"user_data": '{"A":"0"}'}
    )

    after = import_(api, archive_of(template)).json

    assert json.loads(after["user_data"]) == {"A": "1", "B": "true", "C": "x"}


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"func_name": None}, 400, "FSS.1002"),
        ({"func_name": ""}, 400, "FSS.1002"),
        ({"func_name": "1a"}, 400, "FSS.1002"),
        ({"func_name": "a" * 61}, 400, "FSS.1002"),
        ({"func_name": 5}, 400, "FSS.0400"),
        ({"file_name": None}, 400, "FSS.0400"),
        ({"file_name": ""}, 400, "FSS.0400"),
        pytest.param({"file_type": None}, 400, "FSS.1013", marks=pytest.mark.proves("error:FSS.1013")),
        ({"file_type": "tar"}, 400, "FSS.1013"),
        ({"file_type": True}, 400, "FSS.0400"),
        ({"file_code": None}, 400, "FSS.1012"),
        ({"file_code": ""}, 400, "FSS.1012"),
        ({"file_code": "%%%"}, 400, "FSS.1011"),
        ({"file_code": []}, 400, "FSS.0400"),
        ({"file_code": base64.b64encode(b"no archive").decode()}, 400, "FSS.1011"),
        ({"package": "1a"}, 400, "FSS.1004"),
        ({"package": 1}, 400, "FSS.0400"),
    ],
)
def test_import_refuses(api, fields, status, code):
    body = import_body(archive_of()) | fields
    body = {key: value for key, value in body.items() if value is not None}

    assert api.send("POST", "/functions/import", body).error == (status, code)
    assert api.send("GET", "/functions").json["count"] == 0


@pytest.mark.parametrize("name", hostile.archives())
def test_an_archive_that_must_not_be_unpacked(api, name):
    answer = import_(api, hostile.archives()[name])

    # The content of a broken one is not even looked at: it has no YAML file.
    assert answer.error == (400, "FSS.1025" if name == "broken content" else "FSS.1011")


@pytest.mark.parametrize("name", sorted(hostile.archives().keys() - {"nothing"}))
def test_code_inside_that_must_not_be_unpacked(api, name):
    files = {"index.zip": hostile.archives()[name]}

    answer = import_(api, archive_of(changed(CodeType="zip", Runtime="Python3.10"), **files))

    # A large one is refused for what the outer archive grows to.
    assert answer.error == (400, "FSS.1011")
    assert api.send("GET", "/functions").json["count"] == 0


@pytest.mark.proves("error:FSS.1022")
def test_two_yaml_files_are_one_too_many(api):
    assert import_(api, archive_of(**{"index.zip": CODE, "u.YML": "a: 1"})).error == (400, "FSS.1022")


@pytest.mark.proves("error:FSS.1023", "quota:import-size")
def test_an_archive_has_a_limit(new_api):
    size = len(archive_of())
    assert Limits().archive_bytes == 50 * 1024 * 1024

    assert import_(new_api(limits=Limits(archive_bytes=size)), archive_of()).status == 200
    assert import_(new_api(limits=Limits(archive_bytes=size - 1)), archive_of()).error == (400, "FSS.1023")


@pytest.mark.proves("quota:export-size")
def test_code_that_is_too_large_is_not_exported(new_api):
    api = new_api(limits=Limits(archive_bytes=len(CODE) - 1))
    api.create(func_code=FULL["func_code"])

    assert export(api, "type=code").error == (413, "FSS.1071")
    assert export(api, "code=true&config=true").error == (413, "FSS.1071")
    assert export(api, "type=config").status == 200


@pytest.mark.proves("error:FSS.1025")
@pytest.mark.parametrize(
    "template",
    [
        "a: [",
        "\x00",
        "- a",
        "5",
        "",
        "Resources: []",
        "Resources: {}\nx: &a 1\ny: *a",
        "a: " + "[" * 100 + "]" * 100,
        "Resources: {f: 5}",
        "Resources: {f: {Type: other, Properties: {}}}",
        "Resources: {f: {Type: 'HC::Serverless::Function', Properties: 5}}",
        "Resources: {f: {Type: 'HC::Serverless::Function', Properties: {}}}",
        "? [a]\n: b",
        "a: !!python/object:os.system {}",
        "x: " + "9" * 5000,
        "a: 2026-99-99",
        changed(Runtime=None),
        changed(Runtime=5),
        changed(MemorySize="big"),
        changed(Timeout=[3]),
        changed(Environment=5),
        changed(Environment={"Variables": ["a"]}),
        changed(Environment={"Variables": {"a": {"b": 1}}}),
        changed(DependencyPkg=["x"]),
        changed(DependencyPkg={5: {}}),
        changed(Configuration=[1]),
        changed(Configuration={"func_vpc": 5}),
        changed(CodeType=7),
    ],
)
def test_a_yaml_file_that_says_nothing_of_use(api, template):
    assert import_(api, archive_of(template)).error == (400, "FSS.1025")
    assert api.send("GET", "/functions").json["count"] == 0


def test_a_yaml_file_must_be_there_and_small(api):
    assert import_(api, zip_of({"index.zip": CODE})).error == (400, "FSS.1025")
    assert import_(api, zip_of({"inner/t.yaml": "a: 1"})).error == (400, "FSS.1025")
    assert import_(api, archive_of("# " + "x" * bundle.MAX_YAML_BYTES)).error == (400, "FSS.1025")


@pytest.mark.parametrize(
    ("properties", "status", "code"),
    [
        ({"CodeFileName": "other.zip"}, 400, "FSS.1012"),
        ({"CodeFileName": "../index.zip"}, 400, "FSS.1012"),
        ({"CodeFileName": 5}, 400, "FSS.1012"),
        ({"Runtime": "Cobol"}, 400, "FSS.1005"),
        ({"Handler": ""}, 400, "FSS.1003"),
        ({"Handler": "nodot"}, 400, "FSS.1003"),
        ({"MemorySize": 129}, 400, "FSS.1007"),
        ({"Timeout": 2}, 400, "FSS.1008"),
        ({"Description": "x" * 513}, 400, "FSS.1019"),
        ({"Environment": {"Variables": {"1a": "x"}}}, 400, "FSS.1009"),
        ({"Environment": {"Variables": {f"a{n}": "x" for n in range(21)}}}, 400, "FSS.1017"),
        ({"Environment": {"Variables": {"a": "x" * 4096}}}, 400, "FSS.1018"),
        ({"DependencyPkg": {"x": {}}}, 404, "FSS.1056"),
        ({"CodeType": "jar"}, 400, "FSS.1006"),
    ],
)
def test_settings_of_the_file_keep_the_rules(api, properties, status, code):
    assert import_(api, archive_of(changed(**properties))).error == (status, code)
    assert api.send("GET", "/functions").json["count"] == 0


@pytest.mark.proves("error:FSS.1057")
def test_of_several_functions_the_named_one_is_taken(api):
    template = json.loads(json.dumps(YAML))
    other = changed(Timeout=99)["Resources"]["HelloWorld"]
    template["Resources"]["other"] = other

    assert import_(api, archive_of(template), "neither").error == (404, "FSS.1057")
    assert import_(api, archive_of(template), "other").json["timeout"] == 99
    assert import_(api, archive_of("Resources: {}")).error == (404, "FSS.1057")


@pytest.mark.proves("error:FSS.1058")
def test_a_function_that_stands_twice_in_the_file_is_refused(api):
    text = yaml.safe_dump(YAML)
    resource = text[text.index("  HelloWorld:") :]

    assert import_(api, archive_of(text + resource), "HelloWorld").error == (400, "FSS.1058")


def test_a_name_that_exists_is_taken(api):
    before = api.create().json

    assert import_(api, archive_of()).error == (409, "FSS.1061")
    assert api.config() == before


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(functions=0), "FSS.1041"), (Limits(code_bytes=1), "FSS.1042"), (Limits(packages=0), "FSS.1044")],
)
def test_quotas_hold(new_api, limits, code):
    assert import_(new_api(limits=limits), archive_of()).error == (403, code)
