"""`fgs dependency build`: what the real pip and npm install, and what is made of it."""

import base64
import io
import json
import zipfile

import pytest

from funclet.cli import archive, building

ROW = {"id": "11111111-1111-1111-1111-111111111111", "dep_id": "2" * 8, "name": "tools", "version": 3}
RUNTIMES = [
    {"type": "Python3.10", "interpreter_version": ""},
    {"type": "Python3.12", "interpreter_version": "3.9.18"},
    {"type": "Node.js20.15", "interpreter_version": "20.20.2"},
    {"type": "Java11"},
]
UPLOAD = "/fgs/dependencies/version"


@pytest.fixture
def server(stub):
    """A server that stores what it is sent."""
    stub.on("GET", "/fgs/runtimetypes", body=RUNTIMES)
    stub.on("POST", UPLOAD, body=ROW)
    return stub


@pytest.fixture
def build(fgs):
    return lambda *words: fgs("dependency", "build", "tools", *words)


def entries_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        return {name: found.read(name) for name in found.namelist()}


def uploaded(server):
    """Return what was sent, and the entries of its archive."""
    sent = server.seen[-1].json
    return sent, entries_of(base64.b64decode(sent["depend_file"]))


def test_what_pip_installs_is_stored(build, server):
    ran = build("--runtime", "Python3.10", "--description", "small ones", "six==1.17.0")

    sent, entries = uploaded(server)
    assert ran.code == 0, ran.err
    assert (sent["name"], sent["runtime"], sent["description"]) == ("tools", "Python3.10", "small ones")
    assert {"six.py", "six-1.17.0.dist-info/METADATA"} <= set(entries)
    assert ran.out == f"created tools@3 ({ROW['id']})\n"
    assert "Successfully installed six-1.17.0" in ran.err
    assert f"next: fgs function config set FUNCTION 'depend_version_list=[\"{ROW['id']}\"]'" in ran.err


def test_compiled_libraries_are_those_for_the_interpreter_that_stands_in(build, server):
    """The server says that functions of Python3.12 run on 3.9; there need not be such an interpreter here."""
    ran = build("--runtime", "Python3.12", "markupsafe==3.0.2")

    _, entries = uploaded(server)
    assert ran.code == 0, ran.err
    assert any(name.startswith("markupsafe/_speedups.cpython-39-") for name in entries), list(entries)


def test_requirements_files_are_read(build, server, tmp_path):
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    files[0].write_text("six==1.16.0\n")
    files[1].write_text("idna==3.10  # small\n")

    ran = build("--runtime", "Python3.10", "-r", str(files[0]), "-r", str(files[1]))

    _, entries = uploaded(server)
    assert ran.code == 0, ran.err
    assert {"six.py", "idna/__init__.py"} <= set(entries)


def test_what_npm_installs_is_stored_below_node_modules(build, server):
    ran = build("--runtime", "Node.js20.15", "ms@2.1.3")

    _, entries = uploaded(server)
    assert ran.code == 0, ran.err
    assert json.loads(entries["node_modules/ms/package.json"])["version"] == "2.1.3"
    assert all(name.startswith("node_modules/") for name in entries)


@pytest.mark.parametrize(("is_locked", "version"), [(True, "2.1.2"), (False, "2.1.3")])
def test_a_lock_file_beside_the_manifest_decides(build, server, tmp_path, is_locked, version):
    """What only development needs is left out."""
    wanted = {"dependencies": {"ms": "~2.1.1"}, "devDependencies": {"isarray": "2.0.5"}}
    (tmp_path / "package.json").write_text(json.dumps(wanted))
    packages = {"": wanted, "node_modules/ms": {"version": "2.1.2"}}
    packages["node_modules/isarray"] = {"version": "2.0.5", "dev": True}
    if is_locked:
        lock = {"lockfileVersion": 3, "requires": True, "packages": packages}
        (tmp_path / "package-lock.json").write_text(json.dumps(lock))

    ran = build("--runtime", "Node.js20.15", "--package", str(tmp_path / "package.json"))

    _, entries = uploaded(server)
    assert ran.code == 0, ran.err
    assert json.loads(entries["node_modules/ms/package.json"])["version"] == version
    assert not any("isarray/" in name for name in entries)


def test_scripts_of_packages_are_not_run(build, server, tmp_path):
    package = tmp_path / "busy"
    package.mkdir()
    mark = tmp_path / "was-run"
    scripts = dict.fromkeys(("preinstall", "install", "postinstall", "prepare"), f"touch {mark}")
    (package / "package.json").write_text(json.dumps({"name": "busy", "version": "1.0.0", "scripts": scripts}))

    ran = build("--runtime", "Node.js20.15", str(package))

    assert ran.code == 0, ran.err
    assert "node_modules/busy/package.json" in uploaded(server)[1]
    assert not mark.exists()


