"""Random kills of what serves the load. Start with `Killer.run`."""

import os
import random
import signal
import threading
import time
from pathlib import Path

from tests.support.processes import children_of, has_mount, namespaced_pids_of
from tests.support.traces import read_or_empty

_CODE = "/opt/function/code"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_HELPER_S = 3.0
"""Children of sandboxd that live shorter are commands that it runs, not processes that it keeps."""
_PAUSE_S = (0.3, 1.5)
_PREPARED_SHARE = 0.25


def prepared(server):
    """Return the processes that sandboxd keeps for the next starts: stems, and what they are forked from."""
    found = server.loaded_ahead()
    servers = _command_of(server.server_pid)
    for pid in children_of(server.sandboxd_pid):
        if _command_of(pid) == servers:
            continue
        is_sandbox = namespaced_pids_of(pid)[1:] == ["1"]
        if (is_sandbox and not has_mount(pid, _CODE)) or (not is_sandbox and _age_s(pid) > _HELPER_S):
            found.append(pid)
    return found


def _command_of(pid):
    return read_or_empty(Path("/proc", str(pid), "cmdline"))


def _age_s(pid):
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _TICKS_PER_S


class Killer:
    """Kills instances, and now and then what is prepared, from `start` to `stop`."""

    def __init__(self, server, ledger, seed):
        self._server, self._ledger = server, ledger
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = None

    def start(self):
        """Begin."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        """End; what was killed last may still be felt."""
        self._stopping.set()
        self._thread.join(timeout=30)

    def _run(self):
        while not self._stopping.wait(self._chance.uniform(*_PAUSE_S)):
            try:
                self._kill_one()
            except OSError:
                # It ended by itself, or the whole server is just being killed.
                continue

    def _kill_one(self):
        what = "prepared" if self._chance.random() < _PREPARED_SHARE else "instance"
        pids = prepared(self._server) if what == "prepared" else self._server.instances()
        if not pids:
            return
        pid = self._chance.choice(pids)
        kill = self._ledger.kill(what)
        try:
            os.kill(pid, signal.SIGKILL)
        finally:
            self._ledger.kill_is_over(kill)
