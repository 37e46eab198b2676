"""Use cases of functions: create, read, list, change settings or code, delete. Start with `FunctionService.create`.

Each use case is one transaction; a code package is stored before the row that
names it. Whoever must know of a change is told through `on_change` afterwards.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from funclet.base.clock import Clock
from funclet.base.ids import new_uuid
from funclet.blobs import BlobDamaged, BlobError, BlobMissing, Blobs
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import (
    Code,
    FunctionVersion,
    Settings,
    check_name,
    check_package,
    check_settings,
    parse_variables,
)
from funclet.model.identity import Principal
from funclet.model.inventory import Inventory, check_mounts, check_vpc
from funclet.model.resources import check_tags, parse_tags
from funclet.model.urn import LATEST, Urn
from funclet.runtimes.registry import Registry, RuntimeSpec
from funclet.services.code import (
    IMAGE_RUNTIME,
    CodeBuilder,
    CodeLinks,
    CodeUpload,
    check_code_type,
    check_upload,
    image_code,
)
from funclet.services.layers import with_layers
from funclet.services.limits import MIB, Limits
from funclet.services.surroundings_rights import SurroundingsRights
from funclet.store.protocol import Duplicate, FunctionFilter, Store, Tx

OnChange = Callable[[str, str, str], None]
"""Called with project id, package and name of a function that has changed."""

_EVERYTHING = 2**31
PINNED = "is_pinned"
_DEFAULT_FILENAMES = {"zip": "index.zip", "jar": "index.jar"}
# platform.md 2.15: changes of these leave running instances alone, so they do not raise the revision.
_NEUTRAL_ECHOED = frozenset({PINNED, "tags", "enterprise_project_id", "type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFunction:
    """A function to be created."""

    package: str
    name: str
    settings: Settings
    upload: CodeUpload


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    """Settings to be changed; what is not named stays."""

    runtime: str = ""
    """The runtime that the client believes the function has; empty: it does not say."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """New values by field of `Settings`."""
    echoed: Mapping[str, Any] = field(default_factory=dict)
    """New values of members of `Settings.echoed`; None removes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChange:
    """New code, or new dependencies, or both."""

    upload: CodeUpload
    dependency_ids: tuple[str, ...] | None = None
    """None: they stay."""
    echoed: Mapping[str, Any] = field(default_factory=dict)


