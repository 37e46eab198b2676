"""Settings: where they come from, what is refused, what is shown."""

from dataclasses import fields

import pytest

from funclet.config import SettingError, Settings, load


def test_the_command_line_wins_over_the_environment_and_that_over_defaults():
    settings = load({"port": 1, "host": None}, {"FGS_PORT": "2", "FGS_GATEWAY_PORT": "3"})

    assert (settings.port, settings.gateway_port, settings.hosts) == (1, 3, ("127.0.0.1",))


def test_an_unknown_variable_of_ours_is_named():
    with pytest.raises(SettingError, match="FGS_PROT"):
        load({}, {"FGS_PROT": "1"})


def test_variables_of_others_and_of_the_client_are_left_alone():
    assert load({}, {"PATH": "/bin", "FGS_PROFILE": "x", "FGS_ENDPOINT": "y"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65_536),
        ("port", -1),
        ("processes", -1),
        ("processes", 65),
        ("memory_fraction", 0.0),
        ("memory_fraction", 1.1),
        ("idle_release_s", 0.5),
        ("idle_release_s", 3601.0),
        ("admission_wait_ms", 60_001),
        ("max_connections", 15),
        ("max_connections", 1_000_001),
        ("handler_error_status", 404),
        ("edition", "azure"),
        ("isolation", "none"),
        ("network", "on"),
        ("region", "Bad_Region"),
        ("project_id", "xyz"),
        ("admin_ak", "AKAKAKAK"),
        ("runtime", ("Python2.7",)),
        ("drain_s", -1.0),
        ("secret_key_command", ("master-key",)),
        ("secret_key_command", ("/bin/key", "a\0b")),
        ("secret_key_command", ("/bin/key",) * 65),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(name, value):
    with pytest.raises(SettingError, match=name):
        load({name: value}, {})


def test_a_number_that_is_none_is_refused():
    with pytest.raises(SettingError, match="FGS_PORT='many' is not a whole number"):
        load({}, {"FGS_PORT": "many"})


@pytest.mark.parametrize("given", [{"host": ("127.0.0.1", "[::1]")}, {"host": ("127.0.0.1, ::1",)}, {}])
def test_a_server_may_have_several_addresses(given):
    assert load(given, {"FGS_HOST": "127.0.0.1,[::1]"}).hosts == ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ((" ",), "host must be an address"),
        (("10.0.0.1", "::1", "10.0.0.1"), "host 10.0.0.1 is given twice"),
        (("[::1],::1",), "host ::1 is given twice"),
        (("127.0.0.1", "0.0.0.0"), "host 0.0.0.0 stands for every address"),
        (("::", "127.0.0.1"), "host :: stands for every address"),
    ],
)
def test_addresses_that_cannot_be_listened_on_together_are_refused(hosts, message):
    with pytest.raises(SettingError, match=message):
        load({"host": hosts}, {})


def test_lists_are_separated_by_commas():
    settings = load({}, {"FGS_RUNTIME": "Python2.7=/opt/py27, Node.js12.13=/opt/node12"})

    assert settings.runtime_map == {"Python2.7": "/opt/py27", "Node.js12.13": "/opt/node12"}


def test_secrets_are_masked():
    shown = load({}, {"FGS_ADMIN_AK": "AKAKAKAK", "FGS_ADMIN_SK": "very-secret"}).shown()

    assert shown["admin_sk"] == "****"
    assert "very-secret" not in str(shown)


def test_only_the_lab_waits_at_the_instance_maximum():
    assert load({}, {}).wait_s == 1.0
    assert load({"edition": "huawei"}, {}).wait_s == 0.0
    assert load({"edition": "huawei", "admission_wait_ms": 250}, {}).wait_s == 0.25


def test_only_the_lab_lets_a_project_run_as_much_as_fits():
    assert load({}, {}).most_project_requests == 0
    assert load({"edition": "huawei"}, {}).most_project_requests == 100
    assert load({"edition": "huawei", "project_requests": 0}, {}).most_project_requests == 0
    assert load({"project_requests": 7}, {}).most_project_requests == 7


def test_every_setting_has_help():
    assert all(setting.metadata["help"] for setting in fields(Settings))
