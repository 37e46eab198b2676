"""The rules for code packages, on bytes: what a ZIP archive may hold, and how a single file becomes one.

`inspect` reads only the headers of an archive and returns a `Listing` by which
it can be unpacked safely; `verify` also reads the content. `wrap` makes an
archive of one file.
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from funclet.model.errors import ModelError

MIB = 1024 * 1024
MAX_ENTRIES = 30_000
MAX_UNPACKED_BYTES = 1500 * MIB
# An archive may grow to this size whatever its ratio is; beyond it, at most by the factor that follows.
UNSUSPICIOUS_BYTES = 10 * MIB
MAX_RATIO = 200
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1024
MAX_DEPTH = 100

READ_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    OSError,
)
"""What the zip reader raises on hostile bytes."""
REFUSED = "The code package is not accepted: "
"""How the message of each refusal begins."""

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_END, _END_SIZE = b"PK\x05\x06", 22
_LOCATOR64, _LOCATOR64_SIZE = b"PK\x06\x07", 20
_END64, _END64_SIZE = b"PK\x06\x06", 56
_ENTRY, _ENTRY_SIZE = b"PK\x01\x02", 46
_LOCAL, _LOCAL_SIZE = b"PK\x03\x04", 30
_MAX_COMMENT = 65_536
_ENCRYPTED, _UTF8 = 0x1, 0x800
_MADE_ON_UNIX = 3
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 256 * 1024
_DRIVE = re.compile(r"[A-Za-z]:")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, directory or link of an archive."""

    path: str
    """Relative, with `/`, without `.`, `..` or empty parts."""
    member: int
    """Position in `ZipFile.infolist()`, to read the content by."""
    mode: int
    """Permission bits to give it: directories 0755, files at least 0644; never set-user-id."""
    size: int = 0
    """Bytes when unpacked."""
    is_directory: bool = False
    link_target: str = ""
    """For a symbolic link: a relative path that stays inside the root, whatever the other entries are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What an archive that passed `inspect` holds. No path appears twice; no file is the parent of another."""

    entries: Sequence[Entry]
    unpacked_bytes: int


def is_zip(data: bytes) -> bool:
    """Tell whether `data` begins like a ZIP archive; what follows may still be damaged."""
    return data.startswith(_MAGIC)


def wrap(filename: str, content: bytes, *, is_executable: bool = False) -> bytes:
    """Return an archive that holds one file. Equal arguments give equal bytes."""
    info = zipfile.ZipInfo(filename, _EPOCH)
    info.create_system = _MADE_ON_UNIX
    info.external_attr = (stat.S_IFREG | (0o755 if is_executable else 0o644)) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(info, content)
    return target.getvalue()


