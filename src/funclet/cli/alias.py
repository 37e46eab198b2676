"""`fgs alias`: list, create, update and delete aliases of a function."""

from collections.abc import Callable
from typing import Any

import click

from funclet.cli import render, session
from funclet.cli.frame import Failure, FgsGroup, confirm, say
from funclet.cli.session import Address, Session
from funclet.client import ApiError

_COLUMNS = ("name", "version", "additional_version_weights", "description", "last_modified")

alias = FgsGroup("alias", help="List, create, update and delete aliases.", no_args_is_help=True)


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--canary",
            default="",
            metavar="VERSION=PERCENT",
            help="Send part of the requests to another version: v2=30.",
        ),
        click.option("--description", default="", help="Text that says what it is for."),
        click.argument("name"),
        session.function_argument(),
    ):
        function = option(function)
    return function


@session.command("list", examples=("fgs alias list hello", "fgs alias list hello -o json"))
@session.function_argument()
def list_(talk: Session, address: Address) -> None:
    """List the aliases of a function."""
    render.rows(talk.flags, talk.at(address, talk.client.list_aliases), columns=_COLUMNS, wide=("alias_urn",))


@session.command("get", examples=("fgs alias get hello live", "fgs alias get hello live -o json"))
@session.function_argument()
@click.argument("name")
def get(talk: Session, address: Address, name: str) -> None:
    """Show one alias."""
    render.item(talk.flags, _find(talk, address, name), columns=(*_COLUMNS, "alias_urn"))


@session.command("create", examples=("fgs alias create hello live --version v1",
                                     "fgs alias create hello live --version v1 --canary v2=30"))  # fmt: skip
@click.option("--version", required=True, help="The version that it names.")
@_options
def create(talk: Session, address: Address, name: str, **options: str) -> None:
    """Create an alias for a version."""
    body = _body(name, options)
    _show(talk, talk.at(address, lambda urn: talk.client.save_alias(urn, body, create=True)), "created")


@session.command("update", examples=("fgs alias update hello live --version v2",
                                     "fgs alias update hello live --version v1 --canary v2=30"))  # fmt: skip
@click.option("--version", default="", help="The version that it shall name; default: the same.")
@_options
def update(talk: Session, address: Address, name: str, **options: str) -> None:
    """Point an alias at another version."""
    options["version"] = options["version"] or str(_find(talk, address, name)["version"])
    body = _body(name, options)
    _show(talk, talk.at(address, lambda urn: talk.client.save_alias(urn, body, create=False)), "updated")


@session.command("delete", examples=("fgs alias delete hello live", "fgs alias delete hello live -y"))
@session.function_argument()
@click.argument("name")
def delete(talk: Session, address: Address, name: str) -> None:
    """Delete an alias; its version stays."""
    confirm(talk.flags, f"Delete alias {name} of {address.name}?")
    talk.at(address, lambda urn: talk.client.delete_alias(urn, name))
    if talk.flags.is_json:
        render.as_json({"removed": [{"kind": "alias", "name": f"{address.name}:!{name}"}]})
    else:
        say(f"deleted alias {name} of {address.name}")


def _find(talk: Session, address: Address, name: str) -> dict[str, Any]:
    for row in talk.at(address, talk.client.list_aliases):
        if row.get("name") == name:
            return row
    raise ApiError(status=404, code="FSS.1053", message=f"Function '{address.name}' has no alias '{name}'.")


def _body(name: str, options: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name, "version": options["version"], "description": options["description"]}
    if options["canary"]:
        version, _, percent = options["canary"].partition("=")
        if not version or not percent.isdigit():
            raise Failure(f"--canary '{options['canary']}' is not VERSION=PERCENT.", hint="--canary v2=30")
        body["additional_version_weights"] = {version: int(percent)}
    return body


def _show(talk: Session, found: dict[str, Any], verb: str) -> None:
    if talk.flags.text("output"):
        render.item(talk.flags, found, columns=(*_COLUMNS, "alias_urn"))
    else:
        say(f"{verb} alias {found.get('name')} for version {found.get('version')}")


for _command in (list_, get, create, update, delete):
    alias.add_command(_command)
