"""Templates of functions and applications, and applications made from them."""

import json

import pytest

from funclet.model.resources import MAX_APPLICATIONS
from funclet.services.limits import Limits
from tests.support.api import OTHER_PROJECT, PROJECT

NOTES = "7c1d4a2be5f35d1fa3b7f2d81e2f9b01"
RELAY = "7c1d4a2be5f35d1fa3b7f2d81e2f9b03"


def names(api):
    return sorted(row["func_name"] for row in api.send("GET", "/functions").json["functions"])


def make(api, name="mine", template_id=NOTES, **fields):
    return api.send("POST", "/applications", {"name": name, "template_id": template_id, **fields})


@pytest.mark.proves("operation:ListFunctionTemplate")
@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 9),
        ("?runtime=Python3.10", 5),
        ("?runtime=Node.js18.15", 4),
        ("?runtime=Go1.x", 0),
        ("?scene=timer", 2),
        ("?scene=timer&runtime=Python3.10", 1),
        ("?service=FunctionGraph", 9),
        ("?service=Other", 0),
        ("?ispublic=true", 9),
        ("?ispublic=False", 0),
        ("?maxitems=4", 4),
        ("?maxitems=0", 9),
        ("?marker=8", 1),
        ("?marker=9", 0),
    ],
)
def test_templates_are_listed_and_filtered(api, query, count):
    answer = api.send("GET", f"/templates{query}").json

    marker = int(query.rpartition("=")[2]) if "marker" in query else 0
    assert (len(answer["func_templates"]), answer["next_marker"]) == (count, marker + count)


@pytest.mark.proves("operation:ShowFunctionTemplate")
def test_a_template_is_shown_as_it_is_listed(api):
    for listed in api.send("GET", "/templates").json["func_templates"]:
        assert api.send("GET", f"/templates/{listed['id']}").json == listed
        assert {"title", "template_name", "description", "runtime", "handler", "code_type", "code"} <= listed.keys()
        assert json.loads(listed["temp_detail"]["input"]) is not None


@pytest.mark.proves("error:FSS.1059")
def test_a_template_that_does_not_exist(api):
    assert api.send("GET", "/templates/nothing").error == (404, "FSS.1059")
    assert api.send("GET", "/application/templates/nothing").error == (404, "FSS.1059")
    assert make(api, template_id="nothing").error == (404, "FSS.1059")


@pytest.mark.parametrize("path", ["/templates", "/application/templates"])
@pytest.mark.parametrize("query", ["marker=x", "marker=-1", "maxitems=x", "maxitems=-1"])
def test_pages_that_do_not_exist(api, path, query):
    assert api.send("GET", f"{path}?{query}").error == (400, "FSS.1001")


@pytest.mark.proves("operation:ListAppTemplates")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["notes", "report", "todo", "webhook-relay"]),
        ("?category=web", ["notes"]),
        ("?runtime=Python3.10", ["report", "todo", "webhook-relay"]),
        ("?marker=1&maxitems=1", ["report"]),
        ("?marker=4", []),
    ],
)
def test_templates_of_applications_are_listed(api, query, found):
    answer = api.send("GET", f"/application/templates{query}").json

    assert [row["name"] for row in answer["templates"]] == found
    assert answer["count"] == (4 if "marker" in query else len(found))


@pytest.mark.proves("operation:ShowAppTemplate")
def test_a_template_says_what_can_be_chosen_and_how_often_it_was_used(api):
    make(api)

    shown = api.send("GET", f"/application/templates/{NOTES}").json

    assert [one["name"] for one in json.loads(shown["params"])] == ["title", "max_length", "share"]
    assert [one["resource_name"] for one in shown["resources"]] == ["page", "service", "site", "api"]
    assert (shown["deploy_count"], shown["version"], shown["create_time"]) == (1, 1, 1_795_737_600_000)


@pytest.mark.proves("operation:CreateFunctionApp", "operation:ShowFunctionApp")
def test_an_application_is_its_functions(api):
    made = make(
        api,
        description="about",
        agency_name="an_agency",
        enterprise_project_id="ep",
        params={"title": "Todo", "max_length": 9},
    )

    shown = api.send("GET", f"/applications/{made.json['application_id']}").json

    assert (made.status, made.json.keys()) == (200, {"application_id"})
    assert (shown["name"], shown["description"], shown["status"]) == ("mine", "about", "success")
    assert (shown["stack_name"], shown["stack_id"]) == ("mine", made.json["application_id"])
    assert shown["last_modified_time"] == 1_790_000_000_000
    functions = [row for row in shown["stack_resources"] if row["logical_resource_type"] == "function"]
    assert [(row["physical_resource_name"], row["resource_status"]) for row in functions] == [
        ("mine-page", "CREATE_COMPLETE"),
        ("mine-service", "CREATE_COMPLETE"),
    ]
    page, service = (api.config(row["physical_resource_id"]) for row in functions)
    assert (page["runtime"], json.loads(page["user_data"])) == ("Node.js18.15", {"TITLE": "Todo"})
    assert (service["xrole"], service["enterprise_project_id"]) == ("an_agency", "ep")
    assert json.loads(service["user_data"]) == {"MAX_LENGTH": "9"}
    assert api.changes == [(PROJECT.project_id, "default", name) for name in ("mine-page", "mine-service")] + [
        "triggers"
    ]


def test_secrets_of_an_application_are_encrypted_variables(api):
    make(api, template_id=RELAY, params={"secret": "s3cret"})

    receive = api.config("mine-receive")

    assert json.loads(receive["encrypted_user_data"]) == {"SECRET": ""}
    assert "s3cret" not in json.dumps(receive)


