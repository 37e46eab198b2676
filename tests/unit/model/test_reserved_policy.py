"""How many instances a policy wants, at any time: tables, and properties against a slow reading of the same rules."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.model import schedule
from funclet.model.errors import ModelError
from funclet.model.reserved import (
    COOL_DOWN_S,
    MAX_COUNT,
    MAX_POLICIES,
    MAX_POLICY_NAME_LENGTH,
    CronPolicy,
    Follow,
    MetricPolicy,
    ReservedPolicy,
    check_policy,
    follow,
    next_change,
    scheduled,
)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


MONDAY = at("2026-03-09 00:00:00")
DAY_S = 86_400


def cron(text, count, *, starts_at=MONDAY, expires_at=None, name=None):
    return CronPolicy(name=name or text, cron=text, count=count, starts_at=starts_at, expires_at=expires_at)


def policy(count=0, *crons, metrics=()):
    return ReservedPolicy(
        project_id="p", package="default", function_name="hello", function_id="f-1", qualifier="latest",
        count=count, crons=crons, metrics=metrics,
    )  # fmt: skip


UP_AND_DOWN = policy(0, cron("0 0 8 * * *", 10), cron("0 0 10 * * *", 0))


@pytest.mark.parametrize(
    ("moment", "count"),
    [
        ("2026-03-09 07:59:59", 0),
        ("2026-03-09 08:00:00", 10),
        ("2026-03-09 09:59:59", 10),
        ("2026-03-09 10:00:00", 0),
        ("2026-03-10 07:59:59", 0),
        ("2026-03-10 08:00:00", 10),
        ("2031-11-05 09:00:00", 10),
    ],
)
def test_one_schedule_raises_and_another_lowers(moment, count):
    """The example of platform.md 3.5.3."""
    assert scheduled(UP_AND_DOWN, at(moment)) == count


BERLIN = "CRON_TZ=Europe/Berlin 0 0 8 * * *"
FEW_HOURS = cron("0 0 8 * * *", 5, starts_at=at("2026-03-10 00:00:00"), expires_at=at("2026-03-12 09:00:00"))


@pytest.mark.parametrize(
    ("subject", "moment", "count"),
    [
        (policy(3), "2026-03-09 12:00:00", 3),
        # Before and after its validity the fixed count holds.
        (policy(1, FEW_HOURS), "2026-03-09 08:30:00", 1),
        (policy(1, FEW_HOURS), "2026-03-10 07:00:00", 1),
        (policy(1, FEW_HOURS), "2026-03-10 08:30:00", 5),
        (policy(1, FEW_HOURS), "2026-03-12 09:00:00", 5),
        (policy(1, FEW_HOURS), "2026-03-12 09:00:01", 1),
        # One that has ended does not give way to one that fired before it.
        (policy(1, FEW_HOURS, cron("0 0 7 * * *", 2)), "2026-03-12 10:00:00", 1),
        (policy(1, FEW_HOURS, cron("0 0 7 * * *", 2)), "2026-03-13 07:00:00", 2),
        # Both at once: the one with more.
        (policy(0, cron("0 0 8 * * *", 4, name="a"), cron("0 0 8 * * *", 7, name="b")), "2026-03-09 08:00:00", 7),
        # Zones: 08:00 in Berlin is 07:00 in winter and 06:00 in summer.
        (policy(0, cron(BERLIN, 2)), "2026-03-09 06:59:59", 0),
        (policy(0, cron(BERLIN, 2), cron("0 0 23 * * *", 0)), "2026-03-09 07:00:00", 2),
        (policy(0, cron(BERLIN, 2), cron("0 0 23 * * *", 0)), "2026-06-09 05:59:59", 0),
        (policy(0, cron(BERLIN, 2), cron("0 0 23 * * *", 0)), "2026-06-09 06:00:00", 2),
        # Intervals are counted from the start.
        (policy(0, cron("@every 30m", 2)), "2026-03-09 00:29:59", 0),
        (policy(0, cron("@every 30m", 2)), "2026-03-09 00:30:00", 2),
        # At the very second of the start.
        (policy(0, cron("0 0 0 * * *", 2)), "2026-03-09 00:00:00", 2),
        # Rare, and long ago.
        (policy(0, cron("0 0 0 29 2 *", 2, starts_at=at("2024-01-01 00:00:00"))), "2027-12-31 00:00:00", 2),
    ],
)
def test_what_schedules_want(subject, moment, count):
    assert scheduled(subject, at(moment)) == count


_CRONS = st.sampled_from(
    ["0 0 8 * * *", "0 30 */6 * * ?", "15 0 0 * * 1-5", "@every 7h", "CRON_TZ=Asia/Shanghai 0 0 20 * * *", "@every 45m"]
)


@st.composite
def crons(draw, base):
    starts_at = MONDAY + draw(st.integers(0, 2 * DAY_S))
    expires_at = draw(st.none() | st.integers(1, 3 * DAY_S).map(lambda seconds: starts_at + seconds))
    return cron(draw(_CRONS), draw(st.integers(base, 20)), starts_at=starts_at, expires_at=expires_at)


@st.composite
def policies(draw):
    base = draw(st.integers(0, 3))
    return policy(base, *draw(st.lists(crons(base), max_size=4)))


def slowly(subject, now):
    """Play all firings one after the other."""
    events = []
    for one in subject.crons:
        parsed = schedule.parse("Cron", one.cron)
        due = one.starts_at if isinstance(parsed, schedule.Interval) else one.starts_at - 1
        end = math.inf if one.expires_at is None else one.expires_at
        while (due := schedule.next_after(parsed, due, anchor=one.starts_at)) is not None and due <= min(now, end):
            events.append((due, one.count, end))
    if not events:
        return subject.count
    _, count, end = max(events)
    return count if now <= end else subject.count


@given(policies(), st.integers(0, 6 * DAY_S))
def test_it_is_what_playing_all_firings_gives(subject, offset):
    assert scheduled(subject, MONDAY + offset) == slowly(subject, MONDAY + offset)


@given(policies(), st.integers(0, 5 * DAY_S), st.floats(0, 1))
def test_nothing_changes_before_the_next_change(subject, offset, share):
    now = MONDAY + offset
    later = now + share * (min(next_change(subject, now), now + DAY_S) - now)
    if later < next_change(subject, now):
        assert scheduled(subject, later) == scheduled(subject, now)


def test_a_policy_without_schedules_never_changes():
    assert next_change(policy(3), MONDAY) == math.inf
    assert next_change(policy(1, FEW_HOURS), at("2026-03-13 00:00:00")) == math.inf


HALF = MetricPolicy(name="half", threshold=50, minimum=2)


@pytest.mark.parametrize(
    ("in_flight", "base", "threshold", "minimum", "target"),
    [
        (0, 0, 50, 0, 0),
        (0, 3, 50, 0, 3),
        (0, 0, 50, 2, 2),
        (1, 0, 50, 0, 2),
        (4, 0, 50, 2, 8),
        (5, 0, 99, 0, 6),
        (3, 0, 75, 0, 4),
        (900, 0, 1, 0, MAX_COUNT),
    ],
)
def test_the_load_wants_enough_for_a_share_of_instances_to_be_at_work(in_flight, base, threshold, minimum, target):
    subject = policy(0, metrics=(MetricPolicy(name="m", threshold=threshold, minimum=minimum),))

    assert follow(Follow(), subject, in_flight=in_flight, base=base, now=0.0).target == target


def test_more_comes_at_once_and_less_only_when_it_has_been_enough_for_five_minutes():
    subject, standing = policy(0, metrics=(HALF,)), Follow()
    targets = []
    for now, in_flight in [(0, 1), (10, 5), (20, 0), (200, 0), (310, 0), (320, 0), (330, 4), (340, 0), (350, 4)]:
        standing = follow(standing, subject, in_flight=in_flight, base=0, now=float(now))
        targets.append(standing.target)

    assert targets == [2, 10, 10, 10, 10, 2, 8, 8, 8]
    assert standing.lower_since is None, "the load came back, so the five minutes begin anew"


def test_of_several_the_one_that_wants_most_holds():
    subject = policy(0, metrics=(HALF, MetricPolicy(name="tenth", threshold=10, minimum=0)))

    assert follow(Follow(), subject, in_flight=1, base=0, now=0.0).target == 10


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 400)), max_size=30), st.integers(1, 99), st.integers(0, 9))
def test_the_target_always_suffices_and_falls_only_after_the_cool_down(steps, threshold, minimum):
    subject = policy(0, metrics=(MetricPolicy(name="m", threshold=threshold, minimum=minimum),))
    standing, now, raised_at = Follow(), 0.0, 0.0
    for in_flight, pause in steps:
        now += pause
        before, standing = standing, follow(standing, subject, in_flight=in_flight, base=0, now=now)
        assert standing.target >= minimum
        assert in_flight * 100 <= standing.target * threshold or standing.target == MAX_COUNT
        if standing.target < before.target:
            assert now - raised_at >= COOL_DOWN_S
        if standing.target >= before.target and standing.lower_since is None:
            raised_at = now


def test_what_is_certain_to_be_wanted():
    assert policy(2, cron("@every 1h", 5), metrics=(HALF,)).most == 5
    assert policy(0, metrics=(HALF,)).most == 2
    assert policy(0).is_empty
    assert not policy(0, metrics=(MetricPolicy(name="m", threshold=5, minimum=0),)).is_empty


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (policy(-1), "count -1"),
        (policy(MAX_COUNT + 1), "count 1001"),
        (policy(2, cron("@every 1h", 1)), "less than the count 2"),
        (policy(0, cron("@every 1h", 1001)), "cron_configs.count 1001"),
        (policy(0, cron("@every 1h", -1)), "cron_configs.count -1"),
        (policy(0, cron("* * * *", 1)), "cron_configs.cron"),
        (policy(0, cron("0 0 0 30 2 ?", 1)), "never fires"),
        (policy(0, cron("@every 1h", 1, starts_at=-1)), "start_time"),
        (policy(0, cron("@every 1h", 1, starts_at=1e12)), "start_time"),
        (policy(0, cron("@every 1h", 1, expires_at=MONDAY)), "expired_time"),
        (policy(0, cron("@every 1h", 1, name="x" * (MAX_POLICY_NAME_LENGTH + 1))), "name"),
        (policy(0, cron("@every 1h", 1, name="a"), cron("@every 2h", 1, name="a")), "two entries"),
        (policy(0, *(cron("@every 1h", 1, name=f"n{one}") for one in range(MAX_POLICIES + 1))), "more than 20"),
        (policy(0, metrics=(MetricPolicy(name="", threshold=50, minimum=0),)), "name"),
        (policy(0, metrics=(MetricPolicy(name="m", threshold=0, minimum=0),)), "threshold 0"),
        (policy(0, metrics=(MetricPolicy(name="m", threshold=100, minimum=0),)), "threshold 100"),
        (policy(3, metrics=(MetricPolicy(name="m", threshold=50, minimum=2),)), "metric_configs.min 2"),
        (policy(0, metrics=(MetricPolicy(name="m", threshold=50, minimum=1001),)), "metric_configs.min 1001"),
    ],
)
def test_what_cannot_be_is_refused(wrong, says):
    with pytest.raises(ModelError, match=says) as caught:
        check_policy(wrong)

    assert caught.value.code == "FSS.0400"


def test_what_is_at_the_limits_is_taken():
    most = [cron("0 0 8 ? * *", MAX_COUNT, name="n" * 59 + str(one)) for one in range(10)]

    check_policy(policy(0, *most, metrics=(MetricPolicy(name="m", threshold=1, minimum=0),)))
    check_policy(policy(MAX_COUNT, metrics=(MetricPolicy(name="m", threshold=99, minimum=MAX_COUNT),)))
