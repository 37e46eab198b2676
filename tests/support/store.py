"""A store for tests that are plain functions, and model values to put into it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs

from funclet.model.async_config import AsyncConfig
from funclet.model.function import Alias, Code, FunctionVersion, Settings
from funclet.model.invocation import Submission
from funclet.model.trigger import Trigger, TriggerStatus
from funclet.store.protocol import Store, Tx
from funclet.store.queue_protocol import QueuedRequest, RecordQuery, Settlement
from funclet.store.sqlite import SqliteReader, SqliteStore, StoreStatistics


class ReadElsewhere:
    """A store whose reads go through the connection of a process that only reads."""

    def __init__(self, path: Path) -> None:
        self._writer = SqliteStore.open(path)
        self._reader = SqliteReader.open(path)
        self.vault = self._writer.vault
        self.write = self._writer.write
        self.read = self._reader.read

    @property
    def statistics(self) -> StoreStatistics:
        """Those of the writer."""
        return self._writer.statistics

    async def close(self) -> None:
        """Close both."""
        await self._reader.close()
        await self._writer.close()


FACTORIES: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore.open(folder / "funclet.db"),
    "sqlite-alone": lambda folder: SqliteStore.open(folder / "funclet.db", is_alone=True),
    "sqlite-reader": lambda folder: ReadElsewhere(folder / "funclet.db"),
}


class Database:
    """A store and the loop it is used from."""

    def __init__(self, factory: Callable[[Path], Store], folder: Path, *, reopens: bool = False) -> None:
        self.factory = factory
        self.folder = folder
        self.reopens = reopens
        self.runner = asyncio.Runner()
        self.store = factory(folder)

    def write(self, work: Callable[[Tx], Any]) -> Any:
        """Write from the loop and wait for it."""
        return self.runner.run(self.store.write(work))

    def read(self, work: Callable[[Tx], Any]) -> Any:
        """Read from the loop; `reopens` closes and opens the store first."""
        if self.reopens:
            self.reopen()
        return self.runner.run(self.store.read(work))

    def together(self, *works: Callable[[Tx], Any]) -> list[Any]:
        """Write all at once; exceptions are among the results."""

        async def gather() -> list[Any]:
            return await asyncio.gather(*(self.store.write(work) for work in works), return_exceptions=True)

        return self.runner.run(gather())

    def reopen(self) -> None:
        """Close the store and open it again, as a restart does."""
        self.runner.run(self.store.close())
        self.store = self.factory(self.folder)

    def close(self) -> None:
        """Close the store and the loop."""
        self.runner.run(self.store.close())
        self.runner.close()


def a_version(name: str = "hello", **changes: Any) -> FunctionVersion:
    version = FunctionVersion(
        project_id="p1",
        region="r1",
        package="default",
        name=name,
        function_id=f"id-{changes.get('project_id', 'p1')}-{name}",
        version="latest",
        settings=Settings(runtime="Python3.9", handler="index.handler", timeout_s=3, memory_mib=128),
        code=Code(digest="ab" * 64, size=100, code_type="zip"),
        modified_at=1000.0,
    )
    return replace(version, **changes)


def an_alias(name: str = "prod", **changes: Any) -> Alias:
    return replace(Alias(name=name, version="v1", modified_at=1000.0), **changes)


def a_trigger(trigger_id: str = "t1", *, qualifier: str = "latest", **changes: Any) -> Trigger:
    trigger = Trigger(
        trigger_id=trigger_id,
        project_id="p1",
        function_id="id-p1-hello",
        function_urn=f"urn:fss:r1:p1:function:default:hello:{qualifier}",
        type_code="TIMER",
        status=TriggerStatus.ACTIVE,
        event_data={"name": "t", "schedule": "1m"},
        created_at=1000.0,
        updated_at=1000.0,
    )
    return replace(trigger, **changes)


def a_submission(request_id: str = "r1", **changes: Any) -> Submission:
    submission = Submission(
        request_id=request_id,
        project_id="p1",
        function_id="id-p1-hello",
        urn="urn:fss:r1:p1:function:default:hello:latest",
        payload=b'{"a": "\xc3\xa9"}',
        accepted_at=1000.0,
    )
    return structs.replace(submission, **changes)


def an_async_config(**changes: Any) -> AsyncConfig:
    urn = "urn:fss:r1:p1:function:default:hello:latest"
    return replace(AsyncConfig(func_urn=urn, created_at=1000.0, modified_at=1000.0), **changes)


FUNCTION_ID = "id-p1-hello"


def due(tx: Tx, **wanted: Any) -> list[QueuedRequest]:
    """Return what is due of the function of `a_submission`."""
    defaults = {"function_id": FUNCTION_ID, "now": 1e10, "limit": 100_000, "max_bytes": 1 << 40, "held": ()}
    return list(tx.queue.due(**(defaults | wanted)))


def records(tx: Tx, function_id: str = FUNCTION_ID, **wanted: Any) -> tuple[Any, int]:
    """Return records, all of them unless told otherwise."""
    return tx.queue.records(RecordQuery(**({"function_id": function_id, "limit": 1_000_000} | wanted)))


def settled(request: QueuedRequest, status: str, **changes: Any) -> Settlement:
    """Return the end, or the next wait, of a request after a run."""
    return replace(Settlement(request=request, status=status, at=2000.0, attempts=request.attempts + 1), **changes)
