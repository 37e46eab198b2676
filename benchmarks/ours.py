"""A real `fgs serve` and the functions that are measured on it. Start with `OwnServer`."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.functions import HELLO, HELLO_GATEWAY, PYTHON, package_of
from benchmarks.load import Call
from benchmarks.memory import is_in_sandbox
from benchmarks.processes import Groups, children_of, tree_of
from benchmarks.targets import BODY, JSON_HEADERS, ROOT, StartFailed, Target
from funclet.client import Client, Credentials, Link, segment, sign

_AK, _SK = "BENCHKEY000000000001", "benchmark-secret-key-0000000000000000001"
PROJECT_ID = "0123456789abcdef0123456789abcdef"
_REGION = "local-1"
_START_S, _STOP_S = 30.0, 60.0


class OwnServer:
    """One server on an empty folder and ports of its own, from construction to `close`."""

    def __init__(self, folder: Path, *options: str, checkout: Path = ROOT) -> None:
        """Start it and wait until it answers.

        Args:
            folder: of its data; made here if it is not there, else the data of an earlier server are taken over.
            options: of `fgs serve`.
            checkout: whose `.venv-compiled`, or else `.venv`, has the Funclet to be measured.

        Raises:
            StartFailed: it did not start.
        """
        self._folder = folder
        # The server becomes an ordinary user, who must be able to reach its data.
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        (folder / "home").mkdir(exist_ok=True)
        command = [
            str(python_of(checkout)),
            "-m",
            "funclet",
            "serve",
            "--port",
            "0",
            "--gateway-port",
            "0",
        ]
        command += ["--data-dir", str(folder / "data"), "--region", _REGION, *options]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "FGS_PROJECT_ID": PROJECT_ID}
        environment |= {"FGS_ADMIN_AK": _AK, "FGS_ADMIN_SK": _SK}
        with (folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        state = self._wait_for_state()
        self.api_url, self.gateway_url = state["api_url"], state["gateway_url"]
        self.isolation: str = state["isolation"]
        self.data_folder = folder / "data"
        self.server_pid: int = state["pid"]
        self.client = Client(self.api_url, Credentials(project_id=PROJECT_ID, ak=_AK, sk=_SK), Link(retries=0))

    def close(self) -> None:
        """Stop the server in an orderly way."""
        self.client.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _wait_for_state(self) -> dict[str, Any]:
        marker = self._folder / "data" / "server.json"
        deadline = time.monotonic() + _START_S
        while not (marker.exists() and marker.stat().st_size):
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")
                raise StartFailed(f"fgs serve did not start: {text[-1000:]}")
            time.sleep(0.02)
        state: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
        return state

    def deploy(
        self, name: str, files: Mapping[str, str], *, runtime: str = PYTHON, memory_mib: int = 128, instances: int = 0
    ) -> str:
        """Create a function and return its urn.

        Args:
            name: of the function.
            files: its code, text by file name.
            runtime: catalogue name.
            memory_mib: size of an instance; the CPU share goes with it.
            instances: the most it may have; 0 for the usual limit.
        """
        body = new_function(name, files, runtime=runtime, memory_mib=memory_mib)
        if instances:
            body["strategy_config"] = {"concurrency": instances, "concurrent_num": 1}
        return str(self.client.create_function(body)["func_urn"])

    @staticmethod
    def urn_of(name: str) -> str:
        """Return the urn of a function that is, or will be, deployed."""
        return f"urn:fss:{_REGION}:{PROJECT_ID}:function:default:{name}:latest"

    def publish(self, urn: str, name: str) -> str:
        """Put a function behind the gateway and return its address."""
        data = {"name": name, "auth": "NONE", "func_info": {"timeout": 30_000}}
        self.client.create_trigger(urn, {"trigger_type_code": "DEDICATEDGATEWAY", "event_data": data})
        return f"{self.gateway_url}/{name}"

    def signed(self, urn: str, body: str) -> Call:
        """Return an invocation through the API, signed now; it holds for 15 minutes."""
        return self.signed_post(f"/functions/{segment(urn)}/invocations", body)

    def signed_post(self, rest: str, body: str) -> Call:
        """Return a request with a JSON body to a path of the API, signed now; it holds for 15 minutes."""
        path = f"/v2/{PROJECT_ID}/fgs{rest}"
        headers = {
            "Host": urlsplit(self.api_url).netloc,
            "Content-Type": "application/json",
            "X-Project-Id": PROJECT_ID,
            "X-Sdk-Date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        }
        lower = {name.lower(): value for name, value in headers.items()}
        text = sign(method="POST", path=path, query="", headers=lower, body=body.encode(), ak=_AK, sk=_SK)
        return Call(url=self.api_url + path, headers={**headers, "Authorization": text}, body=body)

    def sandbox_processes(self) -> list[int]:
        """Return what is in sandboxes: instances, and what was prepared for the next ones."""
        return [pid for pid in tree_of(self._process.pid) if is_in_sandbox(pid)]

    def own_processes(self) -> list[int]:
        """Return the processes of the server itself: all that are not in sandboxes."""
        return [pid for pid in tree_of(self._process.pid) if not is_in_sandbox(pid)]

    def settle(self, *, quiet_s: float = 1.0, most_s: float = 40.0) -> float:
        """Wait until no sandbox process has come or gone for `quiet_s` seconds; return how long that took.

        That is when released instances have ended and what is prepared for the next starts is complete.

        Raises:
            TimeoutError: it did not happen within `most_s` seconds.
        """
        began = changed_at = time.monotonic()
        before: set[int] = set()
        while (now := time.monotonic()) < changed_at + quiet_s:
            if now > began + most_s:
                raise TimeoutError(f"sandboxes came and went for {most_s:g} s")
            there = set(self.sandbox_processes())
            if there != before:
                before, changed_at = there, time.monotonic()
            time.sleep(0.05)
        return changed_at - began

    def find_processes(self) -> Groups:
        """Return the server, the process that makes sandboxes, and the instances."""
        above = self._process.pid
        instances = [pid for child in children_of(above) if child != self.server_pid for pid in tree_of(child)]
        return {
            "front": [self.server_pid],
            "workers": instances,
            "sandboxd": [above] if above != self.server_pid else [],
        }

    def gateway_target(
        self, name: str, note: str, function: str, *, memory_mib: int = 128, instances: int = 0
    ) -> Target:
        """Deploy the function of all targets behind the gateway; options as for `deploy`."""
        urn = self.deploy(function, HELLO_GATEWAY, memory_mib=memory_mib, instances=instances)
        url = self.publish(urn, function)
        call = Call(url=url, headers=JSON_HEADERS, body=BODY)
        return Target(name=name, note=note, make_call=lambda: call, find_processes=self.find_processes)

    def signed_target(self, name: str, note: str, function: str) -> Target:
        """Deploy the function of all targets for the invocation API."""
        urn = self.deploy(function, HELLO)
        return Target(
            name=name, note=note, make_call=lambda: self.signed(urn, BODY), find_processes=self.find_processes
        )


def new_function(
    name: str, files: Mapping[str, str], *, runtime: str = PYTHON, memory_mib: int = 128
) -> dict[str, Any]:
    """Return the body of a request that creates a function."""
    return {
        "func_name": name,
        "package": "default",
        "runtime": runtime,
        "handler": "index.handler",
        "timeout": 10,
        "memory_size": memory_mib,
        "code_type": "zip",
        "code_filename": "index.zip",
        "func_code": {"file": package_of(files, mark=name)},
    }


def python_of(checkout: Path) -> Path:
    """Return the interpreter that has the Funclet of a checkout, compiled if it is there: that is what wheels have."""
    compiled = checkout / ".venv-compiled" / "bin" / "python"
    return compiled if compiled.exists() else checkout / ".venv" / "bin" / "python"


def has_option(name: str, checkout: Path = ROOT) -> bool:
    """Tell whether `fgs serve` of a checkout knows an option."""
    command = [str(python_of(checkout)), "-m", "funclet", "serve", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_START_S, check=True)  # noqa: S603 - ours
    return name in done.stdout.split()
