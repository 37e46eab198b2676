"""The audit log: what is in it, what is not, and its bounds."""

import asyncio

import pytest

from funclet.model.audit import TraceQuery
from funclet.services.audit import MAX_NOTED
from tests.support.api import new_body
from tests.support.people import PASSWORD, Town


@pytest.mark.proves("operation:ListTraces")
def test_a_change_is_kept_with_all_that_matters(town):
    town.clock.advance(60)

    answer = town.send("POST", "{f}/functions", new_body("foo"), peer="10.7.7.7")

    trace = town.traces("?operation=CreateFunction")[0]
    assert trace == {
        "trace_id": trace["trace_id"],
        "trace_name": "createFunction",
        "trace_type": "ApiCall",
        "trace_rating": "normal",
        "operation": "CreateFunction",
        "action": "functiongraph:function:create",
        "outcome": "done",
        "resource_name": f"FUNCTIONGRAPH:test-1:{domain(town)}:function:default/foo",
        "source_ip": "10.7.7.7",
        "user": {"name": "admin", "id": town.user_id("admin")},
        "project_id": town.project_id,
        "code": "200",
        "error_code": "",
        "request_id": answer.headers["X-Request-Id"],
        "count": 1,
        "time": "2023-11-14T22:14:20.000Z",
    }


def domain(town):
    return town.done("GET", "/v3/auth/domains")["domains"][0]["id"]


def test_changes_are_kept_and_reads_are_not(town):
    town.function("foo")
    town.done("GET", "{f}/functions")
    town.done("GET", "{f}/functions/foo/config")
    town.done("POST", "{f}/functions/foo/invocations", {})
    town.done("GET", "{f}/functions/foo/code")
    town.done("PUT", "{f}/functions/foo/config", {"func_name": "foo", "timeout": 9})
    town.done("POST", "/v3/users", {"user": {"name": "ann"}})
    town.done("DELETE", "{f}/functions/foo")

    assert [trace["operation"] for trace in town.traces()[::-1]] == [
        "CreateToken",
        "CreateFunction",
        "ShowFunctionCode",
        "UpdateFunctionConfig",
        "CreateUser",
        "DeleteFunction",
    ]
    assert town.traces("?operation=CreateUser")[0]["resource_name"] == "ann"


def test_a_denied_call_is_kept_and_who_it_was(town):
    token = town.user("ann", groups=["viewers"])
    town.function("foo")
    town.send("DELETE", "{f}/functions/foo", token=token)
    town.send("POST", "{f}/functions/foo/invocations", {}, token=token)
    town.send("GET", "{f}/functions", token="unknown")
    town.send("GET", f"/v2/{'0' * 32}/fgs/functions", token=token)

    found = town.traces("?outcome=denied")

    assert [(one["operation"], one["user"]["name"], one["code"], one["error_code"]) for one in found[::-1]] == [
        ("DeleteFunction", "ann", "403", "FSS.0403"),
        ("InvokeFunction", "ann", "403", "FSS.0403"),
        ("ListFunctions", "", "401", "APIG.0301"),
        ("ListFunctions", "ann", "403", "FSS.0403"),
    ]
    assert all(one["trace_rating"] == "warning" for one in found)
    assert found[3]["resource_name"].endswith(":function:default/foo")


def test_a_change_that_fails_is_kept_as_failed(town):
    town.send("POST", "{f}/functions", {"func_name": "foo"})

    found = town.traces("?outcome=failed")

    assert [(one["operation"], one["code"]) for one in found] == [("CreateFunction", "400")]


def test_logins_are_kept_with_the_name_that_was_given(town):
    town.try_login("admin", "wrong")
    town.try_login("nobody")
    town.try_login("admin")

    found = town.traces("?operation=CreateToken")

    assert sorted((one["user"]["name"], one["outcome"]) for one in found) == [
        ("admin", "denied"),
        ("admin", "done"),
        ("admin", "done"),
        ("nobody", "denied"),
    ]


def test_no_secret_of_a_request_is_kept(town):
    town.user("ann")
    key = town.key("ann")
    town.try_login("ann", "A-wrong-password-1")
    town.function("foo", user_data='{"API":"hidden-value"}')
    town.run(town.audit.flush())

    wanted = TraceQuery(project_id=town.project_id, with_unattributed=True, since=0, until=1e12, before=0, limit=99)
    documents = str(town.read(lambda tx: tx.traces.find(wanted)))

    assert "CreateFunction" in documents
    for secret in (PASSWORD, "A-wrong-password-1", "hidden-value", key[1], town.owner):
        assert secret not in documents


