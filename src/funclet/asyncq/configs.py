"""The settings of asynchronous requests, from memory: they are looked at for every attempt."""

from funclet.model.async_config import AsyncConfig
from funclet.model.function import FunctionVersion
from funclet.store.protocol import Store

MAX_ENTRIES = 20_000
_Key = tuple[str, str, str]


class AsyncConfigSource:
    """Records by version, read through to the store; whoever changes one, or a function, calls `forget`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: dict[_Key, dict[str, dict[str, AsyncConfig]]] = {}
        self._unlogged: set[str] = set()
        """Functions of which no version has a status log, as far as that is known."""

    def may_log(self, function_id: str) -> bool:
        """Tell whether a version of a function may have a status log."""
        return function_id not in self._unlogged

    async def of(self, version: FunctionVersion) -> AsyncConfig | None:
        """Return the record of a version; None if it has none.

        Raises:
            StoreUnavailable: it is not in memory and the store cannot be read.
        """
        function_id = version.function_id
        entry = self._entries.setdefault((version.project_id, version.package, version.name), {})
        records = entry.get(function_id)
        if records is None:
            records = await self._store.read(lambda tx: tx.async_configs.of_function(function_id))
            if len(self._entries) > MAX_ENTRIES:
                self._entries.clear()
                self._unlogged.clear()
            # Only into the same dictionary: if `forget` ran meanwhile, this may be old and nobody will see it.
            entry[function_id] = records
            is_current = self._entries.get((version.project_id, version.package, version.name)) is entry
            if is_current and not any(record.has_status_log for record in records.values()):
                self._unlogged.add(function_id)
        return records.get(version.version)

    def forget(self, project_id: str, package: str, name: str) -> None:
        """Drop what is remembered of one function."""
        for function_id in self._entries.pop((project_id, package, name), {}):
            self._unlogged.discard(function_id)
