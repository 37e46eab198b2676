"""What the soak calls a failure, and what not."""

import pytest

from tests.soak.ledger import KILL_ECHO_S, PLATFORM, Answer, Ledger
from tests.soak.resources import Census
from tests.soak.settling import misread


@pytest.fixture
def ledger():
    return Ledger()


def answer(status, code=0, *, at=0.0, is_right=True):
    return Answer(began_at=at, ended_at=at + 1, status=status, code=code, is_right=is_right)


def killed(ledger, what, *, at):
    kill = ledger.kill(what)
    kill.began_at, kill.ended_at = at, at + KILL_ECHO_S


def judged(ledger, given, **expected):
    ledger.note("sync", given, **expected)
    return [name.removeprefix("sync ") for name in ledger.counts if name.startswith("sync ")]


@pytest.mark.parametrize(
    ("given", "expected", "result"),
    [
        (answer(200), {}, "good"),
        (answer(500, 4010), {"status": 500, "code": 4010}, "good"),
        (answer(500, 4010), {}, "failed"),
        (answer(200), {"status": 500, "code": 4010}, "failed"),
        (answer(200, is_right=False), {}, "failed"),
        (answer(429), {}, "refused"),
        (answer(503), {}, "refused"),
        (answer(0), {}, "failed"),
        (answer(500, 4204), {}, "failed"),
        (answer(500, PLATFORM), {}, "failed"),
    ],
)
def test_without_a_kill_only_the_right_answer_is_good(ledger, given, expected, result):
    assert judged(ledger, given, **expected) == [result]
    assert bool(ledger.failures) is (result == "failed")


@pytest.mark.parametrize(
    ("what", "given", "result"),
    [
        ("instance", answer(500, 4204), "killed"),
        ("instance", answer(500, 4201), "killed"),
        ("prepared", answer(500, 4201), "killed"),
        ("prepared", answer(500, PLATFORM), "killed"),
        ("server", answer(0), "cut off"),
        ("instance", answer(0), "failed"),
        ("instance", answer(500, PLATFORM), "failed"),
        ("instance", answer(500, 4010), "failed"),
        ("server", answer(200, is_right=False), "failed"),
    ],
)
def test_a_kill_excuses_only_what_it_causes(ledger, what, given, result):
    killed(ledger, what, at=0.5)

    assert judged(ledger, given) == [result]


@pytest.mark.parametrize(("at", "result"), [(-2.5, "failed"), (-0.5, "killed"), (1.5, "failed")])
def test_a_kill_excuses_only_requests_of_its_time(ledger, at, result):
    killed(ledger, "instance", at=at)

    assert judged(ledger, answer(500, 4204)) == [result]


def test_a_kill_whose_end_was_not_noted_goes_on(ledger):
    ledger.kill("server").began_at = 0.0

    assert judged(ledger, answer(0, at=1000.0)) == ["cut off"]


@pytest.mark.parametrize(("good", "refused", "fails"), [(100, 5, False), (80, 20, True), (0, 1, True)])
def test_a_server_that_refuses_everything_does_not_pass(ledger, good, refused, fails):
    for _ in range(good):
        ledger.note("sync", answer(200))
    for _ in range(refused):
        ledger.note("sync", answer(429))

    ledger.judge_service()

    assert bool(ledger.failures) is fails


def test_what_was_accepted_is_handed_out_once(ledger):
    ledger.accept("a", "python")

    assert ledger.take_accepted() == {"a": "python"}
    assert ledger.take_accepted() == {}


def census(**changes):
    counts = {
        "prepared": 10,
        "loaded": 0,
        "server_descriptors": 30,
        "sandboxd_descriptors": 130,
        "traces": 75,
        "zombies": 0,
        "processes": 22,
        "memory_mib": 40,
    }
    return Census(**counts | changes)


@pytest.mark.parametrize(
    ("changes", "grown"),
    [
        ({}, []),
        ({"memory_mib": 90}, []),
        ({"server_descriptors": 34}, []),
        ({"server_descriptors": 35}, ["server_descriptors"]),
        ({"server_descriptors": 35, "prepared": 12}, ["server_descriptors"]),
        ({"sandboxd_descriptors": 154, "prepared": 12}, []),
        ({"sandboxd_descriptors": 154}, ["sandboxd_descriptors"]),
        ({"traces": 80}, ["traces"]),
        ({"processes": 27}, ["processes"]),
        ({"zombies": 1}, ["1"]),
        ({"loaded": 8}, []),
        ({"loaded": 9}, ["9"]),
    ],
)
def test_only_prepared_sandboxes_explain_growth(changes, grown):
    assert [text.split()[0] for text in census(**changes).growth_over(census(), functions=2)] == grown


SUCCESS, FAIL = {"status": "SUCCESS"}, {"status": "FAIL"}


@pytest.mark.parametrize(
    ("record", "times", "found"),
    [
        (SUCCESS, [True], []),
        (FAIL, [False], []),
        (SUCCESS, [], ["lost"]),
        (SUCCESS, [True, True], ["doubled"]),
        (SUCCESS, [False], ["invented"]),
        (SUCCESS, [True, False], ["doubled", "invented"]),
        (FAIL, [True], ["invented"]),
        ({"status": "WAIT"}, [True], ["invented"]),
    ],
)
def test_each_end_is_told_once_as_what_it_was(record, times, found):
    told = {"a": times} if times else {}

    assert [name for name, _, _ in misread({"a": record}, told)] == found
    assert told == {}


def test_what_is_told_of_no_request_is_invented():
    assert [name for name, _, _ in misread({}, {"a": [True]})] == ["invented"]
