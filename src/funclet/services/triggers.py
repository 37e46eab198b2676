"""Use cases of triggers: create, read, list, change, delete. Start with `TriggerService.create`.

What is special to a kind stands in its `TriggerType`; here are the rules that all
share. Whoever serves triggers is told of a change through `on_change` afterwards.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id, new_uuid
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import Principal
from funclet.model.trigger import Trigger, TriggerStatus
from funclet.model.urn import LATEST, Urn
from funclet.services.functions import require_version
from funclet.services.trigger_secrets import TriggerSecrets
from funclet.services.trigger_sources import TxSources
from funclet.store.protocol import Store, Tx
from funclet.triggers.protocol import Circumstances, TriggerType

# Of all pull kinds together, per version or alias.
MAX_PULL_TRIGGERS = 10
# Of all kinds together, per version or alias.
MAX_TRIGGERS = 100
MAX_EVENT_DATA_BYTES = 64 * 1024
MAX_PARTS = 100
_HTTP_RUNTIME = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrigger:
    """A trigger to be created, as the client sent it."""

    type_code: str
    event_data: Any
    """An object, or an array of such, the last one winning, or either as JSON text."""
    status: str = ""
    """Empty: the default of the kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerChange:
    """What of a trigger shall change."""

    event_data: Any = None
    """New members, in any of the shapes of `NewTrigger`; None: they stay."""
    status: str = ""
    """Empty: it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTrigger:
    """A trigger as a client reads it."""

    trigger: Trigger
    """With the data that is shown."""
    status: TriggerStatus
    """Whether it fires."""
    status_reason: str
    """Why it does not, whatever the client wishes; empty if nothing but the wish counts."""


class TriggerService:
    """Triggers of all projects."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        kinds: Sequence[TriggerType],
        secrets: TriggerSecrets,
        *,
        region: str,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._kinds = {kind.traits.code: kind for kind in kinds}
        self._secrets = secrets
        self._region = region
        self._on_change = on_change

    @property
    def type_codes(self) -> Sequence[str]:
        """The kinds that fire on this server."""
        return tuple(code for code, kind in self._kinds.items() if not kind.traits.unconnected)

    async def create(self, principal: Principal, urn: str, new: NewTrigger) -> ShownTrigger:
        """Create a trigger on the version or alias that `urn` names; `latest` if it names none.

        Raises:
            ModelError: FSS.1309, FSS.1051, FSS.1052, FSS.1053 for the function; FSS.1101 for the type;
                FSS.1153 if the function cannot have it; FSS.1318 for the status; FSS.1123 and FSS.1306 if a quota is
                used up; the codes of the type.
        """
        place = self._parse_urn(principal, urn)
        trigger = await self._store.write(lambda tx: self.add(tx, place, new))
        self.announce()
        return self._shown(trigger)

    def add(self, tx: Tx, place: Urn, new: NewTrigger) -> Trigger:
        """Store a trigger on the version or alias of a qualified urn; `announce` it when the transaction has ended.

        Raises:
            ModelError: as `create`, but for the urn.
        """
        version = require_version(tx, place)
        kind = self._require_kind(new.type_code)
        trigger = kind.complete(self._draft(tx, version, place, kind, new))
        self._check_quotas(tx, kind, trigger)
        kind.check_rivals(trigger, _rivals(tx, kind, trigger))
        trigger = self._secrets.seal(trigger, kind.traits.secrets)
        tx.triggers.put(trigger)
        tx.triggers.seek(trigger.trigger_id, trigger.created_at)
        return trigger

    def announce(self) -> None:
        """Tell whoever serves triggers that some were changed, created or deleted."""
        self._on_change()

    def url_of(self, trigger: Trigger) -> str:
        """Return the address under which the gateway answers for a trigger; empty for one of another kind."""
        return str(self._shown(trigger).trigger.event_data.get("invoke_url", ""))

    async def get(self, principal: Principal, urn: str, type_code: str, trigger_id: str) -> ShownTrigger:
        """Return one trigger of a function.

        Raises:
            ModelError: the codes of the urn; FSS.1137 for an unknown type; FSS.1131 or the code of the type if there
                is no such trigger.
        """
        place = self._parse_urn(principal, urn)
        return self._shown(await self._store.read(lambda tx: self._require(tx, place, type_code, trigger_id)))

    async def of_urn(self, principal: Principal, urn: str) -> Sequence[ShownTrigger]:
        """Return the triggers of exactly the version or alias that `urn` names, oldest first.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse_urn(principal, urn)

        def work(tx: Tx) -> Sequence[Trigger]:
            function_id = require_version(tx, place).function_id
            return [one for one in tx.triggers.of_function(function_id) if one.function_urn == str(place)]

        return [self._shown(trigger) for trigger in await self._store.read(work)]

    async def of_project(self, principal: Principal, *, offset: int, limit: int) -> tuple[Sequence[ShownTrigger], int]:
        """Return a page of the triggers of the project, oldest first, and the count of all."""
        project_id = principal.project.project_id
        found, count = await self._store.read(lambda tx: tx.triggers.of_project(project_id, offset=offset, limit=limit))
        return [self._shown(trigger) for trigger in found], count

    async def update(
        self, principal: Principal, urn: str, type_code: str, trigger_id: str, change: TriggerChange
    ) -> ShownTrigger:
        """Change status or data of a trigger. The same status and data again are no error.

        Raises:
            ModelError: as `get`; FSS.1318 for the status; the codes of the type for the data.
        """
        place = self._parse_urn(principal, urn)

        def work(tx: Tx) -> Trigger:
            old = self._require(tx, place, type_code, trigger_id)
            kind = self._require_kind(old.type_code)
            trigger = self._changed(tx, kind, old, change)
            tx.triggers.put(trigger)
            if _starts_afresh(kind, old, trigger):
                tx.triggers.seek(trigger.trigger_id, trigger.updated_at)
            return trigger

        trigger = await self._store.write(work)
        self._on_change()
        return self._shown(trigger)

    async def delete(self, principal: Principal, urn: str, type_code: str, trigger_id: str) -> None:
        """Delete one trigger.

        Raises:
            ModelError: as `get`.
        """
        place = self._parse_urn(principal, urn)
        await self._store.write(
            lambda tx: tx.triggers.delete(self._require(tx, place, type_code, trigger_id).trigger_id)
        )
        self._on_change()

    async def delete_all(self, principal: Principal, urn: str) -> None:
        """Delete the triggers of a version or alias; of the whole function if `urn` names `latest` or no version.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse_urn(principal, urn)

        def work(tx: Tx) -> None:
            for trigger in tx.triggers.of_function(require_version(tx, place).function_id):
                if place.version == LATEST or trigger.function_urn == str(place):
                    tx.triggers.delete(trigger.trigger_id)

        await self._store.write(work)
        self._on_change()

    def _parse_urn(self, principal: Principal, urn: str) -> Urn:
        parsed = urns.parse(urn, region=self._region, project_id=principal.project.project_id)
        return parsed.qualified(parsed.qualifier or LATEST)

    def _require_kind(self, type_code: str) -> TriggerType:
        code = type_code.upper()
        kind = self._kinds.get(code)
        if kind is not None:
            return kind
        listed = ", ".join(self._kinds)
        raise ModelError("FSS.1101", f"trigger_type_code '{type_code[:40]}' is invalid: use one of {listed}.")

    def _draft(self, tx: Tx, version: FunctionVersion, place: Urn, kind: TriggerType, new: NewTrigger) -> Trigger:
        traits = kind.traits
        now = self._clock.now()
        _check_kind_fits(version, kind)
        data = _members(new.event_data, kind)
        self._check_data(tx, kind, data, version)
        default = TriggerStatus.DISABLED if traits.starts_disabled else TriggerStatus.ACTIVE
        return Trigger(
            trigger_id=new_hex_id() if traits.is_gateway else new_uuid(),
            project_id=version.project_id,
            function_id=version.function_id,
            function_urn=str(place),
            type_code=traits.code,
            status=_parse_status(new.status or default, kind),
            event_data=data,
            created_at=now,
            updated_at=now,
        )

    def _check_data(self, tx: Tx, kind: TriggerType, event_data: Mapping[str, Any], version: FunctionVersion) -> None:
        if len(json.dumps(event_data)) > MAX_EVENT_DATA_BYTES:
            raise ModelError(kind.traits.invalid_code, f"event_data is larger than {MAX_EVENT_DATA_BYTES} bytes.")
        is_http_function = version.settings.runtime == _HTTP_RUNTIME
        sources = TxSources(tx, version.project_id)
        now = self._clock.now()
        kind.check(event_data, Circumstances(is_http_function=is_http_function, now=now, sources=sources))

    def _check_quotas(self, tx: Tx, kind: TriggerType, trigger: Trigger) -> None:
        siblings = [
            one for one in tx.triggers.of_function(trigger.function_id) if one.function_urn == trigger.function_urn
        ]
        pulls = sum(one.type_code in self._kinds and self._kinds[one.type_code].traits.is_pull for one in siblings)
        if kind.traits.is_pull and pulls >= MAX_PULL_TRIGGERS:
            raise ModelError(
                "FSS.1123", f"{trigger.function_urn} has {MAX_PULL_TRIGGERS} pull triggers already; delete one first."
            )
        if len(siblings) >= MAX_TRIGGERS:
            raise ModelError("FSS.1306", f"{trigger.function_urn} has {MAX_TRIGGERS} triggers already.")
        quota = kind.traits.quota
        if quota is None:
            return
        count = sum(one.project_id == trigger.project_id for one in tx.triggers.of_type(*quota.codes))
        if count >= quota.most:
            raise ModelError(
                quota.error_code, f"The project has {quota.most} triggers of type {' or '.join(quota.codes)} already."
            )

    def _require(self, tx: Tx, place: Urn, type_code: str, trigger_id: str) -> Trigger:
        """Return a trigger of the function, on whichever of its versions it is."""
        function_id = require_version(tx, place.qualified(LATEST)).function_id
        trigger = tx.triggers.get(place.project_id, trigger_id)
        kind = self._kinds.get(type_code.upper())
        if kind is None:
            raise ModelError("FSS.1137", f"There is no trigger type '{type_code[:40]}'.")
        if trigger is None or trigger.function_id != function_id or trigger.type_code != kind.traits.code:
            raise ModelError(
                kind.traits.missing_code, f"The function has no {type_code[:40]} trigger '{trigger_id[:64]}'."
            )
        return trigger

    def _changed(self, tx: Tx, kind: TriggerType, old: Trigger, change: TriggerChange) -> Trigger:
        status = _parse_status(change.status or old.status, kind)
        if change.event_data is None:
            return replace(old, status=status, updated_at=self._clock.now())
        data = {**self._secrets.revealed(old), **_members(change.event_data, kind)}
        place = urns.parse(old.function_urn, region=self._region, project_id=old.project_id)
        self._check_data(tx, kind, data, require_version(tx, place))
        trigger = kind.complete(replace(old, status=status, event_data=data, updated_at=self._clock.now()))
        kind.check_change(old.event_data, trigger.event_data)
        kind.check_rivals(trigger, _rivals(tx, kind, trigger))
        return self._secrets.seal(trigger, kind.traits.secrets)

    def _shown(self, trigger: Trigger) -> ShownTrigger:
        kind = self._kinds[trigger.type_code]
        reason = kind.traits.unconnected
        visible = replace(trigger, event_data=self._secrets.shown(trigger))
        return ShownTrigger(
            trigger=replace(visible, event_data=kind.shown(visible)),
            status=TriggerStatus.DISABLED if reason else trigger.status,
            status_reason=reason,
        )


