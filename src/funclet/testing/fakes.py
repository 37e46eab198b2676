"""Stand-ins for the parts that need a clock, processes or a disk: `FakeClock`, `FakeInvoker`, and the like.

They keep the contracts of the protocols that they stand in for, and remember what they were asked.
"""

import asyncio
from collections.abc import Awaitable, Callable

from funclet.model.audit import Trace
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.invocation import Completed, Invocation, Outcome, Refused, Report, Submission


class FakeClock:
    """A clock that stands still until it is told to go on. Wall clock and monotonic clock move together."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return wall-clock time, seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds since this clock was made."""
        return self._elapsed

    async def sleep(self, delay_s: float) -> None:
        """Wait until the clock was advanced by `delay_s` seconds; not at all for 0."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + delay_s, sleeper))
        await sleeper

    def advance(self, delay_s: float) -> None:
        """Let `delay_s` seconds pass and wake who has slept long enough.

        Those woken run when the caller next waits.
        """
        self._now += delay_s
        self._elapsed += delay_s
        due = [sleeper for at, sleeper in self._sleepers if at <= self._elapsed]
        self._sleepers = [(at, sleeper) for at, sleeper in self._sleepers if at > self._elapsed]
        for sleeper in due:
            if not sleeper.done():
                sleeper.set_result(None)

    def step(self, delay_s: float) -> None:
        """Move only the wall clock, as an administrator or a time server does."""
        self._now += delay_s


def echo(invocation: Invocation) -> Outcome:
    """Return the event as the result, after one millisecond; refuse a function that is disabled."""
    if invocation.version.settings.max_instances == 0:
        return Refused(reason="Function Disabled", retry_after_s=None)
    report = Report(duration_ms=1.0, memory_mib=invocation.memory_mib or invocation.version.settings.memory_mib)
    return Completed(body=invocation.payload, is_json=True, report=report)


class FakeInvoker:
    """A `Node` that runs nothing: it returns one outcome, or what a function makes of the invocation."""

    def __init__(self, answer: Outcome | Callable[[Invocation], Outcome | Awaitable[Outcome]] = echo) -> None:
        self.answer = answer
        self.invocations: list[Invocation] = []
        self.prepared: list[tuple[FunctionVersion, float]] = []

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Remember the invocation and return the outcome."""
        self.invocations.append(invocation)
        outcome = self.answer(invocation) if callable(self.answer) else self.answer
        return await outcome if isinstance(outcome, Awaitable) else outcome

    def prepare(self, version: FunctionVersion, *, due_in_s: float) -> None:
        """Remember the version and the seconds."""
        self.prepared.append((version, due_in_s))

    async def cancel(self, function_id: str, request_id: str, *, force: bool) -> bool:  # noqa: ARG002 - the members of the protocol
        """Say that nothing runs."""
        return False


class FakeSubmitter:
    """A `Submitter` that keeps submissions in a list; with `is_full` it refuses them."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.is_full = False

    async def submit(self, submission: Submission) -> str:
        """Remember the submission; return its id.

        Raises:
            ModelError: FSS.0503 if `is_full`; nothing is kept.
        """
        if self.is_full:
            raise ModelError("FSS.0503", "The queue is full.", retry_after_s=1.0)
        self.submissions.append(submission)
        return submission.request_id


class FakeJournal:
    """A `Journal` that keeps traces in a list."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []

    def note(self, trace: Trace) -> None:
        """Remember the trace."""
        self.traces.append(trace)

    async def keep(self, trace: Trace) -> None:
        """Remember the trace."""
        self.traces.append(trace)
