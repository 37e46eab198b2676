"""The states of an instance, which follows which, and how many of a pool are in which."""

from dataclasses import dataclass
from enum import StrEnum


class InstanceState(StrEnum):
    """Where an instance is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    GONE = "gone"


ALLOWED = {
    InstanceState.STARTING: {InstanceState.IDLE, InstanceState.STOPPING},
    InstanceState.IDLE: {InstanceState.BUSY, InstanceState.STOPPING},
    InstanceState.BUSY: {InstanceState.IDLE, InstanceState.STOPPING},
    InstanceState.STOPPING: {InstanceState.GONE},
    InstanceState.GONE: set[InstanceState](),
}


@dataclass(slots=True, kw_only=True)
class PoolStatistics:
    """A snapshot for `fgs doctor`, tests and metrics."""

    idle: int
    busy: int
    starting: int
    waiting: int
