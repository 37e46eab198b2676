"""docs/howto/clients.md is run: every block behind the mark `<!-- tested -->`, against a real server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from funclet.api.operations import OPERATIONS
from tests.support.golang_sdk import Provider
from tests.support.markdown import fenced_blocks
from tests.support.node_sdk import MODULES
from tests.support.server import AK, PROJECT_ID, REGION, SK
from tests.support.tokens import password_of

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "clients.md"
BLOCKS = [block for block in fenced_blocks(PAGE) if block.is_tested]
GREETER = "def handler(event, context):\n    return 'hello ' + event.get('name', '')\n"


def text_of(server, block):
    """Return a block with this server in place of the one that the page speaks of."""
    names = {
        "http://127.0.0.1:8000": server.api_url,
        "YOUR_AK": AK,
        "YOUR_SK": SK,
        "YOUR_PROJECT_ID": PROJECT_ID,
        "YOUR_PASSWORD": password_of(server),
        "region-1": REGION,
        "REGION_1": REGION.replace("-", "_").upper(),
    }
    text = "\n".join(block.lines) + "\n"
    for name, value in names.items():
        text = text.replace(name, value)
    return text


def the(language, *words):
    """Return the one tested block of a language that has these words."""
    (found,) = [
        one for one in BLOCKS if one.language == language and all(word in "\n".join(one.lines) for word in words)
    ]
    return found


def run(server, block, folder, *command):
    """Run a block as a program of its own; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUAWEICLOUD_")}
    environment |= {"NODE_PATH": str(MODULES), "PYTHONWARNINGS": "ignore"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        [*command, text_of(server, block)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def hello(server):
    """A function named as on the page."""
    urn = server.deploy("hello", GREETER)
    yield urn
    server.client.call("DELETE", server.path(f"/functions/{urn.removesuffix(':latest')}"))


def test_every_block_has_its_test():
    assert [block.language for block in BLOCKS] == ["python", "python", "sh", "js", "python", "hcl", "sh", "sh", "sh"]


def test_the_python_sdk_with_an_endpoint(server, hello, tmp_path):
    assert "hello hello you" in run(server, the("python", "with_endpoint"), tmp_path, sys.executable, "-c")


def test_the_python_sdk_with_a_region(server, tmp_path):
    assert run(server, the("python", "with_iam_endpoint"), tmp_path, sys.executable, "-c").startswith("fgs_")


def test_the_python_sdk_by_its_environment(server, hello, tmp_path):
    assert int(run(server, the("sh", "HUAWEICLOUD_SDK_AK"), tmp_path, "bash", "-ec")) >= 1


def test_the_nodejs_sdk(server, hello, tmp_path):
    assert "hello" in run(server, the("js"), tmp_path, "node", "-e").split()


def test_the_python_sdk_of_otc(server, tmp_path):
    urn = server.deploy("hello", "def handler(event, context):\n    return 'hello ' + event\n")

    printed = run(server, the("python", "otcextensions"), tmp_path, sys.executable, "-c")

    server.client.call("DELETE", server.path(f"/functions/{urn.removesuffix(':latest')}"))
    assert re.search(r'^hello {"duration":.*}$', printed, re.MULTILINE)


def test_the_settings_of_terraform(server):
    """They lead the provider's first requests here."""
    text = text_of(server, the("hcl"))
    settings = dict(re.findall(r'(\w+)\s*= "(http[^"]*)"', text))
    provider = Provider(server)
    try:
        projects = provider.send("GET", f"{settings['auth_url'].removeprefix(server.api_url)}/projects?name={REGION}")
    finally:
        provider.close()

    assert settings == {
        "auth_url": f"{server.api_url}/v3",
        "fgs": f"{server.api_url}/",
        "iam": f"{server.api_url}/",
    }
    assert [one["id"] for one in projects["projects"]] == re.findall(r'project_id\s*= "(\w+)"', text)


def test_the_certificate(server, tmp_path):
    run(server, the("sh", "openssl"), tmp_path, "bash", "-ec")

    shown = subprocess.run(
        ["openssl", "x509", "-in", "certificate.pem", "-noout", "-ext", "subjectAltName"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"DNS:functiongraph.{REGION}.myhuaweicloud.com, DNS:iam.myhuaweicloud.com" in shown


def test_curl_with_a_token(server, hello, tmp_path):
    printed = run(server, the("sh", "X-Auth-Token"), tmp_path, "bash", "-ec")

    listed, length = json.JSONDecoder().raw_decode(printed)
    assert "hello" in [one["func_name"] for one in listed["functions"]]
    assert printed[length:].strip(' "\n') == "hello you"


def test_the_document(server, tmp_path):
    printed = run(server, the("sh", "openapi.json"), tmp_path, "bash", "-ec")

    assert re.findall(r'"operationId": "(\w+)"', printed) == sorted(row.name for row in OPERATIONS)
