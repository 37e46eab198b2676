"""Keys that a program of the operator wraps: what it is told, and everything that it can do wrong."""

import contextlib
import stat
import time
from pathlib import Path

import pytest

from funclet.keyring.command import KeyCommand
from funclet.keyring.errors import KeyCommandFailed, VaultError
from funclet.keyring.shared import SharedKeys
from funclet.vault import KeySource, Vault
from tests.support.waiting import eventually

# It turns one base64 text into another, and back; and it notes what it was asked.
HONEST = 'echo "$1" >> calls; exec tr A-Za-z N-ZA-Mn-za-m\n'


class Program:
    """A shell script in a folder, with a note of its calls."""

    def __init__(self, folder):
        self._folder = folder
        self._file = folder / "program"
        self.becomes(HONEST)

    def becomes(self, script):
        self._file.write_text(f"#!/bin/sh\ncd {self._folder}\n{script}")
        self._file.chmod(0o755)

    def command(self, **changes):
        return KeyCommand(words=[str(self._file)], **changes)

    def gone(self):
        self._file.unlink()

    @property
    def calls(self):
        notes = self._folder / "calls"
        return notes.read_text().split() if notes.exists() else []


@pytest.fixture
def program(tmp_path):
    (tmp_path / "bin").mkdir()
    return Program(tmp_path / "bin")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys" / "secrets.key"


def source(path, program, **changes):
    return KeySource(path=path, command=program.command(limit_s=changes.pop("limit_s", 10.0)), **changes)


def key_in_the_clear(path):
    return path.read_text().split()[1]


def assert_holds_no_key(path, key):
    lines = path.read_text().splitlines()
    assert lines[0] == "wrapped 1"
    assert key not in path.read_text()
    assert bytes.fromhex(key) not in path.read_bytes()


def living_in(group):
    """Return the processes of a process group that have not ended."""
    states = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            states.append(entry.read_text().rsplit(")", 1)[1].split())
    return [state for state in states if state[2] == str(group) and state[0] != "Z"]


