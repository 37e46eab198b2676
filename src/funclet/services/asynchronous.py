"""Use cases around asynchronous requests: settings, cancelling, the status log, dead letters.

Accepting and listing them is in `invocations`. Start with `AsyncService.configure`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from funclet.asyncq.configs import AsyncConfigSource
from funclet.asyncq.delivery import Deliverer, Destination
from funclet.base.clock import Clock
from funclet.base.ids import new_ordered_uuid, new_uuid
from funclet.model import urn as urns
from funclet.model.async_config import AsyncConfig, DestinationConfig, StatusLogTarget
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import Principal
from funclet.model.invocation import InvocationRecord, Submission, Submitter
from funclet.model.urn import LATEST, Urn
from funclet.services import bucket_loops, destination_rights
from funclet.services.destination_rights import May
from funclet.services.functions import require_version
from funclet.services.invocations import require_status
from funclet.services.record_pages import RecordPages
from funclet.store.protocol import Store, Tx
from funclet.store.queue_protocol import DeadLetter, DeliveryRecord, RecordQuery

MAX_CHAIN_LOOKED_AT = 16
MAX_ASKED_REQUESTS = 10
_FUNCTION_KIND = "FunctionGraph"


class RunningRequests(Protocol):
    """Whoever runs the queue."""

    async def cancel(self, function_id: str, request_id: str, *, force: bool) -> bool:
        """End a request that waits or runs; False if there is none."""
        ...

    def running_of(self, function_id: str) -> Sequence[str]:
        """Return the ids of requests of a function that run now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsyncConfig:
    """Settings as a client sent them, checked as far as that needs nothing else."""

    max_retries: int
    max_age_s: int
    on_success: DestinationConfig | None
    on_failure: DestinationConfig | None
    has_status_log: bool
    status_log: tuple[str, str, str, str]
    """Group id and name, stream id and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLogPlace:
    """Where the status log of a project is seen."""

    group_id: str
    group_name: str
    stream_id: str
    stream_name: str


class AsyncService:
    """What can be said about asynchronous requests, but for submitting them."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        region: str,
        configs: AsyncConfigSource,
        deliverer: Deliverer,
        running: RunningRequests,
        submitter: Submitter,
        deliveries_changed: Callable[[], None],
        queue_time: Callable[[], float],
    ) -> None:
        self._store = store
        self._clock = clock
        self._region = region
        self._configs = configs
        self._deliverer = deliverer
        self._running = running
        self._submitter = submitter
        self._deliveries_changed = deliveries_changed
        self._queue_time = queue_time
        self._pages = RecordPages(store, clock)

    async def configure(
        self, principal: Principal, urn: str, new: NewAsyncConfig, may: May
    ) -> tuple[AsyncConfig, bool]:
        """Create or replace the settings of a version; tell also whether its destinations lead back to it.

        `may` tells what somebody may do; destinations that stay as they are need nothing.

        Raises:
            ModelError: FSS.1309, FSS.1051 or FSS.1052 for the urn; FSS.0400 for an alias, a wrong destination, or
                one whose objects start the function again; FSS.0403 for one that neither the caller nor the agency of
                the function may send to.
        """
        place = self._parse(principal, urn)
        if place.alias:
            raise ModelError("FSS.0400", "Asynchronous settings belong to a version; an alias cannot have them.")
        destinations = [one for one in (new.on_success, new.on_failure) if one is not None]
        for destination in destinations:
            self._deliverer.check(Destination(kind=destination.kind, param=destination.members))

        def work(tx: Tx) -> tuple[AsyncConfig, bool]:
            version = require_version(tx, place)
            old = tx.async_configs.get(version.function_id, version.version)
            known = (old.on_success, old.on_failure) if old is not None else ()
            added = [one for one in destinations if one not in known]
            destination_rights.check(tx, version, added, principal, may, now=self._clock.now())
            bucket_loops.check(tx, version, destinations)
            config = self._config(version, new, old)
            tx.async_configs.put(version.function_id, version.version, config)
            return config, self._leads_back(tx, version, config)

        config, has_cycle = await self._store.write(work)
        self._configs.forget(place.project_id, place.package, place.name)
        return config, has_cycle

    async def config(self, principal: Principal, urn: str) -> AsyncConfig:
        """Return the settings of a version.

        Raises:
            ModelError: the codes of the urn; FSS.0404 if it has none.
        """
        place = self._parse(principal, urn)

        def work(tx: Tx) -> AsyncConfig | None:
            version = require_version(tx, place)
            return None if place.alias else tx.async_configs.get(version.function_id, version.version)

        found = await self._store.read(work)
        if found is None:
            raise _no_config(urn)
        return found

    async def configs(self, principal: Principal, urn: str) -> Sequence[AsyncConfig]:
        """Return the settings of all versions of a function, in the order of their names.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse(principal, urn).qualified(LATEST)

        def work(tx: Tx) -> Sequence[AsyncConfig]:
            return list(tx.async_configs.of_function(require_version(tx, place).function_id).values())

        return await self._store.read(work)

    async def delete_config(self, principal: Principal, urn: str) -> None:
        """Delete the settings of a version.

        Raises:
            ModelError: the codes of the urn; FSS.0404 if it has none.
        """
        place = self._parse(principal, urn)

        def work(tx: Tx) -> bool:
            version = require_version(tx, place)
            return not place.alias and tx.async_configs.delete(version.function_id, version.version)

        if not await self._store.write(work):
            raise _no_config(urn)
        self._configs.forget(place.project_id, place.package, place.name)

    async def cancel(self, principal: Principal, urn: str, request_id: str, *, force: bool, recursive: bool) -> None:
        """End a request; with `recursive` also what it has caused. Nothing happens if it has ended already.

        Raises:
            ModelError: FSS.0404 if the function is missing, FSS.0400 if it has no such request.
        """
        function_id = await self._function_id(principal, urn)
        query = RecordQuery(function_id=function_id, request_ids=(request_id,))
        records, _ = await self._store.read(lambda tx: tx.queue.records(query))
        if not records:
            raise ModelError("FSS.0400", "Invalid RequestId")
        pending, seen = [(function_id, request_id)], {request_id}
        while pending:
            of_function, one = pending.pop()
            children: Sequence[tuple[str, str]] = ()
            if recursive:
                children = await self._store.read(lambda tx, one=one: tx.queue.children(one))  # type: ignore[misc]
            await self._running.cancel(of_function, one, force=force)
            pending += [child for child in children if child[1] not in seen]
            seen.update(child[1] for child in children)

    async def active(
        self, principal: Principal, urn: str, query: RecordQuery
    ) -> tuple[Sequence[InvocationRecord], int]:
        """Return a page of requests, those that wait or run first of all, and the count of all matches.

        `query`: its function and what runs are filled in here.

        Raises:
            ModelError: FSS.0404 if the function is missing, FSS.1001 if the query is wrong.
        """
        require_status(query.status)
        if len(query.request_ids) > MAX_ASKED_REQUESTS:
            raise ModelError("FSS.1001", f"requests names more than {MAX_ASKED_REQUESTS} ids.")
        function_id = await self._function_id(principal, urn)
        wanted = replace(query, function_id=function_id, running=tuple(self._running.running_of(function_id)))
        return await self._pages.read(wanted, window=(query.begin, query.end))

    async def deliveries(self, principal: Principal, request_id: str) -> Sequence[DeliveryRecord]:
        """Return the notifications of one request, oldest first."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.deliveries.of_request(project_id, request_id))

    async def enable_status_log(self, principal: Principal) -> None:
        """Let the project have a status log; nothing happens if it has one."""
        project_id = principal.project.project_id
        await self._store.write(lambda tx: tx.async_configs.put_status_log(project_id, new_uuid(), new_uuid()))

    async def status_log(self, principal: Principal) -> StatusLogPlace | None:
        """Return where the status log is; None before it is enabled."""
        project_id = principal.project.project_id
        found = await self._store.read(lambda tx: tx.async_configs.status_log(project_id))
        if found is None:
            return None
        return StatusLogPlace(
            group_id=found[0],
            group_name=f"function-async-log-group-{project_id}",
            stream_id=found[1],
            stream_name=f"function-async-log-stream-{project_id}",
        )

    async def status_lines(
        self, principal: Principal, *, request_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, str]]:
        """Return lines of the status log with their numbers, oldest first."""
        project_id = principal.project.project_id
        return await self._store.read(
            lambda tx: tx.async_configs.status_lines(project_id, request_id=request_id, after=after, limit=limit)
        )

    async def dead_letters(self, principal: Principal, *, offset: int, limit: int) -> tuple[Sequence[DeadLetter], int]:
        """Return a page of dead letters of the project, newest first, and the count of all."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.deliveries.dead_letters(project_id, offset=offset, limit=limit))

    async def replay(self, principal: Principal, letter_id: int) -> str:
        """Give a dead letter another chance, and remove it.

        One that could not be delivered is sent to its destination again. One of a request without a destination has
        its event submitted again. Return the id of the request: a new one in the second case.

        Raises:
            ModelError: FSS.0404 if there is no such letter, or its function is gone; FSS.0503.
        """
        project_id = principal.project.project_id
        letter = await self._store.read(lambda tx: tx.deliveries.dead_letter(project_id, letter_id))
        if letter is None:
            raise ModelError("FSS.0404", f"There is no dead letter {letter_id}.")
        if letter.kind:
            now = self._queue_time()
            await self._store.write(lambda tx: tx.deliveries.replay(letter, now=now))
            self._deliveries_changed()
            return letter.request_id
        request_id = await self._submit_again(principal, letter)
        await self._store.write(lambda tx: tx.deliveries.purge(project_id, [letter_id]))
        return request_id

    async def purge(self, principal: Principal, letter_ids: Sequence[int]) -> int:
        """Delete dead letters, all of the project if none is named; return how many."""
        project_id = principal.project.project_id
        return await self._store.write(lambda tx: tx.deliveries.purge(project_id, letter_ids))

    async def _submit_again(self, principal: Principal, letter: DeadLetter) -> str:
        function_id = await self._function_id(principal, letter.function_urn)
        payload: str = json.loads(letter.document)["request_payload"]
        return await self._submitter.submit(
            Submission(
                request_id=new_ordered_uuid(),
                project_id=letter.project_id,
                function_id=function_id,
                urn=letter.function_urn,
                payload=payload.encode(),
                accepted_at=self._clock.now(),
                source="replay",
            )
        )

    def _parse(self, principal: Principal, urn: str) -> Urn:
        return urns.parse(urn, region=self._region, project_id=principal.project.project_id)

    async def _function_id(self, principal: Principal, urn: str) -> str:
        place = self._parse(principal, urn)
        found = await self._store.read(lambda tx: tx.functions.get(place.project_id, place.package, place.name, LATEST))
        if found is None:
            raise ModelError("FSS.0404", f"can not find function: '{place.name}' in package '{place.package}'")
        return found.function_id

    def _config(self, version: FunctionVersion, new: NewAsyncConfig, old: AsyncConfig | None) -> AsyncConfig:
        now = self._clock.now()
        group_id, group_name, stream_id, stream_name = new.status_log
        return AsyncConfig(
            func_urn=str(version.urn),
            max_retries=new.max_retries,
            max_age_s=new.max_age_s,
            on_success=new.on_success,
            on_failure=new.on_failure,
            has_status_log=new.has_status_log,
            status_log=StatusLogTarget(
                group_id=group_id, group_name=group_name, stream_id=stream_id, stream_name=stream_name
            ),
            created_at=old.created_at if old is not None else now,
            modified_at=now,
        )

    def _leads_back(self, tx: Tx, version: FunctionVersion, config: AsyncConfig) -> bool:
        """Tell whether the destinations of a version, and theirs, lead to it again."""
        own = (version.function_id, version.version)
        reached, seen = self._next(tx, version.project_id, config), {own}
        for _ in range(MAX_CHAIN_LOOKED_AT):
            if any(key == own for key in reached):
                return True
            new = [key for key in reached if key not in seen]
            seen.update(new)
            found = [tx.async_configs.get(*key) for key in new]
            reached = [key for one in found if one for key in self._next(tx, version.project_id, one)]
        return False

    def _next(self, tx: Tx, project_id: str, config: AsyncConfig) -> list[tuple[str, str]]:
        """Return the versions that the destinations of a record stand for now."""
        keys = []
        for destination in (config.on_success, config.on_failure):
            if destination is None or destination.kind != _FUNCTION_KIND:
                continue
            try:
                target = urns.parse(
                    str(destination.members.get("func_urn", "")), region=self._region, project_id=project_id
                )
                version = require_version(tx, target)
            except ModelError:
                # It may be made later.
                continue
            keys.append((version.function_id, version.version))
        return keys


def _no_config(urn: str) -> ModelError:
    return ModelError("FSS.0404", f"'{urn[:269]}' has no asynchronous settings.")
