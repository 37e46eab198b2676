"""The life of the process: say READY, then answer one request after the other.

Start with `main`, then `Runtime.answer_next`.
"""
# ruff: noqa: PTH100, PTH110, PTH112, PTH120 - pathlib costs a cold start milliseconds

import _thread
import os
import sys
import threading

from _funclet import codec, context, frames, loader, log

SOCKET_FD = 3
MAX_RESULT_BYTES = 6291456
RUNTIME_ROOT = os.path.dirname(os.path.abspath(__file__))

LOAD_FAILED, HANDLER_FAILED, RESULT_TOO_LARGE, RESULT_INVALID, INITIALIZER_FAILED = 4001, 4002, 4004, 4007, 4009
PREFIXES = {
    LOAD_FAILED: "function entry exception, error: ",
    HANDLER_FAILED: "function invocation exception, error: ",
    RESULT_INVALID: "function result is invalid, error: ",
    INITIALIZER_FAILED: "function initialization exception, error: ",
}
# Not from typing, which costs a cold start 3 ms; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from _funclet import zygote

    Answer = tuple[int, int, bytes]
    """Inner code, flags, body."""

SUCCESS = (0, codec.RAW, b"")


def main() -> None:
    """Serve the connection on descriptor 3 until it ends; never returns.

    The loop runs beside the main thread, because authors rely on that: `asyncio.get_event_loop()` must fail.
    `threading` must be imported here, since it takes the thread that imports it for the main thread.
    """
    os.set_inheritable(SOCKET_FD, False)
    prepare_interpreter()
    records = log.Log()
    sys.meta_path.insert(0, log.LoggingHook(records))
    # Before the forks: what nobody writes to of its buffer, they share.
    connection = frames.Connection(SOCKET_FD)
    birth = None
    if os.environ.get("FUNCLET_STEM") == "fork" and "RUNTIME_HANDLER" not in os.environ:
        from _funclet import zygote

        birth = zygote.serve(records)
    if hasattr(os, "register_at_fork"):  # Python 3.7
        os.register_at_fork(after_in_child=_leave_connection)
    threading.Thread(target=serve, args=(connection, records, birth), name="handler").start()
    forever = _thread.allocate_lock()
    forever.acquire()
    while True:
        try:
            forever.acquire()
        except KeyboardInterrupt:
            # Ctrl-C in a terminal reaches the whole process group; the server says when to end.
            continue


def serve(connection: frames.Connection, records: log.Log, birth: "zygote.Birth | None") -> None:
    """Run the loop and end the process with it: 0 at end-of-file, 1 when the connection cannot go on."""
    status = 1
    try:
        runtime = start(connection, records, birth)
        if runtime is not None:
            answer_next = _answering(runtime)
            while answer_next():
                pass
        status = 0
    except ConnectionError:
        # The server went away while an answer was being written.
        status = 0
    except frames.BrokenPeerError as error:
        records.write("ERROR", f"runtime: broken frame: {error}")
    except BaseException as error:
        records.write("ERROR", f"runtime: {error!r}")
    finally:
        records.flush()
        # Not sys.exit: threads of the author's must not keep the process, nor its atexit functions delay it.
        os._exit(status)


def start(connection: frames.Connection, records: log.Log, birth: "zygote.Birth | None") -> "Runtime | None":
    """Say READY and return the runtime of the function, or None if the server leaves before it names one."""
    if birth is not None:
        from _funclet import stem

        return stem.start_fork(connection, records, birth)
    # With a handler it is no stem: there the author has set this variable.
    if "FUNCLET_STEM" in os.environ and "RUNTIME_HANDLER" not in os.environ:
        at_start = frozenset(sys.modules)
        from _funclet import stem

        return stem.start(connection, records, at_start)
    runtime = Runtime(connection, records, os.environ)
    connection.write(frames.READY)
    return runtime


