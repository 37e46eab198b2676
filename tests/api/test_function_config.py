"""Changes of the configuration: what merges, what is replaced, what running instances must see."""

import json

import pytest

VPC = {"vpc_id": "v1", "subnet_id": "s1", "is_safety": True}


def test_what_is_not_named_stays(api):
    api.create(description="d", user_data='{"a":"1"}', xrole="agency", initializer_handler="index.init")

    changed = api.update(memory_size=256).json

    assert (changed["memory_size"], changed["cpu"]) == (256, 400)
    assert (changed["description"], changed["user_data"], changed["xrole"]) == ("d", '{"a":"1"}', "agency")
    assert (changed["initializer_handler"], changed["initializer_timeout"]) == ("index.init", 3)


def test_null_clears(api):
    api.create(description="d", user_data='{"a":"1"}', xrole="agency", initializer_handler="index.init", func_vpc=VPC)

    changed = api.update(description=None, user_data=None, func_vpc=None, initializer_handler=None).json

    assert (changed["description"], changed["user_data"], changed["initializer_handler"]) == ("", "", "")
    assert "func_vpc" not in changed
    assert changed["xrole"] == "agency"


def test_null_of_what_a_function_must_have_leaves_it(api):
    api.create()

    changed = api.update(handler=None, timeout=None, memory_size=None, runtime=None)

    assert changed.status == 200
    assert (changed.json["handler"], changed.json["timeout"]) == ("index.handler", 3)


def test_a_body_without_func_name_replaces_what_its_sender_drops_when_empty(api):
    api.create(
        user_data='{"a":"1"}',
        xrole="agency",
        func_vpc=VPC,
        initializer_handler="index.init",
        description="d",
        app_xrole="app",
        mount_config={"func_mounts": [{"mount_type": "sfs", "mount_resource": "r1", "local_mount_path": "/m"}]},
    )

    changed = api.send("PUT", "/functions/hello/config", {"package": "agency", "timeout": 5, "user_data": '{"b":"2"}'})

    assert changed.status == 200
    read = changed.json
    assert (read["user_data"], read["xrole"], read["initializer_handler"]) == ('{"b":"2"}', "", "")
    assert not {"func_vpc", "mount_config"} & read.keys()
    assert (read["description"], read["app_xrole"], read["package"]) == ("d", "app", "default")


@pytest.mark.proves("faq:FAQ-225")
def test_name_and_package_of_the_body_are_ignored(api):
    api.create()

    changed = api.send("PUT", "/functions/hello/config", {"func_name": "else", "package": "!", "timeout": 9}).json

    assert (changed["func_name"], changed["package"], changed["timeout"]) == ("hello", "default", 9)


@pytest.mark.proves("error:FSS.1005", "faq:FAQ-224")
def test_the_runtime_cannot_be_changed(api):
    api.create()

    assert api.update(runtime="Python3.9").error == (400, "FSS.1005")
    assert api.update(runtime="Python3.10", timeout=4).status == 200


@pytest.mark.proves("error:FSS.1003", "error:FSS.1009")
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"timeout": 0}, "FSS.1008"),
        ({"memory_size": 100}, "FSS.1007"),
        ({"handler": "x"}, "FSS.1003"),
        ({"user_data": "[]"}, "FSS.1009"),
        ({"strategy_config": {"concurrency": 1001}}, "FSS.1026"),
        ({"ephemeral_storage": 513}, "FSS.0400"),
        ({"description": "d" * 513}, "FSS.1019"),
        ({"gpu_memory": 1024}, "FSS.1007"),
        ({"func_vpc": VPC}, "FSS.0400"),
        ({"domain_names": "d" * 262_144}, "FSS.0400"),
    ],
)
def test_a_refused_change_changes_nothing(api, fields, code):
    api.create()
    before = api.config()

    assert api.update(**fields).error == (400, code)
    assert api.config() == before


def test_a_strategy_without_concurrency_keeps_it(api):
    api.create(runtime="http", handler="bootstrap", strategy_config={"concurrency": 7})

    changed = api.update(strategy_config={"concurrent_num": 5}).json

    assert changed["strategy_config"] == {"concurrency": 7, "concurrent_num": 5}


