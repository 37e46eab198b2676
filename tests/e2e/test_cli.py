"""`fgs` against a real server: the first minute, and every example."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.waiting import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def shell(server, tmp_path):
    """Run `fgs` as a process of its own, in a folder of its own, with the profile that the server wrote."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(server.home), "LANG": "C.UTF-8"}

    def fgs(*words, folder=tmp_path, code=0, stdin=None):
        done = subprocess.run(
            [sys.executable, "-m", "funclet", *words],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False, input=stdin,
        )  # fmt: skip
        assert done.returncode == code, f"fgs {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        fgs.errors = done.stderr
        return done.stdout

    fgs.environment = environment
    return fgs


@pytest.fixture
def name(shell, request):
    """A function name of the test's own; the function is removed at the end."""
    made = "cli-" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50]
    yield made
    subprocess.run(
        [sys.executable, "-m", "funclet", "remove", made, "-y"],
        env=shell.environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.proves("faq:FAQ-202")
def test_first_minute(shell, tmp_path, name):
    """From an empty folder to a function with a version, an alias and a timer, and away again."""
    shell("init", name, "--template", "hello-world", "--runtime", "Python3.10", "--yes")
    project = tmp_path / name

    assert f"+ function {name}  created" in shell("up", folder=project)
    assert json.loads(shell("invoke", name, "-d", '{"name":"fg"}'))["message"] == "Hello, fg!"
    eventually(lambda: "greeting fg" in shell("logs", name, "--since", "1m"), within_s=10, because="the log line")
    assert shell("version", "publish", name) == f"published {name}:v1\n"
    shell("alias", "create", name, "live", "--version", "v1")
    assert json.loads(shell("invoke", f"{name}:live"))["message"] == "Hello, world!"
    shell("trigger", "create", name, "--type", "TIMER", "--schedule", "3m")
    assert "1 version, 1 alias, 1 trigger" in shell("remove", name, "-y")
    shell("describe", name, code=5)


def test_second_deployment_changes_nothing(shell, tmp_path, name):
    shell("init", name, "--yes")
    project = tmp_path / name
    file = project / "fgs.yaml"
    file.write_text(
        file.read_text()
        + '    env: {TIER: dev}\n    concurrency: {max_instances: 5}\n    aliases: {live: {version: "@current"}}\n'
        + "    triggers:\n      - {type: timer, schedule: 3m}\n"
        + f"      - {{type: apig, path: /{name}, auth: none}}\n"
    )
    shell("up", folder=project)

    assert "unchanged" in shell("up", folder=project)
    shell("plan", "--detailed-exitcode", folder=project)


def test_one_changed_variable_is_one_change(shell, tmp_path, name):
    shell("init", name, "--yes")
    project = tmp_path / name
    file = project / "fgs.yaml"
    original = file.read_text()
    file.write_text(original + "    env: {TIER: dev}\n")
    shell("up", folder=project)
    file.write_text(original + "    env: {TIER: prod}\n")

    out = shell("plan", "--detailed-exitcode", folder=project, code=14)

    assert [line for line in out.splitlines() if line[:1] in "+~-"] == [f"~ config {name}"]


def test_edit_is_seen_by_the_next_invocation(shell, tmp_path, name):
    shell("init", name, "--yes")
    project = tmp_path / name
    shell("up", folder=project)
    shell("invoke", name)
    code = project / "code" / "index.py"
    code.write_text(code.read_text().replace("Hello", "Goodbye"))

    shell("up", folder=project)

    assert "Goodbye" in shell("invoke", name)


@pytest.mark.proves("faq:FAQ-203")
def test_file_of_the_vendors_component_deploys(shell, tmp_path, name):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "index.py").write_text("def handler(event, context): return context.getUserData('test')\n")
    (tmp_path / "s.yaml").write_text(f"""edition: 1.0.0
name: fg-test
access: default
vars: {{region: cn-east-3, functionName: {name}}}
services:
  hello:
    component: fgs
    props:
      region: ${{vars.region}}
      function:
        functionName: ${{vars.functionName}}
        package: default
        handler: index.handler
        runtime: Python3.10
        memorySize: 256
        timeout: 30
        codeType: zip
        code: {{codeUri: ./code}}
        environmentVariables: {{test: value}}
        concurrency: 10
      trigger:
        triggerTypeCode: TIMER
        status: ACTIVE
        eventData: {{name: t1, schedule: 3m, scheduleType: Rate, userEvent: "{{}}"}}
""")

    shell("deploy")

    assert "value" in shell("invoke", name)
    shell("plan", "--detailed-exitcode")


