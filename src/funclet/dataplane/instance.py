"""One instance: a sandbox, its runtime, and the states it goes through.

    STARTING -> IDLE <-> BUSY
    any -> STOPPING -> GONE

This is the only place where `sandbox` and `runtimes` meet.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from funclet import telemetry
from funclet.base.clock import Clock
from funclet.base.ids import new_uuid
from funclet.dataplane.output import OutputReader
from funclet.model.function import FunctionVersion
from funclet.model.invocation import (
    MAX_LOG_TAIL_BYTES,
    MAX_SYNC_BODY_BYTES,
    Completed,
    FailureKind,
    FunctionFailed,
    InnerCode,
    Invocation,
    Report,
)
from funclet.runtimes.frames import Answer, FrameConnection, FrameType, RuntimeGone
from funclet.sandbox.protocol import ExitReason, Sandbox, SandboxSpec, Usage

# The loading of code has the initializer's deadline at least, and never less than small hosts need (runtimes.md 3.1).
MIN_LOAD_DEADLINE_S = 30.0
STOP_GRACE_S = 2.0
_EXIT_DEADLINE_S = 5.0
_FULL_DISK_SHARE = 0.98

_KINDS: dict[int, FailureKind] = {
    InnerCode.LOAD: FailureKind.LOAD,
    InnerCode.RESPONSE_TOO_LARGE: FailureKind.BAD_RESPONSE,
    InnerCode.NOT_SERIALISABLE: FailureKind.BAD_RESPONSE,
    InnerCode.INITIALIZER: FailureKind.INIT,
}

_ENDING = frozenset({FailureKind.TIMEOUT, FailureKind.OUT_OF_MEMORY, FailureKind.EXITED, FailureKind.DISK_FULL})
"""Failures after which the instance serves nobody else (runtimes.md 6.3)."""


class InstanceState(StrEnum):
    """Where an instance is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    GONE = "gone"


