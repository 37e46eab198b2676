"""What is shown to one instance and not to others: folders that functions share, and names of its network.

Start with `check`, then `open_own`. A shared folder is shown as a mount of its own without devices and set-user-id
programs, on which the instance's user stands for the owner that the function's settings name.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from funclet.sandbox import native
from funclet.sandbox.protocol import MountFailed, SandboxError
from funclet.sandbox.sandboxd.messages import Create, Share
from funclet.sandbox.sandboxd.settings import SandboxdSettings, ShareRoot

_SHOWN_AT = "/etc/hosts"
_LOCAL_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_OPEN_PARENTS = ("mnt", "home", "media", "srv")
"""First-level folders that may be in a base image and below which there is room for others."""
_SYSTEM = frozenset(
    "bin boot dev etc lib lib32 lib64 libx32 opt proc root run sbin sys tmp usr var".split()  # noqa: SIM905
)
_OWN_HOME = "/home/snuser"
_MOST_LEVELS = 2
_REASONS = {
    errno.ENOENT: "the folder does not exist",
    errno.ENOTDIR: "what is shared there is no folder",
    errno.ELOOP: "the shared path leads over a symbolic link",
    errno.EINVAL: "the file system of the folder cannot show files as those of another user",
    errno.EOPNOTSUPP: "the file system of the folder cannot show files as those of another user",
}


@dataclass(frozen=True, slots=True)
class Own:
    """A detached mount and where the instance sees it."""

    fd: int
    target: str
    is_folder: bool


def check(spec: Create, settings: SandboxdSettings) -> None:
    """Refuse folders that the operator has not opened, and places where the system is.

    Raises:
        MountFailed: the place is named.
    """
    for share in spec.shares:
        root = _root_of(share, settings)
        if root is None:
            raise MountFailed(f"'{share.target}': the operator has not opened the folder to functions")
        if not is_free(share.target):
            raise MountFailed(f"'{share.target}': failed to mount exist system path")


def remote_of(spec: Create, settings: SandboxdSettings) -> Mapping[Share, ShareRoot]:
    """Return what of a checked request lies on file servers; see `remote` for how that is opened."""
    roots = {share: _root_of(share, settings) for share in spec.shares}
    return {share: root for share, root in roots.items() if root is not None and not root.maps_owners}


def _root_of(share: Share, settings: SandboxdSettings) -> ShareRoot | None:
    """Return the innermost opened folder that holds what is shared, with its own rule for writing."""
    source = share.source
    if os.path.normpath(source) != source:
        return None
    roots = [root for root in settings.shares if source == str(root.folder) or source.startswith(f"{root.folder}/")]
    allowed = [root for root in roots if share.read_only or not root.read_only]
    # Where one opened folder lies in another, the stricter rule holds for what both have.
    if not allowed or len(allowed) < len(roots):
        return None
    return max(allowed, key=lambda root: len(str(root.folder)))


def is_free(target: str) -> bool:
    """Tell whether nothing of the system is at or below a path of an instance."""
    parts = target.split("/")[1:]
    is_plain = target.startswith("/") and os.path.normpath(target) == target and 1 <= len(parts) <= _MOST_LEVELS
    if not is_plain or not parts[0] or parts[0] in _SYSTEM or target.startswith(_OWN_HOME):
        return False
    return len(parts) > 1 or parts[0] not in _OPEN_PARENTS


def open_own(
    spec: Create, trees: Mapping[Share, int], user_id: int, hosts_file: Path, after: ExitStack
) -> Sequence[Own]:
    """Return what only this instance is shown; `after` closes the descriptors.

    Args:
        spec: what was asked for, checked.
        trees: the shares that are open already, and stay the caller's.
        user_id: of the instance on the host; also its group.
        hosts_file: a path of ours for the names, if there are any. The file is the caller's, who deletes it when the
            child has mounted it.
        after: is left when the child has its copies.

    Raises:
        MountFailed: a folder cannot be shown.
        SandboxError: the names cannot be.
    """
    own = []
    for share in spec.shares:
        fd = trees.get(share, -1)
        if fd < 0:
            fd = _open_share(share, user_id)
            after.callback(os.close, fd)
        own.append(Own(fd, share.target, is_folder=True))
    if spec.hosts:
        fd = _open_hosts(spec, hosts_file)
        after.callback(os.close, fd)
        own.append(Own(fd, _SHOWN_AT, is_folder=False))
    return own


def attributes_of(*, read_only: bool) -> int:
    """Return what every mount of a share has."""
    return native.ATTR_NOSUID | native.ATTR_NODEV | (native.ATTR_RDONLY if read_only else 0)


def _open_share(share: Share, user_id: int) -> int:
    attributes = attributes_of(read_only=share.read_only)
    helper = native.helper()
    try:
        owners = helper.owners(f"{share.user_id} {user_id} 1\n", f"{share.group_id} {user_id} 1\n")
        try:
            return helper.clone_tree(share.source, attributes, True, owners)  # as C has it
        finally:
            os.close(owners)
    except OSError as error:
        raise MountFailed(f"'{share.target}': {reason_of(error)}") from error


def reason_of(error: OSError) -> str:
    """Return why a folder cannot be shown, for people."""
    return _REASONS.get(error.errno or 0, os.strerror(error.errno or 0))


def _open_hosts(spec: Create, path: Path) -> int:
    text = _LOCAL_HOSTS + "".join(f"{address} {name}\n" for name, address in spec.hosts.items())
    attributes = native.ATTR_RDONLY | native.ATTR_NOSUID | native.ATTR_NODEV | native.ATTR_NOEXEC
    try:
        path.write_text(text)
        path.chmod(0o644)
        return native.helper().clone_tree(str(path), attributes)
    except OSError as error:
        raise SandboxError(f"The names of the network cannot be shown: {error}.") from error
