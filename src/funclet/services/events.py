"""Use cases of test events: events that a function is tried with. Start with `EventService.create`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from funclet.base.clock import Clock
from funclet.base.ids import new_uuid
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.model.resources import MAX_EVENTS, StoredEvent, check_event_content, check_event_name
from funclet.services.functions import require_version
from funclet.store.protocol import Duplicate, Store, Tx

T = TypeVar("T")


class EventService:
    """Test events of all functions. Whatever version a urn names, they belong to the function."""

    def __init__(self, store: Store, clock: Clock, *, region: str) -> None:
        self._store = store
        self._clock = clock
        self._region = region

    async def create(self, principal: Principal, urn: str, *, name: str, content: bytes) -> StoredEvent:
        """Store an event.

        Raises:
            ModelError: FSS.1074 or FSS.1069 for name or content; the codes of the urn; FSS.1073 if the name is taken;
                FSS.1068 if the function has as many as it may have.
        """
        check_event_name(name)
        check_event_content(content)

        def work(tx: Tx, function_id: str) -> StoredEvent:
            event = StoredEvent(
                event_id=new_uuid(), function_id=function_id, name=name, content=content, modified_at=self._clock.now()
            )
            _refusing_taken(tx.events.add, event)
            if len(tx.events.list(function_id)) > MAX_EVENTS:
                raise ModelError("FSS.1068", f"The function has {MAX_EVENTS} test events; delete one first.")
            return event

        return await self._store.write(self._with_function(principal, urn, work))

    async def update(self, principal: Principal, urn: str, event_id: str, *, name: str, content: bytes) -> StoredEvent:
        """Give an event another content and, unless `name` is empty, another name.

        Raises:
            ModelError: as `create`; FSS.1070 if there is no such event.
        """
        if name:
            check_event_name(name)
        check_event_content(content)

        def work(tx: Tx, function_id: str) -> StoredEvent:
            old = _require(tx, function_id, event_id)
            event = replace(old, name=name or old.name, content=content, modified_at=self._clock.now())
            _refusing_taken(tx.events.replace, event)
            return event

        return await self._store.write(self._with_function(principal, urn, work))

    async def get(self, principal: Principal, urn: str, event_id: str) -> StoredEvent:
        """Return an event.

        Raises:
            ModelError: the codes of the urn; FSS.1070 if there is no such event.
        """
        work = self._with_function(principal, urn, lambda tx, function_id: _require(tx, function_id, event_id))
        return await self._store.read(work)

    async def find(self, principal: Principal, urn: str) -> Sequence[StoredEvent]:
        """Return all events of a function, oldest first.

        Raises:
            ModelError: the codes of the urn.
        """
        work = self._with_function(principal, urn, lambda tx, function_id: tx.events.list(function_id))
        return await self._store.read(work)

    async def delete(self, principal: Principal, urn: str, event_id: str) -> None:
        """Delete an event.

        Raises:
            ModelError: the codes of the urn; FSS.1070 if there is no such event.
        """

        def work(tx: Tx, function_id: str) -> None:
            if not tx.events.delete(function_id, event_id):
                raise _missing(event_id)

        await self._store.write(self._with_function(principal, urn, work))

    def _with_function(self, principal: Principal, urn: str, work: Callable[[Tx, str], T]) -> Callable[[Tx], T]:
        place = urns.parse(urn, region=self._region, project_id=principal.project.project_id)
        return lambda tx: work(tx, require_version(tx, place).function_id)


def _refusing_taken(store: Callable[[StoredEvent], None], event: StoredEvent) -> None:
    try:
        store(event)
    except Duplicate as error:
        raise ModelError("FSS.1073", f"The function has a test event '{event.name}' already.") from error


def _require(tx: Tx, function_id: str, event_id: str) -> StoredEvent:
    event = tx.events.get(function_id, event_id)
    if event is None:
        raise _missing(event_id)
    return event


def _missing(event_id: str) -> ModelError:
    return ModelError("FSS.1070", f"The function has no test event '{event_id[:64]}'.")
