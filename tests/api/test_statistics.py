"""Statistics over the API, from recorded reports: counts, durations, slots, ranks, months."""

import itertools
from datetime import UTC, datetime

import pytest

from funclet.model.invocation import Report
from funclet.model.usage import Sample
from tests.support.api import OTHER_PROJECT, PROJECT, REGION

URN = f"urn:fss:{REGION}:{PROJECT.project_id}:function:default:hello"
NOW = datetime(2026, 3, 9, 12, 30, 30, tzinfo=UTC).timestamp()
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
SERIES = {
    "count", "duration", "fail_count", "max_duration", "min_duration", "reject_count", "function_error_count",
    "system_error_count", "reserved_instance_num", "concurrency_num",
}  # fmt: skip


@pytest.fixture
def hello(api):
    """An API with one function, at a known time."""
    api.clock.at = NOW
    api.create()
    return api


def ran(api, duration_ms, *, ago_s=0.0, name="hello", version="latest", code=0, **more):
    """Record one request that ended some time ago."""
    report = Report(
        function_id=api.config(name)["func_id"],
        version=version,
        request_id="r",
        at=api.clock.at - ago_s - duration_ms / 1000,
        has_run=True,
        code=code,
        duration_ms=duration_ms,
        memory_mib=128,
        **more,
    )
    api.book.observe([report])


def told(api, *, ago_s=0.0, name="hello", version="latest", **more):
    """Record a sample."""
    project_id = api._authenticator.project.project_id
    sample = Sample(
        project_id=project_id,
        function_id=api.config(name)["func_id"],
        version=version,
        at=api.clock.at - ago_s,
        **more,
    )
    api.book.add([sample])


def report(api, path):
    answer = api.send("GET", path)
    assert answer.status == 200, answer.json
    return answer.json


def values(series):
    return [point["value"] for point in series]


@pytest.mark.proves("operation:ListFunctionStatistics")
def test_a_minute_has_the_numbers_of_its_requests(hello):
    for duration_ms, code in [(10, 0), (20, 0), (60, 4002)]:
        ran(hello, duration_ms, code=code)
    told(hello, rejects=2, system_errors=1, in_flight=3, reserved=2, instances=1)

    found = report(hello, "/functions/hello/statistics/5")

    assert set(found) == SERIES
    assert {name: series[-1]["value"] for name, series in found.items()} == {
        # Failed and refused requests are counted too.
        "count": 6,
        "duration": 30,
        "fail_count": 2,
        "max_duration": 60,
        "min_duration": 10,
        "reject_count": 2,
        "function_error_count": 1,
        "system_error_count": 1,
        "reserved_instance_num": 2,
        "concurrency_num": 3,
    }


@pytest.mark.proves("operation:ShowFunctionMetrics")
def test_the_report_has_instances_on_demand_as_well(hello):
    told(hello, instances=4)

    found = report(hello, "/functions/hello/slareports/5")

    assert set(found) == SERIES | {"instance_num"}
    assert values(found["instance_num"]) == [-1, -1, -1, -1, 4]


