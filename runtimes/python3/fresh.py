"""Fresh state per request: each INVOKE runs in a forked child that is thrown away. Start with `FreshState.answer_next`.

The child is forked ahead and waits for the request itself, so that no request waits for the fork.
Imported only for functions that want this (`../CONTRACT.md`, Fresh state).
"""
# ruff: noqa: PTH208 - pathlib costs a cold start milliseconds

import gc
import mmap
import os
import signal
import sys
import time
from _socket import AF_UNIX, MSG_PEEK, MSG_WAITALL, SOCK_STREAM, socket

from _funclet import frames, loop

# Not from typing, which costs a cold start 3 ms; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ISOLATED_CODE_ROOT = "/opt/function/code"
"""Where the code is whenever `/tmp` is the instance's own."""
CLEANUP_DEADLINE_S = 2.0
"""Longest time for the processes of a request to be gone; then the instance ends."""

_WAITING, _RUNNING, _ANSWERED = 0, 1, 2
_TMP = "/tmp"  # noqa: S108 - the one writable folder
_KIND_END = 5
_PAUSE_S = 0.0005
_SET_DUMPABLE, _SET_CHILD_SUBREAPER = 4, 36
# Of `/proc/<pid>/stat`, counted behind the name.
_STATE, _PARENT = 0, 1
_MAX_READ_BYTES = 1 << 16


class CleanupError(Exception):
    """Something that a request has left behind cannot be removed; the instance must end."""


class FreshState:
    """Answers like a `Runtime`, but what a request changes is gone with its child process."""

    def __init__(self, runtime: "loop.Runtime", environment: "Mapping[str, str]") -> None:
        self._runtime = runtime
        self._last_of_start = frames.INIT if environment.get("RUNTIME_INITIALIZER_HANDLER") else frames.LOAD
        self._is_started = False
        self._peer = socket(AF_UNIX, SOCK_STREAM, 0, os.dup(loop.SOCKET_FD))
        self._stages = mmap.mmap(-1, 2)
        self._go = (os.pipe(), os.pipe())
        self._spare: tuple[int, int] | None = None
        self._owns_tmp = environment["RUNTIME_CODE_ROOT"].rstrip("/") == ISOLATED_CODE_ROOT
        self._leftovers: Leftovers | None = None
        self._set_option: Callable[[int, int], None] = _process_options()

    def answer_next(self) -> bool:
        """Answer the next request, an INVOKE in a child; False at end-of-file. Ends the process if the child dies.

        Raises:
            BrokenPeerError: the server sent something else than a request.
            CleanupError: a request has left behind what cannot be removed.
        """
        if not self._is_started:
            # LOAD may have come along with the environment, and has been read then.
            kind = self._runtime.peek() or self._peek()
            if kind != frames.INVOKE:
                self._is_started = kind == self._last_of_start
                return self._runtime.answer_next()
            self._is_started = True
        if self._leftovers is None:
            self._leftovers = Leftovers(_TMP if self._owns_tmp else None)
            self._prepare_forks()
        pid, place = self._spare or self._fork(0)
        os.write(self._go[place][1], b"!")
        # While that one waits or works, so that nobody waits for a fork.
        self._spare = self._fork(1 - place)
        _, status = os.waitpid(pid, 0)
        self._leftovers.remove(self._spare[0])
        stage = self._stages[place]
        if stage == _ANSWERED:
            return True
        if stage == _WAITING and status == 0:
            # It saw something else than a request to invoke.
            return self._runtime.answer_next()
        # As if the handler had run here: the request gets what it would have got then.
        os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))

    def _fork(self, place: int) -> "tuple[int, int]":
        """Fork a child that keeps its stage at a place; return its pid and the place."""
        self._stages[place] = _WAITING
        pid = os.fork()
        if pid == 0:
            self._answer_one(place)
        return pid, place

    def _answer_one(self, place: int) -> None:
        """Wait for a request and answer it, as the child; never returns. Exceptions end it in `loop.serve`."""
        for _, write_end in self._go:
            os.close(write_end)
        # Forked children of the author's lose the connection; this one has to get it back.
        os.dup2(self._peer.fileno(), loop.SOCKET_FD, inheritable=False)
        self._runtime.adopt_process()
        _renew_random_state()
        if not os.read(self._go[place][0], 1):
            os._exit(0)
        for read_end, _ in self._go:
            os.close(read_end)
        if self._peek() != frames.INVOKE:
            os._exit(0)
        self._peer.close()
        self._stages[place] = _RUNNING
        self._set_option(_SET_DUMPABLE, 1)
        self._runtime.answer_next()
        self._stages[place] = _ANSWERED
        os._exit(0)

    def _prepare_forks(self) -> None:
        """Make this process one that is forked often: heir of its children's, closed to them, with little to copy."""
        self._set_option(_SET_CHILD_SUBREAPER, 1)
        # Its memory is what every request starts from: no child may open it.
        self._set_option(_SET_DUMPABLE, 0)
        if hasattr(gc, "freeze"):  # Python 3.7
            gc.freeze()
        if sys.version_info >= (3, 12):
            import warnings

            # The other thread only sleeps; and the author may have made errors of all warnings.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"_funclet\.fresh")

    def _peek(self) -> int:
        """Wait for the next frame and return its type without taking it; 0 at end-of-file."""
        head = self._peer.recv(_KIND_END, MSG_PEEK | MSG_WAITALL)
        return head[-1] if len(head) == _KIND_END else 0


