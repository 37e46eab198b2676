"""`fgs function`: list, show, change and delete functions."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from funclet.cli import api, archive, render, session
from funclet.cli.deploy import variables
from funclet.cli.frame import Failure, FgsGroup, counted, did_you_mean, note, say, warn
from funclet.cli.remove import delete_function
from funclet.cli.reserved import instances, reserve, stats
from funclet.cli.session import Address, Session

_COLUMNS = ("func_name", "package", "runtime", "memory_size", "timeout", "last_modified")
_WIDE = ("handler", "code_size", "func_urn")
_DETAILS = (
    "func_name", "package", "func_urn", "version", "version_description", "description", "runtime", "handler",
    "memory_size", "timeout", "code_size", "digest", "initializer_handler", "initializer_timeout",
    "strategy_config.concurrency", "strategy_config.concurrent_num", "enable_fresh_state", "user_data",
    "last_modified",
)  # fmt: skip


def _group(name: str, help_: str, elsewhere: Mapping[str, str] | None = None) -> FgsGroup:
    return FgsGroup(name, help=help_, elsewhere=elsewhere, no_args_is_help=True)


_DEPLOY = "fgs deploy --name NAME --runtime Python3.10 --code FOLDER"
_ELSEWHERE = {
    **dict.fromkeys(("create", "add", "new", "deploy", "up"), f"{_DEPLOY}, or begin with: fgs init NAME"),
    **dict.fromkeys(("update", "edit", "set"), "fgs function config set NAME, or: fgs function code update NAME PATH"),
    **{word: f"fgs {word} NAME" for word in ("invoke", "logs")},
    "publish": "fgs version publish NAME",
}
function = _group("function", "List, show, change and delete functions.", _ELSEWHERE)
config = _group("config", "Show and change the settings of a function.")
code = _group("code", "Download and replace the code of a function.")


@session.command("list", examples=("fgs function list", "fgs ls --app shop -o wide"))
@click.option("--app", default="", help="Only functions of this app.")
@click.option("--runtime", default="", help="Only functions with this runtime.")
@click.option("--filter", "text", default="", help="Only functions whose names contain this.")
def list_(talk: Session, app: str, runtime: str, text: str) -> None:
    """List the functions of the project."""
    found = talk.client.list_functions(package=app, name=text)
    chosen = [row for row in found if not runtime or row.get("runtime") == runtime]
    render.rows(talk.flags, chosen, columns=_COLUMNS, wide=_WIDE)


@session.command("get", examples=("fgs function get hello", "fgs describe hello:v1 -o json"))
@session.function_argument()
def get(talk: Session, address: Address) -> None:
    """Show one function or one of its versions."""
    render.item(talk.flags, talk.at(address, talk.client.function_config), columns=_DETAILS)


@session.command("delete", examples=("fgs function delete hello", "fgs function delete hello:v1 -y"))
@session.function_argument()
def delete(talk: Session, address: Address) -> None:
    """Delete a function with its versions, aliases and triggers, or one version."""
    delete_function(talk, address)
    if talk.flags.is_json:
        render.as_json({"removed": [{"kind": "function", "name": str(address)}]})


@session.command("get", examples=("fgs function config get hello", "fgs function config get hello:live -o json"))
@session.function_argument()
def config_get(talk: Session, address: Address) -> None:
    """Show the settings of a function or of one of its versions."""
    render.item(talk.flags, talk.at(address, talk.client.function_config), columns=_DETAILS)


@session.command(
    "set", examples=("fgs function config set hello --memory 256", "fgs function config set hello --env TIER=prod")
)
@session.function_argument()
@click.argument("pairs", nargs=-1, metavar="[MEMBER=VALUE]...")
@click.option("--memory", "memory_size", type=int, help="Memory in MB.")
@click.option("--timeout", type=int, help="Timeout in seconds.")
@click.option("--handler", help="Entry point, such as index.handler.")
@click.option("--description", help="Text that says what the function is for.")
@click.option("--initializer", "initializer_handler", help="Entry point that runs once per instance.")
@click.option("--initializer-timeout", type=int, help="Timeout of that in seconds.")
@click.option("--max-instances", type=int, help="At most so many instances; 0: the function is disabled, -1: no limit.")
@click.option("--per-instance", type=int, help="Requests that one instance serves at once.")
@click.option(
    "--fresh-state/--no-fresh-state",
    "enable_fresh_state",
    default=None,
    help="Whether each request runs in a process of its own that is thrown away (Python).",
)
@click.option("--env", multiple=True, metavar="K=V", help="Set a variable; K= removes it. May be repeated.")
def config_set(talk: Session, address: Address, pairs: Sequence[str], **options: Any) -> None:
    """Change settings of latest; MEMBER=VALUE names any member as the API does, such as memory_size=256."""

    def act(urn: str) -> dict[str, Any]:
        have = talk.client.function_config(urn)
        return talk.client.update_config(urn, _config_body(have, pairs, options))

    found = talk.at(address, act)
    _warn_of_unknown(talk, [name for name in variables(pairs) if name not in found])
    render.item(talk.flags, found, columns=_DETAILS)


def _warn_of_unknown(talk: Session, names: Sequence[str]) -> None:
    """Say which members the server has perhaps ignored, as it does with those that it does not know."""
    known = list(api.find(api.load(), "UpdateFunctionConfig")["body"]) if names else []
    for name in names:
        if name not in known:
            note(talk.flags, f"warning: '{name}' is no known setting.{did_you_mean(name, known)}")


def _config_body(have: dict[str, Any], pairs: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
    body = {name: have.get(name) for name in ("func_name", "runtime", "handler", "memory_size", "timeout")}
    strategy = {"concurrency": options.pop("max_instances"), "concurrent_num": options.pop("per_instance")}
    strategy = {name: value for name, value in strategy.items() if value is not None}
    env = variables(options.pop("env"))
    changed = {name: value for name, value in options.items() if value is not None}
    changed |= {name: _value(text) for name, text in variables(pairs).items()}
    if strategy:
        changed["strategy_config"] = strategy
    if env:
        merged = {**json.loads(have.get("user_data") or "{}"), **env}
        changed["user_data"] = json.dumps({k: v for k, v in merged.items() if v != ""}, ensure_ascii=False)
    if not changed:
        raise Failure("Say what to change.", hint="fgs function config set --help")
    return body | changed


def _value(text: str) -> Any:
    """Read JSON where it is JSON, else take the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@session.command("get", examples=("fgs function code get hello --out hello.zip", "fgs function code get hello:v1"))
