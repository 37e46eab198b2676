"""Objects in the data folder, where buckets are that no connection stands for."""

import pytest

OBJECTS, OBJECT = "/v2/{p}/funclet/buckets/outcomes/objects", "/v2/{p}/funclet/buckets/outcomes/object"


def put(town, *keys, expires_s=0.0):
    for key in keys:
        body = f'{{"of": "{key}"}}'.encode()
        town.run(town.objects.put(town.project_id, "outcomes", key, body, metadata={}, expires_s=expires_s))


@pytest.mark.proves("operation:ListObjects")
def test_objects_are_listed_by_key_page_by_page(town):
    put(town, "b/2.json", "a.json", "b/1.json")
    put(town, "c.json", expires_s=60)

    first = town.done("GET", f"{OBJECTS}?limit=2")
    second = town.done("GET", f"{OBJECTS}?limit=2&marker={first['next_marker']}")

    assert [one["key"] for one in first["objects"]] == ["a.json", "b/1.json"]
    assert [one["key"] for one in second["objects"]] == ["b/2.json", "c.json"]
    assert first["objects"][0] == {
        "key": "a.json",
        "size": len('{"of": "a.json"}'),
        "written_at": "2023-11-14T22:13:20Z",
        "expires_at": None,
    }
    assert second["objects"][1]["expires_at"] == "2023-11-14T22:14:20Z"
    assert [one["key"] for one in town.done("GET", f"{OBJECTS}?prefix=b/")["objects"]] == ["b/1.json", "b/2.json"]
    assert town.done("GET", f"{OBJECTS}?marker=c.json") == {"objects": [], "next_marker": ""}
    assert town.done("GET", OBJECTS.replace("outcomes", "another"))["objects"] == []
    assert town.send("GET", OBJECTS.replace("outcomes", "No_Bucket")).status == 400


@pytest.mark.proves("operation:ShowObject")
@pytest.mark.parametrize("missing", ["none.json", "b", "../outcomes/a.json", "", "b//1.json"])
def test_an_object_is_read_by_its_key(town, missing):
    put(town, "a.json", "b/1.json")

    assert town.done("GET", f"{OBJECT}?key=b/1.json") == {"of": "b/1.json"}
    answer = town.send("GET", f"{OBJECT}?key={missing}")
    assert (answer.status, answer.json["error_code"]) == (404, "FSS.0404")
