"""The acceptance points of asynchronous invocation, each on a real server with real instances.

The number in the name of a test is that of the point it stands for.
"""

import contextlib
import json
import os
import re
import signal
import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkfunctiongraph import v2

from funclet.base.ids import new_uuid
from funclet.client import ApiError, NetworkError
from funclet.dataplane.scaler import SHORT_RUNS
from tests.e2e.test_destinations import Folder, LocalStream, Topic, api, direct
from tests.support.members import member_pids
from tests.support.outside import Receiver
from tests.support.packages import zip_of
from tests.support.server import AK, PROJECT_ID, SK, ServerProcess
from tests.support.waiting import eventually

ECHO = "def handler(event, context):\n    return event\n"
COUNTING = """
import json, os
def handler(event, context):
    with open(event["file"], "a") as file:
        file.write(json.dumps({"request_id": context.getRequestID(), "event": event}) + "\\n")
    if event.get("fails"):
        raise ConnectionError("card service unreachable")
    return {"charged": True}
"""
COLLECTOR = """
import json
def handler(event, context):
    with open("FOLDER/collected-" + event["request_context"]["request_id"], "a") as file:
        file.write(json.dumps(event) + "\\n")
"""
# Short until it is told to wait: then the next request waits inside the same instance.
SHORT = """
import time
def handler(event, context):
    if "file" in event:
        with open(event["file"], "a") as file:
            file.write("x")
    time.sleep(event.get("s", 0))
"""
NODE = """
exports.handler = (event, context, callback) => callback(new RangeError('no such card'));
"""
SLEEPER = """
import time
def handler(event, context):
    time.sleep(event.get("s", 0))
    if event.get("fails"):
        raise ValueError("as you wish")
    return "x" * event.get("size", 0)
"""


@pytest.fixture(scope="module")
def marks_folder(scratch):
    """A folder that functions without isolation can write to."""
    folder = Path(tempfile.mkdtemp(prefix="marks-", dir=scratch))
    folder.chmod(0o777)
    return folder


@pytest.fixture
def marks(marks_folder):
    """A file of its own for each test, for the runs of its functions."""
    return marks_folder / new_uuid()


@pytest.fixture(scope="module")
def process_server(scratch):
    """A server whose functions see the files of this host, so that they can count their runs."""
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=scratch))
    folder.chmod(0o755)
    server = ServerProcess(
        folder, "--isolation", "process", FGS_ASYNC_RETRY_BASE_S="0.1", FGS_TARGET_NETWORKS="127.0.0.0/8"
    )
    server.start()
    api(server, "POST", "streams", {"stream_name": "local"})
    yield server
    # Some of its functions still sleep: a stop in order would wait for them.
    server.kill()


@pytest.fixture(scope="module")
def urn(process_server):
    return process_server.deploy("charge-card", COUNTING)


@pytest.fixture(scope="module")
def collector(process_server, marks_folder):
    """A function that keeps every document it is sent."""
    return process_server.deploy("collector", COLLECTOR.replace("FOLDER", str(marks_folder)))


@pytest.fixture
def collected(marks_folder):
    """Return the documents that the collector got for a request, as soon as there are any."""

    def collect(request_id):
        return eventually(lambda: runs(marks_folder / f"collected-{request_id}"), because="the destination was called")

    return collect


def call(server, method, path, body=None, **options):
    """Call the API with a JSON body."""
    return server.client.call(method, path, body=b"" if body is None else json.dumps(body).encode(), **options)


def settings(server, urn, **fields):
    """Set the asynchronous settings of a version."""
    return call(server, "PUT", server.path(f"/functions/{urn}/async-invoke-config"), fields).json()


