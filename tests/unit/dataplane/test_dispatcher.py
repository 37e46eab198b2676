"""The dispatcher with pretended sandboxes: limits, waiting, failures, what is recorded."""

import asyncio
import json
from dataclasses import replace

import pytest

from funclet import telemetry
from funclet.model.invocation import (
    Completed,
    FailureKind,
    FunctionFailed,
    PlatformFailed,
    Refused,
)
from funclet.runtimes.frames import FrameType
from funclet.sandbox.protocol import ExitReason, Usage
from funclet.testing.sandbox import FakeDriver, Reply
from tests.support.dataplane import VERSION, configured, dispatcher, gate, invocation, run, until


def test_the_answer_of_the_runtime_is_the_outcome():
    async def scenario():
        async with dispatcher(FakeDriver()) as subject:
            outcome = await subject.invoke(invocation(payload=b'{"a": 1}'))

            assert isinstance(outcome, Completed)
            assert outcome.body == b'{"a": 1}'

    run(scenario())


def test_an_instance_is_used_again():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver) as subject:
            first = await subject.invoke(invocation())
            second = await subject.invoke(invocation())

            assert len(driver.made) == 1
            assert (first.report.is_cold, second.report.is_cold) == (True, False)
            assert driver.made[0].cpu_is_limited

    run(scenario())


def test_requests_at_the_same_time_get_instances_of_their_own():
    async def scenario():
        behaviour, opened = gate()
        driver = FakeDriver(behaviour)
        async with dispatcher(driver) as subject:
            calls = [asyncio.create_task(subject.invoke(invocation())) for _ in range(3)]
            await until(lambda: subject.statistics()["busy"] == 3)
            opened.set()

            assert all(isinstance(outcome, Completed) for outcome in await asyncio.gather(*calls))
            assert len(driver.made) == 3

    run(scenario())


def test_beyond_the_maximum_a_request_is_refused_at_once():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour)) as subject:
            version = configured(max_instances=1)
            first = asyncio.create_task(subject.invoke(invocation(version)))
            await until(lambda: subject.statistics()["busy"] == 1)
            second = await subject.invoke(invocation(version))
            opened.set()
            await first

            assert isinstance(second, Refused)
            assert not second.is_overload

    run(scenario())


def test_in_the_lab_a_request_waits_for_a_busy_instance():
    async def scenario():
        behaviour, opened = gate()
        driver = FakeDriver(behaviour)
        async with dispatcher(driver, wait_s=5) as subject:
            version = configured(max_instances=1)
            calls = [asyncio.create_task(subject.invoke(invocation(version))) for _ in range(3)]
            await until(lambda: subject.statistics()["waiting"] == 2)
            opened.set()

            assert all(isinstance(outcome, Completed) for outcome in await asyncio.gather(*calls))
            assert len(driver.made) == 1

    run(scenario())


def test_waiting_ends_with_a_refusal():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour), wait_s=0.05) as subject:
            version = configured(max_instances=1)
            first = asyncio.create_task(subject.invoke(invocation(version)))
            await until(lambda: subject.statistics()["busy"] == 1)
            second = await subject.invoke(invocation(version))
            opened.set()
            await first

            assert isinstance(second, Refused)
            assert subject.statistics()["waiting"] == 0

    run(scenario())


def test_a_disabled_function_is_refused():
    async def scenario():
        async with dispatcher(FakeDriver()) as subject:
            outcome = await subject.invoke(invocation(configured(max_instances=0)))

            assert outcome == Refused(reason="Function Disabled", retry_after_s=None)

    run(scenario())


def test_a_runtime_without_interpreter_fails_the_invocation():
    async def scenario():
        async with dispatcher(FakeDriver()) as subject:
            outcome = await subject.invoke(invocation(configured(runtime="Java11")))

            assert isinstance(outcome, FunctionFailed)
            assert outcome.code == 4201
            assert b"runtime Java11 is not installed on this host" in outcome.body

    run(scenario())


def test_a_deadline_ends_the_instance():
    async def scenario():
        async def never(kind, body):
            if kind is FrameType.INVOKE:
                await asyncio.sleep(60)
            return Reply(body)

        driver = FakeDriver(never)
        async with dispatcher(driver) as subject:
            # The shortest timeout a function may have is three seconds; the data plane takes what it is given.
            outcome = await subject.invoke(invocation(configured(timeout_s=1)))

            assert (outcome.kind, outcome.code) == (FailureKind.TIMEOUT, 4010)
            assert outcome.body == b"invoke timed out after 1 seconds"
            assert 1000 <= outcome.report.duration_ms < 2000
            await until(lambda: subject.statistics()["memory_mib"] == 0)

    run(scenario())