class FunctionService:
    """Functions of all projects."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        registry: Registry,
        clock: Clock,
        builder: CodeBuilder,
        links: CodeLinks,
        *,
        region: str,
        limits: Limits,
        on_change: OnChange,
        inventory: Inventory | None = None,
        keeps_logs: bool = True,
        rights: SurroundingsRights | None = None,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._registry = registry
        self._clock = clock
        self._builder = builder
        self._region = region
        self._limits = limits
        self._on_change = on_change
        self._inventory = inventory or Inventory()
        self._keeps_logs = keeps_logs
        """Whether functions that say nothing keep their log."""
        self._rights = rights
        self.links = links

    async def create(self, principal: Principal, new: NewFunction) -> FunctionVersion:
        """Create a function with its version `latest`.

        Raises:
            ModelError: the code of the field that is wrong; FSS.1061 if the name is taken in the project,
                FSS.1041, FSS.1042 or FSS.1044 if a quota is used up.
        """
        version = await self.prepare(principal, new)
        stored = await self._store.write(lambda tx: self.add(tx, version))
        self.announce(stored)
        return stored

    async def prepare(self, principal: Principal, new: NewFunction) -> FunctionVersion:
        """Return `latest` of a function to be created, with its code stored: what `create` does before it writes.

        Raises:
            ModelError: the code of the field that is wrong.
        """
        check_name(new.name)
        check_tags(parse_tags(new.settings.echoed.get("tags", "")))
        package = check_package(new.package)
        runtime = self._registry.require(new.settings.runtime)
        self._check(new.settings)
        self._check_surroundings(principal.project.project_id, {}, new.settings.echoed)
        check_upload(new.upload, runtime.name, self._limits)
        code = await self._store_code(principal, new.upload, runtime, new.settings.handler)
        return FunctionVersion(
            project_id=principal.project.project_id,
            region=self._region,
            package=package,
            name=new.name,
            function_id=new_uuid(),
            version=LATEST,
            settings=new.settings,
            code=code,
            modified_at=self._clock.now(),
        )

    async def get(self, principal: Principal, urn: str) -> FunctionVersion:
        """Return the version that a urn names; for an alias, its main version.

        Raises:
            ModelError: FSS.1309 or FSS.0403 for the urn; FSS.1051, FSS.1052 or FSS.1053 if it does not exist.
        """
        parsed = self.parse_urn(principal, urn)
        return await self._store.read(lambda tx: require_version(tx, parsed))

    async def find(
        self, wanted: FunctionFilter, *, may_see: Callable[[str, str], bool] | None = None
    ) -> tuple[Sequence[FunctionVersion], int]:
        """Return a page of functions and the count of all matches; only of those that `may_see` admits.

        `may_see` is given package and name; None admits all.
        """
        if may_see is None:
            return await self._store.read(lambda tx: tx.functions.find(wanted))
        everything = replace(wanted, offset=0, limit=_EVERYTHING)
        found, _ = await self._store.read(lambda tx: tx.functions.find(everything))
        seen = [version for version in found if may_see(version.package, version.name)]
        return seen[wanted.offset : wanted.offset + wanted.limit], len(seen)

    async def update_config(self, principal: Principal, urn: str, change: ConfigChange) -> FunctionVersion:
        """Change settings of `latest`; new invocations see them when this returns.

        Raises:
            ModelError: as `get`; FSS.1005 for another runtime, FSS.1015 for a published version,
                and the code of the field that is wrong.
        """
        return await self._change(principal, urn, lambda old: self._reconfigured(old, change))

    async def update_code(self, principal: Principal, urn: str, change: CodeChange) -> FunctionVersion:
        """Give `latest` other code or dependencies. The same code again changes nothing.

        Raises:
            ModelError: as `update_config`; FSS.1012 if nothing is given, and those of `CodeBuilder.build`.
        """
        check_code_type(change.upload.code_type)
        if change.dependency_ids is None and change.upload.is_empty and change.upload.code_type != "obs":
            raise ModelError("FSS.1012", "The code is missing: give func_code.file, code_url or depend_version_list.")
        old = await self.get(principal, urn)
        _refuse_frozen(old)
        runtime = self._registry.require(old.settings.runtime)
        check_upload(change.upload, runtime.name, self._limits)
        keeps = change.dependency_ids is not None and change.upload.is_empty
        code = None if keeps else await self._store_code(principal, change.upload, runtime, old.settings.handler)
        return await self._change(principal, urn, lambda latest: self._recoded(latest, change, code))

    async def pin(self, principal: Principal, urn: str, *, is_pinned: bool) -> None:
        """Mark a function, or take the mark away; nothing else about it changes.

        Raises:
            ModelError: as `get`.
        """
        parsed = self.parse_urn(principal, urn).qualified("")

        def work(tx: Tx) -> None:
            old = require_version(tx, parsed)
            echoed = _merge(old.settings.echoed, {PINNED: is_pinned or None})
            tx.functions.replace_latest(replace(old, settings=replace(old.settings, echoed=echoed)))

        await self._store.write(work)

    async def delete(self, principal: Principal, urn: str) -> None:
        """Delete a whole function, or the version that the urn or its alias names, with all that hangs on it.

        Raises:
            ModelError: as `get`; FSS.1015 for `latest`, FSS.1094 for the additional version of an alias.
        """
        parsed = self.parse_urn(principal, urn)

        def work(tx: Tx) -> FunctionVersion:
            version = require_version(tx, parsed)
            if not parsed.qualifier:
                tx.functions.delete(version.function_id)
            else:
                _delete_version(tx, version)
            return version

        self.announce(await self._store.write(work))

    async def read_code(self, digest: str) -> bytes:
        """Return a stored package.

        Raises:
            ModelError: FSS.1054 if there is none of this digest, FSS.0500 if it is damaged, FSS.0503 if the disk fails.
        """
        try:
            return await self._blobs.read(digest)
        except BlobMissing as error:
            raise ModelError("FSS.1054", "The code package does not exist any more.") from error
        except BlobDamaged as error:
            raise ModelError("FSS.0500", "The stored code package is damaged; upload the code again.") from error
        except BlobError as error:
            raise ModelError("FSS.0503", "The code package cannot be read now.", retry_after_s=1.0) from error

    @property
    def archive_bytes(self) -> int:
        """How large the archive of an export or import may be."""
        return self._limits.archive_bytes

    def runtimes(self) -> Sequence[RuntimeSpec]:
        """Return every runtime that a function may have."""
        return self._registry.all()

    def parse_urn(self, principal: Principal, urn: str) -> Urn:
        """Return the urn that a client wrote in any of the accepted forms.

        Raises:
            ModelError: FSS.1309 or FSS.0403.
        """
        return urns.parse(urn, region=self._region, project_id=principal.project.project_id)

    def _check(self, settings: Settings) -> None:
        check_settings(settings)
        self._check_fresh_state(settings)
        if settings.echoed.get("func_vpc") and not settings.echoed.get("xrole"):
            raise ModelError("FSS.0400", "func_vpc needs an agency: set xrole.")
        size = len(json.dumps(settings.echoed).encode())
        if size > self._limits.echoed_bytes:
            raise ModelError("FSS.0400", f"The settings have {size} bytes; {self._limits.echoed_bytes} are allowed.")

    def _check_fresh_state(self, settings: Settings) -> None:
        language = self._registry.require(settings.runtime).language
        if settings.fresh_state and not (language and language.fresh_state):
            able = ", ".join(one.name for one in self._registry.all() if one.language and one.language.fresh_state)
            raise ModelError(
                "FSS.0400",
                f"enable_fresh_state is not possible with runtime '{settings.runtime}', "
                f"whose instances cannot be forked; it is with {able}.",
            )

    def _check_surroundings(self, project_id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Refuse mounts and networks that are not there. What a function has already, it may keep."""
        vpc, mounts = new.get("func_vpc"), new.get("mount_config")
        if vpc and vpc != old.get("func_vpc"):
            check_vpc(self._inventory, vpc)
        if mounts and (mounts, new.get("xrole")) != (old.get("mount_config"), old.get("xrole")):
            has_agency = bool(new.get("xrole"))
            check_mounts(self._inventory, project_id, mounts["func_mounts"], has_agency=has_agency)

    def _check_bindings(self, tx: Tx, version: FunctionVersion, old: Mapping[str, Any]) -> None:
        if self._rights is not None:
            self._rights.check(tx, version, old)
        vpc = version.settings.echoed.get("func_vpc")
        if not vpc or vpc == old.get("func_vpc"):
            return
        if len(tx.functions.subnets(version.project_id)) > self._limits.subnets:
            most = self._limits.subnets
            raise ModelError("FSS.1048", f"The functions of the project are in {most} subnets; no more are allowed.")

    async def _store_code(self, principal: Principal, upload: CodeUpload, runtime: RuntimeSpec, handler: str) -> Code:
        if runtime.name == IMAGE_RUNTIME:
            return image_code()
        package = await self._builder.build(upload, runtime, handler, project_id=principal.project.project_id)
        try:
            digest = await self._blobs.put(package.data)
        except BlobError as error:
            raise ModelError("FSS.0503", "The code package cannot be stored now.", retry_after_s=1.0) from error
        return Code(
            digest=digest,
            size=len(package.data),
            code_type=upload.code_type,
            filename=upload.filename or _DEFAULT_FILENAMES.get(upload.code_type, ""),
            url=upload.url,
            hint=package.hint,
        )

    def add(self, tx: Tx, version: FunctionVersion) -> FunctionVersion:
        """Store a function that was prepared, and return it as stored; `announce` it when the transaction has ended.

        Raises:
            ModelError: FSS.1061 if the name is taken in the project, FSS.1041, FSS.1042 or FSS.1044 if a quota is
                used up, FSS.1056 or FSS.1024 if a dependency is not there or named twice.
        """
        version = self._with_log_switch(tx, with_layers(tx, version))
        try:
            tx.functions.add(version)
        except Duplicate as error:
            raise ModelError("FSS.1061", f"Function '{version.name}' exists already in this project.") from error
        count, _ = tx.functions.totals(version.project_id)
        if count > self._limits.functions:
            raise ModelError("FSS.1041", f"The project has {self._limits.functions} functions; no more are allowed.")
        if len(tx.functions.packages(version.project_id)) > self._limits.packages:
            raise ModelError("FSS.1044", f"The project has {self._limits.packages} packages; no more are allowed.")
        check_code_quota(tx, version.project_id, self._limits)
        self._check_bindings(tx, version, {})
        tx.tags.put(version.project_id, version.function_id, parse_tags(version.settings.echoed.get("tags", "")))
        return version

    def _with_log_switch(self, tx: Tx, version: FunctionVersion) -> FunctionVersion:
        """Where the owner has not said whether the log is kept, the project or the server has."""
        if version.settings.log_switch is not None:
            return version
        is_kept = self._keeps_logs or tx.remembered.log_group(version.project_id) is not None
        return replace(version, settings=replace(version.settings, log_switch=is_kept))

    async def _change(
        self, principal: Principal, urn: str, decide: Callable[[FunctionVersion], FunctionVersion]
    ) -> FunctionVersion:
        """Replace `latest` by what `decide` makes of it, unless that is the same."""
        parsed = self.parse_urn(principal, urn)

        def work(tx: Tx) -> tuple[FunctionVersion, bool]:
            old = require_version(tx, parsed)
            _refuse_frozen(old)
            new = self._with_log_switch(tx, with_layers(tx, decide(old)))
            if new == old:
                return old, False
            has_other_code = new.code.tree != old.code.tree
            new = replace(new, revision=max(new.revision, old.revision + has_other_code), modified_at=self._clock.now())
            tx.functions.replace_latest(new)
            if new.code.size > old.code.size:
                check_code_quota(tx, new.project_id, self._limits)
            self._check_bindings(tx, new, old.settings.echoed)
            return new, True

        version, has_changed = await self._store.write(work)
        if has_changed:
            self.announce(version)
        return version

    def _reconfigured(self, old: FunctionVersion, change: ConfigChange) -> FunctionVersion:
        runtime = old.settings.runtime
        if change.runtime not in ("", runtime):
            raise ModelError(
                "FSS.1005", f"The runtime is '{runtime}' and cannot be changed to '{change.runtime[:80]}'."
            )
        changes = dict(change.settings)
        if "encrypted_user_data" in changes:
            changes["encrypted_user_data"] = _with_kept_secrets(
                changes["encrypted_user_data"], old.settings.encrypted_user_data
            )
        settings = replace(old.settings, **changes, echoed=_merge(old.settings.echoed, change.echoed))
        self._check(settings)
        _refuse_unsafe(old.settings.echoed, settings.echoed)
        self._check_surroundings(old.project_id, old.settings.echoed, settings.echoed)
        is_visible = _acting(settings) != _acting(old.settings)
        # Whoever names another handler has heard of what looked wrong with the package.
        code = old.code if settings.handler == old.settings.handler else replace(old.code, hint="")
        return replace(old, settings=settings, code=code, revision=old.revision + is_visible)

    def _recoded(self, old: FunctionVersion, change: CodeChange, code: Code | None) -> FunctionVersion:
        dependencies = old.settings.dependency_ids if change.dependency_ids is None else change.dependency_ids
        settings = replace(old.settings, dependency_ids=dependencies, echoed=_merge(old.settings.echoed, change.echoed))
        self._check(settings)
        return replace(old, settings=settings, code=code or old.code)

    def announce(self, version: FunctionVersion) -> None:
        """Tell whoever must know that a function was changed, created or deleted."""
        self._on_change(version.project_id, version.package, version.name)


