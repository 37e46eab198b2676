"""One instance: a sandbox, its runtime, and the states it goes through.

    STARTING -> IDLE <-> BUSY
    any -> STOPPING -> GONE

This is the only place where `sandbox` and `runtimes` meet.
"""

import asyncio
import dataclasses
import json
from collections import deque
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from funclet import telemetry
from funclet.base.clock import Clock
from funclet.base.deadlines import Deadlines
from funclet.base.ids import new_uuid
from funclet.dataplane.endings import EndedWithAnother, NotStarted
from funclet.dataplane.faults import ENDING, Fault, fault_of, mount_fault, start_timeout
from funclet.dataplane.output import OutputReader
from funclet.dataplane.pace import Pace
from funclet.dataplane.states import ALLOWED, InstanceState
from funclet.model.function import FunctionVersion
from funclet.model.invocation import (
    CANCELLED_TEXT,
    Completed,
    FailureKind,
    FunctionFailed,
    InnerCode,
    Invocation,
    Report,
)
from funclet.runtimes.frames import Answer, FrameConnection, FrameType, RuntimeGone, request_bytes
from funclet.sandbox.protocol import ExitReason, MountFailed, Sandbox, SandboxSpec, Usage

# The loading of code has the initializer's deadline at least, and never less than small hosts need (runtimes.md 3.1).
MIN_LOAD_DEADLINE_S = 30.0
STOP_GRACE_S = 2.0
CANCEL_GRACE_S = 5.0
"""How long a handler that is cancelled may go on once it was told."""
_EXIT_DEADLINE_S = 5.0
_FULL_DISK_SHARE = 0.98
_STORAGE_AGE_S = 0.1
_REST_S = 0.005
"""After a longer rest, what the instance did in it is no part of the next request."""

_NOTHING_USED = Usage(memory_peak_bytes=0, cpu_s=0.0, tmp_bytes=0)
Credentials = Callable[[FunctionVersion], Mapping[str, str]]
"""Returns what a function may sign its own requests with, by the names of the frame contract; at once."""


