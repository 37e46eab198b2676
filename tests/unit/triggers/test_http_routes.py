"""Which trigger answers which request."""

import time

import pytest

from funclet.model.trigger import Trigger, TriggerStatus
from funclet.triggers.apig import GatewayType
from funclet.triggers.http_routes import MAX_REMEMBERED, MAX_REMEMBERED_LENGTH, Routes

PROJECT = "p" * 32
KIND = GatewayType("APIG", gateway_url="http://127.0.0.1")


def trigger(path, *, mode="SWA", method="ANY", project_id=PROJECT, number=0, **more):
    data = {"name": f"api_{number}", "path": path, "match_mode": mode, "req_method": method, **more}
    plain = Trigger(
        trigger_id=f"{number:032x}",
        project_id=project_id,
        function_id="f",
        function_urn=f"urn:fss:test-1:{project_id}:function:default:orders:latest",
        type_code="APIG",
        status=TriggerStatus.ACTIVE,
        event_data=data,
        created_at=0.0,
        updated_at=0.0,
    )
    return KIND.complete(plain)


def find(triggers, path, *, method="GET", stage="", group_id=PROJECT):
    return Routes(triggers, root_project_id=PROJECT).find(group_id=group_id, method=method, stage=stage, path=path)


@pytest.mark.parametrize(
    ("pattern", "mode", "path", "parameters"),
    [
        ("/orders", "SWA", "/orders", {}),
        ("/orders", "SWA", "/orders/", {}),
        ("/orders", "SWA", "/orders/eu/42", {"": "eu/42"}),
        ("/orders", "SWA", "/orders/a%2Fb/c%20d", {"": "a%2Fb/c%20d"}),
        ("/orders/", "SWA", "/orders", {}),
        ("/orders", "SWA", "/ordersx", None),
        ("/orders", "SWA", "/order", None),
        ("/orders", "SWA", "/", None),
        ("/", "SWA", "/", {}),
        ("/", "SWA", "/any/thing", {"": "any/thing"}),
        ("/", "NORMAL", "/", {}),
        ("/", "NORMAL", "/x", None),
        ("/orders", "NORMAL", "/orders", {}),
        ("/orders", "NORMAL", "/orders/", None),
        ("/orders", "NORMAL", "/orders/x", None),
        ("/orders/{order_id}", "NORMAL", "/orders/42", {"order_id": "42"}),
        ("/orders/{order_id}", "NORMAL", "/orders/a%2Fb%C3%A4", {"order_id": "a/bä"}),
        ("/orders/{order_id}", "NORMAL", "/orders/", None),
        ("/orders/{order_id}", "NORMAL", "/orders/42/lines", None),
        ("/{shop}/orders", "SWA", "/eu/orders/42", {"shop": "eu", "": "42"}),
        ("/a%20b", "NORMAL", "/a%20b", {}),
        ("/a~b", "NORMAL", "/a%7Eb", {}),
        ("/orders", "SWA", "/orders/%zz", {"": "%zz"}),
    ],
)
def test_paths(pattern, mode, path, parameters):
    match = find([trigger(pattern, mode=mode)], path)

    assert (match and match.path_parameters) == parameters
    assert match is None or match.path == path


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"path": "/a", "method": "GET"}, {"path": "/a/b", "method": "ANY"}),
        ({"path": "/a"}, {"path": "/{x}/b", "mode": "NORMAL"}),
        ({"path": "/a/b", "mode": "NORMAL"}, {"path": "/a/b"}),
        ({"path": "/a/b"}, {"path": "/a"}),
        ({"path": "/a"}, {"path": "/"}),
        ({"path": "/{x}/b"}, {"path": "/{x}"}),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_order_of_routes_that_match(better, worse, is_first):
    triggers = [trigger(**better, number=1), trigger(**worse, number=2)]

    match = find(triggers if is_first else triggers[::-1], "/a/b")

    assert match.route.trigger is triggers[0]


def test_methods_are_held_apart():
    triggers = [trigger("/a", method="GET"), trigger("/a", method="POST", number=1)]

    assert find(triggers, "/a", method="POST").route.trigger is triggers[1]
    assert find(triggers, "/a", method="DELETE") is None


def test_the_stage_selects():
    triggers = [trigger("/a"), trigger("/a", env_name="test", number=1)]

    assert find(triggers, "/a").route.trigger is triggers[0]
    assert find(triggers, "/a", stage="RELEASE").route.trigger is triggers[0]
    assert find(triggers, "/a", stage="test").route.trigger is triggers[1]
    assert find(triggers, "/a", stage="other") is None


def test_without_a_group_the_root_project_answers_with_its_oldest():
    triggers = [
        trigger("/a", project_id="o" * 32, number=1),
        trigger("/a", group_id="g1", number=2),
        trigger("/a", group_id="g2", number=3),
    ]

    assert find(triggers, "/a", group_id="").route.trigger is triggers[1]
    assert find(triggers, "/a", group_id="g2").route.trigger is triggers[2]
    assert find(triggers, "/a", group_id="o" * 32).route.trigger is triggers[0]
    assert find(triggers, "/a", group_id="none") is None


def test_many_routes_are_no_slower_than_few():
    routes = Routes([trigger(f"/path{n}/x", number=n) for n in range(5000)], root_project_id=PROJECT)

    started = time.perf_counter()
    for n in range(0, 5000, 5):
        assert routes.find(group_id="", method="GET", stage="", path=f"/path{n}/x/y") is not None
    took_s = time.perf_counter() - started

    assert took_s < 0.5


def test_what_is_remembered_is_the_same_and_bounded():
    routes = Routes([trigger("/orders")], root_project_id=PROJECT)

    def ask(path):
        return routes.find(group_id=PROJECT, method="GET", stage="", path=path)

    assert ask("/orders/1") is ask("/orders/1")
    long = "/orders/" + "x" * MAX_REMEMBERED_LENGTH
    assert ask(long) == ask(long)
    for number in range(MAX_REMEMBERED + 10):
        ask(f"/orders/{number}")
        ask(f"{long}{number}")

    assert len(routes._found) <= MAX_REMEMBERED
    assert max(len(path) for _, _, _, path in routes._found) <= MAX_REMEMBERED_LENGTH
    assert ask("/orders/7").path_parameters == {"": "7"}