def require_version(tx: Tx, urn: Urn) -> FunctionVersion:
    """Return the version that a urn names; for an alias, its main version.

    Raises:
        ModelError: FSS.1051, FSS.1052 or FSS.1053.
    """
    latest = tx.functions.get(urn.project_id, urn.package, urn.name, LATEST)
    if latest is None:
        raise ModelError("FSS.1051", f"Function '{urn.name}' does not exist in package '{urn.package}'.")
    name = urn.version
    if urn.alias:
        alias = tx.aliases.get(latest.function_id, urn.alias)
        if alias is None:
            raise ModelError("FSS.1053", f"Alias '{urn.alias}' of function '{urn.name}' does not exist.")
        name = alias.version
    version = latest if name == LATEST else tx.functions.get(urn.project_id, urn.package, urn.name, name)
    if version is None:
        raise ModelError("FSS.1052", f"Version '{name}' of function '{urn.name}' does not exist.")
    return version


def check_code_quota(tx: Tx, project_id: str, limits: Limits) -> None:
    """Refuse when the project, with what this transaction added, holds too much code.

    Raises:
        ModelError: FSS.1042.
    """
    _, used_bytes = tx.functions.totals(project_id)
    if used_bytes > limits.code_bytes:
        raise ModelError("FSS.1042", f"The code of all functions would have more than {limits.code_bytes // MIB} MB.")


