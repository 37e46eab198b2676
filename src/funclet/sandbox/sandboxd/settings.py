"""What sandboxd is told once, by whoever starts it, and never by the server."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Forkable:
    """A language whose stems may be forks of one process, which runs as root: so the server has no say in it.

    Only a sandbox with exactly this folder, these arguments and these variables is made that way. The texts may hold
    `{code_root}` and `{runtime_root}`.
    """

    folder: Path
    """Language folder; nobody but root may write in it."""
    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRoot:
    """A folder of the host that functions may share; nothing outside such a folder is ever shown to be written."""

    folder: Path
    """Or `HOST:/path`: what a file server exports and is mounted only for those who use it."""
    read_only: bool
    maps_owners: bool = True
    """Whether files are shown as those of the instance's user. False for network file systems, which cannot do that:
    there the instance is, for the file server, the user that it is on the host."""
    name: str = ""
    """What the operator calls it."""
    nfs_versions: tuple[str, ...] = ()
    """Versions of NFS that an export is tried with, in this order."""

    @property
    def is_export(self) -> bool:
        """Whether it must be mounted."""
        return not self.folder.is_absolute()


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxdSettings:
    """Settings of one sandboxd. All folders are absolute and of the host."""

    allowed_folders: Sequence[Path]
    """Code, language folders and extra mounts must lie below one of these."""
    shares: Sequence[ShareRoot] = ()
    """Folders that functions may be given to write in; none unless the operator says so."""
    interpreter_prefixes: Sequence[Path] = ()
    """Installations of interpreters outside `/usr`; each is shown read-only as a whole to the functions that use it."""
    image_folder: Path = Path("/var/tmp")  # noqa: S108  # files there have no name, so nobody can open or replace them
    """On a disk with room for every `/tmp`; only the bytes that are written take space."""
    nameservers: Sequence[str] = ()
    """Addresses for `/etc/resolv.conf` inside; empty: those of the host that are not loopback."""
    nat_network: str = "10.213.0.0/16"
    """Addresses of instances with a network; each server on a host takes a free part of it."""
    first_user_id: int = 210_000
    """Instances get user ids from here on; each sandboxd of a host takes a range of its own."""
    max_instances: int = 4096
    spare_slots: int = 4
    """Prepared `/tmp` and network namespaces."""
    forkable: Sequence[Forkable] = ()
    """Languages that have a zygote."""
    max_stems: int = -1
    """Most stems of one kind; -1: as the memory of the host allows, see `stems.most_stems`."""

    def resolved(self) -> "SandboxdSettings":
        """Return the same with real paths: from then on no symbolic link is followed."""
        forkable = tuple(replace(one, folder=one.folder.resolve()) for one in self.forkable)
        return replace(
            self,
            allowed_folders=tuple(folder.resolve() for folder in self.allowed_folders),
            shares=tuple(
                share if share.is_export else replace(share, folder=share.folder.resolve()) for share in self.shares
            ),
            forkable=forkable,
        )

    def to_json(self) -> str:
        """Return the settings for a command line."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "SandboxdSettings":
        """Read what `to_json` wrote."""
        members = json.loads(text)
        for name in ("allowed_folders", "interpreter_prefixes"):
            members[name] = tuple(Path(path) for path in members[name])
        members["forkable"] = tuple(
            Forkable(folder=Path(one["folder"]), arguments=tuple(one["arguments"]), environment=one["environment"])
            for one in members["forkable"]
        )
        members["shares"] = tuple(
            ShareRoot(**one | {"folder": Path(one["folder"]), "nfs_versions": tuple(one["nfs_versions"])})
            for one in members["shares"]
        )
        members["image_folder"] = Path(members["image_folder"])
        return cls(**members)
