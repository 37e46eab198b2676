"""Bad input against a real server: each gets its documented refusal, which names the field, and changes nothing."""

import base64
import json
import time

import pytest

from funclet.client import Client, Credentials, Link
from tests.support import hostile
from tests.support.packages import zip_base64
from tests.support.raw_http import RawConnection
from tests.support.server import AK, PROJECT_ID, SK

NAME = "bad_input_victim"
MIB = 1024 * 1024
SOURCE = "def handler(event, context):\n    return event\n"
GOOD = {
    "func_name": "bad_input_new",
    "package": "default",
    "runtime": "Python3.10",
    "handler": "index.handler",
    "timeout": 3,
    "memory_size": 128,
    "code_type": "zip",
    "code_filename": "index.zip",
    "func_code": {"file": zip_base64({"index.py": SOURCE})},
}


@pytest.fixture(scope="module")
def victim(server):
    """A function with a version, an alias and a trigger that no bad input may change."""
    urn = server.deploy(NAME, SOURCE)
    for rest, body in (
        (f"/functions/{urn}/versions", {"version": "v1"}),
        (f"/functions/{urn}/aliases", {"name": "prod", "version": "v1"}),
        (
            f"/triggers/{urn}",
            {"trigger_type_code": "TIMER", "event_data": {"name": "t", "schedule_type": "Rate", "schedule": "30d"}},
        ),
    ):
        server.client.call("POST", server.path(rest), body=json.dumps(body).encode())
    return urn


@pytest.fixture
def unchanged(server, victim):
    """Compare all that the API tells of functions before and after a test."""

    def state():
        lists = ["/functions", *(f"/functions/{victim}/{what}" for what in ("config", "versions", "aliases"))]
        told = [server.client.call("GET", server.path(rest)).json() for rest in (*lists, f"/triggers/{victim}")]
        code = server.client.call("GET", server.path(f"/functions/{victim}/code")).json()
        return [*told, code["digest"]]

    before = state()
    yield
    assert state() == before


def refusal(answer):
    """Return status, code and message of an answer that must be a whole refusal."""
    error = answer.json()
    assert error.keys() == {"error_code", "error_msg", "request_id"}
    assert answer.headers["x-request-id"] == error["request_id"]
    return answer.status, error["error_code"], error["error_msg"]