def test_a_new_file_is_wrapped_and_opens_again(path, program):
    sealed = Vault.open(source(path, program)).seal("secret", context="a")

    assert path.read_text().startswith("wrapped 1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # What was wrapped is unwrapped once before anything depends on it.
    assert program.calls == ["wrap", "unwrap"]
    assert Vault.open(source(path, program)).reveal(sealed, context="a") == "secret"
    assert program.calls == ["wrap", "unwrap", "unwrap"]


def test_a_file_in_the_clear_is_wrapped_in_place(path, program):
    sealed = Vault.open(path).seal("secret", context="a")
    key = key_in_the_clear(path)

    assert Vault.open(source(path, program)).reveal(sealed, context="a") == "secret"

    assert_holds_no_key(path, key)
    assert [one.name for one in path.parent.iterdir()] == ["secrets.key"]
    assert Vault.open(source(path, program)).reveal(sealed, context="a") == "secret"


def test_a_wrapped_file_needs_the_program(path, program):
    Vault.open(source(path, program))
    before = path.read_bytes()

    with pytest.raises(VaultError, match=r"are wrapped; start the server with the program .*--secret-key-command"):
        Vault.open(path)

    assert path.read_bytes() == before


def test_a_new_key_asks_the_program_and_forgetting_the_old_one_does_not(path, program):
    vault = Vault.open(source(path, program))
    old = vault.seal("secret", context="a")
    asked = len(program.calls)

    vault.add_key()

    assert program.calls[asked:] == ["wrap", "unwrap"]
    new = vault.seal("secret", context="a")
    both = Vault.open(source(path, program))
    assert [both.reveal(one, context="a") for one in (old, new)] == ["secret", "secret"]
    asked = len(program.calls)
    vault.drop_old_keys()
    assert program.calls[asked:] == []
    only = Vault.open(source(path, program))
    assert only.reveal(new, context="a") == "secret"
    with pytest.raises(VaultError, match="does not hold"):
        only.reveal(old, context="a")


def test_what_is_sealed_with_a_strange_key_does_not_call_the_program(path, tmp_path, program):
    """A request can bring such a thing; it must not make the server start programs."""
    vault = Vault.open(source(path, program))
    strange = Vault.open(tmp_path / "other.key").seal("secret", context="a")
    asked = len(program.calls)

    with pytest.raises(VaultError, match="does not hold"):
        vault.reveal(strange, context="a")

    assert len(program.calls) == asked


def test_a_key_that_cannot_be_wrapped_changes_nothing(path, program):
    vault = Vault.open(source(path, program))
    sealed = vault.seal("secret", context="a")
    before = path.read_bytes()
    program.becomes("exit 3\n")

    with pytest.raises(KeyCommandFailed, match="exit status 3"):
        vault.add_key()

    assert path.read_bytes() == before
    assert vault.seal("more", context="a")[:4] == sealed[:4]
    assert vault.reveal(sealed, context="a") == "secret"


FAILURES = {
    "status": ("echo 'the seal is closed' >&2; echo more >&2; exit 7\n", r"exit status 7: the seal is closed\.$"),
    "signal": ("kill -9 $$\n", r"signal 9\.$"),
    "silent": ("cat > /dev/null\n", "it answers nothing"),
    "nonsense": ("echo 'dear server'\n", "does not answer with one line of base64"),
    "two lines": ("echo YWJj; echo YWJj\n", "does not answer with one line of base64"),
    "other bytes": ("printf '\\377\\376'\n", "does not answer with one line of base64"),
    "too much": ("exec yes\n", "prints more than 65536 bytes"),
    "complains too much": ("exec yes >&2\n", "prints more than 65536 bytes"),
    "another key": ("exec head -c 64 /dev/zero | base64 -w0\n", "unwraps no key of .*has it another master key"),
    "no key": ("echo YWJj\n", "unwraps no key of"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_start_is_refused_when_the_program_fails(path, program, how):
    sealed = Vault.open(source(path, program)).seal("secret", context="a")
    before = path.read_bytes()
    script, message = FAILURES[how]
    program.becomes(script)

    with pytest.raises(KeyCommandFailed, match=message):
        Vault.open(source(path, program))

    assert path.read_bytes() == before
    program.becomes(HONEST)
    assert Vault.open(source(path, program)).reveal(sealed, context="a") == "secret"


def test_a_program_that_is_missing_or_may_not_run_is_named(path, program):
    Vault.open(source(path, program))
    (program._file).chmod(0o644)
    with pytest.raises(KeyCommandFailed, match=r"program unwrap\): it cannot be started \(Permission denied\)"):
        Vault.open(source(path, program))

    program.gone()

    with pytest.raises(KeyCommandFailed, match=r"it cannot be started \(No such file or directory\)"):
        Vault.open(source(path, program))


@pytest.mark.parametrize(
    "script", ["exec sleep 60\n", "sleep 60 &\n", "exec >&- 2>&-; exec sleep 60\n", "trap '' TERM; sleep 60\n"]
)
def test_a_program_that_hangs_is_ended_with_what_it_has_started(path, program, script):
    Vault.open(source(path, program))
    program.becomes("echo $$ > group; " + script)
    began = time.monotonic()

    with pytest.raises(KeyCommandFailed, match=r"did not end within 0\.3 seconds"):
        Vault.open(source(path, program, limit_s=0.3))

    assert time.monotonic() - began < 5
    group = int((program._folder / "group").read_text())
    eventually(lambda: not living_in(group), within_s=5, because="all of the program ended")


CLEAR_FAILURES = {
    "leaves the key as it is": ("exec cat\n", "answers with the key itself"),
    "gives something else back": ("test $1 = wrap && exec tr a-z b-za; exec cat\n", "does not give back what it has"),
    "cannot unwrap": ("test $1 = wrap && exec tr a-z b-za; exit 4\n", r"unwrap\): exit status 4"),
    "cannot wrap": ("exit 5\n", r"wrap\): exit status 5"),
}


@pytest.mark.parametrize("how", CLEAR_FAILURES)
def test_a_file_in_the_clear_stays_when_its_keys_cannot_be_wrapped(path, program, how):
    sealed = Vault.open(path).seal("secret", context="a")
    before = path.read_bytes()
    script, message = CLEAR_FAILURES[how]
    program.becomes(script)

    with pytest.raises(KeyCommandFailed, match=message):
        Vault.open(source(path, program))

    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["secrets.key"]
    assert Vault.open(path).reveal(sealed, context="a") == "secret"


@pytest.mark.parametrize("text", ["wrapped 1\n", "wrapped 1\nabcd\n", "wrapped 1\n00000000 !!!\n", "wrapped 2\nx y\n"])
def test_a_damaged_wrapped_file_is_named(path, program, text):
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(VaultError, match=r"secrets\.key is damaged"):
        Vault.open(source(path, program))


def test_wrapped_keys_that_have_changed_places_are_refused(path, program):
    """What a program unwraps must be the key of just that id."""
    vault = Vault.open(source(path, program))
    vault.add_key()
    head, first, second = path.read_text().splitlines()
    swapped = [f"{first.split()[0]} {second.split()[1]}", f"{second.split()[0]} {first.split()[1]}"]
    path.write_text("\n".join([head, *swapped]) + "\n")

    with pytest.raises(KeyCommandFailed, match="unwraps no key of"):
        Vault.open(source(path, program))


def test_no_message_holds_the_key(path, program):
    Vault.open(path)
    program.becomes('read -r line; echo "cannot wrap $line" >&2; exit 1\n')

    with pytest.raises(KeyCommandFailed, match=r"exit status 1: cannot wrap \*\*\*\.$"):
        Vault.open(source(path, program))


def test_the_program_gets_nothing_of_the_environment_of_the_server(path, program, monkeypatch):
    monkeypatch.setenv("FGS_ADMIN_SK", "top secret")
    program.becomes("env > environment; pwd > folder; " + HONEST)
    script = program._file.read_text().replace(f"cd {program._folder}\n", f"pwd > {program._folder}/where\n", 1)
    program._file.write_text(script.replace("env >", f"cd {program._folder}; env >"))

    Vault.open(source(path, program))

    names = {line.split("=")[0] for line in (program._folder / "environment").read_text().splitlines()}
    # The shell itself sets the other two.
    assert names - {"PWD", "OLDPWD", "_", "SHLVL"} == {"PATH", "LANG"}
    assert (program._folder / "where").read_text() == "/\n"


def test_other_processes_have_the_keys_without_the_program_also_new_ones(path, program):
    shared = SharedKeys(SharedKeys.make())
    writer = Vault.open(source(path, program, shared=shared))
    old = writer.seal("secret", context="a")
    asked = len(program.calls)

    reader = Vault.open(source(path, program, shared=shared, follows=True))

    assert reader.reveal(old, context="a") == "secret"
    assert len(program.calls) == asked
    writer.add_key()
    new = writer.seal("new secret", context="a")
    asked = len(program.calls)
    assert reader.reveal(new, context="a") == "new secret"
    writer.drop_old_keys()
    late = Vault.open(source(path, program, shared=shared, follows=True))
    assert late.reveal(new, context="a") == "new secret"
    with pytest.raises(VaultError, match="does not hold"):
        late.reveal(old, context="a")
    assert len(program.calls) == asked
    shared.close()


def test_keys_of_several_files_are_shared_apart(path, program):
    shared = SharedKeys(SharedKeys.make())
    one = source(path, program, shared=shared)
    sealed = Vault.open(one).seal("secret", context="a")
    Vault.open(one.beside(path.with_name("temporary.key"))).add_key()

    assert Vault.open(source(path, program, shared=shared, follows=True)).reveal(sealed, context="a") == "secret"
    shared.close()


def test_a_process_that_was_told_no_keys_says_so(path, program):
    shared = SharedKeys(SharedKeys.make())

    with pytest.raises(VaultError, match="Process 0 has not unwrapped"):
        Vault.open(source(path, program, shared=shared, follows=True))

    shared.close()
