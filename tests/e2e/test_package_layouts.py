"""Packages as authors lay them out, and the hint for those who packed a folder instead of what is in it."""

import uuid

import pytest

from tests.support.packages import zip_of
from tests.support.waiting import eventually

PYTHON = """
import os
import watermark
from com import tools
from PLI import draw

def handler(event, context):
    folder = os.path.dirname(__file__)
    with open(os.path.join(folder, "watermark.png"), "rb") as file:
        return [watermark.NAME, tools.NAME, draw.NAME, len(file.read())]
"""
NODE = """
const tools = require('./lib/tools');
const left = require('left');
exports.handler = async (event, context) => [tools.name, left.name, require('./package.json').name];
"""
LAYOUTS = {
    "Python3.10": {
        "index.py": PYTHON,
        "watermark.py": "NAME = 'watermark'",
        "watermark.png": b"\x89PNG",
        "com/__init__.py": "",
        "com/tools.py": "NAME = 'com'",
        "PLI/__init__.py": "",
        "PLI/draw.py": "NAME = 'PLI'",
    },
    "Node.js18.15": {
        "index.js": NODE,
        "package.json": '{"name": "layout"}',
        "lib/tools.js": "exports.name = 'lib';",
        "node_modules/left/index.js": "exports.name = 'left';",
    },
}
EXPECTED = {"Python3.10": ["watermark", "com", "PLI", 4], "Node.js18.15": ["lib", "left", "layout"]}


def unique():
    return f"layout_{uuid.uuid4().hex[:8]}"


@pytest.mark.proves("faq:FAQ-203")
@pytest.mark.parametrize("runtime", LAYOUTS)
def test_the_layouts_of_the_manual_run(server, runtime):
    urn = server.deploy(unique(), LAYOUTS[runtime], runtime=runtime)

    assert server.invoke(urn).json() == EXPECTED[runtime]


@pytest.mark.parametrize("runtime", LAYOUTS)
def test_a_folder_that_was_packed_is_accepted_with_a_hint(server, runtime):
    """The upload succeeds, the first failure repeats the hint in its log, and a right package ends it."""
    files = {f"app/{name}": content for name, content in LAYOUTS[runtime].items()}
    urn = server.deploy(unique(), files, runtime=runtime)
    hint = server.client.call("GET", server.path(f"/functions/{urn}/config")).json()["code_warning"]
    assert "folder 'app'" in hint

    failed = server.invoke(urn)

    assert failed.json()["error_code"] == "FSS.4001"
    eventually(lambda: hint in logged(server, urn), within_s=10)
    changed = server.client.update_code(urn, zip_of(LAYOUTS[runtime]))
    assert "code_warning" not in changed
    assert server.invoke(urn).json() == EXPECTED[runtime]


def logged(server, urn):
    logs = server.client.call("GET", f"/v2/{server.project_id}/funclet/functions/{urn}/logs")
    return "".join(one["text"] for one in logs.json()["records"])
