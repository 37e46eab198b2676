"""Tags of functions: set, taken away, listed, searched, and what is refused."""

import json

import pytest

from tests.support.api import OTHER_PROJECT, PROJECT

BASE = f"http://host:8000/v2/{PROJECT.project_id}/functions"


@pytest.fixture
def hello(api):
    """An API with the function `hello`."""
    api.create()
    return api


def tag(api, name="hello", **tags):
    body = {"action": "create", "tags": [{"key": key, "value": value} for key, value in tags.items()]}
    answer = api.send("POST", f"{BASE}/{name}/tags/create", body)
    assert (answer.status, answer.body) == (204, b"")


def tags_of(api, name="hello"):
    return {one["key"]: one["value"] for one in api.send("GET", f"{BASE}/{name}/tags").json["tags"]}


def found(api, **body):
    answer = api.send("POST", f"{BASE}/resource-instances/filter", body)
    assert answer.status == 200, answer.json
    return [row["resource_name"] for row in answer.json["resources"]]


@pytest.mark.proves("operation:CreateTags", "operation:ListFunctionTags")
def test_tags_are_added_and_replaced_by_key(hello):
    tag(hello, team="a", stage="prod")
    tag(hello, team="b")

    answer = hello.send("GET", f"{BASE}/hello/tags")

    assert answer.json == {
        "tags": [{"key": "stage", "value": "prod"}, {"key": "team", "value": "b"}],
        "sys_tags": [{"key": "_sys_enterprise_project_id", "value": "0"}],
    }


def test_the_enterprise_project_is_a_tag_of_the_system(api):
    api.create(enterprise_project_id="ep-1")

    assert api.send("GET", f"{BASE}/hello/tags").json["sys_tags"][0]["value"] == "ep-1"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('{"team": "a", "stage": ""}', {"team": "a", "stage": ""}),
        ("team:a, stage:b:c", {"team": "a", "stage": "b:c"}),
        ("no tags", {}),
        ('["team"]', {}),
        ('{"team": 1}', {}),
        ("", {}),
    ],
)
def test_a_function_is_created_with_tags(api, text, tags):
    assert api.create(tags=text).status == 200

    assert tags_of(api) == tags
    assert found(api, tags=[{"key": "team", "values": ["a"]}]) == (["hello"] if tags else [])


@pytest.mark.proves("quota:tags")
def test_a_function_is_not_created_with_tags_that_none_may_have(api):
    for tags in ({"_sys_x": "y"}, {f"k{number}": "" for number in range(21)}):
        assert api.create(tags=json.dumps(tags)).error == (400, "FSS.0400")

    assert api.send("GET", "/functions/hello/config").error == (404, "FSS.1051")
    assert api.create(tags=json.dumps({f"k{number}": "" for number in range(20)})).status == 200


def test_a_client_may_name_the_function_with_and_without_version(hello):
    urn = hello.config()["func_urn"]
    tag(hello, urn, a="1")
    tag(hello, urn.removesuffix(":latest"), b="2")

    assert tags_of(hello) == {"a": "1", "b": "2"}


def test_tags_leave_the_function_alone(hello):
    before = hello.config()
    hello.clock.at += 5

    tag(hello, team="a")

    assert (hello.config(), hello.revision()) == (before, 1)


@pytest.mark.proves("operation:DeleteTags")
def test_tags_are_removed_by_key_and_value(hello):
    tag(hello, a="1", b="2", c="3")
    body = {"tags": [{"key": "a"}, {"key": "b", "value": "other"}, {"key": "c", "value": "3"}, {"key": "unknown"}]}

    answer = hello.send("DELETE", f"{BASE}/hello/tags/delete", body)

    assert (answer.status, tags_of(hello)) == (204, {"b": "2"})


@pytest.mark.proves("operation:ShowProjectTagsList")
def test_the_tags_of_a_project_are_gathered(hello):
    hello.create("second")
    tag(hello, team="a", stage="prod")
    tag(hello, "second", team="b", stage="prod")

    answer = hello.send("GET", f"{BASE}/tags")

    assert answer.json == {
        "tags": [{"key": "stage", "values": ["prod"]}, {"key": "team", "values": ["a", "b"]}],
        "sys_tags": [{"key": "_sys_enterprise_project_id", "values": ["0"]}],
    }


