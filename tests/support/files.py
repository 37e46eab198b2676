"""What lies in folders that a running server goes on with."""

import contextlib
import os
from pathlib import Path


def files_with(folder, *needles):
    """Return the files below a folder that hold one of some bytes; those that go meanwhile are left out."""
    found = []
    for parent, _, names in os.walk(folder):
        # Without sockets.
        for path in (Path(parent, name) for name in names if Path(parent, name).is_file()):
            with contextlib.suppress(FileNotFoundError):
                content = path.read_bytes()
                found += [path] if any(needle in content for needle in needles) else []
    return found
