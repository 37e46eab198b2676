"""Use cases of dependencies. Start with `DependencyService.create`."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from funclet.base.clock import Clock
from funclet.base.ids import new_uuid
from funclet.blobs import BlobError, Blobs
from funclet.model import package
from funclet.model.dependency import DEPENDENCY_TYPES, DependencyVersion, check_dependency
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.model.urn import LATEST
from funclet.runtimes.registry import Registry
from funclet.services.fetch import CodeFetcher
from funclet.services.functions import OnChange
from funclet.services.layers import with_layers
from funclet.services.limits import MIB, Limits
from funclet.store.dependencies import DependencyFilter, DependencyUser
from funclet.store.protocol import Duplicate, Store, Tx

MAX_FILENAME_LENGTH = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyUpload:
    """A dependency as a client gives it."""

    name: str
    runtime: str
    description: str = ""
    dependency_type: str
    """`zip` or `obs`."""
    content: bytes = b""
    """The archive, decoded, for `zip`."""
    link: str = ""
    """Where the archive is, for `obs`."""

    @property
    def is_empty(self) -> bool:
        """Whether it holds no archive at all."""
        return not (self.link if self.dependency_type == "obs" else self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArchive:
    """An archive that was checked and stored."""

    digest: str
    size: int
    etag: str
    link: str
    filename: str


class DependencyService:
    """Dependencies of all projects."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        registry: Registry,
        clock: Clock,
        fetcher: CodeFetcher,
        limits: Limits,
        on_change: OnChange,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._registry = registry
        self._clock = clock
        self._fetcher = fetcher
        self._limits = limits
        self._on_change = on_change

    async def create(self, principal: Principal, upload: DependencyUpload) -> DependencyVersion:
        """Store a dependency, or the next version of the one that has its name.

        Raises:
            ModelError: FSS.1024 for name or archive, FSS.1032 for the type, FSS.1005 for the runtime, FSS.1019 for the
                description; FSS.1010, FSS.1054 or FSS.1071 for the link; FSS.1065 if the name belongs to one of
                another runtime; FSS.1045 if a quota is used up.
        """
        archive = await self.prepare(principal, upload)
        return await self._store.write(lambda tx: self.add(tx, principal, upload, archive))

    async def prepare(self, principal: Principal, upload: DependencyUpload) -> StoredArchive:
        """Check an upload and store its archive: what `create` does before it writes.

        Raises:
            ModelError: as `create`, but for the name that is taken and the quota.
        """
        self._check(upload)
        if upload.is_empty:
            raise _no_archive(upload)
        return await self._stored(principal, upload)

    async def update(self, principal: Principal, wanted: str, upload: DependencyUpload) -> DependencyVersion:
        """Change a version in place: the one of this id, or the newest of a dependency. Without archive, it stays.

        `latest` of the functions that use it runs on the new archive at once; published versions keep the old one.

        Raises:
            ModelError: as `create`; FSS.1056 if it does not exist, FSS.1046 if it belongs to another project, FSS.1033
                for another runtime while functions use it.
        """
        self._check(upload)
        await self._store.read(lambda tx: _require_own(tx, principal, wanted))
        archive = None if upload.is_empty else await self._stored(principal, upload)
        changed, users = await self._store.write(lambda tx: self._replace(tx, principal, wanted, upload, archive))
        for user in users:
            self._on_change(user.project_id, user.package, user.name)
        return changed

    async def get(self, principal: Principal, wanted: str) -> DependencyVersion:
        """Return the version of this id, or the newest of the dependency of this id.

        Raises:
            ModelError: FSS.1056.
        """
        return await self._store.read(lambda tx: _require(tx, principal, wanted))

    async def get_version(self, principal: Principal, dependency_id: str, number: int) -> DependencyVersion:
        """Return one version of a dependency.

        Raises:
            ModelError: FSS.1056.
        """
        return await self._store.read(lambda tx: _require_number(tx, principal, dependency_id, number))

    async def get_all(self, version_ids: Sequence[str]) -> Sequence[DependencyVersion]:
        """Return what functions of the caller name; versions that do not exist are left out."""
        return await self._store.read(lambda tx: tx.dependencies.get_all(version_ids)) if version_ids else ()

    async def versions(self, principal: Principal, dependency_id: str) -> Sequence[DependencyVersion]:
        """Return all versions of a dependency, the newest first.

        Raises:
            ModelError: FSS.1056.
        """
        return await self._store.read(lambda tx: _require_all(tx, principal, dependency_id))

    async def find(self, wanted: DependencyFilter) -> tuple[Sequence[DependencyVersion], int]:
        """Return a page of dependencies by their newest versions, and the count of all matches."""
        return await self._store.read(lambda tx: tx.dependencies.find(wanted))

    async def delete(self, principal: Principal, wanted: str) -> None:
        """Delete the version of this id, or all versions of the dependency of this id.

        Raises:
            ModelError: FSS.1056, FSS.1046; FSS.1033 if a function uses one, then all stay.
        """

        def work(tx: Tx) -> None:
            version = _require_own(tx, principal, wanted)
            is_whole = version.version_id != wanted
            for one in tx.dependencies.versions(version.dependency_id) if is_whole else (version,):
                _delete(tx, principal, one)

        await self._store.write(work)

    async def delete_version(self, principal: Principal, dependency_id: str, number: int) -> None:
        """Delete one version; with the last one the dependency goes.

        Raises:
            ModelError: FSS.1056, FSS.1046; FSS.1033 if a function uses it.
        """

        def work(tx: Tx) -> None:
            version = _require_number(tx, principal, dependency_id, number)
            _refuse_foreign(principal, version)
            _delete(tx, principal, version)

        await self._store.write(work)

    async def share(self, principal: Principal, dependency_id: str, *, is_public: bool) -> DependencyVersion:
        """Show a dependency to all projects, or to its own only; return its newest version.

        Raises:
            ModelError: FSS.1056, FSS.1046; FSS.1033 if another project uses it and it shall not be public any more.
        """

        def work(tx: Tx) -> DependencyVersion:
            newest = _require_own(tx, principal, dependency_id)
            for version in () if is_public else tx.dependencies.versions(newest.dependency_id):
                if any(user.project_id != newest.project_id for user in tx.dependencies.users(version.version_id)):
                    raise ModelError("FSS.1033", f"Dependency '{newest.name}' is in use by another project.")
            tx.dependencies.share(newest.dependency_id, is_public=is_public)
            return replace(newest, is_public=is_public)

        return await self._store.write(work)

    def _check(self, upload: DependencyUpload) -> None:
        check_dependency(upload.name, upload.description)
        self._registry.require(upload.runtime)
        if upload.dependency_type not in DEPENDENCY_TYPES:
            raise ModelError("FSS.1032", f"depend_type '{upload.dependency_type[:40]}' is invalid: 'zip' or 'obs'.")
        if len(upload.content) > self._limits.dependency_upload_bytes:
            raise ModelError(
                "FSS.1071",
                f"The dependency is larger than {self._limits.dependency_upload_bytes // MIB} MB; "
                "give a depend_link with depend_type 'obs' instead.",
            )

    async def _stored(self, principal: Principal, upload: DependencyUpload) -> StoredArchive:
        is_linked = upload.dependency_type == "obs"
        data = upload.content
        if is_linked:
            data = await self._fetcher.fetch(upload.link, project_id=principal.project.project_id)
        etag = await asyncio.to_thread(_checked_etag, data)
        try:
            digest = await self._blobs.put(data)
        except BlobError as error:
            raise ModelError("FSS.0503", "The dependency cannot be stored now.", retry_after_s=1.0) from error
        return StoredArchive(
            digest=digest,
            size=len(data),
            etag=etag,
            link=upload.link if is_linked else "",
            filename=(_filename(upload.link) if is_linked else "") or f"{upload.name}.zip",
        )

    def add(self, tx: Tx, principal: Principal, upload: DependencyUpload, archive: StoredArchive) -> DependencyVersion:
        """Store a version whose archive was prepared.

        Raises:
            ModelError: FSS.1065 if the name belongs to one of another runtime; FSS.1045 if a quota is used up.
        """
        project_id = principal.project.project_id
        present = tx.dependencies.named(project_id, upload.name)
        if present and present[0].runtime != upload.runtime:
            raise ModelError(
                "FSS.1065", f"Dependency '{upload.name}' exists already, for runtime '{present[0].runtime}'."
            )
        version = DependencyVersion(
            version_id=new_uuid(),
            dependency_id=present[0].dependency_id if present else new_uuid(),
            project_id=project_id,
            name=upload.name,
            runtime=upload.runtime,
            is_public=bool(present) and present[0].is_public,
            number=0,
            description=upload.description,
            digest=archive.digest,
            size=archive.size,
            etag=archive.etag,
            link=archive.link,
            filename=archive.filename,
            modified_at=self._clock.now(),
        )
        version = replace(version, number=tx.dependencies.add(version))
        self._check_quota(tx, project_id, len(present) + 1)
        return version

    def _check_quota(self, tx: Tx, project_id: str, versions: int) -> None:
        limits = self._limits
        if versions > limits.dependency_versions:
            raise ModelError("FSS.1045", f"The dependency has {limits.dependency_versions} versions; delete one first.")
        own = DependencyFilter(project_id=project_id, has_public=False, limit=0)
        if tx.dependencies.find(own)[1] > limits.dependencies:
            raise ModelError("FSS.1045", f"The project has {limits.dependencies} dependencies; no more are allowed.")
        if tx.dependencies.total_bytes(project_id) > limits.dependency_bytes:
            raise ModelError(
                "FSS.1045", f"The dependencies would have more than {limits.dependency_bytes // MIB} MB together."
            )

    def _replace(
        self, tx: Tx, principal: Principal, wanted: str, upload: DependencyUpload, archive: StoredArchive | None
    ) -> tuple[DependencyVersion, Sequence[DependencyUser]]:
        old = _require_own(tx, principal, wanted)
        if upload.runtime != old.runtime:
            for version in tx.dependencies.versions(old.dependency_id):
                _refuse_used(tx, principal, version)
        new = replace(
            old,
            name=upload.name,
            runtime=upload.runtime,
            description=upload.description,
            modified_at=self._clock.now(),
        )
        if archive is not None:
            new = replace(
                new,
                digest=archive.digest,
                size=archive.size,
                etag=archive.etag,
                link=archive.link,
                filename=archive.filename,
            )
        try:
            tx.dependencies.replace(new)
        except Duplicate as error:
            raise ModelError("FSS.1065", f"Dependency '{upload.name}' exists already.") from error
        if new.size > old.size:
            self._check_quota(tx, new.project_id, 0)
        moved = () if new.digest == old.digest else tx.dependencies.users(new.version_id)
        renewed = [user for user in moved if user.version == LATEST]
        for user in renewed:
            _renew(tx, user)
        return new, renewed


