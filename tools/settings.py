"""Write the pages of docs/reference that are tables of the code: settings, error codes, exit codes.

python tools/settings.py            # write
python tools/settings.py --check    # fail if a page is not up to date
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from funclet.cli.frame import ExitCode
from funclet.cli.hints import HINTS, REMARKS
from funclet.config import PREFIX, Settings
from funclet.model.errors import TABLE, ErrorRow

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
_UNITS = {"_s": "seconds", "_ms": "milliseconds"}
_WHEN: Mapping[ExitCode, str] = {
    ExitCode.OK: "The command did what it was asked to do.",
    ExitCode.UNEXPECTED: "`fgs doctor` found something missing, or `fgs serve` could not run.",
    ExitCode.USAGE: "The command line, the project file or the event is wrong, or a value was refused (400, 406, 413).",
    ExitCode.CREDENTIALS: "No server, profile or credentials are named, or the server does not take them (401).",
    ExitCode.DENIED: "The credentials do not allow it (403); also the quota of versions, which answers `FSS.0403`.",
    ExitCode.NOT_FOUND: "The function, version, alias, trigger or error code does not exist (404).",
    ExitCode.CONFLICT: "It exists already, is in use, or does not allow the change (409, 412, 424, 426, 428).",
    ExitCode.QUOTA: "A limit or quota is used up (429, and 403 with a code from `FSS.1041` to `FSS.1049`).",
    ExitCode.NETWORK: "The server cannot be reached, or a port cannot be used.",
    ExitCode.SERVER: "The server failed (5xx).",
    ExitCode.FUNCTION_FAILED: "The function failed: an exception, its timeout, its memory, code that does not load.",
    ExitCode.PLATFORM_FAILED: "An invocation failed, and it was the platform's fault.",
    ExitCode.ASSERTION: "What `--expect`, `--expect-status` or `--raise-on-status` asks for does not hold.",
    ExitCode.PACKAGING: "The code cannot be packed: it is missing, too large, or has too many files.",
    ExitCode.DRIFT: "`fgs plan --detailed-exitcode`: something would change.",
    ExitCode.INTERRUPTED: "Ctrl-C.",
}


def main(arguments: Sequence[str]) -> int:
    """Write or check the pages; 1 if a check fails."""
    pages = {"settings.md": settings_page(), "errors.md": errors_page(), "exit-codes.md": exit_codes_page()}
    if arguments == ["--check"]:
        stale = [name for name, text in pages.items() if _read(FOLDER / name) != text]
        for name in stale:
            print(f"{name} is not up to date: run `make docs`")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def settings_page() -> str:
    """Return the page of all settings of the server."""
    lines = [
        *_head("Settings", "src/funclet/config.py"),
        "Each is an option of `fgs serve` and a variable of the environment; the option wins.",
        "A variable that begins with `FGS_` and is no setting stops the start, so a typing error cannot pass unseen.",
        "In a variable, several values are separated by commas; as an option, such a setting is given several times.",
        "",
        "| Option | Variable | Value | Default | Meaning |",
        "| --- | --- | --- | --- | --- |",
        *(_setting_row(setting) for setting in fields(Settings)),
    ]
    return "\n".join(lines) + "\n"


def _setting_row(setting: "Field[Any]") -> str:
    default, help_ = setting.default, setting.metadata["help"]
    default = ", ".join(default) if isinstance(default, tuple) else default
    shown = "" if default == "" else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
    option = f"`--{setting.name.replace('_', '-')}`"
    return f"| {option} | `{PREFIX}{setting.name.upper()}` | {_kind(setting)} | {shown} | {help_} |"


def _kind(setting: "Field[Any]") -> str:
    choices = setting.metadata["choices"]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if isinstance(setting.default, tuple):
        return "texts"
    if isinstance(setting.default, str):
        return "secret text" if setting.metadata["secret"] else "text"
    unit = next((unit for ending, unit in _UNITS.items() if setting.name.endswith(ending)), "")
    kind = "number" if isinstance(setting.default, float) else "whole number"
    return f"{kind}, {unit}" if unit else kind


def errors_page() -> str:
    """Return the page of all codes that the API answers with."""
    lines = [
        *_head("Error codes", "src/funclet/model/errors.py"),
        'The API answers `{"error_code": ..., "error_msg": ...}`; the message names the thing that is wrong.',
        "`fgs explain CODE` prints the same on a terminal.",
        "",
        "Codes from `FSS.4001` on say how an invocation ended; the header `X-Func-Err-Code` has the number.",
        "",
        "| Code | Status | Meaning | What to do |",
        "| --- | --- | --- | --- |",
        *(f"| `{row.code}` | {row.status} | {_meaning(row)} | {_hint(row.code)} |" for row in TABLE.values()),
    ]
    return "\n".join(lines) + "\n"


def _meaning(row: ErrorRow) -> str:
    remark = REMARKS.get(row.code, "")
    return f"{row.meaning}. {remark}" if remark else row.meaning


def _hint(code: str) -> str:
    hint = HINTS.get(code, "")
    return f"`{hint}`" if hint.startswith("fgs ") else hint


def exit_codes_page() -> str:
    """Return the page of exit codes of `fgs`."""
    lines = [
        *_head("Exit codes of fgs", "src/funclet/cli/frame.py"),
        "Numbers in parentheses are HTTP statuses of the server's answer.",
        "",
        "| Code | When |",
        "| --- | --- |",
        *(f"| {code.value} | {_WHEN[code]} |" for code in ExitCode),
    ]
    return "\n".join(lines) + "\n"


def _head(title: str, source: str) -> Sequence[str]:
    return [f"# {title}", "", f"<!-- Generated from {source} by tools/settings.py. Do not edit. -->", ""]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
