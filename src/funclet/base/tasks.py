"""Background tasks that have an owner, and the signal that ends them.

`TaskOwner` starts tasks, reports the first that fails, and ends them all;
`StopSignal` is how a process learns that it must end, and that it must hurry.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class TaskOwner:
    """Owns background tasks from `start` until `close`.

    A task that raises is logged with its name and remembered in `failure`; the
    others go on, because each of ours serves a different part of the server.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` in the background under `name`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def drain(self, *, deadline_s: float) -> bool:
        """Wait for all tasks to end by themselves; False if some still run after `deadline_s` seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=deadline_s)
        return not self._tasks

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.failure = self.failure or error
            log.error("background task failed: %s", task.get_name(), exc_info=error)


class StopSignal:
    """Asked to stop once, a process finishes what runs; asked again, it ends at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def listen(self) -> None:
        """Take SIGTERM, SIGINT and SIGHUP (a closed terminal) as the two requests from now on.

        A hang-up that was ignored before, as `nohup` has it, is still ignored.
        """
        loop = asyncio.get_running_loop()
        ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        for number in (signal.SIGTERM, signal.SIGINT, *(() if ignores_hangup else (signal.SIGHUP,))):
            loop.add_signal_handler(number, self.ask)

    def ask(self) -> None:
        """Ask to stop, and the second time to hurry."""
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()

    async def unless_asked(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of `work`; None when the process is asked to stop before it is there."""
        return await _unless(self.asked, work, None)

    async def unless_hurried(self, work: Coroutine[Any, Any, object], *, within_s: float | None = None) -> None:
        """Wait for `work`, but not any longer than `within_s` seconds or until the process must hurry."""
        await _unless(self.hurried, work, within_s)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T], within_s: float | None) -> T | None:
    task, sooner = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    await asyncio.wait((task, sooner), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for pending in (task, sooner):
        pending.cancel()
    await asyncio.gather(task, sooner, return_exceptions=True)
    return None if task.cancelled() else task.result()
