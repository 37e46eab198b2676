"""Which stems are kept, handed out and started next."""

import os
import socket

import pytest

from funclet.sandbox.native import Spawned
from funclet.sandbox.sandboxd.instances import Running
from funclet.sandbox.sandboxd.messages import Keep
from funclet.sandbox.sandboxd.stems import MAX_FAILURES, MAX_KINDS, MAX_STEMS_OF_A_KIND, RECENT_S, Stems, wanted


def spec(**changes):
    members = {
        "interpreter": "/usr/bin/python3",
        "arguments": ("bootstrap.py",),
        "stem_environment": {"FUNCLET_STEM": "1"},
        "runtime_dir": "/runtimes/python3",
        "interpreter_links": (),
        "memory_mib": 128,
        "cpu_millicores": 300,
        "tmp_mib": 512,
        "processes": 1024,
        "open_files": 2048,
        "network": "off",
    }
    return Keep(**members | changes)


@pytest.fixture
def new_stem():
    """Make stems whose runtime is a socket; `ready=True` has said READY."""
    sockets = []

    def make(*, ready=True):
        ours, theirs = socket.socketpair()
        sockets.extend((ours, theirs))
        if ready:
            theirs.send(b"READY")
        spawned = Spawned(pid=os.getpid(), pidfd=-1, error_fd=-1)
        return Running(id=-1, spawned=spawned, steps=(), status_fd=-1, outgoing={"connection": ours.fileno()})

    yield make
    for end in sockets:
        end.close()


def test_two_are_kept_of_a_kind_that_is_wanted(new_stem):
    stems = Stems()
    stems.want(spec())
    for _ in range(2):
        assert stems.missing(0.0) == spec()
        stems.add(spec(), new_stem())

    assert stems.missing(0.0) is None
    assert stems.are_complete(0.0)


def test_recent_starts_want_more_for_a_while(new_stem):
    stems = Stems()
    stems.want(spec(), 100.0)
    for _ in range(2):
        stems.add(spec(), new_stem())

    assert stems.missing(100.0) == spec()
    assert stems.missing(100.1 + RECENT_S) is None


@pytest.mark.parametrize(("starts", "count"), [(0, 2), (1, 3), (6, 8), (500, MAX_STEMS_OF_A_KIND)])
def test_the_number_has_a_limit(starts, count):
    assert wanted(starts) == count


def test_nothing_is_started_while_another_one_warms(new_stem):
    stems = Stems()
    stems.want(spec())
    stems.add(spec(), new_stem(ready=False))

    assert stems.missing(0.0) is None
    assert not stems.are_complete(0.0)


def test_only_a_ready_one_is_handed_out_and_only_once(new_stem):
    stems = Stems()
    stems.want(spec())
    warm = new_stem()
    stems.add(spec(), new_stem(ready=False))
    stems.add(spec(), warm)

    assert stems.take(spec()) is warm
    assert stems.take(spec()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": ("--max-old-space-size=460",)},
        {"network": "nat"},
        {"tmp_mib": 10240},
        {"interpreter": "/usr/bin/node"},
        {"stem_environment": {"FUNCLET_STEM": "1", "NODE_PATH": "x"}},
        {"interpreter_links": ("python3.9/bin/python",)},
    ],
)
def test_a_stem_serves_its_own_kind_only(new_stem, change):
    stems = Stems()
    stems.want(spec())
    stems.add(spec(), new_stem())

    assert stems.take(spec(**change)) is None


def test_size_and_cpu_may_differ(new_stem):
    stems = Stems()
    stems.want(spec())
    stems.add(spec(), new_stem())

    assert stems.take(spec(memory_mib=512, cpu_millicores=600)) is not None


def test_a_kind_that_nobody_wants_any_more_gives_way(new_stem):
    stems = Stems()
    stems.want(spec(tmp_mib=1))
    old = new_stem()
    stems.add(spec(tmp_mib=1), old)
    unwanted = [stem for number in range(MAX_KINDS) for stem in stems.want(spec(tmp_mib=number + 2))]

    assert unwanted == [old]


def test_a_runtime_whose_stems_always_end_is_given_up(new_stem):
    stems = Stems()
    stems.want(spec())
    for _ in range(MAX_FAILURES):
        stem = new_stem()
        stems.add(spec(), stem)
        assert stems.drop(stem)

    assert stems.missing(0.0) is None
    assert stems.are_complete(0.0)


def test_a_stem_that_was_handed_out_is_no_stem_any_more(new_stem):
    stems = Stems()
    stems.want(spec())
    stems.add(spec(), new_stem())
    stem = stems.take(spec())

    assert not stems.drop(stem)
