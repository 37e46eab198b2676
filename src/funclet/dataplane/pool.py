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
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field

from funclet.base.clock import Clock
from funclet.base.deadlines import Deadlines
from funclet.base.prompt_future import PromptFuture
from funclet.base.tasks import TaskOwner
from funclet.dataplane.back_off import BackOff
from funclet.dataplane.capacity import Capacity
from funclet.dataplane.fairness import Owner
from funclet.dataplane.instance import Instance
from funclet.dataplane.projects import ProjectLoad
from funclet.dataplane.refusals import Refusals
from funclet.dataplane.resting import Resting
from funclet.dataplane.scaler import TYPICAL_START_S, Average, Runs, is_short_wait, starts_wanted
from funclet.dataplane.slots import StartSlots
from funclet.dataplane.states import PoolStatistics
from funclet.dataplane.verdicts import NO_MEMORY, NO_ROOM, OVERLOADED, StartFailed
from funclet.dataplane.waiter import Given, Waiter
from funclet.model.invocation import FailureKind, FunctionFailed, Refused
from funclet.sandbox.protocol import SandboxError

# runtimes.md 3.2.
INIT_ATTEMPTS = 3
_CORES = os.cpu_count() or 1
_STARTS_AT_ONCE = 2 * _CORES

StartInstance = Callable[[], Awaitable[tuple[Instance, FunctionFailed | None]]]
"""Makes and starts one instance; says what went wrong in the function, if anything."""


_GONE_S = 10.0
"""By then an instance that was told to end has ended, or was killed."""


