"""Files that are whole or not there, also after a power cut. Start with `write_whole`."""

import os
from pathlib import Path

from funclet.base.ids import new_hex_id

UNFINISHED = ".new"
"""Suffix of a file that is being written; one that is left over may be deleted."""


def write_whole(path: Path, data: bytes, *, top: Path) -> None:
    """Write a file that appears under its name only once all of it is on the disk; blocks.

    Args:
        path: the file, below `top`; folders that are missing are made. One that is there is replaced.
        data: its content.
        top: the folder up to which new names are made durable as well.

    Raises:
        OSError: the disk fails; nothing has changed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(new_hex_id() + UNFINISHED)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    # The names, too: of the file in its folder, and of the folders, which may be new.
    for folder in path.parents:
        _sync(folder)
        if folder == top:
            break


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
