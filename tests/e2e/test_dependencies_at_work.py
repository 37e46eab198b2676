"""Dependencies beside the code, in real instances: found by the language, in their order, and replaced with care."""

import base64
import json
import threading
import uuid

import pytest

from tests.support.packages import zip_of
from tests.support.waiting import eventually

PYTHON_HANDLER = "import greeting\ndef handler(event, context):\n    return [greeting.TEXT]\n"
NODE_HANDLER = "const greeting = require('greeting');\nexports.handler = async (event, context) => [greeting.text];\n"


def unique(stem):
    return f"{stem}_{uuid.uuid4().hex[:8]}"


def send(server, method, rest, body):
    return server.client.call(method, server.path(rest), body=json.dumps(body).encode()).json()


def body_of(name, files, runtime="Python3.10"):
    archive = base64.b64encode(zip_of(files)).decode()
    return {"name": name, "runtime": runtime, "depend_type": "zip", "depend_file": archive}


@pytest.fixture
def depend(server):
    """Create versions of dependencies: `depend(name, files, runtime=...)`; return what the API answered."""

    def create(name, files, runtime="Python3.10"):
        return send(server, "POST", "/dependencies/version", body_of(name, files, runtime))

    return create


def answer_of(server, urn):
    answer = server.invoke(urn)
    assert answer.status == 200, answer.body
    return answer.json()


def text_of(server, urn):
    (text,) = answer_of(server, urn)
    return text


def attach(server, urn, *versions, how="code"):
    body = {"func_name": urn, "code_type": "zip", "depend_version_list": [version["id"] for version in versions]}
    return send(server, "PUT", f"/functions/{urn}/{how}", body)


@pytest.mark.proves("operation:CreateDependencyVersion", "faq:FAQ-424")
def test_python_imports_a_dependency(server, depend):
    library = depend(unique("lib"), {"greeting.py": "TEXT = 'hello'", "pack/__init__.py": ""})

    urn = server.deploy(unique("dep"), PYTHON_HANDLER, depend_version_list=[library["id"]])

    assert text_of(server, urn) == "hello"


def test_node_requires_a_dependency(server, depend):
    files = {"node_modules/greeting/index.js": "exports.text = 'hello from a module';"}
    library = depend(unique("lib"), files, runtime="Node.js18.15")

    urn = server.deploy(unique("dep"), NODE_HANDLER, runtime="Node.js18.15", depend_version_list=[library["id"]])

    assert text_of(server, urn) == "hello from a module"


def test_a_dependency_wins_over_the_code_and_the_later_one_over_the_earlier(server, depend):
    first = depend(unique("first"), {"greeting.py": "TEXT = 'first'"})
    second = depend(unique("second"), {"greeting.py": "TEXT = 'second'"})
    urn = server.deploy(unique("dep"), {"index.py": PYTHON_HANDLER, "greeting.py": "TEXT = 'own'"})
    assert text_of(server, urn) == "own"

    attach(server, urn, first)
    assert text_of(server, urn) == "first"
    attach(server, urn, first, second)
    assert text_of(server, urn) == "second"
    attach(server, urn, second, first, how="config")
    assert text_of(server, urn) == "first"
    attach(server, urn)
    assert text_of(server, urn) == "own"


def test_what_a_dependency_replaces_may_be_of_another_kind(server, depend):
    """A folder takes the place of a file and of a link, and a file that of a folder; nothing is written elsewhere."""
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    root = os.environ['RUNTIME_CODE_ROOT']\n"
        "    return {one: sorted(os.listdir(f'{root}/{one}')) if os.path.isdir(f'{root}/{one}') else 'file'\n"
        "            for one in ('a', 'b')}\n"
    )
    library = depend(unique("lib"), {"a/inside.txt": "1", "b": "now a file"})

    urn = server.deploy(
        unique("dep"),
        {"index.py": source, "a": "a file", "b/one.txt": "", "b/two.txt": ""},
        depend_version_list=[library["id"]],
    )

    assert answer_of(server, urn) == {"a": ["inside.txt"], "b": "file"}