@dataclass(slots=True, kw_only=True)
class Pool:
    """Instances of one version (one revision, one memory size)."""

    owner: Owner
    """Project and function: who shares the node with whom."""
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
    slots: StartSlots
    make_room: Callable[[], None]
    """Begins to evict idle instances, whosever they are, for those who claim memory."""
    tasks: TaskOwner
    clock: Clock
    deadlines: Deadlines
    refusals: Refusals
    depth: int = 1
    """Requests that an instance of a short function may hold: one runs, the others wait inside it."""
    project: ProjectLoad = field(default_factory=ProjectLoad)
    siblings: Callable[[], "Iterable[Pool]"] = tuple
    """Pools of the same version in other sizes: the maximum holds for all of them together."""
    is_retired: bool = False
    """A newer revision has taken over: nothing new starts, what ends is not kept."""
    reserved: int = 0
    """Instances that are kept ready; see `keep_reserved`."""
    is_idle_mode: bool = False
    """Whether those have no CPU while they have no request."""
    in_flight: int = 0
    """Requests that have an instance."""
    _most_in_flight: int = 0
    _idle: Resting = field(default_factory=Resting)
    _busy: set[Instance] = field(default_factory=set)
    _starting: int = 0
    _waiters: deque[Waiter] = field(default_factory=deque)
    _back_off: BackOff = field(default_factory=BackOff)
    _run_s: Runs = field(default_factory=Runs)
    _start_s: Average = field(default_factory=lambda: Average(TYPICAL_START_S))
    _second_look: asyncio.TimerHandle | None = None
    _gave_at: float = 0.0
    """When an instance was last given to somebody who waited, on the monotonic clock."""

    def take(self) -> Instance | None:
        """Return a reserved instance that takes a request now; None if there is none."""
        is_short = self._is_short() and not self._waiters
        # With every core at work, one more instance would only take the caches from the others.
        if is_short and len(self._busy) >= _CORES and (instance := self._with_room()):
            return instance
        while (instance := self._idle.pop()) is not None:
            if instance.is_usable:
                self._busy.add(instance)
                return self._given(instance)
            self._stop(instance)
        return self._with_room() if is_short else None

    def _is_short(self) -> bool:
        """Tell whether requests may wait inside busy instances: what is sent there cannot be taken back."""
        return self.depth > 1 and self._run_s.are_short

    def _with_room(self) -> Instance | None:
        for instance in self._busy:
            if self._has_room(instance):
                return self._given(instance)
        return None

    def _given(self, instance: Instance) -> Instance:
        instance.reserve()
        self.in_flight += 1
        if self.in_flight > self._most_in_flight:  # noqa: PLR1730 - on the path of every request
            self._most_in_flight = self.in_flight
        return instance

    async def acquire(self, request_id: str = "") -> Given:
        """Wait for an instance; return it reserved, or why there is none. `request_id` tells who waits.

        Raises:
            StartFailed: the platform could not start one.
        """
        if self.clock.monotonic() < self._back_off.until and self._back_off.outcome is not None:
            return self._back_off.outcome
        refused = self._refusal()
        if refused is not None:
            await self.refusals.pause()
            return refused
        return await self._wait(request_id)

    def release(self, instance: Instance, *, run_s: float | None = None) -> None:
        """Give back an instance that was acquired; one that cannot serve again is stopped.

        `run_s`: how long the request ran, in seconds; None if it did not.
        """
        if run_s is not None:
            self._run_s.add(run_s)
        self.in_flight -= 1
        instance.release()
        if instance.load:
            # A request behind this one runs now.
            self._hand_over(instance)
            return
        self._busy.discard(instance)
        is_over = self.is_retired and not self._waiters
        must_yield = self.capacity.claims and not instance.is_reserved and self._gives_way()
        if not instance.is_usable or is_over or must_yield:
            self._stop(instance)
            self.start_for_waiters()
            return
        self._hand_over(instance)

    def reap(self, idle_s: float, *, keeps_one: bool = False) -> int:
        """Stop instances that have been idle for `idle_s` seconds, and those that died meanwhile; return how many.

        With `keeps_one`, the last that could serve stays however long it has been idle.
        """
        old = self._idle.take_old(self.clock.monotonic() - idle_s, keeps_one=keeps_one)
        for instance in old:
            self._stop(instance)
        return len(old)

    def retire(self) -> None:
        """A newer revision is there: stop what is idle, and the rest as it becomes free."""
        self.is_retired = True
        self.keep_reserved(0)
        self.reap(0.0)

    def keep_reserved(self, count: int, *, is_idle_mode: bool = False) -> None:
        """Have so many instances reserved: those that are there, then new ones. Called once a second.

        What has died is replaced so. What is reserved no longer stays as an instance like any other.
        """
        self.reserved, self.is_idle_mode = count, is_idle_mode
        reserved = self.reserved_instances
        for instance in reserved[count:]:
            self._idle.mark(instance, is_reserved=False)
        others = [one for one in (*reversed(self._idle.free), *self._busy) if one.is_usable and not one.is_reserved]
        for instance in others[: max(0, count - len(reserved))]:
            self._idle.mark(instance, is_reserved=True)
        missing = count - len(self.reserved_instances) - self._starting
        if self.clock.monotonic() >= self._back_off.until:
            while missing > 0 and self._may_start():
                missing -= 1
                self._begin_start()
        for instance in self._idle.reserved:
            instance.freeze(is_frozen=is_idle_mode)

    @property
    def reserved_instances(self) -> list[Instance]:
        """The reserved instances that are there, those at work first: they are the last to lose the mark."""
        return [*(instance for instance in self._busy if instance.is_reserved), *self._idle.reserved]

    def take_most_in_flight(self) -> int:
        """Return how many requests there were at once since the last call."""
        most, self._most_in_flight = self._most_in_flight, self.in_flight
        return most

    @property
    def all(self) -> tuple[Instance, ...]:
        """The instances that are there."""
        return (*self._idle, *self._busy)

    @property
    def alive(self) -> int:
        """How many they are."""
        return len(self._idle) + len(self._busy)

    def oldest_idle(self) -> Instance | None:
        """Return the instance that has been idle longest, which is the cheapest to lose."""
        return self._idle.free[0] if self._idle.free else None

    def used_at(self, now: float) -> float | None:
        """Return when a request was last seen here; None if no instance that is still there has served one."""
        if self._busy or self._waiters:
            return now
        return max((one.idle_since for one in self._idle if one.served), default=None)

    def start_ahead(self) -> None:
        """Start one instance that nobody waits for yet, unless one is idle or coming, or there is no place for it."""
        is_coming = self._idle or self._starting > len(self._waiters)
        is_failing = self.clock.monotonic() < self._back_off.until
        if is_coming or is_failing or self.is_retired or not (self.project.has_place() and self._may_start()):
            return
        if self.capacity.has(self.memory_mib):
            self._begin_start()

    def give_up_idle(self) -> bool:
        """Stop the instance that has been idle longest; False if none is idle."""
        if not self._idle.free:
            return False
        self._stop(self._idle.free.pop(0))
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
            self._begin_start()
        if self._second_look is None and self._starting < len(self._waiters):
            loop = asyncio.get_running_loop()
            self._second_look = loop.call_later(self._start_s.value, self._look_again)

    def _begin_start(self) -> None:
        self._starting += 1
        self.project.instances += 1
        self.tasks.start(self._start_one(), name="start instance")

    def _look_again(self) -> None:
        self._second_look = None
        self.start_for_waiters()

    @property
    def count(self) -> int:
        """How many instances are there or on their way."""
        return self.alive + self._starting

    @property
    def expected_start_s(self) -> float:
        """What a start is expected to take, in seconds."""
        return self._start_s.value

    @property
    def busy(self) -> tuple[Instance, ...]:
        """The instances that run something."""
        return tuple(self._busy)

    @property
    def waiters(self) -> Collection[Waiter]:
        """The requests that wait for an instance, first come first."""
        return self._waiters

    @property
    def statistics(self) -> PoolStatistics:
        """Return how many instances are in which state."""
        return PoolStatistics(
            idle=len(self._idle), busy=len(self._busy), starting=self._starting, waiting=len(self._waiters)
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs, starts or waits here, nor is kept ready."""
        return not (self._idle or self._busy or self._starting or self._waiters or self.reserved)

    def _refusal(self) -> Refused | None:
        """Return why one more request cannot even wait; None if it can."""
        if self._is_full():
            may_stay = self._take_place() or self._may_wait(self.max_instances)
            return None if may_stay else OVERLOADED
        if self.project.is_full(len(self._waiters) - self._starting) and not self.project.make_place():
            return None if self.count and self._may_wait(self.count) else OVERLOADED
        if len(self._waiters) >= self.max_waiting:
            return NO_ROOM
        # While memory is short there will not be more instances than now. The first requests wait for their turn.
        is_short = self.wait_s > 0 and self._waiters and self.capacity.claims
        return NO_MEMORY if is_short and not self._may_wait(self.alive) else None

    def _gives_way(self) -> bool:
        """Tell whether an instance must end for the start of a function that has less, though it could serve on."""
        return self.capacity.must_yield(self.owner, self.memory_mib, self.clock.monotonic())

    def _is_full(self) -> bool:
        """Tell whether those who wait already will have every instance that may still be started."""
        if self.max_instances < 0:
            return False
        running = self.alive + sum(sibling.count for sibling in self.siblings())
        return len(self._waiters) >= self.max_instances - running

    def _may_wait(self, instances: int) -> bool:
        """Tell whether one more request may wait for a busy one of so many instances."""
        if self.wait_s <= 0 or len(self._waiters) >= self.max_waiting:
            return False
        if not self.refuses_early or self._run_s.value == math.inf:
            return True
        return is_short_wait(waiting=len(self._waiters), instances=instances, run_s=self._run_s.value)

    def _may_start(self) -> bool:
        taken = self.count + sum(sibling.count for sibling in self.siblings())
        return (self.max_instances < 0 or taken < self.max_instances) and self.project.find_place()

    def _take_place(self) -> bool:
        """Stop an idle instance of another size, for its place; False if there is none."""
        return any(sibling.give_up_idle() for sibling in self.siblings())

    async def _wait(self, request_id: str) -> Given:
        waiter = Waiter(PromptFuture[Given](), self.clock.monotonic(), request_id)
        # Whoever can have an instance of its own waits for it: the start has deadlines of its own.
        has_deadline = self._is_full() or self.project.is_full(len(self._waiters) - self._starting)
        self._waiters.append(waiter)
        self.start_for_waiters()
        if has_deadline:
            self.deadlines.fail(waiter.future, self.wait_s)
        try:
            return await waiter.future
        except TimeoutError:
            return OVERLOADED
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
            self.project.instances -= 1
            self._refuse_overdue()
            return
        instance, failure = started
        if failure is None:
            self._back_off.failures = 0
            instance.is_ahead = not self._waiters
            instance.is_reserved = len(self.reserved_instances) < self.reserved
            self._start_s.add(self.clock.monotonic() - began)
            self._hand_over(instance)
            self.start_for_waiters()
        else:
            self._stop(instance)
            self._start_again(failure)

    async def _start_within_capacity(self) -> tuple[Instance, FunctionFailed | None] | None:
        """Start one instance; None if the node has had no memory for it for as long as a request may wait."""
        if not await self._take_memory():
            return None
        try:
            slot = await self.slots.enter(self.owner)
            try:
                return await self.start_instance()
            finally:
                self.slots.leave(slot)
        except BaseException:
            self.capacity.give_back(self.owner, self.memory_mib)
            raise

    async def _take_memory(self) -> bool:
        claim = self.capacity.claim(self.owner, self.memory_mib, self.clock.monotonic())
        try:
            while not self.capacity.take(claim):
                left_s = claim.since + self.wait_s - self.clock.monotonic()
                if self.capacity.is_next(claim):
                    self.make_room()
                    if not self.capacity.missing_mib(most_claims=1):
                        # Who has given way is about to be gone, however long a request may wait.
                        left_s = max(left_s, _GONE_S)
                if left_s <= 0:
                    return False
                await self.capacity.wait(claim, left_s)
        finally:
            self.capacity.withdraw(claim)
        return True

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
        waiter.give(failure)
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
                self._given(instance)
                self._busy.add(instance)
                self._gave_at = self.clock.monotonic()
                # The waiter runs inside this call; whatever it does must find the pool in order.
                waiter.future.set_result(instance)
                if not instance.load:
                    # It has been given back within that call, which has seen to it.
                    return
        if instance.load:
            return
        wanting = next((sibling for sibling in self.siblings() if sibling.waiters), None)
        if self.is_retired or (wanting is not None and not instance.is_reserved):
            self._stop(instance)
        else:
            self._idle.add(instance)
            self.capacity.changed()
        if wanting is not None:
            wanting.start_for_waiters()

    def _refuse_overdue(self) -> None:
        """Refuse who has waited as long as a request may wait for memory; those who came later may still get it."""
        came_before = self.clock.monotonic() - self.wait_s
        while self._waiters and self._waiters[0].since <= came_before:
            self._waiters.popleft().give(NO_MEMORY)
        self.start_for_waiters()

    def _fail_first(self, failure: StartFailed, cause: BaseException) -> None:
        """End a start that was not the function's fault; whoever waits longest learns of it."""
        self._starting -= 1
        self.project.instances -= 1
        failure.__cause__ = cause
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_exception(failure)
                break
        self.start_for_waiters()

    def _stop(self, instance: Instance) -> "asyncio.Task[None]":
        self.capacity.free_soon(self.memory_mib)
        self.project.instances -= 1
        return self.tasks.start(self._stop_one(instance), name="stop instance")

    async def _stop_one(self, instance: Instance) -> None:
        try:
            await instance.stop(run_pre_stop=True)
        finally:
            self.capacity.give_back(self.owner, self.memory_mib, was_announced=True)
