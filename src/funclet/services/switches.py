"""What clients switch on and read back: the logs of a project, tracing and snapshots of functions.

On a server of one's own the last two do not change how functions run: instances start the same way whatever the
switch says. The settings are stored so that clients find what they have set.
"""

from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import Principal
from funclet.model.log_place import LogPlace, log_group, log_place
from funclet.model.urn import Urn
from funclet.services.functions import require_version
from funclet.store.protocol import Store, Tx
from funclet.store.resources import tracing_context
from funclet.vault import Vault

MAX_KEY_LENGTH = 128
_SNAPSHOT_RUNTIMES = "Java"


class SwitchService:
    """Switches of all projects and functions."""

    def __init__(self, store: Store, vault: Vault, *, region: str) -> None:
        self._store = store
        self._vault = vault
        self._region = region

    async def report_logs(self, principal: Principal) -> None:
        """Let the functions that the project gets from now on keep their logs, unless they say otherwise.

        Raises:
            ModelError: FSS.1221 if they do already.
        """
        project_id = principal.project.project_id
        group = log_group(project_id)
        if not await self._store.write(lambda tx: tx.remembered.report_logs(project_id, *group)):
            # Clients look for these words.
            raise ModelError("FSS.1221", "The lts log has been enabled in this project before.")

    async def log_place(self, principal: Principal, urn: str) -> LogPlace:
        """Return where the log of a function is seen; all empty while it is not kept.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse(principal, urn)
        return log_place(await self._store.read(lambda tx: require_version(tx, place)))

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


def _refuse_without_snapshot(version: FunctionVersion) -> None:
    if not version.settings.runtime.startswith(_SNAPSHOT_RUNTIMES):
        raise ModelError(
            "FSS.0400", f"Snapshots are for Java functions only, but the runtime is '{version.settings.runtime}'."
        )
    if version.is_latest:
        raise ModelError("FSS.0400", "Snapshots are for published versions only; name one in the urn.")
