"""`make bench`: measure Funclet and its peers in turns, and write the tables. Start with `main`."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from benchmarks import footprint, machine, report, starts
from benchmarks.functions import HELLO
from benchmarks.goals import ASGI, NGINX, OTHER, OURS, REFERENCE, SIGNED
from benchmarks.measures import Plan, Results, cold, overload, say_to_stderr, warm
from benchmarks.memory import can_settle
from benchmarks.ours import PROJECT_ID, OwnServer, has_option
from benchmarks.population import fill
from benchmarks.targets import Fleet, Target, start_peers

RESULTS = Path(__file__).with_name("results")
PARTS = (
    "warm",
    "single",
    "crowd",
    "overload",
    "cold",
    "burst",
    "deploy",
    "sustained",
    "rest",
    "memory",
    "connections",
)
_OF_ROOT = ("memory", "connections")
_SOON_IDLE = ("--idle-release-s", "1")

_PLAN = Plan(rounds=5, seconds=2.0, new_starts=20, later_starts=8, say=say_to_stderr)
_QUICK = Plan(rounds=2, seconds=1.0, new_starts=4, later_starts=2, say=say_to_stderr)


class Bench:
    """Everything that runs during the measurements, in a folder that goes with it."""

    def __init__(self, stack: ExitStack, plan: Plan, also: Path | None) -> None:
        # Not in a folder of its maker's: the server's user must be able to reach it.
        self._folder = Path(tempfile.mkdtemp(prefix="funclet-bench-"))
        stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.chmod(0o755)
        self._stack, self._plan, self._also = stack, plan, also
        self.fleet = Fleet(self._folder)
        stack.enter_context(closing(self.fleet))

    @cached_property
    def server(self) -> OwnServer:
        """The server that the load of many requests goes to."""
        server = OwnServer(self._folder / "warm", "--idle-release-s", "600")
        return self._stack.enter_context(closing(server))

    @cached_property
    def _targets(self) -> list[Target]:
        self._plan.say("starting servers")
        return [
            *self._start_other(),
            self.server.gateway_target(OURS, "gateway route, as it comes", "bench_hello"),
            self.server.gateway_target(
                "funclet, 2 instances", "the same, at most two instances", "bench_two", memory_mib=1024, instances=2
            ),
            self.server.signed_target(SIGNED, "signed requests", "bench_signed"),
            *start_peers(self.fleet, self._folder),
        ]

    def _start_other(self) -> list[Target]:
        """Start the Funclet of another checkout beside ours, so that two commits can be compared."""
        if self._also is None:
            return []
        other = OwnServer(self._folder / "other", "--idle-release-s", "600", checkout=self._also.absolute())
        self._stack.enter_context(closing(other))
        return [other.gateway_target(OTHER, "gateway route", "bench_hello")]

    def warm(self) -> Results:
        """Measure all targets with 16 connections."""
        return warm(self._targets, self._folder, self._plan, connections=16)

    def single(self) -> Results:
        """Measure the times of one caller."""
        return warm(self._some(OURS, REFERENCE, NGINX, SIGNED, OTHER), self._folder, self._plan, connections=1)

    def crowd(self) -> Results:
        """Measure 64 callers."""
        return warm(self._some(OURS, REFERENCE, ASGI, OTHER), self._folder, self._plan, connections=64)

    def _some(self, *names: str) -> list[Target]:
        return [target for target in self._targets if target.name in names]

    def overload(self) -> Results:
        """Measure more requests than instances can serve."""
        return overload(self.server, self._plan)

    def cold(self) -> Results:
        """Measure first requests, on servers of their own: with runtimes started ahead, and without."""
        kinds: dict[str, tuple[str, ...]] = {"pool empty": _SOON_IDLE}
        if has_option("--stems"):
            kinds = {"pool hit": _SOON_IDLE, "pool empty": (*_SOON_IDLE, "--max-stems", "0")}
        with ExitStack() as stack:
            servers = {}
            for kind, given in kinds.items():
                servers[kind] = OwnServer(self._folder / kind.replace(" ", "-"), *given)
                stack.enter_context(closing(servers[kind]))
            return cold(servers, self._plan)

    def burst(self) -> Results:
        """Measure many cold starts at once."""
        with self._own_server("burst", *_SOON_IDLE) as server:
            return starts.bursts(server, self._plan)

    def deploy(self) -> Results:
        """Measure new functions up to their first answer."""
        with self._own_server("deploy", *_SOON_IDLE) as server:
            return starts.deployments(server, self._plan)

    def sustained(self) -> Results:
        """Measure starts without a pause."""
        copies = self._copies
        with self._own_server("many", *_SOON_IDLE) as server:
            return starts.sustained(server, copies, self._plan)

    def rest(self) -> Results:
        """Measure a server that has many functions and nothing to do."""
        self._plan.say(f"at rest: {len(self._copies) + 1} functions are there")
        with self._own_server("many") as server:
            return footprint.at_rest(server, self._plan)

    @cached_property
    def _copies(self) -> Sequence[str]:
        """Make the data of a server with many functions; return the urns of those that are alike."""
        with self._own_server("many") as server:
            server.deploy("original", HELLO)
            folder = server.data_folder
        return fill(folder, PROJECT_ID, footprint.FUNCTIONS)

    def memory(self) -> Results:
        """Measure instances that wait."""
        with self._own_server("memory", "--idle-release-s", "600") as server:
            return footprint.idle_instances(server, self._plan)

    def connections(self) -> Results:
        """Measure connections that wait."""
        with self._own_server("connections") as server:
            return footprint.idle_connections(server, self._plan)

    def _own_server(self, name: str, *options: str) -> AbstractContextManager[OwnServer]:
        return closing(OwnServer(self._folder / name, *options))


def measure(plan: Plan, parts: Sequence[str], also: Path | None) -> tuple[str, str]:
    """Measure and return the results as JSON and as Markdown; `also` is another checkout, see `--also`."""
    began = time.monotonic()
    about = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **machine.describe()}
    with ExitStack() as stack:
        bench = Bench(stack, plan, also)
        about["isolation"] = bench.server.isolation
        measured = {part: getattr(bench, part)() for part in _possible(parts, bench.fleet.missing)}
        missing = bench.fleet.missing
    about["rounds"] = f"{plan.rounds} of {plan.seconds:g} s each, in turns; {time.monotonic() - began:.0f} s in all"
    document = report.to_document(measured, about, missing)
    return json.dumps(document, indent=1) + "\n", report.render(measured, about, missing)


def _possible(parts: Sequence[str], missing: list[str]) -> list[str]:
    """Return the parts that this user can measure, in their order; add what is left out to `missing`."""
    left_out = () if can_settle() else _OF_ROOT
    missing += [f"{part}: only root can drop the caches of the kernel" for part in left_out if part in parts]
    return [part for part in PARTS if part in parts and part not in left_out]


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Funclet and its peers in turns.")
    parser.add_argument("--quick", action="store_true", help="two short rounds: to see that everything works")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the results are written")
    parser.add_argument("--also", type=Path, help="another checkout, installed in its .venv, to compare with")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("The load generator is missing: apt-get install wrk")
    as_json, as_markdown = measure(_QUICK if options.quick else _PLAN, options.only, options.also)
    print(as_markdown)
    stem = f"{datetime.now(UTC):%Y-%m-%d}-{machine.label()}{'-quick' if options.quick else ''}"
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / f"{stem}.json").write_text(as_json, encoding="utf-8")
    (options.folder / f"{stem}.md").write_text(as_markdown, encoding="utf-8")
    print(f"written: {options.folder / stem}.json and .md", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
