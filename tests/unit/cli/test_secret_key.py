"""`fgs secret-key export`: from wrapped keys to keys in the clear, when the operator says so."""

import stat

import pytest

from funclet.keyring.command import KeyCommand
from funclet.vault import KeySource, Vault


@pytest.fixture
def program(tmp_path):
    file = tmp_path / "master-key"
    file.write_text("#!/bin/sh\nexec tr A-Za-z N-ZA-Mn-za-m\n")
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def wrapped(tmp_path, program):
    return Vault.open(KeySource(path=tmp_path / "secrets.key", command=KeyCommand(words=[program])))


def test_exported_keys_open_without_the_program(fgs_alone, tmp_path, program, wrapped):
    sealed, before = wrapped.seal("secret", context="a"), wrapped.path.read_bytes()
    target = tmp_path / "clear.key"

    ran = fgs_alone("secret-key", "export", str(wrapped.path), str(target), "--command", program)

    assert ran.code == 0
    assert Vault.open(target).reveal(sealed, context="a") == "secret"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert wrapped.path.read_bytes() == before


def test_an_export_overwrites_nothing(fgs_alone, tmp_path, program, wrapped):
    target = tmp_path / "clear.key"
    target.write_text("mine")

    ran = fgs_alone("secret-key", "export", str(wrapped.path), str(target), "--command", program)

    assert (ran.code, target.read_text()) == (6, "mine")
    assert "exists already" in ran.err


def test_an_export_says_what_is_wrong(fgs_alone, tmp_path, program, wrapped):
    clear = Vault.open(tmp_path / "plain.key").path
    target = tmp_path / "clear.key"

    def export(source, words):
        """Run the command that must fail; return what it says."""
        ran = fgs_alone("secret-key", "export", str(source), str(target), "--command", words)
        assert ran.code != 0
        assert not target.exists()
        return ran.err

    assert "are in the clear already" in export(clear, program)
    assert "must begin with the absolute path of a program, not 'master-key'" in export(wrapped.path, "master-key")
    assert "exit status 1" in export(wrapped.path, "/bin/false")
    assert "No such file" in export(tmp_path / "none.key", program)
