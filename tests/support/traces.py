"""What the host holds of a server: while it runs, and after its end, when it should be nothing."""

import os
import subprocess
from pathlib import Path


def traces_of(sandboxd_pid, folder):
    """Return what the host still holds of a server: control groups, mounts, links, rules, loop devices, folders."""
    found = [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"funclet-{sandboxd_pid}" in path]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line for line in mounts if f"/run/funclet/{sandboxd_pid}" in line or str(folder) in line]
    found += [path for path in Path("/sys/class/net").iterdir() if path.name.startswith(f"fgs{sandboxd_pid}")]
    if os.geteuid() == 0:
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
        found += [line for line in tables.splitlines() if line.endswith(f"fgs{sandboxd_pid}")]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        text = read_or_empty(backing)
        found += [text] if str(folder) in text else []
    found += Path("/run/funclet").glob(str(sandboxd_pid))
    return found


def read_or_empty(path):
    """Return the text of a file that may go away at any moment."""
    try:
        return path.read_text()
    except OSError:
        return ""
