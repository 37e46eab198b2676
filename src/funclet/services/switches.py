"""What clients switch on and read back: log reporting of a project, tracing and snapshots of functions.

On a server of one's own none of them changes how functions run: logs are kept by the server itself, and instances
start the same way whatever the switch says. The settings are stored so that clients find what they have set.
"""

import hashlib
from dataclasses import dataclass

from funclet.base.ids import new_hex_id
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import Principal
from funclet.model.urn import Urn
from funclet.services.functions import require_version
from funclet.store.protocol import Store, Tx
from funclet.store.resources import tracing_context
from funclet.vault import Vault

MAX_KEY_LENGTH = 128
_SUFFIX_LENGTH = 8
_STREAM_SUFFIX_LENGTH = 12
_SNAPSHOT_RUNTIMES = "Java"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """Where the log of a function is seen; all empty if its project does not report logs."""

    group_id: str = ""
    group_name: str = ""
    stream_id: str = ""
    stream_name: str = ""


class SwitchService:
    """Switches of all projects and functions."""

    def __init__(self, store: Store, vault: Vault, *, region: str) -> None:
        self._store = store
        self._vault = vault
        self._region = region

    async def report_logs(self, principal: Principal) -> None:
        """Let the functions of the project report their logs.

        Raises:
            ModelError: FSS.1221 if they do already.
        """
        group_id = new_hex_id()
        name = f"functiongraph.log.group.{group_id[:_SUFFIX_LENGTH]}"
        project_id = principal.project.project_id
        if not await self._store.write(lambda tx: tx.remembered.report_logs(project_id, group_id, name)):
            # Clients look for these words.
            raise ModelError("FSS.1221", "The lts log has been enabled in this project before.")

    async def log_place(self, principal: Principal, urn: str) -> LogPlace:
        """Return where the log of a function is seen: as its own settings say, or in the group of the project.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse(principal, urn)

        def work(tx: Tx) -> LogPlace:
            version = require_version(tx, place)
            return _own_place(version) or _place_in(tx.remembered.log_group(place.project_id), version)

        return await self._store.read(work)

    async def set_tracing(self, principal: Principal, urn: str, *, access_key: str, secret_key: str) -> None:
        """Remember the keys with which a function is traced; both empty: it is not traced any more.

        Raises:
            ModelError: FSS.0400 if one is missing or too long; the codes of the urn.
        """
        if bool(access_key) != bool(secret_key):
            raise ModelError(
                "FSS.0400", "tracing_ak and tracing_sk belong together: give both, or none to end tracing."
            )
        if max(len(access_key), len(secret_key)) > MAX_KEY_LENGTH:
            raise ModelError("FSS.0400", f"tracing_ak and tracing_sk have {MAX_KEY_LENGTH} characters at most.")
        place = self._parse(principal, urn)

        def work(tx: Tx) -> None:
            function_id = require_version(tx, place).function_id
            if not access_key:
                tx.remembered.delete_tracing(function_id)
                return
            sealed = self._vault.seal(secret_key, context=tracing_context(function_id))
            tx.remembered.put_tracing(function_id, access_key, sealed)

        await self._store.write(work)

    async def tracing_key(self, principal: Principal, urn: str) -> str:
        """Return the access key with which a function is traced, empty if it is not.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse(principal, urn)
        return await self._store.read(lambda tx: tx.remembered.tracing(require_version(tx, place).function_id) or "")

    async def switch_snapshot(self, principal: Principal, urn: str, *, is_on: bool) -> None:
        """Remember whether a version shall start from a snapshot.

        Raises:
            ModelError: FSS.0400 for `latest` and for other runtimes than Java; the codes of the urn.
        """
        place = self._parse(principal, urn)

        def work(tx: Tx) -> None:
            version = require_version(tx, place)
            _refuse_without_snapshot(version)
            tx.remembered.switch_snapshot(version.function_id, version.version, is_on=is_on)

        await self._store.write(work)

    async def has_snapshot(self, principal: Principal, urn: str) -> bool:
        """Tell whether a version shall start from a snapshot.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse(principal, urn)

        def work(tx: Tx) -> bool:
            version = require_version(tx, place)
            return tx.remembered.has_snapshot(version.function_id, version.version)

        return await self._store.read(work)

    def _parse(self, principal: Principal, urn: str) -> Urn:
        return urns.parse(urn, region=self._region, project_id=principal.project.project_id)


def _own_place(version: FunctionVersion) -> LogPlace | None:
    config = version.settings.echoed.get("log_config") or {}
    if not config.get("group_id"):
        return None
    names = ("group_id", "group_name", "stream_id", "stream_name")
    return LogPlace(**{name: config.get(name) or "" for name in names})


def _place_in(group: tuple[str, str] | None, version: FunctionVersion) -> LogPlace:
    if group is None:
        return LogPlace()
    # The same at every call without being stored.
    stream_id = hashlib.sha256(f"{group[0]}/{version.function_id}".encode()).hexdigest()[:32]
    name = f"{version.name}-{stream_id[:_STREAM_SUFFIX_LENGTH]}"
    return LogPlace(group_id=group[0], group_name=group[1], stream_id=stream_id, stream_name=name)


def _refuse_without_snapshot(version: FunctionVersion) -> None:
    if not version.settings.runtime.startswith(_SNAPSHOT_RUNTIMES):
        raise ModelError(
            "FSS.0400", f"Snapshots are for Java functions only, but the runtime is '{version.settings.runtime}'."
        )
    if version.is_latest:
        raise ModelError("FSS.0400", "Snapshots are for published versions only; name one in the urn.")