def _answering(runtime: "Runtime") -> "Callable[[], bool]":
    """Return what answers the next request: the runtime itself, or for each request a fork of it."""
    if os.environ.get("RUNTIME_FRESH_STATE") != "1":
        return runtime.answer_next
    from _funclet import fresh

    return fresh.FreshState(runtime, os.environ).answer_next


def prepare_interpreter() -> None:
    """Do what -S leaves out and functions rely on: `exit`, `quit`, libraries that the operator has installed."""
    import builtins

    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment] # -S leaves out the classes of site
    site_packages = f"{_prefix()}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    if os.path.isdir(site_packages):
        sys.path.append(site_packages)
    log.prepare_streams()


def _prefix() -> str:
    """Return the folder of the virtual environment, if the interpreter is in one, else of the interpreter."""
    environment = os.path.dirname(os.path.dirname(sys.executable))
    return environment if os.path.exists(environment + "/pyvenv.cfg") else sys.prefix


def _leave_connection() -> None:
    """Close the copy of the connection that a forked child got: the server must see the end of the parent."""
    try:
        os.close(SOCKET_FD)
    except OSError:
        # The author closed it before.
        return


class Runtime:
    """One function version: loads it, calls it, and turns whatever happens into an answer."""

    def __init__(self, connection: frames.Connection, records: log.Log, environment: "Mapping[str, str]") -> None:
        self._connection = connection
        self._log = records
        self._codec = codec.Codec()
        self._contexts = context.ContextFactory(environment, self._codec)
        self._code_root = environment["RUNTIME_CODE_ROOT"].rstrip("/")
        self._handler_name = environment.get("RUNTIME_HANDLER", "")
        self._initializer_name = environment.get("RUNTIME_INITIALIZER_HANDLER", "")
        self._pre_stop_name = environment.get("PRE_STOP_HANDLER", "")
        self._handler: Any = None
        self._pid = os.getpid()
        self._answers = {
            frames.LOAD: self._answer_load,
            frames.INIT: self._answer_init,
            frames.INVOKE: self._answer_invoke,
            frames.PRESTOP: self._answer_pre_stop,
        }

    def answer_next(self) -> bool:
        """Answer the next request; False at end-of-file.

        Raises:
            BrokenPeerError: the server sent something else than a request.
        """
        frame = self._connection.read()
        if frame is None:
            return False
        kind, request_id, timeout_ms, meta, event = frame
        answer = self._answers.get(kind)
        if answer is None:
            raise frames.BrokenPeerError(f"type {kind}")
        text = request_id.hex()
        self._log.request_id = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
        code, flags, body = answer(timeout_ms, meta, event)
        self._log.flush()
        if os.getpid() != self._pid:
            # The author forked and the child returned: only the parent answers.
            os._exit(0)
        self._connection.write(frames.DONE, request_id, code, flags, body, log.take_printed())
        return True

    def peek(self) -> int:
        """Return the type of the next request if it has been read already, else 0."""
        return self._connection.peek()

    def adopt_process(self) -> None:
        """Take this process, a fork, for the one that answers."""
        self._pid = os.getpid()

    def folders(self) -> "list[str]":
        """Return the folders in which handler, initializer and pre-stop function look for modules first."""
        names = (self._handler_name, self._initializer_name, self._pre_stop_name)
        return list(dict.fromkeys(folder for name in names for folder in loader.folders(name, self._code_root)))

    def load_ahead(self) -> bool:
        """Import the module of the handler before anybody asks for it; False if a LOAD would fail."""
        try:
            self._handler = loader.resolve(self._handler_name, self._code_root)
        except loader.HandlerError:
            return False
        return True

    def _answer_load(self, _timeout_ms: int, _meta: memoryview, _event: memoryview) -> "Answer":
        try:
            self._handler = loader.resolve(self._handler_name, self._code_root)
        except loader.HandlerError as error:
            return self._unusable(LOAD_FAILED, error)
        return SUCCESS

    def _answer_init(self, timeout_ms: int, meta: memoryview, _event: memoryview) -> "Answer":
        try:
            initializer = loader.resolve(self._initializer_name, self._code_root)
        except loader.HandlerError as error:
            return self._unusable(INITIALIZER_FAILED, error)
        try:
            _finish(initializer(self._context(timeout_ms, meta)))
        except BaseException as error:
            return self._raised(INITIALIZER_FAILED, error)
        return SUCCESS

    def _answer_invoke(self, timeout_ms: int, meta: memoryview, event: memoryview) -> "Answer":
        if self._handler is None:
            failure = self._answer_load(timeout_ms, meta, event)
            if failure is not SUCCESS:
                return failure
        try:
            value = self._codec.read(event)
        except Exception as error:
            return self._plain(LOAD_FAILED, f"failed to loads event body err: {error}")
        try:
            result = _finish(self._handler({} if value is None else value, self._context(timeout_ms, meta)))
        except BaseException as error:
            return self._raised(HANDLER_FAILED, error)
        try:
            flags, body = self._codec.write(result)
        except BaseException as error:
            return self._raised(RESULT_INVALID, error)
        if len(body) > MAX_RESULT_BYTES:
            text = f"response body size {len(body)} exceeds the limit of {MAX_RESULT_BYTES}"
            return self._plain(RESULT_TOO_LARGE, text)
        return 0, flags, body

    def _answer_pre_stop(self, timeout_ms: int, meta: memoryview, _event: memoryview) -> "Answer":
        if not self._pre_stop_name:
            return SUCCESS
        try:
            function = loader.resolve(self._pre_stop_name, self._code_root)
        except loader.HandlerError as error:
            return self._unusable(HANDLER_FAILED, error)
        import inspect

        try:
            if inspect.signature(function).parameters:
                _finish(function(self._context(timeout_ms, meta)))
            else:
                _finish(function())
        except BaseException as error:
            return self._raised(HANDLER_FAILED, error)
        return SUCCESS

    def _context(self, timeout_ms: int, meta: memoryview) -> context.Context:
        return self._contexts.create(self._log.request_id, timeout_ms, self._codec.read(meta))

    def _plain(self, code: int, text: str) -> "Answer":
        self._log.write("ERROR", text)
        return code, codec.RAW, text.encode("utf-8", "backslashreplace")

    def _unusable(self, code: int, failure: loader.HandlerError) -> "Answer":
        """Answer for a module or function that cannot be had."""
        from _funclet import errors

        cause = failure.__cause__ or failure
        message, stack = str(failure), None
        if isinstance(cause, SyntaxError):
            # The platform gives these no prefix.
            stack = errors.syntax_stack_of(cause, self._code_root)
        else:
            message = PREFIXES[code] + message
        self._record(message, cause)
        return code, codec.JSON, errors.to_json(message, type(cause).__name__, stack)

    def _raised(self, code: int, error: BaseException) -> "Answer":
        """Answer for an exception from the author's code."""
        from _funclet import errors

        message = PREFIXES[code] + errors.message_of(error)
        self._record(message, error)
        stack = None if code == RESULT_INVALID else errors.stack_of(error, self._code_root)
        return code, codec.JSON, errors.to_json(message, type(error).__name__, stack)

    def _record(self, message: str, error: BaseException) -> None:
        """Log an error with its traceback, if the author's code is in it."""
        from _funclet import errors

        try:
            trace = errors.traceback_of(error, RUNTIME_ROOT)
        except BaseException:
            # Printing runs code of the author's (`__str__` of causes, notes), which may raise anything.
            trace = ""
        self._log.write("ERROR", message + "\n" + trace if trace else message)


async def _nothing() -> None:
    """Exist, so that the type of a coroutine is known without importing anything."""


_sample = _nothing()
Coroutine = type(_sample)
_sample.close()
del _sample


def _finish(result: object) -> object:
    """Return the result; a coroutine is run to its end on a loop of its own first."""
    if type(result) is not Coroutine:
        return result
    import asyncio

    if hasattr(asyncio, "run"):  # Python 3.7
        return asyncio.run(result)
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(result)
    finally:
        loop.close()
