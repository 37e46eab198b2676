"""`fgs function reserve`, `instances` and `stats`: what is sent, and what is shown."""

import json

import pytest

P = "0123456789abcdef0123456789abcdef"
HELLO = f"/fgs/functions/{P}:default:hello"
CONFIGS = "/fgs/functions/reservedinstanceconfigs"
POLICY = {
    "function_urn": f"urn:fss:r:{P}:function:default:hello",
    "qualifier_type": "version",
    "qualifier_name": "latest",
    "min_count": 2,
    "idle_mode": False,
    "tactics_config": {},
}


def sent(stub):
    """Return the body of the last request."""
    return json.loads(stub.seen[-1].body)


def test_a_count_is_set(fgs, stub):
    answer = {"count": 2, "idle_mode": True, "tactics_config": {}}
    stub.on("PUT", f"{HELLO}/reservedinstances", 200, answer)

    ran = fgs("function", "reserve", "hello", "--count", "2", "--idle", "-o", "json")

    assert ran.json == answer
    assert sent(stub) == {"count": 2, "idle_mode": True, "tactics_config": {}}


def test_schedules_and_policies_by_load_are_sent_as_the_api_wants_them(fgs, stub):
    stub.on("PUT", f"{HELLO}:live/reservedinstances", 200, {"count": 0, "idle_mode": False, "tactics_config": {}})

    ran = fgs(
        "function", "reserve", "hello:live",
        "--schedule", "day,0 0 8 ? * 1,3,5,10",
        "--schedule", "sale,@every 1h,4,1700000000,2030-01-01T00:00:00+01:00",
        "--metric", "busy,60,2",
    )  # fmt: skip

    assert ran.code == 0, ran.err
    assert sent(stub)["tactics_config"] == {
        "cron_configs": [
            {"name": "day", "cron": "0 0 8 ? * 1,3,5", "count": 10},
            {
                "name": "sale",
                "cron": "@every 1h",
                "count": 4,
                "start_time": 1_700_000_000,
                "expired_time": 1_893_452_400,
            },
        ],
        "metric_configs": [{"name": "busy", "type": "Concurrency", "threshold": 60, "min": 2}],
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--schedule", "day"], "'day' is no schedule"),
        (["--schedule", "day,0 0 8 * * ?,many"], "is no schedule"),
        (["--schedule", "day,0 0 8 * * ?,1,next monday,"], "'next monday' is no time"),
        (["--metric", "busy"], "'busy' is no policy by load"),
        (["--metric", "busy,60%,2"], "is no policy by load"),
        (["--count", "1001"], "1001 is not in the range"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is_sent(fgs, stub, words, says):
    ran = fgs("function", "reserve", "hello", *words)

    assert ran.code != 0
    assert says in ran.err
    assert not stub.seen


def test_without_options_the_policies_are_shown(fgs, stub):
    stub.on("GET", CONFIGS, 200, {"reserved_instances": [POLICY], "count": 1})

    ran = fgs("function", "reserve", "hello", "-o", "table")

    assert ran.out.splitlines()[0].split() == [
        "QUALIFIER_NAME",
        "QUALIFIER_TYPE",
        "MIN_COUNT",
        "IDLE_MODE",
        "TACTICS_CONFIG",
    ]
    assert ran.out.splitlines()[1].split() == ["latest", "version", "2", "False"]
    assert fgs("function", "reserve", "hello", "-o", "json").json == [POLICY]


def test_instances_are_listed(fgs, stub):
    one = {
        "instance_id": "i-1", "version": "latest", "state": "busy", "reserved": True, "memory_size": 128,
        "started_at": "2026-03-09T08:00:00Z", "served": 7,
    }  # fmt: skip
    stub.on("GET", f"/funclet/functions/{P}:default:hello/instances", 200, {"instances": [one], "count": 1})

    assert "i-1" in fgs("function", "instances", "hello", "-o", "table").out
    assert fgs("function", "instances", "hello", "-o", "json").json == [one]


def series(*values):
    return [{"timestamp": 1_773_000_000_000 + 60_000 * number, "value": value} for number, value in enumerate(values)]


def test_statistics_of_a_function_have_a_row_for_each_time(fgs, stub):
    stub.on("GET", f"{HELLO}/slareports/60", 200, {"count": series(-1, 3), "duration": series(-1, 2.5)})

    ran = fgs("function", "stats", "hello", "--minutes", "60", "-o", "json")

    assert ran.json == [
        {"time": "2026-03-08T20:00:00Z", "count": None, "duration": None},
        {"time": "2026-03-08T20:01:00Z", "count": 3, "duration": 2.5},
    ]
    assert fgs("function", "stats", "hello", "--minutes", "60", "-o", "table").out.splitlines()[0].split()[:3] == [
        "TIME", "COUNT", "FAIL_COUNT",
    ]  # fmt: skip


def test_without_a_name_they_are_those_of_the_project(fgs, stub):
    stub.on("GET", "/fgs/functions/statistics", 200, {"statistics": {"count": series(4)}})

    assert fgs("function", "stats", "-o", "json").json == [{"time": "2026-03-08T20:00:00Z", "count": 4}]


def test_months_have_what_the_cloud_would_ask_for_them(fgs, stub):
    """The worked example of platform.md 9.3."""
    found = {"count": 2_200_000, "gbs": 737_600.0, "gpu_gbs": 0, "idle_gbs": 45_500.0}
    answer = {name: [{"date": "2026-03", "value": value}] for name, value in found.items()}
    stub.on("GET", "/fgs/functions/statistics", 200, answer)

    assert fgs("function", "stats", "--months", "-o", "json").json == [
        {"month": "2026-03", "count": 2_200_000, "gbs": 737_600.0, "idle_gbs": 45_500.0, "estimate": 35.56}
    ]