def _check_kind_fits(version: FunctionVersion, kind: TriggerType) -> None:
    if version.settings.runtime == _HTTP_RUNTIME and not kind.traits.is_gateway:
        raise ModelError(
            "FSS.1153",
            f"An HTTP function can only have gateway triggers (APIG, DEDICATEDGATEWAY, APIC), no {kind.traits.code}.",
        )


def _rivals(tx: Tx, kind: TriggerType, trigger: Trigger) -> Sequence[Trigger]:
    codes = kind.traits.rival_codes
    return tx.triggers.of_type(*codes) if codes else tx.triggers.of_function(trigger.function_id)


def _parse_status(status: str, kind: TriggerType) -> TriggerStatus:
    try:
        parsed = TriggerStatus(status)
    except ValueError as error:
        raise ModelError(
            "FSS.0400", f"trigger_status '{status[:40]}' is invalid: use 'ACTIVE' or 'DISABLED'."
        ) from error
    if parsed is TriggerStatus.DISABLED and not kind.traits.can_be_disabled:
        raise ModelError("FSS.1318", f"A trigger of type {kind.traits.code} cannot be disabled; delete it instead.")
    return parsed


def _members(event_data: Any, kind: TriggerType) -> Mapping[str, Any]:
    """Return the members; clients send an object, an array of objects, or one of them as JSON text."""
    if isinstance(event_data, str):
        try:
            event_data = json.loads(event_data)
        except (ValueError, RecursionError):
            _refuse_shape(kind)
    parts = event_data if isinstance(event_data, list) else [event_data]
    if len(parts) > MAX_PARTS:
        _refuse_shape(kind)
    merged: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, dict):
            _refuse_shape(kind)
        merged.update(part)
    return merged


def _refuse_shape(kind: TriggerType) -> NoReturn:
    raise ModelError(
        kind.traits.invalid_code, "event_data must be an object, an array of objects, or either as JSON text."
    )


def _starts_afresh(kind: TriggerType, old: Trigger, new: Trigger) -> bool:
    """Tell whether what was due before the change shall never fire."""
    is_enabled = old.status is not TriggerStatus.ACTIVE and new.status is TriggerStatus.ACTIVE
    return is_enabled or any(old.event_data.get(name) != new.event_data.get(name) for name in kind.traits.phase_members)