def inspect(data: bytes) -> Listing:
    """Read the headers of an archive and refuse what must not be unpacked.

    The sizes are those that the archive claims; whoever unpacks it must not write more than that.

    Raises:
        ModelError: FSS.1011, naming the entry and the rule.
    """
    _refuse_many_entries(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_sizes(infos, len(data))
            _check_headers(infos, data, archive.start_dir)
            entries = tuple(_read_entries(archive, infos))
    except READ_ERRORS as error:
        raise _refused(f"it cannot be read as a ZIP archive: {error}") from error
    _check_conflicts(entries)
    return Listing(
        entries=tuple(_without_repeats(entries)),
        unpacked_bytes=sum(entry.size for entry in entries),
    )


def folder_around(listing: Listing, wanted: str) -> str:
    """Return the folder at the top that holds the file `wanted` while the top itself does not; empty if none does.

    It is the mark of an archive that was made of a folder instead of what is in it.
    """
    paths = {entry.path for entry in listing.entries if not entry.is_directory}
    if wanted in paths:
        return ""
    tops = {path.partition("/")[0] for path in paths}
    return next((top for top in sorted(tops) if f"{top}/{wanted}" in paths), "")


def verify(data: bytes, listing: Listing) -> None:
    """Read the content of every file of an archive that passed `inspect`, so that damage is found at the upload.

    Raises:
        ModelError: FSS.1011, naming the entry.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        for entry in listing.entries:
            try:
                with archive.open(infos[entry.member]) as file:
                    while file.read(_CHUNK):
                        pass
            except READ_ERRORS as error:
                raise _refused(f"entry '{_shown(entry.path)}' is damaged: {error}") from error


def _refused(reason: str) -> ModelError:
    return ModelError("FSS.1011", f"{REFUSED}{reason}.")


def _shown(name: str) -> str:
    return name[:120].encode("utf-8", "backslashreplace").decode()


def _refuse_many_entries(data: bytes) -> None:
    """Count the entries before the zip reader builds an object for each: a small archive can name a million.

    Finds the directory by the same steps as the zip reader, so that both see the same one.
    """
    end = _find_end(data)
    if end < 0:
        raise _refused("it is not a ZIP archive")
    (size,) = struct.unpack_from("<L", data, end + 12)
    start = end - size
    if data[max(0, end - _LOCATOR64_SIZE) : end].startswith(_LOCATOR64):
        record = end - _LOCATOR64_SIZE - _END64_SIZE
        if record >= 0 and data.startswith(_END64, record):
            (size,) = struct.unpack_from("<Q", data, record + 40)
            start = record - size
    if start < 0:
        raise _refused("its directory is damaged")
    count, at = 0, start
    while at < start + size and data.startswith(_ENTRY, at) and at + _ENTRY_SIZE <= len(data):
        name, extra, comment = struct.unpack_from("<HHH", data, at + 28)
        at += _ENTRY_SIZE + name + extra + comment
        count += 1
        if count > MAX_ENTRIES:
            raise _refused(f"it holds more than {MAX_ENTRIES} entries")


def _find_end(data: bytes) -> int:
    plain = len(data) - _END_SIZE
    if plain >= 0 and data.startswith(_END, plain) and data.endswith(b"\x00\x00"):
        return plain
    at = data.rfind(_END, max(0, len(data) - _MAX_COMMENT - _END_SIZE))
    return at if at + _END_SIZE <= len(data) else -1


def _check_sizes(infos: Sequence[zipfile.ZipInfo], packed_bytes: int) -> None:
    if not infos:
        raise _refused("it is empty")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > MAX_UNPACKED_BYTES:
        raise _refused(f"unpacked it has more than {MAX_UNPACKED_BYTES // MIB} MB")
    if unpacked > UNSUSPICIOUS_BYTES and unpacked > MAX_RATIO * packed_bytes:
        raise _refused(f"it grows to more than {MAX_RATIO} times its size")


def _check_headers(infos: Sequence[zipfile.ZipInfo], data: bytes, start_of_directory: int) -> None:
    """Refuse entries that overlap, or whose two headers name different files: readers would not agree on them."""
    end_of_last = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        at = info.header_offset
        if at < end_of_last or not data.startswith(_LOCAL, at) or at + _LOCAL_SIZE > start_of_directory:
            raise _refused(f"entry '{_shown(info.filename)}' overlaps another one or lies outside the archive")
        flags, method = struct.unpack_from("<HH", data, at + 6)
        name_length, extra_length = struct.unpack_from("<HH", data, at + 26)
        content = at + _LOCAL_SIZE + name_length + extra_length
        name = data[at + _LOCAL_SIZE : at + _LOCAL_SIZE + name_length]
        if name.decode("utf-8" if flags & _UTF8 else "cp437") != info.orig_filename:
            raise _refused(f"entry '{_shown(info.filename)}' has two names")
        if (flags | info.flag_bits) & _ENCRYPTED:
            raise _refused(f"entry '{_shown(info.filename)}' is encrypted")
        if method != info.compress_type or method not in _METHODS:
            raise _refused(f"entry '{_shown(info.filename)}' is packed by a method other than 'deflate'")
        end_of_last = content + info.compress_size
        if end_of_last > start_of_directory:
            raise _refused(f"entry '{_shown(info.filename)}' lies outside the archive")


def _read_entries(archive: zipfile.ZipFile, infos: Iterable[zipfile.ZipInfo]) -> Iterator[Entry]:
    for member, info in enumerate(infos):
        name = _decoded_name(info)
        path = _checked_path(name)
        mode = info.external_attr >> 16 if info.create_system == _MADE_ON_UNIX else 0
        kind = stat.S_IFMT(mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise _refused(f"entry '{_shown(name)}' is neither a file nor a directory nor a link")
        if name.endswith("/") or kind == stat.S_IFDIR:
            if path:  # "./" is the root itself
                yield Entry(path=path, member=member, mode=0o755, is_directory=True)
        elif not path:
            raise _refused(f"entry '{_shown(name)}' has no name")
        elif kind == stat.S_IFLNK:
            target = _read_link(archive, info, path)
            yield Entry(path=path, member=member, mode=0o777, size=info.file_size, link_target=target)
        else:
            yield Entry(path=path, member=member, mode=mode & 0o777 | 0o644, size=info.file_size)


def _decoded_name(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry; without the mark for UTF-8 it is often UTF-8 all the same."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeDecodeError:
        return info.orig_filename


def _checked_path(name: str) -> str:
    shown = _shown(name)
    if "\x00" in name or "\\" in name:
        raise _refused(f"the name of entry '{shown}' contains a backslash or a NUL character")
    if name.startswith("/") or _DRIVE.match(name):
        raise _refused(f"the name of entry '{shown}' is absolute")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _refused(f"the name of entry '{shown}' contains '..'")
    if parts and parts[-1].endswith("~"):
        raise _refused(f"the name of entry '{shown}' ends in '~'")
    path = "/".join(parts)
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts) or len(path.encode()) > MAX_PATH_BYTES:
        raise _refused(
            f"the name of entry '{shown}' is longer than {MAX_NAME_BYTES} bytes in a part or {MAX_PATH_BYTES} in all"
        )
    if len(parts) > MAX_DEPTH:
        raise _refused(f"entry '{shown}' is nested deeper than {MAX_DEPTH} directories")
    return path


def _read_link(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> str:
    """Return where a link points to; it must stay inside the root.

    `..` is allowed at the beginning only: behind the name of another link it would lead elsewhere than it seems.
    The parents of a link are real directories (`_check_conflicts`), so counting those is enough.
    """
    if not 1 <= info.file_size <= MAX_PATH_BYTES:
        raise _refused(f"link '{_shown(path)}' has a target of {info.file_size} bytes")
    target = archive.read(info).decode("utf-8")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    outside = target.startswith("/") or climbs > path.count("/") or ".." in parts[climbs:]
    if outside or "\x00" in target or "\\" in target:
        raise _refused(f"link '{_shown(path)}' leads out of the package: '{_shown(target)}'")
    return target


def _check_conflicts(entries: Iterable[Entry]) -> None:
    """Refuse a path that appears twice, or that is a file and a directory at once."""
    files: set[str] = set()
    directories: set[str] = set()
    parents: set[str] = set()
    for entry in entries:
        if entry.is_directory:
            directories.add(entry.path)
        elif entry.path in files:
            raise _refused(f"entry '{_shown(entry.path)}' appears twice")
        else:
            files.add(entry.path)
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in parents:
            parents.add(parent)
            parent = parent.rpartition("/")[0]
    both = files & (directories | parents)
    if both:
        raise _refused(f"entry '{_shown(min(both))}' is both a file and a directory")


def _without_repeats(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Drop directories that are named again, as some packers do."""
    seen: set[str] = set()
    for entry in entries:
        if entry.path not in seen:
            seen.add(entry.path)
            yield entry
