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
_EVENTS = (b'{"fail": false, "list": [1, 2.5, null, "a"]}', b'{"fail": true}')


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
    fd, records.fd = records.fd, os.open(os.devnull, os.O_WRONLY)
    path, environment = sys.path[:], dict(os.environ)
    ours, theirs = socketpair()
    try:
        _rehearse(frames.Connection(ours.fileno()), frames.Connection(theirs.fileno()), records)
    finally:
        ours.close()
        theirs.close()
        os.close(records.fd)
        records.fd, records.request_id = fd, ""
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
    linecache.clearcache()
    _forget_host()
    gc.collect()
    if hasattr(gc, "freeze"):  # Python 3.7
        gc.freeze()


def _rehearse(server: frames.Connection, connection: frames.Connection, records: log.Log) -> None:
    """Live through many short lives: environment, load, calls."""
    environment = {
        **os.environ,
        "RUNTIME_CODE_ROOT": loop.RUNTIME_ROOT,
        "RUNTIME_HANDLER": _REHEARSAL + ".handler",
        "RUNTIME_USERDATA": '{"name": "rehearsal"}',
    }
    requests = ((frames.LOAD, b""), *((frames.INVOKE, event) for event in _EVENTS))
    with open(f"{loop.RUNTIME_ROOT}/{_REHEARSAL}.py", "rb") as file:  # noqa: PTH123 - pathlib is not loaded
        source = file.read()
    for _ in range(ROUNDS):
        # The author's module is often not compiled yet, and the first compilation is the slowest.
        compile(source, _REHEARSAL, "exec", dont_inherit=True)
        server.write(frames.SPECIALISE, body=json.dumps(environment).encode())
        runtime = specialise(connection, records, frozenset())
        server.read()
        # As if the folder had never been looked into, which is how the author's will be.
        sys.path_importer_cache.pop(loop.RUNTIME_ROOT, None)
        for kind, event in requests:
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
    time.tzset()
    # Records know the time since `logging` was loaded, in nanoseconds since Python 3.13.
    started = logging._startTime  # type: ignore[attr-defined] # noqa: SLF001 - there is no public way
    logging._startTime = time.time_ns() if isinstance(started, int) else time.time()  # type: ignore[attr-defined] # noqa: SLF001 - as above


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
