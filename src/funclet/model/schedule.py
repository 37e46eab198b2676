"""Rate and cron schedules of timers: from text to the next due time.

`parse` reads what a timer was given, `next_after` says when it fires next. The
grammar is the six-field one with seconds first, an optional day-of-week and an
optional time zone; all results are whole seconds since the epoch.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from fractions import Fraction
from zoneinfo import ZoneInfo

from funclet.model.errors import ModelError

MAX_LENGTH = 256
MAX_YEARS_AHEAD = 5
# The longest duration of the `@every` form: 63 bits of nanoseconds.
MAX_INTERVAL_S = 2**63 // 10**9

_DAY_S = 86_400
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_RATE = re.compile(r"([1-9][0-9]?)([mhd])")
_RATE_UNITS = {"m": (60, 60), "h": (3600, 24), "d": (_DAY_S, 30)}
_PREFIX = re.compile(r"(?:CRON_TZ|TZ)=(\S+)\s+(.*)", re.DOTALL)
_EVERY = re.compile(r"@every +((?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_DURATION_PART = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_WEEKDAYS = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Fires every so many seconds, counted from an anchor."""

    seconds: int
    zone: tzinfo
    """Only printed, never counted with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Fires at the local times whose fields all match. Values are ascending."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """Both day fields are restricted: a day matches when one of them does."""
    zone: tzinfo


Schedule = Interval | Cron


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field("seconds", 0, 59, {}),
    _Field("minutes", 0, 59, {}),
    _Field("hours", 0, 23, {}),
    _Field("day-of-month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 0, 6, _WEEKDAYS),
)
_FIELD_COUNTS = (len(_FIELDS) - 1, len(_FIELDS))


def parse(schedule_type: str, text: str, *, default_zone: str = "UTC") -> Schedule:
    """Read the schedule of a timer.

    Args:
        schedule_type: `Rate` or `Cron`.
        text: such as `5m`, `0 30 8 ? * Mon-Fri`, `@every 90s` or `CRON_TZ=Europe/Berlin 0 0 12 * * *`.
        default_zone: IANA name of the zone of schedules that name none.

    Raises:
        ModelError: FSS.1109. Whether a cron expression ever matches is not looked at; `next_after` tells.
    """
    if len(text) > MAX_LENGTH:
        raise _invalid(text, f"it is longer than {MAX_LENGTH} characters")
    if schedule_type == "Rate":
        return Interval(seconds=_parse_rate(text), zone=_zone(default_zone))
    if schedule_type != "Cron":
        raise ModelError("FSS.1109", f"schedule_type '{schedule_type[:40]}' is invalid: use 'Rate' or 'Cron'.")
    prefix = _PREFIX.fullmatch(text)
    zone_name, expression = (prefix[1], prefix[2]) if prefix else (default_zone, text)
    zone = _zone(zone_name)
    expression = _DESCRIPTORS.get(expression.strip(), expression.strip())
    if expression.startswith("@"):
        return Interval(seconds=_parse_every(expression), zone=zone)
    return _parse_fields(expression, zone)


def next_after(schedule: Schedule, at: float, *, anchor: float | None = None) -> float | None:
    """Return the first due time after `at`, both seconds since the epoch; None if there is none within five years.

    Args:
        schedule: what `parse` returned.
        at: the reference; a due time equal to it is not returned.
        anchor: for intervals, the time they are counted from; `at` when it is not given.
    """
    if isinstance(schedule, Interval):
        start = int((at if anchor is None else anchor) // 1)
        return float(start + schedule.seconds * ((at - start) // schedule.seconds + 1))
    return _next_match(schedule, int(at // 1) + 1)


def latest_between(schedule: Schedule, after: float, until: float) -> float | None:
    """Return the last due time that is later than `after` and not later than `until`; None if there is none.

    Intervals are counted from `after`. Many due times in between cost no more than a few.
    """
    due = next_after(schedule, after)
    if due is None or due > until:
        return None
    if isinstance(schedule, Interval):
        return due + (until - due) // schedule.seconds * schedule.seconds
    # The due time after x is within `until` exactly for the x before the last one: search for that border.
    low, high = int(after // 1), int(until // 1)
    while high - low > 1:
        middle = (low + high) // 2
        later = next_after(schedule, middle)
        if later is not None and later <= until:
            low, due = middle, later
        else:
            high = middle
    return due


def count_between(schedule: Schedule, after: float, until: float, *, most: int) -> int:
    """Return how many due times are later than `after` and not later than `until`; of a cron expression up to `most`.

    Intervals are counted from `after`.
    """
    if isinstance(schedule, Interval):
        return max(0, int((until - after) // schedule.seconds))
    count, due = 0, next_after(schedule, after)
    while due is not None and due <= until and count < most:
        count, due = count + 1, next_after(schedule, due)
    return count


def local_text(schedule: Schedule, at: float) -> str:
    """Return `at` in the zone of the schedule, such as `2026-03-10T08:30:00+08:00`."""
    return datetime.fromtimestamp(int(at), schedule.zone).isoformat(timespec="seconds")


def _parse_rate(text: str) -> int:
    match = _RATE.fullmatch(text)
    if match is None:
        raise _invalid(text, "a rate is a number and 'm' (1-60), 'h' (1-24) or 'd' (1-30), such as '3m'")
    unit_s, most = _RATE_UNITS[match[2]]
    if int(match[1]) > most:
        raise _invalid(text, f"'{match[2]}' goes up to {most}")
    return int(match[1]) * unit_s


def _parse_every(expression: str) -> int:
    match = _EVERY.fullmatch(expression)
    if match is None:
        raise _invalid(expression, "an interval looks like '@every 1h30m' with the units h, m, s, ms, us, ns")
    total = sum(Fraction(number) * _NANOSECONDS[unit] for number, unit in _DURATION_PART.findall(match[1]))
    if not 0 < total < MAX_INTERVAL_S * 10**9:
        raise _invalid(expression, "the interval must be greater than zero and less than 290 years")
    return max(1, int(total // 10**9))


def _parse_fields(expression: str, zone: tzinfo) -> Cron:
    texts = expression.split()
    if len(texts) not in _FIELD_COUNTS:
        raise _invalid(
            expression,
            "it needs six fields: seconds minutes hours day-of-month month day-of-week (the last may be left out)",
        )
    if len(texts) < len(_FIELDS):
        texts.append("*")
    seconds, minutes, hours, days, months, weekdays = (
        _parse_field(field, text, expression) for field, text in zip(_FIELDS, texts, strict=True)
    )
    return Cron(
        seconds=tuple(sorted(seconds)),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=weekdays,
        either_day=not (_is_unrestricted(texts[3]) or _is_unrestricted(texts[5])),
        zone=zone,
    )


def _parse_field(field: _Field, text: str, expression: str) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        values.update(_parse_item(field, item, expression))
    return frozenset(values)


def _parse_item(field: _Field, item: str, expression: str) -> range:
    span, slash, step_text = item.partition("/")
    step = 1
    if slash:
        if not re.fullmatch(r"[0-9]{1,4}", step_text) or int(step_text) == 0:
            raise _invalid(expression, f"the step '{step_text}' of {field.name} is not a positive number")
        step = int(step_text)
    if span in ("*", "?"):
        return range(field.low, field.high + 1, step)
    first, dash, last = span.partition("-")
    low = _parse_value(field, first, expression)
    high = _parse_value(field, last, expression) if dash else (field.high if slash else low)
    if low > high:
        raise _invalid(expression, f"the range '{span}' of {field.name} runs backwards")
    return range(low, high + 1, step)


def _parse_value(field: _Field, text: str, expression: str) -> int:
    value = field.names.get(text.lower(), -1)
    if re.fullmatch(r"[0-9]{1,4}", text):
        value = int(text)
    if not field.low <= value <= field.high:
        raise _invalid(expression, f"'{text}' is no value of {field.name} ({field.low}-{field.high})")
    return value


def _is_unrestricted(text: str) -> bool:
    return any(item in ("*", "?", "*/1", "?/1") for item in text.split(","))


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        # Needs no zone files, which small images lack.
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ModelError(
            "FSS.1109", f"time zone '{name[:80]}' is unknown: use an IANA name such as 'Asia/Shanghai'."
        ) from error


def _invalid(text: str, reason: str) -> ModelError:
    return ModelError("FSS.1109", f"schedule '{text[:MAX_LENGTH]}' is invalid: {reason}.")


def _next_match(cron: Cron, at: int) -> float | None:
    """Return the first match at or after `at`.

    A match is looked for as if the offset of `at` held for ever. If it does
    change before the match, the search starts again at the change: so times in
    a gap are skipped, and times that occur twice are found twice.
    """
    year_limit = datetime.fromtimestamp(at - 1, cron.zone).year + MAX_YEARS_AHEAD
    while True:
        offset = _offset(cron.zone, at)
        local = _next_local(cron, at + offset, year_limit)
        if local is None:
            return None
        change = _next_change(cron.zone, at, local - offset)
        if change is None:
            return float(local - offset)
        at = change


def _offset(zone: tzinfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1)


def _next_change(zone: tzinfo, start: int, end: int) -> int | None:
    """Return the first instant in (start, end] whose offset differs from that of `start`."""
    if zone is UTC:
        return None
    offset = _offset(zone, start)
    low = start
    while low < end:
        # No zone changes its offset there and back within a day.
        high = min(low + _DAY_S, end)
        if _offset(zone, high) != offset:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            return high
        low = high
    return None


def _next_local(cron: Cron, local: int, year_limit: int) -> int | None:
    """Return the first match at or after `local`; both are seconds since the epoch of a clock without changes."""
    days, second_of_day = divmod(local, _DAY_S)
    day = date.fromordinal(_EPOCH_ORDINAL + days)
    while day.year <= year_limit:
        if day.month not in cron.months:
            day = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
            second_of_day = 0
            continue
        found = _next_time(cron, second_of_day) if _matches_day(cron, day) else None
        if found is not None:
            return (day.toordinal() - _EPOCH_ORDINAL) * _DAY_S + found
        day += timedelta(days=1)
        second_of_day = 0
    return None


def _matches_day(cron: Cron, day: date) -> bool:
    in_days = day.day in cron.days
    in_weekdays = day.isoweekday() % 7 in cron.weekdays
    return in_days or in_weekdays if cron.either_day else in_days and in_weekdays


def _next_time(cron: Cron, second_of_day: int) -> int | None:
    """Return the first matching second of a day at or after one; None if the day has no more."""
    hour, rest = divmod(second_of_day, 3600)
    minute, second = divmod(rest, 60)
    for at_hour in cron.hours:
        if at_hour < hour:
            continue
        for at_minute in cron.minutes:
            if at_hour == hour and at_minute < minute:
                continue
            is_now = at_hour == hour and at_minute == minute
            found = next((value for value in cron.seconds if not is_now or value >= second), None)
            if found is not None:
                return at_hour * 3600 + at_minute * 60 + found
    return None
