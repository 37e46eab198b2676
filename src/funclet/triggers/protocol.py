"""What a kind of trigger must offer. Each kind is one file beside this one; none knows another.

`TriggerType` holds the rules of a kind: which data it takes, what the server
adds, what clashes. Firing is elsewhere: `gateway.py` for HTTP, `host.py` for timers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from funclet.model.errors import ModelError
from funclet.model.gateway import AuthorizerKind
from funclet.model.trigger import Trigger

EventData = Mapping[str, Any]

# Codes of kinds that have none of their own.
INVALID, EXISTS, MISSING = "FSS.0400", "FSS.0409", "FSS.1131"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What is fixed for a kind of trigger."""

    code: str
    """As in the API, upper case."""
    invalid_code: str
    """Error code for data that is wrong."""
    missing_code: str
    """Error code when there is no such trigger."""
    can_be_disabled: bool
    is_pull: bool = False
    """Whether it counts for the quota of pull triggers."""
    is_gateway: bool = False
    """Whether it answers HTTP requests: the only kinds that an HTTP function may have."""
    starts_disabled: bool = False
    """Whether a new one does not fire until it is enabled."""
    secrets: tuple[str, ...] = ()
    """Members of the data that are sealed at rest and left out of answers."""
    unconnected: str = ""
    """Why triggers of this kind do not fire on this server, whatever their status; empty: they do."""
    quota: "Quota | None" = None
    """Of the kind in a project; None: only the general ones count."""
    phase_members: tuple[str, ...] = ()
    """Members of the data whose change starts the trigger afresh: nothing that was due before is fired."""
    rival_codes: tuple[str, ...] = ()
    """Kinds whose triggers, of all projects, may clash with a new one; empty: only those of the same function."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many triggers of some kinds a project may have."""

    codes: tuple[str, ...]
    most: int
    error_code: str


class Sources(Protocol):
    """What the project has of systems that triggers listen to."""

    def has_topic(self, urn: str) -> bool:
        """Tell whether there is a topic with this urn."""
        ...

    def has_stream(self, name: str) -> bool:
        """Tell whether there is a stream of this name."""
        ...

    def has_authorizer(self, authorizer_id: str, kind: AuthorizerKind) -> bool:
        """Tell whether there is a custom authorizer of this kind with this id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a check may depend on besides the data."""

    is_http_function: bool
    now: float
    """Seconds since the epoch."""
    sources: Sources


class TriggerType(Protocol):
    """The rules of one kind of trigger. All methods are pure."""

    @property
    def traits(self) -> Traits:
        """What is fixed."""
        ...

    def check(self, event_data: EventData, circumstances: Circumstances) -> None:
        """Refuse data that a trigger of this kind cannot have.

        Raises:
            ModelError: the invalid code of the kind, or a more telling one.
        """
        ...

    def check_change(self, old: EventData, new: EventData) -> None:
        """Refuse to change what names the source.

        Raises:
            ModelError: the invalid code of the kind.
        """
        ...

    def check_rivals(self, trigger: Trigger, rivals: Sequence[Trigger]) -> None:
        """Refuse a trigger that clashes with another; `rivals` may hold the trigger itself in its old form.

        Raises:
            ModelError: the "exists already" code of the kind.
        """
        ...

    def complete(self, trigger: Trigger) -> Trigger:
        """Return a new or changed trigger with the members that the server fills in."""
        ...

    def shown(self, trigger: Trigger) -> EventData:
        """Return the data as a client reads it."""
        ...


def text_member(data: EventData, name: str, code: str, *, default: str | None = None, most: int = 1024) -> str:
    """Return a member that must be a text.

    Args:
        data: the object that holds it.
        name: of the member.
        code: error code if it is wrong.
        default: stands in for a missing one; None: it must be there.
        most: longest text in characters.

    Raises:
        ModelError: `code`.
    """
    value = data.get(name, default)
    if value is None:
        raise ModelError(code, f"event_data.{name} is missing.")
    if not isinstance(value, str) or len(value) > most:
        raise ModelError(code, f"event_data.{name} must be a text of at most {most} characters.")
    return value
