"""How long a function whose instances do not start is left alone: `BackOff`."""

from dataclasses import dataclass

from funclet.model.invocation import FunctionFailed

# platform.md 2.6.
FAILURES_BEFORE_BACK_OFF = 3
FAILURE_WINDOW_S = 60.0
MAX_BACK_OFF_S = 60.0


@dataclass(slots=True)
class BackOff:
    """Keeps a function whose instances do not start from burning the host."""

    failures: int = 0
    last_at: float = 0.0
    until: float = 0.0
    outcome: FunctionFailed | None = None

    def note(self, outcome: FunctionFailed, now: float) -> None:
        """Remember that a start has failed at `now`, on the monotonic clock."""
        if now - self.last_at > FAILURE_WINDOW_S:
            self.failures = 0
        self.failures += 1
        self.last_at, self.outcome = now, outcome
        beyond = self.failures - FAILURES_BEFORE_BACK_OFF
        if beyond >= 0:
            self.until = now + min(MAX_BACK_OFF_S, 2.0**beyond)
