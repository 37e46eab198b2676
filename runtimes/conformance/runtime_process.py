"""A language runtime as a plain process, spoken to as `../CONTRACT.md` says.

Standard library only. Start with `started`, then `RuntimeProcess.exchange`.
"""

import contextlib
import enum
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

HEADER = struct.Struct(">IBBH16sII")
MAX_FRAME_BYTES = 8 * 1024 * 1024
READY, LOAD, INIT, INVOKE, DONE, PRESTOP, SPECIALISE = 1, 2, 3, 4, 5, 6, 7
SOCKET_FD = 3
DEADLINE_S = 20.0
"""Longest wait for anything; a runtime that is silent for so long has failed."""


class Start(enum.Enum):
    """How a runtime comes to its function."""

    FRESH = "fresh"
    """It finds the function when it starts."""
    STEM = "stem"
    """It is started without one and told it later."""
    FORKED = "forked"
    """Like fresh, and each request runs in a fork that is thrown away."""
    BARE = "bare"
    """It is started without one, and told what the steps of the case say."""


class Failure(AssertionError):
    """The runtime did not do what the contract or the case says. The text carries the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language folder."""

    name: str
    """Short name: the key under which cases keep the sources."""
    folder: Path
    arguments: Sequence[str]
    default_handler: str
    candidates: Sequence[str]
    """Executables that may run it, the newest version first."""
    directory: str
    """Catalogue directory of the newest version, `{name}` in arguments."""
    starts: frozenset[Start]
    """The ways to start that it knows."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `runtime.toml` of a language folder."""
        table = tomllib.loads((folder / "runtime.toml").read_text("utf-8"))
        versions = sorted(table["versions"], key=lambda row: [int(part) for part in row["version"].split(".")])
        return cls(
            name=table["language"],
            folder=folder.resolve(),
            arguments=table["arguments"],
            default_handler=table["default_handler"],
            candidates=[name for row in reversed(versions) for name in row["candidates"]],
            directory=versions[-1]["directory"],
            starts=frozenset(Start) - (frozenset() if table["fresh_state"] else {Start.FORKED}),
        )

    def find_interpreter(self) -> Path:
        """Return the newest interpreter on the path, else the one that is named like the language.

        Raises:
            FileNotFoundError: the machine has none.
        """
        fallbacks = {"python": "python3", "nodejs": "node"}
        for name in (*self.candidates, fallbacks.get(self.name, self.name)):
            found = shutil.which(name)
            # Version managers put a script of every name on the path that works for some of them only.
            if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:  # noqa: S603 - from the path
                return Path(found)
        raise FileNotFoundError(f"no interpreter for {self.name}: tried {', '.join(self.candidates)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One DONE frame and the log up to it."""

    code: int
    flags: int
    body: bytes
    log: str
    printed: int = 0
    """Bytes of the log that the runtime says are those of this request."""


@dataclass(slots=True)
class Log:
    """The read end of the log pipe and what came out of it."""

    fd: int
    taken: bytearray = field(default_factory=bytearray)

    def drain(self) -> bool:
        """Take what is there without waiting; False when every writer is gone."""
        while True:
            try:
                chunk = os.read(self.fd, 65536)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self.taken += chunk

    def take(self, amount: int | None = None) -> str:
        """Return and forget what has been taken, or so many bytes of it; bytes that are not UTF-8 become U+FFFD."""
        text = self.taken[:amount].decode("utf-8", "replace")
        del self.taken[:amount]
        return text


class RuntimeProcess:
    """A runtime as a plain process, without isolation. A context manager: leaving it ends the whole process group."""

    def __init__(
        self, language: Language, interpreter: Path, root: Path, environment: Mapping[str, str], *, memory_mib: int
    ) -> None:
        """Prepare; `root/function` becomes the working directory and `root/function/code` the code root."""
        self.code_root = root / "function" / "code"
        self.work_dir = root / "function"
        places = {
            "name": language.directory,
            "runtime_root": str(language.folder),
            "code_root": str(self.code_root),
            "memory_mib": str(memory_mib),
            "heap_mib": str(memory_mib * 9 // 10),
        }
        self._command = [str(interpreter), *(argument.format(**places) for argument in language.arguments)]
        self._environment = dict(environment)
        self.pid = 0
        self._status: int | None = None
        self._received = bytearray()

    def __enter__(self) -> Self:
        """Start the process; does not wait for READY."""
        self.socket, theirs = socket.socketpair()
        log_fd, log_write_fd = os.pipe()
        with theirs, open(os.devnull, "rb") as null:  # noqa: PTH123 - a descriptor is wanted, not a path
            self.pid = os.fork()
            if self.pid == 0:
                self._become(theirs.fileno(), log_write_fd, null.fileno())
        os.close(log_write_fd)
        os.set_blocking(log_fd, False)
        self.log = Log(log_fd)
        self._pid_fd = os.pidfd_open(self.pid)
        return self

    def _become(self, connection_fd: int, log_fd: int, null_fd: int) -> None:
        """Turn the forked child into the runtime; never returns."""
        try:
            os.setsid()
            # Out of the way of 0 to 3 first, so that no dup2 closes the source of the next one.
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (null_fd, log_fd, log_fd, connection_fd)]
            for target, source in enumerate(high):
                os.dup2(source, target)
            os.chdir(self.work_dir)
            os.execve(self._command[0], self._command, self._environment)  # noqa: S606 - a shell is not wanted
        finally:
            os._exit(127)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the process group and give everything back."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        else:
            # The leader is gone, but what it started may still be there.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self.socket.close()
        os.close(self._pid_fd)
        os.close(self.log.fd)

    def wait_ready(self) -> None:
        """Wait for the READY frame.

        Raises:
            Failure: something else came, or nothing.
        """
        kind, _flags, code, _request_id, _printed, meta, body = self._read_frame()
        if (kind, code, meta, body) != (READY, 0, b"", b""):
            raise Failure(f"expected READY, got frame type {kind}, code {code}, body {body!r}")

    def specialise(self, environment: Mapping[str, str]) -> None:
        """Make a stem the runtime of a function.

        Raises:
            Failure: it did not take the environment, or wrote to the log before.
        """
        answer = self.exchange(SPECIALISE, json.dumps(environment).encode(), timeout_ms=0)
        if (answer.code, answer.flags, answer.body, answer.log) != (0, 0, b"", ""):
            raise Failure(f"expected an empty answer to SPECIALISE, got {answer}")

    def exchange(
        self, kind: int, event: bytes = b"", *, meta: Mapping[str, str] | None = None, timeout_ms: int = 3000
    ) -> Answer:
        """Send one request and wait for its DONE.

        Raises:
            Failure: the runtime ended, was silent, or answered with another frame or request id.
        """
        request_id, frame = _request(kind, event, meta, timeout_ms)
        self.send_raw(frame)
        answer = self._read_done(request_id)
        self.log.drain()
        return replace(answer, log=self.log.take())

    def exchange_together(self, events: Sequence[bytes], *, timeout_ms: int = 3000) -> Sequence[Answer]:
        """Send INVOKE frames in one piece and wait for all of their answers, which must come in order.

        The log of each is what its `printed` says; of the last one, all that is left.

        Raises:
            Failure: as `exchange`.
        """
        requests = [_request(INVOKE, event, None, timeout_ms) for event in events]
        self.send_raw(b"".join(frame for _, frame in requests))
        answers = [self._read_done(request_id) for request_id, _ in requests]
        self.log.drain()
        cut = [replace(answer, log=self.log.take(answer.printed)) for answer in answers[:-1]]
        return [*cut, replace(answers[-1], log=self.log.take())]

    def _read_done(self, request_id: bytes) -> Answer:
        kind, flags, code, got_id, printed, meta, body = self._read_frame()
        if (kind, got_id, meta) != (DONE, request_id, b""):
            raise Failure(f"expected DONE of {request_id!r}, got type {kind} of {got_id!r}, meta {meta!r}")
        return Answer(code=code, flags=flags, body=body, log="", printed=printed)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, reading the log meanwhile so that nobody blocks."""
        self.socket.settimeout(DEADLINE_S)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Failure(f"the runtime closed the connection{self._status_text()}") from error

    def wait_exit(self) -> int:
        """Wait for the end of the process; return its status, or minus the signal number."""
        deadline = time.monotonic() + DEADLINE_S
        while self._status is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"the process did not end within {DEADLINE_S} s; log: {self.log.take()}")
            readable, _, _ = select.select([self._pid_fd, self.log.fd], [], [], left)
            if not self.log.drain():
                select.select([self._pid_fd], [], [], left)
            if self._pid_fd in readable:
                self._reap()
        self.log.drain()
        return self._status

    def wait_log(self, pattern: str) -> str:
        """Wait until the log since the last answer matches; return it, and keep it for the next answer."""
        deadline = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.log.taken.decode("utf-8", "replace"), re.MULTILINE):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.log.fd], [], [], left)[0] or not self.log.drain():
                raise Failure(f"the log never matched {pattern!r}: {self.log.take()}")
        return self.log.taken.decode("utf-8", "replace")

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self._status = os.waitstatus_to_exitcode(status)

    def _status_text(self) -> str:
        status = self.wait_exit()
        return f"; exit status {status}; log: {self.log.take()}"

    def _read_frame(self) -> tuple[int, int, int, bytes, int, bytes, bytes]:
        """Read one frame; take the log at the same time, because a full pipe stops the runtime."""
        head = self._read_exactly(HEADER.size)
        length, kind, flags, code, request_id, printed, meta_length = HEADER.unpack(head)
        if not HEADER.size - 4 + meta_length <= length <= MAX_FRAME_BYTES - 4:
            raise Failure(f"bad frame: length {length}, meta_length {meta_length}")
        rest = self._read_exactly(length + 4 - HEADER.size)
        return kind, flags, code, request_id, printed, rest[:meta_length], rest[meta_length:]

    def _read_exactly(self, size: int) -> bytes:
        deadline = time.monotonic() + DEADLINE_S
        while len(self._received) < size:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.socket.fileno(), self.log.fd], [], [], max(left, 0))
            if not readable:
                raise Failure(f"no answer within {DEADLINE_S} s; log: {self.log.take()}")
            if self.socket.fileno() in readable:
                chunk = self.socket.recv(65536)
                if not chunk:
                    raise Failure(f"the runtime closed the connection{self._status_text()}")
                self._received += chunk
            elif not self.log.drain():
                raise Failure(f"every writer of the log is gone{self._status_text()}")
        data = bytes(self._received[:size])
        del self._received[:size]
        return data


def _request(kind: int, event: bytes, meta: Mapping[str, str] | None, timeout_ms: int) -> tuple[bytes, bytes]:
    """Return a new request id and the frame of its request."""
    request_id = uuid.uuid4().bytes
    packed = json.dumps(meta, separators=(",", ":")).encode() if meta else b""
    length = HEADER.size - 4 + len(packed) + len(event)
    return request_id, HEADER.pack(length, kind, 0, 0, request_id, timeout_ms, len(packed)) + packed + event


def base_environment(language: Language, code_root: Path) -> dict[str, str]:
    """Return the preset variables of every function, with recognisable values."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "RUNTIME_PROJECT_ID": "a" * 32,
        "RUNTIME_FUNC_NAME": "demo",
        "RUNTIME_FUNC_VERSION": "latest",
        "RUNTIME_PACKAGE": "default",
        "RUNTIME_HANDLER": language.default_handler,
        "RUNTIME_TIMEOUT": "3",
        "RUNTIME_USERDATA": "{}",
        "RUNTIME_CPU": "300",
        "RUNTIME_MEMORY": "128",
        "RUNTIME_MAX_RESP_BODY_SIZE": "6291456",
        "RUNTIME_INITIALIZER_HANDLER": "",
        "RUNTIME_INITIALIZER_TIMEOUT": "30",
        "RUNTIME_ROOT": str(language.folder),
        "RUNTIME_CODE_ROOT": str(code_root),
        "RUNTIME_LOG_DIR": "/home/snuser/log",
        "LD_LIBRARY_PATH": f"{code_root}:{code_root}/lib",
    }


