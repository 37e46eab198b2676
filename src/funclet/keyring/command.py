"""A program of the operator that holds the master key: it wraps and unwraps the keys of the server.

It is called with one more argument, `wrap` or `unwrap`, reads one line of base64 and answers with one. Whatever it
does, it gets a limited time and is heard for a limited length.
"""

import base64
import binascii
import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from funclet.keyring.errors import KeyCommandFailed

LIMIT_S = 10.0
_MAX_BYTES = 64 * 1024
"""Of what the program prints, on each of its two outputs."""
_MAX_REASON = 300
# Nothing of the server's own environment: it may hold the administrator's key.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCommand:
    """Start with `wrap`."""

    words: Sequence[str]
    """The absolute path of the program and its first arguments."""
    limit_s: float = LIMIT_S
    """How long one call may take."""

    def wrap(self, plain: bytes) -> bytes:
        """Return what the program makes of `plain`, having seen that it also gives that back; blocks.

        Raises:
            KeyCommandFailed: it does not, or it leaves what it is given readable.
        """
        wrapped = self._call("wrap", plain)
        if plain in wrapped:
            raise self._failed("wrap", "it answers with the key itself")
        if self.unwrap(wrapped) != plain:
            raise self._failed("unwrap", "it does not give back what it has wrapped")
        return wrapped

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return what was wrapped; blocks.

        Raises:
            KeyCommandFailed: the program fails.
        """
        return self._call("unwrap", wrapped)

    def _call(self, verb: str, data: bytes) -> bytes:
        asked = base64.b64encode(data)
        ends_at = time.monotonic() + self.limit_s
        try:
            # A session of its own: what the program leaves behind ends with it, and Ctrl-C is for the server.
            process = subprocess.Popen(  # noqa: S603 - the operator has named it; no shell
                [*self.words, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise self._failed(verb, f"it cannot be started ({error.strerror})") from error
        with process:
            try:
                told, complaint = self._talk(process, verb, asked + b"\n", ends_at)
                status = process.wait(timeout=max(ends_at - time.monotonic(), 0))
            except subprocess.TimeoutExpired as error:
                raise self._failed(verb, f"it did not end within {self.limit_s:g} seconds") from error
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        if status != 0:
            reason = f"exit status {status}" if status > 0 else f"signal {-status}"
            raise self._failed(verb, reason + _first_line(complaint, hidden=(asked, told.strip())))
        return self._decoded(verb, told)

    def _talk(self, process: subprocess.Popen[bytes], verb: str, asked: bytes, ends_at: float) -> tuple[bytes, bytes]:
        """Send a line, and read both outputs to their ends."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            # Short enough for the pipe, so this waits for nobody.
            process.stdin.write(asked)
        process.stdin.close()
        heard = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        with selectors.DefaultSelector() as selector:
            for descriptor in heard:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(ends_at - time.monotonic(), 0))
                if not ready and time.monotonic() >= ends_at:
                    raise self._failed(verb, f"it did not end within {self.limit_s:g} seconds")
                for key, _ in ready:
                    piece = os.read(key.fd, _MAX_BYTES)
                    heard[key.fd] += piece
                    if not piece:
                        selector.unregister(key.fd)
                    if len(heard[key.fd]) > _MAX_BYTES:
                        raise self._failed(verb, f"it prints more than {_MAX_BYTES} bytes")
        return bytes(heard[process.stdout.fileno()]), bytes(heard[process.stderr.fileno()])

    def _decoded(self, verb: str, told: bytes) -> bytes:
        try:
            answer = base64.b64decode(told.removesuffix(b"\n").removesuffix(b"\r"), validate=True)
        except binascii.Error as error:
            raise self._failed(verb, "it does not answer with one line of base64") from error
        if not answer:
            raise self._failed(verb, "it answers nothing")
        return answer

    def _failed(self, verb: str, reason: str) -> KeyCommandFailed:
        return KeyCommandFailed(f"The program of secret_key_command failed ({self.words[0]} {verb}): {reason}.")


def _first_line(complaint: bytes, *, hidden: Sequence[bytes]) -> str:
    """Return the first line that a program complains with, led by a colon, and without what is a secret."""
    line = complaint.lstrip().split(b"\n", 1)[0]
    for secret in hidden:
        if secret:
            line = line.replace(secret, b"***")
    text = "".join(character for character in line.decode(errors="replace") if character.isprintable())
    return f": {text[:_MAX_REASON].strip().rstrip('.')}" if text.strip() else ""
