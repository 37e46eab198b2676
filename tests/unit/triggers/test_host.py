"""Firing of timers on a stepped clock and a real database."""

import asyncio
import contextlib
import json
import time
import uuid
from dataclasses import replace

import pytest

from funclet.base.http import Request
from funclet.model.identity import ProjectState
from funclet.services.triggers import NewTrigger
from funclet.store.queue_protocol import Settlement
from funclet.triggers.host import MAX_COUNTED, MAX_LAG_S, TimerHost
from tests.support.gateway import PROJECT_ID, START, HeaderAuthenticator
from tests.support.store import due


def timer(stack, urn, schedule="* * * * * ?", *, kind="Cron", name="tick", **more):
    return stack.create(urn, "TIMER", name=name, schedule_type=kind, schedule=schedule, **more)


def fire(stack, host=None):
    """Read changes, fire what is due, as one turn of the loop does."""

    async def turn():
        await (host or stack.host)._refresh()
        return await (host or stack.host).fire_due()

    return stack.run(turn())


def times(submissions):
    return [json.loads(one.payload)["time"] for one in submissions]


def test_the_event_is_the_documented_one(stack):
    urn = stack.add_function()
    timer(
        stack,
        urn,
        "CRON_TZ=Asia/Shanghai 0 30 18 * * ?",
        name="nightly_report",
        user_event='{"report":"sales","dry_run":false}',
    )

    stack.clock.advance(1800.25)
    fire(stack)

    [submission] = stack.queued()
    assert json.loads(submission.payload) == {
        "version": "v1.0",
        "time": "2026-03-10T18:30:00+08:00",
        "trigger_type": "TIMER",
        "trigger_name": "nightly_report",
        "user_event": '{"report":"sales","dry_run":false}',
    }
    assert submission.urn == urn
    assert stack.wakes == 1


def test_a_new_timer_does_not_fire_at_once(stack):
    timer(stack, stack.add_function(), "5m", kind="Rate")

    fired = [fire(stack)]
    stack.clock.advance(299.9)
    fired.append(fire(stack))
    stack.clock.advance(0.1)
    fired.append(fire(stack))

    assert fired == [0, 0, 1]


def test_a_missing_user_event_is_an_empty_text(stack):
    timer(stack, stack.add_function())

    stack.clock.advance(1)
    fire(stack)

    assert json.loads(stack.queued()[0].payload)["user_event"] == ""


def test_intervals_keep_their_phase_over_a_restart(stack):
    timer(stack, stack.add_function(), "10m", kind="Rate")
    stack.clock.advance(603)
    fire(stack)

    stack.clock.advance(590)
    fired = fire(stack, stack.new_host())
    stack.clock.advance(7)
    fire(stack)

    assert fired == 0
    assert times(stack.queued()) == ["2026-03-10T10:10:00+00:00", "2026-03-10T10:20:00+00:00"]


@pytest.mark.parametrize(("pause_s", "fired", "dropped"), [(60, 1, 5), (70, 1, 6), (70.5, 0, 7), (7200, 0, 720)])
def test_after_a_pause_the_first_missed_time_fires_if_it_is_not_too_late(stack, caplog, pause_s, fired, dropped):
    timer(stack, stack.add_function(), "@every 10s")

    stack.clock.advance(pause_s)
    host = stack.new_host()

    assert (fire(stack, host), fire(stack, host), fire(stack, stack.new_host())) == (fired, 0, 0)
    assert times(stack.queued()) == ["2026-03-10T10:00:10+00:00"][:fired]
    assert host.counts.dropped == dropped
    assert f"timer_firings_dropped count={dropped}" in caplog.text
    text = host.metrics_text().decode()
    assert f"fgs_timer_firings_total {fired}\n" in text
    assert f"fgs_timer_dropped_firings_total {dropped}\n" in text


def test_dropped_times_of_a_cron_expression_are_counted_up_to_a_bound(stack):
    timer(stack, stack.add_function(), "* * * * * ?")

    stack.clock.advance(50_000)
    host = stack.new_host()

    assert (fire(stack, host), host.counts.dropped) == (0, MAX_COUNTED + 1)


def test_the_phase_stays_after_dropped_firings(stack):
    timer(stack, stack.add_function(), "7m", kind="Rate")

    stack.clock.advance(6000)
    host = stack.new_host()
    fire(stack, host)
    stack.clock.advance(300)

    assert fire(stack, host) == 1
    # 15 times 7 minutes after ten o'clock.
    assert times(stack.queued()) == ["2026-03-10T11:45:00+00:00"]


def test_a_busy_host_fires_late_but_drops_nothing(stack):
    timer(stack, stack.add_function())
    fire(stack)

    stack.clock.advance(MAX_LAG_S - 0.5)

    assert (fire(stack), stack.host.counts.dropped) == (9, 0)
    assert times(stack.queued()) == [f"2026-03-10T10:00:0{second}+00:00" for second in range(1, 10)]


def test_a_clock_that_jumps_ahead_fires_no_backlog(stack):
    timer(stack, stack.add_function(), "0 * * * * ?")
    fire(stack)

    stack.clock.step(3600 + 30)

    assert (fire(stack), stack.queued()) == (0, [])
    stack.clock.advance(30)
    assert fire(stack) == 1


