"""Which paths sandboxd shows, and where."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from funclet.sandbox.protocol import SandboxError
from funclet.sandbox.sandboxd import plan
from funclet.sandbox.sandboxd.messages import Create
from funclet.sandbox.sandboxd.settings import SandboxdSettings

SPEC = Create(
    id=1,
    name="one",
    interpreter="/usr/bin/python3",
    arguments=(),
    environment={},
    stem_environment={},
    code_dir="/data/code/a",
    runtime_dir="/share/languages/python3",
    interpreter_links=(),
    memory_mib=128,
    cpu_millicores=300,
    tmp_mib=512,
    processes=1024,
    open_files=2048,
    network="off",
    extra_read_only={},
)


def settings(**changes):
    return SandboxdSettings(allowed_folders=(Path("/data/code"), Path("/share/languages")), **changes)


def test_paths_below_allowed_folders_pass():
    plan.check_paths(SPEC, settings())


@pytest.mark.parametrize(
    "path", ["/data/code", "/data/code2/a", "/data/code/../x", "data/code/a", "/data/code//a", "/"]
)
def test_other_paths_do_not(path):
    with pytest.raises(SandboxError, match="not below"):
        plan.check_paths(replace(SPEC, code_dir=path), settings())


@pytest.mark.parametrize("target", ["/usr", "/mnt", "/mnt/../usr", "/mnt/a/", "mnt/a", "/etc/passwd", "/tmp/a"])
def test_extra_folders_are_only_seen_where_they_cover_nothing(target):
    with pytest.raises(SandboxError, match="Nothing can be shown"):
        plan.check_paths(replace(SPEC, extra_read_only={"/data/code/b": target}), settings())


def link_to(program, environment):
    link = environment / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(program)
    return link


def test_an_interpreter_of_the_system_is_seen_where_it_is(tmp_path):
    found = plan.find_interpreter(replace(SPEC, interpreter="/usr/bin/env"), settings())

    assert (found.inside, found.prefixes) == (str(Path("/usr/bin/env").resolve()), ())


def test_an_interpreter_in_the_code_is_seen_in_the_code():
    found = plan.find_interpreter(replace(SPEC, interpreter="/data/code/a/bootstrap"), settings())

    assert (found.inside, found.prefixes) == ("/opt/function/code/bootstrap", ())


def test_an_interpreter_of_the_language_folder_is_seen_there():
    found = plan.find_interpreter(replace(SPEC, interpreter="/share/languages/python3/bin/x"), settings())

    assert found.inside == "/home/snuser/runtime/bin/x"


def test_an_installation_elsewhere_is_shown_as_a_whole(tmp_path):
    interpreter = tmp_path / "versions" / "3.9" / "bin" / "python3.9"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch()
    prefix = tmp_path / "versions" / "3.9"

    found = plan.find_interpreter(replace(SPEC, interpreter=str(interpreter)), settings(interpreter_prefixes=(prefix,)))

    assert (found.inside, found.prefixes) == (str(interpreter.resolve()), (prefix.resolve(),))


def test_a_link_that_leaves_the_installation_is_followed_first(tmp_path):
    """One that nobody has named is none of the operator's environments."""
    link = link_to("/usr/bin/env", tmp_path)

    found = plan.find_interpreter(replace(SPEC, interpreter=str(link)), settings())

    assert found.inside == str(Path("/usr/bin/env").resolve())


def test_an_environment_that_is_named_is_shown_and_its_link_keeps_its_name(tmp_path):
    link = link_to("/usr/bin/env", tmp_path / "venv")

    found = plan.find_interpreter(
        replace(SPEC, interpreter=str(link)), settings(interpreter_prefixes=(tmp_path / "venv",))
    )

    assert (found.inside, found.prefixes) == (str(link), (tmp_path / "venv",))


def test_an_environment_of_another_installation_shows_both(tmp_path):
    program = tmp_path / "python" / "bin" / "python3"
    program.parent.mkdir(parents=True)
    program.touch()
    link = link_to(program, tmp_path / "venv")
    prefixes = (tmp_path / "venv", tmp_path / "python")

    found = plan.find_interpreter(replace(SPEC, interpreter=str(link)), settings(interpreter_prefixes=prefixes))

    assert (found.inside, set(found.prefixes)) == (str(link), set(prefixes))


def test_of_folders_within_each_other_the_outer_one_is_shown(tmp_path):
    """A mount of the inner one would be covered, or could not be made in what is read-only."""
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.touch()
    link = link_to(program, tmp_path / "environments" / "one")
    prefixes = (tmp_path / "environments" / "one", tmp_path)

    found = plan.find_interpreter(replace(SPEC, interpreter=str(link)), settings(interpreter_prefixes=prefixes))

    assert (found.inside, found.prefixes) == (str(link), (tmp_path,))


def test_an_environment_cannot_lead_to_an_unknown_program(tmp_path):
    program = tmp_path / "elsewhere"
    program.touch()
    link = link_to(program, tmp_path / "venv")

    with pytest.raises(SandboxError, match="interpreter_prefixes"):
        plan.find_interpreter(replace(SPEC, interpreter=str(link)), settings(interpreter_prefixes=(tmp_path / "venv",)))


def test_whoever_may_change_an_environment_decides_what_its_interpreter_runs(tmp_path):
    """A zygote runs as root; what these paths hold must be root's own."""
    home = tmp_path / "venv"
    link = link_to("/usr/bin/env", home)
    (home / "pyvenv.cfg").touch()
    packages = home / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)

    deciding = plan.Interpreter(inside=str(link), prefixes=(home,)).deciding_paths()

    assert {home, home / "bin", home / "pyvenv.cfg", packages.parent, packages, Path("/usr/bin/env").resolve()} <= set(
        deciding
    )
