"""Which requests may be served by a process of root, and what such a process is started with."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from funclet.sandbox.sandboxd.messages import Keep
from funclet.sandbox.sandboxd.settings import Forkable, SandboxdSettings
from funclet.sandbox.sandboxd.zygotes import command_of, is_roots_own

FORKABLE = Forkable(
    folder=Path("/share/languages/python3"),
    arguments=("-S", "{runtime_root}/bootstrap.py", "{code_root}"),
    environment={"PATH": "/usr/bin", "RUNTIME_CODE_ROOT": "{code_root}", "FUNCLET_STEM": "1"},
)
SETTINGS = SandboxdSettings(allowed_folders=(Path("/data/code"), Path("/share/languages")), forkable=(FORKABLE,))
SPEC = Keep(
    interpreter="/usr/bin/python3",
    arguments=("-S", "/home/snuser/runtime/bootstrap.py", "/opt/function/code"),
    stem_environment={"PATH": "/usr/bin", "RUNTIME_CODE_ROOT": "/opt/function/code", "FUNCLET_STEM": "1"},
    runtime_dir="/share/languages/python3",
    interpreter_links=(),
    memory_mib=128,
    cpu_millicores=300,
    tmp_mib=512,
    processes=1024,
    open_files=2048,
    network="off",
)


def test_what_was_settled_may_be_forked():
    command = command_of(SPEC, SETTINGS)

    assert command is not None
    assert command.folder == FORKABLE.folder
    assert command.arguments == SPEC.arguments
    assert command.environment == SPEC.stem_environment


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": ("-c", "import os; os.system('id')")},
        {"arguments": (*SPEC.arguments, "more")},
        {"stem_environment": {**SPEC.stem_environment, "PYTHONPATH": "/opt/function/code"}},
        {"stem_environment": {**SPEC.stem_environment, "PATH": "/tmp"}},
        {"stem_environment": {}},
        {"runtime_dir": "/data/code/of-a-function"},
        {"runtime_dir": "/share/languages/python3/../../../data/code"},
    ],
)
def test_the_server_has_no_say_in_what_runs_as_root(change):
    assert command_of(replace(SPEC, **change), SETTINGS) is None


def test_without_a_settled_language_nothing_is_forked():
    assert command_of(SPEC, SandboxdSettings(allowed_folders=SETTINGS.allowed_folders)) is None


def test_settings_survive_the_command_line():
    assert SandboxdSettings.from_json(SETTINGS.to_json()).forkable == SETTINGS.forkable


def test_what_others_may_change_does_not_run_as_root(tmp_path):
    assert is_roots_own(Path(__file__).parent)

    tmp_path.chmod(0o777)

    assert not is_roots_own(tmp_path)
