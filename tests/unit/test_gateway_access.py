"""Apps, custom authorizers and browsers at the gateway, with functions that are not run."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime

import pytest

from funclet.client import sign
from funclet.model.invocation import FailureKind, FunctionFailed, PlatformFailed, Refused, Report
from tests.support.gateway import OTHER_PROJECT, PROJECT_ID, Stack, completed

BASE = "/apigw/instances/any"
MEMBERS = {"name": "check", "type": "FRONTEND"}


@pytest.fixture
def stack(tmp_path):
    whole = Stack(tmp_path)
    yield whole
    whole.close()


def error(response):
    return response.status, json.loads(response.body)["error_code"]


def open_api(stack, urn=None, **data):
    return stack.create(urn or stack.add_function(), "APIG", **{"name": "orders", "auth": "NONE", **data})


def add_authorizer(stack, **members):
    urn = stack.add_function("decider") if "authorizer_uri" not in members else members["authorizer_uri"]
    status, answer = stack.send("POST", f"{BASE}/authorizers", {**MEMBERS, "authorizer_uri": urn, **members})
    assert status == 201, answer
    return answer


def guarded(stack, *, forward=False, **members):
    """Open an API behind an authorizer; return the authorizer."""
    authorizer = add_authorizer(stack, **members)
    open_api(stack, auth="AUTHORIZER", x_authorizer_id=authorizer["id"], x_authorizer_forward=forward)
    decides(stack, {"status": "allow"})
    return authorizer


def decides(stack, body, /, **result):
    """Let the authorizer's function answer so, and the other one with what it was sent."""
    text = body if isinstance(body, str) else json.dumps(body)
    said = {"statusCode": 200, "body": text, **result}

    def answer(invocation):
        is_decider = invocation.version.name == "decider"
        return completed(said) if is_decider else completed({"statusCode": 200, "body": invocation.payload.decode()})

    stack.invoker.answer = answer


def runs(stack, name):
    return [json.loads(one.payload) for one in stack.invoker.invocations if one.version.name == name]


# Custom authorizers


@pytest.mark.proves(
    "operation:CreateCustomAuthorizer",
    "operation:ShowCustomAuthorizer",
    "operation:ListCustomAuthorizers",
    "operation:UpdateCustomAuthorizer",
    "operation:DeleteCustomAuthorizer",
)
def test_an_authorizer_is_shown_as_it_was_made(stack):
    identities = [{"name": "X-Token", "location": "HEADER", "validation": "[a-z]{3,8}"}]
    made = add_authorizer(stack, identities=identities, ttl=60, user_data="realm=orders", need_body=True)

    one = f"{BASE}/authorizers/{made['id']}"
    assert made == {
        "id": made["id"],
        "name": "check",
        "type": "FRONTEND",
        "authorizer_type": "FUNC",
        "authorizer_uri": made["authorizer_uri"],
        "authorizer_version": "latest",
        "authorizer_alias_uri": "",
        "identities": identities,
        "ttl": 60,
        "user_data": "realm=orders",
        "need_body": True,
        "create_time": "2026-03-10T10:00:00Z",
    }
    assert made["authorizer_uri"].endswith(":function:default:decider")
    assert stack.send("GET", one) == (200, made)
    assert stack.send("GET", f"{BASE}/authorizers") == (200, {"total": 1, "size": 1, "authorizer_list": [made]})
    assert stack.send("GET", f"{BASE}/authorizers?type=BACKEND")[1]["total"] == 0
    changed = stack.send("PUT", one, {**MEMBERS, "authorizer_uri": made["authorizer_uri"], "ttl": 5})
    assert (changed[0], changed[1]["ttl"], changed[1]["identities"]) == (200, 5, [])
    assert stack.send("DELETE", one) == (204, None)
    assert stack.send("GET", one)[0] == 404
    assert stack.send("GET", f"{BASE}/authorizers", token="other")[1]["total"] == 0


