"""What is in the log of a function whose log is on or off, on a real server: of requests, starts and ends."""

import base64
import tempfile
from pathlib import Path

import pytest

from tests.support.server import ServerProcess
from tests.support.waiting import eventually

LOUD = """
print("while it is loaded")

def handler(event, context):
    print("handled", event["word"])
    if event.get("fails"):
        raise ValueError("no")
    return "done"

def stop(context):
    print("stopping")
"""
BROKEN = "import not_there\n\ndef handler(event, context):\n    return 1\n"


@pytest.fixture(scope="module")
def quick(scratch):
    """A server whose instances end soon."""
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    folder.chmod(0o755)
    running = ServerProcess(folder, "--idle-release-s", "1").start()
    yield running
    running.stop()


def kept(server, urn, **filters):
    """Return the texts in the log of a function."""
    return [record["text"] for record in server.client.logs(urn, **filters)]


def is_kept_now(server, urn):
    return server.client.send("GET", f"/funclet/functions/{urn}/logs")["enabled"]


def switched(server, urn, **settings):
    server.client.update_config(urn, {"func_name": urn.split(":")[6], **settings})


def test_the_log_of_a_function_that_is_off_stays_empty_and_callers_still_get_theirs(quick):
    urn = quick.deploy("log-off", LOUD, enable_lts_log=False, pre_stop_handler="index.stop", pre_stop_timeout=2)

    answer = quick.invoke(urn, {"word": "one"}, **{"X-Cff-Log-Type": "tail"})
    failed = quick.invoke(urn, {"word": "two", "fails": True})
    eventually(lambda: not quick.instances(), within_s=15, because="its instance has ended")

    assert "handled one" in base64.b64decode(answer.headers["x-cff-function-log"]).decode()
    assert failed.headers["x-func-err-code"] != "0"
    assert (kept(quick, urn), is_kept_now(quick, urn)) == ([], False)


def test_starts_that_fail_are_not_kept_either(quick):
    urn = quick.deploy("log-off-broken", BROKEN, enable_lts_log=False)

    assert quick.invoke(urn, {}).headers["x-func-err-code"] != "0"
    assert kept(quick, urn) == []


def test_what_was_kept_stays_when_the_log_is_switched_off_and_more_comes_when_it_is_on_again(quick):
    urn = quick.deploy("log-changed", LOUD)
    for word, is_on in (("first", True), ("second", False), ("third", True)):
        switched(quick, urn, enable_lts_log=is_on)
        quick.invoke(urn, {"word": word})

    texts = "".join(kept(quick, urn))

    assert ("handled first" in texts, "handled second" in texts, "handled third" in texts) == (True, False, True)
    assert is_kept_now(quick, urn) is True


def test_requests_of_a_function_that_is_off_are_counted(quick):
    urn = quick.deploy("log-off-counted", LOUD, enable_lts_log=False)
    for _ in range(3):
        quick.invoke(urn, {"word": "x"})

    def counted():
        answer = quick.client.send("GET", f"/fgs/functions/{urn}/statistics/30")
        return sum(slot["value"] for slot in answer["count"] if slot["value"] > 0)

    eventually(lambda: counted() == 3, within_s=15, because="three requests are counted")


def test_each_version_has_its_own_switch(quick):
    urn = quick.deploy("log-versions", LOUD)
    quick.client.send("POST", f"/fgs/functions/{urn}/versions", {"version": "v1"})
    switched(quick, urn, enable_lts_log=False)

    quick.invoke(urn, {"word": "latest"})
    quick.invoke(urn.replace(":latest", ":v1"), {"word": "published"})

    assert {record["version"] for record in quick.client.logs(urn)} == {"v1"}


@pytest.mark.proves("quota:log-tags")
def test_records_have_the_tags_of_their_function_and_are_found_by_them(quick):
    urn = quick.deploy("log-tags", LOUD, lts_custom_tag={"team": "a", "stage": "one"})
    quick.invoke(urn, {"word": "one"})
    switched(quick, urn, lts_custom_tag={"team": "a", "stage": "two"})
    quick.invoke(urn, {"word": "two"})

    assert [record["tags"] for record in quick.client.logs(urn)] == [
        {"team": "a", "stage": "one"},
        {"team": "a", "stage": "two"},
    ]
    assert len(kept(quick, urn, tag="team=a")) == 2
    (found,) = kept(quick, urn, tag="team=a,stage=two")
    assert "handled two" in found
    assert kept(quick, urn, tag="team=b") == []