def test_failed_function_is_exit_code_10(shell, tmp_path, name):
    (tmp_path / "index.py").write_text("def handler(event, context):\n    raise ValueError('boom')\n")
    shell("deploy", "--name", name, "--runtime", "Python3.10", "--code", str(tmp_path))

    shell("invoke", name, code=10)
    shell("invoke", name, "-n", "3", code=10)
    eventually(lambda: shell("logs", name, "--failed").count("boom"), within_s=10, because="failures in the log")


def test_failed_function_looks_the_same_when_it_was_queued(shell, tmp_path, name):
    (tmp_path / "index.py").write_text("def handler(event, context):\n    raise ValueError('boom')\n")
    shell("deploy", "--name", name, "--runtime", "Python3.10", "--code", str(tmp_path))

    shown = []
    for words in ([], ["--async", "--wait"]):
        shell("invoke", name, *words, code=10)
        shown.append(shell.errors.partition("error ")[2].partition("request id")[0])

    assert "ValueError" in shown[0]
    assert shown[0] == shown[1]


def test_wrong_names_are_explained(shell, tmp_path, name):
    shell("init", name, "--yes")
    shell("up", folder=tmp_path / name)

    shell("invoke", f"{name}:v9", code=5)
    version_errors = shell.errors
    shell("invoke", f"{name}x", code=5)

    assert f"{name} has no version or alias 'v9'" in version_errors
    assert f"hint: fgs version list {name}" in version_errors
    assert f"Did you mean '{name}'?" in shell.errors


def test_settings_of_asynchronous_requests_are_set_one_by_one_shown_and_removed(shell, tmp_path, name):
    (tmp_path / "index.py").write_text("def handler(event, context):\n    return event\n")
    shell("deploy", "--name", name, "--runtime", "Python3.10", "--code", str(tmp_path))
    shell("version", "publish", name, "--name", "v1")

    def settings(*words):
        found = json.loads(shell("async", "config", *words, "-o", "json"))
        told = {key: json.loads(one["param"]) for key, one in found["destination_config"].items()}
        return found["max_async_retry_attempts"], found["max_async_event_age_in_seconds"], told

    shell("async", "config", "show", name, code=5)
    assert settings("set", name, "--retries", "3") == (3, 3600, {})
    bucket = {"bucket": "failures", "prefix": "of/orders", "expires": 30}
    assert settings("set", name, "--on-failure", "obs:failures/of/orders?expires=30") == (
        3,
        3600,
        {"on_failure": bucket},
    )
    assert shell.errors == ""
    settings("set", name, "--on-success", f"fn:{name}")
    assert f"warning: these destinations lead back to {name}" in shell.errors
    _, _, told = settings("set", name, "--on-success", f"fn:{name}:v1", "--max-age", "60", "--status-log")
    assert told["on_success"]["func_urn"].endswith(f":function:default:{name}:v1")
    assert told["on_failure"] == bucket
    assert settings("set", name, "--on-success", "none", "--on-failure", "dis:orders") == (
        3, 60, {"on_failure": {"stream_name": "orders"}},
    )  # fmt: skip
    assert settings("show", name) == settings("set", name)
    shell("async", "config", "show", f"{name}:v1", code=5)
    shell("async", "config", "remove", name)
    shell("async", "config", "show", name, code=5)
    for wrong in ("ftp:x", "fn:", "obs:b?expires=x"):
        shell("async", "config", "set", name, "--on-failure", wrong, code=2)
        assert "Write fn:NAME" in shell.errors


def test_async_requests_are_listed_shown_cancelled_and_replayed(shell, tmp_path, name):
    (tmp_path / "index.py").write_text(
        "import time\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return event['missing']\n"
    )
    shell("deploy", "--name", name, "--runtime", "Python3.10", "--code", str(tmp_path), "--timeout", "60")
    failed = shell("invoke", name, "--async", "-d", "{}").strip()
    eventually(lambda: "FAIL" in shell("async", "list", name))

    shown = json.loads(shell("async", "show", name, failed, "-o", "json"))
    assert (shown["status"], shown["error_code"], shown["deliveries"]) == ("FAIL", "4002", [])
    letters = json.loads(shell("async", "dead-letters", "-o", "json"))
    letter = next(one for one in letters if one["request_id"] == failed)
    again = shell("async", "replay", str(letter["id"])).strip()
    assert again != failed
    running = shell("invoke", name, "--async", "-d", '{"s": 30}').strip()
    eventually(lambda: "RUNNING" in shell("async", "list", name, "--status", "RUNNING"))
    shell("async", "cancel", name, running, "--force")
    assert json.loads(shell("async", "show", name, running, "-o", "json"))["error_code"] == "4208"
    shell("async", "show", name, "unknown", code=5)
    shell("async", "purge", "--all", "-y")
    assert json.loads(shell("async", "dead-letters", "-o", "json")) == []