class Instance:
    """One started copy of a function version. Runs one request at a time; one more may wait inside it."""

    def __init__(
        self,
        version: FunctionVersion,
        *,
        language: str,
        memory_mib: int,
        sandbox: Sandbox,
        clock: Clock,
        deadlines: Deadlines,
        pace: Pace,
        record: Callable[[Report], None],
        credentials: Credentials,
    ) -> None:
        self.instance_id = new_uuid()
        self.version = version
        self.memory_mib = memory_mib
        self.state = InstanceState.STARTING
        self.idle_since = 0.0
        """Monotonic time at which it became idle."""
        self.started_at = 0.0
        """Seconds since the epoch when it was ready."""
        self.start_ms = 0.0
        """What the whole start took."""
        self.served = 0
        """Requests given to it so far."""
        self.is_ahead = False
        """Whether it was ready before anybody waited for it: then its first request is no cold start."""
        self.is_reserved, self.ran_ms = False, 0.0
        self.load = 0
        """Requests that it holds now: the one that runs, and those behind it."""
        self.has_printed = False
        """Whether the last request printed something."""
        self._language = language
        self._sandbox = sandbox
        self._clock = clock
        self._deadlines = deadlines
        self._pace = pace
        self._record = record
        """Takes what the instance prints outside of requests."""
        self._credentials = credentials
        self.let_go: Callable[[], None] = lambda: None
        """Is called when it is gone: its code is not used any more."""
        self._behind: deque[tuple[str, asyncio.Future[Answer], float]] = deque()
        """Requests that were sent while another one ran: ids, answers, time limits in seconds."""
        self._answered_at = 0.0
        """Monotonic time of the last answer."""
        self._cpu_s = 0.0
        """CPU time of the instance when the last request ended."""
        self._connection: FrameConnection | None = None
        self._output: OutputReader | None = None
        self._start_log, self._init_ms = b"", 0.0
        self._is_frozen = self._is_spent = False
        self._cancelled: dict[str, bool] = {}
        """Requests that were cancelled, and whether with force."""
        self._load_id = new_uuid()
        """Request id of the frames that make a runtime that of this function."""
        self._load_deadline_s = max(MIN_LOAD_DEADLINE_S, version.settings.initializer_timeout_s)
        self._last_usage: Usage | None = None
        """Taken just before the end, because a sandbox that is gone cannot be measured."""
        self._log_tags, self._tmp_bytes = version.settings.log_tags, version.settings.tmp_mib * 1024 * 1024

    async def start(self, spec: SandboxSpec) -> FunctionFailed | None:
        """Start the sandbox, load the function, run its initializer.

        Returns:
            None when it is ready (then it is IDLE), or what went wrong in the function; then `stop` must follow.

        Raises:
            SandboxError: the platform could not make the sandbox.
        """
        began = self._clock.monotonic()
        try:
            streams = await self._sandbox.start(dataclasses.replace(spec, greet=self._greeting))
        except MountFailed as error:
            return self._failed(mount_fault(error), _NOTHING_USED)
        self._output = OutputReader(streams.log_fd)
        greeted = (self._load_id, self._load_id) if streams.is_greeted else ()
        self._connection = await FrameConnection.open(streams.connection, greeted)
        fault = await self._get_ready()
        self.start_ms = (self._clock.monotonic() - began) * 1000
        if fault is not None:
            return self._failed(fault, self._usage(fault))
        self._sandbox.limit_cpu()
        self._enter(InstanceState.IDLE)
        self.idle_since = self._clock.monotonic()
        self.started_at = self._clock.now()
        return None

    def reserve(self) -> None:
        """Take the instance for one more request: IDLE to BUSY with the first one."""
        if not self.load:
            self._enter(InstanceState.BUSY)
            if self._is_frozen:
                self.freeze(is_frozen=False)
        self.load += 1

    def release(self) -> None:
        """Give it back after a request: BUSY to IDLE with the last one."""
        self.load -= 1
        if not self.load:
            self._enter(InstanceState.IDLE)
            self.idle_since = self._clock.monotonic()

    def freeze(self, *, is_frozen: bool) -> None:
        """Take the CPU from an idle instance, or give it back; nothing happens if that is so already."""
        if is_frozen != self._is_frozen:
            self._is_frozen = is_frozen
            self._sandbox.freeze(is_frozen=is_frozen)

    async def run(self, invocation: Invocation, *, wait_ms: float) -> Completed | FunctionFailed:
        """Run one request under its deadline. Afterwards `is_usable` tells whether the instance can serve again.

        Args:
            invocation: what to run.
            wait_ms: how long it has waited for this instance; goes into the report.

        Raises:
            NotStarted: the instance ended with an earlier request, and this one had not begun.
                Never for the first request of an instance: that one fails.
            EndedWithAnother: another request was cancelled without force, and this one may have begun.
        """
        is_cold = self.served == 0 and not self.is_ahead
        self.served += 1
        sent_at = self._clock.monotonic()
        if self.load == 1 and sent_at - self._answered_at > _REST_S:
            self._cpu_s = self._sandbox.measure(storage_age_s=_STORAGE_AGE_S).cpu_s
        try:
            answer = await self._exchange(invocation)
        except NotStarted:
            raise
        except BaseException:
            # Cancelled, or a bug of ours: the answer may still come, so nobody else may use this connection.
            self._abandon()
            raise
        now = self._clock.monotonic()
        # A request that waited inside the instance began when the one before it had ended.
        duration_ms = (now - max(sent_at, self._answered_at)) * 1000
        self._answered_at = now
        fault = answer if isinstance(answer, Fault) else fault_of(answer)
        if fault is None or fault.kind not in ENDING:
            self._begin_next()
        if fault is None and invocation.on_answer is not None and isinstance(answer, Answer):
            invocation.on_answer(answer.body)
        usage = self._usage(fault)
        if fault is not None:
            fault = self._refine(fault, usage)
        before, self._start_log = self._start_log, b""
        init_ms, self._init_ms = self._init_ms, 0.0
        self.ran_ms += duration_ms
        printed = self._printed(answer)
        self.has_printed = bool(printed)
        # Never below zero: a sandbox that ended before it could be measured reports nothing.
        cpu_ms = max(0.0, usage.cpu_s - self._cpu_s) * 1000
        self._cpu_s = usage.cpu_s
        report = Report(
            function_id=self.version.function_id,
            version=self.version.version,
            request_id=invocation.request_id,
            at=self._clock.now() - duration_ms / 1000,
            before=before,
            printed=printed,
            has_run=True,
            code=fault.code if fault is not None else 0,
            duration_ms=duration_ms,
            wait_ms=wait_ms,
            start_ms=self.start_ms if is_cold else 0.0,
            cpu_ms=cpu_ms,
            memory_peak_bytes=usage.memory_peak_bytes,
            memory_mib=self.memory_mib,
            storage_bytes=usage.tmp_bytes,
            is_cold=is_cold,
            init_ms=init_ms,
            is_reserved=self.is_reserved,
            log_tags=self._log_tags,
        )
        if fault is None:
            assert isinstance(answer, Answer)
            return Completed(body=answer.body, is_json=answer.is_json, report=report)
        if isinstance(answer, Answer):
            # The runtime lives, and may have begun with the request behind.
            self._is_spent = fault.kind in ENDING
        else:
            self._abandon()
        told = {"is_json": fault.is_json, "is_handled": fault.is_handled}
        return FunctionFailed(kind=fault.kind, code=fault.code, body=fault.body, report=report, **told)

    @property
    def is_usable(self) -> bool:
        """Whether the instance can serve another request."""
        is_alive = self._connection is not None and not self._connection.is_closed
        return is_alive and not self._is_spent and self.state in (InstanceState.IDLE, InstanceState.BUSY)

    def holds(self, request_id: str) -> bool:
        """Tell whether a request is in it: it runs, or waits behind the one that does."""
        return self._connection is not None and self._connection.holds(request_id)

    async def cancel(self, request_id: str, *, force: bool) -> None:
        """End a request and itself: with `force` at once, otherwise when it was asked to and some seconds have passed.

        Force takes all with it that has begun; what waits inside is run elsewhere. Without, a request behind the one
        that runs ends when its turn comes: the other one shall come to its own end.
        """
        if not self.holds(request_id):
            return
        self._cancelled[request_id], self._is_spent = force, True
        if force:
            # Nothing more begins from now on; who waits for the answer that ran ends the process.
            self._abandon()
        elif self._connection is not None and self._connection.runs(request_id):
            await self._sandbox.stop(grace_s=CANCEL_GRACE_S)

    def spend(self) -> None:
        """Have it serve nobody any more but who is in it already."""
        self._is_spent = True

    async def stop(self, *, run_pre_stop: bool) -> None:
        """End the instance and wait until nothing of it is left. Safe to call twice."""
        if self.state in (InstanceState.STOPPING, InstanceState.GONE):
            if self._output is not None:
                await self._sandbox.wait()
            return
        was_idle = self.state is InstanceState.IDLE
        self.freeze(is_frozen=False)
        self._enter(InstanceState.STOPPING)
        if run_pre_stop and was_idle and self.version.settings.pre_stop_handler:
            await self._pre_stop()
        if self._connection is not None:
            self._connection.close()
        # Without output there is no sandbox: it could not be made.
        if self._output is not None:
            await self._sandbox.stop(grace_s=STOP_GRACE_S if was_idle else 0.0)
            self._output.close()
        self._enter(InstanceState.GONE)

    async def abort(self) -> None:
        """Undo a start that was broken off, however far it came."""
        self._enter(InstanceState.STOPPING)
        if self._connection is not None:
            self._connection.close()
        if self._output is not None:
            await self._sandbox.stop(grace_s=0.0)
            self._output.close()
        self._enter(InstanceState.GONE)

    def _enter(self, state: InstanceState) -> None:
        if state not in ALLOWED[self.state]:
            raise RuntimeError(f"an instance cannot go from {self.state} to {state}")
        self.state = state
        if state is InstanceState.GONE:
            self.let_go()

    def _greeting(self, environment: Mapping[str, str]) -> bytes:
        """Return SPECIALISE and LOAD, for a runtime that was started ahead."""
        body = json.dumps(dict(environment)).encode()
        load = request_bytes(FrameType.LOAD, self._load_id, timeout_ms=int(self._load_deadline_s * 1000))
        return request_bytes(FrameType.SPECIALISE, self._load_id, body=body) + load

    async def _get_ready(self) -> Fault | None:
        """READY, LOAD, INIT; the log lines of these go before those of the first request."""
        settings = self.version.settings
        fault = await self._phase("load", FrameType.LOAD, self._load_deadline_s)
        if fault is None and settings.initializer_handler:
            fault = await self._phase("initialize", FrameType.INIT, settings.initializer_timeout_s)
        return fault

    async def _phase(self, phase: telemetry.Phase, kind: FrameType, deadline_s: float) -> Fault | None:
        assert self._connection is not None
        assert self._output is not None
        request_id = self._load_id if kind is FrameType.LOAD else new_uuid()
        self._start_log += telemetry.start_line(phase, request_id, self.version.version, at=self._clock.now())
        began = self._clock.monotonic()
        fault: Fault | None
        try:
            async with asyncio.timeout(deadline_s):
                answer = await self._answer_of(kind, request_id, deadline_s)
            fault = fault_of(answer)
        except TimeoutError:
            fault = start_timeout(phase, deadline_s)
        except RuntimeGone:
            fault = await self._start_exit()
        if kind is FrameType.INIT:
            self._init_ms = (self._clock.monotonic() - began) * 1000
        self._start_log += self._output.take()
        usage = self._usage()
        self._start_log += telemetry.phase_finish_line(
            phase,
            request_id,
            at=self._clock.now(),
            duration_ms=(self._clock.monotonic() - began) * 1000,
            memory_bytes=usage.memory_peak_bytes,
            storage_bytes=usage.tmp_bytes,
        )
        return fault

    async def _answer_of(self, kind: FrameType, request_id: str, deadline_s: float) -> Answer:
        """Ask for one phase of the start, unless the greeting has done so."""
        assert self._connection is not None
        if kind is FrameType.LOAD:
            if self._connection.expected:
                return await self._connection.expected[-1]
            await self._connection.ready()
        return await self._connection.send(kind, request_id, timeout_ms=int(deadline_s * 1000), meta=self._meta())

    async def _start_exit(self) -> Fault:
        fault = await self._fault_of_exit()
        if fault.kind is FailureKind.OUT_OF_MEMORY:
            return fault
        return Fault(FailureKind.INIT, InnerCode.INSTANCE_INIT, b"function initialization failed: " + fault.body)

    async def _exchange(self, invocation: Invocation) -> "Answer | Fault":
        """Hand the event to the runtime and wait for its answer, within the time that the function has."""
        assert self._connection is not None
        # Of the invocation, not of the instance: a new timeout holds for every request that starts after it was set.
        timeout_s = invocation.version.settings.timeout_s
        is_behind = self._connection.is_waiting
        future = None
        watch_s = self._pace.enter()
        try:
            future = self._connection.send(
                FrameType.INVOKE,
                invocation.request_id,
                timeout_ms=timeout_s * 1000,
                meta=self._meta(invocation.alias),
                body=invocation.payload,
                watch_s=watch_s,
            )
            if watch_s and not future.done():
                self._pace.miss()
            if is_behind:
                self._behind.append((invocation.request_id, future, timeout_s))
            else:
                self._deadlines.fail(future, timeout_s)
            return await future
        except TimeoutError:
            return Fault(FailureKind.TIMEOUT, InnerCode.TIMEOUT, self._timeout_text(timeout_s))
        except RuntimeGone as gone:
            if invocation.request_id not in self._cancelled:
                # Where nobody was served before, the next instance would most likely end in the same way.
                if not gone.has_begun and self.served > 1:
                    raise NotStarted from gone
                if self._cancelled and not any(self._cancelled.values()):
                    raise EndedWithAnother from gone
            return await self._fault_of_exit()
        finally:
            self._pace.leave()
            if future is not None:
                self._deadlines.discard(future)

    def _meta(self, alias: str = "") -> Mapping[str, str]:
        """Return what a request carries beside its event."""
        credentials = self._credentials(self.version)
        return {"alias": alias, **credentials} if alias else credentials

    def _begin_next(self) -> None:
        """The runtime goes on with the request behind: its time begins now."""
        if self._behind:
            request_id, future, timeout_s = self._behind.popleft()
            self._deadlines.fail(future, timeout_s)
            if request_id in self._cancelled:
                self._abandon()

    def _printed(self, answer: "Answer | Fault") -> bytes:
        """Return what the request has printed that got this answer."""
        if self._output is None:
            return b""
        if isinstance(answer, Answer) and self.load > 1:
            # The next one runs already and may have printed: only the runtime knows where its lines begin.
            return self._output.take(answer.printed)
        return self._output.take()

    def _refine(self, fault: Fault, usage: Usage) -> Fault:
        """A handler that failed while `/tmp` was full failed because of that."""
        is_full = usage.tmp_bytes >= _FULL_DISK_SHARE * self._tmp_bytes
        if fault.code == InnerCode.HANDLER and is_full:
            return Fault(FailureKind.DISK_FULL, InnerCode.DISK_FULL, b"disk usage exceed limit")
        return fault

    def _timeout_text(self, timeout_s: int) -> bytes:
        if self._language == "python":
            return f"invoke timed out after {timeout_s} seconds".encode()
        return f"call invoke timeout {timeout_s}s".encode()

    async def _fault_of_exit(self) -> Fault:
        """Say why the runtime went away: its memory, or its own end."""
        self._last_usage = self._sandbox.measure()
        # Not `asyncio.timeout`: this may run outside of any task (`base.prompt`).
        stopping = asyncio.ensure_future(self._sandbox.stop(grace_s=0.0))
        ended, _ = await asyncio.wait((stopping,), timeout=_EXIT_DEADLINE_S)
        if self._cancelled:
            return Fault(FailureKind.CANCELLED, InnerCode.CANCELLED, CANCELLED_TEXT.encode())
        if ended and stopping.result().reason is ExitReason.OUT_OF_MEMORY:
            return Fault(FailureKind.OUT_OF_MEMORY, InnerCode.OUT_OF_MEMORY, b"runtime memory limit exceeded")
        return Fault(FailureKind.EXITED, InnerCode.EXITED, b"runtime process is exited")

    def _abandon(self) -> None:
        assert self._connection is not None
        self._connection.close()

    async def _pre_stop(self) -> None:
        """Run the pre-stop handler and keep what it prints; whatever it does, the instance ends."""
        assert self._connection is not None
        assert self._output is not None
        timeout_s = self.version.settings.pre_stop_timeout_s
        at, ending = self._clock.now(), b""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.send(FrameType.PRESTOP, new_uuid())
        except TimeoutError:
            ending = f"pre-stop timed out after {timeout_s}s\n".encode()
        except RuntimeGone:
            ending = b"the process of the function ended in pre-stop\n"
        printed = self._output.take() + ending
        if printed:
            version = self.version
            report = Report(function_id=version.function_id, version=version.version, at=at, before=printed)
            self._record(replace(report, log_tags=self._log_tags))

    def _failed(self, fault: Fault, usage: Usage) -> FunctionFailed:
        """Return what a start gave that failed in the function; it gets the id of the request that waited later."""
        report = Report(
            function_id=self.version.function_id,
            version=self.version.version,
            at=self._clock.now(),
            before=self._start_log,
            code=fault.code,
            duration_ms=self.start_ms,
            start_ms=self.start_ms,
            cpu_ms=usage.cpu_s * 1000,
            memory_peak_bytes=usage.memory_peak_bytes,
            memory_mib=self.memory_mib,
            is_cold=True,
            log_tags=self._log_tags,
        )
        return FunctionFailed(kind=fault.kind, code=fault.code, body=fault.body, is_json=fault.is_json, report=report)

    def _usage(self, fault: Fault | None = None) -> Usage:
        usage = self._last_usage or self._sandbox.measure(storage_age_s=0.0 if fault else _STORAGE_AGE_S)
        if fault is not None and fault.kind is FailureKind.OUT_OF_MEMORY:
            # What was killed at the limit had reached it, whatever could still be read afterwards.
            return replace(usage, memory_peak_bytes=self.memory_mib * 1024 * 1024)
        return usage
