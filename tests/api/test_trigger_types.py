"""Every kind of trigger as a resource: what its data may be, what clashes, what is shown, what is kept secret."""

import contextlib
import json
import sqlite3
from dataclasses import replace

import pytest

from funclet.model.messaging import Stream, Topic
from tests.support.gateway import OTHER_PROJECT, PROJECT, PROJECT_ID, REGION, Stack
from tests.support.trigger_data import BAD, GOOD, KINDS, LONG, SECRETS


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    whole = Stack(tmp_path_factory.mktemp("stack"))
    prepare(whole)
    yield whole
    whole.close()


def prepare(stack):
    """Create what triggers listen to."""
    for project in (PROJECT, OTHER_PROJECT):
        stack.write(lambda tx, project=project: tx.streams.add(a_stream(project)))
        stack.write(lambda tx, project=project: tx.topics.add(a_topic(project)))
    return stack


@pytest.fixture
def urn(stack):
    """The urn of a function without triggers."""
    urn = stack.add_function(versions=["v1"], alias="prod")
    yield urn
    stack.write(lambda tx: tx.functions.delete("id-of-test-1-orders"))


def path_of(trigger):
    return f"/triggers/orders/{trigger['trigger_type_code']}/{trigger['trigger_id']}"


def visible(code):
    return {name: value for name, value in GOOD[code].items() if name not in SECRETS.get(code, ())}


@pytest.mark.proves(
    "operation:CreateFunctionTrigger",
    "operation:ShowFunctionTrigger",
    "operation:ListFunctionTriggers",
    "operation:ListTriggers",
    "operation:DeleteFunctionTrigger",
)
@pytest.mark.parametrize("code", list(KINDS))
def test_a_trigger_of_each_kind_is_created_read_listed_and_deleted(stack, urn, code):
    created = stack.create(urn, code, **GOOD[code])

    assert created["trigger_type_code"] == code
    assert created["event_data"] == visible(code)
    assert stack.send("GET", path_of(created)) == (200, created)
    assert stack.send("GET", f"/triggers/{urn}") == (200, [created])
    assert stack.send("GET", "/triggers")[1]["triggers"] == [{**created, "func_urn": urn}]
    assert stack.send("DELETE", path_of(created)) == (204, None)
    status, answer = stack.send("GET", path_of(created))
    assert (status, answer["error_code"]) == (404, KINDS[code].missing)


@pytest.mark.parametrize("code", list(KINDS))
def test_what_does_not_fire_is_shown_so_with_the_reason(stack, urn, code):
    created = stack.create(urn, code, status="ACTIVE", **GOOD[code])
    enabled = stack.send("PUT", path_of(created), {"trigger_status": "ACTIVE"})[1]

    for shown in (created, enabled, stack.send("GET", path_of(created))[1]):
        assert shown["trigger_status"] == "DISABLED"
        assert "does not fire" in shown["x_status_reason"]
    stored = stack.read(lambda tx: tx.triggers.get(PROJECT_ID, created["trigger_id"]))
    assert stored.status == "ACTIVE", "what the client wants is not lost"


def test_a_timer_has_no_reason_not_to_fire(stack, urn):
    data = {"name": "tick", "schedule_type": "Rate", "schedule": "3m"}

    assert "x_status_reason" not in stack.create(urn, "TIMER", status="DISABLED", **data)


@pytest.mark.parametrize("code", list(KINDS))
def test_the_status_after_create_is_the_one_of_the_kind(stack, urn, code):
    created = stack.create(urn, code, **GOOD[code])

    stored = stack.read(lambda tx: tx.triggers.get(PROJECT_ID, created["trigger_id"]))
    assert stored.status == ("DISABLED" if KINDS[code].starts_disabled else "ACTIVE")


