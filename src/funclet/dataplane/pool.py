"""All instances of one function version and memory size on this node.

`Pool.take` gives a caller an instance that can take its request now: an idle
one, or for very short functions a busy one that it waits inside of. Otherwise
`Pool.acquire` waits for the first that becomes free, be it newly started or
released by another request. Starts belong to the pool, not to the caller that
caused them, so a caller that goes away leaves a usable instance behind.
"""

import asyncio
import math
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from funclet.base.clock import Clock
from funclet.base.deadlines import Deadlines
from funclet.base.prompt_future import PromptFuture
from funclet.base.tasks import TaskOwner
from funclet.dataplane.capacity import Capacity
from funclet.dataplane.instance import Instance
from funclet.dataplane.scaler import Average, expected_wait_s, starts_wanted
from funclet.model.invocation import FailureKind, FunctionFailed, Refused
from funclet.sandbox.protocol import SandboxError

# runtimes.md 3.2 and platform.md 2.6.
INIT_ATTEMPTS = 3
FAILURES_BEFORE_BACK_OFF = 3
FAILURE_WINDOW_S = 60.0
MAX_BACK_OFF_S = 60.0
SHORT_RUN_S = 0.001
"""Functions that run no longer on average may have a second request waiting inside a busy instance."""
LONG_RUN_S = 0.02
"""One run of this length, and a function is not taken for a short one before it has had many short ones again."""
SHORT_RUNS = 64
LONGEST_WAIT_S, LONGEST_WAIT_RUNS = 0.02, 3
"""Nobody waits at the instance maximum who would have to wait longer than this, or than so many requests take: those
who are refused at once can go elsewhere, and those who wait have their answer soon."""
TYPICAL_START_S = 0.01
"""What a start is expected to take until one has been seen."""
_CORES = os.cpu_count() or 1
_STARTS_AT_ONCE = 2 * _CORES

StartInstance = Callable[[], Awaitable[tuple[Instance, FunctionFailed | None]]]
"""Makes and starts one instance; says what went wrong in the function, if anything."""
Given = Instance | FunctionFailed | Refused


class StartFailed(Exception):
    """The platform could not start an instance."""


_OVERLOADED = "Your request has been controlled by overload sdk, please retry later"


@dataclass(slots=True, eq=False)
class _Waiter:
    future: PromptFuture[Given]
    since: float
    """On the monotonic clock."""
    failed_starts: int = 0


@dataclass(slots=True)
class _BackOff:
    """Keeps a function whose instances do not start from burning the host."""

    failures: int = 0
    last_at: float = 0.0
    until: float = 0.0
    outcome: FunctionFailed | None = None

    def note(self, outcome: FunctionFailed, now: float) -> None:
        if now - self.last_at > FAILURE_WINDOW_S:
            self.failures = 0
        self.failures += 1
        self.last_at, self.outcome = now, outcome
        beyond = self.failures - FAILURES_BEFORE_BACK_OFF
        if beyond >= 0:
            self.until = now + min(MAX_BACK_OFF_S, 2.0**beyond)


@dataclass(slots=True, kw_only=True)
class PoolStatistics:
    """A snapshot for `fgs doctor`, tests and metrics."""

    idle: int
    busy: int
    starting: int
    waiting: int