def test_the_same_packages_make_the_same_archive(build, server, tmp_path):
    made = [tmp_path / "one.zip", tmp_path / "two.zip"]
    more = tmp_path / "more"
    (more / "lib").mkdir(parents=True)
    (more / "lib" / "libnative.so").write_bytes(b"native")

    for path in made:
        ran = build(
            "--runtime", "Python3.10", "--interpreter", "3.10", "--add", str(more), "--out", str(path), "six==1.17.0"
        )
        assert ran.code == 0, ran.err
        assert ran.out == f"wrote {path}, {path.stat().st_size} bytes, for Python 3.10\n"

    assert made[0].read_bytes() == made[1].read_bytes()
    assert entries_of(made[0].read_bytes())["lib/libnative.so"] == b"native"
    assert server.seen == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--runtime", "Python3.10", "no-such-package-of-funclet"), "No matching distribution found"),
        (("--runtime", "Python3.10", "six==999"), "No matching distribution found"),
        (("--runtime", "Node.js20.15", "@funclet-tests/no-such-package"), "404"),
    ],
)
def test_what_cannot_be_installed_is_said_in_the_words_of_the_package_manager(build, server, words, said):
    ran = build("-q", *words)

    assert ran.code == 13
    assert "failed with exit status 1:" in ran.err
    assert said in ran.err
    assert "hint: Check names and versions" in ran.err
    assert [request.method for request in server.seen] == ["GET"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--runtime", "Python3.10"), 2, "No package is named"),
        (("--runtime", "Python3.10", "--", "--pre"), 2, "'--pre' is no package"),
        (("--runtime", "Python3.10", "--package", "FILE"), 2, "--package is for Node.js"),
        (("--runtime", "Node.js20.15", "--package", "FILE", "ms"), 2, "--package is for Node.js"),
        (("--runtime", "Node.js20.15", "-r", "FILE"), 2, "-r is for Python"),
        (("--runtime", "Python3.10", "-r", "missing.txt"), 2, "missing.txt"),
        (("--runtime", "Python3.10", "--interpreter", "3", "six"), 2, "'3' is no version"),
        (("--runtime", "Java11", "six"), 2, "only for those of Python and Node.js"),
        (("--runtime", "Python3.99", "six"), 5, "It has: Python3.10, Python3.12, Node.js20.15."),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_installed(build, server, tmp_path, words, code, said):
    file = tmp_path / "file"
    file.write_text("{}")

    ran = build(*(str(file) if word == "FILE" else word for word in words))

    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert all(request.method == "GET" for request in server.seen)


def test_a_name_that_no_dependency_may_have_is_refused_before_anything_is_installed(fgs, server):
    ran = fgs("dependency", "build", "a b", "--runtime", "Python3.10", "six")

    assert (ran.code, "Name 'a b' is invalid" in ran.err) == (2, True), ran.err
    assert server.seen == []


def test_a_manifest_without_dependencies_makes_none(build, server, tmp_path):
    (tmp_path / "package.json").write_text('{"devDependencies": {}}')

    ran = build("--runtime", "Node.js20.15", "--package", str(tmp_path / "package.json"))

    assert (ran.code, "names no dependencies" in ran.err) == (13, True), ran.err


@pytest.mark.parametrize(("way", "limit"), [((), "MAX_DEPENDENCY_BYTES"), (("--out", "a.zip"), "MAX_LINKED_BYTES")])
def test_an_archive_that_the_server_would_refuse_is_not_sent(build, server, monkeypatch, way, limit):
    monkeypatch.setattr(archive, limit, 1024)

    ran = build("--runtime", "Python3.10", *way, "six==1.17.0")

    assert (ran.code, "The package of 'tools' has" in ran.err) == (13, True), ran.err
    assert "object store" in ran.err or "by link" in ran.err
    assert [request.method for request in server.seen] == ["GET"]


@pytest.mark.parametrize(("more", "code"), [(0, 0), (1, 13)])
def test_forty_megabytes_can_be_uploaded(fgs, server, tmp_path, more, code):
    path = tmp_path / "large.zip"
    frame_bytes = 108  # of an archive with one name of five letters, stored as it is
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("large", bytes(archive.MAX_DEPENDENCY_BYTES + more - frame_bytes))

    assert path.stat().st_size == archive.MAX_DEPENDENCY_BYTES + more
    assert fgs("dependency", "create", "tools", str(path), "--runtime", "Python3.10").code == code


def test_what_takes_too_long_is_ended(build, server, monkeypatch):
    monkeypatch.setattr(building, "BUILD_LIMIT_S", 0.01)

    ran = build("--runtime", "Python3.10", "six==1.17.0")

    assert (ran.code, "pip was ended: it took more than" in ran.err) == (13, True), ran.err


def test_without_npm_it_is_said_how_to_get_it(build, server, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    ran = build("--runtime", "Node.js20.15", "ms")

    assert (ran.code, "hint: apt-get install npm" in ran.err) == (13, True), ran.err
