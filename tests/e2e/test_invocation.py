"""Headers and bodies of synchronous invocations, as clients of the API see them."""

import base64
import json
import re
import uuid

import pytest

from tests.support.packages import zip_of

PYTHON, NODE = "Python3.9", "Node.js20.15"

# One function per language; the event says what it does.
PYTHON_SOURCE = """
import time

def handler(event, context):
    match event["do"]:
        case "return": return event.get("value")
        case "bytes": return b"raw"
        case "bad bytes": return b"\\xff"
        case "set": return {1, 2}
        case "raise": raise KeyError("name")
        case "exit": raise SystemExit(3)
        case "print":
            for number in range(event["lines"]):
                print(f"line {number} " + "." * 80)
        case "print without end":
            print("no newline", end="")
        case "log":
            context.getLogger().info("told the logger")
        case "request id":
            return context.getRequestID()
"""
NODE_SOURCE = """
exports.handler = (event, context, callback) => {
    switch (event.do) {
    case 'return': return callback(null, event.value);
    case 'nothing': return callback(null);
    case 'cycle': { const value = {}; value.self = value; return callback(null, value); }
    case 'raise': throw new TypeError('name');
    case 'reject': return Promise.reject(new RangeError('far'));
    case 'throw text': throw 'text';
    case 'callback error': return callback(new Error('told'));
    case 'callback text': return callback('plain');
    case 'print':
        for (let number = 0; number < event.lines; number++) console.log(`line ${number} ${'.'.repeat(80)}`);
        return callback(null);
    case 'log':
        context.getLogger().info('told the logger');
        return callback(null);
    case 'request id': return callback(null, context.getRequestID());
    }
};
"""


@pytest.fixture(scope="module")
def python(server):
    """The Python function."""
    return server.deploy("answers-python", PYTHON_SOURCE, runtime=PYTHON)


@pytest.fixture(scope="module")
def node(server):
    """The Node.js function."""
    return server.deploy("answers-node", NODE_SOURCE, runtime=NODE)


@pytest.fixture(params=[PYTHON, NODE])
def either(request, python, node):
    """Both functions, one after the other, for what does not depend on the language."""
    return python if request.param == PYTHON else node


def ask(server, urn, do, *, headers=None, **event):
    """Invoke with an event."""
    return server.invoke(urn, {"do": do, **event}, **(headers or {}))


TAIL, V1 = {"x_cff_log_type": "tail"}, {"x_cff_request_version": "v1"}
JSON, TEXT = "application/json", "text/plain"


def kind_of(answer):
    """Return the content type without its parameters."""
    return answer.headers["content-type"].partition(";")[0]


def log_of(answer):
    """Return the log of the header."""
    return base64.b64decode(answer.headers["x-cff-function-log"])


# Results


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ({"a": [1, None, True]}, b'{"a": [1, null, true]}', JSON),
        ({}, b"{}", JSON),
        ([], b"[]", JSON),
        (3, b"3", JSON),
        (1.5, b"1.5", JSON),
        (True, b"true", JSON),
        (None, b"", TEXT),
        ("", b"", TEXT),
        ("plain text", b"plain text", TEXT),
        ('{"already": "JSON"}', b'{"already": "JSON"}', JSON),
        ("12", b"12", JSON),
        ("grüß 你好", "grüß 你好".encode(), TEXT),
        ({"k": "你"}, b'{"k": "\\u4f60"}', JSON),
        ({"statusCode": 404, "body": "x"}, b'{"statusCode": 404, "body": "x"}', JSON),
    ],
)
def test_what_python_returns_is_the_body(server, python, value, body, kind):
    answer = ask(server, python, "return", value=value)

    assert (answer.status, answer.body, kind_of(answer)) == (200, body, kind)


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}', JSON),
        ([], b"[]", JSON),
        (3, b"3", JSON),
        (True, b"true", JSON),
        (None, b"null", JSON),
        ("", b"", TEXT),
        ("plain text", b"plain text", TEXT),
        ({"k": "你"}, '{"k":"你"}'.encode(), JSON),
        ({"statusCode": 404, "body": "x"}, b'{"statusCode":404,"body":"x"}', JSON),
    ],
)
def test_what_node_returns_is_the_body(server, node, value, body, kind):
    answer = ask(server, node, "return", value=value)

    assert (answer.status, answer.body, kind_of(answer)) == (200, body, kind)


def test_bytes_of_python_are_sent_as_they_are(server, python):
    assert ask(server, python, "bytes").body == b"raw"


def test_nothing_from_node_is_an_empty_body(server, node):
    assert ask(server, node, "nothing").body == b""


# Events


