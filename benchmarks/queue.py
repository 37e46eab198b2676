"""`make bench-queue`: what the asynchronous queue takes, beside a bare endpoint and a public queue. Start with `main`.

All figures of one run are from the same minutes on the same machine, so the ratios hold where the figures do not.
"""

import argparse
import asyncio
import json
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks.functions import HELLO
from benchmarks.goals import ACCEPT, DEPTH, DRAIN, ENTRY, PEER
from benchmarks.load import Call, LoadResult, closed_loop, open_loop
from benchmarks.measures import Results, Series
from benchmarks.ours import PROJECT_ID, OwnServer
from benchmarks.targets import ROOT
from funclet.base.ids import new_ordered_uuid
from funclet.client import segment
from funclet.model.invocation import Submission
from funclet.store.protocol import Tx
from funclet.store.queue_protocol import Accepted
from funclet.store.sqlite import SqliteStore

T = TypeVar("T")

BODY = '{"order":42,"customer":"c-1001","items":[1,2,3]}'
PARTS = (ACCEPT, ENTRY, DEPTH, DRAIN, PEER)
# Nothing of it runs while it is asked for: only accepting is measured.
_SLOW = {"index.py": "import time\ndef handler(event, context):\n    time.sleep(3600)\n"}
_ENTRY = {
    "index.py": "import time\ndef handler(event, context):\n    at = time.time()\n"
    '    if event.get("file"):\n        open(event["file"], "a").write(f"{at}\\n")\n    return at\n'
}
_OPTIONS = ("--isolation", "process", "--async-max-queue", "10000000")
_SECONDS = 5.0
_HALVES = 5
"""Rounds at half of the load: in one of them, a pause of the disk or the host is all that a p99 tells."""
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_ROWS = 1_000_000
_MIB = 1024


def say(what: str, figure: str) -> None:
    """Print one row."""
    print(f"{what:<62} {figure}", flush=True)


