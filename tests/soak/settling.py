"""When a load is over: every request that was accepted for later has run to an end, and its end was told once.

Start with `Accounts.settle`.
"""

import base64
import json
import time
from collections import Counter
from datetime import UTC, datetime

from tests.soak import functions
from tests.soak.ledger import KILLED

STREAM = "outcomes"
"""Where both kinds of outcomes are sent."""
ASYNCHRONOUS = ("python", "exits")
"""The functions that are invoked asynchronously."""
_WAIT_S = 120.0
_PAGE = 500
_SECOND_S = 1.0
"""Records have whole seconds."""
_RUNNING = 20
"""In the last two digits of a line of the status log."""
_FINAL = ("SUCCESS", "FAIL", "DISCARD")


class Accounts:
    """Settles what was accepted since the last time. The load must be at rest."""

    def __init__(self, server, urns, ledger):
        self._server, self._urns, self._ledger = server, urns, ledger
        self._since = time.time()
        self._cursor = ""
        self._line = 0
        self._settled = set()
        """Ids of the last time: what was accepted in the second between is in both windows."""
        self._told = {}
        """By request id: whether it was told as a success, for each time that it was told."""
        for name in ("lost", "run again"):
            ledger.counts[f"asynchronous {name}"] += 0
        for name in ("lost", "doubled", "invented"):
            ledger.counts[f"notifications {name}"] += 0

    def prepare(self):
        """Let the outcomes be told, and changes of state be logged."""
        server = self._server
        project = f"/v2/{server.project_id}"
        server.client.call("POST", f"{project}/streams", body=json.dumps({"stream_name": STREAM}).encode())
        target = {"destination": "DIS", "param": json.dumps({"stream_name": STREAM})}
        body = {
            "max_async_retry_attempts": 0,
            "destination_config": {"on_success": target, "on_failure": target},
            "enable_async_status_log": True,
        }
        for name in ASYNCHRONOUS:
            path = server.path(f"/functions/{self._urns[name]}/async-invoke-config")
            server.client.call("PUT", path, body=json.dumps(body).encode())

    def settle(self):
        """Wait until nothing waits or runs and all ends are told, and judge each that was not judged before."""
        ledger, accepted, since = self._ledger, self._ledger.take_accepted(), self._since
        everything = {}
        for name in ASYNCHRONOUS:
            records = self._ended(self._urns[name], since)
            everything |= records
            for request_id in (one for one, function in accepted.items() if function == name):
                self._judge(request_id, name, records.get(request_id))
        self._judge_notifications({key: one for key, one in everything.items() if key not in self._settled})
        self._settled = set(everything)
        ledger.counts["asynchronous run again"] += self._repeated_runs()
        self._since = time.time()

    def _ended(self, urn, since):
        """Return the records by id once all have ended, or as they are after `_WAIT_S` seconds."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            records = self._records(urn, since)
            if all(one["status"] in _FINAL for one in records.values()) or time.monotonic() > deadline:
                return records
            time.sleep(1.0)

    def _records(self, urn, since):
        records, marker = {}, 0
        path = self._server.path(f"/functions/{urn}/async-invocations")
        begin = datetime.fromtimestamp(since - 2 * _SECOND_S, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        while True:
            query = {"limit": _PAGE, "marker": marker, "query_begin_time": begin}
            page = self._server.client.call("GET", path, query=query).json()["invocations"]
            records |= {row["request_id"]: row for row in page}
            if not page:
                return records
            marker += len(page)

    def _judge(self, request_id, function, record):
        verdict = judge(record, function, self._ledger)
        self._ledger.counts[f"asynchronous {function} {verdict}"] += 1
        if verdict == "failed":
            if record is None:
                self._ledger.counts["asynchronous lost"] += 1
            self._ledger.fail(f"asynchronous {function} {request_id}: {record or 'lost'}")

    def _judge_notifications(self, records):
        """Every end is told once, as what it was; nothing is told of what has not ended."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            self._read_stream()
            untold = [one for one in records if one not in self._told]
            if not untold or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        for name, request_id, detail in misread(records, self._told):
            self._ledger.counts[f"notifications {name}"] += 1
            self._ledger.fail(f"notification {name} of {request_id}: {detail}")

    def _read_stream(self):
        client, project = self._server.client, f"/v2/{self._server.project_id}"
        if not self._cursor:
            query = {"stream-name": STREAM, "cursor-type": "TRIM_HORIZON"}
            self._cursor = client.call("GET", f"{project}/cursors", query=query).json()["partition_cursor"]
        while True:
            found = client.call("GET", f"{project}/records", query={"partition-cursor": self._cursor}).json()
            self._cursor = found["next_partition_cursor"]
            for row in found["records"]:
                document = json.loads(base64.b64decode(row["data"]))
                is_success = document["request_context"]["condition"] == ""
                self._told.setdefault(document["request_context"]["request_id"], []).append(is_success)
            if not found["records"]:
                return

    def _repeated_runs(self):
        """Return how many runs began a second time: what ran when a server was killed."""
        begun, path = Counter(), f"/v2/{self._server.project_id}/funclet/async-status-log"
        while True:
            query = {"marker": self._line, "limit": _PAGE}
            found = self._server.client.call("GET", path, query=query).json()
            self._line = found["next_marker"]
            lines = [line for line in found["lines"] if line["seq_status"] % 100 == _RUNNING]
            begun.update((line["request_id"], line["seq_status"]) for line in lines)
            if not found["lines"]:
                return sum(count - 1 for count in begun.values())


def judge(record, function, ledger):
    """Return what became of one request: `good`, `killed` or `failed`."""
    if record is None:
        return "failed"
    failing = functions.FAILING.get(function)
    code = int(record.get("error_code") or 0)
    if failing is None and record["status"] == "SUCCESS":
        return "good"
    if failing is not None and (record["status"], code) == ("FAIL", failing.code):
        return "good"
    if record["status"] == "FAIL" and code in KILLED and _overlaps_a_kill(record, ledger):
        return "killed"
    return "failed"


def misread(records, told):
    """Yield each notification that is lost, doubled or invented: which of these, the request id, and details.

    Args:
        records: of all requests that may have been told now, by id.
        told: by request id, whether it was told as a success, for each time; what was judged is taken out.
    """
    for request_id, record in records.items():
        times = told.pop(request_id, [])
        if not times:
            yield "lost", request_id, record
        if len(times) > 1:
            yield "doubled", request_id, f"{times} {record}"
        if any(is_success is not (record["status"] == "SUCCESS") for is_success in times):
            yield "invented", request_id, f"{times} {record}"
    for request_id in list(told):
        yield "invented", request_id, f"{told.pop(request_id)}, and there is no such request"


def _overlaps_a_kill(record, ledger):
    """Tell whether an instance was killed between a request's acceptance and its end."""
    offset = time.monotonic() - time.time()
    began_at, ended_at = (_seconds(record[name]) + offset for name in ("start_time", "end_time"))
    return ledger.was_killed_during(began_at, ended_at + _SECOND_S, "instance", "prepared", "server")


def _seconds(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
