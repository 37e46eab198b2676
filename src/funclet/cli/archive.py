"""The code package of a function: a zip archive that is the same for the same files.

`pack` builds it; `Ignore` knows the patterns of `.fgsignore`.
"""

import re
import stat
import zipfile
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath

from funclet.cli.frame import ExitCode, Failure

IGNORE_FILE = ".fgsignore"
ALWAYS_IGNORED = (".git/", "__pycache__/", ".fgs/", "*.pyc", ".DS_Store", IGNORE_FILE)
MAX_ARCHIVE_BYTES = 50 * 1024 * 1024
MAX_DEPENDENCY_BYTES = 40 * 1024 * 1024
MAX_LINKED_BYTES = 300 * 1024 * 1024
MAX_UNPACKED_BYTES = 1500 * 1024 * 1024
MAX_FILES = 30_000
# The earliest time that a zip archive can hold.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Ignore:
    """Patterns as in .gitignore: `*`, `**`, `dir/`, `/anchored`, `!exception`; the last match counts."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules = []
        for line in lines:
            pattern = line.strip()
            if pattern and not pattern.startswith("#"):
                self._rules.append((_compile(pattern.removeprefix("!")), not pattern.startswith("!")))

    def covers(self, path: str, *, is_folder: bool) -> bool:
        """Return whether a path, relative and with slashes, is left out."""
        text = f"{path}/" if is_folder else path
        verdict = False
        for expression, ignores in self._rules:
            if expression.fullmatch(text):
                verdict = ignores
        return verdict


def pack(code: Path, *, max_bytes: int = MAX_ARCHIVE_BYTES) -> bytes:
    """Return the code package of a folder, or the archive itself if `code` is one.

    Args:
        code: the folder or archive.
        max_bytes: that the server takes in the way that the package is sent.

    Raises:
        Failure: there is no code, or it is more than the server takes (exit code 13).
    """
    try:
        if code.is_file() and code.suffix in (".zip", ".jar"):
            data = _read_archive(code, max_bytes)
        elif code.is_dir():
            data = _pack_folder(code)
        else:
            raise _failure(f"There is no code at {code}.", hint="Code is a folder or a zip archive.")
    except OSError as error:
        raise _failure(f"{error.filename or code} cannot be read: {error.strerror}.") from error
    if len(data) > max_bytes:
        raise _too_large(code, len(data), max_bytes)
    return data


def files_of(folder: Path) -> list[Path]:
    """Return the files that belong into the package of a folder, sorted.

    Raises:
        Failure: there are too many, or a link leads out of the folder.
    """
    ignore = Ignore([*ALWAYS_IGNORED, *_ignored_by(folder)])
    found: list[Path] = []
    folders = [folder]
    while folders:
        for path in folders.pop().iterdir():
            is_folder = path.is_dir() and not path.is_symlink()
            if ignore.covers(path.relative_to(folder).as_posix(), is_folder=is_folder):
                continue
            if is_folder:
                folders.append(path)
            elif _is_inside(path, folder):
                found.append(path)
        if len(found) > MAX_FILES:
            raise _failure(f"{folder} has more than {MAX_FILES} files.", hint=f"Leave some out in {IGNORE_FILE}.")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _ignored_by(folder: Path) -> Sequence[str]:
    path = folder / IGNORE_FILE
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except ValueError as error:
        raise _failure(f"{path} is not text in UTF-8.") from error


def _is_inside(path: Path, folder: Path) -> bool:
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise _failure(f"The link {path} leads out of {folder}.", hint=f"Copy the file, or name it in {IGNORE_FILE}.")
    if path.is_symlink() and path.is_dir():
        raise _failure(f"{path} links to a folder, which a package cannot hold.", hint="Copy the folder instead.")
    return path.is_file()


def _read_archive(path: Path, max_bytes: int) -> bytes:
    size = path.stat().st_size
    if size > max_bytes:
        raise _too_large(path, size, max_bytes)
    data = path.read_bytes()
    if not zipfile.is_zipfile(BytesIO(data)):
        raise _failure(f"{path} is not a zip archive.")
    return data


def _pack_folder(folder: Path) -> bytes:
    paths = files_of(folder)
    if not paths:
        raise _failure(f"There are no files in {folder}.", hint=f"Check the path and {IGNORE_FILE}.")
    target = BytesIO()
    left = MAX_UNPACKED_BYTES
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in paths:
            data = path.read_bytes()
            left -= len(data)
            if left < 0:
                raise _failure(f"The files of {folder} have more than {MAX_UNPACKED_BYTES} bytes.")
            entry = zipfile.ZipInfo(str(PurePosixPath(path.relative_to(folder).as_posix())), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            is_executable = path.stat().st_mode & stat.S_IXUSR
            entry.external_attr = (stat.S_IFREG | (0o755 if is_executable else 0o644)) << 16
            archive.writestr(entry, data)
    return target.getvalue()


def _compile(pattern: str) -> re.Pattern[str]:
    """Translate a pattern; folders are matched with a slash behind them."""
    only_folder = pattern.endswith("/")
    body = pattern.strip("/")
    is_anchored = pattern.startswith("/") or "/" in body
    text = ""
    for part in re.split(r"(\*\*/|/\*\*$|\*|\?)", body):
        translated = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
        text += translated.get(part, re.escape(part))
    return re.compile(("" if is_anchored else "(?:.*/)?") + text + ("/" if only_folder else "/?"))


def _too_large(code: Path, size: int, max_bytes: int) -> Failure:
    return _failure(
        f"The package of {code} has {size / 1024 / 1024:.1f} MB; {max_bytes // 1024 // 1024} MB can be uploaded.",
        hint=f"Leave out what the function does not need, in {IGNORE_FILE}.",
    )


def _failure(message: str, *, hint: str = "") -> Failure:
    return Failure(message, exit_code=ExitCode.PACKAGING, hint=hint)