def test_members_that_only_updates_have(api):
    api.create()
    fields = {
        "extend_config": "{}",
        "ephemeral_storage": 10_240,
        "enable_auth_in_header": True,
        "peering_cidr": "10.0.0.0/8;192.168.0.0/16",
        "restore_hook_handler": "com.Hook.run",
        "restore_hook_timeout": 300,
        "heartbeat_handler": "com.Heart.beat",
        "enable_class_isolation": True,
    }

    changed = api.update(**fields).json

    assert {name: changed[name] for name in fields} == fields


def test_encrypted_values_that_are_sent_blank_stay(api):
    api.create(encrypted_user_data='{"old":"1","gone":"2"}')

    changed = api.update(encrypted_user_data='{"old":"","new":"3"}')

    assert json.loads(changed.json["encrypted_user_data"]) == {"old": "", "new": ""}
    principal = api.run(api._authenticator.authenticate(None))
    stored = api.run(api.functions.get(principal, "hello")).settings.encrypted_user_data
    assert json.loads(stored) == {"old": "1", "new": "3"}


def test_safe_access_to_a_network_cannot_be_turned_off(api):
    api.create(func_vpc=VPC, xrole="a")

    assert api.update(func_vpc=VPC | {"is_safety": False}).error == (400, "FSS.0400")


@pytest.mark.parametrize(
    ("fields", "grows"),
    [
        ({"handler": "other.handler"}, True),
        ({"memory_size": 256}, True),
        ({"user_data": '{"a":"1"}'}, True),
        ({"encrypted_user_data": '{"a":"1"}'}, True),
        ({"initializer_handler": "index.init"}, True),
        ({"pre_stop_handler": "index.stop", "pre_stop_timeout": 5}, True),
        ({"xrole": "agency"}, True),
        ({"ephemeral_storage": 10_240}, True),
        ({"enable_fresh_state": True}, True),
        ({"enable_fresh_state": None}, False),
        ({"network_controller": {"disable_public_network": True}}, True),
        ({"timeout": 9}, False),
        ({"description": "d"}, False),
        ({"strategy_config": {"concurrency": 5}}, False),
        ({"tags": "a:b"}, False),
        ({}, False),
    ],
)
def test_the_revision_grows_with_what_instances_must_see(api, fields, grows):
    api.create()

    assert api.update(**fields).status == 200

    assert api.revision() == (2 if grows else 1)


def test_a_change_is_told_and_dated(api):
    api.create()
    api.clock.at += 60

    assert api.update(timeout=9).json["last_modified"] == "2026-09-21T14:14:20Z"
    assert len(api.changes) == 2


def test_a_change_of_nothing_is_not_told(api):
    api.create()
    before = api.config()
    api.clock.at += 60

    assert api.update(timeout=3).json == before
    assert len(api.changes) == 1


def test_a_published_version_is_frozen(api):
    api.create()
    api.publish("v1")

    answer = api.send("PUT", "/functions/default:hello/config", {"func_name": "hello", "timeout": 9})
    assert answer.status == 200
    urn = answer.json["func_urn"].replace(":latest", ":v1")
    for operation, body in (("config", {"timeout": 9}), ("config-max-instance", {"max_instance_num": 1})):
        assert api.send("PUT", f"/functions/{urn}/{operation}", body).error == (400, "FSS.1015")
    assert api.config(urn)["timeout"] == 3


@pytest.mark.parametrize("number", [-1, 0, 1, 1000])
def test_the_maximum_of_instances_is_the_concurrency_of_the_strategy(api, number):
    api.create()

    answer = api.send("PUT", "/functions/hello/config-max-instance", {"max_instance_num": number})

    assert (answer.status, answer.json["strategy_config"]["concurrency"]) == (200, number)
    assert api.config()["strategy_config"] == {"concurrency": number, "concurrent_num": 1}


@pytest.mark.proves("error:FSS.1026")
@pytest.mark.parametrize("body", [{"max_instance_num": -2}, {"max_instance_num": 1001}, {}])
def test_the_maximum_of_instances_has_a_range(api, body):
    api.create()

    assert api.send("PUT", "/functions/hello/config-max-instance", body).error == (400, "FSS.1026")
