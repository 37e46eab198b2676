"""The process that opens what one file server shares: `python -I -m funclet.sandbox.sandboxd.mounter FD SETTINGS`.

FD is the number of an inherited `SOCK_SEQPACKET` socket to sandboxd, SETTINGS the JSON of `Settings`. Each request
`Ask` is answered by a descriptor, or by `Answer` with a reason for people. An export is mounted in a mount namespace
that only this process has, and taken away again once the part that was asked for is open: it lasts as long as the
instances that are shown it. Anything here may wait for the file server for ever; sandboxd then kills the process.
"""

import errno
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from funclet.sandbox import native
from funclet.sandbox.sandboxd.messages import receive, send
from funclet.sandbox.sandboxd.shares import attributes_of, reason_of

_PORT = 2049
_KIND = "nfs"
_KINDS = Path("/proc/filesystems")
_MAX_ADDRESSES = 4
_KNOCK_S = 3.0
_PORTMAPPED = "3"
"""The version whose port another server names."""
# A file server that hangs fails what a function does with it after some 15 s, and is asked again by the next one.
_COMMON = "sec=sys,softerr,timeo=50,retrans=2"
_WRONG_VERSION = (errno.EPROTONOSUPPORT, errno.EINVAL)
NO_NFS = "this kernel cannot mount NFS: load the module nfs (modprobe nfs)"
_REASONS = {
    errno.ENOENT: "the file server has no such export: correct it in the inventory, or export it",
    errno.EACCES: "the file server does not export it to this host: change its exports, or the inventory",
    errno.EPERM: "the file server does not export it to this host: change its exports, or the inventory",
    errno.ECONNREFUSED: "no NFS server answers there: start it, or correct the host in the inventory",
    errno.ETIMEDOUT: "the file server does not answer: see whether it runs and can be reached",
    errno.EHOSTUNREACH: "the file server cannot be reached: see whether it runs, and the network",
    errno.ENETUNREACH: "the file server cannot be reached: see whether it runs, and the network",
    errno.EPROTONOSUPPORT: "the file server, or this kernel, does not speak the version: set another nfs_version",
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a mounter opens: one share."""

    source: str
    """An absolute path on the host, or `HOST:/path`."""
    read_only: bool
    nfs_versions: tuple[str, ...]
    folder: str
    """An empty folder of root's to mount upon; nobody else sees what is mounted there."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Open a part of the share."""

    below: str
    """Relative path; empty for all of it."""
    read_only: bool


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it; if there is no reason against it, a descriptor of a detached mount comes beside it."""

    reason: str = ""


class NotMounted(Exception):
    """The file server has said no; the message is for people."""


def main(arguments: Sequence[str]) -> None:
    """Answer requests until sandboxd hangs up."""
    connection = socket.socket(fileno=int(arguments[0]))
    settings = msgspec.json.decode(arguments[1], type=Settings)
    # When sandboxd is gone a wait for a file server ends too.
    native.helper().set_parent_death_signal(signal.SIGKILL)
    native.helper().unshare(native.CLONE_NEWNS)
    while packet := receive(connection)[0]:
        _answer(connection, settings, msgspec.json.decode(packet, type=Ask))


def _answer(connection: socket.socket, settings: Settings, ask: Ask) -> None:
    try:
        fd = _open(settings, ask)
    except NotMounted as error:
        send(connection, msgspec.json.encode(Answer(reason=str(error))))
    except OSError as error:
        send(connection, msgspec.json.encode(Answer(reason=reason_of(error))))
    else:
        send(connection, msgspec.json.encode(Answer()), [fd])
        os.close(fd)


def _open(settings: Settings, ask: Ask) -> int:
    attributes = attributes_of(read_only=ask.read_only)
    if settings.source.startswith("/"):
        return native.helper().clone_tree(_joined(settings.source, ask.below), attributes, True)  # as C has it
    _mount(settings)
    try:
        return native.helper().clone_tree(_joined(settings.folder, ask.below), attributes, True)  # as above
    finally:
        native.helper().unmount(settings.folder)


def _joined(folder: str, below: str) -> str:
    return f"{folder}/{below}" if below else folder


def _mount(settings: Settings) -> None:
    """Mount the export, with the first address and version that work.

    Raises:
        NotMounted: none of them does.
    """
    if not has_nfs():
        raise NotMounted(NO_NFS)
    host, _, path = settings.source.rpartition(":")
    flags = native.MS_NOSUID | native.MS_NODEV | (native.MS_RDONLY if settings.read_only else 0)
    problem = OSError(errno.EHOSTUNREACH, "")
    for family, address in _addresses(host):
        for version in settings.nfs_versions:
            options = mount_options(version, address, is_v6=family == socket.AF_INET6)
            try:
                _knock(address, version)
                native.helper().mount(_KIND, f"{host}:{path or '/'}", settings.folder, flags, options)
            except OSError as error:
                problem = error
                if error.errno not in _WRONG_VERSION:
                    break
            else:
                return
    number = problem.errno or errno.ETIMEDOUT
    raise NotMounted(_REASONS.get(number, f"the export cannot be mounted: {os.strerror(number)}"))


def has_nfs() -> bool:
    """Tell whether the kernel has NFS; as root, after it has looked for its module."""
    if _KIND in _KINDS.read_text().split():
        return True
    try:
        # Nothing is mounted without options: a kernel that has it says so in another way.
        native.helper().mount(_KIND, "", "/", 0, "")
    except OSError as error:
        return error.errno not in (errno.ENODEV, errno.EPERM)
    return True


def _knock(address: str, version: str) -> None:
    """Raise what a connection ends with: a mount of a file server that has been used before would wait instead."""
    if version != _PORTMAPPED:
        socket.create_connection((address, _PORT), timeout=_KNOCK_S).close()


def _addresses(host: str) -> Sequence[tuple[int, str]]:
    """Return families and addresses of a host.

    Raises:
        NotMounted: it has none.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), _PORT, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotMounted(f"the name of the file server cannot be resolved: {error.strerror}") from error
    return [(int(family), str(address[0])) for family, _, _, _, address in found[:_MAX_ADDRESSES]]


def mount_options(version: str, address: str, *, is_v6: bool) -> str:
    """Return the options of mount(2) for NFS; nothing of them is ever an operator's text."""
    protocol = "tcp6" if is_v6 else "tcp"
    options = f"vers={version},addr={address},proto={protocol},{_COMMON}"
    # Locks of version 3 need daemons on this host and are no locks between hosts without them.
    return f"{options},nolock,mountproto={protocol}" if version == _PORTMAPPED else options


if __name__ == "__main__":
    main(sys.argv[1:])
