"""All instances of one function version and memory size on this node.

`Pool.acquire` gives a caller an instance: an idle one, or the first that
becomes free, be it newly started or released by another request. Starts belong
to the pool, not to the caller that caused them, so a caller that goes away
leaves a usable instance behind.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from funclet.base.clock import Clock
from funclet.base.tasks import TaskOwner
from funclet.dataplane.capacity import Capacity
from funclet.dataplane.instance import Instance
from funclet.model.invocation import FailureKind, FunctionFailed, Refused
from funclet.sandbox.protocol import SandboxError

# runtimes.md 3.2 and platform.md 2.6.
INIT_ATTEMPTS = 3
FAILURES_BEFORE_BACK_OFF = 3
FAILURE_WINDOW_S = 60.0
MAX_BACK_OFF_S = 60.0

StartInstance = Callable[[], Awaitable[tuple[Instance, FunctionFailed | None]]]
"""Makes and starts one instance; says what went wrong in the function, if anything."""
Given = Instance | FunctionFailed | Refused


class StartFailed(Exception):
    """The platform could not start an instance."""


@dataclass(slots=True)
class _Waiter:
    future: "asyncio.Future[Given]"
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
    capacity: Capacity
    make_room: Callable[[int], Awaitable[bool]]
    """Evicts idle instances of other pools until so many MiB are free; False if that is not possible."""
    tasks: TaskOwner
    clock: Clock
    siblings: Callable[[], "Iterable[Pool]"] = tuple
    """Pools of the same version in other sizes: the maximum holds for all of them together."""
    is_retired: bool = False
    """A newer revision has taken over: nothing new starts, what ends is not kept."""
    _idle: list[Instance] = field(default_factory=list)
    _busy: set[Instance] = field(default_factory=set)
    _starting: int = 0
    _waiters: deque[_Waiter] = field(default_factory=deque)
    _back_off: _BackOff = field(default_factory=_BackOff)

    async def acquire(self) -> Given:
        """Return a reserved instance, or why there is none.

        Raises:
            StartFailed: the platform could not start one.
        """
        while self._idle:
            instance = self._idle.pop()
            if instance.is_usable:
                return self._reserve(instance)
            self._stop(instance)
        if self.clock.monotonic() < self._back_off.until and self._back_off.outcome is not None:
            return self._back_off.outcome
        if self._is_full() and not self._take_place() and (self.wait_s <= 0 or len(self._waiters) >= self.max_waiting):
            return Refused(reason="Your request has been controlled by overload sdk, please retry later")
        return await self._wait()

    def release(self, instance: Instance) -> None:
        """Give back an instance that was acquired; one that cannot serve again is stopped."""
        self._busy.discard(instance)
        if not instance.is_usable or (self.is_retired and not self._waiters):
            self._stop(instance)
            self.start_for_waiters()
            return
        instance.release()
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
        while self._starting < len(self._waiters) and self._may_start():
            self._starting += 1
            self.tasks.start(self._start_one(), name="start instance")

    @property
    def count(self) -> int:
        """How many instances are there or on their way."""
        return len(self._idle) + len(self._busy) + self._starting

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
        # A start in progress that nobody waits for is a free place.
        return not self._may_start() and self._starting <= len(self._waiters)

    def _may_start(self) -> bool:
        taken = self.count + sum(sibling.count for sibling in self.siblings())
        return self.max_instances < 0 or taken < self.max_instances

    def _take_place(self) -> bool:
        """Stop an idle instance of another size, for its place; False if there is none."""
        return any(sibling.give_up_idle() for sibling in self.siblings())

    async def _wait(self) -> Given:
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self.start_for_waiters()
        # Whoever has a start coming waits for it: the start has deadlines of its own.
        deadline = None if len(self._waiters) <= self._starting else self.wait_s
        try:
            # Not `asyncio.timeout`: an instance that is handed over in the moment the time is up must not be lost.
            await asyncio.wait((waiter.future,), timeout=deadline)
        except asyncio.CancelledError:
            given = waiter.future.result() if waiter.future.done() and not waiter.future.exception() else None
            if isinstance(given, Instance):
                self.release(given)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if waiter.future.done():
            return waiter.future.result()
        return Refused(reason="Your request has been controlled by overload sdk, please retry later")

    async def _start_one(self) -> None:
        """Start one instance and hand it, or the failure, to whoever waits longest."""
        taken = False
        try:
            taken = self.capacity.take(self.memory_mib) or await self._make_room()
            if not taken:
                self._refuse_all(Refused(reason="The node has no memory left for another instance", is_overload=True))
                return
            instance, failure = await self.start_instance()
        except SandboxError as error:
            self.capacity.give_back(self.memory_mib)
            self._fail_first(StartFailed(str(error)), error)
            return
        except BaseException as error:
            if taken:
                self.capacity.give_back(self.memory_mib)
            self._fail_first(StartFailed("an instance could not be started"), error)
            raise
        finally:
            self._starting -= 1
        if failure is None:
            self._back_off.failures = 0
            self._hand_over(instance)
        else:
            self._stop(instance)
            self._start_again(failure)

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

    def _hand_over(self, instance: Instance) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_result(self._reserve(instance))
                return
        wanting = next((sibling for sibling in self.siblings() if sibling.has_waiters), None)
        if self.is_retired or wanting is not None:
            self._stop(instance)
        else:
            self._idle.append(instance)
        if wanting is not None:
            wanting.start_for_waiters()

    def _reserve(self, instance: Instance) -> Instance:
        instance.reserve()
        self._busy.add(instance)
        return instance

    def _refuse_all(self, refused: Refused) -> None:
        while self._waiters:
            _give(self._waiters.popleft(), refused)

    def _fail_first(self, failure: StartFailed, cause: BaseException) -> None:
        failure.__cause__ = cause
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_exception(failure)
                return

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
