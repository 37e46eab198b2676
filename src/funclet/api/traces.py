"""From calls to the audit log: what is denied, and what changes something. No body is kept, only names in it."""

from typing import Any

import msgspec

from funclet.api.access import Rule
from funclet.api.call import Call, Operation
from funclet.base.clock import Clock
from funclet.base.http import Request, Response
from funclet.model.audit import Journal, Trace, TraceOutcome
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.store.protocol import StoreUnavailable

MAX_READ_BYTES = 1024 * 1024
"""Of a body, to find the name of what it makes."""
MAX_NAME_LENGTH = 128
_DENIED = frozenset({"APIG.0301", "APIG.0302", "FSS.0401", "FSS.0403", "FSS.0429", "FSS.1125"})


class _Named(msgspec.Struct):
    name: str = ""
    display_name: str = ""


class _PasswordUser(msgspec.Struct):
    user: _Named = msgspec.field(default_factory=_Named)


class _Identity(msgspec.Struct):
    password: _PasswordUser | None = None


class _Auth(msgspec.Struct):
    identity: _Identity = msgspec.field(default_factory=_Identity)


class _Names(msgspec.Struct):
    """Where bodies hold the name of what they are about."""

    func_name: str = ""
    name: str = ""
    stream_name: str = ""
    user: _Named | None = None
    group: _Named | None = None
    role: _Named | None = None
    agency: _Named | None = None
    auth: _Auth | None = None


class Tracer:
    """Writes down who did what."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def denied(
        self,
        operation: Operation,
        rule: Rule,
        request: Request,
        principal: Principal,
        resource: str,
        request_id: str,
        error: ModelError,
    ) -> None:
        """Note a call that was refused before it began; it is written soon, so that nobody waits for it."""
        outcome = TraceOutcome.DENIED if error.code in _DENIED else TraceOutcome.FAILED
        self._journal.note(
            self._trace(operation, rule, request, principal, resource, request_id, outcome, error.status, error.code)
        )

    async def serve(self, operation: Operation, rule: Rule, call: Call, resource: str) -> Response:
        """Serve a call that changes something; its trace is durable before it is answered.

        Raises:
            ModelError, StoreUnavailable: as the operation; that it failed is noted.
        """
        what = (operation, rule, call.request, call.principal, resource, call.request_id)
        assert operation.serve is not None
        try:
            response = await operation.serve(call)
        except ModelError as error:
            outcome = TraceOutcome.DENIED if error.code in _DENIED else TraceOutcome.FAILED
            self._journal.note(self._trace(*what, outcome, error.status, error.code))
            raise
        except StoreUnavailable:
            self._journal.note(self._trace(*what, TraceOutcome.FAILED, 503, "FSS.0503"))
            raise
        await self._journal.keep(self._trace(*what, TraceOutcome.DONE, response.status, ""))
        return response

    def _trace(
        self,
        operation: Operation,
        rule: Rule,
        request: Request,
        principal: Principal,
        resource: str,
        request_id: str,
        outcome: TraceOutcome,
        status: int,
        code: str,
    ) -> Trace:
        user, names = principal.user, _names_in(request.body)
        return Trace(
            at=self._clock.now(),
            project_id=principal.project.project_id,
            user_name=user.name or _claimed(names),
            user_id=user.user_id,
            operation=operation.name,
            action=rule.action,
            resource=resource or _subject(names),
            outcome=outcome,
            status=status,
            code=code,
            source=request.peer,
            request_id=request_id,
        )


def _names_in(body: bytes) -> _Names:
    if not body or len(body) > MAX_READ_BYTES:
        return _Names()
    try:
        return msgspec.json.decode(body, type=_Names)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Names()


def _claimed(names: _Names) -> str:
    """Return whom a login names."""
    password = names.auth.identity.password if names.auth else None
    return password.user.name[:MAX_NAME_LENGTH] if password else ""


def _subject(names: _Names) -> str:
    """Return the name of what a body makes."""
    entries: list[Any] = [names.user, names.group, names.role, names.agency]
    inner = next((one.name or one.display_name for one in entries if one is not None), "")
    return (names.func_name or names.name or names.stream_name or inner)[:MAX_NAME_LENGTH]
