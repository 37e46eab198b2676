"""What the measurements ran on and with: no names of hosts, users or folders."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.targets import PEER_BIN, ROOT

_PEERS = ("functions-framework", "gunicorn", "uvicorn", "granian", "uvloop", "httptools")
_OURS = ("funclet", "uvloop", "httptools", "msgspec")
_LIST = (
    "import json, sys; from importlib.metadata import version; print(json.dumps({n: version(n) for n in sys.argv[1:]}))"
)


def describe() -> dict[str, str]:
    """Return machine and versions, each a short text."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_gib:.0f} GiB",
        "virtual": "yes" if "hypervisor" in _cpu_info() else "no",
        # Without what its builder calls it.
        "kernel": platform.release().partition("-")[0],
        "load before": f"{os.getloadavg()[0]:.2f}",
        "commit": _commit(),
        "server": _listed({name: metadata.version(name) for name in _OURS}, python=platform.python_version()),
        "peers": _peers(),
        "functions": ", ".join(filter(None, (_first_line(["/usr/bin/python3", "-V"]), _node()))),
        "tools": ", ".join(filter(None, (_wrk(), _nginx()))),
    }


def label() -> str:
    """Return a name for this kind of machine that is fit for a file name."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return f"{platform.machine()}-{cores}-cores-{memory_gib}-gib"


def _cpu_info() -> str:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _cpu_info(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _commit() -> str:
    commit = _first_line(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"])
    if not re.fullmatch(r"[0-9a-f]+", commit):
        return "unknown"
    changed = _first_line(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", "src", "runtimes"])
    return f"{commit}, with changes" if changed else commit


def _peers() -> str:
    python = PEER_BIN / "python"
    if not python.exists():
        return "not installed"
    text = _first_line([str(python), "-c", _LIST, *_PEERS])
    return _listed(json.loads(text)) if text else "unknown"


def _node() -> str:
    version = _first_line(["node", "--version"])
    return f"Node.js {version}" if version else ""


def _wrk() -> str:
    found = re.search(r"wrk (\S+)", _first_line(["wrk", "-v"]))
    return f"wrk {found[1]}" if found else ""


def _nginx() -> str:
    path = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    return _first_line([path, "-v"]).replace("nginx version: ", "") if path else ""


def _listed(versions: dict[str, str], **more: str) -> str:
    return ", ".join(f"{name} {version}" for name, version in {**more, **versions}.items())


def _first_line(command: Sequence[str]) -> str:
    """Return the first line that a command prints anywhere; empty when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - our own
    except OSError:
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines else ""