def _renew(tx: Tx, user: DependencyUser) -> None:
    """Let `latest` of a function run on what its dependencies are now."""
    old = tx.functions.get(user.project_id, user.package, user.name, LATEST)
    assert old is not None
    tx.functions.replace_latest(replace(with_layers(tx, old), revision=old.revision + 1))


def _checked_etag(data: bytes) -> str:
    """Check an archive by the rules for code; return its MD5 in hexadecimal."""
    try:
        package.verify(data, package.inspect(data))
    except ModelError as error:
        reason = error.message.removeprefix(package.REFUSED)
        raise ModelError("FSS.1024", f"The archive of the dependency is not accepted: {reason}") from error
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _no_archive(upload: DependencyUpload) -> ModelError:
    if upload.dependency_type == "obs":
        return ModelError("FSS.1010", "depend_link is missing: depend_type 'obs' needs it.")
    return ModelError("FSS.1024", "depend_file is missing: the archive in base64.")


def _filename(link: str) -> str:
    return PurePosixPath(unquote(urlsplit(link).path)).name[:MAX_FILENAME_LENGTH]


def _require(tx: Tx, principal: Principal, wanted: str) -> DependencyVersion:
    found = tx.dependencies.get(wanted) or next(iter(tx.dependencies.versions(wanted)), None)
    if found is None or not found.is_visible_to(principal.project.project_id):
        raise _missing(wanted)
    return found


