"""One attempt of an asynchronous request: resolve, invoke, decide. Start with `Attempts.run`."""

import random
import sys
from dataclasses import dataclass, replace

import msgspec

from funclet.asyncq import notification, retry
from funclet.asyncq.configs import AsyncConfigSource
from funclet.asyncq.retry import Again, AsyncPolicy, Condition, Decision, Done, Drop
from funclet.base.clock import Clock, SteadyClock
from funclet.catalog import Catalog
from funclet.model.async_config import AsyncConfig
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.invocation import Invocation, Invoker, PlatformFailed, Refused
from funclet.model.urn import Urn, parse
from funclet.store.queue_protocol import NewDeadLetter, NewDelivery, QueuedRequest, Settlement

EMPTY_EVENT = b"{}"
# Of the status log (async.md 5.4): the largest is the state of now.
_SEQUENCE = {"WAIT": 10, "RUNNING": 20, "SUCCESS": 30, "FAIL": 31, "DISCARD": 32}
_PER_TRY = 100


class FunctionGone(Exception):
    """The function of a request does not exist any more."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOptions:
    """What the operator decides about attempts."""

    retry_base_s: float = 1.0
    retry_factor: float = 2.0
    max_chain_depth: int = 16
    keeps_all_records: bool = True
    """Whether requests of versions without a status log can be looked up, too, once they have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request runs on now."""

    version: FunctionVersion
    alias: str
    config: AsyncConfig | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An attempt that is over."""

    decision: Decision
    has_run: bool
    """Whether the function was given the event."""
    is_refused: bool = False
    """Whether the next request of the function would most likely be refused as well."""


