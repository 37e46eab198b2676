"""When it is worth to look out for an answer: requests that come one at a time and are answered soon."""

from funclet.dataplane.pace import WATCH_S, Pace


def lonely(pace, count):
    """Run so many requests one after the other; return for how many somebody looked out."""
    watched = 0
    for _ in range(count):
        watched += pace.enter() > 0
        pace.leave()
    return watched


def test_nobody_looks_out_before_enough_came_one_at_a_time():
    pace = Pace(processors=2)

    assert lonely(pace, 16) == 0
    assert pace.enter() == WATCH_S


def test_requests_side_by_side_begin_the_count_anew():
    pace = Pace(processors=2)
    lonely(pace, 20)
    pace.enter()

    assert pace.enter() == 0.0
    pace.leave()
    pace.leave()
    assert lonely(pace, 17) == 1


def test_a_long_answer_is_not_looked_out_for_soon_again():
    pace = Pace(processors=2)
    lonely(pace, 20)
    pace.miss()

    assert lonely(pace, 80) == 0
    assert lonely(pace, 10) == 10


def test_requests_side_by_side_do_not_forgive_a_long_answer():
    pace = Pace(processors=2)
    pace.miss()
    pace.enter()
    pace.enter()
    pace.leave()
    pace.leave()

    assert lonely(pace, 79) == 0


def test_with_one_processor_nobody_looks_out():
    assert lonely(Pace(processors=1), 100) == 0
