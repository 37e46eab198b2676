"""A real `fgs serve` process on ports of its own and an empty data folder."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

from funclet.client import Client, Credentials, Link
from tests.support.packages import new_function
from tests.support.processes import children_of, has_mount, is_alive, namespaced_pids_of, pipes_of
from tests.support.waiting import eventually

AK, SK = "TESTKEY0000000000001", "test-secret-key-000000000000000000000001"
PROJECT_ID = "0123456789abcdef0123456789abcdef"
REGION = "test-1"
# Longer in the virtual machine, whose processor is emulated.
_START_DEADLINE_S = float(os.environ.get("FUNCLET_START_DEADLINE_S", "30"))


class ServerProcess:
    """One server; `start` may be called again after `kill` or `stop`, on the same data."""

    ak, sk, project_id, region = AK, SK, PROJECT_ID, REGION

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.data_dir = folder / "data"
        self.log_path = folder / "server.log"
        self.options = options
        self.environment = environment
        self.process = None
        self.api_url = self.gateway_url = ""
        self._ports = (0, 0)
        self._client = None
        self.program = ("-m", "funclet")
        """What Python runs."""

    def start(self):
        """Start the server and wait until it answers."""
        marker = self.data_dir / "server.json"
        marker.unlink(missing_ok=True)
        port, gateway_port = self._ports
        command = [sys.executable, *self.program, "serve", "--port", str(port), "--gateway-port", str(gateway_port)]
        command += ["--data-dir", str(self.data_dir), "--region", REGION, *self.options]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "FGS_ADMIN_AK": AK,
            "FGS_ADMIN_SK": SK,
            "FGS_PROJECT_ID": PROJECT_ID,
        } | self.environment
        with self.log_path.open("ab") as log:
            # A process group of its own: a signal to it must not reach the tests.
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        eventually(lambda: self._is_up(marker), within_s=_START_DEADLINE_S, because=f"server up; log:\n{self.log()}")
        state = json.loads(marker.read_text())
        self.api_url, self.gateway_url = state["api_url"], state["gateway_url"]
        self.server_pid = state["pid"]
        self._ports = tuple(int(url.rsplit(":", 1)[1]) for url in (self.api_url, self.gateway_url))
        return self

    def _is_up(self, marker):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()}")
        return marker.exists() and marker.stat().st_size > 0

    @property
    def client(self):
        """A signed client of the administrator."""
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self, **changes):
        """Return another client; `changes` replace credentials."""
        credentials = {"project_id": PROJECT_ID, "ak": AK, "sk": SK} | changes
        return Client(self.api_url, Credentials(**credentials), Link(retries=0))

    def path(self, rest):
        """Return an API path of the test project."""
        return f"/v2/{PROJECT_ID}/fgs{rest}"

    def deploy(self, name, source, *, runtime="Python3.10", handler="index.handler", **settings):
        """Create a function from one file (text) or several (dict); return its urn with `latest`."""
        extension = "js" if runtime.startswith("Node") else "py"
        files = source if isinstance(source, dict) else {f"index.{extension}": source}
        body = new_function(name, files, runtime=runtime, handler=handler, **settings)
        return self.client.create_function(body)["func_urn"]

    def invoke(self, urn, event=None, *, client=None, **headers):
        """Invoke synchronously; return the answer with its `status`, `headers` and `body`."""
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        event = event if isinstance(event, bytes) else json.dumps({} if event is None else event).encode()
        return (client or self.client).call(
            "POST", self.path(f"/functions/{urn}/invocations"), body=event, headers=extra, raises=False
        )

    def begin(self, urn, event=None, **headers):
        """Invoke on a connection and thread of its own; return the Future of the answer."""
        future = Future()

        def run():
            client = self.new_client()
            try:
                future.set_result(self.invoke(urn, event, client=client, **headers))
            except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
                future.set_exception(error)
            finally:
                client.close()

        threading.Thread(target=run, daemon=True).start()
        return future

    @property
    def sandboxd_pid(self):
        """The process that makes sandboxes; the server's parent. Not at level `process`."""
        return self.process.pid

    def instances(self):
        """Return the pids of the first processes of all instances, those that are just ending as well.

        What was started ahead is none, even if it has loaded a function.
        """
        return [pid for pid, is_given in self._sandboxes_with_code() if is_given]

    def loaded_ahead(self):
        """Return the pids of the first processes of what has loaded a function that nobody has asked for yet."""
        return [pid for pid, is_given in self._sandboxes_with_code() if not is_given]

    def _sandboxes_with_code(self):
        """Return pids, and whether it is an instance: sandboxd hands the log of one over, and keeps none of it."""
        isolated = [pid for pid in children_of(self.sandboxd_pid) if namespaced_pids_of(pid)[1:] == ["1"]]
        logs = {pid: _logs_of(pid) for pid in isolated if has_mount(pid, "/opt/function/code")}
        # Afterwards: what was made meanwhile would not be among them.
        kept = pipes_of(self.sandboxd_pid)
        return [(pid, not pipes & kept) for pid, pipes in logs.items()]

    def kill(self):
        """End the server with kill -9, as a crash would."""
        os.kill(self.server_pid, signal.SIGKILL)
        self.process.wait(timeout=20)
        self._drop_client()

    def kill_is_over(self):
        """Forget the connections to a server that has died by itself."""
        self._drop_client()

    def kill_sandboxd(self):
        """End the process that makes sandboxes with kill -9."""
        os.kill(self.sandboxd_pid, signal.SIGKILL)
        self.process.wait(timeout=20)
        self._drop_client()

    def stop(self, *, timeout_s=40):
        """End the server in an orderly way; return its exit status. None when it has ended already."""
        self._drop_client()
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=timeout_s)

    def _drop_client(self):
        if self._client is not None:
            self._client.close()
            self._client = None

    def log(self):
        """Return what the server has printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


def _logs_of(pid):
    """Return the pipes of the runtime of a sandbox by its first process."""
    # One without a runtime is about to have it, or to end; its descriptors tell nothing.
    eventually(lambda: children_of(pid) or not is_alive(pid), every_s=0.001, because=f"{pid} has a runtime or ends")
    return {pipe for runtime in children_of(pid) for pipe in pipes_of(runtime)}