def _require_own(tx: Tx, principal: Principal, wanted: str) -> DependencyVersion:
    version = _require(tx, principal, wanted)
    _refuse_foreign(principal, version)
    return version


def _require_all(tx: Tx, principal: Principal, dependency_id: str) -> Sequence[DependencyVersion]:
    versions = tx.dependencies.versions(dependency_id)
    if not versions or not versions[0].is_visible_to(principal.project.project_id):
        raise _missing(dependency_id)
    return versions


def _require_number(tx: Tx, principal: Principal, dependency_id: str, number: int) -> DependencyVersion:
    for version in _require_all(tx, principal, dependency_id):
        if version.number == number:
            return version
    raise ModelError("FSS.1056", f"Dependency '{dependency_id[:80]}' has no version {number}.")


def _missing(wanted: str) -> ModelError:
    return ModelError("FSS.1056", f"Dependency '{wanted[:80]}' does not exist.")


def _refuse_foreign(principal: Principal, version: DependencyVersion) -> None:
    if version.project_id != principal.project.project_id:
        raise ModelError("FSS.1046", f"Dependency '{version.name}' belongs to another project, which alone changes it.")


def _delete(tx: Tx, principal: Principal, version: DependencyVersion) -> None:
    _refuse_used(tx, principal, version)
    tx.dependencies.delete(version)


def _refuse_used(tx: Tx, principal: Principal, version: DependencyVersion) -> None:
    for user in tx.dependencies.users(version.version_id):
        is_own = user.project_id == principal.project.project_id
        who = f"function '{user.name}' (version '{user.version}')" if is_own else "a function of another project"
        raise ModelError("FSS.1033", f"Version {version.number} of dependency '{version.name}' is in use by {who}.")
