"""What the operator of a server has opened to functions: folders of the host to mount, and networks.

`check_mounts` and `check_vpc` hold the settings of a function against it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from funclet.model.errors import ModelError

ANY_PROJECT = "*"
MOUNT_TYPES = ("sfs", "sfsTurbo", "ecs")
MAX_MOUNT_PATH_LENGTH, MAX_MOUNT_LEVELS = 255, 2
_PARENT_FOLDERS = ("home", "media", "mnt", "srv")
"""Folders that a base image has and that hold nothing of its own."""
_SYSTEM_FOLDERS = (
    "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root", "run", "sbin", "sys", "tmp",
    "usr", "var",
)  # fmt: skip
MAX_ZONES = 100
_NEED_AGENCY = ("sfsTurbo", "ecs")
_NFS_TYPE = "ecs"
_REMOTE = re.compile(r"[^/:]+:(?=/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A folder of the host, or an export of a file server, that functions may mount."""

    id: str
    """What `mount_resource` says."""
    folder: str
    """Absolute path on the host, without symbolic links; or `HOST:/path`, what a file server exports."""
    projects: frozenset[str]
    """Those whose functions may mount it; `*` stands for all."""
    types: frozenset[str] = frozenset(MOUNT_TYPES)
    """Values of `mount_type` that it answers to."""
    read_only: bool = False
    is_ready: bool = True
    is_nfs: bool = False
    """Whether the folder lies on a network file system."""
    nfs_versions: tuple[str, ...] = ()
    """Versions of NFS that an export is tried with, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """A private network."""

    id: str
    subnets: Mapping[str, bool]
    """Id to whether it is active."""
    internet: bool = False
    """Whether its functions reach public addresses as well, as with a NAT gateway in the cloud."""
    zones: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Names of its private DNS zones, each with the addresses (IPv4) of its names; `@` is the zone itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that was opened. Without any VPC every VPC of a function stands for private addresses in general."""

    shares: Mapping[str, Share] = field(default_factory=dict)
    vpcs: Mapping[str, Vpc] = field(default_factory=dict)

    def share_of(self, project_id: str, mount: Mapping[str, Any]) -> Share | None:
        """Return what a mount of a project's function means; None if that is not there, or not for this project."""
        share = self.shares.get(mount["mount_resource"])
        if share is None or mount["mount_type"] not in share.types:
            return None
        return share if share.projects & {project_id, ANY_PROJECT} else None


def check_mount_path(path: str) -> str:
    """Return where a mount is seen, in its shortest form.

    Raises:
        ModelError: FSS.1039.
    """
    parts = [part for part in path.split("/") if part]
    is_sound = path.startswith("/") and parts and not {".", ".."} & set(parts)
    if not is_sound or len(path) > MAX_MOUNT_PATH_LENGTH or not path.isprintable() or "\\" in path:
        raise ModelError("FSS.1039", f"local_mount_path '{path[:80]}' is invalid: an absolute path below '/'.")
    is_system = parts[0] in _SYSTEM_FOLDERS or parts[:2] == ["home", "snuser"]
    if is_system or (len(parts) == 1 and parts[0] in _PARENT_FOLDERS):
        raise ModelError(
            "FSS.1039",
            f"failed to mount exist system path: local_mount_path '{path[:80]}' is a part of the system; "
            "choose another one such as /mnt/data.",
        )
    if len(parts) > MAX_MOUNT_LEVELS:
        raise ModelError(
            "FSS.1039", f"local_mount_path '{path[:80]}' has more than {MAX_MOUNT_LEVELS} levels; choose /mnt/data."
        )
    return "/" + "/".join(parts)


def shared_path(mount: Mapping[str, Any]) -> str:
    """Return which part of its share a mount shows, relative and without `HOST:`; empty for all of it."""
    text = _REMOTE.sub("", mount.get("mount_share_path") or "", count=1)
    return "/".join(part for part in text.split("/") if part)


def check_mounts(inventory: Inventory, project_id: str, mounts: list[Mapping[str, Any]], *, has_agency: bool) -> None:
    """Refuse mounts of what is not there, or not for functions of this project.

    Raises:
        ModelError: FSS.1038, FSS.1039, FSS.1040, FSS.1050, FSS.1095 or FSS.1096.
    """
    seen = set()
    for mount in mounts:
        share = inventory.share_of(project_id, mount)
        name, kind, path = mount["mount_resource"][:80], mount["mount_type"], shared_path(mount)
        if share is None:
            raise ModelError("FSS.1050", f"There is no file system '{name}' of type {kind} for functions to mount.")
        if {".", ".."} & set(path.split("/")) or "\x00" in path:
            raise ModelError("FSS.1039", f"mount_share_path '{path[:80]}' is invalid: a path below the file system.")
        if (share.id, path) in seen:
            raise ModelError("FSS.1038", f"The file system '{name}' is mounted twice.")
        seen.add((share.id, path))
        if kind in _NEED_AGENCY and not has_agency:
            raise ModelError("FSS.1040", f"A mount of type {kind} needs an agency: set xrole.")
        if not share.is_ready:
            raise ModelError("FSS.1095", f"The file system '{name}' is not ready.")
        if kind == _NFS_TYPE and not share.is_nfs:
            raise ModelError("FSS.1096", f"The file system '{name}' is no NFS, which type {kind} needs.")


def check_vpc(inventory: Inventory, vpc: Mapping[str, Any]) -> None:
    """Refuse a network that is not there.

    Raises:
        ModelError: FSS.1036, FSS.1037 or FSS.1090.
    """
    if not inventory.vpcs:
        return
    known = inventory.vpcs.get(vpc["vpc_id"])
    if known is None:
        raise ModelError("FSS.1036", f"There is no VPC '{vpc['vpc_id'][:80]}'.")
    subnet_id = vpc["subnet_id"]
    if subnet_id not in known.subnets:
        raise ModelError("FSS.1037", f"The VPC '{known.id}' has no subnet '{subnet_id[:80]}'.")
    if not known.subnets[subnet_id]:
        raise ModelError("FSS.1090", f"The subnet '{subnet_id}' is not active.")