STEM_ENVIRONMENT = frozenset({"PATH", "LANG", "LD_LIBRARY_PATH"})
"""Variables that are the same for all functions, so that a stem has them from the start."""


@contextlib.contextmanager
def started(
    language: Language,
    interpreter: Path,
    files: Mapping[str, str],
    environment: Mapping[str, str],
    start: Start = Start.FRESH,
) -> Iterator[RuntimeProcess]:
    """Start the runtime, wait for READY, and make it the function of `files`, which lie in a new code root."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        root = Path(folder).resolve()
        code_root = root / "function" / "code"
        code_root.mkdir(parents=True)
        merged = {**base_environment(language, code_root), **environment}
        is_stem = start in (Start.STEM, Start.BARE)
        if start is Start.FORKED:
            merged["RUNTIME_FRESH_STATE"] = "1"
        first = merged
        if not is_stem:
            _fill(code_root, files)
        else:
            first = {name: value for name, value in merged.items() if name in STEM_ENVIRONMENT} | {"FUNCLET_STEM": "1"}
        with RuntimeProcess(language, interpreter, root, first, memory_mib=int(merged["RUNTIME_MEMORY"])) as runtime:
            runtime.wait_ready()
            if is_stem:
                _fill(code_root, files)
            if start is Start.STEM:
                runtime.specialise(merged)
            yield runtime


def _fill(code_root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = code_root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
