"""Functions, versions, aliases, triggers: what is sent, and what is shown."""

import base64
import io
import json
import zipfile

import pytest

from funclet.cli.frame import Failure
from funclet.cli.session import Address, parse_address

P = "0123456789abcdef0123456789abcdef"
HELLO = f"/fgs/functions/{P}:default:hello"
TRIGGERS = f"/fgs/triggers/{P}:default:hello"
TIMER = {"trigger_id": "t-1", "trigger_type_code": "TIMER", "event_data": {"name": "timer-1", "schedule": "3m"}}


@pytest.mark.parametrize(
    ("text", "app", "name", "qualifier"),
    [
        ("hello", "", "hello", ""),
        ("shop/hello", "shop", "hello", ""),
        ("hello:v1", "", "hello", "v1"),
        ("hello:!live", "", "hello", "!live"),
        ("shop/hello:!live", "shop", "hello", "!live"),
        (f"urn:fss:r:{P}:function:shop:hello", "shop", "hello", ""),
        (f"urn:fss:r:{P}:function:shop:hello:!live", "shop", "hello", "!live"),
        (f"{P}:shop:hello:v1", "shop", "hello", "v1"),
    ],
)
def test_addresses(text, app, name, qualifier):
    assert parse_address(text) == Address(app=app, name=name, qualifier=qualifier)


@pytest.mark.parametrize("text", ["", "a/", "/a", "a:", "a:!", "a/b/c", "a:b/c", "a:b:c:d:e"])
def test_wrong_addresses_are_refused(text):
    with pytest.raises(Failure, match="does not name a function"):
        parse_address(text)


def test_qualifier_that_is_no_version_is_taken_as_alias(fgs, stub):
    stub.on("GET", f"{HELLO}:live/config", 404, {"error_code": "FSS.1052", "error_msg": "no version"})
    stub.on("GET", f"{HELLO}:!live/config", 200, {"func_name": "hello", "version": "v1"})

    assert fgs("describe", "hello:live", "-o", "json").json["version"] == "v1"


def test_qualifier_that_is_neither_version_nor_alias_is_named(fgs, stub):
    stub.on("POST", f"{HELLO}:v9/invocations", 404, {"error_code": "FSS.1052", "error_msg": "no version"})
    stub.on("POST", f"{HELLO}:!v9/invocations", 404, {"error_code": "FSS.1053", "error_msg": "no alias"})

    ran = fgs("invoke", "hello:v9")

    assert ran.code == 5
    assert "hello has no version or alias 'v9'\n" in ran.err
    assert "hint: fgs version list hello\n" in ran.err


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (["invoke", "helo"], " Did you mean 'hello'?"),
        (["logs", "helo"], " Did you mean 'hello'?"),
        (["function", "get", "hello:v1x"], ""),
        (["invoke", "shopp/thumb"], " Did you mean 'shop/thumb'?"),
        (["remove", "thumbs", "-y"], " Did you mean 'shop/thumb'?"),
        (["describe", "zzzzz"], ""),
    ],
)
def test_mistyped_name_of_a_function_gets_a_question(fgs, stub, words, guess):
    rows = [{"func_name": "hello", "package": "default"}, {"func_name": "thumb", "package": "shop"}]
    stub.on("GET", "/fgs/functions", 200, {"functions": rows})

    ran = fgs(*words)

    lists = [seen for seen in stub.seen if seen.path == f"/v2/{P}/fgs/functions"]
    assert ran.code == 5
    assert ("Did you mean" in ran.err, len(lists)) == (bool(guess), 1)
    assert f"{guess}\n" in ran.err


def test_list_that_fails_does_not_hide_what_is_wrong(fgs, stub):
    stub.on("GET", "/fgs/functions", 500, {"error_code": "FSS.0500", "error_msg": "broken"})

    ran = fgs("describe", "helo")

    assert ran.code == 5
    assert "error FSS.1051" in ran.err
    assert "broken" not in ran.err


def test_nothing_is_listed_when_all_is_well(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})

    fgs("describe", "hello")

    assert len(stub.seen) == 1


def test_function_of_another_app_is_found_by_its_name(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 404, {"error_code": "FSS.1051", "error_msg": "none"})
    stub.on("GET", "/fgs/functions", 200, {"functions": [{"func_name": "hello", "package": "shop"}]})
    stub.on("GET", f"/fgs/functions/{P}:shop:hello/config", 200, {"func_name": "hello", "package": "shop"})

    assert fgs("function", "get", "hello").json["package"] == "shop"


def test_ambiguous_name_lists_the_candidates(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 404, {"error_code": "FSS.1051", "error_msg": "none"})
    rows = [{"func_name": "hello", "package": app} for app in ("shop", "blog")]
    stub.on("GET", "/fgs/functions", 200, {"functions": rows})

    ran = fgs("function", "get", "hello")

    assert ran.code == 2
    assert "blog/hello, shop/hello" in ran.err


