"""`make bench-lists`: whether lists and gets take as long on a full server as on one that is nearly empty.

The full one has 10,000 functions, 100,000 versions and 1,000,000 asynchronous records, half of these of one function,
and what belongs to them: statistics of a day, dependencies, an audit log.
The small one has as much as one page of each list shows, so that both answer with pages of the same size.

    python -m benchmarks.lists seed FOLDER      # fill the databases of two stopped servers
    python -m benchmarks.lists measure FOLDER [RESULT.json]   # start both and ask them in turns
"""

import asyncio
import gc
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.functions import HELLO
from benchmarks.memory import held_by
from benchmarks.ours import PROJECT_ID, OwnServer
from benchmarks.targets import BODY
from funclet.base.clock import SystemClock
from funclet.base.ids import new_hex_id, new_ordered_uuid, new_uuid
from funclet.model.async_config import AsyncConfig
from funclet.model.audit import Trace, TraceOutcome
from funclet.model.dependency import DependencyVersion
from funclet.model.function import Alias, FunctionVersion
from funclet.model.invocation import Report, Submission
from funclet.model.resources import StoredEvent
from funclet.model.trigger import Trigger, TriggerStatus
from funclet.store.protocol import FunctionFilter, Tx
from funclet.store.queue_protocol import Accepted
from funclet.store.sqlite import SqliteStore
from funclet.store.usage import UsageBook

MAX_RATIO = 3.0
PAGE = 100
MAX_MEMORY_MIB = 300.0
_OPTIONS = ("--isolation", "process")
_ROUNDS = 25
_BATCH = 500
_NAME = "listed"
_DEPENDENCY = "00000000-0000-4000-8000-000000000000"
_DAY_MIN = 24 * 60
_RARE_TRACES = 250
"""Of one operation: more than a page, on both servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much a server has."""

    functions: int
    versions: int
    """Of each function, `latest` included."""
    records: int
    """Of the function with the most."""
    further_records: int
    """Of all others together."""
    dependencies: int
    traces: int
    """In the audit log."""


