"""Limits of functions and their parts: what is exactly at one is taken, one past it is refused and changes nothing."""

import base64
import io
import json
import zipfile

import pytest

from funclet.api.operations import MAX_BODY_BYTES
from funclet.services.limits import MIB, Limits
from tests.support.api import new_body, text_base64

proves = pytest.mark.proves
INITIALIZER = {"initializer_handler": "index.init"}
PRE_STOP = {"pre_stop_handler": "index.stop"}
RESTORE = {"restore_hook_handler": "index.restore"}
HTTP = {
    "runtime": "http",
    "handler": "bootstrap",
    "code_type": "inline",
    "func_code": {"file": text_base64("#!/bin/sh")},
}
MAX_ECHOED_BYTES = 256 * 1024


def variables(count, length=0):
    """Return so many variables, with so many characters together if that is given."""
    names = [f"v{number:02}" for number in range(count)]
    values = dict.fromkeys(names, "")
    values["v00"] = "x" * (length - sum(map(len, names)))
    return {"user_data": json.dumps(values)}


def stored_zip(content):
    """Return an archive that is its content and a frame of constant size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("blob", content)
    return buffer.getvalue()


def concurrent(instances=1, requests=1):
    return {"strategy_config": {"concurrency": instances, "concurrent_num": requests}}


def echoed(size):
    """Return settings that do not act and have so many bytes."""
    return {"extend_config": "x" * (size - len(json.dumps({"extend_config": ""})))}


FUNCTION_LIMITS = [
    pytest.param({"func_name": "a"}, {"func_name": ""}, "FSS.1002", marks=proves("quota:function-name")),
    pytest.param({"func_name": "a" * 60}, {"func_name": "a" * 61}, "FSS.1002", marks=proves("quota:function-name")),
    pytest.param(
        {"description": "d" * 512}, {"description": "d" * 513}, "FSS.1019", marks=proves("quota:function-description")
    ),
    pytest.param({"memory_size": 128}, {"memory_size": 127}, "FSS.1007", marks=proves("quota:memory")),
    pytest.param({"memory_size": 10_240}, {"memory_size": 10_241}, "FSS.1007", marks=proves("quota:memory")),
    pytest.param({"timeout": 3}, {"timeout": 2}, "FSS.1008", marks=proves("quota:timeout", "faq:FAQ-111")),
    pytest.param({"timeout": 259_200}, {"timeout": 259_201}, "FSS.1008", marks=proves("quota:timeout")),
    pytest.param(
        {**INITIALIZER, "initializer_timeout": 1},
        {**INITIALIZER, "initializer_timeout": -1},
        "FSS.1405",
        marks=proves("quota:initializer-timeout"),
    ),
    pytest.param(
        {**INITIALIZER, "initializer_timeout": 300},
        {**INITIALIZER, "initializer_timeout": 301},
        "FSS.1405",
        marks=proves("quota:initializer-timeout"),
    ),
    pytest.param(
        {**PRE_STOP, "pre_stop_timeout": 1},
        {**PRE_STOP, "pre_stop_timeout": -1},
        "FSS.0400",
        marks=proves("quota:pre-stop-timeout"),
    ),
    pytest.param(
        {**PRE_STOP, "pre_stop_timeout": 90},
        {**PRE_STOP, "pre_stop_timeout": 91},
        "FSS.0400",
        marks=proves("quota:pre-stop-timeout"),
    ),
    pytest.param(
        {**RESTORE, "restore_hook_timeout": 300},
        {**RESTORE, "restore_hook_timeout": 301},
        "FSS.0400",
        marks=proves("quota:restore-hook-timeout"),
    ),
    pytest.param(concurrent(-1), concurrent(-2), "FSS.1026", marks=proves("quota:function instances")),
    pytest.param(concurrent(1000), concurrent(1001), "FSS.1026", marks=proves("quota:function instances")),
    pytest.param(
        {**HTTP, **concurrent(requests=1000)},
        {**HTTP, **concurrent(requests=1001)},
        "FSS.1026",
        marks=proves("quota:instance-concurrency"),
    ),
    pytest.param(variables(20), variables(21), "FSS.1017", marks=proves("quota:environment-variables")),
    pytest.param(variables(20, 4096), variables(20, 4097), "FSS.1018", marks=proves("quota:environment-size")),
    pytest.param(
        {"encrypted_user_data": variables(20, 4096)["user_data"]},
        {"encrypted_user_data": variables(20, 4097)["user_data"]},
        "FSS.1018",
        marks=proves("quota:environment-size"),
    ),
    pytest.param(
        {"lts_custom_tag": {f"k{number}": "v" for number in range(10)}},
        {"lts_custom_tag": {f"k{number}": "v" for number in range(11)}},
        "FSS.0400",
        marks=proves("quota:log-tags"),
    ),
    pytest.param(
        {"lts_custom_tag": {"k" * 64: "v" * 64}},
        {"lts_custom_tag": {"k": "v" * 65}},
        "FSS.0400",
        marks=proves("quota:log-tags"),
    ),
    pytest.param({"ephemeral_storage": 512}, {"ephemeral_storage": 511}, "FSS.0400", marks=proves("quota:tmp")),
    pytest.param({"ephemeral_storage": 10_240}, {"ephemeral_storage": 10_241}, "FSS.0400", marks=proves("quota:tmp")),
    pytest.param(
        echoed(MAX_ECHOED_BYTES), echoed(MAX_ECHOED_BYTES + 1), "FSS.0400", marks=proves("quota:settings-size")
    ),
]


@pytest.mark.parametrize(("taken", "refused", "code"), FUNCTION_LIMITS)
def test_a_function_at_a_limit_is_created_and_one_past_it_is_not(api, taken, refused, code):
    assert api.send("POST", "/functions", new_body(**refused)).error == (400, code)
    assert api.send("GET", "/functions").json["count"] == 0
    assert api.send("POST", "/functions", new_body(**taken)).status == 200


@pytest.mark.parametrize(
    ("taken", "refused", "code"),
    [row for row in FUNCTION_LIMITS if not {"func_name", "runtime"} & row.values[0].keys()],
)
def test_the_same_limits_hold_for_changes(api, taken, refused, code):
    api.create()
    before = api.config()

    assert api.update(**refused).error == (400, code)
    assert api.config() == before
    assert api.update(**taken).status == 200


@pytest.mark.proves("quota:fgs_on_demand_instance_limit")
def test_a_function_that_says_nothing_may_have_400_instances(api):
    assert api.create().json["strategy_config"] == {"concurrency": 400, "concurrent_num": 1}


@pytest.mark.proves("quota:fgs_func_num", "error:FSS.1041")
def test_a_project_has_400_functions(api):
    for number in range(400):
        assert api.create(f"f{number}").status == 200

    assert api.create("one-more").error == (403, "FSS.1041")
    assert api.send("GET", "/functions").json["count"] == 400


@pytest.mark.proves("quota:packages", "error:FSS.1044")
def test_a_project_has_400_packages(new_api):
    api = new_api(limits=Limits(functions=1000))
    for number in range(400):
        assert api.create(f"f{number}", package=f"p{number}").status == 200

    assert api.create("one-more", package="p400").error == (403, "FSS.1044")
    assert api.create("one-more", package="p399").status == 200


@pytest.mark.proves("quota:fgs_func_code_size", "error:FSS.1042")
def test_the_code_of_a_project_has_a_quota(new_api, api):
    size = api.create().json["code_size"]
    small = new_api(limits=Limits(code_bytes=2 * size))

    assert [small.create(name).status for name in ("one", "two")] == [200, 200]
    assert small.create("three").error == (403, "FSS.1042")
    assert api.limits.code_bytes == 10_240 * MIB


@pytest.mark.proves("quota:code-upload", "error:FSS.1071")
def test_a_package_in_a_request_has_50_mb(api):
    frame = len(stored_zip(b""))
    largest, too_large = (base64.b64encode(stored_zip(bytes(50 * MIB - frame + more))).decode() for more in (0, 1))

    assert api.create(func_code={"file": too_large}).error == (413, "FSS.1071")
    assert api.create(func_code={"file": largest}).json["code_size"] == 50 * MIB


@pytest.mark.proves("quota:body-size", "error:FSS.0413")
def test_a_body_has_a_megabyte(api):
    api.create()
    body = json.dumps({"func_name": "hello", "timeout": 9}).encode().ljust(MAX_BODY_BYTES)

    assert api.send("PUT", "/functions/hello/config", body + b" ").error == (413, "FSS.0413")
    assert api.send("PUT", "/functions/hello/config", body).json["timeout"] == 9
