"""`make demo`, as CI runs it: a server, two functions, every way to invoke them, and nothing left."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(scratch):
    """A copy of what the demo needs: it makes its folder beside `tools`, where the reader's own demo may run."""
    copy = Path(tempfile.mkdtemp(prefix="checkout-", dir=scratch))
    copy.chmod(0o755)
    for name in ("tools", "examples"):
        shutil.copytree(ROOT / name, copy / name)
    return copy


def processes_with(text):
    """Return the pids of processes whose command line holds the text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def test_the_tour_shows_every_way_to_invoke_and_ends(checkout):
    done = subprocess.run(
        [sys.executable, str(checkout / "tools" / "demo.py"), "--once"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    for name, runtime in (("hello-python", "Python3.10"), ("hello-nodejs", "Node.js20.15")):
        assert re.search(rf"create {name} +{runtime}, [\d.]+ ms", done.stdout), done.stdout
        assert re.search(rf"invoke {name}, cold +[\d.]+ ms  {{\"message\": ?\"Hello, Funclet!\"}}", done.stdout), (
            done.stdout
        )
        assert re.search(rf"invoke {name}, warm +median [\d.]+ ms, p99 [\d.]+ ms of 100", done.stdout), done.stdout
        assert re.search(r"first requests of 10 functions +median [\d.]+ ms, slowest [\d.]+ ms", done.stdout), (
            done.stdout
        )
        assert re.search(rf"invoke {name}, asynchronous +202 in [\d.]+ ms, SUCCESS after", done.stdout), done.stdout
    assert processes_with(str(checkout)) == []


def test_the_tour_goes_on_without_a_language_and_says_so(checkout):
    nothing = ",".join(f"{name}=" for name in ("Node.js20.15", "Node.js18.15"))

    done = subprocess.run(
        [sys.executable, str(checkout / "tools" / "demo.py"), "--once"], env=os.environ | {"FGS_RUNTIME": nothing},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout
    assert re.search(r"hello-nodejs is left out +no interpreter for Node.js20.15, Node.js18.15", done.stdout)
    assert re.search(r"invoke hello-python, asynchronous +202", done.stdout)
