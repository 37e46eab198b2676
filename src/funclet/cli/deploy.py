"""`fgs deploy`, its short form `fgs up`, and `fgs plan`.

`_Deployment.run` goes through the functions of the project: it packs the code,
asks the server, and carries out what `changes.compare` finds.
"""

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from funclet.cli import archive, changes, dependency, project, render, session
from funclet.cli.changes import Change, Wish
from funclet.cli.frame import ExitCode, Failure, Flags, counted, note, say, warn
from funclet.cli.project import FunctionPlan, Project
from funclet.cli.session import Address, Session, failure_of
from funclet.client import ApiError

_VERBS: Mapping[str, str] = {"+": "created", "~": "updated"}
_GATEWAYS = ("APIG", "DEDICATEDGATEWAY", "APIC")


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what deploy, up and plan have in common."""
    # Reversed, because the last decorator makes the first line of the help.
    for option in reversed(
        (
            click.argument("names", nargs=-1, metavar="[NAME]..."),
            click.option(
                "-f",
                "--file",
                "file",
                type=click.Path(dir_okay=False),
                help="Project file; default: the nearest fgs.yaml or s.yaml.",
            ),
            click.option("--name", help="Deploy one function of this name, without a project file."),
            click.option("--runtime", help="With --name: its runtime, such as Python3.10."),
            click.option("--code", type=click.Path(), help="With --name: its folder, or a zip archive."),
            click.option("--handler", default="index.handler", show_default=True, help="With --name: its handler."),
            click.option(
                "--memory",
                type=int,
                default=project.DEFAULT_MEMORY_MIB,
                show_default=True,
                help="With --name: its memory in MB.",
            ),
            click.option("--env", multiple=True, metavar="K=V", help="With --name: a variable; may be repeated."),
            click.option(
                "--type",
                "part",
                type=click.Choice(["all", "code", "config"]),
                default="all",
                help="What to send; default: all.",
            ),
            click.option(
                "--function", "only_functions", is_flag=True, help="Only functions: leave the triggers alone."
            ),
            click.option(
                "--trigger", "only_triggers", is_flag=True, help="Only triggers: leave code and settings alone."
            ),
            click.option("--publish", is_flag=True, help="Publish a version if something changed."),
            click.option("--alias", default="", help="Like --publish, and point this alias at the version."),
            click.option("--description", default="", help="Description of the published version."),
            click.option("--only-changed", is_flag=True, help="Skip functions whose code and settings are the same."),
            click.option("--force", is_flag=True, help="Send the code even if the server has it already."),
        )
    ):
        function = option(function)
    return function


@session.command("deploy", examples=("fgs deploy", "fgs deploy --name hello --runtime Python3.10 --code ./hello"))
@_options
def deploy(talk: Session, **options: Any) -> None:
    """Create or update the functions of the project; NAME limits it to some."""
    _Deployment(talk, options).run(is_trial=talk.flags.is_on("dry_run"))


@session.command("up", examples=("fgs up", "fgs up api --alias live"))
@_options
def up(talk: Session, **options: Any) -> None:
    """Create or update the functions of the project; the same as deploy."""
    _Deployment(talk, options).run(is_trial=talk.flags.is_on("dry_run"))


@session.command("plan", examples=("fgs plan", "fgs plan --detailed-exitcode"))
@_options
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 14 when something would change.")
def plan(talk: Session, *, detailed_exitcode: bool, **options: Any) -> None:
    """Show what deploy would change, and change nothing."""
    count = _Deployment(talk, options).run(is_trial=True)
    if count and detailed_exitcode:
        click.get_current_context().exit(ExitCode.DRIFT)


class _Deployment:
    """One run over the functions of a project."""

    def __init__(self, talk: Session, options: Mapping[str, Any]) -> None:
        self._talk = talk
        self._flags: Flags = talk.flags
        self._options = options
        self._done: list[dict[str, Any]] = []
        self._urls: list[str] = []
        self._failures: list[Failure] = []

    def run(self, *, is_trial: bool) -> int:
        """Deploy (or only show) everything; return the number of changes.

        Raises:
            Failure: some function could not be deployed; the others were.
        """
        wanted = self._project()
        _check_aliases([self._options["alias"], *(a.name for function in wanted.functions for a in function.aliases)])
        for text in wanted.notes:
            note(self._flags, f"note: {text}")
        try:
            for function in wanted.functions:
                self._attempt(function, is_trial=is_trial)
        except KeyboardInterrupt:
            done = ", ".join(f"{row['kind']} {row['name']} {row['action']}" for row in self._done) or "nothing"
            note(self._flags, f"interrupted; done so far: {done}")
            raise
        self._report([function.name for function in wanted.functions], is_trial=is_trial)
        if self._failures:
            for failure in self._failures[1:]:
                render.failure(self._flags, failure)
            raise self._failures[0]
        return len(self._done)

    def _attempt(self, function: FunctionPlan, *, is_trial: bool) -> None:
        """Deploy one function; what goes wrong is kept, so that the other functions are still deployed."""
        try:
            self._function(function, is_trial=is_trial)
        except ApiError as error:
            failure = failure_of(error, subject=function.name)
            failure.message = f"{function.name}: {failure.message}"
            self._failures.append(failure)
        except Failure as failure:
            self._failures.append(failure)

    def _project(self) -> Project:
        options = self._options
        if options["name"]:
            return Project(functions=(_single(options),))
        folder = Path(self._flags.text("project_dir") or ".")
        path = Path(options["file"]) if options["file"] else project.discover(folder)
        if path is None:
            hint = "fgs init NAME, or: fgs deploy --name NAME --runtime Python3.10 --code DIR"
            raise Failure(f"There is no fgs.yaml or s.yaml in {folder.resolve()} or above it.", hint=hint)
        found = project.load(path, stage=self._flags.text("stage"))
        names = options["names"]
        unknown = [name for name in names if name not in {function.name for function in found.functions}]
        if unknown:
            have = ", ".join(function.name for function in found.functions)
            raise Failure(f"{path.name} has no function '{unknown[0]}'.", hint=f"It has: {have}")
        chosen = tuple(function for function in found.functions if not names or function.name in names)
        return replace(found, functions=chosen)

    def _wish(self) -> Wish:
        options = self._options
        only_triggers = options["only_triggers"]
        return Wish(
            code=options["part"] != "config" and not only_triggers,
            config=options["part"] != "code" and not only_triggers,
            triggers=options["part"] == "all" and not options["only_functions"],
            publish=options["publish"],
            alias=options["alias"],
            force=options["force"],
        )

    def _function(self, function: FunctionPlan, *, is_trial: bool) -> None:
        data = archive.pack(function.code)
        urn = self._talk.urn(Address(app=function.app, name=function.name))
        state = changes.survey(self._talk.client, urn)
        if state.config is not None and state.config.get("runtime") != function.settings.get("runtime"):
            raise Failure(
                f"{function.name} runs on {state.config.get('runtime')}, which cannot become "
                f"{function.settings.get('runtime')}.",
                exit_code=ExitCode.CONFLICT,
                hint=f"fgs remove {function.name}, or choose another name.",
            )
        function = self._with_dependency_ids(function)
        found = changes.compare(function, state, data, self._wish())
        is_touched = any(change.kind in ("function", "code", "config") for change in found)
        if self._options["only_changed"] and not is_touched:
            return
        if not found:
            self._tell(f"= function {function.name}  unchanged")
        for change in found:
            self._change(change, urn, data, is_trial=is_trial)
        if state.config is not None and not is_trial:
            self._urls += [url for url in map(_url_of, state.triggers) if url and url not in self._urls]

    def _with_dependency_ids(self, function: FunctionPlan) -> FunctionPlan:
        """Return a plan whose dependencies are named by the ids of their versions, as the server has them."""
        names = function.settings.get("depend_version_list")
        if not names:
            return function
        ids = dependency.ids_of(self._talk.client, names)
        return replace(function, settings={**function.settings, "depend_version_list": ids})

    def _change(self, change: Change, urn: str, data: bytes, *, is_trial: bool) -> None:
        started_at = time.monotonic()
        if not is_trial:
            self._carry_out(change, urn, data)
        took_s = time.monotonic() - started_at
        action = _VERBS[change.sign]
        row = {"kind": change.kind, "name": change.name, "action": action, "fields": list(change.fields)}
        self._done.append(row if is_trial else row | {"duration_s": round(took_s, 3)})
        if is_trial:
            self._tell(f"{change.sign} {change.kind} {change.name}")
            for text in change.fields:
                self._tell(f"    {text}")
        else:
            self._tell(f"{change.sign} {change.kind} {change.name}  {action}  {took_s:.2f} s")

    def _carry_out(self, change: Change, urn: str, data: bytes) -> None:
        client, body = self._talk.client, dict(change.body)
        match change.kind:
            case "function":
                file = {"file": base64.b64encode(data).decode()}
                warn(self._flags, client.create_function(body | {"func_code": file}))
            case "code":
                warn(self._flags, client.update_code(urn, data))
            case "config":
                client.update_config(urn, body)
            case "version":
                client.publish_version(urn, name=body["version"], description=self._options["description"])
            case "alias":
                client.save_alias(urn, body, create=change.sign == "+")
            case "trigger" if change.sign == "+":
                place = f"{urn}:{change.urn}" if change.urn else urn
                url = _url_of(client.create_trigger(place, body))
                self._urls += [url] if url else []
            case "trigger":
                client.trigger("PUT", urn, body, {key: body[key] for key in body if key != "trigger_id"})

    def _report(self, names: Sequence[str], *, is_trial: bool) -> None:
        if self._flags.is_json:
            errors = [{"code": f.code, "message": f.message} for f in self._failures]
            render.as_json({"resources": self._done, "urls": self._urls, "errors": errors})
        elif is_trial and not self._failures:
            say(
                f"{counted(len(self._done), 'change')}."
                if self._done
                else "No changes: the server has what the project wants."
            )
        elif not self._failures:
            for url in self._urls:
                say(f"url: {url}")
            say(f"next: fgs invoke {names[0]} -d '{{}}'" if names else "nothing to deploy")

    def _tell(self, text: str) -> None:
        if not self._flags.is_json and not self._flags.is_on("quiet"):
            say(text)


def _check_aliases(names: Sequence[str]) -> None:
    """Refuse names that the server would refuse in the end, when a version was published for them.

    Raises:
        Failure: one cannot be the name of an alias.
    """
    from funclet.model.errors import ModelError  # noqa: PLC0415 - only deployments need it
    from funclet.model.function import check_alias_name  # noqa: PLC0415

    for name in filter(None, names):
        try:
            check_alias_name(name)
        except ModelError as error:
            raise Failure(f"{error.message[0].upper()}{error.message[1:]}", code=error.code) from error


def _single(options: Mapping[str, Any]) -> FunctionPlan:
    """Return the function that the flags describe."""
    for member in ("runtime", "code"):
        if not options[member]:
            raise Failure(f"--{member} is missing: it goes with --name.")
    address = session.parse_address(options["name"])
    settings: dict[str, Any] = {
        "runtime": options["runtime"],
        "handler": options["handler"],
        "memory_size": options["memory"],
        "timeout": project.DEFAULT_TIMEOUT_S,
    }
    if options["env"]:
        settings["env"] = variables(options["env"])
    return FunctionPlan(
        name=address.name, app=address.app or "default", code=Path(options["code"]).resolve(), settings=settings
    )


def variables(pairs: Sequence[str]) -> dict[str, str]:
    """Read `K=V` pairs.

    Raises:
        Failure: one has no `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise Failure(f"'{pair}' is not of the form NAME=VALUE.")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _url_of(trigger: Mapping[str, Any]) -> str:
    data = trigger.get("event_data")
    is_gateway = trigger.get("trigger_type_code") in _GATEWAYS
    return str(data.get("invoke_url") or "") if is_gateway and isinstance(data, dict) else ""
