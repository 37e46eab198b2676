"""The group of dependencies over named queries, as `sql` has those of `protocol`."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from funclet.model.dependency import DependencyVersion
from funclet.model.function import FunctionVersion
from funclet.store.connection import Session
from funclet.store.dependencies import DependencyFilter, DependencyUser
from funclet.store.protocol import Duplicate


class SqlDependencies:
    """Dependencies of all projects."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, version: DependencyVersion) -> int:
        """Store a version, with its dependency if that is new, and return its number; `number` is not looked at."""
        dependency_id, modified_at = version.dependency_id, version.modified_at
        if self._session.one("last_dependency_number", dependency_id=dependency_id) is None:
            self._run_unique(
                "add_dependency",
                version,
                dependency_id=dependency_id,
                project_id=version.project_id,
                name=version.name,
                runtime=version.runtime,
                modified_at=modified_at,
            )
        number = self._session.number("last_dependency_number", dependency_id=dependency_id) + 1
        self._session.run("count_dependency_up", dependency_id=dependency_id, number=number, modified_at=modified_at)
        self._session.run(
            "add_dependency_version", version_id=version.version_id, number=number, **_own_columns(version)
        )
        return number

    def replace(self, version: DependencyVersion) -> None:
        """Overwrite all but ids and number of a version; name and runtime change for all versions."""
        self._run_unique(
            "change_dependency",
            version,
            dependency_id=version.dependency_id,
            name=version.name,
            runtime=version.runtime,
            modified_at=version.modified_at,
        )
        columns = _own_columns(version)
        del columns["dependency_id"]
        self._session.run("change_dependency_version", version_id=version.version_id, **columns)

    def share(self, dependency_id: str, *, is_public: bool) -> None:
        """Show a dependency to all projects, or to its own only."""
        self._session.run("share_dependency", dependency_id=dependency_id, is_public=int(is_public))

    def get(self, version_id: str) -> DependencyVersion | None:
        """Return one version, whoever owns it."""
        row = self._session.one("get_dependency_version", version_id=version_id)
        return _version(row) if row else None

    def get_all(self, version_ids: Sequence[str]) -> Sequence[DependencyVersion]:
        """Return those versions that exist, in no particular order."""
        wanted = msgspec.json.encode(version_ids).decode()
        return [_version(row) for row in self._session.all("get_dependency_versions", version_ids=wanted)]

    def versions(self, dependency_id: str) -> Sequence[DependencyVersion]:
        """Return all versions of a dependency, whoever owns it, the newest first; none if there is none."""
        return [_version(row) for row in self._session.all("list_dependency_versions", dependency_id=dependency_id)]

    def named(self, project_id: str, name: str) -> Sequence[DependencyVersion]:
        """Return all versions of the project's dependency of a name, the newest first."""
        row = self._session.one("get_dependency_named", project_id=project_id, name=name)
        return self.versions(row[0]) if row else ()

    def find(self, wanted: DependencyFilter) -> tuple[Sequence[DependencyVersion], int]:
        """Return a page of dependencies by their newest versions, newest first, and the count of all matches."""
        matches = {
            "project_id": wanted.project_id,
            "own": int(wanted.has_own),
            "public": int(wanted.has_public),
            "runtime": wanted.runtime,
            "name_part": wanted.name_part,
        }
        rows = self._session.all("find_dependencies", **matches, offset=wanted.offset, limit=wanted.limit)
        return [_version(row) for row in rows], self._session.number("count_dependencies", **matches)

    def total_bytes(self, project_id: str) -> int:
        """Return the bytes of all versions of all dependencies that a project owns."""
        return self._session.number("sum_dependencies_of_project", project_id=project_id)

    def delete(self, version: DependencyVersion) -> None:
        """Delete a version that no function uses; with the last one the dependency goes."""
        self._session.run("delete_dependency_version", version_id=version.version_id)
        self._session.run("delete_empty_dependency", dependency_id=version.dependency_id)

    def users(self, version_id: str) -> Sequence[DependencyUser]:
        """Return which versions of functions, of all projects, use a version."""
        return [DependencyUser(*row) for row in self._session.all("list_dependency_users", version_id=version_id)]

    def _run_unique(self, query: str, version: DependencyVersion, /, **values: Any) -> None:
        try:
            self._session.run(query, **values)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise Duplicate(f"dependency '{version.name}' exists") from error
            raise


def note_use(session: Session, version: FunctionVersion) -> None:
    """Write down which dependencies a version of a function uses, in place of what was written before."""
    key = {"function_id": version.function_id, "version": version.version}
    session.run("forget_function_dependencies", **key)
    for version_id, layer in zip(version.settings.dependency_ids, version.code.layers, strict=True):
        session.run("add_function_dependency", **key, dependency_version_id=version_id, digest=layer.digest)


def _own_columns(version: DependencyVersion) -> dict[str, Any]:
    names = ("dependency_id", "description", "digest", "size", "etag", "link", "filename", "modified_at")
    return {name: getattr(version, name) for name in names}


def _version(row: tuple[Any, ...]) -> DependencyVersion:
    (
        version_id,
        dependency_id,
        project_id,
        name,
        runtime,
        is_public,
        number,
        description,
        digest,
        size,
        etag,
        link,
        filename,
        modified_at,
    ) = row
    return DependencyVersion(
        version_id=version_id,
        dependency_id=dependency_id,
        project_id=project_id,
        name=name,
        runtime=runtime,
        is_public=bool(is_public),
        number=number,
        description=description,
        digest=digest,
        size=size,
        etag=etag,
        link=link,
        filename=filename,
        modified_at=modified_at,
    )