def send(server, method, rest, body, **headers):
    """Send a body, bytes as they are and all else as JSON; return the refusal."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(server.client.call(method, server.path(rest), body=data, headers=headers, raises=False))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 406, "FSS.0406"),
        (b'{"func_name": "x",}', 406, "FSS.0406"),
        (b"\xff\xfe", 406, "FSS.0406"),
        (b"{} {}", 406, "FSS.0406"),
        (b'{"x":' * 100_000, 406, "FSS.0406"),
        (b"func_name=x", 406, "FSS.0406"),
        (b"[]", 400, "FSS.0400"),
        (b'"text"', 400, "FSS.0400"),
        (b"null", 400, "FSS.0400"),
        (b"1", 400, "FSS.0400"),
    ],
)
def test_a_body_that_is_no_json_object(server, unchanged, body, status, code):
    assert send(server, "POST", "/functions", body)[:2] == (status, code)
    assert send(server, "PUT", f"/functions/{NAME}/config", body)[:2] == (status, code)
    assert send(server, "PUT", f"/functions/{NAME}/code", body)[:2] == (status, code)


WRONG_TYPES = {
    "func_name": [1, [], {}, True],
    "package": [1, {}],
    "runtime": [1, []],
    "handler": [1, {}],
    "timeout": ["3", 3.5, True, [], 1e30],
    "memory_size": ["128", 128.5, {}],
    "code_type": [1, []],
    "code_filename": [1, []],
    "func_code": ["x", 1, []],
    "user_data": [{}, 1],
    "description": [1, ["x"]],
    "depend_version_list": ["x", {}, [1]],
    "func_vpc": ["x", [], {"vpc_id": 1}],
    "mount_config": ["x", {"func_mounts": {}}],
    "enable_dynamic_memory": ["true", 1],
    "enable_fresh_state": ["true", 1],
    "initializer_timeout": ["3"],
    "lts_custom_tag": ["x", []],
}


@pytest.mark.proves("error:FSS.0400")
@pytest.mark.parametrize(("field", "value"), [(field, value) for field, all_ in WRONG_TYPES.items() for value in all_])
def test_a_member_of_the_wrong_type(server, unchanged, field, value):
    status, code, message = send(server, "POST", "/functions", GOOD | {field: value})

    assert (status, code) == (400, "FSS.0400")
    assert field in message


@pytest.mark.parametrize("field", ["func_name", "runtime", "handler", "timeout", "memory_size", "code_type"])
def test_a_member_that_is_missing(server, unchanged, field):
    body = {name: value for name, value in GOOD.items() if name != field}

    status, _, message = send(server, "POST", "/functions", body)

    assert status == 400
    assert field in message


BAD_VALUES = [
    *[
        ("func_name", name, "FSS.1002")
        for name in ("", "1a", "-a", "a-", "a b", "a.b", "ä", "x" * 61, "a/b", "../x", "a\x00b", "a:b", "!a")
    ],
    *[("package", name, "FSS.1004") for name in ("1a", "a b", "../x", "x" * 61, "ä")],
    *[("runtime", name, "FSS.1005") for name in ("Cobol", "", "python3.10", "Python3.10 ", "../x", "x" * 5000)],
    *[("handler", name, "FSS.1003") for name in ("", "nodot", "x" * 200, "../../x.y", "/abs.x", "a\x00.b")],
    *[("timeout", value, "FSS.1008") for value in (2, 0, -1, 259_201, 2**60, 10**30)],
    *[("memory_size", value, "FSS.1007") for value in (0, 127, 129, -128, 20_480, 2**60)],
    *[("code_type", value, "FSS.1006") for value in ("", "tar", "ZIP", "x" * 5000)],
    ("description", "x" * 513, "FSS.1019"),
    ("user_data", "{", "FSS.1009"),
    ("user_data", '{"a":1}', "FSS.1009"),
    ("user_data", '{"RUNTIME_PACKAGE":"x"}', "FSS.1009"),
    ("user_data", '{"1a":"x"}', "FSS.1009"),
    ("user_data", json.dumps({f"k{number}": "" for number in range(21)}), "FSS.1017"),
    ("user_data", json.dumps({"k": "x" * 4096}), "FSS.1018"),
    ("initializer_handler", "nodot", "FSS.1404"),
    ("depend_version_list", [str(number) for number in range(21)], "FSS.1024"),
]
# Messages about the variables themselves name them and not the member that holds them.
SAID_AS = {"user_data": "variable", "func_code": "code"}


@pytest.mark.parametrize(("field", "value", "code"), BAD_VALUES)
def test_a_value_outside_its_rule(server, unchanged, field, value, code):
    status, actual, message = send(server, "POST", "/functions", GOOD | {field: value})

    assert (status, actual) == (400, code), message
    assert field in message or SAID_AS.get(field, field) in message
    assert len(message) < 1000


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        row
        for row in BAD_VALUES
        if row[0] in ("timeout", "memory_size", "handler", "description", "user_data") and row[1]
    ],
)
def test_a_change_to_a_value_outside_its_rule(server, unchanged, field, value, code):
    assert send(server, "PUT", f"/functions/{NAME}/config", {field: value})[:2] == (400, code)


@pytest.mark.proves("error:FSS.1011")
@pytest.mark.parametrize("archive", hostile.archives())
def test_an_archive_that_must_not_be_unpacked(server, unchanged, archive):
    file = {"file": hostile.archive_base64(archive)}

    status, code, message = send(server, "POST", "/functions", GOOD | {"func_code": file})
    change = send(server, "PUT", f"/functions/{NAME}/code", {"code_type": "zip", "func_code": file})

    assert (status, code) == change[:2] == (400, "FSS.1011"), message
    assert "code" in message


@pytest.mark.parametrize("text", hostile.NOT_BASE64)
def test_code_that_is_not_base64(server, unchanged, text):
    status, code, message = send(server, "POST", "/functions", GOOD | {"func_code": {"file": text}})

    assert (status, code) == (400, "FSS.1011")
    assert "func_code.file" in message or "code package" in message


@pytest.mark.proves("error:FSS.1071")
def test_a_package_that_is_too_large(server, unchanged):
    file = base64.b64encode(b"PK\x03\x04" + bytes(50 * MIB)).decode()

    assert send(server, "POST", "/functions", GOOD | {"func_code": {"file": file}})[:2] == (413, "FSS.1071")


@pytest.mark.proves("error:FSS.1010")
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x.zip", "http://169.254.169.254/latest", "file:///etc/passwd", "x"]
)
def test_code_from_an_address_that_is_not_allowed(server, unchanged, url):
    body = GOOD | {"code_type": "obs", "code_url": url, "func_code": None}

    status, code, message = send(server, "POST", "/functions", body)

    assert (status, code) == (400, "FSS.1010")
    assert "code_url" in message


@pytest.mark.proves("error:FSS.1092")
@pytest.mark.parametrize(
    ("rest", "body", "status", "code", "word"),
    [
        ("versions", {"version": "latest"}, 400, "FSS.1015", "version"),
        ("versions", {"version": "-x"}, 400, "FSS.1015", "version"),
        ("versions", {"version": "x" * 43}, 400, "FSS.1015", "version"),
        ("versions", {"version": "v1"}, 409, "FSS.1062", "v1"),
        ("versions", {"digest": "0" * 128}, 400, "FSS.1016", "digest"),
        ("aliases", {"name": "1st", "version": "v1"}, 400, "FSS.1014", "name"),
        ("aliases", {"name": "x" * 65, "version": "v1"}, 400, "FSS.1014", "name"),
        ("aliases", {"version": "v1"}, 400, "FSS.1014", "name"),
        ("aliases", {"name": "new"}, 400, "FSS.1015", "version"),
        ("aliases", {"name": "new", "version": "none"}, 404, "FSS.1052", "none"),
        ("aliases", {"name": "prod", "version": "latest"}, 409, "FSS.1063", "prod"),
        ("aliases", {"name": "new", "version": "v1"}, 409, "FSS.1066", "v1"),
        (
            "aliases",
            {"name": "new", "version": "latest", "additional_version_weights": {"v1": 101}},
            400,
            "FSS.1092",
            "weight",
        ),
        (
            "aliases",
            {"name": "new", "version": "latest", "additional_version_weights": {"v1": "5"}},
            400,
            "FSS.0400",
            "additional_version_weights",
        ),
    ],
)
def test_versions_and_aliases_outside_their_rules(server, unchanged, rest, body, status, code, word):
    actual_status, actual, message = send(server, "POST", f"/functions/{NAME}/{rest}", body)

    assert (actual_status, actual) == (status, code), message
    assert word in message


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({}, "FSS.0400", "trigger_type_code"),
        ({"trigger_type_code": "NOTHING", "event_data": {}}, "FSS.1101", "NOTHING"),
        ({"trigger_type_code": "TIMER", "event_data": []}, "FSS.1109", "event_data"),
        ({"trigger_type_code": "TIMER", "event_data": {"name": "x"}}, "FSS.1109", "schedule"),
        (
            {
                "trigger_type_code": "TIMER",
                "event_data": {"name": "x", "schedule_type": "Cron", "schedule": "99 * * * * *"},
            },
            "FSS.1109",
            "schedule",
        ),
        (
            {"trigger_type_code": "TIMER", "event_data": {"name": "x", "schedule_type": "Rate", "schedule": "0m"}},
            "FSS.1109",
            "schedule",
        ),
        (
            {
                "trigger_type_code": "TIMER",
                "trigger_status": "on",
                "event_data": {"name": "x", "schedule_type": "Rate", "schedule": "3m"},
            },
            "FSS.0400",
            "trigger_status",
        ),
    ],
)
def test_triggers_outside_their_rules(server, unchanged, body, code, word):
    status, actual, message = send(server, "POST", f"/triggers/{NAME}", body)

    assert (status, actual) == (400, code), message
    assert word in message


@pytest.mark.parametrize("count", [-2, 1001, 2**70, "5", 1.5, None])
def test_a_limit_of_instances_outside_its_range(server, unchanged, count):
    status, _, message = send(server, "PUT", f"/functions/{NAME}/config-max-instance", {"max_instance_num": count})

    assert status == 400
    assert "max_instance_num" in message


@pytest.mark.proves("error:FSS.1001")
@pytest.mark.parametrize(
    ("name", "value"),
    [("marker", "x"), ("marker", "-1"), ("maxitems", "-1"), ("maxitems", "1e3"), ("marker", "9" * 30)],
)
def test_a_page_that_does_not_exist(server, name, value):
    answer = server.client.call("GET", server.path("/functions"), query={name: value}, raises=False)

    status, code, message = refusal(answer)
    assert (status, code) == (400, "FSS.1001")
    assert name in message


@pytest.mark.proves("error:FSS.1309")
@pytest.mark.parametrize(
    "urn",
    [
        "a:b:c:d:e",
        f"urn:fss:other-region:{PROJECT_ID}:function:default:x",
        f"urn:fss:test-1:{PROJECT_ID}:workflow:default:x",
        "..",
        "%00",
        "%C3%28",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_urns_that_name_nothing(server, unchanged, urn, method):
    status, code, message = send(server, method, f"/functions/{urn}/config", {} if method == "PUT" else b"")

    assert (status, code) in ((400, "FSS.1309"), (400, "FSS.0400"), (404, "FSS.1051"))
    assert message


@pytest.mark.proves("error:FSS.1201")
def test_an_event_one_byte_too_large(server, victim, unchanged):
    largest = b'"' + b"x" * (6 * MIB - 2) + b'"'

    status, code, message = send(server, "POST", f"/functions/{victim}/invocations", largest[:-1] + b'x"')
    asynchronous = send(server, "POST", f"/functions/{victim}/invocations-async", b'"' + b"x" * (256 * 1024 - 1) + b'"')

    assert (status, code) == asynchronous[:2] == (413, "FSS.1201")
    assert str(6 * MIB) in message
    assert server.invoke(victim, b'"' + b"x" * 1000 + b'"').status == 200


@pytest.mark.proves("error:FSS.0406")
@pytest.mark.parametrize("event", [b"{", b"\xff", b"x", b"{} {}", b"[" * 100_000, b"NaN"])
def test_an_event_that_is_not_json(server, victim, unchanged, event):
    for rest in ("invocations", "invocations-async"):
        assert send(server, "POST", f"/functions/{victim}/{rest}", event)[:2] == (406, "FSS.0406")


def signed_by(server, **changes):
    """Return the refusal of a creation by a client with other credentials."""
    client = Client(
        server.api_url, Credentials(**{"project_id": PROJECT_ID, "ak": AK, "sk": SK} | changes), Link(retries=0)
    )
    try:
        path = f"/v2/{changes.get('project_id', PROJECT_ID)}/fgs/functions"
        return refusal(client.call("POST", path, body=json.dumps(GOOD).encode(), raises=False))
    finally:
        client.close()


def test_a_wrong_signature(server, unchanged):
    assert signed_by(server, sk="wrong")[:2] == (401, "APIG.0301")
    assert signed_by(server, ak="NOSUCHKEY")[:2] == (401, "APIG.0301")


@pytest.mark.proves("error:FSS.0403")
def test_another_project(server, unchanged):
    status, code, message = signed_by(server, project_id="f" * 32)

    assert (status, code) == (403, "FSS.0403")
    assert "f" * 32 in message


def raw_creation(server, *headers):
    """Return the refusal of a creation with headers of one's own."""
    connection = RawConnection(server.api_url)
    body = json.dumps(GOOD).encode()
    lines = [f"POST {server.path('/functions')} HTTP/1.1", f"Host: {connection.host}", f"Content-Length: {len(body)}"]
    try:
        answer = connection.ask("\r\n".join([*lines, *headers, "", ""]).encode() + body)
    finally:
        connection.close()
    error = json.loads(answer.body)
    return answer.status, error["error_code"], error["error_msg"]


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ((), "X-Auth-Token"),
        (("Authorization: Basic dTpw",), "Authorization"),
        (("Authorization: SDK-HMAC-SHA256",), "Authorization"),
        (("X-Auth-Token: nothing",), "token"),
        (
            (f"Authorization: SDK-HMAC-SHA256 Access={AK}, SignedHeaders=host, Signature={'0' * 64}",),
            "X-Sdk-Date",
        ),
        (
            (
                "X-Sdk-Date: 20990101T000000Z",
                f"Authorization: SDK-HMAC-SHA256 Access={AK}, SignedHeaders=x-sdk-date, Signature={'0' * 64}",
            ),
            "15 minutes",
        ),
        (
            (
                "X-Sdk-Date: 20209999T999999Z",
                f"Authorization: SDK-HMAC-SHA256 Access={AK}, SignedHeaders=x-sdk-date, Signature={'0' * 64}",
            ),
            "X-Sdk-Date",
        ),
    ],
)
def test_credentials_that_are_none(server, unchanged, headers, word):
    status, code, message = raw_creation(server, *headers)

    assert (status, code) == (401, "APIG.0301")
    assert word in message


def test_a_stale_date_is_refused_even_if_it_is_well_signed(server, unchanged):
    stale = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 20 * 60))
    headers = (
        f"X-Sdk-Date: {stale}",
        f"Authorization: SDK-HMAC-SHA256 Access={AK}, SignedHeaders=x-sdk-date, Signature={'0' * 64}",
    )

    status, code, message = raw_creation(server, *headers)

    assert (status, code) == (401, "APIG.0301")
    assert stale in message
