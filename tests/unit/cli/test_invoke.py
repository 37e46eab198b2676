"""`fgs invoke`, `fgs logs`: what is shown where, and the exit codes 10, 11, 12."""

import base64
import json

import pytest

from funclet.cli import expect
from funclet.cli.frame import Failure
from funclet.cli.invoke import describe

P = "0123456789abcdef0123456789abcdef"
HELLO = f"/fgs/functions/{P}:default:hello"
INVOKE = f"{HELLO}/invocations"
SUMMARY = '{"duration":12.4,"billingDuration":13,"memorySize":128,"memoryUsed":38.2}'
OK = {"X_Cff_Request_Id": "r-1", "X_Func_Err_Code": "0", "X_Is_Func_Err": "false", "X_Cff_Invoke_Summary": SUMMARY}


def test_answer_on_stdout_and_summary_on_stderr(fgs, stub):
    stub.on("POST", INVOKE, 200, {"message": "hi"}, **OK)

    ran = fgs("invoke", "hello", "-d", '{"name":"fg"}')

    assert (ran.code, ran.out) == (0, '{"message": "hi"}\n')
    assert ran.err == "status 200 · 12.4 ms · billed 13 ms · mem 38 MB/128 MB · request r-1\n"
    assert stub.seen[-1].body == b'{"name":"fg"}'


def test_log_tail_is_asked_for_and_shown_on_stderr(fgs, stub):
    log = base64.b64encode(b"greeting fg\n").decode()
    stub.on("POST", INVOKE, 200, {}, **OK, X_Cff_Function_Log=log)

    ran = fgs("invoke", "hello", "--log", "tail")

    assert stub.seen[-1].headers["x-cff-log-type"] == "tail"
    assert "greeting fg" in ran.err
    assert "greeting" not in ran.out


def test_raw_writes_the_bytes_and_nothing_else(fgs, stub):
    stub.on("POST", INVOKE, 200, b"plain", **OK)

    ran = fgs("invoke", "hello", "--raw")

    assert (ran.out, ran.err) == ("plain", "")


def test_json_view_is_one_document(fgs, stub):
    stub.on("POST", INVOKE, 200, {"a": 1}, **OK)

    found = fgs("invoke", "hello", "-o", "json").json

    assert (found["result"], found["duration_ms"], found["request_id"]) == ({"a": 1}, 12.4, "r-1")


def test_answer_can_go_to_a_file(fgs, stub, tmp_path):
    stub.on("POST", INVOKE, 200, {"a": 1}, **OK)

    fgs("invoke", "hello", "--out", str(tmp_path / "a.json"))

    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def test_failed_handler_is_exit_code_10_with_its_stack(fgs, stub):
    error = {"errorMessage": "boom", "errorType": "ValueError", "stackTrace": ["File index.py, line 3"]}
    failed = OK | {"X_Func_Err_Code": "4002", "X_Is_Func_Err": "true"}
    stub.on("POST", INVOKE, 200, error, **failed)

    ran = fgs("invoke", "hello")

    assert ran.code == 10
    assert "ValueError: boom" in ran.err
    assert "line 3" in ran.err
    assert "--request-id r-1" in ran.err
    assert ran.out == ""


def test_timeout_of_the_function_is_exit_code_10(fgs, stub):
    failed = OK | {"X_Func_Err_Code": "4010", "X_Is_Func_Err": "true"}
    stub.on("POST", INVOKE, 500, {"error_code": "FSS.4010", "error_msg": "took too long"}, **failed)

    ran = fgs("invoke", "hello")

    assert ran.code == 10
    assert "error FSS.4010" in ran.err


def test_failure_of_the_platform_is_exit_code_11(fgs, stub):
    failed = OK | {"X_Func_Err_Code": "200500"}
    stub.on("POST", INVOKE, 500, {"error_code": "FSS.0500", "error_msg": "no sandbox"}, **failed)

    assert fgs("invoke", "hello").code == 11


@pytest.mark.parametrize(("status", "code", "expected"), [(404, "FSS.0404", 5), (429, "FSS.0429", 7), (401, "", 3)])
def test_refusals_keep_their_exit_codes(fgs, stub, status, code, expected):
    stub.on("POST", INVOKE, status, {"error_code": code, "error_msg": "no"}, X_Func_Err_Code="150430")
    stub.on("GET", "/fgs/functions", 200, {"functions": []})

    assert fgs("invoke", "hello").code == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--expect", "statusCode == 201"], 0),
        (["--expect", "body == 'other'"], 12),
        (["--expect-status", "201"], 0),
        (["--expect-status", "200"], 12),
        (["--raise-on-status"], 0),
    ],
)
def test_expectations_are_exit_code_12(fgs, stub, flags, expected):
    stub.on("POST", INVOKE, 200, {"statusCode": 201, "body": "text"}, **OK)

    assert fgs("invoke", "hello", *flags).code == expected


