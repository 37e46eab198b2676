"""Project files, code packages, and what deploy makes of them."""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from funclet.cli import archive, changes, project
from funclet.cli.changes import State, Wish
from funclet.cli.frame import ExitCode, Failure

P = "0123456789abcdef0123456789abcdef"
HELLO = f"/fgs/functions/{P}:default:hello"
TRIGGERS = f"/fgs/triggers/{P}:default:hello"

FILE = """version: 1
vars: {tier: dev}
stages:
  prod: {vars: {tier: prod}}
defaults: {runtime: Python3.10, memory: 256}
functions:
  hello:
    code: ./code
    handler: index.handler
    env: {TIER: "${vars.tier}", PORT: 8000, DEBUG: true}
    concurrency: {max_instances: 20}
    triggers:
      - {type: apig, path: /shop, auth: none}
      - {type: timer, schedule: 3m, alias: live}
    aliases: {live: {version: "@current"}}
    fresh_state: true
"""
S_FILE = """edition: 1.0.0
name: fg-test
access: default
vars:
  region: cn-east-3
  functionName: hello
services:
  hello:
    component: fgs
    actions:
      pre-deploy:
        - run: npm ci
          path: ./code
    props:
      region: ${vars.region}
      function:
        functionName: ${vars.functionName}
        package: default
        handler: index.handler
        runtime: Node.js14.18
        memorySize: 256
        timeout: 30
        codeType: zip
        code:
          codeUri: ./code
        environmentVariables: {test: test}
        concurrency: 10
        concurrentNum: 10
      trigger:
        triggerTypeCode: TIMER
        status: ACTIVE
        eventData: {name: t1, schedule: 3m, scheduleType: Rate, userEvent: "{}"}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "project"
    (place / "code").mkdir(parents=True)
    (place / "code" / "index.py").write_text("def handler(event, context):\n    return event\n")
    (place / "fgs.yaml").write_text(FILE)
    monkeypatch.chdir(place)
    return place


def test_own_file_is_read(folder):
    (function,) = project.load(folder / "fgs.yaml").functions

    assert function.settings == {
        "runtime": "Python3.10",
        "handler": "index.handler",
        "memory_size": 256,
        "timeout": 30,
        "enable_fresh_state": True,
        "env": {"TIER": "dev", "PORT": "8000", "DEBUG": "true"},
        "strategy_config": {"concurrency": 20},
    }
    assert [trigger.type_code for trigger in function.triggers] == ["APIG", "TIMER"]
    assert function.triggers[0].event_data["auth"] == "NONE"
    assert function.triggers[1].qualifier == "!live"
    assert function.aliases[0].version == "@current"


def test_stage_replaces_variables(folder):
    (function,) = project.load(folder / "fgs.yaml", stage="prod").functions

    assert function.settings["env"]["TIER"] == "prod"


def test_file_of_the_vendors_component_is_read(folder):
    (folder / "s.yaml").write_text(S_FILE)

    found = project.load(folder / "s.yaml")

    (function,) = found.functions
    assert (function.name, function.settings["runtime"], function.settings["memory_size"]) == (
        "hello", "Node.js14.18", 256,
    )  # fmt: skip
    assert function.settings["strategy_config"] == {"concurrency": 10, "concurrent_num": 10}
    data = {"name": "t1", "schedule": "3m", "schedule_type": "Rate", "user_event": "{}"}
    assert function.triggers[0].event_data == data
    assert "hooks" in found.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "line", "text"),
    [
        ("memory: 256", "memory: lots", 5, "whole number"),
        ("handler: index.handler", "handlr: x", 9, "handlr"),
        ("fresh_state: true", "fresh_state: 1", 16, "must be true or false"),
        ("code: ./code", "", 7, "'code' is missing"),
        ("${vars.tier}", "${vars.missing}", 10, "has no value"),
        ("${vars.tier}", "${file(../../etc/passwd)}", 10, "outside"),
        ("schedule: 3m", "name: x", 14, "schedule"),
        ("auth: none", "auht: none", 13, "has no member 'auht'"),
        ("path: /shop", "timeout_ms: soon", 13, "whole number"),
        ("max_instances: 20", "max_instance: 20", 11, "Did you mean 'max_instances'"),
        ("max_instances: 20", "max_instances: many", 11, "whole number"),
        ("{max_instances: 20}", "20", 11, "must be a mapping"),
        ('{live: {version: "@current"}}', "[live]", 15, "must be a mapping"),
        ('"@current"}', "v1, canary: {version: v2, weight: x}}", 15, "whole number"),
        ("{tier: dev}", "[dev]", 2, "must be a mapping"),
        ("{runtime: Python3.10, memory: 256}", "Python3.10", 5, "must be a mapping"),
        ("memory: 256", "mem: 256", 5, "Did you mean 'memory'"),
        ("  prod: {vars: {tier: prod}}", "  - prod", 3, "must be a mapping"),
        ("version: 1", "version: 2", 1, "must be 1"),
        ("defaults:", "default:", 5, "Did you mean 'defaults'"),
        ("  hello:", "  he/llo:", 7, "no name for a function"),
        ("handler: index.handler", "code: ./other", 9, "there twice"),
        ("handler: index.handler", "secrets: DB", 9, "must be a list"),
        ("handler: index.handler", "dependencies: a", 9, "must be a list"),
        ("handler: index.handler", "dependencies: [{build: requirements.txt}]", 9, "must be a name"),
        ("functions:", "functions: [", 7, "not YAML"),
    ],
)
def test_wrong_file_names_the_line(folder, old, new, line, text):
    (folder / "fgs.yaml").write_text(FILE.replace(old, new))

    with pytest.raises(Failure, match=text) as caught:
        project.load(folder / "fgs.yaml")

    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.message.startswith("fgs.yaml:")
    if text != "not YAML":
        assert caught.value.message.startswith(f"fgs.yaml:{line}:")


def test_trigger_that_is_no_list_names_the_line(folder):
    (folder / "fgs.yaml").write_text("functions:\n  a:\n    code: .\n    runtime: x\n    triggers: {type: timer}\n")

    with pytest.raises(Failure, match=r"fgs\.yaml:5: functions\.a\.triggers: must be a list"):
        project.load(folder / "fgs.yaml")


def test_two_functions_of_one_name_are_refused(folder):
    (folder / "fgs.yaml").write_text(
        "defaults: {code: ./code, runtime: Python3.10}\nfunctions:\n  one: {}\n  two: {name: one}\n"
    )

    with pytest.raises(Failure, match=r"fgs\.yaml:4: functions\.two\.name: .* functions\.one"):
        project.load(folder / "fgs.yaml")


def test_merged_members_are_no_clash(folder):
    (folder / "fgs.yaml").write_text(
        "defaults: &base {code: ./code, runtime: Python3.10}\n"
        "functions:\n  one: {<<: *base, code: ./one}\n  two: {<<: *base}\n"
    )

    assert [function.code.name for function in project.load(folder / "fgs.yaml").functions] == ["one", "code"]


def test_timers_are_numbered_among_timers(folder):
    (folder / "fgs.yaml").write_text(FILE.replace(", alias: live", ""))

    (function,) = project.load(folder / "fgs.yaml").functions

    assert function.triggers[1].event_data["name"] == "timer-1"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("memorySize: 256", "memorySize: lots", "whole number"),
        ("concurrency: 10", "strategyConfig: 10", "must be a mapping"),
        ("  region: cn-east-3\n  functionName: hello\n", "  - x\n", "must be a mapping"),
        ("      trigger:\n", "      triggers:\n", "must be a list"),
    ],
)
def test_wrong_file_of_the_vendors_component_is_refused(folder, old, new, text):
    (folder / "s.yaml").write_text(S_FILE.replace(old, new))

    with pytest.raises(Failure, match=rf"^s\.yaml:\d+: .*{text}"):
        project.load(folder / "s.yaml")


def test_aliases_of_yaml_cannot_blow_up(folder):
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 9))
    (folder / "fgs.yaml").write_text(f"l0: &l0 [1]\n{levels}\n")

    with pytest.raises(Failure, match="too deep or too large"):
        project.load(folder / "fgs.yaml")


def test_file_is_found_upwards(folder):
    assert project.discover(folder / "code") == folder / "fgs.yaml"


def test_secrets_come_from_the_environment(folder, monkeypatch):
    (folder / "fgs.yaml").write_text(FILE.replace("    handler", "    secrets: [DB_PASSWORD]\n    handler"))
    with pytest.raises(Failure, match="DB_PASSWORD"):
        project.load(folder / "fgs.yaml")
    monkeypatch.setenv("DB_PASSWORD", "hunter2")

    (function,) = project.load(folder / "fgs.yaml").functions

    assert changes.wire_settings(function)["encrypted_user_data"] == '{"DB_PASSWORD": "hunter2"}'


# Packages


def test_package_is_the_same_for_the_same_files(folder):
    first = archive.pack(folder / "code")
    os.utime(folder / "code" / "index.py", (1, 1))

    assert archive.pack(folder / "code") == first


def test_package_leaves_out_what_is_ignored(folder):
    code = folder / "code"
    for name in (".git/config", "__pycache__/index.pyc", "node_modules/a/index.js", "logs/a.log", "logs/keep.log"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("x")
    (code / ".fgsignore").write_text("# logs\n*.log\n!keep.log\n")

    names = zipfile.ZipFile(io.BytesIO(archive.pack(code))).namelist()

    assert names == ["index.py", "logs/keep.log", "node_modules/a/index.js"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.log", "a/b.log", True), ("/a.log", "b/a.log", False), ("a/", "x/a/", True), ("a/*.py", "a/b.py", True),
        ("a/*.py", "a/b/c.py", False), ("a/**/c.py", "a/b/d/c.py", True), ("a/**", "a/b/c", True),
        ("?.py", "ab.py", False), ("a.b", "aXb", False),
    ],
)  # fmt: skip
def test_patterns(pattern, path, expected):
    ignore = archive.Ignore([pattern])

    assert ignore.covers(path.rstrip("/"), is_folder=path.endswith("/")) is expected


def test_executables_stay_executable(folder):
    (folder / "code" / "bootstrap").write_text("#!/bin/sh\n")
    (folder / "code" / "bootstrap").chmod(0o755)

    found = zipfile.ZipFile(io.BytesIO(archive.pack(folder / "code")))

    modes = {info.filename: oct(info.external_attr >> 16 & 0o777) for info in found.infolist()}
    assert modes == {"bootstrap": "0o755", "index.py": "0o644"}


def test_link_out_of_the_folder_is_refused(folder):
    (folder / "code" / "passwd").symlink_to("/etc/passwd")

    with pytest.raises(Failure, match="leads out") as caught:
        archive.pack(folder / "code")

    assert caught.value.exit_code == ExitCode.PACKAGING


@pytest.mark.parametrize("name", ["empty", "missing", "text.zip"])
def test_what_is_no_code_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no archive")

    with pytest.raises(Failure) as caught:
        archive.pack(tmp_path / name)

    assert caught.value.exit_code == ExitCode.PACKAGING


def test_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied", "/code/secret")

    # Root may read everything, and the tests run as root too.
    monkeypatch.setattr(Path, "iterdir", refuse)

    with pytest.raises(Failure, match=r"/code/secret cannot be read: Permission denied") as caught:
        archive.pack(folder / "code")

    assert caught.value.exit_code == ExitCode.PACKAGING


def test_ignore_file_that_is_no_text_is_named(folder):
    (folder / "code" / ".fgsignore").write_bytes(b"\xff\xfe*.log")

    with pytest.raises(Failure, match=r"\.fgsignore is not text"):
        archive.pack(folder / "code")


@pytest.mark.parametrize("as_archive", [True, False])
def test_package_that_is_too_large_says_how_large(folder, as_archive):
    size = archive.MAX_ARCHIVE_BYTES + 1024 * 1024
    if as_archive:
        with (folder / "big.zip").open("wb") as file:
            file.truncate(size)
    else:
        (folder / "code" / "noise").write_bytes(os.urandom(size))

    with pytest.raises(Failure, match=r"has 51\.0 MB; 50 MB can be uploaded") as caught:
        archive.pack(folder / ("big.zip" if as_archive else "code"))

    assert caught.value.exit_code == ExitCode.PACKAGING
    assert ".fgsignore" in caught.value.hint


def test_archive_is_taken_as_it_is(folder):
    data = archive.pack(folder / "code")
    (folder / "code.zip").write_bytes(data)

    assert archive.pack(folder / "code.zip") == data


# Comparison


@pytest.fixture
def plan(folder):
    return project.load(folder / "fgs.yaml").functions[0]


def _server_state(plan, data, **config):
    """What the server has after the plan was carried out."""
    wire = changes.wire_settings(plan)
    aliases = [{"name": "live", "version": "v1"}]
    found = {**wire, "func_name": "hello", "digest": hashlib.sha512(data).hexdigest(), **config}
    triggers = [
        {"trigger_id": "t", "trigger_type_code": wanted.type_code, "event_data": dict(wanted.event_data)}
        for wanted in plan.triggers
        if not wanted.qualifier
    ]
    versions = [{"version": "v1", "digest": found["digest"]}]
    return State(config=found, versions=versions, aliases=aliases, triggers=triggers)


def _short(found):
    return [(change.sign, change.kind) for change in found]


def test_everything_is_created_in_order(plan):
    found = changes.compare(plan, State(), b"zip", Wish())

    assert _short(found) == [
        ("+", "function"), ("~", "config"), ("+", "version"), ("+", "alias"), ("+", "trigger"), ("+", "trigger"),
    ]  # fmt: skip
    assert "strategy_config" not in found[0].body
    assert found[1].body["strategy_config"] == {"concurrency": 20}
    assert found[3].body["version"] == "v1"


def test_nothing_to_do_when_the_server_has_it(plan):
    plan = replace(plan, triggers=plan.triggers[:1])

    assert changes.compare(plan, _server_state(plan, b"zip"), b"zip", Wish()) == []


def test_one_changed_variable_is_one_change(plan):
    plan = replace(plan, triggers=(), aliases=())
    state = _server_state(plan, b"zip", user_data=json.dumps({"TIER": "old", "PORT": "8000", "DEBUG": "true"}))

    (change,) = changes.compare(plan, state, b"zip", Wish())

    assert (change.sign, change.kind, change.fields) == ("~", "config", ("env.TIER: (changed)",))


def test_changed_code_publishes_and_moves_the_alias(plan):
    plan = replace(plan, triggers=())

    found = changes.compare(plan, _server_state(plan, b"old"), b"new", Wish())

    assert _short(found) == [("~", "code"), ("+", "version"), ("~", "alias")]
    assert found[1].body["version"] == found[2].body["version"] == "v2"


def test_only_code_leaves_settings_alone(plan):
    state = _server_state(plan, b"old", memory_size=128)

    found = changes.compare(plan, state, b"new", Wish(config=False, triggers=False))

    assert ("~", "config") not in _short(found)


def test_trigger_with_other_data_is_changed_in_place(plan):
    plan = replace(plan, triggers=plan.triggers[:1], aliases=())
    state = _server_state(plan, b"zip")
    state.triggers[0]["event_data"]["auth"] = "IAM"

    (change,) = changes.compare(plan, state, b"zip", Wish())

    assert (change.sign, change.fields, change.body["trigger_id"]) == ("~", ("auth: 'IAM' -> 'NONE'",), "t")


def test_previous_version_is_the_one_before(plan):
    canary = replace(plan.aliases[0], canary="@previous", weight=10)
    plan = replace(plan, triggers=(), aliases=(canary,))

    found = changes.compare(plan, _server_state(plan, b"old"), b"new", Wish())

    assert found[-1].body["additional_version_weights"] == {"v1": 10}


# Commands


@pytest.fixture
def bare(stub):
    """A server without the function."""
    stub.on("GET", f"{HELLO}/config", 404, {"error_code": "FSS.1051", "error_msg": "none"})


def test_deploy_creates_the_function_and_says_what_is_next(fgs, stub, bare, folder):
    os.chdir(folder)
    (folder / "fgs.yaml").write_text(
        "functions:\n  hello: {code: ./code, runtime: Python3.10, handler: index.handler}\n"
    )
    stub.on("POST", "/fgs/functions", 200, {"func_name": "hello"})

    ran = fgs("up", "-v")

    assert ran.code == 0, ran.err
    assert "+ function hello  created" in ran.out
    assert "next: fgs invoke hello" in ran.out
    sent = stub.seen[-1].json
    assert (sent["func_name"], sent["package"], sent["code_type"]) == ("hello", "default", "zip")


@pytest.mark.parametrize("command", ["deploy", "up", "plan"])
@pytest.mark.parametrize("place", ["option", "file"])
def test_a_name_that_no_alias_can_have_is_refused_before_anything_is_sent(fgs, stub, bare, folder, command, place):
    """Else the code would be there, and a version published, for an alias that the server then refuses."""
    os.chdir(folder)
    aliases = ", aliases: {'a b': {version: '@current'}}" if place == "file" else ""
    (folder / "fgs.yaml").write_text(f"functions:\n  hello: {{code: ./code, runtime: Python3.10{aliases}}}\n")

    ran = fgs(command, *(("--alias", "a b") if place == "option" else ()))

    assert (ran.code, stub.seen, ran.out) == (2, [], "")
    assert "Name 'a b' is no alias name: 1 to 64 letters" in ran.err


def test_what_the_server_warns_of_is_told_when_a_function_is_deployed(fgs, stub, bare, folder):
    os.chdir(folder)
    (folder / "fgs.yaml").write_text("functions:\n  hello: {code: ./code, runtime: Java8, handler: a.B.c}\n")
    warning = "The runtime Java8 is not installed on this server: invocations will fail."
    stub.on("POST", "/fgs/functions", 200, {"func_name": "hello", "runtime_warning": warning, "code_warning": "odd"})

    ran = fgs("deploy")

    assert ran.code == 0
    assert ran.err == f"warning: odd\nwarning: {warning}\n"


def test_deploy_without_a_file(fgs, stub, bare, folder):
    os.chdir(folder.parent)
    stub.on("POST", "/fgs/functions", 200, {"func_name": "hello"})

    ran = fgs("deploy", "--name", "hello", "--runtime", "Python3.10", "--code", str(folder / "code"), "-o", "json")

    assert ran.json["resources"][0]["action"] == "created"


def test_plan_shows_and_exits_with_14(fgs, stub, bare, folder):
    os.chdir(folder)

    ran = fgs("plan", "--detailed-exitcode")

    assert ran.code == ExitCode.DRIFT
    assert "+ function hello" in ran.out
    assert "6 changes." in ran.out
    assert {seen.method for seen in stub.seen} == {"GET"}


def test_plan_of_one_change_is_told_in_the_singular(fgs, stub, bare, folder):
    os.chdir(folder)
    (folder / "fgs.yaml").write_text("functions:\n  hello: {code: ./code, runtime: Python3.10}\n")

    assert fgs("plan").out.splitlines() == ["+ function hello", "1 change."]


def test_deploy_without_a_project_is_a_usage_error(fgs, tmp_path):
    ran = fgs("up")

    assert ran.code == 2
    assert "fgs init" in ran.err


@pytest.mark.parametrize(("place", "text"), [("./cod", "There is no code at"), ("./empty", "There are no files in")])
def test_deploy_without_code_is_exit_code_13(fgs, folder, place, text):
    os.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "fgs.yaml").write_text(FILE.replace("./code", place))

    ran = fgs("up")

    assert ran.code == ExitCode.PACKAGING
    assert text in ran.err


def test_deploy_of_a_broken_file_names_the_line_and_sends_nothing(fgs, stub, folder):
    os.chdir(folder)
    (folder / "fgs.yaml").write_text(FILE.replace("memory: 256", "memory: lots"))

    ran = fgs("up")

    assert ran.code == ExitCode.USAGE
    assert ran.err == "error: fgs.yaml:5: defaults.memory: 'lots' is not a whole number.\n"
    assert stub.seen == []


def test_other_runtime_is_refused_with_a_way_out(fgs, stub, folder):
    os.chdir(folder)
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello", "runtime": "Node.js20.15"})
    for path, body in ((f"{HELLO}/versions", {}), (f"{HELLO}/aliases", []), (TRIGGERS, [])):
        stub.on("GET", path, 200, body)

    ran = fgs("up")

    assert ran.code == ExitCode.CONFLICT
    assert "fgs remove hello" in ran.err


def test_one_failure_does_not_stop_the_others(fgs, stub, folder):
    os.chdir(folder)
    (folder / "fgs.yaml").write_text(
        "defaults: {code: ./code, runtime: Python3.10}\nfunctions:\n  hello: {}\n  other: {}\n"
    )
    stub.on("GET", f"{HELLO}/config", 403, {"error_code": "FSS.0403", "error_msg": "not you"})
    stub.on("POST", "/fgs/functions", 200, {"func_name": "other"})

    ran = fgs("up")

    assert ran.code == ExitCode.DENIED
    assert "+ function other" in ran.out
    assert "hello: not you" in ran.err


def test_interruption_says_what_was_done(fgs, stub, bare, folder, monkeypatch):
    os.chdir(folder)
    stub.on("POST", "/fgs/functions", 200, {"func_name": "hello"})

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("funclet.client.Client.update_config", interrupted)

    ran = fgs("up")

    assert ran.code == ExitCode.INTERRUPTED
    assert "done so far: function hello created" in ran.err


def test_profile_of_the_project_is_used(fgs, folder, monkeypatch):
    os.chdir(folder)
    (folder / "fgs.yaml").write_text("profile: lab\n" + FILE)

    ran = fgs("ls")

    assert ran.code == ExitCode.CREDENTIALS
    assert "no profile 'lab'" in ran.err


# Start of a project


@pytest.mark.parametrize("template", ["hello-world", "apig"])
@pytest.mark.parametrize(("runtime", "file"), [("Python3.10", "index.py"), ("Node.js20.15", "index.js")])
def test_init_makes_a_project_that_can_be_deployed(fgs_alone, template, runtime, file):
    ran = fgs_alone("init", "hello", "--template", template, "--runtime", runtime, "--yes")

    assert ran.code == 0, ran.err
    (function,) = project.load(Path("hello/fgs.yaml")).functions
    assert function.settings["runtime"] == runtime
    assert zipfile.ZipFile(io.BytesIO(archive.pack(function.code))).namelist() == [file]
    assert bool(function.triggers) == (template == "apig")
    assert json.loads(Path(f"hello/events/{template}.json").read_text())
    assert "fgs up" in Path("hello/README.md").read_text()


def test_init_keeps_what_is_there(fgs_alone):
    Path("hello").mkdir()
    Path("hello/mine").write_text("x")

    assert fgs_alone("init", "hello", "--yes").code == ExitCode.CONFLICT
    assert [path.name for path in Path("hello").iterdir()] == ["mine"]


def test_init_knows_names_of_the_vendors_tool(fgs_alone):
    fgs_alone("init", "web", "--template", "start-fg-http-Nodejs14", "--yes", "-o", "json")

    assert "Node.js" in Path("web/fgs.yaml").read_text()


@pytest.mark.parametrize("words", [["--yes"], ["1x", "--yes"], ["a", "--template", "helo", "--yes"],
                                   ["a", "--runtime", "Go1.x", "--yes"]])  # fmt: skip
def test_init_refuses_what_it_cannot_make(fgs_alone, words):
    assert fgs_alone("init", *words).code == 2


# Profiles


def _configure(fgs_alone, *more):
    return fgs_alone("configure", "--endpoint", "http://127.0.0.1:1", "--ak", "AK", "--sk", "hidden-secret", *more)


def test_profile_is_written_for_the_user_only(fgs_alone, home):
    ran = _configure(fgs_alone, "--region", "local-1")

    assert ran.code == 0
    path = home / ".fgs" / "config.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "hidden-secret" not in ran.out + ran.err


def test_profiles_are_listed_without_secrets(fgs_alone):
    _configure(fgs_alone)
    _configure(fgs_alone, "--profile", "lab")

    ran = fgs_alone("configure", "list")

    assert [row["name"] for row in ran.json] == ["default", "lab"]
    assert "hidden-secret" not in ran.out


def test_profile_values_are_read_set_and_deleted(fgs_alone):
    _configure(fgs_alone)
    fgs_alone("configure", "set", "region", 'odd "name" \\ ü')

    assert fgs_alone("configure", "get", "region").out == 'odd "name" \\ ü\n'
    assert "hidden" not in fgs_alone("configure", "get", "sk").out
    assert fgs_alone("configure", "use", "nothing").code == ExitCode.NOT_FOUND
    assert fgs_alone("configure", "delete", "default", "-y").code == 0
    assert fgs_alone("configure", "list").json == []


def test_file_that_others_can_read_is_refused(fgs_alone, home):
    _configure(fgs_alone)
    (home / ".fgs" / "config.toml").chmod(0o644)

    ran = fgs_alone("ls")

    assert ran.code == 2
    assert "chmod 600" in ran.err


def test_environment_wins_over_the_profile_and_flags_over_both(fgs_alone, stub, monkeypatch):
    fgs_alone("configure", "--endpoint", "http://127.0.0.1:1", "--ak", "PROFILE", "--sk", "s", "--project-id", P)
    stub.on("GET", "/fgs/functions", 200, {"functions": []})
    monkeypatch.setenv("FGS_ENDPOINT", stub.url)
    monkeypatch.setenv("HW_ACCESS_KEY", "ENVIRONMENT")

    fgs_alone("ls")
    fgs_alone("ls", "--ak", "FLAG")

    assert ["Access=ENVIRONMENT," in stub.seen[0].headers["authorization"],
            "Access=FLAG," in stub.seen[1].headers["authorization"]] == [True, True]  # fmt: skip


def test_token_of_a_profile_is_not_sent_elsewhere(fgs_alone, stub, monkeypatch):
    fgs_alone("configure", "--endpoint", "http://127.0.0.1:1", "--token", "powerful", "--project-id", P)

    assert fgs_alone("ls", "--endpoint", stub.url).code == ExitCode.CREDENTIALS
    assert stub.seen == []


# Any operation


def test_operations_are_called_by_name(fgs, stub):
    stub.on("GET", "/fgs/functions", 200, {"functions": []})

    assert fgs("api", "ListFunctions", "--maxitems", "10", "--package_name=shop").json == {"functions": []}
    assert stub.seen[-1].query == "maxitems=10&package_name=shop" or "maxitems=10" in stub.seen[-1].query


def test_body_members_are_typed_and_nested(fgs, stub):
    stub.on("POST", "/fgs/functions", 200, {})

    fgs("api", "create-function", "--func_name", "a", "--memory_size", "128", "--func_code.file=eA==")

    assert stub.seen[-1].json == {"func_name": "a", "memory_size": 128, "func_code": {"file": "eA=="}}


def test_free_body_takes_any_member(fgs, stub):
    stub.on("POST", "/fgs/functions/hello/invocations", 200, b"plain", Content_Type="text/plain")

    ran = fgs("api", "InvokeFunction", "--function_urn=hello", "--X-Cff-Log-Type=tail", "--key=value")

    assert ran.out.startswith("plain")
    assert stub.seen[-1].json == {"key": "value"}
    assert stub.seen[-1].headers["x-cff-log-type"] == "tail"


def test_input_file_and_skeleton(fgs, stub, tmp_path):
    stub.on("POST", "/fgs/functions/hello/versions", 200, {})
    empty = fgs("api", "CreateFunctionVersion", "--skeleton").json
    (tmp_path / "in.json").write_text(json.dumps(empty | {"function_urn": "hello", "version": "v1"}))

    assert fgs("api", "CreateFunctionVersion", "--cli-input-json", str(tmp_path / "in.json")).code == 0
    assert stub.seen[-1].json["version"] == "v1"


@pytest.mark.parametrize(
    "words",
    [["NoSuch"], ["ShowFunctionConfig"], ["ListFunctions", "--nope", "1"], ["CreateFunction", "--memory_size=x"]],
)
def test_wrong_calls_are_refused_here(fgs, stub, words):
    assert fgs("api", *words).code == 2
    assert stub.seen == []


def test_all_operations_are_listed(fgs):
    assert len(fgs("api").json) == 108
