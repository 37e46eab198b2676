"""From series of figures to the tables."""

import json

import pytest

from benchmarks import footprint, starts
from benchmarks.figures import Grade
from benchmarks.goals import ASGI, NGINX, OURS, REFERENCE, verdicts
from benchmarks.measures import CALLERS, FLOOD, Series
from benchmarks.report import render, table, to_document


def series(per_s, p50_us=100.0, front_us=10.0):
    made = Series(note="a note")
    for value in per_s:
        made.add(per_s=value, p50_us=p50_us, p99_us=200.0, front_us=front_us, failed=0, others_cores=0.1, workers=2)
    return made


def verdict(measured, what):
    return next(one for one in verdicts(measured) if one.what == what)


def test_a_goal_compares_round_by_round():
    measured = {"warm": {OURS: series([60.0, 20.0, 66.0]), REFERENCE: series([100.0, 40.0, 110.0])}}

    found = verdict(measured, "warm, by ref")

    assert found.figure.median == 0.6
    assert found.grade is Grade.MUST


def test_the_distance_to_nginx_is_a_difference():
    measured = {"single": {OURS: series([1.0], p50_us=160.0), NGINX: series([1.0], p50_us=60.0)}}

    found = verdict(measured, "warm p50 over nginx")

    assert found.figure.median == 100.0
    assert found.grade is Grade.MISSED


def test_what_was_not_measured_is_neither_met_nor_missed():
    found = verdict({"warm": {OURS: series([1.0])}}, "warm, by functions-framework ASGI")
    page = render({"warm": {OURS: series([1.0])}}, {}, [f"{ASGI} is not installed"])

    assert (found.figure, found.grade) == (None, None)
    assert "| cold start, Python, pool hit, p50 | ms | - | ≤ 3 | ≤ 0.8 | not measured |" in page
    assert f"not measured: {ASGI} is not installed" in page


def test_cold_starts_are_judged_by_their_percentiles():
    starts_ = Series()
    for value in range(1, 101):
        starts_.add(took_ms=float(value))

    measured = {"cold": {"Python, pool empty, new function": starts_}}
    found = [verdict(measured, f"cold start, Python, pool empty, {share}") for share in ("p50", "p99")]

    assert [one.figure.median for one in found] == [50.0, 99.0]


@pytest.mark.parametrize(
    ("part", "target", "figure", "what"),
    [
        ("overload", CALLERS, "share", "64 callers: goodput by best"),
        ("overload", FLOOD, "p99_by_best", "open loop, 10 times: p99 of accepted by best"),
        ("burst", starts.MANY, "took_ms", "200 cold functions at once, all answered"),
        ("burst", starts.ONE, "took_ms", "1 function, 100 callers, from 0 to all answered"),
        ("sustained", starts.SUSTAINED, "per_s", "isolated starts without a pause"),
        ("deploy", starts.DEPLOYED, "took_ms", "create function (zip) to first 200, p50"),
        ("memory", footprint.INSTANCE, "instance_mib", "idle isolated Python instance, all in"),
        ("connections", footprint.IDLE_CONNECTIONS, "more_mb", "10,000 idle connections"),
        ("rest", footprint.REST, "pss_mb", "at rest, 10,000 functions: memory"),
        ("rest", footprint.REST, "cpu_percent", "at rest, 10,000 functions: CPU"),
    ],
)
def test_each_part_has_its_goals(part, target, figure, what):
    measured = {part: {target: one_figure(figure, 0.5)}}

    assert verdict(measured, what).figure.median == 0.5
    assert verdict({}, what).figure is None


def test_figures_without_a_table_of_their_own_are_shown_by_name():
    page = render({"rest": {footprint.REST: one_figure("wake_ups_per_s", 2.5)}}, {}, [])

    assert f"| {footprint.REST}: a note | wake_ups_per_s | 1 | 2.50 [2.50..2.50] |" in page


def one_figure(name, value):
    made = Series(note="a note")
    made.add(**{name: value})
    return made


def test_the_document_keeps_every_round():
    measured = {"warm": {OURS: series([1.0, 2.0])}}

    document = json.loads(json.dumps(to_document(measured, {"cores": "2"}, [])))

    assert document["measured"]["warm"][OURS]["per_s"] == [1.0, 2.0]
    assert document["about"] == {"cores": "2"}
    assert {"part", "what", "unit", "figure", "must", "goal", "reached"} == set(document["goals"][0])


def test_a_table_is_markdown():
    assert table(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
