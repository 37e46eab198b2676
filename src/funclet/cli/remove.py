"""`fgs remove`: delete functions, versions, aliases and triggers, after saying what goes with them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from funclet.cli import project, render, session
from funclet.cli.changes import LATEST, published
from funclet.cli.frame import Failure, confirm, counted, note, say
from funclet.cli.session import Address, Session, parse_address

KINDS = ("function", "trigger", "version", "alias", "all")


@session.command("remove", examples=("fgs remove hello -y", "fgs remove alias hello --alias-name live"))
@click.argument("words", nargs=-1, metavar=f"[{'|'.join(KINDS)}] [FUNCTION]")
@click.option("--version-name", default="", help="The version to delete.")
@click.option("--alias-name", default="", help="The alias to delete.")
@click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(dir_okay=False),
    help="Project file whose functions to delete; default: the nearest.",
)
def remove(talk: Session, words: Sequence[str], version_name: str, alias_name: str, file: str | None) -> None:
    """Delete FUNCTION, or one of its versions or aliases, or its triggers.

    Without FUNCTION, or with 'all', the functions of the project are deleted. Asks first, and says what goes with it.
    """
    kind, names = _read(words)
    removed: list[dict[str, Any]] = []
    for address in [parse_address(name) for name in names] or _of_project(talk, file):
        if kind == "version":
            _version(talk, address, version_name or address.qualifier)
        elif kind == "alias":
            _alias(talk, address, alias_name or address.qualifier.removeprefix("!"))
        elif kind == "trigger":
            _triggers(talk, address)
        else:
            delete_function(talk, address)
        removed.append({"kind": kind, "name": str(address)})
    if talk.flags.is_json:
        render.as_json({"removed": removed, "dry_run": talk.flags.is_on("dry_run")})


def _read(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return what is to be deleted; a single word that is no kind is the name of a function."""
    if len(words) > 1 and words[0] in KINDS:
        return ("function" if words[0] == "all" else words[0]), list(words[1:])
    if words == ("all",) or not words:
        return "function", []
    return "function", list(words)


def _of_project(talk: Session, file: str | None) -> list[Address]:
    folder = Path(talk.flags.text("project_dir") or ".")
    path = Path(file) if file else project.discover(folder)
    if path is None:
        raise Failure("Name a function: there is no project file here.", hint="fgs remove NAME, or see: fgs ls")
    found = project.load(path, stage=talk.flags.text("stage"))
    return [Address(app=function.app, name=function.name) for function in found.functions]


def delete_function(talk: Session, address: Address) -> None:
    """Delete a whole function, or the version or alias target that the address names."""
    if address.qualifier == LATEST:
        raise Failure(
            f"'{address}' names the version latest, which cannot be deleted by itself.",
            hint=f"Delete the whole function: fgs remove {address.name}",
        )
    if address.qualifier.startswith("!"):
        raise Failure(f"'{address}' is an alias.", hint=f"fgs alias delete {address.name} {address.qualifier[1:]}")
    if address.qualifier:
        _version(talk, address, address.qualifier)
        return
    _carry_out(talk, address, f"function {address}", _belongings(talk, address), talk.client.delete_function)


def _belongings(talk: Session, address: Address) -> str:
    """Say what goes together with a function."""
    urn = talk.at(address, talk.existing)
    versions = published(talk.client.list_versions(urn))
    aliases = talk.client.list_aliases(urn)
    triggers = talk.client.list_triggers(urn)
    belongings = ((versions, "version"), (aliases, "alias"), (triggers, "trigger"))
    parts = [counted(len(found), word) for found, word in belongings if found]
    return f" with {', '.join(parts)}" if parts else ""


def _version(talk: Session, address: Address, version: str) -> None:
    if not version or version == LATEST:
        raise Failure("Name the version to delete, other than latest.", hint=f"fgs version list {address.name}")
    client = talk.client
    place = Address(name=address.name, app=address.app, qualifier=version)
    _carry_out(talk, place, f"version {version} of {address.name}", "", client.delete_function)


def _alias(talk: Session, address: Address, alias: str) -> None:
    if not alias:
        raise Failure("Name the alias to delete.", hint=f"fgs alias list {address.name}")
    client = talk.client
    place = Address(name=address.name, app=address.app)
    _carry_out(talk, place, f"alias {alias} of {address.name}", "", lambda urn: client.delete_alias(urn, alias))


def _triggers(talk: Session, address: Address) -> None:
    _carry_out(talk, address, f"all triggers of {address}", "", talk.client.delete_triggers)


def _carry_out(talk: Session, place: Address, what: str, also: str, act: Callable[[str], None]) -> None:
    if talk.flags.is_on("dry_run"):
        note(talk.flags, f"would delete {what}{also}")
        return
    confirm(talk.flags, f"Delete {what}{also}?")
    # Not through an alias of the same name: that would delete the version behind it.
    talk.at(place, act, follow_alias=False)
    if not talk.flags.is_json:
        say(f"deleted {what}{also}")