def test_minutes_without_anything_are_there_and_say_so(hello):
    ran(hello, 10, ago_s=2 * MINUTE_S)
    told(hello, instances=1)

    found = report(hello, "/functions/hello/statistics/5")

    assert [point["timestamp"] for point in found["count"]] == [
        (int(NOW) // 60 - ago) * 60_000 for ago in (4, 3, 2, 1, 0)
    ]
    assert values(found["count"]) == [-1, -1, 1, -1, 0]
    assert values(found["duration"]) == [-1, -1, 10, -1, -1]
    assert values(found["max_duration"]) == [-1, -1, 10, -1, -1]
    assert values(found["min_duration"]) == [-1, -1, 10, -1, -1]


@pytest.mark.parametrize(
    ("period", "points", "width_s"),
    [
        (1, 1, MINUTE_S),
        (59, 59, MINUTE_S),
        (60, 2, 1800),
        (1439, 48, 1800),
        (1440, 8, 10_800),
        (30 * 1440, 240, 10_800),
        (455 * 1440, 3640, 10_800),
    ],
)
def test_slots_are_as_wide_as_the_window_wants(hello, period, points, width_s):
    ran(hello, 10)

    found = report(hello, f"/functions/hello/statistics/{period}")["count"]

    assert len(found) == points
    assert {later["timestamp"] - one["timestamp"] for one, later in itertools.pairwise(found)} <= {width_s * 1000}
    assert found[-1] == {"timestamp": int(NOW) // width_s * width_s * 1000, "value": 1}


def test_wider_slots_have_sums_and_the_highest_of_each(hello):
    for ago_s, duration_ms in [(0, 10), (20 * MINUTE_S, 50), (29 * MINUTE_S, 30)]:
        ran(hello, duration_ms, ago_s=ago_s)
        told(hello, ago_s=ago_s, in_flight=duration_ms, rejects=1)

    found = report(hello, "/functions/hello/statistics/60")

    assert values(found["count"]) == [4, 2]
    assert values(found["duration"]) == [40, 10]
    assert values(found["max_duration"]) == [50, 10]
    assert values(found["concurrency_num"]) == [50, 10]


def test_a_qualifier_chooses_one_version_and_none_all(hello):
    hello.publish("v1")
    hello.send("POST", "/functions/hello/aliases", {"name": "live", "version": "v1"})
    for version, count in (("latest", 1), ("v1", 2)):
        for _ in range(count):
            ran(hello, 10, version=version)

    def count(urn):
        return report(hello, f"/functions/{urn}/statistics/1")["count"][-1]["value"]

    assert [count(urn) for urn in ("hello", URN, f"{URN}:latest", f"{URN}:v1", f"{URN}:!live")] == [3, 3, 1, 2, 2]


@pytest.mark.proves("operation:ShowFuncReservedInstanceMetrics")
def test_instances_of_a_day_in_pages(hello):
    told(hello, instances=2, reserved=3)
    told(hello, ago_s=2 * HOUR_S, reserved=1)

    found = report(hello, "/functions/hello/instancereports")
    assert set(found) == {"instanceNum", "reservedInstanceNum"}
    assert values(found["reservedInstanceNum"]) == [-1] * 6 + [1, 3]
    assert values(found["instanceNum"]) == [-1] * 6 + [0, 2]
    page = report(hello, "/functions/hello/instancereports?limit=2&marker=6&period=1440")
    assert values(page["reservedInstanceNum"]) == [1, 3]
    assert report(hello, "/functions/hello/instancereports?marker=8")["instanceNum"] == []


@pytest.mark.proves("operation:ListStatistics")
def test_the_project_has_the_sums_of_its_functions(hello):
    hello.create("other")
    for name in ("hello", "other"):
        ran(hello, 10, name=name)
        told(hello, name=name, in_flight=2, reserved=1)

    found = report(hello, "/functions/statistics?filter=monitor_data")

    assert set(found) == {"statistics"}
    assert set(found["statistics"]) == SERIES
    assert values(found["statistics"]["count"]) == [-1, -1, -1, -1, 2]
    assert values(found["statistics"]["reserved_instance_num"])[-1] == 2
    assert values(found["statistics"]["concurrency_num"])[-1] == 4
    one = report(hello, "/functions/statistics?filter=monitor_data&period=15&limit=1&marker=14")
    assert values(one["statistics"]["count"]) == [2]


@pytest.mark.proves("operation:ListStatistics")
def test_a_month_has_all_requests_and_what_their_memory_cost(hello):
    # 128 MB for 2.3 ms, rounded up, and the initializer of 4 s.
    ran(hello, 2.3, init_ms=4000.0)
    ran(hello, 1000.0, is_reserved=True)
    told(hello, rejects=1, reserved_mb_ms=128 * 60_000, idle_mb_ms=128 * 8000)

    found = report(hello, "/functions/statistics?filter=monthly_report")

    on_demand, reserved, idle = 0.125 * 4.003, 0.125 * 60, 0.125 * 8
    assert found == {
        "count": [{"date": "2026-03", "value": 3}],
        "gbs": [{"date": "2026-03", "value": round(on_demand + reserved + idle, 3)}],
        "gpu_gbs": [{"date": "2026-03", "value": 0}],
        "idle_gbs": [{"date": "2026-03", "value": idle}],
    }


@pytest.mark.parametrize(
    ("option", "months"),
    [
        ("0", ["2026-03"]),
        ("", ["2026-03"]),
        ("9", ["2026-03"]),
        ("x", ["2026-03"]),
        ("1", ["2026-02"]),
        ("2", ["2026-01", "2026-02", "2026-03"]),
        ("3", ["2025-10", "2025-11", "2025-12", "2026-01", "2026-02", "2026-03"]),
    ],
)
def test_months_are_those_of_utc(hello, option, months):
    # One millisecond before and after the turn.
    turn_s = NOW - datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    ran(hello, 1, ago_s=turn_s + 0.5)
    ran(hello, 1, ago_s=turn_s - 0.5)
    ran(hello, 1, ago_s=turn_s - 0.5)

    found = report(hello, f"/functions/statistics?filter=monthly_report&option={option}")

    assert [one["date"] for one in found["count"]] == months
    counts = {"2026-02": 1, "2026-03": 2}
    assert [one["value"] for one in found["count"]] == [counts.get(month, 0) for month in months]


def test_what_a_deleted_function_has_used_stays_in_the_month(hello):
    ran(hello, 1000)
    report(hello, "/functions/hello/statistics/1")
    hello.send("DELETE", "/functions/hello")

    assert report(hello, "/functions/statistics?filter=monthly_report")["count"][0]["value"] == 1
    hello.create()
    assert values(report(hello, "/functions/hello/statistics/1")["count"]) == [-1], "it is another function"


@pytest.mark.proves("operation:ListFunctionAsMetric")
def test_the_functions_with_most_failures_come_first(hello):
    for number, failures in enumerate((1, 3, 2, 0)):
        name = f"f{number}"
        hello.create(name)
        for _ in range(failures):
            ran(hello, 10, name=name, code=4002)
        ran(hello, 10, name=name)

    assert report(hello, "/function/report") == {
        "values": [
            {"key": f"{URN.removesuffix('hello')}{name}", "value": count}
            for name, count in (("f1", 3), ("f2", 2), ("f0", 1))
        ],
        "next_marker": 3,
        "count": 3,
    }
    page = report(hello, "/function/report?limit=1&marker=1")
    assert ([one["value"] for one in page["values"]], page["next_marker"], page["count"]) == ([2], 2, 3)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("count", 5), ("failcount", 2), ("failRate", 40), ("rejectcount", 1), ("concurrency", 7),
        ("reservedinstancenum", 3), ("payPerUseInstance", 4), ("duration", 20), ("maxDuration", 30),
        ("minDuration", 10), ("systemErrorCount", 1), ("functionErrorCount", 1),
    ],
)  # fmt: skip
def test_functions_are_ranked_by_any_metric_of_the_cloud(hello, kind, value):
    for duration_ms, code in ((10, 0), (20, 0), (30, 4010)):
        ran(hello, duration_ms, code=code)
    told(hello, rejects=1, system_errors=1, in_flight=7, reserved=3, instances=4)

    assert report(hello, f"/function/report?type={kind}")["values"] == [{"key": URN, "value": value}]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 2),
        (f"?start_time={int(NOW) - 7200}", 2),
        (f"?start_time={int(NOW) - 600}", 1),
        (f"?start_time={(int(NOW) - 600) * 1000}", 1),
        (f"?start_time={int(NOW) - 86400}&end_time={int(NOW) - 3600}", 1),
        ("?start_time=2026-03-09T12:00:00Z", 1),
        ("?start_time=2026-03-09T20:00:00%2B08:00", 1),
        ("?start_time=2026-03-09T04:00:00&end_time=2026-03-09T12:00:00%2B00:00", 1),
    ],
)
def test_ranks_are_of_the_time_that_is_asked_for(hello, query, count):
    ran(hello, 10, code=4002)
    ran(hello, 10, code=4002, ago_s=80 * MINUTE_S)

    assert report(hello, f"/function/report{query}")["values"][0]["value"] == count


