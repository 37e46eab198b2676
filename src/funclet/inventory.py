"""Reads the file in which the operator says what functions may mount and which networks they have: `load`."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeVar

import msgspec

from funclet.model.inventory import ANY_PROJECT, MOUNT_TYPES, Inventory, Share, Vpc

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_PROJECT = re.compile(r"[0-9a-f]{32}")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?")
_EXPORT_PATH = re.compile(r"[^\x00-\x20\x7f,\\:]{0,1024}")
NFS_VERSIONS = ("3", "4.0", "4.1", "4.2")
_TRIED_VERSIONS = ("4.2", "4.1", "4.0")
"""Where the operator names none. Version 3 is only for those who ask for it: it has no locks."""
MAX_FILE_BYTES = 1 << 20
MAX_NAMES = 256
"""Names in all zones of one VPC."""
_SYSTEM_FOLDERS = ("bin", "boot", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "usr")
_TOO_WIDE = frozenset({Path("/"), *(Path("/", name) for name in _SYSTEM_FOLDERS)})


Row = TypeVar("Row", Share, Vpc)


class InventoryError(Exception):
    """The file cannot be used; the message says what is wrong and where."""


class _Row(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: str


class _Share(_Row):
    projects: list[str]
    folder: str = ""
    export: str = ""
    nfs_version: str = ""
    types: list[str] = msgspec.field(default_factory=lambda: list(MOUNT_TYPES))
    read_only: bool = False
    ready: bool = True


class _Subnet(_Row):
    active: bool = True


class _Vpc(_Row):
    subnets: list[_Subnet]
    internet: bool = False
    zones: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    shares: list[_Share] = msgspec.field(default_factory=list)
    vpcs: list[_Vpc] = msgspec.field(default_factory=list)


def load(path: str) -> Inventory:
    """Return what a TOML file says; for an empty path, that nothing is opened. Blocks.

    Raises:
        InventoryError: the file cannot be read, or says what cannot be.
    """
    if not path:
        return Inventory()
    try:
        text = Path(path).read_bytes()
        if len(text) > MAX_FILE_BYTES:
            raise InventoryError(f"The inventory {path} is larger than {MAX_FILE_BYTES} bytes.")
        rows = msgspec.convert(tomllib.loads(text.decode()), _File)
    except (OSError, ValueError) as error:
        raise InventoryError(f"The inventory {path} cannot be read: {error}.") from error
    shares = [_share(row) for row in rows.shares]
    _check_versions(shares)
    vpcs = [_vpc(row) for row in rows.vpcs]
    return Inventory(shares=_by_id("share", shares), vpcs=_by_id("vpc", vpcs))


def _by_id(kind: str, rows: list[Row]) -> Mapping[str, Row]:
    found = {row.id: row for row in rows}
    for row in rows:
        if not _ID.fullmatch(row.id):
            raise InventoryError(f"The {kind} '{row.id[:80]}' of the inventory needs an id of letters and digits.")
    if len(found) < len(rows):
        raise InventoryError(f"The inventory has two {kind}s with one id.")
    return found


def _share(row: _Share) -> Share:
    if bool(row.folder) == bool(row.export):
        raise InventoryError(f"The share '{row.id}' needs either a folder of this host or an export of a file server.")
    source = _export(row) if row.export else _folder(row)
    for project in row.projects:
        if project != ANY_PROJECT and not _PROJECT.fullmatch(project):
            raise InventoryError(f"The share '{row.id}': '{project[:80]}' is no project id; '*' stands for all.")
    if not row.projects or not row.types or not set(row.types) <= set(MOUNT_TYPES):
        raise InventoryError(f"The share '{row.id}' needs projects, and types out of {', '.join(MOUNT_TYPES)}.")
    return Share(
        id=row.id,
        folder=source,
        projects=frozenset(row.projects),
        types=frozenset(row.types),
        read_only=row.read_only,
        is_ready=row.ready,
        is_nfs=bool(row.export) or file_system_of(Path(source)).startswith("nfs"),
        nfs_versions=_versions(row),
    )


def _folder(row: _Share) -> str:
    folder = Path(row.folder)
    if not folder.is_absolute() or not folder.is_dir():
        raise InventoryError(f"The share '{row.id}': '{row.folder[:80]}' is no folder of this host.")
    folder = folder.resolve()
    if folder in _TOO_WIDE:
        raise InventoryError(f"The share '{row.id}': '{folder}' belongs to the system and cannot be shared.")
    return str(folder)


def _export(row: _Share) -> str:
    """Return an export in its shortest form; whether it is there shows when a function needs it."""
    host, _, path = row.export.rpartition(":/")
    is_host = _HOST.fullmatch(host) or (host.startswith("[") and host.endswith("]") and _is_v6(host[1:-1]))
    parts = [part for part in path.split("/") if part]
    if not is_host or not _EXPORT_PATH.fullmatch(path) or {".", ".."} & set(parts):
        raise InventoryError(
            f"The share '{row.id}': '{row.export[:80]}' is no export: HOST:/path, an IPv6 address in brackets, "
            "the path without '..', spaces and commas."
        )
    return "/".join([f"{host}:", *parts])


def _is_v6(text: str) -> bool:
    try:
        return not IPv6Address(text).scope_id
    except AddressValueError:
        return False


def _versions(row: _Share) -> tuple[str, ...]:
    if row.nfs_version and not row.export:
        raise InventoryError(f"The share '{row.id}': nfs_version is for exports; whoever mounted the folder chose one.")
    if row.nfs_version and row.nfs_version not in NFS_VERSIONS:
        raise InventoryError(f"The share '{row.id}': nfs_version is one of {', '.join(NFS_VERSIONS)}.")
    if row.export:
        return (row.nfs_version,) if row.nfs_version else _TRIED_VERSIONS
    return ()


def _check_versions(shares: Sequence[Share]) -> None:
    """Refuse one export with two versions: what is mounted of it would hang on the order of the shares."""
    chosen: dict[str, tuple[str, ...]] = {}
    for share in shares:
        if chosen.setdefault(share.folder, share.nfs_versions) != share.nfs_versions:
            raise InventoryError(
                f"The share '{share.id}': another share has '{share.folder}' with another nfs_version."
            )


def _vpc(row: _Vpc) -> Vpc:
    names = [(host, address) for zone in row.zones.values() for host, address in zone.items()]
    if len(names) > MAX_NAMES:
        raise InventoryError(f"The vpc '{row.id}' has more than {MAX_NAMES} names.")
    for name in (*row.zones, *(host for host, _ in names if host != "@")):
        if not _HOST.fullmatch(name):
            raise InventoryError(f"The vpc '{row.id}': '{name[:80]}' is no host name.")
    for _, address in names:
        try:
            IPv4Address(address)
        except AddressValueError as error:
            raise InventoryError(f"The vpc '{row.id}': '{address[:80]}' is no IPv4 address.") from error
    return Vpc(
        id=row.id,
        subnets={subnet.id: subnet.active for subnet in row.subnets},
        internet=row.internet,
        zones=row.zones,
    )


def file_system_of(folder: Path, *, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of file system that a folder lies on, such as `ext4` or `nfs4`; empty if it is unknown."""
    best, kind = "", ""
    for line in mounts.read_text(errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind
