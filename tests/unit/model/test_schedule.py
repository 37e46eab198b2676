import contextlib
import re
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funclet.model import schedule
from funclet.model.errors import ModelError


def at(text):
    """Read `2026-03-10 10:07:12[.5]` as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def fires(schedule_type, text, reference, count=3):
    parsed = schedule.parse(schedule_type, text)
    found, last = [], at(reference)
    for _ in range(count):
        last = schedule.next_after(parsed, last)
        assert last is not None
        found.append(datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%d %H:%M:%S"))
    return found


EXAMPLES = [
    ("0 15 2 * * ?", "2026-03-10 02:15:00", "2026-03-11 02:15:00, 2026-03-12 02:15:00, 2026-03-13 02:15:00"),
    ("0 30 8 ? * Mon-Fri", "2026-03-13 08:30:00", "2026-03-16 08:30:00, 2026-03-17 08:30:00, 2026-03-18 08:30:00"),
    ("0 45 7 1-3 * ?", "2026-03-02 07:45:00", "2026-03-03 07:45:00, 2026-04-01 07:45:00, 2026-04-02 07:45:00"),
    (
        "0 0/3 * ? * Mon,Wed,Fri,Sun",
        "2026-03-09 23:57:00",
        "2026-03-11 00:00:00, 2026-03-11 00:03:00, 2026-03-11 00:06:00",
    ),
    ("0 0/3 9-18 ? * Mon-Fri", "2026-03-13 18:57:00", "2026-03-16 09:00:00, 2026-03-16 09:03:00, 2026-03-16 09:06:00"),
    ("0 0/30 * * * ?", "2026-03-10 10:00:01", "2026-03-10 10:30:00, 2026-03-10 11:00:00, 2026-03-10 11:30:00"),
    ("0 1/3 * * * *", "2026-03-10 10:00:00", "2026-03-10 10:01:00, 2026-03-10 10:04:00, 2026-03-10 10:07:00"),
    ("*/10 * * * * *", "2026-03-10 10:00:05.400", "2026-03-10 10:00:10, 2026-03-10 10:00:20, 2026-03-10 10:00:30"),
    ("0 0 12 * *", "2026-03-10 10:00:00", "2026-03-10 12:00:00, 2026-03-11 12:00:00, 2026-03-12 12:00:00"),
    ("5-20/7 0 0 1 1 *", "2026-03-10 10:00:00", "2027-01-01 00:00:05, 2027-01-01 00:00:12, 2027-01-01 00:00:19"),
    ("0 0 0 29 2 ?", "2026-03-10 10:00:00", "2028-02-29 00:00:00, 2032-02-29 00:00:00, 2036-02-29 00:00:00"),
    ("0 0 0 31 * ?", "2026-03-31 00:00:00", "2026-05-31 00:00:00, 2026-07-31 00:00:00, 2026-08-31 00:00:00"),
    ("0 0 0 13 * FRI", "2026-03-10 10:00:00", "2026-03-13 00:00:00, 2026-03-20 00:00:00, 2026-03-27 00:00:00"),
    ("0 0 0 13 * *", "2026-03-14 10:00:00", "2026-04-13 00:00:00, 2026-05-13 00:00:00, 2026-06-13 00:00:00"),
    ("0 0 0 15 * 0", "2026-03-10 10:07:12", "2026-03-15 00:00:00, 2026-03-22 00:00:00, 2026-03-29 00:00:00"),
    ("0 0 0 */10 * SAT", "2026-03-10 10:00:00", "2026-03-11 00:00:00, 2026-03-14 00:00:00, 2026-03-21 00:00:00"),
    ("0 0 0 */1 * 1", "2026-03-10 10:07:12", "2026-03-16 00:00:00, 2026-03-23 00:00:00, 2026-03-30 00:00:00"),
    (
        "0 0 0 1 JAN,apr,Jul,OCT ?",
        "2026-03-10 10:00:00",
        "2026-04-01 00:00:00, 2026-07-01 00:00:00, 2026-10-01 00:00:00",
    ),
    (
        "0 0 12 ? JAN,FEB,MAR,APR *",
        "2026-04-30 12:00:00",
        "2027-01-01 12:00:00, 2027-01-02 12:00:00, 2027-01-03 12:00:00",
    ),
    ("0 26,29,33 * * * *", "2026-03-10 10:29:00", "2026-03-10 10:33:00, 2026-03-10 11:26:00, 2026-03-10 11:29:00"),
    (
        "CRON_TZ=Asia/Shanghai 0 0 8 * * ?",
        "2026-03-10 00:00:00",
        "2026-03-11 00:00:00, 2026-03-12 00:00:00, 2026-03-13 00:00:00",
    ),
    (
        "CRON_TZ=Europe/Berlin 0 0 12 * * *",
        "2026-03-28 11:30:00",
        "2026-03-29 10:00:00, 2026-03-30 10:00:00, 2026-03-31 10:00:00",
    ),
    (
        "CRON_TZ=Europe/Berlin 0 30 2 * * *",
        "2026-03-28 03:00:00",
        "2026-03-30 00:30:00, 2026-03-31 00:30:00, 2026-04-01 00:30:00",
    ),
    (
        "CRON_TZ=Europe/Berlin 0 30 2 * * *",
        "2026-10-24 23:00:00",
        "2026-10-25 00:30:00, 2026-10-25 01:30:00, 2026-10-26 01:30:00",
    ),
    (
        "CRON_TZ=Europe/Berlin 0 */15 * * * *",
        "2026-03-29 00:50:00",
        "2026-03-29 01:00:00, 2026-03-29 01:15:00, 2026-03-29 01:30:00",
    ),
    (
        "TZ=America/Sao_Paulo 0 0 9 ? * 1-5",
        "2026-03-13 12:00:00",
        "2026-03-16 12:00:00, 2026-03-17 12:00:00, 2026-03-18 12:00:00",
    ),
    ("@every 30m", "2026-03-10 10:07:12.5", "2026-03-10 10:37:12, 2026-03-10 11:07:12, 2026-03-10 11:37:12"),
    ("@every 1.5h", "2026-03-10 10:07:12", "2026-03-10 11:37:12, 2026-03-10 13:07:12, 2026-03-10 14:37:12"),
    ("@every 500ms", "2026-03-10 10:07:12", "2026-03-10 10:07:13, 2026-03-10 10:07:14, 2026-03-10 10:07:15"),
    ("@every 1500ms", "2026-03-10 10:07:12.9", "2026-03-10 10:07:13, 2026-03-10 10:07:14, 2026-03-10 10:07:15"),
    ("@every  2h30m", "2026-03-10 00:00:00", "2026-03-10 02:30:00, 2026-03-10 05:00:00, 2026-03-10 07:30:00"),
    ("@weekly", "2026-03-10 10:00:00", "2026-03-15 00:00:00, 2026-03-22 00:00:00, 2026-03-29 00:00:00"),
]


@pytest.mark.parametrize(("text", "reference", "expected"), EXAMPLES, ids=[row[0] + " @ " + row[1] for row in EXAMPLES])
def test_worked_examples_of_cron(text, reference, expected):
    assert fires("Cron", text, reference) == expected.split(", ")


@pytest.mark.parametrize("local", ["Asia/Shanghai", "America/New_York", "Europe/Berlin"])
def test_the_zone_of_the_machine_changes_nothing(local, monkeypatch):
    expected = [fires("Cron", text, reference) for text, reference, _ in EXAMPLES]

    monkeypatch.setenv("TZ", local)
    time.tzset()
    try:
        found = [fires("Cron", text, reference) for text, reference, _ in EXAMPLES]
    finally:
        monkeypatch.undo()
        time.tzset()

    assert found == expected


@pytest.mark.parametrize(
    ("text", "after", "until", "count"),
    [
        ("@every 10s", "2026-03-10 10:00:00", "2026-03-10 11:00:00.5", 360),
        ("@every 10s", "2026-03-10 10:00:00", "2026-03-10 10:00:09", 0),
        ("0 0 * * * *", "2026-03-10 10:00:00", "2026-03-10 12:59:00", 2),
        ("* * * * * *", "2026-03-10 10:00:00", "2026-03-10 12:59:00", 7),
    ],
)
def test_due_times_are_counted_up_to_a_bound(text, after, until, count):
    assert schedule.count_between(schedule.parse("Cron", text), at(after), at(until), most=7) == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m", 60), ("60m", 3600), ("3h", 10800), ("24h", 86400), ("1d", 86400), ("30d", 2592000)]
)
def test_a_rate_is_a_fixed_interval(text, seconds):
    assert schedule.parse("Rate", text).seconds == seconds


def test_a_rate_of_one_day_is_24_hours():
    expected = ["2026-03-11 10:07:12", "2026-03-12 10:07:12", "2026-03-13 10:07:12"]

    assert fires("Rate", "1d", "2026-03-10 10:07:12") == expected


@pytest.mark.parametrize(
    "text",
    ["", "90m", "0m", "61m", "25h", "31d", "90s", "1.5h", "3 m", "+3m", "-3m", "1h30m", "03m", "3M", "٣m", "3m\n"],
)
def test_rates_that_are_refused(text):
    with pytest.raises(ModelError) as refusal:
        schedule.parse("Rate", text)

    assert refusal.value.code == "FSS.1109"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "* * * *",
        "0 0 0 1 1 ? 2027",
        "0 60 * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 32 * *",
        "0 0 0 * 13 *",
        "0 0 0 * * 7",
        "0 0 0 * * Monday",
        "0 0 0 L * ?",
        "0 0 0 15W * ?",
        "0 0 0 ? * 5#2",
        "0 0 0 ? * Fri-Mon",
        "0 0/0 * * * *",
        "0 , * * * *",
        "0 1, * * * *",
        "0 1-2-3 * * * *",
        "0 1/2/3 * * * *",
        "0 -1 * * * *",
        "0 *-5 * * * *",
        "0 +5 * * * *",
        "@every 1d",
        "@every 5",
        "@every -5m",
        "@every 0s",
        "@every",
        "@every5m",
        "@every 1.2.3s",
        "@every 99999999999h",
        "@EVERY 5m",
        "@reboot",
        "CRON_TZ=Nowhere/City 0 0 0 * * *",
        "CRON_TZ=../../etc/passwd 0 0 0 * * *",
        "CRON_TZ=Europe 0 0 0 * * *",
        "CRON_TZ= 0 0 0 * * *",
        "CRON_TZ=UTC",
        "0 " * 200,
    ],
)
def test_cron_expressions_that_are_refused(text):
    with pytest.raises(ModelError) as refusal:
        schedule.parse("Cron", text)

    assert refusal.value.code == "FSS.1109"


@pytest.mark.parametrize("schedule_type", ["rate", "CRON", "", "Once"])
def test_the_type_is_taken_exactly(schedule_type):
    with pytest.raises(ModelError) as refusal:
        schedule.parse(schedule_type, "1m")

    assert "Rate" in refusal.value.message


def test_a_day_that_never_comes_has_no_next_time():
    assert schedule.next_after(schedule.parse("Cron", "0 0 0 30 2 ?"), at("2026-03-10 00:00:00")) is None


def test_an_interval_keeps_the_phase_of_its_anchor():
    every = schedule.parse("Cron", "@every 10m")

    due = schedule.next_after(every, at("2026-03-10 10:34:59.9"), anchor=at("2026-03-10 10:05:00.7"))

    assert due == at("2026-03-10 10:35:00")


def test_the_default_zone_stands_in_for_a_missing_prefix():
    noon = schedule.parse("Cron", "0 0 12 * * ?", default_zone="Asia/Shanghai")

    assert schedule.next_after(noon, at("2026-03-10 00:00:00")) == at("2026-03-10 04:00:00")
    assert schedule.local_text(noon, at("2026-03-10 04:00:00")) == "2026-03-10T12:00:00+08:00"


@pytest.mark.parametrize(
    ("text", "after", "until", "expected"),
    [
        ("0 0 * * * *", "2026-03-10 10:00:00", "2026-03-10 10:59:59", None),
        ("0 0 * * * *", "2026-03-10 10:00:00", "2026-03-10 11:00:00", "2026-03-10 11:00:00"),
        ("0 0 * * * *", "2026-03-10 10:00:00", "2026-04-20 17:30:00.5", "2026-04-20 17:00:00"),
        ("* * * * * *", "2026-01-01 00:00:00", "2026-04-20 17:30:00.5", "2026-04-20 17:30:00"),
        ("@every 7m", "2026-03-10 10:00:00", "2026-03-10 11:00:00", "2026-03-10 10:56:00"),
        ("@every 7m", "2026-03-10 10:00:00", "2026-03-10 10:06:00", None),
    ],
)
def test_the_latest_of_the_missed_times(text, after, until, expected):
    found = schedule.latest_between(schedule.parse("Cron", text), at(after), at(until))

    assert found == (expected and at(expected))


ZONES = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]


def items(low, high):
    number = st.integers(low, high)
    span = st.tuples(number, number).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    step = st.integers(1, 12)
    item = st.one_of(
        st.just("*"),
        number.map(str),
        span,
        st.builds("{}/{}".format, st.one_of(st.just("*"), number.map(str), span), step),
    )
    return st.lists(item, min_size=1, max_size=3).map(",".join)


def matches(field, value, low, high):
    """Decide whether one field matches, straight from the words of the grammar."""
    for item in field.split(","):
        span, _, step = item.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = map(int, span.split("-"))
        else:
            first, last = int(span), high if step else int(span)
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


def reference_next(fields, zone, start, horizon):
    """Try every second, minute by minute, until `horizon`."""
    second_field, minute_field, hour_field, day_field, month_field, weekday_field = fields
    free = [any(re.fullmatch(r"\*(/1)?", item) for item in field.split(",")) for field in (day_field, weekday_field)]
    moment = int(start // 1) + 1
    while moment <= horizon:
        local = datetime.fromtimestamp(moment, zone)
        day = matches(day_field, local.day, 1, 31)
        weekday = matches(weekday_field, local.isoweekday() % 7, 0, 6)
        if (
            matches(minute_field, local.minute, 0, 59)
            and matches(hour_field, local.hour, 0, 23)
            and matches(month_field, local.month, 1, 12)
            and (day and weekday if any(free) else day or weekday)
        ):
            for second in range(local.second, 60):
                found = moment + second - local.second
                if found <= horizon and matches(second_field, second, 0, 59):
                    return float(found)
        moment += 60 - local.second
    return None


@settings(max_examples=150, deadline=None)
@given(
    fields=st.tuples(items(0, 59), items(0, 59), items(0, 23), items(1, 31), items(1, 12), items(0, 6)),
    zone=st.sampled_from(ZONES),
    # Around the changes of daylight saving time in 2026 as well as at any time of the year.
    start=st.one_of(
        st.floats(at("2026-01-01 00:00:00"), at("2026-12-31 00:00:00")),
        st.sampled_from(
            [
                "2026-03-29 00:10:00",
                "2026-10-24 23:40:00",
                "2026-03-08 05:00:00",
                "2026-11-01 04:30:00",
                "2026-04-04 14:00:00",
            ]
        ).map(at),
    ),
)
def test_next_after_equals_a_slow_search(fields, zone, start):
    horizon = start + timedelta(days=1).total_seconds()
    parsed = schedule.parse("Cron", f"CRON_TZ={zone} {' '.join(fields)}")

    found = schedule.next_after(parsed, start)

    expected = reference_next(fields, ZoneInfo(zone), start, horizon)
    assert found is None or found > start
    assert (found if found is not None and found <= horizon else None) == expected


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(alphabet="0123456789*/,-? @everyCRON_TZ=UMonFi.hms", max_size=40),
    kind=st.sampled_from(["Rate", "Cron"]),
)
def test_any_text_is_a_schedule_or_refused(text, kind):
    with contextlib.suppress(ModelError):
        due = schedule.next_after(schedule.parse(kind, text), 1_770_000_000.25)
        assert due is None or due > 1_770_000_000.25