@pytest.mark.proves("operation:UpdateTrigger", "error:FSS.1318", "faq:FAQ-104", "faq:FAQ-412")
@pytest.mark.parametrize("code", list(KINDS))
def test_only_some_kinds_can_be_disabled(stack, urn, code):
    created = stack.create(urn, code, **GOOD[code])

    status, answer = stack.send("PUT", path_of(created), {"trigger_status": "DISABLED"})

    if KINDS[code].can_be_disabled:
        assert status == 200
    else:
        assert (status, answer["error_code"]) == (400, "FSS.1318")
        assert code in answer["error_msg"]
        assert stack.send("GET", path_of(created)) == (200, created)


BAD_ROWS = [(code, change, expected) for code, rows in BAD.items() for change, expected in rows]


@pytest.mark.proves(
    *(f"error:FSS.{number}" for number in (1102, 1103, 1104, 1106, 1110, 1112, 1113, 1130, 1164, 1171)),
    *(f"error:FSS.{number}" for number in (1305, 1312, 1313, 1314, 1316, 1317, 1319)),
)
@pytest.mark.parametrize(
    ("code", "change", "expected"), BAD_ROWS, ids=[f"{row[0]}-{str(row[1])[:40]}" for row in BAD_ROWS]
)
def test_data_that_is_refused(stack, urn, code, change, expected):
    data = {name: value for name, value in {**GOOD[code], **change}.items() if value is not ...}

    status, answer = stack.send("POST", f"/triggers/{urn}", {"trigger_type_code": code, "event_data": data})

    assert (status, answer["error_code"]) == expected, answer
    assert stack.send("GET", f"/triggers/{urn}") == (200, [])


@pytest.mark.parametrize(("code", "name"), [(code, name) for code in KINDS for name in sorted(KINDS[code].required)])
def test_no_required_member_may_be_missing_or_null(stack, urn, code, name):
    for changed in (
        {key: value for key, value in GOOD[code].items() if key != name},
        {**GOOD[code], name: None},
    ):
        status, answer = stack.send("POST", f"/triggers/{urn}", {"trigger_type_code": code, "event_data": changed})
        assert (status, answer["error_code"]) == (400, KINDS[code].code_if_missing(name))
        assert name in answer["error_msg"]


@pytest.mark.parametrize("code", list(KINDS))
def test_wrong_types_of_every_member_are_refused(stack, urn, code):
    for name, value in GOOD[code].items():
        wrong = {"a": 1} if not isinstance(value, dict) else "text"
        refused = stack.refused(urn, code, **{**GOOD[code], name: wrong})
        assert (name, refused[0]) == (name, 400)


@pytest.mark.parametrize(("code", "name"), [(code, name) for code in LONG for name in LONG[code]])
def test_texts_have_a_longest_length(stack, urn, code, name):
    most = LONG[code][name]

    assert stack.refused(urn, code, **{**GOOD[code], name: "x" * (most + 1)})[0] == 400
    assert stack.create(urn, code, **{**GOOD[code], name: "x" * most})["trigger_type_code"] == code


@pytest.mark.proves(
    *(f"error:FSS.{number}" for number in (1141, 1142, 1143, 1145, 1149, 1150, 1166, 1307)), "error:FSS.0409"
)
@pytest.mark.parametrize("code", list(KINDS))
def test_the_same_source_cannot_be_named_twice(stack, urn, code):
    stack.create(urn, code, **GOOD[code])

    assert stack.refused(urn, code, **GOOD[code]) == KINDS[code].exists
    if code not in ("OBS", "CTS"):
        assert stack.create(urn.replace(":latest", ":v1"), code, **GOOD[code])["trigger_type_code"] == code


@pytest.mark.parametrize(("code", "name"), [(code, name) for code in KINDS for name in KINDS[code].identity])
def test_what_names_the_source_cannot_change(stack, urn, code, name):
    created = stack.create(urn, code, **GOOD[code])
    other = KINDS[code].other.get(name, "another")

    status, answer = stack.send("PUT", path_of(created), {"event_data": {name: other}})

    assert (status, answer["error_code"]) in [(400, KINDS[code].invalid), (404, "FSS.1130"), (404, "FSS.1171")]
    assert stack.send("GET", path_of(created)) == (200, created)


