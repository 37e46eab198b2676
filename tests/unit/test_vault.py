"""Secrets at rest."""

import pytest

from funclet.vault import Vault, VaultError


def test_what_is_sealed_opens_again_also_after_a_restart(tmp_path):
    path = tmp_path / "secrets.key"
    sealed = Vault.open(path).seal("größte Heimlichkeit", context="a")

    assert Vault.open(path).reveal(sealed, context="a") == "größte Heimlichkeit"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["secrets.key"]


def test_the_same_secret_is_never_sealed_alike(tmp_path):
    vault = Vault.open(tmp_path / "secrets.key")

    assert vault.seal("x", context="a") != vault.seal("x", context="a")


def test_what_was_changed_moved_or_sealed_elsewhere_does_not_open(tmp_path):
    vault, other = Vault.open(tmp_path / "secrets.key"), Vault.open(tmp_path / "other.key")
    sealed = vault.seal("secret", context="a")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])

    for bad, context, opener in (
        (sealed, "b", vault),
        (changed, "a", vault),
        (sealed[:10], "a", vault),
        (b"", "a", vault),
        (sealed, "a", other),
    ):
        with pytest.raises(VaultError) as failed:
            opener.reveal(bad, context=context)
        assert "secret'" not in str(failed.value)


def test_keys_are_replaced_in_two_steps_with_a_restart_between(tmp_path):
    path = tmp_path / "secrets.key"
    vault = Vault.open(path)
    old = vault.seal("secret", context="a")
    vault.add_key()
    vault = Vault.open(path)
    assert vault.reveal(old, context="a") == "secret"
    new = vault.seal("secret", context="a")
    assert new[:4] != old[:4]

    vault.drop_old_keys()

    vault = Vault.open(path)
    assert vault.reveal(new, context="a") == "secret"
    with pytest.raises(VaultError, match="does not hold"):
        vault.reveal(old, context="a")


@pytest.mark.parametrize("text", ["", "abc\n", "00000000 11\n", "zz zz\n", "00 11 22\n"])
def test_a_damaged_key_file_is_named(tmp_path, text):
    path = tmp_path / "secrets.key"
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(VaultError, match=r"secrets\.key is damaged"):
        Vault.open(path)


def test_a_key_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "secrets.key"
    Vault.open(path)
    path.chmod(0o640)

    with pytest.raises(VaultError, match="chmod 600"):
        Vault.open(path)


def test_a_key_that_another_process_has_added_is_found(tmp_path):
    path = tmp_path / "secrets.key"
    writer = Vault.open(path)
    reader = Vault.open(path)
    writer.add_key()

    sealed = writer.seal("secret", context="a")

    assert reader.reveal(sealed, context="a") == "secret"
    writer.drop_old_keys()
    assert reader.reveal(writer.seal("next", context="a"), context="a") == "next"
