"""The helper and its failures."""

import os
import signal
from pathlib import Path

import pytest

from funclet.sandbox import native
from funclet.sandbox.native import Step
from funclet.sandbox.protocol import SandboxError


def test_a_failing_step_is_named_with_its_reason(tmp_path):
    missing = str(tmp_path / "none").encode()

    assert native.attempt([Step("CHDIR", s=b"/"), Step("CHDIR", s=missing)]) == (
        f"step 'chdir {tmp_path}/none': No such file or directory"
    )


def test_steps_run_in_order(tmp_path):
    folder = os.fsencode(tmp_path)

    assert not native.attempt([Step("CHDIR", s=folder), Step("MKDIR", s=b"a", a=0o755), Step("CHDIR", s=b"a")])
    assert (tmp_path / "a").is_dir()


def test_a_limit_that_is_lower_already_stays():
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert native.limit_step(resource.RLIMIT_NOFILE, hard + 1).b == hard
    assert native.limit_step(resource.RLIMIT_NOFILE, 16).b == 16


def test_a_zero_byte_in_an_argument_is_an_error():
    with pytest.raises(SandboxError, match="cannot be made"):
        native.spawn([], argv=["a\0b"], environment={})


def test_the_child_has_default_signals(tmp_path):
    """Python ignores SIGPIPE; a function must not inherit that."""
    target = tmp_path / "status"
    script = f"grep -E 'SigIgn|SigBlk' /proc/self/status > {target}"
    spawned = native.spawn(
        [Step("EXEC", s=b"/bin/sh")], argv=["sh", "-c", script], environment={"PATH": "/usr/bin:/bin"}
    )
    os.waitid(os.P_PIDFD, spawned.pidfd, os.WEXITED)
    for fd in (spawned.pidfd, spawned.error_fd):
        os.close(fd)

    assert {int(line.split()[1], 16) & 0x7FFFFFFF for line in Path(target).read_text().splitlines()} == {0}
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
