"""Where stems and their zygotes are made, kept and ended. Start with `Nursery.take` and `Nursery.refill`.

`stems.Stems` says what is wanted; this does it, one small thing at a time, when
sandboxd has nothing else to do.
"""

import contextlib
import os
import select
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from funclet.sandbox.protocol import SandboxError
from funclet.sandbox.sandboxd.instances import Maker
from funclet.sandbox.sandboxd.messages import Create, Keep
from funclet.sandbox.sandboxd.running import Running
from funclet.sandbox.sandboxd.stems import LOAD_AHEAD_CPU_S, MAX_FAILURES, Kind, Loaded, Stems
from funclet.sandbox.sandboxd.zygotes import Zygote

_REHEARSALS = 1
"""The zygote has done the warming; these only make the pages that a start writes to the stem's own."""
_WARMING_AT_ONCE = 2
_LEAST_FREE, _LESS_FREE = 0.10, 0.20
"""Shares of the host's memory: below the first loaded stems are ended, below the second no more are made."""
SWEEP_S = 10.0


class Host(Protocol):
    """What the nursery needs of the loop of sandboxd."""

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back whenever the descriptor is readable."""
        ...

    def unwatch(self, fd: int) -> None:
        """Stop that. Safe to call twice."""
        ...

    def begin(self, running: Running) -> None:
        """Look after an instance that was just made."""
        ...

    def kill(self, running: Running) -> None:
        """End an instance."""
        ...

    def refill_soon(self) -> None:
        """Something may be missing."""
        ...


class Nursery:
    """All stems and zygotes of one sandboxd."""

    def __init__(self, host: Host, maker: Maker, most_stems: int) -> None:
        self._host = host
        self._maker = maker
        self._stems = Stems(most_stems)
        self._serial = 0

    def keep(self, spec: Keep, *, started_at: float | None = None) -> None:
        """Keep stems like this one; `started_at` says that an instance of the kind is wanted now."""
        self._stems.want(spec, started_at)
        for kind in self._stems.surplus():
            self._end_zygote(kind)
            for stem in kind.waiting:
                self._end(stem)

    def take(self, spec: Create) -> Running | None:
        """Return an instance made of a stem, which is the caller's; None if there is no stem that can be it."""
        now = time.monotonic()
        self.keep(spec, started_at=now)
        stem = self._stems.take(spec, now)
        if stem is None:
            return None
        try:
            if stem.spec is None:
                self._maker.specialise(stem, spec)
            _greet(stem, spec)
        except SandboxError:
            self._host.kill(stem)
            return None
        return self._given(stem, spec)

    def fork(self, spec: Create) -> Running | None:
        """Return a fork that has the code already; None if the kind has no zygote."""
        kind = self._stems.want(spec)
        if not kind.is_forked or kind.zygote is None:
            return None
        try:
            running = self._maker.fork(spec, kind.zygote, rehearsals=0)
        except SandboxError:
            self._zygote_failed(kind)
            return None
        _greet(running, spec)
        return self._given(running, spec)

    def is_loaded(self, running: Running) -> None:
        """Note that a function is ready to run: if that took long, its next start begins ahead."""
        if running.spec is None or not running.is_late:
            return
        if self._maker.cpu_s(running) - running.cpu_before_s > LOAD_AHEAD_CPU_S:
            self._stems.load_ahead(running.spec, time.monotonic())
            self._host.refill_soon()
        # What was only needed to know this holds the function's variables.
        running.spec = None

    def dropped(self, stem: Running) -> bool:
        """Forget a stem that has ended by itself; False if it is none of ours."""
        return self._stems.drop(stem)

    def refill(self) -> bool:
        """Start one thing that is missing; False when there is nothing to start now."""
        now = time.monotonic()
        self._sweep()
        kinds = list(self._stems.kinds())
        for kind in kinds:
            if kind.zygote is None and kind.may_fork and kind.failures < MAX_FAILURES:
                return self._start_zygote(kind)
        warming = sum(kind.warming for kind in kinds) + sum(
            1 for entry in self._stems.loaded() for stem in entry.waiting if not stem.is_ready
        )
        for entry in self._stems.loaded():
            if entry.missing(now) > 0 and entry.kind.is_forked and warming < _WARMING_AT_ONCE and _free() > _LESS_FREE:
                return self._make(entry.kind, entry)
        for kind in kinds:
            # One at a time where each is a whole process: two would only take each other's CPU.
            most = _WARMING_AT_ONCE if kind.is_forked else 1
            is_settled = kind.zygote is None or kind.zygote.is_ready
            if kind.missing(now) > 0 and warming < most and is_settled:
                return self._make(kind)
        return False

    @property
    def has_loaded(self) -> bool:
        """Whether there are stems that `refill` will end when nobody has used them for long."""
        return any(self._stems.loaded())

    def _sweep(self) -> None:
        """End what nobody needs."""
        for entry in self._stems.unwanted(time.monotonic(), is_short=_free() < _LEAST_FREE):
            for stem in entry.waiting:
                self._end(stem)

    def close(self) -> None:
        """End the zygotes; the stems end as all instances do."""
        for kind in self._stems.kinds():
            self._end_zygote(kind)

    def _given(self, running: Running, spec: Create) -> Running:
        running.spec = None if running.spec is not None else spec
        running.is_stem = False
        running.cpu_before_s = self._maker.cpu_s(running)
        return running

    def _make(self, kind: Kind, entry: Loaded | None = None) -> bool:
        """Start a stem, of a function if `entry` says so."""
        self._serial += 1
        try:
            stem = self._made(kind, entry)
        except (SandboxError, OSError):
            # A zygote that failed is gone by now, and is no fault of the kind's.
            if kind.zygote is not None or not kind.may_fork:
                kind.failures += 1
            return True
        stem.is_stem = True
        (entry.waiting if entry is not None else kind.waiting).append(stem)
        self._host.begin(stem)
        fd = stem.outgoing["connection"]
        self._host.watch(fd, partial(self._on_ready, stem, fd))
        return True

    def _made(self, kind: Kind, entry: Loaded | None) -> Running:
        # Ids of the server are never negative.
        names: dict[str, Any] = {"id": -self._serial, "name": f"fgs-stem-{os.getpid()}-{self._serial}"}
        if entry is not None:
            spec = msgspec.structs.replace(entry.spec, **names)
        else:
            spec = Create(
                **msgspec.structs.asdict(kind.spec),
                **names,
                environment=kind.spec.stem_environment,
                code_dir="",
                extra_read_only={},
            )
        if not kind.is_forked or kind.zygote is None:
            stem = self._maker.spawn(spec)
            stem.is_late = True
            return stem
        try:
            if entry is None:
                return self._maker.fork(spec, kind.zygote, rehearsals=_REHEARSALS)
            stem = self._maker.fork(spec, kind.zygote, rehearsals=0, environment=entry.environment)
            stem.spec = spec
        except SandboxError:
            self._zygote_failed(kind)
            raise
        return stem

    def _on_ready(self, stem: Running, fd: int) -> None:
        """The stem has said READY, or ended, which `dropped` is for."""
        self._host.unwatch(fd)
        look = select.poll()
        look.register(fd, select.POLLIN)
        stem.is_ready = not any(event & select.POLLHUP for _, event in look.poll(0))
        self._host.refill_soon()

    def _end(self, stem: Running) -> None:
        self._host.unwatch(stem.outgoing.get("connection", -1))
        self._host.kill(stem)

    def _start_zygote(self, kind: Kind) -> bool:
        try:
            kind.zygote = self._maker.start_zygote(kind.spec)
        except (SandboxError, OSError):
            kind.zygote = None
        if kind.zygote is None:
            kind.may_fork = False
        else:
            self._host.watch(kind.zygote.fd, partial(self._on_zygote, kind, kind.zygote))
        return True

    def _on_zygote(self, kind: Kind, zygote: Zygote) -> None:
        if zygote.hear():
            self._host.refill_soon()
        else:
            self._zygote_failed(kind)

    def _zygote_failed(self, kind: Kind) -> None:
        """Start another one soon, unless this happens again and again: then its stems are started like instances."""
        was_ready = kind.is_forked
        self._end_zygote(kind)
        kind.zygote_failures = kind.zygote_failures + 1 if not was_ready else 0
        kind.may_fork = kind.zygote_failures < MAX_FAILURES
        self._host.refill_soon()

    def _end_zygote(self, kind: Kind) -> None:
        if kind.zygote is not None:
            self._host.unwatch(kind.zygote.fd)
            self._maker.end_zygote(kind.zygote)
            kind.zygote = None


def _greet(running: Running, spec: Create) -> None:
    """Write the greeting. The buffer of the connection is larger than any, and nothing was written to it before.

    Raises:
        SandboxError: nobody is there any more.
    """
    try:
        os.write(running.outgoing["connection"], spec.greeting)
    except OSError as error:
        raise SandboxError(f"A stem has ended: {error}.") from error


def _free() -> float:
    """Return the share of the host's memory that can be had."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines()[:3]:
            name, value = line.split(":")
            found[name] = int(value.split()[0])
    return found.get("MemAvailable", 1) / found.get("MemTotal", 1)