FULL = Size(
    functions=10_000, versions=10, records=500_000, further_records=500_000, dependencies=10_000, traces=100_000
)
SMALL = Size(functions=400, versions=10, records=500, further_records=0, dependencies=400, traces=500)
SIZES = {"full": FULL, "small": SMALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request whose time is measured."""

    name: str
    path: str
    """Behind the one of the project and `fgs/`, or from the project on if it begins without a slash."""
    body: str = ""
    """For a POST; empty: a GET."""
    markers: tuple[int, int] | None = None
    """Where the page begins on the small and on the full server; None: the path says it."""
    walks: bool = False
    """Whether each request to the full server is for the page behind the last one, as clients read a list."""
    grows: bool = False
    """Whether it has to look at everything, so that its time is only shown."""


def main(arguments: Sequence[str]) -> int:
    """Seed or measure; 1 if something takes too long or needs too much memory."""
    action, folder, *result = arguments[0], *(Path(one) for one in arguments[1:])
    if action == "seed":
        for name, size in SIZES.items():
            seed(folder / name, size)
        return 0
    return measure(folder, *result)


def seed(folder: Path, size: Size) -> None:
    """Start a server once so that its database is there, then fill that."""
    with closing(OwnServer(folder, *_OPTIONS)) as server:
        server.deploy(_NAME, HELLO)
    began = time.monotonic()
    asyncio.run(_fill(folder / "data" / "funclet.db", size))
    print(f"{folder.name}: filled in {time.monotonic() - began:.0f} s", flush=True)


async def _fill(path: Path, size: Size) -> None:
    store = SqliteStore.open(path)
    try:
        wanted = FunctionFilter(project_id=PROJECT_ID, limit=1)
        ((first,), _) = await store.read(lambda tx: tx.functions.find(wanted))
        functions = [first, *(_copy(first, number) for number in range(1, size.functions))]
        await store.write(lambda tx: _add_versions(tx, first, size))
        await store.write(lambda tx: _add_details(tx, first))
        for batch in _batches(functions[1:]):
            await store.write(lambda tx, batch=batch: _add_functions(tx, batch, size))
        for version, count in _records_of(functions, size):
            for start in range(0, count, _BATCH * 10):
                part = min(_BATCH * 10, count - start)
                await store.write(lambda tx, version=version, part=part: _add_records(tx, version, part))
        await _add_usage(store, [version for version, _ in _records_of(functions, size)])
        await store.write(lambda tx: _add_dependencies(tx, size.dependencies))
        await store.write(lambda tx: _add_traces(tx, size.traces))
    finally:
        await store.close()


def _copy(version: FunctionVersion, number: int) -> FunctionVersion:
    return replace(version, name=f"copy-{number}", function_id=new_uuid(), modified_at=version.modified_at - number)


def _batches(functions: Sequence[FunctionVersion]) -> Iterator[Sequence[FunctionVersion]]:
    return (functions[start : start + _BATCH] for start in range(0, len(functions), _BATCH))


def _add_functions(tx: Tx, functions: Sequence[FunctionVersion], size: Size) -> None:
    for function in functions:
        tx.functions.add(function)
        _add_versions(tx, function, size)
        tx.tags.put(PROJECT_ID, function.function_id, {"team": f"t{len(function.name)}", "stage": "prod"})
        tx.triggers.put(_trigger(function, "tick"))
        tx.async_configs.put(function.function_id, "latest", _async_config(function))


def _add_versions(tx: Tx, function: FunctionVersion, size: Size) -> None:
    for number in range(1, size.versions):
        tx.functions.add_version(replace(function, version=f"v{number}"))


async def _add_usage(store: SqliteStore, functions: Sequence[FunctionVersion]) -> None:
    """Have each function run once in ten minutes for a day."""
    book, now = UsageBook(store, SystemClock()), time.time()
    for minute in range(_DAY_MIN, -1, -10):
        book.observe(
            Report(
                function_id=function.function_id, version="latest", at=now - 60 * minute, has_run=True, code=0,
                duration_ms=5.0, memory_mib=128,
            )
            for function in functions
        )  # fmt: skip
        await book.flush()


def _add_dependencies(tx: Tx, count: int) -> None:
    for number in range(count):
        tx.dependencies.add(
            DependencyVersion(
                version_id=new_uuid(),
                dependency_id=_DEPENDENCY if number == 0 else new_uuid(),
                project_id=PROJECT_ID,
                name=f"dependency-{number}",
                runtime="Python3.10",
                number=1,
                digest="0" * 128,
                size=1000,
                etag="0" * 32,
                filename="index.zip",
                modified_at=time.time() - number,
            )
        )


def _add_traces(tx: Tx, count: int) -> None:
    now, every = time.time(), count // _RARE_TRACES
    tx.traces.add(
        [
            Trace(
                at=now - number,
                project_id=PROJECT_ID,
                user_name="someone",
                user_id="",
                operation="UpdateFunctionConfig" if number % every else "DeleteFunction",
                action="",
                resource=_NAME,
                outcome=TraceOutcome.DONE,
                status=200,
                code="",
                source="127.0.0.1",
                request_id=new_uuid(),
            )
            for number in range(count)
        ]
    )


def _add_details(tx: Tx, function: FunctionVersion) -> None:
    tx.async_configs.put(function.function_id, "latest", _async_config(function))
    tx.tags.put(PROJECT_ID, function.function_id, {"rare": "1"})
    for number in range(1, 10):
        tx.aliases.put(function.function_id, Alias(name=f"a{number}", version=f"v{number}", modified_at=0.0))
        tx.triggers.put(_trigger(function, f"tick{number}"))
        event = StoredEvent(
            event_id=f"event-{number}",
            function_id=function.function_id,
            name=f"e{number}",
            content=b"{}",
            modified_at=0.0,
        )
        tx.events.add(event)


def _trigger(function: FunctionVersion, name: str) -> Trigger:
    return Trigger(
        trigger_id=new_hex_id(),
        project_id=PROJECT_ID,
        function_id=function.function_id,
        function_urn=str(function.urn),
        type_code="TIMER",
        status=TriggerStatus.DISABLED,
        event_data={"name": name, "schedule_type": "Rate", "schedule": "30d"},
        created_at=function.modified_at,
        updated_at=function.modified_at,
    )


def _async_config(function: FunctionVersion) -> AsyncConfig:
    return AsyncConfig(func_urn=str(function.urn), created_at=function.modified_at, modified_at=0.0)


def _records_of(functions: Sequence[FunctionVersion], size: Size) -> Iterator[tuple[FunctionVersion, int]]:
    yield functions[0], size.records
    others = functions[1 : 1 + size.further_records // _BATCH]
    yield from ((function, _BATCH) for function in others)


def _add_records(tx: Tx, version: FunctionVersion, count: int) -> None:
    now = time.time()
    accepted = [
        Accepted(
            submission=Submission(
                request_id=new_ordered_uuid(),
                project_id=PROJECT_ID,
                function_id=version.function_id,
                urn=str(version.urn),
                payload=BODY.encode(),
                accepted_at=now,
            ),
            queued_at=now,
        )
        for _ in range(count)
    ]
    tx.queue.add_all(accepted)
    tx.queue.discard(version.function_id, limit=count, held=(), at=now, error_code=0, error_message="")


def questions() -> Sequence[Question]:
    """Return what is asked: each list, its later pages, and each get."""
    listed = f"/functions/{_NAME}"
    found = "functions/resource-instances"
    by_tags = '{"tags": [{"key": "stage", "values": ["prod"]}, {"key": "team", "values": ["t6", "t7"]}]}'
    by_name = '{"matches": [{"key": "resource_name", "value": "copy-1"}]}'
    project = "/functions/statistics?filter=monitor_data"
    window = "begin_time=2020-01-01T00:00:00&end_time=2100-01-01T00:00:00&"
    return (
        Question(name="list functions", path="/functions?maxitems=100"),
        Question(name="list functions, far behind", path="/functions?maxitems=100", markers=(200, 9900)),
        Question(name="list functions by name", path="/functions?maxitems=100&func_name=copy-"),
        Question(name="show a function", path=f"{listed}/config"),
        Question(name="list versions", path=f"{listed}/versions"),
        Question(name="show a version", path=f"/functions/{PROJECT_ID}:default:{_NAME}:v5/config"),
        Question(name="list aliases", path=f"{listed}/aliases"),
        Question(name="show an alias", path=f"{listed}/aliases/a5"),
        Question(name="list triggers of a function", path=f"/triggers/{_NAME}"),
        Question(name="list triggers of the project", path="/triggers?maxitems=100"),
        Question(name="list triggers, far behind", path="/triggers?maxitems=100", markers=(200, 9900)),
        Question(name="list test events", path=f"{listed}/events"),
        Question(name="show a test event", path=f"{listed}/events/event-5"),
        Question(name="list records", path=f"{listed}/async-invocations?{window}limit=100"),
        Question(name="list records, last hour", path=f"{listed}/async-invocations?limit=100"),
        Question(
            name="list records, far behind",
            path=f"{listed}/async-invocations?{window}limit=100",
            markers=(300, 400_000),
            walks=True,
        ),
        Question(name="list records of a state", path=f"{listed}/async-invocations?{window}limit=100&status=DISCARD"),
        Question(
            name="list records of a state without any", path=f"{listed}/async-invocations?{window}limit=100&status=FAIL"
        ),
        Question(name="list running requests", path=f"{listed}/active-async-invocations"),
        Question(name="list tags of a function", path=f"functions/{_NAME}/tags"),
        Question(name="list tags of the project", path="functions/tags"),
        Question(name="find functions by a tag", path=f"{found}/filter", body='{"tags": [{"key": "stage"}]}'),
        Question(name="find functions by a rare tag", path=f"{found}/filter", body='{"tags": [{"key": "rare"}]}'),
        Question(name="find functions without a tag", path=f"{found}/filter", body='{"without_any_tag": true}'),
        Question(name="find functions by name", path=f"{found}/filter", body=by_name),
        Question(name="count functions by two tags", path=f"{found}/count", body=by_tags),
        Question(name="show quotas", path="/quotas"),
        Question(name="list templates", path="/templates"),
        Question(name="list applications", path="/applications"),
        Question(name="show the code of a function", path=f"{listed}/code"),
        Question(name="list settings for asynchronous requests", path=f"{listed}/async-invoke-configs"),
        Question(name="list reserved instances", path="/functions/reservedinstanceconfigs"),
        Question(name="list dependencies", path="/dependencies?maxitems=100"),
        Question(name="list dependencies, far behind", path="/dependencies?maxitems=100", markers=(200, 9900)),
        Question(name="list dependencies by name", path="/dependencies?maxitems=100&name=dependency-3"),
        Question(name="list versions of a dependency", path=f"/dependencies/{_DEPENDENCY}/version"),
        Question(name="statistics of a function, an hour", path=f"{listed}/statistics/60"),
        Question(name="statistics of a function, a day", path=f"{listed}/statistics/1440"),
        Question(name="metrics of a function, a day", path=f"{listed}/slareports/1440"),
        Question(name="statistics of the project, an hour", path=f"{project}&period=60"),
        Question(name="statistics of the project, a day", path=f"{project}&period=1440"),
        Question(name="months of the project", path="/functions/statistics?filter=monthly_report&option=3"),
        Question(name="rank all functions of a day", path="/function/report?type=count", grows=True),
        Question(name="list the audit log", path="funclet/traces"),
        Question(name="list the audit log of an operation", path="funclet/traces?operation=DeleteFunction"),
    )


def measure(folder: Path, result: Path | None = None) -> int:
    """Ask both servers in turns, print the ratios, and write the worst; 1 if one is too high."""
    ratios = {}
    with (
        closing(OwnServer(folder / "full", *_OPTIONS)) as full,
        closing(OwnServer(folder / "small", *_OPTIONS)) as small,
    ):
        print(f"{'':44}{'small ms':>10}{'full ms':>10}{'times':>8}")
        for question in questions():
            small_ms, full_ms = _times(question, full, small)
            ratio = full_ms / small_ms
            if not question.grows:
                ratios[question.name] = ratio
            mark = " (looks at all)" if question.grows else " !" if ratio > MAX_RATIO else ""
            print(f"{question.name:44}{small_ms:10.2f}{full_ms:10.2f}{ratio:8.2f}{mark}")
        held = held_by([full.server_pid]).rss_mib
    worst = max(ratios.values())
    print(f"memory of the full server: {held:.0f} MiB (at most {MAX_MEMORY_MIB:.0f})")
    if result:
        figures = {"worst": [worst], "middle": [statistics.median(ratios.values())], "memory_mib": [held]}
        document = {"measured": {"lists": {"full": figures}}}
        result.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if worst > MAX_RATIO or held > MAX_MEMORY_MIB else 0


def _times(question: Question, full: OwnServer, small: OwnServer) -> tuple[float, float]:
    """Return the medians of both in milliseconds. A round asks one after the other: both have the same weather."""
    near, far = question.markers or (-1, -1)
    asked = (_asking(small, question, near, walks=False), _asking(full, question, far, walks=question.walks))
    took: tuple[list[float], list[float]] = ([], [])
    gc.disable()
    for number in range(_ROUNDS + 2):
        for ask, times in zip(asked, took, strict=True):
            began = time.perf_counter()
            ask()
            if number > 1:
                times.append((time.perf_counter() - began) * 1000)
    gc.enable()
    return statistics.median(took[0]), statistics.median(took[1])


def _asking(server: OwnServer, question: Question, marker: int, *, walks: bool) -> Callable[[], object]:
    rest = f"fgs{question.path}" if question.path.startswith("/") else question.path
    path, _, query = f"/v2/{PROJECT_ID}/{rest}".partition("?")
    method = "POST" if question.body else "GET"
    wanted = dict(pair.split("=", 1) for pair in query.split("&")) if query else {}
    markers = itertools.count(marker, PAGE if walks else 0)

    def ask() -> object:
        given = {} if marker < 0 else {"marker": next(markers)}
        return server.client.call(method, path, query={**wanted, **given}, body=question.body.encode())

    return ask


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
