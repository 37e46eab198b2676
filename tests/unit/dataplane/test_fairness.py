"""Who is next, and who must give way: tables, and turns that go round."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.dataplane import fairness
from funclet.dataplane.capacity import Capacity
from funclet.dataplane.fairness import ROUND_S, Claim, Shares
from funclet.dataplane.slots import LONGEST_HOLD_S, StartSlots
from tests.support.dataplane import run, until
from tests.unit.dataplane.test_scaler import PATIENT

A1, A2, B1, C1 = ("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")


def claims_of(*owners):
    return [Claim(owner, 1, 0.0) for owner in owners]


def shares_of(*owners):
    shares = Shares()
    for owner in owners:
        shares.add(owner, 1)
    return shares


def served(shares, waiting):
    """Return in which order all are served, each keeping what it gets."""
    waiting, order = list(waiting), []
    while waiting:
        claim = shares.first(waiting)
        waiting.remove(claim)
        shares.add(claim.owner, claim.amount)
        order.append(claim.owner)
    return order


@pytest.mark.parametrize(
    ("held", "waiting", "order"),
    [
        # Of one function in the order in which they came.
        ([], [A1, A1], [A1, A1]),
        # A crowd of one function, and the first request of another function or project.
        ([], [A1, A1, A1, B1], [A1, B1, A1, A1]),
        ([A1, A1, A1], [A1, A1, A2], [A2, A1, A1]),
        # Projects first: two functions get no more than the one of another project.
        ([A1, A2], [A1, A2, B1, B1], [B1, B1, A1, A2]),
        # In turns where all are equal.
        ([], [A1, A1, B1, B1, C1, C1], [A1, B1, C1, A1, B1, C1]),
    ],
)
def test_who_is_next(held, waiting, order):
    assert served(shares_of(*held), claims_of(*waiting)) == order


def test_with_more_projects_than_parts_every_one_has_its_turn():
    shares = Shares()
    owners = [(project, "f") for project in "abcde"]
    turns = []
    holding = []
    for _ in range(20):
        if len(holding) == 2:
            shares.remove(holding.pop(0), 1)
        # All of them always want more; the claims of the first ones are the oldest.
        owner = shares.first(claims_of(*owners)).owner
        shares.add(owner, 1)
        holding.append(owner)
        turns.append(owner)

    assert all(set(turns[at : at + 5]) == set(owners) for at in range(0, 20, 5))


OWNERS = st.tuples(st.sampled_from("abcd"), st.sampled_from("123"))


@PATIENT
@given(st.lists(OWNERS, min_size=1, max_size=60), st.lists(OWNERS, max_size=20))
def test_nobody_is_served_twice_while_a_project_without_anything_waits(waiting, held):
    shares = shares_of(*held)
    have = {project for project, _ in held}
    order = served(shares, claims_of(*waiting))

    newcomers = {project for project, _ in waiting} - have
    assert {project for project, _ in order[: len(newcomers)]} == newcomers


def must_yield(held, owner, claim, *, waited_s=0.0, amount=1):
    return shares_of(*held).must_yield(owner, 1, Claim(claim, amount, 0.0), waited_s)


@pytest.mark.parametrize(
    ("held", "owner", "claim", "waited_s", "yields"),
    [
        # Nobody gives way to itself, nor for an equal share.
        ([A1, A1, A1], A1, A1, 9.0, False),
        ([A1, B1], A1, B1, 9.0, False),
        ([A1, A1, B1], A1, B1, 9.0, False),
        # At once for one who would still have no more.
        ([A1, A1, A1, B1], A1, B1, 0.0, True),
        ([A1, A1], A1, B1, 0.0, True),
        ([A1, A1], A1, A2, 0.0, True),
        # The last one only after a while, and only for one who has nothing.
        ([A1], A1, B1, 0.0, False),
        ([A1], A1, B1, ROUND_S, True),
        ([A1], A1, A2, ROUND_S, True),
        # A function without anything takes from its own project, not from a poorer one.
        ([A1, A1, A1, B1], B1, A2, 9.0, False),
        ([A1, A1, A1, B1], A1, A2, 0.0, True),
    ],
)
def test_who_must_give_way(held, owner, claim, waited_s, yields):
    assert must_yield(held, owner, claim, waited_s=waited_s) is yields


def test_for_a_large_claim_all_give_way_after_a_while():
    assert not must_yield([A1] * 4, A1, B1, amount=4)
    assert must_yield([A1] * 4, A1, B1, amount=4, waited_s=ROUND_S)


def test_turns_of_long_ago_are_forgotten(monkeypatch):
    monkeypatch.setattr(fairness, "MAX_TURNS", 10)
    shares = Shares()
    for number in range(100):
        shares.add(("p", str(number)), 1)
        shares.remove(("p", str(number)), 1)

    assert len(shares._turns) <= 10
    assert not shares._held


def test_memory_goes_to_who_is_next_and_nobody_passes():
    capacity = Capacity(total_mib=256)
    first, second = capacity.claim(A1, 128, 0.0), capacity.claim(A1, 128, 0.0)
    assert capacity.take(first)
    assert capacity.take(second)
    third, other = capacity.claim(A1, 128, 1.0), capacity.claim(B1, 256, 1.0)

    capacity.give_back(A1, 128)
    # There is memory for the one who came first, but it is the turn of the other, who wants more.
    assert not capacity.take(third)
    assert not capacity.take(other)
    assert not capacity.has(128)
    capacity.give_back(A1, 128)
    assert not capacity.take(third)
    assert capacity.take(other)
    capacity.withdraw(other)
    assert (capacity.used_mib, capacity.claims) == (256, [third])


def test_one_that_is_ending_already_is_enough():
    capacity = Capacity(total_mib=256)
    for _ in range(2):
        assert capacity.take(capacity.claim(A1, 128, 0.0))
    capacity.claim(B1, 128, 0.0)

    assert capacity.must_yield(A1, 128, 0.0)
    capacity.free_soon(128)
    assert not capacity.must_yield(A1, 128, 9.0)


def test_whoever_is_next_is_woken():
    async def scenario():
        capacity = Capacity(total_mib=128)
        assert capacity.take(capacity.claim(A1, 128, 0.0))
        claims = [capacity.claim(owner, 128, 0.0) for owner in (A1, B1)]
        waits = [asyncio.create_task(capacity.wait(claim, 60)) for claim in claims]
        await asyncio.sleep(0)

        capacity.give_back(A1, 128)
        await until(lambda: any(wait.done() for wait in waits))

        # Both hold nothing, and A had the last turn.
        assert [wait.done() for wait in waits] == [False, True]
        assert capacity.take(claims[1])
        capacity.give_back(B1, 128)
        await until(waits[0].done)

    run(scenario())


def test_start_slots_go_round_between_projects():
    async def scenario():
        slots = StartSlots(2)
        order = []

        async def start(owner):
            slot = await slots.enter(owner)
            order.append(owner)
            await asyncio.sleep(0.001)
            slots.leave(slot)

        await asyncio.gather(*(start(owner) for owner in [A1] * 100 + [B1, C1]))

        assert {B1, C1} <= set(order[:4])
        assert len(order) == 102
        assert slots.waiting == 0

    run(scenario())


def test_a_slow_start_gives_its_slot_to_others():
    async def scenario():
        slots = StartSlots(1)
        slow = await slots.enter(A1)
        loop = asyncio.get_running_loop()
        began = loop.time()

        other = await asyncio.wait_for(slots.enter(B1), 5)

        assert loop.time() - began >= LONGEST_HOLD_S * 0.9
        slots.leave(slow)
        assert slots._free == 0
        slots.leave(other)
        assert slots._free == 1

    run(scenario())


def test_one_who_goes_away_while_waiting_takes_no_slot_along():
    async def scenario():
        slots = StartSlots(1)
        held = await slots.enter(A1)
        gone = asyncio.create_task(slots.enter(A1))
        await until(lambda: slots.waiting == 1)
        slots.leave(held)
        # It has been given the slot, and is cancelled before it could know.
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)

        assert (slots._free, slots.waiting) == (1, 0)

    run(scenario())
