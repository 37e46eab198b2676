"""When a load is over: every request that was accepted for later has run to an end. Start with `settle_accounts`.

Often enough that the list of records, which has the newest 10,000 of a function, has all that are asked for.
"""

import time
from datetime import UTC, datetime

from tests.soak import functions
from tests.soak.ledger import KILLED

_WAIT_S = 120.0
_PAGE = 500
_SECOND_S = 1.0
"""Records have whole seconds."""


def settle_accounts(server, urns, ledger):
    """Wait until no accepted request waits or runs, and judge the end of each that was not judged before."""
    accepted = ledger.take_accepted()
    for function in sorted(set(accepted.values())):
        mine = {request_id for request_id, name in accepted.items() if name == function}
        records = _ended(server, urns[function], mine)
        for request_id in mine:
            record = records.get(request_id)
            verdict = _judge(record, function, ledger)
            ledger.counts[f"asynchronous {function} {verdict}"] += 1
            if verdict == "failed":
                ledger.fail(f"asynchronous {function} {request_id}: {record or 'lost'}")


def _ended(server, urn, mine):
    """Return the records by id once all have ended, or as they are after `_WAIT_S` seconds."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        records = _records(server, urn)
        unfinished = [one for one in mine if records.get(one, {}).get("status") in ("WAIT", "RUNNING")]
        if not unfinished or time.monotonic() > deadline:
            return records
        time.sleep(1.0)


def _records(server, urn):
    records, marker = {}, 0
    path = server.path(f"/functions/{urn}/async-invocations")
    while True:
        page = server.client.call("GET", path, query={"limit": _PAGE, "marker": marker}).json()["invocations"]
        records |= {row["request_id"]: row for row in page}
        if not page:
            return records
        marker += len(page)


def _judge(record, function, ledger):
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


def _overlaps_a_kill(record, ledger):
    """Tell whether an instance was killed between a request's acceptance and its end."""
    offset = time.monotonic() - time.time()
    began_at, ended_at = (_seconds(record[name]) + offset for name in ("start_time", "end_time"))
    return ledger.was_killed_during(began_at, ended_at + _SECOND_S, "instance", "prepared", "server")


def _seconds(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
