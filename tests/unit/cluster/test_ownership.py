"""How many processes there are, who owns what, and how fast what dies is started again."""

import collections
import subprocess
import sys
import uuid

import pytest

from funclet.cluster.ownership import choose_count, owner_of, restart_delay_s

GIB = 1024


@pytest.mark.parametrize(
    ("cores", "memory_mib", "count"),
    [
        (1, 1000 * GIB, 1),
        (2, 1000 * GIB, 1),
        (4, 1000 * GIB, 1),
        (5, 1000 * GIB, 2),
        (8, 1000 * GIB, 4),
        (64, 1000 * GIB, 8),
        # Each must be able to hold an instance of 10 GiB.
        (8, 32 * GIB, 3),
        (8, 8 * GIB, 1),
    ],
)
def test_the_count_follows_cores_and_memory(cores, memory_mib, count):
    assert choose_count(0, cores=cores, memory_mib=memory_mib) == count


@pytest.mark.parametrize("asked", [1, 3, 64])
def test_the_operator_decides(asked):
    assert choose_count(asked, cores=2, memory_mib=1) == asked


def test_one_process_owns_everything():
    assert owner_of(str(uuid.uuid4()), 1) == 0


@pytest.mark.parametrize("count", [2, 3, 8])
def test_functions_are_spread_evenly(count):
    ids = (str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(1, 6001))
    owned = collections.Counter(owner_of(function_id, count) for function_id in ids)

    assert set(owned) == set(range(count))
    assert max(owned.values()) < 1.15 * 6000 / count


def test_every_process_names_the_same_owner():
    code = "from funclet.cluster.ownership import owner_of; print([owner_of(str(n), 7) for n in range(50)])"
    told = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }

    assert told == {f"{[owner_of(str(number), 7) for number in range(50)]}\n"}


def test_a_few_deaths_are_followed_by_a_start_at_once_and_more_by_longer_and_longer_pauses():
    delays = [restart_delay_s(failures) for failures in range(20)]

    assert delays[:4] == [0.0] * 4
    assert delays == sorted(delays)
    assert 0 < delays[4] < delays[5]
    assert delays[-1] == 1
