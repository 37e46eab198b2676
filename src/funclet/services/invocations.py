"""Run a function now or later. Start with `InvocationService.invoke`."""

import json
from collections.abc import Callable, Sequence
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
from funclet.services.record_pages import RecordPages
from funclet.store.protocol import Store
from funclet.store.queue_protocol import RecordQuery

EMPTY_EVENT = b"{}"
DEFAULT_WINDOW_S = 3600.0
STATUSES = ("WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD")
MAX_REQUEST_ID_LENGTH = 64
MAX_DEDUP_ID_LENGTH = 128
MAX_HOP_DEPTH = 1000

_HTTP_RUNTIME = "http"
_SIZES = {str(size): size for size in MEMORY_LADDER}
_skip_json = msgspec.json.Decoder(msgspec.Raw).decode


# Not frozen, as `Call`.
@dataclass(slots=True, kw_only=True)
class Options:
    """What the headers of an invocation ask for."""

    request_id: str
    memory: str = ""
    """Memory size in MB as it was sent; acts only on functions with dynamic memory."""
    dedup_id: str | None = None
    """Chosen by the client of an asynchronous request."""
    hop: str = ""
    """Where an asynchronous request stands in a chain: `<root request id>;<depth>[;<parent request id>]`."""


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
        numeric: bool = False,
        running_of: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._invoker = invoker
        self._submitter = submitter
        self._clock = clock
        self._pages = RecordPages(store, clock)
        self._region = region
        self.handler_error_status = handler_error_status
        """HTTP status of the answer when a handler failed: 200 as the cloud does, or 500."""
        self.numeric = numeric
        """Whether records are answered with numbers where other clients want texts."""
        self._running_of = running_of

    async def invoke(self, principal: Principal, urn_text: str, payload: bytes, options: Options) -> Outcome:
        """Run a function and wait for its outcome.

        Raises:
            ModelError: nothing ran: FSS.1201 size, FSS.0406 no JSON or no such memory size, FSS.0404, FSS.1052
                or FSS.1053 missing. A function that is disabled refuses, as the outcome says.
        """
        payload = _check_payload(payload, MAX_SYNC_BODY_BYTES) or EMPTY_EVENT
        urn, version, memory_mib = await self._resolve(principal, urn_text, options)
        invocation = Invocation(
            request_id=options.request_id,
            version=version,
            payload=payload,
            alias=urn.alias,
            memory_mib=memory_mib,
        )
        return await self._invoker.invoke(invocation)

    async def submit(self, principal: Principal, urn_text: str, payload: bytes, options: Options) -> str:
        """Accept a request for later; it is durable when this returns its id.

        The version behind an alias is drawn anew when an attempt runs.

        Raises:
            ModelError: as `invoke`, FSS.0429 disabled, FSS.0400 for an HTTP function or a wrong header, FSS.0503 if it
                cannot be stored.
        """
        payload = _check_payload(payload, MAX_ASYNC_BODY_BYTES)
        dedup_id = _check_dedup_id(options.dedup_id)
        root, depth, parent = _parse_hop(options.hop)
        urn, version, memory_mib = await self._resolve(principal, urn_text, options)
        if version.settings.max_instances == 0:
            raise ModelError("FSS.0429", "Function Disabled")
        if version.settings.runtime == _HTTP_RUNTIME:
            raise ModelError("FSS.0400", "An HTTP function cannot be invoked asynchronously.")
        return await self._submitter.submit(
            Submission(
                request_id=options.request_id,
                project_id=version.project_id,
                function_id=version.function_id,
                urn=str(urn if urn.qualifier else urn.qualified(urns.LATEST)),
                payload=payload,
                memory_mib=memory_mib,
                accepted_at=self._clock.now(),
                root_request_id=root,
                depth=depth,
                parent_request_id=parent,
                dedup_id=dedup_id,
            )
        )

    async def records(
        self, principal: Principal, urn_text: str, wanted: RecordFilter
    ) -> tuple[Sequence[InvocationRecord], int]:
        """Return a page of asynchronous requests of a function, newest first, and the count of all matches.

        Raises:
            ModelError: FSS.0404 if the function is missing, FSS.1001 if the filter is wrong.
        """
        require_status(wanted.status)
        if len(wanted.request_id) > MAX_REQUEST_ID_LENGTH:
            raise ModelError("FSS.1001", f"request_id has more than {MAX_REQUEST_ID_LENGTH} characters.")
        now = self._clock.now()
        begin = now - DEFAULT_WINDOW_S if wanted.begin is None else wanted.begin
        end = now if wanted.end is None else wanted.end
        urn = urns.parse(urn_text, region=self._region, project_id=principal.project.project_id)

        latest = await self._store.read(lambda tx: tx.functions.get(urn.project_id, urn.package, urn.name, urns.LATEST))
        if latest is None:
            raise ModelError("FSS.0404", f"Function '{urn.name}' does not exist in package '{urn.package}'.")
        query = RecordQuery(
            function_id=latest.function_id,
            request_ids=(wanted.request_id,) if wanted.request_id else (),
            status=wanted.status,
            begin=begin,
            end=end,
            offset=wanted.offset,
            limit=wanted.limit,
            running=tuple(self._running_of(latest.function_id)),
        )
        return await self._pages.read(query, window=(wanted.begin, wanted.end))

    async def _resolve(self, principal: Principal, urn_text: str, options: Options) -> tuple[Urn, FunctionVersion, int]:
        urn = urns.parse(urn_text, region=self._region, project_id=principal.project.project_id)
        try:
            version = await self._catalog.resolve(urn)
        except ModelError as error:
            raise _as_here(error) from error
        memory_mib = 0
        if version.settings.dynamic_memory and options.memory:
            memory_mib = _SIZES.get(options.memory.strip(), 0)
            if not memory_mib:
                sizes = ", ".join(_SIZES)
                raise ModelError("FSS.0406", f"X-Cff-Instance-Memory '{options.memory[:40]}' is none of {sizes}.")
        return urn, version, memory_mib


