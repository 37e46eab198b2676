"""What each project runs on this node, and how much it may: `Projects.of`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

NO_LIMIT = sys.maxsize


@dataclass(slots=True)
class ProjectLoad:
    """Counts of one project, with their limits. Compared and changed for every request, so plain numbers."""

    max_running: int = NO_LIMIT
    max_instances: int = NO_LIMIT
    running: int = 0
    """Requests that were admitted and are not answered yet."""
    instances: int = 0
    """Instances that are there or on their way, of all functions and versions."""

    make_place: Callable[[], bool] = lambda: False
    """Stops an idle instance for its place; False if none is idle."""

    def has_place(self) -> bool:
        """Tell whether one more instance may be started."""
        return self.instances < self.max_instances

    def find_place(self) -> bool:
        """Tell whether one more instance may be started, if need be after an idle one was stopped."""
        return self.has_place() or self.make_place()

    def is_full(self, unserved: int) -> bool:
        """Tell whether whatever may still be started is for requests of a function that came before, so many."""
        return self.instances + max(0, unserved) >= self.max_instances


class Projects:
    """The loads of all projects that have run something here."""

    def __init__(self, *, max_running: int, max_instances: int, make_place: Callable[[str], bool]) -> None:
        self._limits = (max_running, max_instances)
        self._make_place = make_place
        self._loads: dict[str, ProjectLoad] = {}

    def of(self, project_id: str) -> ProjectLoad:
        """Return the load of a project, always the same one."""
        load = self._loads.get(project_id)
        if load is None:
            load = self._loads[project_id] = ProjectLoad(*self._limits)
            load.make_place = partial(self._make_place, project_id)
        return load


def share_of(limit: int, processes: int) -> int:
    """Return what one of several processes may have of a limit (0: none), so that all together have no more.

    At least one each, even where there are more processes than that: else the functions of some could not run at all.
    """
    return max(1, limit // processes) if limit else NO_LIMIT
