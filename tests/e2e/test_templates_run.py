"""Every template that comes with the server becomes functions that work; what was made outlives a crash."""

import base64
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