def require_status(status: str) -> None:
    """Refuse what is no state of an asynchronous request; empty stands for all.

    Raises:
        ModelError: FSS.1001.
    """
    if status and status not in STATUSES:
        raise ModelError("FSS.1001", f"status '{status[:40]}' is invalid: one of {', '.join(STATUSES)}.")


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
    if payload and not is_json(payload):
        raise ModelError("FSS.0406", "The event is not JSON.")
    return payload


def _check_dedup_id(given: str | None) -> str:
    if given is None:
        return ""
    if not 0 < len(given) <= MAX_DEDUP_ID_LENGTH:
        raise ModelError("FSS.0400", f"X-Cff-Dedup-Id must have 1 to {MAX_DEDUP_ID_LENGTH} characters.")
    return given


def _parse_hop(hop: str) -> tuple[str, int, str]:
    """Return root id, depth and parent id of a chain; of its beginning if `hop` is empty."""
    if not hop:
        return "", 0, ""
    root, depth, parent, *rest = (*hop.split(";"), "", "")
    is_depth = depth.isascii() and depth.isdigit() and len(depth) < 5 and int(depth) <= MAX_HOP_DEPTH  # noqa: PLR2004
    if any(rest) or not is_depth or max(len(root), len(parent)) > MAX_REQUEST_ID_LENGTH:
        raise ModelError(
            "FSS.0400", "X-Cff-Async-Hop must be '<root request id>;<depth>' with ';<parent request id>' if wanted."
        )
    return root, int(depth), parent


def _as_here(error: ModelError) -> ModelError:
    """Return the error of an invocation for one of the catalog: a missing function has another code here."""
    return ModelError("FSS.0404", error.message) if error.code == "FSS.1051" else error