def test_a_version_or_an_alias_may_decide(stack):
    urn = stack.add_function("decider", versions=["v1"], alias="prod")
    plain = urn.removesuffix(":latest")

    by_version = add_authorizer(stack, authorizer_uri=plain, authorizer_version="v1")
    by_alias = add_authorizer(stack, authorizer_uri=plain, name="other", authorizer_alias_uri=f"{plain}:!prod")

    assert by_version["authorizer_version"] == "v1"
    assert by_alias["authorizer_alias_uri"] == f"{plain}:!prod"


def many(count):
    return [{"name": f"n{number}", "location": "QUERY"} for number in range(count)]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "ab"},
        {"name": "1abc"},
        {"name": "x" * 65},
        {"type": "SIDEWAYS"},
        {"ttl": -1},
        {"ttl": 3601},
        {"ttl": "60"},
        {"user_data": "x" * 2049},
        {"identities": many(11)},
        {"identities": [many(1)[0], many(1)[0]]},
        {"identities": [{"name": "", "location": "QUERY"}]},
        {"identities": [{"name": "a b", "location": "QUERY"}]},
        {"identities": [{"name": "a", "location": "BODY"}]},
        *(
            {"identities": [{"name": "a", "location": "QUERY", "validation": text}]}
            for text in ("(a+)+", "a|b", "[", "a**", "*", "x" * 129, "a*b*c*d*", "[z-a]", "(?=a)", "\\1", "a{2,1}")
        ),
    ],
)
def test_authorizers_that_are_refused(stack, change):
    body = {**MEMBERS, "authorizer_uri": stack.add_function("decider"), **change}

    status, answer = stack.send("POST", f"{BASE}/authorizers", body)

    assert (status, answer["error_code"]) == (400, "FSS.0400")
    assert stack.send("GET", f"{BASE}/authorizers")[1]["total"] == 0


@pytest.mark.parametrize(
    ("urn", "expected"),
    [
        ("nowhere", (404, "FSS.1051")),
        (f"urn:fss:elsewhere:{PROJECT_ID}:function:default:decider", (400, "FSS.1309")),
        ("decider:v9", None),
    ],
)
def test_the_function_of_an_authorizer_must_exist(stack, urn, expected):
    real = stack.add_function("decider")
    urn = real.replace(":latest", ":v9") if expected is None else urn

    status, answer = stack.send("POST", f"{BASE}/authorizers", {**MEMBERS, "authorizer_uri": urn})

    assert (status, answer["error_code"]) == (expected or (404, "FSS.1052"))


def test_names_are_unique_and_the_kind_stays(stack):
    made = add_authorizer(stack)
    body = {**MEMBERS, "authorizer_uri": made["authorizer_uri"]}

    assert stack.send("POST", f"{BASE}/authorizers", body)[1]["error_code"] == "FSS.0409"
    moved = stack.send("PUT", f"{BASE}/authorizers/{made['id']}", {**body, "type": "BACKEND"})
    assert (moved[0], moved[1]["error_code"]) == (400, "FSS.0400")


def test_a_project_has_at_most_a_hundred_authorizers(stack):
    urn = stack.add_function("decider")
    for number in range(100):
        add_authorizer(stack, name=f"check{number}", authorizer_uri=urn)

    status, answer = stack.send("POST", f"{BASE}/authorizers", {**MEMBERS, "authorizer_uri": urn})

    assert (status, answer["error_code"]) == (403, "FSS.0403")
    assert stack.send("GET", f"{BASE}/authorizers?limit=7&offset=98")[1]["size"] == 2


def test_an_authorizer_that_is_asked_cannot_be_deleted(stack):
    authorizer = guarded(stack)

    status, answer = stack.send("DELETE", f"{BASE}/authorizers/{authorizer['id']}")

    assert (status, answer["error_code"]) == (409, "FSS.0409")


def test_a_trigger_names_an_authorizer_of_its_kind_and_project(stack):
    backend = add_authorizer(stack, type="BACKEND")
    urn = stack.add_function()
    theirs = stack.add_function(project=OTHER_PROJECT)
    data = {"name": "orders", "auth": "AUTHORIZER", "x_authorizer_id": backend["id"]}

    assert stack.refused(urn, "APIG", **data) == (400, "FSS.1107")
    data = {"name": "orders", "auth": "NONE", "x_backend_authorizer_id": backend["id"]}
    assert stack.refused(theirs, "APIG", token="other", **data) == (400, "FSS.1107")


