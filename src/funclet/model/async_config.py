"""How the asynchronous requests of one function version are treated: retries, age, destinations. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from funclet.model.errors import ModelError

MAX_RETRIES, DEFAULT_RETRIES = 3, 1
MAX_AGE_S, DEFAULT_AGE_S = 86_400, 3600
MAX_PARAM_LENGTH = 4096
MAX_LOG_NAME_LENGTH = 256
KINDS = ("OBS", "SMN", "DIS", "FunctionGraph")
"""Kinds of destinations as they are written; taken in any case."""
_BY_LOWER = {kind.lower(): kind for kind in KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationConfig:
    """Where notifications go, as the client wrote it."""

    kind: str
    param: str
    """JSON text, returned as it was sent."""

    @property
    def members(self) -> dict[str, str | int]:
        """The members of `param`."""
        found: dict[str, str | int] = json.loads(self.param)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLogTarget:
    """Where the status log goes, as the client wrote it; kept and returned, nothing more."""

    group_id: str = ""
    group_name: str = ""
    stream_id: str = ""
    stream_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncConfig:
    """The record of one function version."""

    func_urn: str
    """With the version."""
    max_retries: int = DEFAULT_RETRIES
    max_age_s: int = DEFAULT_AGE_S
    on_success: DestinationConfig | None = None
    on_failure: DestinationConfig | None = None
    has_status_log: bool = False
    status_log: StatusLogTarget = StatusLogTarget()
    created_at: float
    """Seconds since the epoch."""
    modified_at: float


def check_range(name: str, value: int, low: int, high: int) -> int:
    """Return `value` if it is in range.

    Raises:
        ModelError: FSS.0400.
    """
    if not low <= value <= high:
        raise ModelError("FSS.0400", f"{name} {value} is out of range: {low} to {high}.")
    return value


def parse_destination(field: str, kind: str, param: str) -> DestinationConfig | None:
    """Return a destination; None if it has no kind. What its kind asks of the members is not looked at here.

    Raises:
        ModelError: FSS.0400, the kind is unknown or `param` is no JSON object of texts and numbers.
    """
    if not kind:
        return None
    known = _BY_LOWER.get(kind.lower())
    if known is None:
        raise ModelError("FSS.0400", f"{field}.destination '{kind[:40]}' is none of {', '.join(KINDS)}.")
    if len(param) > MAX_PARAM_LENGTH:
        raise ModelError("FSS.0400", f"{field}.param is longer than {MAX_PARAM_LENGTH} characters.")
    _check_members(field, param)
    return DestinationConfig(kind=known, param=param)


def _check_members(field: str, param: str) -> None:
    try:
        members: Any = json.loads(param)
    except (ValueError, RecursionError) as error:
        raise ModelError("FSS.0400", f"{field}.param is not JSON text.") from error
    if not isinstance(members, dict):
        raise ModelError("FSS.0400", f"{field}.param must be the text of a JSON object.")
    for name, value in members.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ModelError("FSS.0400", f"{field}.param.{name[:40]} must be a text or a whole number.")
