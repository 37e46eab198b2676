"""Applications as stacks: triggers, dependencies and settings beside functions, all or nothing."""

import json
from dataclasses import replace

import pytest

from funclet.services.app_templates import read_application
from funclet.services.limits import Limits
from funclet.services.template_catalog import TemplateCatalog
from funclet.triggers.apig import MAX_APIS
from tests.support.api import PROJECT

TEMPLATES = {template.name: template.template_id for template in TemplateCatalog.load().applications}
URN = f"urn:fss:test-1:{PROJECT.project_id}:function:default"
CHINESE = {"x_language": "zh-cn"}


def make(api, name="mine", template="notes", **params):
    if template == "webhook-relay":
        params = {"secret": "s3cret"} | params
    return api.send("POST", "/applications", {"name": name, "template_id": TEMPLATES[template], "params": params})


def shown(api, made):
    return api.send("GET", f"/applications/{made.json['application_id']}").json


def rows_of(api, made):
    """Return the resources of an application by kind and logical name."""
    rows = shown(api, made)["stack_resources"]
    return {(row["logical_resource_type"], row["logical_resource_name"]): row for row in rows}


def everything(api):
    """Return what the project has, by kind."""
    return {
        "functions": sorted(row["func_name"] for row in api.send("GET", "/functions").json["functions"]),
        "dependencies": [row["name"] for row in api.send("GET", "/dependencies").json["dependencies"]],
        "triggers": api.send("GET", "/triggers").json["count"],
        "applications": [row["name"] for row in api.send("GET", "/applications").json["applications"]],
    }


@pytest.mark.proves("operation:CreateFunctionApp", "operation:ShowFunctionApp")
def test_an_application_lists_all_that_it_is_made_of(api):
    made = make(api, template="webhook-relay")

    state = shown(api, made)

    kinds = [(row["logical_resource_type"], row["physical_resource_name"]) for row in state["stack_resources"]]
    number = made.json["application_id"].replace("-", "")
    assert kinds == [
        ("dependency", "mine-signature"),
        ("function", "mine-receive"),
        ("function", "mine-forward"),
        ("trigger", f"hook_{number}"),
        ("asyncSettings", "mine-receive"),
        ("asyncSettings", "mine-forward"),
    ]
    url = f"http://host:8001/_apig/{PROJECT.project_id}/mine"
    assert state["apig_url"] == url
    assert [row["href"] for row in state["stack_resources"]] == ["", "", "", url, "", ""]
    assert {row["resource_status"] for row in state["stack_resources"]} == {"CREATE_COMPLETE"}
    assert {row["status_message"] for row in state["stack_resources"]} == {"Made at 2026-09-21T14:13:20Z."}
    assert "s3cret" not in json.dumps(state)


def test_functions_of_an_application_share_its_dependency(api):
    made = make(api, template="webhook-relay")

    version_id = rows_of(api, made)["dependency", "signature"]["physical_resource_id"]

    dependency = api.send("GET", f"/dependencies/{version_id}").json
    assert (dependency["name"], dependency["runtime"]) == ("mine-signature", "Python3.10")
    for name in ("mine-receive", "mine-forward"):
        assert api.config(name)["depend_version_list"] == [version_id]


def test_parameters_stand_in_triggers_and_destinations(api):
    made = make(api, template="report", schedule="0 0 9 * * ?", lines="a=1", bucket="my-bucket")

    timer = rows_of(api, made)["trigger", "timer"]["physical_resource_id"]

    data = api.send("GET", f"/triggers/{URN}:mine-collect:latest/TIMER/{timer}").json["event_data"]
    assert data == {"name": "report", "schedule_type": "Cron", "schedule": "0 0 9 * * ?", "user_event": "a=1"}
    collect, summarise = (settings_of(api, f"mine-{name}") for name in ("collect", "summarise"))
    assert (collect.max_retries, collect.on_success.members) == (2, {"func_urn": f"{URN}:mine-summarise"})
    assert summarise.on_success.members == {"bucket": "my-bucket", "prefix": "reports", "expires": 0}


