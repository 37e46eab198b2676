"""Instances that are kept ready: once a second `Reserver` tells the data plane how many of which version.

Each process looks after the functions that it owns, so that each count is held by exactly one.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from funclet.base.clock import Clock
from funclet.catalog import Catalog
from funclet.model.errors import ModelError
from funclet.model.project_state import suspended_of
from funclet.model.reserved import (
    LOOK_S,
    MAX_PER_PROJECT,
    Follow,
    Keeper,
    Reservation,
    ReservedPolicy,
    follow,
    next_change,
    scheduled,
)
from funclet.model.urn import Urn
from funclet.store.protocol import Store, StoreUnavailable, Tx

log = logging.getLogger(__name__)

TICK_S = 1.0
RELOAD_S = 5.0
"""How long policies are remembered, should word of a change be lost."""


@dataclass(slots=True)
class _Kept:
    """One policy, and where it stands."""

    policy: ReservedPolicy
    version: str
    """The version, or the main version of the alias."""
    upper: int
    """What the load may want at most."""
    base: int = 0
    """What fixed count and schedules want, from `since` until `until`."""
    since: float = math.inf
    until: float = -math.inf
    following: Follow = field(default_factory=Follow)
    in_flight: int = 0
    """Most requests at once since the load was looked at."""
    looked_at: float = -math.inf


class Reserver:
    """The policies of one process."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        keeper: Keeper,
        clock: Clock,
        *,
        region: str,
        owns: Callable[[str], bool],
    ) -> None:
        """Prepare; nothing is kept before `look`.

        Args:
            store: with the policies.
            catalog: of versions.
            keeper: the data plane of this process.
            clock: both clocks.
            region: of all urns.
            owns: whether this process owns the function of an id.
        """
        self._store = store
        self._catalog = catalog
        self._keeper = keeper
        self._clock = clock
        self._region = region
        self._owns = owns
        self._kept: list[_Kept] = []
        self._read_at = -math.inf
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Look again at once: a policy or a function has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                # What was kept so far stays.
                log.warning("reserved instances cannot be looked up now: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()

    async def look(self) -> None:
        """Tell the data plane what is wanted now.

        Raises:
            StoreUnavailable: policies or versions cannot be read; nothing was told.
        """
        if self._changed.is_set() or self._clock.monotonic() - self._read_at >= RELOAD_S:
            self._changed.clear()
            await self._reload()
        wanted = [one for kept in self._kept if (one := await self._wanted(kept)) is not None]
        # What was found out before a change may be wrong; the next look follows at once.
        if not self._changed.is_set():
            self._keeper.reserve(wanted)

    async def _reload(self) -> None:
        read_at = self._clock.monotonic()
        before = {(kept.policy, kept.version): kept for kept in self._kept}
        found = await self._store.read(self._find)
        self._kept = []
        for kept in found:
            # What is the same goes on where it stands.
            known = before.get((kept.policy, kept.version), kept)
            known.upper = kept.upper
            self._kept.append(known)
        self._read_at = read_at

    def _find(self, tx: Tx) -> list[_Kept]:
        found = []
        suspended = suspended_of(tx.identities.projects())
        policies = [policy for policy in tx.reserved.all() if policy.project_id not in suspended]
        shares = _shares(policies)
        for policy in policies:
            if self._owns(policy.function_id):
                alias = tx.aliases.get(policy.function_id, policy.alias) if policy.alias else None
                version = alias.version if alias is not None else policy.qualifier
                found.append(_Kept(policy, version, policy.most + shares[policy.project_id]))
        return found

    async def _wanted(self, kept: _Kept) -> Reservation | None:
        policy = kept.policy
        urn = Urn(
            region=self._region,
            project_id=policy.project_id,
            package=policy.package,
            name=policy.function_name,
            qualifier=kept.version,
        )
        try:
            version = await self._catalog.resolve(urn)
        except ModelError:
            # It has just been deleted, and its policy with it.
            return None
        count = self._count(kept)
        if not count or version.settings.max_instances == 0:
            return None
        return Reservation(version=version, count=count, is_idle_mode=policy.is_idle_mode)

    def _count(self, kept: _Kept) -> int:
        now = self._clock.now()
        if not kept.since <= now < kept.until:
            kept.base, kept.since, kept.until = scheduled(kept.policy, now), now, next_change(kept.policy, now)
        if not kept.policy.metrics:
            return kept.base
        in_flight = self._keeper.in_flight(kept.policy.function_id, kept.version)
        kept.in_flight = max(kept.in_flight, in_flight)
        ticks = self._clock.monotonic()
        if ticks - kept.looked_at >= LOOK_S:
            kept.following = follow(kept.following, kept.policy, in_flight=kept.in_flight, base=kept.base, now=ticks)
            kept.looked_at, kept.in_flight = ticks, in_flight
        return max(kept.base, min(kept.following.target, kept.upper))


def _shares(policies: Sequence[ReservedPolicy]) -> dict[str, int]:
    """Return by how much more than certain each policy by load may grow, by project.

    What the quota of a project leaves is divided: so all processes keep it without asking each other.
    """
    certain: dict[str, int] = {}
    growing: dict[str, int] = {}
    for policy in policies:
        certain[policy.project_id] = certain.get(policy.project_id, 0) + policy.most
        growing[policy.project_id] = growing.get(policy.project_id, 0) + bool(policy.metrics)
    return {
        project_id: max(0, MAX_PER_PROJECT - count) // max(1, growing[project_id])
        for project_id, count in certain.items()
    }
