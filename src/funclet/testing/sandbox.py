"""A sandbox driver without processes: runtimes are tasks that speak the frame contract.

Give `FakeDriver` a `Behaviour`; it says how the runtime answers each frame. Use
it to test what stands above the sandbox: pools, the dispatcher, deadlines.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from funclet.runtimes.frames import FrameType
from funclet.sandbox.protocol import Exit, ExitReason, HostCheck, Sandbox, SandboxError, SandboxSpec, Streams, Usage

_HEADER = struct.Struct("!IBBH16sII")
_FLAG_JSON = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """What a fake runtime answers. `exits` ends it instead."""

    body: bytes = b""
    code: int = 0
    is_json: bool = False
    prints: bytes = b""
    exits: ExitReason | None = None


async def echo(kind: FrameType, body: bytes) -> Reply:  # noqa: ARG001 - the shape of a behaviour
    """Answer every frame with its own body."""
    return Reply(body)


Behaviour = Callable[[FrameType, bytes], Awaitable[Reply]]


@dataclass(slots=True)
class FakeSandbox:
    """One pretended sandbox."""

    behaviour: Behaviour
    fails_to_start: bool = False
    usage: Usage = field(default_factory=lambda: Usage(memory_peak_bytes=20_000_000, cpu_s=0.0, tmp_bytes=0))
    spec: SandboxSpec | None = None
    cpu_is_limited: bool = False
    is_frozen: bool = False
    _ended: "asyncio.Future[Exit] | None" = None
    _runtime: "asyncio.Task[None] | None" = None
    _log_write: int = -1

    async def start(self, spec: SandboxSpec) -> Streams:
        """Start the pretended runtime."""
        if self.fails_to_start:
            raise SandboxError("the fake was told to fail")
        self.spec = spec
        self._ended = asyncio.get_running_loop().create_future()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        log_read, self._log_write = os.pipe()
        os.set_blocking(log_read, False)
        reader, writer = await asyncio.open_connection(sock=theirs)
        self._runtime = asyncio.create_task(self._run(reader, writer))
        return Streams(connection=ours, log_fd=log_read)

    def measure(self, *, storage_age_s: float = 0.0) -> Usage:  # noqa: ARG002 - it stands still
        """Return what the test has set."""
        return self.usage

    def limit_cpu(self) -> None:
        """Remember that the boost has ended."""
        self.cpu_is_limited = True

    def freeze(self, *, is_frozen: bool) -> None:
        """Remember it."""
        self.is_frozen = is_frozen

    async def stop(self, *, grace_s: float) -> Exit:  # noqa: ARG002 - a task needs no grace
        """End the pretended runtime."""
        self._end(Exit(reason=ExitReason.STOPPED, status=-15))
        return await self.wait()

    async def wait(self) -> Exit:
        """Wait for its end."""
        assert self._ended is not None
        exit_ = await asyncio.shield(self._ended)
        if self._runtime is not None:
            self._runtime.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runtime
            self._runtime = None
        if self._log_write >= 0:
            os.close(self._log_write)
            self._log_write = -1
        return exit_

    def die(self, reason: ExitReason) -> None:
        """Let the runtime end by itself."""
        self._end(Exit(reason=reason, status=-9))
        if self._runtime is not None:
            self._runtime.cancel()

    def _end(self, exit_: Exit) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(exit_)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(_HEADER.pack(28, FrameType.READY, 0, 0, bytes(16), 0, 0))
            while True:
                header = await reader.readexactly(_HEADER.size)
                length, kind, _, _, request_id, _, meta_length = _HEADER.unpack(header)
                rest = await reader.readexactly(length - 28)
                reply = await self.behaviour(FrameType(kind), rest[meta_length:])
                if reply.prints:
                    os.write(self._log_write, reply.prints)
                if reply.exits is not None:
                    self._end(Exit(reason=reply.exits, status=-9))
                    return
                flags = _FLAG_JSON if reply.is_json else 0
                head = (28 + len(reply.body), FrameType.DONE, flags, reply.code, request_id, len(reply.prints), 0)
                done = _HEADER.pack(*head)
                writer.write(done + reply.body)
        except asyncio.IncompleteReadError:
            self._end(Exit(reason=ExitReason.EXITED, status=0))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class FakeDriver:
    """Makes fake sandboxes and remembers them in `made`."""

    level = "process"

    def __init__(self, behaviour: Behaviour = echo, *, failing_starts: int = 0) -> None:
        self.behaviour = behaviour
        self.made: list[FakeSandbox] = []
        self.kept: list[SandboxSpec] = []
        self._failing_starts = failing_starts

    def create(self) -> Sandbox:
        """Return a new fake sandbox."""
        sandbox = FakeSandbox(self.behaviour, fails_to_start=len(self.made) < self._failing_starts)
        self.made.append(sandbox)
        return sandbox

    def keep_stems(self, spec: SandboxSpec) -> None:
        """Remember what was to be started ahead."""
        self.kept.append(spec)

    def check_host(self) -> Sequence[HostCheck]:
        """Return nothing: every host can pretend."""
        return ()

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Wait until all runtimes have ended."""
        for sandbox in self.made:
            if sandbox.spec is not None:
                await sandbox.stop(grace_s=0)
