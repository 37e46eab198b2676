"""The frame: help, typing errors, exit codes, output, secrets."""

import json
import os
import pty
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from funclet.cli import render
from funclet.cli.frame import ExitCode, Failure, Flags, counted, parse_duration_s
from funclet.cli.main import ALIASES, COMMANDS, build
from funclet.cli.session import exit_of, proxy_for

FUNCTIONS = "/fgs/functions"
P = "0123456789abcdef0123456789abcdef"
HELLO = f"{FUNCTIONS}/{P}:default:hello"


def test_help_names_every_command(fgs_alone):
    ran = fgs_alone("--help")

    assert ran.code == 0
    assert all(name in ran.out for name in [*COMMANDS, *ALIASES])


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("serve", "doctor")])
def test_help_of_every_command_works(fgs_alone, name):
    ran = fgs_alone(name, "--help")

    assert ran.code == 0
    assert "Usage: fgs" in ran.out


def test_version(fgs_alone):
    assert fgs_alone("--version").out.startswith("fgs 0.")


@pytest.mark.parametrize(
    ("words", "guess"), [(["invok"], "invoke"), (["function", "lst"], "list"), (["explain", "FSS.1o51"], "FSS.1051")]
)
def test_typing_error_gets_a_question(fgs_alone, words, guess):
    ran = fgs_alone(*words)

    assert ran.code in (2, 5)
    assert f"Did you mean '{guess}'" in ran.err or guess in ran.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["function", "code", "hello"], "fgs function code get hello"),
        (["function", "hello"], "fgs function get hello"),
        (["trigger", "hello"], "fgs trigger list hello"),
        (["version", "hello"], "fgs version list hello"),
        (["function", "lst"], "fgs function --help"),
        (["configure", "lab"], "fgs configure --help"),
    ],
)
def test_name_of_a_function_instead_of_a_command_is_understood(fgs_alone, words, hint):
    ran = fgs_alone(*words)

    assert ran.code == ExitCode.USAGE
    assert ran.err.splitlines()[-1] == f"hint: {hint}"


def test_group_alone_shows_its_help(fgs_alone):
    ran = fgs_alone("function", "code")

    assert ran.code == ExitCode.USAGE
    assert "Download the code package" in ran.err


@pytest.mark.parametrize(
    ("number", "word", "expected"),
    [(0, "change", "0 changes"), (1, "change", "1 change"), (2, "alias", "2 aliases"), (1, "alias", "1 alias")],
)
def test_things_are_counted_in_singular_and_plural(number, word, expected):
    assert counted(number, word) == expected


@pytest.mark.parametrize("words", [["ls"], ["f", "list"], ["function", "ls"], ["list-nothing"]])
def test_short_names_lead_to_the_same_command(fgs, stub, words):
    stub.on("GET", FUNCTIONS, 200, {"functions": [{"func_name": "hello"}]})

    ran = fgs(*words, "-o", "name")

    assert (ran.code, ran.out) == ((2, "") if words == ["list-nothing"] else (0, "hello\n"))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "FSS.1002", 2), (401, "APIG.0301", 3), (403, "FSS.0403", 4), (404, "FSS.1051", 5), (409, "FSS.1061", 6),
        (412, "FSS.1153", 6), (424, "", 6), (426, "FSS.0426", 6), (428, "", 6), (429, "FSS.0429", 7),
        (403, "FSS.1041", 7), (500, "FSS.0500", 9), (501, "FSS.0501", 9), (302, "", 1),
    ],
)  # fmt: skip
def test_exit_code_of_every_refusal(fgs, stub, status, code, expected):
    stub.on("GET", FUNCTIONS, status, {"error_code": code, "error_msg": "no"})

    ran = fgs("function", "list")

    assert ran.code == expected == exit_of(status, code)
    assert "error" in ran.err
    assert ran.out == ""


def test_exit_code_without_credentials(fgs_alone):
    ran = fgs_alone("function", "list")

    assert ran.code == ExitCode.CREDENTIALS
    assert "fgs configure" in ran.err


