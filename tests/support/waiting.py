"""Waiting for a condition instead of sleeping."""

import time


def eventually(condition, *, within_s=10.0, every_s=0.02, because=""):
    """Return the first true value of `condition()`; fail when none comes in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not become true within {within_s} s: {because or condition}")
        time.sleep(every_s)