def test_function_code_is_written_to_a_file(fgs, stub, tmp_path):
    data = base64.b64encode(b"PK-bytes").decode()
    stub.on("GET", f"{HELLO}/code", 200, {"func_code": {"file": data}})

    ran = fgs("function", "code", "get", "hello", "--out", str(tmp_path / "a.zip"), "-o", "json")

    assert ran.json["bytes"] == 8
    assert (tmp_path / "a.zip").read_bytes() == b"PK-bytes"


def test_code_is_fetched_through_its_link_from_the_same_server(fgs, stub, tmp_path):
    stub.on("GET", f"{HELLO}/code", 200, {"func_code": {"link": "http://other.test/v3/blob?sign=x"}})
    stub.on("GET", "/v3/blob", 200, b"PK")

    fgs("function", "code", "get", "hello", "--out", str(tmp_path / "a.zip"))

    assert stub.seen[-1].query == "sign=x"


def test_code_update_sends_a_zip_archive(fgs, stub, tmp_path):
    (tmp_path / "index.py").write_text("def handler(event, context): return 1\n")
    stub.on("PUT", f"{HELLO}/code", 200, {"func_name": "hello"})

    assert fgs("function", "code", "update", "hello", str(tmp_path / "index.py")).code == 13
    assert fgs("function", "code", "update", "hello", str(tmp_path), "-o", "json").code == 0
    sent = base64.b64decode(stub.seen[-1].json["func_code"]["file"])
    assert "index.py" in zipfile.ZipFile(io.BytesIO(sent)).namelist()


def test_config_set_merges_variables_and_keeps_the_required_members(fgs, stub):
    have = {"func_name": "hello", "runtime": "Python3.10", "handler": "index.handler", "memory_size": 128, "timeout": 3}
    stub.on("GET", f"{HELLO}/config", 200, have | {"user_data": '{"A":"1","B":"2"}'})
    stub.on("PUT", f"{HELLO}/config", 200, have)

    fgs("function", "config", "set", "hello", "--env", "B=", "--env", "C=3", "--timeout", "9", "--max-instances", "4")

    sent = stub.seen[-1].json
    assert json.loads(sent["user_data"]) == {"A": "1", "C": "3"}
    assert (sent["timeout"], sent["strategy_config"], sent["handler"]) == (9, {"concurrency": 4}, "index.handler")


@pytest.mark.parametrize(("option", "expected"), [("--fresh-state", True), ("--no-fresh-state", False)])
def test_config_set_switches_fresh_state(fgs, stub, option, expected):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})
    stub.on("PUT", f"{HELLO}/config", 200, {"func_name": "hello", "enable_fresh_state": expected})

    fgs("function", "config", "set", "hello", option)

    assert stub.seen[-1].json["enable_fresh_state"] is expected


def test_config_set_without_a_change_is_refused(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})

    assert fgs("function", "config", "set", "hello").code == 2


@pytest.mark.parametrize(("existing", "expected"), [(["latest"], "v1"), (["latest", "v1", "v9", "beta"], "v10")])
def test_publish_takes_the_next_free_name(fgs, stub, existing, expected):
    stub.on("GET", f"{HELLO}/versions", 200, {"versions": [{"version": name} for name in existing]})
    stub.on("POST", f"{HELLO}/versions", 200, {"version": expected})

    ran = fgs("version", "publish", "hello")

    assert stub.seen[-1].json["version"] == expected
    assert ran.out == f"published hello:{expected}\n"


def test_publish_under_a_given_name(fgs, stub):
    stub.on("POST", f"{HELLO}/versions", 200, {"version": "beta"})

    assert fgs("publish", "hello", "--name", "beta", "--description", "d", "-o", "json").json["version"] == "beta"
    assert stub.seen[-1].json == {"version": "beta", "description": "d"}


def test_version_delete_never_goes_through_an_alias(fgs, stub):
    stub.on("DELETE", f"{HELLO}:live", 404, {"error_code": "FSS.1052", "error_msg": "no version"})

    assert fgs("version", "delete", "hello", "live", "-y").code == 5
    assert len(stub.seen) == 1


def test_alias_with_a_canary(fgs, stub):
    stub.on("POST", f"{HELLO}/aliases", 200, {"name": "live", "version": "v1"})

    ran = fgs("alias", "create", "hello", "live", "--version", "v1", "--canary", "v2=30")

    assert stub.seen[-1].json["additional_version_weights"] == {"v2": 30}
    assert "created alias live" in ran.out


