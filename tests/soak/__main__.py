"""`make soak`: one server, mixed load, kills and updates for some minutes; nothing accepted may fail, nothing leak.

`Soak.run` shows the whole of it: life after life of the same server, each with
load, calm, a count of what it holds, and load again with one `kill -9` after the other.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.soak.kills import Killer
from tests.soak.ledger import Ledger
from tests.soak.load import Load
from tests.soak.resources import Census
from tests.soak.settling import Accounts
from tests.support.census import calm_down
from tests.support.processes import is_alive, tree_of
from tests.support.server import ServerProcess
from tests.support.traces import traces_of
from tests.support.waiting import eventually

OPTIONS = ("--isolation", "full", "--idle-release-s", "1", "--drain-s", "5")
_WARM_S, _LIFE_S = 6.0, 25.0
_SERVICE_S = (0.1, 2.0)
"""How long a server is up between two kills of a row."""
KILLS_PER_MINUTE = 7.5
LEAST_KILLS_PER_MINUTE = 200 / 30
_PROGRESS_S = 10.0


class Soak:
    """One run."""

    def __init__(self, folder, minutes):
        self._minutes = minutes
        self._ends_at = time.monotonic() + minutes * 60
        self.server = ServerProcess(folder, *OPTIONS)
        self.ledger = Ledger()
        self.load = Load(self.server, self.ledger)
        self.accounts = None
        self.censuses = []
        self._chance = random.Random(minutes)
        self._kills = 0
        self._began_at = time.monotonic()
        self._lives = 0

    def run(self):
        """Run all lives, then see every accepted request to its end and the server to an orderly one."""
        self.server.start()
        self.load.deploy()
        self.accounts = Accounts(self.server, self.load.urns, self.ledger)
        self.accounts.prepare()
        while True:
            self._lives += 1
            self._live()
            self._kill_in_a_row()
            if time.monotonic() > self._ends_at:
                break
        self.accounts.settle()
        self.ledger.judge_service()
        self._judge_kills()
        self._stop()

    def _live(self):
        """Warm up, count, load with kills, count again."""
        self._load_for(_WARM_S, seed=None)
        before = self._calm("the warm-up")
        self._load_for(min(_LIFE_S, max(_WARM_S, self._ends_at - time.monotonic())), seed=self._lives)
        after = self._calm("the load")
        for growth in after.growth_over(before, len(self.load.urns)):
            self.ledger.fail(f"leak in life {self._lives}: {growth}; {before} -> {after}")
        self.accounts.settle()
        self.censuses.append({"life": self._lives, "before": vars(before), "after": vars(after)})

    def _load_for(self, seconds, *, seed):
        killer = Killer(self.server, self.ledger, seed) if seed is not None else None
        self.load.start()
        if killer:
            killer.start()
        time.sleep(seconds)
        if killer:
            killer.stop()
        self.load.stop()

    def _calm(self, after):
        if self.server.process.poll() is not None:
            raise RuntimeError(f"the server ended by itself, with {self.server.process.returncode}")
        if not calm_down(self.server):
            self.ledger.fail(f"the server did not calm down after {after} of life {self._lives}")
        return Census.take(self.server)

    def _kill_in_a_row(self):
        """Kill the server as often as it is due, under load: the clients go on asking all the time."""
        self.load.start()
        due = max(2, round((time.monotonic() - self._began_at) / 60 * KILLS_PER_MINUTE) - self._kills)
        for number in range(due):
            time.sleep(self._chance.uniform(*_SERVICE_S))
            self._kill_and_start(is_sandboxd=number == 0 and self._lives % 3 == 0)
        time.sleep(_SERVICE_S[1])
        self.load.stop()

    def _judge_kills(self):
        if self._kills < self._minutes * LEAST_KILLS_PER_MINUTE:
            self.ledger.fail(f"the server was killed only {self._kills} times in {self._minutes:g} minutes")

    def _kill_and_start(self, *, is_sandboxd):
        """Kill the server, or sandboxd, at whatever it does, and start it again on the same data."""
        tree, dead_pid = tree_of(self.server.sandboxd_pid), self.server.sandboxd_pid
        kill = self.ledger.kill("server")
        self._kills += 1
        if not is_sandboxd:
            self.server.kill()
            self._expect_gone(tree)
            self._expect_no_traces(dead_pid, self.server.folder)
        else:
            self.server.kill_sandboxd()
            self._expect_gone(tree)
        self.server.start()
        # What a killed sandboxd leaves behind is cleaned up by the next one.
        self._expect_no_traces(dead_pid, self.server.folder / "nowhere")
        self.ledger.kill_is_over(kill)

    def _stop(self):
        tree, pid = tree_of(self.server.sandboxd_pid), self.server.sandboxd_pid
        status = self.server.stop()
        if status != 0:
            self.ledger.fail(f"the server ended with {status}")
        self._expect_gone(tree)
        self._expect_no_traces(pid, self.server.folder)

    def _expect_gone(self, tree):
        try:
            eventually(lambda: not [pid for pid in tree if is_alive(pid)], because="all processes end")
        except AssertionError:
            self.ledger.fail(f"processes outlived their server: {[pid for pid in tree if is_alive(pid)]}")

    def _expect_no_traces(self, pid, folder):
        traces = traces_of(pid, folder)
        if traces:
            self.ledger.fail(f"left over after life {self._lives}: {[str(trace) for trace in traces][:5]}")

    def progress(self):
        """Return one line."""
        ledger, elapsed_s = self.ledger, time.monotonic() - self._began_at
        results = ", ".join(f"{ledger.total(result)} {result}" for result in ("good", "killed", "cut off", "refused"))
        accepted, failures = ledger.counts["accepted for later"], ledger.counts["failures"]
        where = f"life {self._lives}, {self._kills} kills of the server"
        return f"{elapsed_s:5.0f} s, {where}: {results}, {accepted} asynchronous, {failures} failures"

    def summary(self):
        """Return everything as JSON values."""
        return {
            "seconds": round(time.monotonic() - self._began_at),
            "lives": self._lives,
            "kills of the server": self._kills,
            "asynchronous": self._asynchronous(),
            "failures": self.ledger.failures,
            "counts": dict(sorted(Counter(self.ledger.counts).items())),
            "held": self.censuses,
        }

    def _asynchronous(self):
        """Return what became of the requests that were accepted for later."""
        counts = self.ledger.counts
        names = ("accepted for later", "asynchronous lost", "asynchronous run again")
        return {name: counts[name] for name in names} | {
            name: counts[f"notifications {name.partition(' ')[2]}"]
            for name in ("notifications lost", "notifications doubled", "notifications invented")
        }


def _report_progress(soak, stopping):
    while not stopping.wait(_PROGRESS_S):
        print(soak.progress(), file=sys.stderr, flush=True)


def main():
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="make soak", description="Mixed load, kills and updates on one server.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, 1 or more (default: 30)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("The soak needs root: it is about full isolation.")
    # Not in a folder of its maker's: the server's user must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="funclet-soak-"))
    folder.chmod(0o755)
    soak, stopping = Soak(folder, options.minutes), threading.Event()
    threading.Thread(target=_report_progress, args=(soak, stopping), daemon=True).start()
    try:
        soak.run()
    except Exception as error:  # noqa: BLE001 - the summary says how far it came
        soak.ledger.fail(f"the soak ended early: {error!r} {traceback.format_exc()[-400:]}")
    finally:
        stopping.set()
        soak.load.stop()
        soak.server.stop()
    print(soak.progress(), file=sys.stderr)
    print(json.dumps(soak.summary(), indent=1))
    if soak.ledger.counts["failures"]:
        print(soak.server.log()[-3000:], file=sys.stderr)
        print(f"FAILED; the log of the server is in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
