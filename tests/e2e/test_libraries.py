"""Libraries and fonts that the operator has installed for all functions (docs/howto/libraries.md)."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from tests.support.markdown import fenced_blocks
from tests.support.packages import zip_base64
from tests.support.processes import children_of
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "libraries.md"
PYTHON, NODE = "Python3.10", "Node.js20.15"
WITHOUT = {PYTHON: "Python3.12", NODE: "Node.js18.15"}
"""Runtimes of the same languages for which the tests' operator names no interpreter."""
MODULES = {
    "esdk-obs-python": "obs",
    "pillow": "PIL.Image",
    "protobuf": "google.protobuf",
    "python-dateutil": "dateutil.parser",
    "pyyaml": "yaml",
}
"""Package -> module, where they differ by more than `-` and `_`."""
IMPORTS = """
import importlib

def handler(event, context):
    return [importlib.import_module(name).__file__ for name in event]
"""
REQUIRES = (
    "exports.handler = async (event, context) => event.map((name) => [typeof require(name), require.resolve(name)]);"
)
MODULE = """
import { createRequire } from 'node:module';
export const handler = async (event, context) => {
  const imported = await import('lodash').catch((error) => error.code);
  return [imported, createRequire(import.meta.url)('lodash').VERSION];
};
"""
FONTCONFIG = """
import os, subprocess

def handler(event, context):
    done = subprocess.run(["fc-list", ":lang=zh", "file"], capture_output=True, text=True)
    return {"found": done.stdout, "said": done.stderr}
"""
NOTES = "import operator_notes\n\ndef handler(event, context):\n    return [operator_notes.TEXT]\n"
LOOKS = """
import os

def handler(event, context):
    try:
        open(event["home"] + "/mine", "w").close()
    except OSError as error:
        return {"written": type(error).__name__, "beside": os.listdir(os.path.dirname(event["home"]))}
"""

DRAWS = """
from PIL import Image, ImageDraw, ImageFont

def handler(event, context):
    font = ImageFont.truetype(event["font"], 32)
    pictures = []
    for letter in event["letters"]:
        picture = Image.new("L", (40, 48))
        ImageDraw.Draw(picture).text((2, 2), letter, font=font, fill=255)
        pictures.append(picture.tobytes().hex())
    return pictures
"""


def python_packages():
    """Return what the page tells the operator to install for Python."""
    (block,) = [block for block in fenced_blocks(PAGE) if block.language == "text"]
    return block.lines