def test_a_sequential_timer_waits_for_the_end_of_its_run(stack):
    urn = stack.add_function()
    timer(stack, urn, "@every 10s", sync_execution=True)
    stack.clock.advance(10)
    first = fire(stack)
    stack.clock.advance(10)
    during = fire(stack)

    stack.run(end_all(stack))
    after = fire(stack)
    stack.clock.advance(10)

    assert (first, during, after, fire(stack)) == (1, 0, 0, 1)
    assert times(stack.queued()) == ["2026-03-10T10:00:30+00:00"]


async def end_all(stack):
    def work(tx):
        requests = due(tx, function_id="id-of-test-1-orders")
        tx.queue.settle_all(
            [Settlement(request=one, status="SUCCESS", at=stack.clock.now(), attempts=1) for one in requests]
        )

    await stack.store.write(work)


def test_a_sequential_timer_waits_over_a_restart(stack):
    timer(stack, stack.add_function(), "@every 10s", sync_execution=True)
    stack.clock.advance(10)
    fire(stack)
    stack.clock.advance(10)

    assert fire(stack, stack.new_host()) == 0


def test_the_version_of_events_can_be_chosen(stack):
    timer(stack, stack.add_function())
    host = TimerHost(
        stack.store,
        stack.clock,
        on_queued=lambda _: None,
        queue_time=stack.clock.now,
        default_zone="UTC",
        event_version="v2.0",
    )
    stack.clock.advance(1)
    fire(stack, host)

    assert json.loads(stack.queued()[0].payload)["version"] == "v2.0"


def test_two_hosts_on_one_store_fire_a_thousand_timers_once_each(stack):
    urns = [stack.add_function(f"f{number}") for number in range(100)]
    for urn in urns:
        for number in range(10):
            timer(stack, urn, "0 * * * * ?", name=f"t{number}")
    first, second = stack.host, stack.new_host()
    fire(stack, first)
    fire(stack, second)

    stack.clock.advance(60)
    fired = stack.run(both(first, second))

    lanes = stack.read(lambda tx: tx.queue.lanes())
    assert (sum(fired), sum(lane.count for lane in lanes)) == (1000, 1000)


async def both(*hosts):
    return await asyncio.gather(*(host.fire_due() for host in hosts))


def test_the_request_id_follows_from_trigger_and_time(stack):
    trigger = timer(stack, stack.add_function(), "0 * * * * ?")

    stack.clock.advance(60)
    fire(stack)

    expected = uuid.uuid5(uuid.UUID(trigger["trigger_id"]), str(int(START) + 60))
    assert stack.queued()[0].request_id == str(expected)


@pytest.mark.parametrize("how", ["disable", "delete"])
def test_a_timer_that_is_gone_fires_no_more_even_before_it_is_read_again(stack, how):
    trigger = timer(stack, stack.add_function())
    fire(stack)
    path = f"/triggers/orders/TIMER/{trigger['trigger_id']}"
    host, stack.host = stack.host, stack.new_host()

    if how == "disable":
        stack.send("PUT", path, {"trigger_status": "DISABLED"})
    else:
        stack.send("DELETE", path)
    stack.clock.advance(5)

    assert stack.run(host.fire_due()) == 0
    assert stack.queued() == []


def test_what_was_due_while_disabled_is_not_fired_later(stack):
    trigger = timer(stack, stack.add_function(), "0 * * * * ?")
    path = f"/triggers/orders/TIMER/{trigger['trigger_id']}"
    stack.send("PUT", path, {"trigger_status": "DISABLED"})
    stack.clock.advance(90)

    stack.send("PUT", path, {"trigger_status": "ACTIVE"})
    at_once = fire(stack)
    stack.clock.advance(30)

    assert (at_once, fire(stack)) == (0, 1)


def test_a_new_schedule_counts_from_its_change(stack):
    trigger = timer(stack, stack.add_function(), "5m", kind="Rate")
    stack.clock.advance(290)
    body = {"event_data": {"schedule": "10m"}}
    stack.send("PUT", f"/triggers/orders/TIMER/{trigger['trigger_id']}", body)

    stack.clock.advance(599)
    early = fire(stack)
    stack.clock.advance(1)

    assert (early, fire(stack)) == (0, 1)


def test_another_user_event_leaves_the_phase_alone(stack):
    trigger = timer(stack, stack.add_function(), "5m", kind="Rate")
    stack.clock.advance(290)
    body = {"event_data": {"user_event": "new"}}
    stack.send("PUT", f"/triggers/orders/TIMER/{trigger['trigger_id']}", body)

    stack.clock.advance(10)
    fire(stack)

    assert json.loads(stack.queued()[0].payload)["user_event"] == "new"


def test_a_clock_that_steps_back_repeats_nothing(stack):
    timer(stack, stack.add_function(), "0 * * * * ?")
    stack.clock.advance(60)
    fire(stack)

    stack.clock.step(-50)
    fire(stack)
    stack.clock.advance(50)
    fire(stack, stack.new_host())

    assert len(stack.queued()) == 1


