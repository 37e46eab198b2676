"""Tracing, snapshots, VPC endpoints, bridges, features: set, read back, refused."""

import sqlite3

import pytest

from funclet.model.inventory import Inventory, Vpc
from funclet.services.limits import Limits
from tests.support.api import OTHER_PROJECT

TRACING = "/functions/hello/tracing"


@pytest.fixture
def hello(api):
    """An API with the function `hello`."""
    api.create()
    return api


# Tracing


@pytest.mark.proves("operation:UpdateTracing", "operation:ShowTracing")
def test_tracing_keys_are_kept_and_the_secret_is_not_shown(hello, tmp_path):
    answer = hello.send("PUT", TRACING, {"tracing_ak": "ak-1", "tracing_sk": "the-secret"})

    assert (answer.status, answer.body) == (200, b"")
    assert hello.send("GET", TRACING).json == {"tracing_ak": "ak-1", "tracing_sk": ""}
    with sqlite3.connect(tmp_path / "0" / "state.db") as database:
        ((access_key, sealed),) = database.execute("SELECT access_key, sealed_secret FROM function_tracing")
    database.close()
    assert access_key == "ak-1"
    assert b"the-secret" not in sealed


@pytest.mark.parametrize("body", [{}, {"tracing_ak": "", "tracing_sk": ""}, {"tracing_ak": None}, None])
def test_nothing_ends_tracing(hello, body):
    hello.send("PUT", TRACING, {"tracing_ak": "ak", "tracing_sk": "sk"})

    assert hello.send("PUT", TRACING, body).status == 200
    assert hello.send("GET", TRACING).json == {"tracing_ak": "", "tracing_sk": ""}


@pytest.mark.parametrize(
    "body",
    [
        {"tracing_ak": "ak"},
        {"tracing_sk": "sk"},
        {"tracing_ak": 1, "tracing_sk": "sk"},
        {"tracing_ak": "ak", "tracing_sk": []},
        {"tracing_ak": "a" * 129, "tracing_sk": "sk"},
        {"tracing_ak": "ak", "tracing_sk": "s" * 129},
        [],
    ],
)
def test_tracing_keys_that_are_refused(hello, body):
    hello.send("PUT", TRACING, {"tracing_ak": "a" * 128, "tracing_sk": "s" * 128, "of_the_future": 1})

    assert hello.send("PUT", TRACING, body).error == (400, "FSS.0400")
    assert hello.send("GET", TRACING).json["tracing_ak"] == "a" * 128


def test_tracing_goes_with_its_function(hello):
    hello.send("PUT", TRACING, {"tracing_ak": "ak", "tracing_sk": "sk"})
    hello.send("DELETE", "/functions/hello")
    hello.create()

    assert hello.send("GET", TRACING).json["tracing_ak"] == ""


# Snapshots


@pytest.fixture
def java(api):
    """The urn of a published version of a function in Java, and its API."""
    api.create(runtime="Java11", handler="a.B.c")
    api.publish("v1")
    return api, f"/functions/{api.config()['func_urn'].replace(':latest', ':v1')}/snapshots"


@pytest.mark.proves("operation:UpdateFuncSnapshot", "operation:ShowFuncSnapshotState")
def test_the_switch_of_a_snapshot_is_kept_and_no_snapshot_is_pretended(java):
    api, path = java
    before = api.send("GET", f"{path}/enableSnapshot").json
    enabled = api.send("POST", f"{path}/enable")

    assert before == {"state": "disable", "code": ""}
    assert (enabled.status, api.send("POST", f"{path}/enable").status) == (200, 200)
    assert api.send("GET", f"{path}/enableSnapshot").json == {"state": "success", "code": ""}
    assert api.send("GET", f"{path}/state").json == {"state": "fail", "code": "not_supported"}
    assert api.send("POST", f"{path}/disable").status == 200
    assert api.send("GET", f"{path}/state").json == {"state": "disable", "code": ""}


def test_a_version_that_is_published_anew_has_no_snapshot(java):
    api, path = java
    api.send("POST", f"{path}/enable")
    api.send("DELETE", path.removesuffix("/snapshots"))
    api.publish("v1")

    assert api.send("GET", f"{path}/enableSnapshot").json["state"] == "disable"


def test_snapshots_are_for_published_versions_in_java(java):
    api, path = java
    api.create("python")
    api.publish("v1", "python")

    for urn in ("hello", api.config("python")["func_urn"].replace(":latest", ":v1")):
        assert api.send("POST", f"/functions/{urn}/snapshots/enable").error == (400, "FSS.0400")
    assert api.send("POST", f"{path}/state").error == (400, "FSS.0400")
    assert api.send("GET", f"{path}/enable").error == (400, "FSS.0400")


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "lts-log-detail"),
        ("GET", "tracing"),
        ("PUT", "tracing"),
        ("GET", "snapshots/state"),
        ("POST", "snapshots/enable"),
        ("GET", "servicebridge/relation"),
    ],
)
def test_all_need_a_function(hello, method, rest):
    missing = f"{hello.config()['func_urn'].removesuffix('latest')}v9"

    assert hello.send(method, f"/functions/other/{rest}").error == (404, "FSS.1051")
    assert hello.send(method, f"/functions/{missing}/{rest}").error == (404, "FSS.1052")
    assert hello.send(method, f"/functions/a:b:c:d:e/{rest}").error == (400, "FSS.1309")