@pytest.fixture
def shop(api):
    """An API with functions to search among."""
    for name, enterprise_project, tags in (
        ("orders", "ep", {"team": "a", "stage": "prod"}),
        ("orders_test", None, {"team": "a", "stage": "test"}),
        ("mail", None, {"team": "b", "stage": "prod"}),
        ("bare", None, {}),
    ):
        api.create(name, enterprise_project_id=enterprise_project)
        if tags:
            tag(api, name, **tags)
        api.clock.at += 1
    return api


def wants(**tags):
    return [{"key": key, "values": values} for key, values in tags.items()]


@pytest.mark.proves("operation:ShowResInstanceInfo")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["bare", "mail", "orders_test", "orders"]),
        ({"action": "filter", "tags": [], "matches": [], "sys_tags": []}, ["bare", "mail", "orders_test", "orders"]),
        ({"tags": wants(team=["a"])}, ["orders_test", "orders"]),
        ({"tags": wants(team=["a", "b"])}, ["mail", "orders_test", "orders"]),
        ({"tags": wants(team=["a"], stage=["prod"])}, ["orders"]),
        ({"tags": wants(team=[])}, ["mail", "orders_test", "orders"]),
        ({"tags": [{"key": "stage"}]}, ["mail", "orders_test", "orders"]),
        ({"tags": wants(team=["c"])}, []),
        ({"without_any_tag": True}, ["bare"]),
        ({"without_any_tag": True, "tags": wants(team=["a"])}, ["bare"]),
        ({"matches": [{"key": "resource_name", "value": "orders"}]}, ["orders_test", "orders"]),
        ({"matches": [{"key": "resource_name", "value": "%"}]}, []),
        ({"sys_tags": wants(_sys_enterprise_project_id=["ep"])}, ["orders"]),
        ({"sys_tags": wants(_sys_enterprise_project_id=["0"])}, ["bare", "mail", "orders_test"]),
        ({"limit": 2}, ["bare", "mail"]),
        ({"limit": "2", "offset": "1"}, ["mail", "orders_test"]),
        ({"offset": 9}, []),
    ],
)
def test_functions_are_found(shop, body, expected):
    paging = {"limit", "offset"} & body.keys()
    count = shop.send("POST", f"{BASE}/resource-instances/count", {**body, "action": "count"} if body else body)

    assert found(shop, **body) == expected
    assert (count.status, count.json) == (200, {"total_count": 4 if paging else len(expected)})


def test_what_is_found_is_described(shop):
    (row,) = shop.send("POST", f"{BASE}/resource-instances/filter", {"tags": wants(team=["b"])}).json["resources"]

    urn = f"urn:fss:test-1:{PROJECT.project_id}:function:default:mail"
    assert row == {
        "resource_id": urn,
        "resource_detail": {"detailId": urn},
        "resource_name": "mail",
        "tags": [{"key": "stage", "value": "prod"}, {"key": "team", "value": "b"}],
        "sys_tags": [{"key": "_sys_enterprise_project_id", "value": "0"}],
    }


@pytest.mark.proves("quota:tags")
def test_a_function_has_20_tags(hello):
    tag(hello, **{f"k{number}": "v" for number in range(20)})
    tag(hello, k0="other")

    body = {"tags": [{"key": "one", "value": "more"}]}
    assert hello.send("POST", f"{BASE}/hello/tags/create", body).error == (400, "FSS.0400")
    many = {"tags": [{"key": f"n{number}", "value": ""} for number in range(21)]}
    assert hello.send("POST", f"{BASE}/hello/tags/create", many).error == (400, "FSS.0400")
    assert len(tags_of(hello)) == 20


@pytest.mark.proves("quota:tag-key", "quota:tag-value")
@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("k" * 128, "v", 204),
        ("k" * 129, "v", 400),
        ("k", "v" * 255, 204),
        ("k", "v" * 256, 400),
        ("k", "", 204),
        ("", "v", 400),
        ("ключ 键_.:=+-@", "a/b 值", 204),
        ("a/b", "v", 400),
        ("a*", "v", 400),
        ("k", "a*", 400),
        ("k", "a\n", 400),
        (" k", "v", 400),
        ("k ", "v", 400),
        ("_sys_k", "v", 400),
    ],
)
def test_the_form_of_keys_and_values(hello, key, value, status):
    answer = hello.send("POST", f"{BASE}/hello/tags/create", {"tags": [{"key": key, "value": value}]})

    assert answer.status == status
    assert tags_of(hello) == ({key: value} if status == 204 else {})


