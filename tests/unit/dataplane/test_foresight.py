"""Which instances are kept and started ahead, second by second on a clock that is only a number."""

from dataclasses import replace

import pytest

from funclet.dataplane import foresight
from funclet.dataplane.foresight import MAX_DUES, NEAR_S, Foresight
from tests.support.dataplane import VERSION

KEY = ("f-1", "latest", 128)
OTHER = ("f-2", "latest", 128)
START_S = 0.5


def learning():
    return Foresight(release_s=60.0, learns=True)


def used(subject, *times, key=KEY):
    for at in times:
        subject.saw(key, VERSION, used_at=at, start_s=START_S)


def every_ten_minutes(subject, count=12):
    """Let a function be used every ten minutes; return when it was used last."""
    times = [1000.0 + 605 * number for number in range(count)]
    used(subject, *times)
    return times[-1]


def test_without_knowledge_the_fixed_time_holds():
    for subject in (learning(), Foresight(release_s=60.0, learns=False)):
        used(subject, 0.0, 600.0)

        assert subject.release_s(KEY) == 60.0
        assert not subject.keeps(KEY, 601.0)
        assert not subject.take_wanted(1200.0)


def test_a_function_with_a_habit_is_released_and_started_again_before_its_next_request():
    subject = learning()
    last = every_ten_minutes(subject)

    assert subject.release_s(KEY) == 10.0
    assert [subject.keeps(KEY, last + pause) for pause in (5, 300, 545, 605, 665, 680)] == [
        False, False, True, True, True, False,
    ]  # fmt: skip
    assert not subject.take_wanted(last + 500)
    # 540 s less twice its start and the second between two looks.
    assert not subject.take_wanted(last + 537)
    assert subject.take_wanted(last + 538) == [(KEY, VERSION)]
    assert not subject.take_wanted(last + 539), "once for a pause"
    used(subject, last + 605)
    assert subject.take_wanted(last + 605 + 540) == [(KEY, VERSION)]


def test_nothing_is_learned_unless_it_is_switched_on():
    subject = Foresight(release_s=60.0, learns=False)
    last = every_ten_minutes(subject)

    assert not subject.take_wanted(last + 560)
    assert not list(subject.versions())


def test_a_function_that_is_called_all_the_time_has_no_pauses():
    subject = learning()
    used(subject, *(float(second) for second in range(1000)))

    assert subject._outlooks[KEY].pauses is None


def test_a_firing_is_prepared_shortly_before_and_kept_around_it():
    subject = Foresight(release_s=60.0, learns=False)
    subject.announce(KEY, VERSION, 100.0)
    subject._outlooks[KEY].start_s = START_S

    assert [bool(subject.take_wanted(at)) for at in (90.0, 97.0, 97.6, 98.5, 100.5)] == [
        False, False, True, False, False,
    ]  # fmt: skip
    assert [subject.keeps(KEY, at) for at in (94.0, 95.0, 100.0, 100.0 + NEAR_S, 106.0)] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_a_function_that_starts_slowly_is_prepared_earlier():
    subject = Foresight(release_s=60.0, learns=False)
    subject.announce(KEY, VERSION, 100.0)
    subject._outlooks[KEY].start_s = 10.0

    assert subject.take_wanted(79.0)
    assert subject.keeps(KEY, 79.0)


def test_several_firings_of_one_function_are_all_remembered_and_none_twice():
    subject = Foresight(release_s=60.0, learns=False)
    for due in (150.0, 100.0, 150.1, 100.0):
        subject.announce(KEY, VERSION, due)

    assert [at for at in range(90, 160) if subject.take_wanted(float(at))] == [99, 149]


def test_a_firing_that_has_passed_prepares_nothing():
    subject = Foresight(release_s=60.0, learns=False)
    subject.announce(KEY, VERSION, 100.0)

    assert not subject.take_wanted(100.0)
    assert not subject.take_wanted(200.0)
    assert not subject._outlooks[KEY].dues


def test_a_version_that_has_changed_is_not_started():
    subject = learning()
    last = every_ten_minutes(subject)
    subject.announce(KEY, VERSION, last + 300)
    changed = replace(VERSION, revision=2)

    assert list(subject.versions()) == [(KEY, VERSION)]
    subject.forget(VERSION)

    assert not list(subject.versions())
    assert not subject.take_wanted(last + 299)
    assert not subject.take_wanted(last + 560)
    # What its requests have taught still holds for the version that took its place.
    subject.saw(KEY, changed, used_at=last + 605, start_s=START_S)
    assert subject.take_wanted(last + 605 + 560) == [(KEY, changed)]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(foresight, "MAX_FUNCTIONS", 10)
    subject = learning()
    for number in range(100):
        used(subject, float(number), key=("f", str(number), 128))
        used(subject, float(number) + 0.5, key=("f", "0", 128))
    for number in range(100):
        subject.announce(KEY, VERSION, 1000.0 + number)

    assert len(subject._outlooks) == 10
    # The one that is used all the time is not forgotten for those used once.
    assert ("f", "0", 128) in subject._outlooks
    assert len(subject._outlooks[KEY].dues) == MAX_DUES


@pytest.mark.parametrize(
    ("prepare", "least", "most"),
    [
        (lambda _: None, 0.5, 0.5),
        (lambda subject: subject.announce(KEY, VERSION, 1050.0), 1.0, 1.0),
        # Idle for 60 s, and its pauses last ten minutes.
        (every_ten_minutes, 0.0, 0.0),
    ],
)
def test_the_chance_of_reuse_is_that_of_what_is_known(prepare, least, most):
    subject = learning()
    prepare(subject)

    assert least <= subject.reuse(KEY, 60.0, 1000.0) <= most
    assert subject.reuse(OTHER, 60.0, 1000.0) == 0.5
