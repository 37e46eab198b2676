"""Coroutines without tasks, for work that is done for every request.

A task costs several passes of the loop: one to begin, one more after each wait.
`PromptRuns.start` runs a coroutine at once, in the stack of its caller, up to its
first wait. If it waits for a `PromptFuture`, whoever sets that future runs it
further, at once again. If it waits for anything else of asyncio, it goes on as a
task, so what is awaited need not know how it was started.

Two things differ from a task until then: `asyncio.current_task()` is none, so
`asyncio.timeout` cannot be used in such a coroutine; and what runs after a
`PromptFuture` runs inside `set_result`, so it must be called last.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from funclet.base.prompt_future import PromptFuture

log = logging.getLogger(__name__)

T = TypeVar("T")

_CLOSE_S = 10.0


class _Run(Generic[T]):
    """One coroutine between its waits."""

    __slots__ = ("_coroutine", "_done", "_owner", "_task", "_waited")

    def __init__(self, owner: "PromptRuns", coroutine: Coroutine[Any, Any, T], done: Callable[[T], None]) -> None:
        self._owner = owner
        self._coroutine = coroutine
        self._done = done
        self._task: asyncio.Task[T] | None = None
        self._waited: PromptFuture[Any] | None = None

    def step(self) -> None:
        """Run to the next wait, or to the end."""
        self._waited = None
        try:
            waited = self._coroutine.send(None)
        except StopIteration as stop:
            self._owner.ended(self)
            self._hand_on(stop.value)
        except BaseException as error:
            self._owner.ended(self)
            self._owner.failed(error)
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            if type(waited) is PromptFuture:
                waited._asyncio_future_blocking = False  # noqa: SLF001 - what a task does for a future it waits for
                waited.resume = self.step
                self._waited = waited
            else:
                self._go_on_as_task(waited)

    def cancel(self) -> None:
        """Raise CancelledError where it waits."""
        if self._task is not None:
            # Behind its first step: a task that is cancelled before would not tell the coroutine.
            asyncio.get_running_loop().call_soon(self._task.cancel)
            return
        if self._waited is not None:
            # Whoever sets it later must not run what has ended, or what a task runs from here on.
            self._waited.resume = None
            self._waited = None
        try:
            waited = self._coroutine.throw(asyncio.CancelledError())
        except (StopIteration, asyncio.CancelledError):
            self._owner.ended(self)
        except BaseException as error:  # noqa: BLE001 - it is logged, and who cancels goes on
            self._owner.ended(self)
            self._owner.failed(error)
        else:
            self._go_on_as_task(waited)

    def _go_on_as_task(self, waited: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(_rest(_Resumed(self._coroutine, waited)))
        self._task.add_done_callback(self._task_ended)

    def _task_ended(self, task: "asyncio.Task[T]") -> None:
        self._owner.ended(self)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._hand_on(task.result())
        else:
            self._owner.failed(error)

    def _hand_on(self, result: T) -> None:
        """Call `done`; what it raises must not reach whoever has set the future that this run waited for."""
        try:
            self._done(result)
        except Exception as error:  # noqa: BLE001 - it is logged
            self._owner.failed(error)


class _Resumed(Generic[T]):
    """What is left of a coroutine that has begun and waits for `waited`."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waited: Any) -> None:
        self._coroutine = coroutine
        self._waited = waited

    def __await__(self) -> Generator[Any, Any, T]:
        waited = self._waited
        while True:
            try:
                try:
                    yield waited
                except BaseException as error:  # noqa: BLE001 - it is the coroutine that must see it
                    waited = self._coroutine.throw(error)
                else:
                    waited = self._coroutine.send(None)
            except StopIteration as stop:
                result: T = stop.value
                return result


async def _rest(resumed: _Resumed[T]) -> T:
    return await resumed


class PromptRuns:
    """Owns the runs that it starts, until they end or `close` ends them."""

    def __init__(self) -> None:
        self._runs: set[_Run[Any]] = set()
        self._is_empty: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def start(self, coroutine: Coroutine[Any, Any, T], done: Callable[[T], None]) -> None:
        """Run `coroutine` up to its first wait; call `done` with its result, perhaps before this returns.

        What it raises is logged, and `done` is not called then. What `done` raises is logged, too.
        """
        run = _Run(self, coroutine, done)
        self._runs.add(run)
        run.step()

    def ended(self, run: _Run[Any]) -> None:
        """Forget a run."""
        self._runs.discard(run)
        if self._is_empty is not None and not self._runs:
            self._is_empty.set()

    def failed(self, error: BaseException) -> None:
        """Log what a run has raised."""
        if not isinstance(error, asyncio.CancelledError):
            log.error("a request failed", exc_info=error)

    async def drain(self, *, deadline_s: float) -> bool:
        """Wait for all runs to end by themselves; False if some still run after `deadline_s` seconds."""
        if not self._runs:
            return True
        self._is_empty = asyncio.Event()
        try:
            async with asyncio.timeout(deadline_s):
                await self._is_empty.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        for run in tuple(self._runs):
            # The end of one may have ended others.
            if run in self._runs:
                run.cancel()
        if self._runs:
            await self.drain(deadline_s=_CLOSE_S)
