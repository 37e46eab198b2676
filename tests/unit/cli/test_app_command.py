"""`fgs app`: what is sent, and what is shown."""

import pytest

ID = "11111111-1111-1111-1111-111111111111"
ROW = {"id": ID, "name": "shop", "status": "success", "description": "", "last_modified_time": 1}
TEMPLATE = {"id": "t1", "name": "notes", "runtime": "Python3.10", "category": "web", "description": "A site."}
SHOWN = ROW | {
    "apig_url": "http://gateway/shop",
    "stack_resources": [
        {
            "logical_resource_type": "function",
            "logical_resource_name": "page",
            "physical_resource_name": "shop-page",
            "resource_status": "CREATE_COMPLETE",
        }
    ],
}
TEXT = "function  page  shop-page  CREATE_COMPLETE\nurl: http://gateway/shop\n"
APPS, TEMPLATES = "/fgs/applications", "/fgs/application/templates"


@pytest.fixture
def known(stub):
    """A server with one application and one template."""
    stub.on("GET", APPS, body={"applications": [ROW], "count": 1, "next_marker": 1})
    stub.on("GET", f"{APPS}/{ID}", body=SHOWN)
    stub.on("GET", TEMPLATES, body={"templates": [TEMPLATE], "count": 1, "next_marker": 1})
    stub.on("GET", f"{TEMPLATES}/t1", body=TEMPLATE | {"params": "[]", "template_guide": "Open it."})
    return stub


@pytest.mark.parametrize("template", ["notes", "t1"])
def test_an_application_is_made_with_its_parameters_and_shown(fgs, known, template):
    known.on("POST", APPS, body={"application_id": ID})

    ran = fgs("app", "create", "shop", "--template", template, "--param", "title=A=B", "--param", "x=", "--agency", "a")

    (sent,) = [one.json for one in known.seen if one.method == "POST"]
    assert sent == {
        "name": "shop",
        "template_id": "t1",
        "params": {"title": "A=B", "x": ""},
        "description": "",
        "agency_name": "a",
    }
    assert (ran.out, ran.err) == (TEXT, f"created shop ({ID})\n")


@pytest.mark.parametrize("pair", ["title", "=x", ""])
def test_a_parameter_that_is_none_is_refused(fgs, known, pair):
    ran = fgs("app", "create", "shop", "--template", "notes", "--param", pair)

    assert ran.code == 2
    assert f"--param '{pair}' is not NAME=VALUE" in ran.err


@pytest.mark.parametrize(
    ("words", "code"),
    [(("create", "shop", "--template", "none"), "FSS.1059"), (("show", "none"), "FSS.0404"),
     (("delete", "none", "-y"), "FSS.0404"), (("template", "show", "none"), "FSS.1059")],
)  # fmt: skip
def test_what_is_not_there_is_said(fgs, known, words, code):
    ran = fgs("app", *words)

    assert ran.code == 5
    assert code in ran.err
    assert "'none'" in ran.err


@pytest.mark.parametrize("name", ["shop", ID])
def test_an_application_is_shown(fgs, known, name):
    assert fgs("app", "show", name).out == TEXT
    assert fgs("app", "show", name, "-o", "json").json == SHOWN


def test_applications_and_templates_are_listed(fgs, known):
    assert fgs("app", "list", "-o", "name").out == "shop\n"
    assert fgs("app", "template", "list", "-o", "name").out == "notes\n"
    assert "Open it." in fgs("app", "template", "show", "notes", "-o", "table").out


def test_a_deletion_says_what_stays(fgs, known):
    known.on("DELETE", f"{APPS}/{ID}", 204, X_Cff_Warning="dependency-kept: shop-lib")

    ran = fgs("app", "delete", "shop", "-y")

    assert ran.out == "deleted shop\n"
    assert ran.err == "note: dependency-kept: shop-lib (other functions use it)\n"


def test_a_deletion_without_anybody_to_ask_deletes_nothing(fgs, known):
    ran = fgs("app", "delete", "shop")

    assert ran.code == 2
    assert {one.method for one in known.seen} == {"GET"}