def test_the_authorizer_gets_the_documented_event(stack):
    authorizer = guarded(stack, user_data="realm=orders")

    response = stack.get("/orders/eu/42?lang=de", method="POST", body=b"secret", authorization="Basic YWxpY2U=")

    [event] = runs(stack, "decider")
    assert response.status == 200
    assert event["requestContext"]["requestId"] == response.headers["X-Request-Id"]
    assert (event["httpMethod"], event["path"]) == ("POST", "/orders/eu/42")
    assert event["pathParameters"] == {"": "eu/42"}
    assert event["queryStringParameters"] == {"lang": "de"}
    assert event["headers"]["authorization"] == "Basic YWxpY2U="
    assert (event["body"], event["isBase64Encoded"], event["user_data"]) == ("", True, "realm=orders")
    assert authorizer["user_data"] == "realm=orders"
    assert set(event) == {
        "requestContext", "httpMethod", "path", "pathParameters", "queryStringParameters", "headers", "body",
        "isBase64Encoded", "user_data",
    }  # fmt: skip


def test_the_authorizer_gets_the_body_if_it_wants_it(stack):
    guarded(stack, need_body=True)

    stack.get("/orders", method="POST", body=b"data")

    assert base64.b64decode(runs(stack, "decider")[0]["body"]) == b"data"


@pytest.mark.proves("error:APIG.0305")
def test_a_denied_request_does_not_reach_the_function(stack):
    guarded(stack)
    decides(stack, {"status": "deny", "context": {"why": "late"}})

    assert error(stack.get("/orders")) == (401, "APIG.0305")
    assert runs(stack, "orders") == []


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("not json", {}),
        ("[]", {}),
        ("{}", {}),
        ({"status": "maybe"}, {}),
        ({"status": True}, {}),
        ({"status": "allow"}, {"statusCode": 500}),
        ({"status": "allow"}, {"statusCode": None}),
        ({"status": "allow"}, {"statusCode": True}),
        ({"status": "allow"}, {"body": {"status": "allow"}}),
        ({"status": "allow", "context": []}, {}),
        ({"status": "allow", "context": {"n": 1}}, {}),
        ({"status": "allow", "context": {"a b": "1"}}, {}),
        ({"status": "allow", "context": {str(n): "" for n in range(101)}}, {}),
        (json.dumps({"status": "allow", "context": {"long": "x" * 1024 * 1024}}), {}),
    ],
)
@pytest.mark.proves("error:APIG.0305")
def test_garbage_of_an_authorizer_lets_nobody_pass(stack, body, result):
    guarded(stack)
    decides(stack, body, **result)

    response = stack.get("/orders")

    assert error(response) == (500, "APIG.0305")
    assert runs(stack, "orders") == []


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (FunctionFailed(kind=FailureKind.HANDLER, code=1, body=b"{}", is_json=True, report=Report()), "500 APIG.0305"),
        (PlatformFailed(reason="sandbox broke"), "500 APIG.0305"),
        (completed(b"text"), "500 APIG.0305"),
        (Refused(reason="busy", retry_after_s=2.5), "429 FSS.0429"),
        (Refused(reason="host is full", is_overload=True), "503 FSS.0503"),
    ],
)
def test_an_authorizer_that_fails_lets_nobody_pass(stack, outcome, expected):
    guarded(stack)
    stack.invoker.answer = outcome

    response = stack.get("/orders")

    assert "{} {}".format(*error(response)) == expected
    assert ("Retry-After" in response.headers) == isinstance(outcome, Refused)


def test_an_authorizer_whose_function_is_gone_lets_nobody_pass(stack):
    guarded(stack)
    stack.write(lambda tx: tx.functions.delete("id-of-test-1-decider"))

    assert error(stack.get("/orders")) == (500, "APIG.0305")