@pytest.mark.parametrize(
    "event", [b'{"do":"return","value":1}', b' \n{"do":"return","value":1}\n', b'{"value":1,"do":"return"}']
)
def test_any_spelling_of_an_event_is_taken(server, either, event):
    assert server.invoke(either, event).body == b"1"


def test_without_a_body_the_event_is_an_empty_object(server):
    urn = server.deploy("echo", "def handler(event, context):\n    return event\n")

    assert server.invoke(urn, b"").json() == {}


@pytest.mark.parametrize("event", [b"no json", b"{", b"{'a': 1}", b'{"a": NaN}', b"\xff", b"[1,]"])
def test_what_is_not_json_is_refused(server, python, event):
    answer = server.invoke(python, event)

    assert (answer.status, answer.json()["error_code"]) == (406, "FSS.0406")


# Headers


@pytest.mark.parametrize("headers", [{}, V1])
def test_every_answer_carries_the_headers_of_an_invocation(server, either, headers):
    answer = ask(server, either, "return", value=1, headers=headers)

    found = answer.headers
    summary = json.loads(found["x-cff-invoke-summary"])
    assert uuid.UUID(found["x-cff-request-id"])
    assert found["x-request-id"] == found["x-cff-request-id"]
    assert found["x-func-err-code"] == "0"
    assert found["x-is-func-err"] == "false"
    assert found["x-cff-response-version"] == ("v1" if headers else "v0")
    assert set(summary) >= {"duration", "billingDuration", "memorySize", "memoryUsed"}
    assert 0 < summary["duration"] <= summary["billingDuration"] == int(found["x-cff-billing-duration"])
    assert summary["memorySize"] == 128
    assert 0 < summary["memoryUsed"] <= 128
    assert "x-cff-function-log" not in found


def test_the_request_id_is_ours_and_the_function_sees_it(server, either):
    theirs = str(uuid.uuid4())

    answer = ask(server, either, "request id", headers={"x_cff_request_id": theirs})

    assert answer.body.decode() == answer.headers["x-cff-request-id"] != theirs


@pytest.mark.parametrize("do", ["raise", "exit"])
def test_failures_carry_the_headers_as_well(server, python, do):
    found = ask(server, python, do, headers=TAIL).headers

    assert (found["x-func-err-code"], found["x-is-func-err"]) == ("4002", "true")
    assert json.loads(found["x-cff-invoke-summary"])["memorySize"] == 128
    assert found["x-cff-function-log"]


# Envelope


@pytest.mark.parametrize(
    ("value", "python_result", "node_result"),
    [({"a": 1}, '{"a": 1}', '{"a":1}'), ("text", "text", "text"), (3, "3", "3")],
)
def test_the_envelope_holds_the_result_as_text(server, python, node, value, python_result, node_result):
    for urn, result in ((python, python_result), (node, node_result)):
        answer = ask(server, urn, "return", value=value, headers=V1)

        request_id = answer.headers["x-cff-request-id"]
        assert (answer.status, kind_of(answer)) == (200, JSON)
        assert answer.json() == {"request_id": request_id, "result": result, "log": "", "status": 200}


@pytest.mark.proves("error:FSS.4002")
def test_the_envelope_of_a_failed_handler_says_so(server, either):
    answer = ask(server, either, "raise", headers=V1)

    envelope = answer.json()
    assert answer.status == 200
    assert (envelope["status"], envelope["error_code"]) == (500, "FSS.4002")
    assert "function invocation exception, error: " in json.loads(envelope["result"])["errorMessage"]


def test_the_envelope_of_an_ended_function_has_status_and_log(server):
    source = "import os\n\ndef handler(event, context):\n    print('last words', flush=True)\n    os._exit(1)\n"
    urn = server.deploy("exits", source)

    answer = server.invoke(urn, **V1, **TAIL)

    body = answer.json()
    assert (answer.status, body["status"], body["error_code"]) == (500, 500, "FSS.4204")
    assert body["request_id"] == answer.headers["x-cff-request-id"]
    assert "last words" in body["log"]


# Logs

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
FINISH = (
    r"duration: \d+\.\d{3}ms, billing duration: \d+ms, memory used: \d+\.\d{3}MB, billing memory: 128MB, "
    r"cpu used: \d+\.\d{3}U, storage used: \d+\.\d{3}MB"
)


def test_the_log_of_a_request_stands_between_two_lines(server, either):
    ask(server, either, "return")  # the load lines belong to the first request

    answer = ask(server, either, "print", lines=2, headers=TAIL)

    request_id = answer.headers["x-cff-request-id"]
    dots = r"\." * 80
    pattern = (
        f"{TIME} Start invoke request '{request_id}', version: latest\n"
        f"line 0 {dots}\nline 1 {dots}\n"
        f"{TIME} Finish invoke request '{request_id}', {FINISH}\n"
    )
    assert re.fullmatch(pattern, log_of(answer).decode())


