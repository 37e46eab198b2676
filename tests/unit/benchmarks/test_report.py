"""From series of figures to the tables."""

import json

from benchmarks.measures import Series
from benchmarks.report import ASGI, NGINX, OURS, REFERENCE, render, table, to_document, verdicts


def series(per_s, p50_us=100.0, front_us=10.0):
    made = Series(note="a note")
    for value in per_s:
        made.add(per_s=value, p50_us=p50_us, p99_us=200.0, front_us=front_us, failed=0, others_cores=0.1, workers=2)
    return made


def goal(measured, what):
    return next((figure, aim) for name, figure, aim in verdicts(measured) if name.startswith(what))


def test_a_goal_compares_round_by_round():
    measured = {"warm": {OURS: series([60.0, 20.0, 66.0]), REFERENCE: series([100.0, 40.0, 110.0])}}

    figure, aim = goal(measured, "warm requests/s, by those of ref")

    assert figure.median == 0.6
    assert aim.is_met(figure.median)


def test_the_distance_to_nginx_is_a_difference():
    measured = {"single": {OURS: series([1.0], p50_us=160.0), NGINX: series([1.0], p50_us=60.0)}}

    figure, aim = goal(measured, "warm p50 over nginx")

    assert figure.median == 100.0
    assert not aim.is_met(figure.median)


def test_what_was_not_measured_is_neither_met_nor_missed():
    figure, _ = goal({"warm": {OURS: series([1.0])}}, "... of functions-framework ASGI")
    page = render({"warm": {OURS: series([1.0])}}, {}, [f"{ASGI} is not installed"])

    assert figure is None
    assert "| cold start, Python, pool hit, p50, ms | - | ≤ 3 | not measured |" in page
    assert f"not measured: {ASGI} is not installed" in page


def test_cold_starts_are_judged_by_their_percentiles():
    starts = Series()
    for value in range(1, 101):
        starts.add(took_ms=float(value))

    p50, _ = goal({"cold": {"Python, pool empty, new function": starts}}, "cold start, Python, pool empty, p50")
    p99, _ = goal({"cold": {"Python, pool empty, new function": starts}}, "cold start, Python, pool empty, p99")

    assert (p50.median, p99.median) == (50.0, 99.0)


def test_the_document_keeps_every_round():
    measured = {"warm": {OURS: series([1.0, 2.0])}}

    document = json.loads(json.dumps(to_document(measured, {"cores": "2"}, [])))

    assert document["measured"]["warm"][OURS]["per_s"] == [1.0, 2.0]
    assert document["about"] == {"cores": "2"}
    assert {"what", "figure", "goal", "met"} == set(document["goals"][0])


def test_a_table_is_markdown():
    assert table(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