def settings_of(api, name):
    """Return the settings of asynchronous requests of `latest`."""

    def work(tx):
        version = tx.functions.get(PROJECT.project_id, "default", name, "latest")
        return tx.async_configs.get(version.function_id, "latest")

    return api.run(api.store.read(work))


def test_a_destination_whose_parameter_is_empty_is_left_out(api):
    made = make(api, template="report", bucket="")

    assert settings_of(api, "mine-summarise") is None
    assert ("asyncSettings", "summarise") not in rows_of(api, made)


def test_a_parameter_is_text_and_nothing_else(api):
    """What looks like a place for another parameter, or like JSON, stays as it is."""
    made = make(api, template="report", lines='${bucket} "}', separator="$")

    timer = rows_of(api, made)["trigger", "timer"]["physical_resource_id"]

    data = api.send("GET", f"/triggers/{URN}:mine-collect:latest/TIMER/{timer}").json["event_data"]
    assert data["user_event"] == '${bucket} "}'


@pytest.mark.parametrize(
    ("template", "params", "code", "said"),
    [
        ("report", {"schedule": "never"}, "FSS.1109", "trigger 'timer': "),
        ("report", {"bucket": "No Bucket"}, "FSS.0400", "asynchronous settings 'summarise': "),
        ("todo", {"auth": "MAYBE"}, "FSS.1107", "trigger 'api': "),
        ("todo", {"share": "unknown"}, "FSS.1050", "function 'service': "),
        ("todo", {"auth": ""}, "FSS.1107", "trigger 'api': "),
    ],
)
def test_a_parameter_that_a_resource_refuses_leaves_nothing(api, template, params, code, said):
    answer = make(api, template=template, **params)

    assert answer.error[1] == code
    assert answer.json["error_msg"].startswith(said)
    assert everything(api) == {"functions": [], "dependencies": [], "triggers": 0, "applications": []}
    assert api.changes == []


def test_a_route_that_is_taken_leaves_nothing(api):
    api.create("other")
    data = {"name": "other_api", "path": "/mine", "req_method": "POST"}
    body = {"trigger_type_code": "APIG", "event_data": data}
    assert api.send("POST", f"/triggers/{URN}:other:latest", body).status == 201

    answer = make(api, template="webhook-relay")

    assert answer.error[1] == "FSS.1147"
    assert answer.json["error_msg"].startswith("trigger 'hook': POST /mine")
    assert everything(api) == {"functions": ["other"], "dependencies": [], "triggers": 1, "applications": []}


def test_a_dependency_of_somebody_else_gets_no_new_version(api):
    made = make(api, "a", "webhook-relay")
    version_id = rows_of(api, made)["dependency", "signature"]["physical_resource_id"]
    renamed = {"name": "b-signature", "runtime": "Python3.10", "depend_type": "zip"}
    assert api.send("PUT", f"/dependencies/{version_id}", renamed).status == 200

    answer = make(api, "b", "webhook-relay")

    assert answer.error[1] == "FSS.1065"
    assert (
        answer.json["error_msg"] == "dependency 'signature': Dependency 'b-signature' exists already in this project."
    )
    assert everything(api)["applications"] == ["a"]


@pytest.mark.parametrize(("limits", "code"), [({"functions": 1}, "FSS.1041"), ({"dependencies": 0}, "FSS.1045")])
def test_a_quota_that_is_used_up_leaves_nothing(new_api, limits, code):
    api = new_api(limits=Limits(**limits))

    assert make(api, template="webhook-relay").error == (403, code)
    assert everything(api) == {"functions": [], "dependencies": [], "triggers": 0, "applications": []}


