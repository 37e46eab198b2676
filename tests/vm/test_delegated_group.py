"""Control groups v2 below a group that systemd has given to the server (`Delegate=yes`)."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.vm]

ROOT = Path("/sys/fs/cgroup")
# Does what sandboxd does, and tells where the groups are and what is in them.
PROGRAM = """
import json, os
from pathlib import Path
from funclet.sandbox.sandboxd.cgroups import Limits, detect

found = detect()
found.open()
group = found.create("one", Limits(memory_mib=64, cpu_millicores=250, processes=7))
folder = group.folders[0]
told = {name: (folder / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")}
found.limit_cpu(group)
told["cpu.max of a running one"] = (folder / "cpu.max").read_text().strip()
told |= {"folder": str(folder), "own": Path("/proc/self/cgroup").read_text().strip(), "pid": os.getpid()}
found.remove(group)
found.close()
print(json.dumps(told | {"left": folder.exists() or folder.parent.exists()}))
"""


@pytest.fixture
def delegated():
    folder = ROOT / "funclet.service"
    folder.mkdir()
    os.setxattr(folder, "trusted.delegate", b"1")
    yield folder
    for leaf in folder.glob("*/"):
        leaf.rmdir()
    folder.rmdir()


def test_groups_are_made_below_the_delegated_one_and_its_processes_move_out_of_their_way(delegated):
    (ROOT / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    script = f"echo $$ >{delegated}/cgroup.procs && exec {sys.executable} -c {shlex.quote(PROGRAM)}"

    told = json.loads(subprocess.check_output(["/bin/bash", "-c", script], text=True))

    assert told["folder"] == f"{delegated}/funclet-{told['pid']}/one"
    assert told["own"] == f"0::/{delegated.name}/funclet-{told['pid']}-leaf"
    assert (told["memory.max"], told["pids.max"]) == (str(64 << 20), "7")
    # A whole core for the start, its share afterwards.
    assert (told["cpu.max"], told["cpu.max of a running one"]) == ("100000 100000", "25000 100000")
    assert told["left"] is False