@pytest.mark.proves("operation:ListFunctionApplications")
def test_applications_are_listed_and_paged(api):
    ids = [make(api, name).json["application_id"] for name in ("one", "two", "three")]

    first = api.send("GET", "/applications?limit=2").json
    second = api.send("GET", f"/applications?limit=2&marker={first['next_marker']}").json

    assert [row["id"] for row in first["applications"] + second["applications"]] == ids
    assert (first["next_marker"], second["next_marker"], first["count"]) == (2, 3, 3)
    assert first["applications"][0] == {
        "id": ids[0],
        "name": "one",
        "status": "success",
        "last_modified_time": 1_790_000_000_000,
        "description": "",
    }
    assert api.send("GET", "/applications?marker=3").json["applications"] == []
    assert api.send("GET", "/applications?limit=x").error == (400, "FSS.1001")


@pytest.mark.proves("operation:DeleteFunctionApp")
def test_an_application_goes_with_its_functions_and_no_others(api):
    api.create("mine")
    kept = make(api, "kept").json["application_id"]
    gone = make(api).json["application_id"]
    api.changes.clear()

    assert api.send("DELETE", f"/applications/{gone}").status == 204

    assert names(api) == ["kept-page", "kept-service", "mine"]
    assert [change[2] for change in api.changes[:-1]] == ["mine-page", "mine-service"]
    assert api.changes[-1] == "triggers"
    assert api.send("GET", f"/applications/{gone}").error == (404, "FSS.0404")
    assert api.send("DELETE", f"/applications/{gone}").error == (404, "FSS.0404")
    assert api.send("GET", f"/applications/{kept}").status == 200


def test_a_function_that_took_the_place_of_a_deleted_one_stays(api):
    made = make(api).json["application_id"]
    api.send("DELETE", "/functions/mine-page")
    api.create("mine-page")

    states = [row["resource_status"] for row in api.send("GET", f"/applications/{made}").json["stack_resources"]]
    api.send("DELETE", f"/applications/{made}")

    # The trigger of the function went with it.
    assert states == ["DELETED", "CREATE_COMPLETE", "DELETED", "CREATE_COMPLETE"]
    assert names(api) == ["mine-page"]


def test_a_name_that_is_taken_leaves_nothing(api):
    api.create("mine-service")

    assert make(api).error == (409, "FSS.1061")
    assert (names(api), api.send("GET", "/applications").json["count"]) == (["mine-service"], 0)


def test_a_quota_that_is_used_up_leaves_nothing(new_api):
    api = new_api(limits=Limits(functions=1))

    assert make(api).error == (403, "FSS.1041")
    assert (names(api), api.send("GET", "/applications").json["count"]) == ([], 0)


def test_an_application_has_a_name_of_its_own(api):
    make(api)

    assert make(api, template_id=RELAY, params={"secret": "s"}).error == (409, "FSS.0409")
    assert names(api) == ["mine-page", "mine-service"]


@pytest.mark.proves("quota:applications")
def test_a_project_has_100_applications(api):
    for number in range(MAX_APPLICATIONS):
        assert make(api, f"a{number}").status == 200

    assert make(api, "one-more").error == (403, "FSS.0403")
    assert len(names(api)) == 2 * MAX_APPLICATIONS


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": None}, "FSS.0400"),
        ({"name": ""}, "FSS.0400"),
        ({"name": 1}, "FSS.0400"),
        ({"name": "1st"}, "FSS.0400"),
        ({"name": "a_"}, "FSS.0400"),
        ({"name": "a/b"}, "FSS.0400"),
        ({"name": "n" * 41}, "FSS.0400"),
        ({"template_id": None}, "FSS.0400"),
        ({"template_id": ""}, "FSS.0400"),
        ({"template_id": []}, "FSS.0400"),
        ({"description": "d" * 513}, "FSS.1019"),
        ({"description": 1}, "FSS.0400"),
        ({"agency_name": "a" * 65}, "FSS.0400"),
        ({"agency_name": {}}, "FSS.0400"),
        ({"enterprise_project_id": "e" * 65}, "FSS.0400"),
        ({"enterprise_project_id": 0}, "FSS.0400"),
        ({"params": []}, "FSS.0400"),
        ({"params": {"unknown": "x"}}, "FSS.0400"),
        ({"params": {"title": ["x"]}}, "FSS.0400"),
        ({"params": {"title": "t" * 1025}}, "FSS.0400"),
        ({"template_id": RELAY}, "FSS.0400"),
        ({"template_id": RELAY, "params": {"secret": ""}}, "FSS.0400"),
    ],
)
def test_bodies_that_are_refused(api, fields, code):
    assert make(api, **fields).error == (400, code)
    assert names(api) == []


def test_values_at_their_limits_are_taken(api):
    answer = make(
        api,
        "n" * 40,
        description="d" * 512,
        agency_name="a" * 64,
        enterprise_project_id="e" * 64,
        params={"title": "t" * 1024, "max_length": None},
        of_the_future=True,
    )

    assert answer.status == 200


def test_applications_stay_in_their_project(api):
    made = make(api).json["application_id"]
    api.act_as(OTHER_PROJECT)

    assert api.send("GET", f"/applications/{made}").error == (404, "FSS.0404")
    assert api.send("DELETE", f"/applications/{made}").error == (404, "FSS.0404")
    assert api.send("GET", "/applications").json["count"] == 0
    assert api.send("GET", f"/application/templates/{NOTES}").json["deploy_count"] == 0
