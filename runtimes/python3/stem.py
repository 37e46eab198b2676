"""A runtime that is started before anybody knows for which function (`../CONTRACT.md`, Stems). Start with `start`.

Imported in stems only: what a fresh start would have to do first is done here before READY.
"""

import gc
import json
import linecache
import logging
import os
import sys
import time
from _socket import socketpair
from importlib.machinery import PathFinder

from _funclet import codec, frames, log, loop

# Not from typing, so that these lines are the same in all files; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from _funclet import zygote

MODULES = (
    "base64",
    "collections",
    "copy",
    "datetime",
    "functools",
    "hashlib",
    "hmac",
    "json",
    "logging",
    "math",
    "random",
    "re",
    "string",
    "time",
    "traceback",
    "typing",
    "urllib.parse",
    "uuid",
    "_funclet.errors",
)
"""Loaded ahead: what most functions import, as far as it is small, starts no thread and reads no variables."""

ROUNDS = 20
"""Rehearsals; CPython 3.11 specialises its bytecode within the first ten runs."""

_REHEARSAL = "rehearsal"
_SERVER_FD, _RUNTIME_FD = 60, 61
# Made once: forks share what nobody writes to of their buffers.
_server, _connection = frames.Connection(_SERVER_FD), frames.Connection(_RUNTIME_FD)
_zone: "list[str | None]" = [None]
"""What the C library took its time zone from."""
_SEED_BYTES = 32
_HANDLER, _EVENTS = "handler", (b'{"fail": false, "list": [1, 2.5, null, "a"]}', b'{"fail": true}')
_SHORT_HANDLER, _SHORT_EVENTS = "echo", _EVENTS[:1]
"""What a fork rehearses: each page that it writes to is memory of its own, so only what every start needs."""


FORK_UNUSABLE = 75
"""Exit status of a stem that must not be kept with the function loaded: its module did what only a start may do."""

_LOOP_THREADS = 2


def start(connection: frames.Connection, records: log.Log, at_start: "frozenset[str]") -> "loop.Runtime | None":
    """Warm up, say READY and wait for the function; None at end-of-file.

    Args:
        connection: to the server.
        records: the log of the function to come.
        at_start: the modules that a fresh start has loaded, too.

    Raises:
        BrokenPeerError: the server sent something else than an environment.
    """
    warm(records)
    ahead = frozenset(name.partition(".")[0] for name in sys.modules) - at_start
    connection.write(frames.READY)
    return specialise(connection, records, ahead)


def start_fork(connection: frames.Connection, records: log.Log, birth: "zygote.Birth") -> "loop.Runtime | None":
    """Do in a fork of a zygote what `start` does in a process of its own.

    Raises:
        BrokenPeerError: the server sent something else than an environment, or not the one of the loaded function.
    """
    if birth.rehearsals:
        # So that the pages which every start writes to are this process's own before anybody waits for it.
        rehearse(records, birth.rehearsals, _SHORT_HANDLER, _SHORT_EVENTS)
    if birth.environment is None:
        connection.write(frames.READY)
        return specialise(connection, records, birth.ahead)
    runtime = _load_ahead(connection, records, birth)
    connection.write(frames.READY)
    return runtime if _hear_environment(connection, birth.environment) else None


def _load_ahead(connection: frames.Connection, records: log.Log, birth: "zygote.Birth") -> "loop.Runtime":
    """Become a function and import its module; ends the process if that cannot be done before a request is there."""
    adopt_environment(memoryview(birth.environment or b""))
    runtime = loop.Runtime(connection, records, os.environ)
    forget_shadowed(birth.ahead, runtime.folders(), records)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib is not loaded
    if not runtime.load_ahead() or _has_done_more(before):
        os._exit(FORK_UNUSABLE)
    return runtime


