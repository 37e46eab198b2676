"""Read and replace code through the API."""

import base64
import io
import zipfile

import pytest

from funclet.services.limits import Limits
from tests.support.api import text_base64
from tests.support.packages import zip_base64, zip_of

OTHER = zip_base64({"index.py": "def handler(event, context): return 2"})


def put_code(api, urn="hello", **body):
    return api.send("PUT", f"/functions/{urn}/code", body)


def test_new_code_raises_the_revision_and_is_told(api):
    before = api.create().json
    api.clock.at += 60

    answer = put_code(api, code_type="zip", code_filename="new.zip", func_code={"file": OTHER})

    assert answer.status == 200
    assert (answer.json["digest"] != before["digest"], answer.json["code_filename"]) == (True, "new.zip")
    assert answer.json["func_code"]["file"] == OTHER
    assert answer.json["func_urn"] == before["func_urn"]
    assert answer.json["last_modified"] == "2026-09-21T14:14:20Z"
    assert (api.revision(), len(api.changes), api.config()["digest"]) == (2, 2, answer.json["digest"])


def test_the_same_code_again_is_200_and_changes_nothing(api):
    body = {"code_type": "zip", "code_filename": "index.zip", "func_code": {"file": OTHER}}
    before = api.create(**body).json
    api.clock.at += 60

    answer = put_code(api, **body)

    assert (answer.status, answer.json["digest"]) == (200, before["digest"])
    assert (api.revision(), len(api.changes), api.config()) == (1, 1, before)


def test_dependencies_alone_keep_the_code(api):
    before = api.create().json

    body = {"code_type": "zip", "code_url": "", "code_filename": "", "depend_version_list": []}
    answer = put_code(api, **body)

    assert (answer.status, answer.json["digest"], api.revision()) == (200, before["digest"], 1)


@pytest.mark.proves("error:FSS.1056")
def test_an_unknown_dependency_is_404(api):
    api.create()

    assert put_code(api, code_type="zip", depend_version_list=["x"]).error == (404, "FSS.1056")


@pytest.mark.proves("error:FSS.1006", "error:FSS.1012", "error:FSS.1078", "faq:FAQ-108")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "FSS.1006"),
        ({"code_type": "gz"}, 400, "FSS.1006"),
        ({"code_type": "gz", "func_code": {"file": OTHER}}, 400, "FSS.1006"),
        ({"code_type": "zip"}, 400, "FSS.1012"),
        ({"code_type": "zip", "func_code": {"file": ""}}, 400, "FSS.1012"),
        ({"code_type": "zip", "func_code": {"file": "%"}}, 400, "FSS.1011"),
        ({"code_type": "zip", "func_code": {"file": text_base64("x")}}, 400, "FSS.1011"),
        ({"code_type": "zip", "func_code": {"file": zip_base64({"../x": ""})}}, 400, "FSS.1011"),
        ({"code_type": "obs", "code_url": ""}, 400, "FSS.1010"),
        ({"code_type": "obs", "code_url": "http://169.254.169.254/x.zip"}, 400, "FSS.1010"),
        ({"code_type": "jar", "func_code": {"file": OTHER}}, 400, "FSS.1006"),
        ({"code_type": "zip", "code_filename": "a/b", "func_code": {"file": OTHER}}, 400, "FSS.1078"),
        ({"code_type": 1}, 400, "FSS.0400"),
    ],
)
def test_a_refused_upload_changes_nothing(api, body, status, code):
    before = api.create().json

    assert put_code(api, **body).error == (status, code)
    assert api.config() == before


@pytest.mark.proves("error:FSS.1015")
def test_code_of_a_published_version_is_frozen(api):
    urn = api.create().json["func_urn"].replace(":latest", ":v1")
    api.publish("v1")

    assert put_code(api, urn, code_type="zip", func_code={"file": OTHER}).error == (400, "FSS.1015")


def test_uploads_above_the_limit_are_413(new_api):
    size = len(zip_of({"a": "x" * 10}))
    api = new_api(limits=Limits(upload_bytes=size))
    content = {"file": zip_base64({"a": "x" * 10})}

    assert api.create(func_code=content).status == 200
    too_large = {"file": base64.b64encode(b"x" * (size + 1)).decode()}
    assert put_code(api, code_type="zip", func_code=too_large).error == (413, "FSS.1071")


@pytest.mark.proves("error:FSS.1042")
def test_a_larger_package_needs_room_in_the_quota(new_api):
    api = new_api(limits=Limits(code_bytes=400))
    api.create()

    big = zip_base64({str(number): "x" for number in range(10)})
    assert put_code(api, code_type="zip", func_code={"file": big}).error == (403, "FSS.1042")
    assert api.revision() == 1


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"code_type": "zip"}, "index.zip"),
        ({"code_type": "jar", "runtime": "Java11", "handler": "a.B.c"}, "index.jar"),
        ({"code_type": "inline", "func_code": {"file": text_base64("x = 1")}}, ""),
    ],
)
def test_a_package_without_a_name_gets_the_usual_one(api, fields, name):
    assert api.create(code_filename=None, **fields).json["code_filename"] == name


def test_base64_with_line_breaks_is_read(api):
    lines = base64.encodebytes(zip_of({"index.py": "x" * 500})).decode()

    assert api.create(func_code={"file": lines}).status == 200


def test_a_text_is_stored_as_an_archive_and_shown(api):
    api.create(code_type="inline", code_filename="index.py", func_code={"file": text_base64("x = 1")})

    shown = api.send("GET", "/functions/hello/code").json

    with zipfile.ZipFile(io.BytesIO(base64.b64decode(shown["func_code"]["file"]))) as archive:
        assert archive.read("index.py") == b"x = 1"
    assert (shown["code_type"], shown["code_filename"]) == ("inline", "index.py")


def test_without_code_the_sample_of_the_runtime_is_stored(api):
    created = api.create(func_code=None, handler="main.handler").json

    package = api.run(api.functions.read_code(created["digest"]))

    assert zipfile.ZipFile(io.BytesIO(package)).namelist() == ["main.py"]


@pytest.mark.proves("operation:DownloadCode")
def test_the_link_of_an_archive_gives_it_to_anybody_for_an_hour(api):
    content = zip_of({"index.py": "x"})
    api.create(func_code={"file": base64.b64encode(content).decode()})

    shown = api.send("GET", "/functions/hello/code").json["func_code"]

    assert shown["file"] == ""
    assert shown["link"].startswith("http://host:8000/v2/")
    assert api.send("GET", shown["link"]).body == content
    assert api.send("GET", shown["link"][:-1] + "x").error == (403, "FSS.0403")
    api.clock.at += 3601
    assert api.send("GET", shown["link"]).error == (403, "FSS.0403")


def test_an_image_function_has_no_code_to_show(api):
    image = {"custom_image": {"image": "reg/app:1"}, "handler": "-", "func_code": None}
    api.create(runtime="Custom Image", **image, code_type="obs")

    assert api.send("GET", "/functions/hello/code").json["func_code"] == {"file": "", "link": ""}


@pytest.mark.proves("error:FSS.1054")
def test_a_package_that_is_lost_is_404(api):
    digest = api.create().json["digest"]
    link = api.send("GET", "/functions/hello/code").json["func_code"]["link"]
    api.blobs.path(digest).unlink()

    assert api.send("GET", link).error == (404, "FSS.1054")


def test_what_cannot_become_a_package_is_not_stored(api):
    api.create(func_code={"file": zip_base64({"/abs": "x"})})

    assert api.send("GET", "/functions").json["count"] == 0
