"""Counters of versions, and their text for Prometheus."""

import re
from types import SimpleNamespace

from funclet.metrics import BUCKETS_MS, OTHERS, PLATFORM_FAILED, Metrics, render
from funclet.model.invocation import Report

SAMPLE = re.compile(r'[a-z_]+(?:\{[a-z]+="[^"\\\n]*"(?:,[a-z]+="[^"\\\n]*")*\})? -?\d+(?:\.\d+)?')


def version(name="hello", number="latest"):
    return SimpleNamespace(project_id="p", package="default", name=name, function_id="f-1", version=number)


def report(code, duration_ms, wait_ms, start_ms, cpu_ms, *, is_cold):
    return Report(
        code=code, duration_ms=duration_ms, wait_ms=wait_ms, start_ms=start_ms, cpu_ms=cpu_ms, is_cold=is_cold
    )


def samples(counters, **values):
    """Return the rendered samples by name with labels, after a check of the format."""
    lines = render(counters, values).decode().splitlines()
    found = [line for line in lines if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in found), found
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {re.sub(r"_(bucket|sum|count)$", "", line.split("{")[0].split()[0]) for line in found} <= typed
    return dict(line.rsplit(" ", 1) for line in found)


HELLO = 'project="p",function="default:hello",version="latest"'


def test_requests_are_counted_by_result():
    metrics = Metrics()
    counters = metrics.hold(version())
    for code in (0, 0, 4002, 4204, 4010):
        counters.observe(report(code, 3.0, 1.5, 0.0, 2.25, is_cold=False))
    counters.observe(report(0, 40.0, 30.0, 28.5, 9.0, is_cold=True))
    counters.observe_failure(PLATFORM_FAILED)
    counters.throttles += 2

    found = samples(metrics.snapshot())

    results = {name.split('result="')[1][:-2]: value for name, value in found.items() if "fgs_invocations" in name}
    assert results == {"success": "3", "code_error": "2", "invocation_timed_out": "1", "system_error": "1"}
    assert found[f"fgs_cold_starts_total{{{HELLO}}}"] == "1"
    assert found[f"fgs_throttles_total{{{HELLO}}}"] == "2"
    assert found[f"fgs_wait_ms_total{{{HELLO}}}"] == "37.5"
    assert found[f"fgs_start_ms_total{{{HELLO}}}"] == "28.5"
    assert found[f"fgs_cpu_ms_total{{{HELLO}}}"] == "20.25"
    assert found[f"fgs_duration_ms_sum{{{HELLO}}}"] == "55"


def test_thirteen_buckets_count_what_is_not_longer_than_their_bound():
    metrics = Metrics()
    counters = metrics.hold(version())
    for duration_ms in (0.2, 1.0, 1.01, 900_000.0, 900_001.0):
        counters.observe(report(0, duration_ms, 0.0, 0.0, 0.0, is_cold=False))

    found = samples(metrics.snapshot())

    buckets = {name: int(value) for name, value in found.items() if "bucket" in name}
    assert len(BUCKETS_MS) == 13
    assert [buckets[f'fgs_duration_ms_bucket{{{HELLO},le="{bound}"}}'] for bound in (1, 5, 120_000, 900_000)] == [
        2,
        3,
        3,
        4,
    ]
    assert buckets[f'fgs_duration_ms_bucket{{{HELLO},le="+Inf"}}'] == 5
    assert list(buckets.values()) == sorted(buckets.values())
    assert found[f"fgs_duration_ms_count{{{HELLO}}}"] == "5"


def test_values_of_the_whole_server():
    found = samples([], fgs_instances={"idle": 2, "busy": 1}, fgs_log_dropped_total=0, fgs_memory_used_mb=1.23456)

    assert found == {
        'fgs_instances{kind="idle"}': "2",
        'fgs_instances{kind="busy"}': "1",
        "fgs_log_dropped_total": "0",
        "fgs_memory_used_mb": "1.235",
    }


def test_the_pools_of_one_version_share_their_counters():
    metrics = Metrics()
    small, large = metrics.hold(version()), metrics.hold(version())

    assert small is large
    assert metrics.hold(version(number="v1")) is not small


def test_versions_longest_idle_are_folded_and_no_count_is_lost():
    metrics = Metrics(max_versions=3)
    held = metrics.hold(version("held"))
    for number in range(10):
        counters = metrics.hold(version(f"f{number}"))
        counters.observe(report(0, 2.0, 1.0, 0.0, 0.5, is_cold=True))
        counters.throttles += 1
        metrics.let_go(counters)
    held.observe(report(0, 2.0, 0.0, 0.0, 0.0, is_cold=False))

    rows = {row.key[2]: row for row in metrics.snapshot()}

    assert set(rows) == {"held", "f8", "f9", OTHERS}
    assert rows[OTHERS].results == {0: 8}
    assert (rows[OTHERS].cold_starts, rows[OTHERS].throttles, rows[OTHERS].wait_ms) == (8, 8, 8.0)
    assert sum(sum(row.buckets) for row in rows.values()) == 11


def test_a_version_that_a_pool_holds_is_never_folded():
    metrics = Metrics(max_versions=2)

    held = [metrics.hold(version(f"f{number}")) for number in range(5)]
    assert len(metrics.snapshot()) == 5

    for counters in held:
        metrics.let_go(counters)
    assert len(metrics.snapshot()) == 2


def test_a_failure_that_never_had_a_pool_is_counted_too():
    metrics = Metrics()

    metrics.failed(version(), 4201)

    (row,) = metrics.snapshot()
    assert (row.results, row.holders) == ({4201: 1}, 0)