def test_the_log_of_a_failed_request_says_so(server, either):
    answer = ask(server, either, "raise", headers=TAIL)

    text = log_of(answer).decode()
    request_id = answer.headers["x-cff-request-id"]
    assert re.search(f"^{TIME} {request_id} ERROR function invocation exception, error: ", text, re.MULTILINE)
    assert f"Finish invoke request '{request_id}'(invoke Failed), duration: " in text


@pytest.mark.proves("faq:FAQ-222")
def test_the_logger_writes_time_request_and_level(server, either):
    answer = ask(server, either, "log", headers=TAIL)

    request_id = answer.headers["x-cff-request-id"]
    assert re.search(f"^{TIME} {request_id} INFO told the logger$", log_of(answer).decode(), re.MULTILINE)


def test_the_last_line_printed_is_ended_if_the_function_did_not(server, python):
    text = log_of(ask(server, python, "print without end", headers=TAIL)).decode()

    assert re.search(rf"^no newline\n{TIME} Finish", text, re.MULTILINE)


@pytest.mark.proves("quota:log-tail")
def test_the_header_holds_the_last_2000_bytes_of_the_log_and_the_envelope_4_kb(server, either):
    answer = ask(server, either, "print", lines=200, headers=TAIL | V1)

    header, envelope = log_of(answer).decode(), answer.json()["log"]
    assert (len(header), len(envelope)) == (2000, 4096)
    assert envelope.endswith(header)
    assert f"line 199 {'.' * 80}" in header


def test_a_cut_log_begins_with_a_whole_character(server):
    urn = server.deploy("chinese", "def handler(event, context):\n    print('好' * 3000)\n")

    text = log_of(server.invoke(urn, **TAIL)).decode()

    assert text.startswith("好")
    assert 1997 <= len(text.encode()) <= 2000


def test_the_whole_log_is_kept(server, python):
    answer = ask(server, python, "print", lines=200)

    request_id = answer.headers["x-cff-request-id"]
    records = server.client.logs(python, request_id=request_id)
    assert len(records) == 1
    assert records[0]["text"].count("line ") == 200


# Errors of the languages


@pytest.mark.parametrize(
    ("do", "status", "code", "error"),
    [
        (
            "raise",
            200,
            4002,
            {
                "errorMessage": "function invocation exception, error: 'name'",
                "errorType": "KeyError",
                "stackTrace": ['File "./index.py", line 10, in handler', '  case "raise": raise KeyError("name")'],
            },
        ),
        (
            "exit",
            200,
            4002,
            {
                "errorMessage": "function invocation exception, error: 3",
                "errorType": "SystemExit",
                "stackTrace": ['File "./index.py", line 11, in handler', '  case "exit": raise SystemExit(3)'],
            },
        ),
        (
            "set",
            500,
            4007,
            {
                "errorMessage": "function result is invalid, error: Object of type set is not JSON serializable",
                "errorType": "TypeError",
            },
        ),
    ],
)
def test_errors_of_python(server, python, do, status, code, error):
    assert_error(ask(server, python, do), status, code, error)


@pytest.mark.parametrize(
    ("do", "status", "code", "error"),
    [
        (
            "raise",
            200,
            4002,
            {"errorMessage": "function invocation exception, error: name", "errorType": "TypeError"},
        ),
        (
            "reject",
            200,
            4002,
            {"errorMessage": "function invocation exception, error: far", "errorType": "RangeError"},
        ),
        (
            "throw text",
            200,
            4002,
            {"errorMessage": "function invocation exception, error: text", "errorType": "UserFunctionError"},
        ),
        ("callback error", 500, 4001, {"errorMessage": "function entry exception, error: told", "errorType": "Error"}),
    ],
)
def test_errors_of_node(server, node, do, status, code, error):
    found = assert_error(ask(server, node, do), status, code, None)

    assert {name: found[name] for name in error} == error
    assert ("stackTrace" in found) == (code == 4002)


def test_a_callback_with_text_fails_with_that_text(server, node):
    answer = ask(server, node, "callback text")

    assert (answer.status, answer.json()["error_code"], answer.json()["error_msg"]) == (500, "FSS.4001", "plain")


@pytest.mark.proves("error:FSS.4007")
def test_a_cycle_cannot_be_returned(server, node):
    answer = ask(server, node, "cycle")

    error = json.loads(answer.json()["error_msg"])
    assert (answer.status, answer.json()["error_code"]) == (500, "FSS.4007")
    assert error["errorMessage"].startswith("function result is invalid, error: Converting circular structure to JSON")
    assert error["errorType"] == "TypeError"