class Attempts:
    """Runs requests once, and says what follows."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        configs: AsyncConfigSource,
        invoker: Invoker,
        clock: Clock,
        steady: SteadyClock,
        options: AttemptOptions,
    ) -> None:
        self._catalog = catalog
        self._configs = configs
        self._invoker = invoker
        self._clock = clock
        self._steady = steady
        self._options = options

    def may_log(self, function_id: str) -> bool:
        """Tell whether changes of state of the requests of a function may have to be logged."""
        return self._configs.may_log(function_id)

    async def target(self, request: QueuedRequest) -> Target:
        """Return what a request runs on: the version that its urn or alias stands for now.

        Raises:
            FunctionGone: the function does not exist, or is another one of the same name.
            ModelError: the version or alias does not exist.
            StoreUnavailable: it cannot be looked up.
        """
        submission = request.submission
        urn = _urn_of(submission.urn)
        try:
            version = await self._catalog.resolve(urn)
        except ModelError as error:
            if error.code == "FSS.1051":
                raise FunctionGone(error.message) from error
            raise
        if version.function_id != submission.function_id:
            raise FunctionGone(f"The function '{urn.name}' that this request was for was deleted.")
        return Target(version=version, alias=urn.alias, config=await self._configs.of(version))

    def verdict(self, request: QueuedRequest, target: Target) -> Drop | None:
        """Return why a request must not be run, if it must not."""
        if request.submission.depth > self._options.max_chain_depth:
            return retry.looped(self._options.max_chain_depth)
        if self._steady.now() > request.queued_at + self._policy(target).max_age_s:
            return retry.too_old(attempts=request.attempts, code=request.error_code, message=request.error_message)
        return None

    async def run(self, request: QueuedRequest, target: Target) -> Result:
        """Run a request once."""
        submission = request.submission
        outcome = await self._invoker.invoke(
            Invocation(
                request_id=submission.request_id,
                version=target.version,
                payload=submission.payload or EMPTY_EVENT,
                alias=target.alias,
                memory_mib=submission.memory_mib,
                asynchronous=True,
            )
        )
        decision = retry.decide(
            outcome,
            attempt=request.attempts + 1,
            refusals=request.refusals + 1,
            accepted_at=request.queued_at,
            now=self._steady.now(),
            policy=self._policy(target),
            chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        is_refused = isinstance(outcome, Refused | PlatformFailed)
        return Result(decision=decision, has_run=not is_refused, is_refused=is_refused)

    def settlement(
        self, request: QueuedRequest, result: Result, config: AsyncConfig | None, *, started_at: float | None
    ) -> Settlement:
        """Return what is to be written after an attempt.

        Args:
            request: as it was before the attempt.
            result: of the attempt.
            config: of the version that it ran on, if there is one.
            started_at: when the first run began, seconds since the epoch; None if nothing ran.
        """
        decision, now = result.decision, self._clock.now()
        attempts = request.attempts + (1 if result.has_run else 0)
        tries = request.attempts + request.refusals
        if isinstance(decision, Again):
            return Settlement(
                request=request,
                status="WAIT",
                at=now,
                attempts=attempts,
                refusals=request.refusals + (0 if decision.counts else 1),
                started_at=started_at,
                due_at=decision.at,
                error_code=decision.code,
                error_message=decision.message,
                status_lines=status_lines(request, "WAIT", config, at=now, tries=tries + 1, error=decision),
            )
        status = "SUCCESS" if isinstance(decision, Done) else decision.status
        delivery, letter = _notification(request, decision, config, executions=attempts, now=now)
        return Settlement(
            request=request,
            status=status,
            at=now,
            attempts=attempts,
            started_at=started_at,
            error_code=0 if isinstance(decision, Done) else decision.code,
            error_message="" if isinstance(decision, Done) else decision.message,
            delivery=delivery,
            dead_letter=letter,
            status_lines=status_lines(request, status, config, at=now, tries=tries, error=decision),
            keeps_record=self._options.keeps_all_records or (config is not None and config.has_status_log),
        )

    def _policy(self, target: Target) -> AsyncPolicy:
        options, config = self._options, target.config
        policy = AsyncPolicy(retry_base_s=options.retry_base_s, retry_factor=options.retry_factor)
        if config is None:
            return policy
        return replace(policy, max_retries=config.max_retries, max_age_s=float(config.max_age_s))


def status_lines(
    request: QueuedRequest,
    status: str,
    config: AsyncConfig | None,
    *,
    at: float,
    tries: int,
    error: Decision | None = None,
) -> tuple[str, ...]:
    """Return the line of the status log for a change of state; none if the version has no such log.

    `tries` is how often it was tried before, those times included when nothing ran: so the numbers of the states grow.
    """
    if config is None or not config.has_status_log:
        return ()
    failure = error if isinstance(error, Again | Drop) else None
    line = {
        "function_urn": request.submission.urn,
        "request_id": request.submission.request_id,
        "seq_status": _SEQUENCE[status] + _PER_TRY * tries,
        "operation_timestamp": int(at * 1000),
        "error_code": int(failure.code) if failure else 0,
        "error_message": failure.message if failure else "",
    }
    return (msgspec.json.encode(line).decode(),)


def _notification(
    request: QueuedRequest, end: Done | Drop, config: AsyncConfig | None, *, executions: int, now: float
) -> tuple[NewDelivery | None, NewDeadLetter | None]:
    """Return what is to be sent; or, for a failure that nobody is told of, what is kept."""
    is_success = isinstance(end, Done)
    wanted = None
    if config is not None:
        wanted = config.on_success if is_success else config.on_failure
    if isinstance(end, Drop) and end.condition is Condition.LOOP:
        wanted = None
    if wanted is not None:
        document = notification.build(request.submission, end, executions=executions)
        new = NewDelivery(kind=wanted.kind, param=wanted.param, is_success=is_success, document=document, ended_at=now)
        return new, None
    if isinstance(end, Done):
        return None, None
    # Whole, however long: from here it is submitted again if somebody wishes so.
    document = notification.build(request.submission, end, executions=executions, max_request_bytes=sys.maxsize)
    return None, NewDeadLetter(reason=f"{end.condition}: {end.message}", document=document)


def _urn_of(text: str) -> Urn:
    fields = text.split(":")
    return parse(text, region=fields[2], project_id=fields[3])