def test_another_project_sees_nothing(hello):
    ran(hello, 10, code=4002)
    hello.book.add([])
    report(hello, "/function/report")
    hello.act_as(OTHER_PROJECT)

    assert report(hello, "/function/report")["values"] == []
    assert values(report(hello, "/functions/statistics?filter=monitor_data&period=1")["statistics"]["count"]) == [-1]
    assert report(hello, "/functions/statistics?filter=monthly_report")["count"][0]["value"] == 0
    assert hello.send("GET", "/functions/hello/statistics/5").error == (404, "FSS.1051")
    assert hello.send("GET", f"/functions/{URN}/slareports/5").error == (403, "FSS.0403")


@pytest.mark.proves("error:FSS.0400", "error:FSS.1001", "error:FSS.1051", "error:FSS.1052", "error:FSS.1053")
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/functions/statistics", (400, "FSS.0400")),
        ("/functions/statistics?filter=", (400, "FSS.0400")),
        ("/functions/statistics?filter=daily", (400, "FSS.0400")),
        ("/functions/statistics?filter=monitor_data&period=0", (400, "FSS.0400")),
        ("/functions/statistics?filter=monitor_data&period=-5", (400, "FSS.0400")),
        ("/functions/statistics?filter=monitor_data&period=655201", (400, "FSS.0400")),
        ("/functions/statistics?filter=monitor_data&period=five", (400, "FSS.1001")),
        ("/functions/statistics?filter=monitor_data&limit=-1", (400, "FSS.1001")),
        ("/functions/statistics?filter=monthly_report&marker=x", (400, "FSS.1001")),
        ("/functions/hello/statistics/0", (400, "FSS.0400")),
        ("/functions/hello/statistics/-1", (400, "FSS.0400")),
        ("/functions/hello/statistics/5m", (400, "FSS.0400")),
        ("/functions/hello/statistics/655201", (400, "FSS.0400")),
        ("/functions/hello/slareports/99999999999999999999", (400, "FSS.0400")),
        ("/functions/hello/slareports/%D9%A3", (400, "FSS.0400")),
        ("/functions/none/statistics/5", (404, "FSS.1051")),
        (f"/functions/{URN}:v9/statistics/5", (404, "FSS.1052")),
        (f"/functions/{URN}:!none/slareports/5", (404, "FSS.1053")),
        ("/functions/none/instancereports", (404, "FSS.1051")),
        ("/functions/hello/instancereports?limit=x", (400, "FSS.1001")),
        ("/functions/hello/instancereports?period=0", (400, "FSS.0400")),
        ("/function/report?type=colour", (400, "FSS.0400")),
        ("/function/report?limit=-1", (400, "FSS.1001")),
        ("/function/report?start_time=soon", (400, "FSS.1001")),
        ("/function/report?start_time=2000&end_time=1000", (400, "FSS.0400")),
        ("/function/report?start_time=9999999999999999", (400, "FSS.1001")),
    ],
)
def test_bad_queries_are_refused(hello, path, error):
    assert hello.send("GET", path).error == error
