"""Test events: created, read, changed, deleted, and what is refused."""

import json

import pytest

from tests.support.api import OTHER_PROJECT, text_base64

EVENTS = "/functions/hello/events"
CONTENT = text_base64('{"key": "value"}')


@pytest.fixture
def hello(api):
    """An API with the function `hello`."""
    api.create()
    return api


def add(api, name="first", content=CONTENT):
    answer = api.send("POST", EVENTS, {"name": name, "content": content})
    assert answer.status == 200, answer.json
    return answer.json["id"]


@pytest.mark.proves("operation:CreateEvent", "operation:ShowEvent")
def test_an_event_comes_back_as_it_was_sent(hello):
    created = hello.send("POST", EVENTS, {"name": "größe 1", "content": CONTENT})

    shown = hello.send("GET", f"{EVENTS}/{created.json['id']}")

    assert (created.status, created.json["name"], created.json.keys()) == (200, "größe 1", {"id", "name"})
    assert shown.json == {
        "id": created.json["id"],
        "name": "größe 1",
        "content": CONTENT,
        "last_modified": 1_790_000_000,
    }


@pytest.mark.proves("operation:ListEvents")
def test_events_are_listed_without_content_oldest_first(hello):
    ids = [add(hello, name) for name in ("b", "a")]

    listed = hello.send("GET", EVENTS).json

    assert (listed["count"], listed["next_marker"]) == (2, 2)
    assert listed["events"] == [
        {"id": ids[0], "name": "b", "last_modified": 1_790_000_000},
        {"id": ids[1], "name": "a", "last_modified": 1_790_000_000},
    ]


def test_events_belong_to_the_function_whatever_version_is_named(hello):
    urn = hello.config()["func_urn"]
    hello.publish("v1")
    event_id = add(hello)

    for version in ("latest", "v1"):
        path = f"/functions/{urn.replace(':latest', f':{version}')}/events/{event_id}"
        assert hello.send("GET", path).json["name"] == "first"


@pytest.mark.proves("operation:UpdateEvent")
@pytest.mark.parametrize("name", [None, "first", "second"])
def test_an_event_gets_new_content_and_if_wanted_a_name(hello, name):
    event_id = add(hello)
    hello.clock.at += 9

    changed = hello.send("PUT", f"{EVENTS}/{event_id}", {"content": text_base64("[1]"), "name": name})

    assert (changed.status, changed.json) == (200, {"id": event_id, "name": name or "first"})
    shown = hello.send("GET", f"{EVENTS}/{event_id}").json
    assert (shown["content"], shown["last_modified"]) == (text_base64("[1]"), 1_790_000_009)


@pytest.mark.proves("operation:DeleteEvent")
def test_an_event_is_deleted_once(hello):
    event_id = add(hello)

    assert hello.send("DELETE", f"{EVENTS}/{event_id}").status == 204
    assert hello.send("DELETE", f"{EVENTS}/{event_id}").error == (404, "FSS.1070")
    assert hello.send("GET", EVENTS).json["count"] == 0


@pytest.mark.proves("error:FSS.1070")
@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PUT", {"content": CONTENT}), ("DELETE", None)])
def test_an_event_that_is_not_there(hello, method, body):
    hello.create("other")
    event_id = add(hello)

    assert hello.send(method, f"{EVENTS}/nothing", body).error == (404, "FSS.1070")
    assert hello.send(method, f"/functions/other/events/{event_id}", body).error == (404, "FSS.1070")


@pytest.mark.proves("quota:test-events", "error:FSS.1068")
def test_a_function_has_ten_events(hello):
    ids = [add(hello, f"e{number}") for number in range(10)]

    assert hello.send("POST", EVENTS, {"name": "eleventh", "content": CONTENT}).error == (403, "FSS.1068")
    hello.send("DELETE", f"{EVENTS}/{ids[0]}")
    add(hello, "eleventh")


def json_of(size):
    return text_base64(json.dumps("x" * (size - 2)))


@pytest.mark.proves("quota:test-event-size", "error:FSS.1069")
@pytest.mark.parametrize("size", [4097, 100_000])
def test_an_event_has_4_kb(hello, size):
    event_id = add(hello, content=json_of(4096))

    assert hello.send("POST", EVENTS, {"name": "big", "content": json_of(size)}).error == (403, "FSS.1069")
    assert hello.send("PUT", f"{EVENTS}/{event_id}", {"content": json_of(size)}).error == (403, "FSS.1069")


@pytest.mark.proves("error:FSS.1073")
def test_a_name_is_used_once_per_function(hello):
    hello.create("other")
    add(hello)
    second = add(hello, "second")

    assert hello.send("POST", EVENTS, {"name": "first", "content": CONTENT}).error == (403, "FSS.1073")
    assert hello.send("PUT", f"{EVENTS}/{second}", {"name": "first", "content": CONTENT}).error == (403, "FSS.1073")
    assert hello.send("POST", "/functions/other/events", {"name": "first", "content": CONTENT}).status == 200


@pytest.mark.proves("quota:test-event-name", "error:FSS.1074")
@pytest.mark.parametrize("name", ["n" * 26, "", None, " a", "a ", "a\nb", "\x7f"])
def test_names_that_no_event_has(hello, name):
    event_id = add(hello, "n" * 25)

    assert hello.send("POST", EVENTS, {"name": name, "content": CONTENT}).error == (400, "FSS.1074")
    if name:
        assert hello.send("PUT", f"{EVENTS}/{event_id}", {"name": name, "content": CONTENT}).error == (400, "FSS.1074")


@pytest.mark.parametrize(
    "content", [None, "", "!", "e30", text_base64("{"), text_base64("[" * 2000), "/w==", text_base64("NaN" * 2)]
)
def test_content_that_is_no_json_in_base64(hello, content):
    event_id = add(hello)

    for method, path in (("POST", EVENTS), ("PUT", f"{EVENTS}/{event_id}")):
        assert hello.send(method, path, {"name": "x", "content": content}).error == (400, "FSS.1074")
    assert hello.send("GET", f"{EVENTS}/{event_id}").json["content"] == CONTENT


@pytest.mark.parametrize("fields", [{"name": 1}, {"name": ["a"]}, {"content": 1}, {"content": {}}])
def test_members_of_the_wrong_type(hello, fields):
    assert hello.send("POST", EVENTS, {"name": "x", "content": CONTENT, **fields}).error == (400, "FSS.0400")


def test_unknown_members_are_ignored(hello):
    assert hello.send("POST", EVENTS, {"name": "x", "content": CONTENT, "of_the_future": 1}).status == 200


def test_line_breaks_in_base64_are_taken(hello):
    assert hello.send("POST", EVENTS, {"name": "x", "content": CONTENT[:8] + "\r\n" + CONTENT[8:]}).status == 200


def test_events_need_a_function(api):
    assert api.send("GET", EVENTS).error == (404, "FSS.1051")
    assert api.send("POST", EVENTS, {"name": "x", "content": CONTENT}).error == (404, "FSS.1051")


def test_events_go_with_their_function_and_stay_in_their_project(hello):
    add(hello)
    hello.act_as(OTHER_PROJECT)
    assert hello.send("GET", EVENTS).error == (404, "FSS.1051")
    hello.create()
    assert hello.send("GET", EVENTS).json["events"] == []


def test_a_new_function_of_the_name_has_no_events(hello):
    add(hello)
    hello.send("DELETE", "/functions/hello")
    hello.create()

    assert hello.send("GET", EVENTS).json["count"] == 0