@pytest.mark.parametrize("code", list(KINDS))
def test_sending_everything_again_changes_nothing(stack, urn, code):
    created = stack.create(urn, code, **GOOD[code])

    answers = [
        stack.send("PUT", path_of(created), {"trigger_status": "ACTIVE", "event_data": data})
        for data in (GOOD[code], [GOOD[code]], json.dumps(GOOD[code]), created["event_data"])
    ]

    assert [(status, answer["event_data"]) for status, answer in answers] == [(200, created["event_data"])] * 4


@pytest.mark.parametrize("as_what", ["object", "array", "text", "text of array"])
def test_the_shapes_that_clients_send(stack, urn, as_what):
    data = GOOD["DIS"]
    shapes = {"object": data, "array": [data], "text": json.dumps(data), "text of array": json.dumps([data])}
    body = {"trigger_type_code": "DIS", "event_type_code": "MessageCreated", "event_data": shapes[as_what]}

    status, created = stack.send("POST", f"/triggers/{urn}", body)
    change = [{"is_serial": True, "max_fetch_bytes": 2048, "polling_interval": 7, "polling_unit": "s"}]
    changed = stack.send("PUT", path_of(created), {"event_data": change})[1]

    assert (status, created["event_data"]) == (201, data)
    assert changed["event_data"] == {**data, **change[0]}


@pytest.mark.parametrize("member", ["trigger_status", "status"])
def test_both_names_of_the_status(stack, urn, member):
    data = {"name": "tick", "schedule_type": "Rate", "schedule": "3m"}
    body = {"trigger_type_code": "TIMER", "event_data": data, member: "DISABLED"}

    created = stack.send("POST", f"/triggers/{urn}", body)[1]
    enabled = stack.send("PUT", path_of(created), {member: "ACTIVE"})[1]

    assert (created["trigger_status"], enabled["trigger_status"]) == ("DISABLED", "ACTIVE")


@pytest.mark.parametrize("code", list(SECRETS))
def test_secrets_are_sealed_and_never_shown(stack, urn, code):
    created = stack.create(urn, code, **GOOD[code])
    answers = [
        created,
        stack.send("GET", path_of(created))[1],
        stack.send("GET", f"/triggers/{urn}")[1],
        stack.send("GET", "/triggers")[1],
        stack.send("PUT", path_of(created), {"event_data": {"x_note": 1}})[1],
    ]

    for name in SECRETS[code]:
        assert GOOD[code][name] not in json.dumps(answers)
        assert GOOD[code][name].encode() not in whole_database(stack)
    stored = stack.read(lambda tx: tx.triggers.get(PROJECT_ID, created["trigger_id"]))
    assert stack.triggers._secrets.revealed(stored) == {**GOOD[code], "x_note": 1}


def whole_database(stack):
    with contextlib.closing(sqlite3.connect(stack.store_path)) as db:
        return "\n".join(db.iterdump()).encode()


def test_a_secret_that_is_sent_again_replaces_the_old_one(stack, urn):
    created = stack.create(urn, "KAFKA", **GOOD["KAFKA"])
    stack.send("PUT", path_of(created), {"event_data": {"kafka_password": "brand-new"}})

    stored = stack.read(lambda tx: tx.triggers.get(PROJECT_ID, created["trigger_id"]))
    assert stack.triggers._secrets.revealed(stored)["kafka_password"] == "brand-new"


def test_secrets_outlive_a_new_key(stack, urn):
    created = stack.create(urn, "DDS", **GOOD["DDS"])

    stack.vault.add_key()
    stack.write(
        lambda tx: tx.triggers.reseal(
            lambda sealed, context: stack.vault.seal(stack.vault.reveal(sealed, context=context), context=context)
        )
    )
    stack.vault.drop_old_keys()

    stored = stack.read(lambda tx: tx.triggers.get(PROJECT_ID, created["trigger_id"]))
    assert stack.triggers._secrets.revealed(stored) == GOOD["DDS"]


