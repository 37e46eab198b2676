"""What people type wrong, and what they are told to type instead."""

import subprocess
import sys

import pytest

MISSING = {"error_code": "FSS.0404", "error_msg": "Function 'helo' does not exist in package 'default'."}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("function", "create", "hello"), "fgs deploy --name NAME --runtime Python3.10 --code FOLDER"),
        (("function", "update", "hello"), "fgs function config set NAME"),
        (("function", "invoke", "hello"), "fgs invoke NAME"),
        (("function", "hello"), "fgs function get hello"),
        (("version", "create"), "fgs version --help"),
        (("async", "edit", "hello"), "fgs async --help"),
        (("iam", "user", "edit"), "fgs iam user --help"),
    ],
)
def test_a_word_that_a_group_does_not_have_leads_to_the_command_that_is_meant(fgs_alone, words, hint):
    ran = fgs_alone(*words)

    assert ran.code == 2
    assert (
        f"There is no command 'fgs {' '.join(words[:-1] if words[-1] == 'hello' and len(words) > 2 else words)}'"
        in (ran.err)
    )
    assert f"hint: {hint}" in ran.err


@pytest.mark.parametrize(
    "words", [("async", "get"), ("async", "describe"), ("dependency", "get"), ("dependency", "add"), ("alias", "rm"),
              ("iam", "policy", "create"), ("version", "show")]
)  # fmt: skip
def test_other_words_for_the_same_are_understood(fgs_alone, words):
    ran = fgs_alone(*words, "--help")

    assert (ran.code, ran.err) == (0, "")


def test_a_missing_function_leads_to_the_list_of_functions(fgs, stub):
    stub.on("POST", "/fgs/functions/0123456789abcdef0123456789abcdef:default:helo/invocations", 404, MISSING)
    stub.on("GET", "/fgs/functions", body={"functions": [], "next_marker": 0, "count": 0})

    assert fgs("invoke", "helo").err.endswith("hint: fgs function list\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("invoke", "hello", "--memory", "abc"), "'abc' is not a valid integer"),
        (("init", "hello", "--runtime", "Python9", "--yes"), "There is no template for runtime 'Python9'"),
        (("ls", "--endpoint", "http://127.0.0.1:99999"), "'http://127.0.0.1:99999' is no address"),
        (("ls", "--endpoint", "http://[::1"), "'http://[::1' is no address"),
        (("ls", "--timeout", "0"), "--timeout must be longer than 0"),
        (("configure", "get"), "Missing argument 'KEY'. Choose from: endpoint, region,"),
        (("connection", "set", "s"), "Missing option '--kind'. Choose from: s3, nats"),
    ],
)
def test_a_wrong_value_is_named_on_one_line(fgs, stub, words, named):
    ran = fgs(*words)

    assert (ran.code, stub.seen) == (2, [])
    assert named in ran.err
    assert len(ran.err.splitlines()) == 2, "the message and the hint"


def test_a_file_that_cannot_be_written_is_named(fgs, stub, tmp_path):
    stub.on(
        "GET",
        "/fgs/functions/0123456789abcdef0123456789abcdef:default:hello/code",
        body={"func_code": {"file": "eA=="}},
    )

    ran = fgs("function", "code", "get", "hello", "--out", str(tmp_path / "nowhere" / "x.zip"))

    assert ran.code == 1
    assert (
        ran.err == f"error: The file {tmp_path}/nowhere/x.zip cannot be read or written: No such file or directory.\n"
    )


def test_a_full_disk_is_told_without_a_traceback():
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, which no Path has
        done = subprocess.run(
            [sys.executable, "-m", "funclet", "explain"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 1
    assert done.stderr == "error: The output cannot be read or written: No space left on device.\n"


def test_a_setting_that_nobody_knows_is_told(fgs, stub):
    path = "/fgs/functions/0123456789abcdef0123456789abcdef:default:hello/config"
    for method in ("GET", "PUT"):
        stub.on(method, path, body={"func_name": "hello", "memory_size": 128})

    ran = fgs("function", "config", "set", "hello", "memori_size=256", "memory_size=256", "xrole=job")

    assert ran.code == 0
    assert ran.err == "warning: 'memori_size' is no known setting. Did you mean 'memory_size'?\n"


@pytest.mark.parametrize("more", [(), ("--async",), ("-n", "3")])
def test_an_event_without_its_option_is_told_where_it_belongs(fgs, stub, more):
    ran = fgs("invoke", "hello", '{"a":1}', *more)

    assert (ran.code, stub.seen) == (2, [])
    assert ran.err == (
        "error: '{\"a\":1}' is one argument too many: the event goes behind -d.\n"
        "hint: fgs invoke hello -d '{\"a\":1}'\n"
    )
