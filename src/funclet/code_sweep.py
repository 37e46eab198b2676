"""Removes unpacked code that no version has any more, while the server runs: `CodeSweep.run`."""

import asyncio
import logging

from funclet.base.clock import Clock
from funclet.dataplane.code import CodeCache
from funclet.store.protocol import Store, StoreError

log = logging.getLogger(__name__)

PERIOD_S = 30.0
"""How often it looks; a folder goes at the second look at which no version has it."""


class CodeSweep:
    """Looks after each change of a function, until nothing is left to remove. One for all processes of a server."""

    def __init__(self, code: CodeCache, store: Store, clock: Clock) -> None:
        self._code = code
        self._store = store
        self._clock = clock
        self._unwanted: frozenset[str] = frozenset()
        self._is_changed = asyncio.Event()

    def noticed(self) -> None:
        """Note that a function was changed or deleted."""
        self._is_changed.set()

    async def run(self) -> None:
        """Remove what is not wanted any more, until cancelled. What cannot be read now is tried again."""
        while True:
            await self._clock.sleep(PERIOD_S)
            if not self._unwanted:
                await self._is_changed.wait()
            self._is_changed.clear()
            try:
                in_use = await folders_in_use(self._store)
                self._unwanted = await asyncio.to_thread(self._code.remove_unwanted, in_use, self._unwanted)
            except (StoreError, OSError) as error:
                log.warning("unpacked code cannot be removed now: %s", error)
                self._is_changed.set()


async def folders_in_use(store: Store) -> frozenset[str]:
    """Return the names of all folders of unpacked code that a version has.

    Raises:
        StoreError: they cannot be read now.
    """
    return await store.read(lambda tx: tx.functions.code_digests() | tx.functions.code_trees())