def test_an_authorizer_that_is_gone_lets_nobody_pass(stack):
    authorizer = guarded(stack)
    stack.write(lambda tx: tx.gateway.delete_authorizer(authorizer["id"]))

    assert error(stack.get("/orders")) == (500, "APIG.0305")


IDENTITIES = [
    {"name": "X-Token", "location": "HEADER", "validation": "[a-z]{3,8}"},
    {"name": "lang", "location": "QUERY"},
]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/orders?lang=de", {"x_token": "abc"}, 200),
        ("/orders?lang=de", {}, 401),
        ("/orders?lang=de", {"x_token": ""}, 401),
        ("/orders?lang=de", {"x_token": "AB1"}, 401),
        ("/orders?lang=de", {"x_token": "abcdefghi"}, 401),
        ("/orders", {"x_token": "abc"}, 401),
        ("/orders?lang=", {"x_token": "abc"}, 401),
        ("/orders?lang=" + "x" * 1025, {"x_token": "abc"}, 401),
    ],
)
def test_identities_are_looked_at_before_the_function_is_asked(stack, path, headers, status):
    guarded(stack, identities=IDENTITIES)

    response = stack.get(path, **headers)

    assert response.status == status
    assert len(runs(stack, "decider")) == (1 if status == 200 else 0)
    assert status == 200 or error(response) == (401, "APIG.0305")


def test_a_decision_is_remembered_for_the_same_identities(stack):
    guarded(stack, identities=IDENTITIES, ttl=60)
    asked = []
    for token, pause_s in (("abc", 0), ("abc", 59), ("xyz", 0), ("abc", 1.5)):
        stack.clock.advance(pause_s)
        assert stack.get("/orders?lang=de", x_token=token).status == 200
        asked.append(len(runs(stack, "decider")))

    assert asked == [1, 1, 2, 3]


def test_a_denial_is_remembered_as_well(stack):
    guarded(stack, identities=IDENTITIES, ttl=60)
    decides(stack, {"status": "deny"})

    statuses = [stack.get("/orders?lang=de", x_token="abc").status for _ in range(3)]

    assert (statuses, len(runs(stack, "decider"))) == ([401] * 3, 1)


def test_a_changed_authorizer_remembers_nothing(stack):
    made = guarded(stack, identities=IDENTITIES, ttl=60)
    stack.get("/orders?lang=de", x_token="abc")
    body = {**MEMBERS, "authorizer_uri": made["authorizer_uri"], "identities": IDENTITIES, "ttl": 60}
    stack.clock.advance(1)
    stack.send("PUT", f"{BASE}/authorizers/{made['id']}", body)

    stack.get("/orders?lang=de", x_token="abc")

    assert len(runs(stack, "decider")) == 2


def test_without_identities_nothing_is_remembered(stack):
    guarded(stack, ttl=60)

    for _ in range(2):
        stack.get("/orders")

    assert len(runs(stack, "decider")) == 2


def test_what_is_remembered_has_a_bound(stack, monkeypatch):
    monkeypatch.setattr("funclet.triggers.http_authorizer.MAX_REMEMBERED", 2)
    guarded(stack, identities=IDENTITIES, ttl=60)

    for token in ("aaa", "bbb", "ccc", "bbb", "aaa"):
        stack.get("/orders?lang=de", x_token=token)

    assert len(runs(stack, "decider")) == 4


def test_the_function_gets_what_the_authorizer_says_and_nothing_forged(stack):
    guarded(stack, forward=True)
    decides(stack, {"status": "allow", "context": {"user_name": "alice", "Tier": "gold"}})

    stack.get("/orders", x_authorizer_user_name="eve", x_authorizer_admin="yes", x_other="stays")

    headers = runs(stack, "orders")[0]["headers"]
    said = {name: value for name, value in headers.items() if name.startswith("x-authorizer-")}
    assert said == {"x-authorizer-user_name": "alice", "x-authorizer-tier": "gold"}
    assert headers["x-other"] == "stays"