def assert_error(answer, status, code, error):
    """Check status, code and headers; return the error JSON, which is the body of a 200 and the text of others."""
    assert answer.status == status, answer
    assert (answer.headers["x-func-err-code"], answer.headers["x-is-func-err"]) == (str(code), "true")
    text = answer.body.decode()
    if status != 200:
        assert answer.json()["error_code"] == f"FSS.{code}"
        assert answer.json()["request_id"] == answer.headers["x-cff-request-id"]
        text = answer.json()["error_msg"]
    found = json.loads(text)
    assert text == json.dumps(found, indent=4, ensure_ascii=False)
    assert error is None or found == error
    return found


@pytest.mark.parametrize(
    ("runtime", "files", "handler", "message", "kind"),
    [
        (
            PYTHON,
            {"index.py": "def other(event, context): pass\n"},
            "index.handler",
            (
                "function entry exception, error: handler 'handler' not found in module 'index'"
                "(module 'index' has no attribute 'handler')"
            ),
            "AttributeError",
        ),
        (
            PYTHON,
            {"other.py": ""},
            "index.handler",
            "function entry exception, error: failed to import module 'index'(No module named 'index')",
            "ModuleNotFoundError",
        ),
        (
            PYTHON,
            {"index.py": "import Crypto\n"},
            "index.handler",
            "function entry exception, error: failed to import module 'index'(No module named 'Crypto')",
            "ModuleNotFoundError",
        ),
        (
            PYTHON,
            {"index.py": "raise ValueError('at once')\n"},
            "index.handler",
            "function entry exception, error: module initialization error(at once)",
            "ValueError",
        ),
        (
            NODE,
            {"other.js": ""},
            "index.handler",
            "function entry exception, error: not found module './index.js'",
            "FunctionLoadError",
        ),
        (
            NODE,
            {"index.js": "exports.other = () => {};"},
            "index.handler",
            "function entry exception, error: handler 'handler' not found in module './index.js'",
            "FunctionConfigError",
        ),
        (
            NODE,
            {"index.js": "exports.handler = async (event) => 1;"},
            "index.handler",
            "function entry exception, error: handler expect to have 2 or 3 parameters, but received 1",
            "FunctionLoadError",
        ),
        (
            NODE,
            {"index.js": "throw new TypeError('at once');"},
            "index.handler",
            "function entry exception, error: at once",
            "TypeError",
        ),
    ],
)
def test_a_function_that_cannot_be_loaded_says_why(server, runtime, files, handler, message, kind):
    urn = server.deploy(f"load-{uuid.uuid4().hex[:8]}", files, runtime=runtime, handler=handler)

    answer = server.invoke(urn)

    found = assert_error(answer, 500, 4001, None)
    assert (found["errorMessage"], found["errorType"]) == (message, kind)


def test_a_syntax_error_shows_its_line(server):
    urn = server.deploy("syntax", {"index.py": "def handler(event, context):\n    return (\n"})

    found = assert_error(server.invoke(urn), 500, 4001, None)

    assert found["errorMessage"].startswith("Syntax error in module 'index'(")
    assert found["errorType"] == "SyntaxError"
    assert found["stackTrace"][0] == 'File "./index.py", line 2'


def test_a_mended_function_runs_at_once(server):
    urn = server.deploy("mended", {"index.py": "raise ValueError('at first')\n"})
    broken = server.invoke(urn)

    server.client.update_code(urn, zip_of({"index.py": "def handler(event, context):\n    return 1\n"}))

    assert (broken.status, server.invoke(urn).status) == (500, 200)


# What is not there


@pytest.mark.parametrize(
    ("qualifier", "status", "code"), [("v9", 404, "FSS.1052"), ("!nobody", 404, "FSS.1053"), (None, 404, "FSS.0404")]
)
def test_what_is_not_there_is_named(server, python, qualifier, status, code):
    urn = python.replace(":latest", f":{qualifier}") if qualifier else python.replace("answers-python", "nobody")

    answer = server.invoke(urn)

    assert (answer.status, answer.json()["error_code"]) == (status, code)


@pytest.mark.parametrize("form", ["without qualifier", "latest"])
def test_a_urn_may_leave_out_the_version(server, python, form):
    urn = python if form == "latest" else python.removesuffix(":latest")

    assert ask(server, urn, "return", value=1).body == b"1"


def test_the_status_of_failed_handlers_can_be_500(new_server):
    server = new_server("--handler-error-status", "500")
    urn = server.deploy("raises", "def handler(event, context):\n    raise ValueError('no')\n")

    plain, envelope = server.invoke(urn), server.invoke(urn, **V1)

    assert (plain.status, envelope.status) == (500, 500)
    assert plain.json()["errorType"] == "ValueError"
    assert envelope.json()["status"] == 500
