"""Dependencies that `fgs dependency build` makes of packages, in functions that use them."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.markdown import fenced_blocks
from tests.support.packages import zip_of

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "dependencies.md"
PYTHON = "import markupsafe._speedups as found\n\ndef handler(event, context):\n    return [found.__file__]\n"
NODE = "exports.handler = async (event, context) => [require('ms')('2 days'), require.resolve('ms')];\n"
ODBC = """
import pyodbc

def handler(event, context):
    with open("/proc/self/maps") as maps:
        files = {line.split()[-1] for line in maps}
    before = sorted(pyodbc.drivers())
    with pyodbc.connect("Driver=SQLite3;Database=/tmp/odbc.db") as connection:
        connection.execute("CREATE TABLE visits (place TEXT, number INTEGER)")
        connection.execute("INSERT INTO visits VALUES (?, ?)", ("\\u6df1\\u5733", 3))
        rows = [list(row) for row in connection.execute("SELECT * FROM visits")]
    return {"drivers": before, "rows": rows, "manager": [path for path in files if "/libodbc.so" in path]}
"""
UNPACKS = """
import io, os, zipfile

def handler(event, context):
    path = os.path.join(os.environ["RUNTIME_CODE_ROOT"], "films.zip")
    with zipfile.ZipFile(path) as films:
        films.extractall("/tmp/films")
        return {"beside": sorted(os.listdir(os.path.dirname(path))), "unpacked": os.listdir("/tmp/films")}
"""


@pytest.fixture
def shell(server, tmp_path):
    """Run a script in a folder of its own, with the profile that the server wrote; return what it wrote to stdout."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "fgs").write_text(f'#!/bin/sh\nexec {sys.executable} -m funclet "$@"\n')
    (programs / "fgs").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(server.home), "LANG": "C.UTF-8"}

    def run(script):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def name():
    return f"build-{uuid.uuid4().hex[:8]}"


def attach(server, urn, version_id):
    body = {"func_name": urn, "code_type": "zip", "depend_version_list": [version_id]}
    path = server.path(f"/functions/{urn}/code")
    return server.client.call("PUT", path, body=json.dumps(body).encode())


@pytest.mark.proves("faq:FAQ-421", "faq:FAQ-426")
@pytest.mark.parametrize(
    ("runtime", "source", "packages", "missing", "found"),
    [
        ("Python3.10", PYTHON, "markupsafe", "No module named 'markupsafe'", "/opt/function/code/markupsafe/_speedups"),
        ("Node.js20.15", NODE, "ms@2.1.3", "Cannot find module 'ms'", "/opt/function/code/node_modules/ms"),
    ],
)
def test_what_was_built_is_imported_once_it_is_attached(server, shell, name, runtime, source, packages, missing, found):
    urn = server.deploy(name, source, runtime=runtime)
    assert missing in server.invoke(urn).body.decode()

    made = json.loads(shell(f"fgs dependency build {name} --runtime {runtime} {packages} -o json"))
    attach(server, urn, made["id"])

    assert made["version"] == 1
    assert found in server.invoke(urn).json()[-1]


@pytest.mark.proves("faq:FAQ-212")
def test_the_recipe_of_the_page_makes_odbc_work(server, shell, name):
    (recipe,) = ["\n".join(block.lines) for block in fenced_blocks(PAGE) if "odbcinst.ini" in "".join(block.lines)]
    shell(recipe.replace("build odbc", f"build {name}"))
    version = json.loads(shell(f"fgs dependency show {name} -o json"))
    variables = json.dumps({"ODBCSYSINI": "/opt/function/code"})

    urn = server.deploy(name, ODBC, user_data=variables, depend_version_list=[version["id"]])

    assert server.invoke(urn).json() == {
        "drivers": ["SQLite3"],
        "rows": [["\u6df1\u5733", 3]],
        "manager": ["/opt/function/code/lib/libodbc.so.2"],
    }


@pytest.mark.proves("faq:FAQ-452")
def test_an_archive_in_the_package_is_left_to_the_function(server, name):
    films = zip_of({"one.mp4": "film"})

    urn = server.deploy(name, {"index.py": UNPACKS, "films.zip": films})

    assert server.invoke(urn).json() == {"beside": ["films.zip", "index.py"], "unpacked": ["one.mp4"]}
