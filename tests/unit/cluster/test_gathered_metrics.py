"""Metrics of several processes: sums that never go back, and a name for who does not answer."""

import asyncio
import contextlib

from funclet.cluster.link import LinkAway, LinkLost
from funclet.cluster.metrics import GatheredMetrics, encode_standing
from funclet.metrics import MAX_VERSIONS, OTHERS, FunctionCounters, Standing, summed
from funclet.model.invocation import Report

HELLO, OTHER = ("p", "default", "hello", "latest"), ("p", "default", "other", "latest")


def counted(key, count, *, throttles=0):
    one = FunctionCounters(key)
    for _ in range(count):
        one.observe(Report(duration_ms=3.0, wait_ms=2.0, start_ms=1.0, cpu_ms=0.5, is_cold=True))
    one.throttles = throttles
    return one


def standing(*counters, **values):
    return Standing(counters=counters, values=values)


class Peer:
    """The connection to one process, with what it says next; None for nothing."""

    def __init__(self, *counters, epoch="first", **values):
        self.says, self.epoch, self.asked = standing(*counters, **values), epoch, 0
        self.fault = None

    def request(self, kind, body):
        self.asked += 1
        if isinstance(self.fault, LinkAway):
            raise self.fault
        future = asyncio.get_running_loop().create_future()
        if self.fault is not None:
            future.set_exception(self.fault)
        elif self.says is not None:
            future.set_result(encode_standing(self.says, self.epoch))
        return future


def run(check):
    asyncio.run(check)


def gathered(**peers):
    numbered = {int(name[1:]): peer for name, peer in peers.items()}
    return GatheredMetrics(lambda: numbered, answer_s=0.05)


def results(found):
    return {one.key: one.results.get(0, 0) for one in found.counters}


def test_one_process_alone_is_itself():
    async def check():
        found = await gathered().add_to(standing(counted(HELLO, 2), fgs_waiting_requests=3))

        assert results(found) == {HELLO: 2}
        assert found.values == {"fgs_waiting_requests": 3, "fgs_process_up": {"0": 1}}

    run(check())


def test_what_all_processes_counted_is_added_up_to_the_last_number():
    async def check():
        own = standing(counted(HELLO, 2, throttles=1), fgs_instances={"idle": 1, "busy": 2}, fgs_waiting_requests=3)
        subject = gathered(
            p1=Peer(counted(HELLO, 3, throttles=4), fgs_instances={"idle": 4}, fgs_waiting_requests=0.5),
            p2=Peer(counted(OTHER, 5)),
        )
        found = await subject.add_to(own)

        assert results(found) == {HELLO: 5, OTHER: 5}
        hello = next(one for one in found.counters if one.key == HELLO)
        [wanted] = summed([counted(HELLO, 5)])
        for name in ("buckets", "duration_ms", "wait_ms", "start_ms", "cpu_ms", "cold_starts"):
            assert getattr(hello, name) == getattr(wanted, name), name
        assert hello.throttles == 5
        assert found.values["fgs_instances"] == {"idle": 5, "busy": 2}
        assert found.values["fgs_waiting_requests"] == 3.5
        assert found.values["fgs_process_up"] == {"0": 1, "1": 1, "2": 1}

    run(check())


def test_who_does_not_answer_is_named_and_its_counters_stay():
    async def check():
        peer, gone = Peer(counted(HELLO, 3), fgs_waiting_requests=7), Peer(counted(OTHER, 1))
        subject = gathered(p1=peer, p2=gone)
        await subject.add_to(standing())
        peer.says, gone.fault = None, LinkLost()
        for _ in range(3):
            found = await subject.add_to(standing())

        assert results(found) == {HELLO: 3, OTHER: 1}
        assert found.values["fgs_process_up"] == {"0": 1, "1": 0, "2": 0}
        assert "fgs_waiting_requests" not in found.values
        # One question is under way; more would only pile up.
        assert peer.asked == 2

    run(check())


def test_a_process_that_is_away_is_named():
    async def check():
        full = Peer()
        full.fault = LinkAway()
        found = await gathered(p1=None, p2=full).add_to(standing(counted(HELLO, 1)))

        assert results(found) == {HELLO: 1}
        assert found.values["fgs_process_up"] == {"0": 1, "1": 0, "2": 0}

    run(check())


def test_a_process_that_was_replaced_counts_on_from_what_the_former_one_had():
    async def check():
        peer = Peer(counted(HELLO, 3))
        subject = gathered(p1=peer)
        await subject.add_to(standing())
        seen = []
        for epoch, count in (("second", 1), ("second", 2), ("third", 0), ("third", 4)):
            peer.says, peer.epoch = standing(counted(HELLO, count)), epoch
            seen.append(results(await subject.add_to(standing()))[HELLO])

        assert seen == [4, 5, 5, 9]

    run(check())


def test_what_replaced_processes_had_counted_is_bounded_and_none_is_lost():
    async def check():
        peer = Peer()
        subject = gathered(p1=peer)
        for epoch in range(4):
            keys = [("p", "default", f"f-{epoch}-{number}", "latest") for number in range(MAX_VERSIONS // 2)]
            peer.says, peer.epoch = standing(*(counted(key, 1) for key in keys)), str(epoch)
            found = await subject.add_to(standing())

        assert len(found.counters) <= MAX_VERSIONS + MAX_VERSIONS // 2
        assert sum(results(found).values()) == 4 * (MAX_VERSIONS // 2)
        assert results(found)["", OTHERS, OTHERS, OTHERS] > 0

    run(check())


def test_the_answer_takes_no_longer_than_the_processes_have():
    async def check():
        slow = Peer()
        slow.says = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await gathered(p1=slow, p2=slow).add_to(standing())
                return
        raise AssertionError("the scrape hangs")

    run(check())
