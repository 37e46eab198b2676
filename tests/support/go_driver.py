"""The vendor's Go SDK, in a process of its own, driven from Python. Start with `GoSdk.call`."""

import json
import subprocess
from pathlib import Path

from tests.support.server import AK, PROJECT_ID, SK

DRIVER = Path(__file__).parents[2] / ".venv" / "bin" / "go-sdk"


class Refused(Exception):
    """The error that the SDK returned."""

    def __init__(self, error):
        super().__init__(error["text"])
        self.status, self.code, self.message = (error.get(name) for name in ("status", "code", "message"))


class GoSdk:
    """One client. `close` it."""

    def __init__(self, server, **options):
        """Start the client with endpoint and project id, or with what `options` say (see main.go)."""
        settings = {"endpoint": server.api_url, "ak": AK, "sk": SK, "project_id": PROJECT_ID} | options
        self._process = subprocess.Popen(
            [DRIVER, json.dumps(settings)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def call(self, operation, **request):
        """Call an operation by the SDK's name of it; return its HTTP status and its result.

        Raises:
            Refused: the SDK returned an error.
        """
        self._process.stdin.write(json.dumps({"operation": operation, "request": request}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["status"], answer["result"]

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()