def test_async_with_wait(shell, tmp_path, name):
    (tmp_path / "index.py").write_text("def handler(event, context):\n    return event['n'] + 1\n")
    shell("deploy", "--name", name, "--runtime", "Python3.10", "--code", str(tmp_path))

    assert shell("invoke", name, "--async", "--wait", "-d", '{"n": 1}').startswith("SUCCESS")


def test_code_comes_back_as_it_was_sent(shell, tmp_path, name):
    shell("init", name, "--yes")
    shell("up", folder=tmp_path / name)

    shell("function", "code", "get", name, "--out", "a.zip")

    assert (tmp_path / "a.zip").read_bytes()[:2] == b"PK"
    shell("function", "code", "update", name, "a.zip")


def test_any_operation_by_name(shell, name):
    assert json.loads(shell("api", "ListFunctions", "--func_name", name))["count"] == 0
    shell("api", "ShowFunctionConfig", "--function_urn", name, code=5)


def test_json_of_lists_is_one_document(shell, tmp_path, name):
    shell("init", name, "--template", "apig", "--yes")
    shell("up", folder=tmp_path / name)

    for words in (["ls"], ["version", "list", name], ["alias", "list", name], ["trigger", "list", name],
                  ["logs", name], ["configure", "list"], ["explain"], ["api"]):  # fmt: skip
        assert isinstance(json.loads(shell(*words, "-o", "json")), list), words
    for words in (["describe", name], ["whoami"], ["invoke", name], ["up", "-C", str(tmp_path / name)]):
        assert isinstance(json.loads(shell(*words, "-o", "json")), dict), words


def test_followed_log_ends_with_ctrl_c(shell, tmp_path, name):
    shell("init", name, "--yes")
    shell("up", folder=tmp_path / name)
    follower = subprocess.Popen(
        [sys.executable, "-u", "-m", "funclet", "logs", name, "-f", "-o", "raw", "--since", "1m"],
        env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        shell("invoke", name, "-d", '{"name":"follower"}')
        deadline = time.monotonic() + 15
        line = ""
        while "greeting follower" not in line and time.monotonic() < deadline:
            line = follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=10)
    finally:
        follower.kill()
        follower.wait()

    assert "greeting follower" in line
    assert follower.returncode == 130


def test_the_first_key_was_created_when_the_server_was(shell, server):
    (key,) = [row for row in json.loads(shell("iam", "key", "list", "-o", "json")) if row["access"] == server.ak]

    created_at = datetime.fromisoformat(key["create_time"]).timestamp()
    assert server.data_dir.stat().st_ctime - 3600 < created_at <= time.time()