def _has_done_more(before: "set[str]") -> bool:
    """Tell whether the author's module did what belongs to a start that somebody asked for.

    Threads, children, open files and connections, and lines in the log, which name the request that wanted them.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    from _funclet import zygote

    return (
        len(os.listdir("/proc/self/task")) != _LOOP_THREADS  # noqa: PTH208 - pathlib is not loaded
        or set(os.listdir("/proc/self/fd")) != before  # noqa: PTH208 - as above
        or zygote.unread_bytes(1) > 0
        or _has_children()
    )


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _hear_environment(connection: frames.Connection, environment: bytes) -> bool:
    """Wait until the server names the function that is loaded already; False at end-of-file."""
    frame = connection.read()
    if frame is None:
        return False
    kind, request_id, _timeout_ms, _meta, body = frame
    if kind != frames.SPECIALISE or json.loads(bytes(body)) != json.loads(environment):
        raise frames.BrokenPeerError("not the environment of the function that is loaded")
    connection.write(frames.DONE, request_id)
    return True


def settle_fork(records: log.Log) -> None:
    """Put right what a fork must not have in common with its zygote; `random` and `threading` do so by themselves."""
    records.fd = os.dup(1)
    uuid = sys.modules["uuid"]
    uuid._node = uuid._last_timestamp = None  # type: ignore[attr-defined] # noqa: SLF001 - there is no public way
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(_SEED_BYTES), float(_SEED_BYTES))
    _forget_host()


def specialise(connection: frames.Connection, records: log.Log, ahead: "frozenset[str]") -> "loop.Runtime | None":
    """Wait for the environment, adopt it and answer; None at end-of-file. `ahead` are the modules loaded ahead.

    Raises:
        BrokenPeerError: the server sent something else than an environment.
    """
    frame = connection.read()
    if frame is None:
        return None
    kind, request_id, _timeout_ms, _meta, body = frame
    if kind != frames.SPECIALISE:
        raise frames.BrokenPeerError(f"type {kind} before the environment")
    adopt_environment(body)
    runtime = loop.Runtime(connection, records, os.environ)
    forget_shadowed(ahead, runtime.folders(), records)
    connection.write(frames.DONE, request_id)
    return runtime


def warm(records: log.Log) -> None:
    """Load modules and rehearse. Leaves nothing else: no line in the log, no variable, no entry on `sys.path`."""
    for name in MODULES:
        __import__(name)
    rehearse(records, ROUNDS, _HANDLER, _EVENTS)
    linecache.clearcache()
    _forget_host()
    gc.collect()
    if hasattr(gc, "freeze"):  # Python 3.7
        gc.freeze()


def rehearse(records: log.Log, rounds: int, handler: str, events: "Iterable[bytes]") -> None:
    """Live through so many short lives, each with these events. Leaves nothing behind, see `warm`."""
    fd, records.fd = records.fd, os.open(os.devnull, os.O_WRONLY)
    path, environment = sys.path[:], dict(os.environ)
    ours, theirs = socketpair()
    try:
        os.dup2(ours.fileno(), _SERVER_FD, False)
        os.dup2(theirs.fileno(), _RUNTIME_FD, False)
        for _ in range(rounds):
            _live(_server, _connection, records, handler, events)
    finally:
        os.closerange(_SERVER_FD, _RUNTIME_FD + 1)
        ours.close()
        theirs.close()
        os.close(records.fd)
        records.fd, records.request_id = fd, ""
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)


def _live(
    server: frames.Connection, connection: frames.Connection, records: log.Log, handler: str, events: "Iterable[bytes]"
) -> None:
    """Live through one short life: environment, load, calls."""
    environment = {
        **os.environ,
        # The usual one, so that most functions find it set.
        "TZ": "UTC",
        "RUNTIME_CODE_ROOT": loop.RUNTIME_ROOT,
        "RUNTIME_HANDLER": f"{_REHEARSAL}.{handler}",
        "RUNTIME_USERDATA": '{"name": "rehearsal"}',
    }
    with open(f"{loop.RUNTIME_ROOT}/{_REHEARSAL}.py", "rb") as file:  # noqa: PTH123 - pathlib is not loaded
        # The author's module is often not compiled yet, and the first compilation is the slowest.
        compile(file.read(), _REHEARSAL, "exec", dont_inherit=True)
    server.write(frames.SPECIALISE, body=json.dumps(environment).encode())
    runtime = specialise(connection, records, frozenset())
    server.read()
    # As if the folder had never been looked into, which is how the author's will be.
    sys.path_importer_cache.pop(loop.RUNTIME_ROOT, None)
    for kind, event in ((frames.LOAD, b""), *((frames.INVOKE, event) for event in events)):
        server.write(kind, body=event)
        if runtime is not None:
            runtime.answer_next()
        server.read()
    del sys.modules[_REHEARSAL]


def _forget_host() -> None:
    """Empty the cache of `platform`, which `uuid` fills: the name of the host is not settled yet."""
    platform = sys.modules.get("platform")
    if platform is not None and hasattr(platform, "_uname_cache"):
        platform._uname_cache = None  # noqa: SLF001 - there is no public way


def adopt_environment(body: memoryview) -> None:
    """Make a JSON object of texts the environment of the process, exactly, with all that follows from it.

    Raises:
        BrokenPeerError: the body is something else.
    """
    try:
        environment = codec.Codec().read(body)
    except ValueError as error:
        raise frames.BrokenPeerError(f"the environment is no JSON: {error}") from error
    if not isinstance(environment, dict):
        raise frames.BrokenPeerError("the environment is no object")
    os.environ.clear()
    try:
        os.environ.update(environment)
    except (ValueError, TypeError, OSError) as error:
        raise frames.BrokenPeerError(f"a variable cannot be set: {error}") from error
    _set_zone(os.environ.get("TZ"))
    # Records know the time since `logging` was loaded, in nanoseconds since Python 3.13.
    started = logging._startTime  # type: ignore[attr-defined] # noqa: SLF001 - there is no public way
    logging._startTime = time.time_ns() if isinstance(started, int) else time.time()  # type: ignore[attr-defined] # noqa: SLF001 - as above


def _set_zone(zone: "str | None") -> None:
    """Make the C library follow the variable; it reads a file for that, so only when it has changed."""
    if zone != _zone[0]:
        time.tzset()
        _zone[0] = zone


def forget_shadowed(ahead: "frozenset[str]", folders: "Iterable[str]", records: log.Log) -> None:
    """Forget the modules loaded ahead that the author has a module or package of the same name for: that one wins.

    Args:
        ahead: the top-level modules loaded ahead.
        folders: where the author's modules are; those that do not exist hold none.
        records: the log, for a `logging` that is loaded once more.
    """
    for folder in folders:
        try:
            entries = os.listdir(folder)  # noqa: PTH208 - pathlib is not loaded
        except OSError:
            continue
        for name in ahead.intersection(entry.partition(".")[0] for entry in entries):
            spec = PathFinder.find_spec(name, [folder])
            # A folder without __init__.py has no loader and loses against the standard library.
            if spec is not None and spec.loader is not None:
                for module in [known for known in sys.modules if known == name or known.startswith(name + ".")]:
                    del sys.modules[module]
                if name == "logging":
                    sys.meta_path.insert(0, log.LoggingHook(records))