def test_the_quota_of_gateway_triggers_holds_for_applications(api):
    made = make(api, "first", "todo")
    trigger_id = rows_of(api, made)["trigger", "api"]["physical_resource_id"]

    def fill(tx):
        """Leave room for one."""
        one = tx.triggers.get(PROJECT.project_id, trigger_id)
        for number in range(MAX_APIS - 2):
            data = one.event_data | {"name": f"n{number}", "path": f"/p{number}"}
            tx.triggers.put(replace(one, trigger_id=f"{number:032x}", event_data=data))

    api.run(api.store.write(fill))

    assert make(api, "two", "notes").error == (403, "FSS.1124")
    assert make(api, "one", "todo").status == 200
    assert make(api, "more", "todo").error == (403, "FSS.1124")
    assert everything(api)["applications"] == ["first", "one"]


def test_a_resource_that_was_deleted_since_is_shown_as_such(api):
    made = make(api)
    page = rows_of(api, made)["trigger", "site"]["physical_resource_id"]
    api.send("DELETE", f"/triggers/{URN}:mine-page:latest/APIG/{page}")

    rows = rows_of(api, made)

    states = {name: row["resource_status"] for (kind, name), row in rows.items() if kind == "trigger"}
    assert states == {"site": "DELETED", "api": "CREATE_COMPLETE"}
    assert rows["trigger", "site"]["status_message"] == "Made at 2026-09-21T14:13:20Z, deleted since."
    assert rows["trigger", "site"]["href"] == ""
    # The next one that answers.
    assert shown(api, made)["apig_url"].endswith("/mine/notes")


@pytest.mark.proves("operation:DeleteFunctionApp")
def test_an_application_goes_with_all_that_it_made(api):
    made = make(api, template="webhook-relay")
    api.changes.clear()

    answer = api.send("DELETE", f"/applications/{made.json['application_id']}")

    assert (answer.status, "X-Cff-Warning" in answer.headers) == (204, False)
    assert everything(api) == {"functions": [], "dependencies": [], "triggers": 0, "applications": []}
    assert "triggers" in api.changes
    assert make(api, template="webhook-relay").status == 200


def test_a_dependency_that_another_function_uses_stays_and_is_named(api):
    made = make(api, template="webhook-relay")
    version_id = rows_of(api, made)["dependency", "signature"]["physical_resource_id"]
    api.create("other", depend_version_list=[version_id])

    answer = api.send("DELETE", f"/applications/{made.json['application_id']}")

    assert answer.headers["X-Cff-Warning"] == "dependency-kept: mine-signature"
    kept = {"functions": ["other"], "dependencies": ["mine-signature"], "triggers": 0, "applications": []}
    assert everything(api) == kept


def test_what_its_user_has_made_since_stays(api):
    made = make(api, template="webhook-relay")
    signature = rows_of(api, made)["dependency", "signature"]["physical_resource_id"]
    for name in ("mine-receive", "mine-forward"):
        api.send("DELETE", f"/functions/{name}")
    api.send("DELETE", f"/dependencies/{signature}")
    api.create("mine-receive")
    body = {"trigger_type_code": "APIG", "event_data": {"name": "own_api", "path": "/mine"}}
    api.send("POST", f"/triggers/{URN}:mine-receive:latest", body)

    assert {row["resource_status"] for row in rows_of(api, made).values()} == {"DELETED"}
    assert shown(api, made)["apig_url"] == ""
    assert api.send("DELETE", f"/applications/{made.json['application_id']}").status == 204
    assert everything(api) == {"functions": ["mine-receive"], "dependencies": [], "triggers": 1, "applications": []}


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_becomes_an_application_and_goes_again(api, template):
    made = make(api, template=template)

    assert made.status == 200
    assert {row["resource_status"] for row in rows_of(api, made).values()} == {"CREATE_COMPLETE"}
    assert api.send("DELETE", f"/applications/{made.json['application_id']}").status == 204
    assert everything(api) == {"functions": [], "dependencies": [], "triggers": 0, "applications": []}


