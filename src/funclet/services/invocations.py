"""Run a function now or later. Start with `InvocationService.invoke`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from funclet.base.clock import Clock
from funclet.catalog import Catalog
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import MEMORY_LADDER, FunctionVersion
from funclet.model.identity import Principal
from funclet.model.invocation import (
    MAX_ASYNC_BODY_BYTES,
    MAX_SYNC_BODY_BYTES,
    Invocation,
    InvocationRecord,
    Invoker,
    Outcome,
    Submission,
    Submitter,
)
from funclet.model.urn import Urn
from funclet.store.protocol import Store, Tx

EMPTY_EVENT = b"{}"
DEFAULT_WINDOW_S = 3600.0
# Bounds the work of one list call: so many rows, newest first, are looked at.
MAX_LISTED_RECORDS = 10_000
STATUSES = ("WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD")

_PAGE = 500
_SIZES = {str(size): size for size in MEMORY_LADDER}
_skip_json = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the headers of an invocation ask for."""

    request_id: str
    memory: str = ""
    """Memory size in MB as it was sent; acts only on functions with dynamic memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which asynchronous requests a list call wants."""

    request_id: str = ""
    status: str = ""
    begin: float | None = None
    """Accepted at this time or later, seconds since the epoch; None: an hour before now."""
    end: float | None = None
    """Accepted at this time or before; None: now."""
    offset: int = 0
    limit: int = 100


class InvocationService:
    """Use cases of the invocation operations."""

    def __init__(
        self,
        *,
        store: Store,
        catalog: Catalog,
        invoker: Invoker,
        submitter: Submitter,
        clock: Clock,
        region: str,
        handler_error_status: int = 200,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._invoker = invoker
        self._submitter = submitter
        self._clock = clock
        self._region = region
        self.handler_error_status = handler_error_status
        """HTTP status of the answer when a handler failed: 200 as the cloud does, or 500."""

    async def invoke(self, principal: Principal, urn_text: str, payload: bytes, options: Options) -> Outcome:
        """Run a function and wait for its outcome.

        Raises:
            ModelError: nothing ran: FSS.1201 size, FSS.0406 no JSON or no such memory size, FSS.0404, FSS.1052
                or FSS.1053 missing, FSS.0429 disabled.
        """
        payload = _check_payload(payload, MAX_SYNC_BODY_BYTES)
        urn, version, memory_mib = await self._resolve(principal, urn_text, options)
        invocation = Invocation(
            request_id=options.request_id,
            version=version,
            payload=payload,
            alias=urn.alias,
            memory_mib=memory_mib,
        )
        return await self._invoker.invoke(invocation)

    async def submit(self, principal: Principal, urn_text: str, payload: bytes, options: Options) -> None:
        """Accept a request for later; it is durable when this returns.

        The version behind an alias is drawn anew when an attempt runs.

        Raises:
            ModelError: as `invoke`, and FSS.0503 if it cannot be stored.
        """
        payload = _check_payload(payload, MAX_ASYNC_BODY_BYTES)
        urn, version, memory_mib = await self._resolve(principal, urn_text, options)
        await self._submitter.submit(
            Submission(
                request_id=options.request_id,
                project_id=version.project_id,
                function_id=version.function_id,
                urn=str(urn if urn.qualifier else urn.qualified(urns.LATEST)),
                payload=payload,
                memory_mib=memory_mib,
                accepted_at=self._clock.now(),
            )
        )

    async def records(
        self, principal: Principal, urn_text: str, wanted: RecordFilter
    ) -> tuple[Sequence[InvocationRecord], int]:
        """Return a page of asynchronous requests of a function, newest first, and the count of all matches.

        Raises:
            ModelError: FSS.0404 if the function is missing, FSS.1001 if the filter is wrong.
        """
        if wanted.status and wanted.status not in STATUSES:
            raise ModelError("FSS.1001", f"status '{wanted.status[:40]}' is invalid: one of {', '.join(STATUSES)}.")
        now = self._clock.now()
        begin = now - DEFAULT_WINDOW_S if wanted.begin is None else wanted.begin
        end = now if wanted.end is None else wanted.end
        urn = urns.parse(urn_text, region=self._region, project_id=principal.project.project_id)
        matches = await self._store.read(lambda tx: _records(tx, urn, wanted, begin, end))
        return matches[wanted.offset : wanted.offset + wanted.limit], len(matches)

    async def _resolve(self, principal: Principal, urn_text: str, options: Options) -> tuple[Urn, FunctionVersion, int]:
        urn = urns.parse(urn_text, region=self._region, project_id=principal.project.project_id)
        try:
            version = await self._catalog.resolve(urn)
        except ModelError as error:
            raise _as_here(error) from error
        if version.settings.max_instances == 0:
            raise ModelError("FSS.0429", "Function Disabled")
        memory_mib = 0
        if version.settings.dynamic_memory and options.memory:
            memory_mib = _SIZES.get(options.memory.strip(), 0)
            if not memory_mib:
                sizes = ", ".join(_SIZES)
                raise ModelError("FSS.0406", f"X-Cff-Instance-Memory '{options.memory[:40]}' is none of {sizes}.")
        return urn, version, memory_mib


def is_json(text: bytes) -> bool:
    """Tell whether `text` is one JSON value in UTF-8. Takes about 2 ms per megabyte."""
    try:
        # Skips over values without making objects; it looks at everything but the encoding of strings.
        _skip_json(text)
        text.decode()
    except UnicodeDecodeError:
        return False
    except RecursionError:
        return False
    except msgspec.DecodeError:
        # JSON allows an escaped half of a surrogate pair, the quick look does not.
        return b"\\ud" in text.lower() and _is_json_with_halves(text)
    return True


def _is_json_with_halves(text: bytes) -> bool:
    try:
        json.loads(text.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _check_payload(payload: bytes, limit: int) -> bytes:
    if len(payload) > limit:
        raise ModelError("FSS.1201", f"The event has {len(payload)} bytes; {limit} are allowed.")
    if not payload:
        return EMPTY_EVENT
    if not is_json(payload):
        raise ModelError("FSS.0406", "The event is not JSON.")
    return payload


def _as_here(error: ModelError) -> ModelError:
    """Return the error of an invocation for one of the catalog: a missing function has another code here."""
    return ModelError("FSS.0404", error.message) if error.code == "FSS.1051" else error


def _records(tx: Tx, urn: Urn, wanted: RecordFilter, begin: float, end: float) -> list[InvocationRecord]:
    latest = tx.functions.get(urn.project_id, urn.package, urn.name, urns.LATEST)
    if latest is None:
        raise ModelError("FSS.0404", f"Function '{urn.name}' does not exist in package '{urn.package}'.")
    matches: list[InvocationRecord] = []
    for offset in range(0, MAX_LISTED_RECORDS, _PAGE):
        page, _ = tx.queue.records(
            latest.function_id, request_id=wanted.request_id, status=wanted.status, offset=offset, limit=_PAGE
        )
        matches += [record for record in page if begin <= record.accepted_at <= end]
        if len(page) < _PAGE or page[-1].accepted_at < begin:
            break
    return matches