@pytest.fixture
def interrupted(shell):
    """Run `fgs` until `is_time`, then press Ctrl-C; return its exit status and what it printed."""

    def command(*words, is_time):
        started = subprocess.Popen(
            [sys.executable, "-m", "funclet", *words],
            env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            eventually(is_time, within_s=15)
            started.send_signal(signal.SIGINT)
            out, err = started.communicate(timeout=10)
        finally:
            started.kill()
            started.wait()
        return started.returncode, out, err

    return command


def test_an_interrupted_wait_says_that_the_request_goes_on(shell, interrupted, tmp_path, name):
    (tmp_path / "index.py").write_text("import time\n\ndef handler(event, context):\n    time.sleep(20)\n")
    shell("deploy", "--name", name, "--runtime", "Python3.10", "--code", str(tmp_path))

    def is_queued():
        return len(json.loads(shell("async", "list", name, "-o", "json"))) == 1

    status, _, err = interrupted("invoke", name, "--async", "--wait", is_time=is_queued)

    (request,) = json.loads(shell("async", "list", name, "-o", "json"))
    assert status == 130
    assert f"it goes on; see: fgs async show {name} {request['request_id']}" in err
    shell("async", "cancel", name, request["request_id"], "--force")


def test_an_interrupted_load_reports_what_was_done(shell, interrupted, tmp_path, name):
    shell("init", name, "--yes")
    shell("up", folder=tmp_path / name)

    def has_run():
        return len(json.loads(shell("logs", name, "-o", "json"))) >= 5

    status, out, err = interrupted("invoke", name, "-n", "1000000", is_time=has_run)

    assert status == 130
    assert re.match(r"\d+ invocations in .*\np50 .*\n\d+ completed; \d+ cold start", out)
    assert err.strip() == "interrupted"


@pytest.mark.parametrize(("folder", "runtime"), [("hello-python", "Python3.10"), ("hello-nodejs", "Node.js20.15")])
def test_examples_greet(shell, name, folder, runtime):
    shell("deploy", "--name", name, "--runtime", runtime, "--code", str(EXAMPLES / folder))

    assert json.loads(shell("invoke", name, "-d", '{"name":"fg"}')) == {"message": "Hello, fg!"}


def test_example_of_the_gateway_answers_under_its_url(shell, name):
    shell("deploy", "--name", name, "--runtime", "Python3.10", "--code", str(EXAMPLES / "apig-python"))
    out = shell("trigger", "create", name, "--type", "APIG", "--path", f"/{name}", "--auth", "NONE")
    url = re.search(r"url: (\S+)", out).group(1)

    with urllib.request.urlopen(f"{url}?name=fg", timeout=20) as answer:
        assert json.load(answer)["message"] == "Hello, fg!"


def test_dependencies_of_a_project_are_named_and_put_beside_the_code(shell, tmp_path, name):
    library = f"lib-{name}"
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "greeting.py").write_text("TEXT = 'from a dependency'")
    shell("dependency", "create", library, "lib", "--runtime", "Python3.10")
    shell("init", name, "--yes")
    project = tmp_path / name
    (project / "code" / "index.py").write_text(
        "import greeting\ndef handler(event, context):\n    return greeting.TEXT\n"
    )
    file = project / "fgs.yaml"
    file.write_text(file.read_text() + f"    dependencies: [{library}]\n")

    shell("up", folder=project)

    assert shell("invoke", name) == "from a dependency\n"
    assert "unchanged" in shell("up", folder=project)
    (tmp_path / "lib" / "greeting.py").write_text("TEXT = 'from the next version'")
    shell("dependency", "create", library, "lib", "--runtime", "Python3.10")
    assert "depend_version_list" in shell("plan", folder=project)
    shell("up", folder=project)
    assert shell("invoke", name) == "from the next version\n"
    shell("dependency", "delete", library, "-y", code=6)
    assert "FSS.1033" in shell.errors
    shell("remove", name, "-y")
    shell("dependency", "delete", library, "-y")


def test_a_function_is_exported_and_imported(shell, tmp_path, name):
    shell("init", name, "--yes")
    shell("up", folder=tmp_path / name)

    assert shell("function", "export", name).startswith(f"{name}.zip: ")
    shell("remove", name, "-y")
    shell("function", "import", name, f"{name}.zip")

    assert "Hello" in shell("invoke", name, "-d", "{}")
    shell("function", "import", name, f"{name}.zip", code=6)


@pytest.mark.proves("faq:FAQ-405")
def test_a_project_is_suspended_and_activated_by_its_name(shell):
    shell("iam", "project", "create", "test-1_states")

    def status():
        [found] = [one for one in json.loads(shell("iam", "project", "list", "-o", "json")) if "_states" in one["name"]]
        return found["status"], found["status_reason"], found["id"]

    project_id = status()[2]
    said = shell("iam", "project", "suspend", "test-1_states", "--reason", "invoice 17 is open")
    assert (said, status()[:2]) == ("suspended project test-1_states\n", ("suspended", "invoice 17 is open"))
    shell("--project", project_id, "iam", "group", "create", "nobody", code=4)
    assert "is suspended: invoice 17 is open" in shell.errors
    said = shell("iam", "project", "suspend", project_id, "--read-only")
    assert (said, status()[:2]) == (f"suspended changes in project {project_id}\n", ("readonly", ""))
    assert shell("iam", "project", "activate", "test-1_states") == "activated project test-1_states\n"
    assert status()[0] == "normal"
    shell("iam", "project", "delete", "test-1_states", "-y")
