"""Stems: runtimes that were started ahead, for functions that nobody has asked for yet.

`Stems` keeps some of each kind that is wanted, more of those that were wanted
lately, and, for functions that take long to load, stems that have loaded them
(`Loaded`). It decides; making and ending them is for `nursery.Nursery`.
"""

import json
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from funclet.sandbox.sandboxd.messages import Create, Keep, keep_of
from funclet.sandbox.sandboxd.running import Running
from funclet.sandbox.sandboxd.zygotes import Zygote

MAX_KINDS = 8
MAX_STARTED_STEMS = 8
"""Most stems of a kind without a zygote: each is a whole process."""
BASE_STARTED_STEMS = 2
BASE_FORKED_STEMS = 16
RECENT_S = 10.0
FORKED_RECENT_S = 300.0
MAX_FAILURES = 3
"""A runtime whose stems end before anybody wants them is broken, or was never one: none of it is kept any more."""
STEM_MIB = 2.5
MEMORY_SHARE = 40
"""All stems of a forkable kind may take one part in so many of the host's memory."""
MOST_STEMS = 256

LOAD_AHEAD_CPU_S = 0.03
"""A function whose start takes more CPU than this has stems of its own, which have loaded it."""
MAX_LOADED = 64
MAX_LOADED_STEMS = 4
LOADED_UNUSED_S = 600.0
MAX_UNUSABLE = 1024


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


def loaded_key_of(spec: Create) -> tuple[object, ...]:
    """Return what two sandboxes must have in common for one that has loaded its function to serve as the other."""
    return (*key_of(spec), spec.code_dir, spec.memory_mib, tuple(sorted(spec.environment.items())))


def most_stems(memory_mib: int) -> int:
    """Return how many stems of a forkable kind a host with so much memory may keep."""
    return max(BASE_FORKED_STEMS, min(MOST_STEMS, int(memory_mib / MEMORY_SHARE / STEM_MIB)))


def wanted(starts: int, *, is_forked: bool, most: int) -> int:
    """Return how many stems to keep of a kind that was started so often lately."""
    if is_forked:
        return min(most, BASE_FORKED_STEMS + starts)
    return min(most, MAX_STARTED_STEMS, BASE_STARTED_STEMS + starts)


@dataclass(slots=True)
class Kind:
    """All stems that can serve in each other's place."""

    spec: Keep
    most: int
    zygote: Zygote | None = None
    may_fork: bool = True
    """Whether to start a zygote when there is none."""
    waiting: deque[Running] = field(default_factory=deque)
    starts: deque[float] = field(default_factory=deque)
    failures: int = 0
    zygote_failures: int = 0

    @property
    def is_forked(self) -> bool:
        """Whether its stems are forks."""
        return self.zygote is not None and self.zygote.is_ready

    @property
    def warming(self) -> int:
        """How many are not ready yet."""
        return sum(1 for stem in self.waiting if not stem.is_ready)

    def missing(self, now: float) -> int:
        """Return how many to start."""
        since = now - (FORKED_RECENT_S if self.is_forked else RECENT_S)
        while self.starts and (self.starts[0] < since or len(self.starts) > MOST_STEMS):
            self.starts.popleft()
        if self.failures >= MAX_FAILURES:
            return 0
        return wanted(len(self.starts), is_forked=self.is_forked, most=self.most) - len(self.waiting)


@dataclass(slots=True)
class Loaded:
    """The stems of one function, which have loaded it. Only forkable kinds have such."""

    spec: Create
    kind: Kind
    used_at: float
    environment: bytes
    is_unusable: bool = False
    waiting: deque[Running] = field(default_factory=deque)
    starts: deque[float] = field(default_factory=deque)

    def missing(self, now: float) -> int:
        """Return how many to start."""
        while self.starts and self.starts[0] < now - RECENT_S:
            self.starts.popleft()
        if self.is_unusable:
            return 0
        return min(MAX_LOADED_STEMS, 1 + len(self.starts) // 2) - len(self.waiting)


class Stems:
    """All kinds of stems and all functions with stems of their own, the least recently used first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kinds: OrderedDict[tuple[object, ...], Kind] = OrderedDict()
        self._loaded: OrderedDict[tuple[object, ...], Loaded] = OrderedDict()
        self._unusable: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def want(self, spec: Keep, now: float | None = None) -> Kind:
        """Keep stems like this one; `now` counts as a start."""
        key = key_of(spec)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = Kind(keep_of(spec), self._most)
        self._kinds.move_to_end(key)
        if now is not None:
            kind.starts.append(now)
        return kind

    def surplus(self) -> Iterator[Kind]:
        """Forget and yield the kinds that are too many."""
        while len(self._kinds) > MAX_KINDS:
            yield self._kinds.popitem(last=False)[1]

    def kinds(self) -> Iterator[Kind]:
        """Yield all kinds, the most recently wanted first."""
        yield from reversed(list(self._kinds.values()))

    def loaded(self) -> Iterator[Loaded]:
        """Yield all functions with stems of their own, the most recently used first."""
        yield from reversed(list(self._loaded.values()))

    def take(self, spec: Create, now: float) -> Running | None:
        """Return a stem that is ready, which is the caller's from now on; None if there is none."""
        loaded_key = loaded_key_of(spec) if self._loaded else ()
        entry = self._loaded.get(loaded_key)
        if entry is not None:
            self._loaded.move_to_end(loaded_key)
            entry.used_at = now
            entry.starts.append(now)
            stem = _take_ready(entry.waiting)
            if stem is not None:
                return stem
        kind = self._kinds.get(key_of(spec))
        if kind is None:
            return None
        stem = _take_ready(kind.waiting)
        if stem is not None:
            kind.failures = 0
        return stem

    def load_ahead(self, spec: Create, now: float) -> None:
        """Keep stems that have loaded this function, unless none are wanted or that has been found to be impossible."""
        key, kind = loaded_key_of(spec), self._kinds.get(key_of(spec))
        if not self._most or kind is None or not kind.is_forked or key in self._loaded or key in self._unusable:
            return
        text = json.dumps(spec.environment, separators=(",", ":")).encode()
        self._loaded[key] = Loaded(spec, kind, now, text)

    def unwanted(self, now: float, *, is_short: bool) -> Iterator[Loaded]:
        """Forget and yield what nobody has used for long, or too many; `is_short` of memory: the oldest as well."""
        while self._loaded:
            entry = next(iter(self._loaded.values()))
            is_unused = now - entry.used_at > LOADED_UNUSED_S
            if not (is_unused or len(self._loaded) > MAX_LOADED or is_short):
                return
            is_short = False
            yield self._loaded.popitem(last=False)[1]

    def drop(self, stem: Running) -> bool:
        """Forget a stem that has ended by itself; False if it is none of ours."""
        for kind in self._kinds.values():
            if stem in kind.waiting:
                kind.waiting.remove(stem)
                kind.failures += 1
                return True
        for key, entry in self._loaded.items():
            if stem in entry.waiting:
                # It ended while it loaded, or refused: from now on the function is loaded only when it is wanted.
                entry.waiting.remove(stem)
                entry.is_unusable = True
                self._unusable[key] = None
                if len(self._unusable) > MAX_UNUSABLE:
                    self._unusable.popitem(last=False)
                return True
        return False


def _take_ready(waiting: deque[Running]) -> Running | None:
    ready = next((stem for stem in waiting if stem.is_ready), None)
    if ready is not None:
        waiting.remove(ready)
    return ready