@session.function_argument()
@click.option("--out", type=click.Path(dir_okay=False), help="File to write; default: NAME.zip.")
def code_get(talk: Session, address: Address, out: str | None) -> None:
    """Download the code package of a function or of one of its versions."""
    data = talk.at(address, lambda urn: _download(talk, urn))
    path = Path(out or f"{address.name}.zip")
    path.write_bytes(data)
    if talk.flags.is_json:
        render.as_json({"file": str(path), "bytes": len(data)})
    else:
        say(f"{path}: {counted(len(data), 'byte')}")


def _download(talk: Session, urn: str) -> bytes:
    found = talk.client.function_code(urn).get("func_code") or {}
    if found.get("file"):
        return base64.b64decode(found["file"])
    link = urlsplit(str(found.get("link") or ""))
    if not link.path:
        raise Failure("The server gives no code for this function.")
    # The link is signed by itself; only its path is used, so that no other host is ever asked.
    query = dict(pair.split("=", 1) for pair in link.query.split("&") if "=" in pair)
    return talk.client.call("GET", link.path, query=query).body


@session.command("update", examples=("fgs function code update hello ./code", "fgs function code update hello a.zip"))
@session.function_argument()
@click.argument("path", type=click.Path(exists=True))
def code_update(talk: Session, address: Address, path: str) -> None:
    """Replace the code by a folder or a zip archive."""
    data = archive.pack(Path(path))
    found = talk.at(address, lambda urn: talk.client.update_code(urn, data))
    warn(talk.flags, found)
    render.item(talk.flags, found, columns=("func_name", "func_urn", "code_size", "digest", "last_modified"))


@session.command("export", examples=("fgs function export hello", "fgs function export hello:v1 --out v1.zip"))
@session.function_argument()
@click.option("--out", type=click.Path(dir_okay=False), help="File to write; default: NAME.zip.")
def export(talk: Session, address: Address, out: str | None) -> None:
    """Write the code and the settings of a function or of one of its versions into one archive."""
    data = talk.at(address, talk.client.export_function)
    path = Path(out or f"{address.name}.zip")
    path.write_bytes(data)
    if talk.flags.is_json:
        render.as_json({"file": str(path), "bytes": len(data)})
    else:
        say(f"{path}: {counted(len(data), 'byte')}")


@session.command("import", examples=("fgs function import hello hello.zip", "fgs function import shop:hello a.zip"))
@session.function_argument()
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
def import_(talk: Session, address: Address, path: str) -> None:
    """Create a function from an archive that was exported."""
    body = {
        "func_name": address.name,
        "package": address.app or "default",
        "file_name": Path(path).name,
        "file_type": "zip",
        "file_code": base64.b64encode(Path(path).read_bytes()).decode(),
    }
    talk.subject = address.name
    found = talk.client.send("POST", "/fgs/functions/import", body)
    warn(talk.flags, found)
    render.item(talk.flags, found, columns=_DETAILS)


for _command in (list_, get, delete, export, import_, config, code, reserve, instances, stats):
    function.add_command(_command)
for _command in (config_get, config_set):
    config.add_command(_command)
for _command in (code_get, code_update):
    code.add_command(_command)
