"""What was asked, what came of it, and what of that is a failure of ours. Start with `Ledger.note`."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

KILLED = {4204, 4201}
"""Codes of a request whose instance, or the one being made for it, was killed."""
PLATFORM = 500_000
"""Stands for `FSS.0500`, which has no code of a function."""
_CAUSES = dict.fromkeys(KILLED, ("instance", "prepared", "server")) | {PLATFORM: ("prepared", "server")}
"""Codes that a kill may cause, and of what."""
REFUSED = {429, 503}
MOST_REFUSED = 0.05
"""Share of the requests of a kind that may be refused: the load is one that the server can bear."""
# A kill is felt by requests that begin soon after: by the one that gets an instance which nobody has missed yet.
KILL_ECHO_S = 1.0
MAX_DETAILS = 50


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a client saw of one request; times on the monotonic clock."""

    began_at: float
    ended_at: float
    status: int
    """0 when the connection broke."""
    code: int = 0
    """Of the failure, as the answer says."""
    is_right: bool = True
    """Whether the body is what the function returns."""
    detail: str = ""


@dataclass(kw_only=True)
class Kill:
    """One kill and how long its effects may be felt."""

    what: str
    began_at: float
    ended_at: float = float("inf")


@dataclass
class Ledger:
    """Counts for all threads."""

    counts: Counter = field(default_factory=Counter)
    failures: list = field(default_factory=list)
    kills: list = field(default_factory=list)
    _accepted: dict = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kill(self, what):
        """Note that something is about to be killed; call `kill_is_over` when all serves again."""
        kill = Kill(what=what, began_at=time.monotonic())
        with self._lock:
            self.kills.append(kill)
            self.counts[f"killed {what}"] += 1
        return kill

    def kill_is_over(self, kill):
        """Note that what was killed is gone, or there again."""
        kill.ended_at = time.monotonic() + KILL_ECHO_S

    def was_killed_during(self, began_at, ended_at, *kinds):
        """Tell whether one of these was killed while a request was on its way."""
        with self._lock:
            kills = [kill for kill in self.kills if kill.what in kinds]
        return any(kill.began_at <= ended_at and kill.ended_at >= began_at for kill in kills)

    def note(self, kind, answer, *, status=200, code=0):
        """Judge one answer of a kind of load that should be `status` with `code`.

        A connection that broke when the server was killed was not accepted, and neither was a refusal.
        """
        during = (answer.began_at, answer.ended_at)
        if answer.status == status and answer.code == code and answer.is_right:
            result = "good"
        elif answer.status == 0 and self.was_killed_during(*during, "server"):
            result = "cut off"
        elif answer.status in REFUSED:
            result = "refused"
        elif answer.code in _CAUSES and self.was_killed_during(*during, *_CAUSES[answer.code]):
            result = "killed"
        else:
            self.fail(f"{kind}: status {answer.status} code {answer.code}, right: {answer.is_right}: {answer.detail}")
            result = "failed"
        with self._lock:
            self.counts[f"{kind} {result}"] += 1

    def accept(self, request_id, function):
        """Note that an asynchronous request was accepted: it may not be lost any more."""
        with self._lock:
            self._accepted[request_id] = function
            self.counts["accepted for later"] += 1

    def take_accepted(self):
        """Return the asynchronous requests that were accepted since the last time: id -> function."""
        with self._lock:
            taken, self._accepted = self._accepted, {}
        return taken

    def fail(self, text):
        """Note a failure of ours."""
        with self._lock:
            self.counts["failures"] += 1
            if len(self.failures) < MAX_DETAILS:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {text[:600]}")

    def judge_service(self):
        """Fail a kind of load that was mostly refused, or never served: a server that does nothing must not pass."""
        with self._lock:
            counts = Counter(self.counts)
        kinds = {name.rpartition(" ")[0] for name in counts if name.endswith((" good", " refused", " failed"))}
        for kind in sorted(kinds):
            good, refused = counts[f"{kind} good"], counts[f"{kind} refused"]
            if not good or refused > MOST_REFUSED * (good + refused):
                self.fail(f"{kind}: {good} good answers and {refused} refusals")

    def total(self, result):
        """Return how many requests had a result."""
        with self._lock:
            return sum(count for name, count in self.counts.items() if name.endswith(f" {result}"))