_ALLOWED = {
    InstanceState.STARTING: {InstanceState.IDLE, InstanceState.STOPPING},
    InstanceState.IDLE: {InstanceState.BUSY, InstanceState.STOPPING},
    InstanceState.BUSY: {InstanceState.IDLE, InstanceState.STOPPING},
    InstanceState.STOPPING: {InstanceState.GONE},
    InstanceState.GONE: set[InstanceState](),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What one invocation gave, with its whole log."""

    outcome: Completed | FunctionFailed
    log: bytes
    started_at: float
    """Wall-clock time of the first log line, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """A failure as the runtime or its end tells it, before there is a report."""

    kind: FailureKind
    code: int
    body: bytes
    is_json: bool = False


class Instance:
    """One started copy of a function version. Serves one request at a time."""

    def __init__(
        self, version: FunctionVersion, *, language: str, memory_mib: int, sandbox: Sandbox, clock: Clock
    ) -> None:
        self.version = version
        self.memory_mib = memory_mib
        self.state = InstanceState.STARTING
        self.idle_since = 0.0
        """Monotonic time at which it became idle."""
        self.start_ms = 0.0
        """What the whole start took."""
        self.served = 0
        """Requests answered so far."""
        self._language = language
        self._sandbox = sandbox
        self._clock = clock
        self._connection: FrameConnection | None = None
        self._output: OutputReader | None = None
        self._start_log = b""
        self._late_environment: Mapping[str, str] | None = None
        self._last_usage: Usage | None = None
        """Taken just before the end, because a sandbox that is gone cannot be measured."""
        self._tmp_bytes = version.settings.tmp_mib * 1024 * 1024

    async def start(self, spec: SandboxSpec) -> FunctionFailed | None:
        """Start the sandbox, load the function, run its initializer.

        Returns:
            None when it is ready (then it is IDLE), or what went wrong in the function; then `stop` must follow.

        Raises:
            SandboxError: the platform could not make the sandbox.
        """
        began = self._clock.monotonic()
        streams = await self._sandbox.start(spec)
        self._output = OutputReader(streams.log_fd)
        self._connection = await FrameConnection.open(streams.connection)
        fault = await self._get_ready(streams.late_environment)
        self.start_ms = (self._clock.monotonic() - began) * 1000
        if fault is not None:
            return self._failed(fault, self._usage(fault), duration_ms=self.start_ms, log=self._start_log)
        self._sandbox.limit_cpu()
        self._enter(InstanceState.IDLE)
        self.idle_since = self._clock.monotonic()
        return None

    def reserve(self) -> None:
        """Take the instance for one request: IDLE to BUSY."""
        self._enter(InstanceState.BUSY)

    def release(self) -> None:
        """Give it back after a request: BUSY to IDLE."""
        self._enter(InstanceState.IDLE)
        self.idle_since = self._clock.monotonic()

    async def run(self, invocation: Invocation) -> RunResult:
        """Run one request under its deadline. Afterwards `is_usable` tells whether the instance can serve again."""
        assert self._output is not None
        is_cold = self.served == 0
        self.served += 1
        cpu_before = self._sandbox.measure().cpu_s
        started_at, began = self._clock.now(), self._clock.monotonic()
        try:
            fault, answer = await self._invoke(invocation)
        except BaseException:
            # Cancelled, or a bug of ours: the answer may still come, so nobody else may use this connection.
            self._abandon()
            raise
        duration_ms = (self._clock.monotonic() - began) * 1000
        usage = self._usage(fault)
        fault = self._refine(fault, usage)
        # Never below zero: a sandbox that ended before it could be measured reports nothing.
        cpu_ms = max(0.0, usage.cpu_s - cpu_before) * 1000
        log = self._log(invocation, started_at, duration_ms, usage, cpu_ms, failed=fault is not None)
        report = self._report(usage, cpu_ms, duration_ms, log, is_cold=is_cold)
        if fault is not None:
            outcome: Completed | FunctionFailed = FunctionFailed(
                kind=fault.kind, code=fault.code, body=fault.body, is_json=fault.is_json, report=report
            )
            self._usable_after(fault)
        else:
            assert answer is not None
            outcome = Completed(body=answer.body, is_json=answer.is_json, report=report)
        return RunResult(outcome=outcome, log=log, started_at=started_at)

    @property
    def is_usable(self) -> bool:
        """Whether the instance can serve another request."""
        is_alive = self._connection is not None and not self._connection.is_closed
        return is_alive and self.state in (InstanceState.IDLE, InstanceState.BUSY)

    async def stop(self, *, run_pre_stop: bool) -> None:
        """End the instance and wait until nothing of it is left. Safe to call twice."""
        if self.state in (InstanceState.STOPPING, InstanceState.GONE):
            await self._sandbox.wait()
            return
        was_idle = self.state is InstanceState.IDLE
        self._enter(InstanceState.STOPPING)
        if run_pre_stop and was_idle and self.version.settings.pre_stop_handler:
            await self._pre_stop()
        if self._connection is not None:
            self._connection.close()
        await self._sandbox.stop(grace_s=STOP_GRACE_S if was_idle else 0.0)
        if self._output is not None:
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
        if state not in _ALLOWED[self.state]:
            raise RuntimeError(f"an instance cannot go from {self.state} to {state}")
        self.state = state

    async def _get_ready(self, late_environment: Mapping[str, str] | None) -> _Fault | None:
        """READY, for a stem SPECIALISE, LOAD, INIT; the log lines of these go before those of the first request."""
        settings = self.version.settings
        self._late_environment = late_environment
        fault = await self._phase("load", FrameType.LOAD, max(MIN_LOAD_DEADLINE_S, settings.initializer_timeout_s))
        if fault is None and settings.initializer_handler:
            fault = await self._phase("initialize", FrameType.INIT, settings.initializer_timeout_s)
        return fault

    async def _phase(self, phase: telemetry.Phase, kind: FrameType, deadline_s: float) -> _Fault | None:
        assert self._connection is not None
        assert self._output is not None
        request_id = new_uuid()
        self._start_log += telemetry.start_line(phase, request_id, self.version.version, at=self._clock.now())
        began = self._clock.monotonic()
        fault: _Fault | None
        try:
            async with asyncio.timeout(deadline_s):
                if kind is FrameType.LOAD:
                    await self._connection.ready()
                    await self._specialise(request_id)
                answer = await self._connection.exchange(kind, request_id, timeout_ms=int(deadline_s * 1000))
            fault = _fault_of(answer)
        except TimeoutError:
            fault = self._start_timeout(phase, deadline_s)
        except RuntimeGone:
            fault = await self._start_exit()
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

    async def _specialise(self, request_id: str) -> None:
        """Tell a runtime that was started ahead whose it is."""
        if self._late_environment is not None:
            assert self._connection is not None
            body = json.dumps(dict(self._late_environment)).encode()
            await self._connection.exchange(FrameType.SPECIALISE, request_id, body=body)

    def _start_timeout(self, phase: str, deadline_s: float) -> _Fault:
        if phase == "load":
            return _Fault(
                FailureKind.INIT,
                InnerCode.INIT_TIMEOUT,
                f"runtime initialization timed out after {deadline_s:g}s".encode(),
            )
        return _Fault(
            FailureKind.INIT,
            InnerCode.INIT_TIMEOUT,
            f"function initialization timed out after {deadline_s:g}s".encode(),
        )

    async def _start_exit(self) -> _Fault:
        fault = await self._fault_of_exit()
        if fault.kind is FailureKind.OUT_OF_MEMORY:
            return fault
        return _Fault(FailureKind.INIT, InnerCode.INSTANCE_INIT, b"function initialization failed: " + fault.body)

    async def _invoke(self, invocation: Invocation) -> tuple[_Fault | None, Answer | None]:
        assert self._connection is not None
        timeout_s = invocation.version.settings.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._connection.exchange(
                    FrameType.INVOKE,
                    invocation.request_id,
                    timeout_ms=timeout_s * 1000,
                    meta=_meta(invocation),
                    body=invocation.payload,
                )
        except TimeoutError:
            return _Fault(FailureKind.TIMEOUT, InnerCode.TIMEOUT, self._timeout_text(timeout_s)), None
        except RuntimeGone:
            return await self._fault_of_exit(), None
        if len(answer.body) > MAX_SYNC_BODY_BYTES:
            text = f"response body size {len(answer.body)} exceeds the limit of {MAX_SYNC_BODY_BYTES}"
            return _Fault(FailureKind.BAD_RESPONSE, InnerCode.RESPONSE_TOO_LARGE, text.encode()), None
        fault = _fault_of(answer)
        return fault, None if fault else answer

    def _refine(self, fault: _Fault | None, usage: Usage) -> _Fault | None:
        """A handler that failed while `/tmp` was full failed because of that."""
        is_full = usage.tmp_bytes >= _FULL_DISK_SHARE * self._tmp_bytes
        if fault is not None and fault.code == InnerCode.HANDLER and is_full:
            return _Fault(FailureKind.DISK_FULL, InnerCode.DISK_FULL, b"disk usage exceed limit")
        return fault

    def _timeout_text(self, timeout_s: int) -> bytes:
        if self._language == "python":
            return f"invoke timed out after {timeout_s} seconds".encode()
        return f"call invoke timeout {timeout_s}s".encode()

    async def _fault_of_exit(self) -> _Fault:
        """Say why the runtime went away: its memory, or its own end."""
        self._last_usage = self._sandbox.measure()
        try:
            async with asyncio.timeout(_EXIT_DEADLINE_S):
                exit_ = await self._sandbox.stop(grace_s=0.0)
        except TimeoutError:
            return _Fault(FailureKind.EXITED, InnerCode.EXITED, b"runtime process is exited")
        if exit_.reason is ExitReason.OUT_OF_MEMORY:
            return _Fault(FailureKind.OUT_OF_MEMORY, InnerCode.OUT_OF_MEMORY, b"runtime memory limit exceeded")
        return _Fault(FailureKind.EXITED, InnerCode.EXITED, b"runtime process is exited")

    def _usable_after(self, fault: _Fault) -> None:
        """A deadline, an exit or a full disk ends an instance; an exception of the handler does not."""
        if fault.kind in _ENDING:
            self._abandon()

    def _abandon(self) -> None:
        assert self._connection is not None
        self._connection.close()

    async def _pre_stop(self) -> None:
        """Run the pre-stop handler; whatever it does, the instance ends."""
        assert self._connection is not None
        with contextlib.suppress(TimeoutError, RuntimeGone):
            async with asyncio.timeout(self.version.settings.pre_stop_timeout_s):
                await self._connection.exchange(FrameType.PRESTOP, new_uuid())

    def _log(
        self,
        invocation: Invocation,
        started_at: float,
        duration_ms: float,
        usage: Usage,
        cpu_ms: float,
        *,
        failed: bool,
    ) -> bytes:
        """Return all lines of a request; the first one of an instance has the lines of its start before them."""
        assert self._output is not None
        before, self._start_log = self._start_log, b""
        printed = self._output.take()
        if printed and not printed.endswith(b"\n"):
            printed += b"\n"
        return b"".join(
            (
                before,
                telemetry.start_line("invoke", invocation.request_id, self.version.version, at=started_at),
                printed,
                telemetry.invoke_finish_line(
                    invocation.request_id,
                    at=self._clock.now(),
                    duration_ms=duration_ms,
                    memory_bytes=usage.memory_peak_bytes,
                    memory_mib=self.memory_mib,
                    cpu_ms=cpu_ms,
                    storage_bytes=usage.tmp_bytes,
                    failed=failed,
                ),
            )
        )

    def _report(self, usage: Usage, cpu_ms: float, duration_ms: float, log: bytes, *, is_cold: bool) -> Report:
        return Report(
            duration_ms=duration_ms,
            start_ms=self.start_ms if is_cold else 0.0,
            memory_peak_bytes=usage.memory_peak_bytes,
            cpu_ms=cpu_ms,
            is_cold=is_cold,
            log_tail=telemetry.tail(log, MAX_LOG_TAIL_BYTES),
            memory_mib=self.memory_mib,
        )

    def _failed(self, fault: _Fault, usage: Usage, *, duration_ms: float, log: bytes) -> FunctionFailed:
        report = Report(
            duration_ms=duration_ms,
            start_ms=self.start_ms,
            memory_peak_bytes=usage.memory_peak_bytes,
            cpu_ms=usage.cpu_s * 1000,
            is_cold=True,
            log_tail=telemetry.tail(log, MAX_LOG_TAIL_BYTES),
            memory_mib=self.memory_mib,
        )
        return FunctionFailed(kind=fault.kind, code=fault.code, body=fault.body, is_json=fault.is_json, report=report)

    @property
    def start_log(self) -> bytes:
        """Log of a start that failed, or that no request has taken over yet."""
        return self._start_log

    def _usage(self, fault: _Fault | None = None) -> Usage:
        usage = self._last_usage or self._sandbox.measure()
        if fault is not None and fault.kind is FailureKind.OUT_OF_MEMORY:
            # What was killed at the limit had reached it, whatever could still be read afterwards.
            return replace(usage, memory_peak_bytes=self.memory_mib * 1024 * 1024)
        return usage


def _fault_of(answer: Answer) -> _Fault | None:
    if answer.code == 0:
        return None
    kind = _KINDS.get(answer.code, FailureKind.HANDLER)
    return _Fault(kind, answer.code, answer.body, answer.is_json)


def _meta(invocation: Invocation) -> Mapping[str, str] | None:
    return {"alias": invocation.alias} if invocation.alias else None