def node_packages():
    """Return what the page tells the operator to install for Node.js."""
    return re.findall(r"\b[a-z]+@[\d.]+", PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder():
    """Where the operator installs; not in /tmp, which functions cannot see."""
    made = Path(tempfile.mkdtemp(prefix="funclet-libraries-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def python(folder):
    """The interpreter of an environment with the libraries of the page."""
    home = folder / "python"
    subprocess.run([Path(sys.executable).resolve(), "-m", "venv", home], check=True)
    (folder / "libraries.txt").write_text("\n".join(python_packages()))
    install = [home / "bin" / "pip", "install", "--disable-pip-version-check", "--no-compile", "-q"]
    subprocess.run([*install, "-r", folder / "libraries.txt"], check=True, stderr=subprocess.DEVNULL)
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def node(folder):
    """The same for Node.js."""
    home = folder / "node"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "node").symlink_to(shutil.which("node"))
    subprocess.run(["npm", "install", "--silent", "--global", "--prefix", home, *node_packages()], check=True)
    return home / "bin" / "node"


@pytest.fixture(scope="module")
def options(python, node):
    return ("--runtime", f"{PYTHON}={python}", "--runtime", f"{NODE}={node}")


@pytest.fixture(scope="module")
def server(scratch, options):
    """A server whose operator offers the libraries."""
    made = scratch / "libraries"
    made.mkdir()
    running = ServerProcess(made, *options).start()
    yield running
    running.stop()


def deploy(server, source, **settings):
    return server.deploy(f"lib-{uuid.uuid4().hex[:8]}", source, memory_size=512, **settings)


def answer_of(server, urn, event=None):
    answer = server.invoke(urn, event)
    assert (answer.status, answer.headers["x-func-err-code"]) == (200, "0"), answer
    return answer.json()


@pytest.mark.proves("faq:FAQ-210", "faq:FAQ-423")
def test_python_functions_import_every_library_of_the_page(server, python):
    names = [line.partition("==")[0].lower() for line in python_packages()]
    modules = [MODULES.get(name, name.replace("-", "_")) for name in names]

    found = answer_of(server, deploy(server, IMPORTS), modules)

    assert len(found) >= 20
    assert all(str(path).startswith(f"{python.parents[1]}/lib/") for path in found), found


@pytest.mark.proves("faq:FAQ-210", "faq:FAQ-423")
def test_node_functions_require_every_library_of_the_page(server, node):
    names = [package.partition("@")[0] for package in node_packages()]

    found = answer_of(server, deploy(server, REQUIRES, runtime=NODE), names)

    assert len(found) == 7
    assert all(path.startswith(f"{node.parents[1]}/lib/node_modules/") for _, path in found), found


def test_es_modules_reach_them_by_require_only(server):
    found = answer_of(server, deploy(server, {"index.mjs": MODULE}, runtime=NODE))

    assert found == ["ERR_MODULE_NOT_FOUND", "4.17.21"]


@pytest.mark.parametrize("where", ["package", "dependency"])
@pytest.mark.parametrize(
    ("runtime", "source", "name", "own"),
    [
        (PYTHON, IMPORTS, "six", {"six.py": "OWN = True"}),
        (NODE, REQUIRES, "lodash", {"node_modules/lodash/index.js": "module.exports = {own: true};"}),
    ],
)
def test_what_the_author_brings_wins(server, where, runtime, source, name, own):
    main = {"index.js" if runtime == NODE else "index.py": source}
    if where == "package":
        urn = deploy(server, main | own, runtime=runtime)
    else:
        body = {"name": f"{name}-{uuid.uuid4().hex[:8]}", "runtime": runtime, "depend_type": "zip"}
        body["depend_file"] = zip_base64(own)
        made = server.client.send("POST", "/fgs/dependencies/version", body)
        urn = deploy(server, main, runtime=runtime, depend_version_list=[made["id"]])

    assert f"/opt/function/code/{next(iter(own))}" in json.dumps(answer_of(server, urn, [name]))


@pytest.mark.parametrize(
    ("runtime", "source", "name", "words"),
    [
        (PYTHON, IMPORTS, "requests_toolbelt", "No module named 'requests_toolbelt'"),
        (NODE, REQUIRES, "ioredis", "Cannot find module 'ioredis'"),
    ],
)
def test_functions_of_another_runtime_are_told_that_it_is_missing(server, runtime, source, name, words):
    urn = deploy(server, source, runtime=WITHOUT[runtime])

    answer = server.invoke(urn, [name])

    assert answer.headers["x-func-err-code"] == "4002"
    assert words in answer.json()["errorMessage"]


def check_chinese(server):
    """Let a function draw: no glyph is empty, the box of what the font does not have, or the same as another."""
    (font,) = {word for word in PAGE.read_text(encoding="utf-8").split('"') if word.endswith("microhei.ttc")}
    letters, missing = "\u6c34\u5370\u51fd\u6570\u5de5\u4f5c\u6d41", "\U0010ffff"

    *drawn, box = answer_of(server, deploy(server, DRAWS), {"font": font, "letters": letters + missing})

    assert all(picture.strip("0") for picture in drawn)
    assert len({box, *drawn}) == len(letters) + 1


@pytest.mark.proves("faq:FAQ-214")
def test_chinese_is_drawn_with_a_font_of_the_host(server):
    check_chinese(server)


def test_programs_find_fonts_with_fontconfig(server):
    urn = deploy(server, FONTCONFIG, user_data=json.dumps({"XDG_CACHE_HOME": "/tmp"}))

    answer = answer_of(server, urn)

    assert "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc" in answer["found"]
    assert answer["said"] == ""


@pytest.mark.root
def test_the_folder_is_all_that_is_seen_there_and_cannot_be_changed(server, python):
    home = python.parents[1]

    found = answer_of(server, deploy(server, LOOKS), {"home": str(home)})

    assert found == {"written": "OSError", "beside": [home.name]}
    assert not (home / "mine").exists()


def users_of(server, program):
    """Return the host's user ids of the processes that sandboxd has started from a program, or forked of such."""
    pids = [one for pid in children_of(server.sandboxd_pid) for one in (pid, *children_of(pid))]
    users = set()
    for pid in pids:
        # Any of them may end at any moment.
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode() == str(program):
                users.add(Path(f"/proc/{pid}").stat().st_uid)
    return users


@pytest.mark.root
def test_runtimes_are_started_ahead_with_the_libraries(server, python):
    """The zygote, a process of root whose forks become the instances, is the interpreter of the environment."""
    answer_of(server, deploy(server, IMPORTS), ["six"])

    eventually(lambda: 0 in users_of(server, python), within_s=10)


@pytest.mark.root
def test_what_others_may_change_is_not_run_as_root(new_server, folder):
    """Its runtimes are started ahead one by one, each as a user of its own."""
    home = folder / "open"
    subprocess.run([Path(sys.executable).resolve(), "-m", "venv", "--without-pip", home], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "operator_notes.py").write_text("TEXT = 'there'")
    packages.chmod(0o777)
    server = new_server("--runtime", f"{PYTHON}={home / 'bin' / 'python'}")

    assert answer_of(server, deploy(server, NOTES)) == ["there"]
    users = eventually(lambda: users_of(server, home / "bin" / "python"), within_s=10)

    assert 0 not in users


@pytest.mark.parametrize(
    "options_more", [("--stems", "off"), ("--isolation", "rootless"), ("--isolation", "process")], ids=lambda o: o[1]
)
def test_however_the_server_runs(new_server, options, options_more, python, node):
    server = new_server(*options, *options_more)

    (file,) = answer_of(server, deploy(server, IMPORTS), ["dateutil"])
    ((_, module),) = answer_of(server, deploy(server, REQUIRES, runtime=NODE), ["co"])

    assert file.startswith(str(python.parents[1]))
    assert module.startswith(str(node.parents[1]))
    check_chinese(server)


def test_a_new_version_is_there_after_a_restart(new_server, options, python):
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    notes = packages / "operator_notes.py"
    notes.write_text("TEXT = 'old'")
    server = new_server(*options)
    urn = deploy(server, NOTES)
    assert answer_of(server, urn) == ["old"]

    notes.write_text("TEXT = 'newer'")
    assert answer_of(server, urn) == ["old"]
    server.stop()
    server.start()

    assert answer_of(server, urn) == ["newer"]