def test_out_of_memory_is_told_from_an_exit():
    async def scenario():
        async def exits(kind, body):
            return Reply(exits=ExitReason(json.loads(body)) if kind is FrameType.INVOKE else None)

        async with dispatcher(FakeDriver(exits)) as subject:
            memory = await subject.invoke(invocation(payload=b'"out_of_memory"'))
            ended = await subject.invoke(invocation(payload=b'"exited"'))

            assert (memory.code, memory.body) == (4205, b"runtime memory limit exceeded")
            assert memory.report.memory_peak_bytes == 128 * 1024 * 1024
            assert (ended.code, ended.body) == (4204, b"runtime process is exited")

    run(scenario())


def test_an_exception_of_the_handler_keeps_the_instance():
    async def scenario():
        async def raises(kind, body):
            return Reply(b'{"errorMessage": "x"}', code=4002 if kind is FrameType.INVOKE else 0, is_json=True)

        driver = FakeDriver(raises)
        async with dispatcher(driver) as subject:
            first = await subject.invoke(invocation())
            await subject.invoke(invocation())

            assert (first.code, first.is_json) == (4002, True)
            assert len(driver.made) == 1

    run(scenario())


def test_a_failed_handler_on_a_full_disk_is_a_disk_failure():
    async def scenario():
        async def raises(kind, body):
            return Reply(b"no space", code=4002 if kind is FrameType.INVOKE else 0)

        driver = FakeDriver(raises)
        async with dispatcher(driver) as subject:
            await subject.invoke(invocation())
            driver.made[0].usage = Usage(memory_peak_bytes=1, cpu_s=0, tmp_bytes=512 * 1024 * 1024)
            outcome = await subject.invoke(invocation())

            assert (outcome.code, outcome.body) == (4207, b"disk usage exceed limit")

    run(scenario())


def test_a_failed_initializer_is_tried_three_times():
    async def scenario():
        async def bad_init(kind, body):
            return Reply(b"{}", code=4009 if kind is FrameType.INIT else 0, is_json=True)

        driver = FakeDriver(bad_init)
        async with dispatcher(driver) as subject:
            outcome = await subject.invoke(invocation(configured(initializer_handler="index.init")))

            assert outcome.code == 4009
            assert len(driver.made) == 3

    run(scenario())


def test_a_failed_load_goes_to_the_caller_and_is_tried_again_next_time():
    async def scenario():
        answers = iter([4001, 0])

        async def bad_load(kind, body):
            return Reply(b"{}", code=next(answers) if kind is FrameType.LOAD else 0, is_json=True)

        async with dispatcher(FakeDriver(bad_load)) as subject:
            first = await subject.invoke(invocation())
            second = await subject.invoke(invocation())

            assert first.code == 4001
            assert isinstance(second, Completed)

    run(scenario())


def test_a_function_that_never_starts_is_not_started_without_end():
    async def scenario():
        async def bad_load(kind, body):
            return Reply(b"{}", code=4001, is_json=True)

        driver = FakeDriver(bad_load)
        async with dispatcher(driver) as subject:
            for _ in range(20):
                assert (await subject.invoke(invocation())).code == 4001

            assert len(driver.made) == 3

    run(scenario())


def test_a_sandbox_that_cannot_be_made_is_a_fault_of_the_platform():
    async def scenario():
        async with dispatcher(FakeDriver(failing_starts=1)) as subject:
            first = await subject.invoke(invocation())
            second = await subject.invoke(invocation())

            assert isinstance(first, PlatformFailed)
            assert isinstance(second, Completed)

    run(scenario())


def test_idle_instances_give_way_when_memory_is_short():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver, memory_mib=256) as subject:
            for name in ("f-1", "f-2", "f-3"):
                outcome = await subject.invoke(invocation(replace(VERSION, function_id=name)))
                assert isinstance(outcome, Completed)

            assert subject.statistics()["memory_mib"] == 256

    run(scenario())


def test_a_node_full_of_busy_instances_refuses_as_overloaded():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour), memory_mib=128) as subject:
            first = asyncio.create_task(subject.invoke(invocation()))
            await until(lambda: subject.statistics()["busy"] == 1)
            second = await subject.invoke(invocation(replace(VERSION, function_id="f-2")))
            opened.set()
            await first

            assert isinstance(second, Refused)
            assert second.is_overload

    run(scenario())


def test_a_new_revision_gets_new_instances_and_the_old_ones_end():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver) as subject:
            await subject.invoke(invocation())
            await subject.invoke(invocation(replace(VERSION, revision=2)))

            assert len(driver.made) == 2
            await until(lambda: subject.statistics()["memory_mib"] == 128)

    run(scenario())


def test_idle_instances_are_released():
    async def scenario():
        async with dispatcher(FakeDriver(), idle_release_s=0.01) as subject:
            await subject.invoke(invocation())

            await until(lambda: subject.statistics()["memory_mib"] == 0)

    run(scenario())


def test_an_instance_that_died_while_idle_is_not_used():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver) as subject:
            await subject.invoke(invocation())
            driver.made[0].die(ExitReason.EXITED)
            await until(
                lambda: subject._all_pools()[0].oldest_idle() and not subject._all_pools()[0].oldest_idle().is_usable
            )
            outcome = await subject.invoke(invocation())

            assert isinstance(outcome, Completed)
            assert len(driver.made) == 2

    run(scenario())


