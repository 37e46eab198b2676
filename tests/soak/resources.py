"""What a server holds when it is idle, and what must not grow. Start with `Census.take`."""

from dataclasses import dataclass
from pathlib import Path

from tests.soak.kills import prepared
from tests.support.processes import status_of, tree_of
from tests.support.traces import traces_of

_LOADED_OF_A_FUNCTION = 4
"""Prepared sandboxes that have loaded one function, at most."""
_PER_PREPARED = {"sandboxd_descriptors": 12, "traces": 8, "processes": 3}
"""What one prepared sandbox may hold; of what is not here, nothing."""
_SLACK = 4
"""Of each kind: connections to the database, for example, are opened when they are first needed."""


@dataclass(frozen=True, kw_only=True)
class Census:
    """Counts of one moment."""

    prepared: int
    loaded: int
    """Those of them that have the code of a function already."""
    server_descriptors: int
    sandboxd_descriptors: int
    traces: int
    """Control groups, mounts, links, rules, loop devices and folders."""
    zombies: int
    processes: int
    memory_mib: int
    """Of the server process; shown, not judged."""

    @classmethod
    def take(cls, server):
        """Count now."""
        tree = tree_of(server.sandboxd_pid)
        return cls(
            prepared=len(prepared(server)) + len(server.instances()),
            loaded=len(server.loaded_ahead()) + len(server.instances()),
            server_descriptors=_descriptors(server.server_pid),
            sandboxd_descriptors=_descriptors(server.sandboxd_pid),
            traces=len(traces_of(server.sandboxd_pid, server.folder)),
            zombies=sum(_is_zombie(pid) for pid in tree),
            processes=len(tree),
            memory_mib=int(status_of(server.server_pid)["VmRSS"].split()[0]) // 1024,
        )

    def growth_over(self, before, functions):
        """Return what has grown more than the prepared sandboxes of so many functions explain; empty if nothing has."""
        more = max(0, self.prepared - before.prepared)
        found = [f"{self.zombies} zombies"] if self.zombies else []
        if self.loaded > functions * _LOADED_OF_A_FUNCTION:
            found.append(f"{self.loaded} instances are left of {functions} functions")
        for name in ("server_descriptors", *_PER_PREPARED):
            grown = getattr(self, name) - getattr(before, name)
            if grown > _SLACK + more * _PER_PREPARED.get(name, 0):
                found.append(f"{name} grew by {grown} with {more} more prepared")
        return found


def _descriptors(pid):
    return len(list(Path("/proc", str(pid), "fd").iterdir()))


def _is_zombie(pid):
    try:
        return "\nState:\tZ" in Path("/proc", str(pid), "status").read_text()
    except OSError:
        return False