def test_the_context_stays_with_the_gateway_unless_it_is_forwarded(stack):
    guarded(stack)
    decides(stack, {"status": "allow", "context": {"user_name": "alice"}})

    stack.get("/orders")

    assert not [name for name in runs(stack, "orders")[0]["headers"] if name.startswith("x-authorizer-")]


def test_a_back_end_authorizer_sees_only_its_user_data(stack):
    authorizer = add_authorizer(stack, type="BACKEND", user_data="downstream=erp;scope=write")
    open_api(stack, x_backend_authorizer_id=authorizer["id"], x_authorizer_forward=True)
    decides(stack, {"status": "allow", "context": {"signature": "s1"}})

    response = stack.get("/orders/eu/42?lang=de", authorization="Basic YWxpY2U=")

    assert runs(stack, "decider") == [
        {
            "requestContext": {
                "requestId": response.headers["X-Request-Id"],
                "apiId": runs(stack, "orders")[0]["requestContext"]["apiId"],
                "stage": "RELEASE",
            },
            "httpMethod": "GET",
            "path": "/orders/eu/42",
            "pathParameters": {},
            "queryStringParameters": {},
            "headers": {},
            "body": "",
            "isBase64Encoded": True,
            "user_data": "downstream=erp;scope=write",
        }
    ]
    assert runs(stack, "orders")[0]["headers"]["x-authorizer-signature"] == "s1"
    decides(stack, {"status": "deny"})
    assert error(stack.get("/orders")) == (401, "APIG.0305")


def test_an_authorizer_that_takes_all_the_time_leaves_none_for_the_function(stack):
    authorizer = add_authorizer(stack)
    data = {"auth": "AUTHORIZER", "x_authorizer_id": authorizer["id"], "func_info": {"timeout": 20}}
    open_api(stack, **data)

    async def slow(_):
        await asyncio.sleep(0.1)
        return completed({"statusCode": 200, "body": '{"status": "allow"}'})

    async def scenario():
        started = time.monotonic()
        response = await stack.handle("/orders")
        took_s = time.monotonic() - started
        await stack.handling
        return response, took_s

    stack.invoker.answer = slow
    response, took_s = stack.run(scenario())

    assert error(response) == (504, "APIG.0201")
    assert took_s < 0.09
    assert runs(stack, "orders") == []


# Apps


def add_app(stack, **members):
    status, answer = stack.send("POST", f"{BASE}/apps", {"name": "shop", **members})
    assert status == 201, answer
    return answer


def granted(stack, **members):
    """Open an API with APP; return it with an app that may call it."""
    api = open_api(stack, auth="APP")
    app = add_app(stack, **members)
    body = {"app_ids": [app["id"]], "api_ids": [api["event_data"]["api_id"]], "env_id": "any"}
    status, answer = stack.send("POST", f"{BASE}/app-auths", body)
    assert status == 201, answer
    return app, answer["auths"][0]


def send_signed(stack, app, path="/orders", **changes):
    date = datetime.fromtimestamp(stack.clock.now(), UTC).strftime("%Y%m%dT%H%M%SZ")
    key = {"ak": app["app_key"], "sk": app["app_secret"], **changes}
    authorization = sign(method="GET", path=path, query="", headers={"x-sdk-date": date}, body=b"", **key)
    return stack.get(path, x_sdk_date=date, authorization=authorization)


@pytest.mark.proves("operation:CreateApp", "operation:ShowApp", "operation:ListApps", "operation:DeleteApp")
def test_an_app_is_made_shown_and_deleted(stack):
    app = add_app(stack, remark="of the shop", app_key="shop-key-0001", app_secret="shop-secret-0001")
    one = f"{BASE}/apps/{app['id']}"

    assert (app["app_key"], app["app_secret"], app["remark"]) == ("shop-key-0001", "shop-secret-0001", "of the shop")
    assert stack.send("GET", one) == (200, app)
    listed = stack.send("GET", f"{BASE}/apps")[1]
    assert (listed["total"], "app_secret" in listed["apps"][0]) == (1, False)
    assert stack.send("GET", one, token="other")[0] == 404
    assert stack.send("DELETE", one) == (204, None)
    assert stack.send("GET", one)[0] == 404


