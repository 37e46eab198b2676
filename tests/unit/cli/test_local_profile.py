"""The profile that `fgs serve` writes: no secret key of another server is lost to it."""

import pytest

from funclet.cli import local_profile, profiles
from funclet.services.identity import Credentials

ONE, OTHER = "http://127.0.0.1:7180", "http://127.0.0.1:8080"


def start(api_url, project_id, *, is_first=True):
    """Do what a start of a server does about the profile."""
    names = {"project_name": "local-1", "domain_name": "admin", "user_name": "admin"}
    made = Credentials(project_id=project_id, access=f"AK{project_id}", secret="s", password="p", **names)
    name = local_profile.name_for(api_url)
    local_profile.keep(name, api_url, "local-1", project_id, made if is_first else None)


@pytest.fixture
def known(home):
    """Read what the file holds."""
    return lambda: profiles.load(home / ".fgs" / "config.toml")


def test_the_first_server_is_the_one_that_is_used(known):
    start(ONE, "a")

    assert known().current == "local"
    assert known().table["local"] == {
        "endpoint": ONE,
        "region": "local-1",
        "project_id": "a",
        "ak": "AKa",
        "sk": "s",
    }


def test_a_second_server_leaves_the_keys_of_the_first_alone(known):
    start(ONE, "a")
    start(OTHER, "b")

    found = known()
    assert (found.current, found.table["local"]["ak"], found.table["local-2"]["ak"]) == ("local", "AKa", "AKb")


def test_a_new_server_at_the_same_address_takes_the_place_of_the_old(known):
    start(ONE, "a")
    start(ONE, "b")

    assert {name: row["ak"] for name, row in known().table.items()} == {"local": "AKb"}


def test_the_address_of_a_server_that_was_there_is_renewed_where_its_keys_are(known):
    start(ONE, "a")
    start(OTHER, "b")
    start("http://127.0.0.1:9999", "b", is_first=False)

    assert [row["endpoint"] for row in known().table.values()] == [ONE, "http://127.0.0.1:9999"]


def test_a_server_that_nobody_knows_changes_nothing(known):
    start(ONE, "a")
    start(OTHER, "unknown", is_first=False)

    assert list(known().table) == ["local"]


def test_a_profile_file_that_cannot_be_used_is_told_and_kept(home, capsys):
    path = home / ".fgs" / "config.toml"
    path.parent.mkdir()
    path.write_text("not TOML")

    start(ONE, "a")

    assert "profile 'local' was not written" in capsys.readouterr().err
    assert path.read_text() == "not TOML"