@pytest.mark.parametrize("action", ["create", "delete"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tags": []},
        {"tags": None},
        {"tags": [{"value": "v"}]},
        {"tags": [{"key": 1}]},
        {"tags": "a"},
        {"tags": [{"key": "a"}, {"key": "a", "value": "2"}]},
        {"tags": [{"key": "a"}], "action": "other"},
        {"tags": [{"key": "a"}], "sys_tags": "x"},
        {"tags": [{"key": "a"}], "action": 1},
        [],
    ],
)
def test_bodies_that_are_refused(hello, action, body):
    tag(hello, a="1")
    method = "POST" if action == "create" else "DELETE"

    assert hello.send(method, f"{BASE}/hello/tags/{action}", body).error == (400, "FSS.0400")
    assert tags_of(hello) == {"a": "1"}


def test_tags_of_the_system_cannot_be_set(hello):
    body = {"sys_tags": [{"key": "_sys_enterprise_project_id", "value": "ep"}], "of_the_future": 1}

    assert hello.send("POST", f"{BASE}/hello/tags/create", body).status == 204
    assert hello.send("GET", f"{BASE}/hello/tags").json["sys_tags"][0]["value"] == "0"


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"limit": -1},
        {"limit": True},
        {"limit": 1.5},
        {"offset": -1},
        {"offset": "9" * 30},
        {"action": "count"},
        {"matches": [{"key": "name", "value": "x"}]},
        {"matches": {}},
        {"tags": [{"key": "a", "values": "x"}]},
        {"tags": [{"values": ["x"]}]},
        {"tags": [{"key": "a", "values": ["v"] * 21}]},
        {"tags": [{"key": "a", "values": ["v" * 256]}]},
        {"tags": [{"key": f"k{number}"} for number in range(21)]},
        {"tags": [{"key": "a"}, {"key": "a"}]},
        {"sys_tags": [{"key": "_sys_other", "values": ["x"]}]},
        {"without_any_tag": "yes"},
    ],
)
def test_searches_that_are_refused(hello, body):
    assert hello.send("POST", f"{BASE}/resource-instances/filter", body).error == (400, "FSS.0400")


def test_what_has_no_tags(hello):
    for method, path, body in (
        ("GET", "/workflows/tags", None),
        ("GET", "/workflows/x/tags", None),
        ("POST", "/workflows/x/tags/create", {"tags": [{"key": "a"}]}),
        ("DELETE", "/workflows/x/tags/delete", {"tags": [{"key": "a"}]}),
        ("POST", "/workflows/resource-instances/filter", {}),
        ("POST", "/functions/resource-instances/other", {}),
    ):
        url = BASE.removesuffix("/functions") + path
        assert hello.send(method, url, body).error == (400, "FSS.0400")


@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("POST", "/create"), ("DELETE", "/delete")])
def test_tags_need_a_function(api, method, action):
    body = {"tags": [{"key": "a", "value": "b"}]}

    assert api.send(method, f"{BASE}/nobody/tags{action}", body).error == (404, "FSS.1051")
    assert api.send(method, f"{BASE}/a:b:c:d:e/tags{action}", body).error == (400, "FSS.1309")


def test_tags_go_with_their_function_and_stay_in_their_project(hello):
    tag(hello, team="a")
    hello.act_as(OTHER_PROJECT)
    other = BASE.replace(PROJECT.project_id, OTHER_PROJECT.project_id)
    hello.create()
    assert hello.send("GET", f"{other}/tags").json["tags"] == []
    assert hello.send("GET", f"{other}/hello/tags").json["tags"] == []
    assert hello.send("POST", f"{other}/resource-instances/count", {"tags": wants(team=[])}).json["total_count"] == 0

    hello.act_as(PROJECT)
    hello.send("DELETE", "/functions/hello")

    assert hello.send("GET", f"{BASE}/tags").json["tags"] == []
