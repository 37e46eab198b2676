"""From a version to its sandbox: the environment that authors were promised."""

import json
from dataclasses import replace

import pytest

from funclet.dataplane.launch import LaunchOptions, environment, forkable_of, path_environment, sandbox_spec
from funclet.sandbox.protocol import Network
from tests.support.dataplane import PYTHON, VERSION


def version(**settings):
    return replace(VERSION, settings=replace(VERSION.settings, **settings))


def of(version_, memory_mib=128):
    return environment(version_, PYTHON, memory_mib=memory_mib, timezone="Asia/Shanghai")


def spec(version_, network=Network.NAT):
    options = LaunchOptions(network=network)
    return sandbox_spec(
        version_, PYTHON, name="n", memory_mib=256, code_dir=PYTHON.language.folder, options=options, links=()
    )


def test_the_preset_variables():
    found = of(VERSION, memory_mib=256)

    assert (
        found
        | {
            "RUNTIME_PROJECT_ID": "p",
            "RUNTIME_FUNC_NAME": "hello",
            "RUNTIME_FUNC_VERSION": "latest",
            "RUNTIME_PACKAGE": "default",
            "RUNTIME_HANDLER": "index.handler",
            "RUNTIME_TIMEOUT": "3",
            "RUNTIME_USERDATA": "{}",
            "RUNTIME_CPU": "400",
            "RUNTIME_MEMORY": "256",
            "RUNTIME_MAX_RESP_BODY_SIZE": "6291456",
            "RUNTIME_INITIALIZER_HANDLER": "",
            "RUNTIME_ROOT": "/home/snuser/runtime",
            "RUNTIME_LOG_DIR": "/home/snuser/log",
            "TZ": "Asia/Shanghai",
            "LANG": "C.UTF-8",
        }
        == found
    )


def test_user_variables_are_visible_both_ways():
    found = of(version(user_data='{"TIER": "dev", "TZ": "UTC"}'))

    assert (found["TIER"], found["TZ"]) == ("dev", "UTC")
    assert json.loads(found["RUNTIME_USERDATA"]) == {"TIER": "dev", "TZ": "UTC"}


def test_fresh_state_is_told_only_where_it_is_on():
    assert of(version(fresh_state=True))["RUNTIME_FRESH_STATE"] == "1"
    assert "RUNTIME_FRESH_STATE" not in of(VERSION)


def test_encrypted_variables_are_only_user_data():
    found = of(version(encrypted_user_data='{"PASSWORD": "x"}'))

    assert "PASSWORD" not in found
    assert json.loads(found["RUNTIME_USERDATA"]) == {"PASSWORD": "x"}


def test_the_users_library_path_comes_behind_the_preset_one():
    found = path_environment(version(user_data='{"LD_LIBRARY_PATH": "/opt/function/code/so"}'))

    assert found["LD_LIBRARY_PATH"] == "{code_root}:{code_root}/lib:/opt/function/code/so"


def test_braces_of_users_are_left_alone():
    assert of(version(user_data='{"TEMPLATE": "{code_root}"}'))["TEMPLATE"] == "{code_root}"


def test_pre_stop_is_told_only_when_there_is_one():
    with_hook = of(version(pre_stop_handler="index.stop", pre_stop_timeout_s=5))

    assert (with_hook["PRE_STOP_HANDLER"], with_hook["PRE_STOP_TIMEOUT"]) == ("index.stop", "5")
    assert "PRE_STOP_HANDLER" not in of(VERSION)


def test_limits_follow_the_size_of_the_instance():
    found = spec(VERSION)

    assert (found.memory_mib, found.cpu_millicores, found.tmp_mib) == (256, 400, 512)
    assert found.arguments == ("{runtime_root}/bootstrap.py", "230")


def test_a_function_without_public_network_has_none():
    assert spec(version(public_network=False)).network is Network.OFF
    assert spec(VERSION).network is Network.NAT


def test_a_stem_knows_nothing_of_the_function():
    found = spec(version(user_data='{"TIER": "dev"}')).stem_environment

    assert found["FUNCLET_STEM"] == "1"
    assert not {"TIER", "RUNTIME_HANDLER", "RUNTIME_FUNC_NAME", "RUNTIME_USERDATA"} & set(found)


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "NODE_OPTIONS", "LC_ALL", "LANG"])
def test_what_is_read_at_the_start_of_a_process_needs_a_new_one(name):
    assert spec(version(user_data=json.dumps({name: "x"}))).stem_environment == {}


def test_a_stem_of_a_usual_function_is_what_sandboxd_may_fork():
    known, asked = forkable_of(PYTHON), spec(version(user_data='{"TIER": "dev"}'))

    assert known.folder == asked.runtime_dir
    assert known.environment == asked.stem_environment
    assert known.arguments == ("{runtime_root}/bootstrap.py", "115")


def test_stems_can_be_switched_off():
    options = LaunchOptions(network=Network.OFF, use_stems=False)
    found = sandbox_spec(
        VERSION, PYTHON, name="n", memory_mib=128, code_dir=PYTHON.language.folder, options=options, links=()
    )

    assert found.stem_environment == {}