def test_a_lost_key_is_told(stack, urn):
    created = stack.create(urn, "DDS", **GOOD["DDS"])
    stack.vault.add_key()
    stack.vault.drop_old_keys()

    status, answer = stack.send("PUT", path_of(created), {"event_data": {"batch_size": 5}})

    assert (status, answer["error_code"]) == (500, "FSS.0500")
    assert stack.send("GET", path_of(created))[0] == 200


@pytest.mark.parametrize("code", list(SECRETS))
def test_secrets_are_shown_when_the_operator_wants_it(tmp_path, code):
    stack = prepare(Stack(tmp_path, echo_secrets=True))
    try:
        created = stack.create(stack.add_function(), code, **GOOD[code])

        assert created["event_data"] == GOOD[code]
    finally:
        stack.close()


@pytest.mark.proves("error:FSS.1123", "quota:pull triggers of a version")
def test_pull_kinds_share_a_quota(stack, urn):
    for number in range(4):
        stack.create(urn, "KAFKA", **{**GOOD["KAFKA"], "topic_ids": [f"t{number}"]})
        stack.create(urn, "TIMER", name=f"t{number}", schedule_type="Rate", schedule="3m")
    stack.create(urn, "DDS", **GOOD["DDS"])
    stack.create(urn, "LTS", **GOOD["LTS"])

    for code in ("DIS", "GAUSSMONGO", "KAFKA"):
        assert stack.refused(urn, code, **{**GOOD[code], "x": 1}) == (403, "FSS.1123")
    assert stack.create(urn, "RABBITMQ", **GOOD["RABBITMQ"])["trigger_type_code"] == "RABBITMQ"
    assert stack.create(urn.replace(":latest", ":!prod"), "DIS", **GOOD["DIS"])["trigger_type_code"] == "DIS"


@pytest.mark.proves("error:FSS.1306", "quota:CTS triggers of a project")
def test_a_project_has_at_most_ten_cts_triggers(stack, urn):
    for number in range(10):
        place = urn if number % 2 else urn.replace(":latest", ":v1")
        stack.create(place, "CTS", **{**GOOD["CTS"], "name": f"n{number}"})

    assert stack.refused(urn, "CTS", **{**GOOD["CTS"], "name": "eleventh"}) == (400, "FSS.1306")
    theirs = stack.add_function(project=OTHER_PROJECT)
    assert stack.create(theirs, "CTS", token="other", **GOOD["CTS"])["trigger_type_code"] == "CTS"
    stack.write(lambda tx: tx.functions.delete("id-of-other-orders"))


@pytest.mark.proves("error:FSS.1306", "quota:triggers of a version")
def test_a_version_has_at_most_a_hundred_triggers(stack, urn):
    for number in range(100):
        stack.create(urn, "RABBITMQ", **{**GOOD["RABBITMQ"], "exchange_name": f"e{number}"})

    assert stack.refused(urn, "RABBITMQ", **GOOD["RABBITMQ"]) == (400, "FSS.1306")


@pytest.mark.proves("error:FSS.1124", "quota:gateway triggers of a project")
def test_a_project_has_at_most_a_thousand_apis(stack, urn):
    made = stack.create(urn, "APIG", name="first", path="/first")
    stored = stack.read(lambda tx: tx.triggers.get(PROJECT_ID, made["trigger_id"]))
    names = [f"api_{number}" for number in range(998)]
    copies = [
        replace(stored, trigger_id=name, event_data={**stored.event_data, "name": name, "path": f"/{name}"})
        for name in names
    ]
    stack.write(lambda tx: [tx.triggers.put(copy) for copy in copies])

    assert stack.refused(urn, "APIG", name="another") == (400, "FSS.1306"), "the quota of the version comes first"
    other = urn.replace(":latest", ":v1")
    assert stack.create(other, "DEDICATEDGATEWAY", name="thousandth")["trigger_type_code"] == "DEDICATEDGATEWAY"
    assert stack.refused(other, "APIC", name="another") == (403, "FSS.1124")


