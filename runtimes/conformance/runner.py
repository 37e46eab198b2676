"""Run the cases of this folder against one language folder, as `../CONTRACT.md` says a server does.

Start with `run_case`; by hand: `python runner.py ../python3 [--interpreter PATH] [--case TEXT]`.
README.md explains how a case is written.
"""

import argparse
import contextlib
import socket
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expectations import problems_of
from runtime_process import (
    INIT,
    INVOKE,
    LOAD,
    PRESTOP,
    SPECIALISE,
    Answer,
    Failure,
    Language,
    RuntimeProcess,
    Start,
    started,
)

REQUESTS = {"load": LOAD, "init": INIT, "invoke": INVOKE, "prestop": PRESTOP, "specialise": SPECIALISE}
CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One function and what is asked of it. README.md explains the members of a step."""

    name: str
    files: Mapping[str, Mapping[str, str]]
    """Language, then path in the code root, then text."""
    handler: str | None
    initializer: str
    environment: Mapping[str, str]
    starts: Sequence[Start]
    """The ways to start it that must all give the same."""
    steps: Sequence[Mapping[str, Any]]


def load_cases(folder: Path) -> list[Case]:
    """Read every case file; a case is named `<file>/<name>`."""
    return [
        Case(
            name=f"{path.stem}/{row['name']}",
            files=row["files"],
            handler=row.get("handler"),
            initializer=row.get("initializer", ""),
            environment=row.get("environment", {}),
            starts=[Start(name) for name in row.get("starts", ("fresh", "stem", "forked"))],
            steps=row["steps"],
        )
        for path in sorted(folder.glob("*.toml"))
        for row in tomllib.loads(path.read_text("utf-8"))["case"]
    ]


def run_case(case: Case, language: Language, interpreter: Path, start: Start) -> None:
    """Run one case, started in one way.

    Raises:
        Failure: a step gave something else than the case expects.
    """
    environment = {
        "RUNTIME_HANDLER": case.handler or language.default_handler,
        "RUNTIME_INITIALIZER_HANDLER": case.initializer,
        **case.environment,
    }
    steps = [_merged(step, language.name) for step in case.steps]
    if steps[0].get("do") not in {"load", "raw", "close", "specialise"}:
        steps.insert(0, {"do": "load"})
    with started(language, interpreter, case.files[language.name], environment, start) as runtime:
        for number, step in enumerate(steps):
            try:
                _run_step(runtime, step)
            except Failure as failure:
                raise Failure(f"{case.name}, step {number} ({step.get('do', 'invoke')}): {failure}") from failure


def _merged(step: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Let the members of the language's own table replace the common ones."""
    return {**step, **step.get("for", {}).get(language, {})}


def _run_step(runtime: RuntimeProcess, step: Mapping[str, Any]) -> None:
    """Do what the step says and compare what came of it."""
    action = step.get("do", "invoke")
    if action == "raw":
        runtime.send_raw(bytes.fromhex(step["hex"]))
    elif action == "close":
        runtime.socket.shutdown(socket.SHUT_RDWR)
    elif action == "wait_log":
        runtime.wait_log(step["pattern"])
        return
    elif action == "together":
        _run_together(runtime, step)
        return
    elif "exit" not in step:
        answer = runtime.exchange(
            REQUESTS[action], _event(step), meta=step.get("meta"), timeout_ms=step.get("timeout_ms", 3000)
        )
        _compare(runtime, answer, step)
        return
    _check_exit(runtime, step, action)


def _run_together(runtime: RuntimeProcess, step: Mapping[str, Any]) -> None:
    """Send all requests of the step at once and compare their answers one by one."""
    requests = step["requests"]
    for answer, request in zip(runtime.exchange_together([_event(one) for one in requests]), requests, strict=True):
        _compare(runtime, answer, request)


def _compare(runtime: RuntimeProcess, answer: Answer, step: Mapping[str, Any]) -> None:
    places = {"{code_root}": str(runtime.code_root), "{work_dir}": str(runtime.work_dir)}
    if problems := problems_of(answer, step, places):
        raise Failure(problems)


def _check_exit(runtime: RuntimeProcess, step: Mapping[str, Any], action: str) -> None:
    """Send the request if the step is one, and expect the end of the process instead of an answer."""
    if action in REQUESTS:
        with contextlib.suppress(Failure):
            answer = runtime.exchange(REQUESTS[action], _event(step))
            raise RuntimeError(f"answered with code {answer.code} instead of ending: {answer.body[:1000]!r}")
    status = runtime.wait_exit()
    if step["exit"] != "any" and status != step["exit"]:
        raise Failure(f"exit status {status}, expected {step['exit']}; log: {runtime.log.take()}")


def _event(step: Mapping[str, Any]) -> bytes:
    """Return the event of a step: `event`, `event_hex`, or `event_size` bytes of a JSON object."""
    if "event_hex" in step:
        return bytes.fromhex(step["event_hex"])
    if "event_size" in step:
        return b'{"text":"' + bytes(step["event_size"] - 11).replace(b"\0", b"x") + b'"}'
    event: str = step.get("event", "{}" if step.get("do", "invoke") == "invoke" else "")
    return event.encode()


def main() -> int:
    """Run the cases for one language folder; return the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="language folder")
    parser.add_argument("--interpreter", type=Path, help="executable to use instead of the newest on the path")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    options = parser.parse_args()
    language = Language.read(options.folder)
    interpreter = options.interpreter or language.find_interpreter()
    failed = 0
    chosen = [case for case in load_cases(CASES) if language.name in case.files and options.case in case.name]
    for case, start in [(each, start) for each in chosen for start in each.starts if start in language.starts]:
        try:
            run_case(case, language, interpreter, start)
        except (Failure, RuntimeError) as failure:
            failed += 1
            sys.stdout.write(f"FAIL {start.value}: {failure}\n")
        else:
            sys.stdout.write(f"ok   {start.value}: {case.name}\n")
    sys.stdout.write(f"{failed} failed with {interpreter}\n")
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
