"""The vendor's Node.js SDK, in a process of its own, driven from Python. Start with `NodeSdk.call`."""

import json
import os
import subprocess
from pathlib import Path

from tests.support.server import AK, PROJECT_ID, REGION, SK

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".venv" / "node" / "node_modules"
_MARK = "@answer "
HOSTS = ROOT / "tests" / "clients" / "node" / "hosts.js"
DRIVER = ROOT / "tests" / "clients" / "node" / "driver.js"


class Refused(Exception):
    """What the SDK threw."""

    def __init__(self, error):
        super().__init__(error["text"])
        self.status, self.code, self.message = (
            error.get("httpStatusCode"),
            error.get("errorCode"),
            error.get("errorMsg"),
        )


class NodeSdk:
    """One client. `close` it."""

    def __init__(self, server, *, certificate=None, **options):
        """Start the client with endpoint and project id, or with what `options` say (see driver.js).

        With a `certificate` to trust, the cloud's host names lead to this machine.
        """
        settings = {"endpoint": server.api_url, "ak": AK, "sk": SK, "projectId": PROJECT_ID} | options
        trust = {"NODE_EXTRA_CA_CERTS": str(certificate)} if certificate else {}
        hosts = ["--require", str(HOSTS)] if certificate else []
        self._process = subprocess.Popen(
            ["node", *hosts, str(DRIVER), json.dumps(settings)],
            env=os.environ | {"NODE_PATH": str(MODULES)} | trust,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @classmethod
    def with_region(cls, server):
        """Start a client that knows its region and looks its project up."""
        return cls(server, region=REGION, iam=server.api_url, projectId="")

    def call(self, operation, **request):
        """Call an operation by the SDK's name of it; return its result.

        Raises:
            Refused: the SDK threw an error.
        """
        self._process.stdin.write(json.dumps({"operation": operation, "request": request}) + "\n")
        self._process.stdin.flush()
        line = next(line for line in self._process.stdout if line.startswith(_MARK))
        answer = json.loads(line.removeprefix(_MARK))
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()
