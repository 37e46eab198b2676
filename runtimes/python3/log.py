"""Lines of the function's log. The author's logger is the root logger; `attach` makes it write here.

`logging` costs a cold start 5 ms and many functions never use it, so `LoggingHook` waits for its first import.
"""

import io
import os
import sys
import time

# Not from typing, which costs a cold start 3 ms; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import LogRecord
    from typing import Any

MAX_RECORD_BYTES = 92160
# Bytes that were written to standard output and error since the last answer. A list, so that nobody needs `global`.
_printed = [0]


def prepare_streams() -> None:
    """Make standard output and error write whole lines, in UTF-8 whatever the locale is; never refuse a character."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        file = _CountedFile(fd, "w", closefd=False)
        file.name = f"<{name}>"
        stream = io.TextIOWrapper(io.BufferedWriter(file), "utf-8", "backslashreplace", line_buffering=True)
        stream.mode = "w"  # type: ignore[misc] # as that of the streams that it replaces
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def take_printed() -> int:
    """Return how many bytes were printed since the last call, as far as Python has written them."""
    count = _printed[0]
    _printed[0] = 0
    return min(count, 0xFFFFFFFF)


class _CountedFile(io.FileIO):
    """A descriptor of the log pipe that counts what is written."""

    def write(self, data: "Any") -> int:
        """Write and count."""
        written = super().write(data)
        _printed[0] += written or 0
        return written


class Log:
    """Writes records to a duplicate of descriptor 1, which stays when the author closes or replaces the streams."""

    def __init__(self) -> None:
        self.fd = os.dup(1)
        self._streams = (sys.stdout, sys.stderr)
        self.request_id = ""

    def write(self, level: str, text: str, at_s: "float | None" = None) -> None:
        """Write one record, after what the author has printed. A long one becomes several lines."""
        self.flush()
        prefix = (f"{timestamp(time.time() if at_s is None else at_s)} {self.request_id} {level} ").encode()
        data = text.encode("utf-8", "backslashreplace")
        start = 0
        while True:
            end = _cut(data, start)
            _write_all(self.fd, prefix + data[start:end] + b"\n")
            start = end
            if start >= len(data):
                return

    def flush(self) -> None:
        """Flush the streams as the author left them, and the first ones if they were replaced."""
        out, err = sys.stdout, sys.stderr
        first_out, first_err = self._streams
        # By identity: what the author put there may not even be comparable.
        same = out is first_out and err is first_err
        for stream in (out, err) if same else (out, err, first_out, first_err):
            try:  # noqa: SIM105 - contextlib is not imported yet
                stream.flush()
            except BaseException:  # noqa: S110 - closed, replaced by anything, or None: not ours to judge
                pass


def timestamp(seconds: float) -> str:
    """Return UTC with milliseconds and `Z`."""
    whole, millis = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{millis:03d}Z"


def _cut(data: bytes, start: int) -> int:
    """Return where a line that begins at `start` ends: never inside a character."""
    end = start + MAX_RECORD_BYTES
    if end >= len(data):
        return len(data)
    while data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte of UTF-8
        end -= 1
    return end


def _write_all(fd: int, data: bytes) -> None:
    _printed[0] += len(data)
    sent = os.write(fd, data)
    while sent < len(data):
        sent += os.write(fd, memoryview(data)[sent:])


class LoggingHook:
    """Finder that sees the first import of `logging`, attaches the log to it and takes itself off `sys.meta_path`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """Return nothing for any other module, and for `logging` the usual spec with one more step at its end."""
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path)
        spec = next(spec for spec in found if spec is not None)
        loader: Any = spec.loader
        run = loader.exec_module

        def exec_module(module: "Any") -> None:
            run(module)
            attach(module, self._log)

        loader.exec_module = exec_module
        return spec


def attach(logging: "Any", log: Log) -> None:
    """Give the root logger level INFO and a handler that writes to `log`."""

    class LogHandler(logging.Handler):  # type: ignore[misc] # the module is a value here
        """Writes records as lines of the function's log."""

        def emit(self, record: "LogRecord") -> None:
            """Write one record; what the author passed may fail to format, which logging reports on stderr."""
            try:
                log.write(record.levelname, self.format(record), record.created)
            except Exception:
                self.handleError(record)

    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(LogHandler())