# VPC endpoints


def endpoint(api, **fields):
    return api.send("POST", "/vpc-endpoint", {"vpc_id": "v", "subnet_id": "s", **fields})


@pytest.mark.proves("operation:CreateVpcEndpoint", "operation:DeleteVpcEndpoint")
def test_an_endpoint_is_the_address_of_the_api(api):
    first = endpoint(api, flavor="small", xrole="agency")

    assert (first.status, first.json) == (200, {"endpoints": ["host"], "address": "host:8000"})
    assert endpoint(api).json == first.json
    assert api.send("DELETE", "/vpc-endpoint/v/s").status == 204
    assert api.send("DELETE", "/vpc-endpoint/v/s").error == (404, "FSS.0404")


@pytest.mark.proves("error:FSS.1036", "error:FSS.1037", "error:FSS.1090")
def test_an_endpoint_is_in_a_subnet_of_the_inventory_if_that_has_any(new_api):
    office = Vpc(id="office", subnets={"first": True, "resting": False})
    api = new_api(inventory=Inventory(vpcs={"office": office}))

    assert endpoint(api).error[1] == "FSS.1036"
    assert endpoint(api, vpc_id="office").error[1] == "FSS.1037"
    assert endpoint(api, vpc_id="office", subnet_id="resting").error[1] == "FSS.1090"
    assert api.send("DELETE", "/vpc-endpoint/office/resting").error == (404, "FSS.0404")
    assert endpoint(api, vpc_id="office", subnet_id="first").status == 200


@pytest.mark.proves("quota:vpc-endpoints", "error:FSS.1048")
def test_a_project_has_four_endpoints(api):
    for number in range(4):
        assert endpoint(api, subnet_id=f"s{number}").status == 200

    assert endpoint(api, subnet_id="s4").error == (403, "FSS.1048")
    assert endpoint(api, subnet_id="s3").status == 200
    api.act_as(OTHER_PROJECT)
    assert endpoint(api).status == 200
    assert api.send("DELETE", "/vpc-endpoint/v/s0").error == (404, "FSS.0404")


@pytest.mark.parametrize(
    "fields",
    [{name: value} for name in ("vpc_id", "subnet_id") for value in (None, "", 1, "x" * 65, "a/b")]
    + [{name: value} for name in ("flavor", "xrole") for value in (1, [], "x" * 65)],
)
def test_endpoints_that_are_refused(api, fields):
    assert endpoint(api, **fields).error == (400, "FSS.0400")


def test_values_of_endpoints_at_their_limits_are_taken(api):
    assert endpoint(api, vpc_id="v" * 64, flavor=None, xrole="x" * 64, of_the_future=1).status == 200


# Bridges and features


@pytest.mark.proves("operation:ListBridgeFunctions", "operation:ListBridgeVersions")
def test_there_are_no_bridges(hello):
    for kind in ("rds", "mqs", "cache"):
        assert hello.send("GET", f"/servicebridge/version?type={kind}").json == []
        assert hello.send("GET", f"/functions/hello/servicebridge/relation?type={kind}").json == []
    assert hello.send("GET", "/functions/hello/servicebridge/relation").json == []


@pytest.mark.parametrize(
    "path",
    ["/servicebridge/version", "/servicebridge/version?type=x", "/functions/hello/servicebridge/relation?type=x"],
)
def test_types_of_bridges_that_do_not_exist(hello, path):
    assert hello.send("GET", path).error == (400, "FSS.1001")


@pytest.mark.proves("operation:ShowFeature")
def test_features_are_an_object(api):
    answer = api.send("GET", "/feature")

    assert (answer.status, answer.json) == (200, {})


@pytest.mark.proves("operation:ListQuotas", "faq:FAQ-213")
def test_quotas_are_those_of_the_table_and_count_what_is_there(hello):
    hello.create("second")

    rows = {row["type"]: row for row in hello.send("GET", "/quotas").json["quotas"]["resources"]}

    assert {name: row["quota"] for name, row in rows.items()} == {
        "fgs_func_num": 400,
        "fgs_func_code_size": 10_240,
        "fgs_workflow_num": 512,
        "fgs_func_occurs": 100,
        "fgs_on_demand_instance_limit": 400,
        "fgs_func_qos_limit": 1000,
        "fgs_func_scale_down_timeout": 60,
        "fgs_func_pat_idle_time": 100,
    }
    assert (rows["fgs_func_num"]["used"], rows["fgs_func_code_size"]["used"]) == (2, 1)
    assert [name for name, row in rows.items() if "unit" in row] == ["fgs_func_code_size"]


def test_quotas_are_the_effective_ones(new_api):
    api = new_api(limits=Limits(functions=7, code_bytes=3 * 1024 * 1024))

    rows = {row["type"]: row["quota"] for row in api.send("GET", "/quotas").json["quotas"]["resources"]}

    assert (rows["fgs_func_num"], rows["fgs_func_code_size"]) == (7, 3)
