"""Profiles: where servers are and who the user is there, in `~/.fgs/config.toml`.

`load` reads them, `save` writes them so that only the user can read the file.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from funclet.cli.frame import Failure

KEYS = ("endpoint", "region", "project_id", "ak", "sk", "security_token", "token", "ca", "insecure", "proxy")
SECRET_KEYS = frozenset({"sk", "security_token", "token"})
DEFAULT = "default"
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """All profiles of the user."""

    current: str = DEFAULT
    """The one that is used when no other is named."""
    table: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def with_values(self, name: str, values: Mapping[str, str]) -> "Profiles":
        """Return the same profiles with some values of one changed; an empty value removes its key."""
        merged = {key: value for key, value in {**self.table.get(name, {}), **values}.items() if value}
        return Profiles(current=self.current, table={**self.table, name: merged})


def path_of(environ: Mapping[str, str]) -> Path:
    """Return the profile file of the user."""
    return Path(environ.get("HOME") or Path.home()) / ".fgs" / "config.toml"


def load(path: Path) -> Profiles:
    """Read the profile file; no file means no profiles.

    Raises:
        Failure: others may read its secrets, or it is not what it should be.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_BYTES)
        found = tomllib.loads(text.decode())
    except FileNotFoundError:
        return Profiles()
    except OSError as error:
        raise Failure(f"The profile file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Failure(f"The profile file {path} is not TOML: {error}", hint=f"Correct it, or remove {path}.") from error
    table = found.get("profiles", {})
    if not isinstance(table, dict) or not all(isinstance(profile, dict) for profile in table.values()):
        raise Failure(f"The profile file {path} is damaged: 'profiles' must be a table of tables.")
    profiles = Profiles(
        current=str(found.get("current", DEFAULT)),
        table={name: {key: _text(value) for key, value in profile.items()} for name, profile in table.items()},
    )
    has_secret = any(profile.get(key) for profile in profiles.table.values() for key in SECRET_KEYS)
    if has_secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Failure(f"Others may read the secrets in {path}.", hint=f"chmod 600 {path}")
    return profiles


def save(path: Path, profiles: Profiles) -> None:
    """Write the profile file, whole or not at all, readable by the user only."""
    lines = ["# Profiles of fgs; see 'fgs configure'.", f"current = {_quoted(profiles.current)}"]
    for name, values in profiles.table.items():
        lines += ["", f"[profiles.{_quoted(name)}]", *(f"{key} = {_quoted(value)}" for key, value in values.items())]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    partial.replace(path)


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values with secrets replaced by stars."""
    return {key: "********" if key in SECRET_KEYS and value else value for key, value in values.items()}


def _text(value: object) -> str:
    return ("true" if value else "") if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    """Return a basic TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