@pytest.mark.parametrize(
    "change",
    [
        {"name": "ab"},
        {"remark": "x" * 256},
        {"app_key": "short"},
        {"app_key": "has space in it"},
        {"app_secret": "short"},
        {"app_secret": "ä" * 10},
        {"app_secret": "x" * 181},
    ],
)
def test_apps_that_are_refused(stack, change):
    status, answer = stack.send("POST", f"{BASE}/apps", {"name": "shop", **change})

    assert (status, answer["error_code"]) == (400, "FSS.0400")


def test_keys_names_and_codes_of_apps_are_taken_once(stack):
    app = add_app(stack, app_key="shop-key-0001")
    code = stack.send("POST", f"{BASE}/apps/{app['id']}/app-codes", {"app_code": "code-0000001"})[1]

    assert stack.send("POST", f"{BASE}/apps", {"name": "shop"})[1]["error_code"] == "FSS.0409"
    same_key = {"name": "other", "app_key": "shop-key-0001"}
    assert stack.send("POST", f"{BASE}/apps", same_key, token="other")[1]["error_code"] == "FSS.0409"
    again = stack.send("POST", f"{BASE}/apps/{app['id']}/app-codes", {"app_code": code["app_code"]})
    assert again[1]["error_code"] == "FSS.0409"


def test_a_signed_request_of_an_app_with_a_grant_passes(stack):
    app, _ = granted(stack)

    assert send_signed(stack, app).status == 200


@pytest.mark.proves("error:APIG.0303")
@pytest.mark.parametrize("change", [{"sk": "wrong-secret-0001"}, {"ak": "unknown-key-0001"}])
def test_a_wrong_signature_of_an_app_is_refused(stack, change):
    app, _ = granted(stack)

    assert error(send_signed(stack, app, **change)) == (401, "APIG.0303")
    assert stack.invoker.invocations == []


@pytest.mark.proves("error:APIG.0303")
@pytest.mark.parametrize("headers", [{}, {"x_apig_appcode": "wrong-code"}, {"authorization": "Basic eDp5"}])
def test_who_is_no_app_is_refused(stack, headers):
    granted(stack)

    assert error(stack.get("/orders", **headers)) == (401, "APIG.0303")


def test_a_user_is_no_app(stack):
    granted(stack)

    assert error(stack.get("/orders", x_auth_token="home")) == (401, "APIG.0303")


@pytest.mark.proves("operation:CreateAppCode", "operation:ListAppCodes", "operation:DeleteAppCode")
def test_the_simple_mode_takes_a_code(stack):
    app, _ = granted(stack)
    made = stack.send("POST", f"{BASE}/apps/{app['id']}/app-codes", {})[1]

    assert len(made["app_code"]) == 64
    assert stack.get("/orders", x_apig_appcode=made["app_code"]).status == 200
    assert stack.send("GET", f"{BASE}/apps/{app['id']}/app-codes")[1]["app_codes"] == [made]
    assert stack.send("DELETE", f"{BASE}/apps/{app['id']}/app-codes/{made['id']}") == (204, None)
    stack.clock.advance(5.1)
    assert error(stack.get("/orders", x_apig_appcode=made["app_code"])) == (401, "APIG.0303")
    assert stack.send("DELETE", f"{BASE}/apps/{app['id']}/app-codes/{made['id']}")[0] == 404


@pytest.mark.proves(
    "error:APIG.0304", "operation:CreateAppGrants", "operation:ListAppGrants", "operation:DeleteAppGrant"
)
def test_without_a_grant_an_app_does_not_pass(stack):
    app, grant = granted(stack)
    listed = stack.send("GET", f"{BASE}/app-auths/binded-apis?app_id={app['id']}")[1]
    assert [one["id"] for one in listed["auths"]] == [grant["id"]]
    assert send_signed(stack, app).status == 200

    assert stack.send("DELETE", f"{BASE}/app-auths/{grant['id']}", token="other")[0] == 404
    assert stack.send("DELETE", f"{BASE}/app-auths/{grant['id']}") == (204, None)
    stack.clock.advance(5.1)

    assert error(send_signed(stack, app)) == (403, "APIG.0304")