@dataclass(slots=True, kw_only=True)
class Pool:
    """Instances of one version (one revision, one memory size)."""

    start_instance: StartInstance
    max_instances: int
    """-1 for no limit."""
    memory_mib: int
    wait_s: float
    """How long a request may wait for a busy instance when no more may be started."""
    max_waiting: int
    refuses_early: bool
    """Whether requests are refused at once that would wait long; else all may wait for `wait_s`."""
    capacity: Capacity
    make_room: Callable[[int], Awaitable[bool]]
    """Evicts idle instances of other pools until so many MiB are free; False if that is not possible."""
    tasks: TaskOwner
    clock: Clock
    deadlines: Deadlines
    depth: int = 1
    """Requests that an instance of a short function may hold: one runs, the others wait inside it."""
    siblings: Callable[[], "Iterable[Pool]"] = tuple
    """Pools of the same version in other sizes: the maximum holds for all of them together."""
    is_retired: bool = False
    """A newer revision has taken over: nothing new starts, what ends is not kept."""
    _idle: list[Instance] = field(default_factory=list)
    _busy: set[Instance] = field(default_factory=set)
    _starting: int = 0
    _waiters: deque[_Waiter] = field(default_factory=deque)
    _back_off: _BackOff = field(default_factory=_BackOff)
    _run_s: Average = field(default_factory=lambda: Average(math.inf))
    _start_s: Average = field(default_factory=lambda: Average(TYPICAL_START_S))
    _short_runs: int = 0
    """Runs since the last long one."""
    _second_look: asyncio.TimerHandle | None = None
    _gave_at: float = 0.0
    """When an instance was last given to somebody who waited, on the monotonic clock."""

    def take(self) -> Instance | None:
        """Return a reserved instance that takes a request now; None if there is none."""
        is_short = self._is_short() and not self._waiters
        # With every core at work, one more instance would only take the caches from the others.
        if is_short and len(self._busy) >= _CORES and (instance := self._with_room()):
            return instance
        # Last in, first out: the others can rest, and be released.
        while self._idle:
            instance = self._idle.pop()
            if instance.is_usable:
                self._busy.add(instance)
                instance.reserve()
                return instance
            self._stop(instance)
        return self._with_room() if is_short else None

    def _is_short(self) -> bool:
        """Tell whether requests may wait inside busy instances: what is sent there cannot be taken back."""
        return self.depth > 1 and self._short_runs >= SHORT_RUNS and self._run_s.value < SHORT_RUN_S

    def _with_room(self) -> Instance | None:
        for instance in self._busy:
            if self._has_room(instance):
                instance.reserve()
                return instance
        return None

    async def acquire(self) -> Given:
        """Wait for an instance; return it reserved, or why there is none.

        Raises:
            StartFailed: the platform could not start one.
        """
        if self.clock.monotonic() < self._back_off.until and self._back_off.outcome is not None:
            return self._back_off.outcome
        if self._is_full() and not self._take_place() and not self._may_wait():
            return Refused(reason=_OVERLOADED)
        return await self._wait()

    def release(self, instance: Instance, *, run_s: float | None = None) -> None:
        """Give back an instance that was acquired; one that cannot serve again is stopped.

        `run_s`: how long the request ran, in seconds; None if it did not.
        """
        if run_s is not None:
            self._run_s.add(run_s)
            self._short_runs = self._short_runs + 1 if run_s < LONG_RUN_S else 0
        instance.release()
        if instance.load:
            # A request behind this one runs now.
            self._hand_over(instance)
            return
        self._busy.discard(instance)
        if not instance.is_usable or (self.is_retired and not self._waiters):
            self._stop(instance)
            self.start_for_waiters()
            return
        self._hand_over(instance)

    def reap(self, idle_s: float) -> int:
        """Stop instances that have been idle for `idle_s` seconds, and those that died meanwhile; return how many."""
        now = self.clock.monotonic()
        old = [instance for instance in self._idle if now - instance.idle_since >= idle_s or not instance.is_usable]
        for instance in old:
            self._idle.remove(instance)
            self._stop(instance)
        return len(old)

    def retire(self) -> None:
        """A newer revision is there: stop what is idle, and the rest as it becomes free."""
        self.is_retired = True
        self.reap(0.0)

    def oldest_idle(self) -> Instance | None:
        """Return the instance that has been idle longest, which is the cheapest to lose."""
        return self._idle[0] if self._idle else None

    async def evict(self, instance: Instance) -> None:
        """Stop an idle instance and wait until its memory is free."""
        self._idle.remove(instance)
        await self._stop(instance)

    def give_up_idle(self) -> bool:
        """Stop the instance that has been idle longest; False if none is idle."""
        if not self._idle:
            return False
        self._stop(self._idle.pop(0))
        return True

    def start_for_waiters(self) -> None:
        """Start what waiting requests need, as far as the maximum allows."""
        if not self._waiters:
            return
        stalled_s = self.clock.monotonic() - max(self._waiters[0].since, self._gave_at)
        wanted = starts_wanted(
            waiting=len(self._waiters),
            busy=len(self._busy),
            starting=self._starting,
            # If nothing has become free for longer than that, requests run longer than they used to.
            run_s=max(self._run_s.value, stalled_s),
            start_s=self._start_s.value,
            most_at_once=_STARTS_AT_ONCE,
        )
        while wanted > 0 and self._may_start():
            wanted -= 1
            self._starting += 1
            self.tasks.start(self._start_one(), name="start instance")
        if self._second_look is None and self._starting < len(self._waiters):
            loop = asyncio.get_running_loop()
            self._second_look = loop.call_later(self._start_s.value, self._look_again)

    def _look_again(self) -> None:
        self._second_look = None
        self.start_for_waiters()

    @property
    def count(self) -> int:
        """How many instances are there or on their way."""
        return len(self._idle) + len(self._busy) + self._starting

    @property
    def busy(self) -> tuple[Instance, ...]:
        """The instances that run something."""
        return tuple(self._busy)

    @property
    def has_waiters(self) -> bool:
        """Whether requests wait for an instance."""
        return bool(self._waiters)

    @property
    def statistics(self) -> PoolStatistics:
        """Return how many instances are in which state."""
        return PoolStatistics(
            idle=len(self._idle), busy=len(self._busy), starting=self._starting, waiting=len(self._waiters)
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs, starts or waits here."""
        return not (self._idle or self._busy or self._starting or self._waiters)

    def _is_full(self) -> bool:
        """Tell whether those who wait already will have every instance that may still be started."""
        if self.max_instances < 0:
            return False
        running = self.count - self._starting + sum(sibling.count for sibling in self.siblings())
        return len(self._waiters) >= self.max_instances - running

    def _may_wait(self) -> bool:
        """Tell whether one more request may wait for a busy instance."""
        if self.wait_s <= 0 or len(self._waiters) >= self.max_waiting:
            return False
        if not self.refuses_early or self._run_s.value == math.inf:
            return True
        expected_s = expected_wait_s(waiting=len(self._waiters), instances=self.max_instances, run_s=self._run_s.value)
        return expected_s <= max(LONGEST_WAIT_S, LONGEST_WAIT_RUNS * self._run_s.value)

    def _may_start(self) -> bool:
        taken = self.count + sum(sibling.count for sibling in self.siblings())
        return self.max_instances < 0 or taken < self.max_instances

    def _take_place(self) -> bool:
        """Stop an idle instance of another size, for its place; False if there is none."""
        return any(sibling.give_up_idle() for sibling in self.siblings())

    async def _wait(self) -> Given:
        waiter = _Waiter(PromptFuture[Given](), self.clock.monotonic())
        # Whoever can have an instance of its own waits for it: the start has deadlines of its own.
        has_deadline = self._is_full()
        self._waiters.append(waiter)
        self.start_for_waiters()
        if has_deadline:
            self.deadlines.fail(waiter.future, self.wait_s)
        try:
            return await waiter.future
        except TimeoutError:
            return Refused(reason=_OVERLOADED)
        except asyncio.CancelledError:
            given = waiter.future.result() if waiter.future.done() and not waiter.future.cancelled() else None
            if isinstance(given, Instance):
                self.release(given)
            raise
        finally:
            self.deadlines.discard(waiter.future)
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def _start_one(self) -> None:
        """Start one instance and hand it, or the failure, to whoever waits longest."""
        began = self.clock.monotonic()
        try:
            started = await self._start_within_capacity()
        except SandboxError as error:
            self._fail_first(StartFailed(str(error)), error)
            return
        except BaseException as error:
            self._fail_first(StartFailed("an instance could not be started"), error)
            raise
        self._starting -= 1
        if started is None:
            self._refuse_all(Refused(reason="The node has no memory left for another instance", is_overload=True))
            return
        instance, failure = started
        if failure is None:
            self._back_off.failures = 0
            self._start_s.add(self.clock.monotonic() - began)
            self._hand_over(instance)
            self.start_for_waiters()
        else:
            self._stop(instance)
            self._start_again(failure)

    async def _start_within_capacity(self) -> tuple[Instance, FunctionFailed | None] | None:
        """Start one instance; None if the node has had no memory for it for as long as a request may wait."""
        give_up_at = self.clock.monotonic() + self.wait_s
        while not self.capacity.take(self.memory_mib) and not await self._make_room():
            left_s = give_up_at - self.clock.monotonic()
            if left_s <= 0:
                return None
            await self.capacity.wait(left_s)
        try:
            return await self.start_instance()
        except BaseException:
            self.capacity.give_back(self.memory_mib)
            raise

    async def _make_room(self) -> bool:
        return await self.make_room(self.memory_mib) and self.capacity.take(self.memory_mib)

    def _start_again(self, failure: FunctionFailed) -> None:
        """A failed initializer is tried again on another instance; every other failure goes to the caller."""
        self._back_off.note(failure, self.clock.monotonic())
        if not self._waiters:
            return
        waiter = self._waiters[0]
        waiter.failed_starts += 1
        if failure.kind is FailureKind.INIT and waiter.failed_starts < INIT_ATTEMPTS:
            self.start_for_waiters()
            return
        self._waiters.popleft()
        _give(waiter, failure)
        self.start_for_waiters()

    def _has_room(self, instance: Instance) -> bool:
        """Tell whether a request may wait inside a busy instance. Not where lines are printed: whose would they be?"""
        return instance.load < self.depth and not instance.has_printed and instance.is_usable

    def _hand_over(self, instance: Instance) -> None:
        """Give an instance that can take a request to those who wait, or keep it."""
        is_short = self._is_short()
        while self._waiters and (not instance.load or (is_short and self._has_room(instance))):
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                instance.reserve()
                self._busy.add(instance)
                self._gave_at = self.clock.monotonic()
                # The waiter runs inside this call; whatever it does must find the pool in order.
                waiter.future.set_result(instance)
                if not instance.load:
                    # It has been given back within that call, which has seen to it.
                    return
        if instance.load:
            return
        wanting = next((sibling for sibling in self.siblings() if sibling.has_waiters), None)
        if self.is_retired or wanting is not None:
            self._stop(instance)
        else:
            self._idle.append(instance)
            self.capacity.changed()
        if wanting is not None:
            wanting.start_for_waiters()

    def _refuse_all(self, refused: Refused) -> None:
        while self._waiters:
            _give(self._waiters.popleft(), refused)

    def _fail_first(self, failure: StartFailed, cause: BaseException) -> None:
        """End a start that was not the function's fault; whoever waits longest learns of it."""
        self._starting -= 1
        failure.__cause__ = cause
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_exception(failure)
                break
        self.start_for_waiters()

    def _stop(self, instance: Instance) -> "asyncio.Task[None]":
        return self.tasks.start(self._stop_one(instance), name="stop instance")

    async def _stop_one(self, instance: Instance) -> None:
        try:
            await instance.stop(run_pre_stop=True)
        finally:
            self.capacity.give_back(self.memory_mib)


def _give(waiter: _Waiter, given: Given) -> None:
    if not waiter.future.done():
        waiter.future.set_result(given)