def submit(server, urn, event, **headers):
    answer = server.client.call(
        "POST",
        server.path(f"/functions/{urn}/invocations-async"),
        body=json.dumps(event).encode(),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    return answer.json()["request_id"]


def record(server, urn, request_id):
    return server.client.async_record(urn, request_id)


def ended(server, urn, request_id, *, within_s=20):
    """Return the record of a request once it has ended."""

    def look():
        found = record(server, urn, request_id)
        return found if found and found["status"] in ("SUCCESS", "FAIL", "DISCARD") else None

    return eventually(look, within_s=within_s, because=f"{request_id} has ended: {record(server, urn, request_id)}")


def running(server, urn, request_id):
    eventually(lambda: record(server, urn, request_id)["status"] == "RUNNING", because="it runs")


def runs(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def letters(server):
    path = f"/v2/{server.project_id}/funclet/dead-letters"
    return server.client.call("GET", path, query={"limit": 500}).json()["dead_letters"]


def letter_of(server, request_id):
    return next((one for one in letters(server) if one["request_id"] == request_id), None)


def test_01_what_was_answered_202_runs_after_a_kill(new_server, marks):
    server = new_server("--isolation", "process")
    source = COUNTING.replace("    with open", "    import time; time.sleep(0.5)\n    with open", 1)
    urn = server.deploy("hello", source)
    call(server, "PUT", server.path(f"/functions/{urn}/config-max-instance"), {"max_instance_num": 1})
    ids = [submit(server, urn, {"file": str(marks)}) for _ in range(10)]
    server.kill()
    before = len(runs(marks))
    server.start()

    assert {ended(server, urn, one)["status"] for one in ids} == {"SUCCESS"}
    assert {one["request_id"] for one in runs(marks)} == set(ids)
    assert before < len(ids), "some had not run when the server was killed"


def test_02_the_size_is_exact_and_text_arrives_unchanged(process_server, urn, marks):
    server = process_server
    event = {"file": str(marks), "text": "ü猫😀"}
    room = 262_144 - len(json.dumps({**event, "pad": ""}, ensure_ascii=False).encode())
    body = json.dumps({**event, "pad": "x" * room}, ensure_ascii=False).encode()
    path = server.path(f"/functions/{urn}/invocations-async")
    assert len(body) == 262_144

    request_id = server.client.call("POST", path, body=body).json()["request_id"]
    with pytest.raises(ApiError) as refused:
        server.client.call("POST", path, body=body + b" ")

    assert (refused.value.status, refused.value.code) == (413, "FSS.1201")
    ended(server, urn, request_id)
    assert [one["event"] for one in runs(marks)] == [json.loads(body)]


@pytest.mark.proves("operation:ListAsyncDeliveries")
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_03_retries_are_exact_and_the_failure_is_told_once(process_server, urn, collector, collected, marks, retries):
    server = process_server
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": collector})}
    settings(server, urn, max_async_retry_attempts=retries, destination_config={"on_failure": target})

    request_id = submit(server, urn, {"file": str(marks), "fails": True})

    assert ended(server, urn, request_id)["status"] == "FAIL"
    assert len(runs(marks)) == retries + 1
    (document,) = collected(request_id)
    assert document["request_context"]["approximate_invoke_count"] == retries
    assert document["request_context"]["condition"] == "UnhandledInvocationError"
    assert document["response_context"]["status_code"] == 500
    assert json.loads(document["response_payload"])["errorType"] == "ConnectionError"
    assert [one["status"] for one in deliveries(server, request_id)] == ["SENT"]


def deliveries(server, request_id):
    path = f"/v2/{server.project_id}/funclet/async/{request_id}/deliveries"
    return eventually(
        lambda: [
            one for one in server.client.call("GET", path).json()["deliveries"] if one["status"] in ("SENT", "DEAD")
        ],
        because="delivered",
    )


def test_04_the_defaults_are_none_without_settings_and_one_retry_with(process_server, marks):
    server = process_server
    urn = server.deploy("defaults", COUNTING)
    plain, with_settings = Path(f"{marks}-plain"), Path(f"{marks}-with")

    ended(server, urn, submit(server, urn, {"file": str(plain), "fails": True}))
    assert settings(server, urn)["max_async_retry_attempts"] == 1
    ended(server, urn, submit(server, urn, {"file": str(with_settings), "fails": True}))

    assert (len(runs(plain)), len(runs(with_settings))) == (1, 2)


def occupied(server, name, seconds):
    """Deploy a function with one instance, and keep that busy."""
    urn = server.deploy(name, SLEEPER, timeout=30)
    call(server, "PUT", server.path(f"/functions/{urn}/config-max-instance"), {"max_instance_num": 1})
    answer = server.begin(urn, {"s": seconds})
    busy = 'fgs_instances{kind="busy"} 1'
    eventually(lambda: busy in server.client.call("GET", "/metrics").body.decode(), because="the function is busy")
    return urn, answer


def test_05_throttling_uses_up_no_retries(new_server):
    server = new_server("--admission-wait-ms", "0", FGS_ASYNC_RETRY_BASE_S="0.1")
    urn, answer = occupied(server, "busy", 20)
    settings(server, urn, max_async_retry_attempts=1)

    good, bad = submit(server, urn, {}), submit(server, urn, {"fails": True})
    for request_id in (good, bad):
        eventually(lambda r=request_id: record(server, urn, r)["error_message"], because="it was throttled")

    assert answer.result(timeout=40).status == 200
    assert ended(server, urn, good, within_s=40)["status"] == "SUCCESS"
    assert ended(server, urn, bad, within_s=40)["status"] == "FAIL"
    # It was throttled several times, and has been run twice all the same.
    assert letter_of(server, bad)["document"]["request_context"]["approximate_invoke_count"] == 1


def test_05_age_ends_what_is_throttled(new_server):
    server = new_server("--admission-wait-ms", "0")
    urn, answer = occupied(server, "busy", 12)
    settings(server, urn, max_async_event_age_in_seconds=5)

    request_id = submit(server, urn, {})

    assert ended(server, urn, request_id)["status"] == "DISCARD"
    assert letter_of(server, request_id)["document"]["request_context"]["condition"] == "EventAgeExceeded"
    answer.result(timeout=40)


def test_06_a_result_that_is_too_long_is_left_out_and_is_a_success(process_server, collector, collected):
    server = process_server
    urn = server.deploy("long-result", SLEEPER)
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": collector})}
    settings(server, urn, destination_config={"on_success": target})

    short, long = (submit(server, urn, {"size": size}) for size in (262_144, 262_145))

    assert {ended(server, urn, one)["status"] for one in (short, long)} == {"SUCCESS"}
    (fits,), (too_long,) = (collected(one) for one in (short, long))
    assert fits["response_payload"] == "x" * 262_144
    assert too_long["response_payload"] == ""
    assert too_long["response_context"]["status_code"] == 200


def test_07_a_broken_destination_ends_as_a_dead_letter_and_the_state_stays(process_server, urn, marks):
    server = process_server
    gone = urn.replace(":charge-card:", ":nobody-home:")
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": gone})}
    settings(server, urn, destination_config={"on_success": target})

    request_id = submit(server, urn, {"file": str(marks)})

    assert ended(server, urn, request_id)["status"] == "SUCCESS"
    assert [one["status"] for one in deliveries(server, request_id)] == ["DEAD"]
    letter = letter_of(server, request_id)
    assert letter["destination"] == "FunctionGraph"
    assert "nobody-home" in letter["reason"]
    assert json.loads(letter["document"]["response_payload"]) == {"charged": True}
    assert record(server, urn, request_id)["status"] == "SUCCESS"


class Function:
    """Another function."""

    kind = "FunctionGraph"

    def __init__(self, urn, folder):
        self.param, self._folder = {"func_urn": urn}, folder

    def find(self, _name, request_id, _outcome):
        found = runs(self._folder / f"collected-{request_id}")
        return json.dumps(found[0]) if found else None


@pytest.fixture(params=["FunctionGraph", "OBS", "SMN", "DIS"])
def target(request, process_server, collector, marks_folder):
    """A destination of each kind, as it is without anything connected."""
    with contextlib.closing(Receiver()) as receiver:
        yield {
            "FunctionGraph": lambda: Function(collector, marks_folder),
            "OBS": lambda: Folder(process_server),
            "SMN": lambda: Topic(process_server, receiver, "outcomes"),
            "DIS": lambda: LocalStream(process_server),
        }[request.param]()


def test_07_every_kind_of_destination_gets_success_and_failure(process_server, target, marks):
    server, name = process_server, f"told-{target.kind.lower()}"
    urn = server.deploy(name, COUNTING)
    direct(server, urn, target.kind, **target.param)

    for outcome, fails in (("success", False), ("failure", True)):
        request_id = submit(server, urn, {"file": str(marks), "fails": fails})
        body = eventually(lambda r=request_id, o=outcome: target.find(name, r, o), within_s=20)
        document = json.loads(body)
        assert document["request_context"]["request_id"] == request_id
        assert document["response_context"]["status_code"] == (500 if fails else 200)
        assert record(server, urn, request_id)["status"] == ("FAIL" if fails else "SUCCESS")


@pytest.mark.proves("operation:ListDeadLetters", "operation:ReplayDeadLetter", "operation:PurgeDeadLetters")
def test_07_a_dead_letter_is_replayed_and_purged(process_server, urn, collector, marks):
    server = process_server
    settings(server, urn, max_async_retry_attempts=0, destination_config={})
    request_id = submit(server, urn, {"file": str(marks), "fails": True})
    ended(server, urn, request_id)
    letter = letter_of(server, request_id)
    base = f"/v2/{server.project_id}/funclet/dead-letters"

    again = server.client.call("POST", f"{base}/{letter['id']}/replay").json()["request_id"]

    ended(server, urn, again)
    assert [one["event"] for one in runs(marks)] == [{"file": str(marks), "fails": True}] * 2
    assert letter_of(server, request_id) is None
    assert call(server, "DELETE", base, {"ids": [letter_of(server, again)["id"]]}).json() == {"count": 1}
    assert letter_of(server, again) is None


MEMBERS = {
    "timestamp": str,
    "request_context": {"request_id": str, "function_urn": str, "condition": str, "approximate_invoke_count": int},
    "request_payload": str,
    "response_context": {"status_code": int, "function_error": str},
    "response_payload": str,
}
"""Of the documents that the cloud sends, in their order."""


def members_of(value):
    if isinstance(value, dict):
        return {name: members_of(member) for name, member in value.items()}
    return type(value)


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_08_the_document_is_exactly_that_of_the_cloud(process_server, urn, collector, collected, marks, fails):
    server = process_server
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": collector})}
    settings(
        server,
        urn,
        max_async_retry_attempts=1,
        destination_config={"on_success": target, "on_failure": target},
    )
    event = json.dumps({"file": str(marks), "fails": fails, "größe": 1}, ensure_ascii=False, separators=(", ", " : "))
    accepted_at = time.time()

    answer = server.client.call("POST", server.path(f"/functions/{urn}/invocations-async"), body=event.encode())
    request_id = answer.json()["request_id"]
    (document,) = collected(request_id)

    assert members_of(document) == MEMBERS
    assert [list(document), list(document["request_context"])] == [list(MEMBERS), list(MEMBERS["request_context"])]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d", document["timestamp"])
    # Nine digits are more than this reads.
    moment = datetime.fromisoformat(document["timestamp"][:26] + document["timestamp"][29:])
    assert abs(moment.timestamp() - accepted_at) < 5
    assert document | {"timestamp": ""} == {
        "timestamp": "",
        "request_context": {
            "request_id": request_id,
            "function_urn": urn,
            "condition": "UnhandledInvocationError" if fails else "",
            "approximate_invoke_count": 1 if fails else 0,
        },
        "request_payload": event,
        "response_context": {"status_code": 500 if fails else 200, "function_error": ""},
        # What a synchronous caller gets, to the byte.
        "response_payload": server.invoke(urn, event.encode()).body.decode(),
    }
    if fails:
        assert json.loads(document["response_payload"]) == {
            "errorMessage": "function invocation exception, error: card service unreachable",
            "errorType": "ConnectionError",
            "stackTrace": [
                'File "./index.py", line 7, in handler',
                '  raise ConnectionError("card service unreachable")',
            ],
        }
    else:
        assert document["response_payload"] == '{"charged": true}'


def test_08_an_error_that_a_function_returns_is_told_from_one_that_it_throws(process_server, collector, collected):
    server = process_server
    urn = server.deploy("returns-an-error", NODE, runtime="Node.js20.15")
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": collector})}
    settings(server, urn, max_async_retry_attempts=0, destination_config={"on_failure": target})

    (document,) = collected(submit(server, urn, {}))

    assert document["request_context"]["condition"] == "HandledInvocationError"
    assert document["response_context"] == {"status_code": 500, "function_error": ""}
    assert json.loads(document["response_payload"]) == {
        "errorMessage": "function entry exception, error: no such card",
        "errorType": "RangeError",
    }


def test_09_the_settings_go_round_as_terraform_sends_them(process_server, urn):
    server = process_server
    path = server.path(f"/functions/{urn}/async-invoke-config")
    body = {
        "max_async_event_age_in_seconds": 3500,
        "max_async_retry_attempts": 2,
        "destination_config": {
            "on_success": {"destination": "functiongraph", "param": json.dumps({"func_urn": urn + "x"})},
            "on_failure": {"destination": "", "param": ""},
        },
        "enable_async_status_log": True,
    }

    created = call(server, "PUT", path, body).json()
    read = server.client.call("GET", path).json()

    assert created == read
    assert read["destination_config"] == {
        "on_success": {"destination": "FunctionGraph", "param": json.dumps({"func_urn": urn + "x"})}
    }
    assert read["func_urn"] == urn
    assert datetime.fromisoformat(read["created_time"]).tzinfo is not None
    updated = call(
        server,
        "PUT",
        path,
        {"max_async_event_age_in_seconds": 3600, "max_async_retry_attempts": 3, "destination_config": {}},
    ).json()
    assert updated["destination_config"] == {}
    assert updated["enable_async_status_log"] is False
    listed = server.client.call("GET", path + "s", query={"limit": 0}).json()
    assert listed["async_invoke_configs"] == [updated]
    assert listed["page_info"] == {"next_marker": 1, "previous_marker": 0, "current_count": 1}
    with pytest.raises(ApiError) as refused:
        server.client.call("GET", path + "s", query={"limit": -1})
    assert refused.value.code == "FSS.1001"
    assert server.client.call("DELETE", path).status == 204
    for method in ("GET", "DELETE"):
        with pytest.raises(ApiError) as missing:
            server.client.call(method, path)
        assert missing.value.status == 404


def test_09_the_list_of_settings_is_paged(process_server):
    server = process_server
    urn = server.deploy("paged", ECHO)
    names = ["latest"]
    for n in range(10):
        server.client.update_code(urn, zip_of({"index.py": f"# {n}\n{ECHO}"}))
        names.append(server.client.publish_version(urn, name=f"v{n}")["version"])
    for name in names:
        settings(server, f"{urn.rsplit(':', 1)[0]}:{name}", max_async_retry_attempts=0)
    path = server.path(f"/functions/{urn}/async-invoke-configs")

    def page(**query):
        found = server.client.call("GET", path, query=query).json()
        assert found["count"] == 11
        return [one["func_urn"].rsplit(":", 1)[1] for one in found["async_invoke_configs"]], found["page_info"]

    first, info = page()
    assert info == {"next_marker": 10, "previous_marker": 0, "current_count": 10}
    second, info = page(marker=info["next_marker"])
    assert info == {"next_marker": 11, "previous_marker": 0, "current_count": 1}
    assert sorted(first + second) == sorted(names)
    assert page(limit=4, marker=4)[1] == {"next_marker": 8, "previous_marker": 0, "current_count": 4}
    assert page(limit=1000)[1]["current_count"] == 11


@pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")
def test_10_records_are_found_by_filters_and_paged(new_server):
    server = new_server()
    urn = server.deploy("listed", ECHO)
    ids = [submit(server, urn, {"n": n}) for n in range(120)]
    eventually(
        lambda: (
            server.client.call(
                "GET", server.path(f"/functions/{urn}/async-invocations"), query={"status": "SUCCESS"}
            ).json()["count"]
            == 120
        ),
        within_s=20,
    )
    path = server.path(f"/functions/{urn}/async-invocations")

    def page(**query):
        return server.client.call("GET", path, query=query).json()

    first = page()
    second = page(marker=first["next_marker"])
    assert (len(first["invocations"]), first["count"], first["next_marker"]) == (100, 120, "100")
    assert "next_marker" not in second
    seen = [one["request_id"] for one in first["invocations"] + second["invocations"]]
    assert seen == ids[::-1]
    assert paged_with_the_sdk(server, urn) == seen
    assert page(request_id="unknown") == {"invocations": [], "count": 0}
    assert page(request_id=ids[7])["invocations"][0]["request_id"] == ids[7]
    assert [page(status=status)["count"] for status in ("WAIT", "RUNNING", "FAIL", "DISCARD")] == [0] * 4
    for query in ({"status": "CANCEL"}, {"request_id": "x" * 65}):
        with pytest.raises(ApiError) as wrong:
            page(**query)
        assert wrong.value.code == "FSS.1001"
    assert "error_code" not in first["invocations"][0]
    assert (
        page(query_end_time=datetime.fromtimestamp(time.time() - 60, UTC).strftime("%Y-%m-%dT%H:%M:%S"))["count"] == 0
    )
    active = server.path(f"/functions/{urn}/active-async-invocations")
    asked = server.client.call("GET", active, query={"requests": ",".join(ids[:10])}).json()
    assert {one["request_id"] for one in asked["invocations"]} == set(ids[:10])
    with pytest.raises(ApiError) as refused:
        server.client.call("GET", active, query={"requests": ",".join(ids[:11])})
    assert refused.value.code == "FSS.1001"


def paged_with_the_sdk(server, urn):
    """Return the ids of all requests, read in pages of 50 as the vendor's SDK reads them."""
    credentials = BasicCredentials(AK, SK, PROJECT_ID)
    builder = v2.FunctionGraphClient.new_builder().with_credentials(credentials)
    client = builder.with_endpoint(server.api_url).build()
    found, marker = [], "0"
    while marker is not None:
        request = v2.ListAsyncInvocationsRequest(function_urn=urn, limit="50", marker=marker)
        answer = client.list_async_invocations(request)
        found += [one.request_id for one in answer.invocations]
        marker = answer.next_marker
    client.get_http_client().close()
    return found


def test_10_without_times_the_last_hour_is_listed(new_server):
    server = new_server("--isolation", "process")
    urn = server.deploy("listed", ECHO)
    old, new = submit(server, urn, {}), submit(server, urn, {})
    for request_id in (old, new):
        ended(server, urn, request_id)
    server.stop()
    # The old one was accepted an hour and a minute ago.
    with contextlib.closing(sqlite3.connect(server.data_dir / "funclet.db")) as database, database:
        database.execute("UPDATE submission SET accepted_at = accepted_at - 3660 WHERE request_id = ?", (old,))
    server.start()

    def listed(**query):
        path = server.path(f"/functions/{urn}/async-invocations")
        return [one["request_id"] for one in server.client.call("GET", path, query=query).json()["invocations"]]

    two_hours_ago = datetime.fromtimestamp(time.time() - 7200, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert listed() == [new]
    assert listed(query_begin_time=two_hours_ago) == [new, old]
    assert listed(query_begin_time=two_hours_ago + "Z") == [new, old]
    assert listed(request_id=old) == []


def cancel(server, urn, request_id, **fields):
    return call(server, "POST", server.path(f"/functions/{urn}/cancel"), {"request_id": request_id, **fields}).json()


@pytest.fixture(scope="module")
def sleeper(process_server):
    urn = process_server.deploy("sleeper", SLEEPER, timeout=60)
    settings(process_server, urn, max_async_retry_attempts=3)
    return urn


@pytest.mark.parametrize("fields", [{}, {"type": "force"}, {"type": "recursive"}, {"recursive": False, "force": True}])
def test_11_what_runs_is_cancelled_and_not_tried_again(process_server, sleeper, fields):
    server = process_server
    request_id = submit(server, sleeper, {"s": 50})
    running(server, sleeper, request_id)

    assert cancel(server, sleeper, request_id, **fields) is None

    found = ended(server, sleeper, request_id)
    assert (found["status"], found["error_code"]) == ("FAIL", "4208")
    assert found["error_message"] == "function invocation canceled"
    document = letter_of(server, request_id)["document"]
    assert document["request_context"]["condition"] == "InvocationCanceled"
    assert document["response_context"]["status_code"] == 499
    # Finished: nothing happens.
    assert cancel(server, sleeper, request_id, **fields) is None


def test_11_recursive_cancels_what_the_request_has_caused(process_server, sleeper):
    server = process_server
    parent = submit(server, sleeper, {"s": 50})
    child = submit(server, sleeper, {"s": 50}, X_Cff_Async_Hop=f"{parent};1;{parent}")
    stranger = submit(server, sleeper, {"s": 50})
    for request_id in (parent, child, stranger):
        running(server, sleeper, request_id)

    cancel(server, sleeper, parent, type="recursive")

    assert [ended(server, sleeper, one)["status"] for one in (parent, child)] == ["FAIL", "FAIL"]
    assert record(server, sleeper, stranger)["status"] == "RUNNING"
    cancel(server, sleeper, stranger, type="force")


@pytest.fixture
def waiting_one(process_server):
    """Return a function whose one instance is busy, the request that runs, and one that waits."""
    urn = process_server.deploy(f"waiting-{new_uuid()[:8]}", SLEEPER, timeout=60)
    path = process_server.path(f"/functions/{urn}/config-max-instance")
    call(process_server, "PUT", path, {"max_instance_num": 1})
    settings(process_server, urn, enable_async_status_log=True)
    first = submit(process_server, urn, {"s": 50})
    running(process_server, urn, first)
    yield urn, first, submit(process_server, urn, {"s": 50})
    cancel(process_server, urn, first, type="force")


def test_11_what_waits_is_cancelled_and_never_runs(process_server, waiting_one):
    urn, first, second = waiting_one
    assert record(process_server, urn, second)["status"] == "WAIT"

    assert cancel(process_server, urn, second) is None

    found = ended(process_server, urn, second)
    assert (found["status"], found["error_code"]) == ("DISCARD", "4208")
    assert found["error_message"] == "function invocation canceled"
    assert record(process_server, urn, first)["status"] == "RUNNING"


def pair_in_one_instance(server, urn, first_event, second_event):
    """Return two requests of which one runs in an instance and the other waits inside it."""
    for _ in range(SHORT_RUNS + 1):
        assert server.invoke(urn).status == 200
    first = submit(server, urn, first_event)
    running(server, urn, first)
    second = submit(server, urn, second_event)
    running(server, urn, second)
    (instances,) = [line for line in metrics(server) if line.startswith('fgs_instances{kind="busy"}')]
    assert instances.endswith(" 1"), "both are in one instance"
    return first, second


def assert_cancelled(server, urn, request_id):
    found = ended(server, urn, request_id)
    assert (found["status"], found["error_code"]) == ("FAIL", "4208")
    assert found["error_message"] == "function invocation canceled"
    condition = letter_of(server, request_id)["document"]["request_context"]["condition"]
    assert condition == "InvocationCanceled"


def test_11_force_ends_the_instance_and_what_has_not_begun_in_it_runs_elsewhere_once(process_server, marks):
    server = process_server
    urn = server.deploy("short-first", SHORT, timeout=60)
    first, second = pair_in_one_instance(server, urn, {"s": 50}, {"file": str(marks)})

    cancel(server, urn, first, type="force")

    assert_cancelled(server, urn, first)
    assert ended(server, urn, second)["status"] == "SUCCESS"
    assert marks.read_text() == "x"


def test_11_force_on_one_of_two_in_an_instance_ends_both_if_the_other_one_runs(process_server, marks):
    server = process_server
    urn = server.deploy("short-second", SHORT, timeout=60)
    settings(server, urn, max_async_retry_attempts=3)
    first, second = pair_in_one_instance(server, urn, {"s": 50}, {"file": str(marks)})
    began = time.monotonic()

    cancel(server, urn, second, type="force")

    assert_cancelled(server, urn, second)
    assert_cancelled(server, urn, first)
    assert time.monotonic() - began < 5, "at once"
    assert server.invoke(urn).status == 200
    assert not marks.exists()


def test_11_force_ends_a_synchronous_request_that_runs_in_the_instance_too(process_server):
    server = process_server
    urn = server.deploy("short-mixed", SHORT, timeout=60)
    for _ in range(SHORT_RUNS + 1):
        assert server.invoke(urn).status == 200
    answer = server.begin(urn, {"s": 50})
    eventually(lambda: 'fgs_instances{kind="busy"} 1' in metrics(server), because="it runs")
    behind = submit(server, urn, {})
    running(server, urn, behind)

    cancel(server, urn, behind, type="force")

    assert_cancelled(server, urn, behind)
    refused = answer.result(timeout=10)
    assert (refused.status, refused.json()["error_code"]) == (500, "FSS.4208")


def test_11_without_force_the_other_one_in_the_instance_comes_to_its_own_end(process_server):
    server = process_server
    urn = server.deploy("short-soft", SHORT, timeout=60)
    first, second = pair_in_one_instance(server, urn, {"s": 2}, {"s": 1})

    cancel(server, urn, second)

    assert_cancelled(server, urn, second)
    assert ended(server, urn, first)["status"] == "SUCCESS"


def metrics(server):
    return server.client.call("GET", "/metrics").body.decode().splitlines()


def test_11_an_unknown_request_is_refused(process_server, sleeper):
    with pytest.raises(ApiError) as refused:
        cancel(process_server, sleeper, "unknown")
    assert (refused.value.code, refused.value.message) == ("FSS.0400", "Invalid RequestId")


def test_12_a_circle_of_destinations_stops_at_depth_16(process_server):
    server = process_server
    a, b = (server.deploy(name, ECHO) for name in ("circle-a", "circle-b"))

    def lead(source, to):
        target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": to})}
        return call(
            server,
            "PUT",
            server.path(f"/functions/{source}/async-invoke-config"),
            {"destination_config": {"on_success": target, "on_failure": target}},
        )

    assert "x-cff-warning" not in lead(a, b).headers
    assert lead(b, a).headers["x-cff-warning"] == "destination-cycle"

    submit(server, a, {})

    def stopped():
        return [
            one
            for one in letters(server)
            if one["document"]["request_context"]["condition"] == "LoopDetected" and ":circle-" in one["function_urn"]
        ]

    (letter,) = eventually(stopped, within_s=30, because="the circle was broken")
    # Depth 0 to 16 run, 17 is stopped: nine of a, eight of b.
    assert letter["function_urn"] == b
    total = sum(
        server.client.call("GET", server.path(f"/functions/{one}/async-invocations")).json()["count"] for one in (a, b)
    )
    assert total == 18


def test_13_what_ran_in_a_process_that_died_runs_again(new_server, marks, collected):
    server = new_server("--isolation", "process", "--processes", "2")
    source = COUNTING.replace("    if event", "    import time; time.sleep(2)\n    if event", 1)
    eventually(lambda: len(member_pids(server)) == 2, because="both processes serve")
    told = server.deploy("told", COLLECTOR.replace("FOLDER", str(marks.parent)))
    target = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": told})}
    urns = [server.deploy(f"slow-{n}", source) for n in range(8)]
    for one in urns:
        settings(server, one, destination_config={"on_success": target, "on_failure": target})
    ids = [submit(server, one, {"file": f"{marks}-{n}"}) for n, one in enumerate(urns)]
    eventually(lambda: all(runs(Path(f"{marks}-{n}")) for n in range(8)), within_s=20, because="all run")

    os.kill(member_pids(server)[1], signal.SIGKILL)
    # The connections that it had accepted have gone with it.
    server.kill_is_over()

    def statuses():
        with contextlib.suppress(NetworkError):
            return [record(server, one, request)["status"] for one, request in zip(urns, ids, strict=True)]

    eventually(lambda: statuses() == ["SUCCESS"] * 8, within_s=40, because="all have ended well")
    counts = [len(runs(Path(f"{marks}-{n}"))) for n in range(8)]
    assert all(count >= 1 for count in counts)
    assert any(count == 2 for count in counts), f"no function was in the process that died: {counts}"
    for request_id in ids:
        documents = collected(request_id)
        assert {one["request_context"]["condition"] for one in documents} == {""}


@pytest.mark.proves("faq:FAQ-236", "operation:ListAsyncStatusLines")
def test_14_the_status_log_has_six_members_and_grows(process_server, urn, marks):
    server = process_server
    log = server.path("/functions/async-status-log-detail")
    assert server.client.call("GET", log).json() == dict.fromkeys(
        ("group_id", "group_name", "stream_id", "stream_name"), ""
    )
    for _ in range(2):
        answer = server.client.call("POST", server.path("/functions/enable-async-status-logs"))
        assert (answer.status, answer.body) == (200, b"")
    place = server.client.call("GET", log).json()
    assert place["group_name"] == f"function-async-log-group-{server.project_id}"
    assert place["group_id"]
    settings(server, urn, max_async_retry_attempts=1, enable_async_status_log=True)

    request_id = submit(server, urn, {"file": str(marks), "fails": True})
    ended(server, urn, request_id)

    path = f"/v2/{server.project_id}/funclet/async-status-log"

    def lines():
        found = server.client.call("GET", path, query={"request_id": request_id}).json()["lines"]
        return sorted(found, key=lambda one: one["seq_status"]) if len(found) == 5 else None

    found = eventually(lines, because="all lines are written")
    assert [one["seq_status"] for one in found] == [10, 20, 110, 120, 131]
    members = {
        "function_urn": str,
        "request_id": str,
        "seq_status": int,
        "operation_timestamp": int,
        "error_code": int,
        "error_message": str,
    }
    assert all({name: type(value) for name, value in one.items()} == members for one in found)


def test_14_that_a_request_waits_is_logged_when_it_is_accepted(process_server, waiting_one):
    server, (_, _, waits) = process_server, waiting_one
    path = f"/v2/{server.project_id}/funclet/async-status-log"

    def lines():
        return server.client.call("GET", path, query={"request_id": waits}).json()["lines"]

    (line,) = eventually(lines, because="its first line is written")
    assert (line["seq_status"], line["error_code"], line["error_message"]) == (10, 0, "")
    assert abs(line["operation_timestamp"] / 1000 - time.time()) < 10


def test_15_an_http_function_is_refused(process_server):
    server = process_server
    urn = server.deploy("web", {"bootstrap": "#!/bin/sh\n"}, runtime="http", handler=None)

    with pytest.raises(ApiError) as refused:
        submit(server, urn, {})

    assert (refused.value.status, refused.value.code) == (400, "FSS.0400")
    assert "HTTP function" in refused.value.message
    found = server.client.call("GET", server.path(f"/functions/{urn}/async-invocations")).json()
    assert found["count"] == 0


def test_strict_clients_get_numbers_and_records_only_where_there_is_a_status_log(new_server):
    server = new_server("--isolation", "process", FGS_ASYNC_NUMERIC="on", FGS_ASYNC_RECORDS="only_when_enabled")
    logged, silent = (server.deploy(name, SLEEPER) for name in ("logged", "silent"))
    settings(server, logged, max_async_retry_attempts=0, enable_async_status_log=True)
    good, bad = submit(server, logged, {}), submit(server, logged, {"fails": True})
    for request_id in (good, bad):
        ended(server, logged, request_id)
    gone = submit(server, silent, {})
    eventually(lambda: record(server, silent, gone) is None, because="nothing is kept of what has ended")

    path = server.path(f"/functions/{logged}/async-invocations")
    page = server.client.call("GET", path, query={"limit": 1}).json()

    assert page["next_marker"] == 1
    assert (record(server, logged, good)["error_code"], record(server, logged, bad)["error_code"]) == (0, 4002)


def test_answers_of_a_submission(process_server, urn, marks):
    server = process_server
    disabled = server.deploy("disabled", ECHO)
    call(server, "PUT", server.path(f"/functions/{disabled}/config-max-instance"), {"max_instance_num": 0})

    def answer(urn, body, **headers):
        path = server.path(f"/functions/{urn}/invocations-async")
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.client.call("POST", path, body=body, headers=names, raises=False)

    event = json.dumps({"file": str(marks)}).encode()
    accepted = answer(urn, event, X_Cff_Log_Type="tail", X_CFF_Request_Version="v1")

    assert (accepted.status, list(accepted.json())) == (202, ["request_id"])
    assert accepted.headers["x-cff-request-id"] == accepted.json()["request_id"]
    assert "x-cff-function-log" not in accepted.headers
    assert ended(server, urn, accepted.json()["request_id"])["status"] == "SUCCESS"
    missing, refused = answer(urn.replace(":charge-card:", ":nobody:"), b"{}"), answer(disabled, b"{}")
    assert (missing.status, missing.json()["error_code"]) == (404, "FSS.0404")
    assert (refused.status, refused.json()["error_code"]) == (429, "FSS.0429")
    assert refused.json()["error_msg"] == "Function Disabled"
    # Anything that is JSON is an event, and so is nothing.
    for body in (b"", b"[1]", b'"text"', b"null", b"1.5"):
        assert answer(urn, body).status == 202


@pytest.mark.proves("operation:AsyncInvokeReservedFunction")
def test_what_asks_for_a_reserved_instance_is_accepted_and_runs_as_any_other(process_server, urn, marks):
    server = process_server
    settings(server, urn)
    path = server.path(f"/functions/{urn}/reserved-invocations")

    answer = server.client.call("POST", path, body=json.dumps({"file": str(marks)}).encode())

    assert answer.status == 202
    assert set(answer.json()) == {"request_id", "instance_id"}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.json()["instance_id"])
    request_id = answer.json()["request_id"]
    assert answer.headers["x-cff-request-id"] == request_id
    assert ended(server, urn, request_id)["status"] == "SUCCESS"
    assert [one["request_id"] for one in runs(marks)] == [request_id]
    for body, status, code in ((b"x" * 262_145, 413, "FSS.1201"), (b"no json", 406, "FSS.0406")):
        refused = server.client.call("POST", path, body=body, raises=False)
        assert (refused.status, refused.json()["error_code"]) == (status, code)
    missing = server.client.call("POST", path.replace(":charge-card:", ":nobody:"), body=b"{}", raises=False)
    assert (missing.status, missing.json()["error_code"]) == (404, "FSS.0404")


def test_a_dedup_id_is_accepted_once(process_server, urn, marks):
    server = process_server
    first, second = (submit(server, urn, {"file": str(marks)}, X_Cff_Dedup_Id="order-42") for _ in range(2))

    assert first == second
    ended(server, urn, first)
    assert len(runs(marks)) == 1
    with pytest.raises(ApiError) as refused:
        submit(server, urn, {}, X_Cff_Dedup_Id="x" * 129)
    assert refused.value.code == "FSS.0400"


def test_deleting_a_function_discards_what_waits(process_server):
    server = process_server
    urn = server.deploy("doomed", SLEEPER, timeout=60)
    call(server, "PUT", server.path(f"/functions/{urn}/config-max-instance"), {"max_instance_num": 1})
    first = submit(server, urn, {})
    ended(server, urn, first)
    ids = [submit(server, urn, {"s": 2}) for _ in range(20)]
    running(server, urn, ids[0])

    server.client.delete_function(urn.rsplit(":", 1)[0])

    def waits():
        lines = server.client.call("GET", "/metrics").body.decode().splitlines()
        return any(one.startswith("fgs_async_function_queue_length") and ":doomed" in one for one in lines)

    eventually(lambda: not waits(), because="nothing waits any more")
    # No event is lost: what had not begun is a dead letter. By now it is known that only one may run at once.
    told = [one for one in letters(server) if one["request_id"] in ids]
    assert {one["document"]["request_payload"] for one in told} == {'{"s": 2}'}
    assert sorted(one["request_id"] for one in told) == sorted(ids[1:])
