"""Libraries from the package manager of a language, as a folder that a dependency is made of.

`python_libraries` runs pip, `node_libraries` npm, each in the folder that it is given and without a shell.
"""

import collections
import contextlib
import functools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from funclet.cli.frame import ExitCode, Failure

Log = Callable[[str], None]
"""Is told each line that the package manager prints."""

BUILD_LIMIT_S = 1800
"""Longest time that a package manager may take, in seconds."""
_PROBE_LIMIT_S = 30
_SHOWN_LINES = 8
# Newest first. glibc 2.28 is older than that of any host that a server runs on.
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
_NPM_FLAGS = (
    "--omit=dev", "--ignore-scripts", "--no-bin-links", "--no-audit", "--no-fund", "--no-update-notifier",
)  # fmt: skip


def python_libraries(folder: Path, version: str, packages: Sequence[str], files: Sequence[str], log: Log) -> None:
    """Install packages for a version of Python into a folder.

    Where there is no interpreter of that version with pip, another one's pip takes ready wheels only.

    Args:
        folder: is made.
        version: such as `3.11`.
        packages: as pip takes them, such as `pillow==11.0.0`.
        files: requirements files.
        log: is told what pip prints.

    Raises:
        Failure: there is no pip, or it failed (exit code 13).
    """
    pip, is_native = _find_pip(version)
    command = [*pip, "install", "--target", str(folder), "--no-compile", "--no-input", "--disable-pip-version-check"]
    if not is_native:
        command += ["--python-version", version, "--implementation", "cp", "--only-binary=:all:"]
        command += [f"--platform={name}_{platform.machine()}" for name in _PLATFORMS]
    command += [word for file in files for word in ("--requirement", file)]
    how = "" if is_native else f" Only wheels can be taken, as there is no Python {version} with pip here."
    hint = f"Check names and versions; they must exist for Python {version} on {platform.machine()}.{how}"
    _run([*command, *packages], Path.cwd(), log, hint=hint)


def node_libraries(folder: Path, packages: Sequence[str], manifest: str | None, log: Log) -> None:
    """Install packages into `node_modules` of a folder, without running scripts of theirs.

    Args:
        folder: is made; holds nothing but `node_modules` in the end.
        packages: as npm takes them, such as `lodash@4`; with a manifest, none.
        manifest: path of a `package.json`; a lock file beside it decides the versions. None: `packages` are wanted.
        log: is told what npm prints.

    Raises:
        Failure: there is no npm, it failed, or nothing was installed (exit code 13).
    """
    npm = shutil.which("npm")
    if npm is None:
        raise _failure("There is no npm on this machine.", hint="apt-get install npm")
    work = folder.with_name("npm")
    work.mkdir()
    is_locked = _copy_manifest(Path(manifest), work) if manifest else False
    if not manifest:
        (work / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
    verb = ["ci"] if is_locked else ["install", "--install-links"]
    hint = "Check names and versions, and that package.json and its lock file agree."
    _run([npm, *verb, *_NPM_FLAGS, "--", *packages], work, log, hint=hint)
    installed = work / "node_modules"
    if not installed.is_dir():
        raise _failure(f"{manifest} names no dependencies.", hint="What only 'devDependencies' names is left out.")
    folder.mkdir()
    installed.rename(folder / "node_modules")


def _copy_manifest(manifest: Path, work: Path) -> bool:
    """Copy a manifest with what belongs to it; return whether it has a lock file."""
    locks = [manifest.with_name(name) for name in _LOCKS if manifest.with_name(name).is_file()]
    shutil.copyfile(manifest, work / "package.json")
    for path in (*locks, manifest.with_name(".npmrc")):
        if path.is_file():
            shutil.copyfile(path, work / path.name)
    return bool(locks)


def _find_pip(version: str) -> tuple[list[str], bool]:
    """Return how pip is started, and whether it is that of an interpreter of the version."""
    own = sys.executable if version == ".".join(map(str, sys.version_info[:2])) else None
    for native in (own, shutil.which(f"python{version}")):
        if native is not None and _has_pip(native):
            return [native, "-m", "pip"], True
    for other in (sys.executable, shutil.which("python3")):
        if other is not None and _has_pip(other):
            return [other, "-m", "pip"], False
    raise _failure("There is no pip on this machine.", hint="apt-get install python3-pip")


@functools.cache
def _has_pip(python: str) -> bool:
    """Tell whether an interpreter runs and has pip; version managers put scripts where there may be no interpreter."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
            [python, "-m", "pip", "--version"], capture_output=True, timeout=_PROBE_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(command: Sequence[str], folder: Path, log: Log, *, hint: str) -> None:
    """Run a package manager and tell `log` what it prints.

    Raises:
        Failure: it failed or took too long; with the last lines that it printed.
    """
    last: collections.deque[str] = collections.deque(maxlen=_SHOWN_LINES)
    with subprocess.Popen(  # noqa: S603 - an argument list, no shell
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # With a group of its own, what it has started ends with it.
        start_new_session=True,
    ) as process:
        timer = threading.Timer(BUILD_LIMIT_S, _end, [process])
        timer.start()
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                log(line.rstrip())
            status = process.wait()
        except BaseException:
            # Ctrl-C reaches this process only.
            _end(process)
            raise
        finally:
            timer.cancel()
    name = "npm" if "npm" in Path(command[0]).name else "pip"
    if status == -signal.SIGKILL:
        raise _failure(f"{name} was ended: it took more than {BUILD_LIMIT_S} seconds.", hint=hint)
    if status != 0:
        raise _failure("\n  ".join([f"{name} failed with exit status {status}:", *filter(None, last)]), hint=hint)


def _end(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _failure(message: str, *, hint: str) -> Failure:
    return Failure(message, exit_code=ExitCode.PACKAGING, hint=hint)
