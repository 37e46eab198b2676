"""What the server may ask of the database about dependencies: a group of `protocol.Tx`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from funclet.model.dependency import DependencyVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyFilter:
    """Which dependencies a list call wants."""

    project_id: str
    has_own: bool = True
    """Whether those of the project are wanted."""
    has_public: bool = True
    """Whether those that are public are wanted, whoever owns them."""
    runtime: str = ""
    """Exact; empty for all."""
    name_part: str = ""
    """Part of the name, case-sensitive; empty for all."""
    offset: int = 0
    limit: int = 400


@dataclass(frozen=True, slots=True)
class DependencyUser:
    """A version of a function that uses a dependency."""

    project_id: str
    package: str
    name: str
    version: str


class Dependencies(Protocol):
    """Dependencies of all projects. One without versions does not exist."""

    def add(self, version: DependencyVersion) -> int:
        """Store a version, with its dependency if that is new, and return its number; `number` is not looked at.

        Raises:
            Duplicate: the project has another dependency of this name.
        """
        ...

    def replace(self, version: DependencyVersion) -> None:
        """Overwrite all but ids and number of a version; name and runtime change for all versions.

        Raises:
            Duplicate: the project has another dependency of this name.
        """
        ...

    def share(self, dependency_id: str, *, is_public: bool) -> None:
        """Show a dependency to all projects, or to its own only."""
        ...

    def get(self, version_id: str) -> DependencyVersion | None:
        """Return one version, whoever owns it."""
        ...

    def get_all(self, version_ids: Sequence[str]) -> Sequence[DependencyVersion]:
        """Return those versions that exist, in no particular order."""
        ...

    def versions(self, dependency_id: str) -> Sequence[DependencyVersion]:
        """Return all versions of a dependency, whoever owns it, the newest first; none if there is none."""
        ...

    def named(self, project_id: str, name: str) -> Sequence[DependencyVersion]:
        """Return all versions of the project's dependency of a name, the newest first."""
        ...

    def find(self, wanted: DependencyFilter) -> tuple[Sequence[DependencyVersion], int]:
        """Return a page of dependencies by their newest versions, newest first, and the count of all matches."""
        ...

    def total_bytes(self, project_id: str) -> int:
        """Return the bytes of all versions of all dependencies that a project owns."""
        ...

    def delete(self, version: DependencyVersion) -> None:
        """Delete a version that no function uses; with the last one the dependency goes."""
        ...

    def users(self, version_id: str) -> Sequence[DependencyUser]:
        """Return which versions of functions, of all projects, use a version."""
        ...
