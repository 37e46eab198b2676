"""From root to an ordinary user: who that is, what it can read, and how to become it.

The server's own program may lie in a folder that only root can enter (a
checkout below `/root`). `show_folders` makes such folders, and nothing beside
them, reachable in a mount namespace that only the server sees.
"""

import ctypes
import os
import pwd
import signal
from collections.abc import Sequence
from pathlib import Path

from funclet.store.folder import DataFolderLock

# One of these is in every data folder; a new volume may hold nothing but the last.
_OURS = frozenset({"funclet.db", "lock"})
_NOBODYS = frozenset({"lost+found"})
DEFAULT_ID = 7180
"""User and group of the server when no account is named; it needs no entry in the password file."""

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_RDONLY, _MS_REMOUNT, _MS_MOVE = 4096, 16384, 1 << 18, 1, 32, 8192
_MS_NOSUID, _MS_NODEV = 2, 4
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38


class PrivilegeError(Exception):
    """The server's user cannot be what it should be; the message says what to do."""


def find_user(name: str) -> tuple[int, int]:
    """Return user and group id for the setting `user`: an account, a number, or empty for the default.

    Raises:
        PrivilegeError: there is no such account, or it is root.
    """
    if not name:
        return DEFAULT_ID, DEFAULT_ID
    try:
        account = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        ids = account.pw_uid, account.pw_gid
    except KeyError as error:
        if not name.isdigit():
            raise PrivilegeError(f"There is no account '{name}'; create it or give a number.") from error
        ids = int(name), int(name)
    if ids[0] == 0:
        raise PrivilegeError("The server must not run as root; choose another user.")
    return ids


def give_folder(folder: Path, ids: tuple[int, int]) -> None:
    """Make a folder that belongs to a user; one that belongs to somebody else is given to them with all that is in it.

    A folder that is theirs is left alone: they may have put links there that root must not follow.

    Raises:
        PrivilegeError: it is somebody else's and holds other things than data of a server.
        DataFolderInUse: a live server has it, whoever runs that.
        OSError: it cannot be made or changed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid == ids[0]:
        return
    names = {path.name for path in folder.iterdir()} - _NOBODYS
    if names and not names & _OURS:
        raise PrivilegeError(f"it holds other things, such as {min(names)}, which would be given to uid {ids[0]}.")
    if names:
        # A server that lost its files while it runs could write nothing any more.
        DataFolderLock.take(folder).release()
    for path, _, files in os.walk(folder):
        os.chown(path, *ids, follow_symlinks=False)
        for file in files:
            os.chown(Path(path) / file, *ids, follow_symlinks=False)


def hidden_folders(folders: Sequence[Path], ids: tuple[int, int]) -> Sequence[Path]:
    """Return the parents that keep a user from reaching the folders, each once, outermost only."""
    blocking: list[Path] = []
    for folder in folders:
        for parent in reversed(folder.parents):
            if not _may_enter(parent, ids):
                if parent not in blocking:
                    blocking.append(parent)
                break
    return blocking


def forget_variable(name: str) -> None:
    """Remove a variable from the environment and from what `/proc` shows of it; nothing happens if it is not there."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    address = getenv(name.encode())
    if address:
        # In place: /proc/<pid>/environ shows the memory that the process was started with, used or not.
        ctypes.memset(address, ord("*"), len(os.environb[name.encode()]))
    os.environ.pop(name, None)


def become(
    ids: tuple[int, int], *, read_only: Sequence[Path], writable: Sequence[Path], dies_with_parent: bool
) -> None:
    """Turn this process into the server's user, for good.

    Args:
        ids: user and group.
        read_only: folders that must be readable for the program.
        writable: folders that must be writable; they belong to the user already.
        dies_with_parent: whether it gets SIGTERM when its parent ends; for a server that was forked by its sandboxd.

    Raises:
        PrivilegeError: a folder cannot be made reachable.
    """
    show_folders(read_only, writable, ids)
    os.setgroups([])
    os.setresgid(ids[1], ids[1], ids[1])
    os.setresuid(ids[0], ids[0], ids[0])
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "sure that no program gives it rights")
    if dies_with_parent:
        # The change of user has cleared it: a server that has lost its sandboxd must end.
        end_with_parent()
    for folder in (*read_only, *writable):
        if not os.access(folder, os.R_OK | os.X_OK):
            raise PrivilegeError(
                f"The server's user (uid {ids[0]}) cannot read {folder}. "
                "Install Funclet where every user can read it, or name another user with --user."
            )


def end_with_parent() -> None:
    """Get SIGTERM when the parent of this process ends; a change of user takes it back."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0), "sure to end with its parent")


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends, instead of the host's first process."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "the parent of what its children leave behind")


def show_folders(read_only: Sequence[Path], writable: Sequence[Path], ids: tuple[int, int]) -> None:
    """Make folders below closed parents reachable, in a mount namespace of this process alone.

    Each closed parent is covered by an empty folder that holds nothing but what was asked for.
    """
    folders = [folder for folder in dict.fromkeys((*read_only, *writable)) if folder.exists()]
    covers = hidden_folders(folders, ids)
    if not covers:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "a mount namespace")
    _mount(libc, None, Path("/"), _MS_REC | _MS_PRIVATE)
    for cover in covers:
        inside = [folder for folder in folders if folder.is_relative_to(cover)]
        _cover(libc, cover, inside, writable)


def _cover(libc: ctypes.CDLL, cover: Path, inside: Sequence[Path], writable: Sequence[Path]) -> None:
    # Opened before the cover hides them: a bind mount from the descriptor still finds them.
    descriptors = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in inside}
    _mount(libc, "tmpfs", cover, _MS_NOSUID | _MS_NODEV, kind=b"tmpfs", data=b"mode=755,size=1m")
    for folder, descriptor in sorted(descriptors.items()):
        if not folder.is_dir():
            folder.mkdir(parents=True)
        _mount(libc, f"/proc/self/fd/{descriptor}", folder, _MS_BIND | _MS_REC)
        if folder not in writable:
            _mount(libc, None, folder, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)
        os.close(descriptor)


def _mount(
    libc: ctypes.CDLL, source: str | None, target: Path, flags: int, *, kind: bytes | None = None, data: bytes = b""
) -> None:
    result = libc.mount(source.encode() if source else None, os.fsencode(target), kind, ctypes.c_ulong(flags), data)
    _check(result, f"a mount at {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise PrivilegeError(f"The server could not make {what}: {os.strerror(ctypes.get_errno())}.")


def _may_enter(folder: Path, ids: tuple[int, int]) -> bool:
    status = folder.stat()
    if status.st_uid == ids[0]:
        return bool(status.st_mode & 0o100)
    if status.st_gid == ids[1]:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)