def test_granting_again_changes_nothing(stack):
    app, grant = granted(stack)
    body = {"app_ids": [app["id"]], "api_ids": [grant["api_id"]]}

    assert stack.send("POST", f"{BASE}/app-auths", body)[1]["auths"] == [grant]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"app_ids": []}, (400, "FSS.0400")),
        ({"app_ids": ["gone"]}, (404, "FSS.0404")),
        ({"api_ids": ["gone"]}, (404, "FSS.0404")),
        ({"api_ids": ["x"] * 101}, (400, "FSS.0400")),
        ({"api_ids": None}, (400, "FSS.0400")),
    ],
)
def test_grants_that_are_refused(stack, change, expected):
    app, grant = granted(stack)
    body = {"app_ids": [app["id"]], "api_ids": [grant["api_id"]], **change}

    status, answer = stack.send("POST", f"{BASE}/app-auths", body)

    assert (status, answer["error_code"]) == expected


def test_apps_cannot_be_granted_the_apis_of_others(stack):
    _, grant = granted(stack)
    theirs = stack.send("POST", f"{BASE}/apps", {"name": "theirs"}, token="other")[1]
    body = {"app_ids": [theirs["id"]], "api_ids": [grant["api_id"]]}

    assert stack.send("POST", f"{BASE}/app-auths", body, token="other")[0] == 404


def test_an_app_has_at_most_five_codes(stack):
    app = add_app(stack)
    statuses = [stack.send("POST", f"{BASE}/apps/{app['id']}/app-codes", {})[0] for _ in range(6)]

    assert statuses == [201] * 5 + [403]


def test_secrets_of_apps_outlive_a_new_key(stack):
    app, _ = granted(stack)
    code = stack.send("POST", f"{BASE}/apps/{app['id']}/app-codes", {})[1]["app_code"]
    dump = stack.store_path.read_bytes()

    stack.vault.add_key()
    stack.write(
        lambda tx: tx.gateway.reseal(
            lambda sealed, context: stack.vault.seal(stack.vault.reveal(sealed, context=context), context=context)
        )
    )
    stack.vault.drop_old_keys()

    assert app["app_secret"].encode() not in dump
    assert send_signed(stack, app).status == 200
    assert stack.send("GET", f"{BASE}/apps/{app['id']}/app-codes")[1]["app_codes"][0]["app_code"] == code


# Browsers

ORIGIN = "https://shop.example.test"
ASKED = {"origin": ORIGIN, "access_control_request_method": "PUT", "access_control_request_headers": "x-a, x-b"}


def test_a_preflight_is_answered_without_function_and_authentication(stack):
    open_api(stack, auth="IAM", x_cors=True)

    response = stack.get("/orders/42", method="OPTIONS", **ASKED)

    assert (response.status, response.body) == (204, b"")
    headers = response.headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE, HEAD, PATCH, OPTIONS"
    assert headers["Access-Control-Allow-Headers"] == "x-a, x-b"
    assert headers["Access-Control-Max-Age"] == "600"
    assert "Origin" in headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in headers
    assert stack.invoker.invocations == []


CORS = {
    "allow_origins": [ORIGIN, "https://other.example.test"],
    "allow_methods": ["GET", "PUT"],
    "allow_headers": ["x-a"],
    "expose_headers": ["x-total"],
    "max_age": 5,
    "allow_credentials": True,
}


def test_a_preflight_says_what_the_trigger_says(stack):
    open_api(stack, x_cors=CORS)

    headers = stack.get("/orders", method="OPTIONS", **ASKED).headers

    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert headers["Access-Control-Allow-Headers"] == "x-a"
    assert headers["Access-Control-Max-Age"] == "5"
    assert headers["Access-Control-Allow-Credentials"] == "true"