def test_a_cancelled_request_loses_its_instance_but_not_its_memory():
    async def scenario():
        behaviour, _ = gate()
        async with dispatcher(FakeDriver(behaviour)) as subject:
            call = asyncio.create_task(subject.invoke(invocation()))
            await until(lambda: subject.statistics()["busy"] == 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

            await until(lambda: subject.statistics()["memory_mib"] == 0)

    run(scenario())


def test_a_runtime_that_breaks_the_contract_is_ended():
    async def scenario():
        async def garbage(kind, body):
            return Reply(b"x" * (9 * 1024 * 1024) if kind is FrameType.INVOKE else b"")

        async with dispatcher(FakeDriver(garbage)) as subject:
            outcome = await subject.invoke(invocation())

            assert outcome.code == 4204

    run(scenario())


def test_a_result_over_six_megabytes_is_refused_with_both_numbers():
    async def scenario():
        async def large(kind, body):
            return Reply(b"x" * 6_291_457 if kind is FrameType.INVOKE else b"")

        async with dispatcher(FakeDriver(large)) as subject:
            outcome = await subject.invoke(invocation())

            assert outcome.code == 4004
            assert outcome.body == b"response body size 6291457 exceeds the limit of 6291456"

    run(scenario())


def test_the_log_has_start_output_and_finish_in_order():
    async def scenario():
        async def prints(kind, body):
            return Reply(prints=b"hello\n" if kind is FrameType.INVOKE else b"")

        async with dispatcher(FakeDriver(prints)) as subject:
            call = invocation()
            await subject.invoke(call)

            lines = telemetry.text_of(subject.records[0]).decode().splitlines()
            assert [line.split(" ", 1)[1].split("'")[0] for line in lines if " request '" in line] == [
                "Start load request ",
                "Finish load request ",
                "Start invoke request ",
                "Finish invoke request ",
            ]
            assert lines[3] == "hello"
            assert call.request_id in lines[2]

    run(scenario())


def test_dynamic_memory_has_pools_of_its_own():
    async def scenario():
        driver = FakeDriver()
        async with dispatcher(driver) as subject:
            await subject.invoke(invocation())
            outcome = await subject.invoke(invocation(memory_mib=512))

            assert outcome.report.memory_mib == 512
            assert [sandbox.spec.memory_mib for sandbox in driver.made] == [128, 512]
            assert driver.made[1].spec.arguments == ("{runtime_root}/bootstrap.py", "460")

    run(scenario())


def test_the_maximum_holds_for_all_sizes_together():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour)) as subject:
            version = configured(max_instances=1, dynamic_memory=True)
            first = asyncio.create_task(subject.invoke(invocation(version)))
            await until(lambda: subject.statistics()["busy"] == 1)
            second = await subject.invoke(invocation(version, memory_mib=512))
            opened.set()
            await first

            assert isinstance(second, Refused)

    run(scenario())


def test_an_idle_instance_of_another_size_gives_its_place():
    async def scenario():
        async with dispatcher(FakeDriver()) as subject:
            version = configured(max_instances=1, dynamic_memory=True)
            for memory_mib in (128, 512, 256):
                assert isinstance(await subject.invoke(invocation(version, memory_mib=memory_mib)), Completed)

            await until(lambda: subject.statistics()["memory_mib"] == 256)

    run(scenario())


def test_a_request_that_waits_for_another_size_gets_the_place_that_becomes_free():
    async def scenario():
        behaviour, opened = gate()
        async with dispatcher(FakeDriver(behaviour), wait_s=5) as subject:
            version = configured(max_instances=1, dynamic_memory=True)
            first = asyncio.create_task(subject.invoke(invocation(version)))
            await until(lambda: subject.statistics()["busy"] == 1)
            second = asyncio.create_task(subject.invoke(invocation(version, memory_mib=512)))
            await until(lambda: subject.statistics()["waiting"] == 1)
            opened.set()

            assert [type(outcome) for outcome in await asyncio.gather(first, second)] == [Completed, Completed]

    run(scenario())


def test_an_instance_that_comes_free_as_the_wait_ends_is_not_lost():
    async def scenario():
        behaviour, opened = gate()
        opened.set()
        async with dispatcher(FakeDriver(behaviour), wait_s=0.002) as subject:
            version = configured(max_instances=2)
            for _ in range(300):
                # Requests that last about as long as others wait: hand-over and deadline fall together again and again.
                opened.clear()
                asyncio.get_running_loop().call_later(0.002, opened.set)
                await asyncio.gather(*(subject.invoke(invocation(version)) for _ in range(6)))

            assert subject.statistics()["busy"] == 0
            assert isinstance(await subject.invoke(invocation(version)), Completed)

    run(scenario())