def test_raise_on_status(fgs, stub):
    stub.on("POST", INVOKE, 200, {"statusCode": 404}, **OK)

    assert fgs("invoke", "hello", "--raise-on-status").code == 12


def test_event_that_is_no_json_is_refused_here(fgs, stub):
    ran = fgs("invoke", "hello", "-d", "text")

    assert ran.code == 2
    assert stub.seen == []


def test_event_from_a_file(fgs, stub, tmp_path):
    (tmp_path / "e.json").write_text("[1]")
    stub.on("POST", INVOKE, 200, {}, **OK)

    fgs("invoke", "hello", "-e", str(tmp_path / "e.json"))

    assert stub.seen[-1].body == b"[1]"


def test_async_prints_the_request_id(fgs, stub):
    stub.on("POST", f"{INVOKE}-async", 202, {"request_id": "r-9"})

    assert fgs("invoke", "hello", "--async").out == "r-9\n"


def test_async_wait_tells_failure_and_attempts(fgs, stub):
    stub.on("POST", f"{INVOKE}-async", 202, {"request_id": "r-9"})
    stub.on("GET", f"{HELLO}/async-invocations", 200, {"invocations": []})
    stub.on("GET", f"{HELLO}/async-invocations", 200, {"invocations": [{"request_id": "r-9", "status": "RUNNING"}]})
    record = {"request_id": "r-9", "status": "FAIL", "error_code": 4002, "error_message": "boom"}
    stub.on("GET", f"{HELLO}/async-invocations", 200, {"invocations": [record]})
    stub.on("GET", f"/funclet/functions/{P}:default:hello/logs", 200, {"records": [{"id": 1}, {"id": 2}]})

    ran = fgs("invoke", "hello", "--async", "--wait")

    assert ran.code == 10
    assert "after 2 attempts" in ran.out
    assert "error FSS.4002: hello failed: boom" in ran.err


STACK = {"errorMessage": "boom", "errorType": "ValueError", "stackTrace": ["File index.py, line 3", "  raise it"]}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (STACK, "ValueError: boom\n  File index.py, line 3\n    raise it"),
        (json.dumps(STACK, indent=4), "ValueError: boom\n  File index.py, line 3\n    raise it"),
        ({"error_code": "FSS.4001", "error_msg": json.dumps({"errorMessage": "boom"})}, "boom"),
        ({"error_code": "FSS.4010", "error_msg": "took too long"}, "took too long"),
        ("took too long", "took too long"), ("{broken", "{broken"), ("", "no message"), (None, "no message"),
        ({}, "no message"), ({"errorType": "Odd"}, "Odd"),
    ],
)  # fmt: skip
def test_errors_of_functions_are_described_for_people(found, expected):
    assert describe(found) == expected


def test_async_wait_shows_the_error_as_the_synchronous_form_does(fgs, stub):
    stub.on("POST", INVOKE, 200, STACK, **(OK | {"X_Func_Err_Code": "4002", "X_Is_Func_Err": "true"}))
    stub.on("POST", f"{INVOKE}-async", 202, {"request_id": "r-1"})
    record = {"request_id": "r-1", "status": "FAIL", "error_code": 4002, "error_message": json.dumps(STACK, indent=4)}
    stub.on("GET", f"{HELLO}/async-invocations", 200, {"invocations": [record]})

    errors = [fgs("invoke", "hello", *words).err.partition("error ")[2] for words in ([], ["--async", "--wait"])]

    assert "ValueError: boom" in errors[0]
    assert errors[0] == errors[1]


def test_repeat_once_is_told_in_the_singular(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})
    stub.on("POST", INVOKE, 200, {}, **OK)

    out = fgs("invoke", "hello", "-n", "1").out

    assert out.startswith("1 invocation in ")
    assert out.endswith("0 cold starts\n")


def test_repeat_reports_percentiles(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})
    stub.on("POST", INVOKE, 200, {}, **OK)

    found = fgs("invoke", "hello", "-n", "20", "-c", "4", "-o", "json").json

    assert found["count"] == 20
    assert found["outcomes"] == {"completed": 20}
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]