def test_instances_cannot_change_what_they_share(server, depend):
    source = (
        "import os, errno, greeting\n"
        "def handler(event, context):\n"
        "    try:\n"
        "        open(greeting.__file__, 'a').close()\n"
        "    except OSError as error:\n"
        "        return [errno.errorcode[error.errno]]\n"
    )
    library = depend(unique("lib"), {"greeting.py": "TEXT = 'shared'"})
    urns = [server.deploy(unique("dep"), source, depend_version_list=[library["id"]]) for _ in range(2)]

    assert {text_of(server, urn) for urn in urns} <= {"EROFS", "EACCES"}


def test_content_is_unpacked_once_however_many_functions_use_it(server, depend):
    content = f"TEXT = '{uuid.uuid4().hex}'"
    library = depend(unique("lib"), {"greeting.py": content})
    other = depend(unique("lib"), {"other.txt": uuid.uuid4().hex})
    for _ in range(2):
        source = PYTHON_HANDLER + f"# {uuid.uuid4().hex}\n"
        answer_of(server, server.deploy(unique("dep"), source, depend_version_list=[library["id"], other["id"]]))

    copies = [path for path in (server.data_dir / "code").glob("*/greeting.py") if path.read_text() == content]

    assert len(copies) == 3  # its own folder and those of two functions
    assert len({path.stat().st_ino for path in copies}) == 1


@pytest.mark.proves("operation:UpdateDependency")
def test_a_dependency_changed_in_place_reaches_latest_and_spares_what_is_published(server, depend):
    """Requests that run while it changes end on what they began with, and none fails."""
    name = unique("lib")
    library = depend(name, {"greeting.py": "TEXT = 'old'"})
    urn = server.deploy(unique("dep"), PYTHON_HANDLER, depend_version_list=[library["id"]])
    send(server, "POST", f"/functions/{urn}/versions", {"version": "v1"})
    answers, done = [], threading.Event()

    def ask():
        client = server.new_client()
        while not done.is_set():
            answers.append(server.invoke(urn, client=client))
        client.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        eventually(lambda: len(answers) > 5, within_s=10)
        body = body_of(name, {"greeting.py": "TEXT = 'new'"})
        changed = send(server, "PUT", f"/dependencies/{library['id']}", body)
        eventually(lambda: answers[-1].json() == ["new"], within_s=10)
    finally:
        done.set()
        asking.join()

    assert changed["etag"] != library["etag"]
    assert {answer.status for answer in answers} == {200}
    assert text_of(server, urn) == "new"
    assert text_of(server, urn.replace(":latest", ":v1")) == "old"


def test_merged_code_outlives_a_restart(new_server):
    server = new_server()
    library = send(server, "POST", "/dependencies/version", body_of("lib", {"greeting.py": "TEXT = 'kept'"}))
    urn = server.deploy("dep", PYTHON_HANDLER, depend_version_list=[library["id"]])
    assert text_of(server, urn) == "kept"
    folders = {path.name for path in (server.data_dir / "code").iterdir()}

    server.stop()
    server.start()

    assert {path.name for path in (server.data_dir / "code").iterdir()} == folders
    assert text_of(server, urn) == "kept"


@pytest.mark.parametrize("options", [("--processes", "2"), ("--isolation", "process"), ("--stems", "off")])
def test_however_the_server_runs(new_server, options):
    server = new_server(*options)
    library = send(server, "POST", "/dependencies/version", body_of("lib", {"greeting.py": "TEXT = 'here'"}))
    urns = [server.deploy(f"dep{n}", PYTHON_HANDLER, depend_version_list=[library["id"]]) for n in range(4)]

    assert {text_of(server, urn) for urn in urns} == {"here"}
