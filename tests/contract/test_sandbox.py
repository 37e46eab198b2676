"""What every sandbox driver keeps, whatever it is made of."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from funclet.sandbox.protocol import ExitReason, SandboxError
from tests.support.sandbox import become_true, run_in_lab

MIB = 1024 * 1024

LEVELS = ["process", "rootless", pytest.param("full", marks=pytest.mark.root)]
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
"""
# Waits for the signal: a handler of Python's runs late if the signal comes just before a read that then blocks.
EXIT_AT_SIGTERM = """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
threading.Thread(target=lambda: (signal.sigwait([signal.SIGTERM]), os._exit(3))).start()
"""


@pytest.fixture(params=LEVELS)
def level(request):
    return request.param


def test_the_program_answers_on_descriptor_three(level):
    async def body(lab):
        async with lab.running() as box:
            assert await box.ask("result = 6 * 7") == 42

    run_in_lab(level, body)


def test_both_standard_streams_are_the_log(level):
    async def body(lab):
        async with lab.running() as box:
            await box.ask("print('out', flush=True); print('err', file=sys.stderr, flush=True)")

            assert box.log() == "out\nerr\n"

    run_in_lab(level, body)


def test_standard_input_is_empty(level):
    async def body(lab):
        async with lab.running() as box:
            assert await box.ask("result = sys.stdin.read()") == ""

    run_in_lab(level, body)


def test_no_other_descriptor_is_open(level):
    async def body(lab):
        async with lab.running() as box:
            assert await box.ask("result = sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1]") == [0, 1, 2, 3]

    run_in_lab(level, body)


def test_placeholders_lead_to_code_and_language_folder(level):
    async def body(lab):
        environment = {"CODE": "{code_root}/mine.txt", "RUNTIME": "{runtime_root}"}
        async with lab.running(path_environment=environment) as box:
            assert await box.ask("result = open(os.environ['CODE']).read()") == "mine"
            assert await box.ask("result = os.listdir(os.environ['RUNTIME'])") == ["program.py"]

    run_in_lab(level, body)


def test_the_environment_is_exactly_that_of_the_spec(level):
    async def body(lab):
        environment = {"LC_ALL": "C.UTF-8", "LÄNGE": "ü\n=", "EMPTY": "", "BRACES": "{code_root}"}
        async with lab.running(environment=environment) as box:
            assert await box.ask("result = dict(os.environ)") == environment

    run_in_lab(level, body)


def test_arguments_arrive_unchanged(level):
    async def body(lab):
        arguments = ["-I", "-S", "{runtime_root}/program.py", "a b", "$HOME", "", "ü;`"]
        async with lab.running(arguments=arguments) as box:
            assert await box.ask("result = sys.argv[1:]") == ["a b", "$HOME", "", "ü;`"]

    run_in_lab(level, body)


def test_the_exit_status_is_that_of_the_interpreter(level):
    async def body(lab):
        async with lab.running() as box:
            await box.send("os._exit(7)")

            ended = await box.sandbox.wait()

            assert (ended.reason, ended.status) == (ExitReason.EXITED, 7)

    run_in_lab(level, body)


def test_a_signal_of_its_own_is_told_from_an_exit(level):
    async def body(lab):
        async with lab.running() as box:
            await box.send("os.kill(os.getpid(), 6)")

            ended = await box.sandbox.wait()

            assert (ended.reason, ended.status) == (ExitReason.EXITED, -signal.SIGABRT)

    run_in_lab(level, body)


def test_stop_with_grace_lets_the_program_end_by_itself(level):
    async def body(lab):
        async with lab.running() as box:
            await box.ask(EXIT_AT_SIGTERM)

            ended = await box.sandbox.stop(grace_s=10)

            assert (ended.reason, ended.status) == (ExitReason.STOPPED, 3)

    run_in_lab(level, body)


def test_stop_kills_when_the_grace_is_over(level):
    async def body(lab):
        async with lab.running() as box:
            await box.ask("import signal; signal.signal(15, signal.SIG_IGN)")

            ended = await box.sandbox.stop(grace_s=0.2)

            assert (ended.reason, ended.status) == (ExitReason.STOPPED, -signal.SIGKILL)

    run_in_lab(level, body)


def test_stop_without_grace_kills_at_once(level):
    async def body(lab):
        async with lab.running() as box:
            ended = await box.sandbox.stop(grace_s=0)

            assert (ended.reason, ended.status) == (ExitReason.STOPPED, -signal.SIGKILL)

    run_in_lab(level, body)


def test_stop_twice_and_wait_give_the_same_exit(level):
    async def body(lab):
        async with lab.running() as box:
            ends = await asyncio.gather(
                box.sandbox.wait(), box.sandbox.stop(grace_s=0), box.sandbox.stop(grace_s=5), box.sandbox.wait()
            )

            assert len(set(ends)) == 1
            assert await box.sandbox.wait() == ends[0]

    run_in_lab(level, body)