@pytest.mark.proves("error:FSS.1108", "faq:FAQ-415")
@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        ({"events": ["s3:ObjectCreated:*"]}, True),
        ({"prefix": "in/2026/"}, True),
        ({"prefix": ""}, True),
        ({"suffix": "photo.jpg"}, True),
        ({"suffix": "", "prefix": ""}, True),
        ({"prefix": "out/"}, False),
        ({"suffix": ".png"}, False),
        ({"events": ["s3:ObjectRemoved:*"]}, False),
        ({"events": ["Copy", "Delete"]}, False),
        ({"bucket": "another"}, False),
    ],
)
def test_two_obs_triggers_must_not_get_the_same_events(stack, urn, change, is_refused):
    data = {"bucket": "photos", "events": ["Put", "Post"], "prefix": "in/", "suffix": ".jpg"}
    stack.create(urn, "OBS", **data)
    other = urn.replace(":latest", ":v1")

    if is_refused:
        assert stack.refused(other, "OBS", **{**data, **change}) == (403, "FSS.1108")
    else:
        assert stack.create(other, "OBS", **{**data, **change})["trigger_type_code"] == "OBS"


def test_the_bucket_of_another_project_is_none_of_ours(stack, urn):
    stack.create(urn, "OBS", **GOOD["OBS"])
    theirs = stack.add_function(project=OTHER_PROJECT)

    assert stack.create(theirs, "OBS", token="other", **GOOD["OBS"])["trigger_type_code"] == "OBS"
    stack.write(lambda tx: tx.functions.delete("id-of-other-orders"))


@pytest.mark.proves("error:FSS.1153")
@pytest.mark.parametrize("code", list(KINDS))
def test_an_http_function_has_none_of_them(stack, code):
    urn = stack.add_function("web", runtime="http")
    try:
        assert stack.refused(urn, code, **GOOD[code]) == (412, "FSS.1153")
    finally:
        stack.write(lambda tx: tx.functions.delete("id-of-test-1-web"))


@pytest.mark.proves("operation:BatchDeleteFunctionTriggers")
def test_all_kinds_are_deleted_together(stack, urn):
    for code, data in GOOD.items():
        stack.create(urn, code, **data)

    assert stack.send("DELETE", f"/triggers/{urn}") == (204, None)
    assert stack.send("GET", f"/triggers/{urn}") == (200, [])


@pytest.mark.proves("error:FSS.1137")
def test_an_unknown_type_in_the_path_is_told(stack, urn):
    for method in ("GET", "PUT", "DELETE"):
        status, answer = stack.send(method, "/triggers/orders/FAX/some-id", {} if method == "PUT" else None)
        assert (status, answer["error_code"]) == (404, "FSS.1137")


@pytest.mark.proves(*(f"error:FSS.{number}" for number in (1131, 1132, 1133, 1134, 1136, 1138, 1140, 1160, 1163, 1174)))
@pytest.mark.parametrize(("code", "missing"), [(code, kind.missing) for code, kind in KINDS.items()])
def test_a_missing_trigger_has_the_code_of_its_kind(stack, urn, code, missing):
    for method in ("GET", "PUT", "DELETE"):
        status, answer = stack.send(method, f"/triggers/{urn}/{code}/gone", {} if method == "PUT" else None)
        assert (status, answer["error_code"]) == (404, missing)


def a_topic(project):
    return Topic(region=REGION, project_id=project.project_id, name="orders-topic", display_name="", created_at=0.0)


def a_stream(project):
    return Stream(project_id=project.project_id, name="clicks", retention_s=3600.0, max_bytes=1_000_000, created_at=0.0)
