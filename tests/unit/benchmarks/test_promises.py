"""The table of speed that the specification shows."""

import pytest

from benchmarks import starts
from benchmarks.promises import BEGIN, END, measured_in, replaced, rows


def document(part, target, **figures):
    return {"measured": {part: {target: {"note": "a note", **figures}}}}


def row(measured, what):
    return next(found for found in rows(measured) if found[0] == what)


@pytest.mark.parametrize(
    ("value", "figure", "state"), [(50.0, "50.0", "goal met"), (200.0, "200", "met"), (3728.4, "3 728", "not met yet")]
)
def test_a_figure_is_called_what_it_reaches(value, figure, state):
    measured = measured_in([document("burst", starts.MANY, took_ms=[value])])

    found = row(measured, "200 cold functions at once, all answered")

    assert found[1:] == ("ms", "≤ 300", "≤ 60", figure, state, "[burst](benchmarks/starts.py)")


def test_what_was_not_measured_is_no_promise():
    assert row({}, "isolated starts without a pause")[4:6] == ("-", "not measured yet")


def test_the_last_file_that_has_a_part_counts():
    files = [document("burst", starts.MANY, took_ms=[value]) for value in (10.0, 20.0)]
    measured = measured_in([*files, document("deploy", starts.DEPLOYED, took_ms=[7.0])])

    assert row(measured, "200 cold functions at once, all answered")[4] == "20.0"
    assert row(measured, "create function (zip) to first 200, p50")[4] == "7.00"


def test_only_the_table_is_replaced():
    page = replaced(f"before\n{BEGIN}\nwhat was there\n{END}\nafter\n", {})

    assert page.startswith(f"before\n{BEGIN}\n\n| Measure |")
    assert page.endswith(f" |\n\n{END}\nafter\n")
    assert "what was there" not in page
    assert replaced(page, {}) == page


def test_a_page_without_a_place_is_refused():
    with pytest.raises(ValueError, match="no place"):
        replaced("nothing here", {})