class Bench:
    """A folder for everything that runs."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self.results: Results = {}

    def note(self, part: str, **figures: float) -> None:
        """Keep figures of this run."""
        self.results.setdefault(part, Series()).add(**figures)

    def server(self, name: str) -> OwnServer:
        """Start a server on a folder that may hold the data of an earlier one."""
        return OwnServer(self.folder / name, *_OPTIONS)

    def slow_call(self, server: OwnServer, name: str = "slow") -> Call:
        """Return a submission to a function of which hardly anything runs."""
        urn = server.deploy(name, _SLOW, instances=1)
        return submission_to(server, urn)

    def load(self, call: Call, connections: int) -> LoadResult:
        """Run the load generator."""
        return closed_loop(call, self.folder, connections=connections, duration_s=self.seconds)

    def accept(self) -> None:
        """Accepted requests per second and their times, beside an endpoint that does nothing but commit."""
        with closing(self.server("accept")) as server, bare_endpoint(self.folder) as bare:
            call = self.slow_call(server)
            self.load(call, 64)
            theirs = self.load(bare, 64)
            ours = self.load(call, 64)
            single, bare_single = self.load(call, 1), self.load(bare, 1)
            halves = [open_loop(call, rate_per_s=ours.per_s / 2, duration_s=self.seconds) for _ in range(_HALVES)]
        half_p99_ms = [half.p99_us / 1000 for half in halves]
        self.note(
            ACCEPT,
            per_s=ours.per_s,
            by_bare=ours.per_s / theirs.per_s,
            one_p50_ms=single.p50_us / 1000,
            half_p99_ms=statistics.median(half_p99_ms),
        )
        say("accepted per second, 64 clients", f"{ours.per_s:,.0f} (must 20,000, goal 50,000)")
        say("  p50 / p99", f"{ours.p50_us / 1000:.2f} / {ours.p99_us / 1000:.2f} ms")
        say("bare group commit, 64 clients", f"{theirs.per_s:,.0f}")
        say("  ours by it", f"{ours.per_s / theirs.per_s:.2f} (must 0.25)")
        say("one client, p50 / p99", f"{single.p50_us / 1000:.3f} / {single.p99_us / 1000:.3f} ms (must 0.5, goal 0.2)")
        say("bare group commit, one client, p50", f"{bare_single.p50_us / 1000:.3f} ms")
        rounds = ", ".join(f"{one:.2f}" for one in sorted(half_p99_ms))
        say("p99 at half of the highest load, middle of five", f"{statistics.median(half_p99_ms):.2f} ms (must 10)")
        say("  each", f"{rounds} ms; good {statistics.median(half.per_s for half in halves):,.0f}/s")

    def entry(self) -> None:
        """From sending a request to the first line of the handler, on an idle queue."""
        marks = self.folder / "marks"
        marks.touch()
        marks.chmod(0o666)
        with closing(self.server("entry")) as server:
            urn = server.deploy("entry", _ENTRY)
            server.client.invoke(urn, b"{}")
            direct, queued = [], []
            for number in range(200):
                began = time.time()
                answer = server.client.invoke(urn, b"{}")
                direct.append((float(answer.body) - began) * 1000)
                began = time.time()
                server.client.invoke_async(urn, json.dumps({"file": str(marks)}).encode())
                answered = time.time()
                entered = wait_for(lambda number=number: line_of(marks, number))  # type: ignore[misc]
                queued.append(((entered - began) * 1000, (entered - answered) * 1000))
        sync_ms, async_ms = statistics.median(direct), statistics.median(one for one, _ in queued)
        self.note(ENTRY, more_ms=async_ms - sync_ms)
        say("sent to handler entry, synchronous, p50", f"{sync_ms:.2f} ms")
        say("sent to handler entry, asynchronous, p50", f"{async_ms:.2f} ms")
        say("  more by", f"{async_ms - sync_ms:+.2f} ms (must 2)")
        say("202 to handler entry, p50", f"{statistics.median(two for _, two in queued):+.2f} ms")

    def depth(self) -> None:
        """The same with a million rows that wait."""
        with closing(self.server("depth")) as server:
            call = self.slow_call(server)
            drain = server.deploy("hello", HELLO, instances=2)
            self.load(call, 64)
            empty = self.load(call, 64)
            empty_drain = self._drain_rate(server, drain)
            before_kib = rss_kib(server.server_pid)
        function_id = function_id_of(server.data_folder)
        began = time.monotonic()
        asyncio.run(fill(server.data_folder, function_id, _ROWS))
        say(f"{_ROWS:,} rows written beforehand in", f"{time.monotonic() - began:.0f} s")
        with closing(self.server("depth")) as server:
            call = submission_to(server, OwnServer.urn_of("slow"))
            self.load(call, 64)
            full = self.load(call, 64)
            full_drain = self._drain_rate(server, drain)
            after_kib = rss_kib(server.server_pid)
            self.note(
                DEPTH,
                accepted_by_empty=full.per_s / empty.per_s,
                run_by_empty=full_drain / empty_drain,
                more_mib=(after_kib - before_kib) / _MIB,
            )
            say("accepted per second, empty / a million wait", f"{empty.per_s:,.0f} / {full.per_s:,.0f}")
            say("  ratio", f"{full.per_s / empty.per_s:.2f} (must 0.8)")
            say("run to the end per second, empty / a million wait", f"{empty_drain:,.0f} / {full_drain:,.0f}")
            say("  ratio", f"{full_drain / empty_drain:.2f} (must 0.8)")
            say("memory of the server", f"{(after_kib - before_kib) / _MIB:+.0f} MiB (must 50)")
            began = time.monotonic()
            server.client.delete_function(OwnServer.urn_of("slow").rsplit(":", 1)[0])
            took_s = time.monotonic() - began
            say("deleting the function for which they wait", f"{took_s * 1000:.0f} ms")

    def drain(self) -> None:
        """Requests that are accepted and run to their end."""
        with closing(self.server("drain")) as server:
            urn = server.deploy("hello", HELLO, instances=2)
            rate = self._drain_rate(server, urn)
        self.note(DRAIN, per_s=rate)
        say("accepted and run to the end per second", f"{rate:,.0f}")

    def peer(self) -> None:
        """A public queue with the same handler, and every task flushed to disk before it counts as accepted."""
        done = subprocess.run(  # noqa: S603 - our own command
            [str(PEERS_PYTHON), "-m", "benchmarks.peers.huey_queue", str(self.folder / "huey.db")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        figures = json.loads(done.stdout)
        self.note(PEER, enqueued_per_s=figures["enqueued_per_s"], done_per_s=figures["done_per_s"])
        say("Huey on SQLite, flushed: enqueued per second, 64 threads", f"{figures['enqueued_per_s']:,.0f}")
        say("Huey on SQLite, flushed: run to the end per second", f"{figures['done_per_s']:,.0f}")

    def _drain_rate(self, server: OwnServer, urn: str) -> float:
        """Submit for a while, and return how many ended per second until all had."""
        call = submission_to(server, urn)
        before = ended_of(server)
        began = time.monotonic()
        sent = closed_loop(call, self.folder, connections=16, duration_s=2)
        wait_for(lambda: ended_of(server) - before >= sent.good, within_s=60, every_s=0.05)
        return sent.good / (time.monotonic() - began)


def submission_to(server: OwnServer, urn: str) -> Call:
    """Return a signed submission."""
    return server.signed_post(f"/functions/{segment(urn)}/invocations-async", BODY)


def ended_of(server: OwnServer) -> int:
    """Return how many requests of `hello` have ended."""
    text = server.client.call("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith("fgs_async_ended_total") and ":hello" in line]
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


def function_id_of(data_folder: Path) -> str:
    """Return the id of the function that is slow; the server of this folder has ended."""
    with closing(sqlite3.connect(data_folder / "funclet.db")) as connection:
        (found,) = connection.execute("SELECT function_id FROM function WHERE name = 'slow'").fetchone()
    return str(found)


async def fill(data_folder: Path, function_id: str, count: int) -> None:
    """Store requests of the slow function, as many as wanted, into the database of a server that is stopped."""
    store = SqliteStore.open(data_folder / "funclet.db")
    urn, now = OwnServer.urn_of("slow"), time.time()
    for start in range(0, count, 1000):
        accepted = [
            Accepted(
                submission=Submission(
                    request_id=new_ordered_uuid(),
                    project_id=PROJECT_ID,
                    function_id=function_id,
                    urn=urn,
                    payload=BODY.encode(),
                    accepted_at=now,
                ),
                queued_at=now,
            )
            for _ in range(min(1000, count - start))
        ]

        def work(tx: Tx, accepted: Sequence[Accepted] = accepted) -> None:
            tx.queue.add_all(accepted)

        await store.write(work)
    await store.close()


@contextmanager
def bare_endpoint(folder: Path) -> Iterator[Call]:
    """Run the bare endpoint; yield a request for it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.peers.group_commit"]
    command += ["--port", str(port), "--database", str(folder / "bare.db")]
    process = subprocess.Popen(command, cwd=ROOT)  # noqa: S603 - our own command
    try:
        wait_for(lambda: is_open(port))
        yield Call(url=f"http://127.0.0.1:{port}/", headers={"Content-Type": "application/json"}, body=BODY)
    finally:
        process.kill()
        process.wait()


def is_open(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(look: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.0005) -> T:
    """Return the first true value."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for has not come")
        time.sleep(every_s)
    return found


def line_of(path: Path, number: int) -> float:
    """Return the number on a line of a file; 0 if it is not there yet."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return float(lines[number]) if len(lines) > number else 0.0


def rss_kib(pid: int) -> int:
    """Return the memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ValueError(pid)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--seconds", type=float, default=_SECONDS)
    parser.add_argument("--json", type=Path, help="where the figures are written, for benchmarks.promises")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="funclet-queue-"))
    folder.chmod(0o755)
    try:
        bench = Bench(folder, options.seconds)
        for part in options.parts or PARTS:
            getattr(bench, part)()
        if options.json:
            measured = {"queue": {part: series.figures for part, series in bench.results.items()}}
            options.json.write_text(json.dumps({"measured": measured}, indent=1) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
