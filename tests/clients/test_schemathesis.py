"""schemathesis, a client that knows nothing but the served document, sends what that allows and what it forbids.

`make fuzz` sends more than 20,000 requests; here are the borders of every parameter and a few at random.
The requests are the same in every run; `FUNCLET_CASES_SEED` chooses others.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from funclet.api.operations import OPERATIONS
from tests.support.server import PROJECT_ID, ServerProcess
from tests.support.tokens import token_of

FOLDER = Path(__file__).parent
IS_LONG = os.environ.get("FUNCLET_CASES") == "many"
EXAMPLES, LEAST_REQUESTS, LIMIT_S = (110, 20_000, 1500) if IS_LONG else (3, 4_000, 280)
SEED = os.environ.get("FUNCLET_CASES_SEED", "1")
CHECKS = [
    "allow_header_conformance",
    "content_type_conformance",
    "ensure_resource_availability",
    "ignored_auth",
    "missing_required_header",
    "no_failure_of_the_server",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "success_is_the_one_of_the_document",
    "unsupported_method",
    "use_after_free",
    *(["bad_input_is_refused"] if IS_LONG else []),
]
FUNCTION_COUNT = 8
ECHO = "def handler(event, context):\n    return {'event': event}\n"

pytestmark = pytest.mark.timeout(LIMIT_S + 60)


@pytest.fixture(scope="module")
def target(scratch):
    """A server that only this test knows: hardly anything on it stays as it was."""
    folder = Path(tempfile.mkdtemp(prefix="cases-", dir=scratch))
    folder.chmod(0o755)
    server = ServerProcess(folder).start()
    yield server
    server.stop()


def run_cases(server, folder):
    """Run schemathesis; return its process, its report and the counts of answers."""
    urns = [server.deploy(f"cases{number}", ECHO) for number in range(FUNCTION_COUNT)]
    report, summary = folder / "report.json", folder / "summary.json"
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(FOLDER / "schemathesis.toml")]
    command += ["run", f"{server.api_url}/openapi.json", "-H", f"X-Auth-Token: {token_of(server)}"]
    command += ["--seed", SEED, "--max-examples", str(EXAMPLES), "--workers", "1", "--no-shrink"]
    command += ["--continue-on-failure", "--checks", ",".join(CHECKS), "--warnings", "off", "--no-color"]
    command += ["--report", "json", "--report-json-path", str(report)]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": str(FOLDER / "schemathesis_hooks.py"),
        "CASES_PROJECT": PROJECT_ID,
        "CASES_FUNCTIONS": ",".join(urns),
        "CASES_SUMMARY": str(summary),
    }
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return done, json.loads(report.read_text()), json.loads(summary.read_text())


def test_answers_are_as_the_served_document_says(target, tmp_path, record_property):
    done, report, answers = run_cases(target, tmp_path)

    cases = report["test_cases"]
    record_property("requests", cases["generated"])
    assert (done.returncode, report["complete"], report["failures"], report["errors"]) == (0, True, [], []), done.stdout
    assert cases["generated"] >= LEAST_REQUESTS
    check_answers(answers)
    assert "Traceback" not in target.log(), target.log()[-5000:]
    assert target.invoke(target.deploy("after_cases", ECHO), {"a": 1}).json() == {"event": {"a": 1}}


def check_answers(answers):
    """Check that what is built was reached, and that what is not built said so."""
    seen = {}
    for name, status, _ in answers:
        seen.setdefault(name, set()).add(status)
    # It leaves out only the document that it has read in the beginning.
    assert seen.keys() | {"ShowApiDocument"} == {row.name for row in OPERATIONS}
    assert [row.name for row in OPERATIONS if row.serve is None and 501 not in seen[row.name]] == []
    done = {name for name in seen if seen[name] & {200, 201, 202, 204}}
    # Requests that never get past the checks would prove little.
    assert len(done) >= 40, done
