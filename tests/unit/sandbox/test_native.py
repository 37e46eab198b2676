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


@pytest.mark.parametrize(
    ("cpu", "seconds"), [("1500000000\n", 1.5), ("usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n", 2.5)]
)
def test_meters_of_both_versions_are_read_and_the_peak_begins_anew(tmp_path, cpu, seconds):
    (tmp_path / "peak").write_text("4096\n")
    (tmp_path / "cpu").write_text(cpu)

    with (tmp_path / "peak").open("r+b") as peak_file, (tmp_path / "cpu").open("rb") as cpu_file:
        assert native.helper().take_meters(peak_file.fileno(), cpu_file.fileno()) == (4096, seconds)

    assert (tmp_path / "peak").read_text().startswith("0")


def test_a_missing_meter_reads_as_zero_and_a_broken_one_is_an_error(tmp_path):
    assert native.helper().take_meters(-1, -1) == (0, 0.0)

    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            native.helper().take_meters(fd, -1)
    finally:
        os.close(fd)
