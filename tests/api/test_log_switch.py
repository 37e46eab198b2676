"""Whether a function keeps its log, and where: the switch, its default, log group and stream, tags."""

import re

import pytest

from tests.support.api import OTHER_PROJECT

NOWHERE = {"group_id": "", "group_name": "", "stream_id": "", "stream_name": ""}
OWN = {"group_id": "g", "group_name": "gn", "stream_id": "s", "stream_name": "sn"}


def log_place(api, urn="hello"):
    answer = api.send("GET", f"/functions/{urn}/lts-log-detail")
    assert answer.status == 200
    return answer.json


def ids_in_config(api, urn="hello"):
    config = api.config(urn)
    return config["enable_lts_log"], config["log_group_id"], config["log_stream_id"]


@pytest.mark.proves("operation:ShowLtsLogDetails")
def test_functions_of_a_project_share_a_group_and_have_a_stream_each(api):
    api.create()
    api.create("second")

    first, second = log_place(api), log_place(api, "second")

    assert re.fullmatch(r"functiongraph\.log\.group\.[0-9a-f]{8}", first["group_name"])
    assert first["stream_name"].startswith("hello-")
    assert (first["group_id"], first["group_name"]) == (second["group_id"], second["group_name"])
    assert first["stream_id"] != second["stream_id"]
    assert log_place(api, api.config()["func_urn"]) == first
    assert ids_in_config(api) == (True, first["group_id"], first["stream_id"])


def test_projects_have_groups_of_their_own(api):
    api.create()
    mine = log_place(api)
    api.act_as(OTHER_PROJECT)
    api.create()

    assert log_place(api)["group_id"] != mine["group_id"]


def test_a_function_that_is_switched_off_has_no_place(api):
    api.create(enable_lts_log=False)

    assert log_place(api) == NOWHERE
    assert ids_in_config(api) == (False, "", "")


def test_the_switch_is_changed_and_null_is_the_default(api):
    api.create(enable_lts_log=False)

    shown = [api.update(enable_lts_log=value).json["enable_lts_log"] for value in (True, False, None)]

    assert shown == [True, False, True]
    assert log_place(api) != NOWHERE


def test_a_change_of_the_switch_replaces_instances_and_one_of_something_else_leaves_it(api):
    api.create(enable_lts_log=False)
    before = api.revision()
    api.update(description="other")

    assert (api.revision(), api.config()["enable_lts_log"]) == (before, False)
    api.update(enable_lts_log=True)
    assert api.revision() == before + 1


def test_a_published_version_keeps_the_switch_that_it_had(api):
    api.create(enable_lts_log=False)
    api.publish("v1")
    api.update(enable_lts_log=True)
    published = api.config()["func_urn"].replace(":latest", ":v1")

    assert ids_in_config(api, published) == (False, "", "")
    assert log_place(api, published) == NOWHERE


def test_a_function_with_a_group_of_its_own_shows_that_while_it_is_on(api):
    api.create(log_config=OWN)

    assert log_place(api) == OWN
    assert ids_in_config(api) == (True, "g", "s")
    api.update(enable_lts_log=False)
    assert log_place(api) == NOWHERE


@pytest.mark.proves("operation:EnableLtsLogs")
def test_where_logs_are_off_by_default_a_project_switches_them_on_for_its_new_functions(new_api):
    api = new_api(keeps_logs=False)
    api.create("before")
    enabled = api.send("POST", "/functions/enable-lts-logs")
    api.create("after")
    api.create("off", enable_lts_log=False)

    assert (enabled.status, enabled.body) == (200, b"")
    shown = [api.config(name)["enable_lts_log"] for name in ("before", "after", "off")]
    assert shown == [False, True, False]
    # It is the default as well for what is cleared from now on.
    assert api.update("before", enable_lts_log=None).json["enable_lts_log"] is True
    api.act_as(OTHER_PROJECT)
    api.create("theirs")
    assert api.config("theirs")["enable_lts_log"] is False
    assert api.send("POST", "/functions/enable-lts-logs").status == 200


def test_a_function_may_be_on_where_logs_are_off_by_default(new_api):
    api = new_api(keeps_logs=False)
    api.create(enable_lts_log=True)

    assert log_place(api) != NOWHERE


@pytest.mark.proves("error:FSS.1221")
def test_logs_are_enabled_once(api):
    api.create()
    api.send("POST", "/functions/enable-lts-logs")
    place = log_place(api)

    answer = api.send("POST", "/functions/enable-lts-logs")

    assert answer.error == (400, "FSS.1221")
    assert "lts log has been enabled" in answer.json["error_msg"]
    assert log_place(api) == place
