"""Names of functions for the completion of the shell, kept for half a minute.

`known_names` never fails and never takes long: completion has to be quick.
"""

import contextlib
import json
import os
import time
from pathlib import Path

from funclet.cli import profiles
from funclet.cli.frame import Failure, Flags
from funclet.cli.session import Session
from funclet.client import ClientError

_FRESH_S = 30


def known_names(flags: Flags) -> list[str]:
    """Return the names of the functions of the project; empty when they cannot be had."""
    try:
        flags.given |= {"timeout": "1s", "retries": 0}
        session = Session(flags, os.environ)
        place = f"{session.settings.get('endpoint')} {session.settings.get('project_id')}"
        path = profiles.path_of(os.environ).with_name("names.json")
        cached = _read(path, place)
        if cached is not None:
            return cached
        try:
            names = sorted({str(row.get("func_name")) for row in session.client.list_functions()})
        finally:
            session.close()
    except (Failure, ClientError):
        return []
    _write(path, place, names)
    return names


def _write(path: Path, place: str, names: list[str]) -> None:
    # A folder that cannot be written makes completion slower, nothing worse.
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps({"place": place, "names": names}), encoding="utf-8")


def _read(path: Path, place: str) -> list[str] | None:
    try:
        if time.time() - path.stat().st_mtime > _FRESH_S:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("place") != place:
        return None
    return [str(name) for name in found.get("names", [])]
