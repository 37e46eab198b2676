"""Every template that comes with the server becomes functions that work; what was made outlives a crash."""

import base64
import hashlib
import hmac
import json

import pytest

from funclet.services.template_catalog import TemplateCatalog
from tests.support.server import PROJECT_ID

CATALOG = TemplateCatalog.load()
FUNCTION_TEMPLATES = {template.name: template.template_id for template in CATALOG.functions}
APP_TEMPLATES = {template.name: template.template_id for template in CATALOG.applications}


def call(server, method, path, body=None, **options):
    data = b"" if body is None else json.dumps(body).encode()
    return server.client.call(method, path, body=data, **options)


def create(server, name, template):
    """Create a function from what the API tells of a template, as a client does."""
    is_text = template["code_type"] == "inline"
    code = base64.b64encode(template["code"].encode()).decode() if is_text else template["code"]
    fields = ("runtime", "handler", "timeout", "memory_size", "code_type", "user_data", "description")
    body = {"func_name": name, "package": "default", "func_code": {"file": code}}
    return server.client.create_function(body | {field: template[field] for field in fields})["func_urn"]


@pytest.mark.proves("operation:ShowFunctionTemplate")
@pytest.mark.parametrize("name", FUNCTION_TEMPLATES)
def test_a_template_becomes_a_function_that_answers_its_sample(server, name):
    template = call(server, "GET", server.path(f"/templates/{FUNCTION_TEMPLATES[name]}")).json()
    urn = create(server, f"template_{name.replace('-', '_')}", template)

    answer = server.invoke(urn, template["temp_detail"]["input"].encode())

    assert (answer.status, answer.headers["x-func-err-code"]) == (200, "0"), answer
    expected = template["temp_detail"]["output"]
    if expected:
        assert answer.json() == json.loads(expected)
    else:
        told = answer.json()
        assert (told["project_id"], told["version"], told["greeting"]) == (PROJECT_ID, "latest", "hello")
        assert told["function"] == urn.split(":")[6]


@pytest.mark.parametrize("name", [template.name for template in CATALOG.functions if template.triggers])
def test_the_triggers_of_a_template_can_be_created(server, name):
    template = call(server, "GET", server.path(f"/templates/{FUNCTION_TEMPLATES[name]}")).json()
    urn = create(server, f"triggered_{name.replace('-', '_')}", template)

    for trigger in template["trigger_metadata_list"]:
        body = {"trigger_type_code": trigger["trigger_type"], "event_data": json.loads(trigger["event_data"])}
        assert call(server, "POST", server.path(f"/triggers/{urn}"), body).json()["trigger_status"] == "ACTIVE"
    server.client.call("DELETE", server.path(f"/functions/{urn.removesuffix(':latest')}"))


@pytest.fixture
def make(server):
    """Make applications; they are deleted at the end. Returns a way to invoke their functions by name."""
    made = []

    def create_application(name, template, **params):
        body = {"name": name, "template_id": APP_TEMPLATES[template], "params": params}
        made.append(call(server, "POST", server.path("/applications"), body).json()["application_id"])

        def invoke(part, event):
            answer = server.invoke(f"{name}-{part}", event)
            assert (answer.status, answer.headers["x-func-err-code"]) == (200, "0"), answer
            return answer.json()

        return invoke

    yield create_application
    for application in made:
        call(server, "DELETE", server.path(f"/applications/{application}"))


@pytest.mark.proves("operation:CreateFunctionApp")
def test_the_application_of_notes_shows_a_page_and_takes_notes(make):
    invoke = make("e2e-notes", "notes", title="<Mine>", max_length=9)

    page = invoke("page", {})
    taken = invoke("service", {"body": "note=to+be"})
    encoded = invoke("service", {"body": base64.b64encode(b"note=to+be").decode(), "isBase64Encoded": True})
    too_long = invoke("service", {"body": "note=0123456789"})

    assert (page["statusCode"], "<h1>&lt;Mine&gt;</h1>" in page["body"]) == (200, True)
    assert taken == encoded
    assert (taken["statusCode"], json.loads(taken["body"])) == (200, {"note": "to be", "words": 2})
    assert (too_long["statusCode"], invoke("service", {})["statusCode"]) == (400, 400)


def test_the_application_of_a_report_collects_and_summarises(make):
    invoke = make("e2e-report", "report", separator=":")

    collected = invoke("collect", {"lines": ["a: 1", "b:2.5", "nonsense"]})

    assert collected == {"numbers": {"a": 1.0, "b": 2.5}, "skipped": 1}
    for event in (collected, {"response_payload": collected}):
        assert invoke("summarise", event) == {"count": 2, "sum": 3.5, "largest": "b"}


def test_the_application_of_webhooks_takes_only_what_is_signed(make):
    invoke = make("e2e-relay", "webhook-relay", secret="key")
    signature = hmac.new(b"key", b"hello", hashlib.sha256).hexdigest()

    assert invoke("receive", {"body": "hello", "headers": {"X-Signature": signature}})["statusCode"] == 202
    assert invoke("receive", {"body": "other", "headers": {"X-Signature": signature}})["statusCode"] == 401
    assert invoke("forward", {"body": "hello"}) == {"sent": False}


def test_all_that_was_acknowledged_outlives_a_crash(new_server):
    server = new_server()
    urn = server.deploy("hello", "def handler(event, context):\n    return 1\n")
    fgs, tags = server.path(f"/functions/{urn}"), f"/v2/{PROJECT_ID}/functions/{urn}/tags"
    call(server, "POST", f"{fgs}/events", {"name": "e", "content": "e30="})
    call(server, "POST", f"{tags}/create", {"tags": [{"key": "team", "value": "a"}]})
    call(server, "PUT", f"{fgs}/tracing", {"tracing_ak": "ak", "tracing_sk": "sk"})
    call(server, "POST", server.path("/functions/enable-lts-logs"))
    call(server, "POST", server.path("/applications"), {"name": "app", "template_id": APP_TEMPLATES["report"]})
    reads = (f"{fgs}/events", tags, f"{fgs}/tracing", f"{fgs}/lts-log-detail", server.path("/applications"))
    before = [call(server, "GET", path).json() for path in reads]

    server.kill()
    server.start()

    assert [call(server, "GET", path).json() for path in reads] == before
    assert server.invoke("app-summarise", {"numbers": {"a": 1}}).json()["largest"] == "a"


def test_the_key_of_secrets_can_be_replaced_with_tracing_on(new_server):
    server = new_server()
    urn = server.deploy("hello", "def handler(event, context):\n    return 1\n")
    path = server.path(f"/functions/{urn}/tracing")
    call(server, "PUT", path, {"tracing_ak": "ak", "tracing_sk": "sk"})

    for _ in range(2):
        call(server, "POST", f"/v2/{PROJECT_ID}/funclet/secret-key/rotate")

    assert call(server, "GET", path).json() == {"tracing_ak": "ak", "tracing_sk": ""}