def test_alias_update_keeps_the_version(fgs, stub):
    stub.on("GET", f"{HELLO}/aliases", 200, [{"name": "live", "version": "v1"}])
    stub.on("PUT", f"{HELLO}/aliases/live", 200, {"name": "live", "version": "v1"})

    fgs("alias", "update", "hello", "live", "--canary", "v2=5")

    assert stub.seen[-1].json["version"] == "v1"


def test_missing_alias_is_not_found(fgs, stub):
    stub.on("GET", f"{HELLO}/aliases", 200, [])

    assert fgs("alias", "get", "hello", "live").code == 5


APIG = {"trigger_id": "g-1", "trigger_type_code": "APIG", "event_data": {"name": "API_hello", "path": "/x"}}


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], "timer-1"),
        ([APIG], "timer-1"),
        ([APIG, TIMER], "timer-2"),
        ([TIMER | {"event_data": {"name": "timer-2"}}], "timer-3"),
    ],
)
def test_timer_gets_a_free_name_that_counts_timers_only(fgs, stub, present, expected):
    stub.on("GET", TRIGGERS, 200, present)
    stub.on("POST", TRIGGERS, 201, TIMER)

    fgs("trigger", "create", "hello", "--type", "timer", "--schedule", "3m")

    sent = stub.seen[-1].json
    assert sent["trigger_type_code"] == "TIMER"
    assert (sent["event_data"]["name"], sent["event_data"]["schedule_type"]) == (expected, "Rate")


def test_gateway_trigger_shows_its_url(fgs, stub):
    made = {"trigger_id": "g", "trigger_type_code": "APIG", "event_data": {"path": "/x", "invoke_url": "http://g/x"}}
    stub.on("GET", TRIGGERS, 200, [])
    stub.on("POST", TRIGGERS, 201, made)

    ran = fgs("trigger", "create", "hello", "--type", "APIG", "--path", "/x", "--auth", "none")

    assert stub.seen[-1].json["event_data"]["auth"] == "NONE"
    assert "url: http://g/x" in ran.out


def test_trigger_is_found_by_its_name(fgs, stub):
    stub.on("GET", TRIGGERS, 200, [TIMER])
    stub.on("PUT", f"{TRIGGERS}/TIMER/t-1", 200, TIMER | {"trigger_status": "DISABLED"})
    stub.on("DELETE", f"{TRIGGERS}/TIMER/t-1", 204)

    assert fgs("t", "update", "hello", "timer-1", "--status", "DISABLED").code == 0
    assert stub.seen[-1].json == {"trigger_status": "DISABLED"}
    assert fgs("t", "delete", "hello", "t-1", "-y").code == 0


def test_timer_needs_exactly_one_schedule(fgs, stub):
    stub.on("GET", TRIGGERS, 200, [])

    assert fgs("trigger", "create", "hello", "--type", "TIMER").code == 2


def test_remove_refuses_latest_without_asking_the_server(fgs, stub):
    ran = fgs("remove", "hello:latest", "-y")

    assert ran.code == 2
    assert "fgs remove hello" in ran.err
    assert stub.seen == []


def test_remove_says_what_goes_with_the_function(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})
    stub.on("GET", f"{HELLO}/versions", 200, {"versions": [{"version": "latest"}, {"version": "v1"}]})
    stub.on("GET", f"{HELLO}/aliases", 200, [{"name": "live"}])
    stub.on("GET", TRIGGERS, 200, [TIMER, TIMER])
    stub.on("DELETE", HELLO, 204)

    assert fgs("remove", "hello", "-y").out == "deleted function hello with 1 version, 1 alias, 2 triggers\n"


def test_remove_dry_run_deletes_nothing(fgs, stub):
    for path, body in ((f"{HELLO}/config", {}), (f"{HELLO}/versions", {}), (f"{HELLO}/aliases", []), (TRIGGERS, [])):
        stub.on("GET", path, 200, body)

    assert fgs("remove", "hello", "--dry-run").code == 0
    assert {seen.method for seen in stub.seen} == {"GET"}


@pytest.mark.proves("faq:FAQ-301")
def test_explain_knows_every_code_and_a_remedy(fgs_alone):
    found = fgs_alone("explain", "1066", "-o", "json").json

    assert found["code"] == "FSS.1066"
    assert found["hint"]
    assert len(fgs_alone("explain").json) > 80


def test_explain_says_how_a_handler_that_raised_answers(fgs_alone):
    remark = fgs_alone("explain", "FSS.4002", "-o", "json").json["remark"]

    assert "HTTP 200" in remark
    assert "X-Func-Err-Code: 4002" in remark
    assert "--handler-error-status" in remark


def test_whoami(fgs, stub):
    stub.on("GET", "/v3/auth/domains", 200, {"domains": [{"id": "d", "name": "acct"}]})

    found = fgs("whoami").json

    assert (found["account"], found["ak"], found["project_id"]) == ("acct", "AKEXAMPLE", P)
    assert "very-secret-key" not in json.dumps(found)
