"""When functions will be wanted next: from their timers, and if switched on from their pauses. No clock, no I/O.

Once a second the dispatcher tells what it sees (`saw`), and asks which instances to keep (`keeps`) and to
start (`take_wanted`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from funclet.dataplane.eviction import SOON_S, reuse_chance
from funclet.dataplane.idle import Pauses, Windows, fixed
from funclet.model.function import FunctionVersion

Key = tuple[str, str, int]
"""Function id, version and memory size in MiB."""

MAX_FUNCTIONS = 1000
"""Functions that are remembered; beyond, those that were used longest ago are forgotten."""
MAX_DUES = 16
"""Firings that are remembered of one function; more than its timers may be."""
MIN_PAUSE_S = 2.5
"""Shorter ones are none: a function that is called several times a second has one instance all the time anyway."""
NEAR_S = 5.0
"""An instance whose function has a timer due within this time, before or after, is not released."""
LONGEST_LEAD_S = 60.0
_MARGIN_S = 1.5
"""The dispatcher looks once a second."""
_SAME_S = 0.5
"""Firings of one function closer than that are one."""


def key_of(version: FunctionVersion) -> Key:
    """Return the key of a version in its configured size."""
    return version.function_id, version.version, version.settings.memory_mib


@dataclass(slots=True)
class _Outlook:
    """What is known of one version in one size. Times are monotonic."""

    windows: Windows
    used_at: float
    version: FunctionVersion | None = None
    """What to start; None while nobody knows whether the version still holds."""
    start_s: float = 0.0
    pauses: Pauses | None = None
    dues: list[float] = field(default_factory=list)
    """When its timers fire next, the first one first."""
    has_started: bool = False
    """Whether an instance was started ahead in this pause."""
    started_for: float = -math.inf
    """The firing for which one was started ahead."""

    @property
    def lead_s(self) -> float:
        """How long before it is wanted an instance is started."""
        return min(LONGEST_LEAD_S, 2 * self.start_s + _MARGIN_S)

    def coming(self, now: float, within_s: float) -> float | None:
        """Return the first firing that is near, if any."""
        return next((due for due in self.dues if now - NEAR_S <= due <= now + within_s), None)


class Foresight:
    """What is known of all functions of this node."""

    def __init__(self, *, release_s: float, learns: bool) -> None:
        """Begin with nothing.

        Args:
            release_s: the fixed time after which idle instances are released.
            learns: whether pauses are learned.
        """
        self._fixed = fixed(release_s)
        self._release_s = release_s
        self._learns = learns
        # Those used longest ago come first.
        self._outlooks: dict[Key, _Outlook] = {}

    def saw(self, key: Key, version: FunctionVersion, *, used_at: float, start_s: float) -> None:
        """Take what a pool shows.

        Args:
            key: of the pool.
            version: that it runs.
            used_at: when it was last seen at work.
            start_s: what a start is expected to take.
        """
        outlook = self._outlooks.get(key)
        if outlook is None:
            if not self._learns:
                return
            outlook = self._new(key, used_at)
        outlook.version, outlook.start_s = version, start_s
        if used_at > outlook.used_at:
            self._used(key, outlook, used_at)

    def announce(self, key: Key, version: FunctionVersion, due_at: float) -> None:
        """Note that a timer will fire."""
        outlook = self._outlooks.get(key) or self._new(key, -math.inf)
        outlook.version = version
        if all(abs(due - due_at) > _SAME_S for due in outlook.dues):
            outlook.dues = sorted([*outlook.dues, due_at])[:MAX_DUES]

    def forget(self, version: FunctionVersion) -> None:
        """Start no more instances of a version that has changed or is gone."""
        for outlook in self._outlooks.values():
            if outlook.version == version:
                outlook.version = None
                outlook.dues.clear()

    def versions(self) -> Iterator[tuple[Key, FunctionVersion]]:
        """Yield what may be started ahead."""
        for key, outlook in self._outlooks.items():
            if outlook.version is not None:
                yield key, outlook.version

    def release_s(self, key: Key) -> float:
        """Return after how long an idle instance is released that nothing speaks for."""
        outlook = self._outlooks.get(key)
        return self._release_s if outlook is None else outlook.windows.release_s

    def keeps(self, key: Key, now: float) -> bool:
        """Tell whether one idle instance must stay, however long it has been idle."""
        outlook = self._outlooks.get(key)
        if outlook is None:
            return False
        is_due = outlook.coming(now, max(NEAR_S, outlook.lead_s)) is not None
        return is_due or outlook.windows.expects(now - outlook.used_at + outlook.lead_s)

    def take_wanted(self, now: float) -> Sequence[tuple[Key, FunctionVersion]]:
        """Return of what an instance should be ready now; each is returned once for a pause or a firing."""
        wanted: list[tuple[Key, FunctionVersion]] = []
        for key, outlook in self._outlooks.items():
            if outlook.version is not None and (self._take_due(outlook, now) or self._take_expected(outlook, now)):
                wanted.append((key, outlook.version))
        return wanted

    def reuse(self, key: Key, idle_s: float, now: float) -> float:
        """Return how likely an instance is used again soon, 0 to 1.

        Args:
            key: of its pool.
            idle_s: how long it has been idle.
            now: monotonic time.
        """
        outlook = self._outlooks.get(key)
        if outlook is None:
            return reuse_chance(idle_s)
        is_due = outlook.coming(now, SOON_S) is not None
        pauses = outlook.pauses
        learned = pauses.share_between(idle_s, idle_s + SOON_S) if pauses is not None and pauses.is_telling else None
        return reuse_chance(idle_s, learned=learned, is_due=is_due)

    def _new(self, key: Key, used_at: float) -> _Outlook:
        while len(self._outlooks) >= MAX_FUNCTIONS:
            del self._outlooks[next(iter(self._outlooks))]
        outlook = self._outlooks[key] = _Outlook(self._fixed, used_at)
        return outlook

    def _used(self, key: Key, outlook: _Outlook, used_at: float) -> None:
        pause_s, outlook.used_at, outlook.has_started = used_at - outlook.used_at, used_at, False
        self._outlooks[key] = self._outlooks.pop(key)
        if self._learns and MIN_PAUSE_S <= pause_s < math.inf:
            outlook.pauses = outlook.pauses or Pauses()
            outlook.pauses.add(pause_s)
            outlook.windows = outlook.pauses.windows(self._release_s)

    def _take_due(self, outlook: _Outlook, now: float) -> bool:
        outlook.dues = [due for due in outlook.dues if due >= now - NEAR_S]
        due = outlook.coming(now, outlook.lead_s)
        if due is None or due == outlook.started_for or due <= now:
            return False
        outlook.started_for = due
        return True

    @staticmethod
    def _take_expected(outlook: _Outlook, now: float) -> bool:
        windows = outlook.windows
        is_time = windows.starts_ahead and windows.expects(now - outlook.used_at + outlook.lead_s)
        if not is_time or outlook.has_started:
            return False
        outlook.has_started = True
        return True
