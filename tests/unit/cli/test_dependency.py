"""`fgs dependency`: how one is named, and what is sent."""

import base64
import io
import zipfile

import pytest

ID, DEP_ID = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
ROW = {
    "id": ID,
    "dep_id": DEP_ID,
    "name": "pillow",
    "version": 2,
    "runtime": "Python3.10",
    "size": 7,
    "owner": "d" * 32,
    "description": "",
}
LIST = "/fgs/dependencies"


@pytest.fixture
def known(stub):
    """A server with two dependencies whose names begin alike, one of which somebody else shares too."""
    shared = ROW | {"dep_id": "33333333-3333-3333-3333-333333333333", "owner": "public", "version": 9}
    longer = ROW | {"name": "pillow-simd", "dep_id": "44444444-4444-4444-4444-444444444444"}
    rows = [row | {"id": row["dep_id"]} for row in (shared, longer, ROW)]
    stub.on("GET", LIST, body={"dependencies": rows, "count": 3, "next_marker": 3})
    stub.on("GET", f"{LIST}/{DEP_ID}/version/2", body=ROW)
    stub.on("GET", f"{LIST}/{DEP_ID}/version/1", body=ROW | {"version": 1})
    stub.on("GET", f"{LIST}/{ID}", body=ROW)
    return stub


@pytest.mark.parametrize(("name", "version"), [("pillow", 2), ("pillow@2", 2), ("pillow@1", 1), (ID, 2)])
def test_a_name_means_the_newest_version_of_ones_own(fgs, known, name, version):
    assert fgs("dependency", "show", name, "-o", "json").json["version"] == version


@pytest.mark.parametrize(("name", "code"), [("pill", 5), ("@1", 2), ("pillow@x", 2), ("pillow@", 2)])
def test_what_names_nothing_is_said(fgs, known, name, code):
    ran = fgs("dep", "show", name)

    assert ran.code == code
    assert name in ran.err or "pill" in ran.err


def test_a_folder_is_packed_and_sent(fgs, stub, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "greeting.py").write_text("TEXT = 1")
    stub.on("POST", f"{LIST}/version", body=ROW)

    ran = fgs("dependency", "create", "pillow", str(tmp_path / "lib"), "--runtime", "Python3.10", "--description", "d")

    sent = stub.seen[-1].json
    assert (sent["name"], sent["runtime"], sent["depend_type"], sent["description"]) == (
        "pillow",
        "Python3.10",
        "zip",
        "d",
    )
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(sent["depend_file"]))) as archive:
        assert archive.namelist() == ["greeting.py"]
    assert ran.out == f"created pillow@2 ({ID})\n"


@pytest.mark.parametrize("link", ["obs://packages/a.zip", "https://packages.example.com/a.zip", "S3://b/k"])
def test_a_link_is_sent_as_it_is(fgs, stub, link):
    stub.on("POST", f"{LIST}/version", body=ROW)

    fgs("dependency", "create", "pillow", link, "--runtime", "Python3.10")

    assert (stub.seen[-1].json["depend_type"], stub.seen[-1].json["depend_link"]) == ("obs", link)


def test_a_folder_that_is_not_there_ends_the_command(fgs, stub):
    ran = fgs("dependency", "create", "pillow", "missing", "--runtime", "Python3.10")

    assert (ran.code, stub.seen) == (13, [])


@pytest.mark.parametrize(("name", "path"), [("pillow", DEP_ID), ("pillow@2", ID), (ID, ID)])
def test_a_version_or_all_of_them_are_deleted(fgs, known, name, path):
    known.on("DELETE", f"{LIST}/{path}", status=204)

    ran = fgs("dependency", "delete", name, "-y")

    assert ran.code == 0, ran.err
    assert known.seen[-1].method == "DELETE"
    assert ("all its versions" in ran.out) == (name == "pillow")


@pytest.mark.parametrize(("flags", "is_public"), [((), True), (("--off",), False)])
def test_sharing_is_turned_on_and_off(fgs, known, flags, is_public):
    known.on("PUT", f"/funclet/dependencies/{DEP_ID}/sharing", body=ROW | {"is_shared": is_public})

    fgs("dependency", "share", "pillow", *flags)

    assert known.seen[-1].json == {"is_public": is_public}


def test_lists_are_filtered_by_the_server(fgs, stub):
    stub.on("GET", LIST, body={"dependencies": [ROW], "count": 1, "next_marker": 1})
    stub.on("GET", f"{LIST}/{DEP_ID}/version", body={"dependencies": [ROW], "count": 1, "next_marker": 1})

    assert "pillow" in fgs("dependency", "list", "--public", "--runtime", "Python3.10", "--filter", "pil").out
    query = stub.seen[-1].query
    assert all(part in query for part in ("dependency_type=public", "runtime=Python3.10", "name=pil"))


def test_versions_are_listed(fgs, known):
    known.on("GET", f"{LIST}/{DEP_ID}/version", body={"dependencies": [ROW, ROW | {"version": 1}], "count": 2})

    rows = fgs("dependency", "versions", "pillow", "-o", "json").json

    assert [row["version"] for row in rows] == [2, 1]
