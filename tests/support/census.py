"""What the host holds of a server, counted: processes, control groups, mounts, namespaces, links, descriptors."""

import contextlib
import os
import re
import time
from collections import Counter
from pathlib import Path

from tests.support.processes import children_of, tree_of
from tests.support.waiting import eventually

_SETTLED_LOOKS = 5
# Longer than an instance of the soak may be idle: what is still there then is prepared for the next starts.
_QUIET_S = 4.5
_CALM_S = 45.0
_NUMBER = re.compile(r"\d+")


def census_of(server):
    """Return the counts by name."""
    sandboxd = server.sandboxd_pid
    tree = tree_of(sandboxd)
    found = Counter({"processes": len(tree)})
    found["mounts"] = len(_text(f"/proc/{sandboxd}/mountinfo").splitlines())
    found["links"] = sum(path.name.startswith(f"fgs{sandboxd}") for path in Path("/sys/class/net").iterdir())
    found["control groups"] = sum(f"funclet-{sandboxd}" in path for path, _, _ in os.walk("/sys/fs/cgroup"))
    found["loop devices"] = sum(str(server.folder) in _text(path) for path in _backing_files())
    namespaces = {_link(f"/proc/{pid}/ns/net") for pid in tree}
    for name, pid in (("server", server.server_pid), ("sandboxd", sandboxd)):
        for link in _descriptors(pid):
            found[f"{name}: {_NUMBER.sub('', link.split(':')[0])}"] += 1
            if link.startswith("net:"):
                namespaces.add(link)
    found["network namespaces"] = len(namespaces - {""})
    return found


def settled_census_of(server, *, within_s=30.0):
    """Return the counts once they stay the same: sandboxes are made ahead, and what has ended goes a moment later."""
    looks = []

    def is_settled():
        looks.append(census_of(server))
        return len(looks) >= _SETTLED_LOOKS and all(look == looks[-1] for look in looks[-_SETTLED_LOOKS:])

    eventually(is_settled, within_s=within_s, every_s=0.2, because="the server settles")
    return looks[-1]


def calm_down(server):
    """Wait until sandboxes neither end nor start; return whether that came in time."""
    deadline = time.monotonic() + _CALM_S
    quiet_since, before = time.monotonic(), None
    while time.monotonic() < deadline:
        now = frozenset(children_of(server.sandboxd_pid))
        if now != before:
            quiet_since, before = time.monotonic(), now
        elif time.monotonic() - quiet_since > _QUIET_S:
            return True
        time.sleep(0.1)
    return False


def assert_nothing_left(server, before, *, within_s=30.0):
    """Wait until nothing is counted that was not there `before`."""
    more = Counter()

    def is_clean():
        more.clear()
        more.update(census_of(server) - before)
        return not more

    try:
        eventually(is_clean, within_s=within_s, every_s=0.2)
    except AssertionError as error:
        raise AssertionError(f"left over: {dict(more)}, of {dict(before)} before") from error


def _backing_files():
    return Path("/sys/block").glob("loop*/loop/backing_file")


def _descriptors(pid):
    """Return what the descriptors of a process lead to: a kind such as `socket`, or `file`.

    Not the databases: connections to them are opened when they are first needed, a few at most.
    """
    links = []
    with contextlib.suppress(OSError):
        links = [_link(path) for path in Path("/proc", str(pid), "fd").iterdir()]
    return [link if not link.startswith("/") else "file" for link in links if link and ".db" not in link]


def _link(path):
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _text(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""
