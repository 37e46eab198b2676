"""Fills the database of a stopped server with functions, as the server itself would store them: `fill`."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from funclet.base.ids import new_uuid
from funclet.model.function import FunctionVersion
from funclet.store.protocol import FunctionFilter, Tx
from funclet.store.sqlite import SqliteStore

_BATCH = 1000


def fill(data_folder: Path, project_id: str, count: int) -> Sequence[str]:
    """Copy the only function of a project until there are `count`; return the urns of the copies.

    The quota of a project is for requests to the API, so that 10,000 functions can only be
    had by many projects, or by writing the rows. The copies share the code of the first one.
    The database keeps its owner.
    """
    path = data_folder / "funclet.db"
    return asyncio.run(_fill(path, project_id, count))


async def _fill(path: Path, project_id: str, count: int) -> Sequence[str]:
    store = SqliteStore.open(path)
    try:
        found, _ = await store.read(lambda tx: tx.functions.find(_one_of(project_id)))
        copies = [_copy(found[0], number) for number in range(1, count)]
        for first in range(0, len(copies), _BATCH):
            batch = copies[first : first + _BATCH]
            await store.write(lambda tx, batch=batch: _add(tx, batch))
    finally:
        await store.close()
    return [str(copy.urn) for copy in copies]


def _one_of(project_id: str) -> FunctionFilter:
    return FunctionFilter(project_id=project_id, limit=1)


def _copy(version: FunctionVersion, number: int) -> FunctionVersion:
    return replace(version, name=f"copy-{number}", function_id=new_uuid())


def _add(tx: Tx, versions: Sequence[FunctionVersion]) -> None:
    for version in versions:
        tx.functions.add(version)
