"""`fgs connection`: what it sends, and that no secret is printed."""

import io

STORE = {
    "name": "store",
    "kind": "s3",
    "address": "https://s3.example.com",
    "region": "r-1",
    "user": "AK",
    "resources": ["*"],
    "created_at": "2026-03-17T10:13:22Z",
}
PATH = "/funclet/connections"
SET = ("connection", "set", "store", "--kind", "s3", "--address", "https://s3.example.com", "--user", "AK")


def test_set_sends_the_secret_of_the_file_and_prints_none(fgs, stub, tmp_path):
    stub.on("PUT", f"{PATH}/store", body=STORE)
    (tmp_path / "key").write_text("very secret\n")

    ran = fgs(*SET, "--secret-file", str(tmp_path / "key"), "--region", "r-1", "--resource", "one", "-vvv")

    assert stub.seen[-1].json == {
        "kind": "s3",
        "address": "https://s3.example.com",
        "user": "AK",
        "region": "r-1",
        "resources": ["one"],
        "secret": "very secret",
    }
    assert ran.out == "connected store to https://s3.example.com\n"
    assert "very secret" not in ran.out + ran.err


def test_set_reads_the_secret_from_stdin_and_stands_for_everything_unless_told(fgs, stub, monkeypatch):
    stub.on("PUT", f"{PATH}/store", body=STORE)
    monkeypatch.setattr("sys.stdin", io.StringIO("from stdin\n"))

    ran = fgs(*SET, "--secret-file", "-", "-o", "json")

    assert ran.json == STORE
    assert (stub.seen[-1].json["secret"], stub.seen[-1].json["resources"]) == ("from stdin", ["*"])


def test_a_secret_that_cannot_be_read_ends_the_command(fgs, stub):
    ran = fgs(*SET, "--secret-file", "missing")

    assert (ran.code, stub.seen) == (2, [])
    assert "missing" in ran.err


def test_list_shows_the_connections(fgs, stub):
    stub.on("GET", PATH, body={"connections": [STORE], "count": 1})

    assert "https://s3.example.com" in fgs("connection", "list").out
    assert fgs("connection", "list", "-o", "json").json == [STORE]


def test_test_says_what_is_wrong_and_fails(fgs, stub):
    stub.on("POST", f"{PATH}/store/test", body={"is_working": True, "problem": ""})
    stub.on("POST", f"{PATH}/store/test", body={"is_working": False, "problem": "403 SignatureDoesNotMatch"})

    assert fgs("connection", "test", "store").out == "store works\n"
    ran = fgs("connection", "test", "store")
    assert ran.code == 8
    assert "403 SignatureDoesNotMatch" in ran.err


def test_delete_asks_first(fgs, stub):
    stub.on("DELETE", f"{PATH}/store", status=204)

    assert fgs("connection", "delete", "store", "-y").out == "deleted connection store\n"
    assert stub.seen[-1].method == "DELETE"


def test_rotate_key_asks_the_server(fgs, stub):
    stub.on("POST", "/funclet/secret-key/rotate", status=204)

    assert fgs("connection", "rotate-key").out == "secrets are encrypted with a new key\n"
