"""`fgs dependency`: archives that are put beside the code of functions.

A dependency is named as `NAME` (its newest version), `NAME@3`, or by an id.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from funclet.cli import archive, render, session
from funclet.cli.dependency_build import DETAILS, build, content, store
from funclet.cli.frame import Failure, FgsGroup, confirm, say
from funclet.cli.session import Session
from funclet.client import ApiError, Client, Document, Json, segment

_COLUMNS = ("name", "version", "runtime", "size", "owner", "description")
_WIDE = ("id", "dep_id", "etag")
_PATH = "/fgs/dependencies"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LINK = re.compile(r"(https?|obs|s3)://", re.IGNORECASE)

dependency = FgsGroup("dependency", help="List, show, create, build and delete dependencies.", no_args_is_help=True)


@session.command("list", examples=("fgs dependency list", "fgs dep list --runtime Python3.10 -o wide"))
@click.option("--runtime", default="", help="Only those of this runtime.")
@click.option("--filter", "text", default="", help="Only those whose names contain this.")
@click.option("--public/--private", "is_public", default=None, help="Only public ones, or only those of the project.")
def list_(talk: Session, runtime: str, text: str, *, is_public: bool | None) -> None:
    """List the dependencies that the project can use, each with its newest version."""
    kind = "all" if is_public is None else "public" if is_public else "private"
    found = list(talk.client.pages(_PATH, "dependencies", dependency_type=kind, runtime=runtime, name=text))
    render.rows(talk.flags, found, columns=_COLUMNS, wide=_WIDE)


@session.command("show", examples=("fgs dependency show pillow", "fgs dependency show pillow@3 -o json"))
@click.argument("name")
def show(talk: Session, name: str) -> None:
    """Show one version of a dependency."""
    render.item(talk.flags, find(talk.client, name), columns=DETAILS)


@session.command("versions", examples=("fgs dependency versions pillow", "fgs dependency versions pillow -o json"))
@click.argument("name")
def versions(talk: Session, name: str) -> None:
    """List the versions of a dependency, the newest first."""
    dependency_id = segment(find(talk.client, name)["dep_id"])
    found = list(talk.client.pages(f"{_PATH}/{dependency_id}/version", "dependencies"))
    render.rows(talk.flags, found, columns=("version", "size", "description", "id"), wide=("etag", "link"))


@session.command(
    "create",
    examples=(
        "fgs dependency create pillow ./build --runtime Python3.10",
        "fgs dependency create pillow obs://packages/pillow.zip --runtime Python3.10",
    ),
)
@click.argument("name")
@click.argument("source", metavar="PATH|LINK")
@click.option("--runtime", required=True, help="Runtime of the functions that it is for.")
@click.option("--description", default="", help="Text that says what it is.")
def create(talk: Session, name: str, source: str, runtime: str, description: str) -> None:
    """Store a folder or a zip archive as a dependency, or as the next version of the one of this name."""
    body: dict[str, Any] = {"name": name, "runtime": runtime, "description": description}
    if _LINK.match(source):
        body |= {"depend_type": "obs", "depend_link": source}
    else:
        body |= content(archive.pack(Path(source), max_bytes=archive.MAX_DEPENDENCY_BYTES))
    store(talk, body)


@session.command("delete", examples=("fgs dependency delete pillow@1", "fgs dependency delete pillow -y"))
@click.argument("name")
def delete(talk: Session, name: str) -> None:
    """Delete a version (NAME@3), or a dependency with all its versions (NAME). What functions use stays."""
    found = find(talk.client, name)
    is_whole = "@" not in name and name != found["id"]
    what = f"{found['name']} with all its versions" if is_whole else f"{found['name']}@{found['version']}"
    confirm(talk.flags, f"Delete the dependency {what}?")
    talk.client.send("DELETE", f"{_PATH}/{segment(found['dep_id' if is_whole else 'id'])}")
    if talk.flags.is_json:
        render.as_json({"removed": [{"kind": "dependency", "name": name}]})
    else:
        say(f"deleted {what}")


@session.command("share", examples=("fgs dependency share pillow", "fgs dependency share pillow --off"))
@click.argument("name")
@click.option("--off", is_flag=True, help="Take it back: only its own project may use it again.")
def share(talk: Session, name: str, *, off: bool) -> None:
    """Let all projects of the server use a dependency."""
    dependency_id = segment(find(talk.client, name)["dep_id"])
    found = talk.client.send("PUT", f"/funclet/dependencies/{dependency_id}/sharing", {"is_public": not off})
    if talk.flags.text("output"):
        render.item(talk.flags, found, columns=DETAILS)
    else:
        say(f"{found['name']} is {'private' if off else 'public'} now")


def find(client: Client, name: str) -> Document:
    """Return the version that a name means.

    Raises:
        Failure: the name is none.
        ApiError: there is no such dependency, or no such version.
    """
    if _ID.fullmatch(name):
        return _document(client.send("GET", f"{_PATH}/{name}"))
    plain, _, number = name.partition("@")
    if not plain or ("@" in name and not number.isdigit()):
        raise Failure(f"'{name}' names no dependency.", hint="NAME, NAME@3, or an id.")
    matches = [row for row in client.pages(_PATH, "dependencies", name=plain) if row.get("name") == plain]
    if not matches:
        raise ApiError(status=404, code="FSS.1056", message=f"There is no dependency '{plain}'.")
    # Of equal names, one's own comes before what others share.
    chosen = min(matches, key=lambda row: row.get("owner") == "public")
    path = f"{_PATH}/{segment(chosen['dep_id'])}/version/{number or chosen['version']}"
    return _document(client.send("GET", path))


def _document(value: Json) -> Document:
    return value if isinstance(value, dict) else {}


def ids_of(client: Client, names: Sequence[str]) -> list[str]:
    """Return the ids of the versions that names mean, in their order."""
    return [name if _ID.fullmatch(name) else str(find(client, name)["id"]) for name in names]


for _command in (list_, show, versions, create, build, delete, share):
    dependency.add_command(_command)