def without_pin(settings: Settings) -> Settings:
    """Return settings without the mark, which is no part of what is published."""
    return replace(settings, echoed=_merge(settings.echoed, {PINNED: None}))


def _refuse_frozen(version: FunctionVersion) -> None:
    if not version.is_latest:
        raise ModelError(
            "FSS.1015", f"Version '{version.version}' is published and cannot be changed; change 'latest'."
        )


def _delete_version(tx: Tx, version: FunctionVersion) -> None:
    if version.is_latest:
        raise ModelError(
            "FSS.1015", "Version 'latest' cannot be deleted; to delete the whole function, name no version."
        )
    for alias in tx.aliases.list(version.function_id):
        if version.version in {*alias.additional_weights, *alias.additional_strategy}:
            raise ModelError(
                "FSS.1094",
                f"Version '{version.version}' is the additional version of alias '{alias.name}'; change that first.",
            )
    tx.functions.delete_version(version.function_id, version.version)


def _merge(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**old, **changes}.items() if value is not None}


def _with_kept_secrets(new: str, old: str) -> str:
    """Return the encrypted variables with those sent blank as they were: clients never see their values."""
    variables = parse_variables("encrypted_user_data", new)
    known = parse_variables("encrypted_user_data", old)
    kept = {key: known[key] for key, value in variables.items() if not value and known.get(key)}
    return json.dumps({**variables, **kept}) if kept else new


def _refuse_unsafe(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    was_safe = (old.get("func_vpc") or {}).get("is_safety", False)
    if was_safe and new.get("func_vpc") and not new["func_vpc"].get("is_safety", False):
        raise ModelError("FSS.0400", "func_vpc.is_safety cannot be turned off again.")


def _acting(settings: Settings) -> Settings:
    """Return settings with everything levelled that running instances need not know."""
    echoed = {key: value for key, value in settings.echoed.items() if key not in _NEUTRAL_ECHOED}
    return replace(
        settings, timeout_s=0, description="", max_instances=0, concurrent_num=1, dependency_ids=(), echoed=echoed
    )