def test_repeat_with_failures_is_exit_code_10(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})
    stub.on("POST", INVOKE, 429, {"error_code": "FSS.0429", "error_msg": "busy"})
    stub.on("POST", INVOKE, 200, {}, **(OK | {"X_Is_Func_Err": "true"}))

    ran = fgs("invoke", "hello", "-n", "3")

    assert ran.code == 10
    assert "1 throttled" in ran.out
    assert "2 function failed" in ran.out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", True), ("b", False), ("a == 1", True), ("a != 1", False), ("list[0].x == 'y'", True),
        ("list[-1].x", True),
        ("length(list) == 1", True), ("a >= 1", True), ("a < 1", False), ('"odd name" == `true`', True),
        ("missing.deep == null", True), ("a < 'x'", False), ("@", True),
    ],
)  # fmt: skip
def test_expressions(text, expected):
    assert expect.holds(text, {"a": 1, "list": [{"x": "y"}], "odd name": True}) is expected


@pytest.mark.parametrize("text", ["a[", "a == nonsense", "a..b"])
def test_wrong_expressions_are_refused(text):
    with pytest.raises(Failure):
        expect.holds(text, {})


RECORD = {
    "id": 7, "time": "2026-03-10T08:00:00.000Z", "version": "latest", "request_id": "r-1", "outcome": "success",
    "duration_ms": 3.2, "cold": True, "text": "one\ntwo\n",
}  # fmt: skip
LOGS = f"/funclet/functions/{P}:default:hello/logs"


@pytest.fixture
def records(stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})
    failed = RECORD | {"id": 8, "request_id": "r-2", "outcome": "Function error", "cold": False, "text": "bad"}
    stub.on("GET", LOGS, 200, {"records": [RECORD, failed]})


def test_logs_are_shown_with_time_and_outcome(fgs, records):
    out = fgs("logs", "hello", "--no-color").out.splitlines()

    assert "latest r-1 success 3.2 ms cold" in out[0]
    assert out[1:3] == ["  one", "  two"]


@pytest.mark.parametrize("flag", ["-n", "--limit"])
def test_number_of_records_is_limited(fgs, stub, records, flag):
    fgs("logs", "hello", flag, "5")

    assert stub.seen[-1].query == "limit=5"


def test_raw_logs_are_the_text_alone(fgs, records):
    assert fgs("logs", "hello", "-o", "raw").out == "one\ntwo\nbad\n"


def test_failed_logs_as_json(fgs, records):
    assert [row["id"] for row in fgs("logs", "hello", "--failed", "-o", "json").json] == [8]


@pytest.mark.parametrize(("is_on", "is_said"), [(False, True), (True, False)])
def test_an_empty_log_that_is_switched_off_says_so(fgs, stub, is_on, is_said):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello", "enable_lts_log": is_on})
    stub.on("GET", LOGS, 200, {"records": [], "enabled": is_on})

    assert ("its log is switched off" in fgs("logs", "hello").err) is is_said


def test_json_can_be_asked_for_before_the_command(fgs, records):
    assert len(fgs("-o", "json", "logs", "hello").json) == 2


def test_time_limits_go_to_the_server(fgs, stub, records):
    fgs("logs", "hello", "--start", "2026-03-10T08:00:00Z", "--end", "2026-03-10T09:00:00Z", "--request-id", "r-1")

    assert stub.seen[-1].query == "limit=100&since=1773129600.000&until=1773133200.000&request_id=r-1"


def test_follow_goes_on_after_the_last_record_until_interrupted(fgs, stub, records, monkeypatch):
    """Each poll asks for what is newer; an interruption ends it with 130."""
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("funclet.cli.logs.time.sleep", pause)

    ran = fgs("logs", "hello", "-f", "-o", "raw", "--since", "1m")

    assert ran.code == 130
    assert "after=8" in stub.seen[-1].query


def test_follow_survives_a_server_that_is_away(fgs, stub, records, monkeypatch):
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("funclet.cli.logs.time.sleep", pause)
    stub.answers["GET", f"/v2/{P}{LOGS}"].insert(0, (500, {"error_code": "FSS.0500", "error_msg": "x"}, {}))

    ran = fgs("logs", "hello", "-f", "-o", "raw")

    assert ran.out == "one\ntwo\nbad\n"