def test_daemons_that_left_their_session_end_with_the_instance(level):
    async def body(lab):
        async with lab.running() as box:
            await box.ask(DAEMON + "os.wait()")
            assert len(lab.processes()) == 2

            await box.sandbox.stop(grace_s=0)

            assert lab.processes() == []

    run_in_lab(level, body)


def test_daemons_end_when_the_interpreter_exits_by_itself(level):
    async def body(lab):
        async with lab.running() as box:
            await box.ask(DAEMON)
            await box.send("os._exit(0)")

            await box.sandbox.wait()

            assert lab.processes() == []

    run_in_lab(level, body)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_orphans_are_reaped(level):
    """Without an init that waits for them, ended orphans would stay and count against the limit of processes."""
    orphan = "if os.fork() == 0:\n if os.fork() == 0: os._exit(0)\n os._exit(0)\nos.wait()"
    processes = "result = sorted(name for name in os.listdir('/proc') if name.isdigit())"

    async def body(lab):
        async with lab.running() as box:
            await box.ask(orphan)

            async with asyncio.timeout(5):
                while await box.ask(processes) != ["1", "2"]:
                    pass

    run_in_lab(level, body)


def test_too_much_memory_ends_the_instance_as_out_of_memory(level):
    async def body(lab):
        async with lab.running(memory_mib=64) as box:
            await box.send("hold = bytearray(200 << 20); hold[::4096] = b'x' * len(hold[::4096]); time.sleep(30)")

            ended = await asyncio.wait_for(box.sandbox.wait(), 20)

            assert ended.reason is ExitReason.OUT_OF_MEMORY

    run_in_lab(level, body)


def test_too_much_memory_of_a_child_ends_the_whole_instance(level):
    async def body(lab):
        async with lab.running(memory_mib=64) as box:
            await box.send("if os.fork() == 0:\n hold = b'x' * (200 << 20)\n time.sleep(30)\ntime.sleep(30)")

            ended = await asyncio.wait_for(box.sandbox.wait(), 20)

            assert ended.reason is ExitReason.OUT_OF_MEMORY

    run_in_lab(level, body)


def test_memory_peak_begins_anew_with_each_measure(level):
    async def body(lab):
        async with lab.running() as box:
            # Held while it is measured, because levels without control groups look at this moment.
            await box.ask("import builtins; builtins.hold = b'x' * (48 << 20)")
            high = box.sandbox.measure().memory_peak_bytes
            await box.ask("import builtins; del builtins.hold")
            box.sandbox.measure()
            low = box.sandbox.measure().memory_peak_bytes

            assert high > 48 * MIB
            assert low < 40 * MIB

    run_in_lab(level, body)


def test_cpu_seconds_are_counted(level):
    async def body(lab):
        async with lab.running() as box:
            before = box.sandbox.measure().cpu_s
            await box.ask("end = time.process_time() + 0.3\nwhile time.process_time() < end: pass")
            after = box.sandbox.measure().cpu_s

            assert 0.25 < after - before < 0.6

    run_in_lab(level, body)


def test_only_a_confined_instance_gives_way_to_whoever_wakes_it(level):
    async def body(lab):
        async with lab.running() as box:
            gives_way = await box.ask("result = os.sched_getscheduler(0) == os.SCHED_BATCH")

            assert gives_way == (level != "process")

    run_in_lab(level, body)


def test_a_missing_interpreter_is_an_error_that_leaves_nothing(level):
    async def body(lab):
        sandbox = lab.driver.create()

        with pytest.raises(SandboxError, match="No such file"):
            await sandbox.start(lab.spec(interpreter=Path("/usr/bin/no-such-interpreter")))

    run_in_lab(level, body)


def test_close_ends_what_still_runs(level):
    async def body(lab):
        sandbox = lab.driver.create()
        streams = await sandbox.start(lab.spec())

        await lab.driver.close()

        assert (await sandbox.wait()).reason is ExitReason.STOPPED
        streams.connection.close()
        os.close(streams.log_fd)

    run_in_lab(level, body)


def test_many_start_at_the_same_time(level):
    async def body(lab):
        async def one(number):
            async with lab.running() as box:
                return await box.ask(f"result = {number}")

        assert await asyncio.gather(*(one(number) for number in range(12))) == list(range(12))

    run_in_lab(level, body)


def test_a_start_that_is_cancelled_leaves_nothing(level):
    async def body(lab):
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        task = asyncio.ensure_future(lab.driver.create().start(lab.spec()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async with lab.running():
            pass
        await become_true(lambda: len(list(Path("/proc/self/fd").iterdir())) <= descriptors)

    run_in_lab(level, body)


def test_calls_in_the_wrong_order_are_refused(level):
    async def body(lab):
        sandbox = lab.driver.create()
        with pytest.raises(SandboxError, match="not started"):
            sandbox.measure()
        async with lab.running() as box:
            with pytest.raises(SandboxError, match="running"):
                await box.sandbox.start(box.spec)
            await box.sandbox.stop(grace_s=0)
            with pytest.raises(SandboxError, match="dead"):
                box.sandbox.limit_cpu()

    run_in_lab(level, body)
