"""Requests to events, results to responses."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.base.http import Request
from funclet.model.errors import ModelError
from funclet.triggers.http_event import MAX_HEADERS_BYTES, build_event, render_result
from funclet.triggers.http_routes import Routes
from tests.unit.triggers.test_http_routes import PROJECT, trigger

GATEWAY_ID = "4d2f9a7be3c14f0c9b5e6a81d7f03c52"
HOST = "7b1e4c9dfa2044e58f7d.apig.local-1.example.test"


def event_of(one, path, *, query="", body=b"", method="GET", scheme="https", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(
        method=method,
        raw_path=path,
        raw_query=query,
        headers={"host": HOST, "user-agent": "curl/8.11.0", "accept": "application/json", **named},
        body=body,
        peer="203.0.113.24",
    )
    routes = Routes([one], root_project_id=PROJECT)
    match = routes.find(group_id="", method=method, stage="", path=path)
    return json.loads(build_event(match, request, gateway_id=GATEWAY_ID, scheme=scheme))


ADDED = {
    "x-request-id": GATEWAY_ID,
    "x-real-ip": "203.0.113.24",
    "x-forwarded-for": "203.0.113.24",
    "x-forwarded-host": HOST,
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https",
}


def test_the_event_of_an_exact_match_with_a_parameter():
    one = trigger("/orders/{order_id}", mode="NORMAL")

    assert event_of(one, "/orders/42") == {
        "requestContext": {"requestId": GATEWAY_ID, "apiId": one.event_data["api_id"], "stage": "RELEASE"},
        "httpMethod": "GET",
        "path": "/orders/42",
        "pathParameters": {"order_id": "42"},
        "queryStringParameters": {},
        "headers": {"host": HOST, "user-agent": "curl/8.11.0", "accept": "application/json", **ADDED},
        "body": "",
        "isBase64Encoded": True,
    }


def test_the_event_of_a_prefix_match_with_query_and_body():
    one = trigger("/orders")
    body = b'{"sku":"A-1009","qty":3}'

    event = event_of(
        one,
        "/orders/eu/42",
        query="notify=true&lang=de",
        body=body,
        method="POST",
        content_type="application/json",
    )

    assert event["pathParameters"] == {"": "eu/42"}
    assert event["queryStringParameters"] == {"notify": "true", "lang": "de"}
    assert event["headers"]["content-type"] == "application/json"
    assert (event["body"], event["isBase64Encoded"]) == ("eyJza3UiOiJBLTEwMDkiLCJxdHkiOjN9", True)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a":1}', "application/json", ('{"a":1}', False)),
        (b'{"a":1}', "application/json; charset=utf-8", ('{"a":1}', False)),
        (b"a=1", "application/x-www-form-urlencoded", (base64.b64encode(b"a=1").decode(), True)),
        (b"\xff", "application/json", ("/w==", True)),
    ],
)
def test_a_json_body_may_be_passed_plain(body, content_type, expected):
    event = event_of(trigger("/", x_body_base64=False), "/", body=body, method="POST", content_type=content_type)

    assert (event["body"], event["isBase64Encoded"]) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=1&a=2&b=", {"a": ["1", "2"], "b": ""}),
        ("a", {"a": ""}),
        ("a=x%20y+z&%C3%A4=%E2%82%AC", {"a": "x y z", "ä": "€"}),
        ("a=%ff", {"a": "�"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("&&", {}),
    ],
)
def test_query_parameters_are_decoded(query, expected):
    assert event_of(trigger("/"), "/", query=query)["queryStringParameters"] == expected


def test_too_many_query_parameters_are_refused():
    with pytest.raises(ModelError) as refusal:
        event_of(trigger("/"), "/", query="&".join(["a=1"] * 1001))

    assert refusal.value.code == "APIG.0201"


def test_headers_of_the_gateway_replace_those_of_the_client():
    event = event_of(
        trigger("/"),
        "/",
        scheme="http",
        x_request_id="mine",
        x_real_ip="10.0.0.1",
        x_forwarded_for="198.51.100.7",
        x_forwarded_proto="https",
        host="example.test:8080",
    )

    assert event["headers"] == {
        "host": "example.test:8080",
        "user-agent": "curl/8.11.0",
        "accept": "application/json",
        "x-request-id": GATEWAY_ID,
        "x-real-ip": "203.0.113.24",
        "x-forwarded-for": "198.51.100.7, 203.0.113.24",
        "x-forwarded-host": "example.test:8080",
        "x-forwarded-port": "8080",
        "x-forwarded-proto": "http",
    }


def test_header_bytes_that_are_utf_8_become_its_text():
    event = event_of(trigger("/"), "/", x_name="Zoë".encode().decode("latin-1"), x_old="Zo\xeb")

    assert (event["headers"]["x-name"], event["headers"]["x-old"]) == ("Zoë", "Zoë")


def result(**members):
    return json.dumps({"statusCode": 200, "headers": {}, "body": "", "isBase64Encoded": False, **members}).encode()


def test_a_documented_result_becomes_a_response():
    response = render_result(
        result(statusCode=201, headers={"Content-Type": "application/json", "X-Order": "42"}, body='{"id":42}')
    )

    assert (response.status, response.body, response.content_type) == (201, b'{"id":42}', "application/json")
    assert dict(response.headers) == {"X-Order": "42"}


def test_a_base64_body_is_decoded():
    response = render_result(
        result(headers={"content-type": "image/png"}, body="iVBORw0K\r\nGgoAAAANSUhEUg==", isBase64Encoded=True)
    )

    assert response.body.startswith(b"\x89PNG")
    assert response.content_type == "image/png"


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ('{"statusCode": 204}', 204, b""),
        ('{"statusCode": "404", "body": null}', 404, b""),
        ('{"statusCode": 200, "headers": null, "body": "x"}', 200, b"x"),
        ('{"statusCode": 200, "body": "\\u00e4"}', 200, "ä".encode()),
        ('{"statusCode": 200, "body": {"type": "Buffer", "data": [104, 105]}}', 200, b"hi"),
    ],
)
def test_members_that_may_be_missing_or_of_another_form(text, status, body):
    response = render_result(text.encode())

    assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    ("members", "expected"), [({"body": "x"}, "text/plain; charset=utf-8"), ({}, "text/plain; charset=utf-8")]
)
def test_a_result_without_content_type_is_text(members, expected):
    assert render_result(result(**members)).content_type == expected


def test_a_binary_result_without_content_type_is_bytes():
    assert render_result(result(body="AAA=", isBase64Encoded=True)).content_type == "application/octet-stream"


def test_header_values_of_other_types_and_repeated_headers():
    response = render_result(
        result(headers={"X-Number": 1, "X-Float": 0.5, "X-Bool": True, "Set-Cookie": ["a=1", "b=2"], "X-Uml": "ü"})
    )

    assert dict(response.headers) == {"X-Number": "1", "X-Float": "0.5", "X-Bool": "true", "X-Uml": "Ã¼"}
    assert response.repeated_headers == (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))


def test_headers_of_the_connection_are_dropped():
    response = render_result(
        result(headers={"Connection": "close", "Transfer-Encoding": "chunked", "Content-Length": 7, "X-A": "b"})
    )

    assert dict(response.headers) == {"X-A": "b"}


@pytest.mark.parametrize(
    "text",
    [b"", b"hello", b'"hello"', b"[]", b"null", b"{}", b'{"body":"x"}', b'{"statusCode":0}', b"\xff", b"[" * 9999],
)
def test_a_result_without_status_code_is_refused(text):
    with pytest.raises(ModelError) as refusal:
        render_result(text)

    assert (refusal.value.code, refusal.value.status) == ("FSS.1202", 500)
    assert "do not contain any status code" in refusal.value.message
    assert len(refusal.value.message) < 500


@pytest.mark.proves("error:FSS.1206")
@pytest.mark.parametrize(
    "members",
    [
        {"statusCode": "ok"},
        {"statusCode": 99},
        {"statusCode": 101},
        {"statusCode": 600},
        {"statusCode": True},
        {"statusCode": 200.5},
        {"statusCode": []},
        {"body": {"a": 1}},
        {"body": 5},
        {"body": ["x"]},
        {"body": {"type": "Buffer", "data": [300]}},
        {"body": {"type": "Buffer"}},
        {"body": "not base64!", "isBase64Encoded": True},
        {"body": "ä", "isBase64Encoded": True},
        {"headers": []},
        {"headers": "x"},
        {"headers": {"X Y": "1"}},
        {"headers": {"": "1"}},
        {"headers": {"X-A": "1\r\nSet-Cookie: stolen=1"}},
        {"headers": {"X-A": None}},
        {"headers": {"X-A": {}}},
        {"headers": {"X-A": [["x"]]}},
        {"headers": {"X-A": "x" * (MAX_HEADERS_BYTES + 1)}},
    ],
)
def test_results_that_cannot_be_sent_are_refused(members):
    with pytest.raises(ModelError) as refusal:
        render_result(result(**members))

    assert (refusal.value.code, refusal.value.status) == ("FSS.1206", 500)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"statusCode": st.integers(100, 700) | _json},
        optional={
            "headers": st.dictionaries(st.text(max_size=5), _json, max_size=3) | _json,
            "body": st.text() | _json,
            "isBase64Encoded": st.booleans() | _json,
        },
    )
)
def test_any_object_is_a_response_or_refused(value):
    try:
        response = render_result(json.dumps(value).encode())
    except ModelError as refusal:
        is_sendable = refusal.code in {"FSS.1202", "FSS.1206"}
    else:
        pairs = [*response.headers.items(), *response.repeated_headers, ("content-type", response.content_type)]
        is_sendable = 200 <= response.status <= 599 and all(
            not set("\r\n\0") & set(name + text) and (name + text).encode("latin-1") for name, text in pairs
        )
    assert is_sendable
