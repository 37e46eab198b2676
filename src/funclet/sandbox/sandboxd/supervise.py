"""The topology of `fgs serve`: one process that may mount, and one that faces the world.

`supervise` forks the server, which becomes an ordinary user, and turns the
calling process into sandboxd. Must be called before any thread is started.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from funclet.sandbox import native
from funclet.sandbox.sandboxd.daemon import Watch, serve
from funclet.sandbox.sandboxd.settings import SandboxdSettings

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def supervise(
    child: Callable[[socket.socket], int],
    *,
    settings: SandboxdSettings,
    meanwhile: Callable[[], None] = lambda: None,
    of_server: Sequence[socket.socket] = (),
) -> NoReturn:
    """Run `child` as the server, and turn this process into its sandboxd for good.

    sandboxd is executed anew, so nothing that this process knew, such as credentials, is left in its memory. Its exit
    status is that of the server, once all is cleaned up.

    The server gets SIGTERM, SIGINT and SIGHUP exactly once each time they arrive here; it stands in a process group of
    its own, so that Ctrl-C in a terminal is not doubled. It decides what a first and a second one mean. When it ends,
    every instance ends. When this process dies, the server gets SIGTERM and the instances die.

    Args:
        child: is given the socket for `IsolatedDriver` and returns an exit status.
        settings: what may be done for the server.
        meanwhile: is called here, beside the running child, before this process forgets everything.
        of_server: sockets that are the server's alone; this process closes its copies. A listener that stayed open
            here would take connections that nobody answers.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Blocked until sandboxd can forward them: one that comes now must not end it before the server.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    pid = os.fork()
    if pid == 0:
        ours.close()
        os._exit(_be_server(child, theirs))
    for unwanted in (theirs, *of_server):
        unwanted.close()
    try:
        meanwhile()
    finally:
        ours.set_inheritable(True)
        command = [sys.executable, "-I", "-m", __package__ or "", str(ours.fileno()), settings.to_json(), str(pid)]
        os.execve(sys.executable, command, {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"})  # noqa: S606


def serve_and_wait(control: socket.socket, settings: SandboxdSettings, pid: int) -> int:
    """Be the sandboxd of the server with this pid, which is our child; return its exit status."""
    pidfd = os.pidfd_open(pid)
    with signals_as_data() as signal_fd:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        try:
            serve(control, settings, watches=[(signal_fd, _forward(signal_fd, pidfd)), (pidfd, lambda: True)])
            return _wait(pidfd, signal_fd)
        finally:
            os.close(pidfd)


def stop_on_signal(signal_fd: int) -> Watch:
    """Return a watch that ends sandboxd at the first signal."""
    return (signal_fd, lambda: bool(os.read(signal_fd, 16)))


def _forward(signal_fd: int, pidfd: int) -> Callable[[], bool]:
    def forward() -> bool:
        for number in os.read(signal_fd, 16):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
        return False

    return forward


def _wait(pidfd: int, signal_fd: int) -> int:
    """Wait for a server that hung up, still passing signals on."""
    forward = _forward(signal_fd, pidfd)
    while pidfd not in (ready := select.select([pidfd, signal_fd], [], [])[0]):
        if signal_fd in ready:
            forward()
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    if result is None:
        return 1
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def _be_server(child: Callable[[socket.socket], int], control: socket.socket) -> int:
    try:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        if native.is_available():
            # A change of user forgets it: a `child` that changes its user must ask again.
            native.helper().set_parent_death_signal(signal.SIGTERM)
        return child(control)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  # the bottom of a process: nobody else would show it
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


@contextlib.contextmanager
def signals_as_data() -> Iterator[int]:
    """Yield a descriptor from which the numbers of arriving signals can be read."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = {number: signal.signal(number, lambda *_: None) for number in FORWARDED}
    previous_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    try:
        yield read_fd
    finally:
        signal.set_wakeup_fd(previous_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_fd)
        os.close(write_fd)