def test_exit_code_without_a_server(fgs, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FGS_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")

    ran = fgs("function", "list", "--retries", "0")

    assert ran.code == ExitCode.NETWORK
    assert "fgs serve" in ran.err


def test_error_is_one_object_when_json_is_asked_for(fgs, stub):
    stub.on("GET", FUNCTIONS, 409, {"error_code": "FSS.1066", "error_msg": "taken", "request_id": "r-1"})

    ran = fgs("-o", "json", "function", "list")

    assert json.loads(ran.err)["error"] == {
        "code": "FSS.1066",
        "message": "taken",
        "request_id": "r-1",
        "hint": "fgs alias list NAME",
        "http_status": 409,
    }


def test_error_is_text_with_request_id_and_hint_otherwise(fgs, stub):
    stub.on("GET", FUNCTIONS, 409, {"error_code": "FSS.1066", "error_msg": "taken", "request_id": "r-1"})

    lines = fgs("function", "list").err.splitlines()

    assert lines == ["error FSS.1066: taken", "request id: r-1", "hint: fgs alias list NAME"]


def test_global_options_work_before_and_behind_the_command(fgs, stub):
    stub.on("GET", FUNCTIONS, 200, {"functions": [{"func_name": "hello", "runtime": "Python3.10"}]})

    assert fgs("-o", "text", "--fields", "runtime", "ls").out == fgs("ls", "-o", "text", "--fields", "runtime").out


def test_table_has_columns_and_a_head(fgs, stub):
    stub.on("GET", FUNCTIONS, 200, {"functions": [{"func_name": "hello", "memory_size": 128}]})

    head, row = fgs("ls", "-o", "table", "--fields", "func_name,memory_size").out.splitlines()

    assert head.split() == ["FUNC_NAME", "MEMORY_SIZE"]
    assert row.split() == ["hello", "128"]
    assert fgs("ls", "--table", "--no-headers", "--fields", "func_name").out == "hello\n"


def test_json_off_a_terminal_is_an_array(fgs, stub):
    stub.on("GET", FUNCTIONS, 200, {"functions": [{"func_name": "hello"}]})

    assert fgs("ls").json == [{"func_name": "hello"}]


def test_requests_are_shown_without_secrets(fgs, stub):
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello", "runtime": "Python3.10", "user_data": "{}"})
    stub.on("PUT", f"{HELLO}/config", 200, {"func_name": "hello"})

    ran = fgs("-vvv", "function", "config", "set", "hello", "--env", "DB_PASSWORD=hunter2", "--memory", "256")

    assert ran.code == 0
    assert f"PUT {stub.url.removeprefix('http://')}" in ran.err
    assert '"memory_size": 256' in ran.err
    assert "hunter2" not in ran.err
    assert "very-secret-key" not in ran.err
    assert "Signature=" not in ran.err


def test_request_is_signed_and_names_the_project(fgs, stub):
    stub.on("GET", FUNCTIONS, 200, {"functions": []})

    fgs("ls")

    assert stub.seen[0].headers["authorization"].startswith("SDK-HMAC-SHA256 Access=AKEXAMPLE, ")
    assert stub.seen[0].headers["x-project-id"] == P


def test_project_is_looked_up_when_none_is_named(fgs, stub, monkeypatch):
    monkeypatch.delenv("FGS_PROJECT_ID")
    monkeypatch.setenv("FGS_REGION", "local-1")
    stub.on("GET", "/v3/projects", 200, {"projects": [{"id": P, "name": "local-1"}]})
    stub.on("GET", FUNCTIONS, 200, {"functions": []})

    assert fgs("ls").code == 0
    assert stub.seen[0].query == "name=local-1"


def test_question_without_a_terminal_is_refused(fgs, stub):
    ran = fgs("alias", "delete", "hello", "live")

    assert ran.code == ExitCode.USAGE
    assert "-y" in ran.err
    assert stub.seen == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("500ms", 0.5)]
)
def test_durations(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "m", "1.2.3s"])
def test_wrong_durations_are_refused(text):
    with pytest.raises(Failure, match="no duration"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("endpoint", "exempt", "expected"),
    [
        ("http://fgs.example.test", "", "http://proxy:3128"),
        ("http://fgs.example.test", "example.test", ""),
        ("http://fgs.example.test", "other.test, .example.test:80", ""),
        ("http://notexample.test", "example.test", "http://proxy:3128"),
        ("http://fgs.example.test", "*", ""),
        ("http://127.0.0.1:7180", "", ""),
        ("https://fgs.example.test", "", ""),
    ],
)
def test_proxy_of_the_environment(endpoint, exempt, expected):
    assert proxy_for(endpoint, {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": exempt}) == expected


def test_interruption_is_exit_code_130(fgs, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("funclet.client.Client.list_functions", interrupted)

    ran = fgs("ls")

    assert ran.code == ExitCode.INTERRUPTED
    assert "interrupted" in ran.err


def test_hint_names_the_function(fgs, stub):
    stub.on("POST", f"{HELLO}/aliases", 409, {"error_code": "FSS.1066", "error_msg": "taken"})

    assert "hint: fgs alias list hello" in fgs("alias", "create", "hello", "a", "--version", "v1").err


def test_times_are_local_in_tables_and_utc_in_json(fgs, stub, monkeypatch):
    monkeypatch.setenv("TZ", "CST-8")
    time.tzset()
    stub.on("GET", FUNCTIONS, 200, {"functions": [{"last_modified": "2026-03-10T08:00:00Z"}]})

    shown = [fgs("ls", "--fields", "last_modified", "-o", view).out for view in ("text", "json")]

    monkeypatch.undo()
    time.tzset()
    assert shown[0] == "2026-03-10 16:00:00\n"
    assert "2026-03-10T08:00:00Z" in shown[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(fgs_alone, shell):
    ran = fgs_alone("completion", shell)

    assert ran.code == 0
    assert "_FGS_COMPLETE" in ran.out


def _complete(words: str, **environment: str) -> list[str]:
    variables = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), **environment}
    done = subprocess.run(
        [sys.executable, "-c", "from funclet.cli.main import main; main()"],
        env=variables | {"_FGS_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_names_of_commands_are_completed_without_a_server(home):
    assert _complete("fgs inv") == ["invoke"]


def test_names_of_functions_are_completed_and_kept(fgs, stub, home):
    (home / ".fgs").mkdir()
    stub.on("GET", FUNCTIONS, 200, {"functions": [{"func_name": f"hello-{i:03}"} for i in range(400)]})

    first = _complete("fgs invoke hello-00")
    second = _complete("fgs invoke hello-01")

    assert first == [f"hello-{i:03}" for i in range(10)]
    assert second[0] == "hello-010"
    assert len(stub.seen) == 1


def _run_bash(script: str, home: Path, **environment: str) -> str:
    """Run a script in a bash that knows the completion of `fgs`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", f"source <(fgs completion bash)\n{script}"],
        env={**os.environ, "PATH": path, "HOME": str(home), **environment},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def _tab(*words: str) -> str:
    """Return the script that does what bash does at Tab behind the words, and prints what it offers."""
    listed = " ".join(f"'{word}'" for word in words)
    return (
        "words=$(complete -p fgs) && [[ $words =~ -F\\ ([^ ]+) ]] || exit 1\n"
        f"COMP_WORDS=({listed}) COMP_CWORD={len(words) - 1}\n"
        'COMPREPLY=() && "${BASH_REMATCH[1]}" fgs "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("fgs", "inv"), ["invoke"]),
        (("fgs", "function", "co"), ["code", "config"]),
        (("fgs", "function", "code", ""), ["get", "update"]),
        (("fgs", "invoke", "--expect"), ["--expect", "--expect-status"]),
        (("fgs", "trigger", "create", "hello", "--status", ""), ["ACTIVE", "DISABLED"]),
        (("fgs", "completion", "z"), ["zsh"]),
        (("fgs", "nosuch", "x"), [""]),
        (("fgs", "function", "nosuch", "x"), [""]),
    ],
)
def test_bash_completes_commands_and_options_without_a_server(home, words, offered):
    assert sorted(_run_bash(_tab(*words), home).splitlines()) == offered


def test_bash_completes_names_of_functions(fgs, stub, home):
    """Also when the settings come from the environment alone, so that there is no folder for the cache yet."""
    stub.on("GET", FUNCTIONS, 200, {"functions": [{"func_name": name} for name in ("hello", "help", "other")]})

    script = _tab("fgs", "invoke", "he") + "\n" + _tab("fgs", "logs", "oth")

    assert _run_bash(script, home).split() == ["hello", "help", "other"]
    assert len(stub.seen) == 1


@pytest.mark.parametrize(
    ("shell", "words", "expected"),
    [
        ("zsh", "fgs inv", ["plain", "invoke", "Run a function and show its answer."]),
        ("fish", "fgs inv", ["plain,invoke\tRun a function and show its answer."]),
    ],
)
def test_other_shells_get_names_with_their_help(home, shell, words, expected):
    """What the scripts for zsh and fish ask for, line by line; those shells themselves are not needed."""
    variables = {"COMP_WORDS": words, "COMP_CWORD": "1" if shell == "zsh" else "inv"}
    done = subprocess.run(
        [sys.executable, "-c", "from funclet.cli.main import main; main()"],
        env={**os.environ, **variables, "_FGS_COMPLETE": f"{shell}_complete"},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert done.stdout.splitlines() == expected


def _on_a_terminal(words: list[str], **environment: str) -> str:
    """Run `fgs` with a terminal as stdout and stderr, and return what it shows."""
    ours, theirs = pty.openpty()
    code = "import sys; from funclet.cli.main import run; sys.exit(run(sys.argv[1:]))"
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    try:
        # Linux tells the end of a terminal whose other side is closed as an error.
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass
    finally:
        os.close(ours)
        process.wait(timeout=30)
    return shown.decode()


COLORED = (["explain", "FSS.9"], ["doctor"], ["logs", "hello"])


@pytest.fixture
def one_record(fgs, stub):
    record = {"id": 1, "time": "2026-03-10T08:00:00.000Z", "outcome": "success", "text": "\x1b[31mred\x1b[0m"}
    stub.on("GET", f"{HELLO}/config", 200, {"func_name": "hello"})
    stub.on("GET", f"/funclet/functions/{P}:default:hello/logs", 200, {"records": [record]})
    return fgs


@pytest.mark.parametrize("words", COLORED, ids=" ".join)
def test_terminals_get_colours(one_record, words):
    assert "\x1b[" in _on_a_terminal(words)


@pytest.mark.parametrize("words", COLORED, ids=" ".join)
@pytest.mark.parametrize("where", ["variable", "flag before", "flag behind"])
def test_no_colours_when_they_are_not_wanted(one_record, words, where):
    line = {"variable": words, "flag before": ["--no-color", *words], "flag behind": [*words, "--no-color"]}[where]

    shown = _on_a_terminal(line, **({"NO_COLOR": "1"} if where == "variable" else {}))

    assert shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("words", COLORED, ids=" ".join)
def test_no_colours_off_a_terminal(one_record, words):
    ran = one_record(*words)

    assert "\x1b" not in ran.out + ran.err


def test_report_of_the_doctor_is_text_also_off_a_terminal(fgs_alone):
    report = fgs_alone("doctor").out

    assert report.startswith("isolation\n")
    assert isinstance(fgs_alone("doctor", "-o", "json").json, list)


def test_doctor_tells_root_whether_the_kernel_has_nfs(fgs_alone):
    found = {finding["name"]: finding for finding in fgs_alone("doctor", "-o", "json").json}

    has_nfs = "nfs" in Path("/proc/filesystems").read_text().split()
    said = "can be mounted" if has_nfs else "this kernel cannot mount NFS: load the module nfs"
    # An ordinary user can mount nothing, and is told nothing of it.
    assert ("NFS" in found) == (os.geteuid() == 0)
    assert found.get("NFS", {"detail": said, "ok": True})["detail"].startswith(said)


def test_every_command_has_two_examples():
    context = build().make_context("fgs", ["--help-nothing"], resilient_parsing=True)
    groups = [build().get_command(context, name) for name in COMMANDS if name not in ("serve", "doctor")]
    commands = [c for group in groups for c in getattr(group, "commands", {"": group}).values()]
    without = [c.name for c in commands if not hasattr(c, "commands") and len(c.examples) < 2]

    assert without == []


def test_starting_is_quick(home):
    """Help must not import the HTTP client, YAML, asyncio or any server code."""
    code = "import sys; from funclet.cli.main import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(done.stderr.split())

    assert not loaded & {"http.client", "yaml", "asyncio", "ssl", "funclet.client", "funclet.server"}


def test_a_long_name_keeps_its_end_in_a_table_and_a_long_text_its_beginning(capsys):
    urn = "urn:fss:local-1:0123456789abcdef0123456789abcdef:function:default:hello:latest"
    flags = Flags(given={"table": True, "no_headers": True})

    render.rows(flags, [{"urn": urn, "text": "word " * 20}], columns=("urn", "text"))

    name, text = capsys.readouterr().out.rstrip("\n").split("  ")
    assert (name, len(name)) == ("urn:fss:…" + urn[-51:], 60)
    assert (text, len(text)) == (("word " * 20)[:59] + "…", 60)