def test_a_timer_whose_zone_has_vanished_does_not_stop_the_others(stack, caplog):
    urn = stack.add_function()
    trigger = timer(stack, urn, name="broken")
    timer(stack, urn, name="sound")
    stored = stack.read(lambda tx: tx.triggers.get(PROJECT_ID, trigger["trigger_id"]))
    data = {**stored.event_data, "schedule": "CRON_TZ=Gone/Away * * * * * ?"}
    stack.write(lambda tx: tx.triggers.put(replace(stored, event_data=data)))

    stack.clock.advance(1)

    assert fire(stack) == 1
    assert "Gone/Away" in caplog.text


def test_the_loop_sleeps_until_due_and_wakes_for_changes(stack):
    urn = stack.add_function()

    async def scenario():
        loop = asyncio.ensure_future(stack.host.run())
        try:
            await until(lambda: len(stack.clock._sleepers) == 1)
            await create(stack, urn, "@every 2s")
            # The change ends the long sleep; the next one ends when the timer is due.
            await until(lambda: stack.host._heap and len(stack.clock._sleepers) == 2)
            stack.clock.advance(2)
            await until(lambda: stack.wakes == 1)
        finally:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop

    stack.run(scenario())

    assert len(stack.queued()) == 1


async def create(stack, urn, schedule):
    request = Request(method="GET", raw_path="/", headers={"x-auth-token": "home"})
    principal = await HeaderAuthenticator().authenticate(request)
    data = {"name": "tick", "schedule_type": "Cron", "schedule": schedule}
    await stack.triggers.create(principal, urn, NewTrigger(type_code="TIMER", event_data=data))


async def until(condition, *, within_s=5.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        await asyncio.sleep(0.001)


def test_a_thousand_timers_of_one_second_fire_once_each(stack):
    urns = [stack.add_function(f"f{number}") for number in range(100)]
    for urn in urns:
        for number in range(10):
            timer(stack, urn, "0 * * * * ?", name=f"t{number}")
    fire(stack)

    stack.clock.advance(60)
    started = time.perf_counter()
    fired = fire(stack)
    took_s = time.perf_counter() - started

    lanes = stack.read(lambda tx: tx.queue.lanes())
    assert (fired, sum(lane.count for lane in lanes)) == (1000, 1000)
    assert took_s < 5


def announce(stack):
    async def turn():
        await stack.host._refresh()
        await stack.host.fire_due()
        return await stack.host.announce_due()

    return stack.run(turn())


def test_firings_are_announced_a_minute_before_and_once(stack):
    urn = stack.add_function()
    timer(stack, urn, "5m", kind="Rate")

    counts = [announce(stack)]
    stack.clock.advance(239.5)
    counts.append(announce(stack))
    stack.clock.advance(1.0)
    counts += [announce(stack), announce(stack)]

    assert counts == [0, 0, 1, 0]
    assert stack.announced == [(urn, pytest.approx(59.5))]


def test_after_a_firing_the_next_one_is_announced_at_once_if_it_is_near(stack):
    timer(stack, stack.add_function(), "* * * * * ?")
    announce(stack)

    for _ in range(3):
        stack.clock.advance(1.0)
        announce(stack)

    assert [round(due_in_s) for _, due_in_s in stack.announced] == [1, 1, 1, 1]


def test_not_too_many_are_announced_in_one_go(stack, monkeypatch):
    monkeypatch.setattr("funclet.triggers.host.MAX_ANNOUNCED", 3)
    urn = stack.add_function()
    for number in range(8):
        timer(stack, urn, "1m", kind="Rate", name=f"tick-{number}")

    assert [announce(stack) for _ in range(4)] == [3, 3, 2, 0]


def test_a_disabled_timer_is_not_announced(stack):
    urn = stack.add_function()
    timer(stack, urn, "1m", kind="Rate", status="DISABLED")

    assert announce(stack) == 0


def put_state(stack, state):
    stack.write(lambda tx: tx.identities.set_state(PROJECT_ID, state, ""))
    stack.host.changed()


@pytest.mark.parametrize(
    ("pause_s", "fired"),
    [(45, ["10:00:20"]), (75, [])],
    ids=["the first missed time is within the grace", "it is older"],
)
def test_what_falls_due_while_a_project_is_suspended_is_not_made_up_for(stack, pause_s, fired):
    timer(stack, stack.add_function(), "@every 10s")
    stack.clock.advance(15)
    fire(stack)
    put_state(stack, ProjectState.SUSPENDED)

    stack.clock.advance(pause_s)
    assert fire(stack) == 0
    put_state(stack, ProjectState.NORMAL)
    fire(stack)
    # From then on in the phase it had before.
    stack.clock.advance(10)
    fire(stack)

    due_next = "10:01:10" if pause_s == 45 else "10:01:40"
    assert [text[11:19] for text in times(stack.queued())] == ["10:00:10", *fired, due_next]


def test_a_read_only_project_goes_on_firing(stack):
    timer(stack, stack.add_function(), "@every 10s")
    put_state(stack, ProjectState.READONLY)

    stack.clock.advance(10)

    assert fire(stack) == 1
