"""Which stems are kept, handed out and started next."""

import os
import socket

import pytest

from funclet.sandbox.native import Spawned
from funclet.sandbox.sandboxd.instances import Running
from funclet.sandbox.sandboxd.messages import Create, Keep
from funclet.sandbox.sandboxd.stems import (
    BASE_FORKED_STEMS,
    FORKED_RECENT_S,
    LOADED_UNUSED_S,
    MAX_FAILURES,
    MAX_KINDS,
    MAX_LOADED,
    MAX_LOADED_STEMS,
    MAX_STARTED_STEMS,
    RECENT_S,
    Stems,
    most_stems,
    wanted,
)
from funclet.sandbox.sandboxd.zygotes import Zygote

MEMBERS = {
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
MOST = 100


def spec(**changes):
    return Keep(**MEMBERS | changes)


def function(**changes):
    """Return a request for an instance."""
    members = {"id": 1, "name": "a", "environment": {"A": "1"}, "code_dir": "/data/code/1", "extra_read_only": {}}
    return Create(**MEMBERS | members | changes)


@pytest.fixture
def stems():
    return Stems(MOST)


@pytest.fixture
def zygote():
    """A zygote that is ready."""
    ours, theirs = socket.socketpair()
    yield Zygote(pid=1, pidfd=-1, control=ours, fd=ours.fileno(), is_ready=True)
    ours.close()
    theirs.close()


def new_stem(*, ready=True):
    spawned = Spawned(pid=os.getpid(), pidfd=-1, error_fd=-1)
    return Running(id=-1, spawned=spawned, steps=(), status_fd=-1, outgoing={}, is_ready=ready)


def test_two_processes_are_kept_of_a_kind_that_is_wanted(stems):
    kind = stems.want(spec())
    assert kind.missing(0.0) == 2

    kind.waiting.extend((new_stem(), new_stem(ready=False)))

    assert kind.missing(0.0) == 0
    assert kind.warming == 1


def test_recent_starts_want_more_for_a_while(stems):
    kind = stems.want(spec(), 100.0)

    assert kind.missing(100.0) == 3
    assert kind.missing(100.1 + RECENT_S) == 2


def test_of_forks_there_are_more_and_for_longer(stems, zygote):
    kind = stems.want(spec(), 100.0)
    kind.zygote = zygote

    assert kind.missing(100.1 + RECENT_S) == BASE_FORKED_STEMS + 1
    assert kind.missing(100.1 + FORKED_RECENT_S) == BASE_FORKED_STEMS


@pytest.mark.parametrize(
    ("starts", "is_forked", "count"),
    [
        (0, False, 2),
        (1, False, 3),
        (500, False, MAX_STARTED_STEMS),
        (3, True, BASE_FORKED_STEMS + 3),
        (500, True, MOST),
    ],
)
def test_the_number_has_a_limit(starts, is_forked, count):
    assert wanted(starts, is_forked=is_forked, most=MOST) == count
    assert wanted(starts, is_forked=is_forked, most=0) == 0


@pytest.mark.parametrize(("memory_mib", "count"), [(512, 16), (8192, 81), (24576, 245), (1 << 20, 256)])
def test_forks_take_a_small_part_of_the_memory(memory_mib, count):
    assert most_stems(memory_mib) == count


def test_only_a_ready_one_is_handed_out_and_only_once(stems):
    warm = new_stem()
    stems.want(spec()).waiting.extend((new_stem(ready=False), warm))

    assert stems.take(function(), 0.0) is warm
    assert stems.take(function(), 0.0) is None


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
def test_a_stem_serves_its_own_kind_only(stems, change):
    stems.want(spec()).waiting.append(new_stem())

    assert stems.take(function(**change), 0.0) is None


def test_size_and_cpu_may_differ(stems):
    stems.want(spec()).waiting.append(new_stem())

    assert stems.take(function(memory_mib=512, cpu_millicores=600), 0.0) is not None


def test_a_kind_that_nobody_wants_any_more_gives_way(stems):
    oldest = stems.want(spec(tmp_mib=1))
    for number in range(MAX_KINDS):
        stems.want(spec(tmp_mib=number + 2))

    assert list(stems.surplus()) == [oldest]


def test_a_runtime_whose_stems_always_end_is_given_up(stems):
    kind = stems.want(spec())
    for _ in range(MAX_FAILURES):
        stem = new_stem()
        kind.waiting.append(stem)
        assert stems.drop(stem)

    assert kind.missing(0.0) == 0


def test_a_stem_that_was_handed_out_is_no_stem_any_more(stems):
    stems.want(spec()).waiting.append(new_stem())
    stem = stems.take(function(), 0.0)

    assert not stems.drop(stem)


# Stems that have loaded a function


@pytest.fixture
def loaded(stems, zygote):
    """The entry of the function, used at 100."""
    stems.want(spec()).zygote = zygote
    stems.load_ahead(function(), 100.0)
    return next(stems.loaded())


def test_one_stem_is_loaded_and_more_of_what_starts_often(stems, loaded):
    assert loaded.missing(100.0) == 1

    for _ in range(20):
        stems.take(function(), 100.0)

    assert loaded.missing(100.0) == MAX_LOADED_STEMS
    assert loaded.missing(100.1 + RECENT_S) == 1


@pytest.mark.parametrize(
    "change", [{"code_dir": "/data/code/2"}, {"environment": {"A": "2"}}, {"memory_mib": 256}, {"tmp_mib": 1024}]
)
def test_a_loaded_stem_serves_this_version_with_these_variables_only(stems, loaded, change):
    stem = new_stem()
    loaded.waiting.append(stem)

    assert stems.take(function(**change), 100.0) is None
    assert stems.take(function(id=2, name="b"), 100.0) is stem


def test_a_function_that_cannot_be_loaded_ahead_is_not_tried_again(stems, loaded):
    stem = new_stem(ready=False)
    loaded.waiting.append(stem)
    assert stems.drop(stem)

    assert loaded.missing(100.0) == 0
    assert list(stems.unwanted(100.0, is_short=True)) == [loaded]
    stems.load_ahead(function(), 101.0)
    assert not list(stems.loaded())


def test_without_a_zygote_nothing_is_loaded_ahead(stems):
    stems.want(spec())
    stems.load_ahead(function(), 100.0)

    assert not list(stems.loaded())


def test_what_nobody_uses_or_memory_is_short_for_goes(stems, loaded):
    assert not list(stems.unwanted(99.0 + LOADED_UNUSED_S, is_short=False))
    assert list(stems.unwanted(101.0 + LOADED_UNUSED_S, is_short=False)) == [loaded]

    for number in range(MAX_LOADED + 2):
        stems.load_ahead(function(environment={"A": str(number)}), 100.0)
    assert len(list(stems.unwanted(100.0, is_short=False))) == 2
    assert len(list(stems.unwanted(100.0, is_short=True))) == 1


def test_where_no_stems_are_wanted_no_function_is_loaded_ahead(zygote):
    stems = Stems(0)
    stems.want(spec()).zygote = zygote

    stems.load_ahead(function(), 100.0)

    assert not list(stems.loaded())
