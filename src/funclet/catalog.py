"""From a urn to the frozen version that will run.

`Catalog.resolve` is on the path of every invocation, so it answers from memory;
a change to a function drops its entries (`forget`), and no entry lives longer
than a few seconds, so a lost hint is only briefly stale.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from funclet.base.clock import Clock
from funclet.model.canary import version_by_rules
from funclet.model.errors import ModelError
from funclet.model.function import Alias, FunctionVersion, choose_version
from funclet.model.urn import Urn
from funclet.store.protocol import Store, Tx

MAX_AGE_S = 5.0
MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class _Entry:
    version: FunctionVersion | None
    alias: Alias | None
    read_at: float


class Catalog:
    """Versions and aliases by urn, read through to the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._entries: dict[tuple[str, str, str], dict[str, _Entry]] = {}
        self._draw = random.SystemRandom().random

    async def resolve(self, urn: Urn, *, headers: Mapping[str, str] | None = None) -> FunctionVersion:
        """Return the version that a request to `urn` runs on.

        An alias chooses by its rules for headers, else draws a version by weight, anew for each call.

        Args:
            urn: a version or an alias.
            headers: of the HTTP request, names in lower case; None if there is none.

        Raises:
            ModelError: FSS.1051, FSS.1052 or FSS.1053 if it does not exist.
            StoreUnavailable: it is not in memory and the store cannot be read.
        """
        entry = self._cached(urn) or await self._load(urn)
        if entry.alias is not None:
            by_rules = version_by_rules(entry.alias, headers) if headers else None
            version = by_rules or choose_version(entry.alias, draw=self._draw())
            return await self.resolve(urn.qualified(version))
        if entry.version is None:
            raise ModelError("FSS.1051", f"Function '{urn.name}' does not exist in package '{urn.package}'.")
        return entry.version

    def forget(self, project_id: str, package: str, name: str) -> None:
        """Drop all that is remembered of one function: it has changed."""
        self._entries.pop((project_id, package, name), None)

    def _cached(self, urn: Urn) -> _Entry | None:
        entry = self._entries.get((urn.project_id, urn.package, urn.name), {}).get(urn.qualifier)
        if entry is not None and self._clock.monotonic() - entry.read_at < MAX_AGE_S:
            return entry
        return None

    async def _load(self, urn: Urn) -> _Entry:
        read_at = self._clock.monotonic()
        entries = self._entries.setdefault((urn.project_id, urn.package, urn.name), {})
        version, alias = await self._store.read(lambda tx: _find(tx, urn), is_brief=True)
        entry = _Entry(version, alias, read_at)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.clear()
        # Only into the same dictionary: if `forget` ran meanwhile, this entry may be old and nobody will see it.
        entries[urn.qualifier] = entry
        return entry


def _find(tx: Tx, urn: Urn) -> tuple[FunctionVersion | None, Alias | None]:
    latest = tx.functions.get(urn.project_id, urn.package, urn.name, "latest")
    if latest is None:
        raise ModelError("FSS.1051", f"Function '{urn.name}' does not exist in package '{urn.package}'.")
    if urn.alias:
        alias = tx.aliases.get(latest.function_id, urn.alias)
        if alias is None:
            raise ModelError("FSS.1053", f"Alias '{urn.alias}' of function '{urn.name}' does not exist.")
        return None, alias
    version = (
        latest
        if latest.version == urn.version
        else tx.functions.get(urn.project_id, urn.package, urn.name, urn.version)
    )
    if version is None:
        raise ModelError("FSS.1052", f"Version '{urn.version}' of function '{urn.name}' does not exist.")
    if latest.settings.max_instances == 0:
        # Disabling a function disables its published versions too, although those never change.
        version = replace(version, settings=replace(version.settings, max_instances=0))
    return version, None
