"""What a test may know of processes: read from `/proc`, as an administrator would."""

import contextlib
from pathlib import Path


def children_of(pid):
    """Return the pids of the living children of all threads of a process."""
    found = []
    # A process and its threads may end at any moment.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path("/proc", str(pid), "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def tree_of(pid):
    """Return a process and everything below it."""
    return [pid, *(below for child in children_of(pid) for below in tree_of(child))]


def status_of(pid):
    """Return the lines of `/proc/<pid>/status` by name."""
    lines = Path("/proc", str(pid), "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def is_alive(pid):
    """Whether the process exists and has not ended; a zombie has."""
    try:
        return status_of(pid)["State"][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def namespaced_pids_of(pid):
    """Return the pids of a process in its nested namespaces, outermost first; none when it has ended."""
    try:
        return status_of(pid)["NSpid"].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def has_mount(pid, folder):
    """Whether something is mounted at a folder of a process's own root; not when it has ended."""
    try:
        lines = Path("/proc", str(pid), "mountinfo").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[4] == folder for line in lines)


def pipes_of(pid):
    """Return the pipes that a process holds, as the kernel names them; none when it has ended.

    None either while it changes its identity, when only root may look.
    """
    found = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for descriptor in Path("/proc", str(pid), "fd").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                found.add(str(descriptor.readlink()))
    return {name for name in found if name.startswith("pipe:")}


def runs_python(pid):
    """Whether the process is a Python runtime; not when it has ended."""
    try:
        return b"/bootstrap.py\0" in Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return False


def zygotes_of(server):
    """Return the pids of a server's zygotes: runtimes in the pid namespace of the host."""
    return [pid for pid in children_of(server.sandboxd_pid) if runs_python(pid) and len(namespaced_pids_of(pid)) == 1]
