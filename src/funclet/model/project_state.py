"""What may be done in a project by its state. Start with `refusal_of`.

The operator sets the state, for a project whose owner does not pay, is unknown or must not change anything now.
"""

from collections.abc import Iterable
from enum import StrEnum

from funclet.model.errors import ModelError
from funclet.model.identity import Project, ProjectState

MAX_REASON_LENGTH = 255
# What clients of the cloud are told; the operator may give another reason.
_REASONS = {ProjectState.SUSPENDED: "account in arrears", ProjectState.READONLY: "set by the operator"}
_WORDS = {ProjectState.SUSPENDED: "suspended", ProjectState.READONLY: "read-only"}


class Effect(StrEnum):
    """What an operation does to a project."""

    READ = "read"
    RUN = "run"
    """It runs functions or is other traffic; what the owner has set up stays as it is."""
    CHANGE = "change"


def parse_state(text: str, reason: str) -> ProjectState:
    """Return the state that a client names, after a look at its reason.

    Raises:
        ModelError: FSS.0400.
    """
    if text not in list(ProjectState):
        raise ModelError("FSS.0400", f"status '{text[:40]}' is invalid: one of {', '.join(ProjectState)}.")
    if len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        raise ModelError("FSS.0400", f"reason must be one line of at most {MAX_REASON_LENGTH} characters.")
    return ProjectState(text)


def suspended_of(projects: Iterable[Project]) -> frozenset[str]:
    """Return the ids of those projects in which nothing may run."""
    return frozenset(one.project_id for one in projects if one.state is ProjectState.SUSPENDED)


def refusal_of(project: Project, effect: Effect) -> str:
    """Return why something cannot be done in a project in its state now; empty if it can."""
    state = project.state
    if effect is Effect.READ or state is ProjectState.NORMAL:
        return ""
    if effect is Effect.RUN and state is not ProjectState.SUSPENDED:
        return ""
    reason = project.state_reason or _REASONS[state]
    return f"restricted, operation not allowed: project '{project.name}' is {_WORDS[state]}: {reason}"


def check_effect(project: Project, effect: Effect) -> None:
    """Refuse what the state of a project does not allow.

    Raises:
        ModelError: FSS.1125.
    """
    refusal = refusal_of(project, effect)
    if refusal:
        raise ModelError("FSS.1125", refusal)
