"""Which interpreter runs which catalogue name."""

import sys
import tempfile
from pathlib import Path

import pytest

from funclet.model.errors import ModelError
from funclet.runtimes.registry import Registry
from funclet.server import interpreter_prefixes

TABLE = """
language = "toy"
bootstrap = "b"
oldest = "2.6"
arguments = ["{runtime_root}/b"]
extension = "toy"
default_handler = "index.handler"
default_memory_mib = 128
default_timeout_s = 3
sample = "sample.toy"
interpreter_links = []
library_mark = "environment"
"""
ROW = """
[[versions]]
name = "Toy%(version)s"
display_name = "Toy %(version)s"
directory = "toy%(version)s"
version = "%(version)s"
candidates = ["toy%(version)s"]
accept = "%(accept)s"
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a registry of a language `toy` with these rows and installed versions."""

    def load_(rows, installed, *, extra="", operator_map=None):
        folder = tmp_path / "runtimes" / "toy"
        folder.mkdir(parents=True)
        text = "".join(ROW % {"version": version, "accept": accept} + extra for version, accept in rows)
        (folder / "runtime.toml").write_text(TABLE + text)
        programs = tmp_path / "bin"
        programs.mkdir()
        for version in installed:
            install(programs / f"toy{version}", version)
        monkeypatch.setenv("PATH", str(programs))
        return Registry.load(tmp_path / "runtimes", operator_map=operator_map)

    return load_


def install(path, version):
    """Put an executable there that is no script, and note its version."""
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    VERSIONS[path.resolve()] = tuple(int(part) for part in version.split("."))


VERSIONS = {}


@pytest.fixture(autouse=True)
def answers(monkeypatch):
    """Let the programs above answer; starting foreign executables is the one thing that is replaced."""
    from funclet.runtimes import registry

    def probe(path):
        version = VERSIONS.get(path)
        return registry._Interpreter(path, version) if version else None

    VERSIONS.clear()
    monkeypatch.setattr(registry, "_probe", probe)


def version_of(registry, name):
    return registry.require(name).interpreter_version


def test_the_exact_version_is_taken(load):
    registry = load([("3.9", "newer"), ("3.10", "newer")], ["3.9", "3.10"])

    assert (version_of(registry, "Toy3.9"), version_of(registry, "Toy3.10")) == ("3.9", "3.10")


def test_the_nearest_newer_one_stands_in(load):
    registry = load([("3.6", "newer"), ("3.9", "newer"), ("3.11", "newer")], ["3.9", "3.11"])

    assert version_of(registry, "Toy3.6") == "3.9"
    assert "stands in" in registry.require("Toy3.6").note


def test_an_older_one_stands_in_when_there_is_no_newer(load):
    registry = load([("3.11", "newer"), ("3.12", "newer")], ["3.11"])

    assert version_of(registry, "Toy3.12") == "3.11"


def test_another_major_version_stands_in_only_where_the_language_says_so(load):
    registry = load([("18", "newer"), ("20", "newer")], ["20"])

    assert not registry.require("Toy18").is_runnable


def test_any_major_takes_later_ones_only(load):
    registry = load([("18", "newer"), ("20", "newer"), ("22", "newer")], ["20"], extra="any_major = true\n")

    assert version_of(registry, "Toy18") == "20"
    assert not registry.require("Toy22").is_runnable


def test_old_names_wait_for_the_operator(load):
    registry = load([("2.7", "operator"), ("3.9", "newer")], ["3.9"])

    assert not registry.require("Toy2.7").is_runnable
    assert "--runtime 'Toy2.7=" in registry.require("Toy2.7").note


def test_the_operator_decides(load, tmp_path):
    chosen = tmp_path / "own"
    install(chosen, "2.7")
    registry = load([("2.7", "operator")], [], operator_map={"Toy2.7": str(chosen)})

    assert registry.require("Toy2.7").interpreter == chosen


@pytest.mark.parametrize("has_libraries", [True, False])
def test_a_link_beside_libraries_is_started_by_its_own_name(load, tmp_path, has_libraries):
    real = tmp_path / "own"
    install(real, "2.7")
    link = tmp_path / "venv" / "bin" / "toy"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    VERSIONS[link] = (2, 7)
    if has_libraries:
        (tmp_path / "venv" / "environment").touch()

    registry = load([("2.7", "operator")], [], operator_map={"Toy2.7": str(link)})

    assert registry.require("Toy2.7").interpreter == (link if has_libraries else real)


def test_an_operators_path_that_is_wrong_is_told(load):
    registry = load([("2.7", "operator")], [], operator_map={"Toy2.7": "/nowhere/toy"})

    assert registry.require("Toy2.7").note == "no interpreter at /nowhere/toy"


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("Toy2.7", "2.5", "is version 2.5; 2.6 is the oldest that works"),
        ("Toy2.7", "", "no interpreter at"),
        ("Toy9", "2.7", "'Toy9' is unknown; choose one of:"),
        ("Java11", "2.7", "not built yet"),
    ],
)
def test_what_the_operator_cannot_have_is_told(load, tmp_path, name, version, message):
    chosen = tmp_path / "own"
    if version:
        install(chosen, version)
    wanted = {name: str(chosen)}
    faults = load([("2.7", "operator")], [], operator_map=wanted).faults_of(wanted)

    assert len(faults) == 1
    assert message in faults[0]


def test_an_operator_may_switch_a_runtime_off(load):
    registry = load([("2.7", "newer")], ["2.7"], operator_map={"Toy2.7": ""})

    assert registry.require("Toy2.7").interpreter is None
    assert registry.require("Toy2.7").note == "switched off by the operator"
    assert registry.faults_of({"Toy2.7": ""}) == []


def test_an_interpreter_that_functions_cannot_see_is_refused(load):
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        install(Path(file.name), "2.7")
        wanted = {"Toy2.7": file.name}
        faults = load([("2.7", "operator")], [], operator_map=wanted).faults_of(wanted)

    assert "each has a /tmp of its own" in faults[0]


def test_an_interpreter_that_is_in_no_installation_is_refused(load, monkeypatch):
    """Functions would be shown the whole host."""
    VERSIONS[Path("/opt/toy")] = (2, 7)
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    wanted = {"Toy2.7": "/opt/toy"}
    registry = load([("2.7", "operator")], [], operator_map=wanted)

    assert "is in no installation of its own" in registry.faults_of(wanted)[0]
    assert interpreter_prefixes(registry) == ()


def test_an_unknown_name_is_refused_with_the_known_ones(load):
    registry = load([("3.9", "newer")], [])

    with pytest.raises(ModelError) as caught:
        registry.require("Cobol85")
    assert caught.value.code == "FSS.1005"
    assert "Toy3.9" in caught.value.message


def test_languages_that_are_not_built_are_in_the_catalogue(load):
    registry = load([("3.9", "newer")], [])

    assert not registry.require("Java11").is_runnable


def test_the_real_language_folders_run_on_this_machine(monkeypatch):
    monkeypatch.undo()
    from funclet.config import Settings
    from funclet.server import load_registry

    registry = load_registry(Settings())

    assert all(registry.require(f"Python3.{minor}").is_runnable for minor in range(6, 13))
    assert registry.require("Node.js20.15").is_runnable
    assert registry.require("Python3.10").interpreter_version.startswith(f"{sys.version_info[0]}.")
