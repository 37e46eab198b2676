"""Dependencies through the API: versions, lists, visibility, use by functions, and every refusal."""

import base64
import hashlib
import io
import random
import zipfile

import pytest

from funclet.services.limits import Limits
from tests.support import hostile
from tests.support.api import OTHER_PROJECT, PROJECT
from tests.support.packages import zip_of

MIB = 1024 * 1024
ARCHIVE = zip_of({"greeting.py": "TEXT = 1"})
OTHER_ARCHIVE = zip_of({"greeting.py": "TEXT = 2"})


def body_of(name="lib", archive=ARCHIVE, **fields):
    """Return a body of `CreateDependencyVersion`; a field that is None is left out."""
    body = {
        "name": name,
        "runtime": "Python3.10",
        "depend_type": "zip",
        "depend_file": base64.b64encode(archive).decode(),
    } | fields
    return {key: value for key, value in body.items() if value is not None}


def stored(files):
    """Return an archive that is as large as its content and a frame."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def create(api, name="lib", archive=ARCHIVE, **fields):
    answer = api.send("POST", "/dependencies/version", body_of(name, archive, **fields))
    assert answer.status == 200, answer.json
    return answer.json


def share(api, dependency_id, *, is_public=True):
    url = f"http://host:8000/v2/{PROJECT.project_id}/funclet/dependencies/{dependency_id}/sharing"
    return api.send("PUT", url, {"is_public": is_public})


def listed(api, query=""):
    return api.send("GET", f"/dependencies{query}").json


# Creating


@pytest.mark.proves("operation:CreateDependencyVersion", "faq:FAQ-425")
def test_the_first_version_is_1_and_the_next_of_the_same_name_2(api):
    first = create(api, description="größer")
    api.clock.at += 60
    second = create(api, archive=OTHER_ARCHIVE)

    link = first.pop("link")
    assert first == {
        "id": first["id"],
        "dep_id": first["dep_id"],
        "owner": PROJECT.domain_id,
        "runtime": "Python3.10",
        "etag": hashlib.md5(ARCHIVE, usedforsecurity=False).hexdigest(),
        "size": len(ARCHIVE),
        "name": "lib",
        "description": "größer",
        "file_name": "lib.zip",
        "version": 1,
        "last_modified": 1_790_000_000,
    }
    assert api.send("GET", link).body == ARCHIVE
    assert (second["version"], second["dep_id"], second["description"]) == (2, first["dep_id"], "")
    assert second["id"] != first["id"]


def test_a_number_is_not_used_again(api):
    dependency_id = create(api)["dep_id"]
    create(api, archive=OTHER_ARCHIVE)
    api.send("DELETE", f"/dependencies/{dependency_id}/version/2")

    assert create(api)["version"] == 3


@pytest.mark.proves("operation:CreateDependency")
def test_the_older_operation_creates_what_its_id_finds_again(api):
    created = api.send("POST", "/dependencies", body_of()).json

    assert api.send("GET", f"/dependencies/{created['id']}").json["dep_id"] == created["dep_id"]


@pytest.mark.proves("quota:dependency-name")
@pytest.mark.parametrize("name", ["a", "a1", "A_b.c-d9", "a" * 96])
def test_names_that_a_dependency_may_have(api, name):
    assert create(api, name)["name"] == name


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        pytest.param({"depend_type": None}, 400, "FSS.1032", marks=pytest.mark.proves("error:FSS.1032")),
        ({"depend_type": ""}, 400, "FSS.1032"),
        ({"depend_type": "swr"}, 400, "FSS.1032"),
        ({"depend_type": "ZIP"}, 400, "FSS.1032"),
        ({"depend_type": 1}, 400, "FSS.0400"),
        ({"runtime": None}, 400, "FSS.1005"),
        ({"runtime": ""}, 400, "FSS.1005"),
        ({"runtime": "Python4"}, 400, "FSS.1005"),
        ({"runtime": ["Python3.9"]}, 400, "FSS.0400"),
        pytest.param({"name": None}, 400, "FSS.1024", marks=pytest.mark.proves("error:FSS.1024")),
        ({"name": ""}, 400, "FSS.1024"),
        ({"name": "1a"}, 400, "FSS.1024"),
        ({"name": "a-"}, 400, "FSS.1024"),
        ({"name": "a b"}, 400, "FSS.1024"),
        ({"name": "a/b"}, 400, "FSS.1024"),
        ({"name": "ü"}, 400, "FSS.1024"),
        ({"name": "a" * 97}, 400, "FSS.1024"),
        ({"name": {}}, 400, "FSS.0400"),
        ({"depend_file": None}, 400, "FSS.1024"),
        ({"depend_file": ""}, 400, "FSS.1024"),
        ({"depend_file": "%%%"}, 400, "FSS.1024"),
        ({"depend_file": base64.b64encode(b"no archive").decode()}, 400, "FSS.1024"),
        ({"depend_file": 5}, 400, "FSS.0400"),
        ({"description": "x" * 513}, 400, "FSS.1019"),
        ({"description": 5}, 400, "FSS.0400"),
        ({"depend_type": "obs", "depend_link": None}, 400, "FSS.1010"),
        ({"depend_type": "obs", "depend_link": ""}, 400, "FSS.1010"),
        ({"depend_type": "obs", "depend_link": "https://bucket.example/a.zip"}, 400, "FSS.1010"),
        ({"depend_type": "obs", "depend_link": "file:///etc/passwd"}, 400, "FSS.1010"),
        ({"depend_type": "obs", "depend_link": 5}, 400, "FSS.0400"),
    ],
)
def test_create_refuses(api, fields, status, code):
    assert api.send("POST", "/dependencies/version", body_of(**{"name": "lib"} | fields)).error == (status, code)
    assert listed(api)["count"] == 0


def test_unknown_members_are_ignored_and_null_means_not_set(api):
    assert create(api, unknown={"x": 1}, depend_link=None, description=None)["version"] == 1


@pytest.mark.parametrize("name", hostile.archives())
def test_an_archive_that_must_not_be_unpacked(api, name):
    answer = api.send("POST", "/dependencies/version", body_of(archive=hostile.archives()[name]))

    assert answer.error == (400, "FSS.1024")
    assert listed(api)["count"] == 0


@pytest.mark.proves("error:FSS.1065")
def test_a_name_belongs_to_one_runtime(api):
    create(api)

    answer = api.send("POST", "/dependencies/version", body_of(runtime="Node.js18.15"))

    assert answer.error == (409, "FSS.1065")
    assert "Python3.10" in answer.json["error_msg"]


@pytest.mark.proves("error:FSS.1071", "quota:dependency-size", "faq:FAQ-422")
def test_an_upload_has_40_mb_at_most(api):
    noise = random.Random(1).randbytes(40 * MIB)
    frame = len(stored({"noise": b""}))
    largest = stored({"noise": noise[: 40 * MIB - frame]})
    assert len(largest) == 40 * MIB

    assert create(api, archive=largest)["size"] == 40 * MIB
    too_large = stored({"noise": noise[: 40 * MIB - frame + 1]})
    assert api.send("POST", "/dependencies/version", body_of(archive=too_large)).error == (413, "FSS.1071")


@pytest.mark.proves("quota:dependency-files", "faq:FAQ-422")
def test_an_archive_has_30000_files_at_most(api):
    names = [str(number) for number in range(30_001)]

    create(api, archive=stored(dict.fromkeys(names[:-1], b"")))
    answer = api.send("POST", "/dependencies/version", body_of(archive=stored(dict.fromkeys(names, b""))))
    assert answer.error == (400, "FSS.1024")
    assert "30000" in answer.json["error_msg"]


@pytest.mark.proves("faq:FAQ-422")
def test_no_name_in_an_archive_ends_with_a_tilde(api):
    answer = api.send("POST", "/dependencies/version", body_of(archive=zip_of({"a/b~": ""})))

    assert answer.error == (400, "FSS.1024")


@pytest.mark.proves("error:FSS.1045")
@pytest.mark.parametrize(
    "limits",
    [Limits(dependencies=1), Limits(dependency_bytes=len(ARCHIVE) * 2 - 1)],
)
def test_a_project_has_so_many_dependencies(new_api, limits):
    api = new_api(limits=limits)
    create(api)

    assert api.send("POST", "/dependencies/version", body_of("other")).error == (403, "FSS.1045")
    assert listed(api)["count"] == 1


def test_a_dependency_has_so_many_versions(new_api):
    api = new_api(limits=Limits(dependency_versions=2))
    create(api)
    create(api)

    assert api.send("POST", "/dependencies/version", body_of()).error == (403, "FSS.1045")
    assert create(api, "other")["version"] == 1


# Reading


@pytest.mark.proves("operation:ShowDependencyVersion", "operation:ShowDependency")
def test_a_version_is_shown_with_a_link_to_its_archive(api):
    created = create(api)

    shown = api.send("GET", f"/dependencies/{created['dep_id']}/version/1").json

    assert api.send("GET", shown.pop("download_link")).body == ARCHIVE
    assert shown == {**created, "link": shown["link"], "is_shared": False}
    create(api, archive=OTHER_ARCHIVE)
    assert api.send("GET", f"/dependencies/{created['id']}").json["version"] == 1
    assert api.send("GET", f"/dependencies/{created['dep_id']}").json["version"] == 2


@pytest.mark.proves("error:FSS.1056")
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "/nowhere"),
        ("GET", "/nowhere/version"),
        ("GET", "/nowhere/version/1"),
        ("GET", "/{id}/version/1"),
        ("GET", "/{dep_id}/version/2"),
        ("GET", "/{dep_id}/version/0"),
        ("DELETE", "/nowhere"),
        ("DELETE", "/nowhere/version/1"),
        ("DELETE", "/{dep_id}/version/2"),
    ],
)
def test_what_does_not_exist(api, method, rest):
    created = create(api)

    assert api.send(method, "/dependencies" + rest.format(**created)).error == (404, "FSS.1056")
    assert listed(api)["count"] == 1


@pytest.mark.parametrize("version", ["latest", "-1", "1.0", "x", "9" * 30, "%F0%9F%98%80"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_version_is_a_number(api, method, version):
    created = create(api)

    assert api.send(method, f"/dependencies/{created['dep_id']}/version/{version}").error == (400, "FSS.0400")


@pytest.mark.proves("operation:ListDependencies")
def test_a_list_has_a_row_for_each_dependency_with_its_newest_version(api):
    one = create(api, "one")
    api.clock.at += 60
    create(api, "two", runtime="Node.js18.15")
    api.clock.at += 60
    create(api, "one", archive=OTHER_ARCHIVE)

    rows = listed(api)["dependencies"]

    assert [(row["name"], row["version"]) for row in rows] == [("one", 2), ("two", 1)]
    assert rows[0]["id"] == one["dep_id"]


def test_a_list_pages_and_ends_with_an_empty_page(api):
    for name in ("a", "b", "c"):
        create(api, name)
        api.clock.at += 60

    assert [row["name"] for row in listed(api, "?maxitems=2")["dependencies"]] == ["c", "b"]
    second = listed(api, "?limit=2&marker=2")
    assert ([row["name"] for row in second["dependencies"]], second["next_marker"], second["count"]) == (["a"], 3, 3)
    assert listed(api, "?marker=3") == {"dependencies": [], "next_marker": 3, "count": 3}
    assert len(listed(api, "?maxitems=0")["dependencies"]) == 3


@pytest.mark.parametrize(
    "query",
    ["?marker=x", "?maxitems=x", "?limit=-1", "?marker=-1", "?marker=1.5", "?dependency_type=mine"],
)
def test_a_list_refuses(api, query):
    assert api.send("GET", f"/dependencies{query}").error == (400, "FSS.1001")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"mine", "shared", "theirs"}),
        ("?dependency_type=all", {"mine", "shared", "theirs"}),
        ("?dependency_type=private", {"mine", "shared"}),
        ("?dependency_type=public", {"shared", "theirs"}),
        ("?ispublic=true", {"shared", "theirs"}),
        ("?ispublic=false", {"mine", "shared"}),
        ("?name=hare", {"shared"}),
        ("?name=%25", set()),
        ("?runtime=Node.js18.15", {"theirs"}),
        ("?runtime=Node.js", set()),
    ],
)
def test_a_list_filters(api, query, names):
    api.act_as(OTHER_PROJECT)
    theirs = create(api, "theirs", runtime="Node.js18.15")
    create(api, "hidden")
    url = f"http://host:8000/v2/{OTHER_PROJECT.project_id}/funclet/dependencies/{theirs['dep_id']}/sharing"
    api.send("PUT", url, {"is_public": True})
    api.act_as(PROJECT)
    create(api, "mine")
    share(api, create(api, "shared")["dep_id"])

    answer = listed(api, query)

    assert {row["name"] for row in answer["dependencies"]} == names
    assert answer["count"] == len(names)


@pytest.mark.proves("operation:ListDependencyVersion")
def test_the_versions_of_a_dependency_are_listed_newest_first(api):
    dependency_id = create(api)["dep_id"]
    create(api, archive=OTHER_ARCHIVE)

    answer = api.send("GET", f"/dependencies/{dependency_id}/version").json
    second = api.send("GET", f"/dependencies/{dependency_id}/version?maxitems=1&marker=1").json

    assert [row["version"] for row in answer["dependencies"]] == [2, 1]
    assert (answer["count"], answer["next_marker"]) == (2, 2)
    assert [row["version"] for row in second["dependencies"]] == [1]


# Visibility


def test_another_project_sees_and_names_nothing(api):
    created = create(api)
    api.act_as(OTHER_PROJECT)

    assert listed(api)["count"] == 0
    for rest in ("/{id}", "/{dep_id}", "/{dep_id}/version", "/{dep_id}/version/1"):
        path = "/dependencies" + rest.format(**created)
        assert api.send("GET", path).error == (404, "FSS.1056")
        if rest != "/{dep_id}/version":
            assert api.send("DELETE", path).error == (404, "FSS.1056")
    assert api.send("PUT", f"/dependencies/{created['id']}", body_of()).error == (404, "FSS.1056")
    assert api.create(depend_version_list=[created["id"]]).error == (404, "FSS.1056")


@pytest.mark.proves("error:FSS.1046", "operation:ShareDependency")
def test_a_public_dependency_is_used_by_all_and_changed_by_its_owner_only(api):
    created = create(api)
    assert share(api, created["dep_id"]).json["is_shared"] is True
    api.act_as(OTHER_PROJECT)

    (row,) = listed(api)["dependencies"]
    assert (row["name"], row["owner"]) == ("lib", "public")
    assert api.create(depend_version_list=[created["id"]]).json["depend_version_list"] == [created["id"]]
    assert api.send("PUT", f"/dependencies/{created['id']}", body_of()).error == (403, "FSS.1046")
    assert api.send("DELETE", f"/dependencies/{created['dep_id']}").error == (403, "FSS.1046")
    assert api.send("DELETE", f"/dependencies/{created['dep_id']}/version/1").error == (403, "FSS.1046")


@pytest.mark.proves("operation:ShareDependency")
def test_what_others_use_stays_public(api):
    created = create(api)
    share(api, created["dep_id"])
    api.act_as(OTHER_PROJECT)
    api.create(depend_version_list=[created["id"]])
    api.act_as(PROJECT)

    assert share(api, created["dep_id"], is_public=False).error == (412, "FSS.1033")
    answer = api.send("DELETE", f"/dependencies/{created['dep_id']}")
    assert answer.error == (412, "FSS.1033")
    assert "hello" not in answer.json["error_msg"]

    api.act_as(OTHER_PROJECT)
    api.send("DELETE", "/functions/hello")
    api.act_as(PROJECT)
    assert share(api, created["dep_id"], is_public=False).json["is_shared"] is False


@pytest.mark.parametrize("body", [{}, {"is_public": None}, {"is_public": "true"}])
def test_sharing_needs_a_boolean(api, body):
    url = f"http://host:8000/v2/{PROJECT.project_id}/funclet/dependencies/{create(api)['dep_id']}/sharing"

    assert api.send("PUT", url, body).error == (400, "FSS.0400")


# Deleting


@pytest.mark.proves("operation:DeleteDependencyVersion")
def test_with_its_last_version_a_dependency_goes(api):
    dependency_id = create(api)["dep_id"]
    create(api, archive=OTHER_ARCHIVE)

    assert api.send("DELETE", f"/dependencies/{dependency_id}/version/2").status == 204
    assert [row["version"] for row in listed(api)["dependencies"]] == [1]
    assert api.send("DELETE", f"/dependencies/{dependency_id}/version/1").status == 204
    assert listed(api)["count"] == 0


@pytest.mark.proves("operation:DeleteDependency")
def test_the_older_operation_deletes_a_version_or_all(api):
    first = create(api)
    create(api, archive=OTHER_ARCHIVE)

    assert api.send("DELETE", f"/dependencies/{first['id']}").status == 204
    assert [row["version"] for row in listed(api)["dependencies"]] == [2]
    create(api)
    assert api.send("DELETE", f"/dependencies/{first['dep_id']}").status == 204
    assert listed(api)["count"] == 0


@pytest.mark.proves("error:FSS.1033")
def test_what_a_function_uses_is_not_deleted(api):
    created = create(api)
    create(api, archive=OTHER_ARCHIVE)
    api.create(depend_version_list=[created["id"]])

    for rest in ("/{id}", "/{dep_id}", "/{dep_id}/version/1"):
        answer = api.send("DELETE", "/dependencies" + rest.format(**created))
        assert answer.error == (412, "FSS.1033")
        assert "hello" in answer.json["error_msg"]
    assert api.send("GET", f"/dependencies/{created['dep_id']}/version").json["count"] == 2


def test_a_published_version_holds_its_dependencies(api):
    created = create(api)
    api.create(depend_version_list=[created["id"]])
    api.publish("v1")
    api.send("PUT", "/functions/hello/code", {"code_type": "zip", "depend_version_list": []})

    assert api.send("DELETE", f"/dependencies/{created['id']}").error == (412, "FSS.1033")
    api.send("DELETE", f"/functions/urn:fss:test-1:{PROJECT.project_id}:function:default:hello:v1")
    assert api.send("DELETE", f"/dependencies/{created['id']}").status == 204


# Changing in place


@pytest.mark.proves("operation:UpdateDependency")
def test_a_change_in_place_keeps_id_and_number(api):
    created = create(api)
    api.clock.at += 60

    changed = api.send("PUT", f"/dependencies/{created['id']}", body_of("renamed", OTHER_ARCHIVE, description="d")).json

    kept = ("id", "dep_id", "version", "owner", "runtime")
    assert {key: changed[key] for key in kept} == {key: created[key] for key in kept}
    assert (changed["name"], changed["description"], changed["size"]) == ("renamed", "d", len(OTHER_ARCHIVE))
    assert api.send("GET", changed["download_link"]).body == OTHER_ARCHIVE
    assert [row["name"] for row in listed(api)["dependencies"]] == ["renamed"]


def test_without_an_archive_it_stays(api):
    created = create(api)

    changed = api.send("PUT", f"/dependencies/{created['id']}", body_of(depend_file=None, description="new")).json

    assert (changed["etag"], changed["description"]) == (created["etag"], "new")


def test_a_new_archive_makes_latest_a_new_revision_and_leaves_published_versions(api):
    created = create(api)
    api.create(depend_version_list=[created["id"]])
    api.publish("v1")
    api.changes.clear()

    api.send("PUT", f"/dependencies/{created['id']}", body_of(archive=OTHER_ARCHIVE))

    assert api.revision() == 2
    assert api.changes == [(PROJECT.project_id, "default", "hello")]
    assert api.publish("v2").status == 200  # what runs has changed
    digests = api.run(api.store.read(lambda tx: tx.functions.code_digests()))
    assert len(digests) == 3  # the code, and both archives


def test_a_change_of_the_text_leaves_functions_alone(api):
    created = create(api)
    api.create(depend_version_list=[created["id"]])
    api.changes.clear()

    api.send("PUT", f"/dependencies/{created['id']}", body_of(description="only this"))

    assert (api.revision(), api.changes) == (1, [])


def test_a_name_in_use_cannot_be_taken(api):
    create(api, "taken")
    created = create(api)

    assert api.send("PUT", f"/dependencies/{created['id']}", body_of("taken")).error == (409, "FSS.1065")


def test_the_runtime_changes_only_while_nobody_uses_it(api):
    created = create(api)
    other = body_of(runtime="Python3.9")
    api.create(depend_version_list=[created["id"]])

    assert api.send("PUT", f"/dependencies/{created['id']}", other).error == (412, "FSS.1033")
    api.send("DELETE", "/functions/hello")
    assert api.send("PUT", f"/dependencies/{created['id']}", other).json["runtime"] == "Python3.9"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"depend_type": None}, 400, "FSS.1032"),
        ({"runtime": None}, 400, "FSS.1005"),
        ({"name": ""}, 400, "FSS.1024"),
        ({"depend_file": "%%%"}, 400, "FSS.1024"),
        ({"description": "x" * 513}, 400, "FSS.1019"),
        ({"depend_type": "obs", "depend_link": "https://bucket.example/a.zip"}, 400, "FSS.1010"),
    ],
)
def test_a_refused_change_changes_nothing(api, fields, status, code):
    created = create(api)

    assert api.send("PUT", f"/dependencies/{created['id']}", body_of(**{"name": "lib"} | fields)).error == (
        status,
        code,
    )
    assert api.send("GET", f"/dependencies/{created['id']}").json["etag"] == created["etag"]


# Functions that use them


@pytest.mark.parametrize("how", ["create", "code", "config"])
def test_a_function_shows_its_dependencies_in_their_order(api, how):
    first, second = create(api, "first"), create(api, "second")
    ids = [second["id"], first["id"]]
    if how == "create":
        api.create(depend_version_list=ids)
    else:
        api.create()
        body = {"func_name": "hello", "code_type": "zip", "depend_version_list": ids}
        assert api.send("PUT", f"/functions/hello/{how}", body).status == 200

    for answer in (api.config(), api.send("GET", "/functions/hello/code").json, api.publish("v1").json):
        assert answer["depend_version_list"] == ids
        assert answer["depend_list"] == [second["dep_id"], first["dep_id"]]
        assert [one["name"] for one in answer["dependencies"]] == ["second", "first"]
    for rest, rows in (("", "functions"), ("/hello/versions", "versions")):
        answer = api.send("GET", f"/functions{rest}").json[rows]
        assert {tuple(row["depend_version_list"]) for row in answer} == {tuple(ids)}


@pytest.mark.parametrize("how", ["create", "code", "config"])
def test_older_clients_name_dependencies_in_another_list(api, how):
    created, other = create(api), create(api, "other")
    api.create(depend_list=[created["dep_id"]] if how == "create" else None)
    if how != "create":
        body = {"func_name": "hello", "code_type": "zip", "depend_list": [created["dep_id"]]}
        api.send("PUT", f"/functions/hello/{how}", body)

    assert api.config()["depend_version_list"] == [created["id"]]
    both = {"code_type": "zip", "depend_list": [created["dep_id"]], "depend_version_list": [other["id"]]}
    assert api.send("PUT", "/functions/hello/code", both).json["depend_version_list"] == [other["id"]]
    assert api.send("PUT", "/functions/hello/code", {"code_type": "zip", "depend_list": []}).json["depend_list"] == []


def test_the_id_of_a_dependency_stands_for_its_newest_version(api):
    dependency_id = create(api)["dep_id"]
    newest = create(api, archive=OTHER_ARCHIVE)

    assert api.create(depend_version_list=[dependency_id]).json["depend_version_list"] == [newest["id"]]


def test_other_settings_keep_the_dependencies(api):
    created = create(api)
    api.create(depend_version_list=[created["id"]])

    api.update(description="new")
    api.send("PUT", "/functions/hello/code", {"code_type": "inline", "func_code": {"file": "cHJpbnQoKQ=="}})

    assert api.config()["depend_version_list"] == [created["id"]]
    assert api.revision() == 2


@pytest.mark.parametrize("empty", [[], None])
def test_an_empty_list_takes_them_away(api, empty):
    api.create(depend_version_list=[create(api)["id"]])

    answer = api.send("PUT", "/functions/hello/code", {"code_type": "zip", "depend_version_list": empty})

    assert (answer.json["depend_version_list"], api.revision()) == ([], 2)


@pytest.mark.proves("error:FSS.0424")
@pytest.mark.parametrize(
    ("of_dependency", "of_function", "fit"),
    [
        ("Python3.10", "Python3.10", True),
        ("Python3.9", "Python3.12", True),
        ("Node.js18.15", "Node.js20.15", True),
        ("Custom", "Python3.10", True),
        ("Node.js18.15", "Python3.10", False),
        ("Python3.10", "Node.js18.15", False),
        ("Java8", "Node.js18.15", False),
    ],
)
def test_a_dependency_must_be_of_the_language(api, of_dependency, of_function, fit):
    created = create(api, runtime=of_dependency)

    answer = api.create(runtime=of_function, depend_version_list=[created["id"]])

    assert answer.status == 200 if fit else answer.error == (424, "FSS.0424")


@pytest.mark.parametrize(
    ("ids", "status", "code"),
    [
        (["x"], 404, "FSS.1056"),
        ([""], 404, "FSS.1056"),
        (["{id}", "x"], 404, "FSS.1056"),
        (["{id}", "{id}"], 400, "FSS.1024"),
        (["{id}", "{dep_id}"], 400, "FSS.1024"),
        (["x"] * 21, 400, "FSS.1024"),
        ("{id}", 400, "FSS.0400"),
        ([1], 400, "FSS.0400"),
        ([None], 400, "FSS.0400"),
        ({"a": 1}, 400, "FSS.0400"),
    ],
)
@pytest.mark.parametrize("how", ["create", "code", "config"])
def test_a_list_of_dependencies_that_cannot_be(api, how, ids, status, code):
    created = create(api)
    wanted = [one.format(**created) if isinstance(one, str) else one for one in ids] if isinstance(ids, list) else ids
    if how == "create":
        answer = api.create(depend_version_list=wanted)
    else:
        api.create()
        body = {"func_name": "hello", "code_type": "zip", "depend_version_list": wanted}
        answer = api.send("PUT", f"/functions/hello/{how}", body)
        assert (api.config()["depend_version_list"], api.revision()) == ([], 1)

    assert answer.error == (status, code)


@pytest.mark.proves("quota:dependencies-of-a-function")
def test_a_function_has_20_dependencies(api):
    ids = [create(api, f"lib{number}")["id"] for number in range(21)]

    assert api.create(depend_version_list=ids[:20]).json["depend_version_list"] == ids[:20]
    assert api.create("more", depend_version_list=ids).error == (400, "FSS.1024")
