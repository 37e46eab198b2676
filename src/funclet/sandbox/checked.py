"""Wraps any driver: keeps the order of calls, and dead stays dead.

The drivers below it stay small because they may rely on it.
"""

from collections.abc import Sequence
from enum import Enum

from funclet.sandbox.protocol import Exit, HostCheck, Sandbox, SandboxDriver, SandboxError, SandboxSpec, Streams, Usage


class _State(Enum):
    NEW = "not started"
    STARTING = "starting"
    RUNNING = "running"
    DEAD = "dead"


class CheckedDriver:
    """A driver whose sandboxes raise `SandboxError` for a call that the protocol forbids."""

    def __init__(self, driver: SandboxDriver) -> None:
        self._driver = driver

    @property
    def level(self) -> str:
        """Return the level of the wrapped driver."""
        return self._driver.level

    def create(self) -> "CheckedSandbox":
        """Return a sandbox that is not started yet."""
        return CheckedSandbox(self._driver.create())

    def keep_stems(self, spec: SandboxSpec) -> None:
        """See `SandboxDriver.keep_stems`."""
        self._driver.keep_stems(spec)

    def check_host(self) -> Sequence[HostCheck]:
        """See `SandboxDriver.check_host`."""
        return self._driver.check_host()

    async def open(self) -> None:
        """See `SandboxDriver.open`."""
        await self._driver.open()

    async def close(self) -> None:
        """See `SandboxDriver.close`."""
        await self._driver.close()


class CheckedSandbox:
    """A sandbox that knows what may be called now."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._state = _State.NEW
        self._exit: Exit | None = None

    async def start(self, spec: SandboxSpec) -> Streams:
        """See `Sandbox.start`; once only."""
        self._require(_State.NEW)
        self._state = _State.STARTING
        try:
            streams = await self._sandbox.start(spec)
        except BaseException:  # cancelled or failed: nothing is left that could be used
            self._state = _State.DEAD
            raise
        self._state = _State.RUNNING
        return streams

    def measure(self, *, storage_age_s: float = 0.0) -> Usage:
        """See `Sandbox.measure`."""
        self._require(_State.RUNNING)
        return self._sandbox.measure(storage_age_s=storage_age_s)

    def limit_cpu(self) -> None:
        """See `Sandbox.limit_cpu`."""
        self._require(_State.RUNNING)
        self._sandbox.limit_cpu()

    def freeze(self, *, is_frozen: bool) -> None:
        """See `Sandbox.freeze`. Nothing happens to a dead one: it may die while nobody looks."""
        if self._state is _State.RUNNING:
            self._sandbox.freeze(is_frozen=is_frozen)

    async def stop(self, *, grace_s: float) -> Exit:
        """See `Sandbox.stop`. A dead sandbox gives its exit once more."""
        if self._exit is not None:
            return self._exit
        self._require(_State.RUNNING)
        return self._end(await self._sandbox.stop(grace_s=grace_s))

    async def wait(self) -> Exit:
        """See `Sandbox.wait`. A dead sandbox gives its exit once more."""
        if self._exit is not None:
            return self._exit
        self._require(_State.RUNNING)
        return self._end(await self._sandbox.wait())

    def _end(self, ended: Exit) -> Exit:
        self._state = _State.DEAD
        self._exit = self._exit or ended
        return self._exit

    def _require(self, state: _State) -> None:
        if self._state is not state:
            raise SandboxError(f"The sandbox is {self._state.value}; this call needs one that is {state.value}.")
