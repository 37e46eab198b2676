"""Stems: runtimes that were started ahead, for functions that nobody has asked for yet.

`Stems` keeps a few of each kind that is wanted, more of those that were wanted
lately. It decides; making and ending them is for others.
"""

import select
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from funclet.sandbox.sandboxd.instances import Running
from funclet.sandbox.sandboxd.messages import Keep

MAX_KINDS = 8
MAX_STEMS_OF_A_KIND = 8
BASE_STEMS = 2
RECENT_S = 10.0
MAX_FAILURES = 3
"""A runtime whose stems end before anybody wants them is broken, or was never one: none of it is kept any more."""


def key_of(spec: Keep) -> tuple[object, ...]:
    """Return what two sandboxes must have in common for a stem of one to serve as the other."""
    return (
        spec.interpreter,
        spec.arguments,
        tuple(sorted(spec.stem_environment.items())),
        spec.runtime_dir,
        spec.interpreter_links,
        spec.tmp_mib,
        spec.processes,
        spec.open_files,
        spec.network,
    )


def wanted(starts: int) -> int:
    """Return how many stems to keep of a kind that was started so often within the last `RECENT_S` seconds."""
    return min(MAX_STEMS_OF_A_KIND, BASE_STEMS + starts)


@dataclass(slots=True)
class _Kind:
    spec: Keep
    waiting: deque[Running] = field(default_factory=deque)
    starts: deque[float] = field(default_factory=deque)
    failures: int = 0

    def missing(self, now: float) -> int:
        while self.starts and self.starts[0] < now - RECENT_S:
            self.starts.popleft()
        return 0 if self.failures >= MAX_FAILURES else wanted(len(self.starts)) - len(self.waiting)


class Stems:
    """All kinds of stems, the least recently used first."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[tuple[object, ...], _Kind] = OrderedDict()

    def want(self, spec: Keep, now: float | None = None) -> list[Running]:
        """Keep stems like this one; `now` counts as a start. Returns those that nobody will want any more."""
        key = key_of(spec)
        kind = self._kinds.setdefault(key, _Kind(spec))
        self._kinds.move_to_end(key)
        if now is not None:
            kind.starts.append(now)
        unwanted: list[Running] = []
        while len(self._kinds) > MAX_KINDS:
            unwanted += self._kinds.popitem(last=False)[1].waiting
        return unwanted

    def take(self, spec: Keep) -> Running | None:
        """Return a stem that is ready, which is the caller's from now on; None if there is none."""
        kind = self._kinds.get(key_of(spec))
        ready = next((stem for stem in kind.waiting if _is_ready(stem)), None) if kind else None
        if kind is not None and ready is not None:
            kind.waiting.remove(ready)
            kind.failures = 0
        return ready

    def missing(self, now: float) -> Keep | None:
        """Return what to start now: nothing while another stem is still warming, which would only take its CPU."""
        if any(not _is_ready(stem) for kind in self._kinds.values() for stem in kind.waiting):
            return None
        return next((kind.spec for kind in reversed(self._kinds.values()) if kind.missing(now) > 0), None)

    def are_complete(self, now: float) -> bool:
        """Tell whether nothing is missing and nothing is warming."""
        kinds = self._kinds.values()
        return all(kind.missing(now) <= 0 and all(_is_ready(stem) for stem in kind.waiting) for kind in kinds)

    def add(self, spec: Keep, stem: Running) -> None:
        """Keep a stem that was started."""
        self._kinds[key_of(spec)].waiting.append(stem)

    def drop(self, stem: Running) -> bool:
        """Forget a stem that has ended by itself; False if it is none of ours."""
        for kind in self._kinds.values():
            if stem in kind.waiting:
                kind.waiting.remove(stem)
                kind.failures += 1
                return True
        return False

    def failed(self, spec: Keep) -> None:
        """Note that a stem could not be started."""
        self._kinds[key_of(spec)].failures += 1


def _is_ready(stem: Running) -> bool:
    """Tell whether the runtime has said READY: its first frame waits in the socket."""
    return bool(select.select([stem.outgoing["connection"]], [], [], 0)[0])