def test_denials_that_repeat_are_one_entry_with_their_count(town):
    for _ in range(50):
        town.send("GET", "{f}/functions", token="unknown")

    found = town.traces("?outcome=denied")

    assert [(one["operation"], one["count"]) for one in found] == [("ListFunctions", 50)]


def test_a_flood_of_different_denials_does_not_fill_the_log(town):
    for number in range(MAX_NOTED + 200):
        town.send("GET", "{f}/functions", token="unknown", peer=f"10.0.{number // 256}.{number % 256}")
    town.run(town.audit.flush())

    rows = town.read(lambda tx: tx.traces._session.number("count_traces"))
    others = town.traces("?operation=others")

    assert rows == MAX_NOTED + 2
    assert others[0]["count"] == 200


@pytest.mark.proves("operation:ListTraces")
def test_the_log_is_read_page_by_page_and_by_what_is_asked_for(town):
    for number in range(5):
        town.function(f"f{number}")
        town.clock.advance(10)

    first = town.done("GET", "/v2/{p}/funclet/traces?operation=CreateFunction&limit=2")
    second = town.done(
        "GET", f"/v2/{{p}}/funclet/traces?operation=CreateFunction&limit=2&marker={first['next_marker']}"
    )
    timed = town.traces("?from=2023-11-14T22:13:30&to=2023-11-14T22:13:40&operation=CreateFunction")

    names = [one["resource_name"].rpartition("/")[2] for one in first["traces"] + second["traces"]]
    assert names == ["f4", "f3", "f2", "f1"]
    assert len(timed) == 2
    assert len(town.traces("?user=admin&limit=3")) == 3
    assert town.traces("?user=nobody") == []
    for wrong in ("outcome=odd", "from=soon", "limit=x", "marker=x"):
        assert town.send("GET", f"/v2/{{p}}/funclet/traces?{wrong}").status == 400


def test_a_failure_stands_at_its_time_though_it_is_written_later(town):
    town.send("POST", "{f}/functions", {"func_name": "foo"})
    town.clock.advance(0.5)
    town.function("later")

    answer = town.done("GET", "/v2/{p}/funclet/traces?operation=CreateFunction&limit=1")
    behind = town.done("GET", f"/v2/{{p}}/funclet/traces?operation=CreateFunction&marker={answer['next_marker']}")

    assert [one["outcome"] for one in answer["traces"] + behind["traces"]] == ["done", "failed"]
    assert answer["traces"][0]["trace_id"] < behind["traces"][0]["trace_id"]
    assert town.done("GET", "/v2/{p}/funclet/traces?marker=999999999")["traces"] == []


def test_reading_the_log_needs_its_own_permission(town):
    assert town.send("GET", "/v2/{p}/funclet/traces", token=town.user("ann", groups=["viewers"])).status == 403
    assert town.send("GET", "/v2/{p}/funclet/traces", token=town.user("eve", groups=["admin"])).status == 200


def test_old_entries_are_deleted(tmp_path, registry):
    town = Town(tmp_path, registry, audit_days=1)
    town.function("old")
    town.clock.advance(12 * 3600)
    town.function("new")

    town.clock.advance(12 * 3600 + 1)
    town.owner = town.login("admin")
    town.run(town.audit.trim())

    names = [one["resource_name"].rpartition("/")[2] for one in town.traces("?operation=CreateFunction")]
    assert names == ["new"]
    town.close()


def test_there_are_so_many_entries_and_no_more(tmp_path, registry):
    town = Town(tmp_path, registry, audit_rows=5)
    for number in range(10):
        town.function(f"f{number}")

    town.run(town.audit.trim())

    names = [one["resource_name"].rpartition("/")[2] for one in town.traces()]
    assert names == ["f9", "f8", "f7", "f6", "f5"]
    town.close()


def test_a_change_is_in_the_log_before_it_is_answered(town):
    """A crash right after the answer loses nothing."""
    town.function("foo")

    assert town.audit._noted == {}
    assert town.read(lambda tx: tx.traces._session.number("count_traces")) == 2


def test_what_is_noted_is_written_within_a_second(town):
    async def work():
        town.audit.open()
        town.audit.note(trace)
        for _ in range(100):
            await asyncio.sleep(0)
            town.clock.advance(0.1)
            if not town.audit._noted:
                break
        await town.audit.close()
        # What is queued before this is written before this.
        await town.store.write(lambda tx: None)

    town.send("GET", "{f}/functions", token="unknown")
    trace = next(iter(town.audit._noted.values()))
    town.run(work())

    assert town.read(lambda tx: tx.traces._session.number("count_traces")) >= 2
