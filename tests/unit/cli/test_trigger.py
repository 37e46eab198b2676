"""`fgs trigger` for kinds that have no options of their own."""

import io
import json

import pytest

from funclet.cli.changes import TRIGGER_TYPES, is_same_trigger
from funclet.cli.project import TriggerPlan
from funclet.triggers.catalogue import all_types
from tests.support.trigger_data import GOOD

P = "0123456789abcdef0123456789abcdef"
TRIGGERS = f"/fgs/triggers/{P}:default:hello"
REASON = "This server does not listen to Kafka yet: the trigger is kept, but it does not fire."
KAFKA = {
    "trigger_id": "k-1",
    "trigger_type_code": "KAFKA",
    "trigger_status": "DISABLED",
    "event_data": {"instance_id": "i-1", "topic_ids": ["t"], "batch_size": 10},
    "x_status_reason": REASON,
}


@pytest.mark.parametrize("how", ["json", "file", "stdin", "old name"])
def test_event_data_comes_from_anywhere(fgs, stub, tmp_path, monkeypatch, how):
    text = json.dumps(KAFKA["event_data"])
    (tmp_path / "kafka.json").write_text(text)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    stub.on("POST", TRIGGERS, 201, KAFKA)
    option = "--from-file" if how == "old name" else "--event-data"
    value = {"json": text, "stdin": "-"}.get(how, str(tmp_path / "kafka.json"))

    ran = fgs("trigger", "create", "hello", "--type", "kafka", option, value, "--status", "ACTIVE")

    assert ran.code == 0, ran.err
    sent = {"trigger_type_code": "KAFKA", "event_data": KAFKA["event_data"], "trigger_status": "ACTIVE"}
    assert stub.seen[-1].json == sent
    assert f"note: {REASON}" in ran.out


@pytest.mark.parametrize("code", [*GOOD, "kafka"])
def test_a_kind_without_options_needs_event_data(fgs, stub, code):
    ran = fgs("trigger", "create", "hello", "--type", code, "--name", "x")

    assert (ran.code, stub.seen) == (2, [])
    assert "--event-data" in ran.err


@pytest.mark.parametrize(("code", "guess"), [("NOPE", ""), ("tymer", " Did you mean 'TIMER'?")])
def test_a_kind_that_does_not_exist_is_told_with_those_that_do(fgs, stub, code, guess):
    ran = fgs("trigger", "create", "hello", "--type", code)

    assert (ran.code, stub.seen) == (2, [])
    assert ran.err.startswith(f"error: There is no trigger type '{code}'.{guess}\n")
    assert f"hint: Choose one of: {', '.join(TRIGGER_TYPES)}." in ran.err


def test_the_kinds_that_are_told_are_those_of_the_server():
    kinds = all_types(default_zone="UTC", gateway_url="http://h:1")

    assert list(TRIGGER_TYPES) == sorted(kind.traits.code for kind in kinds)


def test_whether_a_kind_exists_is_asked_of_the_server_if_its_data_is_there(fgs, stub):
    """A server may be newer than the command."""
    stub.on("POST", TRIGGERS, 201, KAFKA)

    assert fgs("trigger", "create", "hello", "--type", "NEWER", "--event-data", "{}").code == 0
    assert stub.seen[-1].json["trigger_type_code"] == "NEWER"


@pytest.mark.parametrize("value", ["{", "[1]", "missing.json", "{}}"])
def test_event_data_that_cannot_be_read_ends_the_command(fgs, stub, value):
    ran = fgs("trigger", "create", "hello", "--type", "KAFKA", "--event-data", value)

    assert (ran.code, stub.seen) == (2, [])
    assert "event data" in ran.err.lower()


def test_update_takes_members_as_json(fgs, stub):
    stub.on("GET", TRIGGERS, 200, [KAFKA])
    stub.on("PUT", f"{TRIGGERS}/KAFKA/k-1", 200, KAFKA)

    assert fgs("trigger", "update", "hello", "k-1", "--event-data", '{"batch_size": 5}').code == 0

    assert stub.seen[-1].json == {"event_data": {"batch_size": 5}}


def test_the_list_says_why_a_trigger_does_not_fire(fgs, stub):
    stub.on("GET", TRIGGERS, 200, [KAFKA])

    assert fgs("trigger", "list", "hello", "-o", "json").json[0]["x_status_reason"] == REASON


@pytest.mark.parametrize("code", list(GOOD))
def test_deploy_tells_two_triggers_of_a_kind_apart(code):
    wanted = TriggerPlan(type_code=code, event_data=GOOD[code])
    there = {"trigger_type_code": code, "event_data": dict(GOOD[code])}
    other = {"trigger_type_code": code, "event_data": {name: f"other {name}" for name in GOOD[code]}}

    assert is_same_trigger(wanted, there)
    assert not is_same_trigger(wanted, other)