def test_a_share_is_mounted_where_the_template_says(api):
    make(api, template="todo", share="r1")

    (mount,) = api.config("mine-service")["mount_config"]["func_mounts"]

    assert (mount["mount_resource"], mount["local_mount_path"]) == ("r1", "/mnt/todo")


def test_of_two_that_make_the_same_application_at_once_one_does(api):
    body = {"name": "mine", "template_id": TEMPLATES["webhook-relay"], "params": {"secret": "s"}}

    assert sorted(api.send_together("POST", "/applications", [body] * 4)) == [200, 409, 409, 409]
    assert everything(api)["functions"] == ["mine-forward", "mine-receive"]


# A template with what none of those that are shipped has.
OWN = """
id = "own"
name = "own"
description = "d"
description_zh = "d"
category = "c"
runtime = "Python3.10"
created_at = "2026-11-27"
guide = "g"
guide_zh = "g"

[[parameters]]
name = "prefix"
description = "p"
description_zh = "p"
default = "in"

[[dependencies]]
name = "first"
runtime = "Python3.10"
files = ["lib.py"]

[[dependencies]]
name = "second"
runtime = "Python3.10"
files = ["lib.py"]

[[functions]]
name = "only"
runtime = "Python3.10"
handler = "index.handler"
files = ["index.py"]
timeout = 3
memory_size = 128
dependencies = ["second", "first"]

[[triggers]]
name = "objects"
function = "only"
type = "OBS"
event_data = { bucket = "inbox", events = ["ObjectCreated"], prefix = "${prefix}" }

[[async]]
function = "only"
retries = 1
on_success = { kind = "OBS", bucket = "inbox", prefix = "out" }
on_failure = { kind = "FunctionGraph", function = "only" }
"""


@pytest.fixture
def own(api, tmp_path):
    """Make applications of a template of one's own."""
    (tmp_path / "application.toml").write_text(OWN)
    for name in ("lib.py", "index.py"):
        (tmp_path / f"{name}.txt").write_text("x = 1\n")
    api.resources.applications.catalog = TemplateCatalog([], [read_application(tmp_path)])
    return lambda **params: api.send("POST", "/applications", {"name": "mine", "template_id": "own", "params": params})


def test_triggers_of_objects_and_destinations_of_failures_are_made(api, own):
    made = own()

    rows = rows_of(api, made)
    ids = [rows["dependency", name]["physical_resource_id"] for name in ("second", "first")]
    assert api.config("mine-only")["depend_version_list"] == ids
    (trigger,) = api.send("GET", f"/triggers/{URN}:mine-only:latest").json
    assert (trigger["trigger_type_code"], trigger["event_data"]["prefix"]) == ("OBS", "in")
    settings = settings_of(api, "mine-only")
    assert (settings.on_success.kind, settings.on_failure.members) == ("OBS", {"func_urn": f"{URN}:mine-only"})


def test_an_application_whose_results_start_it_again_is_refused(api, own):
    answer = own(prefix="out")

    assert answer.error == (400, "FSS.0400")
    assert answer.json["error_msg"].startswith("asynchronous settings 'only': Objects below this prefix")
    assert everything(api) == {"functions": [], "dependencies": [], "triggers": 0, "applications": []}


def test_templates_are_described_in_chinese_to_those_who_ask_for_it(town):
    for path in ("{f}/application/templates", f"{{f}}/application/templates/{TEMPLATES['todo']}"):
        english, chinese = town.done("GET", path), town.done("GET", path, **CHINESE)

        assert english.keys() == chinese.keys()
        assert not has_chinese(english)
        assert has_chinese(chinese)
        assert town.done("GET", path, x_language="en-us") == english
    shown = town.done("GET", path, **CHINESE)
    assert all(has_chinese(one["description"]) for one in json.loads(shown["params"]))


def has_chinese(value):
    return any("\u4e00" <= letter <= "\u9fff" for letter in json.dumps(value, ensure_ascii=False))
