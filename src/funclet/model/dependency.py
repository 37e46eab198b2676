"""Dependencies: archives that are put beside the code of functions, in versions that are counted from 1."""

import re
from dataclasses import dataclass

from funclet.model.errors import ModelError
from funclet.model.function import MAX_DESCRIPTION_LENGTH

DEPENDENCY_TYPES = ("zip", "obs")
MAX_NAME_LENGTH = 96

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9])?")
# These start whatever their code holds, so a dependency of any language may be meant for it.
_OPEN_RUNTIMES = ("Custom", "http", "Custom Image")


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyVersion:
    """One version of a dependency; name, runtime and visibility are those of the dependency."""

    version_id: str
    """By which functions name it."""
    dependency_id: str
    project_id: str
    """Of the owner."""
    name: str
    runtime: str
    is_public: bool = False
    """Whether every project may use it."""
    number: int
    """From 1; a number is never used again."""
    description: str = ""
    digest: str
    """SHA-512 of the archive in hexadecimal; also its name in the blob store."""
    size: int
    """Bytes of the archive."""
    etag: str
    """MD5 of the archive in hexadecimal, which clients compare."""
    link: str = ""
    """Where it was fetched from; empty: it was uploaded."""
    filename: str
    modified_at: float
    """Seconds since the epoch."""

    def is_visible_to(self, project_id: str) -> bool:
        """Tell whether a project may see and use it."""
        return self.is_public or self.project_id == project_id


def check_dependency(name: str, description: str) -> None:
    """Refuse a name or description that no dependency may have.

    Raises:
        ModelError: FSS.1024 or FSS.1019.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            "FSS.1024",
            f"name '{name[:120]}' is invalid: 1 to {MAX_NAME_LENGTH} letters, digits, '_', '.' or '-', "
            "beginning with a letter and ending with a letter or digit.",
        )
    if len(description) > MAX_DESCRIPTION_LENGTH:
        raise ModelError("FSS.1019", f"description is longer than {MAX_DESCRIPTION_LENGTH} characters.")


def fits(dependency_runtime: str, function_runtime: str) -> bool:
    """Tell whether code of one runtime can use a dependency of another: both are of the same language.

    Versions of the language may differ, because much runs on several of them.
    """
    if dependency_runtime in _OPEN_RUNTIMES or function_runtime in _OPEN_RUNTIMES:
        return True
    return _language(dependency_runtime) == _language(function_runtime)


def _language(runtime: str) -> str:
    """Return `Node.js` for `Node.js18.15`, `C#` for `C#(.NET Core 6.0)`."""
    return re.split(r"[0-9(]", runtime, maxsplit=1)[0]
