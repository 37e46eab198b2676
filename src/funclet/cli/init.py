"""`fgs init`: start a project from a bundled template."""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from funclet.cli import frame, render
from funclet.cli.frame import FUNCTION_NAME, FUNCTION_NAME_RULE, ExitCode, Failure, Flags, pass_flags, say

TEMPLATES = Path(__file__).parent / "templates"
# Template folders per language; the vendor's names for the same are understood.
_LANGUAGES: Mapping[str, str] = {"Python": "python", "Node.js": "nodejs"}
_DEFAULT_RUNTIMES: Mapping[str, str] = {"python": "Python3.10", "nodejs": "Node.js20.15"}
# The server knows which versions there are; `fgs init` works without one.
_RUNTIME = re.compile(r"(?:Python|Node\.js)\d+\.\d+")
_VENDOR_NAME = re.compile(r"start-fg-(event|http)-(python|nodejs)[\d.]*", re.IGNORECASE)
_README = """# {name}

A function of the template `{template}` for {runtime}.

```sh
fgs up                                    # create or update it on the server
fgs invoke {name} -e events/{template}.json
fgs logs {name} --since 10m
```

`fgs.yaml` says what the server shall have, `code/` is what runs, `events/` holds sample events.
"""
_PROJECT = """version: 1
functions:
  {name}:
    code: ./code
    handler: index.handler
    runtime: {runtime}
    memory: 128
    timeout: 30
{triggers}"""
_APIG = """    triggers:
      - {{type: apig, path: /{name}, auth: {auth}}}
"""
_TIMER = """    triggers:
      - {type: timer, schedule: 3m}
"""
_IGNORE = """# What does not belong into the code package; patterns as in .gitignore.
.venv/
node_modules/.cache/
*.log
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """What the user wants."""

    name: str
    template: str
    runtime: str
    trigger: str
    folder: Path

    @property
    def language(self) -> str:
        """Folder of the template's code: `python` or `nodejs`."""
        return next(folder for prefix, folder in _LANGUAGES.items() if self.runtime.startswith(prefix))


@frame.command("init", examples=("fgs init hello", "fgs init shop --template apig --runtime Node.js20.15 --yes"))
@click.argument("name", required=False)
@click.option("--template", help="hello-world or apig; default: hello-world.")
@click.option(
    "--runtime",
    help="Such as Python3.10 or Node.js20.15; default: Node.js if there is a package.json here, else Python.",
)
@click.option(
    "--type", "kind", type=click.Choice(["event"]), default="event", help="Kind of function; so far all are for events."
)
@click.option(
    "--trigger",
    type=click.Choice(["apig", "timer"]),
    help="Trigger to begin with; default: apig for that template, else none.",
)
@click.option("--dir", "folder", type=click.Path(file_okay=False), help="Folder to create; default: NAME.")
@pass_flags
def init(flags: Flags, **options: Any) -> None:
    """Create a folder with code, fgs.yaml, a sample event and a README."""
    choice = _choose(flags, options)
    written = _write(choice)
    if flags.is_json:
        render.as_json({"name": choice.name, "folder": str(choice.folder), "files": written})
        return
    say(f"created {choice.folder}/ with {', '.join(written)}")
    if not flags.is_on("quiet"):
        say(f"next: cd {choice.folder} && fgs up && fgs invoke {choice.name} -d '{{}}'")


def _choose(flags: Flags, options: Mapping[str, Any]) -> _Choice:
    asks = sys.stdin.isatty() and not flags.is_on("yes")
    base = Path(flags.text("project_dir") or ".")
    name = options["name"] or (click.prompt("Name of the function", default="hello", err=True) if asks else "")
    if not name:
        raise Failure("Name the function.", hint="fgs init hello")
    if not FUNCTION_NAME.fullmatch(name):
        raise Failure(f"'{name}' is no name for a function.", hint=FUNCTION_NAME_RULE)
    template, language = _template(options["template"] or (_ask_template() if asks else "hello-world"))
    detected = _DEFAULT_RUNTIMES[language or _detected(base)]
    runtime = options["runtime"] or (click.prompt("Runtime", default=detected, err=True) if asks else detected)
    if not _RUNTIME.fullmatch(runtime):
        raise Failure(
            f"There is no template for runtime '{runtime}'.",
            hint="Python3.10, Node.js20.15, ...; fgs doctor shows which this machine has.",
        )
    trigger = options["trigger"] or ("apig" if template == "apig" else "")
    folder = base / (options["folder"] or name)
    return _Choice(name=name, template=template, runtime=runtime, trigger=trigger, folder=folder)


def _template(name: str) -> tuple[str, str]:
    """Return the bundled template and the language that its name implies, if any."""
    vendor = _VENDOR_NAME.fullmatch(name)
    if vendor:
        return ("apig" if vendor.group(1).lower() == "http" else "hello-world"), vendor.group(2).lower()
    known = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir())
    if name not in known:
        raise Failure(
            f"There is no template '{name}'.{frame.did_you_mean(name, known)}", hint=f"Known: {', '.join(known)}"
        )
    return name, ""


def _ask_template() -> str:
    known = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir())
    return str(click.prompt("Template", default="hello-world", type=click.Choice(known), err=True))


def _detected(folder: Path) -> str:
    return "nodejs" if (folder / "package.json").exists() else "python"


def _write(choice: _Choice) -> list[str]:
    """Write all files into a new folder, so that an interruption leaves no half project."""
    if choice.folder.exists() and any(choice.folder.iterdir()):
        raise Failure(
            f"{choice.folder} is there already and not empty.",
            exit_code=ExitCode.CONFLICT,
            hint="Choose another with --dir, or remove it first.",
        )
    partial = choice.folder.parent / f".{choice.folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for path, text in _files(choice).items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_text(text, encoding="utf-8")
        if choice.folder.exists():
            choice.folder.rmdir()
        partial.rename(choice.folder)
    except OSError as error:
        raise Failure(f"{choice.folder} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(_files(choice))


def _files(choice: _Choice) -> dict[str, str]:
    source = TEMPLATES / choice.template
    event = json.loads((source / "event.json").read_text(encoding="utf-8"))
    triggers = {"apig": _APIG.format(name=choice.name, auth="none"), "timer": _TIMER}.get(choice.trigger, "")
    facts = {"name": choice.name, "template": choice.template, "runtime": choice.runtime, "triggers": triggers}
    files = {
        f"code/{path.name.removesuffix('.txt')}": path.read_text(encoding="utf-8")
        # Kept with another suffix in the package: they are data here, not code of ours.
        for path in sorted((source / choice.language).iterdir())
        if path.is_file()
    }
    return files | {
        "fgs.yaml": _PROJECT.format(**facts),
        f"events/{choice.template}.json": json.dumps(event, indent=2) + "\n",
        "code/.fgsignore": _IGNORE,
        "README.md": _README.format(**facts),
    }