class Leftovers:
    """Knows what is there before the first request, and removes what later ones leave behind."""

    def __init__(self, tmp: "str | None") -> None:
        """Note what is there now. `tmp` is the folder to keep clean; None: none."""
        self._tmp = tmp
        self._kept_files = frozenset(os.listdir(tmp) if tmp else ())
        self._kept = frozenset(_children())

    def remove(self, spare: int) -> None:
        """End the processes and remove the files that were not there at first, but for the process `spare`.

        Raises:
            CleanupError: some of them stay.
        """
        self._end_processes(spare)
        if self._tmp is None:
            return
        for name in os.listdir(self._tmp):
            if name not in self._kept_files:
                _remove(f"{self._tmp}/{name}")

    def _end_processes(self, spare: int) -> None:
        kept = self._kept | {spare}
        # Orphans become children of this process, so what is below it is below one of its children.
        if kept.issuperset(_children()):
            return
        deadline_s = time.monotonic() + CLEANUP_DEADLINE_S
        while True:
            found = list(_descendants(kept))
            if not found:
                return
            for pid, _, _ in found:
                _kill(pid)
            if all(is_zombie for _, _, is_zombie in found):
                # Only now: as long as they are not waited for they count, which bounds those that go on forking.
                _reap(pid for pid, parent, _ in found if parent == os.getpid())
            elif time.monotonic() > deadline_s:
                raise CleanupError(f"{len(found)} processes of a request could not be ended")
            else:
                time.sleep(_PAUSE_S)


def _process_options() -> "Callable[[int, int], None]":
    """Return `prctl`, which Python does not offer, as a function that raises OSError when the kernel refuses."""
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_option(option: int, value: int) -> None:
        if prctl(option, value, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return set_option


def _renew_random_state() -> None:
    """Give the generators that are shared by all a state of their own; what asks the kernel each time has one."""
    random = sys.modules.get("random")
    if random is not None and sys.version_info < (3, 7):  # later ones do so themselves
        random.seed()
    # Whoever has a package of that name need not have this.
    seed = getattr(sys.modules.get("numpy.random"), "seed", None)
    if seed is not None:
        seed()


def _children() -> "set[int]":
    """Return the children of this process, those of all its threads."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        found.update(map(int, _read(f"/proc/self/task/{thread}/children").split()))
    return found


def _descendants(kept: "frozenset[int]") -> "Iterator[tuple[int, int, bool]]":
    """Yield (pid, parent, is a zombie) of all processes below this one, but for `kept` and what is below these."""
    by_parent: dict[int, list[tuple[int, int, bool]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
            if len(fields) > _PARENT:
                row = (int(name), int(fields[_PARENT]), fields[_STATE] in (b"Z", b"X"))
                by_parent.setdefault(row[1], []).append(row)
    parents = [os.getpid()]
    while parents:
        for row in by_parent.get(parents.pop(), ()):
            if row[0] not in kept:
                yield row
                parents.append(row[0])


def _read(path: str) -> bytes:
    """Return the beginning of a file of `/proc`; nothing if its process has gone."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(fd, _MAX_READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(pids: "Iterator[int]") -> None:
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue


def _remove(path: str) -> None:
    """Remove a file or a whole folder, without following links.

    Raises:
        CleanupError: something of it stays.
    """
    try:
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - as above
            import shutil

            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108 - as above
    except (OSError, RecursionError) as error:
        raise CleanupError(f"{path} of a request could not be removed: {error}") from error
