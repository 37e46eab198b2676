"""Shares on file servers: opened by a process each, so that only those who use it wait for a file server that hangs.

Start with `RemoteShares.open`; `mounter` is the program of the processes. The loop of sandboxd never touches a path on
a file server, not even to look whether it is there.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from funclet.sandbox.protocol import MountFailed
from funclet.sandbox.sandboxd import mounter
from funclet.sandbox.sandboxd.messages import BadMessage, Create, Share, receive, send
from funclet.sandbox.sandboxd.settings import ShareRoot

DEADLINE_S = 8.0
"""How long an instance may wait for its file servers before it fails."""
_FOLDER = "/run/funclet"
_PROGRAM = f"{__package__}.mounter"


class Host(Protocol):
    """What the loop does for others."""

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call when the descriptor is readable."""
        ...

    def unwatch(self, fd: int) -> None:
        """Stop that; an unknown one is no error."""
        ...


Done = Callable[[Create, Mapping[Share, int] | MountFailed], None]
"""Is told once what became of a request: descriptors, which it closes, or the reason."""


@dataclass(slots=True)
class _Waiting:
    """One instance whose shares are being opened."""

    spec: Create
    left: int
    trees: dict[Share, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Mounter:
    """One process."""

    root: ShareRoot
    process: subprocess.Popen[bytes]
    pidfd: int
    connection: socket.socket
    asked: deque[tuple[int, Share]] = field(default_factory=deque)
    """Whose shares it has not answered yet, in order."""


class RemoteShares:
    """Opens shares on file servers for instances. Close it at the end."""

    def __init__(self, host: Host, known: set[int], done: Done) -> None:
        self._host = host
        self._known = known
        # All mount upon the same folder: each sees its own mount only.
        self._folder = Path(_FOLDER, str(os.getpid()), "exports").resolve()
        self._done = done
        self._waiting: dict[int, _Waiting] = {}
        self._mounters: dict[ShareRoot, _Mounter] = {}
        self._ending: dict[int, _Mounter] = {}

    def __contains__(self, identity: int) -> bool:
        """Tell whether an instance waits for its shares."""
        return identity in self._waiting

    def open(self, spec: Create, shares: Mapping[Share, ShareRoot]) -> None:
        """Begin to open the shares of an instance; `done` is told, perhaps before this returns.

        The caller sees to `expire` after `DEADLINE_S`.
        """
        self._waiting[spec.id] = _Waiting(spec, len(shares))
        for share, root in shares.items():
            if spec.id not in self._waiting:
                return
            try:
                self._ask(spec.id, share, root)
            except OSError as error:
                self._fail(spec.id, share, root, f"sandboxd cannot ask for it: {error}")

    def cancel(self, identity: int) -> bool:
        """Forget an instance that is not wanted any more; `done` is not told. False if it does not wait."""
        waiting = self._waiting.pop(identity, None)
        for fd in waiting.trees.values() if waiting is not None else ():
            os.close(fd)
        return waiting is not None

    def expire(self, identity: int) -> None:
        """End the processes that have kept an instance waiting until now, and so all others that wait for them."""
        for one in list(self._mounters.values()):
            if any(asked == identity for asked, _ in one.asked):
                self._end(
                    one, f"the file server does not answer within {DEADLINE_S:g} s: see whether it can be reached"
                )

    def cancel_all(self) -> None:
        """Forget all that wait."""
        for identity in list(self._waiting):
            self.cancel(identity)

    def close(self) -> None:
        """End everything; waits for nothing."""
        self.cancel_all()
        for one in list(self._mounters.values()):
            self._end(one, "the server ends")
        for one in self._ending.values():
            os.close(one.pidfd)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _ask(self, identity: int, share: Share, root: ShareRoot) -> None:
        one = self._mounters.get(root) or self._start(root)
        below = share.source.removeprefix(str(root.folder)).lstrip("/")
        send(one.connection, msgspec.json.encode(mounter.Ask(below=below, read_only=share.read_only)))
        one.asked.append((identity, share))

    def _start(self, root: ShareRoot) -> _Mounter:
        self._folder.mkdir(exist_ok=True)
        settings = mounter.Settings(
            source=str(root.folder),
            read_only=root.read_only,
            nfs_versions=tuple(root.nfs_versions),
            folder=str(self._folder),
        )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = subprocess.Popen(  # noqa: S603  # a program and words of our own
                [sys.executable, "-I", "-m", _PROGRAM, str(theirs.fileno()), msgspec.json.encode(settings).decode()],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C in a terminal is for the server.
                process_group=0,
            )
        one = _Mounter(root, process, os.pidfd_open(process.pid), ours)
        self._mounters[root] = one
        self._known.add(process.pid)
        self._host.watch(ours.fileno(), partial(self._on_answer, one))
        self._host.watch(one.pidfd, partial(self._on_exit, one))
        return one

    def _on_answer(self, one: _Mounter) -> None:
        try:
            packet, descriptors = receive(one.connection)
            answer = msgspec.json.decode(packet, type=mounter.Answer)
        except BlockingIOError:
            return
        except (OSError, BadMessage, msgspec.DecodeError):
            self._end(one, "the process that mounts it has ended")
            return
        identity, share = one.asked.popleft()
        waiting = self._waiting.get(identity)
        if waiting is None or answer.reason:
            for fd in descriptors:
                os.close(fd)
            self._fail(identity, share, one.root, answer.reason)
            return
        waiting.trees[share] = descriptors[0]
        waiting.left -= 1
        if not waiting.left:
            del self._waiting[identity]
            self._done(waiting.spec, waiting.trees)

    def _fail(self, identity: int, share: Share, root: ShareRoot, reason: str) -> None:
        waiting = self._waiting.get(identity)
        if waiting is not None:
            self.cancel(identity)
            # Where a folder lies on this host is not an author's business.
            where = f" ({root.folder})" if root.is_export else ""
            self._done(waiting.spec, MountFailed(f"'{share.target}': share '{root.name}'{where}: {reason}"))

    def _end(self, one: _Mounter, reason: str) -> None:
        """Kill a process and fail who waits for it. Where it hangs deep in the kernel, it goes when it can."""
        if self._mounters.get(one.root) is one:
            del self._mounters[one.root]
            self._ending[one.pidfd] = one
            self._host.unwatch(one.connection.fileno())
            one.connection.close()
            one.process.kill()
        while one.asked:
            identity, share = one.asked.popleft()
            self._fail(identity, share, one.root, reason)

    def _on_exit(self, one: _Mounter) -> None:
        self._host.unwatch(one.pidfd)
        self._end(one, "the process that mounts it has ended")
        with contextlib.suppress(KeyError):
            os.close(self._ending.pop(one.pidfd).pidfd)
        one.process.wait()
        self._known.discard(one.process.pid)