def test_another_origin_is_allowed_nothing(stack):
    open_api(stack, x_cors=CORS)
    foreign = {**ASKED, "origin": "https://evil.example.test"}

    asked = stack.get("/orders", method="OPTIONS", **foreign)
    sent = stack.get("/orders", origin="https://evil.example.test")

    assert asked.status == 204
    assert not [name for name in (*asked.headers, *sent.headers) if name.startswith("Access-Control")]
    assert stack.get("/orders", origin=ORIGIN).headers["Access-Control-Allow-Origin"] == ORIGIN


def test_answers_and_errors_carry_the_origin(stack):
    open_api(stack, auth="IAM", x_cors=CORS)

    passed = stack.get("/orders", origin=ORIGIN, x_auth_token="home")
    refused = stack.get("/orders", origin=ORIGIN)

    assert (passed.status, refused.status) == (200, 401)
    for response in (passed, refused):
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert response.headers["Access-Control-Expose-Headers"] == "x-total"
        assert response.headers["Vary"] == "Origin"


def test_what_the_function_says_to_browsers_stands(stack):
    open_api(stack, x_cors=True)
    said = {"access-control-allow-origin": "https://mine.example.test"}
    stack.invoker.answer = completed({"statusCode": 200, "headers": said})

    headers = stack.get("/orders", origin=ORIGIN).headers

    assert headers["access-control-allow-origin"] == "https://mine.example.test"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("cors", [False, None])
def test_without_cors_options_is_an_ordinary_method(stack, cors):
    open_api(stack, x_cors=cors)

    response = stack.get("/orders", method="OPTIONS", **ASKED)

    assert (response.status, stack.event["httpMethod"]) == (200, "OPTIONS")
    assert not [name for name in response.headers if name.startswith("Access-Control")]


def test_options_without_a_question_reaches_the_function(stack):
    open_api(stack, x_cors=True)

    stack.get("/orders", method="OPTIONS", origin=ORIGIN)

    assert stack.event["httpMethod"] == "OPTIONS"


# What the audit log is told


def noted(stack):
    return [(one.outcome, one.status, one.code, one.user_name) for one in stack.journal.traces]


def test_who_is_refused_by_iam_is_in_the_audit_log(stack):
    urn = open_api(stack, auth="IAM")["event_data"]["func_info"]["function_urn"]

    stack.get("/orders")
    stack.get("/orders", x_auth_token="home")
    response = stack.get("/orders", x_auth_token="other")

    assert noted(stack) == [("denied", 401, "APIG.0301", ""), ("denied", 403, "APIG.0302", "")]
    last = stack.journal.traces[-1]
    assert last.request_id == response.headers["X-Cff-Request-Id"]
    assert (last.operation, last.action, last.project_id) == ("CallApi", "functiongraph:function:invoke", PROJECT_ID)
    assert last.resource == f"FUNCTIONGRAPH:test-1:*:function:default/{urn.split(':')[6]}"
    assert (last.source, last.user_id) == ("203.0.113.24", "")


def test_apps_that_are_refused_are_in_the_audit_log(stack):
    open_api(stack, auth="APP")
    app = add_app(stack)

    stack.get("/orders", x_apig_appcode="unknown")
    send_signed(stack, app)

    assert noted(stack) == [("denied", 401, "APIG.0303", ""), ("denied", 403, "APIG.0304", "")]


def test_what_authorizers_refuse_is_in_the_audit_log_and_what_passes_is_not(stack):
    guarded(stack)
    stack.get("/orders")

    decides(stack, {"status": "deny"})
    stack.get("/orders")
    decides(stack, "garbage")
    stack.get("/orders")

    assert noted(stack) == [("denied", 401, "APIG.0305", ""), ("failed", 500, "APIG.0305", "")]


def test_what_nobody_was_refused_for_is_not_in_the_audit_log(stack):
    open_api(stack, auth="NONE")
    stack.invoker.answer = Refused(reason="too many", retry_after_s=1.0)

    stack.get("/orders")
    stack.get("/elsewhere")

    assert stack.journal.traces == []
