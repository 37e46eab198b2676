"""Encrypted variables of functions: sealed in the file, in the clear for whoever reads through the store."""

import contextlib
import sqlite3
from dataclasses import replace

import pytest

from funclet.store.connection import connect
from funclet.store.protocol import StoreError
from tests.support.store import a_version

SECRETS = '{"PASSWORD": "very-secret-value"}'


def secretive(**changes):
    version = a_version(**changes)
    return replace(version, settings=replace(version.settings, encrypted_user_data=SECRETS))


def stored(db, query):
    """Return the rows of a query on the file itself."""
    with contextlib.closing(sqlite3.connect(db.folder / "funclet.db")) as connection:
        return connection.execute(query).fetchall()


def files_with(db, text):
    return [path.name for path in db.folder.iterdir() if text.encode() in path.read_bytes()]


def get(db, version="latest"):
    return db.read(lambda tx: tx.functions.get("p1", "default", "hello", version))


def reseal(db):
    """Seal with a new key, as the service does."""
    vault = db.store.vault
    vault.add_key()
    db.write(
        lambda tx: tx.functions.reseal(
            lambda sealed, context: vault.seal(vault.reveal(sealed, context=context), context=context)
        )
    )
    vault.drop_old_keys()


def test_what_is_secret_comes_back_and_is_in_no_file(db):
    db.write(lambda tx: tx.functions.add(secretive()))
    db.write(lambda tx: tx.functions.add_version(secretive(version="v1")))
    db.write(lambda tx: tx.functions.replace_latest(secretive(revision=2)))

    assert get(db) == secretive(revision=2)
    assert get(db, "v1") == secretive(version="v1")
    assert db.read(lambda tx: tx.functions.versions(secretive().function_id))[1] == secretive(version="v1")
    assert files_with(db, "very-secret-value") == []
    assert stored(db, "SELECT DISTINCT secrets FROM function_version") == [(2,)]


def test_what_has_no_secrets_is_stored_as_it_is(db):
    db.write(lambda tx: tx.functions.add(secretive()))
    db.write(lambda tx: tx.functions.replace_latest(a_version()))

    assert get(db) == a_version()
    assert stored(db, "SELECT secrets, instr(document, 'sealed:') FROM function_version") == [(0, 0)]


def test_a_new_key_seals_all_versions_and_the_old_one_is_not_needed_any_more(db):
    db.write(lambda tx: tx.functions.add(secretive()))
    db.write(lambda tx: tx.functions.add_version(secretive(version="v1")))
    before = stored(db, "SELECT document FROM function_version ORDER BY version_id")

    reseal(db)

    assert (get(db), get(db, "v1")) == (secretive(), secretive(version="v1"))
    after = stored(db, "SELECT document FROM function_version ORDER BY version_id")
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert db.store.vault.seal("x", context="c")[:4].hex() in (db.folder / "secrets.key").read_text()


def test_secrets_of_one_function_do_not_open_in_another(db):
    db.write(lambda tx: tx.functions.add(secretive()))
    db.write(lambda tx: tx.functions.add(a_version("thief")))
    with contextlib.closing(connect(db.folder / "funclet.db", synchronous="NORMAL")) as connection:
        (sealed,) = connection.execute(
            "SELECT json_extract(document, '$.settings.encrypted_user_data') FROM function_version WHERE secrets = 2"
        ).fetchone()
        connection.execute(
            "UPDATE function_version SET document = json_set(document, '$.settings.encrypted_user_data', ?) "
            "WHERE secrets = 0",
            (sealed,),
        )

    with pytest.raises(StoreError, match="'thief' cannot be read"):
        db.read(lambda tx: tx.functions.get("p1", "default", "thief", "latest"))


def test_what_an_older_server_has_stored_in_the_clear_is_sealed_at_the_next_start(db):
    db.write(lambda tx: tx.functions.add(a_version()))
    db.reopen()
    with contextlib.closing(connect(db.folder / "funclet.db", synchronous="NORMAL")) as connection:
        connection.execute(
            "UPDATE function_version SET secrets = 1, "
            "document = json_set(document, '$.settings.encrypted_user_data', ?)",
            (SECRETS,),
        )

    db.reopen()

    assert get(db) == secretive()
    db.reopen()
    assert files_with(db, "very-secret-value") == []
